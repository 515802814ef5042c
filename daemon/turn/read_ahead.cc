#include "daemon/turn/read_ahead.h"

#include <algorithm>
#include <exception>
#include <utility>

#include <boost/asio/co_spawn.hpp>

#include "daemon/turn/prompt.h"
#include "engine/tokenizer.h"
#include "tools/builtin.h"

namespace lares::daemon {
namespace {

// Timelines return to multiples of this for nothing; and the last tokens of a text may be others
// when it goes on.
constexpr std::int64_t kStep = 128, kUnsure = 8;

}  // namespace

ReadAhead::ReadAhead(asio::any_io_executor io, EngineHost& host,
                     std::unique_ptr<engine::Timeline>& timeline,
                     std::span<const engine::Token> transcript,
                     const std::vector<std::string>& results)
    : io_(io),
      host_(host),
      timeline_(timeline),
      transcript_(transcript),
      results_(results),
      n_read_(static_cast<std::int64_t>(transcript.size())),
      idle_(io) {
  idle_.open();
}

void ReadAhead::hear(std::string_view piece) {
  if (text_.size() >= tools::kStreamedBytesKept || spent_.error) return;
  text_ += piece.substr(0, tools::kStreamedBytesKept - text_.size());
  if (!idle_.is_open() || stop_.stop_requested()) return;
  idle_.close();
  // What fails here fails again where it is told
  asio::co_spawn(io_, evaluate(), [this](std::exception_ptr) { idle_.open(); });
}

asio::awaitable<void> ReadAhead::evaluate() {
  while (!stop_.stop_requested()) {
    const std::vector<engine::Token> ids = so_far();
    if (ids.empty()) co_return;
    auto filling = prefill(host_, timeline_, nullptr, ids, stop_.get_token(), nullptr);
    Prefilled done = co_await std::move(filling);
    spent_.n_evaluated += done.n_evaluated;
    spent_.waited += done.waited;
    spent_.ran += done.ran;
    spent_.error = std::move(done.error);
    if (spent_.error) co_return;
    n_read_ = static_cast<std::int64_t>(ids.size());
  }
}

// The prompt as far as it is certain; empty: too little is new.
std::vector<engine::Token> ReadAhead::so_far() const {
  const std::size_t line_end = text_.rfind('\n');
  if (line_end == std::string::npos) return {};
  const auto more = host_.engine()->tokenizer().encode(
      begin_result(results_, std::string_view(text_).substr(0, line_end)));
  const auto n = static_cast<std::int64_t>(transcript_.size() + more.size()) - kUnsure;
  const std::int64_t end = n / kStep * kStep;
  if (end < n_read_ + kReadAheadTokens || end >= host_.engine()->info().n_context_max) return {};
  std::vector<engine::Token> ids(transcript_.begin(), transcript_.end());
  ids.insert(ids.end(), more.begin(), more.end());
  ids.resize(static_cast<std::size_t>(end));
  return ids;
}

asio::awaitable<Prefilled> ReadAhead::end() {
  stop_.request_stop();
  co_await idle_.wait();
  co_return std::move(spent_);
}

}  // namespace lares::daemon
