//===- Kernel.cpp - loading modules, compiling kernels ---------------------------------------------------------===//

#include "tools/ptx-vm/Kernel.h"
#include "tools/ptx-vm/Inline.h"
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>

namespace ptxvm {

static uint64_t alignTo(uint64_t value, uint64_t align) { return (value + align - 1) / align * align; }

LoadedModule::LoadedModule(std::string_view text, const Chip &chip, DeviceMemory &memory)
    : ptx(parse(text)), chip(chip), memory(memory) {
  std::map<std::string, uint64_t, std::less<>> places;
  for (const Variable &v : ptx.variables) {
    if (v.space != Space::Global && v.space != Space::Const)
      continue;
    if (v.isExtern)
      throw PtxError(v.line, "undefined variable '" + v.name + "'");
    if (v.bytes == 0)
      continue;
    const uint64_t at = memory.allocate(v.bytes, v.space == Space::Const ? MemoryKind::Constant : MemoryKind::Variable);
    if (!at)
      throw PtxError(v.line, "no memory for '" + v.name + "'");
    globals[v.name] = {at, v.bytes};
  }
  for (const Variable &v : ptx.variables) { // every address is known now
    auto it = globals.find(v.name);
    if (it == globals.end())
      continue;
    uint8_t *to = reinterpret_cast<uint8_t *>(it->second.address);
    std::memset(to, 0, v.bytes);
    std::memcpy(to, v.init.data(), v.init.size());
    for (const Variable::Address &a : v.addresses) {
      auto target = globals.find(a.symbol);
      if (target == globals.end())
        throw PtxError(v.line, "undefined variable '" + a.symbol + "'");
      const uint64_t address = target->second.address + a.offset;
      std::memcpy(to + a.at, &address, std::min(a.bytes, 8u));
    }
  }
  for (const Function &f : ptx.functions)
    if (f.isEntry && !f.isDeclaration)
      kernels[f.name] = std::make_unique<Kernel>(*this, f);
}

LoadedModule::~LoadedModule() {
  for (const auto &[name, g] : globals)
    memory.release(g.address, MemoryKind::Variable) || memory.release(g.address, MemoryKind::Constant);
}

Kernel *LoadedModule::kernel(std::string_view name) {
  auto it = kernels.find(name);
  return it == kernels.end() ? nullptr : it->second.get();
}

namespace {

void forEachName(const Operand &o, const std::function<void(const std::string &)> &f) {
  if (!o.name.empty() && o.reg < 0)
    f(o.name);
  for (const Operand &e : o.elements)
    forEachName(e, f);
}

} // namespace

struct Translation {
  std::unique_ptr<llvm::LLVMContext> context = std::make_unique<llvm::LLVMContext>();
  std::unique_ptr<llvm::Module> module;
  std::vector<Site> sites;
};

namespace {

constexpr WarpShape kUsualShape{true, true};

Translation translate(const Function &f, const Addresses &names, TranslateOptions options) {
  Translation t;
  t.module = std::make_unique<llvm::Module>("ptx", *t.context);
  t.sites.emplace_back(); // site 0: no instruction
  t.sites[0].line = f.line;
  t.sites[0].function = &f;
  Emitter(*t.module, f, names, options, t.sites, "kernel").run();
  return t;
}

} // namespace

Kernel::Kernel(LoadedModule &module, const Function &entry)
    : module(module), flat(withCallsInlined(module.ptx, entry)), function(*flat) {
  for (const Variable &v : function.parameters) {
    names.symbols[v.name] = v.offset;
    names.variables[v.name] = &v;
  }
  for (const auto &[name, g] : module.globals)
    names.symbols[name] = g.address;
  std::set<std::string> used;
  for (const Instruction &inst : function.body)
    for (const Operand &o : inst.operands)
      forEachName(o, [&](const std::string &name) { used.insert(name); });
  uint32_t shared = 0, local = 0;
  std::vector<const Variable *> dynamic;
  auto place = [&](const Variable &v) {
    names.variables[v.name] = &v;
    if (v.space == Space::Shared && v.isUnsized) {
      dynamic.push_back(&v);
    } else if (v.space == Space::Shared) {
      shared = alignTo(shared, v.align);
      names.symbols[v.name] = kSharedBase + shared;
      shared += v.bytes;
    } else if (v.space == Space::Local || v.space == Space::Param) {
      local = alignTo(local, v.align);
      names.symbols[v.name] = local;
      local += v.bytes;
    }
  };
  for (const Variable &v : module.ptx.variables)
    if (used.count(v.name))
      place(v);
  for (const Variable &v : function.variables)
    place(v);
  for (const Variable *v : dynamic)
    names.dynamicSharedAlign = std::max<uint32_t>(names.dynamicSharedAlign, v->align);
  const uint32_t align = std::max<uint32_t>(16, names.dynamicSharedAlign);
  for (const Variable *v : dynamic)
    names.symbols[v->name] = kSharedBase + alignTo(shared, align);
  names.staticSharedBytes = shared;
  names.localBytes = alignTo(local, 16);
  if (shared > 48 * 1024)
    throw PtxError(function.line, std::to_string(shared) + " bytes of static .shared, at most 49152");
  // A first translation finds every error that a launch would.
  first = std::make_shared<Translation>(translate(function, names, {kUsualShape, false}));
}

unsigned Kernel::maxThreads() const {
  const unsigned *limit = function.requiredThreads[0] ? function.requiredThreads : function.maxThreads;
  return limit[0] ? std::min(1024u, limit[0] * limit[1] * limit[2]) : 1024;
}

/// Good code takes about this long to make, by the instruction.
static constexpr double kSecondsForGoodCode = 1e-3;

/// A frame of quick code by the instruction, and how much all stacks together may be.
static constexpr uint64_t kQuickFrameBytes = 128, kMaxQuickFrames = uint64_t(1) << 30;

static bool forcedGood() {
  const char *text = std::getenv("PTX_VM_OPTIMIZE"); // 1: good code at once, 0: never
  return text && *text == '1';
}
static bool forcedQuick() {
  const char *text = std::getenv("PTX_VM_OPTIMIZE");
  return text && *text == '0';
}

void Kernel::compile(CompiledKernel &into, Translation t, Effort effort) {
  const auto begin = std::chrono::steady_clock::now();
  into.run =
      reinterpret_cast<void (*)(Warp *)>(compileForHost(std::move(t.context), std::move(t.module), "kernel", effort));
  if (const char *log = std::getenv("PTX_VM_LOG"); log && *log)
    std::fprintf(stderr, "ptx-vm: compiled %s%s, %zu instructions, in %.0f ms\n", function.name.c_str(),
                 effort == Effort::Good ? " well" : "", function.body.size(),
                 std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
}

CompiledKernel &Kernel::compiled(WarpShape shape, bool checkOrder, uint64_t warps) {
  std::lock_guard lock(mutex);
  auto &entry = variants[shape.full | shape.isRow << 1 | checkOrder << 2];
  if (!entry) {
    const bool isUsual = shape.full == kUsualShape.full && shape.isRow == kUsualShape.isRow && !checkOrder;
    auto made = std::make_unique<CompiledKernel>();
    made->options = {shape, checkOrder};
    Translation t = isUsual && first ? std::move(*first) : translate(function, names, made->options);
    if (isUsual)
      first.reset();
    made->sites = t.sites;
    made->isGood =
        forcedGood() || (!forcedQuick() && warps * kQuickFrameBytes * function.body.size() > kMaxQuickFrames);
    compile(*made, std::move(t), made->isGood ? Effort::Good : Effort::Quick);
    entry = std::move(made);
  } else if (!entry->isGood && !checkOrder && !forcedQuick() &&
             entry->secondsRun > kSecondsForGoodCode * function.body.size()) {
    entry->isGood = true;
    compile(*entry, translate(function, names, entry->options), Effort::Good);
  }
  return *entry;
}

} // namespace ptxvm
