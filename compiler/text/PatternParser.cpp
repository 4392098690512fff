//===- PatternParser.cpp - a regular expression as a tree -----------------------------------===//

#include "compiler/text/PatternParser.h"
#include "llvm/Support/ConvertUTF.h"
#include <climits>

using namespace sluice;
using Node = PatternNode;
using NodePtr = std::unique_ptr<PatternNode>;

namespace {

constexpr unsigned unlimited = UINT_MAX, mostRepeats = 1000, mostDepth = 100;

// Outside of a class Oniguruma counts Latin-1's superscripts and fractions among the characters of words.
constexpr const char *word = "[[:Alphabetic:][:M:][:Nd:][:Pc:]]",
                     *wordAlone = "[[:Alphabetic:][:M:][:Nd:][:Pc:]\\u00B2\\u00B3\\u00B9\\u00BC-\\u00BE]";

struct PatternError {
  std::string message;
};

class Parser {
public:
  explicit Parser(llvm::StringRef source) : source(source) {}

  NodePtr parse() {
    NodePtr root = parseAlternatives(false);
    if (!atEnd())
      fail("an unmatched ')'");
    return root;
  }

private:
  [[noreturn]] static void fail(const llvm::Twine &what) { throw PatternError{what.str()}; }
  [[noreturn]] static void unsupported(const llvm::Twine &what) { fail(what + ", which is not supported"); }

  //===-- Characters --------------------------------------------------------------------------===//
  bool atEnd() const { return source.empty(); }
  bool accept(llvm::StringRef text) { return source.consume_front(text); }
  UChar32 take() {
    const auto *at = reinterpret_cast<const llvm::UTF8 *>(source.begin()), *end = at + source.size();
    llvm::UTF32 point;
    const auto *start = at;
    if (llvm::convertUTF8Sequence(&at, end, &point, llvm::strictConversion) != llvm::conversionOK)
      fail("bytes that are not UTF-8");
    source = source.drop_front(size_t(at - start));
    return UChar32(point);
  }
  unsigned number() {
    unsigned value;
    if (source.consumeInteger(10, value) || value > mostRepeats)
      fail("a repeat count that is not from 0 to " + llvm::Twine(mostRepeats));
    return value;
  }

  static icu::UnicodeSet named(const std::string &pattern) {
    UErrorCode status = U_ZERO_ERROR;
    icu::UnicodeSet set(icu::UnicodeString::fromUTF8(pattern), status);
    if (U_FAILURE(status))
      fail("an unknown class " + pattern);
    return set;
  }
  static icu::UnicodeSet inverse(icu::UnicodeSet set) {
    set.complement().removeAllStrings();
    return set;
  }
  icu::UnicodeSet cased(icu::UnicodeSet set, bool ignoreCase) const {
    if (ignoreCase)
      set.closeOver(USET_CASE_INSENSITIVE).removeAllStrings();
    return set;
  }

  // What follows a backslash.
  icu::UnicodeSet escape(bool inClass = false) {
    if (atEnd())
      fail("a backslash at its end");
    UChar32 c = take();
    switch (c) {
    case 's':
      return named("[[:White_Space:]]");
    case 'S':
      return inverse(named("[[:White_Space:]]"));
    case 'd':
      return named("[[:Nd:]]");
    case 'D':
      return inverse(named("[[:Nd:]]"));
    case 'w':
      return named(inClass ? word : wordAlone);
    case 'W':
      return inverse(named(inClass ? word : wordAlone));
    case 'h':
    case 'H':
    case 'R':
    case 'X':
    case 'b':
    case 'B':
    case 'A':
    case 'z':
    case 'Z':
    case 'G':
    case 'K':
    case 'k':
    case 'g':
      unsupported("\\" + llvm::Twine(char(c)));
    case 'p':
    case 'P': {
      std::string name;
      if (accept("{")) {
        size_t close = source.find('}');
        if (close == llvm::StringRef::npos)
          fail("an unclosed \\p{");
        name = source.take_front(close).str();
        source = source.drop_front(close + 1);
      } else {
        name = std::string(1, char(take()));
      }
      bool negated = c == 'P';
      if (llvm::StringRef(name).starts_with("^")) {
        negated = !negated;
        name.erase(0, 1);
      }
      icu::UnicodeSet set = named("[\\p{" + name + "}]");
      return negated ? inverse(set) : set;
    }
    case 'x':
    case 'u': {
      llvm::StringRef digits;
      if (c == 'x' && accept("{")) {
        digits = source.take_until([](char x) { return x == '}'; });
        source = source.drop_front(std::min(digits.size() + 1, source.size()));
      } else {
        digits = source.take_front(c == 'x' ? 2 : 4);
        source = source.drop_front(digits.size());
      }
      uint32_t point;
      if (digits.getAsInteger(16, point) || point > 0x10FFFF)
        fail("an escape of no code point");
      return icu::UnicodeSet(UChar32(point), UChar32(point));
    }
    default: {
      static constexpr llvm::StringLiteral letters = "nrtfvae", values = "\n\r\t\f\v\a\x1b";
      size_t known = c < 0x80 ? letters.find(char(c)) : llvm::StringRef::npos;
      if (known != llvm::StringRef::npos)
        c = values[known];
      else if (c < 0x80 && isalnum(int(c)))
        unsupported("\\" + llvm::Twine(char(c)));
      return icu::UnicodeSet(c, c);
    }
    }
  }

  // Behind the opening bracket.
  icu::UnicodeSet characterClass() {
    if (++depth > mostDepth)
      fail("classes nested too deeply");
    bool negated = accept("^");
    icu::UnicodeSet all, current;
    bool intersects = false;
    auto close = [&] {
      if (intersects)
        all.retainAll(current);
      else
        all = current;
    };
    for (bool first = true; first || !source.starts_with("]"); first = false) {
      if (atEnd())
        fail("an unclosed class");
      if (accept("&&")) {
        close();
        intersects = true;
        current.clear();
        continue;
      }
      if (accept("[:")) {
        size_t end = source.find(":]");
        if (end == llvm::StringRef::npos)
          fail("an unclosed class");
        current.addAll(named("[[:" + source.take_front(end).str() + ":]]"));
        source = source.drop_front(end + 2);
        continue;
      }
      if (accept("[")) {
        current.addAll(characterClass());
        continue;
      }
      icu::UnicodeSet item = accept("\\") ? escape(true) : single(take());
      if (item.size() == 1 && source.starts_with("-") && !source.starts_with("-]")) {
        source = source.drop_front();
        icu::UnicodeSet last = accept("\\") ? escape(true) : single(take());
        if (last.size() != 1 || last.charAt(0) < item.charAt(0))
          fail("a range that has no last character");
        current.add(item.charAt(0), last.charAt(0));
      } else {
        current.addAll(item);
      }
    }
    source = source.drop_front();
    close();
    --depth;
    return negated ? inverse(all) : all;
  }
  static icu::UnicodeSet single(UChar32 c) { return icu::UnicodeSet(c, c); }

  //===-- The tree ----------------------------------------------------------------------------===//
  static NodePtr make(Node::Kind kind) { return NodePtr(new Node{kind}); }
  static NodePtr characters(const icu::UnicodeSet &set) {
    NodePtr node = make(Node::Characters);
    node->set = set;
    return node;
  }

  NodePtr parseAlternatives(bool ignoreCase) {
    if (++depth > mostDepth)
      fail("groups nested too deeply");
    NodePtr all = make(Node::Alternatives);
    do
      all->children.push_back(parseSequence(ignoreCase));
    while (accept("|"));
    --depth;
    return all->children.size() == 1 ? std::move(all->children[0]) : std::move(all);
  }

  NodePtr parseSequence(bool &ignoreCase) {
    NodePtr sequence = make(Node::Sequence);
    while (!atEnd() && !source.starts_with("|") && !source.starts_with(")")) {
      if (accept("(?i)")) { // up to the end of the group
        ignoreCase = true;
        continue;
      }
      sequence->children.push_back(parseRepeats(parseAtom(ignoreCase)));
    }
    return sequence;
  }

  NodePtr parseRepeats(NodePtr atom) {
    for (;;) {
      NodePtr repeat = make(Node::Repeat);
      if (accept("*")) {
        repeat->most = unlimited;
      } else if (accept("+")) {
        repeat->least = 1;
        repeat->most = unlimited;
      } else if (accept("?")) {
        repeat->most = 1;
      } else if (accept("{")) {
        repeat->least = source.starts_with(",") ? 0 : number();
        repeat->most = !accept(",") ? repeat->least : source.starts_with("}") ? unlimited : number();
        if (!accept("}") || repeat->most < repeat->least)
          fail("a repeat that is not {n,m}");
      } else {
        return atom;
      }
      if (source.starts_with("+"))
        unsupported("a possessive repeat or a repeat of a repeat");
      repeat->lazy = accept("?");
      if (atom->kind == Node::LookAhead)
        unsupported("a repeat of an assertion");
      repeat->children.push_back(std::move(atom));
      atom = std::move(repeat);
    }
  }

  NodePtr parseAtom(bool ignoreCase) {
    if (accept("(")) {
      NodePtr inner;
      if (accept("?:"))
        inner = parseAlternatives(ignoreCase);
      else if (accept("?i:"))
        inner = parseAlternatives(true);
      else if (accept("?-i:"))
        inner = parseAlternatives(false);
      else if (accept("?="))
        inner = lookAhead(*parseAlternatives(ignoreCase), false);
      else if (accept("?!"))
        inner = lookAhead(*parseAlternatives(ignoreCase), true);
      else if (source.starts_with("?"))
        unsupported("(" + source.take_front(3));
      else
        inner = parseAlternatives(ignoreCase);
      if (!accept(")"))
        fail("an unclosed '('");
      return inner;
    }
    if (accept("["))
      return characters(cased(characterClass(), ignoreCase));
    if (accept("."))
      return characters(inverse(single('\n')));
    if (accept("$")) { // before a line's end
      NodePtr node = make(Node::LookAhead);
      node->set = single('\n');
      node->atEnd = true;
      return node;
    }
    if (accept("\\"))
      return characters(cased(escape(), ignoreCase));
    if (source.starts_with("^") || source.starts_with("*") || source.starts_with("+") || source.starts_with("?"))
      unsupported("'" + source.take_front(1) + "'");
    return characters(cased(single(take()), ignoreCase));
  }

  // An assertion about the next character. `inner` must be about no more.
  static NodePtr lookAhead(const Node &inner, bool negated) {
    NodePtr node = make(Node::LookAhead);
    collect(inner, *node);
    if (negated) {
      node->set = inverse(node->set);
      node->atEnd = !node->atEnd;
    }
    return node;
  }
  static void collect(const Node &inner, Node &ahead) {
    if (inner.kind == Node::Characters || inner.kind == Node::LookAhead) {
      ahead.set.addAll(inner.set);
      ahead.atEnd |= inner.atEnd;
    } else if (inner.kind == Node::Alternatives) {
      for (const NodePtr &child : inner.children)
        collect(*child, ahead);
    } else if (inner.kind == Node::Sequence && inner.children.size() == 1) {
      collect(*inner.children[0], ahead);
    } else if (inner.kind == Node::Repeat && inner.least == 1) {
      collect(*inner.children[0], ahead);
    } else {
      unsupported("looking ahead at more than one character");
    }
  }

  llvm::StringRef source;
  unsigned depth = 0;
};

} // namespace

llvm::Expected<NodePtr> sluice::parsePattern(llvm::StringRef pattern) {
  try {
    return Parser(pattern).parse();
  } catch (const PatternError &error) {
    return llvm::createStringError("the pattern '" + pattern + "' has " + error.message);
  }
}
