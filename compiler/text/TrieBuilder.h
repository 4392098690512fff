//===- TrieBuilder.h - keys as a double-array trie ------------------------------------------===//
#ifndef SLUICE_COMPILER_TEXT_TRIEBUILDER_H
#define SLUICE_COMPILER_TEXT_TRIEBUILDER_H

#include "runtime/TokenizerFormat.h"
#include <string>
#include <vector>

namespace sluice {

// Of equal keys the first counts; empty keys are left out.
std::vector<TrieNode> buildTrie(const std::vector<std::pair<std::string, uint32_t>> &keys);

} // namespace sluice
#endif
