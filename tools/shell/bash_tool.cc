#include "tools/shell/bash_tool.h"

#include <fcntl.h>
#include <string.h>
#include <sys/random.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <variant>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tools/clip.h"
#include "tools/shell/explain.h"
#include "tools/text.h"

namespace lares::tools {
namespace {

static_assert(kStreamedBytesKept <= kHeadBytes);

constexpr auto kIo = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kCommandBytesMax = 1 << 20;
constexpr int kPipeBytes = 1 << 20;  // what background jobs may print while no command runs
constexpr auto kLivenessEvery = std::chrono::milliseconds(250),
               kDrain = std::chrono::milliseconds(100);
constexpr auto kJobsAnswer = std::chrono::seconds(2);  // an idle shell answers in a millisecond
constexpr std::size_t kUnreadBytesMax = 64 << 10;      // of what jobs print between commands
constexpr std::size_t kJobOutputBytesMax = 2'000;      // told with a job's end
constexpr std::size_t kHiddenNamed = 8;
constexpr std::size_t kUnreachedMax = 8;

constexpr const char* kDescription =
    "Run commands in a bash shell.\n"
    "* The contents of `command` do NOT need to be XML-escaped.\n"
    "* There is no access to the internet, and only the repository can be written.\n"
    "* State is persistent across calls: directory, environment, functions and background jobs.\n"
    "* To inspect a range of lines of a file, e.g. lines 10-25, try 'sed -n 10,25p "
    "/path/to/the/file'.\n"
    "* Avoid commands that print very much; long output is clipped.\n"
    "* Commands read from /dev/null. Run long lived commands in the background, e.g. 'sleep 10 &'.";

constexpr std::string_view kNoNetwork =
    "* There is no access to the internet, and only the repository can be written.\n";

// Without allowed hosts always the same text, for it is part of every prompt's beginning.
std::string description(const BuiltinOptions& options) {
  std::string out = kDescription;
  if (options.network_allow.empty() || options.no_sandbox) return out;
  const auto at = out.find(kNoNetwork);
  if (at == out.npos) return out;
  return out.replace(
      at, kNoNetwork.size(),
      fmt::format("* Only the repository can be written. Of the internet only these hosts can be "
                  "reached, over HTTP(S) by the proxy that is set: {}.\n",
                  fmt::join(options.network_allow, ", ")));
}

constexpr const char* kSchema =
    R"({"type":"object","properties":{"command":{"type":"string","description":"The bash command to run."}},"required":["command"]})";

constexpr std::string_view kResetNote =
    "The persistent bash shell was reset and its background jobs were killed; the next bash call "
    "starts from the workspace with a fresh current directory and environment.";

constexpr std::string_view kTimeoutNote =
    "[the user's setting command_timeout allows no longer; what takes longer runs in the "
    "background]";

// Before the first result of a shell, where the model has worked in another and was not told that
// it is gone.
constexpr std::string_view kNotBegunNote =
    "[the shell ended before this command, which was not run]";
constexpr std::string_view kNewShellNote =
    "[a new shell: the directory, environment and background jobs of earlier calls are gone]";
// Before the first result of the one in which nothing can be written.
constexpr std::string_view kReadingNote =
    "[a new shell, for reading, with a directory, environment and jobs of its own: the repository "
    "cannot be written from here, /tmp can, and there is no network]";
constexpr std::string_view kJobsForReading = "Of the shell for reading:";

std::string make_nonce() {
  unsigned char bytes[12] = {};
  std::string out;
  if (::getrandom(bytes, sizeof bytes, 0) != sizeof bytes) return out;
  for (unsigned char byte : bytes) out += fmt::format("{:02x}", byte);
  return out;
}

// $'...': the whole command on one line, so that the shell has read all of it before it runs any of
// it.
std::string quoted(std::string_view command) {
  std::string out = "$'";
  for (char c : command) {
    if (c == '\\' || c == '\'') out += '\\';
    if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  return out + "'";
}

// The marks are written as octal escapes, so what `set -x` echoes of them is not a mark, and they
// carry a number that the command could not know. File descriptor 250 is the shell's own output,
// whatever the command redirects. Behind the command's status comes the table of its jobs. The
// empty line is for bash 5.2: after a command that ended within a quote the next `{` would be a
// word.
std::string script_for(std::string_view command, const std::string& nonce) {
  return fmt::format(
      "\n{{ builtin printf '\\036%s<\\036' {0} >&250; }} 2>/dev/null; eval -- {1} </dev/null; "
      "{{ builtin printf '\\036%s:%d\\036' {0} \"$?\" >&250; builtin jobs -l >&250; builtin printf "
      "'\\036%s;\\036' {0} >&250; }} 2>/dev/null\n",
      nonce, quoted(command));
}

// What came between the marks, as it comes.
class Reply {
 public:
  explicit Reply(const std::string& nonce)
      : begin_("\036" + nonce + "<\036"),
        end_("\036" + nonce + ":"),
        jobs_end_("\036" + nonce + ";\036") {}

  // Takes from `raw` what can be decided; `before` and `text` get the bytes before and after the
  // first mark.
  void feed(std::string& raw, std::string& before, std::string& text) {
    if (!begun_) {
      const std::size_t at = raw.find(begin_);
      if (at == std::string::npos) return take(raw, begin_.size(), before);
      before.append(raw, 0, at);
      raw.erase(0, at + begin_.size());
      begun_ = true;
    }
    if (!status_) {
      const std::size_t at = raw.find(end_);
      if (at == std::string::npos) return take(raw, end_.size(), text);
      const std::size_t close = raw.find('\036', at + end_.size());
      text.append(raw, 0, at);
      raw.erase(0, at);
      if (close == std::string::npos) return;
      status_ = std::atoi(raw.c_str() + end_.size());
      raw.erase(0, close - at + 1);
    }
    const std::size_t at = raw.find(jobs_end_);
    if (at == std::string::npos) return;
    jobs_.assign(raw, 0, at);
    raw.erase(0, at + jobs_end_.size());
    ended_ = true;
  }
  // The bytes held back as a possible mark, when no more will come.
  void finish(std::string& raw, std::string& text) {
    if (begun_ && !ended_) text.append(raw);
    raw.clear();
  }
  bool begun() const { return begun_; }
  bool ended() const { return ended_; }
  int status() const { return status_.value_or(0); }
  const std::string& jobs() const {
    return jobs_;
  }  // as `jobs -l` prints them, and what jobs printed in that moment

 private:
  // All but the bytes that may be the beginning of a mark.
  static void take(std::string& raw, std::size_t mark, std::string& to) {
    const std::size_t begin = raw.find('\036', raw.size() - std::min(raw.size(), mark - 1));
    const std::size_t keep = begin == std::string::npos ? 0 : raw.size() - begin;
    to.append(raw, 0, raw.size() - keep);
    raw.erase(0, raw.size() - keep);
  }
  std::string begin_, end_, jobs_end_, jobs_;
  bool begun_ = false, ended_ = false;
  std::optional<int> status_;
};

void add_line(std::string& text, std::string_view line) {
  if (!text.empty() && !text.ends_with('\n')) text += '\n';
  text += line;
}

void add_told(std::string& text, std::string_view line) {
  if (!line.empty()) add_line(text, line);
}

// Programs keep the proxy's own words to themselves: "CONNECT tunnel failed, response 403".
std::string told_of_unreached(const std::map<std::string, std::string>& all) {
  std::string out;
  bool listed = true;
  for (const auto& [host, why] : all) {
    out += fmt::format("{}{} ({})", out.empty() ? "[not reached: " : ", ", to_utf8(host),
                       to_utf8(why));
    listed = listed && why != "not listed";
  }
  if (!listed) out += "; only the user can list a host, in network_allow";
  return out.empty() ? out : out + "]";
}

}  // namespace

BashTool::BashTool(asio::any_io_executor io, const BuiltinOptions& options)
    : io_(io),
      options_(options),
      spec_{"bash", description(options), kSchema},
      threads_(options.threads),
      untold_loss_(options.had_shell),
      turn_(io, 1) {}

asio::awaitable<Result<Outcome>> BashTool::run(nlohmann::json args, OnOutput on_output) {
  const bool throwing = co_await enter_cancellation();
  Result<Outcome> out = tl::unexpected(Error{Errc::cancelled, "bash: cancelled"});
  std::string command;
  std::string wrong;
  const auto it = args.is_object() ? args.find("command") : args.end();
  if (!args.is_object() || it == args.end() || !it->is_string())
    wrong = "Parameter `command` is missing; it is the command to run.";
  else
    command = it->get<std::string>();
  if (command.find('\0') != std::string::npos)
    wrong = "The command contains a NUL byte, which no shell can read.";
  if (command.size() > kCommandBytesMax) {
    wrong = fmt::format("The command has {} bytes; at most {} are taken. Write a file instead.",
                        command.size(), kCommandBytesMax);
  }
  if (!wrong.empty()) {
    out = Outcome{wrong, false, {}};
  } else {
    const auto [ec] = co_await turn_.async_send(boost::system::error_code(), kIo);
    if (!ec) {
      std::string failed;
      try {
        out = co_await locked(std::move(command), std::move(on_output));
      } catch (const std::exception& e) {
        failed = e.what();
      }
      if (!failed.empty()) {
        drop_shell();
        out = tl::unexpected(Error{Errc::broken, "bash: " + failed});
      }
      turn_.try_receive([](boost::system::error_code) {});
    }
  }
  co_await leave_cancellation(throwing);
  co_return out;
}

Tool* BashTool::for_reading() {
  if (options_.worktree_readonly) return this;
  if (options_.no_sandbox) return nullptr;
  if (!for_reading_) {
    BuiltinOptions options = options_;
    options.worktree_readonly = true;
    options.had_shell = false;
    options.network_allow.clear();
    for_reading_ = std::make_unique<BashTool>(io_, options);
  }
  return for_reading_.get();
}

asio::awaitable<std::string> BashTool::news() {
  std::string out;
  if (!shell_.process || !shell_.jobs.any_runs()) co_return out;
  const bool throwing = co_await enter_cancellation();
  const auto [ec] = co_await turn_.async_send(boost::system::error_code(), kIo);
  if (!ec) {
    try {
      out = co_await ask_for_jobs();
    } catch (const std::exception&) {
      drop_shell();  // the next command begins another
    }
    turn_.try_receive([](boost::system::error_code) {});
  }
  co_await leave_cancellation(throwing);
  co_return out;
}

asio::awaitable<std::string> BashTool::ask_for_jobs() {
  const std::string nonce = make_nonce();
  if (nonce.empty() || !shell_.process) co_return std::string();
  const std::string script = script_for(":", nonce);
  const auto [write_error, n_written] = co_await asio::async_write(shell_.process->in(),
                                                                   asio::buffer(script), kIo);
  if (write_error || n_written != script.size()) co_return std::string();
  Reply reply(nonce);
  const auto until = Clock::now() + kJobsAnswer;
  std::string printed;
  while (!reply.ended() && Clock::now() < until) {  // a flood never leaves the read waiting
    if (co_await read_before(shell_.process->out(), shell_.pending, until) != ReadEnd::data) break;
    reply.feed(shell_.pending, shell_.unread, printed);
    if (shell_.unread.size() > kUnreadBytesMax)
      shell_.unread.erase(0, shell_.unread.size() - kUnreadBytesMax);
  }
  std::string out;
  if (!reply.ended()) co_return out;  // its answer, if it comes, is passed over as no command's
  shell_.unread += printed;
  for (const auto& line : shell_.jobs.take(reply.jobs(), &shell_.unread)) add_line(out, line);
  if (!out.empty() && options_.worktree_readonly) out = fmt::format("{}\n{}", kJobsForReading, out);
  if (shell_.inside) add_told(out, sandbox::told_of(shell_.inside->end(shell_.process->alone())));
  if (out.empty() || shell_.unread.empty()) co_return out;
  OutputCleaner cleaner;
  std::string text = cleaner.feed(std::exchange(shell_.unread, std::string()));
  text += cleaner.finish();
  if (text.size() > kJobOutputBytesMax)
    text.erase(0, utf8_floor(text, text.size() - kJobOutputBytesMax));
  add_line(out, "What background jobs printed last:");
  add_line(out, text);
  co_return out;
}

asio::awaitable<tl::expected<void, std::string>> BashTool::ensure_shell() {
  if (shell_.process && !has_ended(shell_.process->pid()))
    co_return tl::expected<void, std::string>();
  drop_shell();
  if (!options_.no_sandbox && !options_.worktree_readonly)
    shell_.inside =
        std::make_unique<sandbox::ControlPaths::Inside>(sandbox::ControlPaths::of(options_.root));
  sandbox::Sensitive sensitive;
  if (!options_.no_sandbox) {
    shell_.secrets = std::make_shared<sandbox::SensitivePaths>(
        options_.root, sandbox::SensitiveLimits(), options_.worktree_readonly);
    const auto search = [secrets = shell_.secrets](const Cancelled& cancelled) {
      return secrets->begin(cancelled);
    };
    auto found = co_await look_for_secrets<sandbox::Sensitive>(threads_, search);
    if (!found) co_return tl::unexpected(std::move(found.error()));
    sensitive = std::move(*found);
    shell_.kept = sensitive;
  }
  std::vector<std::string> argv;
  for (const char* word : {"bash", "--noprofile", "--norc"}) argv.emplace_back(word);
  auto options = options_;
  options.on_network = [all = shell_.unreached,
                        tell = options_.on_network](const sandbox::NetworkDecision& one) {
    if (!one.why.empty() && all->size() < kUnreachedMax)
      all->try_emplace(fmt::format("{}:{}", one.host, one.port), one.why);
    if (tell) tell(one);
  };
  auto started = co_await start_command(std::move(options), std::move(argv), options_.root,
                                        std::move(sensitive));
  if (!started) co_return tl::unexpected(started.error());
  shell_.process = std::move(*started);
  // Fails on a socket, which is no loss
  (void)::fcntl(shell_.process->out().native_handle(), F_SETPIPE_SZ, kPipeBytes);
  const std::string setup = "exec 250>&1\n";
  const auto [ec, n] = co_await asio::async_write(shell_.process->in(), asio::buffer(setup), kIo);
  if (ec) co_return tl::unexpected("the shell did not start: " + ec.message());
  co_return tl::expected<void, std::string>();
}

// What the user or another program has put there since the last command, or changed, is hidden from
// the shell that lives. Told where it was not hidden before; the error is why no command runs.
asio::awaitable<tl::expected<std::string, std::string>> BashTool::hide_what_appeared() {
  std::string told;
  if (!shell_.secrets) co_return told;
  using Appeared = sandbox::SensitivePaths::Appeared;
  const bool idle = shell_.process->alone();
  const auto search = [secrets = shell_.secrets, idle](const Cancelled& cancelled) {
    return secrets->before_command(idle, cancelled);
  };
  auto appeared = co_await look_for_secrets<Appeared>(threads_, search);
  if (!appeared) co_return tl::unexpected(std::move(appeared.error()));
  for (const auto& path : appeared->fresh) shell_.kept.hidden.push_back(options_.root + "/" + path);
  auto hidden = co_await shell_.process->hide(std::move(appeared->hidden));
  if (hidden && !co_await is_cancelled()) {
    auto kept = co_await shell_.process->keep(std::move(appeared->replaced));
    hidden = std::move(kept);
  }
  if (co_await is_cancelled()) co_return told;
  const std::size_t n = appeared->fresh.size(), n_named = std::min(n, kHiddenNamed);
  std::string names;
  for (std::size_t i = 0; i < n_named; ++i) names += (i ? ", " : "") + to_utf8(appeared->fresh[i]);
  if (n > n_named) names += fmt::format(" and {} more", n - n_named);
  if (hidden) {
    if (n > 0)
      told = fmt::format("[from now on hidden from commands, for it may hold secrets: {}]", names);
    co_return told;
  }
  // Only a new shell is kept from it; the command was meant for this one's directory.
  std::string refused = fmt::format("The command was not run: {} had to be hidden from commands.",
                                    n > 0 ? names : "what the user has changed");
  const std::string moved = co_await end_shell();
  add_told(refused, moved);
  tell_reset(refused);
  co_return tl::unexpected(std::move(refused));
}

void BashTool::note_loss(Shell& gone) {
  if (!gone.process) return;
  untold_loss_ = true;
  for (auto& line : gone.jobs.killed()) jobs_killed_.push_back(std::move(line));
}

void BashTool::drop_shell() {
  note_loss(shell_);
  shell_ = Shell();
}

void BashTool::tell_reset(std::string& text) {
  add_line(text, kResetNote);
  for (const auto& line : std::exchange(jobs_killed_, {})) add_line(text, line);
  untold_loss_ = false;
}

// What was moved aside of what it left.
asio::awaitable<std::string> BashTool::end_shell() {
  Shell ending = std::move(shell_);
  shell_ = Shell();
  note_loss(ending);
  ending.process->kill();
  (void)co_await ending.process->wait();
  // A coroutine that is cancelled does not wait for the end, and nobody would hear of it: the next
  // look is another's.
  if (!ending.inside || co_await is_cancelled()) co_return std::string();
  co_return sandbox::told_of(ending.inside->end(true));
}

asio::awaitable<Result<Outcome>> BashTool::locked(std::string command, OnOutput on_output) {
  if (co_await is_cancelled()) co_return tl::unexpected(Error{Errc::cancelled, "bash: cancelled"});
  const sandbox::Process* const before = shell_.process.get();
  const auto ready = co_await ensure_shell();
  const bool is_new = shell_.process.get() != before;
  if (!ready) {
    shell_ = Shell();
    if (co_await is_cancelled())
      co_return tl::unexpected(Error{Errc::cancelled, "bash: cancelled"});
    co_return Outcome{ready.error(), false, {}};
  }
  // Not all of the launch can be cancelled; what was cancelled meanwhile is not begun. The shell is
  // as new.
  if (co_await is_cancelled()) co_return tl::unexpected(Error{Errc::cancelled, "bash: cancelled"});
  std::string hidden;
  if (!is_new) {
    auto told = co_await hide_what_appeared();
    if (co_await is_cancelled()) {
      drop_shell();  // nobody knows what of it is hidden
      co_return tl::unexpected(Error{Errc::cancelled, "bash: cancelled; the shell was reset"});
    }
    if (!told) co_return Outcome{std::move(told.error()), false, {}};
    hidden = std::move(*told);
  }
  const std::string nonce = make_nonce();
  if (nonce.empty())
    co_return tl::unexpected(Error{Errc::broken, "bash: no random numbers to be had"});
  const std::string script = script_for(command, nonce);
  const auto deadline = Clock::now() + std::chrono::milliseconds(options_.command_timeout_ms);
  sandbox::Process& process = *shell_.process;
  if (shell_.inside) shell_.inside->begin();

  // The shell reads a long script only as fast as it gets to it; a shell that is gone shows in the
  // read below.
  const auto [write_error, n_written] = co_await asio::async_write(process.in(),
                                                                   asio::buffer(script), kIo);
  (void)write_error;
  (void)n_written;

  Reply reply(nonce);
  OutputCleaner cleaner, job_cleaner;
  Clip clip(options_.state_dir, "bash");
  Throttle throttle(std::move(on_output));
  const auto take = [&](std::string_view text) {
    clip.append(text);
    throttle.add(text);
    throttle.flush_if_due();
  };
  if (options_.worktree_readonly && !std::exchange(told_it_reads_, true))
    take(std::string(kReadingNote) + '\n');
  const auto killed_before = std::exchange(jobs_killed_, {});
  if (std::exchange(untold_loss_, false)) {
    take(std::string(kNewShellNote) + '\n');
    for (const auto& line : killed_before) take(line + '\n');
  }
  bool from_jobs = false;
  if (const std::string clean = job_cleaner.feed(std::exchange(shell_.unread, std::string()));
      !clean.empty())
    from_jobs = true, take(clean);
  ReadEnd end = ReadEnd::data;
  auto give_up = deadline;
  bool draining = false;
  while (!reply.ended() && !co_await is_cancelled()) {
    const auto until = std::min({give_up, Clock::now() + kLivenessEvery, throttle.due()});
    end = co_await read_before(process.out(), shell_.pending, until);
    if (end == ReadEnd::data) {
      std::string ahead, text;
      reply.feed(shell_.pending, ahead, text);
      if (const std::string clean = job_cleaner.feed(ahead); !clean.empty())
        from_jobs = true, take(clean);
      if (!text.empty() && from_jobs) {
        take(job_cleaner.finish() + "[so far: output of background jobs since the last command]\n");
        from_jobs = false;
      }
      take(cleaner.feed(text));
      // A flood never leaves the read waiting, so the deadline is looked at here too.
      if (Clock::now() < give_up || reply.ended()) continue;
      end = ReadEnd::deadline;
      break;
    }
    if (end != ReadEnd::deadline) break;
    throttle.flush_if_due();
    if (Clock::now() >= give_up) break;
    // A background job may hold the pipe open after the shell itself has ended.
    if (!draining && has_ended(process.pid())) draining = true, give_up = Clock::now() + kDrain;
  }
  if (!reply.ended()) {
    std::string text;
    reply.finish(shell_.pending, text);
    take(cleaner.feed(text));
  }
  take(cleaner.finish());
  throttle.flush();

  if (end == ReadEnd::cancelled || co_await is_cancelled()) {
    jobs_killed_ = killed_before;  // the model does not read this result
    co_await end_shell();
    co_return tl::unexpected(Error{Errc::cancelled, "bash: cancelled; the shell was reset"});
  }
  std::string text = clip.finish();
  const Ran ran = options_.worktree_readonly ? Ran::reading : Ran::in_shell;
  std::string sandbox_says = shell_.secrets ? explained(text, options_.root, shell_.kept, ran) : "";
  add_told(sandbox_says, told_of_unreached(std::exchange(*shell_.unreached, {})));
  if (reply.ended()) {
    if (reply.status() != 0) add_line(text, fmt::format("[exit code: {}]", reply.status()));
    add_told(text, sandbox_says);
    for (const auto& line : shell_.jobs.take(reply.jobs(), &shell_.unread)) add_line(text, line);
    for (const auto& line : shell_.jobs.stopped_by_user()) add_line(text, line);
    if (shell_.inside) add_told(text, sandbox::told_of(shell_.inside->end(process.alone())));
    add_told(text, hidden);
    if (shell_.secrets && !options_.worktree_readonly) {  // else what appeared is somebody else's
      const auto search = [secrets = shell_.secrets](const Cancelled& cancelled) {
        return secrets->after_command(cancelled).map([] { return std::monostate(); });
      };
      // Where it fails, what appeared counts as somebody else's.
      (void)co_await look_for_secrets<std::monostate>(threads_, search);
    }
    co_return Outcome{std::move(text), reply.status() == 0, {}};
  }
  if (end == ReadEnd::deadline && !draining) {
    const std::string moved = co_await end_shell();
    std::string out = fmt::format(
        "Your command timed out after {} seconds or experienced an OOM error. Below is partial "
        "output:\n",
        std::max(1, options_.command_timeout_ms / 1000));
    out += text;
    add_told(out, kTimeoutNote);
    add_told(out, sandbox_says);
    add_told(out, moved);
    tell_reset(out);
    co_return Outcome{std::move(out), false, {}};
  }
  // The shell is gone. Asked for its end before it is killed, or every end would look like ours.
  Shell ended = std::move(shell_);
  shell_ = Shell();
  note_loss(ended);
  if (!has_ended(ended.process->pid())) {
    // It closed its output but lives on: nothing can be read from it any more.
    asio::steady_timer patience(co_await asio::this_coro::executor, kDrain);
    co_await patience.async_wait(kIo);
    if (!has_ended(ended.process->pid())) ended.process->kill();
  }
  const sandbox::Exit exit = co_await ended.process->wait();
  if (exit.exited)
    add_line(text, fmt::format("[shell exited: code {}]", exit.code));
  else
    add_line(text, fmt::format("[shell killed by signal: SIG{}]",
                               ::sigabbrev_np(exit.signal) ? ::sigabbrev_np(exit.signal) : "?"));
  if (!reply.begun()) add_line(text, kNotBegunNote);
  add_told(text, sandbox_says);
  if (ended.inside) add_told(text, sandbox::told_of(ended.inside->end(true)));
  tell_reset(text);
  co_return Outcome{std::move(text), false, {}};
}

}  // namespace lares::tools
