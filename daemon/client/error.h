// How the CLI's parts report failure to the subcommands.
#pragma once

#include <string>
#include <tl/expected.hpp>

namespace lares::cli {

struct Error {
  enum class Kind {
    plain,
    absent,        // nobody listens on the socket
    disconnected,  // the connection ended before the answer came; the request may have been served
    interrupted,   // a signal came while waiting
    refused,       // the daemon answered with an error
  };
  std::string message;  // what was attempted, on what, why it failed, what to do
  Kind kind = Kind::plain;
  int code = 0;  // refused: the protocol's error code
};
template <class T = void>
using Result = tl::expected<T, Error>;

}  // namespace lares::cli
