#include "daemon/cli/interactive/line_editor.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <clocale>
#include <cstdlib>

#include "daemon/cli/interactive/line_editor_state.h"
#include "daemon/shown/text.h"

namespace lares::cli {
namespace {

// For a TERM that terminfo does not know: whoever is new imitates it
constexpr const char* kTerminalKnown = "xterm";

// A FILE whose bytes are appended to `out`: libedit writes to one, and all that belongs together
// reaches the terminal at once.
std::FILE* file_into(std::string& out) {
  cookie_io_functions_t io{};
  io.write = [](void* to, const char* bytes, std::size_t n) {
    static_cast<std::string*>(to)->append(bytes, n);
    return static_cast<ssize_t>(n);
  };
  return ::fopencookie(&out, "w", io);
}

}  // namespace

void LineEditor::State::measure() {
  winsize size{};
  if (::ioctl(STDIN_FILENO, TIOCGWINSZ, &size) != 0) return;
  if (size.ws_col > 1) width = size.ws_col;
  if (size.ws_row > 0) height = size.ws_row;
}

// What libedit drew since the last flush is of no use when the line is drawn anew.
void LineEditor::State::go_to_origin() {
  if (at_origin) return;
  at_origin = dirty = true;
  take_drawn(/*keep=*/false);
  out += '\r';
  if (cursor_row > 0) out += fmt::format("\x1b[{}A", cursor_row);
  out += "\x1b[J";
  windowed = false;
}

void LineEditor::State::take_drawn(bool keep) {
  std::fflush(to_drawn);
  if (keep) out += drawn;
  drawn.clear();
}

// libedit draws text of more rows than the terminal has as if the rows above were there, and puts
// the cursor elsewhere; of a letter with an accent of its own it forgets the accent when it draws
// it again.
bool LineEditor::State::is_drawn_here() const {
  const auto is_mark = [](wchar_t c) {
    return c >= 0x300 && character_columns(static_cast<char32_t>(c)) == 0;
  };
  return row_of(text().size(), width) >= height || std::ranges::any_of(text(), is_mark);
}

// The rows around the cursor are drawn here instead, whole, and what libedit draws meanwhile is not
// used.
std::string LineEditor::State::window() {
  const auto rows = rows_of_line(shown_prompt, text(), width);
  const LinePlace at = place_in_line(shown_prompt, text(), cursor(), width);
  const int n = static_cast<int>(rows.size());
  window_top = std::clamp(window_top, std::max(0, at.row - height + 1), at.row);
  window_top = std::clamp(window_top, 0, std::max(0, n - height));
  std::string bytes;
  const int end = std::min(n, window_top + height);
  for (int i = window_top; i < end; ++i)
    bytes += (i > window_top ? "\r\n" : "") + narrow(rows[static_cast<std::size_t>(i)]);
  bytes += '\r';
  if (end - 1 > at.row) bytes += fmt::format("\x1b[{}A", end - 1 - at.row);
  if (at.column > 0) bytes += fmt::format("\x1b[{}C", at.column);
  return bytes;
}

void LineEditor::State::draw() {
  const bool here = is_drawn_here();
  if (here != windowed) go_to_origin();
  if (windowed && !dirty) {
    std::string now = window();
    if (now != shown_window) go_to_origin();
  }
  if (dirty) {
    go_to_origin();
    out += screen.take();
    draw_line();
    dirty = at_origin = false;
  }
  flush();
  cursor_row = std::min(row_of(cursor(), width) - (windowed ? window_top : 0), height - 1);
}

void LineEditor::State::draw_line() {
  take_drawn(/*keep=*/false);  // since the way to the origin
  shown_prompt = prompt_text;
  if (search) shown_prompt = search_prompt();
  windowed = is_drawn_here();
  if (!windowed) {
    window_top = 0;
    ::el_wset(el, EL_REFRESH);
    return;
  }
  shown_window = window();
  out += shown_window;
}

void LineEditor::State::flush() {
  take_drawn(/*keep=*/!windowed);
  std::string_view rest = out;
  while (!rest.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) {  // shared with a program that made it non-blocking
      pollfd waiting{STDOUT_FILENO, POLLOUT, 0};
      ::poll(&waiting, 1, -1);
      continue;
    }
    if (n <= 0) break;  // the terminal is gone, and its hang-up comes next
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  out.clear();
}

int LineEditor::State::read_key(wchar_t* out_key) {
  while (!stopped) {
    if (const auto key = keys.next()) {
      if (searched(*key)) continue;
      if (!windowed && is_drawn_here()) go_to_origin();  // keys that came at once have made it so
      if (dirty && at_origin) draw();  // libedit must find the cursor where it left it
      *out_key = *key;
      return 1;
    }
    draw();
    events.wait();
  }
  return 0;
}

namespace {

wchar_t* prompt_of(EditLine* el) {
  auto& s = *LineEditor::State::of(el);
  if (!s.search) return s.shown_prompt.data();
  s.shown_prompt = s.search_prompt();
  return s.shown_prompt.data();
}

int key_of(EditLine* el, wchar_t* key) { return LineEditor::State::of(el)->read_key(key); }

}  // namespace

void LineEditor::State::start() {
  to_drawn = file_into(drawn), to_complaints = file_into(complaints);
  (void)std::setlocale(LC_CTYPE, "C.UTF-8");  // libedit measures and writes by it
  el = ::el_init_fd("lares", stdin, to_drawn, to_complaints, STDIN_FILENO, STDOUT_FILENO,
                    STDERR_FILENO);
  if (!el) return;
  const char* term = std::getenv("TERM");
  if (::el_set(el, EL_TERMINAL, term) != 0) ::el_set(el, EL_TERMINAL, kTerminalKnown);
  // Each row ends in a line feed and none by running over: a terminal that is made wider then joins
  // none, whatever blanks libedit spared itself at their ends, and resized() knows where all stand.
  ::el_set(el, EL_SETTC, "am", "no", nullptr);
  ::el_wset(el, EL_CLIENTDATA, this);
  ::el_wset(el, EL_SIGNAL, 0);
  ::el_wset(el, EL_EDITOR, L"emacs");
  ::el_wset(el, EL_PROMPT, prompt_of);
  ::el_wset(el, EL_GETCFN, key_of);
  // Enter and Ctrl-J are two keys, and a paste's "\r\n" is one line end.
  ::el_wset(el, EL_SETTY, L"-d", L"-icrnl", L"-inlcr", nullptr);
  bind();
}

LineEditor::LineEditor(Screen& screen, const History& history, InputEvents events)
    : state_(std::make_unique<State>(screen, history, std::move(events))) {}

LineEditor::~LineEditor() {
  if (state_->el) ::el_end(state_->el);
  if (state_->to_drawn) std::fclose(state_->to_drawn);
  if (state_->to_complaints) std::fclose(state_->to_complaints);
}

void LineEditor::run() {
  State& s = *state_;
  s.guard.emplace(STDIN_FILENO);
  if (::ioctl(STDIN_FILENO, FIONREAD, &s.typed_ahead) != 0) s.typed_ahead = 0;
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

void LineEditor::typed(std::string_view bytes) {
  std::string keys(bytes);
  const auto ahead = std::min<std::size_t>(keys.size(),
                                           static_cast<std::size_t>(state_->typed_ahead));
  std::replace(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(ahead), '\n', '\r');
  state_->typed_ahead -= static_cast<int>(ahead);
  state_->keys.feed(keys);
}

std::optional<std::chrono::milliseconds> LineEditor::patience() const {
  return state_->keys.escape_is_open() ? std::optional(kEscapeWithin) : std::nullopt;
}

void LineEditor::idle() {
  if (!state_->keys.escape_is_open()) return;
  state_->keys.end_escape();
  state_->events.escaped();
}

void LineEditor::prompt(std::string_view utf8) {
  State& s = *state_;
  std::wstring text = widen(utf8);
  if (text == s.prompt_text) return;
  s.prompt_text = std::move(text);
  s.dirty = true;
}

std::vector<Pasted> LineEditor::pasted() const { return state_->submitted_pasted; }

bool LineEditor::empty() const { return !state_->el || state_->text().empty(); }

void LineEditor::clear() {
  state_->go_to_origin();
  state_->replace(L"");
  state_->pastes.clear(), state_->edited.clear();
  state_->search.reset();
  state_->recalled = state_->history.entries().size();
}

void LineEditor::put_back(const std::string& text) {
  State& s = *state_;
  s.go_to_origin();
  const std::wstring typed(s.text());
  s.replace(s.shown(text) + (typed.empty() ? L"" : L"\n" + typed));
}

void LineEditor::set_aside(std::string_view unread) {
  if (!state_->el) return;
  typed(unread);
  state_->set_aside();
}

void LineEditor::bring_back() {
  if (state_->el && state_->aside) state_->bring_back();
}

// Which row below the first the cursor is on when the rows that were drawn for `width_before` have
// been split for this width; they are not joined.
int LineEditor::State::row_now(int width_before) const {
  const auto rows = rows_of_line(shown_prompt, text(), width_before);
  const LinePlace at = place_in_line(shown_prompt, text(), cursor(), width_before);
  int row = at.column / width;
  for (int i = 0; i < at.row; ++i)
    row += std::max(1, (columns(narrow(rows[static_cast<std::size_t>(i)])) + width - 1) / width);
  return row;
}

// The terminal has moved what it shows already; most split rows that are too long as they do so.
void LineEditor::resized() {
  State& s = *state_;
  if (!s.running) return;
  const int width_before = s.width;
  s.measure();
  s.take_drawn(/*keep=*/!s.windowed);
  const int line = s.windowed ? s.cursor_row : s.row_now(width_before);
  const int row = (s.at_origin ? 0 : line) + s.screen.status_rows(s.width);
  s.out += '\r';
  if (row > 0) s.out += fmt::format("\x1b[{}A", std::min(row, s.height - 1));
  s.out += "\x1b[J";
  ::el_resize(s.el);
  s.screen.begin_anew();
  s.at_origin = s.dirty = true, s.windowed = false;
}

void LineEditor::show() {
  if (state_->running) state_->draw();
}

bool LineEditor::has_room_for_status() const {
  const State& s = *state_;
  return s.running && s.row_of(s.text().size(), s.width) + 2 < s.height;
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
  const bool by_others = !std::exchange(s.suspended, false);  // who may have left it where it was
  ::el_wset(s.el, EL_PREP_TERM, 0);  // whatever they are now, libedit sets them anew
  ::el_wset(s.el, EL_PREP_TERM, 1);
  s.out += "\x1b[?2004h";
  if (by_others) return resized();
  s.measure();
  ::el_resize(s.el);
  s.screen.begin_anew();
  s.at_origin = s.dirty = true;
}

}  // namespace lares::cli
