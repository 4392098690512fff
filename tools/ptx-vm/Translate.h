// Translates a PTX function to an LLVM function that executes one warp.
//
// A register that is the same in all lanes is a scalar, any other a vector of 32 lanes; LLVM's own legalisation cuts
// these to the host's vectors. Emit*.cpp hold what single opcodes mean, in terms of the Emitter below: most do not care
// whether they make scalars or vectors.
#pragma once
#include "tools/ptx-vm/Cfg.h"
#include "tools/ptx-vm/Warp.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/Module.h"
#include <functional>
#include <optional>

namespace ptxvm {

/// An instruction that may fault or touch memory, as helpers know it.
struct Site {
  int line = 0;
  const Function *function = nullptr;
  Space space = Space::Generic;
  unsigned elementBytes = 0, elements = 0; // per lane
  bool isNonCoherent = false;
  bool isStrong = false, isAcquire = false,
       isRelease = false; // volatile, relaxed, acquire, release and atomics are strong
  int scope = 3;          // 0 cta, 1 cluster, 2 gpu, 3 sys
  const Instruction *inst = nullptr;
};

/// Where the names of a kernel lie.
struct Addresses {
  std::map<std::string, uint64_t, std::less<>> symbols; // device address, shared or local address, parameter offset
  std::map<std::string, const Variable *, std::less<>> variables;
  uint32_t staticSharedBytes = 0, localBytes = 0;
  uint32_t dynamicSharedAlign = 1;
};

struct TranslateOptions {
  WarpShape shape;
  bool checkOrder = false; // every access goes through the checker of memory order
};

class Emitter {
public:
  Emitter(llvm::Module &module, const Function &function, const Addresses &addresses, TranslateOptions options,
          std::vector<Site> &sites, std::string name);
  void run();

  llvm::IRBuilder<> b;
  const Instruction *inst = nullptr;
  bool wide = false; // the current instruction is executed on vectors
  const TranslateOptions options;

  // --- types: scalar or vector as `wide` says ---
  unsigned lanes() const { return wide ? kLanes : 1; }
  llvm::Type *scalar(Type t);
  llvm::Type *type(Type t) { return type(scalar(t)); }
  llvm::Type *type(llvm::Type *scalarOrPair);
  llvm::Type *integer(unsigned bits) { return type(b.getIntNTy(bits)); }
  llvm::Value *constant(unsigned bits, uint64_t value) { return llvm::ConstantInt::get(integer(bits), value); }
  llvm::Value *constantFloat(Type t, double value);

  // --- operands ---
  [[noreturn]] void fail(const std::string &message) const;
  const Operand &operand(size_t i) const { return inst->operands[i]; }
  /// The operand as a value of type t; its register must have as many bits.
  llvm::Value *in(size_t i, Type t) { return read(operand(i), t); }
  llvm::Value *in(size_t i) { return read(operand(i), inst->type); }
  llvm::Value *read(const Operand &o, Type t);
  /// The operand's low bits; its register may be wider (ld, st and cvt allow that), but not narrower.
  llvm::Value *readLow(const Operand &o, unsigned bits);
  llvm::Value *readPredicate(const Operand &o);
  void out(llvm::Value *value, size_t i = 0);
  void expectKind(const Operand &o, Type t) const;
  /// Writes to a register of the same number of bits.
  void write(const Operand &o, llvm::Value *value);
  /// Writes to a register that may be wider: the value is extended.
  void writeExtended(const Operand &o, llvm::Value *value, bool isSigned);
  void writePredicate(const Operand &o, llvm::Value *value) { write(o, value); }
  unsigned bitsOfOperand(const Operand &o) const;
  llvm::Value *broadcast(llvm::Value *value); // to 32 lanes, if it is a scalar
  llvm::Value *carry();                       // CC.CF, as i1
  void setCarry(llvm::Value *value);

  // --- lanes ---
  llvm::Value *mask();                                     // i32: lanes that execute the instruction (guard included)
  llvm::Value *liveMask();                                 // i32: lanes that have not exited
  bool maskIsFull() const;                                 // known to be all 32
  llvm::Value *laneVector(uint64_t stride, unsigned bits); // <0, stride, 2 stride, ...>
  llvm::Value *maskBits(llvm::Value *i1Vector) { return b.CreateBitCast(i1Vector, b.getInt32Ty()); }
  llvm::Value *maskVector(llvm::Value *i32) {
    return b.CreateBitCast(i32, llvm::FixedVectorType::get(b.getInt1Ty(), kLanes));
  }

  // --- the warp and helpers ---
  llvm::Value *field(size_t offset, llvm::Type *type);
  llvm::Value *fieldPointer(size_t offset);
  void store(size_t offset, llvm::Value *value);
  llvm::Value *slotPointer(unsigned slot);
  void toSlot(unsigned slot, llvm::Value *value); // broadcast if scalar; i1 becomes a mask
  llvm::Value *fromSlot(unsigned slot, unsigned bits);
  llvm::Value *call(const void *helper, llvm::ArrayRef<llvm::Value *> arguments = {}, llvm::Type *result = nullptr);
  template <typename R, typename... A>
  llvm::Value *callHelper(R (*helper)(Warp *, A...), llvm::ArrayRef<llvm::Value *> arguments) {
    llvm::Type *result = std::is_void_v<R> ? b.getVoidTy() : b.getIntNTy(std::is_void_v<R> ? 8 : 8 * sizeOf<R>());
    llvm::SmallVector<llvm::Value *> all{warp};
    all.append(arguments.begin(), arguments.end());
    return call(reinterpret_cast<const void *>(helper), all, result);
  }
  llvm::Value *site(unsigned elementBytes = 0, unsigned elements = 0,
                    Space space = Space::Generic); // its number, as i32
  std::optional<uint64_t>
  constantOf(const Operand &o) const; // if it is an integer, or a register that only ever holds one
  bool isGuarded() const { return guardMask; }
  unsigned newSite(unsigned elementBytes, unsigned elements, Space space);

  /// Runs `body` for the lanes that execute the instruction if there are any.
  void ifAnyLane(const std::function<void()> &body);
  llvm::Value *unlikely(llvm::Value *condition);
  llvm::BasicBlock *newBlock(const llvm::Twine &name) { return llvm::BasicBlock::Create(context, name, llvmFunction); }
  void branchUnlikely(llvm::Value *condition, llvm::BasicBlock *then, llvm::BasicBlock *otherwise);

  uint64_t addressOf(const Operand &o) const; // of a symbol, with its offset
  Space spaceOfSymbol(const Operand &o) const;
  const Addresses &addresses;
  const Function &function;
  llvm::Value *warp = nullptr;
  llvm::Function *llvmFunction = nullptr;
  llvm::LLVMContext &context;

private:
  template <typename R> static constexpr unsigned sizeOf() {
    if constexpr (std::is_void_v<R>)
      return 1;
    else
      return sizeof(R);
  }
  llvm::Type *registerType(int reg);
  llvm::Value *readRegister(int reg);
  llvm::Value *special(const Operand &o);
  void emitInstruction(const Instruction &instruction);
  void emitTerminator(int block);
  void enter(int block, llvm::Value *lanes);
  void leaveRegionBlock(int block);
  void jumpToPosition(const Region &region, size_t at);
  void tick();

  llvm::Module &module;
  Cfg cfg;
  std::vector<Site> &sites;
  std::vector<llvm::AllocaInst *> registers; // of those that are not single values
  std::vector<llvm::Value *> singles;
  std::vector<llvm::BasicBlock *> bodies, checks; // by block
  std::vector<llvm::AllocaInst *> waiting;        // by block, in regions
  llvm::AllocaInst *live = nullptr, *current = nullptr, *carryFlag = nullptr;
  llvm::BasicBlock *exitBlock = nullptr;
  int block = 0;
  std::vector<std::optional<uint64_t>> constants; // by register
  llvm::Value *guardMask = nullptr;               // of the current instruction, if it varies
};

} // namespace ptxvm
