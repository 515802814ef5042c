// The exit statuses of `lares`, the same for every subcommand.
#pragma once

namespace lares::cli {

inline constexpr int exit_finished = 0;       // the command did what it was asked
inline constexpr int exit_error = 1;          // it did not; one line on stderr says why
inline constexpr int exit_usage = 2;          // the command line is wrong
inline constexpr int exit_limited = 3;        // the turn was stopped by a limit (steps, tokens, context)
inline constexpr int exit_interrupted = 130;  // the turn was interrupted

}  // namespace lares::cli
