//===- TextTest.cpp - UTF-8, the line editor, numbers in text, NumPy files ----------------===//

#include "runtime/Commands.h"
#include "runtime/Error.h"
#include "runtime/LineEditor.h"
#include "runtime/Npy.h"
#include "runtime/Utf8.h"
#include <cstring>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <unistd.h>

using namespace sluice::runtime;

TEST(Utf8Stream, GivesWholeCharactersHoweverTheBytesAreCut) {
  const std::string text = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80z";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    Utf8Stream stream;
    std::string first = stream.push(text.substr(0, cut)), second = stream.push(text.substr(cut));
    EXPECT_EQ(first + second + stream.finish(), text);
    EXPECT_EQ(text.compare(0, first.size(), first), 0);
    for (const std::string &part : {first, second})
      EXPECT_TRUE(part.empty() || (part[0] & 0xC0) != 0x80) << "cut at " << cut;
  }
}

TEST(Utf8Stream, ReplacesWhatIsNotUtf8) {
  const std::string r = "\xEF\xBF\xBD";
  const std::pair<std::string, std::string> cases[] = {
      {"\xFFz", r + "z"},
      {"\xC3(", r + "("},
      {"\xE2\x82z", r + "z"},
      {"\xC0\x80", r + r},                 // overlong
      {"\xED\xA0\x80", r + r + r},         // a surrogate
      {"\xF4\x90\x80\x80", r + r + r + r}, // above U+10FFFF
      {std::string("a\0b", 3), std::string("a\0b", 3)},
      {"\xE2\x82", r}, // ends inside a character
  };
  for (const auto &[bytes, expected] : cases) {
    Utf8Stream stream;
    std::string out;
    for (char byte : bytes)
      out += stream.push({&byte, 1});
    EXPECT_EQ(out + stream.finish(), expected);
  }
}

TEST(Utf8, ShowsControlCharactersAsCodes) {
  EXPECT_EQ(printable("a\x1b[2J\n\x7f\xC2\x9b\xC3\x9b"), "a\\x1b[2J\\x0a\\x7f\\x9b\xC3\x9b");
  EXPECT_EQ(printable("a\u202Eb\u2069\u2028"), "a\\u202eb\\u2069\u2028");
  EXPECT_EQ(printable(std::string_view("\0\xC2", 2)), "\\x00\xEF\xBF\xBD");
}

TEST(Utf8, KnowsColumns) {
  EXPECT_EQ(columnsOf('a'), 1);
  EXPECT_EQ(columnsOf(0xE9), 1);
  EXPECT_EQ(columnsOf(0x0301), 0);
  EXPECT_EQ(columnsOf(0x4E2D), 2);
  EXPECT_EQ(columnsOf(0x1F600), 2);
}

namespace {
struct Typed {
  LineBuffer buffer;
  LineBuffer::Event last = LineBuffer::Event::None;
  explicit Typed(std::string_view keys, LineBuffer start = {}) : buffer(std::move(start)) {
    buffer.start();
    for (char key : keys)
      last = buffer.feed(key);
  }
};
} // namespace

TEST(LineBuffer, Edits) {
  const std::pair<std::string, std::string> cases[] = {
      {"hello", "hello"},
      {"helo\x1b[Dl", "hello"},         // left
      {"helo\x1bODl", "hello"},         // left, application mode
      {"ello\x01h", "hello"},           // Ctrl-A
      {"ello\x1b[Hh\x1b[F!", "hello!"}, // Home, End
      {"ello\x1b[1~h\x1b[4~!", "hello!"},
      {"hello\x7f\x08", "hel"},                     // Backspace
      {"hello\x01\x1b[3~", "ello"},                 // Delete
      {"hello\x01\x04", "ello"},                    // Ctrl-D
      {"hello world\x17", "hello "},                // Ctrl-W
      {"hello world\x1b[D\x1b[D\x0b", "hello wor"}, // Ctrl-K
      {"hello world\x1b[D\x1b[D\x15", "ld"},        // Ctrl-U
      {"caf\xC3\xA9\x7f", "caf"},                   // a character, not a byte
      {"\xC3\xA9t\x02\x02x", "x\xC3\xA9t"},         // Ctrl-B
      {"\x06"
       "a\x02\x06"
       "b",
       "ab"},                            // Ctrl-F stops at the end
      {"a\xFF\xC3(b", "ab"},             // no UTF-8 enters (the byte after a broken lead goes with it)
      {"a\x1b[99~\x1b[1;5Cb", "ab"},     // unknown sequences
      {"\x7f\x1b[D\x1b[3~\x17\x0b", ""}, // on an empty line
  };
  for (const auto &[keys, expected] : cases)
    EXPECT_EQ(Typed(keys).buffer.text(), expected) << testing::PrintToString(keys);
}

TEST(LineBuffer, Ends) {
  EXPECT_EQ(Typed("ab\r").last, LineBuffer::Event::Accept);
  EXPECT_EQ(Typed("ab\x03").last, LineBuffer::Event::Interrupt);
  EXPECT_EQ(Typed("\x04").last, LineBuffer::Event::EndOfInput);
  EXPECT_EQ(Typed("ab\x04").last, LineBuffer::Event::None);
  EXPECT_EQ(Typed("ab\x0c").last, LineBuffer::Event::Clear);
}

TEST(LineBuffer, KeepsPastedNewlines) {
  Typed typed("x\x1b[200~one\rtwo\x1b[Z\nthree\x1b[201~y");
  EXPECT_EQ(typed.buffer.text(), "xone\ntwo[Z\nthreey");
  EXPECT_EQ(typed.last, LineBuffer::Event::None);
  EXPECT_EQ(Typed("\x1b[200~a\x1b\x1b[201~\r").last, LineBuffer::Event::Accept);
}

TEST(LineBuffer, Remembers) {
  LineBuffer history;
  for (const char *line : {"one", "two", "two"})
    history.remember(line);
  EXPECT_EQ(Typed("\x1b[A", history).buffer.text(), "two");
  EXPECT_EQ(Typed("\x1b[A\x1b[A", history).buffer.text(), "one");
  EXPECT_EQ(Typed("\x10\x10\x10", history).buffer.text(), "one");
  EXPECT_EQ(Typed("dra\x1b[A\x1b[Bft", history).buffer.text(), "draft");
  EXPECT_EQ(Typed("\x1b[A!", history).buffer.text(), "two!");
}

TEST(ScreenPosition, CountsRowsAndColumns) {
  auto at = [](std::string_view text) {
    ScreenPosition p = ScreenPosition::after(text, 10);
    return std::pair(p.row, p.column);
  };
  EXPECT_EQ(at(""), std::pair(size_t(0), size_t(0)));
  EXPECT_EQ(at("123456789"), std::pair(size_t(0), size_t(9)));
  EXPECT_EQ(at("1234567890"), std::pair(size_t(1), size_t(0)));
  EXPECT_EQ(at("12345678901"), std::pair(size_t(1), size_t(1)));
  EXPECT_EQ(at("ab\nc"), std::pair(size_t(1), size_t(1)));
  EXPECT_EQ(at("123456789\xE4\xB8\xAD"), std::pair(size_t(1), size_t(2))); // a wide character does not straddle
}

TEST(TokenIds, AreSeparatedBySpacesCommasOrLines) {
  EXPECT_EQ(parseTokenIds(" 1, 2,3\n4\t5\r\n", "f"), (std::vector<int32_t>{1, 2, 3, 4, 5}));
  EXPECT_TRUE(parseTokenIds(" \n", "f").empty());
  for (const char *bad : {"1 x", "1.5", "99999999999", "0x10", "1-2"}) {
    try {
      parseTokenIds(bad, "ids.txt");
      ADD_FAILURE() << bad;
    } catch (const Error &error) {
      EXPECT_EQ(std::string(error.what()).find("ids.txt: expected token ids, got '"), 0u) << error.what();
    }
  }
}

TEST(ReadableBytes, PicksAUnit) {
  EXPECT_EQ(readableBytes(1023), "1023 bytes");
  EXPECT_EQ(readableBytes(1536), "1.5 KiB");
  EXPECT_EQ(readableBytes(uint64_t(3) << 30), "3.0 GiB");
}

static std::string contentsOf(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Npy, WritesTheFormat) {
  const std::string path = testing::TempDir() + "sluice-" + std::to_string(getpid()) + ".npy";
  for (uint64_t rows : {1, 12345678}) { // headers of different lengths
    NpyWriter writer(path);
    writer.begin(rows, 3);
    const float row[] = {1.5f, -2, 1e-3f};
    writer.append(row);
    writer.finish();
    const std::string bytes = contentsOf(path);
    std::remove(path.c_str());
    ASSERT_GT(bytes.size(), 10u);
    EXPECT_EQ(bytes.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
    const size_t header = static_cast<unsigned char>(bytes[8]) + 256 * static_cast<unsigned char>(bytes[9]);
    EXPECT_EQ((10 + header) % 64, 0u);
    EXPECT_EQ(bytes[9 + header], '\n');
    EXPECT_NE(bytes.find("'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(rows) + ", 3)"),
              std::string::npos);
    ASSERT_EQ(bytes.size(), 10 + header + sizeof row);
    EXPECT_EQ(std::memcmp(bytes.data() + 10 + header, row, sizeof row), 0);
  }
}

TEST(Npy, LeavesNoFileBehind) {
  const std::string path = testing::TempDir() + "sluice-" + std::to_string(getpid()) + ".npy";
  { NpyWriter(path).begin(2, 3); }
  EXPECT_NE(access(path.c_str(), F_OK), 0);
  EXPECT_THROW(NpyWriter("/nowhere/at/all.npy"), Error);
}
