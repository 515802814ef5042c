// HTTP on the same socket, told apart by the first bytes: /health, for service managers and probes.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include <boost/asio/awaitable.hpp>

#include "daemon/listener.h"

namespace lares::daemon {

bool is_http(std::string_view first_line);

// Answers one request, of which `received` has been read, and no more. `health` gives a JSON text.
asio::awaitable<void> answer_http(Listener::Protocol::socket& socket, std::string received, std::function<std::string()> health);

}  // namespace lares::daemon
