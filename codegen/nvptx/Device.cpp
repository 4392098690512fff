//===- Device.cpp - what the runtime must know of the kernels of a module --------------===//

#include "codegen/nvptx/Device.h"
#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace sluice::codegen;

static constexpr StringRef attributeName = "sluice.device";

static Attribute write(OpBuilder &b, const DeviceKernel &kernel) {
  if (kernel.name.empty())
    return b.getDictionaryAttr({});
  return b.getDictionaryAttr({b.getNamedAttr("name", b.getStringAttr(kernel.name)),
                              b.getNamedAttr("threads", b.getI64IntegerAttr(kernel.threads)),
                              b.getNamedAttr("shared_bytes", b.getI64IntegerAttr(kernel.sharedBytes)),
                              b.getNamedAttr("blocks_per_sm", b.getI64IntegerAttr(kernel.blocksPerSm))});
}

static int64_t number(DictionaryAttr dictionary, StringRef name) {
  auto attr = dictionary.getAs<IntegerAttr>(name);
  return attr ? attr.getInt() : 0;
}

static DeviceKernel readKernel(Attribute attr) {
  auto dictionary = dyn_cast_or_null<DictionaryAttr>(attr);
  if (!dictionary || dictionary.empty())
    return {};
  auto name = dictionary.getAs<StringAttr>("name");
  return {name ? name.str() : "", uint32_t(number(dictionary, "threads")), uint32_t(number(dictionary, "shared_bytes")),
          uint32_t(number(dictionary, "blocks_per_sm"))};
}

void DeviceKernels::write(ModuleOp module) const {
  OpBuilder b(module.getContext());
  SmallVector<Attribute> all;
  for (const DeviceStep &step : steps)
    all.push_back(b.getArrayAttr({::write(b, step.prologue), ::write(b, step.run)}));
  module->setAttr(
      attributeName,
      b.getDictionaryAttr({b.getNamedAttr("steps", b.getArrayAttr(all)), b.getNamedAttr("token", ::write(b, token)),
                           b.getNamedAttr("choose", ::write(b, choose)),
                           b.getNamedAttr("prepared_bytes", b.getI64IntegerAttr(preparedBytes)),
                           b.getNamedAttr("sync_bytes", b.getI64IntegerAttr(syncBytes)),
                           b.getNamedAttr("sync_block_bytes", b.getI64IntegerAttr(syncBlockBytes))}));
}

FailureOr<DeviceKernels> DeviceKernels::read(ModuleOp module) {
  auto dictionary = module->getAttrOfType<DictionaryAttr>(attributeName);
  if (!dictionary)
    return module.emitError("expected the attribute '") << attributeName << "', which lowering writes";
  DeviceKernels kernels;
  if (auto steps = dictionary.getAs<ArrayAttr>("steps"))
    for (auto pair : steps.getAsRange<ArrayAttr>())
      kernels.steps.push_back({readKernel(pair[0]), readKernel(pair[1])});
  kernels.token = readKernel(dictionary.get("token"));
  kernels.choose = readKernel(dictionary.get("choose"));
  kernels.preparedBytes = number(dictionary, "prepared_bytes");
  kernels.syncBytes = number(dictionary, "sync_bytes");
  kernels.syncBlockBytes = number(dictionary, "sync_block_bytes");
  return kernels;
}
