#include "mcp/reading.h"

#include <limits>
#include <utility>

#include "mcp/message_batch.h"
#include "tools/lenient_json.h"
#include "tools/off_thread.h"

namespace lares::mcp {
namespace {

using Read = tl::expected<std::vector<Message>, std::string>;

// Members are looked up, and not compared; one that is too deep is garbage, as what is no JSON is.
constexpr std::size_t kAny = std::numeric_limits<std::size_t>::max();
constexpr tools::JsonBounds kBounds{
    .depth = kAny, .members = kAny, .compares = kAny, .values = kValuesMax};

Read read(std::string_view text) {
  if (const auto why = tools::too_much(text, kBounds))
    return tl::unexpected("sent a message that is not read: " + *why);
  return parse_messages(text);
}

}  // namespace

asio::awaitable<Read> read_messages(asio::thread_pool* threads, std::string_view text) {
  if (!threads || text.size() < kReadAsideBytes) co_return read(text);
  struct Job {
    Read read;
  };
  const auto work = [text](const tools::Cancelled&) { return Job{read(text)}; };
  auto reading = tools::off_thread<Job>(*threads, work);
  auto done = co_await std::move(reading);
  Read out = tl::unexpected(std::string("was not heard to the end"));
  if (done) out = std::move(done->read);
  co_return out;
}

}  // namespace lares::mcp
