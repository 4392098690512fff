//===- LineBuffer.cpp - keys become edits of a line ----------------------------------===//

#include "runtime/LineEditor.h"
#include "runtime/Utf8.h"
#include <algorithm>

using namespace sluice::runtime;

void LineBuffer::start() {
  line.clear();
  partial.clear();
  sequence.clear();
  pasteEnd.clear();
  state = State::Text;
  at = 0;
  shown = history.size();
}

void LineBuffer::remember(const std::string &text) {
  if (!text.empty() && (history.empty() || history.back() != text))
    history.push_back(text);
}

size_t LineBuffer::before() const {
  size_t to = at;
  while (to > 0 && (static_cast<unsigned char>(line[--to]) & 0xC0) == 0x80)
    ;
  return to;
}

size_t LineBuffer::after() const {
  return at < line.size() ? at + Utf8Character::at(std::string_view(line).substr(at)).bytes : at;
}

void LineBuffer::insert(std::string_view bytes) {
  line.insert(at, bytes);
  at += bytes.size();
}

void LineBuffer::moveLeft() { at = before(); }
void LineBuffer::moveRight() { at = after(); }

void LineBuffer::eraseLeft() {
  size_t from = before();
  line.erase(from, at - from);
  at = from;
}

void LineBuffer::eraseRight() { line.erase(at, after() - at); }

void LineBuffer::eraseWord() {
  size_t from = at;
  while (from > 0 && line[from - 1] == ' ')
    --from;
  while (from > 0 && line[from - 1] != ' ')
    --from;
  line.erase(from, at - from);
  at = from;
}

void LineBuffer::recall(size_t entry) {
  if (shown == history.size())
    draft = line;
  shown = entry;
  line = entry == history.size() ? draft : history[entry];
  at = line.size();
}

LineBuffer::Event LineBuffer::feed(char byte) {
  switch (state) {
  case State::Text:
    return key(byte);
  case State::Escape:
    // Alt with a key sends Escape and the key; only the terminal's own sequences mean something here.
    sequence.clear();
    state = byte == '[' || byte == 'O' ? State::Sequence : State::Text;
    return Event::None;
  case State::Sequence:
    sequence += byte;
    if (byte >= 0x40 && byte <= 0x7E)
      escape(byte);
    return Event::None;
  case State::Paste:
    static constexpr std::string_view end = "\x1b[201~";
    pasteEnd += byte;
    if (pasteEnd == end) {
      state = State::Text;
      pasteEnd.clear();
    } else if (!end.starts_with(pasteEnd)) {
      std::replace(pasteEnd.begin(), pasteEnd.end(), '\r', '\n');
      // What looked like the end was text, but its last byte may begin the end.
      bool again = pasteEnd.size() > 1 && byte == '\x1b';
      for (char c : pasteEnd.substr(0, pasteEnd.size() - again))
        if (static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t')
          insert({&c, 1});
      pasteEnd.assign(again ? "\x1b" : "");
    }
    return Event::None;
  }
  return Event::None;
}

void LineBuffer::escape(char byte) {
  state = State::Text;
  if (sequence == "200~")
    state = State::Paste;
  else if (sequence == "3~")
    eraseRight();
  else if (sequence == "1~" || sequence == "7~" || byte == 'H')
    at = 0;
  else if (sequence == "4~" || sequence == "8~" || byte == 'F')
    at = line.size();
  else if (byte == 'A' && shown > 0)
    recall(shown - 1);
  else if (byte == 'B' && shown < history.size())
    recall(shown + 1);
  else if (byte == 'C')
    moveRight();
  else if (byte == 'D')
    moveLeft();
}

LineBuffer::Event LineBuffer::key(char byte) {
  auto control = [](char letter) { return char(letter & 31); };
  if (byte == '\x1b') {
    partial.clear();
    state = State::Escape;
  } else if (byte == '\r' || byte == '\n') {
    return Event::Accept;
  } else if (byte == control('C')) {
    return Event::Interrupt;
  } else if (byte == control('D')) {
    if (line.empty())
      return Event::EndOfInput;
    eraseRight();
  } else if (byte == control('A')) {
    at = 0;
  } else if (byte == control('E')) {
    at = line.size();
  } else if (byte == control('B')) {
    moveLeft();
  } else if (byte == control('F')) {
    moveRight();
  } else if (byte == control('H') || byte == 127) {
    eraseLeft();
  } else if (byte == control('K')) {
    line.erase(at);
  } else if (byte == control('U')) {
    line.erase(0, at);
    at = 0;
  } else if (byte == control('W')) {
    eraseWord();
  } else if (byte == control('P')) {
    if (shown > 0)
      recall(shown - 1);
  } else if (byte == control('N')) {
    if (shown < history.size())
      recall(shown + 1);
  } else if (byte == control('L')) {
    return Event::Clear;
  } else if (static_cast<unsigned char>(byte) >= 0x20 || byte == '\t') {
    // A character enters the line whole, so that the cursor never stands inside one.
    partial += byte;
    Utf8Character character = Utf8Character::at(partial);
    if (character.kind == Utf8Character::Complete)
      insert(partial);
    if (character.kind != Utf8Character::Incomplete)
      partial.clear();
  }
  return Event::None;
}
