// A PTX module as parsed: variables, functions, instructions with their operands resolved to registers, symbols and
// labels. Nothing here knows what an opcode means; Opcodes.h does.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace ptxvm {

/// An error in the source: becomes CUDA_ERROR_INVALID_PTX with the line and its text in the log.
struct PtxError : std::runtime_error {
  PtxError(int line, const std::string &message) : std::runtime_error(message), line(line) {}
  int line;
};

enum class Type : uint8_t {
  None,
  Pred,
  B8,
  B16,
  B32,
  B64,
  B128,
  U8,
  U16,
  U32,
  U64,
  S8,
  S16,
  S32,
  S64,
  U16x2,
  S16x2,
  F16,
  F16x2,
  BF16,
  BF16x2,
  TF32,
  F32,
  F32x2,
  F64
};
struct TypeInfo {
  std::string_view name;
  unsigned bits;
  char kind; // 'b' bits, 'u' unsigned, 's' signed, 'f' floating point, 'p' predicate, '-' none
};
const TypeInfo &info(Type type);
std::optional<Type> typeNamed(std::string_view name);
inline unsigned bitsOf(Type type) { return info(type).bits; }
inline bool isFloat(Type type) { return info(type).kind == 'f'; }
inline bool isSigned(Type type) { return info(type).kind == 's'; }

enum class Space : uint8_t { Generic, Global, Const, Shared, Local, Param };
std::string_view nameOf(Space space);

struct Operand {
  enum Kind : uint8_t { Register, Integer, Float, Symbol, Memory, Vector, Sink, Special, Name } kind = Sink;
  bool negated = false;          // !p, or a minus before a register
  int reg = -1;                  // Register; Memory: base register or -1
  uint64_t bits = 0;             // Integer; Float: its bits as written (floatBits says how many)
  unsigned floatBits = 64;       // Float: 32 (0f...) or 64 (0d... or decimal)
  int64_t offset = 0;            // Memory, Symbol
  std::string name;              // Symbol, Special, Name (labels, functions); Memory: base symbol or empty
  std::vector<Operand> elements; // Vector
  std::vector<Operand> paired;   // the operand after '|', at most one
};

struct OpcodeRow;

struct Instruction {
  int line = 0;
  int guard = -1; // predicate register
  bool guardNegated = false;
  std::string opcode;
  std::vector<std::string> modifiers;
  std::vector<Operand> operands;
  const OpcodeRow *row = nullptr;
  std::vector<int> choice; // which alternative each token of the row's pattern took, -1 where it is absent
  Type type = Type::None;  // the last type among the modifiers, and the one before it
  Type type2 = Type::None;

  bool has(std::string_view modifier) const {
    for (const std::string &m : modifiers)
      if (m == modifier)
        return true;
    return false;
  }
};

struct Register {
  std::string name;
  Type type;
};

struct Variable {
  std::string name;
  Space space = Space::Global;
  Type type = Type::B8;
  uint64_t align = 1, bytes = 0;
  bool isExtern = false, isUnsized = false;
  int line = 0;
  std::vector<uint8_t> init;
  struct Address {
    uint64_t at;
    std::string symbol;
    int64_t offset;
    unsigned bytes;
  };
  std::vector<Address> addresses; // initial values that are addresses of other variables
  uint64_t offset = 0;            // parameters, and locals of a function: where it lies
};

struct Function {
  std::string name;
  bool isEntry = false, isDeclaration = false;
  int line = 0;
  std::vector<Variable> results, parameters;
  uint64_t parameterBytes = 0;
  std::vector<Register> registers;
  std::vector<Variable> variables; // .local, .shared and .param of the body
  std::vector<Instruction> body;
  std::map<std::string, size_t> labels; // the instruction that follows
  std::map<std::string, std::vector<std::string>> branchTargets;
  unsigned maxThreads[3] = {0, 0, 0}, requiredThreads[3] = {0, 0, 0};
  unsigned minBlocks = 0;
};

struct Module {
  int version = 0; // 83 for 8.3
  std::string target;
  int chip = 0; // 90 for sm_90a
  std::vector<std::string> lines;
  std::vector<Variable> variables;
  std::vector<Function> functions;

  const Function *function(std::string_view name) const {
    const Function *found = nullptr;
    for (const Function &f : functions)
      if (f.name == name && (!found || found->isDeclaration))
        found = &f;
    return found;
  }
  std::string textOf(int line) const;
};

/// The bits of a floating-point literal as a value of `type`.
uint64_t floatBits(const Operand &literal, Type type);

/// Parses and checks every instruction against the table of opcodes. Throws PtxError.
Module parse(std::string_view text);

} // namespace ptxvm
