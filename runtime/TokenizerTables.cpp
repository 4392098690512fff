//===- TokenizerTables.cpp - the tokenizer section, every range checked -------------------===//

#include "runtime/TokenizerTables.h"
#include "runtime/Utf8.h"
#include <algorithm>

using namespace sluice;
using runtime::Utf8Character;

constexpr size_t codePointBlocks = 0x1100;

template <typename T> static std::span<const T> viewOf(std::span<const uint8_t> section, const TableRange<T> &range) {
  if (range.at % 8 != 0 || range.at > section.size() || range.count > (section.size() - range.at) / sizeof(T))
    throwDamaged();
  return {reinterpret_cast<const T *>(section.data() + range.at), size_t(range.count)};
}

template <typename T> static void require(const T &values, uint64_t limit) { // all below the limit
  for (auto value : values)
    if (value >= limit)
      throwDamaged();
}

Pattern::Pattern(const PatternTable &table, std::span<const uint8_t> section)
    : classCount(table.classCount), endClass(table.endClass), blocks(viewOf(section, table.blocks)),
      transitions(viewOf(section, table.transitions)), classes(viewOf(section, table.classes)),
      standInClasses(viewOf(section, table.standIns)) {
  if (blocks.size() != codePointBlocks || standInClasses.size() != 256 || endClass >= classCount ||
      table.stateCount < 2 || transitions.size() != uint64_t(table.stateCount) * classCount)
    throwDamaged();
  require(blocks, classes.size() / 256);
  require(classes, classCount);
  require(standInClasses, classCount);
  for (uint16_t transition : transitions)
    if ((transition & ~patternAccepts) >= table.stateCount)
      throwDamaged();
}

size_t Pattern::match(std::string_view text, size_t at, bool standIns) const {
  size_t best = std::string_view::npos;
  for (size_t state = 1;;) {
    uint32_t kind = endClass;
    size_t size = 1;
    if (at < text.size()) {
      uint8_t byte = uint8_t(text[at]);
      if (standIns) {
        kind = standInClasses[byte];
      } else if (byte < 0x80) {
        kind = classes[size_t(blocks[0]) * 256 + byte];
      } else if (auto character = Utf8Character::at(text.substr(at)); character.kind == Utf8Character::Complete) {
        kind = classes[size_t(blocks[character.point >> 8]) * 256 + (character.point & 0xFF)];
        size = character.bytes;
      }
    }
    uint16_t transition = transitions[state * classCount + kind];
    if (transition & patternAccepts)
      best = at;
    state = transition & ~patternAccepts;
    if (state == 0 || at >= text.size())
      return best;
    at += size;
  }
}

bool Pattern::find(std::string_view text, size_t at, bool standIns, size_t &begin, size_t &end) const {
  for (; at < text.size(); at += standIns ? 1 : Utf8Character::at(text.substr(at)).bytes)
    if (size_t found = match(text, at, standIns); found != std::string_view::npos && found > at) {
      begin = at;
      end = found;
      return true;
    }
  return false;
}

static Normalization normalizationOf(const NormalizationTable &table, std::span<const uint8_t> section) {
  Normalization form{viewOf(section, table.blocks), viewOf(section, table.indices), viewOf(section, table.entries),
                     viewOf(section, table.decompositions), viewOf(section, table.pairs)};
  if (form.blocks.size() != codePointBlocks)
    throwDamaged();
  require(form.blocks, form.indices.size() / 256);
  require(form.indices, form.entries.size());
  require(form.decompositions, 0x110000);
  for (const NormalizationEntry &entry : form.entries)
    if (entry.decompositionAt > form.decompositions.size() ||
        entry.decompositionSize > form.decompositions.size() - entry.decompositionAt)
      throwDamaged();
  for (const CompositionPair &pair : form.pairs)
    if (pair.result >= 0x110000)
      throwDamaged();
  return form;
}

TokenizerTables::TokenizerTables(std::span<const uint8_t> section) {
  header = viewOf(section, TableRange<TokenizerSection>{0, 1}).data();
  if (header->magic != tokenizerMagic || header->algorithm > TokenizerAlgorithm::Last)
    throwDamaged();
  tokenOffsets = viewOf(section, header->tokenOffsets);
  kinds = viewOf(section, header->kinds);
  byteTokens = viewOf(section, header->byteTokens);
  merges = viewOf(section, header->merges);
  joints = viewOf(section, header->joints);
  words = viewOf(section, header->words);
  trie = Trie(viewOf(section, header->trie));
  scores = viewOf(section, header->scores);
  steps = viewOf(section, header->steps);
  characterMap = viewOf(section, header->characterMap);
  prefix = viewOf(section, header->prefix);
  suffix = viewOf(section, header->suffix);
  ends = viewOf(section, header->ends);
  std::span<const char> characters = viewOf(section, header->pool);
  pool = {characters.data(), characters.size()};

  auto powerOfTwo = [](uint64_t n) { return n != 0 && (n & (n - 1)) == 0; };
  bool unigram = header->algorithm == TokenizerAlgorithm::Unigram;
  if (tokenOffsets.empty() || symbols() < header->vocabulary || kinds.size() != header->vocabulary ||
      byteTokens.size() != 256 || !powerOfTwo(merges.size()) || !powerOfTwo(joints.size()) ||
      !powerOfTwo(words.size()) || (unigram && (trie.empty() || scores.size() != header->vocabulary)))
    throwDamaged();
  for (size_t i = 0; i + 1 < tokenOffsets.size(); ++i)
    if (tokenOffsets[i] > tokenOffsets[i + 1] || tokenOffsets[i + 1] > pool.size())
      throwDamaged();
  for (auto ids : {prefix, suffix})
    require(ids, header->vocabulary);
  for (uint32_t id : {header->bos, header->eos, header->unknown})
    if (id != noToken && id >= header->vocabulary)
      throwDamaged();
  for (uint32_t id : byteTokens)
    if (id != noToken && id >= symbols())
      throwDamaged();

  for (const PatternTable &table : viewOf(section, header->patterns))
    patterns.emplace_back(table, section);
  for (const AddedTable &table : viewOf(section, header->added)) {
    AddedTokens each{Trie(viewOf(section, table.trie)), viewOf(section, table.tokens), nullptr};
    if (each.trie.empty() || (table.wordPattern != noToken && table.wordPattern >= patterns.size()))
      throwDamaged();
    each.word = table.wordPattern == noToken ? nullptr : &patterns[table.wordPattern];
    for (const AddedToken &token : each.tokens)
      if (token.id >= header->vocabulary)
        throwDamaged();
    added.push_back(each);
  }
  for (const NormalizationTable &table : viewOf(section, header->normalization))
    normalization = normalizationOf(table, section);
  for (const TokenizerStep &step : steps)
    if (step.kind > StepKind::Last || step.behavior > SplitBehavior::Last || step.textAt > pool.size() ||
        step.textSize > pool.size() - step.textAt ||
        (step.kind == StepKind::SplitAdded && step.table >= added.size()) ||
        ((step.kind == StepKind::SplitPattern || step.kind == StepKind::Replace) && step.table >= patterns.size()) ||
        (step.kind == StepKind::Normalize && normalization.entries.empty()))
      throwDamaged();
}

uint32_t TokenizerTables::symbolOf(std::string_view text) const {
  size_t mask = words.size() - 1;
  for (size_t slot = wordHash(text.data(), text.size()) & mask, tries = 0; words[slot] != noToken && tries <= mask;
       slot = (slot + 1) & mask, ++tries)
    if (words[slot] < symbols() && textOf(words[slot]) == text)
      return words[slot];
  return noToken;
}

const MergeSlot *TokenizerTables::merge(uint32_t left, uint32_t right) const {
  size_t mask = merges.size() - 1;
  for (size_t slot = mergeHash(left, right) & mask, tries = 0; merges[slot].left != noToken && tries <= mask;
       slot = (slot + 1) & mask, ++tries)
    if (merges[slot].left == left && merges[slot].right == right) {
      if (merges[slot].result >= symbols())
        throwDamaged();
      return &merges[slot];
    }
  return nullptr;
}
