//===- ModelImage.cpp - a file with a toy model, made by hand, and its kernels --------===//

#include "test/runtime/ModelImage.h"
#include <cmath>
#include <cstring>
#include <fstream>
#include <gtest/gtest.h>
#include <unistd.h>
#include <xxhash.h>

using namespace sluice::test;

// Arena, in floats: [toyChunk] values, then logits at byte 64 * 16.
static constexpr uint64_t logitsAt = 1024;

static float *values(const sluice_args *args) { return reinterpret_cast<float *>(args->arena); }

static void embed(const sluice_args *args, uint64_t begin, uint64_t end) {
  for (uint64_t token = begin; token < end; ++token)
    values(args)[token] = float(args->ids[token]) * float(args->position + token + 1);
}

// A unit is a head: it appends its third of the value to the cache.
static void append(const sluice_args *args, uint64_t begin, uint64_t end) {
  for (uint64_t head = begin; head < end; ++head)
    for (uint64_t token = args->token_begin; token < args->token_end; ++token)
      reinterpret_cast<float *>(args->kv + head * args->kv_head_stride)[args->position + token] = values(args)[token];
}

// Units: token blocks of 4. The sum over the cache of all heads, halved for each of the two layers.
static void attend(const sluice_args *args, uint64_t begin, uint64_t end) {
  for (uint64_t unit = begin; unit < end; ++unit)
    for (uint64_t token = unit * 4; token < std::min((unit + 1) * 4, args->token_end); ++token) {
      double sum = 0;
      for (uint64_t head = 0; head < toyHeads; ++head)
        for (uint64_t i = 0; i <= args->position + token; ++i)
          sum += reinterpret_cast<float *>(args->kv + head * args->kv_head_stride)[i] / toyHeads;
      float *out = reinterpret_cast<float *>(args->arena + 512);
      out[token] = float(sum);
    }
}

// Decoding does the same in two steps. Units: heads x segments of positions, each summed for itself; then one that
// adds.
static constexpr uint64_t segment = 32;
static float *segmentSums(const sluice_args *args) { return reinterpret_cast<float *>(args->arena + 640); }
static uint64_t segmentsOf(const sluice_args *args) {
  return (args->position + args->token_end + segment - 1) / segment;
}

static void sumSegments(const sluice_args *args, uint64_t begin, uint64_t end) {
  for (uint64_t unit = begin; unit < end; ++unit) {
    uint64_t head = unit / segmentsOf(args), first = unit % segmentsOf(args) * segment;
    double sum = 0;
    for (uint64_t i = first; i < std::min(first + segment, args->position + 1); ++i)
      sum += reinterpret_cast<float *>(args->kv + head * args->kv_head_stride)[i] / toyHeads;
    segmentSums(args)[unit] = float(sum);
  }
}

static void addSegments(const sluice_args *args, uint64_t, uint64_t) {
  double sum = 0;
  for (uint64_t unit = 0; unit < toyHeads * segmentsOf(args); ++unit)
    sum += segmentSums(args)[unit];
  *reinterpret_cast<float *>(args->arena + 512) = float(sum);
}

static void prepareHead(const sluice_args *args) {
  uint64_t weight;
  std::memcpy(&weight, args->weights, sizeof weight);
  for (uint64_t token = args->token_begin; token < args->token_end; ++token)
    reinterpret_cast<float *>(args->prepared)[token] = float(weight);
}

static void head(const sluice_args *args, uint64_t begin, uint64_t end) {
  for (uint64_t token = args->token_begin; token < args->token_end; ++token)
    for (uint64_t v = begin; v < end; ++v)
      reinterpret_cast<float *>(args->arena + logitsAt)[token * toyPadded + v] =
          reinterpret_cast<float *>(args->arena + 512)[token] +
          float(v) * reinterpret_cast<float *>(args->prepared)[token];
}

static void softmax(const sluice_args *args, uint64_t, uint64_t) {
  const float *in = values(args);
  float *out = reinterpret_cast<float *>(args->arena + 512);
  double sum = 0;
  for (uint32_t i = 0; i < args->count; ++i)
    sum += out[i] = std::exp(args->parameter * in[i]);
  for (uint32_t i = 0; i < args->count; ++i)
    out[i] /= float(sum);
  out[toyVocabulary] = float(std::log(sum));
}

static void peak(const sluice_args *args, uint64_t, uint64_t) { args->arena[0] += uint8_t(args->count); }

static const sluice_kernel kernels[] = {{nullptr, embed},       {nullptr, append},  {nullptr, attend},
                                        {prepareHead, head},    {nullptr, softmax}, {nullptr, sumSegments},
                                        {nullptr, addSegments}, {nullptr, peak}};
enum { Embed, Append, Attend, Head, Softmax, SumSegments, AddSegments, Peak };
const sluice_variant sluice::test::toyVariant = {"toy", 0, kernels, std::size(kernels)};

template <typename T> static void put(std::vector<uint8_t> &file, const T &value) {
  const uint8_t *bytes = reinterpret_cast<const uint8_t *>(&value);
  file.insert(file.end(), bytes, bytes + sizeof value);
}

std::vector<uint8_t> sluice::test::toyFile() {
  const char strings[] = "toy\0llama\0"
                         "1\0source\0hash\0f32\0tensor.a\0tensor.b\0";
  std::vector<uint8_t> sections[SLUICE_SECTION_COUNT];
  std::vector<uint8_t> &weights = sections[SLUICE_SECTION_WEIGHTS];
  weights.resize(128, 3);
  std::memcpy(weights.data() + 64, &toyWeight, sizeof toyWeight);

  sluice_model model{};
  model.architecture = 4, model.compiler_version = 10, model.source_file = 12, model.source_hash = 19,
  model.formats = 24;
  model.layers = toyLayers, model.width = 1, model.heads = model.kv_heads = toyHeads, model.head_dim = 1,
  model.feed_forward = 1, model.vocabulary = toyVocabulary, model.context_length = toyContext;
  model.logits_padded = toyPadded;
  model.weight_bytes = 64;
  put(sections[SLUICE_SECTION_MODEL], model);

  std::vector<sluice_step> steps;
  auto program = [&](uint32_t kind, uint32_t tokens) {
    sluice_program entry{};
    entry.kind = kind, entry.first_step = uint32_t(steps.size()), entry.max_tokens = tokens;
    entry.arena_bytes = logitsAt + uint64_t(toyChunk) * toyPadded * 4, entry.scratch_bytes = entry.prepared_bytes = 64;
    entry.output_offset = kind == SLUICE_PROGRAM_SOFTMAX ? 512 : logitsAt;
    auto step = [&](sluice_step step) { steps.push_back(step); };
    if (kind == SLUICE_PROGRAM_PEAK) {
      entry.arena_bytes = SLUICE_PEAK_OPERATIONS / 2;
      step({.kernel = Peak, .layer = UINT32_MAX, .units = 1});
    } else if (kind == SLUICE_PROGRAM_SOFTMAX) {
      step({.kernel = Softmax, .layer = UINT32_MAX, .units = 1});
    } else {
      step({.kernel = Embed, .layer = UINT32_MAX, .units = 1, .unit_tokens = 1});
      for (uint32_t layer = 0; layer < toyLayers; ++layer) {
        step({.kernel = Append, .layer = layer, .units = toyHeads});
        if (kind == SLUICE_PROGRAM_PREFILL) {
          step({.kernel = Attend, .layer = layer, .units = 1, .unit_tokens = 4});
        } else {
          step({.kernel = SumSegments, .layer = layer, .units = toyHeads, .unit_positions = segment});
          step({.kernel = AddSegments, .layer = UINT32_MAX, .units = 1});
        }
      }
      step({.kernel = Head,
            .layer = UINT32_MAX,
            .flags = SLUICE_STEP_HEAD,
            .units = toyVocabulary,
            .prologue_tokens = kind == SLUICE_PROGRAM_PREFILL ? 4u : 0,
            .weights_offset = 64,
            .weights_bytes = 64});
    }
    entry.step_count = uint32_t(steps.size()) - entry.first_step;
    put(sections[SLUICE_SECTION_PROGRAMS], entry);
  };
  program(SLUICE_PROGRAM_DECODE, 1);
  program(SLUICE_PROGRAM_PREFILL, toyChunk);
  program(SLUICE_PROGRAM_SOFTMAX, 1);
  program(SLUICE_PROGRAM_PEAK, 1);
  for (const sluice_step &step : steps)
    put(sections[SLUICE_SECTION_STEPS], step);
  put(sections[SLUICE_SECTION_TENSORS], sluice_tensor{28, 24, 0, 64, XXH3_64bits(weights.data(), 64)});
  put(sections[SLUICE_SECTION_TENSORS], sluice_tensor{37, 24, 64, 64, XXH3_64bits(weights.data() + 64, 64)});
  sections[SLUICE_SECTION_STRINGS].assign(strings, strings + sizeof strings - 1);

  std::vector<uint8_t> file(SLUICE_PAGE, 0x7F);
  sluice_header header{};
  header.code = {0, file.size(), XXH3_64bits(file.data(), file.size())};
  for (int i = 0; i < SLUICE_SECTION_COUNT; ++i) {
    file.resize((file.size() + 63) / 64 * 64);
    header.sections[i] = {file.size(), sections[i].size(), XXH3_64bits(sections[i].data(), sections[i].size())};
    file.insert(file.end(), sections[i].begin(), sections[i].end());
  }
  file.resize((file.size() + 63) / 64 * 64);
  sluice_trailer trailer{};
  trailer.header_offset = file.size();
  trailer.header_checksum = XXH3_64bits(&header, sizeof header);
  trailer.abi_version = SLUICE_ABI_VERSION;
  trailer.magic = SLUICE_MAGIC;
  trailer.file_bytes = file.size() + sizeof header + sizeof trailer;
  put(file, header);
  put(file, trailer);
  return file;
}

std::string sluice::test::writeTemporary(const std::vector<uint8_t> &bytes, const std::string &name) {
  std::string path = testing::TempDir() + "sluice-" + std::to_string(getpid()) + "-" + name;
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char *>(bytes.data()), std::streamsize(bytes.size()));
  return path;
}

sluice_trailer sluice::test::trailerOf(const std::vector<uint8_t> &file) {
  sluice_trailer trailer;
  std::memcpy(&trailer, file.data() + file.size() - sizeof trailer, sizeof trailer);
  return trailer;
}

sluice_header *sluice::test::headerOf(std::vector<uint8_t> &file) {
  return reinterpret_cast<sluice_header *>(file.data() + trailerOf(file).header_offset);
}

void sluice::test::fixChecksums(std::vector<uint8_t> &file) {
  for (sluice_section &section : headerOf(file)->sections)
    if (section.offset <= file.size() && section.size <= file.size() - section.offset)
      section.checksum = XXH3_64bits(file.data() + section.offset, section.size);
  sluice_trailer trailer = trailerOf(file);
  trailer.header_checksum = XXH3_64bits(headerOf(file), sizeof(sluice_header));
  std::memcpy(file.data() + file.size() - sizeof trailer, &trailer, sizeof trailer);
}
