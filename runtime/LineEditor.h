//===- LineEditor.h - a line of text from a terminal, with editing -------------------===//
//
// Needs no terminal description: only sequences that every terminal of the last decades knows. The usual keys: arrows,
// Home, End, Delete, Ctrl-A -B -D -E -F -H -K -N -P -U -W -L; pasted newlines stay in the line.
//
//===------------------------------------------------------------------------------===//
#ifndef SLUICE_RUNTIME_LINEEDITOR_H
#define SLUICE_RUNTIME_LINEEDITOR_H

#include <string>
#include <string_view>
#include <vector>

namespace sluice::runtime {

// The line being edited: keys in, text and cursor out. Knows nothing of terminals.
class LineBuffer {
public:
  enum class Event { None, Accept, Interrupt, EndOfInput, Clear };
  // Takes one byte of what the terminal sends.
  Event feed(char byte);

  const std::string &text() const { return line; }
  size_t cursor() const { return at; }    // a byte offset on a character's boundary
  void start();                           // an empty line
  void remember(const std::string &text); // for the up arrow

private:
  Event key(char byte);
  void escape(char byte);
  void insert(std::string_view bytes);
  void moveLeft();
  void moveRight();
  void eraseLeft();
  void eraseRight();
  void eraseWord();
  void recall(size_t entry);
  size_t before() const; // start of the character left of the cursor
  size_t after() const;  // end of the character right of it

  std::string line, partial, sequence, draft;
  size_t at = 0;
  std::vector<std::string> history;
  size_t shown = 0; // entry of history, history.size() for the line being written
  enum class State { Text, Escape, Sequence, Paste } state = State::Text;
  std::string pasteEnd;
};

class LineEditor {
public:
  LineEditor();
  enum class Result { Line, Interrupted, EndOfInput };
  // Shows `prompt`, which is ASCII, and reads a line. Without a capable terminal it just reads one.
  Result read(const std::string &prompt, std::string &line);

private:
  Result readPlain(const std::string &prompt, std::string &line);
  void refresh(const std::string &prompt);

  bool capable;
  LineBuffer buffer;
  size_t cursorRow = 0; // of the screen, relative to the prompt's
};

// Where the cursor stands after `text` printed from column 0 of a terminal of `columns`.
struct ScreenPosition {
  size_t row = 0, column = 0;
  static ScreenPosition after(std::string_view text, size_t columns);
};

} // namespace sluice::runtime
#endif
