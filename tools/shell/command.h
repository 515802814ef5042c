// Starting and reading a session's commands: in the sandbox, or not at all.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <tl/expected.hpp>

#include "sandbox/sandbox.h"
#include "sandbox/sensitive_paths.h"
#include "tools/builtin.h"
#include "tools/off_thread.h"

namespace lares::tools {

using Clock = std::chrono::steady_clock;

// A command below the session's root under the best backend that works here, kept from what is
// sensitive. The error is a sentence for the model.
asio::awaitable<tl::expected<std::unique_ptr<sandbox::Process>, std::string>> start_command(
    BuiltinOptions options, std::vector<std::string> argv, std::string cwd,
    sandbox::Sensitive sensitive);

// `work(const Cancelled&)` of a sandbox::SensitivePaths, off the io thread; its error is a sentence
// for the model too.
template <class T, class Work>
asio::awaitable<tl::expected<T, std::string>> look_for_secrets(WorkThreads& threads, Work work) {
  auto job = [work](const Cancelled& cancelled) -> Result<T> {
    auto found = work(cancelled);
    if (!found) return tl::unexpected(Error{Errc::broken, std::move(found.error().message)});
    return std::move(*found);
  };
  auto found = co_await off_thread<T>(threads.get(), std::move(job));
  if (!found) co_return tl::unexpected(std::move(found.error().message));
  co_return std::move(*found);
}

enum class ReadEnd { data, closed, deadline, cancelled };
// Appends what comes next. The descriptor, the buffer and whoever owns them outlive the call.
asio::awaitable<ReadEnd> read_before(asio::posix::stream_descriptor& from, std::string& into,
                                     Clock::time_point deadline);

// Makes every kind of cancellation reach the calling coroutine, and come back as a value instead of
// an exception. The previous setting returns with leave_cancellation.
asio::awaitable<bool> enter_cancellation();
asio::awaitable<void> leave_cancellation(bool throwing);
asio::awaitable<bool> is_cancelled();

// Whether the process has ended; it can still be waited for.
bool has_ended(int pid);

// Hands text on at most ten times a second; of a flood, the end.
class Throttle {
 public:
  explicit Throttle(OnOutput on_output) : on_output_(std::move(on_output)) {}
  void add(std::string_view text);
  // When the next text is due: far away when there is none.
  Clock::time_point due() const;
  void flush_if_due();
  void flush();

 private:
  OnOutput on_output_;
  std::string pending_;
  Clock::time_point last_{};
};

}  // namespace lares::tools
