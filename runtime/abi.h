//===- abi.h - the whole contract between generated code, packed file and runtime -===//
//
// Three parties include this header and share nothing else: codegen (which emits functions that read `sluice_args`),
// compiler/pack (which writes the file sections below) and the runtime (which maps them and runs the steps).
// Everything is little-endian, naturally aligned, position independent: a section is used as it lies in the file.
// Generated code calls no runtime function.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_RUNTIME_ABI_H
#define SLUICE_RUNTIME_ABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SLUICE_ABI_VERSION 10u

//===-- What generated code reads --------------------------------------------------===//

// Arguments of one step on one worker. Fields are read by byte offset in generated code: append only, and mirror any
// change in codegen/ArgsLayout.h.
typedef struct sluice_args {
  const uint8_t *weights;  // this step's stream: file address of sluice_step.weights_offset, 64-byte aligned
  uint8_t *arena;          // all workers' activations, sluice_program.arena_bytes, 64-byte aligned, zeroed once
  uint8_t *scratch;        // this worker's own, sluice_program.scratch_bytes, 64-byte aligned
  uint8_t *prepared;       // what prologues leave for `run`, sluice_program.prepared_bytes, 64-byte aligned: this
                           // worker's own, or the same for all in a step with prologue_tokens
  uint8_t *kv;             // this layer's cache: kv_base + layer * kv_layer_stride (see "KV cache" below)
  uint64_t kv_head_stride; // bytes from one KV head's cache to the next one's, within a layer
  const int32_t *ids;      // [token_end] token ids of this chunk
  uint64_t position;       // position of the chunk's token 0 in the sequence
  uint64_t token_begin;    // of the chunk, tokens [token_begin, token_end) are computed; not 0 only in
                           // SLUICE_STEP_HEAD steps and in shared prologues
  uint64_t token_end;      // at most sluice_program.max_tokens
  float parameter;         // a scalar for utility programs (softmax: 1 / temperature)
  uint32_t count;          // a count for utility programs (softmax: logits; peak: rounds)
  uint32_t cache_type;     // SLUICE_CACHE_*: how `kv` is laid out
  uint32_t reserved;       // 0
} sluice_args;

// A kernel is a phase compiled. `prologue` (may be null) fills args->prepared for tokens [token_begin, token_end), or
// appends those to the cache; it is called before any `run` of the same step (see sluice_step.prologue_tokens). `run`
// computes units [begin, end). Any split of the units over workers and calls gives the same bits. No two units write
// the same bytes.
typedef void (*sluice_prologue_fn)(const sluice_args *);
typedef void (*sluice_run_fn)(const sluice_args *, uint64_t begin, uint64_t end);
typedef struct sluice_kernel {
  sluice_prologue_fn prologue;
  sluice_run_fn run;
  // What the compiler expects them to take where memory is no limit: as long as so many operations of 8-bit dot
  // products at the best (see SLUICE_PROGRAM_PEAK), for a token; of `run` also for each position before the token.
  double prologue_cost, run_cost, cache_cost;
} sluice_kernel;

// CPU features a variant may need: bit positions of sluice_variant.features. A name is what /proc/cpuinfo calls it.
#define SLUICE_CPU_FEATURES(X)                                                                                         \
  X(SSE4_1, 0, "sse4_1")                                                                                               \
  X(SSE4_2, 1, "sse4_2")                                                                                               \
  X(POPCNT, 2, "popcnt") X(AVX, 3, "avx") X(F16C, 4, "f16c") X(FMA, 5, "fma") X(AVX2, 6, "avx2") X(BMI1, 7, "bmi1")    \
      X(BMI2, 8, "bmi2") X(LZCNT, 9, "abm") X(MOVBE, 10, "movbe") X(AVX512F, 11, "avx512f")                            \
          X(AVX512BW, 12, "avx512bw") X(AVX512DQ, 13, "avx512dq") X(AVX512VL, 14, "avx512vl")                          \
              X(AVX512CD, 15, "avx512cd") X(AVX512_VNNI, 16, "avx512_vnni") X(AVX_VNNI, 17, "avx_vnni")                \
                  X(AVX512_BF16, 18, "avx512_bf16") X(SSSE3, 19, "ssse3")
enum {
#define X(NAME, BIT, TEXT) SLUICE_CPU_##NAME = BIT,
  SLUICE_CPU_FEATURES(X)
#undef X
};

// The kernels of one target. Indexed by sluice_step.kernel; all variants have the same kernels in the same order and
// read the same packed weights. Sorted by preference: the runtime takes the first one that the CPU can run.
typedef struct sluice_variant {
  const char *target;           // e.g. "x86-64-v4"
  uint64_t features;            // bit set of SLUICE_CPU_*
  const sluice_kernel *kernels; // [kernel_count]
  uint64_t kernel_count;
} sluice_variant;

extern const sluice_variant sluice_variants[]; // defined by generated code
extern const uint64_t sluice_variant_count;    // defined by generated code

//===-- KV cache -------------------------------------------------------------------===//
//
// Chosen when a sequence begins; generated code knows every type. Blocks of SLUICE_KV_BLOCK positions. Per layer and KV
// head a run of blocks; per block first K, then V:
//   K: [head_dim][SLUICE_KV_BLOCK]   (a lane is a position)
//   V: [SLUICE_KV_BLOCK][head_dim]   (a lane is a channel)
// q8_0: signed bytes, each of K and V followed by f16 scales [ceil(head_dim / 32)][SLUICE_KV_BLOCK]: a position's 32
// channels share one (see GGML's block_q8_0), the last block may be shorter. A context of n positions has
// B = ceil(n / SLUICE_KV_BLOCK) blocks; kv_head_stride = B * sluice_kv_block_bytes, kv_layer_stride = kv_heads *
// kv_head_stride, total = layers * that. The cache must be zeroed once before first use (masked positions are read,
// multiplied by zero).
enum { SLUICE_CACHE_F16, SLUICE_CACHE_F32, SLUICE_CACHE_Q8_0, SLUICE_CACHE_COUNT };
#define SLUICE_CACHE_NAMES "f16", "f32", "q8_0" // by type
#define SLUICE_CACHE_SCALED 32u                 // channels that share a scale in q8_0
#define SLUICE_KV_BLOCK 64u
// Attention starts anew every so many positions and merges the parts, so that workers can share them.
#define SLUICE_KV_SEGMENT 256u
// Of a block, K and V, of one KV head.
static inline uint64_t sluice_kv_block_bytes(uint32_t cache_type, uint64_t head_dim) {
  const uint64_t elements[SLUICE_CACHE_COUNT] = {2, 4, 1};
  const uint64_t scales =
      cache_type == SLUICE_CACHE_Q8_0 ? (head_dim + SLUICE_CACHE_SCALED - 1) / SLUICE_CACHE_SCALED : 0;
  return 2 * SLUICE_KV_BLOCK * (head_dim * elements[cache_type] + 2 * scales);
}

//===-- The file -------------------------------------------------------------------===//
//
// An ELF executable, padded to a page (the machine code); then the sections, weights first (page aligned, in execution
// order); then, as the very last bytes, a sluice_trailer. What lies between two of these is zero. Section contents are
// described by the structs below.

#define SLUICE_MAGIC 0x3130454349554c53ull // the bytes "SLUICE01"
#define SLUICE_PAGE 4096u

typedef struct sluice_trailer {
  uint64_t file_bytes;      // size of the whole file, trailer included
  uint64_t header_offset;   // of the sluice_header, from the start of the file
  uint64_t header_checksum; // XXH3-64 of the sluice_header
  uint32_t abi_version;     // SLUICE_ABI_VERSION
  uint32_t reserved;        // 0
  uint64_t magic;           // SLUICE_MAGIC
} sluice_trailer;

enum {                      // index into sluice_header.sections
  SLUICE_SECTION_WEIGHTS,   // packed weights, execution order
  SLUICE_SECTION_MODEL,     // one sluice_model
  SLUICE_SECTION_PROGRAMS,  // sluice_program[]
  SLUICE_SECTION_STEPS,     // sluice_step[], all programs' one after another
  SLUICE_SECTION_TENSORS,   // sluice_tensor[], in file order: which tensor's bytes lie where, with checksums
  SLUICE_SECTION_STRINGS,   // NUL-terminated UTF-8; a uint32 "string" field is an offset in here
  SLUICE_SECTION_TOKENIZER, // see runtime/TokenizerFormat.h
  SLUICE_SECTION_TEMPLATE,  // see runtime/TemplateFormat.h; empty when the model has no chat template
  SLUICE_SECTION_COUNT
};

typedef struct sluice_section {
  uint64_t offset;   // from the start of the file, 64-byte aligned (weights: SLUICE_PAGE)
  uint64_t size;     // bytes
  uint64_t checksum; // XXH3-64 of the bytes
} sluice_section;

typedef struct sluice_header {
  sluice_section sections[SLUICE_SECTION_COUNT];
  sluice_section code; // everything before the sections: offset 0
} sluice_header;

typedef struct sluice_model {
  uint32_t name, architecture, compiler_version, source_file, source_hash, formats; // strings
  uint32_t layers, width, heads, kv_heads, head_dim, feed_forward, vocabulary;
  uint32_t context_length; // what the model was trained for: default and upper bound of -c
  uint32_t logits_padded;  // floats from one token's logits to the next one's
  uint32_t peaks;          // groups of activations with a second byte, of every 32 (sluice compile --peaks)
  uint64_t weight_bytes;   // the packed stream a token reads once (without rows of the embedding merely looked up)
  uint64_t source_bytes;   // size of the checkpoint
  // How to choose the next token where the user does not say; below 0: as the runtime does by itself.
  float temperature, top_p, min_p, repeat_penalty;
  int32_t top_k;
  uint32_t reserved2; // 0
} sluice_model;

enum {
  SLUICE_PROGRAM_DECODE,  // one token
  SLUICE_PROGRAM_PREFILL, // a chunk of tokens
  SLUICE_PROGRAM_SOFTMAX, // probabilities of logits
  SLUICE_PROGRAM_PEAK,    // 8-bit dot products on data at hand, to measure what the processor can do: args->count
                          // rounds of SLUICE_PEAK_OPERATIONS multiplications and additions
  SLUICE_PROGRAM_COUNT
};
#define SLUICE_PEAK_OPERATIONS 16384u

// A list of steps with a barrier after each.
typedef struct sluice_program {
  uint32_t kind; // SLUICE_PROGRAM_*
  uint32_t name; // string
  uint32_t first_step, step_count;
  uint32_t max_tokens; // capacity of a chunk
  uint32_t reserved;
  uint64_t arena_bytes;    // size of args.arena
  uint64_t scratch_bytes;  // size of args.scratch
  uint64_t prepared_bytes; // size of args.prepared
  uint64_t input_offset;   // in the arena: softmax: float[vocabulary] logits to normalise; otherwise unused
  uint64_t output_offset;  // in the arena: decode, prefill: float[max_tokens][logits_padded] logits
                           //               softmax: float[vocabulary] probabilities, then one float: log of the sum of
                           //               exp(parameter * logit)
} sluice_program;

enum {
  SLUICE_STEP_HEAD = 1u << 0, // computes logits: run only for the tokens whose logits are wanted
};

typedef struct sluice_step {
  uint32_t kernel;           // index into sluice_variant.kernels
  uint32_t phase;            // string: the phase's name, the same for every layer
  uint32_t layer;            // which KV cache layer; UINT32_MAX outside the layers
  uint32_t flags;            // SLUICE_STEP_*
  uint32_t units;            // work items: units * (unit_tokens ? ceil(tokens / unit_tokens) : 1)
                             //             * (unit_positions ? ceil((position + tokens) / unit_positions) : 1)
  uint32_t unit_tokens;      // 0: a unit covers all tokens of the chunk
  uint32_t unit_positions;   // 0: a unit covers all positions of the sequence
  uint32_t prologue_tokens;  // 0: every worker prepares all tokens for itself; else the workers share the prologue
                             // out in pieces that begin at multiples of this many tokens, and meet before `run`
  uint64_t weights_offset;   // in SLUICE_SECTION_WEIGHTS, 64-byte aligned
  uint64_t weights_bytes;    // bytes this step streams; 0 if none, or if rows are merely looked up (embedding)
  uint64_t shared_bytes;     // of these, the first bytes that every worker reads (its prologue's: norm weights)
  uint64_t operations;       // multiplications and additions of its matrix products, for a token
  uint32_t cache_operations; // of attention, for each position before a token
  uint32_t cache_tokens;     // tokens of a chunk for which the layer's cache is read once; 0 if it is not read
  uint32_t window;           // how many positions, its own among them, a token sees; 0: all
  uint32_t reserved;         // 0
} sluice_step;

// Positions before a token that it sees through `window`, summed over `tokens` tokens after the first `depth`.
static inline uint64_t sluice_positions_seen(uint64_t depth, uint64_t tokens, uint64_t window) {
  const uint64_t most = window ? window - 1 : ~(uint64_t)0;
  // So many of the tokens see all positions before them.
  const uint64_t whole = depth >= most ? 0 : most - depth < tokens ? most - depth : tokens;
  return whole * depth + (whole ? whole * (whole - 1) / 2 : 0) + (tokens - whole) * (tokens - whole ? most : 0);
}

typedef struct sluice_tensor {
  uint32_t name;     // string: the checkpoint's name of it
  uint32_t format;   // string: "q4_1"
  uint64_t offset;   // in SLUICE_SECTION_WEIGHTS
  uint64_t size;     // bytes of the range that holds it; tensors whose tiles alternate (gate and up) share one range
  uint64_t checksum; // XXH3-64 of the range
} sluice_tensor;

//===-- Devices --------------------------------------------------------------------===//
//
// A device reads the same packed weights, arena layouts and steps as a CPU, with kernels of its own, launched one after
// another on one stream:
//   a chunk of a prompt: for every step of SLUICE_PROGRAM_PREFILL its `prologue`, if it has one, then its `run` (steps
//     of SLUICE_STEP_HEAD only where logits are wanted);
//   a token: for every step of SLUICE_PROGRAM_DECODE its `run`; or `token`, which is all of them in one launch;
//   then `choose`, which `token` includes: it picks the next id and advances the state. So a token can be launched
//     again and again, as it is, without the host in between; of a chunk it is launched where its last logits choose;
//   probabilities of logits: for every step of SLUICE_PROGRAM_SOFTMAX its `run`, with a state of its own.
// A launch depends on all before it. Kernels take one sluice_device_args by value. What changes from token to token is
// in device memory: the state, and the ids.

// Written by the host before a chunk, or before the first token of an answer; advanced by `choose`.
typedef struct sluice_device_state {
  uint64_t position;    // of the chunk's token 0 in the sequence. choose: += tokens
  uint32_t tokens;      // of the chunk, in SLUICE_PROGRAM_DECODE 1. choose: = 1
  uint32_t token_begin; // SLUICE_STEP_HEAD steps compute [token_begin, tokens). choose: = 0
  uint64_t chosen;      // how many ids `choose` has picked
  uint64_t random;      // state of the generator: see Random in runtime/Sampler.h
  float temperature; // 0: the most likely token; the rest as in SamplingOptions. SLUICE_PROGRAM_SOFTMAX: 1 / parameter
  uint32_t top_k;    // at most SLUICE_DEVICE_TOP_K; 0: all, only where temperature is 0. SLUICE_PROGRAM_SOFTMAX: count
  float top_p, min_p, repeat_penalty;
  uint32_t flags;        // SLUICE_DEVICE_*
  uint64_t recent_count; // of the sequence so far, the chosen ones included
  int32_t recent[64];    // token i of the sequence at i % 64, of the last 64 (SamplingOptions::recentTokens)
} sluice_device_state;
enum {
  SLUICE_DEVICE_CHOOSE = 1u << 0, // clear: `choose` advances the state and picks nothing, the host reads the logits
};
#define SLUICE_DEVICE_TOP_K 1024u // the most candidates `choose` sorts; the host samples where more are wanted

// Addresses are the device's. Everything is aligned to 256 bytes unless it says less.
typedef struct sluice_device_args {
  uint64_t weights;         // `token`: SLUICE_SECTION_WEIGHTS; else that + sluice_step.weights_offset
  uint64_t arena;           // of the program: sluice_program.arena_bytes, zeroed once
  uint64_t prepared;        // from a step's prologue to its run: sluice_device_variant.prepared_bytes
  uint64_t kv;              // the whole cache, laid out as above (KV cache), zeroed once
  uint64_t kv_layer_stride; // bytes
  uint64_t kv_head_stride;  // bytes
  uint64_t ids;             // int32[max_tokens] of the chunk; `choose` writes the next token's to ids[0]
  uint64_t state;           // sluice_device_state
  uint64_t sync;            // for blocks to meet and join: sync_bytes + blocks * sync_block_bytes, zeroed once, of the
                            // largest grid; kernels leave it as they found it
  uint64_t logits;     // choose, token: float[vocabulary] to choose from, 4-byte aligned; the repeat penalty is put
                       // into them
  uint64_t banned;     // choose, token: a bit for each id that is never chosen, uint32[(vocabulary + 31) / 32]; or 0
  uint64_t chosen;     // choose, token: int32[SLUICE_DEVICE_CHOSEN], id number n goes to n % that; may be the host's
  uint32_t cache_type; // SLUICE_CACHE_*
  uint32_t layer;      // sluice_step.layer; 0 outside the layers
} sluice_device_args;
#define SLUICE_DEVICE_CHOSEN 256u

typedef struct sluice_device_kernel {
  const char *name;       // in the image; null: there is none
  uint32_t threads;       // of a block
  uint32_t shared_bytes;  // dynamic; above 48 KiB CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES must allow it
  uint32_t blocks_per_sm; // the grid: so many for every multiprocessor, never more than are resident together, since
                          // blocks wait for each other (check with cuOccupancyMaxActiveBlocksPerMultiprocessor);
                          // 0: one block in all
  uint32_t reserved;      // 0
} sluice_device_kernel;

typedef struct sluice_device_step_kernels {
  sluice_device_kernel prologue, run;
} sluice_device_step_kernels;

enum {
  SLUICE_IMAGE_CUBIN, // for chips of its major architecture from its minor on
  SLUICE_IMAGE_PTX, // text, NUL-terminated (counted in `size`): the driver compiles it, for this architecture and later
};
typedef struct sluice_device_image {
  uint32_t kind;         // SLUICE_IMAGE_*
  uint32_t architecture; // 10 * major + minor
  uint64_t size;
  const uint8_t *bytes;
} sluice_device_image;

// Kernels of one target, as one or two images of the same code: take the first one that the chip can run. A chip takes
// the variant of the highest architecture that is not above its own and whose kernels' shared memory it has.
typedef struct sluice_device_variant {
  const char *target; // e.g. "sm_90"
  const sluice_device_image *images;
  uint64_t image_count;
  const sluice_device_step_kernels *kernels; // [kernel_count], by sluice_step.kernel, like sluice_variant.kernels;
                                             // those of the program that a device does not run (peak) have no names
  uint64_t kernel_count;
  sluice_device_kernel token, choose;
  uint64_t prepared_bytes;
  uint64_t sync_bytes, sync_block_bytes;
} sluice_device_variant;

extern const sluice_device_variant *const sluice_device_variants[]; // defined by generated code, oldest first
extern const uint64_t sluice_device_variant_count; // defined by generated code; 0 in a file for CPUs alone

#ifdef __cplusplus
}
#endif
#endif // SLUICE_RUNTIME_ABI_H
