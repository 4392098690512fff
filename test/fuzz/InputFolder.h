//===- InputFolder.h - an input that is several files -------------------------------===//
#ifndef SLUICE_TEST_FUZZ_INPUTFOLDER_H
#define SLUICE_TEST_FUZZ_INPUTFOLDER_H

#include "test/fuzz/FuzzTarget.h"
#include <filesystem>
#include <fstream>
#include <string_view>

namespace sluice::test {

// "=== NAME" and a line break before each file's bytes. Only names that the compiler may ask for are written.
class InputFolder {
public:
  InputFolder(const uint8_t *data, size_t size)
      : folder(std::filesystem::temp_directory_path() / ("sluice-fuzz-" + std::to_string(getpid()))) {
    std::filesystem::create_directory(folder);
    std::string_view rest(reinterpret_cast<const char *>(data), size);
    while (rest.starts_with(mark)) {
      rest.remove_prefix(mark.size());
      std::string_view name = rest.substr(0, rest.find('\n'));
      rest.remove_prefix(std::min(name.size() + 1, rest.size()));
      std::string_view contents = rest.substr(0, rest.find(mark));
      rest.remove_prefix(contents.size());
      for (std::string_view known : names)
        if (name == known)
          std::ofstream(folder / name, std::ios::binary) << contents;
    }
  }
  InputFolder(const InputFolder &) = delete;
  ~InputFolder() { std::filesystem::remove_all(folder); }
  std::string path() const { return folder; }

private:
  static constexpr std::string_view mark = "=== ";
  static constexpr std::string_view names[] = {"config.json",
                                               "model.safetensors",
                                               "model.safetensors.index.json",
                                               "a.safetensors",
                                               "b.safetensors",
                                               "tokenizer.json",
                                               "tokenizer.model",
                                               "tokenizer_config.json",
                                               "special_tokens_map.json",
                                               "generation_config.json",
                                               "chat_template.jinja",
                                               "chat_template.json"};
  const std::filesystem::path folder;
};

} // namespace sluice::test
#endif
