// What the methods answer with: results and refusals as JSON, and requests that were understood.
#pragma once

#include <string>
#include <utility>

#include <tl/expected.hpp>

#include "daemon/protocol/protocol.h"
#include "daemon/protocol/wire.h"

namespace lares::daemon {

template <class T>
tl::expected<protocol::Json, protocol::Error> ok(T result) {
  return protocol::to_json(std::move(result));
}

inline tl::unexpected<protocol::Error> no(protocol::Code code, std::string message,
                                          std::string hint = "") {
  return tl::unexpected(
      protocol::Error{.code = code, .message = std::move(message), .hint = std::move(hint)});
}

// invalid_params, with the field that is wrong.
template <class T>
tl::expected<T, protocol::Error> typed(const std::string& method, const protocol::Json& params) {
  auto out = protocol::from_json<T>(params);
  if (!out) return no(protocol::Code::invalid_params, method + ": " + out.error());
  return std::move(*out);
}

template <class T>
tl::expected<protocol::Json, protocol::Error> answer(tl::expected<T, protocol::Error> done) {
  if (!done) return tl::unexpected(std::move(done.error()));
  return protocol::to_json(std::move(*done));
}
inline tl::expected<protocol::Json, protocol::Error> answer(
    tl::expected<void, protocol::Error> done) {
  if (!done) return tl::unexpected(std::move(done.error()));
  return ok(protocol::Nothing{});
}

}  // namespace lares::daemon
