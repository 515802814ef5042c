// What is piped into a command that has its prompt already: `cat log | lares ask "why?"`.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

namespace lares::cli {

// A pipe that says nothing for so long is one that somebody left open, such as a CI runner or an
// ssh without a terminal: waiting for its end would be waiting for ever.
inline constexpr std::chrono::milliseconds kFirstByteWithin{3000};

struct PipedStdin {
  std::string text;     // until its end, or one byte more than were asked for
  bool silent = false;  // a pipe from which nothing came in time, so it was left alone
};
// Of `fd`, where it is a pipe, a socket, which some programs make a child's stdin, or a file;
// nothing of a terminal or a device.
PipedStdin read_piped(int fd, std::size_t bytes_max,
                      std::chrono::milliseconds first_byte_within = kFirstByteWithin);

// Of `fd`, whatever it is, until its end, or one byte more than `bytes_max`.
std::string read_to_end(int fd, std::size_t bytes_max);

// The prompt with it: behind it, and marked, so that it is not taken for a part of the task.
std::string with_stdin(std::string prompt, const std::string& text);

}  // namespace lares::cli
