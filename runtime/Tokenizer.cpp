//===- Tokenizer.cpp - text to token ids and back -----------------------------------------===//

#include "runtime/Tokenizer.h"
#include "runtime/TextSteps.h"
#include "runtime/TokenModels.h"
#include "runtime/Utf8.h"
#include <algorithm>

using namespace sluice;

namespace {

struct Range {
  size_t begin, end;
  bool isMatch;
};

// One call of encode: walks pieces through the steps, depth first, so that ids come out in order.
class Encoding {
public:
  Encoding(const TokenizerTables &tables, bool parseSpecial, std::string_view text, std::vector<int32_t> &ids)
      : tables(tables), parseSpecial(parseSpecial), most((size_t(16) << 20) + 8 * text.size()), ids(ids),
        model(tables, ids) {}

  // `atStart`: the whole text begins with the piece.
  void run(std::string_view piece, size_t index, bool atStart) {
    std::string rewritten; // what `piece` is, after a step has
    for (; !piece.empty(); ++index) {
      if (index == tables.steps.size())
        return model.encode(piece);
      const TokenizerStep &step = tables.steps[index];
      std::string_view text = tables.pool.substr(step.textAt, step.textSize);
      switch (step.kind) {
      case StepKind::SplitAdded:
        return splitAdded(piece, index, atStart);
      case StepKind::SplitPattern:
        return splitPattern(piece, index, atStart);
      case StepKind::Prepend:
        if (((step.flags & UnlessPresent) && piece.starts_with(text)) || ((step.flags & OnlyAtStart) && !atStart))
          continue;
        rewritten = std::string(text).append(piece);
        break;
      case StepKind::Replace:
        rewritten = replaceMatches(tables.patterns[step.table], piece, text, most);
        break;
      case StepKind::Normalize:
        rewritten = normalized(tables.normalization, piece);
        break;
      case StepKind::MapCharacters:
        rewritten = mapCharacters(tables.characterMap, piece, most);
        break;
      case StepKind::CollapseSpaces:
        rewritten = collapseSpaces(piece);
        break;
      default:
        piece = stripped(piece, step.flags & StripLeft, step.flags & StripRight);
        continue;
      }
      piece = rewritten;
    }
  }

private:
  static bool touchesWord(const Pattern *word, std::string_view before, std::string_view after) {
    size_t last = before.size();
    while (last > 0 && (uint8_t(before[--last]) & 0xC0) == 0x80)
      ;
    return word && (word->match(before, last, false) == before.size() ||
                    (!after.empty() && word->match(after, 0, false) != std::string_view::npos));
  }

  // The leftmost, longest added token at each place. As in `tokenizers`, a match may begin in the white space that the
  // token before it strips: only the match that itself strips to its left loses that part, and is nothing if that is
  // all.
  void splitAdded(std::string_view text, size_t index, bool atStart) {
    const AddedTokens &added = tables.added[tables.steps[index].table];
    size_t pending = 0;  // start of the text not yet encoded
    size_t blankEnd = 0; // of the white space that was stripped last
    for (size_t at = 0; at < text.size(); ++at) {
      uint32_t node = Trie::root, found = noToken;
      size_t end = at;
      for (size_t i = at; i < text.size() && added.trie.step(node, uint8_t(text[i]));) {
        ++i;
        if (added.trie.value(node) < added.tokens.size()) {
          found = added.trie.value(node);
          end = i;
        }
      }
      if (found == noToken)
        continue;
      const AddedToken &token = added.tokens[found];
      size_t begin = at;
      at = end - 1; // what follows is sought behind it, taken or not
      if ((token.special && !parseSpecial) ||
          (token.singleWord && touchesWord(added.word, text.substr(0, begin), text.substr(end))))
        continue;
      if (token.leftStrip)
        begin = begin > pending ? begin - trailingSpace(text.substr(pending, begin - pending)) : pending;
      if (token.rightStrip) {
        if (end >= blankEnd)
          blankEnd = end + leadingSpace(text.substr(end));
        end = blankEnd;
      }
      if (begin >= end)
        continue;
      if (pending < begin)
        run(text.substr(pending, begin - pending), index + 1, atStart && pending == 0);
      ids.push_back(int32_t(token.id));
      pending = end;
    }
    run(text.substr(pending), index + 1, atStart && pending == 0);
  }

  void splitPattern(std::string_view text, size_t index, bool atStart) {
    const TokenizerStep &step = tables.steps[index];
    const Pattern &pattern = tables.patterns[step.table];
    const bool standIns = step.flags & MatchStandIns, invert = step.flags & InvertMatches;
    std::vector<Range> ranges;
    size_t at = 0, begin, end;
    auto add = [&](size_t from, size_t to, bool isMatch) {
      if (from < to)
        ranges.push_back({from, to, isMatch != invert});
    };
    for (; pattern.find(text, at, standIns, begin, end); at = end) {
      add(at, begin, false);
      add(begin, end, true);
    }
    add(at, text.size(), false);
    joinRanges(ranges, step.behavior);
    for (const Range &range : ranges)
      if (step.behavior != SplitBehavior::Removed || !range.isMatch)
        run(text.substr(range.begin, range.end - range.begin), index + 1, atStart && range.begin == 0);
  }

  static void joinRanges(std::vector<Range> &ranges, SplitBehavior behavior) {
    if (behavior == SplitBehavior::Isolated || behavior == SplitBehavior::Removed)
      return;
    // Whether the second joins the first. Of neighbouring matches only one is merged with what lies beside them.
    size_t kept = 0;
    bool matchBefore = false;
    if (behavior == SplitBehavior::MergedWithNext) {
      for (size_t i = ranges.size(); i-- > 0;) {
        bool isMatch = ranges[i].isMatch, join = isMatch && !matchBefore && i + 1 < ranges.size();
        matchBefore = isMatch;
        if (join) {
          ranges[i].end = ranges[i + 1].end;
          ranges[i + 1].begin = ranges[i + 1].end; // empty now
        }
      }
      std::erase_if(ranges, [](const Range &range) { return range.begin == range.end; });
      return;
    }
    for (size_t i = 0; i < ranges.size(); ++i) {
      Range range = ranges[i];
      bool join = kept > 0 && (behavior == SplitBehavior::Contiguous ? range.isMatch == ranges[kept - 1].isMatch
                                                                     : range.isMatch && !matchBefore);
      matchBefore = range.isMatch;
      if (join)
        ranges[kept - 1].end = range.end;
      else
        ranges[kept++] = range;
    }
    ranges.resize(kept);
  }

  const TokenizerTables &tables;
  const bool parseSpecial;
  const size_t most; // bytes that steps may make of it
  std::vector<int32_t> &ids;
  TokenModel model;
};

} // namespace

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool parseSpecial, bool addPrefix) const {
  std::vector<int32_t> ids;
  Encoding(tables, parseSpecial, text, ids).run(text, 0, true);
  if (addPrefix) {
    auto same = [](uint32_t a, int32_t b) { return a == uint32_t(b); };
    if (ids.size() < tables.prefix.size() || !std::equal(tables.prefix.begin(), tables.prefix.end(), ids.begin(), same))
      ids.insert(ids.begin(), tables.prefix.begin(), tables.prefix.end());
  }
  return ids;
}

std::string Tokenizer::decode(int32_t id, bool special) const {
  if (id < 0 || uint32_t(id) >= vocabulary())
    return "";
  uint8_t kind = tables.kinds[uint32_t(id)];
  if (!special && kind == ControlToken)
    return "";
  std::string_view text = tables.textOf(uint32_t(id));
  if (kind == ByteToken) {
    auto found = std::ranges::find(tables.byteTokens, uint32_t(id));
    return found == tables.byteTokens.end() ? std::string(text)
                                            : std::string(1, char(found - tables.byteTokens.begin()));
  }
  std::string out;
  constexpr std::string_view mark = "\xE2\x96\x81";
  bool marks = tables.header->spaceMark && kind != ControlToken;
  for (size_t at = 0; at < text.size();) {
    bool space = marks && text.substr(at).starts_with(mark);
    out += space ? ' ' : text[at];
    at += space ? mark.size() : 1;
  }
  return out;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool special) const {
  std::string out;
  bool first = tables.header->dropsFirstSpace;
  for (int32_t id : ids) {
    std::string text = decode(id, special);
    bool control = id >= 0 && uint32_t(id) < vocabulary() && tables.kinds[uint32_t(id)] == ControlToken;
    if (first && !control && text.starts_with(' '))
      text.erase(0, 1);
    first = first && (control || text.empty());
    out += text;
  }
  return out;
}

bool Tokenizer::isEndOfGeneration(int32_t id) const {
  return std::ranges::find(tables.ends, uint32_t(id)) != tables.ends.end();
}
