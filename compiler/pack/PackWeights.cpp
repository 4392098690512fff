//===- PackWeights.cpp - the packed weights as one stream of bytes -----------------===//

#include "compiler/pack/PackWeights.h"
#include "compiler/pack/PackTile.h"
#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#define XXH_INLINE_ALL
#include <xxhash.h>

using namespace sluice;
using namespace sluice::stream;

namespace {
// Calls `visit(segment, layer, offset)` for all segments, in file order.
template <typename Visit> void forEachSegment(const Schedule &schedule, Visit visit) {
  for (const Placement &placement : schedule.placements())
    for (const Segment &segment : placement.stream.segments)
      visit(segment, placement.layer, placement.offset + segment.offset);
}

// A segment and where its weights come from.
struct Source {
  Segment segment;
  llvm::SmallVector<WeightSource, 2> weights;

  // The part of weight `i` that tiles [first, last) hold.
  llvm::ArrayRef<uint8_t> part(unsigned i, int64_t first, int64_t last) const {
    if (segment.isVector())
      return weights[i].part(0, 1);
    const PackedLayout &layout = segment.layouts[i];
    return weights[i].part(first * layout.tileRows, std::min(last * layout.tileRows, layout.rows));
  }
};

// A piece of the packed weights: tiles [first, last) of every weight of a segment, alternating; or a vector.
struct Piece {
  const Source *source;
  int64_t first, last, bytes;
  bool endsSegment;
};
} // namespace

// A piece has about this many bytes, and at least one tile of each weight.
static constexpr int64_t pieceBytes = 1 << 20;

// The weight with a number that its format cannot hold; null if all is well.
static const WeightSource *pack(const Piece &piece, uint8_t *out) {
  const Segment &segment = piece.source->segment;
  if (segment.isVector()) {
    const int64_t cols = llama::WeightDeclOp(segment.weights[0]).getWeightType().getCols();
    std::vector<float> numbers(packedVectorBytes(cols) / sizeof(float));
    piece.source->weights[0].readVector(numbers.data());
    std::memcpy(out, numbers.data(), numbers.size() * sizeof(float));
    return nullptr;
  }
  const WeightSource *wrong = nullptr;
  std::vector<uint8_t> made; // rows of a tile
  for (int64_t tile = piece.first; tile < piece.last; ++tile)
    for (auto [layout, weight] : llvm::zip(segment.layouts, piece.source->weights)) {
      if (std::optional<llvm::ArrayRef<uint8_t>> bytes = weight.inPlace()) {
        packTile(layout, bytes->data(), tile, out);
      } else {
        const int64_t first = tile * layout.tileRows, last = std::min(first + layout.tileRows, layout.rows);
        made.resize((last - first) * weight.rowBytes());
        if (!weight.read(first, last, made.data()))
          wrong = &weight;
        PackedLayout rest = layout;
        rest.rows -= first;
        packTile(rest, made.data(), 0, out);
      }
      out += layout.tileBytes;
    }
  return wrong;
}

static void addPieces(const Source &source, std::vector<Piece> &pieces) {
  if (source.segment.isVector()) {
    pieces.push_back({&source, 0, 1, source.segment.bytes, true});
    return;
  }
  int64_t tiles = source.segment.layouts[0].tiles, groupBytes = source.segment.bytes / tiles;
  int64_t step = std::max<int64_t>(1, pieceBytes / groupBytes);
  for (int64_t first = 0; first < tiles; first += step) {
    int64_t last = std::min(first + step, tiles);
    pieces.push_back({&source, first, last, (last - first) * groupBytes, last == tiles});
  }
}

namespace {
// Packs pieces ahead of the one who takes them, in order, at most `slots` of them.
class Ring {
public:
  Ring(llvm::ArrayRef<Piece> pieces, unsigned threadCount) : pieces(pieces), ring(2 * threadCount + 2) {
    for (unsigned i = 0; i < threadCount; ++i)
      threads.emplace_back([this] { work(); });
  }
  ~Ring() {
    {
      std::lock_guard lock(mutex);
      stopped = true;
    }
    changed.notify_all();
    for (std::thread &thread : threads)
      thread.join();
  }

  // The bytes of piece `index`; valid until release(index).
  llvm::Expected<llvm::ArrayRef<uint8_t>> wait(size_t index) {
    Slot &slot = ring[index % ring.size()];
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return slot.packed == index + 1; });
    if (slot.wrong)
      return llvm::createStringError("tensor '" + slot.wrong->tensorName() +
                                     "' has numbers that are not finite and cannot be quantised; the model is damaged");
    return llvm::ArrayRef<uint8_t>(slot.bytes);
  }
  void release(size_t index) {
    {
      std::lock_guard lock(mutex);
      released = index + 1;
    }
    changed.notify_all();
  }

private:
  struct Slot {
    std::vector<uint8_t> bytes;
    size_t packed = 0; // one more than the piece it holds
    const WeightSource *wrong = nullptr;
  };

  void work() {
    std::unique_lock lock(mutex);
    while (true) {
      changed.wait(lock, [&] { return stopped || next == pieces.size() || next < released + ring.size(); });
      if (stopped || next == pieces.size())
        return;
      size_t index = next++;
      lock.unlock();
      Slot &slot = ring[index % ring.size()];
      slot.bytes.resize(pieces[index].bytes);
      slot.wrong = pack(pieces[index], slot.bytes.data());
      lock.lock();
      slot.packed = index + 1;
      changed.notify_all();
    }
  }

  llvm::ArrayRef<Piece> pieces;
  std::vector<Slot> ring;
  std::mutex mutex;
  std::condition_variable changed;
  size_t next = 0, released = 0;
  bool stopped = false;
  std::vector<std::thread> threads;
};

struct Hash {
  Hash() { XXH3_64bits_reset(&state); }
  void add(llvm::ArrayRef<uint8_t> bytes) { XXH3_64bits_update(&state, bytes.data(), bytes.size()); }
  uint64_t value() const { return XXH3_64bits_digest(&state); }
  XXH3_state_t state;
};
} // namespace

std::vector<PackedTensor> sluice::packedTensors(const Schedule &schedule) {
  std::vector<PackedTensor> tensors;
  forEachSegment(schedule, [&](const Segment &segment, int64_t layer, int64_t offset) {
    for (llama::WeightDeclOp weight : segment.weights)
      tensors.push_back(
          {weight.tensorName(layer), &llama::formatInfo(weight.getWeightType().getFormat()), offset, segment.bytes});
  });
  return tensors;
}

static llvm::Expected<std::vector<Source>> findSources(const Schedule &schedule, TensorBytes bytesOf) {
  std::vector<Source> sources;
  llvm::Error error = llvm::Error::success();
  forEachSegment(schedule, [&](const Segment &segment, int64_t layer, int64_t) {
    Source source{segment, {}};
    for (llama::WeightDeclOp weight : segment.weights) {
      if (error)
        return;
      llvm::Expected<WeightSource> found = WeightSource::find(weight, layer, bytesOf);
      if (!found)
        error = found.takeError();
      else
        source.weights.push_back(std::move(*found));
    }
    sources.push_back(std::move(source));
  });
  if (error)
    return error;
  return sources;
}

llvm::Expected<uint64_t> sluice::packWeights(const Schedule &schedule, TensorBytes bytesOf, BytesDone done, Sink sink,
                                             std::vector<PackedTensor> &tensors) {
  llvm::Expected<std::vector<Source>> sources = findSources(schedule, bytesOf);
  if (!sources)
    return sources.takeError();
  std::vector<Piece> pieces;
  for (const Source &source : *sources)
    addPieces(source, pieces);

  Ring ring(pieces, std::clamp(std::thread::hardware_concurrency(), 1u, 4u));
  Hash whole, segment;
  auto tensor = tensors.begin();
  for (auto [index, piece] : llvm::enumerate(pieces)) {
    llvm::Expected<llvm::ArrayRef<uint8_t>> bytes = ring.wait(index);
    if (!bytes)
      return bytes.takeError();
    whole.add(*bytes);
    segment.add(*bytes);
    if (llvm::Error error = sink(*bytes))
      return error;
    ring.release(index);
    for (unsigned i = 0; i < piece.source->weights.size(); ++i) {
      done(piece.source->part(i, piece.first, piece.last));
      if (piece.endsSegment)
        (tensor++)->checksum = segment.value();
    }
    if (piece.endsSegment)
      segment = Hash();
  }
  return whole.value();
}
