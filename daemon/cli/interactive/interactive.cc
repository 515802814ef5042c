// lares alone at a terminal: a conversation about this repository.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "daemon/cli/changes.h"
#include "daemon/cli/commands.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/interactive/conversation.h"
#include "daemon/cli/interactive/history.h"
#include "daemon/cli/interactive/line_editor.h"
#include "daemon/cli/interactive/plain_input.h"
#include "daemon/cli/interactive/recap.h"
#include "daemon/cli/interactive/slash.h"
#include "daemon/cli/options.h"
#include "daemon/cli/report.h"
#include "daemon/cli/start.h"
#include "daemon/cli/text.h"
#include "daemon/cli/transcript.h"
#include "daemon/cli/turn_view.h"
#include "daemon/version.h"

namespace lares::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kRedrawEvery{120};
constexpr std::chrono::hours kIdle{1};
constexpr int kHappeningsAtOnceMax = 256;  // before the screen is drawn
constexpr std::size_t kExchangesShown = 3, kAnswerLinesShown = 6, kSessionsShown = 15;
constexpr int kDiffLinesShown = 120;  // of one change, by /diff

struct InteractiveOptions {
  std::string root, session;
  bool newest = false, no_sandbox = false;
};

class Interactive {
 public:
  Interactive(const DaemonOptions& daemon, const InteractiveOptions& options)
      : options_(options),
        screen_(STDOUT_FILENO, Terminal::detect(STDOUT_FILENO)),
        transcript_(screen_, {.answer_live = true, .show_thinking = false, .fold_output = true}),
        view_(screen_, transcript_),
        history_(History::path_of(daemon.state_dir, options.root)),
        talk_(link_, daemon, options.root,
              {.waiting = [this](std::string_view what) { view_.waiting(what), input_->show(); },
               .reconnected = [this](const std::string& line) { view_.turn_ended(), view_.note(Style::yellow, line), catch_up(); },
               .failed = [this](const Error& error) { view_.turn_ended(), complain(error); },
               .not_sent = [this](const std::string& content) { input_->put_back(content); }}) {
    InputEvents events{.wait = [this] { wait(); },
                       .submitted = [this](std::string line) { submitted(std::move(line)), after_happenings(); },
                       .leave = [this] { input_->stop(); },
                       .completions = slash_completions};
    plain_ = !screen_.terminal().is_terminal;
    if (plain_) input_ = std::make_unique<PlainInput>(screen_, std::move(events));
    else input_ = std::make_unique<LineEditor>(screen_, history_, std::move(events));
  }

  int run() {
    if (auto begun = begin(); !begun) return view_.hide_status(), fail(begun.error(), /*json=*/false);
    if (!plain_) link_.watch_job_control();
    after_happenings();
    input_->run();
    if (talk_.started_daemon()) end_useless_daemon(link_);
    view_.hide_status();
    screen_.fresh_line();
    say_how_to_go_on();
    return exit_;
  }

 private:
  Result<> begin() {
    if (auto begun = talk_.begin(); !begun) return begun;
    view_.turn_ended();
    protocol::SessionSettings settings;
    settings.no_sandbox = options_.no_sandbox;
    talk_.settings(settings);
    transcript_.set_root(options_.root);
    greet();
    std::string id = options_.session;
    if (options_.newest) {
      const auto sessions = talk_.sessions();
      if (!sessions) return tl::unexpected(sessions.error());
      if (sessions->empty()) return tl::unexpected(Error{"--continue: there is no session about " + options_.root + " yet; `lares` alone begins one"});
      id = sessions->front().session_id;
    }
    return id.empty() ? Result<>{} : resume(id);
  }

  void greet() {
    const char* dot = screen_.terminal().utf8 ? " · " : " - ";
    view_.note(Style::dim, clip(fmt::format("lares {}{}{}{}/help", daemon::kVersion, dot, options_.root, dot), screen_.width_or(400) - 1, "~"));
    if (options_.no_sandbox) view_.note(Style::yellow, "commands of new sessions run without a sandbox, with all your rights");
  }

  void say_how_to_go_on() {
    if (!talk_.has_session() || talk_.session().last_seq <= 1) return;
    const char* what = talk_.running_turn() != 0 ? "the turn goes on in the daemon; `lares --continue` shows it" : "`lares --continue` goes on";
    fmt::print("{}\n", screen_.terminal().paint(Style::dim, fmt::format("session {}: {}", talk_.session().session_id, what)));
  }

  // ---- what happens

  void wait() {
    if (plain_) link_.read_line();
    else link_.read_keys();
    const bool moving = talk_.busy() || loading_;
    happened(link_.next(Clock::now() + (moving ? Clock::duration(kRedrawEvery) : Clock::duration(kIdle))));
    for (int i = 1; i < kHappeningsAtOnceMax; ++i) {
      const Happening h = link_.next(Clock::now());
      if (h.kind == Happening::Kind::tick) break;
      happened(h);
    }
    after_happenings();
  }

  void after_happenings() {
    if (input_->has_room_for_status() && (talk_.busy() || loading_)) view_.tick();
    else view_.hide_status();
    const bool utf8 = screen_.terminal().utf8;
    const char* mark = utf8 ? "› " : "> ";
    std::string prompt = mark;
    if (!question_id_.empty()) prompt = std::string("answer ") + mark;
    if (!picks_.empty()) prompt = std::string("which one? ") + mark;
    if (plain_ && talk_.busy() && question_id_.empty()) prompt.clear();  // output would run into it
    input_->prompt(prompt);
  }

  void happened(const Happening& h) {
    switch (h.kind) {
      case Happening::Kind::notification:
        talk_.notified(h);
        notified(h);
        break;
      case Happening::Kind::answer:
        talk_.answered(h);
        break;
      case Happening::Kind::closed:
        transcript_.finish();
        question_id_.clear();
        talk_.lost();
        break;
      case Happening::Kind::interrupt:
        interrupt();
        break;
      case Happening::Kind::terminate:
      case Happening::Kind::hangup:
        exit_ = kExitInterrupted;
        input_->stop();
        break;
      case Happening::Kind::resized:
        input_->show();
        screen_.resized();
        input_->resized();
        transcript_.resized();
        break;
      case Happening::Kind::typed:
      case Happening::Kind::keys:
        leaving_ = false;
        input_->typed(h.line);
        break;
      case Happening::Kind::no_more_input:
        input_->stop();
        break;
      case Happening::Kind::suspend:
        input_->suspend();
        std::raise(SIGSTOP);
        break;
      case Happening::Kind::resume:
        input_->resume();
        break;
      case Happening::Kind::tick:
        break;
    }
  }

  template <class T, class F>
  void on(const Happening& h, F f) {
    if (h.message.method != T::kNotification) return;
    if (const auto typed = protocol::from_json<T>(h.message.params)) f(*typed);
  }

  void notified(const Happening& h) {
    on<protocol::ServerState>(h, [this](const auto& x) { server_state(x); });
    if (const auto of = h.message.params.find("sessionId");
        of == h.message.params.end() || !talk_.has_session() || *of != talk_.session().session_id)
      return;
    on<protocol::SessionState>(h, [this](const auto& x) {
      if (!interrupting_) view_.session_state(x);
    });
    on<protocol::TurnStarted>(h, [this](const auto&) { turn_began(); });
    on<protocol::ItemCompleted>(h, [this](const auto& x) {
      changes_.add(x.item);
      if (x.item.id == question_id_) question_id_.clear();
      if (x.item.kind == "user" && !talk_.sent(x.item.prompt_id)) transcript_.said(x.item.text, "from another client");
    });
    view_.show(h.message, [](std::int64_t) { return true; });
    for_question(h);
    on<protocol::TurnEnded>(h, [this](const auto& x) { turn_ended(x); });
    on<protocol::PromptWithdrawn>(h, [this](const auto& x) {
      if (talk_.sent(x.id)) view_.note(Style::yellow, "taken back before it began");
      interrupting_ = false;
    });
  }

  void for_question(const Happening& h) {
    on<protocol::ItemUpdated>(h, [this](const auto& x) { ask(x.item); });
    on<protocol::ItemSnapshot>(h, [this](const auto& x) { ask(x.item); });
  }

  void ask(const protocol::Item& item) {
    if (item.state != "waiting" || item.id == question_id_) return;
    question_id_ = item.id;
    const Json arguments = Json::parse(item.arguments, nullptr, /*allow_exceptions=*/false);
    const bool told = arguments.is_object() && arguments.contains("question") && arguments["question"].is_string();
    view_.note(Style::bold, told ? one_line(arguments["question"].get<std::string>()) : "the model asks");
  }

  void server_state(const protocol::ServerState& state) {
    loading_ = state.state == "loading";
    if (state.state == "failed") complain(Error{"load the model: " + state.message});
    if (loading_) view_.model_state(state);
    else if (!talk_.busy()) view_.turn_ended();
  }

  void turn_began() {
    changes_ = Changes();
    view_.turn_began(talk_.session().context_tokens);
    if (interrupting_) talk_.interrupt();  // it was wanted before there was anything to interrupt
  }

  void turn_ended(const protocol::TurnEnded& ended) {
    transcript_.finish();
    view_.turn_ended();
    question_id_.clear();
    interrupting_ = false;
    const Style style = ended.reason == "end_turn" ? Style::dim : ended.reason == "error" || ended.reason == "crashed" ? Style::red : Style::yellow;
    screen_.line("");
    screen_.line(screen_.terminal().paint(style, view_.summary(ended, changes_, "")));
  }

  // After a reconnection: a turn may run that this process has not seen begin.
  void catch_up() {
    if (talk_.running_turn() != 0) view_.turn_began(talk_.session().context_tokens);
  }

  void complain(const Error& error) {
    view_.note(Style::red, "lares: " + printable(error.message));
  }

  // ---- what the person wants

  void interrupt() {
    if (talk_.busy()) {
      if (!interrupting_) view_.note(Style::yellow, talk_.running_turn() != 0 ? "interrupting the turn" : "taking the prompt back");
      interrupting_ = true;
      view_.waiting("stopping");
      talk_.interrupt();
    } else if (!input_->empty()) {
      input_->clear();
    } else if (!picks_.empty()) {
      picks_.clear();
    } else if (leaving_) {
      input_->stop();
    } else {
      leaving_ = true;
      view_.note(Style::dim, "Ctrl-C once more leaves; so does Ctrl-D");
    }
  }

  void submitted(std::string line) {
    const auto picks = std::exchange(picks_, {});
    if (line.find_first_not_of(" \t\n") == std::string::npos) return;
    if (line.size() > protocol::kPromptBytesMax) {
      view_.note(Style::red, fmt::format("the prompt has {} bytes, more than {}; put it into a file of the repository and name that", line.size(), protocol::kPromptBytesMax));
      return input_->put_back(line);
    }
    if (!picks.empty() && pick(picks, line)) return;
    if (auto added = history_.add(line); !added && !history_failed_) history_failed_ = true, complain(added.error());
    if (const auto slash = parse_slash(line)) return command(*slash);
    if (!question_id_.empty()) {
      transcript_.said(line, "");
      return talk_.answer(std::exchange(question_id_, {}), line);
    }
    say(line, "steer", "work");
  }

  void say(const std::string& text, std::string_view delivery, std::string_view mode) {
    const bool running = talk_.running_turn() != 0;
    transcript_.said(text, !running ? "" : delivery == "queue" ? "after this turn" : mode == "ask" ? "a question, after this turn" : "steers the running turn");
    if (!running) view_.waiting("sending");
    talk_.say(text, delivery, mode);
  }

  void command(const SlashLine& line) {
    if (!line.command) {
      view_.note(Style::yellow, fmt::format("there is no /{}{}; /help lists the commands", line.name,
                                            line.nearest.empty() ? "" : fmt::format(", but /{}", line.nearest)));
      return;
    }
    if (line.command->argument == "TEXT" && line.argument.empty()) {
      view_.note(Style::yellow, fmt::format("/{} TEXT: the text is missing; {}", line.name, line.command->help));
      return;
    }
    transcript_.said("/" + line.name + (line.argument.empty() ? "" : " " + line.argument), "");
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
      case Slash::status:
        return status();
      case Slash::prefix:
        return prefix();
      case Slash::ask:
        return ask_or_queue(line.argument, "steer", "ask");
      case Slash::queue:
        return ask_or_queue(line.argument, "queue", "work");
      case Slash::thinking:
        return thinking(line.argument);
      case Slash::quit:
        return input_->stop();
    }
  }

  void ask_or_queue(const std::string& text, std::string_view delivery, std::string_view mode) {
    if (talk_.running_turn() == 0) view_.waiting("sending");
    else view_.note(Style::dim, "waits for the end of this turn");
    talk_.say(text, delivery, mode);
  }

  void checked(const Result<>& result, std::string_view done) {
    if (!result) complain(result.error());
    else if (!done.empty()) view_.note(Style::dim, done);
  }

  void help() {
    std::string text;
    for (const auto& c : slash_commands()) text += fmt::format("  {:<20} {}\n", fmt::format("/{} {}", c.name, c.argument), c.help);
    text +=
        "  Enter                sends; while a turn runs, it steers it\n"
        "  Alt-Enter            a new line, as a backslash at the end\n"
        "  Ctrl-C               stops the turn; else clears the line; twice leaves\n"
        "  Up, Ctrl-R           earlier prompts of this repository\n";
    transcript_.lines(text);
  }

  void offer_sessions() {
    auto sessions = talk_.sessions();
    if (!sessions) return complain(sessions.error());
    if (sessions->empty()) return view_.note(Style::dim, "no sessions about this repository yet");
    if (sessions->size() > kSessionsShown) sessions->resize(kSessionsShown);
    const int width = screen_.width_or(200) - 1;
    for (std::size_t i = 0; i < sessions->size(); ++i) {
      const auto& s = (*sessions)[i];
      const bool this_one = talk_.has_session() && talk_.session().session_id == s.session_id;
      screen_.line(clip(fmt::format("{:>3}  {:>4}  {}{}", i + 1, age(s.updated_ms), one_line(s.title), this_one ? " (this one)" : ""), width,
                        screen_.terminal().utf8 ? "…" : "~"));
    }
    view_.note(Style::dim, "its number goes on with one; Enter with none");
    picks_ = std::move(*sessions);
  }

  // False: the line is no number, so it is a prompt.
  bool pick(const std::vector<protocol::SessionInfo>& from, const std::string& line) {
    if (line.find_first_not_of("0123456789 ") != std::string::npos || line.size() > 6) return false;
    const auto n = static_cast<std::size_t>(std::atoi(line.c_str()));
    if (n == 0 || n > from.size()) {
      view_.note(Style::yellow, fmt::format("there is no session {} in this list of {}", n, from.size()));
      return true;
    }
    checked(resume(from[n - 1].session_id), "");
    return true;
  }

  Result<> resume(const std::string& id) {
    if (auto resumed = talk_.resume(id); !resumed) return resumed;
    const auto& s = talk_.session();
    transcript_.set_root(s.root);
    const char* dot = screen_.terminal().utf8 ? " · " : " - ";
    view_.note(Style::dim, clip(fmt::format("session {}{}{} {}{}{} ago", s.session_id, dot, s.n_turns, s.n_turns == 1 ? "turn" : "turns", dot, age(s.updated_ms)), screen_.width_or(400) - 1, "~"));
    const auto exchanges = last_exchanges(link_, s, kExchangesShown);
    if (!exchanges) return tl::unexpected(exchanges.error());
    for (const auto& exchange : *exchanges) {
      transcript_.said(exchange.prompt, "");
      transcript_.beginning(exchange.answer, kAnswerLinesShown);
    }
    catch_up();
    return {};
  }

  void diff() {
    if (!talk_.has_session()) return view_.note(Style::dim, "this session has not begun, so it changed nothing");
    const auto changes = session_changes(link_, talk_.session().session_id);
    if (!changes) return complain(changes.error());
    for (const auto& path : changes->net()) {
      screen_.line(screen_.terminal().paint(Style::bold, one_line(path)));
      for (const auto& change : changes->of(path)) transcript_.diff({change.path, change.diff}, kDiffLinesShown);
    }
    if (changes->net().empty()) view_.note(Style::dim, "no file is another than before, as far as the calls told");
    if (!changes->complete()) view_.note(Style::dim, "commands ran that may have changed other files too");
  }

  void status() {
    const auto status = link_.call<protocol::ServerStatusResult>(protocol::ServerStatus{});
    if (!status) return complain(status.error());
    std::string text = status_text(*status);
    if (talk_.has_session()) text += fmt::format("session   {}, context of {} tokens\n", talk_.session().session_id, grouped(talk_.session().context_tokens));
    transcript_.lines(text);
  }

  void prefix() {
    const auto prefix = link_.call<protocol::RepoPrefixResult>(protocol::RepoPrefix{.root = options_.root, .files = true});
    if (!prefix) return complain(prefix.error());
    transcript_.lines(prefix_text(*prefix, /*files=*/false));
  }

  void thinking(const std::string& argument) {
    if (argument == "on" || argument == "off") return transcript_.show_thinking(argument == "on");
    if (!argument.empty()) return view_.note(Style::yellow, "/thinking shows the last turn's; /thinking on, off: as it is written");
    if (view_.thinking().empty()) return view_.note(Style::dim, "no thinking yet");
    const bool shown = transcript_.shows_thinking();
    transcript_.show_thinking(true);
    transcript_.think(view_.thinking());
    transcript_.finish();
    transcript_.show_thinking(shown);
  }

  const InteractiveOptions options_;
  Link link_;
  Screen screen_;
  Transcript transcript_;
  TurnView view_;
  History history_;
  Conversation talk_;
  std::unique_ptr<Input> input_;
  Changes changes_;  // of the running turn
  std::string question_id_;
  std::vector<protocol::SessionInfo> picks_;
  bool plain_ = false, loading_ = false, interrupting_ = false, leaving_ = false, history_failed_ = false;
  int exit_ = kExitFinished;
};

}  // namespace

int interactive_command(int argc, const char* const* argv) {
  CLI::App app("A conversation about the repository: work on it, ask about it, look at what changed.", "lares");
  DaemonOptions daemon;
  InteractiveOptions options;
  auto* session = app.add_option("--session", options.session, "go on with this session (see lares sessions)");
  app.add_flag("--continue", options.newest, "go on with the newest session of this repository")->excludes(session);
  auto* root = app.add_option("--root", options.root, "the repository (default: the git worktree around the current directory, else that directory)");
  root->excludes(session);
  app.add_flag("--dangerously-no-sandbox", options.no_sandbox, "let the model's commands run with all your rights, unconfined")->excludes(session);
  daemon.add_to(app, /*starts_daemon=*/true);
  if (const auto over = parse(app, argc, argv)) return *over;
  if (::isatty(STDIN_FILENO) != 1 || ::isatty(STDOUT_FILENO) != 1) {
    fmt::print(stderr, "lares: a conversation needs a terminal; `lares run` and `lares ask` do not\n");
    return kExitUsage;
  }
  if (auto usable = daemon.resolve(); !usable) return fail(usable.error(), /*json=*/false);
  auto top = repository_root(options.root);
  if (!top) return fail(top.error(), /*json=*/false);
  options.root = *top;
  return Interactive(daemon, options).run();
}

}  // namespace lares::cli
