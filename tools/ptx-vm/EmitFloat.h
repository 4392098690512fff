// What the emitters of floating-point opcodes share.
#pragma once
#include "tools/ptx-vm/Translate.h"

namespace ptxvm {

enum Rounding { kNearest, kTowardZero, kDown, kUp };
int roundingOf(const Instruction &inst);

llvm::Value *flushSubnormals(Emitter &e, llvm::Value *f32);
llvm::Value *saturate(Emitter &e, llvm::Value *v); // to [0, 1]; NaN becomes 0
llvm::Value *minMax(Emitter &e, llvm::Value *a, llvm::Value *b, bool isMax, bool nan, bool xorSign);
llvm::Value *compareFloat(Emitter &e, const std::string &how, llvm::Value *a, llvm::Value *b);
llvm::Value *floatIn(Emitter &e, size_t i); // with .ftz if the instruction has it
void floatOut(Emitter &e, llvm::Value *v);  // with .ftz and .sat

// f16 and bf16, given as vectors or scalars of half or i16.
llvm::Value *toFloat(Emitter &e, llvm::Value *half, bool isBrain);
llvm::Value *toHalf(Emitter &e, llvm::Value *f32, bool isBrain, int rounding);

} // namespace ptxvm
