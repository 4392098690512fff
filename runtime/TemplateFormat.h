//===- TemplateFormat.h - the chat template section of a file -----------------------------===//
//
// A Jinja template, parsed at compile time into a flat tree: compiler/text writes it, runtime/ChatTemplate walks it in
// place. Layout: TemplateSection, nodes, children (indices of nodes), string entries, string bytes.
//
//===------------------------------------------------------------------------------------------===//
#ifndef SLUICE_RUNTIME_TEMPLATEFORMAT_H
#define SLUICE_RUNTIME_TEMPLATEFORMAT_H

#include <cstdint>
#include <string_view>

namespace sluice {

// What the runtime implements; the compiler refuses other names.
constexpr std::string_view templateFilters[] = {
    "abs",      "attr",       "batch",  "capitalize", "center",    "count",    "d",       "default",
    "dictsort", "e",          "escape", "first",      "float",     "format",   "groupby", "indent",
    "int",      "items",      "join",   "last",       "length",    "list",     "lower",   "map",
    "max",      "min",        "reject", "rejectattr", "replace",   "reverse",  "round",   "safe",
    "select",   "selectattr", "slice",  "sort",       "string",    "sum",      "title",   "tojson",
    "trim",     "truncate",   "unique", "upper",      "urlencode", "wordcount"};
constexpr std::string_view templateTests[] = {
    "!=",     "==",       "boolean", "callable", "defined",     "divisibleby", "eq",   "equalto", "even",
    "false",  "filter",   "float",   "ge",       "greaterthan", "gt",          "in",   "integer", "iterable",
    "le",     "lessthan", "lower",   "lt",       "mapping",     "ne",          "none", "number",  "odd",
    "sameas", "sequence", "string",  "test",     "true",        "undefined",   "upper"};

constexpr uint32_t templateMagic = 0x324A4E4A; // "JNJ2"
constexpr uint32_t noString = UINT32_MAX;

// What a node is. Children are listed behind each; [x] may be absent, which is then a Missing node.
enum class NodeKind : uint8_t {
  Missing,
  // Statements
  Block,       // statements
  Text,        // text: the bytes
  Output,      // expression
  If,          // condition, then, [else]
  For,         // target (Name or Tuple of names), iterable, [filter condition], body, [else]
  Set,         // target (Name, Tuple of names, or Attribute of a namespace), value
  SetBlock,    // target, body
  Macro,       // text: name; Parameter..., body last
  Parameter,   // text: name; [default]
  CallBlock,   // call, body
  FilterBlock, // Filter over Missing, body
  With,        // target, value, target, value ..., body: in a scope of its own
  Break,
  Continue,
  // Expressions
  String,  // text
  Integer, // number.integer
  Float,   // number.real
  True,
  False,
  None,
  Name,      // text
  List,      // items
  Tuple,     // items
  Dict,      // key, value, key, value ...
  Attribute, // object; text: name
  Item,      // object, index
  Slice,     // object, [start], [stop], [step]
  Call,      // callee, arguments (Keyword for named ones)
  Keyword,   // text: name; value
  Filter,    // object, arguments; text: name
  Test,      // object, arguments; text: name
  Not,       // operand
  Negate,    // operand
  Plus,      // operand
  And,
  Or,
  Conditional, // then, condition, [else]
  // Binary: left, right
  Add,
  Subtract,
  Multiply,
  Divide,
  FloorDivide,
  Modulo,
  Power,
  Concatenate,
  Equal,
  NotEqual,
  Less,
  LessEqual,
  Greater,
  GreaterEqual,
  In,
  NotIn,
  Last = NotIn,
};

struct TemplateNode {
  NodeKind kind;
  uint8_t reserved[3];
  uint32_t line;       // in the template's source
  uint32_t text;       // index of a string, noString if none
  uint32_t firstChild; // in the children
  uint32_t childCount;
  uint32_t reserved2;
  union {
    int64_t integer;
    double real;
  } number;
};

struct TemplateString {
  uint32_t offset, size;
};

struct TemplateSection {
  uint32_t magic;
  uint32_t nodeCount, childCount, stringCount, poolSize;
  uint32_t root; // a Block. A node's children come before it, so that no path is endless.
};

} // namespace sluice
#endif
