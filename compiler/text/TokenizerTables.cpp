//===- TokenizerTables.cpp - a tokenizer as the section of a file ---------------------------===//

#include "compiler/text/PatternCompiler.h"
#include "compiler/text/TokenizerModel.h"
#include "compiler/text/TrieBuilder.h"
#include "compiler/text/UnicodeTables.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/MathExtras.h"
#include <cstring>

using namespace sluice;

// Whether SentencePiece's character map is one: how many bytes a double array has, that array, and the texts that its
// values are places in. The runtime relies on what is checked here.
static bool isCharacterMap(llvm::StringRef map) {
  auto wordAt = [&](size_t at) { return llvm::support::endian::read32le(map.data() + at); };
  constexpr size_t word = 4;
  const size_t bytes = map.size() < word ? 0 : wordAt(0);
  if (bytes < word || bytes % word || bytes > map.size() - word)
    return false;
  const size_t units = bytes / word, texts = map.size() - word - bytes;
  for (size_t i = 0; i < units; ++i) {
    const uint32_t unit = wordAt(word + i * word);
    const bool isValue = unit >> 31, hasValue = unit >> 8 & 1;
    if (isValue ? (unit & 0x7FFFFFFF) >= texts : hasValue && (i ^ doubleArrayOffset(unit)) >= units)
      return false;
  }
  return true;
}

namespace {

class SectionWriter {
public:
  explicit SectionWriter(const TokenizerModel &model) : model(model) { out.resize(sizeof header); }

  llvm::Expected<std::vector<uint8_t>> write() {
    writeTokens();
    writeMerges();
    writeUnigram();
    if (llvm::Error error = writeSteps())
      return std::move(error);
    header.magic = tokenizerMagic;
    header.bos = model.bos;
    header.eos = model.eos;
    header.unknown = model.unknown;
    header.algorithm = model.algorithm;
    header.byteAlphabet = model.byteAlphabet;
    header.wholeWords = model.wholeWords;
    header.fuseUnknown = model.fuseUnknown;
    header.spaceMark = model.spaceMark;
    header.dropsFirstSpace = model.dropsFirstSpace;
    header.singlePrecision = model.singlePrecision;
    header.prefix = append<uint32_t>(model.prefix);
    header.suffix = append<uint32_t>(model.suffix);
    header.ends = append<uint32_t>(model.ends);
    header.pool = append<char>(llvm::ArrayRef<char>(pool.data(), pool.size()));
    std::memcpy(out.data(), &header, sizeof header);
    return std::move(out);
  }

private:
  template <typename T> TableRange<T> append(llvm::ArrayRef<T> values) {
    out.resize(llvm::alignTo(out.size(), 8));
    uint64_t at = out.size();
    out.resize(at + values.size() * sizeof(T));
    if (!values.empty())
      std::memcpy(out.data() + at, values.data(), values.size() * sizeof(T));
    return {at, values.size()};
  }

  // Slots of an open-addressed table: a power of two, at most three quarters full.
  static size_t slotsFor(size_t entries) { return size_t(llvm::NextPowerOf2(entries + entries / 3 + 1)); }

  void writeTokens() {
    std::vector<uint32_t> offsets{0}, byteTokens(256, noToken);
    size_t symbols = model.tokens.size() + model.characters.size();
    std::vector<uint32_t> words(slotsFor(symbols), noToken);
    llvm::StringMap<uint32_t> first;
    for (uint32_t symbol = 0; symbol < symbols; ++symbol) {
      bool isToken = symbol < model.tokens.size();
      llvm::StringRef text = isToken ? model.tokens[symbol] : model.characters[symbol - model.tokens.size()];
      pool += text;
      offsets.push_back(uint32_t(pool.size()));
      bool inModel = !isToken || model.inModel[symbol];
      if (isToken && model.byteAlphabet && inModel && text.size() == 1 && byteTokens[uint8_t(text[0])] == noToken)
        byteTokens[uint8_t(text[0])] = symbol;
      if (isToken && !model.byteAlphabet && model.kinds[symbol] == ByteToken)
        if (std::optional<uint8_t> byte = byteOfToken(text))
          byteTokens[*byte] = symbol;
      if (!inModel || !first.try_emplace(text, symbol).second)
        continue;
      size_t slot = wordHash(text.data(), text.size()) & (words.size() - 1);
      while (words[slot] != noToken)
        slot = (slot + 1) & (words.size() - 1);
      words[slot] = symbol;
    }
    std::vector<uint8_t> kinds(model.kinds.begin(), model.kinds.end());
    header.vocabulary = uint32_t(model.tokens.size());
    header.tokenOffsets = append<uint32_t>(offsets);
    header.kinds = append<uint8_t>(kinds);
    header.byteTokens = append<uint32_t>(byteTokens);
    header.words = append<uint32_t>(words);
  }

  void writeMerges() {
    std::vector<MergeSlot> slots(slotsFor(model.merges.size()), MergeSlot{noToken, 0, 0, 0});
    for (const TokenizerModel::Merge &merge : model.merges) {
      size_t slot = mergeHash(merge.left, merge.right) & (slots.size() - 1);
      while (slots[slot].left != noToken && !(slots[slot].left == merge.left && slots[slot].right == merge.right))
        slot = (slot + 1) & (slots.size() - 1);
      if (slots[slot].left == noToken)
        slots[slot] = {merge.left, merge.right, merge.rank, merge.result};
    }
    header.merges = append<MergeSlot>(slots);
    writeJoints();
  }

  // Where tokens meet in a merge, two symbols of the alphabet do. Merges come in any order: what a token begins and
  // ends with is followed down to what no merge makes.
  void writeJoints() {
    size_t symbols = model.tokens.size() + model.characters.size();
    std::vector<uint32_t> leftPart(symbols, noToken), rightPart(symbols, noToken);
    for (const TokenizerModel::Merge &merge : model.merges)
      if (merge.left != merge.result && merge.right != merge.result && leftPart[merge.result] == noToken) {
        leftPart[merge.result] = merge.left;
        rightPart[merge.result] = merge.right;
      }
    auto outermost = [&](std::vector<uint32_t> &part, uint32_t symbol) {
      uint32_t end = symbol;
      for (size_t steps = 0; part[end] != noToken && steps < symbols; ++steps)
        end = part[end];
      for (uint32_t next; part[symbol] != noToken && part[symbol] != end;
           symbol = next) { // shorter ways for the next time
        next = part[symbol];
        part[symbol] = end;
      }
      return end;
    };
    std::vector<uint64_t> bits(size_t(llvm::NextPowerOf2(model.merges.size() / 16 + 64)));
    for (const TokenizerModel::Merge &merge : model.merges) {
      uint32_t hash = mergeHash(outermost(rightPart, merge.left), outermost(leftPart, merge.right));
      bits[(hash >> 6) & (bits.size() - 1)] |= uint64_t(1) << (hash & 63);
    }
    header.joints = append<uint64_t>(bits);
  }

  void writeUnigram() {
    if (model.algorithm != TokenizerAlgorithm::Unigram)
      return;
    constexpr double unknownPenalty = 10; // SentencePiece's
    std::vector<std::pair<std::string, uint32_t>> keys;
    double least = 0;
    for (auto [id, text] : llvm::enumerate(model.tokens)) {
      if (model.inModel[id] && model.kinds[id] != UnusedToken)
        keys.emplace_back(text, uint32_t(id));
      if (model.inModel[id])
        least = std::min(least, model.scores[id]);
    }
    header.trie = append<TrieNode>(buildTrie(keys));
    header.scores = append<double>(model.scores);
    header.unknownScore = least - unknownPenalty;
  }

  llvm::Expected<uint32_t> patternIndex(llvm::StringRef pattern) {
    auto [found, isNew] = patternIndices.try_emplace(pattern, uint32_t(patterns.size()));
    if (!isNew)
      return found->second;
    llvm::Expected<PatternAutomaton> automaton = compilePattern(pattern);
    if (!automaton)
      return automaton.takeError();
    PatternTable table{};
    table.classCount = automaton->classCount;
    table.stateCount = automaton->stateCount;
    table.endClass = automaton->endClass;
    table.blocks = append<uint16_t>(automaton->blocks);
    table.classes = append<uint8_t>(automaton->classes);
    table.standIns = append<uint8_t>(automaton->standIns);
    table.transitions = append<uint16_t>(automaton->transitions);
    patterns.push_back(table);
    return found->second;
  }

  llvm::Expected<uint32_t> writeAdded(bool normalized) {
    std::vector<std::pair<std::string, uint32_t>> keys;
    std::vector<AddedToken> tokens;
    AddedTable table{};
    table.wordPattern = noToken;
    for (const TokenizerModel::Added &each : model.added) {
      if (each.normalized != normalized)
        continue;
      keys.emplace_back(each.text, uint32_t(tokens.size()));
      tokens.push_back({each.id, each.special, each.singleWord, each.leftStrip, each.rightStrip});
      if (each.singleWord && table.wordPattern == noToken) {
        llvm::Expected<uint32_t> word = patternIndex(("[" + rustWord + "]").str());
        if (!word)
          return word.takeError();
        table.wordPattern = *word;
      }
    }
    table.trie = append<TrieNode>(buildTrie(keys));
    table.tokens = append<AddedToken>(tokens);
    added.push_back(table);
    return uint32_t(added.size() - 1);
  }

  llvm::Error writeSteps() {
    std::vector<TokenizerStep> steps;
    std::optional<NormalForm> form;
    if (model.steps.size() > mostSteps)
      return llvm::createStringError("expected a tokenizer of at most " + llvm::Twine(mostSteps) + " steps, got " +
                                     llvm::Twine(model.steps.size()));
    for (const TokenizerModel::Step &each : model.steps) {
      TokenizerStep step{each.kind, each.flags, each.behavior, 0, 0, uint32_t(pool.size()), uint32_t(each.text.size())};
      pool += each.text;
      if (each.kind == StepKind::SplitAdded || each.kind == StepKind::SplitPattern || each.kind == StepKind::Replace) {
        llvm::Expected<uint32_t> table =
            each.kind == StepKind::SplitAdded ? writeAdded(each.normalizedTokens) : patternIndex(each.pattern);
        if (!table)
          return table.takeError();
        step.table = *table;
      }
      if (each.kind == StepKind::MapCharacters && !isCharacterMap(model.characterMap))
        return llvm::createStringError("the tokenizer's 'precompiled_charsmap' is damaged; expected a double array and "
                                       "the texts that it points to");
      if (each.kind == StepKind::Normalize) {
        if (form && *form != each.form)
          return llvm::createStringError("two Unicode normalisation forms in one tokenizer are not supported");
        form = each.form;
      }
      steps.push_back(step);
    }
    if (form)
      writeNormalForm(*form);
    header.steps = append<TokenizerStep>(steps);
    header.patterns = append<PatternTable>(patterns);
    header.added = append<AddedTable>(added);
    header.characterMap = append<uint8_t>(
        llvm::ArrayRef(reinterpret_cast<const uint8_t *>(model.characterMap.data()), model.characterMap.size()));
    return llvm::Error::success();
  }

  void writeNormalForm(NormalForm form) {
    NormalFormTables tables = normalFormTables(form);
    NormalizationTable table{};
    table.blocks = append<uint16_t>(tables.blocks);
    table.indices = append<uint16_t>(tables.indices);
    table.entries = append<NormalizationEntry>(tables.entries);
    table.decompositions = append<uint32_t>(tables.decompositions);
    table.pairs = append<CompositionPair>(tables.pairs);
    header.normalization = append<NormalizationTable>(table);
  }

  const TokenizerModel &model;
  TokenizerSection header{};
  std::vector<uint8_t> out;
  std::string pool;
  llvm::StringMap<uint32_t> patternIndices;
  std::vector<PatternTable> patterns;
  std::vector<AddedTable> added;
};

} // namespace

llvm::Expected<std::vector<uint8_t>> sluice::buildTokenizer(const TokenizerModel &model) {
  return SectionWriter(model).write();
}
