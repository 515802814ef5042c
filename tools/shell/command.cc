#include "tools/shell/command.h"

#include <sys/wait.h>

#include <filesystem>
#include <map>
#include <mutex>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include "tools/characters.h"
#include "tools/text.h"
#include "tools/workspace/own_files.h"

namespace lares::tools {
namespace {

constexpr auto kIo = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kReadBytes = 64 << 10;
constexpr std::size_t kPendingBytesMax = 64 << 10;
constexpr auto kOutputEvery = std::chrono::milliseconds(100);

const std::vector<std::string>& command_environment() {
  static const std::vector<std::string> environment = {
      "CI=1", "PAGER=cat", "GIT_PAGER=cat", "TERM=dumb", "NO_COLOR=1", "LANG=C.UTF-8",
      "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0",
      // Python takes bytecode for fresh when size and second of the source agree, which an edit
      // right after a run can bring about; and the worktree stays clean.
      "PYTHONDONTWRITEBYTECODE=1"};
  return environment;
}

asio::awaitable<sandbox::Probe> cached_probe(std::string launcher) {
  static std::mutex mutex;
  static std::map<std::string, sandbox::Probe> known;
  {
    const std::lock_guard lock(mutex);
    if (const auto it = known.find(launcher); it != known.end()) co_return it->second;
  }
  sandbox::Probe probe = co_await sandbox::probe(launcher);
  if (co_await is_cancelled()) co_return probe;  // it says nothing about the sandbox
  const std::lock_guard lock(mutex);
  known.insert_or_assign(launcher, probe);
  co_return probe;
}

bool lies_below(const std::string& path, const std::string& top) {
  return path.size() > top.size() && path.starts_with(top) && path[top.size()] == '/';
}

// What no command may see or write. One below the root that is not there yet is made, or a command
// would make it; what links in it lead to below the root (settings kept in a repository of
// dotfiles) is as much Lares'.
void keep_own(sandbox::Policy& policy) {
  namespace fs = std::filesystem;
  policy.own = own_directories();
  for (const auto& own : policy.own) {
    std::error_code failed;
    if (lies_below(own, policy.root) && !fs::exists(own, failed)) {
      fs::create_directories(own, failed);
      mark_as_own(own);
    }
    for (fs::directory_iterator at(own, failed), end; !failed && at != end; at.increment(failed)) {
      std::error_code none;
      if (!at->is_symlink(none)) continue;
      const auto target = fs::weakly_canonical(at->path(), none).native();
      if (!none && lies_below(target, policy.root)) policy.hidden.push_back(target);
    }
  }
}

}  // namespace

asio::awaitable<std::string> shell_unavailable_reason(const BuiltinOptions& options) {
  if (options.no_sandbox) co_return "";
  const std::string launcher = options.sandbox_launcher;
  const sandbox::Probe probe = co_await cached_probe(launcher);
  if (probe.works) co_return "";
  co_return "commands are off, because no sandbox works here: " + probe.why;
}

asio::awaitable<tl::expected<std::unique_ptr<sandbox::Process>, std::string>> start_command(
    BuiltinOptions options, std::vector<std::string> argv, std::string cwd,
    sandbox::Sensitive sensitive) {
  const std::string reason = co_await shell_unavailable_reason(options);
  if (!reason.empty()) co_return tl::unexpected(reason);
  sandbox::Backend backend = sandbox::Backend::none;
  if (!options.no_sandbox) {
    const std::string launcher = options.sandbox_launcher;
    const sandbox::Probe probe = co_await cached_probe(launcher);
    backend = probe.backend;
  }
  sandbox::Policy policy;
  policy.root = options.root;
  policy.hidden = std::move(sensitive.hidden);
  policy.readonly = std::move(sensitive.readonly);
  policy.worktree_readonly = options.worktree_readonly;
  if (backend != sandbox::Backend::none) keep_own(policy);
  policy.network_allow = options.network_allow;
  policy.on_network = options.on_network;
  sandbox::Command command;
  command.argv = std::move(argv);
  command.cwd = std::move(cwd);
  command.env = command_environment();
  auto started = co_await sandbox::spawn(options.sandbox_launcher, backend, std::move(policy),
                                         std::move(command));
  if (!started) co_return tl::unexpected(started.error().message);
  co_return std::move(*started);
}

asio::awaitable<ReadEnd> read_before(asio::posix::stream_descriptor& from, std::string& into,
                                     Clock::time_point deadline) {
  if (co_await is_cancelled()) co_return ReadEnd::cancelled;
  // The handler may still run when the read has long ended: it then finds the descriptor disarmed.
  struct Armed {
    bool armed = true, fired = false;
  };
  const auto state = std::make_shared<Armed>();
  asio::steady_timer timer(co_await asio::this_coro::executor, deadline);
  timer.async_wait([state, &from](boost::system::error_code ec) {
    if (ec || !state->armed) return;
    state->fired = true;
    boost::system::error_code ignored;
    from.cancel(ignored);
  });
  const std::size_t before = into.size();
  into.resize(before + kReadBytes);
  const asio::mutable_buffer room = asio::buffer(into.data() + before, kReadBytes);
  const auto [ec, n] = co_await from.async_read_some(room, kIo);
  state->armed = false;
  into.resize(before + n);
  if (!ec) co_return ReadEnd::data;
  if (ec != asio::error::operation_aborted) co_return ReadEnd::closed;
  if (co_await is_cancelled()) co_return ReadEnd::cancelled;
  co_return state->fired ? ReadEnd::deadline : ReadEnd::closed;
}

asio::awaitable<bool> enter_cancellation() {
  const bool throwing = co_await asio::this_coro::throw_if_cancelled();
  co_await asio::this_coro::throw_if_cancelled(false);
  const auto state = co_await asio::this_coro::cancellation_state;
  // A new state would forget a cancellation that is already here.
  if (state.cancelled() == asio::cancellation_type::none) {
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
  }
  co_return throwing;
}
asio::awaitable<void> leave_cancellation(bool throwing) {
  co_await asio::this_coro::throw_if_cancelled(throwing);
}
asio::awaitable<bool> is_cancelled() {
  const auto state = co_await asio::this_coro::cancellation_state;
  co_return state.cancelled() != asio::cancellation_type::none;
}

bool has_ended(int pid) {
  siginfo_t info{};
  const int done = ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT);
  return done != 0 || info.si_pid != 0;
}

void Throttle::add(std::string_view text) {
  if (!on_output_) return;
  pending_ += text;
  if (pending_.size() > 2 * kPendingBytesMax)
    pending_.erase(0, utf8_ceiling(pending_, pending_.size() - kPendingBytesMax));
}
Clock::time_point Throttle::due() const {
  return pending_.empty() ? Clock::time_point::max() : last_ + kOutputEvery;
}
void Throttle::flush_if_due() {
  if (!pending_.empty() && Clock::now() >= due()) flush();
}
void Throttle::flush() {
  if (pending_.empty()) return;
  last_ = Clock::now();
  on_output_(pending_);
  pending_.clear();
}

}  // namespace lares::tools
