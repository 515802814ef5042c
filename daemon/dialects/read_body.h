// How every dialect reads its requests: off the io thread where they are long.
#pragma once

#include <string>
#include <type_traits>
#include <utility>

#include <tl/expected.hpp>

#include "daemon/completions/generation.h"
#include "daemon/dialects/wire.h"
#include "daemon/http/exchange.h"
#include "daemon/read_aside.h"

namespace lares::daemon {

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
  auto reading = aside_where_long(aside, aside ? body.size() : 0, work);
  Made made = co_await std::move(reading);
  exchange.drop_body();
  co_return std::move(made);
}

}  // namespace lares::daemon
