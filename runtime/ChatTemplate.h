//===- ChatTemplate.h - renders a conversation with the model's own template --------------===//
//
// Walks the tree of TemplateFormat.h. Steps, output and recursion are bounded: a template can neither run forever nor
// exhaust memory, and it can read nothing but what it is given and the clock.
//
//===----------------------------------------------------------------------------------------===//
#ifndef SLUICE_RUNTIME_CHATTEMPLATE_H
#define SLUICE_RUNTIME_CHATTEMPLATE_H

#include "runtime/TemplateFormat.h"
#include "runtime/TemplateValue.h"
#include <span>
#include <string>
#include <string_view>

namespace sluice {

class ChatTemplate {
public:
  struct Message {
    std::string role, content;
  };

  // `section` must outlive the template; empty: the model has none. Throws std::runtime_error if it is damaged.
  explicit ChatTemplate(std::span<const uint8_t> section);
  bool empty() const { return bytes.empty(); }
  // Throws std::runtime_error: what the template does wrong, or says with raise_exception.
  std::string render(std::span<const Message> messages, bool addGenerationPrompt, std::string_view bosText,
                     std::string_view eosText) const;
  // With any variables: a mapping from names.
  std::string render(const TemplateValue &variables) const;

private:
  std::span<const uint8_t> bytes;
  const TemplateSection *section = nullptr;
};

} // namespace sluice
#endif
