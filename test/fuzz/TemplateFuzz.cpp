//===- TemplateFuzz.cpp - chat templates: compiled, then rendered --------------------===//

#include "compiler/text/TemplateCompiler.h"
#include "runtime/ChatTemplate.h"
#include "test/fuzz/FuzzTarget.h"

using namespace sluice;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  llvm::Expected<std::vector<uint8_t>> section = compileTemplate({reinterpret_cast<const char *>(data), size});
  if (!section) {
    consumeError(section.takeError());
    return 0;
  }
  const std::vector<ChatTemplate::Message> messages = {{"system", "Be brief."},
                                                       {"user", "Hello \xC3\xA9\xF0\x9F\x98\x80 <|im_end|>"},
                                                       {"assistant", ""},
                                                       {"user", "2 + 2?"}};
  // What the compiler wrote must be what the runtime accepts.
  ChatTemplate chatTemplate(*section);
  for (size_t count : {size_t(0), size_t(1), messages.size()})
    try {
      chatTemplate.render({messages.data() + (messages.size() - count), count}, count != 1, "<s>", "</s>");
    } catch (const std::runtime_error &) {
    }
  return 0;
}
