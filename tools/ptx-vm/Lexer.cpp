//===- Lexer.cpp - tokens of PTX ---------------------------------------------===//

#include "tools/ptx-vm/Lexer.h"
#include <cstring>

namespace ptxvm {
namespace {

bool startsWord(char c) {
  return std::isalpha((unsigned char)c) || c == '_' || c == '$' || c == '%' || c == '.' || c == '@';
}
bool continuesWord(char c) {
  return std::isalnum((unsigned char)c) || c == '_' || c == '$' || c == '%' || c == '.' || c == ':';
}

class Lexer {
public:
  explicit Lexer(std::string_view text) : text(text) {}

  std::vector<Token> run() {
    while (skipSpace(), at < text.size()) {
      char c = text[at];
      if (std::isdigit((unsigned char)c))
        number();
      else if (c == '"')
        string();
      else if (startsWord(c) && c != '@')
        word();
      else
        push(Token::Punctuation, 1);
    }
    tokens.push_back({Token::End, "end of file", line});
    return std::move(tokens);
  }

private:
  void skipSpace() {
    while (at < text.size()) {
      if (text[at] == '\n')
        ++line, ++at;
      else if (std::isspace((unsigned char)text[at]) || text[at] == 0)
        ++at;
      else if (text.substr(at, 2) == "//")
        while (at < text.size() && text[at] != '\n')
          ++at;
      else if (text.substr(at, 2) == "/*") {
        size_t end = text.find("*/", at + 2);
        if (end == text.npos)
          throw PtxError(line, "comment has no end");
        for (; at < end + 2; ++at)
          line += text[at] == '\n';
      } else
        return;
    }
  }

  void push(Token::Kind kind, size_t length) {
    tokens.push_back({kind, text.substr(at, length), line});
    at += length;
  }

  void word() {
    size_t end = at + 1;
    const bool isDirective = text[at] == '.'; // ends at the next: .reg.b32
    while (end < text.size() && continuesWord(text[end]) && !(isDirective && text[end] == '.')) {
      // A label's colon ends the word; "::" is part of modifiers such as .L1::no_allocate.
      if (text[end] == ':') {
        if (text.substr(end, 2) != "::")
          break;
        ++end;
      }
      ++end;
    }
    push(Token::Word, end - at);
  }

  void string() {
    size_t end = text.find('"', at + 1);
    if (end == text.npos)
      throw PtxError(line, "string has no end");
    push(Token::String, end + 1 - at);
  }

  void number() {
    size_t end = at;
    Token token{Token::Integer, {}, line};
    auto hex = [&](size_t from, size_t digits) {
      end = from;
      while (end < text.size() && std::isxdigit((unsigned char)text[end]) && (!digits || end < from + digits))
        token.bits = token.bits * 16 + std::stoul(std::string(1, text[end++]), nullptr, 16);
      if (end == from || (digits && end != from + digits))
        throw PtxError(line, "expected " + std::to_string(digits ? digits : 1) + " hexadecimal digits");
    };
    char second = at + 1 < text.size() ? text[at + 1] : ' ';
    if (text[at] == '0' && (second == 'f' || second == 'F')) {
      token.kind = Token::Float, token.floatBits = 32;
      hex(at + 2, 8);
    } else if (text[at] == '0' && (second == 'd' || second == 'D')) {
      token.kind = Token::Float;
      hex(at + 2, 16);
    } else if (text[at] == '0' && (second == 'x' || second == 'X')) {
      hex(at + 2, 0);
    } else if (text[at] == '0' && (second == 'b' || second == 'B')) {
      for (end = at + 2; end < text.size() && (text[end] == '0' || text[end] == '1'); ++end)
        token.bits = token.bits * 2 + (text[end] - '0');
    } else {
      while (end < text.size() && std::isdigit((unsigned char)text[end]))
        ++end;
      bool real = end < text.size() && (text[end] == '.' || text[end] == 'e' || text[end] == 'E');
      std::string digits(text.substr(at, 60));
      if (real) {
        char *stop;
        double value = std::strtod(digits.c_str(), &stop);
        std::memcpy(&token.bits, &value, 8);
        token.kind = Token::Float;
        end = at + (stop - digits.c_str());
      } else {
        token.bits = std::stoull(digits, nullptr, text[at] == '0' ? 8 : 10);
      }
    }
    if (token.kind == Token::Integer && end < text.size() && (text[end] == 'U' || text[end] == 'u'))
      ++end;
    token.text = text.substr(at, end - at);
    at = end;
    tokens.push_back(token);
  }

  std::string_view text;
  size_t at = 0;
  int line = 1;
  std::vector<Token> tokens;
};

} // namespace

std::vector<Token> tokenize(std::string_view text) { return Lexer(text).run(); }

} // namespace ptxvm
