//===- MatrixHelpers.cpp - mma.sync and the moves of 8x8 matrices ---------------------------------------===//
//
// Layouts of fragments as the PTX ISA document draws them. Products of f16, bf16 and tf32 are exact and are added to
// the accumulator one after the other in order of k, each sum rounded to f32 (the document asks for at least that). A
// result of f16 is rounded once.

#include "tools/ptx-vm/Helpers.h"
#include "tools/ptx-vm/Ptx.h"
#include <bit>
#include <cmath>
#include <cstring>

namespace ptxvm {

float halfToFloat(uint16_t h) {
  const uint32_t sign = uint32_t(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 1023;
  if (exponent == 31)
    return std::bit_cast<float>(sign | 0x7f800000 | mantissa << 13);
  if (exponent == 0)
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(std::ldexp(float(mantissa), -24)));
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}
uint16_t floatToHalf(float f) {
  const uint32_t bits = std::bit_cast<uint32_t>(f), sign = bits >> 16 & 0x8000;
  const float a = std::fabs(f);
  if (std::isnan(f))
    return 0x7fff;
  if (a >= 65520.f)
    return sign | 0x7c00;
  if (a < 0x1p-14f)
    return sign | uint16_t(std::nearbyint(std::ldexp(a, 24)));
  const uint32_t m = std::bit_cast<uint32_t>(a), rounded = m + 0xfff + (m >> 13 & 1);
  return sign | ((rounded >> 13) - (112 << 10));
}

namespace {

uint32_t *words(Warp *w, unsigned slot) { return reinterpret_cast<uint32_t *>(w->slots[slot]); }

/// One element of a fragment: which register, and which bits of it.
float decode(Type type, uint32_t word, unsigned index) {
  if (type == Type::TF32)
    return std::bit_cast<float>(word & 0xffffe000);
  const uint16_t h = word >> 16 * index;
  return type == Type::BF16 ? std::bit_cast<float>(uint32_t(h) << 16) : halfToFloat(h);
}

void multiplyFloat(Warp *w, unsigned k, Type type, Type cType, Type dType) {
  float a[16][16], b[16][8];
  const unsigned perWord = type == Type::TF32 ? 1 : 2,
                 half = 4 * perWord; // columns that four threads hold side by side
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    const unsigned group = lane / 4, in = lane % 4;
    for (unsigned r = 0; r < 16 * k / (32 * perWord); ++r)
      for (unsigned i = 0; i < perWord; ++i)
        a[group + 8 * (r % 2)][in * perWord + i + half * (r / 2)] = decode(type, words(w, r)[lane], i);
    for (unsigned r = 0; r < 8 * k / (32 * perWord); ++r)
      for (unsigned i = 0; i < perWord; ++i)
        b[in * perWord + i + half * r][group] = decode(type, words(w, 4 + r)[lane], i);
  }
  float c[16][8];
  auto forEachElement = [&](auto f) {
    for (unsigned lane = 0; lane < kLanes; ++lane)
      for (unsigned i = 0; i < 4; ++i)
        f(lane, i, c[lane / 4 + 8 * (i / 2)][lane % 4 * 2 + i % 2]);
  };
  forEachElement([&](unsigned lane, unsigned i, float &v) {
    v = cType == Type::F16 ? halfToFloat(words(w, 6 + i / 2)[lane] >> 16 * (i % 2))
                           : std::bit_cast<float>(words(w, 6 + i)[lane]);
  });
  for (unsigned x = 0; x < k; ++x)
    for (unsigned row = 0; row < 16; ++row)
      for (unsigned col = 0; col < 8; ++col)
        c[row][col] += a[row][x] * b[x][col]; // contracted or not: products of these types are exact in f32
  forEachElement([&](unsigned lane, unsigned i, float &v) {
    if (dType == Type::F16) {
      uint32_t &word = words(w, 10 + i / 2)[lane];
      word = i % 2 ? (word & 0xffff) | uint32_t(floatToHalf(v)) << 16 : floatToHalf(v);
    } else {
      words(w, 10 + i)[lane] = std::bit_cast<uint32_t>(v);
    }
  });
}

void multiplyBytes(Warp *w, unsigned k, Type aType, Type bType, bool saturate) {
  int a[16][32], b[32][8];
  auto decodeByte = [](Type t, uint32_t word, unsigned i) {
    return t == Type::S8 ? int(int8_t(word >> 8 * i)) : int(uint8_t(word >> 8 * i));
  };
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    const unsigned group = lane / 4, in = lane % 4;
    for (unsigned i = 0; i < 4; ++i) {
      for (unsigned r = 0; r < k / 8; ++r)
        a[group + 8 * (r % 2)][in * 4 + i + 16 * (r / 2)] = decodeByte(aType, words(w, r)[lane], i);
      for (unsigned r = 0; r < k / 16; ++r)
        b[in * 4 + i + 16 * r][group] = decodeByte(bType, words(w, 4 + r)[lane], i);
    }
  }
  for (unsigned lane = 0; lane < kLanes; ++lane)
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned row = lane / 4 + 8 * (i / 2), col = lane % 4 * 2 + i % 2;
      int64_t sum = int32_t(words(w, 6 + i)[lane]);
      for (unsigned x = 0; x < k; ++x)
        sum += a[row][x] * b[x][col];
      if (saturate)
        sum = sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : sum;
      words(w, 10 + i)[lane] = uint32_t(sum);
    }
}

} // namespace

void multiplyMatrices(Warp *w, uint32_t k, uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint32_t saturate) {
  if (Type(a) == Type::S8 || Type(a) == Type::U8)
    multiplyBytes(w, k, Type(a), Type(b), saturate);
  else
    multiplyFloat(w, k, Type(a), Type(c), Type(d));
}

void transposeMatrix(Warp *w) {
  uint16_t m[8][8];
  for (unsigned lane = 0; lane < kLanes; ++lane)
    for (unsigned i = 0; i < 2; ++i)
      m[lane / 4][lane % 4 * 2 + i] = words(w, 0)[lane] >> 16 * i;
  for (unsigned lane = 0; lane < kLanes; ++lane)
    words(w, 1)[lane] = m[lane % 4 * 2][lane / 4] | uint32_t(m[lane % 4 * 2 + 1][lane / 4]) << 16;
}

} // namespace ptxvm
