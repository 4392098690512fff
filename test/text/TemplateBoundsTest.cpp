//===- TemplateBoundsTest.cpp - templates that never end, or want all memory ----------------------===//
//
// A template is a stranger's program. Each of these must end in an error, in seconds and in bounded memory.
//
//===--------------------------------------------------------------------------------------------===//

#include "compiler/text/TemplateCompiler.h"
#include "runtime/ChatTemplate.h"
#include <ctime>
#include <gtest/gtest.h>
#include <sys/resource.h>

using namespace sluice;

namespace {

struct Endless {
  const char *name, *source, *error;
};

class TemplateBounds : public testing::TestWithParam<Endless> {};

const Endless all[] = {
    {"MacroThatCallsItself", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nested"},
    {"MacrosThatCallEachOther", "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ b() }}",
     "nested"},
    {"MacroThatCallsItselfTwice", "{% macro m(n) %}{{ m(n) ~ m(n) if n < 300 }}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
     "nested"},
    {"CallerThatCallsItself",
     "{% macro m() %}{{ caller() }}{% endmacro %}{% macro n() %}{% call m() %}{{ n() }}{% endcall "
     "%}{% endmacro %}{{ n() }}",
     "nested"},
    {"LoopsInLoops",
     "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% "
     "endfor %}",
     "runs for too long"},
    {"LongRange", "{% for a in range(9223372036854775807) %}{% endfor %}", ""},
    {"RangeOfStepZero", "{% for a in range(0, 10, 0) %}{% endfor %}", ""},
    {"TextThatDoubles",
     "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s|length "
     "}}",
     ""},
    {"ListThatDoubles",
     "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s|length }}",
     ""},
    {"ListOfItself",
     "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}", ""},
    {"TextTimesMuch", "{{ 'a' * 9223372036854775807 }}", ""},
    {"ListTimesMuch", "{{ ([1] * 4611686018427387904)|length }}", ""},
    {"OutputWithoutEnd", "{% set s = 'a' * 1000000 %}{% for i in range(99999) %}{{ s }}{% endfor %}", ""},
    {"ReplacementsThatMultiply",
     "{% set ns = namespace(s='a') %}{% for i in range(99) %}{% set ns.s = ns.s|replace('a', 'aaaaaaaa') %}{% endfor "
     "%}",
     ""},
    {"NothingReplacedByMuch", "{% set s = 'a' * 1000000 %}{{ s|replace('', s)|length }}", ""},
    {"JoinOfMuch", "{% set s = 'a' * 1000000 %}{{ (([s] * 1000)|join(s))|length }}", ""},
    {"IndentOfMuch", "{{ ('a\n' * 1000000)|indent(1000000) }}", ""},
    {"WideText", "{{ 'a'|center(9223372036854775807) }}", ""},
    {"JsonOfItself", "{% set ns = namespace() %}{% set ns.a = [ns] %}{{ {'a': ns}|tojson }}{{ ns.a }}", ""},
};

} // namespace

TEST_P(TemplateBounds, EndInAnError) {
  const clock_t start = clock(); // of the processor: other processes do not count
  llvm::Expected<std::vector<uint8_t>> section = compileTemplate(GetParam().source);
  std::string error;
  if (!section) {
    error = llvm::toString(section.takeError());
  } else {
    try {
      std::string text = ChatTemplate(*section).render({}, true, "", "");
      error = "none: " + std::to_string(text.size()) + " bytes: " + text.substr(0, 100);
    } catch (const std::runtime_error &thrown) {
      error = thrown.what();
    }
  }
  EXPECT_FALSE(error.starts_with("none")) << error.substr(0, 200);
  EXPECT_NE(error.find(GetParam().error), std::string::npos) << error;
  EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  EXPECT_LT(clock() - start, 30 * CLOCKS_PER_SEC);
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  EXPECT_LT(usage.ru_maxrss, 1100 << 10) << "KiB";
}

INSTANTIATE_TEST_SUITE_P(All, TemplateBounds, testing::ValuesIn(all), [](const auto &info) { return info.param.name; });
