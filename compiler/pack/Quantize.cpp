//===- Quantize.cpp - numbers to blocks of a format ------------------------------------===//
//
// Works by a format's properties. A part of a block that shares a scale (and min) tries a few around those that its
// extremes suggest, and improves each by least squares; with sub-scales, whole numbers around the rounded ones. What
// counts is the sum of squared errors of the numbers as they will be decoded.
//
//===------------------------------------------------------------------------------------===//

#include "compiler/pack/Quantize.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/bit.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

using namespace sluice;
using namespace sluice::llama;

//===-- Floats -------------------------------------------------------------------------===//

// To nearest, ties to even; what is too large becomes infinite.
static uint16_t toHalf(float value) {
  const uint32_t bits = llvm::bit_cast<uint32_t>(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  if (magnitude >= 0x7f800000)
    return sign | (magnitude > 0x7f800000 ? 0x7e00 : 0x7c00);
  if (magnitude >= 0x477ff000)
    return sign | 0x7c00;
  if (magnitude < 0x38800000) // below the normal numbers: multiples of 2^-24
    return sign | uint16_t(std::nearbyint(llvm::bit_cast<float>(magnitude) * 0x1p24f));
  return sign | uint16_t((magnitude - (112u << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13);
}

static float fromHalf(uint16_t half) {
  uint8_t bytes[2] = {uint8_t(half), uint8_t(half >> 8)};
  return decodeElement(formatInfo(Format::F16), bytes, 0);
}

static uint16_t toBFloat16(float value) {
  const uint32_t bits = llvm::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000)
    return uint16_t(bits >> 16 | 0x40);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

bool sluice::canEncode(const FormatInfo &format) { return format.isFloat || format.scaleKind == ScaleKind::Half; }

std::string sluice::encodableFormats() {
  std::string list;
  for (const FormatInfo &format : allFormats())
    if (canEncode(format))
      list += (list.empty() ? "" : ", ") + format.name.str();
  return list;
}

//===-- A part that shares a scale -----------------------------------------------------===//

namespace {

// To the nearest whole number from 0 to `most`. Without branches and calls, so that loops become vectors: adding 1.5 *
// 2^23 rounds.
inline float roundedStep(float x, float most) {
  constexpr float magic = 12582912.0f;
  x = x < 0 ? 0 : x;
  x = x > most ? most : x;
  return (x + magic) - magic;
}

// The values that codes stand for at scale 1 and min 0, in increasing order.
class Levels {
public:
  explicit Levels(const FormatInfo &format) {
    if (format.table.empty()) {
      first = format.signedCodes ? 1 : 0; // -128 is not used
      count = (1 << format.codeBits) - first;
      for (int code = 0; code < count; ++code)
        values[code] = float(code + first - int(format.zeroPoint));
    } else {
      count = int(format.table.size());
      isTable = true;
      for (int code = 0; code < count; ++code)
        values[code] = float(format.table[code]);
    }
    last = float(count - 1);
  }
  float least() const { return values[0]; }
  float most() const { return values[count - 1]; }
  uint8_t code(int level) const { return uint8_t(level + first); }
  // Of levels that are one apart the number of the nearest one.
  float nearestStep(float x) const { return roundedStep(x - values[0], last); }
  // The value of the nearest level.
  float nearestValue(float x) const { return isTable ? values[nearest(x)] : nearestStep(x) + values[0]; }
  bool areEven() const { return !isTable; }
  int nearest(float x) const {
    if (!isTable)
      return int(nearestStep(x));
    int level = int(std::lower_bound(values, values + count, x) - values);
    return level == count || (level > 0 && x - values[level - 1] < values[level] - x) ? level - 1 : level;
  }

private:
  float values[256], last = 0;
  int count = 0, first = 0;
  bool isTable = false;
};

// Parts have a multiple of so many numbers; as many sums are independent.
constexpr size_t together = 8;

struct Fit {
  float scale = 0, min = 0;
  double error = INFINITY;
};

} // namespace

// The squared error of numbers at a scale and min, if each takes the nearest level.
static double errorOf(const Levels &levels, llvm::ArrayRef<float> numbers, float scale, float min) {
  const float inverse = scale ? 1 / scale : 0;
  float errors[together] = {};
  auto add = [&](auto nearest) {
    for (size_t at = 0; at < numbers.size(); at += together)
      for (size_t i = 0; i < together; ++i) {
        const float number = numbers[at + i], difference = scale * nearest((number - min) * inverse) + min - number;
        errors[i] += difference * difference;
      }
  };
  const float least = levels.least(), range = levels.most() - least;
  if (levels.areEven())
    add([=](float x) { return roundedStep(x - least, range) + least; });
  else
    add([&](float x) { return levels.nearestValue(x); });
  const double error = std::accumulate(std::begin(errors), std::end(errors), 0.0);
  return std::isfinite(error) ? error : INFINITY;
}

// Scale and min of least squares for the levels that numbers take at `fit`.
static Fit refined(const Levels &levels, llvm::ArrayRef<float> numbers, const Fit &fit, bool hasMin) {
  const float inverse = fit.scale ? 1 / fit.scale : 0;
  float sums[4][together] = {};
  for (size_t at = 0; at < numbers.size(); at += together)
    for (size_t i = 0; i < together; ++i) {
      const float number = numbers[at + i], level = levels.nearestValue((number - fit.min) * inverse);
      sums[0][i] += level, sums[1][i] += level * level, sums[2][i] += number, sums[3][i] += number * level;
    }
  auto sum = [&](int i) { return std::accumulate(std::begin(sums[i]), std::end(sums[i]), 0.0); };
  const double n = double(numbers.size()), sumL = sum(0), sumLL = sum(1), sumX = sum(2), sumXL = sum(3);
  Fit result;
  if (hasMin) {
    const double determinant = n * sumLL - sumL * sumL;
    if (determinant <= 0)
      return fit;
    result.scale = float((n * sumXL - sumL * sumX) / determinant);
    result.min = float((sumLL * sumX - sumL * sumXL) / determinant);
  } else {
    if (sumLL == 0)
      return fit;
    result.scale = float(sumXL / sumLL);
  }
  return result;
}

// With sub-scales the min may not be positive, and beside one the scale not be negative.
static Fit fitPart(const Levels &levels, llvm::ArrayRef<float> numbers, bool hasMin, bool hasSubScales) {
  const auto [low, high] = std::minmax_element(numbers.begin(), numbers.end());
  Fit best;
  auto consider = [&](Fit fit) {
    if (hasMin && hasSubScales && fit.min > 0)
      fit = refined(levels, numbers, {fit.scale, 0}, /*hasMin=*/false);
    if (hasMin && hasSubScales && fit.scale < 0)
      return;
    if (!hasSubScales) // as they will be stored
      fit.scale = fromHalf(toHalf(fit.scale)), fit.min = fromHalf(toHalf(fit.min));
    fit.error = errorOf(levels, numbers, fit.scale, fit.min);
    if (fit.error < best.error)
      best = fit;
  };
  auto considerBoth = [&](Fit fit) {
    consider(fit);
    consider(refined(levels, numbers, fit, hasMin));
  };
  if (hasMin) {
    const float bottom = hasSubScales ? std::min(*low, 0.0f) : *low;
    for (float shrink : {1.04f, 1.0f, 0.97f, 0.94f, 0.9f, 0.85f, 0.78f}) {
      const float range = (std::max(*high, bottom) - bottom) * shrink;
      considerBoth({range / (levels.most() - levels.least()), bottom});
      considerBoth({range / (levels.most() - levels.least()), bottom * shrink});
    }
  } else {
    // Either end may take the largest magnitude.
    const float extreme = -*low > *high ? *low : *high;
    for (float end : {levels.least(), levels.most()})
      for (float stretch : {1.0f, 1.07f, 0.95f, 0.9f, 0.85f})
        considerBoth({extreme / end * stretch, 0});
  }
  consider({0, hasMin && !hasSubScales ? *low : 0});
  return best;
}

//===-- Blocks -------------------------------------------------------------------------===//

namespace {
class BlockWriter {
public:
  BlockWriter(const FormatInfo &format, uint8_t *out) : format(format), out(out) {
    std::memset(out, 0, format.blockBytes);
  }
  void half(int at, float value) {
    const uint16_t bits = toHalf(value);
    std::memcpy(out + at, &bits, 2);
  }
  void code(unsigned element, unsigned code) {
    if (format.signedCodes)
      code ^= format.zeroPoint;
    put(format.low.bitAt(element), format.low.bits, code);
    if (format.high.bits)
      put(format.high.bitAt(element), format.high.bits, code >> format.low.bits);
  }
  void subScale(unsigned index, unsigned value) {
    const SubScales &sub = format.sub;
    if (sub.isSigned)
      value ^= sub.zero;
    const unsigned lowBits = sub.bits == 6 ? 4 : sub.bits;
    put(sub.lowAt[index], lowBits, value);
    if (lowBits < sub.bits)
      put(sub.highAt[index], sub.bits - lowBits, value >> lowBits);
  }

private:
  void put(unsigned at, unsigned bits, unsigned value) {
    out[at / 8] |= uint8_t((value & ((1u << bits) - 1)) << at % 8);
  }
  const FormatInfo &format;
  uint8_t *out;
};
} // namespace

namespace {
// The sub-scales of a block: whole multiples, from least to most, of the block's scale, and of what it subtracts.
class SubScaleFit {
public:
  SubScaleFit(const FormatInfo &format, const Levels &levels, llvm::ArrayRef<float> numbers)
      : format(format), levels(levels), numbers(numbers), size(format.scaleElements) {}

  // From scales and mins of the parts, which become those that will be decoded.
  void run(llvm::MutableArrayRef<Fit> fits, BlockWriter &writer) {
    float largest = 0, lowest = 0;
    for (const Fit &fit : fits) {
      if (std::fabs(fit.scale) > std::fabs(largest))
        largest = fit.scale;
      lowest = std::min(lowest, fit.min);
    }
    // Signed sub-scales reach further down than up.
    Choice best = choose(fits, largest / float(format.sub.zero ? least() : most()), -lowest / float(most()));
    for (int rounds = 0; rounds < 4; ++rounds) {
      Choice other = improved(best);
      if (other.error >= best.error)
        break;
      best = std::move(other);
    }
    writer.half(format.scaleAt, best.scale);
    if (format.hasMin())
      writer.half(format.minAt, best.min);
    for (auto [part, fit] : llvm::enumerate(best.fits)) {
      fits[part] = fit;
      writer.subScale(unsigned(part), unsigned(best.scales[part] + int(format.sub.zero)));
      if (format.hasMin())
        writer.subScale(unsigned(part) + format.scalesOfBlock(), unsigned(best.mins[part]));
    }
  }

private:
  struct Choice {
    float scale, min; // of the block; the min is subtracted
    llvm::SmallVector<int, 16> scales, mins;
    llvm::SmallVector<Fit, 16> fits;
    double error = 0;
  };
  int most() const { return int((1u << format.sub.bits) - 1) - int(format.sub.zero); }
  int least() const { return -int(format.sub.zero); }
  llvm::ArrayRef<float> part(size_t i) const { return numbers.slice(i * size, size); }

  Choice choose(llvm::ArrayRef<Fit> wanted, float scale, float min) const {
    Choice choice{fromHalf(toHalf(scale)), format.hasMin() ? fromHalf(toHalf(min)) : 0, {}, {}, {}};
    if (!std::isfinite(choice.scale) || !std::isfinite(choice.min))
      choice.scale = choice.min = 0;
    auto rounded = [](float value, float unit) { return unit ? int(std::lround(value / unit)) : 0; };
    for (auto [i, fit] : llvm::enumerate(wanted)) {
      int s = std::clamp(rounded(fit.scale, choice.scale), least(), most());
      int m = std::clamp(rounded(-fit.min, choice.min), 0, most());
      choice.fits.push_back(descend(choice, part(i), s, m));
      choice.scales.push_back(s), choice.mins.push_back(m);
      choice.error += choice.fits.back().error;
    }
    return choice;
  }

  // Steps to the best neighbour, as long as one is better.
  Fit descend(const Choice &choice, llvm::ArrayRef<float> own, int &s, int &m) const {
    auto tried = [&](int s, int m) -> Fit {
      const float scale = choice.scale * float(s), min = -choice.min * float(m);
      return {scale, min, errorOf(levels, own, scale, min)};
    };
    Fit fit = tried(s, m);
    for (int rounds = 0; rounds < 4; ++rounds) {
      const int fromS = s, fromM = m;
      for (int ds : {-1, 0, 1})
        for (int dm : {-1, 0, 1}) {
          const int trialS = std::clamp(fromS + ds, least(), most()), trialM = std::clamp(fromM + dm, 0, most());
          if ((trialS == fromS && trialM == fromM) || (dm && !format.hasMin()))
            continue;
          if (const Fit trial = tried(trialS, trialM); trial.error < fit.error)
            fit = trial, s = trialS, m = trialM;
        }
      if (s == fromS && m == fromM)
        break;
    }
    return fit;
  }

  // With the block's scale and min of least squares for the levels and sub-scales of `choice`.
  Choice improved(const Choice &choice) const {
    double aa = 0, ab = 0, bb = 0, ax = 0, bx = 0;
    for (auto [i, fit] : llvm::enumerate(choice.fits)) {
      const float inverse = fit.scale ? 1 / fit.scale : 0;
      for (float number : part(i)) {
        const double a = choice.scales[i] * levels.nearestValue((number - fit.min) * inverse), b = -choice.mins[i];
        aa += a * a, ab += a * b, bb += b * b, ax += a * number, bx += b * number;
      }
    }
    const double determinant = aa * bb - ab * ab;
    if (format.hasMin() && determinant > 1e-9 * aa * bb)
      return choose(choice.fits, float((bb * ax - ab * bx) / determinant),
                    std::max(0.0f, float((aa * bx - ab * ax) / determinant)));
    return aa ? choose(choice.fits, float((ax - choice.min * ab) / aa), choice.min) : choice;
  }

  const FormatInfo &format;
  const Levels &levels;
  llvm::ArrayRef<float> numbers;
  const size_t size;
};
} // namespace

static void encodeBlock(const FormatInfo &format, const Levels &levels, llvm::ArrayRef<float> numbers, uint8_t *out) {
  BlockWriter writer(format, out);
  const unsigned size = format.scaleElements;
  llvm::SmallVector<Fit, 16> fits;
  for (unsigned at = 0; at < format.blockElements; at += size)
    fits.push_back(fitPart(levels, numbers.slice(at, size), format.hasMin(), format.hasSubScales()));
  if (format.hasSubScales()) {
    SubScaleFit(format, levels, numbers).run(fits, writer);
  } else {
    writer.half(format.scaleAt, fits[0].scale);
    if (format.hasMin())
      writer.half(format.minAt, fits[0].min);
  }
  for (auto [i, number] : llvm::enumerate(numbers)) {
    const Fit &fit = fits[i / size];
    const float inverse = fit.scale ? 1 / fit.scale : 0;
    writer.code(unsigned(i), levels.code(levels.nearest((number - fit.min) * inverse)));
  }
}

bool sluice::encodeRow(const FormatInfo &format, llvm::ArrayRef<float> numbers, uint8_t *out) {
  if (format.format == Format::F32) {
    std::memcpy(out, numbers.data(), numbers.size() * sizeof(float));
    return true;
  }
  if (format.isFloat) {
    for (auto [i, number] : llvm::enumerate(numbers)) {
      const uint16_t bits = format.format == Format::F16 ? toHalf(number) : toBFloat16(number);
      std::memcpy(out + 2 * i, &bits, 2);
    }
    return true;
  }
  const Levels levels(format);
  bool isFinite = true;
  for (; !numbers.empty(); numbers = numbers.drop_front(format.blockElements), out += format.blockBytes) {
    llvm::ArrayRef<float> block = numbers.take_front(format.blockElements);
    // Beyond a half's range scales would be infinite.
    const bool fits = llvm::all_of(block, [](float number) { return std::fabs(number) <= 65504; });
    isFinite &= fits;
    if (fits)
      encodeBlock(format, levels, block, out);
    else
      std::memset(out, 0, format.blockBytes);
  }
  return isFinite;
}
