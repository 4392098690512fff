//===- PackedFuzz.cpp - the file behind an executable: opened, verified, its text used --===//
//
// Checksums are made right first: what is looked for lies behind them.
//
//===------------------------------------------------------------------------------===//

#include "runtime/ChatTemplate.h"
#include "runtime/Commands.h"
#include "runtime/Error.h"
#include "runtime/Tokenizer.h"
#include "test/fuzz/FuzzTarget.h"
#include "test/runtime/ModelImage.h"
#include <cstring>
#include <span>
#include <vector>
#include <xxhash.h>

using namespace sluice;
using namespace sluice::runtime;

static void fixChecksums(std::vector<uint8_t> &file) {
  sluice_trailer trailer;
  if (file.size() < sizeof trailer)
    return;
  uint8_t *end = file.data() + file.size() - sizeof trailer;
  std::memcpy(&trailer, end, sizeof trailer);
  trailer.file_bytes = file.size();
  trailer.abi_version = SLUICE_ABI_VERSION;
  trailer.magic = SLUICE_MAGIC;
  sluice_header header;
  if (trailer.header_offset <= file.size() - sizeof trailer &&
      file.size() - sizeof trailer - trailer.header_offset >= sizeof header) {
    std::memcpy(&header, file.data() + trailer.header_offset, sizeof header);
    for (sluice_section &section : std::span(header.sections, SLUICE_SECTION_COUNT + 1))
      if (section.offset <= file.size() && section.size <= file.size() - section.offset)
        section.checksum = XXH3_64bits(file.data() + section.offset, section.size);
    std::memcpy(file.data() + trailer.header_offset, &header, sizeof header);
    trailer.header_checksum = XXH3_64bits(&header, sizeof header);
  }
  std::memcpy(end, &trailer, sizeof trailer);
}

static void use(const Model &model) {
  const Executable executable{model, {&test::toyVariant, 1}};
  Options options;
  options.noSandbox = true; // the next input is a file as well
  info(executable, options);
  try {
    verify(executable, options);
  } catch (const Error &) {
  }
  const Tokenizer tokenizer(model.section(SLUICE_SECTION_TOKENIZER));
  for (int32_t id : tokenizer.encode("Hello w\xC3\xB6rld\n\n 12345 <|im_end|>\xFF", true, true))
    tokenizer.decode(id, true);
  for (int32_t id = -1; id < 1000; ++id)
    tokenizer.decode(id, false), tokenizer.isEndOfGeneration(id);
  const ChatTemplate chatTemplate(model.section(SLUICE_SECTION_TEMPLATE));
  const std::vector<ChatTemplate::Message> messages = {{"user", "Hello"}, {"assistant", "Hi"}};
  chatTemplate.render(messages, true, "<s>", "</s>");
}

extern "C" int LLVMFuzzerInitialize(int *, char ***) { return std::freopen("/dev/null", "w", stdout) ? 0 : 1; }

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::vector<uint8_t> bytes(data, data + size);
  fixChecksums(bytes);
  test::InputFile file(bytes.data(), bytes.size());
  try {
    use(Model(file.path().c_str()));
  } catch (const std::runtime_error &) {
  }
  return 0;
}
