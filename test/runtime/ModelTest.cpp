//===- ModelTest.cpp - whole files open, damaged ones are refused in one line -----------===//

#include "runtime/Model.h"
#include "runtime/Error.h"
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
  EXPECT_NE(refusal(file).find("checksum"), std::string::npos) << refusal(file);
  fixHeaderChecksum(file);
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
    fixHeaderChecksum(file);
    EXPECT_NE(refusal(file).find(what), std::string::npos) << what << ": " << refusal(file);
  }
}

TEST(Model, SurvivesAnyFlippedByte) {
  const std::vector<uint8_t> file = toyFile();
  for (size_t i = SLUICE_PAGE; i < file.size(); ++i) {
    std::vector<uint8_t> changed = file;
    changed[i] ^= 0x80;
    refusal(changed); // must neither crash nor throw anything but Error
  }
}
