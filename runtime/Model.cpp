//===- Model.cpp - the executable's own sections, mapped and checked ---------------===//

#include "runtime/Model.h"
#include "runtime/Error.h"
#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>
#include <xxhash.h>

using namespace sluice::runtime;

static constexpr const char *sectionNames[] = {"weights", "model",   "programs",  "steps",
                                               "tensors", "strings", "tokenizer", "template"};
static_assert(std::size(sectionNames) == SLUICE_SECTION_COUNT);
static_assert(offsetof(sluice_header, code) == sizeof(sluice_header::sections)); // see parts()

// Whether [offset, offset + bytes) lies within `limit` bytes, without overflow.
static bool within(uint64_t offset, uint64_t bytes, uint64_t limit) {
  return offset <= limit && bytes <= limit - offset;
}

Model::Model(const char *path) {
  try {
    mapFile(path);
    checkSections();
    for (int table : {SLUICE_SECTION_MODEL, SLUICE_SECTION_PROGRAMS, SLUICE_SECTION_STEPS, SLUICE_SECTION_TENSORS,
                      SLUICE_SECTION_STRINGS})
      checkSum(table);
    checkModel();
    checkPrograms();
  } catch (...) {
    release();
    throw;
  }
}

Model::~Model() { release(); }

void Model::release() {
  if (base)
    munmap(const_cast<uint8_t *>(base), size);
  if (descriptor >= 0)
    close(descriptor);
}

std::string Model::partName(size_t index) {
  return index < SLUICE_SECTION_COUNT ? "section '" + std::string(sectionNames[index]) + "'" : "the machine code";
}

void Model::checkSum(int index) const {
  if (XXH3_64bits(section(index).data(), section(index).size()) != header->sections[index].checksum)
    fail("the file is damaged: " + partName(size_t(index)) + " differs from its checksum");
}

void Model::checkTexts() const {
  checkSum(SLUICE_SECTION_TOKENIZER);
  checkSum(SLUICE_SECTION_TEMPLATE);
}

void Model::checkUnchanged() const {
  struct stat status;
  // The C library's fstat() is another system call, which could name a file: the sandbox does not allow it.
  if (syscall(SYS_fstat, descriptor, &status) != 0 || uint64_t(status.st_size) != size ||
      status.st_mtim.tv_sec != changed.tv_sec || status.st_mtim.tv_nsec != changed.tv_nsec)
    throw Error(name + ": the file was changed while the model ran; start it again");
}

void Model::fail(const std::string &what) const { throw Error(name + ": " + what + "; compile the model again"); }

void Model::check(bool holds, const char *what) const {
  if (!holds)
    fail(std::string("the file is damaged: ") + what);
}

void Model::mapFile(const char *path) {
  char target[PATH_MAX];
  ssize_t length = readlink(path, target, sizeof target);
  name = length > 0 ? std::string(target, length) : std::string(path);
  if (size_t slash = name.rfind('/'); slash != std::string::npos)
    name = name.substr(slash + 1);
  descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a pipe is not waited for
  struct stat status;
  if (descriptor < 0 || fstat(descriptor, &status) != 0)
    throw Error(name + ": cannot open the file of the model: " + std::strerror(errno));
  if (!S_ISREG(status.st_mode))
    throw Error(name + ": cannot read the file of the model: it is no ordinary file");
  size = status.st_size;
  changed = status.st_mtim;
  void *mapping = size ? mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor, 0) : MAP_FAILED;
  int number = errno;
  if (mapping == MAP_FAILED)
    throw Error(name + ": cannot map the file of the model: " + (size ? std::strerror(number) : "it is empty"));
  base = static_cast<const uint8_t *>(mapping);
}

void Model::checkSections() {
  if (size < sizeof(sluice_trailer) + sizeof(sluice_header))
    fail("the file is cut short");
  sluice_trailer trailer; // the file's end need not be aligned
  std::memcpy(&trailer, base + size - sizeof trailer, sizeof trailer);
  if (trailer.magic != SLUICE_MAGIC)
    fail("expected a compiled model behind the program, found none: the file is another program, cut short, or was "
         "changed");
  if (trailer.abi_version != SLUICE_ABI_VERSION)
    fail("expected file version " + std::to_string(SLUICE_ABI_VERSION) + ", got " +
         std::to_string(trailer.abi_version));
  if (trailer.file_bytes != size)
    fail("expected " + std::to_string(trailer.file_bytes) + " bytes, got " + std::to_string(size));
  check(trailer.reserved == 0, "its trailer has a value that it should not have");
  uint64_t limit = size - sizeof trailer;
  check(within(trailer.header_offset, sizeof(sluice_header), limit), "its header lies outside of it");
  check(trailer.header_offset % alignof(sluice_header) == 0, "its header is not aligned");
  header = reinterpret_cast<const sluice_header *>(base + trailer.header_offset);
  check(XXH3_64bits(header, sizeof *header) == trailer.header_checksum, "the header's checksum differs");
  for (int i = 0; i < SLUICE_SECTION_COUNT; ++i) {
    const sluice_section &entry = header->sections[i];
    uint64_t alignment = i == SLUICE_SECTION_WEIGHTS ? SLUICE_PAGE : 64;
    if (!within(entry.offset, entry.size, trailer.header_offset) || entry.offset % alignment)
      fail("the file is damaged: " + partName(size_t(i)) + " lies outside of it or is not aligned");
  }
  check(header->code.offset == 0 && header->code.size <= trailer.header_offset, "its machine code lies outside of it");
}

void Model::checkModel() const {
  check(section(SLUICE_SECTION_MODEL).size() == sizeof(sluice_model), "the model's description has a wrong size");
  check(section(SLUICE_SECTION_PROGRAMS).size() % sizeof(sluice_program) == 0, "the list of programs has a wrong size");
  check(section(SLUICE_SECTION_STEPS).size() % sizeof(sluice_step) == 0, "the list of steps has a wrong size");
  check(section(SLUICE_SECTION_TENSORS).size() % sizeof(sluice_tensor) == 0, "the list of tensors has a wrong size");
  std::span<const uint8_t> strings = section(SLUICE_SECTION_STRINGS);
  check(!strings.empty() && strings.back() == 0, "its strings do not end");
  const sluice_model &model = description();
  for (uint32_t offset :
       {model.name, model.architecture, model.compiler_version, model.source_file, model.source_hash, model.formats})
    check(offset < strings.size(), "a string lies outside of it");
  check(model.layers && model.kv_heads && model.head_dim && model.vocabulary && model.context_length,
        "the model has an empty dimension");
  check(model.vocabulary <= INT32_MAX && model.logits_padded >= model.vocabulary, "the vocabulary has a wrong size");
  uint64_t weightBytes = section(SLUICE_SECTION_WEIGHTS).size();
  for (const sluice_tensor &tensor : tensors())
    check(tensor.name < strings.size() && tensor.format < strings.size() &&
              within(tensor.offset, tensor.size, weightBytes),
          "a tensor lies outside of it");
}

void Model::checkPrograms() {
  const sluice_model &model = description();
  std::span<const sluice_step> all = array<sluice_step>(SLUICE_SECTION_STEPS);
  uint64_t strings = section(SLUICE_SECTION_STRINGS).size(), weightBytes = section(SLUICE_SECTION_WEIGHTS).size();
  for (const sluice_program &program : array<sluice_program>(SLUICE_SECTION_PROGRAMS)) {
    check(program.kind < SLUICE_PROGRAM_COUNT && !byKind[program.kind], "a program is unknown or twice there");
    byKind[program.kind] = &program;
    check(program.name < strings, "a string lies outside of it");
    check(within(program.first_step, program.step_count, all.size()), "a program's steps lie outside of it");
    check(program.max_tokens > 0, "a program takes no tokens");
    if (program.kind == SLUICE_PROGRAM_PEAK)
      continue; // no buffers but its own
    bool softmax = program.kind == SLUICE_PROGRAM_SOFTMAX;
    uint64_t output = softmax ? uint64_t(model.vocabulary) + 1 : uint64_t(program.max_tokens) * model.logits_padded;
    check(within(program.output_offset, output * sizeof(float), program.arena_bytes) &&
              (!softmax || within(program.input_offset, model.vocabulary * sizeof(float), program.arena_bytes)) &&
              program.input_offset % 64 == 0 && program.output_offset % 64 == 0,
          "a program's buffers lie outside of its memory");
  }
  for (const sluice_program *program : byKind)
    check(program, "a program is missing");
  for (const sluice_step &step : all) {
    check(step.phase < strings, "a string lies outside of it");
    check(step.layer == UINT32_MAX || step.layer < model.layers, "a step belongs to no layer");
    check(within(step.weights_offset, step.weights_bytes, weightBytes) && step.weights_offset % 64 == 0,
          "a step's weights lie outside of it");
  }
}

void Model::checkKernels(uint64_t kernelCount) const {
  for (const sluice_step &step : array<sluice_step>(SLUICE_SECTION_STEPS))
    check(step.kernel < kernelCount, "a step runs code that is not in it");
}

std::span<const sluice_step> Model::steps(const sluice_program &program) const {
  return array<sluice_step>(SLUICE_SECTION_STEPS).subspan(program.first_step, program.step_count);
}

const char *Model::string(uint32_t offset) const {
  return reinterpret_cast<const char *>(section(SLUICE_SECTION_STRINGS).data() + offset);
}

std::span<const uint8_t> Model::section(int index) const {
  return {base + header->sections[index].offset, header->sections[index].size};
}

void Model::populateWeights(unsigned index, unsigned parts) const {
  struct sysinfo machine;
  std::span<const uint8_t> bytes = section(SLUICE_SECTION_WEIGHTS);
  // A file that memory cannot hold would push out its own beginning.
  if (sysinfo(&machine) != 0 || bytes.size() > uint64_t(machine.totalram) * machine.mem_unit / 4 * 3)
    return;
  uint64_t pages = (bytes.size() + SLUICE_PAGE - 1) / SLUICE_PAGE;
  uint64_t begin = pages * index / parts * SLUICE_PAGE;
  uint64_t end = std::min<uint64_t>(pages * (index + 1) / parts * SLUICE_PAGE, bytes.size());
  uint8_t *start = const_cast<uint8_t *>(bytes.data()) + begin;
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 // Linux 5.14
#endif
  if (end > begin && madvise(start, end - begin, MADV_POPULATE_READ) != 0)
    madvise(start, end - begin, MADV_WILLNEED);
}
