//===- Threads.cpp - the vocabulary of the lane program on an NVIDIA GPU -------------===//

#include "codegen/nvptx/Threads.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace sluice::codegen;

static constexpr int64_t allLanes = 0xffffffff, clamp = 31;
static constexpr StringRef deviceScope = "device";

//===-- Who this thread is -------------------------------------------------------------===//

Value Threads::thread() {
  return ownThread ? ownThread : Value(NVVM::ThreadIdXOp::create(b, i32(), LLVM::ConstantRangeAttr()));
}
void Threads::apart(function_ref<void()> f) {
  auto read = [&](StringRef instruction) {
    return LLVM::InlineAsmOp::create(b, i32(), ValueRange(), instruction, "=r", /*has_side_effects=*/true,
                                     /*is_align_stack=*/false, LLVM::TailCallKind::None, LLVM::AsmDialectAttr(),
                                     ArrayAttr())
        .getResult(0);
  };
  std::array<Value, 3> before{ownThread, ownBlock, ownBlocks};
  ownThread = read("mov.u32 $0, %tid.x;");
  ownBlock = read("mov.u32 $0, %ctaid.x;");
  ownBlocks = read("mov.u32 $0, %nctaid.x;");
  f();
  std::tie(ownThread, ownBlock, ownBlocks) = std::tuple_cat(before);
}
Value Threads::lane() { return andi(thread(), 31); }
Value Threads::warp() { return shr(thread(), 5); }
Value Threads::block() {
  return ownBlock ? ownBlock : Value(NVVM::BlockIdXOp::create(b, i32(), LLVM::ConstantRangeAttr()));
}
Value Threads::blocks() {
  return ownBlocks ? ownBlocks : Value(NVVM::GridDimXOp::create(b, i32(), LLVM::ConstantRangeAttr()));
}

//===-- Types and constants ------------------------------------------------------------===//

Type Threads::pointer(MemorySpace space) { return LLVM::LLVMPointerType::get(b.getContext(), space); }

Value Threads::constant(Type type, int64_t value) {
  Type element = getElementTypeOrSelf(type);
  TypedAttr attr = IntegerAttr::get(
      element, APInt(element.getIntOrFloatBitWidth(), value, /*isSigned=*/true, /*implicitTrunc=*/true));
  if (auto vector = dyn_cast<VectorType>(type))
    attr = DenseElementsAttr::get(vector, Attribute(attr));
  return arith::ConstantOp::create(b, type, attr);
}
Value Threads::real(Type type, double value) {
  return arith::ConstantOp::create(b, type, FloatAttr::get(cast<FloatType>(type), value));
}

//===-- Integers -----------------------------------------------------------------------===//

Value Threads::add(Value x, Value y) { return arith::AddIOp::create(b, x, y); }
Value Threads::add(Value x, int64_t y) { return y == 0 ? x : add(x, constant(x.getType(), y)); }
Value Threads::sub(Value x, Value y) { return arith::SubIOp::create(b, x, y); }
Value Threads::mul(Value x, Value y) { return arith::MulIOp::create(b, x, y); }
Value Threads::mul(Value x, int64_t y) { return y == 1 ? x : mul(x, constant(x.getType(), y)); }
Value Threads::div(Value x, Value y) { return arith::DivUIOp::create(b, x, y); }
Value Threads::div(Value x, int64_t y) { return y == 1 ? x : div(x, constant(x.getType(), y)); }
Value Threads::rem(Value x, int64_t y) { return arith::RemUIOp::create(b, x, constant(x.getType(), y)); }
Value Threads::min(Value x, Value y) { return arith::MinSIOp::create(b, x, y); }
Value Threads::max(Value x, Value y) { return arith::MaxSIOp::create(b, x, y); }
Value Threads::andi(Value x, Value y) { return arith::AndIOp::create(b, x, y); }
Value Threads::andi(Value x, int64_t y) { return andi(x, constant(x.getType(), y)); }
Value Threads::ori(Value x, Value y) { return arith::OrIOp::create(b, x, y); }
Value Threads::xori(Value x, Value y) { return arith::XOrIOp::create(b, x, y); }
Value Threads::xori(Value x, int64_t y) { return xori(x, constant(x.getType(), y)); }
Value Threads::shl(Value x, int64_t y) {
  return y == 0 ? x : Value(arith::ShLIOp::create(b, x, constant(x.getType(), y)));
}
Value Threads::shr(Value x, int64_t y) {
  return y == 0 ? x : Value(arith::ShRUIOp::create(b, x, constant(x.getType(), y)));
}
Value Threads::shrBy(Value x, Value y) { return arith::ShRUIOp::create(b, x, y); }
Value Threads::sar(Value x, int64_t y) { return arith::ShRSIOp::create(b, x, constant(x.getType(), y)); }
Value Threads::less(Value x, Value y) { return arith::CmpIOp::create(b, arith::CmpIPredicate::slt, x, y); }
Value Threads::below(Value x, Value y) { return arith::CmpIOp::create(b, arith::CmpIPredicate::ult, x, y); }
Value Threads::equal(Value x, Value y) { return arith::CmpIOp::create(b, arith::CmpIPredicate::eq, x, y); }
Value Threads::isNot(Value x) { return xori(x, 1); }
Value Threads::select(Value condition, Value yes, Value no) { return arith::SelectOp::create(b, condition, yes, no); }
Value Threads::extend(Value x, Type type) { return arith::ExtUIOp::create(b, type, x); }
Value Threads::truncate(Value x, Type type) { return arith::TruncIOp::create(b, type, x); }
Value Threads::dot4(Value acc, Value unsignedBytes, Value signedBytes) {
  return intrinsic("llvm.nvvm.idp4a.u.s", i32(), {unsignedBytes, signedBytes, acc});
}
Value Threads::permute(Value x, Value y, Value choice) { return intrinsic("llvm.nvvm.prmt", i32(), {x, y, choice}); }

//===-- Floats -------------------------------------------------------------------------===//

Value Threads::addf(Value x, Value y) { return arith::AddFOp::create(b, x, y); }
Value Threads::subf(Value x, Value y) { return arith::SubFOp::create(b, x, y); }
Value Threads::mulf(Value x, Value y) { return arith::MulFOp::create(b, x, y); }
Value Threads::divf(Value x, Value y) { return arith::DivFOp::create(b, x, y); }
Value Threads::fma(Value x, Value y, Value z) { return math::FmaOp::create(b, x, y, z); }
Value Threads::maxf(Value x, Value y) { return arith::MaxNumFOp::create(b, x, y); }
Value Threads::minf(Value x, Value y) { return arith::MinNumFOp::create(b, x, y); }
Value Threads::lessf(Value x, Value y) { return arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, x, y); }
Value Threads::equalf(Value x, Value y) { return arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, x, y); }
Value Threads::toFloat(Value x) { return arith::SIToFPOp::create(b, f32(), x); }
Value Threads::signedToFloat(Value x) { return toFloat(arith::ExtSIOp::create(b, i32(), x)); }
Value Threads::toDouble(Value x) { return arith::SIToFPOp::create(b, f64(), x); }
Value Threads::toDoubleFromSingle(Value x) { return arith::ExtFOp::create(b, f64(), x); }
Value Threads::toSingle(Value x) { return arith::TruncFOp::create(b, f32(), x); }
Value Threads::round(Value x) { return intrinsic("llvm.nvvm.f2i.rn", i32(), x); }
Value Threads::bitcast(Value x, Type type) {
  return x.getType() == type ? x : Value(LLVM::BitcastOp::create(b, type, x));
}
Value Threads::toInteger(Value pointer) { return LLVM::PtrToIntOp::create(b, i64(), pointer); }

Value Threads::exp(Value x) {
  Value clamped = minf(maxf(x, f(-87.3)), f(88.3));
  // Adding 1.5 * 2^23 rounds to an integer, which the sum's low bits then hold.
  Value shifted = fma(clamped, f(1.44269504088896341), f(12582912.0));
  Value n = subf(shifted, f(12582912.0));
  Value r = fma(n, f(2.12194440e-4), fma(n, f(-0.693359375), clamped));
  Value p = f(1.9875691500e-4);
  for (double coefficient : {1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1})
    p = fma(p, r, f(coefficient));
  Value y = addf(fma(p, mulf(r, r), r), f(1.0));
  Value exponent = add(bitcast(shifted, i32()), 127 - 0x4B400000);
  Value result = mulf(y, bitcast(shl(exponent, 23), f32()));
  return select(lessf(x, f(-87.3)), f(0.0), result);
}
Value Threads::rsqrt(Value x) { return divf(f(1.0), math::SqrtOp::create(b, x)); }
Value Threads::reciprocal(Value x) {
  Value r = intrinsic("llvm.nvvm.rcp.approx.ftz.f", f32(), x);
  return fma(r, fma(subf(f(0), x), r, f(1)), r); // a step of Newton's
}
Value Threads::softcap(Value x, double cap) {
  // tanh(y) is 1 - 2 / (exp(2y) + 1).
  Value power = exp(mulf(mulf(x, f(1 / cap)), f(2)));
  return mulf(subf(f(1), divf(f(2), addf(power, f(1)))), f(cap));
}
Value Threads::halfToFloat(Value bits) { return arith::ExtFOp::create(b, f32(), bitcast(bits, f16())); }
Value Threads::floatToHalf(Value x) { return bitcast(arith::TruncFOp::create(b, f16(), x), i16()); }
Value Threads::lowHalf(Value pair) { return halfToFloat(truncate(pair, i16())); }
Value Threads::highHalf(Value pair) { return halfToFloat(truncate(shr(pair, 16), i16())); }
Value Threads::roundToBFloat16(Value x) {
  Value bits = bitcast(x, i32());
  Value rounded = add(add(bits, 0x7fff), andi(shr(bits, 16), 1));
  // Not a number stays one: it must not be carried over to infinity or zero.
  Value isNan = less(constant(i32(), 0x7f800000), andi(bits, 0x7fffffff));
  Value quiet = ori(bits, c(0x400000));
  return bitcast(andi(select(isNan, quiet, rounded), 0xffff0000), f32());
}

//===-- Memory -------------------------------------------------------------------------===//

Value Threads::at(Value pointer, Value bytes) {
  return LLVM::GEPOp::create(b, pointer.getType(), i8(), pointer, ArrayRef<LLVM::GEPArg>{bytes},
                             LLVM::GEPNoWrapFlags::inbounds);
}
Value Threads::at(Value pointer, int64_t bytes) {
  if (bytes == 0)
    return pointer;
  if (bytes != static_cast<int32_t>(bytes))
    return at(pointer, constant(i64(), bytes));
  return LLVM::GEPOp::create(b, pointer.getType(), i8(), pointer, ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(bytes)},
                             LLVM::GEPNoWrapFlags::inbounds);
}
Value Threads::load(Type type, Value pointer, unsigned alignment) {
  return LLVM::LoadOp::create(b, type, pointer, alignment);
}
Value Threads::loadConstant(Type type, Value pointer, unsigned alignment) {
  return LLVM::LoadOp::create(b, type, pointer, alignment, /*isVolatile=*/false, /*isNonTemporal=*/false,
                              /*isInvariant=*/true);
}
// A matrix is eight rows of 16 bytes, lanes 8 m to 8 m + 7 point to those of matrix m; lane l gets word l % 4 of row l
// / 4.
Values Threads::loadFourWords(Value pointer) {
  Type result = LLVM::LLVMStructType::getLiteral(b.getContext(), SmallVector<Type>(4, i32()));
  Value loaded =
      NVVM::LdMatrixOp::create(b, result, pointer, 4, NVVM::MMALayout::row,
                               NVVM::LdStMatrixShapeAttr::get(b.getContext(), 8, 8), NVVM::LdStMatrixEltType::B16);
  Values words;
  for (int64_t i = 0; i < 4; ++i)
    words.push_back(LLVM::ExtractValueOp::create(b, loaded, i));
  return words;
}
void Threads::store(Value value, Value pointer, unsigned alignment) {
  LLVM::StoreOp::create(b, value, pointer, alignment);
}
Values Threads::unpack(Value vector) {
  Values elements;
  for (int64_t i = 0; i < cast<VectorType>(vector.getType()).getNumElements(); ++i)
    elements.push_back(LLVM::ExtractElementOp::create(b, vector, c(i)));
  return elements;
}
Value Threads::pack(ArrayRef<Value> elements) {
  Value vector = LLVM::PoisonOp::create(b, vec(elements.size(), elements[0].getType()));
  for (auto [i, element] : llvm::enumerate(elements))
    vector = LLVM::InsertElementOp::create(b, vector, element, c(i));
  return vector;
}
void Threads::prefetch(Value pointer) { // LLVM's intrinsic is for newer chips only
  LLVM::InlineAsmOp::create(b, TypeRange(), pointer, "prefetch.global.L2 [$0];", "l", /*has_side_effects=*/true,
                            /*is_align_stack=*/false, LLVM::TailCallKind::None, LLVM::AsmDialectAttr(), ArrayAttr());
}
void Threads::copyAsync(Value shared, Value global, Value bytes) {
  NVVM::CpAsyncOp::create(b, shared, global, b.getI32IntegerAttr(16),
                          NVVM::LoadCacheModifierKindAttr::get(b.getContext(), NVVM::LoadCacheModifierKind::CG), bytes);
}
void Threads::commitCopies() { NVVM::CpAsyncCommitGroupOp::create(b); }
void Threads::waitCopies(int64_t stillUnderWay) { NVVM::CpAsyncWaitGroupOp::create(b, stillUnderWay); }

//===-- Together -----------------------------------------------------------------------===//

void Threads::syncBlock() { NVVM::Barrier0Op::create(b); }
void Threads::syncWarp() { NVVM::SyncWarpOp::create(b, c(allLanes)); }
Value Threads::shuffleXor(Value x, int64_t distance) {
  return NVVM::ShflOp::create(b, x.getType(), c(allLanes), x, c(distance), c(clamp), NVVM::ShflKind::bfly, UnitAttr());
}
Value Threads::shuffle(Value x, Value lane) {
  return NVVM::ShflOp::create(b, x.getType(), c(allLanes), x, lane, c(clamp), NVVM::ShflKind::idx, UnitAttr());
}
Value Threads::reduceWarp(Value x, function_ref<Value(Value, Value)> join, int64_t lanes) {
  for (int64_t distance = 1; distance < lanes; distance *= 2)
    x = join(x, shuffleXor(x, distance));
  return x;
}
void Threads::fenceDevice() { LLVM::FenceOp::create(b, LLVM::AtomicOrdering::acq_rel, deviceScope); }
Value Threads::atomicAdd(Value pointer, Value x) {
  // An ordering would be dropped: fenceDevice() has it.
  return LLVM::AtomicRMWOp::create(b, LLVM::AtomicBinOp::add, pointer, x, LLVM::AtomicOrdering::monotonic, deviceScope);
}
Value Threads::atomicAddShared(Value pointer, Value x) {
  return LLVM::AtomicRMWOp::create(b, LLVM::AtomicBinOp::add, pointer, x, LLVM::AtomicOrdering::monotonic, "block");
}
static Value loadOrdered(ImplicitLocOpBuilder &b, Type type, Value pointer, LLVM::AtomicOrdering ordering) {
  return LLVM::LoadOp::create(b, type, pointer, type.getIntOrFloatBitWidth() / 8, /*isVolatile=*/false,
                              /*isNonTemporal=*/false, /*isInvariant=*/false, /*isInvariantGroup=*/false, ordering,
                              deviceScope);
}
Value Threads::loadRelaxed(Type type, Value pointer) {
  return loadOrdered(b, type, pointer, LLVM::AtomicOrdering::monotonic);
}
Value Threads::loadAcquire(Type type, Value pointer) {
  return loadOrdered(b, type, pointer, LLVM::AtomicOrdering::acquire);
}
void Threads::storeRelaxed(Value value, Value pointer) {
  LLVM::StoreOp::create(b, value, pointer, value.getType().getIntOrFloatBitWidth() / 8, /*isVolatile=*/false,
                        /*isNonTemporal=*/false, /*isInvariantGroup=*/false, LLVM::AtomicOrdering::monotonic,
                        deviceScope);
}

//===-- Control ------------------------------------------------------------------------===//

Values Threads::loop(Value from, Value to, Value step, ValueRange init, function_ref<Values(Value, ValueRange)> body) {
  auto op = scf::ForOp::create(b, from, to, step, init, [](OpBuilder &, Location, Value, ValueRange) {});
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToEnd(op.getBody());
  scf::YieldOp::create(b, body(op.getInductionVar(), op.getRegionIterArgs()));
  return Values(op.getResults());
}
void Threads::loop(Value from, Value to, Value step, function_ref<void(Value)> body) {
  loop(from, to, step, ValueRange{}, [&](Value i, ValueRange) {
    body(i);
    return Values{};
  });
}
Values Threads::whileTrue(ValueRange init, function_ref<Value(ValueRange)> condition,
                          function_ref<Values(ValueRange)> body) {
  auto op = scf::WhileOp::create(
      b, init.getTypes(), init, [](OpBuilder &, Location, ValueRange) {}, [](OpBuilder &, Location, ValueRange) {});
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToEnd(op.getBeforeBody());
  scf::ConditionOp::create(b, condition(op.getBeforeArguments()), op.getBeforeArguments());
  b.setInsertionPointToEnd(op.getAfterBody());
  scf::YieldOp::create(b, body(op.getAfterArguments()));
  return Values(op.getResults());
}
void Threads::when(Value condition, function_ref<void()> body) {
  auto op = scf::IfOp::create(b, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(op.thenBlock());
  body();
}
Values Threads::choose(Value condition, TypeRange types, function_ref<Values()> yes, function_ref<Values()> no) {
  auto op = scf::IfOp::create(b, types, condition, /*addThenBlock=*/true, /*addElseBlock=*/true);
  OpBuilder::InsertionGuard guard(b);
  for (auto [block, make] : {std::pair(op.thenBlock(), yes), std::pair(op.elseBlock(), no)}) {
    b.setInsertionPointToStart(block);
    scf::YieldOp::create(b, make());
  }
  return Values(op.getResults());
}

Value Threads::intrinsic(StringRef name, Type result, ValueRange arguments) {
  return LLVM::CallIntrinsicOp::create(b, result, b.getStringAttr(name), arguments).getResult(0);
}
