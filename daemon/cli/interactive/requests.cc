// What a person asks of an interactive session: prompts, commands, Ctrl-C.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <system_error>
#include <utility>

#include "daemon/cli/approval.h"
#include "daemon/cli/commands/table.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/interactive/clipboard.h"
#include "daemon/cli/interactive/interactive.h"
#include "daemon/cli/interactive/prompt_editor.h"
#include "daemon/cli/interactive/recap.h"
#include "daemon/cli/interactive/whole_output.h"
#include "daemon/cli/mistyped_call.h"
#include "daemon/cli/report.h"
#include "daemon/cli/terminal/output.h"
#include "daemon/cli/user_directory.h"
#include "daemon/protocol/policies.h"
#include "daemon/shown/change_set.h"
#include "daemon/shown/text.h"
#include "tools/text.h"

namespace lares::cli {
namespace {

constexpr std::size_t kExchangesShown = 3, kAnswerLinesShown = 6;
constexpr int kDiffLinesShown = 120;  // of one change, by /diff

// What Shift-Tab goes through: from what asks least to what changes nothing
constexpr std::array<std::string_view, 4> kPoliciesInTurn{"auto", "edits", "ask",
                                                          protocol::kPlanPolicy};

}  // namespace

void Interactive::interrupt() {
  if (talk_.busy()) {
    if (!interrupting_)
      view_.note(Style::yellow,
                 talk_.running_turn() != 0 ? "interrupting the turn" : "taking the prompt back");
    interrupting_ = true;
    view_.waiting("stopping");
    talk_.interrupt();
  } else if (!input_->empty()) {
    input_->clear();
  } else if (rewinding_ || pick_) {
    pick_nothing();
  } else if (leaving_) {
    input_->stop();
  } else {
    leaving_ = true;
    view_.note(Style::dim, "Ctrl-C once more leaves; so does Ctrl-D");
  }
}

// Elsewhere it stops the turn. Here it may be the beginning of a cursor key that a slow line tears
// apart, so it stops nothing.
void Interactive::escaped() {
  if (rewinding_ || pick_) return pick_nothing();
  if (talk_.running_turn() == 0 || std::exchange(told_how_to_stop_, true)) return;
  view_.note(Style::dim, "Ctrl-C stops the turn");
}

// A prompt, or a command. What answers a question is neither, and may be a secret.
void Interactive::remember(const std::string& line) {
  if (auto added = history_.add(line, input_->pasted());
      !added && !std::exchange(history_failed_, true))
    complain(added.error());
}

// A terminal that edits the line itself has shown it already.
void Interactive::said(const std::string& line, std::string_view how) {
  if (!plain_) return transcript_.said(line, how);
  if (!how.empty()) view_.note(Style::dim, how);
}

void Interactive::submitted(const std::string& line) {
  if (const auto rewinding = std::exchange(rewinding_, std::nullopt))
    return decide(*rewinding, line);
  if (pick_ && picked(line)) return;
  if (line.find_first_not_of(" \t\n") == std::string::npos) return;
  if (line.size() > protocol::kPromptBytesMax) {
    view_.note(Style::red, fmt::format("the prompt has {} bytes, more than {}; put it into a file "
                                       "of the repository and name that",
                                       line.size(), protocol::kPromptBytesMax));
    return input_->put_back(line);
  }
  if (line.starts_with('!')) return own_command(line);
  // What answers a question may be any word
  const auto word = question_id_.empty() ? command_word(line) : std::string_view();
  const auto slash = parse_slash(word.empty() ? line : word);
  const bool answers = !question_id_.empty() && !asking_;  // with any word, one with a slash too
  if (slash && (slash->command || !answers)) {
    remember(line);
    return command(*slash, line);
  }
  if (asking_) {
    const auto reply = approval_of(line, *asking_, doubted_);
    if (!reply) return view_.note(Style::yellow, not_offered(line, *asking_));
    said(line, "");
    question_id_.clear(), asking_.reset();
    return talk_.answer(*reply);
  }
  if (!question_id_.empty()) {
    said(line, "");
    return talk_.answer(std::exchange(question_id_, {}), line);
  }
  remember(line);
  said(line, talk_.running_turn() != 0 ? "steers the running turn" : "");
  say(from_here(line), "steer", "work");
}

// In a session it is told once where the person stands.
std::string Interactive::from_here(const std::string& line) {
  const std::string here = directory();
  const std::string prompt = names_from(line, root(), here);
  if (told_where_) return prompt;
  const std::string told = told_from(prompt, here);
  told_where_ = told != prompt;
  return told;
}

void Interactive::say(const std::string& text, std::string_view delivery, std::string_view mode) {
  if (talk_.running_turn() == 0) view_.waiting("sending");
  heard_policy(talk_.policy());
  talk_.say(with_commands(text, std::exchange(own_commands_, {})), delivery, mode);
}

// The terminal is the command's meanwhile; what the daemon says waits.
void Interactive::own_command(const std::string& line) {
  const std::string command(tools::trimmed(std::string_view(line).substr(1)));
  if (command.empty())
    return view_.note(Style::yellow,
                      "!COMMAND: the command is missing; your shell runs it, and "
                      "the next prompt brings its output");
  remember(line);
  said(line, "");
  Result<OwnCommand> ran;
  lend_terminal([&](LentTerminal& lent) {
    ran = run_own_command(command, where_person_stands(), lent);
    if (ran && ran->line_is_open) write_whole(STDOUT_FILENO, "\n");
  });
  if (!ran) return complain(ran.error());
  view_.note(Style::dim, fmt::format("{}{}{}{}the next prompt brings its output",
                                     ran->ended.empty() ? "done" : ran->ended, dot(),
                                     duration(ran->seconds), dot()));
  if (own_commands_.size() == kOwnCommandsMax) own_commands_.erase(own_commands_.begin());
  own_commands_.push_back(*ran);
}

std::optional<std::string> Interactive::edit(const std::string& text) {
  Result<std::string> edited;
  lend_terminal([&](LentTerminal& lent) { edited = edited_by_person(text, root(), lent); });
  if (edited) return std::move(*edited);
  complain(edited.error());
  return std::nullopt;
}

// What was typed and the program did not read is typed here.
void Interactive::lend_terminal(const std::function<void(LentTerminal&)>& use) {
  view_.hide_status();
  input_->suspend();
  bool leaving = false;
  LentTerminal lent{
      STDIN_FILENO,
      [&] { return leaving = leaving || link_.interrupted(std::chrono::steady_clock::now()); },
      {}};
  use(lent);
  input_->resume();
  if (leaving) return exit_ = kExitInterrupted, input_->stop();
  std::string_view rest = lent.unread;
  if (!plain_ && !rest.empty())
    later_.push_back({Happening::Kind::keys, {}, std::exchange(lent.unread, {})});
  if (!plain_) return;
  for (std::size_t end = 0; (end = rest.find('\r')) != std::string_view::npos;
       rest.remove_prefix(end + 1))
    later_.push_back({Happening::Kind::typed, {}, std::string(rest.substr(0, end))});
  if (!rest.empty()) input_->put_back(std::string(rest));
}

void Interactive::command(const SlashLine& line, const std::string& typed) {
  // What a command is called elsewhere may be a skill's name here
  const std::string_view word = std::string_view(typed).substr(1, typed.find_first_of(" \t\n") - 1);
  const bool by_other_name = line.command && typed.starts_with('/') && word != line.command->name;
  if ((by_other_name && calls_skill(word)) ||
      (!line.command && (calls_skill(line.name) || begins_path(line.name, root())))) {
    said(typed, talk_.running_turn() != 0 ? "steers the running turn" : "");
    return say(from_here(typed), "steer", "work");
  }
  if (!line.command) {
    const daemon::Skills known = skills();
    const auto skill = skill_meant(line.name, known);
    const auto nearest = skill.empty() ? line.nearest : skill;
    const bool in_shell = std::ranges::any_of(
        commands(), [&](const Command& c) { return c.name == line.name; });
    const std::string meant =
        in_shell          ? fmt::format(" here, but `lares {0}` in a shell: !lares {0}", line.name)
        : nearest.empty() ? ""
                          : fmt::format(", but /{}", nearest);
    view_.note(Style::yellow,
               fmt::format("there is no /{}{}; /help lists the commands, and a blank before it "
                           "sends it as text",
                           line.name, meant));
    return input_->put_back(typed);
  }
  if (line.command->argument == "TEXT" && line.argument.empty())
    return view_.note(Style::yellow, fmt::format("/{} TEXT: the text is missing; {}", line.name,
                                                 line.command->help));
  const bool says = line.command->argument == "TEXT" || line.command->what == Slash::compact ||
                    line.command->what == Slash::review;
  const bool waits = says && talk_.running_turn() != 0;
  said("/" + line.name + (line.argument.empty() ? "" : " " + line.argument),
       waits ? "when this turn has ended" : "");
  if (line.command->asks_daemon && !finds_daemon()) return;
  switch (line.command->what) {
    case Slash::help:
      return help();
    case Slash::new_session:
      return checked(talk_.leave(), "the next prompt begins a new session");
    case Slash::sessions:
      return offer_sessions();
    case Slash::resume:
      return line.argument.empty() ? offer_sessions() : checked(resume(line.argument), "");
    case Slash::diff:
      return diff();
    case Slash::rewind:
      return rewind(line.argument);
    case Slash::undo:
      return undo();
    case Slash::fork:
      return fork(line.argument);
    case Slash::policy:
      policy(line.argument);
      if (line.text.empty() || talk_.policy() != line.argument) return;
      said(line.text, talk_.running_turn() != 0 ? "steers the running turn" : "");
      return say(line.text, "steer", "work");
    case Slash::go:
      return go(line.argument);
    case Slash::status:
      return status();
    case Slash::prefix:
      return prefix();
    case Slash::ask:
      return say(from_here(line.argument), "steer", "ask");
    case Slash::queue:
      return say(from_here(line.argument), "queue", "work");
    case Slash::compact:
      return compact(line.argument);
    case Slash::thinking:
      return thinking(line.argument);
    case Slash::output:
      return output(line.argument);
    case Slash::jobs:
      return jobs(line.argument);
    case Slash::copy:
      return copy();
    case Slash::review:
      return review(line.argument);
    case Slash::quit:
      return input_->stop();
  }
}

daemon::Skills Interactive::skills() const {
  return daemon::find_skills(root(), daemon::skills_home());
}

const std::string& Interactive::root() const {
  return talk_.has_session() ? talk_.session().root : options_.root;
}

std::string Interactive::directory() const {
  const bool about_it = options_.worktree || root() == options_.root;
  return about_it ? directory_ : "";
}

// A worktree of the session's own has no directory that git does not track.
std::string Interactive::where_person_stands() const {
  const std::string below = root() + "/" + directory();
  std::error_code none;
  return std::filesystem::is_directory(below, none) ? below : root();
}

bool Interactive::calls_skill(std::string_view name) const {
  return std::ranges::any_of(skills().all, [&](const auto& skill) { return skill.name == name; });
}

bool Interactive::finds_daemon() {
  talk_.rejoin();
  if (talk_.connected()) return true;
  view_.note(Style::yellow, "no daemon runs; the next prompt starts it");
  return false;
}

void Interactive::checked(const Result<>& result, std::string_view done) {
  if (!result)
    complain(result.error());
  else if (!done.empty())
    view_.note(Style::dim, done);
}

void Interactive::help() {
  std::string text;
  const auto row = [&](const std::string& what, std::string_view help) {
    text += fmt::format("  {:<20} {}\n", what, help);
  };
  for (const auto& c : slash_commands())
    if (c.what != Slash::help) row(fmt::format("/{} {}", c.name, c.argument), c.help);
  row("Enter, Alt-Enter", "sends, or steers the running turn; begins another line");
  row("!COMMAND", "your shell runs it; the next prompt brings its output");
  row("Ctrl-C", "stops the turn, or clears the line; twice leaves");
  row("Up, Tab, Ctrl-G", "earlier prompts (Ctrl-R); a name's rest; $EDITOR");
  for (const auto& skill : skills().all)
    if (skill.for_people)
      text += one_row(fmt::format("  {:<20} {}", "/" + skill.name, skill.description)) + "\n";
  transcript_.lines(text);
}

// The daemon knows it by its name, as it knows a skill's.
void Interactive::compact(const std::string& argument) {
  if (!talk_.has_session())
    return view_.note(Style::dim, "nothing has been said in this session yet");
  if (talk_.running_turn() == 0) view_.waiting("sending");
  talk_.say(argument.empty() ? "/compact" : "/compact " + argument, "queue", "work");
}

Result<> Interactive::resume(const std::string& id) {
  if (auto resumed = talk_.resume(id); !resumed) return resumed;
  const auto& s = talk_.session();
  working_policy_.clear();  // what it was there before nobody here knows
  heard_policy(s.settings.policy);
  planned_ = s.settings.policy == protocol::kPlanPolicy && s.n_turns > 0;
  transcript_.set_root(s.root);
  view_.note(Style::dim, one_row(fmt::format("session {}{}{} {}{}{} ago{}", s.session_id, dot(),
                                             s.n_turns, s.n_turns == 1 ? "turn" : "turns", dot(),
                                             age(s.updated_ms), policy_told(s.settings.policy)) +
                                 (s.title.empty() ? "" : dot() + printable(s.title))));
  const auto exchanges = last_exchanges(link_, s, kExchangesShown);
  if (!exchanges) return tl::unexpected(exchanges.error());
  for (const auto& exchange : *exchanges) {
    transcript_.said(exchange.prompt, exchange.begins_turn ? turn_number(exchange.turn_id) : "");
    transcript_.beginning(exchange.answer, kAnswerLinesShown);
    if (!exchange.ended.empty()) view_.note(Style::yellow, exchange.ended);
    last_answer_ = exchange.answer;
  }
  return talk_.running_turn() != 0 ? join_turn() : Result<>{};
}

void Interactive::diff() {
  if (!talk_.has_session())
    return view_.note(Style::dim, "this session has not begun, so it changed nothing");
  const auto changes = session_changes(link_, talk_.session().session_id);
  if (!changes) return complain(changes.error());
  const auto paths = changes->net();
  for (const auto& path : paths) {
    screen_.line(screen_.terminal().paint(Style::bold, one_line(path)));
    for (const auto& change : changes->of(path))
      transcript_.diff({change.path, change.diff}, kDiffLinesShown);
  }
  if (paths.empty())
    view_.note(Style::dim, "no file is another than before, as far as the calls told");
  if (!changes->complete())
    view_.note(Style::dim, "commands ran that may have changed other files too");
}

void Interactive::policy(const std::string& argument) {
  if (argument.empty()) {
    std::string text = fmt::format(
        "the policy is {}; /policy NAME changes it, Shift-Tab to the next\n", talk_.policy());
    for (const protocol::Policy& p : protocol::kPolicies)
      text += fmt::format("  {:<10} {}\n", p.id, p.what);
    return transcript_.lines(text);
  }
  heard_policy(talk_.policy());
  const auto changed = talk_.policy(argument);
  if (changed) heard_policy(argument);
  checked(changed, fmt::format("the policy is {} from the next call on", argument));
}

// By a key: the next of those that a person goes through, whatever is in the line. What is passed
// on the way is no policy that anything was done under.
void Interactive::next_policy() {
  const auto at = std::ranges::find(kPoliciesInTurn, talk_.policy());
  const bool last = at + 1 == kPoliciesInTurn.end();
  const std::string name(at == kPoliciesInTurn.end() ? kPoliciesInTurn.back()
                         : last                      ? kPoliciesInTurn.front()
                                                     : *(at + 1));
  const auto& policy = *std::ranges::find(protocol::kPolicies, name, &protocol::Policy::id);
  if (working_policy_.empty()) heard_policy(talk_.policy());
  checked(talk_.policy(name), one_row(fmt::format("policy {}: {}", name, policy.what)));
}

void Interactive::heard_policy(const std::string& policy) {
  if (!protocol::changes_nothing(policy)) working_policy_ = policy, planned_ = false;
}

// Behind the turn that runs, if one does: that one changes nothing to its end.
void Interactive::go(const std::string& argument) {
  if (!planned_)
    return view_.note(Style::yellow, "/go carries out what was planned under /policy plan");
  const std::string name = argument.empty() ? working_policy_ : argument;
  if (name.empty() || protocol::changes_nothing(name))
    return view_.note(Style::yellow,
                      "/go NAME: under which policy it is carried out; auto, edits or ask");
  if (auto changed = talk_.policy(name); !changed) return complain(changed.error());
  heard_policy(name);
  view_.note(Style::dim, fmt::format("the policy is {}", name));
  say("Carry out the plan.", "queue", "work");
}

void Interactive::status() {
  const auto status = link_.call<protocol::ServerStatusResult>(protocol::ServerStatus{});
  if (!status) return complain(status.error());
  talk_.measure();
  std::string text = status_text(*status);
  if (talk_.has_session())
    text += fmt::format("{:<10} {}, context of {} tokens\n", "session", talk_.session().session_id,
                        grouped(talk_.session().context_tokens));
  if (const auto jobs = running_jobs(); jobs && !jobs->empty())
    text += fmt::format("{:<10} {} in the background; /jobs lists them\n", "jobs", jobs->size());
  transcript_.lines(text);
}

void Interactive::prefix() {
  const auto prefix = link_.call<protocol::RepoPrefixResult>(
      protocol::RepoPrefix{.root = options_.root, .files = true});
  if (!prefix) return complain(prefix.error());
  transcript_.lines(prefix_text(*prefix, /*files=*/false));
}

void Interactive::thinking(const std::string& argument) {
  if (argument == "on" || argument == "off") {
    transcript_.show_thinking(argument == "on");
    return view_.note(Style::dim, argument == "on" ? "thinking is shown as it is written"
                                                   : "thinking is folded to one line");
  }
  if (!argument.empty())
    return view_.note(Style::yellow,
                      "/thinking shows the last turn's; /thinking on, off: as it is written");
  if (view_.thinking().empty()) return view_.note(Style::dim, "no thinking yet");
  const bool shown = transcript_.shows_thinking();
  transcript_.show_thinking(true);
  transcript_.think(view_.thinking());
  transcript_.finish();
  transcript_.show_thinking(shown);
}

void Interactive::output(const std::string& argument) {
  const auto& called = view_.called();
  if (called.empty())
    return view_.note(Style::dim, "no call was seen here yet; `lares log` shows earlier ones");
  const auto n = argument.empty() ? 1 : number_in(argument);
  if (n < 1 || n > static_cast<std::int64_t>(called.size()))
    return view_.note(Style::yellow,
                      fmt::format("/output [N]: N is 1, the last call, to {}", called.size()));
  const auto& one = called[static_cast<std::size_t>(n - 1)];
  transcript_.lines(one.call + "\n" +
                    (one.output.empty() ? "(no output)" : whole_output(one.output, state_dir_)));
}

void Interactive::copy() {
  if (last_answer_.empty()) return view_.note(Style::dim, "no answer yet");
  if (plain_) return view_.note(Style::yellow, "this terminal (TERM=dumb) has no clipboard to set");
  const std::string_view whole = last_answer_;
  const std::string_view copied = whole.substr(
      0, whole.size() > kCopiedBytesMax ? tools::utf8_floor(whole, kCopiedBytesMax) : whole.size());
  write_whole(STDOUT_FILENO, clipboard_set_to(copied));
  const auto n = [](std::size_t bytes) { return grouped(static_cast<long long>(bytes)); };
  view_.note(
      copied == whole ? Style::dim : Style::yellow,
      copied == whole
          ? fmt::format("copied {} bytes, if your terminal lets programs do so", n(whole.size()))
          : fmt::format("copied the first {} of {} bytes: terminals take no more", n(copied.size()),
                        n(whole.size())));
}

// As `lares review`, but in this session: who then fixes what was found knows the findings.
void Interactive::review(const std::string& range) {
  const auto changes = shown::change_set(root(), range, {});
  if (!changes) return complain(Error{changes.error()});
  if (changes->diff.empty() && changes->left_out.empty())
    return view_.note(Style::yellow, shown::nothing_told(*changes));
  if (!changes->left_out.empty())
    view_.note(Style::yellow, shown::left_out_told(*changes, "with `lares review --only PATH`"));
  say(shown::review_prompt(*changes), "steer", "ask");
}

}  // namespace lares::cli
