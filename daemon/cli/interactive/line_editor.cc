#include "daemon/cli/interactive/line_editor.h"

#include <fmt/format.h>
#include <histedit.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "daemon/cli/interactive/history.h"
#include "daemon/cli/interactive/keys.h"
#include "daemon/cli/interactive/terminal_guard.h"
#include "daemon/cli/screen.h"
#include "daemon/cli/text.h"

namespace lares::cli {
namespace {

constexpr const char* kTerminalKnown = "xterm";  // for a TERM that terminfo does not know: whoever is new imitates it
constexpr wchar_t kCtrlG = 7, kBackspace = 8, kCtrlR = 18, kDelete = 0x7F;

// A FILE whose bytes are appended to `out`: libedit writes to one, and all that belongs together reaches the terminal at once.
std::FILE* file_into(std::string& out) {
  cookie_io_functions_t io{};
  io.write = [](void* to, const char* bytes, std::size_t n) {
    static_cast<std::string*>(to)->append(bytes, n);
    return static_cast<ssize_t>(n);
  };
  return ::fopencookie(&out, "w", io);
}

}  // namespace

struct LineEditor::State {
  State(Screen& s, const History& h, InputEvents e) : screen(s), history(h), events(std::move(e)) {}

  Screen& screen;
  const History& history;
  InputEvents events;
  KeyDecoder keys;
  std::string out, complaints;
  std::FILE *to_out = file_into(out), *to_complaints = file_into(complaints);
  EditLine* el = nullptr;
  std::optional<TerminalGuard> guard;
  std::wstring prompt_text = L"> ", shown_prompt;
  bool running = false, stopped = false, suspended = false;
  bool dirty = false;      // the line must be drawn anew, below what the screen has held back
  bool at_origin = false;  // the cursor is where the prompt begins, and nothing is drawn from there on
  int width = 80, height = 24;
  std::vector<std::string> pasted;  // what the tokens of this line stand for
  std::size_t recalled = 0;         // which entry of the history is shown; its size: none
  std::wstring draft;               // what was typed before one was recalled
  struct Search {
    std::wstring pattern, before;
    std::size_t at;
  };
  std::optional<Search> search;

  // ---- the buffer
  std::wstring_view text() const {
    const LineInfoW* line = ::el_wline(el);
    return {line->buffer, static_cast<std::size_t>(line->lastchar - line->buffer)};
  }
  std::size_t cursor() const {
    const LineInfoW* line = ::el_wline(el);
    return static_cast<std::size_t>(line->cursor - line->buffer);
  }
  void move_to(std::size_t at) { ::el_cursor(el, static_cast<int>(at) - static_cast<int>(cursor())); }
  // Does not draw.
  void replace(const std::wstring& with) {
    move_to(text().size());
    ::el_wdeletestr(el, static_cast<int>(text().size()));
    if (!with.empty()) ::el_winsertstr(el, with.c_str());
  }
  void insert(const std::wstring& what) {
    if (!what.empty()) ::el_winsertstr(el, what.c_str());
  }

  // ---- the screen
  struct Place {
    int row = 0, column = 0;
  };
  Place place_of(std::size_t at, int columns_max) const;
  void measure();
  void go_to_origin();
  void draw();
  void flush();

  // ---- keys
  int read_key(wchar_t* out_key);
  bool searched(wchar_t key);
  void find(std::size_t from);
  void submit();
  void recall(std::size_t entry);
  bool up();
  bool down();
  std::wstring token_for(const std::string& paste);
  std::string expanded() const;
  void complete();
  void start();
  void bind();
};

// ---- where things stand on the screen

// As libedit lays it out: a letter that does not fit begins the next row, tabs go to multiples of 8, controls are ^X.
LineEditor::State::Place LineEditor::State::place_of(std::size_t at, int columns_max) const {
  Place p;
  const auto step = [&](int n) {
    if (p.column + n > columns_max) ++p.row, p.column = 0;
    p.column += n;
    if (p.column >= columns_max) ++p.row, p.column = 0;
  };
  for (const wchar_t c : shown_prompt) step(character_columns(static_cast<char32_t>(c)));
  const std::wstring_view line = text();
  for (std::size_t i = 0; i < at && i < line.size(); ++i) {
    const wchar_t c = line[i];
    if (c == L'\n') {
      ++p.row, p.column = 0;
    } else if (c == L'\t') {
      do step(1);
      while (p.column % 8 != 0);
    } else if (c < 0x20 || c == 0x7F) {
      step(1), step(1);
    } else {
      step(character_columns(static_cast<char32_t>(c)));
    }
  }
  return p;
}

void LineEditor::State::measure() {
  winsize size{};
  if (::ioctl(STDIN_FILENO, TIOCGWINSZ, &size) != 0) return;
  if (size.ws_col > 1) width = size.ws_col;
  if (size.ws_row > 0) height = size.ws_row;
}

void LineEditor::State::go_to_origin() {
  if (at_origin) return;
  at_origin = dirty = true;
  std::fflush(to_out);
  const int row = std::min(place_of(cursor(), width).row, height - 1);
  out += '\r';
  if (row > 0) out += fmt::format("\x1b[{}A", row);
  out += "\x1b[J";
}

void LineEditor::State::draw() {
  if (dirty) {
    go_to_origin();
    out += screen.take();
    shown_prompt = prompt_text;
    ::el_wset(el, EL_REFRESH);
    dirty = at_origin = false;
  }
  flush();
}

void LineEditor::State::flush() {
  std::fflush(to_out);
  std::string_view rest = out;
  while (!rest.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;  // the terminal is gone, and its hang-up comes next
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  out.clear();
}

// ---- what keys do

std::wstring LineEditor::State::token_for(const std::string& paste) {
  const auto lines = static_cast<std::size_t>(std::count(paste.begin(), paste.end(), '\n')) + (paste.empty() || paste.back() == '\n' ? 0 : 1);
  if (lines <= kPasteLinesShownMax && paste.size() <= kPasteBytesShownMax) return widen(paste);
  pasted.push_back(paste);
  const std::string size = lines > 1 ? fmt::format("{} lines", lines) : fmt::format("{} characters", widen(paste).size());
  return widen(fmt::format("[pasted {} #{}]", size, pasted.size()));
}

std::string LineEditor::State::expanded() const {
  std::string line = narrow(text());
  for (std::size_t i = 0; i < pasted.size(); ++i) {
    const std::string end = fmt::format(" #{}]", i + 1);
    for (std::size_t at = 0; (at = line.find("[pasted ", at)) != std::string::npos; ++at) {
      const std::size_t close = line.find(']', at);
      if (close == std::string::npos || !std::string_view(line).substr(0, close + 1).ends_with(end)) continue;
      line.replace(at, close + 1 - at, pasted[i]);
      break;
    }
  }
  return line;
}

void LineEditor::State::submit() {
  const std::string line = expanded();
  go_to_origin();
  replace(L"");
  pasted.clear();
  draft.clear();
  events.submitted(line);
  recalled = history.entries().size();
}

void LineEditor::State::recall(std::size_t entry) {
  const auto& entries = history.entries();
  if (recalled >= entries.size()) draft = text();
  recalled = entry;
  replace(entry < entries.size() ? token_for(entries[entry]) : draft);
}

// Within text of several lines the cursor goes up and down; beyond it, through the history.
bool LineEditor::State::up() {
  const std::wstring_view line = text();
  const std::size_t at = cursor();
  const std::size_t begin = at == 0 ? std::wstring_view::npos : line.rfind(L'\n', at - 1);
  if (begin != std::wstring_view::npos) {
    const std::size_t above = begin == 0 ? std::wstring_view::npos : line.rfind(L'\n', begin - 1);
    const std::size_t above_begin = above == std::wstring_view::npos ? 0 : above + 1;
    move_to(std::min(above_begin + (at - begin - 1), begin));
    return true;
  }
  const std::size_t now = std::min(recalled, history.entries().size());
  if (now == 0) return false;
  recall(now - 1);
  return true;
}

bool LineEditor::State::down() {
  const std::wstring_view line = text();
  const std::size_t at = cursor(), end = line.find(L'\n', at);
  if (end != std::wstring_view::npos) {
    const std::size_t begin = at == 0 ? std::wstring_view::npos : line.rfind(L'\n', at - 1);
    const std::size_t column = begin == std::wstring_view::npos ? at : at - begin - 1;
    const std::size_t below_end = line.find(L'\n', end + 1);
    move_to(std::min(end + 1 + column, below_end == std::wstring_view::npos ? line.size() : below_end));
    return true;
  }
  if (recalled >= history.entries().size()) return false;
  recall(recalled + 1);
  return true;
}

void LineEditor::State::find(std::size_t from) {
  const std::string pattern = narrow(search->pattern);
  const auto& entries = history.entries();
  for (std::size_t i = std::min(from, entries.size()); i-- > 0;) {
    if (entries[i].find(pattern) == std::string::npos) continue;
    search->at = i;
    replace(token_for(entries[i]));
    return;
  }
}

// True: the key belonged to the search. One that ends it does what it always does, with what was found.
bool LineEditor::State::searched(wchar_t key) {
  if (!search) {
    if (key != kCtrlR) return false;
    search = Search{{}, std::wstring(text()), history.entries().size()};
  } else if (key == kCtrlR) {
    go_to_origin();
    find(search->at);
  } else if (key == kBackspace || key == kDelete) {
    if (!search->pattern.empty()) search->pattern.pop_back();
    go_to_origin();
    find(history.entries().size());
  } else if (key >= 0x20 && (key < 0x7F || key >= 0xA0)) {
    search->pattern += key;
    go_to_origin();
    find(search->at + 1);
  } else {
    go_to_origin();
    if (key == kCtrlG) replace(search->before);
    recalled = history.entries().size();
    search.reset();
    return key == kCtrlG;
  }
  dirty = true;
  return true;
}

void LineEditor::State::complete() {
  const std::string beginning = narrow(text());
  const std::vector<std::string> all = events.completions(beginning);
  if (all.empty()) return;
  std::string common = all.front();
  for (const auto& one : all) common.resize(static_cast<std::size_t>(std::mismatch(common.begin(), common.end(), one.begin(), one.end()).first - common.begin()));
  if (common.size() > beginning.size()) {
    replace(widen(common));
  } else if (all.size() > 1) {
    std::string list;
    for (const auto& one : all) list += (list.empty() ? "" : "  ") + one;
    screen.line(screen.terminal().paint(Style::dim, list));
  }
}

int LineEditor::State::read_key(wchar_t* out_key) {
  while (!stopped) {
    if (const auto key = keys.next()) {
      if (searched(*key)) continue;
      if (dirty && at_origin) draw();  // libedit must find the cursor where it left it
      *out_key = *key;
      return 1;
    }
    draw();
    events.wait();
  }
  return 0;
}

// ---- libedit

namespace {

using Action = unsigned char;

LineEditor::State* self(EditLine* el) {
  void* data = nullptr;
  ::el_wget(el, EL_CLIENTDATA, &data);
  return static_cast<LineEditor::State*>(data);
}

wchar_t* prompt_of(EditLine* el) {
  auto& s = *self(el);
  if (!s.search) return s.shown_prompt.data();
  s.shown_prompt = L"search '" + s.search->pattern + L"': ";
  return s.shown_prompt.data();
}

int key_of(EditLine* el, wchar_t* key) { return self(el)->read_key(key); }

Action on_submit(EditLine* el, wint_t) {
  auto& s = *self(el);
  if (s.text().ends_with(L'\\') && s.cursor() == s.text().size()) {  // goes on in the next line
    ::el_wdeletestr(el, 1);
    s.insert(L"\n");
    return CC_REFRESH;
  }
  s.submit();
  return CC_NORM;  // drawn with what it has led to
}

Action on_new_line(EditLine* el, wint_t) {
  self(el)->insert(L"\n");
  return CC_REFRESH;
}

Action on_pasted(EditLine* el, wint_t) {
  auto& s = *self(el);
  s.insert(s.token_for(s.keys.take_pasted()));
  return CC_REFRESH;
}

Action on_end(EditLine* el, wint_t) {
  auto& s = *self(el);
  if (s.text().empty()) {
    s.events.leave();
    return CC_NORM;
  }
  if (s.cursor() == s.text().size()) return CC_NORM;
  ::el_cursor(el, 1);
  ::el_wdeletestr(el, 1);
  return CC_REFRESH;
}

Action on_up(EditLine* el, wint_t) { return self(el)->up() ? CC_REFRESH : CC_NORM; }
Action on_down(EditLine* el, wint_t) { return self(el)->down() ? CC_REFRESH : CC_NORM; }

Action on_home(EditLine* el, wint_t) {
  auto& s = *self(el);
  const std::size_t at = s.cursor(), begin = at == 0 ? std::wstring_view::npos : s.text().rfind(L'\n', at - 1);
  s.move_to(begin == std::wstring_view::npos ? 0 : begin + 1);
  return CC_REFRESH;
}

Action on_line_end(EditLine* el, wint_t) {
  auto& s = *self(el);
  s.move_to(std::min(s.text().find(L'\n', s.cursor()), s.text().size()));
  return CC_REFRESH;
}

Action on_clear_screen(EditLine* el, wint_t) {
  auto& s = *self(el);
  s.go_to_origin();
  s.out += "\x1b[H\x1b[2J";
  s.screen.begin_anew();
  return CC_NORM;
}

Action on_complete(EditLine* el, wint_t) {
  self(el)->complete();
  return CC_REFRESH;
}

}  // namespace

void LineEditor::State::bind() {
  using Function = Action (*)(EditLine*, wint_t);
  const auto define = [&](const wchar_t* name, Function f) { ::el_wset(el, EL_ADDFN, name, L"", f); };
  define(L"lares-submit", on_submit), define(L"lares-new-line", on_new_line), define(L"lares-pasted", on_pasted);
  define(L"lares-end", on_end), define(L"lares-up", on_up), define(L"lares-down", on_down), define(L"lares-home", on_home);
  define(L"lares-line-end", on_line_end), define(L"lares-clear-screen", on_clear_screen), define(L"lares-complete", on_complete);
  const auto to = [&](wchar_t key, const wchar_t* function) {
    const wchar_t name[] = {key, 0};
    ::el_wset(el, EL_BIND, name, function, nullptr);
  };
  const auto special = [&](Key key, const wchar_t* function) { to(static_cast<wchar_t>(key), function); };
  const auto control = [&](char letter, const wchar_t* function) { to(letter & 0x1F, function); };
  control('M', L"lares-submit"), control('J', L"lares-submit"), control('D', L"lares-end"), control('L', L"lares-clear-screen");
  control('P', L"lares-up"), control('N', L"lares-down"), control('A', L"lares-home"), control('E', L"lares-line-end");
  control('W', L"ed-delete-prev-word"), control('I', L"lares-complete");
  special(Key::up, L"lares-up"), special(Key::down, L"lares-down"), special(Key::left, L"ed-prev-char"), special(Key::right, L"ed-next-char");
  special(Key::home, L"lares-home"), special(Key::end, L"lares-line-end"), special(Key::erase, L"ed-delete-next-char");
  special(Key::word_left, L"ed-prev-word"), special(Key::word_right, L"em-next-word");
  special(Key::new_line, L"lares-new-line"), special(Key::pasted, L"lares-pasted");
}

void LineEditor::State::start() {
  (void)character_columns(0xA0);  // sets the locale's character type: libedit measures and writes by it
  el = ::el_init_fd("lares", stdin, to_out, to_complaints, STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO);
  if (!el) return;
  const char* term = std::getenv("TERM");
  if (::el_set(el, EL_TERMINAL, term) != 0) ::el_set(el, EL_TERMINAL, kTerminalKnown);
  ::el_wset(el, EL_CLIENTDATA, this);
  ::el_wset(el, EL_SIGNAL, 0);
  ::el_wset(el, EL_EDITOR, L"emacs");
  ::el_wset(el, EL_PROMPT, prompt_of);
  ::el_wset(el, EL_GETCFN, key_of);
  bind();
}

LineEditor::LineEditor(Screen& screen, const History& history, InputEvents events)
    : state_(std::make_unique<State>(screen, history, std::move(events))) {}

LineEditor::~LineEditor() {
  if (state_->el) ::el_end(state_->el);
  std::fclose(state_->to_out);
  std::fclose(state_->to_complaints);
}

void LineEditor::run() {
  State& s = *state_;
  s.guard.emplace(STDIN_FILENO);
  s.start();
  if (!s.el) return;
  s.measure();
  s.recalled = s.history.entries().size();
  s.screen.stand_above([&s] { s.dirty = true; });
  s.running = true;
  s.out += "\x1b[?2004h";
  s.shown_prompt = s.prompt_text;
  int n = 0;
  ::el_wgets(s.el, &n);  // comes back when read_key() says that it is over
  s.running = false;
  s.go_to_origin();
  s.out += s.screen.take();
  s.flush();
  s.screen.stand_alone();
  ::el_end(s.el);
  s.el = nullptr;
  s.flush();
  s.guard.reset();
}

void LineEditor::stop() { state_->stopped = true; }

void LineEditor::typed(std::string_view bytes) { state_->keys.feed(bytes); }

void LineEditor::prompt(std::string_view utf8) {
  State& s = *state_;
  std::wstring text = widen(utf8);
  if (text == s.prompt_text) return;
  s.prompt_text = std::move(text);
  s.dirty = true;
}

bool LineEditor::empty() const { return !state_->el || state_->text().empty(); }

void LineEditor::clear() {
  state_->go_to_origin();
  state_->replace(L"");
  state_->pasted.clear();
  state_->search.reset();
  state_->recalled = state_->history.entries().size();
}

void LineEditor::put_back(const std::string& text) {
  State& s = *state_;
  s.go_to_origin();
  const std::wstring typed(s.text());
  s.replace(s.token_for(text) + (typed.empty() ? L"" : L"\n" + typed));
}

// The terminal has moved what it shows already; most join and split long lines as they do so.
void LineEditor::resized() {
  State& s = *state_;
  if (!s.running) return;
  s.measure();
  std::fflush(s.to_out);
  const int row = (s.at_origin ? 0 : s.place_of(s.cursor(), s.width).row) + s.screen.status_rows(s.width);
  s.out += '\r';
  if (row > 0) s.out += fmt::format("\x1b[{}A", std::min(row, s.height - 1));
  s.out += "\x1b[J";
  ::el_resize(s.el);
  s.screen.begin_anew();
  s.at_origin = s.dirty = true;
}

void LineEditor::show() {
  if (state_->running) state_->draw();
}

bool LineEditor::has_room_for_status() const {
  const State& s = *state_;
  return s.running && s.place_of(s.text().size(), s.width).row + 2 < s.height;
}

void LineEditor::suspend() {
  State& s = *state_;
  s.suspended = true;
  s.go_to_origin();
  s.out += s.screen.take();
  s.flush();
  ::el_wset(s.el, EL_PREP_TERM, 0);
  s.guard->restore();
}

void LineEditor::resume() {
  State& s = *state_;
  if (!s.suspended) s.go_to_origin();  // stopped and continued by somebody else
  s.suspended = false;
  ::el_wset(s.el, EL_PREP_TERM, 0);  // whatever they are now, libedit sets them anew
  ::el_wset(s.el, EL_PREP_TERM, 1);
  s.out += "\x1b[?2004h";
  s.measure();
  ::el_resize(s.el);
  s.at_origin = s.dirty = true;
}

}  // namespace lares::cli
