//===- TextSteps.cpp - the steps of a tokenizer that rewrite text -------------------------===//

#include "runtime/TextSteps.h"
#include "runtime/Error.h"
#include "runtime/Utf8.h"
#include <algorithm>
#include <cstring>

using namespace sluice;
using runtime::Utf8Character;

static void expectAtMost(size_t bytes, size_t most) {
  if (bytes > most)
    throw runtime::Error("the model's tokenizer makes more than " + std::to_string(most) + " bytes of the text");
}

std::string sluice::replaceMatches(const Pattern &pattern, std::string_view text, std::string_view replacement,
                                   size_t most) {
  std::string out;
  size_t at = 0, begin, end;
  for (; pattern.find(text, at, false, begin, end); at = end) {
    out.append(text, at, begin - at).append(replacement);
    expectAtMost(out.size(), most);
  }
  return out.append(text, at);
}

//===-- Unicode normalisation -------------------------------------------------------------===//

namespace {

// Hangul syllables are decomposed and composed by arithmetic.
constexpr char32_t syllables = 0xAC00, leads = 0x1100, vowels = 0x1161, trails = 0x11A7;
constexpr char32_t leadCount = 19, vowelCount = 21, trailCount = 28, syllableCount = 11172;

struct Mark {
  char32_t point;
  uint8_t combiningClass;
};

class Segment { // characters that may change one another
public:
  explicit Segment(const Normalization &form) : form(form) {}

  void add(char32_t point) {
    if (point - syllables < syllableCount) {
      char32_t index = point - syllables;
      append(leads + index / (vowelCount * trailCount));
      append(vowels + index % (vowelCount * trailCount) / trailCount);
      if (index % trailCount)
        append(trails + index % trailCount);
      return;
    }
    const NormalizationEntry &entry = form.entry(point);
    if (!entry.decompositionSize)
      append(point);
    for (uint8_t i = 0; i < entry.decompositionSize; ++i)
      append(form.decompositions[entry.decompositionAt + i]);
  }

  void finish(std::string &out) {
    for (size_t begin = 0; begin < marks.size();) { // canonical order
      size_t end = begin + 1;
      if (marks[begin].combiningClass) {
        while (end < marks.size() && marks[end].combiningClass)
          ++end;
        std::stable_sort(marks.begin() + std::ptrdiff_t(begin), marks.begin() + std::ptrdiff_t(end),
                         [](const Mark &a, const Mark &b) { return a.combiningClass < b.combiningClass; });
      }
      begin = end;
    }
    if (!form.pairs.empty())
      compose();
    for (const Mark &mark : marks)
      runtime::appendUtf8(out, mark.point);
    marks.clear();
  }

private:
  void append(char32_t point) { marks.push_back({point, form.entry(point).combiningClass}); }

  void compose() {
    constexpr size_t none = SIZE_MAX;
    size_t starter = none, kept = 0;
    int last = -1; // combining class of what was kept last after the starter
    for (size_t i = 0; i < marks.size(); ++i) {
      Mark mark = marks[i];
      char32_t joined;
      if (starter != none && last < int(mark.combiningClass) && composed(marks[starter].point, mark.point, joined)) {
        marks[starter].point = joined;
        continue;
      }
      if (mark.combiningClass == 0) {
        starter = kept;
        last = -1;
      } else {
        last = mark.combiningClass;
      }
      marks[kept++] = mark;
    }
    marks.resize(kept);
  }

  bool composed(char32_t first, char32_t second, char32_t &joined) const {
    if (first - leads < leadCount && second - vowels < vowelCount) {
      joined = syllables + ((first - leads) * vowelCount + second - vowels) * trailCount;
      return true;
    }
    if (first - syllables < syllableCount && (first - syllables) % trailCount == 0 && second > trails &&
        second - trails < trailCount) {
      joined = first + second - trails;
      return true;
    }
    auto key = [](const CompositionPair &pair) { return uint64_t(pair.first) << 32 | pair.second; };
    uint64_t wanted = uint64_t(first) << 32 | second;
    auto found = std::ranges::lower_bound(form.pairs, wanted, {}, key);
    if (found == form.pairs.end() || key(*found) != wanted)
      return false;
    joined = found->result;
    return true;
  }

  const Normalization &form;
  std::vector<Mark> marks;
};

} // namespace

std::string sluice::normalized(const Normalization &form, std::string_view text) {
  std::string out;
  out.reserve(text.size());
  Segment segment(form);
  size_t previous = std::string::npos; // where in `out` the last character begins, if it may still be joined
  for (size_t at = 0; at < text.size();) {
    auto character = Utf8Character::at(text.substr(at));
    bool complete = character.kind == Utf8Character::Complete;
    if (!complete || form.isInert(character.point)) {
      previous = complete ? out.size() : std::string::npos;
      out.append(text, at, character.bytes);
      at += character.bytes;
      continue;
    }
    if (previous != std::string::npos) {
      segment.add(Utf8Character::at(std::string_view(out).substr(previous)).point);
      out.resize(previous);
    }
    while (at < text.size()) {
      character = Utf8Character::at(text.substr(at));
      if (character.kind != Utf8Character::Complete || form.isInert(character.point))
        break;
      segment.add(character.point);
      at += character.bytes;
    }
    segment.finish(out);
    previous = std::string::npos; // what follows is inert or no character
  }
  return out;
}

//===-- SentencePiece ---------------------------------------------------------------------===//

std::string sluice::mapCharacters(std::span<const uint8_t> map, std::string_view text, size_t most) {
  uint32_t trieBytes = 0;
  if (map.size() < sizeof trieBytes)
    throwDamaged();
  std::memcpy(&trieBytes, map.data(), sizeof trieBytes);
  if (trieBytes > map.size() - sizeof trieBytes)
    throwDamaged();
  const uint8_t *units = map.data() + sizeof trieBytes;
  size_t unitCount = trieBytes / sizeof(uint32_t);
  std::string_view values(reinterpret_cast<const char *>(units + trieBytes), map.size() - sizeof trieBytes - trieBytes);
  auto unit = [&](size_t i) {
    uint32_t value;
    if (i >= unitCount)
      throwDamaged();
    std::memcpy(&value, units + i * sizeof value, sizeof value);
    return value;
  };

  std::string out;
  for (size_t at = 0; at < text.size();) {
    size_t node = 0, length = 0;
    uint32_t value = 0;
    node ^= doubleArrayOffset(unit(node));
    for (size_t i = at; i < text.size(); ++i) {
      uint8_t byte = uint8_t(text[i]);
      node ^= byte;
      if (byte == 0 || node >= unitCount)
        break;
      uint32_t u = unit(node);
      if ((u & (0x80000000u | 0xFF)) != byte)
        break;
      node ^= doubleArrayOffset(u);
      if (u >> 8 & 1) {
        length = i + 1 - at;
        value = unit(node) & 0x7FFFFFFF;
      }
    }
    if (length) {
      std::string_view replacement = values.substr(std::min<size_t>(value, values.size()));
      out += replacement.substr(0, replacement.find('\0'));
      expectAtMost(out.size(), most);
    } else {
      length = Utf8Character::at(text.substr(at)).bytes;
      out.append(text, at, length);
    }
    at += length;
  }
  return out;
}

std::string sluice::collapseSpaces(std::string_view text) {
  std::string out;
  for (char c : text)
    if (c != ' ' || (!out.empty() && out.back() != ' '))
      out += c;
  if (out.ends_with(' '))
    out.pop_back();
  return out;
}

//===-- White space -----------------------------------------------------------------------===//

// Unicode's White_Space.
static bool isWhiteSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

size_t sluice::leadingSpace(std::string_view text) {
  size_t size = 0;
  while (size < text.size()) {
    auto character = Utf8Character::at(text.substr(size));
    if (character.kind != Utf8Character::Complete || !isWhiteSpace(character.point))
      break;
    size += character.bytes;
  }
  return size;
}

size_t sluice::trailingSpace(std::string_view text) {
  size_t begin = text.size();
  while (begin > 0) {
    size_t at = begin - 1;
    while (at > 0 && begin - at < 4 && (uint8_t(text[at]) & 0xC0) == 0x80)
      --at;
    auto character = Utf8Character::at(text.substr(at, begin - at));
    if (character.kind != Utf8Character::Complete || character.bytes != begin - at || !isWhiteSpace(character.point))
      break;
    begin = at;
  }
  return text.size() - begin;
}

std::string_view sluice::stripped(std::string_view text, bool left, bool right) {
  if (left)
    text.remove_prefix(leadingSpace(text));
  if (right)
    text.remove_suffix(trailingSpace(text));
  return text;
}
