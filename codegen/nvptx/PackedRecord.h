//===- PackedRecord.h - one record of an integer weight, as a thread has it -----------===//
//
// Codes, scales and mins of a record (PackedLayout.h), loaded and unpacked where they are first asked for and then
// kept. Knows formats by their properties.
//
//===----------------------------------------------------------------------------------===//
#ifndef SLUICE_CODEGEN_NVPTX_PACKEDRECORD_H
#define SLUICE_CODEGEN_NVPTX_PACKEDRECORD_H

#include "codegen/nvptx/Threads.h"
#include "dialects/stream/PackedLayout.h"
#include <map>

namespace sluice::codegen {

class PackedRecord {
public:
  struct Place {
    Value record;  // its address
    Value row;     // the first of the thread's rows
    int64_t rows;  // 1, or 4 of which `row` is a multiple
    Value group;   // groups are counted from this one; null: from 0
    bool constant; // memory that no kernel writes
  };
  PackedRecord(Threads &t, const stream::PackedLayout &layout, Place place);

  // Where a record comes in pieces. Loads what lies before the runs, now.
  void loadHeader();
  // From here on codes are those of run `run` and the ones after, which begin at `at`.
  void moveTo(int64_t run, Value at);

  // Blocks of 32 columns are numbered in the record; parts of a block have a scale each.
  static int64_t parts(const stream::PackedLayout &layout) {
    return stream::PackedLayout::blockColumns / layout.format->scaleElements;
  }
  // All of these: a value a row. Unsigned codes of four columns, as bytes, factor(block) times what they are.
  Values codes(int64_t block, int64_t group);
  int64_t factor(int64_t block) const;
  // Of one row, codes of the group whose words are `offset` bytes from group 0's.
  Value codesAt(int64_t block, Value offset);
  // f32: what one code counts, divided by factor(block).
  Values scale(int64_t block, int64_t part);
  Values min(int64_t block, int64_t part);

private:
  enum Kind { Word, HighField, Looked, Code, SubWord, Scale, SuperScale, SuperMin };
  struct Both { // blocks of a run
    Value first, second;
  };
  const Values &kept(Kind kind, int64_t x, int64_t y, llvm::function_ref<Values()> make);
  Values map(llvm::function_ref<Value(int64_t row)> f);

  Values load(Value at, Type element, unsigned bytes);
  // Words number `word` of the header from byte `at` on, or of a run, for this thread's first group.
  Values headerWord(int64_t at, int64_t word);
  Values runWord(int64_t run, int64_t word);
  bool loadsFourWords(int64_t first) const; // of a run, at once
  // The words with the upper bits of a group, and how far they lie above those of block 0.
  Values highWord(int64_t run, int64_t group, int64_t &shift);
  Value field(Value bytes, int64_t shift, int64_t bits, int64_t to);
  // What the format's table has for codes of both blocks of a run.
  Both lookUp(Value word);

  Values halves(int64_t at);
  Values exponents(int64_t at);
  Values superScale(int64_t divisor);
  Values subScale(int64_t number, int64_t zero); // number `number` less `zero`

  Threads &t;
  const stream::PackedLayout &layout;
  const llama::FormatInfo &format;
  Place place;
  Value header;     // the first row's word
  Value codesBegin; // likewise of run `firstRun`, of group 0
  int64_t firstRun = 0;
  std::map<std::tuple<Kind, int64_t, int64_t>, Values> values; // what was made
};

} // namespace sluice::codegen
#endif
