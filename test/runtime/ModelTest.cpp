//===- ModelTest.cpp - whole files open, damaged ones are refused in one line -----------===//

#include "runtime/Model.h"
#include "runtime/Error.h"
#include "runtime/Integrity.h"
#include "test/runtime/ModelImage.h"
#include <cstring>
#include <functional>
#include <gtest/gtest.h>

using namespace sluice::runtime;
using namespace sluice::test;

// The message with which the file is refused, "" if it is not.
static std::string refusal(const std::vector<uint8_t> &file) {
  const std::string path = writeTemporary(file, "model");
  std::string message;
  try {
    Model model(path.c_str());
  } catch (const Error &error) {
    message = error.what();
  }
  std::remove(path.c_str());
  return message;
}

TEST(Model, GivesViewsOfTheSections) {
  const std::string path = writeTemporary(toyFile(), "model");
  Model model(path.c_str());
  std::remove(path.c_str());
  EXPECT_STREQ(model.string(model.description().name), "toy");
  EXPECT_STREQ(model.string(model.description().formats), "f32");
  ASSERT_EQ(model.tensors().size(), 2u);
  EXPECT_STREQ(model.string(model.tensors()[1].name), "tensor.b");
  EXPECT_EQ(model.program(SLUICE_PROGRAM_PREFILL).max_tokens, toyChunk);
  EXPECT_EQ(model.steps(model.program(SLUICE_PROGRAM_DECODE)).size(), 8u);
  EXPECT_EQ(model.weights()[64], toyWeight);
  EXPECT_NO_THROW(model.checkKernels(8));
  EXPECT_THROW(model.checkKernels(7), Error);
  for (unsigned part = 0; part < 3; ++part)
    model.populateWeights(part, 3);
}

TEST(Model, RefusesAFileThatIsCutShort) {
  const std::vector<uint8_t> file = toyFile();
  for (size_t size = 0; size < file.size(); size += 97) {
    std::string message = refusal({file.begin(), file.begin() + long(size)});
    EXPECT_NE(message, "") << size;
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
  std::vector<uint8_t> longer = file;
  longer.insert(longer.begin(), 64, 0);
  EXPECT_NE(refusal(longer).find("expected " + std::to_string(file.size()) + " bytes, got"), std::string::npos);
}

TEST(Model, RefusesAnotherVersion) {
  std::vector<uint8_t> file = toyFile();
  sluice_trailer trailer = trailerOf(file);
  trailer.abi_version = 99;
  std::memcpy(file.data() + file.size() - sizeof trailer, &trailer, sizeof trailer);
  EXPECT_NE(refusal(file).find("expected file version " + std::to_string(SLUICE_ABI_VERSION) + ", got 99"),
            std::string::npos)
      << refusal(file);
}

TEST(Model, RefusesAChangedHeader) {
  std::vector<uint8_t> file = toyFile();
  headerOf(file)->sections[0].checksum ^= 1;
  EXPECT_NE(refusal(file).find("the header's checksum"), std::string::npos) << refusal(file);
  fixChecksums(file);
  EXPECT_EQ(refusal(file), "");
}

// Changes `file` as a broken compiler would, with the header's checksum right.
template <typename T> static T *at(std::vector<uint8_t> &file, int section, size_t index = 0) {
  return reinterpret_cast<T *>(file.data() + headerOf(file)->sections[section].offset) + index;
}

TEST(Model, RefusesWhatLiesOutside) {
  using Change = std::function<void(std::vector<uint8_t> &)>;
  const std::pair<const char *, Change> changes[] = {
      {"'weights'", [](auto &f) { headerOf(f)->sections[SLUICE_SECTION_WEIGHTS].size = UINT64_MAX; }},
      {"'tokenizer'", [](auto &f) { headerOf(f)->sections[SLUICE_SECTION_TOKENIZER].offset = UINT64_MAX - 63; }},
      {"'steps'", [](auto &f) { headerOf(f)->sections[SLUICE_SECTION_STEPS].offset += 8; }},
      {"wrong size", [](auto &f) { headerOf(f)->sections[SLUICE_SECTION_MODEL].size -= 8; }},
      {"wrong size", [](auto &f) { headerOf(f)->sections[SLUICE_SECTION_STEPS].size -= 1; }},
      {"strings", [](auto &f) { headerOf(f)->sections[SLUICE_SECTION_STRINGS].size -= 1; }},
      {"string", [](auto &f) { at<sluice_model>(f, SLUICE_SECTION_MODEL)->name = 1000; }},
      {"dimension", [](auto &f) { at<sluice_model>(f, SLUICE_SECTION_MODEL)->vocabulary = 0; }},
      {"vocabulary", [](auto &f) { at<sluice_model>(f, SLUICE_SECTION_MODEL)->vocabulary = 65; }},
      {"tensor", [](auto &f) { at<sluice_tensor>(f, SLUICE_SECTION_TENSORS)->size = 129; }},
      {"twice", [](auto &f) { at<sluice_program>(f, SLUICE_SECTION_PROGRAMS)->kind = SLUICE_PROGRAM_PREFILL; }},
      {"missing", [](auto &f) { headerOf(f)->sections[SLUICE_SECTION_PROGRAMS].size -= sizeof(sluice_program); }},
      {"steps", [](auto &f) { at<sluice_program>(f, SLUICE_SECTION_PROGRAMS)->step_count = UINT32_MAX; }},
      {"buffers", [](auto &f) { at<sluice_program>(f, SLUICE_SECTION_PROGRAMS, 1)->arena_bytes -= 1; }},
      {"buffers", [](auto &f) { at<sluice_program>(f, SLUICE_SECTION_PROGRAMS, 2)->output_offset += 4; }},
      {"no tokens", [](auto &f) { at<sluice_program>(f, SLUICE_SECTION_PROGRAMS)->max_tokens = 0; }},
      {"layer", [](auto &f) { at<sluice_step>(f, SLUICE_SECTION_STEPS, 1)->layer = toyLayers; }},
      {"step's weights", [](auto &f) { at<sluice_step>(f, SLUICE_SECTION_STEPS, 7)->weights_bytes = 65; }},
  };
  for (const auto &[what, change] : changes) {
    std::vector<uint8_t> file = toyFile();
    change(file);
    fixChecksums(file);
    EXPECT_NE(refusal(file).find(what), std::string::npos) << what << ": " << refusal(file);
  }
}

// Where each part of the toy's file lies, as damage is named.
static std::string partAt(const std::vector<uint8_t> &file, size_t at) {
  static const char *const names[] = {"", "'model'", "'programs'", "'steps'", "'tensors'", "'strings'", "'tokenizer'",
                                      "'template'"};
  std::vector<uint8_t> copy = file;
  for (int i = 1; i < SLUICE_SECTION_COUNT; ++i)
    if (const sluice_section &section = headerOf(copy)->sections[i];
        at >= section.offset && at < section.offset + section.size)
      return names[i];
  if (at < SLUICE_PAGE)
    return "machine code";
  if (at < SLUICE_PAGE + 128)
    return at < SLUICE_PAGE + 64 ? "tensor tensor.a" : "tensor tensor.b";
  return at < trailerOf(file).header_offset ? "between two parts" : "";
}

TEST(Model, NamesAnyFlippedByte) {
  const std::vector<uint8_t> file = toyFile();
  for (size_t i = 0; i < file.size(); i += i < SLUICE_PAGE - 8 ? 61 : 1) {
    std::vector<uint8_t> changed = file;
    changed[i] ^= uint8_t(1 << i % 8);
    const std::string path = writeTemporary(changed, "model");
    std::string found;
    try {
      Model model(path.c_str());
      for (const std::string &what : findDamage(model))
        found += what + "\n";
    } catch (const Error &error) { // names what it opens the file by
      found = error.what();
    }
    std::remove(path.c_str());
    EXPECT_NE(found, "") << "byte " << i;
    EXPECT_NE(found.find(partAt(file, i)), std::string::npos) << "byte " << i << ": " << found;
  }
}

// What makes the checksums right is no way to a crash either: refused in one line or accepted.
TEST(Model, SurvivesAnyFlippedByteBehindItsChecksum) {
  const std::vector<uint8_t> file = toyFile();
  for (size_t i = SLUICE_PAGE; i < trailerOf(file).header_offset + sizeof(sluice_header); ++i)
    for (uint8_t flip : {0x01, 0x80, 0xFF}) {
      std::vector<uint8_t> changed = file;
      changed[i] ^= flip;
      fixChecksums(changed);
      refusal(changed); // must neither crash nor throw anything but Error
    }
}
