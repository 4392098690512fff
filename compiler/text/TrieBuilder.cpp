//===- TrieBuilder.cpp - keys as a double-array trie ----------------------------------------===//

#include "compiler/text/TrieBuilder.h"
#include <algorithm>

using namespace sluice;

namespace {

class Builder {
public:
  explicit Builder(std::vector<std::pair<std::string, uint32_t>> sorted) : keys(std::move(sorted)) {}

  std::vector<TrieNode> build() {
    nodes.resize(257, {0, noToken, noToken});
    used.resize(nodes.size());
    used[0] = true;
    // Depth first, by a list: keys may be long.
    std::vector<Task> tasks{{0, 0, keys.size(), 0}};
    while (!tasks.empty()) {
      Task task = tasks.back();
      tasks.pop_back();
      place(task, tasks);
    }
    return std::move(nodes);
  }

private:
  struct Task { // the keys [first, last) share `depth` bytes, which lead to the node
    uint32_t node;
    size_t first, last, depth;
  };

  void place(const Task &task, std::vector<Task> &tasks) {
    size_t first = task.first;
    if (keys[first].first.size() == task.depth)
      nodes[task.node].value = keys[first++].second;
    std::vector<std::pair<uint8_t, Task>> children;
    for (size_t i = first; i < task.last; ++i) {
      uint8_t byte = uint8_t(keys[i].first[task.depth]);
      if (children.empty() || children.back().first != byte)
        children.push_back({byte, {0, i, i, task.depth + 1}});
      children.back().second.last = i + 1;
    }
    if (children.empty())
      return;
    while (firstFree < used.size() && used[firstFree])
      ++firstFree;
    size_t base = firstFree - children[0].first;
    auto fits = [&] {
      return std::ranges::none_of(
          children, [&](const auto &child) { return base + child.first < used.size() && used[base + child.first]; });
    };
    for (size_t tries = 0; !fits(); ++tries) // a crowded region is given up
      base = tries < 1000 ? base + 1 : used.size();
    if (base + 256 >= nodes.size()) {
      nodes.resize(base + 512, {0, noToken, noToken});
      used.resize(nodes.size());
    }
    nodes[task.node].base = uint32_t(base);
    for (auto &[byte, child] : children) {
      child.node = uint32_t(base + byte);
      used[child.node] = true;
      nodes[child.node].check = task.node;
      tasks.push_back(child);
    }
  }

  std::vector<std::pair<std::string, uint32_t>> keys;
  std::vector<TrieNode> nodes;
  std::vector<bool> used;
  size_t firstFree = 257; // below are slots that no byte may reach
};

} // namespace

std::vector<TrieNode> sluice::buildTrie(const std::vector<std::pair<std::string, uint32_t>> &keys) {
  std::vector<std::pair<std::string, uint32_t>> sorted;
  for (const auto &key : keys)
    if (!key.first.empty())
      sorted.push_back(key);
  auto text = [](const auto &key) -> const std::string & { return key.first; };
  std::ranges::stable_sort(sorted, {}, text);
  auto [begin, end] = std::ranges::unique(sorted, {}, text);
  sorted.erase(begin, end);
  if (sorted.empty())
    return {{0, noToken, noToken}};
  return Builder(std::move(sorted)).build();
}
