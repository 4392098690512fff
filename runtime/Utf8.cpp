//===- Utf8.cpp - characters in bytes that may not be UTF-8 -------------------------===//

#include "runtime/Utf8.h"
#include <algorithm>
#include <iterator>

using namespace sluice::runtime;

Utf8Character Utf8Character::at(std::string_view text) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80)
    return {Complete, lead, 1};
  const size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                        : (lead & 0xF0) == 0xE0        ? 3
                        : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                       : 0;
  if (!length)
    return {Invalid, 0xFFFD, 1};
  // The second byte's range excludes overlong forms, surrogates and what lies above U+10FFFF.
  const unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  char32_t point = lead & (0x7F >> length);
  for (size_t i = 1; i < length; ++i) {
    if (i == text.size())
      return {Incomplete, 0xFFFD, i};
    if (byte(i) < (i == 1 ? low : 0x80) || byte(i) > (i == 1 ? high : 0xBF))
      return {Invalid, 0xFFFD, i};
    point = point << 6 | (byte(i) & 0x3F);
  }
  return {Complete, point, length};
}

void sluice::runtime::appendUtf8(std::string &out, char32_t point) {
  if (point < 0x80) {
    out += char(point);
  } else if (point < 0x800) {
    out += {char(0xC0 | point >> 6), char(0x80 | (point & 0x3F))};
  } else if (point < 0x10000) {
    out += {char(0xE0 | point >> 12), char(0x80 | (point >> 6 & 0x3F)), char(0x80 | (point & 0x3F))};
  } else {
    out += {char(0xF0 | point >> 18), char(0x80 | (point >> 12 & 0x3F)), char(0x80 | (point >> 6 & 0x3F)),
            char(0x80 | (point & 0x3F))};
  }
}

namespace {
struct Range {
  char32_t first, last;
};
} // namespace

static bool contains(const Range *begin, const Range *end, char32_t point) {
  const Range *range = std::lower_bound(begin, end, point, [](const Range &r, char32_t p) { return r.last < p; });
  return range != end && range->first <= point;
}

int sluice::runtime::columnsOf(char32_t point) {
  // The common blocks of Unicode's combining marks and of its East Asian Width W and F.
  static constexpr Range none[] = {{0x0300, 0x036F}, {0x0483, 0x0489},   {0x0591, 0x05BD},  {0x0610, 0x061A},
                                   {0x064B, 0x065F}, {0x0900, 0x0902},   {0x093C, 0x093C},  {0x0941, 0x0948},
                                   {0x0E31, 0x0E31}, {0x0E34, 0x0E3A},   {0x0E47, 0x0E4E},  {0x1AB0, 0x1AFF},
                                   {0x1DC0, 0x1DFF}, {0x200B, 0x200F},   {0x20D0, 0x20FF},  {0xFE00, 0xFE0F},
                                   {0xFE20, 0xFE2F}, {0x1F3FB, 0x1F3FF}, {0xE0100, 0xE01EF}};
  static constexpr Range wide[] = {
      {0x1100, 0x115F},   {0x231A, 0x231B},   {0x2329, 0x232A},  {0x23E9, 0x23EC},   {0x25FD, 0x25FE},
      {0x2614, 0x2615},   {0x2648, 0x2653},   {0x26AA, 0x26AB},  {0x26BD, 0x26BE},   {0x26C4, 0x26C5},
      {0x2705, 0x2705},   {0x270A, 0x270B},   {0x2728, 0x2728},  {0x274C, 0x274C},   {0x2753, 0x2755},
      {0x2757, 0x2757},   {0x2795, 0x2797},   {0x2E80, 0x303E},  {0x3041, 0x33FF},   {0x3400, 0x4DBF},
      {0x4E00, 0x9FFF},   {0xA000, 0xA4CF},   {0xA960, 0xA97F},  {0xAC00, 0xD7A3},   {0xF900, 0xFAFF},
      {0xFE30, 0xFE6F},   {0xFF00, 0xFF60},   {0xFFE0, 0xFFE6},  {0x1F300, 0x1F64F}, {0x1F680, 0x1F6FF},
      {0x1F900, 0x1F9FF}, {0x1FA70, 0x1FAFF}, {0x20000, 0x3FFFD}};
  if (contains(std::begin(none), std::end(none), point))
    return 0;
  return contains(std::begin(wide), std::end(wide), point) ? 2 : 1;
}

std::string sluice::runtime::printable(std::string_view text) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  while (!text.empty()) {
    const Utf8Character character = Utf8Character::at(text);
    const char32_t point = character.point;
    const bool turns = point == 0x061C || point == 0x200E || point == 0x200F || (point >= 0x202A && point <= 0x202E) ||
                       (point >= 0x2066 && point <= 0x2069); // changes the direction of what follows
    if (point < 0x20 || (point >= 0x7F && point < 0xA0))     // C0, DEL, C1
      out += {'\\', 'x', digits[point >> 4], digits[point & 15]};
    else if (turns)
      out += {'\\', 'u', digits[point >> 12], digits[point >> 8 & 15], digits[point >> 4 & 15], digits[point & 15]};
    else
      appendUtf8(out, point);
    text.remove_prefix(character.bytes);
  }
  return out;
}

std::string Utf8Stream::push(std::string_view bytes) {
  pending += bytes;
  std::string out;
  size_t at = 0;
  while (at < pending.size()) {
    std::string_view rest = std::string_view(pending).substr(at);
    Utf8Character character = Utf8Character::at(rest);
    if (character.kind == Utf8Character::Incomplete)
      break;
    out += character.kind == Utf8Character::Complete ? rest.substr(0, character.bytes) : "\xEF\xBF\xBD";
    at += character.bytes;
  }
  pending.erase(0, at);
  return out;
}

std::string Utf8Stream::finish() {
  bool rest = !pending.empty();
  pending.clear();
  return rest ? "\xEF\xBF\xBD" : "";
}
