#include "sandbox/connect_any.h"

#include <algorithm>
#include <list>
#include <memory>
#include <optional>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace lares::sandbox {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// The attempts that run. Shared with what they end in, which may come when all is over.
struct Race {
  std::list<tcp::socket> running;
  std::optional<tcp::socket> first;      // that is connected
  error_code failed;                     // of the last that has failed; none: all are silent
  Clock::time_point due = Clock::now();  // for the next one
  bool heard = false, over = false;
};

void begin(const std::shared_ptr<Race>& race, asio::steady_timer& wake, const tcp::endpoint& to) {
  const auto attempt = race->running.emplace(race->running.end(), wake.get_executor());
  attempt->async_connect(to, [race, attempt, &wake](error_code failed) {
    if (race->over) return;  // and `attempt` and `wake` may be gone
    if (failed)
      race->failed = failed, race->due = Clock::now();
    else if (!race->first)
      race->first = std::move(*attempt);
    race->running.erase(attempt);
    race->heard = true;
    wake.cancel();
  });
}

// Whoever leaves hears no attempt any more.
struct Over {
  explicit Over(Race& ending) : race(ending) {}
  Over(const Over&) = delete;
  ~Over() {
    race.over = true;
    race.running.clear();
  }
  Race& race;
};

}  // namespace

asio::awaitable<error_code> AnyConnection::connect(tcp::socket& socket,
                                                   std::vector<tcp::endpoint> addresses,
                                                   milliseconds timeout) {
  constexpr auto kIo = asio::as_tuple(asio::use_awaitable);
  if (addresses.empty()) co_return asio::error::host_not_found;
  if (addresses.size() > kAddressesMax) addresses.resize(kAddressesMax);
  const auto race = std::make_shared<Race>();
  const Over over(*race);
  const auto until = Clock::now() + timeout;
  const auto delay = std::min<Clock::duration>(kNextAddressAfter,
                                               timeout / 2 / static_cast<int>(addresses.size()));
  std::size_t n_begun = 0;
  while (!race->first && !cancelled_) {
    const bool all = n_begun == addresses.size();
    if (all && race->running.empty()) co_return race->failed;
    if (Clock::now() >= until)
      co_return race->failed ? race->failed : error_code(asio::error::timed_out);
    if (!all && Clock::now() >= race->due) {
      race->due += delay;  // not from now on: a timer that is late would make them all late
      begin(race, wake_, addresses[n_begun++]);
      continue;
    }
    wake_.expires_at(all ? until : std::min(until, race->due));
    race->heard = false;
    const auto [interrupted] = co_await wake_.async_wait(kIo);
    if (interrupted && !race->heard) co_return interrupted;  // whoever waits has left
  }
  if (cancelled_) co_return asio::error::operation_aborted;
  socket = std::move(*race->first);
  co_return error_code();
}

void AnyConnection::cancel() {
  cancelled_ = true;
  wake_.cancel();
}

}  // namespace lares::sandbox
