// The inside of LineEditor, for its own files.
#pragma once

#include <histedit.h>

#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/cli/interactive/history.h"
#include "daemon/cli/interactive/keys.h"
#include "daemon/cli/interactive/line_editor.h"
#include "daemon/cli/interactive/line_layout.h"
#include "daemon/cli/interactive/paste_tokens.h"
#include "daemon/cli/interactive/terminal_guard.h"
#include "daemon/cli/terminal/screen.h"

namespace lares::cli {

struct LineEditor::State {
  State(Screen& s, const History& h, InputEvents e) : screen(s), history(h), events(std::move(e)) {}

  Screen& screen;
  const History& history;
  InputEvents events;
  KeyDecoder keys;
  std::string out, drawn, complaints;
  // What libedit writes to drawn, to complaints
  std::FILE *to_drawn = nullptr, *to_complaints = nullptr;
  EditLine* el = nullptr;
  std::optional<TerminalGuard> guard;
  std::wstring prompt_text = L"> ", shown_prompt;
  bool running = false, stopped = false, suspended = false;
  bool dirty = false;  // the line must be drawn anew, below what the screen has held back
  // The cursor is where the prompt begins, and nothing is drawn from there on
  bool at_origin = false;
  int width = 80, height = 24;
  int typed_ahead = 0;  // bytes that came before the terminal told Enter from Ctrl-J
  int cursor_row = 0;   // below where the prompt or the window begins, as the terminal shows it
  // What is shown was drawn here and not by libedit; of text that has more rows than the terminal a
  // window
  bool windowed = false;
  std::string shown_window;
  int window_top = 0;  // the text's row that is the window's first
  PasteTokens pastes;
  std::vector<Pasted> submitted_pasted;
  std::size_t recalled = 0;  // which entry of the history is shown; its size: none
  std::wstring draft;        // what was typed before one was recalled
  std::map<std::size_t, std::wstring> edited;  // entries as they were left, until one is submitted
  struct Aside {  // what was typed before a question, until that is answered
    std::wstring text;
    std::size_t cursor = 0;
    PasteTokens pastes;
    bool takes_paste = false;  // the one that had begun to come
    void insert(const std::wstring& what) {
      text.insert(cursor, what);
      cursor += what.size();
    }
  };
  std::optional<Aside> aside;
  struct Search {
    std::wstring pattern, before;
    std::size_t at;
    bool found = true;
  };
  std::wstring search_prompt() const;
  std::optional<Search> search;

  static State* of(EditLine* el);

  // ---- the buffer
  std::wstring_view text() const {
    const LineInfoW* line = ::el_wline(el);
    return {line->buffer, static_cast<std::size_t>(line->lastchar - line->buffer)};
  }
  std::size_t cursor() const {
    const LineInfoW* line = ::el_wline(el);
    return static_cast<std::size_t>(line->cursor - line->buffer);
  }
  void move_to(std::size_t at) {
    ::el_cursor(el, static_cast<int>(at) - static_cast<int>(cursor()));
  }
  // Does not draw.
  void replace(const std::wstring& with) {
    move_to(text().size());
    ::el_wdeletestr(el, static_cast<int>(text().size()));
    if (!with.empty()) ::el_winsertstr(el, with.c_str());
  }
  void insert(const std::wstring& what) {
    if (!what.empty()) ::el_winsertstr(el, what.c_str());
  }

  // ---- the screen: line_editor.cc
  int row_of(std::size_t at, int columns_max) const {
    return place_in_line(shown_prompt, text(), at, columns_max).row;
  }
  bool is_drawn_here() const;
  int row_now(int width_before) const;
  void measure();
  void go_to_origin();
  void draw();
  void draw_line();
  std::string window();
  void take_drawn(bool keep);
  void flush();

  void start();
  int read_key(wchar_t* out_key);
  std::wstring earlier(std::size_t entry) {
    return widen(pastes.shown(history.entries()[entry], history.pasted_in(entry)));
  }
  std::wstring shown(const std::string& entry) {
    return widen(pastes.shown(entry, kRecalledShownMax));
  }

  // ---- what keys do: line_keys.cc
  bool searched(wchar_t key);  // true: the key belonged to the search for an earlier prompt
  void find(std::size_t from);
  void submit();
  void recall(std::size_t entry);
  void set_aside();
  void bring_back();
  void paste(const std::string& text);
  bool up();
  bool down();
  void complete();
  void edit();
  void bind();
};

}  // namespace lares::cli
