//===- Fiber.cpp - switching stacks on x86-64 -----------------------------------------------------------===//

#include "tools/ptx-vm/Fiber.h"
#include <cstdint>
#include <new>
#include <sys/mman.h>

// Callee-saved registers of the System V ABI; the floating-point modes are the same in all fibers.
asm(R"(
.text
.globl ptxvmSwitch
.hidden ptxvmSwitch
.type ptxvmSwitch, @function
ptxvmSwitch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size ptxvmSwitch, . - ptxvmSwitch

.globl ptxvmStart
.hidden ptxvmStart
.type ptxvmStart, @function
ptxvmStart:
  movq %r12, %rdi
  callq *%rbx
  ud2
.size ptxvmStart, . - ptxvmStart
)");
extern "C" void ptxvmStart();

namespace ptxvm {

FiberPool::~FiberPool() {
  for (char *stack : free)
    munmap(stack, stackBytes);
}

void FiberPool::prepare(Fiber &fiber, void (*entry)(void *), void *argument) {
  if (free.empty()) {
    void *stack = mmap(nullptr, stackBytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
      throw std::bad_alloc();
    mprotect(stack, 4096, PROT_NONE);
    free.push_back(static_cast<char *>(stack));
  }
  fiber.stack = free.back();
  free.pop_back();
  uint64_t *top = reinterpret_cast<uint64_t *>(fiber.stack + stackBytes) - 8;
  *--top = reinterpret_cast<uint64_t>(ptxvmStart); // returned to
  *--top = 0;                                      // rbp
  *--top = reinterpret_cast<uint64_t>(entry);      // rbx
  *--top = reinterpret_cast<uint64_t>(argument);   // r12
  *--top = 0, *--top = 0, *--top = 0;              // r13, r14, r15
  fiber.stackPointer = top;
}

void FiberPool::release(Fiber &fiber) {
  free.push_back(fiber.stack);
  fiber.stack = nullptr;
}

} // namespace ptxvm
