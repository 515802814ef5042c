#include "tests/sandbox/run.h"

#include <stdlib.h>

#include <fstream>
#include <iterator>
#include <stdexcept>

#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/asio/write.hpp>

#include "tests/temporary_directory.h"

namespace lares::sandbox::test {
namespace {

inline constexpr auto kIo = asio::as_tuple(asio::use_awaitable);

const char* name_of(Errc code) {
  switch (code) {
    case Errc::unavailable:
      return "unavailable";
    case Errc::refused:
      return "refused";
    case Errc::broken:
      return "broken";
    case Errc::cancelled:
      return "cancelled";
  }
  return "?";
}

asio::awaitable<Ran> run_async(std::vector<std::string> argv, RunOptions options) {
  Ran ran;
  const auto io = co_await asio::this_coro::executor;
  const Command command{std::move(argv), options.cwd.empty() ? options.policy.root : options.cwd,
                        options.env};
  auto spawned = co_await spawn(launcher(), options.backend, options.policy, command);
  if (!spawned) {
    ran.error = std::string(name_of(spawned.error().code)) + ": " + spawned.error().message;
    co_return ran;
  }
  auto process = std::move(*spawned);
  if (options.meanwhile) options.meanwhile(options);
  auto hidden = co_await process->hide(options.hide);
  if (hidden) hidden = co_await process->keep(options.keep);
  if (!hidden) {
    ran.error = std::string(name_of(hidden.error().code)) + ": " + hidden.error().message;
    co_return ran;
  }
  asio::steady_timer deadline(io, options.timeout);
  deadline.async_wait([&](boost::system::error_code cancelled) {
    if (cancelled) return;
    ran.timed_out = true;
    process->kill();
  });
  if (!options.input.empty()) {
    auto [failed, n] = co_await asio::async_write(process->in(), asio::buffer(options.input), kIo);
    (void)failed, (void)n;
  }
  process->in().close();
  if (options.reads_at_the_end) ran.exit = co_await process->wait();
  std::vector<char> buffer(65536);
  for (;;) {
    auto [failed, n] = co_await process->out().async_read_some(asio::buffer(buffer), kIo);
    ran.output.append(buffer.data(), n);
    if (failed) break;
    if (options.kill_when && options.kill_when(ran.output)) process->kill();
    if (ran.output.size() > options.output_max) {
      process->kill();
      break;  // what nobody reads fills the pipe and no more, however long the kill takes
    }
  }
  if (!options.reads_at_the_end) ran.exit = co_await process->wait();
  deadline.cancel();
  co_return ran;
}

asio::awaitable<std::vector<bool>> alone_async(std::vector<std::string> lines, RunOptions options) {
  std::vector<bool> out;
  // Unlike other shells it leaves what follows a line to the program that the line becomes.
  const Command command{{"bash", "--noprofile", "--norc"}, options.policy.root, options.env};
  auto spawned = co_await spawn(launcher(), options.backend, options.policy, command);
  if (!spawned) co_return out;
  auto process = std::move(*spawned);
  for (const auto& line : lines) {
    const std::string script = line + "\necho done\n";
    auto [failed, n] = co_await asio::async_write(process->in(), asio::buffer(script), kIo);
    std::string answer;
    while (!failed && answer.find("done\n") == answer.npos) {
      char buffer[4096];
      auto [ended, got] = co_await process->out().async_read_some(asio::buffer(buffer), kIo);
      if (ended) co_return out;
      answer.append(buffer, got);
    }
    out.push_back(process->alone());
  }
  process->kill();
  co_await process->wait();
  co_return out;
}

}  // namespace

Scratch::Scratch(const std::filesystem::path& below) : made(below) {
  std::filesystem::create_directories(wt / ".git" / "hooks");
  std::filesystem::create_directory(outside);
  write(".git/config", "[core]\n\tbare = false\n");
}

void Scratch::write(const std::string& name, const std::string& text) const {
  std::filesystem::create_directories((wt / name).parent_path());
  std::ofstream(wt / name, std::ios::binary) << text;
}

std::string Scratch::read(const std::string& name) const {
  std::ifstream file(wt / name, std::ios::binary);
  if (!file) return "<absent>";
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string launcher() {
  const char* given = ::getenv("LARES_SANDBOX");
  return given && *given ? given : LARES_BINARY_DIR "/bin/lares-sandbox";
}

Ran run(const std::vector<std::string>& argv, RunOptions options) {
  asio::io_context io;
  auto done = asio::co_spawn(io, run_async(argv, std::move(options)), asio::use_future);
  io.run();
  return done.get();
}

std::vector<bool> alone_after(const std::vector<std::string>& lines, RunOptions options) {
  asio::io_context io;
  auto done = asio::co_spawn(io, alone_async(lines, std::move(options)), asio::use_future);
  io.run();
  return done.get();
}

Ran shell(const std::string& script, RunOptions options) {
  return run({"/bin/sh", "-c", script}, std::move(options));
}

RunOptions in(const Scratch& scratch, Backend backend) {
  RunOptions options;
  options.backend = backend;
  options.policy.root = scratch.wt;
  return options;
}

const std::string& why_not() {
  static const std::string reason = [] {
    asio::io_context io;
    auto done = asio::co_spawn(io, probe(launcher()), asio::use_future);
    io.run();
    const Probe found = done.get();
    if (found.works && found.backend == Backend::native) return std::string();
    const auto why = found.works ? found.notes.front() : found.why;
    // Starting and not holding is no reason to skip the tests that show what does not hold.
    return why.find("does not hold") != why.npos ? std::string() : "native sandbox: " + why;
  }();
  return reason;
}

}  // namespace lares::sandbox::test
