// What one HTTP client may cost, in bytes and in time. Tests make these smaller, users never.
#pragma once

#include <chrono>
#include <cstddef>

#include "daemon/http/exchange.h"

namespace lares::daemon {

inline constexpr std::size_t kHttpHeaderBytesMax = 64 << 10;  // request line and headers
// a conversation of a million tokens is about 5 MB, and 8 MB as their ids
inline constexpr std::size_t kHttpBodyBytesMax = 64 << 20;
// Of all requests that are being read or answered; also once a body is let go of, for what is made
// of it is about as large.
inline constexpr std::size_t kHttpBodiesBytesMax = 512 << 20;
// With descriptors left for sessions under the usual limit of 1,024
inline constexpr std::size_t kHttpConnectionsMax = 256;
// From a request's first byte to the end of its headers
inline constexpr std::chrono::seconds kHttpHeaderTimeMax{10};
inline constexpr std::chrono::seconds kHttpBodySilenceMax{30};
inline constexpr std::chrono::seconds kHttpIdleMax{120};  // between requests
// For a peer to read the last answer before its connection closes
inline constexpr std::chrono::seconds kHttpLingerMax{1};

struct HttpLimits {
  std::size_t header_bytes = kHttpHeaderBytesMax, body_bytes = kHttpBodyBytesMax,
              bodies_bytes = kHttpBodiesBytesMax;
  std::size_t connections = kHttpConnectionsMax;
  std::chrono::milliseconds header_time = kHttpHeaderTimeMax, body_silence = kHttpBodySilenceMax,
                            idle = kHttpIdleMax, linger = kHttpLingerMax;
  std::chrono::milliseconds keep_alive_every = kKeepAliveEvery, status_known = kStatusKnownMax;
  std::chrono::milliseconds slow_reader = kSlowReaderMax, last_words = kLastWordsMax;
};

// Why a request gets no answer of a handler's; the message is one line.
struct HttpRefusal {
  unsigned status = 400;
  std::string message;
  HttpHeaders headers = {};
};

}  // namespace lares::daemon
