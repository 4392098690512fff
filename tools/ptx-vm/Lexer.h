// Tokens of PTX. A word is an identifier, directive, opcode with its modifiers, or register; numbers carry their value.
#pragma once
#include "tools/ptx-vm/Ptx.h"

namespace ptxvm {

struct Token {
  enum Kind : uint8_t { Word, Integer, Float, String, Punctuation, End } kind = End;
  std::string_view text;
  int line = 0;
  uint64_t bits = 0;
  unsigned floatBits = 64;
  bool is(std::string_view what) const { return text == what && kind != String; }
};

std::vector<Token> tokenize(std::string_view text);

} // namespace ptxvm
