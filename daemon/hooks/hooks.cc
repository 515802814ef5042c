#include "daemon/hooks/hooks.h"

#include <chrono>
#include <memory>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "daemon/utf8.h"
#include "sandbox/sandbox.h"

namespace lares::daemon {
namespace {

constexpr auto kIo = asio::as_tuple(asio::use_awaitable);
constexpr int kSaysNo = 2;
constexpr auto kDrain = std::chrono::milliseconds(100);  // once it has ended

std::string dump(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

// It reads its input, or does not.
asio::awaitable<void> tell(sandbox::Process& process, const std::string& input) {
  const auto [not_written, n_written] = co_await asio::async_write(process.in(),
                                                                   asio::buffer(input), kIo);
  (void)not_written, (void)n_written;
  process.in().close();
}

// All it prints, of which the first kHookOutputBytesMax are kept.
asio::awaitable<void> listen(sandbox::Process& process, std::string& output) {
  std::string piece(4096, '\0');
  for (;;) {
    const auto [ec, n] = co_await process.out().async_read_some(asio::buffer(piece), kIo);
    if (ec) co_return;
    output.append(piece, 0, std::min(n, kHookOutputBytesMax - output.size()));
  }
}

// Neither reads nor writes any more, whoever still holds the pipes. Cancelling is not enough: who
// writes faster than is read never lets a read wait, and there is nothing to cancel.
void hang_up(sandbox::Process& process) {
  boost::system::error_code ignored;
  process.out().close(ignored);
  process.in().close(ignored);
}

// One hook, from start to end.
struct Run {
  Run(std::shared_ptr<sandbox::Process> started, const asio::any_io_executor& io)
      : process(std::move(started)), limit(io), drain(io) {}
  std::shared_ptr<sandbox::Process> process;
  asio::steady_timer limit, drain;
  bool ended = false, late = false;
};

// Its exit status, which holds whatever it left running; what that prints is heard for kDrain.
asio::awaitable<sandbox::Exit> end(std::shared_ptr<Run> run) {
  const sandbox::Exit exit = co_await run->process->wait();
  run->ended = true;
  run->limit.cancel();
  run->drain.expires_after(kDrain);
  run->drain.async_wait([run](boost::system::error_code ec) {
    if (!ec) hang_up(*run->process);
  });
  co_return exit;
}

}  // namespace

nlohmann::json Hooks::about(const char* event, std::int64_t turn_id) const {
  return {{"event", event}, {"session", session_id_}, {"root", root_}, {"turn", turn_id}};
}

nlohmann::json Hooks::about(const char* event, const protocol::Item& item) const {
  nlohmann::json out = about(event, item.turn_id);
  out["tool"] = item.name;
  out["arguments"] = nlohmann::json::parse(item.arguments, nullptr, /*allow_exceptions=*/false);
  return out;
}

// With the user's own rights and environment, in the worktree; killed with all it started when its
// time is up.
asio::awaitable<Hooks::Ran> Hooks::run(Hook hook, std::string input) {
  using namespace asio::experimental::awaitable_operators;
  sandbox::Policy policy;
  policy.root = root_;
  sandbox::Command command;
  for (const std::string& word : {std::string("/bin/sh"), std::string("-c"), hook.command})
    command.argv.push_back(word);
  command.cwd = root_;
  command.keeps_environment = true;
  auto spawning = sandbox::spawn("", sandbox::Backend::none, std::move(policy), std::move(command));
  auto process = co_await std::move(spawning);
  Ran ran;
  if (!process) {
    ran.output = process.error().message;
    co_return ran;
  }
  const auto run = std::make_shared<Run>(std::move(*process), co_await asio::this_coro::executor);
  run->limit.expires_after(std::chrono::milliseconds(hook.timeout_ms));
  run->limit.async_wait([run](boost::system::error_code ec) {
    if (ec || run->ended) return;
    run->late = true;
    run->process->kill();
    hang_up(*run->process);
  });
  auto telling = tell(*run->process, input);
  auto listening = listen(*run->process, ran.output);
  auto ending = end(run);
  auto all = std::move(telling) && std::move(listening) && std::move(ending);
  const sandbox::Exit exit = co_await std::move(all);
  const auto state = co_await asio::this_coro::cancellation_state;
  ran.stopped = state.cancelled() != asio::cancellation_type::none;
  run->limit.cancel();
  run->drain.cancel();
  ran.output = valid_utf8(ran.output);
  if (!run->late && exit.exited)
    ran.status = exit.code;
  else
    ran.output = run->late ? fmt::format("it took longer than {} ms", hook.timeout_ms)
                           : fmt::format("it was killed by signal {}", exit.signal);
  co_return ran;
}

void Hooks::failed(const Hook& hook, const char* event, const Ran& ran) const {
  if (ran.stopped) return;
  note_(fmt::format("the {} hook `{}` failed{}: {}", event, hook.command,
                    ran.status < 0 ? "" : fmt::format(" with exit status {}", ran.status),
                    ran.output.empty() ? "it said nothing" : ran.output));
}

asio::awaitable<std::optional<std::string>> Hooks::before(protocol::Item item) {
  const std::string input = dump(about("before_tool", item));
  for (const Hook& hook : config_.before_tool) {
    if (!hook.is_for(item.name)) continue;
    auto running = run(hook, input);
    const Ran ran = co_await std::move(running);
    if (ran.status == kSaysNo) {
      std::string why = "A hook of the user's stopped this call: " +
                        (ran.output.empty() ? "it gave no reason." : ran.output);
      co_return std::optional<std::string>(std::move(why));
    }
    if (ran.status != 0) failed(hook, "before_tool", ran);
  }
  co_return std::nullopt;
}

asio::awaitable<std::string> Hooks::after(protocol::Item item) {
  auto said = about("after_tool", item);
  said["state"] = item.state, said["output"] = item.output;
  const std::string input = dump(said);
  std::string out;
  for (const Hook& hook : config_.after_tool) {
    if (!hook.is_for(item.name)) continue;
    auto running = run(hook, input);
    const Ran ran = co_await std::move(running);
    if (ran.status != 0 && ran.status != kSaysNo)
      failed(hook, "after_tool", ran);
    else if (!ran.output.empty())
      out += fmt::format("{}[hook] {}", out.empty() || out.ends_with('\n') ? "" : "\n", ran.output);
  }
  co_return out;
}

asio::awaitable<std::string> Hooks::at_end(std::int64_t turn_id) {
  std::string out;
  const std::string input = dump(about("turn_end", turn_id));
  for (const Hook& hook : config_.turn_end) {
    auto running = run(hook, input);
    const Ran ran = co_await std::move(running);
    if (ran.status == kSaysNo)
      out += fmt::format("{}A hook of the user's says that this is not done: {}",
                         out.empty() ? "" : "\n",
                         ran.output.empty() ? "it gave no reason." : ran.output);
    else if (ran.status != 0)
      failed(hook, "turn_end", ran);
  }
  if (!out.empty() && ++n_continued_ > kHookContinuationsMax) {
    note_(fmt::format("a turn_end hook was not content {} times; the turn ends: {}",
                      kHookContinuationsMax, out));
    out.clear();
  }
  co_return out;
}

}  // namespace lares::daemon
