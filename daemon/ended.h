// What a spawned coroutine ends with: whatever it threw is one line of the log.
#pragma once

#include <exception>
#include <string_view>
#include <utility>

#include "daemon/log.h"

namespace lares::daemon {

// "": it threw nothing.
inline std::string thrown_by(std::exception_ptr thrown) {
  if (!thrown) return "";
  try {
    std::rethrow_exception(std::move(thrown));
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "something that is no exception";
  }
}

// A completion handler. `then` is called with why, whether it threw or not: "" is not.
template <class Then>
auto logged(const Log& log, std::string_view what, Then then) {
  return [&log, what, then = std::move(then)](std::exception_ptr thrown) mutable {
    const std::string why = thrown_by(std::move(thrown));
    if (!why.empty()) log.event("coroutine_failed", {{"what", what}, {"why", why}});
    then(why);  // may not throw: that would end the daemon
  };
}
inline auto logged(const Log& log, std::string_view what) {
  return logged(log, what, [](const std::string&) {});
}

}  // namespace lares::daemon
