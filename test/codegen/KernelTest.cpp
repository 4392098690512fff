//===- KernelTest.cpp - phases of every kind on every x86-64 tier, against double ---------===//
//
// Fresh random inputs every run (the seed is printed), outputs poisoned, odd shapes. References share only the decoding
// of single elements with the compiler.
//
//===--------------------------------------------------------------------------------------===//

#include "mlir/Parser/Parser.h"
#include "test/codegen/KernelHarness.h"
#include "test/codegen/ModelSource.h"
#include "gtest/gtest.h"
#include <cmath>
#include <cstring>
#include <iostream>

using namespace sluice;
using namespace sluice::test;

static std::mt19937 freshRng() { return std::mt19937(randomSeed()); }

static std::string str(int64_t value) { return std::to_string(value); }
static std::string model(const std::string &weights, const std::string &program) {
  return "llama.model @m attributes {architecture = \"llama\", context_length = 512 : i64} {\n" + weights + program +
         "}\n";
}
static std::string weightDecl(const std::string &name, int64_t rows, int64_t cols, llvm::StringRef format) {
  return "llama.weight @" + name + " from \"" + name + "\" : !llama.weight<" + str(rows) + "x" + str(cols) + ", " +
         format.str() + ">\n";
}
static std::string bufferDecl(const std::string &name, int64_t width) {
  return "stream.buffer @" + name + " width " + str(width) + "\n";
}
static std::string valuesType(int64_t width) { return "!stream.values<" + str(width) + ">"; }
static std::string operandType(int64_t width, const std::string &kind) {
  return "!stream.operand<" + str(width) + ", " + kind + ">";
}

static std::vector<float> randomFloats(size_t n, std::mt19937 &rng, float scale = 1) {
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(n);
  for (float &value : values)
    value = normal(rng);
  return values;
}

// What stream.prepare makes of x.
static std::vector<double> quantized(const float *x, int64_t n, int64_t peaks) {
  std::vector<double> result(n);
  for (int64_t pair = 0; pair < n; pair += 64) {
    int64_t end = std::min(pair + 64, n);
    float rest = 0, most = 0;
    for (int64_t b = pair; b < end; b += 32) {
      std::vector<float> groups(8); // the largest magnitude of each
      for (int64_t i = 0; i < 32; ++i)
        groups[i / 4] = std::max(groups[i / 4], std::fabs(x[b + i]));
      std::sort(groups.rbegin(), groups.rend());
      rest = std::max(rest, peaks < 8 ? groups[peaks] : 0.0f);
      most = std::max(most, groups[0]);
    }
    float scale = rest * float(1 / 127.0);
    if (peaks)
      scale = std::max(scale, most * float(1 / (127.0 * 16)));
    for (int64_t i = pair; i < end; ++i)
      result[i] = scale ? std::nearbyintf(x[i] * (1.0f / scale)) * double(scale) : 0.0;
  }
  return result;
}

// To the nearest multiple of 2^(exponent - 7), ties to even.
static double roundedToBFloat16(float x) {
  int exponent;
  std::frexp(x, &exponent);
  const double unit = std::ldexp(1.0, exponent - 8);
  return std::nearbyint(double(x) / unit) * unit;
}

static std::string operandKind(const llama::FormatInfo &format) {
  return !format.isFloat ? "i8" : format.inPairs ? "bf16" : "f32";
}

class OnTarget : public ::testing::TestWithParam<std::string> {
public:
  bool isDevice() const { return !codegen::lookupTarget(GetParam())->asHost(); }
  // Whether case number `index` is this target's, where devices take turns and processors do.
  bool hasTurn(size_t index) const {
    std::vector<llvm::StringRef> names;
    for (auto &target : codegen::allTargets())
      if (!target->asHost() == isDevice())
        names.push_back(target->name());
    return names[index % names.size()] == GetParam();
  }
};
INSTANTIATE_TEST_SUITE_P(All, OnTarget, ::testing::ValuesIn([] {
                           std::vector<std::string> names;
                           for (auto &target : codegen::allTargets())
                             names.push_back(target->name().str());
                           return names;
                         }()),
                         [](const ::testing::TestParamInfo<std::string> &info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(Targets, AreFoundByNameAndByProcessor) {
  for (auto &target : codegen::allTargets())
    EXPECT_EQ(codegen::lookupTarget(target->name()), target.get());
  EXPECT_TRUE(codegen::runsHere(*codegen::lookupTarget("host")));
  for (auto [processor, target] :
       {std::pair("znver5", "x86-64-v4-avxvnni"), std::pair("sapphirerapids", "x86-64-v4-avxvnni"),
        std::pair("znver4", "x86-64-v4-bf16"), std::pair("cooperlake", "x86-64-v4-bf16"),
        std::pair("icelake-server", "x86-64-v4-vnni"), std::pair("cascadelake", "x86-64-v4-vnni"),
        std::pair("skylake-avx512", "x86-64-v4"), std::pair("alderlake", "x86-64-v3-vnni"),
        std::pair("haswell", "x86-64-v3"), std::pair("znver1", "x86-64-v3"), std::pair("core2", "x86-64")})
    EXPECT_EQ(codegen::lookupTarget(processor)->name(), target) << processor;
  for (const char *unknown : {"", "cray", "pentium4", "Znver4"})
    EXPECT_EQ(codegen::lookupTarget(unknown), nullptr) << unknown;
}

// What targets expect their code to take: one phase of 64 rows x 4096, for many tokens or one.
static PhaseCost costOf(llvm::StringRef target, llvm::StringRef format, int64_t tokens, int64_t peaks = 1) {
  const llama::FormatInfo *info =
      llvm::find_if(llama::allFormats(), [&](const llama::FormatInfo &row) { return row.name == format; });
  const std::string operand = operandType(4096, operandKind(*info));
  mlir::DialectRegistry registry;
  registry.insert<llama::LlamaDialect, stream::StreamDialect>();
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  mlir::OwningOpRef<mlir::ModuleOp> module = mlir::parseSourceString<mlir::ModuleOp>(
      model(weightDecl("w", 64, 4096, info->name),
            "stream.program @p max_tokens " + str(tokens) + " {" + bufferDecl("x", 4096) + bufferDecl("y", 64) +
                "stream.phase \"dots\" { %x = stream.read @x : " + valuesType(4096) +
                "\n %a = stream.prepare %x {peaks = " + str(peaks) + " : i64} : " + valuesType(4096) + " -> " +
                operand + "\n stream.tiles (%a) [@w] : " + operand +
                " {\n ^bb0(%r: !stream.lanes):\n stream.write_rows %r, @y\n } } }\n"),
      &context);
  mlir::PassManager configure(&context);
  const codegen::HostTarget *chosen = codegen::lookupTarget(target)->asHost();
  chosen->addConfigurePasses(configure);
  EXPECT_TRUE(mlir::succeeded(configure.run(*module)));
  PhaseCost cost;
  module->walk([&](stream::PhaseOp phase) { cost = chosen->cost(phase); });
  return cost;
}

TEST(Targets, CostsFollowTheCode) {
  const double operations = 2.0 * 64 * 4096;
  auto run = [](llvm::StringRef target, llvm::StringRef format, int64_t tokens, int64_t peaks = 1) {
    return costOf(target, format, tokens, peaks).run;
  };
  for (const char *target : {"x86-64-v4-avxvnni", "x86-64-v4-vnni", "x86-64-v3", "x86-64"}) {
    EXPECT_GT(run(target, "q4_0", 128), operations) << target << ": unpacking and scaling are work too";
    EXPECT_LT(run(target, "q4_0", 128), 3 * operations) << target;
    EXPECT_GT(run(target, "q4_0", 1), run(target, "q4_0", 128)) << target << ": many tokens share what is unpacked";
    EXPECT_GT(run(target, "q4_0", 128, 2), run(target, "q4_0", 128, 1)) << target << ": a peak costs";
    EXPECT_GT(run(target, "q4_1", 128), run(target, "q4_0", 128)) << target << ": so does a min";
    EXPECT_GT(run(target, "q5_0", 128), run(target, "q4_0", 128)) << target << ": bits that lie apart";
    EXPECT_GT(run(target, "q4_k", 1), run(target, "q4_1", 1)) << target << ": scales to unpack";
    EXPECT_GT(run(target, "q3_k", 128), run(target, "q5_0", 128)) << target << ": twice as many scales";
    EXPECT_GT(costOf(target, "q4_0", 128, 1).prologue, costOf(target, "q4_0", 128, 0).prologue) << target;
  }
  EXPECT_LT(run("x86-64-v4-bf16", "bf16", 128) * 1.5, run("x86-64-v4-vnni", "bf16", 128)) << "pairs at once";
  EXPECT_GT(run("x86-64-v3", "q8_0", 128), 1.5 * run("x86-64-v3", "q4_0", 128)) << "bytes do not fit vpmaddubsw";
}

// y = W x through a program of capacity `capacity`, compiled once.
class Dots {
public:
  Dots(const std::string &target, const Weight &weight, int64_t capacity, const std::string &config = "",
       int64_t peaks = 1)
      : weight(weight), kernels(source(weight, capacity, config, peaks), target),
        packed(kernels.schedule().weightBytes()) {
    packTiles({&weight}, config.find("tile_rows = 16") != std::string::npos ? 16 : 32, packed.data());
  }
  bool runs() const { return kernels.runs(); }

  // For `tokens` tokens: [token][row].
  std::vector<float> of(const float *x, int64_t tokens) {
    const int64_t k = weight.cols;
    Bytes arena(kernels.arenaBytes()), scratch(kernels.memory().scratch), prepared(kernels.memory().prepared);
    float *in = reinterpret_cast<float *>(arena.data() + kernels.bufferAt("x"));
    for (int64_t t = 0; t < tokens; ++t)
      std::copy_n(x + t * k, k, in + t * stream::paddedWidth(k));
    sluice_args args{};
    args.weights = packed.data();
    args.arena = arena.data();
    args.scratch = scratch.data();
    args.prepared = prepared.data();
    args.token_end = tokens;
    kernels.run(0, args);
    std::vector<float> y;
    const float *out = reinterpret_cast<const float *>(arena.data() + kernels.bufferAt("y"));
    for (int64_t t = 0; t < tokens; ++t, out += stream::paddedWidth(weight.rows))
      y.insert(y.end(), out, out + weight.rows);
    return y;
  }

private:
  static std::string source(const Weight &weight, int64_t capacity, const std::string &config, int64_t peaks) {
    const int64_t k = weight.cols;
    const std::string operand = operandType(k, operandKind(*weight.format));
    return model(weightDecl("w", weight.rows, k, weight.format->name),
                 "stream.program @p max_tokens " + str(capacity) + " {" + bufferDecl("x", k) +
                     bufferDecl("y", weight.rows) + "stream.phase \"dots\" { %x = stream.read @x : " + valuesType(k) +
                     "\n %a = stream.prepare %x {peaks = " + str(peaks) + " : i64} : " + valuesType(k) + " -> " +
                     operand + "\n stream.tiles (%a) [@w] : " + operand +
                     " { ^bb0(%y: !stream.lanes): stream.write_rows %y, @y } {" + config + "} } }\n");
  }

  const Weight &weight;
  Kernels kernels;
  Bytes packed;
};

// Likewise, compiled for this; empty where the machine cannot run it.
static std::vector<float> runDots(const std::string &target, const Weight &weight, const std::vector<float> &x,
                                  int64_t tokens, int64_t capacity, const std::string &config = "", int64_t peaks = 1) {
  Dots dots(target, weight, capacity, config, peaks);
  return dots.runs() ? dots.of(x.data(), tokens) : std::vector<float>();
}

// A processor's code meets all formats. Chips take turns: their code for a format is the same but for how it is cut.
static std::vector<llama::FormatInfo> formatsOf(const std::string &target) {
  std::vector<std::string> chips;
  for (auto &each : codegen::allTargets())
    if (!each->asHost())
      chips.push_back(each->name().str());
  const size_t turn = llvm::find(chips, target) - chips.begin();
  std::vector<llama::FormatInfo> formats;
  for (auto [i, format] : llvm::enumerate(llama::allFormats()))
    if (turn == chips.size() || i % chips.size() == turn)
      formats.push_back(format);
  return formats;
}

TEST_P(OnTarget, DotsOfEveryFormat) {
  std::mt19937 rng = freshRng();
  int64_t peaks = 0;
  for (const llama::FormatInfo &format : formatsOf(GetParam())) {
    using Shapes = std::vector<std::pair<int64_t, int64_t>>;
    for (auto [rows, cols] : format.isFloat              ? Shapes{{70, 96}, {33, 43}}
                             : format.blockElements > 32 ? Shapes{{70, 512}, {33, 256}}
                                                         : Shapes{{70, 96}, {5, 576}, {33, 32}}) {
      Weight weight = Weight::random(format.format, rows, cols, rng);
      const int64_t tokens = 19;
      peaks = (peaks + 1) % 9; // each shape of a format meets others
      std::vector<float> x = randomFloats(tokens * cols, rng);
      std::fill_n(x.begin(), 32, 0.0f); // a block of zeros
      x[5 * cols + 7] = 40;             // large ones: in token 5, and in the last block of token 12
      x[13 * cols - 1] = -25;
      Dots prefill(GetParam(), weight, 32, "", peaks), decode(GetParam(), weight, 1, "", peaks);
      if (!prefill.runs())
        GTEST_SKIP() << "this machine cannot run it";
      std::vector<double> w(rows * cols);
      for (int64_t i = 0; i < rows * cols; ++i)
        w[i] = weight.at(i / cols, i % cols);
      std::vector<float> many = prefill.of(x.data(), tokens);
      for (int64_t t = 0; t < tokens; ++t) {
        std::vector<double> a(x.begin() + t * cols, x.begin() + (t + 1) * cols);
        if (!format.isFloat)
          a = quantized(x.data() + t * cols, cols, peaks);
        else if (format.inPairs)
          for (double &value : a)
            value = roundedToBFloat16(float(value));
        for (int64_t r = 0; r < rows; ++r) {
          double expected = 0, magnitude = 0;
          for (int64_t k = 0; k < cols; ++k) {
            expected += w[r * cols + k] * a[k];
            magnitude += std::fabs(w[r * cols + k] * a[k]);
          }
          ASSERT_NEAR(many[t * rows + r], expected, 2e-6 * magnitude + 1e-9)
              << format.name.str() << " " << rows << "x" << cols << " row " << r << " token " << t;
        }
        if (t % 9 == 0 || t == 5 || t == 12) { // alone, a token gives the same bits
          std::vector<float> one = decode.of(x.data() + t * cols, 1);
          ASSERT_EQ(0, std::memcmp(one.data(), many.data() + t * rows, rows * 4))
              << format.name.str() << " token " << t;
        }
      }
    }
  }
}

TEST_P(OnTarget, PeaksAreWorthIt) {
  // One channel of 300: the error of the others falls when its group has a second byte, with the scale: to a sixteenth.
  std::mt19937 rng = freshRng();
  Weight weight = Weight::random(llama::Format::Q4_0, 32, 64, rng);
  std::vector<float> x = randomFloats(64, rng);
  x[3] = 300;
  std::vector<float> once = runDots(GetParam(), weight, x, 1, 1, "", 0),
                     twice = runDots(GetParam(), weight, x, 1, 1, "", 1);
  if (once.empty())
    GTEST_SKIP() << "this machine cannot run it";
  double errorOnce = 0, errorTwice = 0;
  for (int64_t r = 0; r < 32; ++r) {
    double exact = 0;
    for (int64_t k = 0; k < 64; ++k)
      exact += double(weight.at(r, k)) * x[k];
    errorOnce += std::fabs(once[r] - exact);
    errorTwice += std::fabs(twice[r] - exact);
  }
  EXPECT_LT(errorTwice * 6, errorOnce);
}

TEST_P(OnTarget, ConfigurationsAgree) {
  if (isDevice())
    GTEST_SKIP() << "one configuration of lanes and rows";
  std::mt19937 rng = freshRng();
  for (llama::Format format : {llama::Format::Q4_1, llama::Format::Q8_0, llama::Format::F16}) {
    Weight weight = Weight::random(format, 45, 160, rng);
    std::vector<float> x = randomFloats(3 * 160, rng);
    std::vector<float> base = runDots(GetParam(), weight, x, 3, 4);
    for (std::string config :
         {"tile_rows = 16 : i64", "tile_rows = 32 : i64, row_block = 16 : i64, token_block = 1 : i64",
          "tile_rows = 16 : i64, row_block = 16 : i64, token_block = 2 : i64",
          "row_block = 16 : i64, token_block = 4 : i64",
          // Vectors of other sizes: what other targets of the same instructions have.
          "lanes = 4 : i64", GetParam() == "x86-64" ? "lanes = 4 : i64, row_block = 8 : i64" : "lanes = 8 : i64"})
      ASSERT_EQ(base, runDots(GetParam(), weight, x, 3, 4, config)) << config;
  }
}

// Whatever prologues and epilogues have that other tests have not: sums, which stay for later phases; biases, GeGLU,
// multipliers and caps.
TEST_P(OnTarget, SumsAndOperationsOnRows) {
  std::mt19937 rng = freshRng();
  size_t index = 0;
  for (auto [width, tokens] :
       {std::pair(int64_t(50), int64_t(1)), std::pair(int64_t(50), int64_t(21)), std::pair(int64_t(64), int64_t(3)),
        std::pair(int64_t(36), int64_t(1)), std::pair(int64_t(7), int64_t(5)), std::pair(int64_t(2060), int64_t(1))}) {
    if (const bool mine = hasTurn(index++); isDevice() && !mine)
      continue;
    const int64_t rows = 45, capacity = tokens == 1 ? 1 : 32;
    Weight gate = Weight::random(llama::Format::F32, rows, width, rng),
           up = Weight::random(llama::Format::F32, rows, width, rng);
    const std::string v = valuesType(width), o = operandType(width, "f32");
    const std::string sums = "%x = stream.read @x : " + v + "\n %r = stream.read @r : " + v +
                             "\n %n = stream.rms_norm %r, @n eps 1.0e-3 : " + v + "\n %s = stream.sum %x, %n : " + v;
    Kernels kernels(model(weightDecl("n", 1, width, "f32") + weightDecl("n2", 1, width, "f32") +
                              weightDecl("g", rows, width, "f32") + weightDecl("u", rows, width, "f32") +
                              weightDecl("gb", 1, rows, "f32") + weightDecl("ub", 1, rows, "f32"),
                          "stream.program @p max_tokens " + str(capacity) + " { " + bufferDecl("x", width) +
                              bufferDecl("r", width) + bufferDecl("h", width) + bufferDecl("h2", width) +
                              bufferDecl("y", rows) + "stream.phase \"f\" { " + sums +
                              "\n %m = stream.rms_norm %s, @n2 eps 1.0e-3 : " + v + "\n %a = stream.prepare %m : " + v +
                              " -> " + o + "\n stream.write %s, @h : " + v +
                              "\n stream.tiles (%a, %a) [@g, @u] : " + o + ", " + o +
                              " { ^bb0(%g: !stream.lanes, %u: !stream.lanes): %b = stream.bias %g, @gb\n"
                              " %c = stream.bias %u, @ub\n %d = stream.geglu %b, %c\n %e = stream.scale %d by 1.5e+00\n"
                              " %f = stream.softcap %e at 3.0e+00\n stream.write_rows %f, @y } }" +
                              (capacity == 1 ? "" : " {prologue_tokens = 32 : i64}") + " stream.phase \"w\" { " + sums +
                              "\n stream.write %s, @h2 : " + v + " } }\n"),
                    GetParam());
    if (!kernels.runs())
      GTEST_SKIP() << "this machine cannot run it";
    Bytes packed(kernels.schedule().weightBytes()), arena(kernels.arenaBytes()), scratch(kernels.memory().scratch),
        prepared(kernels.memory().prepared);
    std::vector<std::vector<float>> vectors; // norms, biases
    for (const stream::Segment &segment : stream::PhaseStream::get(kernels.schedule().kernels()[0]).segments) {
      const int64_t at = kernels.schedule().steps(0)[0].weightsOffset + segment.offset;
      if (!segment.isVector()) {
        packTiles({&gate, &up}, 32, packed.data() + at);
        continue;
      }
      vectors.push_back(randomFloats(vectors.size() < 2 ? width : rows, rng));
      std::copy(vectors.back().begin(), vectors.back().end(), reinterpret_cast<float *>(packed.data() + at));
    }
    ASSERT_EQ(vectors.size(), 4u);
    std::vector<float> x = randomFloats(width * tokens, rng), r = randomFloats(width * tokens, rng);
    auto row = [&](const char *name, int64_t n, int64_t t) {
      return reinterpret_cast<float *>(arena.data() + kernels.bufferAt(name)) + t * stream::paddedWidth(n);
    };
    for (int64_t t = 0; t < tokens; ++t) {
      std::copy_n(x.data() + t * width, width, row("x", width, t));
      std::copy_n(r.data() + t * width, width, row("r", width, t));
    }
    for (unsigned step = 0; step < 2; ++step) {
      sluice_args args{};
      args.weights = packed.data() + kernels.schedule().steps(0)[step].weightsOffset;
      args.arena = arena.data();
      args.scratch = scratch.data();
      args.prepared = prepared.data();
      args.token_end = tokens;
      if (step == 1) // the same norm
        std::copy(vectors[0].begin(), vectors[0].end(), reinterpret_cast<float *>(const_cast<uint8_t *>(args.weights)));
      kernels.run(step, args);
    }
    auto normalised = [&](std::vector<double> values, const std::vector<float> &weights) {
      double square = 0;
      for (double value : values)
        square += value * value;
      for (int64_t k = 0; k < width; ++k)
        values[k] *= weights[k] / std::sqrt(square / double(width) + 1e-3);
      return values;
    };
    for (int64_t t = 0; t < tokens; ++t) {
      std::vector<double> sum = normalised({r.begin() + t * width, r.begin() + (t + 1) * width}, vectors[0]);
      for (int64_t k = 0; k < width; ++k) {
        sum[k] += x[t * width + k];
        ASSERT_NEAR(row("h", width, t)[k], sum[k], 1e-5) << t << " " << k;
        ASSERT_EQ(row("h2", width, t)[k], row("h", width, t)[k]) << t << " " << k;
      }
      std::vector<double> m = normalised(sum, vectors[1]);
      for (int64_t i = 0; i < rows; ++i) {
        double g = vectors[2][i], u = vectors[3][i], mostG = std::fabs(g), mostU = std::fabs(u);
        for (int64_t k = 0; k < width; ++k) {
          const double x = gate.at(i, k) * m[k], y = up.at(i, k) * m[k];
          g += x, u += y, mostG += std::fabs(x), mostU += std::fabs(y);
        }
        const double gelu = g / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (g + 0.044715 * g * g * g)));
        // Sums round by their terms, which may be much larger than they are; a gelu's slope is at most 1.13.
        const double rounding = 1.5e-6 * (1.13 * mostG * std::fabs(u) + std::fabs(g) * mostU);
        ASSERT_NEAR(row("y", rows, t)[i], 3 * std::tanh(1.5 * gelu * u / 3), 1e-5 + rounding) << t << " " << i;
      }
    }
  }
}

TEST_P(OnTarget, NormSwigluResidual) {
  std::mt19937 rng = freshRng();
  for (int64_t width : {64, 100}) {
    const int64_t rows = 40, tokens = 5;
    Weight gate = Weight::random(llama::Format::F32, rows, width, rng);
    Weight up = Weight::random(llama::Format::F32, rows, width, rng);
    std::string v = valuesType(width), o = operandType(width, "f32");
    Kernels kernels(
        model(
            weightDecl("n", 1, width, "f32") + weightDecl("g", rows, width, "f32") +
                weightDecl("u", rows, width, "f32"),
            "stream.program @p max_tokens 8 { " + bufferDecl("x", width) + bufferDecl("r", rows) +
                bufferDecl("y", rows) + "stream.phase \"f\" head { %x = stream.read @x : " + v +
                "\n %n = stream.rms_norm %x, @n eps 1.0e-3 : " + v + "\n %a = stream.prepare %n : " + v + " -> " + o +
                "\n stream.tiles (%a, %a) [@g, @u] : " + o + ", " + o +
                " { ^bb0(%g: !stream.lanes, %u: !stream.lanes): %s = stream.swiglu %g, %u\n %r = stream.read_rows @r\n"
                " %t = stream.add %s, %r\n stream.write_rows %t, @y } } }\n"),
        GetParam());
    if (!kernels.runs())
      GTEST_SKIP() << "this machine cannot run it";
    Bytes packed(kernels.schedule().weightBytes()), arena(kernels.arenaBytes()), scratch(kernels.memory().scratch),
        prepared(kernels.memory().prepared);
    std::vector<float> norm = randomFloats(width, rng), x = randomFloats(width * tokens, rng),
                       r = randomFloats(rows * tokens, rng);
    std::copy(norm.begin(), norm.end(), packed.as<float>());
    packTiles({&gate, &up}, 32, packed.data() + stream::packedVectorBytes(width));
    auto buffer = [&](const char *name) { return reinterpret_cast<float *>(arena.data() + kernels.bufferAt(name)); };
    for (int64_t t = 0; t < tokens; ++t) {
      std::copy_n(x.data() + t * width, width, buffer("x") + t * stream::paddedWidth(width));
      std::copy_n(r.data() + t * rows, rows, buffer("r") + t * stream::paddedWidth(rows));
    }
    sluice_args args{};
    args.weights = packed.data();
    args.arena = arena.data();
    args.scratch = scratch.data();
    args.prepared = prepared.data();
    args.token_begin = 2; // only the later tokens
    args.token_end = tokens;
    kernels.run(0, args);
    for (int64_t t = 2; t < tokens; ++t) {
      double square = 0;
      for (int64_t k = 0; k < width; ++k)
        square += double(x[t * width + k]) * x[t * width + k];
      double factor = 1 / std::sqrt(square / width + 1e-3);
      for (int64_t row = 0; row < rows; ++row) {
        double g = 0, u = 0;
        for (int64_t k = 0; k < width; ++k) {
          g += gate.at(row, k) * x[t * width + k] * factor * norm[k];
          u += up.at(row, k) * x[t * width + k] * factor * norm[k];
        }
        double expected = g / (1 + std::exp(-g)) * u + r[t * rows + row];
        ASSERT_NEAR(buffer("y")[t * stream::paddedWidth(rows) + row], expected, 2e-5 * (1 + std::fabs(g * u)));
      }
    }
    uint32_t poison; // tokens before token_begin keep theirs
    std::memcpy(&poison, buffer("y"), 4);
    EXPECT_EQ(poison, 0xAAAAAAAAu);
  }
}

// What a q8_0 cache gives back: 32 channels of a head, or what is left of it, share a scale that is an f16.
static std::vector<double> throughQ8(const std::vector<double> &row, int64_t headDim) {
  std::vector<double> result;
  for (size_t head = 0; head < row.size(); head += headDim)
    for (int64_t first = 0; first < headDim; first += 32) {
      const int64_t last = std::min(first + 32, headDim);
      double largest = 0;
      for (int64_t c = first; c < last; ++c)
        largest = std::max(largest, std::fabs(row[head + c]));
      const double scale = double(_Float16(largest / 127));
      for (int64_t c = first; c < last; ++c)
        result.push_back(scale ? scale * std::nearbyint(row[head + c] / scale) : 0);
    }
  return result;
}

// RoPE, append and attention over a history of several chunks, for every type of cache and several head shapes.
TEST_P(OnTarget, RopeAppendAttention) {
  std::mt19937 rng = freshRng();
  struct Shape {
    int64_t heads, kvHeads, headDim;
    bool inAttention = false; // heads are normalised, and rotated there
    int64_t window = 0;
    double scale = 0, cap = 0, magnitude = 1;
  };
  size_t index = 0;
  for (Shape s : {Shape{9, 3, 64}, Shape{4, 2, 8}, Shape{4, 4, 80}, Shape{8, 1, 16}, Shape{1, 1, 128}, Shape{2, 1, 12},
                  Shape{4, 2, 24, true, 70, 0.3, 20}, Shape{2, 1, 256, true, 0, 0, 0, 1.19},
                  Shape{6, 2, 80, false, 3, 0.2, 0, 1.5}, Shape{5, 1, 12, true, 257, 0, 5}}) {
    const bool everywhere = !isDevice() && !s.inAttention && !s.window;
    if (const bool mine = hasTurn(index++); !mine && !everywhere)
      continue;
    const int64_t width = s.heads * s.headDim, kvWidth = s.kvHeads * s.headDim, chunk = 48, positions = 300;
    const int64_t turnCount = s.headDim / 2 - (s.headDim == 80 ? 8 : 0); // a partial rotation too
    std::string cache = "!llama.cache<" + str(s.kvHeads) + "x" + str(s.headDim) + ">", turns;
    std::vector<double> turn;
    for (int64_t i = 0; i < turnCount; ++i) {
      turn.push_back(std::pow(1e4, -2.0 * i / s.headDim) / (2 * M_PI));
      char text[40];
      snprintf(text, sizeof text, "%.17e", turn.back());
      turns += (i ? ", " : "") + std::string(text);
    }
    // Identity weights bring given q, k and v through tiles.
    auto tiles = [&](const std::string &in, const std::string &weight, const std::string &body, int64_t n) {
      std::string o = operandType(n, "f32");
      return "%v" + in + " = stream.read @" + in + " : " + valuesType(n) + "\n %o" + in + " = stream.prepare %v" + in +
             " : " + valuesType(n) + " -> " + o + "\n stream.tiles (%o" + in + ") [@" + weight + "] : " + o +
             " { ^bb0(%y: !stream.lanes): " + body + " }\n";
    };
    std::string rope = "%r = stream.rope %y, @rope head_dim " + str(s.headDim) + "\n stream.write_rows %r, ",
                write = "stream.write_rows %y, ", ofRows = s.inAttention ? write : rope;
    auto attributes = [&](const std::string &norm) {
      return s.inAttention ? ", norm = " + norm + ", eps = 1.0e-3 : f32, rope = @rope" : "";
    };
    std::string options = attributes("@qn");
    if (s.window)
      options += ", window = " + str(s.window) + " : i64";
    if (s.scale)
      options += ", scale = " + std::to_string(s.scale) + " : f32";
    if (s.cap)
      options += ", softcap = " + std::to_string(s.cap) + " : f32";
    Kernels kernels(
        model(weightDecl("wq", width, width, "f32") + weightDecl("wk", kvWidth, kvWidth, "f32") +
                  weightDecl("wv", kvWidth, kvWidth, "f32") + weightDecl("e", 7, width, "f32") +
                  weightDecl("qn", 1, s.headDim, "f32") + weightDecl("kn", 1, s.headDim, "f32"),
              "stream.program @p max_tokens " + str(chunk) + " {" + bufferDecl("qi", width) +
                  bufferDecl("ki", kvWidth) + bufferDecl("vi", kvWidth) + bufferDecl("q", width) +
                  bufferDecl("k", kvWidth) + bufferDecl("v", kvWidth) + bufferDecl("a", width) +
                  bufferDecl("x", width) + bufferDecl("rope", 2 * (s.headDim + 32)) +
                  "stream.phase \"embed\" { stream.rope_table @rope head_dim " + str(s.headDim) + " turns [" + turns +
                  "] {magnitude = " + std::to_string(s.magnitude) +
                  " : f64}\n stream.embed @e, @x }\n stream.phase \"in\" {" + tiles("qi", "wq", ofRows + "@q", width) +
                  tiles("ki", "wk", ofRows + "@k", kvWidth) + tiles("vi", "wv", write + "@v", kvWidth) +
                  "}\n stream.phase \"att\" { stream.append @k, @v : " + cache +
                  (s.inAttention ? " {" + attributes("@kn").substr(2) + "}" : "") + " stream.attention @q, @a heads " +
                  str(s.heads) + " : " + cache + " {token_block = 8 : i64" + options + "} } }\n"),
        GetParam());
    if (!kernels.runs())
      GTEST_SKIP() << "this machine cannot run it";
    auto identity = [](int64_t n) {
      Weight weight{&llama::formatInfo(llama::Format::F32), n, n, std::vector<uint8_t>(n * n * 4)};
      for (int64_t i = 0; i < n; ++i)
        reinterpret_cast<float *>(weight.bytes.data())[i * n + i] = 1;
      return weight;
    };
    Weight wq = identity(width), wk = identity(kvWidth), e = Weight::random(llama::Format::F32, 7, width, rng);
    Bytes packed(kernels.schedule().weightBytes()), arena(kernels.arenaBytes()), scratch(kernels.memory().scratch),
        prepared(kernels.memory().prepared);
    auto stepAt = [&](unsigned step) { return kernels.schedule().steps(0)[step].weightsOffset; };
    packTiles({&e}, 32, packed.data() + stepAt(0));
    stream::PhaseStream in = stream::PhaseStream::get(kernels.schedule().kernels()[1]);
    packTiles({&wq}, 32, packed.data() + stepAt(1) + in.tiles(0).offset);
    packTiles({&wk}, 32, packed.data() + stepAt(1) + in.tiles(1).offset);
    packTiles({&wk}, 32, packed.data() + stepAt(1) + in.tiles(2).offset);
    std::vector<float> norms[2]; // of keys and queries: in the order of the phase's operations
    if (s.inAttention)
      for (auto [i, segment] : llvm::enumerate(stream::PhaseStream::get(kernels.schedule().kernels()[2]).segments)) {
        norms[i] = randomFloats(s.headDim, rng);
        std::copy(norms[i].begin(), norms[i].end(),
                  reinterpret_cast<float *>(packed.data() + stepAt(2) + segment.offset));
      }

    for (uint32_t type = 0; type < SLUICE_CACHE_COUNT; ++type) {
      const int64_t headStride = (positions + 63) / 64 * sluice_kv_block_bytes(type, s.headDim);
      Bytes kv(s.kvHeads * headStride, 0), ids(chunk * 4, 0);
      std::vector<float> q = randomFloats(positions * width, rng), k = randomFloats(positions * kvWidth, rng),
                         v = randomFloats(positions * kvWidth, rng), result(positions * width);
      auto row = [&](const char *name, int64_t n, int64_t t) {
        return reinterpret_cast<float *>(arena.data() + kernels.bufferAt(name)) + t * stream::paddedWidth(n);
      };
      for (int64_t done = 0; done < positions;) {
        int64_t n = std::min(chunk - done % 3, positions - done);
        for (int64_t t = 0; t < n; ++t) {
          std::copy_n(q.data() + (done + t) * width, width, row("qi", width, t));
          std::copy_n(k.data() + (done + t) * kvWidth, kvWidth, row("ki", kvWidth, t));
          std::copy_n(v.data() + (done + t) * kvWidth, kvWidth, row("vi", kvWidth, t));
        }
        sluice_args args{};
        args.arena = arena.data();
        args.scratch = scratch.data();
        args.prepared = prepared.data();
        args.kv = kv.data();
        args.kv_head_stride = headStride;
        args.cache_type = type;
        args.ids = ids.as<int32_t>();
        args.position = done;
        args.token_end = n;
        for (unsigned step = 0; step < 3; ++step) {
          args.weights = packed.data() + stepAt(step);
          kernels.run(step, args);
        }
        for (int64_t t = 0; t < n; ++t)
          std::copy_n(row("a", width, t), width, result.data() + (done + t) * width);
        done += n;
      }

      auto finish = [&](std::vector<double> x, int64_t position, const std::vector<float> &norm) {
        for (size_t head = 0; head < x.size(); head += s.headDim) {
          double square = 0;
          for (int64_t c = 0; c < s.headDim; ++c)
            square += x[head + c] * x[head + c];
          for (size_t c = 0; c < norm.size(); ++c)
            x[head + c] *= norm[c] / std::sqrt(square / double(s.headDim) + 1e-3);
          for (int64_t i = 0; i < turnCount; ++i) {
            double angle = 2 * M_PI * position * turn[i], c = std::cos(angle), sn = std::sin(angle);
            double a = x[head + 2 * i], b = x[head + 2 * i + 1];
            x[head + 2 * i] = (a * c - b * sn) * s.magnitude;
            x[head + 2 * i + 1] = (a * sn + b * c) * s.magnitude;
          }
        }
        return x;
      };
      std::vector<std::vector<double>> keys, values;
      for (int64_t p = 0; p < positions; ++p) {
        keys.push_back(finish({k.begin() + p * kvWidth, k.begin() + (p + 1) * kvWidth}, p, norms[0]));
        values.push_back({v.begin() + p * kvWidth, v.begin() + (p + 1) * kvWidth});
        if (type == SLUICE_CACHE_Q8_0)
          keys[p] = throughQ8(keys[p], s.headDim), values[p] = throughQ8(values[p], s.headDim);
      }
      double tolerance = type == SLUICE_CACHE_F32 ? 2e-5 : 8e-3;
      for (int64_t p : {int64_t(0), int64_t(1), int64_t(63), int64_t(64), int64_t(127), int64_t(255), int64_t(256),
                        positions - 1}) {
        std::vector<double> query = finish({q.begin() + p * width, q.begin() + (p + 1) * width}, p, norms[1]);
        for (int64_t h = 0; h < s.heads; ++h) {
          int64_t kvHead = h / (s.heads / s.kvHeads);
          const int64_t first = s.window ? std::max<int64_t>(0, p + 1 - s.window) : 0;
          std::vector<double> score(p + 1, -INFINITY);
          double peak = -1e300, sum = 0;
          for (int64_t j = first; j <= p; ++j) {
            score[j] = 0;
            for (int64_t c = 0; c < s.headDim; ++c)
              score[j] += query[h * s.headDim + c] * keys[j][kvHead * s.headDim + c];
            score[j] *= s.scale ? s.scale : 1 / std::sqrt(double(s.headDim));
            if (s.cap)
              score[j] = s.cap * std::tanh(score[j] / s.cap);
            peak = std::max(peak, score[j]);
          }
          for (double &x : score)
            sum += x = std::exp(x - peak);
          for (int64_t c = 0; c < s.headDim; ++c) {
            double expected = 0;
            for (int64_t j = 0; j <= p; ++j)
              expected += score[j] / sum * values[j][kvHead * s.headDim + c];
            ASSERT_NEAR(result[p * width + h * s.headDim + c], expected, tolerance)
                << "position " << p << " head " << h << " channel " << c << " of " << s.headDim << ", cache " << type;
          }
        }
      }
    }
  }
}

TEST_P(OnTarget, EmbedsRowsOfEveryFormat) {
  std::mt19937 rng = freshRng();
  for (const llama::FormatInfo &format : formatsOf(GetParam())) {
    const int64_t rows = 77, cols = format.isFloat ? 43 : 3 * format.blockElements;
    const double factor = rng() % 2 ? 1 : 5.5;
    Weight weight = Weight::random(format.format, rows, cols, rng);
    Kernels kernels(
        model(weightDecl("w", rows, cols, format.name), "stream.program @p max_tokens 4 { " + bufferDecl("x", cols) +
                                                            "stream.phase \"embed\" { stream.embed @w, @x" +
                                                            (factor == 1 ? "" : " {scale = 5.5 : f32}") + " } }\n"),
        GetParam());
    if (!kernels.runs())
      GTEST_SKIP() << "this machine cannot run it";
    Bytes packed(kernels.schedule().weightBytes()), arena(kernels.arenaBytes());
    packTiles({&weight}, 32, packed.data());
    int32_t ids[4] = {0, 31, 32, 76};
    sluice_args args{};
    args.weights = packed.data();
    args.arena = arena.data();
    args.ids = ids;
    args.token_end = 4;
    kernels.run(0, args);
    for (int64_t t = 0; t < 4; ++t)
      for (int64_t k = 0; k < cols; ++k)
        ASSERT_NEAR(arena.as<float>()[t * stream::paddedWidth(cols) + k], factor * weight.at(ids[t], k),
                    factor * 1e-6 * (16 + std::fabs(weight.at(ids[t], k))))
            << format.name.str() << " " << t << " " << k;
  }
}

// The sum that is kept, of all rounds: LLVM may neither drop nor merge any.
TEST_P(OnTarget, PeakMultipliesEverything) {
  if (isDevice())
    GTEST_SKIP() << "not measured on devices";
  std::mt19937 rng = freshRng();
  const size_t bytes = SLUICE_PEAK_OPERATIONS / 2;
  Kernels kernels(model("", "stream.program @p max_tokens 1 { " + bufferDecl("d", bytes / 4) +
                                "stream.phase \"s\" { stream.peak @d } }\n"),
                  GetParam());
  if (!kernels.runs())
    GTEST_SKIP() << "this machine cannot run it";
  for (uint32_t count : {0u, 1u, 7u}) {
    Bytes arena(kernels.arenaBytes());
    int8_t *data = arena.as<int8_t>() + kernels.bufferAt("d");
    for (size_t i = 0; i < bytes; ++i)
      data[i] = int8_t(rng());
    std::vector<int8_t> before(data, data + bytes);
    sluice_args args{};
    args.arena = arena.data();
    args.token_end = 1;
    args.count = count;
    kernels.run(0, args);
    const size_t vector = GetParam().find("v4") < 10 ? 64 : GetParam().find("v3") < 10 ? 32 : 16;
    std::vector<int32_t> expected(vector / 4);
    for (size_t i = 0; i < bytes; ++i)
      expected[i % vector / 4] += int32_t(count) * (before[i % vector] & 15) * before[i];
    EXPECT_EQ(std::memcmp(data, expected.data(), vector), 0) << count;
    EXPECT_EQ(std::memcmp(data + vector, before.data() + vector, bytes - vector), 0);
  }
}

TEST_P(OnTarget, Softmax) {
  std::mt19937 rng = freshRng();
  const int64_t n = 1301;
  Kernels kernels(model("", "stream.program @p max_tokens 1 { " + bufferDecl("i", n) + bufferDecl("o", n + 1) +
                                "stream.phase \"s\" { stream.softmax @i, @o } }\n"),
                  GetParam());
  if (!kernels.runs())
    GTEST_SKIP() << "this machine cannot run it";
  for (uint32_t count : {1u, 16u, 300u, 1301u})
    for (float scale : {1.0f, 0.3f, 8.0f}) {
      Bytes arena(kernels.arenaBytes());
      std::vector<float> logits = randomFloats(n, rng, 5);
      float *in = reinterpret_cast<float *>(arena.data() + kernels.bufferAt("i"));
      float *out = reinterpret_cast<float *>(arena.data() + kernels.bufferAt("o"));
      std::copy_n(logits.begin(), count, in);
      sluice_args args{};
      args.arena = arena.data();
      args.token_end = 1;
      args.parameter = scale;
      args.count = count;
      kernels.run(0, args);
      double sum = 0;
      for (uint32_t i = 0; i < count; ++i)
        sum += std::exp(double(scale) * logits[i]);
      for (uint32_t i = 0; i < count; ++i)
        ASSERT_NEAR(out[i], std::exp(double(scale) * logits[i]) / sum, 4e-6);
      ASSERT_NEAR(out[n], std::log(sum), 1e-5 * (1 + std::fabs(std::log(sum))));
    }
}
