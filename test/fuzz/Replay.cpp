//===- Replay.cpp - runs a fuzz target on files, in the place of libFuzzer ----------===//
//
//   fuzz-NAME FILE|FOLDER...    folders' files in order of their names; prints how many there were
//
// What a target prints to standard output is its own affair: it is dropped. Address space is limited, so that an
// allocation without bound fails here as well.
//
//===------------------------------------------------------------------------------===//

#include "test/fuzz/FuzzTarget.h"
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sys/resource.h>
#include <vector>

namespace fs = std::filesystem;

int main(int argc, char **argv) {
  std::vector<fs::path> files;
  for (int i = 1; i < argc; ++i) {
    if (!fs::is_directory(argv[i])) {
      files.push_back(argv[i]);
      continue;
    }
    for (const fs::directory_entry &entry : fs::recursive_directory_iterator(argv[i]))
      if (entry.is_regular_file())
        files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  if (files.empty()) {
    std::cerr << "usage: " << argv[0] << " FILE|FOLDER...; expected files to run, found none\n";
    return 2;
  }
  const rlimit limit = {rlim_t(4) << 30, rlim_t(4) << 30};
  setrlimit(RLIMIT_AS, &limit);
  if (!std::freopen("/dev/null", "w", stdout))
    return 2;
  for (const fs::path &path : files) {
    std::ifstream file(path, std::ios::binary);
    std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
    std::cerr << path.string() << ": " << bytes.size() << " bytes" << std::endl; // the last line names what crashed
    // A copy that ends where the input does: a sanitizer sees what reads beyond.
    std::vector<uint8_t> exact(bytes.begin(), bytes.end());
    LLVMFuzzerTestOneInput(exact.data(), exact.size());
  }
  std::cerr << files.size() << " inputs\n";
}
