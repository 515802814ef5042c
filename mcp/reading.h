// How transports read what a server sends: off the io thread where it is long.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <tl/expected.hpp>

#include "mcp/message.h"

namespace boost::asio {
class thread_pool;
}

namespace lares::mcp {

namespace asio = boost::asio;

inline constexpr std::size_t kReadAsideBytes = 64 << 10;  // about a millisecond
inline constexpr std::size_t kValuesMax = 1 << 20;        // of a message's JSON; half a second

// What a line, an event or a body says, as parse_messages(). An error: why it is not parsed,
// "sent a message that is not read: it has more than 1048576 values". Null threads: right here.
asio::awaitable<tl::expected<std::vector<Message>, std::string>> read_messages(
    asio::thread_pool* threads, std::string_view text);

}  // namespace lares::mcp
