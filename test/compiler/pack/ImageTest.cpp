//===- ImageTest.cpp - a file's sections say where everything lies -----------------===//

#include "compiler/pack/Image.h"
#include "mlir/Parser/Parser.h"
#include "test/compiler/pack/PackedReader.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "gtest/gtest.h"
#include <map>
#include <xxhash.h>

using namespace sluice;

namespace {
std::string program(const std::string &name, int maxTokens) {
  return "stream.program @" + name + " max_tokens " + std::to_string(maxTokens) + R"({
    stream.buffer @x width 64
    stream.buffer @attn width 64
    stream.buffer @hidden width 96
    stream.buffer @logits width 100
    stream.phase "embed" {
      stream.embed @token_embd, @x
    }
    stream.repeat 2 {
      stream.phase "attention" {
        stream.attention @x, @attn heads 4 : !llama.cache<2x16>
      }
      stream.phase "gate_up" {
        %x = stream.read @x : !stream.values<64>
        %n = stream.rms_norm %x, @ffn_norm eps 1.0e-5 : !stream.values<64>
        %a = stream.prepare %n : !stream.values<64> -> !stream.operand<64, i8>
        stream.tiles (%a, %a) [@ffn_gate, @ffn_up] : !stream.operand<64, i8>, !stream.operand<64, i8> {
        ^bb0(%g: !stream.lanes, %u: !stream.lanes):
          %s = stream.swiglu %g, %u
          stream.write_rows %s, @hidden
        }
      }
      stream.phase "down" {
        %x = stream.read @hidden : !stream.values<96>
        %a = stream.prepare %x : !stream.values<96> -> !stream.operand<96, i8>
        stream.tiles (%a) [@ffn_down] : !stream.operand<96, i8> {
        ^bb0(%y: !stream.lanes):
          stream.write_rows %y, @x
        }
      }
    }
    stream.phase "logits" head {
      %x = stream.read @x : !stream.values<64>
      %a = stream.prepare %x : !stream.values<64> -> !stream.operand<64, i8>
      stream.tiles (%a) [@token_embd] : !stream.operand<64, i8> {
      ^bb0(%y: !stream.lanes):
        stream.write_rows %y, @logits
      }
    }
  })";
}

const std::string declarations = R"(
  llama.weight @token_embd from "token_embd.weight" : !llama.weight<100x64, q8_0>
  llama.weight @ffn_norm from "blk.{layer}.ffn_norm.weight" : !llama.weight<1x64, f32>
  llama.weight @ffn_gate from "blk.{layer}.ffn_gate.weight" : !llama.weight<96x64, q4_1>
  llama.weight @ffn_up from "blk.{layer}.ffn_up.weight" : !llama.weight<96x64, q4_0>
  llama.weight @ffn_down from "blk.{layer}.ffn_down.weight" : !llama.weight<64x96, q4_0>
)";
const std::string utilities = R"(stream.program @softmax max_tokens 1 {
    stream.buffer @input width 100
    stream.buffer @output width 101
    stream.phase "softmax" {
      stream.softmax @input, @output
    }
  }
  stream.program @peak max_tokens 1 {
    stream.buffer @data width 2048
    stream.phase "peak" {
      stream.peak @data
    }
  })";

struct Shape {
  const char *name;
  llama::Format format;
  int64_t rows, cols;
};
const Shape shapes[] = {
    {"token_embd.weight", llama::Format::Q8_0, 100, 64},    {"blk.0.ffn_norm.weight", llama::Format::F32, 1, 64},
    {"blk.0.ffn_gate.weight", llama::Format::Q4_1, 96, 64}, {"blk.0.ffn_up.weight", llama::Format::Q4_0, 96, 64},
    {"blk.0.ffn_down.weight", llama::Format::Q4_0, 64, 96}, {"blk.1.ffn_norm.weight", llama::Format::F32, 1, 64},
    {"blk.1.ffn_gate.weight", llama::Format::Q4_1, 96, 64}, {"blk.1.ffn_up.weight", llama::Format::Q4_0, 96, 64},
    {"blk.1.ffn_down.weight", llama::Format::Q4_0, 64, 96}};

class ImageTest : public testing::Test {
protected:
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::optional<stream::Schedule> schedule;
  std::map<std::string, std::vector<uint8_t>> tensors;
  llvm::SmallString<128> folder;
  const std::string elf = std::string("\x7f"
                                      "ELF") +
                          std::string(5000, 'x'),
                    hash = std::string(71, 'h');

  ImageTest() { context.loadDialect<llama::LlamaDialect, stream::StreamDialect>(); }
  void SetUp() override {
    ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("sluice-image", folder));
    std::mt19937 random(std::random_device{}());
    for (const Shape &shape : shapes)
      tensors[shape.name] = randomTensor(llama::formatInfo(shape.format), shape.rows, shape.cols, random);
  }
  void TearDown() override { llvm::sys::fs::remove_directories(folder); }
  std::string path() { return (folder + "/model").str(); }

  llvm::Expected<Image> build(const std::string &programs) {
    module = mlir::parseSourceString<mlir::ModuleOp>(
        "llama.model @tiny attributes {architecture = \"llama\", context_length = 64 : i64} {" + declarations +
            programs + "}",
        &context);
    EXPECT_TRUE(module);
    auto model = *module->getOps<llama::ModelOp>().begin();
    schedule = stream::Schedule::get(model);
    std::vector<PackedTensor> packed = packedTensors(*schedule);
    std::string standIn(hash.size(), '0');
    auto memory = [](stream::ProgramOp program) {
      int64_t tokens = program.getMaxTokens();
      return codegen::WorkerMemory{tokens * 1000, tokens * 10};
    };
    llvm::Expected<Tables> tables =
        buildTables(model, *schedule, packed, {"1.2.3", "tiny.gguf", standIn, 12345}, memory);
    if (!tables)
      return tables.takeError();
    return Image{*schedule, packed, *tables, {1, 2, 3}, {4, 5}, [this] { return hash; }};
  }
  llvm::Error write(Image &image, PackedSoFar packedSoFar) {
    OutputFile file(path());
    std::error_code code;
    llvm::raw_fd_ostream(file.temporaryPath(), code) << elf;
    if (llvm::Error error = file.openToAppend())
      return error;
    if (llvm::Error error = file.reserve(fileBytes(image, file.size())))
      return error;
    auto bytesOf = [&](llvm::StringRef name) -> llvm::Expected<llvm::ArrayRef<uint8_t>> {
      auto found = tensors.find(name.str());
      if (found == tensors.end())
        return llvm::createStringError("no tensor '" + name + "'");
      return llvm::ArrayRef<uint8_t>(found->second);
    };
    if (llvm::Error error = appendImage(
            file, image, bytesOf, [](llvm::ArrayRef<uint8_t>) {}, packedSoFar))
      return error;
    return file.commit();
  }
  llvm::Error write(Image &image) {
    return write(image, [](uint64_t) { return llvm::Error::success(); });
  }
  bool folderIsEmpty() {
    std::error_code code;
    return llvm::sys::fs::directory_iterator(folder, code) == llvm::sys::fs::directory_iterator();
  }
};

TEST_F(ImageTest, FileHoldsEverything) {
  llvm::Expected<Image> image = build(program("decode", 1) + program("prefill", 64) + utilities);
  ASSERT_TRUE(bool(image)) << toString(image.takeError());
  llvm::Error error = write(*image);
  ASSERT_FALSE(error) << toString(std::move(error));

  auto buffer = std::move(*llvm::MemoryBuffer::getFile(path()));
  llvm::StringRef file = buffer->getBuffer();
  EXPECT_EQ(file.take_front(elf.size()), elf);
  sluice_trailer trailer;
  std::memcpy(&trailer, file.take_back(sizeof trailer).data(), sizeof trailer);
  ASSERT_EQ(trailer.magic, SLUICE_MAGIC);
  EXPECT_EQ(trailer.abi_version, SLUICE_ABI_VERSION);
  EXPECT_EQ(trailer.file_bytes, file.size());
  sluice_header header;
  std::memcpy(&header, file.substr(trailer.header_offset).data(), sizeof header);
  EXPECT_EQ(trailer.header_checksum, XXH3_64bits(&header, sizeof header));
  std::vector<llvm::StringRef> sections;
  for (auto [number, section] : llvm::enumerate(header.sections)) {
    EXPECT_EQ(section.offset % (number == SLUICE_SECTION_WEIGHTS ? SLUICE_PAGE : 64), 0u);
    ASSERT_LE(section.offset + section.size, file.size());
    sections.push_back(file.substr(section.offset, section.size));
    EXPECT_EQ(section.checksum, XXH3_64bits(sections.back().data(), section.size)) << number;
  }
  EXPECT_EQ(sections[SLUICE_SECTION_TOKENIZER], llvm::StringRef("\1\2\3"));
  EXPECT_EQ(sections[SLUICE_SECTION_TEMPLATE], llvm::StringRef("\4\5"));

  auto string = [&](uint32_t offset) { return std::string(sections[SLUICE_SECTION_STRINGS].data() + offset); };
  sluice_model model;
  ASSERT_EQ(sections[SLUICE_SECTION_MODEL].size(), sizeof model);
  std::memcpy(&model, sections[SLUICE_SECTION_MODEL].data(), sizeof model);
  EXPECT_EQ(string(model.name), "tiny");
  EXPECT_EQ(string(model.source_hash), hash);
  EXPECT_EQ(string(model.compiler_version), "1.2.3");
  EXPECT_EQ(string(model.source_file), "tiny.gguf");
  EXPECT_EQ(string(model.formats), "q4_0, q4_1, q8_0, f32");
  EXPECT_EQ(model.source_bytes, 12345u);
  uint32_t facts[] = {model.layers,       model.width,      model.heads,          model.kv_heads,     model.head_dim,
                      model.feed_forward, model.vocabulary, model.context_length, model.logits_padded};
  uint32_t expectedFacts[] = {2, 64, 4, 2, 16, 96, 100, 64, 128};
  EXPECT_TRUE(std::equal(std::begin(facts), std::end(facts), std::begin(expectedFacts)));

  // Tensors: bytes, checksums, and that tensors which alternate share a range.
  auto entries = llvm::ArrayRef(reinterpret_cast<const sluice_tensor *>(sections[SLUICE_SECTION_TENSORS].data()),
                                sections[SLUICE_SECTION_TENSORS].size() / sizeof(sluice_tensor));
  ASSERT_EQ(entries.size(), std::size(shapes));
  llvm::StringRef weights = sections[SLUICE_SECTION_WEIGHTS];
  auto base = reinterpret_cast<const uint8_t *>(weights.data());
  std::map<uint64_t, int64_t> usedOf; // tile bytes of the tensors of a range that came before
  for (int pass = 0; pass < 2; ++pass) {
    std::map<uint64_t, int64_t> before;
    for (const sluice_tensor &entry : entries) {
      const Shape &shape = *llvm::find_if(shapes, [&](const Shape &s) { return s.name == string(entry.name); });
      const llama::FormatInfo &format = llama::formatInfo(shape.format);
      EXPECT_EQ(string(entry.format), format.name);
      EXPECT_EQ(entry.checksum, XXH3_64bits(base + entry.offset, entry.size));
      const std::vector<uint8_t> &source = tensors[shape.name];
      if (shape.rows == 1) {
        // A NaN stays one, but may turn from a signalling into a quiet one.
        for (int64_t col = 0; col < shape.cols; ++col)
          ASSERT_TRUE(sameValue(llama::decodeElement(format, base + entry.offset + col * format.blockBytes, 0),
                                llama::decodeElement(format, source.data() + col * format.blockBytes, 0)))
              << shape.name << ' ' << col;
        continue;
      }
      int64_t tileBytes = PackedReader(format, shape.cols, 32, nullptr).bytesOfTile();
      if (pass == 0) {
        usedOf[entry.offset] += tileBytes; // the stride of the range
        continue;
      }
      PackedReader reader(format, shape.cols, 32, base + entry.offset + before[entry.offset], usedOf[entry.offset]);
      before[entry.offset] += tileBytes;
      for (int64_t row = 0; row < shape.rows; ++row)
        for (int64_t col = 0; col < shape.cols; ++col) {
          int64_t block = (row * shape.cols + col) / format.blockElements;
          float expected =
              llama::decodeElement(format, source.data() + block * format.blockBytes, col % format.blockElements);
          ASSERT_TRUE(sameValue(reader.at(row, col), expected)) << shape.name << ' ' << row << ',' << col;
        }
    }
  }

  // Programs and steps.
  auto programs = llvm::ArrayRef(reinterpret_cast<const sluice_program *>(sections[SLUICE_SECTION_PROGRAMS].data()), 3);
  auto steps = reinterpret_cast<const sluice_step *>(sections[SLUICE_SECTION_STEPS].data());
  ASSERT_EQ(sections[SLUICE_SECTION_PROGRAMS].size(), 4 * sizeof(sluice_program));
  EXPECT_EQ(programs[1].kind, uint32_t(SLUICE_PROGRAM_PREFILL));
  EXPECT_EQ(programs[1].max_tokens, 64u);
  EXPECT_EQ(programs[1].first_step, 8u);
  EXPECT_EQ(programs[1].step_count, 8u);
  EXPECT_EQ(programs[1].scratch_bytes, 64000u);
  EXPECT_EQ(programs[1].prepared_bytes, 640u);
  EXPECT_EQ(programs[1].output_offset, 64u * 4 * (64 + 64 + 96));
  EXPECT_EQ(programs[2].output_offset, 128u * 4);
  uint64_t read = 0, next = 0;
  for (const sluice_step *step = steps; step < steps + 8; ++step) {
    EXPECT_EQ(step->weights_offset, step->weights_bytes ? next : step->weights_offset) << "decode is a linear pass";
    read += step->weights_bytes;
    next += step->weights_bytes;
    // The second program reads the same bytes.
    EXPECT_EQ(step[8].weights_offset, step->weights_offset);
    EXPECT_EQ(string(step[8].phase), string(step->phase));
  }
  EXPECT_EQ(model.weight_bytes, read);
  EXPECT_EQ(read, weights.size());
  EXPECT_EQ(steps[0].weights_bytes, 0u) << "rows of the embedding are only looked up";
  EXPECT_EQ(steps[0].weights_offset, steps[7].weights_offset);
  EXPECT_EQ(steps[1].cache_operations, 2u * 2 * 4 * 16);
  EXPECT_EQ(steps[1].cache_tokens, 1u);
  EXPECT_EQ(steps[2].operations, 2u * 2 * 96 * 64);
  EXPECT_EQ(steps[2].cache_tokens, 0u);
  EXPECT_EQ(steps[4].layer, 1u);
  EXPECT_EQ(steps[2].shared_bytes, 256u);
  EXPECT_EQ(steps[2].units, 3u);
  EXPECT_EQ(steps[7].flags, uint32_t(SLUICE_STEP_HEAD));
  EXPECT_EQ(steps[7].layer, UINT32_MAX);
}

TEST_F(ImageTest, ErrorsLeaveNoFile) {
  llvm::Expected<Image> image = build(program("decode", 1) + program("prefill", 64) + utilities);
  ASSERT_TRUE(bool(image));
  EXPECT_EQ(toString(write(*image, [](uint64_t) { return llvm::createStringError("stop"); })), "stop");
  EXPECT_TRUE(folderIsEmpty());
  tensors["blk.1.ffn_up.weight"].pop_back();
  EXPECT_EQ(toString(write(*image)), "tensor 'blk.1.ffn_up.weight': expected 3456 bytes, got 3455");
  tensors.erase("blk.1.ffn_up.weight");
  EXPECT_EQ(toString(write(*image)), "no tensor 'blk.1.ffn_up.weight'");
  EXPECT_TRUE(folderIsEmpty());
}

TEST_F(ImageTest, ProgramsMustBeThoseOfTheRuntime) {
  EXPECT_EQ(toString(build(program("decode", 1) + utilities).takeError()), "model 'tiny' has no program 'prefill'");
  EXPECT_EQ(toString(build(program("encode", 1)).takeError()),
            "program 'encode': expected decode, prefill, softmax or peak");
}

TEST_F(ImageTest, FullDiskNamesFileAndBytes) {
  std::string message = toString(OutputFile(path()).checkSpace(uint64_t(1) << 60));
  EXPECT_NE(message.find(path() + ": no space left on the disk; 1152921504606846976 bytes are needed"),
            std::string::npos)
      << message;
  EXPECT_FALSE(OutputFile(path()).checkSpace(1));
  EXPECT_FALSE(OutputFile("/proc/none").checkSpace(1)); // that has no blocks at all
}
} // namespace
