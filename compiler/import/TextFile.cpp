//===- TextFile.cpp - text of files: reading it, showing it in diagnostics -----------------===//

#include "compiler/import/TextFile.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/JSON.h"
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

llvm::Expected<std::string> sluice::readTextFile(const std::string &path) {
  constexpr off_t mostBytes = 128 << 20; // the largest tokenizer.json that we know has 35 MB
  auto failed = [](const char *what) {
    return llvm::createStringError(llvm::Twine("cannot ") + what + ": " + std::strerror(errno));
  };
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a pipe must not block
  if (file < 0)
    return failed("open");
  llvm::scope_exit close([&] { ::close(file); });
  struct stat facts;
  if (fstat(file, &facts) != 0)
    return failed("open");
  if (!S_ISREG(facts.st_mode))
    return llvm::createStringError("is not an ordinary file");
  if (facts.st_size > mostBytes)
    return llvm::createStringError("expected at most " + llvm::Twine(mostBytes >> 20) + " MiB of text, got " +
                                   llvm::Twine(facts.st_size) + " bytes");
  std::string text(size_t(facts.st_size), '\0');
  size_t size = 0;
  while (size < text.size()) {
    ssize_t count = ::read(file, text.data() + size, text.size() - size);
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return failed("read");
    if (count == 0)
      break; // it was cut short meanwhile
    size += size_t(count);
  }
  text.resize(size);
  return text;
}

std::string sluice::shown(llvm::StringRef text) {
  constexpr size_t mostShown = 1000;
  std::string cut;
  if (text.size() > mostShown)
    text = cut = (text.take_front(mostShown / 2) + " ... " + text.take_back(mostShown / 2)).str();
  std::string out;
  const std::string valid = llvm::json::fixUTF8(text);
  for (size_t i = 0; i < valid.size(); ++i) {
    unsigned char c = static_cast<unsigned char>(valid[i]);
    if (c == 0xC2 && static_cast<unsigned char>(valid[i + 1]) < 0xA0) // U+0080 to U+009F, which are controls as well
      c = static_cast<unsigned char>(valid[++i]);
    else if (c >= 0x20 && c != 0x7F) {
      out += valid[i];
      continue;
    }
    out += "\\x" + llvm::utohexstr(c, /*LowerCase=*/true, /*Width=*/2);
  }
  return out;
}
