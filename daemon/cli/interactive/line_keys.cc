// What keys do in the line.
#include <algorithm>

#include "daemon/cli/interactive/line_editor_state.h"
#include "daemon/cli/terminal/wrap.h"
#include "daemon/shown/text.h"

namespace lares::cli {
namespace {

constexpr wchar_t kCtrlG = 7, kBackspace = 8, kCtrlR = 18, kDelete = 0x7F;

}  // namespace

LineEditor::State* LineEditor::State::of(EditLine* el) {
  void* data = nullptr;
  ::el_wget(el, EL_CLIENTDATA, &data);
  return static_cast<State*>(data);
}

void LineEditor::State::submit() {
  submitted_pasted.clear();
  const std::string line = pastes.expanded(narrow(text()), submitted_pasted);
  go_to_origin();
  replace(L"");
  pastes.clear();
  draft.clear(), edited.clear();
  events.submitted(line);
  recalled = history.entries().size();
}

// What another question left in the line goes along. Of the keys that nobody has looked at yet the
// letters do, too; an Enter among them sends nothing.
void LineEditor::State::set_aside() {
  go_to_origin();
  if (search) replace(search->before), search.reset();
  if (!aside) {
    aside = Aside{.text = std::wstring(text()), .cursor = cursor(), .pastes = std::move(pastes)};
    pastes.clear();
  } else if (!text().empty()) {
    if (!aside->text.empty()) aside->text += L'\n';
    aside->text += widen(aside->pastes.shown(pastes.expanded(narrow(text())), kPasteShownMax));
    aside->cursor = aside->text.size();
  }
  replace(L"");
  while (const auto key = keys.next()) {
    if (*key == static_cast<wchar_t>(Key::pasted))
      aside->insert(widen(aside->pastes.shown(keys.take_pasted(), kPasteShownMax)));
    else if (*key == static_cast<wchar_t>(Key::new_line) || *key == L'\n')
      aside->insert(L"\n");
    else if ((*key == kBackspace || *key == kDelete) && aside->cursor > 0)
      aside->text.erase(--aside->cursor, 1);
    else if (*key >= 0x20 && (*key < 0x7F || *key >= 0xA0))
      aside->insert(std::wstring(1, *key));
  }
  aside->takes_paste = keys.is_pasting();
}

// Before what is in the line by now: nobody sent that.
void LineEditor::State::bring_back() {
  go_to_origin();
  Aside back = std::move(*aside);
  aside.reset();
  const std::string typed = pastes.expanded(narrow(text()));
  pastes = std::move(back.pastes);
  if (!typed.empty())
    back.text += (back.text.empty() ? L"" : L"\n") + widen(pastes.shown(typed, kPasteShownMax));
  replace(back.text);
  move_to(typed.empty() ? back.cursor : back.text.size());
  recalled = history.entries().size();
}

void LineEditor::State::paste(const std::string& pasted) {
  if (aside && std::exchange(aside->takes_paste, false))
    aside->insert(widen(aside->pastes.shown(pasted, kPasteShownMax)));
  else
    insert(widen(pastes.shown(pasted, kPasteShownMax)));
}

void LineEditor::State::recall(std::size_t entry) {
  const auto& entries = history.entries();
  (recalled < entries.size() ? edited[recalled] : draft) = text();
  recalled = entry;
  if (entry >= entries.size()) return replace(draft);
  const auto at = edited.find(entry);
  replace(at != edited.end() ? at->second : earlier(entry));
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
    move_to(
        std::min(end + 1 + column, below_end == std::wstring_view::npos ? line.size() : below_end));
    return true;
  }
  if (recalled >= history.entries().size()) return false;
  recall(recalled + 1);
  return true;
}

std::wstring LineEditor::State::search_prompt() const {
  return (search->found ? L"search '" : L"no prompt has '") + search->pattern + L"': ";
}

// Where there is none, what was typed before the search is in the line again: Enter sends no other.
void LineEditor::State::find(std::size_t from) {
  const std::string pattern = narrow(search->pattern);
  const auto& entries = history.entries();
  std::size_t i = std::min(from, entries.size());
  while (i > 0 && entries[i - 1].find(pattern) == std::string::npos) --i;
  search->found = i > 0;
  if (search->found) search->at = i - 1;
  replace(search->found ? earlier(i - 1) : search->before);
}

// True: the key belonged to the search. One that ends it does what it always does, with what was
// found.
bool LineEditor::State::searched(wchar_t key) {
  if (!search) {
    if (key != kCtrlR) return false;
    search = Search{.pattern = {}, .before = std::wstring(text()), .at = history.entries().size()};
  } else if (key == kCtrlR) {
    go_to_origin();
    find(search->at);
    if (!search->found) find(search->at + 1);  // no older one: it stays
  } else if (key == kBackspace || key == kDelete) {
    if (!search->pattern.empty()) search->pattern.pop_back();
    go_to_origin();
    find(history.entries().size());
  } else if (key >= 0x20 && (key < 0x7F || key >= 0xA0)) {
    search->pattern += key;
    go_to_origin();
    find(search->found ? search->at + 1 : 0);
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

void LineEditor::State::edit() {
  const std::string before = pastes.expanded(narrow(text()));
  const auto after = events.edit(before);
  if (!after || *after == before) return;
  go_to_origin();
  replace(shown(insertable(*after)));
}

void LineEditor::State::complete() {
  const Completions found = events.completions(narrow(text().substr(0, cursor())));
  if (found.candidates.empty()) return;
  if (found.becomes != found.word) {
    ::el_wdeletestr(el, static_cast<int>(widen(found.word).size()));
    return insert(widen(found.becomes));
  }
  if (found.candidates.size() == 1) return;
  if (!found.shown.empty()) {
    const std::size_t rows = std::min(found.shown.size(), kRowsShown);
    for (std::size_t i = 0; i < rows; ++i)
      screen.line(screen.terminal().paint(
          Style::dim, clip(found.shown[i], width - 1, screen.terminal().utf8 ? "…" : "~")));
    if (rows < found.shown.size())
      screen.line(screen.terminal().paint(
          Style::dim, "and " + std::to_string(found.shown.size() - rows) + " more"));
    return;
  }
  std::string list;
  const std::size_t shown = std::min(found.candidates.size(), kCandidatesShown);
  for (std::size_t i = 0; i < shown; ++i) list += (i > 0 ? "  " : "") + found.candidates[i];
  if (shown < found.candidates.size())
    list += "  and " + std::to_string(found.candidates.size() - shown) + " more";
  screen.line(screen.terminal().paint(Style::dim, hanging(list, width)));
}

namespace {

using Action = unsigned char;

Action on_submit(EditLine* el, wint_t) {
  auto& s = *LineEditor::State::of(el);
  if (s.text().ends_with(L'\\') && s.cursor() == s.text().size()) {  // goes on in the next line
    ::el_wdeletestr(el, 1);
    s.insert(L"\n");
    return CC_REFRESH;
  }
  s.submit();
  return CC_NORM;  // drawn with what it has led to
}

Action on_new_line(EditLine* el, wint_t) {
  LineEditor::State::of(el)->insert(L"\n");
  return CC_REFRESH;
}

Action on_pasted(EditLine* el, wint_t) {
  auto& s = *LineEditor::State::of(el);
  s.paste(s.keys.take_pasted());
  return CC_REFRESH;
}

Action on_end(EditLine* el, wint_t) {
  auto& s = *LineEditor::State::of(el);
  if (s.text().empty()) {
    s.events.leave();
    return CC_NORM;
  }
  if (s.cursor() == s.text().size()) return CC_NORM;
  ::el_cursor(el, 1);
  ::el_wdeletestr(el, 1);
  return CC_REFRESH;
}

Action on_up(EditLine* el, wint_t) {
  return LineEditor::State::of(el)->up() ? CC_REFRESH : CC_NORM;
}
Action on_down(EditLine* el, wint_t) {
  return LineEditor::State::of(el)->down() ? CC_REFRESH : CC_NORM;
}

Action on_home(EditLine* el, wint_t) {
  auto& s = *LineEditor::State::of(el);
  const std::size_t at = s.cursor(),
                    begin = at == 0 ? std::wstring_view::npos : s.text().rfind(L'\n', at - 1);
  s.move_to(begin == std::wstring_view::npos ? 0 : begin + 1);
  return CC_REFRESH;
}

Action on_line_end(EditLine* el, wint_t) {
  auto& s = *LineEditor::State::of(el);
  s.move_to(std::min(s.text().find(L'\n', s.cursor()), s.text().size()));
  return CC_REFRESH;
}

Action on_clear_screen(EditLine* el, wint_t) {
  auto& s = *LineEditor::State::of(el);
  s.go_to_origin();
  s.out += "\x1b[H\x1b[2J";
  s.screen.begin_anew();
  return CC_NORM;
}

Action on_edit(EditLine* el, wint_t) {
  LineEditor::State::of(el)->edit();
  return CC_NORM;
}

Action on_complete(EditLine* el, wint_t) {
  LineEditor::State::of(el)->complete();
  return CC_REFRESH;
}

Action on_back_tab(EditLine* el, wint_t) {
  LineEditor::State::of(el)->events.next_policy();
  return CC_NORM;  // drawn with the prompt that it has led to
}

}  // namespace

void LineEditor::State::bind() {
  using Function = Action (*)(EditLine*, wint_t);
  const auto define = [&](const wchar_t* name, Function f) {
    ::el_wset(el, EL_ADDFN, name, L"", f);
  };
  define(L"lares-submit", on_submit), define(L"lares-new-line", on_new_line),
      define(L"lares-pasted", on_pasted);
  define(L"lares-end", on_end), define(L"lares-up", on_up), define(L"lares-down", on_down),
      define(L"lares-home", on_home);
  define(L"lares-line-end", on_line_end), define(L"lares-clear-screen", on_clear_screen),
      define(L"lares-complete", on_complete), define(L"lares-edit", on_edit),
      define(L"lares-next-policy", on_back_tab);
  const auto to = [&](wchar_t key, const wchar_t* function) {
    const wchar_t name[] = {key, 0};
    ::el_wset(el, EL_BIND, name, function, nullptr);
  };
  const auto special = [&](Key key, const wchar_t* function) {
    to(static_cast<wchar_t>(key), function);
  };
  const auto control = [&](char letter, const wchar_t* function) { to(letter & 0x1F, function); };
  control('M', L"lares-submit"), control('J', L"lares-new-line"), control('D', L"lares-end"),
      control('L', L"lares-clear-screen");
  control('P', L"lares-up"), control('N', L"lares-down"), control('A', L"lares-home"),
      control('E', L"lares-line-end");
  control('W', L"ed-delete-prev-word"), control('I', L"lares-complete");
  control('G', L"lares-edit");
  ::el_wset(el, EL_BIND, L"\x18\x05", L"lares-edit", nullptr);  // Ctrl-X Ctrl-E, as in bash
  special(Key::up, L"lares-up"), special(Key::down, L"lares-down"),
      special(Key::left, L"ed-prev-char"), special(Key::right, L"ed-next-char");
  special(Key::home, L"lares-home"), special(Key::end, L"lares-line-end"),
      special(Key::erase, L"ed-delete-next-char");
  special(Key::word_left, L"ed-prev-word"), special(Key::word_right, L"em-next-word");
  special(Key::new_line, L"lares-new-line"), special(Key::pasted, L"lares-pasted");
  special(Key::back_tab, L"lares-next-policy");
}

}  // namespace lares::cli
