//===- Utf8.h - characters in bytes that may not be UTF-8 ---------------------------===//
#ifndef SLUICE_RUNTIME_UTF8_H
#define SLUICE_RUNTIME_UTF8_H

#include <cstddef>
#include <string>
#include <string_view>

namespace sluice::runtime {

// The character that `text`, which is not empty, begins with.
struct Utf8Character {
  enum Kind { Complete, Incomplete, Invalid } kind; // Incomplete: more bytes could complete it
  char32_t point;                                   // U+FFFD unless complete
  size_t bytes;                                     // of it in `text`, at least 1

  static Utf8Character at(std::string_view text);
};

// Appends the bytes of a code point.
void appendUtf8(std::string &out, char32_t point);

// Columns of a terminal that the character takes: 0, 1 or 2.
int columnsOf(char32_t point);

// The text without what would act on a terminal: control characters are shown as codes (\x1b), what is not UTF-8 as
// U+FFFD.
std::string printable(std::string_view text);

// Makes a stream of bytes, cut anywhere, into pieces of whole characters. What is not UTF-8 becomes U+FFFD.
class Utf8Stream {
public:
  std::string push(std::string_view bytes); // what is complete now
  std::string finish();                     // the rest

private:
  std::string pending;
};

} // namespace sluice::runtime
#endif
