//===- TemplateLexer.cpp - a Jinja template as tokens ---------------------------------------===//

#include "compiler/text/TemplateLexer.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/ConvertUTF.h"

using namespace sluice;

namespace {

class Lexer {
public:
  explicit Lexer(llvm::StringRef text) : normalised(withLineFeeds(text)), source(normalised) {}

  llvm::Expected<std::vector<TemplateToken>> run() {
    source.consume_back("\n");
    while (at < source.size())
      if (llvm::Error failure = lexText())
        return std::move(failure);
    tokens.push_back({TokenKind::End, "", line});
    return std::move(tokens);
  }

private:
  llvm::Error error(const llvm::Twine &message) {
    return llvm::createStringError("chat template, line " + llvm::Twine(line) + ": " + message);
  }
  void advance(size_t count) {
    line += unsigned(source.substr(at, count).count('\n'));
    at += count;
  }

  // \r\n and \r become \n, as Jinja reads them.
  static std::string withLineFeeds(llvm::StringRef text) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '\r' && text.substr(i + 1).starts_with("\n"))
        continue;
      out += text[i] == '\r' ? '\n' : text[i];
    }
    return out;
  }

  // lstrip_blocks: without the blanks before a tag that begins its line. `text` is what lies before the tag and after
  // `from`.
  llvm::StringRef withoutIndent(llvm::StringRef text, size_t from) const {
    llvm::StringRef stripped = text.rtrim(" \t\v\f");
    bool lineStart = stripped.empty() ? (from == 0 || source[from - 1] == '\n') : stripped.back() == '\n';
    return lineStart ? stripped : text;
  }

  // Text up to the next delimiter, then what the delimiter opens.
  llvm::Error lexText() {
    size_t open = at;
    while ((open = source.find('{', open)) != llvm::StringRef::npos &&
           (open + 1 == source.size() || !llvm::StringRef("{%#").contains(source[open + 1])))
      ++open;
    if (open == llvm::StringRef::npos) {
      addText(source.substr(at));
      advance(source.size() - at);
      return llvm::Error::success();
    }
    char kind = source[open + 1], mark = open + 2 < source.size() ? source[open + 2] : ' ';
    llvm::StringRef text = source.slice(at, open);
    if (mark == '-')
      text = text.rtrim();
    else if (kind != '{' && mark != '+')
      text = withoutIndent(text, at);
    addText(text);
    advance(open - at + 2);
    if (mark == '-' || mark == '+')
      advance(1);
    if (kind == '#')
      return skipComment();
    llvm::StringRef rest = source.substr(at).ltrim();
    if (kind == '%' && rest.consume_front("raw") && (rest.ltrim().starts_with("%}") || rest.ltrim().starts_with("-%}")))
      return lexRaw();
    return lexCode(kind == '{');
  }

  void addText(llvm::StringRef text) {
    if (!text.empty())
      tokens.push_back({TokenKind::Text, text.str(), line});
  }

  // What a closing delimiter takes along: all white space after -, one newline after a tag (trim_blocks).
  void afterTag(bool strip, bool tag) {
    if (strip)
      advance(source.size() - at - source.substr(at).ltrim().size());
    else if (tag && source.substr(at).starts_with("\n"))
      advance(1);
  }

  llvm::Error skipComment() {
    size_t close = source.find("#}", at);
    if (close == llvm::StringRef::npos)
      return error("a comment is not closed");
    char mark = close > at ? source[close - 1] : ' ';
    advance(close + 2 - at);
    afterTag(mark == '-', mark != '+');
    return llvm::Error::success();
  }

  // {% raw %} text {% endraw %}, with `at` inside the first tag.
  llvm::Error lexRaw() {
    size_t close = source.find("%}", at);
    bool strip = source[close - 1] == '-';
    advance(close + 2 - at);
    afterTag(strip, false); // the newline behind {% raw %} is text
    for (size_t open = at; (open = source.find("{%", open)) != llvm::StringRef::npos; ++open) {
      llvm::StringRef tag = source.substr(open + 2);
      bool stripBefore = tag.consume_front("-"), keepBefore = !stripBefore && tag.consume_front("+");
      llvm::StringRef inner = tag.ltrim();
      if (!inner.consume_front("endraw"))
        continue;
      inner = inner.ltrim();
      bool stripAfter = inner.consume_front("-"), keepAfter = !stripAfter && inner.consume_front("+");
      if (!inner.consume_front("%}"))
        continue;
      llvm::StringRef text = source.slice(at, open);
      addText(stripBefore ? text.rtrim() : keepBefore ? text : withoutIndent(text, at));
      advance(size_t(inner.data() - source.data()) - at);
      afterTag(stripAfter, !keepAfter);
      return llvm::Error::success();
    }
    return error("a raw block is not closed");
  }

  llvm::Error lexCode(bool output) {
    tokens.push_back({output ? TokenKind::OutputBegin : TokenKind::TagBegin, "", line});
    llvm::StringRef close = output ? "}}" : "%}";
    int depth = 0; // of brackets: inside them }} closes a dict, not the code
    for (;;) {
      advance(source.size() - at - source.substr(at).ltrim().size());
      llvm::StringRef rest = source.substr(at);
      if (rest.empty())
        return error(llvm::Twine("'") + (output ? "{{" : "{%") + "' is not closed");
      bool strip = rest.starts_with(("-" + close).str());
      if (depth == 0 && (strip || rest.starts_with(close) || rest.starts_with(("+" + close).str()))) {
        bool marked = !rest.starts_with(close);
        tokens.push_back({output ? TokenKind::OutputEnd : TokenKind::TagEnd, "", line});
        advance(marked ? 3 : 2);
        afterTag(strip, !output && !(marked && !strip));
        return llvm::Error::success();
      }
      char c = rest[0];
      if (llvm::isAlpha(c) || c == '_') {
        size_t size = rest.find_if_not([](char x) { return llvm::isAlnum(x) || x == '_'; });
        add(TokenKind::Name, rest.substr(0, size));
      } else if (llvm::isDigit(c)) {
        lexNumber(rest);
      } else if (c == '"' || c == '\'') {
        if (llvm::Error failure = lexString(rest))
          return failure;
      } else {
        llvm::StringRef op = rest.take_front(1);
        for (llvm::StringRef two : {"==", "!=", "<=", ">=", "//", "**"})
          if (rest.starts_with(two))
            op = rest.take_front(2);
        if (!llvm::StringRef("=!<>/*+-%~|.,:()[]{}").contains(c))
          return error("unexpected character '" + op + "'");
        depth += llvm::StringRef("([{").contains(c) ? 1 : llvm::StringRef(")]}").contains(c) ? -1 : 0;
        add(TokenKind::Operator, op);
      }
    }
  }

  void add(TokenKind kind, llvm::StringRef text) {
    tokens.push_back({kind, text.str(), line});
    advance(text.size());
  }

  void lexNumber(llvm::StringRef rest) {
    size_t size = rest.find_if_not([](char x) { return llvm::isDigit(x) || x == '_'; });
    size = std::min(size, rest.size());
    bool real = false;
    if (size + 1 < rest.size() && rest[size] == '.' && llvm::isDigit(rest[size + 1])) {
      real = true;
      size = std::min(rest.find_if_not([](char x) { return llvm::isDigit(x); }, size + 1), rest.size());
    }
    if (size < rest.size() && (rest[size] == 'e' || rest[size] == 'E')) {
      size_t sign = size + 1 < rest.size() && llvm::StringRef("+-").contains(rest[size + 1]) ? 1 : 0;
      size_t end = std::min(rest.find_if_not([](char x) { return llvm::isDigit(x); }, size + 1 + sign), rest.size());
      if (end > size + 1 + sign) {
        real = true;
        size = end;
      }
    }
    std::string digits = rest.substr(0, size).str();
    llvm::erase(digits, '_');
    tokens.push_back({real ? TokenKind::Float : TokenKind::Integer, digits, line});
    advance(size);
  }

  llvm::Error lexString(llvm::StringRef rest) {
    std::string value;
    char quote = rest[0];
    size_t i = 1;
    for (; i < rest.size() && rest[i] != quote; ++i) {
      if (rest[i] != '\\' || i + 1 == rest.size()) {
        value.push_back(rest[i]);
        continue;
      }
      char escape = rest[++i];
      static constexpr llvm::StringRef from = "nrtbfav0\\'\"", to = {"\n\r\t\b\f\a\v\0\\'\"", 11};
      unsigned digits = escape == 'x' ? 2 : escape == 'u' ? 4 : escape == 'U' ? 8 : 0;
      uint32_t code;
      if (size_t known = from.find(escape); known != llvm::StringRef::npos) {
        value.push_back(to[known]);
      } else if (digits && i + digits < rest.size() && !rest.substr(i + 1, digits).getAsInteger(16, code)) {
        char buffer[4], *end = buffer;
        if (llvm::ConvertCodePointToUTF8(code, end))
          value.append(buffer, end);
        i += digits;
      } else if (escape != '\n') {
        value += {'\\', escape};
      }
    }
    if (i >= rest.size())
      return error("a string is not closed");
    tokens.push_back({TokenKind::String, value, line});
    advance(i + 1);
    return llvm::Error::success();
  }

  std::string normalised;
  llvm::StringRef source;
  size_t at = 0;
  unsigned line = 1;
  std::vector<TemplateToken> tokens;
};

} // namespace

llvm::Expected<std::vector<TemplateToken>> sluice::lexTemplate(llvm::StringRef source) { return Lexer(source).run(); }
