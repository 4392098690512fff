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
  if (id != tables.header->unknown || !unknownBefore || !tables.header->fuseUnknown)
    ids.push_back(int32_t(id));
  unknownBefore = id == tables.header->unknown;
}

//===-- Byte pairs ------------------------------------------------------------------------===//

void TokenModel::splitSymbols(std::string_view piece) {
  symbols.clear();
  for (size_t at = 0, size = 1; at < piece.size(); at += size) {
    uint32_t id = noToken;
    if (tables.header->byteAlphabet) {
      id = tables.byteTokens[uint8_t(piece[at])];
      if (id == noToken)
        continue;
    } else {
      auto character = Utf8Character::at(piece.substr(at));
      size = character.bytes;
      if (character.kind == Utf8Character::Complete)
        id = tables.symbolOf(piece.substr(at, size));
    }
    symbols.push_back({id, noSymbol, noSymbol, uint32_t(at), nullptr});
  }
}

// Looks up the merge of a symbol with the next one; whether there is one.
bool TokenModel::findMerge(uint32_t left) {
  if (left == noSymbol)
    return false;
  Symbol &symbol = symbols[left];
  symbol.merge = symbol.next == noSymbol ? nullptr : tables.merge(symbol.id, symbols[symbol.next].id);
  return symbol.merge;
}

// Among the symbols [first, last), which no merge leaves.
void TokenModel::mergeSymbols(uint32_t first, uint32_t last) {
  initial.clear();
  later.clear();
  for (uint32_t i = first; i < last; ++i) {
    symbols[i].previous = i == first ? noSymbol : i - 1;
    symbols[i].next = i + 1 == last ? noSymbol : i + 1;
    if (findMerge(i))
      initial.push_back(uint64_t(symbols[i].merge->rank) << 32 | i);
  }
  std::ranges::sort(initial);
  for (size_t taken = 0; taken < initial.size() || !later.empty();) {
    uint64_t best;
    if (later.empty() || (taken < initial.size() && initial[taken] < later.front())) {
      best = initial[taken++];
    } else {
      best = later.front();
      std::ranges::pop_heap(later, std::greater<>());
      later.pop_back();
    }
    uint32_t at = uint32_t(best);
    Symbol &left = symbols[at];
    const MergeSlot *merge = left.merge;
    if (!merge || merge->rank != best >> 32) // one of the two has changed since
      continue;
    if (merge->result < tables.header->vocabulary && tables.kinds[merge->result] == UnusedToken)
      unmerged[merge->result] = merge;
    Symbol &right = symbols[left.next];
    left.id = merge->result;
    left.next = right.next;
    right.merge = nullptr;
    if (left.next != noSymbol)
      symbols[left.next].previous = at;
    for (uint32_t changed : {at, left.previous})
      if (findMerge(changed)) {
        later.push_back(uint64_t(symbols[changed].merge->rank) << 32 | changed);
        std::ranges::push_heap(later, std::greater<>());
      }
  }
}

void TokenModel::encodeBytePairs(std::string_view piece) {
  splitSymbols(piece);
  for (uint32_t first = 0, last; first < symbols.size(); first = last) {
    last = first + 1;
    while (last < symbols.size() && tables.mayJoin(symbols[last - 1].id, symbols[last].id))
      ++last;
    mergeSymbols(first, last);
    for (uint32_t i = first, next; i != noSymbol; i = next) {
      next = symbols[i].next;
      size_t end = next != noSymbol ? symbols[next].begin : last < symbols.size() ? symbols[last].begin : piece.size();
      emit(symbols[i].id, piece.substr(symbols[i].begin, end - symbols[i].begin));
    }
  }
  unmerged.clear();
}

//===-- Unigram ---------------------------------------------------------------------------===//

void TokenModel::encodeUnigram(std::string_view piece) {
  auto add = [&](double a, double b) { return tables.header->singlePrecision ? double(float(a) + float(b)) : a + b; };
  path.assign(piece.size() + 1, {0, 0, noSymbol, 0});
  auto offer = [&](size_t begin, size_t end, uint32_t id, double score) {
    PathNode &node = path[end];
    double total = add(score, path[begin].score);
    if (node.id == noSymbol || total > node.score)
      node = {total, uint32_t(begin), id, 0};
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
  // Every character's end is reached, by the unknown token at least. Back along the path, then forth.
  for (uint32_t end = uint32_t(piece.size()); end > 0; end = path[end].begin)
    path[path[end].begin].next = end;
  auto isUnknown = [&](uint32_t id) { return id >= unknown || id == tables.header->unknown; };
  for (uint32_t begin = 0, end; begin < piece.size(); begin = end) {
    end = path[begin].next;
    uint32_t id = path[end].id;
    if (isUnknown(id)) // neighbours are one unknown text
      while (end < piece.size() && isUnknown(path[path[end].next].id)) {
        end = path[end].next;
        id = unknown;
      }
    emit(id, piece.substr(begin, end - begin));
  }
}
