//===- TokenModels.cpp - a piece of text as token ids -------------------------------------===//

#include "runtime/TokenModels.h"
#include "runtime/Utf8.h"
#include <algorithm>
#include <functional>

using namespace sluice;
using runtime::Utf8Character;

void TokenModel::encode(std::string_view piece) {
  if (piece.size() >= UINT32_MAX)
    throw std::runtime_error("the text is too long: expected less than 4 GiB");
  unknownBefore = false;
  if (tables.header->algorithm == TokenizerAlgorithm::Unigram)
    return encodeUnigram(piece);
  if (tables.header->wholeWords)
    if (uint32_t id = tables.symbolOf(piece); id < tables.header->vocabulary)
      return ids.push_back(int32_t(id));
  encodeBytePairs(piece);
}

// Characters without a token: their bytes' tokens if all are there, else the unknown token, else nothing.
void TokenModel::emitUnknown(std::string_view text) {
  auto tokenOf = [&](char c) { return tables.byteTokens[uint8_t(c)]; };
  if (std::ranges::all_of(text, [&](char c) { return tokenOf(c) < tables.header->vocabulary; })) {
    for (char c : text)
      ids.push_back(int32_t(tokenOf(c)));
    unknownBefore = false;
  } else if (tables.header->unknown != noToken) {
    if (!unknownBefore || !tables.header->fuseUnknown)
      ids.push_back(int32_t(tables.header->unknown));
    unknownBefore = true;
  }
}

void TokenModel::emit(uint32_t id, std::string_view text) {
  if (id >= tables.header->vocabulary)
    return emitUnknown(text);
  if (tables.kinds[id] == UnusedToken)
    if (auto made = unmerged.find(id); made != unmerged.end()) {
      const MergeSlot &merge = *made->second;
      if (merge.left != id && merge.right != id) {
        unmerged.erase(made); // a damaged file's tokens may contain each other
        size_t size = std::min(tables.textOf(merge.left).size(), text.size());
        emit(merge.left, text.substr(0, size));
        emit(merge.right, text.substr(size));
        unmerged[id] = &merge;
        return;
      }
    }
  ids.push_back(int32_t(id));
  unknownBefore = id == tables.header->unknown;
}

//===-- Byte pairs ------------------------------------------------------------------------===//

void TokenModel::splitSymbols(std::string_view piece) {
  symbols.clear();
  auto add = [&](uint32_t id, size_t begin, size_t size) {
    uint32_t index = uint32_t(symbols.size());
    symbols.push_back({id, index - 1, index + 1, uint32_t(begin), uint32_t(begin + size)});
  };
  for (size_t at = 0; at < piece.size();) {
    if (tables.header->byteAlphabet) {
      if (uint32_t id = tables.byteTokens[uint8_t(piece[at])]; id != noToken)
        add(id, at, 1);
      ++at;
      continue;
    }
    auto character = Utf8Character::at(piece.substr(at));
    uint32_t id = character.kind == Utf8Character::Complete ? tables.symbolOf(piece.substr(at, character.bytes)) : noToken;
    add(id, at, character.bytes);
    at += character.bytes;
  }
  if (!symbols.empty())
    symbols.back().next = noSymbol; // the first's previous is noSymbol by wrapping
}

// The merge of a symbol with the next one, if they have one, into the queue.
void TokenModel::pushMerge(uint32_t left) {
  if (left == noSymbol || symbols[left].next == noSymbol)
    return;
  if (const MergeSlot *merge = tables.merge(symbols[left].id, symbols[symbols[left].next].id))
    queue.push_back(uint64_t(merge->rank) << 32 | left);
}

void TokenModel::mergeSymbols() {
  constexpr std::greater<uint64_t> later;
  queue.clear();
  for (uint32_t i = 0; i < symbols.size(); ++i)
    pushMerge(i);
  std::ranges::make_heap(queue, later);
  while (!queue.empty()) {
    uint64_t best = queue.front();
    std::ranges::pop_heap(queue, later);
    queue.pop_back();
    uint32_t at = uint32_t(best);
    Symbol &left = symbols[at];
    if (left.id == noToken || left.next == noSymbol)
      continue;
    Symbol &right = symbols[left.next];
    const MergeSlot *merge = tables.merge(left.id, right.id);
    if (!merge || merge->rank != best >> 32) // one of the two has changed since
      continue;
    if (merge->result < tables.header->vocabulary && tables.kinds[merge->result] == UnusedToken)
      unmerged[merge->result] = merge;
    left.id = merge->result;
    left.end = right.end;
    left.next = right.next;
    right.id = noToken;
    if (left.next != noSymbol)
      symbols[left.next].previous = at;
    for (uint32_t changed : {at, left.previous}) {
      size_t before = queue.size();
      pushMerge(changed);
      if (queue.size() != before)
        std::ranges::push_heap(queue, later);
    }
  }
}

void TokenModel::encodeBytePairs(std::string_view piece) {
  splitSymbols(piece);
  if (symbols.empty())
    return;
  mergeSymbols();
  for (uint32_t i = 0; i != noSymbol; i = symbols[i].next)
    emit(symbols[i].id, piece.substr(symbols[i].begin, symbols[i].end - symbols[i].begin));
  unmerged.clear();
}

//===-- Unigram ---------------------------------------------------------------------------===//

void TokenModel::encodeUnigram(std::string_view piece) {
  auto add = [&](double a, double b) { return tables.header->singlePrecision ? double(float(a) + float(b)) : a + b; };
  path.assign(piece.size() + 1, {0, 0, noSymbol});
  auto offer = [&](size_t begin, size_t end, uint32_t id, double score) {
    PathNode &node = path[end];
    double total = add(score, path[begin].score);
    if (node.id == noSymbol || total > node.score)
      node = {total, uint32_t(begin), id};
  };
  const uint32_t unknown = tables.header->vocabulary; // what no token covers
  for (size_t at = 0, size; at < piece.size(); at += size) {
    size = Utf8Character::at(piece.substr(at)).bytes;
    bool covered = false;
    uint32_t node = Trie::root;
    for (size_t end = at; end < piece.size() && tables.trie.step(node, uint8_t(piece[end]));) {
      ++end;
      uint32_t id = tables.trie.value(node);
      if (id >= tables.header->vocabulary || end - at < size)
        continue;
      offer(at, end, id, tables.scores[id]);
      covered |= end - at == size;
    }
    if (!covered)
      offer(at, at + size, unknown, tables.header->unknownScore);
  }
  // Back from the end; the symbols hold the path. Every character's end is reached, by the unknown token at least.
  symbols.clear();
  for (size_t end = piece.size(); end > 0; end = path[end].begin)
    symbols.push_back({path[end].id, 0, 0, path[end].begin, uint32_t(end)});
  for (auto symbol = symbols.rbegin(); symbol != symbols.rend(); ++symbol)
    emit(symbol->id, piece.substr(symbol->begin, symbol->end - symbol->begin));
}
