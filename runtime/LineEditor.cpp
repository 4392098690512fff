//===- LineEditor.cpp - a line of text from a terminal, with editing -----------------===//

#include "runtime/LineEditor.h"
#include "runtime/Streams.h"
#include "runtime/Utf8.h"
#include <cerrno>
#include <cstdlib>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

using namespace sluice::runtime;

namespace {
// Keys arrive one by one, unechoed, while this lives. Pasted text arrives between marks.
class RawMode {
public:
  RawMode() {
    ok = tcgetattr(STDIN_FILENO, &before) == 0;
    termios raw = before;
    raw.c_iflag &= ~(BRKINT | ICRNL | INPCK | ISTRIP | IXON);
    raw.c_lflag &= ~(ECHO | ICANON | IEXTEN | ISIG);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    ok = ok && tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
    if (ok)
      writeOut("\x1b[?2004h");
  }
  ~RawMode() {
    if (!ok)
      return;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
    [[maybe_unused]] ssize_t written = write(STDOUT_FILENO, "\x1b[?2004l", 8);
  }
  bool ok;

private:
  termios before;
};
} // namespace

static size_t terminalColumns() {
  winsize size;
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

ScreenPosition ScreenPosition::after(std::string_view text, size_t columns) {
  ScreenPosition position;
  while (!text.empty()) {
    Utf8Character character = Utf8Character::at(text);
    text.remove_prefix(character.bytes);
    if (character.point == '\n') {
      position = {position.row + 1, 0};
      continue;
    }
    size_t width = columnsOf(character.point);
    if (position.column + width > columns)
      position = {position.row + 1, 0};
    position.column += width;
  }
  // A terminal wraps when the next character comes; refresh() makes it wrap at once.
  if (position.column >= columns)
    position = {position.row + 1, 0};
  return position;
}

LineEditor::LineEditor() {
  const char *terminal = std::getenv("TERM");
  capable = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && !(terminal && std::string_view(terminal) == "dumb");
}

// Tabs move the cursor by amounts that depend on where they stand: shown as one space.
static std::string shownAs(std::string_view text) {
  std::string shown(text);
  for (char &c : shown)
    if (c == '\t')
      c = ' ';
  return shown;
}

void LineEditor::refresh(const std::string &prompt) {
  const size_t columns = terminalColumns();
  const std::string all = prompt + shownAs(buffer.text());
  const ScreenPosition end = ScreenPosition::after(all, columns);
  const ScreenPosition cursor =
      ScreenPosition::after(std::string_view(all).substr(0, prompt.size() + buffer.cursor()), columns);

  std::string out = "\r";
  if (cursorRow)
    out += "\x1b[" + std::to_string(cursorRow) + "A";
  out += "\x1b[J"; // clear to the end of the screen
  for (char c : all)
    out += c == '\n' ? "\r\n" : std::string(1, c);
  if (end.row && end.column == 0 && all.back() != '\n')
    out += "\r\n";
  if (end.row > cursor.row)
    out += "\x1b[" + std::to_string(end.row - cursor.row) + "A";
  out += "\r";
  if (cursor.column)
    out += "\x1b[" + std::to_string(cursor.column) + "C";
  cursorRow = cursor.row;
  writeOut(out);
}

LineEditor::Result LineEditor::readPlain(const std::string &prompt, std::string &line) {
  writeOut(prompt);
  line.clear();
  for (;;) {
    char byte;
    ssize_t got = ::read(STDIN_FILENO, &byte, 1);
    if (got < 0 && errno == EINTR)
      return Result::Interrupted;
    if (got <= 0)
      return line.empty() ? Result::EndOfInput : Result::Line;
    if (byte == '\n')
      return Result::Line;
    line += byte;
  }
}

LineEditor::Result LineEditor::read(const std::string &prompt, std::string &line) {
  if (!capable)
    return readPlain(prompt, line);
  RawMode raw;
  if (!raw.ok)
    return readPlain(prompt, line);
  buffer.start();
  cursorRow = 0;
  refresh(prompt);
  Result result = Result::EndOfInput;
  for (bool done = false; !done;) {
    char byte;
    ssize_t got = ::read(STDIN_FILENO, &byte, 1);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      break;
    switch (buffer.feed(byte)) {
    case LineBuffer::Event::None:
      break;
    case LineBuffer::Event::Clear:
      writeOut("\x1b[H\x1b[2J");
      cursorRow = 0;
      break;
    case LineBuffer::Event::Accept:
      result = Result::Line;
      done = true;
      break;
    case LineBuffer::Event::Interrupt:
      result = Result::Interrupted;
      done = true;
      break;
    case LineBuffer::Event::EndOfInput:
      done = true;
      break;
    }
    // Pasted text comes in one piece: it is drawn once.
    int waiting = 0;
    if (done || ioctl(STDIN_FILENO, FIONREAD, &waiting) != 0 || waiting == 0)
      refresh(prompt);
  }
  line = buffer.text();
  if (result == Result::Line)
    buffer.remember(line);
  // The answer begins below the last row of the line.
  size_t lastRow = ScreenPosition::after(prompt + shownAs(line), terminalColumns()).row;
  std::string down;
  if (lastRow > cursorRow)
    down = "\x1b[" + std::to_string(lastRow - cursorRow) + "B";
  writeOut(down + "\r\n");
  return result;
}
