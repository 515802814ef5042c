// The exit statuses of `lares`, the same for every subcommand.
#pragma once

namespace lares::cli {

inline constexpr int kExitFinished = 0;  // the command did what it was asked
inline constexpr int kExitError = 1;     // it did not; one line on stderr says why
inline constexpr int kExitUsage = 2;     // the command line is wrong
inline constexpr int kExitLimited = 3;   // the turn was stopped by a limit (steps, tokens, context)
inline constexpr int kExitInterrupted = 130;  // the turn was interrupted

}  // namespace lares::cli
