// How every dialect reads its requests: off the io thread where they are long.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include <tl/expected.hpp>

#include "daemon/completions/generation.h"
#include "daemon/dialects/wire.h"
#include "daemon/http/exchange.h"
#include "daemon/on_disk_pool.h"

namespace lares::daemon {

inline constexpr std::size_t kReadAsideBytes = 64 << 10;  // about a millisecond

// What `read` makes of the body, an object, on whichever thread: a tl::expected with WireError. The
// exchange holds the body no longer.
template <class Read>
asio::awaitable<std::invoke_result_t<Read, const WireJson&>> read_body(Exchange& exchange,
                                                                       Generations& generations,
                                                                       Read read) {
  using Made = std::invoke_result_t<Read, const WireJson&>;
  const std::string& body = exchange.request().body;
  const auto work = [&body, &read]() -> Made {
    const auto json = parse_body(body);
    if (!json) return tl::unexpected(json.error());
    return read(*json);
  };
  asio::any_io_executor aside = generations.aside();
  std::optional<Made> made;
  if (aside && body.size() >= kReadAsideBytes) {
    auto reading = on_disk_pool(aside, work);
    made = co_await std::move(reading);
  } else {
    made = work();
  }
  exchange.drop_body();
  co_return std::move(*made);
}

}  // namespace lares::daemon
