//===- ScheduleTest.cpp - everything a program reads has one place, and its own ---------===//

#include "dialects/stream/Schedule.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/STLExtras.h"
#include "gtest/gtest.h"
#include <set>

using namespace sluice;
using namespace sluice::stream;

namespace {

// Phases over two bodies of layers. `lookup`: the weight that embed reads; `tileRows`: how it is packed there.
std::string program(const std::string &name, int maxTokens, const std::string &lookup, int tileRows) {
  auto linear = [](const std::string &phase, const std::string &norm, int width, const std::string &weights,
                   const std::string &out) {
    bool pair = weights.find(',') != std::string::npos;
    std::string n = std::to_string(width), operand = "!stream.operand<" + n + ", i8>";
    return "stream.phase " + phase + " { %r = stream.read @in" + n + " : !stream.values<" + n + ">\n" +
           (norm.empty() ? "%x = stream.read @in" + n : "%x = stream.rms_norm %r, @" + norm + " eps 1.0e-5") +
           " : !stream.values<" + n + ">\n%a = stream.prepare %x : !stream.values<" + n + "> -> " + operand +
           "\nstream.tiles (" + (pair ? "%a, %a" : "%a") + ") [" + weights + "] : " + operand +
           (pair ? ", " + operand : "") + " { ^bb0(%y: !stream.lanes" + (pair ? ", %z: !stream.lanes" : "") +
           "): stream.write_rows %y, @" + out + " } }\n";
  };
  return "stream.program @" + name + " max_tokens " + std::to_string(maxTokens) + R"( {
    stream.buffer @in64 width 64
    stream.buffer @in96 width 96
    stream.buffer @out64 width 64
    stream.buffer @odd width 33
    stream.buffer @logits width 100
    stream.phase "embed" { stream.embed @)" +
         lookup + ", @in64 {tile_rows = " + std::to_string(tileRows) + " : i64} }\n stream.repeat 2 {" +
         linear("\"gate_up\"", "norm", 64, "@gate, @up", "in96") + linear("\"down\"", "", 96, "@down", "out64") +
         "}\n stream.repeat 1 {" + linear("\"down\"", "", 96, "@other.down", "out64") + "}\n" +
         linear("\"logits\" head", "output_norm", 64, "@output", "logits") + "}\n";
}

class ScheduleTest : public testing::Test {
protected:
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  llama::ModelOp model;

  ScheduleTest() { context.loadDialect<llama::LlamaDialect, StreamDialect>(); }

  Schedule schedule(const std::string &programs) {
    return read(mlir::parseSourceString<mlir::ModuleOp>(R"(
      llama.model @m attributes {architecture = "llama", context_length = 64 : i64} {
        llama.weight @table from "table" : !llama.weight<100x64, q4_0>
        llama.weight @output from "output" : !llama.weight<100x64, q8_0>
        llama.weight @output_norm from "output_norm" : !llama.weight<1x64, f32>
        llama.weight @norm from "blk.{layer}.norm" : !llama.weight<1x64, f32>
        llama.weight @gate from "blk.{layer}.gate" : !llama.weight<96x64, q4_1>
        llama.weight @up from "blk.{layer}.up" : !llama.weight<96x64, q8_0>
        llama.weight @down from "blk.{layer}.down" : !llama.weight<64x96, q4_0>
        llama.weight @other.down from "blk.{layer}.down" : !llama.weight<64x96, q8_0>
      )" + programs + "}",
                                                        &context));
  }
  Schedule read(mlir::OwningOpRef<mlir::ModuleOp> parsed) {
    module = std::move(parsed);
    if (!module)
      throw std::runtime_error("the program does not parse");
    model = *module->getOps<llama::ModelOp>().begin();
    return Schedule::get(model);
  }
};

// Names what a segment holds in a layer.
std::vector<std::string> tensorsOf(const Segment &segment, int64_t layer) {
  std::vector<std::string> names;
  for (llama::WeightDeclOp weight : segment.weights)
    names.push_back(weight.tensorName(layer));
  return names;
}

TEST_F(ScheduleTest, PlacesFillTheFileAndDoNotOverlap) {
  for (const char *lookup : {"output", "table"}) {
    Schedule plan = schedule(program("decode", 1, lookup, 32) + program("prefill", 7, lookup, 32));
    std::vector<std::string> owner(plan.weightBytes());
    for (const Placement &place : plan.placements()) {
      EXPECT_EQ(place.offset % 64, 0);
      for (const Segment &segment : place.stream.segments)
        for (int64_t i = 0; i < segment.bytes; ++i) {
          std::string &byte = owner.at(place.offset + segment.offset + i);
          ASSERT_EQ(byte, "") << "byte " << place.offset + segment.offset + i << " also holds "
                              << tensorsOf(segment, place.layer)[0];
          byte = tensorsOf(segment, place.layer)[0];
        }
    }
    EXPECT_EQ(llvm::count(owner, ""), 0) << "every segment is a multiple of 64 bytes: nothing is left between them";
  }
}

TEST_F(ScheduleTest, EveryTensorIsPlacedOnce) {
  for (bool tied : {true, false}) {
    const char *lookup = tied ? "output" : "table";
    Schedule plan = schedule(program("decode", 1, lookup, 32) + program("prefill", 7, lookup, 32));
    std::vector<std::string> names;
    for (const Placement &place : plan.placements())
      for (const Segment &segment : place.stream.segments)
        llvm::append_range(names, tensorsOf(segment, place.layer));
    // In the order of decode; what is only looked up comes last.
    std::vector<std::string> expected{"blk.0.norm", "blk.0.gate",  "blk.0.up", "blk.0.down",
                                      "blk.1.norm", "blk.1.gate",  "blk.1.up", "blk.1.down",
                                      "blk.2.down", "output_norm", "output"};
    if (!tied)
      expected.push_back("table");
    EXPECT_EQ(names, expected);
  }
}

TEST_F(ScheduleTest, StepsWalkTheLayers) {
  Schedule plan = schedule(program("decode", 1, "output", 32) + program("prefill", 7, "output", 32));
  ASSERT_EQ(plan.programs().size(), 2u);
  EXPECT_EQ(plan.kernels().size(), 10u) << "five phases of each program";
  std::vector<std::string> walk;
  std::vector<unsigned> kernels;
  for (const Step &step : plan.steps(0)) {
    walk.push_back(PhaseOp(step.phase).getName().str() + " " + std::to_string(step.layer));
    kernels.push_back(step.kernel);
    EXPECT_EQ(plan.kernels()[step.kernel], step.phase);
  }
  EXPECT_EQ(walk, (std::vector<std::string>{"embed -1", "gate_up 0", "down 0", "gate_up 1", "down 1", "down 2",
                                            "logits -1"}));
  EXPECT_EQ(kernels, (std::vector<unsigned>{0, 1, 2, 1, 2, 3, 4})) << "layers of one body share kernels";
  // Another program has kernels of its own and reads the same bytes.
  ASSERT_EQ(plan.steps(1).size(), plan.steps(0).size());
  for (auto [decode, prefill] : llvm::zip_equal(plan.steps(0), plan.steps(1))) {
    EXPECT_EQ(prefill.kernel, decode.kernel + 5);
    EXPECT_EQ(prefill.weightsOffset, decode.weightsOffset);
    EXPECT_EQ(prefill.layer, decode.layer);
  }
}

TEST_F(ScheduleTest, StepsReadWhatIsPlacedThere) {
  Schedule plan = schedule(program("decode", 1, "output", 32) + program("prefill", 7, "output", 32));
  for (unsigned p : {0u, 1u})
    for (const Step &step : plan.steps(p)) {
      PhaseStream wanted = PhaseStream::get(step.phase);
      for (const Segment &segment : wanted.segments) {
        unsigned found = 0;
        for (const Placement &place : plan.placements())
          for (const Segment &placed : place.stream.segments)
            if (place.offset + placed.offset == step.weightsOffset + segment.offset) {
              EXPECT_EQ(tensorsOf(placed, place.layer), tensorsOf(segment, step.layer));
              EXPECT_EQ(placed.bytes, segment.bytes);
              ++found;
            }
        EXPECT_EQ(found, 1u) << PhaseOp(step.phase).getName().str() << " in layer " << step.layer;
      }
    }
}

TEST_F(ScheduleTest, DecodeReadsForward) {
  Schedule plan = schedule(program("prefill", 7, "output", 32) + program("decode", 1, "output", 32));
  int64_t end = 0;
  for (const Step &step : plan.steps(1))
    if (PhaseStream stream = PhaseStream::get(step.phase); !stream.lookedUp) {
      EXPECT_EQ(step.weightsOffset, end);
      end = step.weightsOffset + stream.bytes;
    }
  EXPECT_EQ(end, plan.weightBytes());
}

TEST_F(ScheduleTest, ALookedUpWeightIsSharedOnlyInTheSameTiles) {
  Schedule tied = schedule(program("decode", 1, "output", 32));
  const Step &logits = tied.steps(0).back();
  EXPECT_EQ(tied.steps(0)[0].weightsOffset, logits.weightsOffset + 64 * 4) << "behind the norm's vector";
  int64_t bytes = tied.weightBytes();
  Schedule other = schedule(program("decode", 1, "output", 16));
  EXPECT_EQ(other.steps(0)[0].weightsOffset, bytes) << "in tiles of 16 rows it lies once more, at the end";
  EXPECT_GT(other.weightBytes(), bytes);
}

TEST_F(ScheduleTest, PhasesOfTheSameCodeAreOneKernel) {
  auto repeat = [](const std::string &weight, int rows) {
    return "stream.repeat 1 { stream.phase \"down\" { %x = stream.read @in96 : !stream.values<96>\n"
           "%a = stream.prepare %x : !stream.values<96> -> !stream.operand<96, i8>\n"
           "stream.tiles (%a) [@" +
           weight +
           "] : !stream.operand<96, i8> { ^bb0(%y: !stream.lanes): "
           "stream.write_rows %y, @out64 } {tile_rows = " +
           std::to_string(rows) + " : i64} } }\n";
  };
  // Layers alternate between two formats; one weight of a format lies in other tiles.
  Schedule s =
      schedule("llama.weight @same.down from \"blk.{layer}.down\" : !llama.weight<64x96, q8_0>\n"
               "stream.program @decode max_tokens 1 { stream.buffer @in96 width 96\n stream.buffer @out64 width 64\n" +
               repeat("down", 32) + repeat("other.down", 32) + repeat("down", 32) + repeat("same.down", 32) +
               repeat("down", 16) + "}");
  ASSERT_EQ(s.steps(0).size(), 5u);
  std::vector<unsigned> kernels;
  for (const Step &step : s.steps(0))
    kernels.push_back(step.kernel);
  EXPECT_EQ(kernels, (std::vector<unsigned>{0, 1, 0, 1, 2}));
  EXPECT_EQ(s.kernels().size(), 3u);
  std::set<int64_t> offsets;
  for (const Step &step : s.steps(0))
    offsets.insert(step.weightsOffset);
  EXPECT_EQ(offsets.size(), 5u) << "each layer has weights of its own";
}

TEST_F(ScheduleTest, Units) {
  Schedule plan = read(mlir::parseSourceFile<mlir::ModuleOp>(STREAM_PROGRAM, &context));
  std::map<std::string, std::pair<int64_t, int64_t>> units;
  for (PhaseOp phase : plan.kernels())
    units[phase.getName().str()] = {PhaseUnits::get(phase).units, PhaseUnits::get(phase).unitTokens};
  using Units = std::pair<int64_t, int64_t>;
  EXPECT_EQ(units["embed"], Units(1, 1));
  EXPECT_EQ(units["qkv"], Units(2 + 1 + 1, 0)) << "tiles of 32 rows, of q, k and v";
  EXPECT_EQ(units["attention"], Units(2, 1)) << "KV heads";
  EXPECT_EQ(units["gate_up"], Units(3, 0)) << "a tile of gate and one of up are one unit";
  EXPECT_EQ(units["logits"], Units(4, 0));
  EXPECT_EQ(units["softmax"], Units(1, 0));
}

//===-- Buffers -------------------------------------------------------------------------===//

TEST_F(ScheduleTest, BuffersDoNotOverlap) {
  const uint8_t poison = 0xAA;
  for (int tokens : {1, 7}) {
    Schedule plan = schedule(program("p", tokens, "output", 32));
    ProgramOp program = plan.programs()[0];
    int64_t bytes = 0;
    std::map<std::string, int64_t> offsets = bufferOffsets(program, &bytes);
    std::vector<uint8_t> arena(bytes, poison);
    for (BufferOp buffer : program.getBody().getOps<BufferOp>()) {
      int64_t at = offsets.at(buffer.getSymName().str()), size = tokens * paddedWidth(buffer.getWidth()) * 4;
      EXPECT_EQ(at % 64, 0);
      ASSERT_LE(at + size, bytes) << buffer.getSymName().str();
      for (int64_t i = at; i < at + size; ++i) {
        ASSERT_EQ(arena[i], poison) << buffer.getSymName().str() << " overlaps another at byte " << i;
        arena[i] = 0;
      }
    }
  }
}

// Buffers that a phase reads, and those that it writes.
std::pair<std::set<std::string>, std::set<std::string>> accesses(PhaseOp phase) {
  std::set<std::string> reads, writes;
  phase.walk([&](mlir::Operation *op) {
    if (auto read = mlir::dyn_cast<ReadOp>(op))
      reads.insert(read.getBuffer().str());
    if (auto read = mlir::dyn_cast<ReadRowsOp>(op))
      reads.insert(read.getBuffer().str());
    if (auto rope = mlir::dyn_cast<RopeOp>(op))
      reads.insert(rope.getTable().str());
    if (auto write = mlir::dyn_cast<WriteRowsOp>(op))
      writes.insert(write.getBuffer().str());
    if (auto embed = mlir::dyn_cast<EmbedOp>(op))
      writes.insert(embed.getBuffer().str());
    if (auto table = mlir::dyn_cast<RopeTableOp>(op))
      writes.insert(table.getBuffer().str());
    if (auto attention = mlir::dyn_cast<AttentionOp>(op)) {
      reads.insert(attention.getQuery().str());
      writes.insert(attention.getResult().str());
    }
  });
  return {reads, writes};
}

TEST_F(ScheduleTest, NoStepReadsPoison) {
  Schedule plan = read(mlir::parseSourceFile<mlir::ModuleOp>(STREAM_PROGRAM, &context));
  std::set<std::string> written; // the rest is poison
  for (const Step &step : plan.steps(0)) {
    auto [reads, writes] = accesses(step.phase);
    for (const std::string &buffer : reads)
      EXPECT_TRUE(written.count(buffer)) << PhaseOp(step.phase).getName().str() << " in layer " << step.layer
                                         << " reads " << buffer << ", which nothing has written";
    written.merge(writes);
  }
  EXPECT_TRUE(written.count("logits"));
}

} // namespace
