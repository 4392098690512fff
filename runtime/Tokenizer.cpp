//===- Tokenizer.cpp - text to token ids and back -----------------------------------------===//

#include "runtime/Tokenizer.h"
#include "runtime/TokenizerFormat.h"
#include "runtime/Utf8.h"
#include <algorithm>
#include <cstring>
#include <queue>
#include <stdexcept>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

using namespace sluice;

// A compiled pattern, for text that is known to be UTF-8: PCRE2 would check all that follows again at every match.
struct Tokenizer::Pattern {
  pcre2_code *code = nullptr;
  pcre2_match_data *match = nullptr;
  pcre2_match_context *context = nullptr;
  pcre2_jit_stack *stack = nullptr;

  explicit Pattern(std::string_view source) {
    int error;
    PCRE2_SIZE at;
    code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(source.data()), source.size(), PCRE2_UTF | PCRE2_UCP, &error, &at,
                         nullptr);
    if (!code)
      throw std::runtime_error("the tokenizer's pattern does not compile");
    match = pcre2_match_data_create_from_pattern(code, nullptr);
    context = pcre2_match_context_create(nullptr);
    if (pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0) { // otherwise interpreted, in heap memory
      stack = pcre2_jit_stack_create(32 * 1024, 4 * 1024 * 1024, nullptr);
      pcre2_jit_stack_assign(context, nullptr, stack);
    }
  }
  ~Pattern() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(match);
    pcre2_code_free(code);
  }

  // The next match that is not empty, at or after `from`, where a character begins; false if there is none.
  bool next(std::string_view text, size_t from, size_t &begin, size_t &end) const {
    auto run = [&](uint32_t how) {
      return pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                         PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY | how, match, context);
    };
    int count = run(0);
    if (count == PCRE2_ERROR_JIT_STACKLIMIT)
      count = run(PCRE2_NO_JIT);
    if (count < 0 && count != PCRE2_ERROR_NOMATCH)
      throw std::runtime_error("the tokenizer's pattern failed on this text (PCRE2 error " + std::to_string(count) +
                               ")");
    if (count < 0)
      return false;
    const PCRE2_SIZE *range = pcre2_get_ovector_pointer(match);
    begin = range[0];
    end = range[1];
    return true;
  }
};

template <typename T> const T *Tokenizer::table(uint64_t at, uint64_t count) const {
  if (at % 8 != 0 || at > bytes.size() || count > (bytes.size() - at) / sizeof(T))
    throw std::runtime_error("the tokenizer section is damaged");
  return reinterpret_cast<const T *>(bytes.data() + at);
}

Tokenizer::Tokenizer(std::span<const uint8_t> data) : bytes(data) {
  section = table<TokenizerSection>(0, 1);
  auto powerOfTwo = [](uint32_t n) { return n != 0 && (n & (n - 1)) == 0; };
  if (section->magic != tokenizerMagic || !powerOfTwo(section->mergeSlots) || !powerOfTwo(section->wordSlots))
    throw std::runtime_error("the tokenizer section is damaged");
  const uint32_t *offsets = table<uint32_t>(section->tokenOffsetsAt, uint64_t(section->vocabulary) + 1);
  table<uint8_t>(section->kindsAt, section->vocabulary);
  table<uint32_t>(section->byteTokensAt, 256);
  table<MergeSlot>(section->mergesAt, section->mergeSlots);
  table<uint32_t>(section->wordsAt, section->wordSlots);
  table<uint32_t>(section->endsAt, section->endCount);
  const char *pool = table<char>(section->poolAt, section->poolSize);
  for (uint32_t i = 0; i < section->vocabulary; ++i)
    if (offsets[i] > offsets[i + 1] || offsets[i + 1] > section->poolSize)
      throw std::runtime_error("the tokenizer section is damaged");

  const PatternEntry *entries = table<PatternEntry>(section->patternsAt, section->patternCount);
  for (uint32_t i = 0; i < section->patternCount; ++i) {
    if (entries[i].offset > section->poolSize || entries[i].size > section->poolSize - entries[i].offset)
      throw std::runtime_error("the tokenizer section is damaged");
    patterns.push_back(std::make_unique<Pattern>(std::string_view(pool + entries[i].offset, entries[i].size)));
  }
  specialsByFirstByte.resize(256);
  const uint32_t *specials = table<uint32_t>(section->specialsAt, section->specialCount);
  for (uint32_t i = 0; i < section->specialCount; ++i) {
    if (specials[i] >= section->vocabulary || bytesOf(specials[i]).empty())
      throw std::runtime_error("the tokenizer section is damaged");
    specialsByFirstByte[uint8_t(bytesOf(specials[i])[0])].push_back(specials[i]);
  }
}

Tokenizer::~Tokenizer() = default;

std::string_view Tokenizer::bytesOf(uint32_t id) const {
  const uint32_t *offsets = reinterpret_cast<const uint32_t *>(bytes.data() + section->tokenOffsetsAt);
  const char *pool = reinterpret_cast<const char *>(bytes.data() + section->poolAt);
  return {pool + offsets[id], offsets[id + 1] - offsets[id]};
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool parseSpecial, bool addBos) const {
  std::vector<int32_t> ids;
  const uint8_t *kinds = bytes.data() + section->kindsAt;
  size_t pending = 0; // start of the text not yet encoded
  for (size_t at = 0; at < text.size(); ++at) {
    for (uint32_t id : specialsByFirstByte[uint8_t(text[at])]) {
      if ((!parseSpecial && kinds[id] != UserDefinedToken) || !text.substr(at).starts_with(bytesOf(id)))
        continue;
      encodeBytes(text.substr(pending, at - pending), ids);
      ids.push_back(int32_t(id));
      pending = at + bytesOf(id).size();
      at = pending - 1;
      break;
    }
  }
  encodeBytes(text.substr(pending), ids);
  if (addBos && section->bos != noToken && (ids.empty() || ids[0] != int32_t(section->bos)))
    ids.insert(ids.begin(), int32_t(section->bos));
  return ids;
}

// Runs of UTF-8 are split by the patterns; the bytes between them are pieces as they are.
void Tokenizer::encodeBytes(std::string_view text, std::vector<int32_t> &ids) const {
  using runtime::Utf8Character;
  for (size_t begin = 0, end = 0; begin < text.size(); begin = end) {
    bool valid = Utf8Character::at(text.substr(begin)).kind == Utf8Character::Complete;
    while (end < text.size()) {
      Utf8Character character = Utf8Character::at(text.substr(end));
      if ((character.kind == Utf8Character::Complete) != valid)
        break;
      end += character.bytes;
    }
    if (valid)
      encodeText(text.substr(begin, end - begin), 0, ids);
    else
      encodePiece(text.substr(begin, end - begin), ids);
  }
}

// Splits by patterns[pattern], matches and what lies between them alike, and goes on with the next.
void Tokenizer::encodeText(std::string_view text, size_t pattern, std::vector<int32_t> &ids) const {
  if (text.empty())
    return;
  if (pattern == patterns.size())
    return encodePiece(text, ids);
  size_t at = 0, begin, end;
  for (; at < text.size() && patterns[pattern]->next(text, at, begin, end); at = end) {
    encodeText(text.substr(at, begin - at), pattern + 1, ids);
    encodeText(text.substr(begin, end - begin), pattern + 1, ids);
  }
  encodeText(text.substr(at), pattern + 1, ids);
}

void Tokenizer::encodePiece(std::string_view piece, std::vector<int32_t> &ids) const {
  const uint32_t *byteTokens = reinterpret_cast<const uint32_t *>(bytes.data() + section->byteTokensAt);
  const MergeSlot *merges = reinterpret_cast<const MergeSlot *>(bytes.data() + section->mergesAt);
  if (section->wholeWords) {
    const uint32_t *words = reinterpret_cast<const uint32_t *>(bytes.data() + section->wordsAt);
    uint32_t mask = section->wordSlots - 1;
    for (uint32_t slot = wordHash(piece.data(), piece.size()) & mask, tries = 0;
         words[slot] != noToken && tries <= mask; slot = (slot + 1) & mask, ++tries)
      if (words[slot] < section->vocabulary && bytesOf(words[slot]) == piece) {
        ids.push_back(int32_t(words[slot]));
        return;
      }
  }
  auto findMerge = [&](uint32_t left, uint32_t right) -> const MergeSlot * {
    uint32_t mask = section->mergeSlots - 1;
    for (uint32_t slot = mergeHash(left, right) & mask, tries = 0; merges[slot].left != noToken && tries <= mask;
         slot = (slot + 1) & mask, ++tries)
      if (merges[slot].left == left && merges[slot].right == right)
        return &merges[slot];
    return nullptr;
  };

  // Symbols in a doubly linked list; candidate merges by rank, then position. A candidate is stale once either side
  // changed.
  struct Symbol {
    uint32_t id, previous, next;
  };
  struct Candidate {
    uint32_t rank, left, leftId, rightId, result;
    bool operator>(const Candidate &other) const { return rank != other.rank ? rank > other.rank : left > other.left; }
  };
  constexpr uint32_t none = UINT32_MAX;
  std::vector<Symbol> symbols;
  for (char c : piece)
    if (uint32_t id = byteTokens[uint8_t(c)]; id != noToken)
      symbols.push_back({id, uint32_t(symbols.size()) - 1, uint32_t(symbols.size()) + 1});
  if (symbols.empty())
    return;
  symbols.back().next = none;

  std::vector<Candidate> initial;
  auto candidate = [&](uint32_t left, auto &&keep) {
    if (left == none || symbols[left].next == none)
      return;
    uint32_t a = symbols[left].id, b = symbols[symbols[left].next].id;
    if (const MergeSlot *merge = findMerge(a, b))
      keep(Candidate{merge->rank, left, a, b, merge->result});
  };
  for (uint32_t i = 0; i < symbols.size(); ++i)
    candidate(i, [&](Candidate c) { initial.push_back(c); });
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue(std::greater<>(), std::move(initial));
  while (!queue.empty()) {
    Candidate best = queue.top();
    queue.pop();
    Symbol &left = symbols[best.left];
    if (left.id != best.leftId || left.next == none || symbols[left.next].id != best.rightId)
      continue;
    uint32_t right = left.next;
    left.id = best.result;
    left.next = symbols[right].next;
    symbols[right].id = noToken;
    if (left.next != none)
      symbols[left.next].previous = best.left;
    auto push = [&](Candidate c) { queue.push(c); };
    candidate(best.left, push);
    candidate(left.previous, push);
  }
  for (uint32_t i = 0; i != none; i = symbols[i].next)
    ids.push_back(int32_t(symbols[i].id));
}

std::string Tokenizer::decode(int32_t id, bool special) const {
  if (id < 0 || uint32_t(id) >= section->vocabulary)
    return "";
  if (!special && bytes[section->kindsAt + uint32_t(id)] == ControlToken)
    return "";
  return std::string(bytesOf(uint32_t(id)));
}

bool Tokenizer::isEndOfGeneration(int32_t id) const {
  const uint32_t *ends = reinterpret_cast<const uint32_t *>(bytes.data() + section->endsAt);
  return std::find(ends, ends + section->endCount, uint32_t(id)) != ends + section->endCount;
}
int32_t Tokenizer::bos() const { return int32_t(section->bos); }
int32_t Tokenizer::eos() const { return int32_t(section->eos); }
bool Tokenizer::addsBos() const { return section->addBos; }
uint32_t Tokenizer::vocabulary() const { return section->vocabulary; }
