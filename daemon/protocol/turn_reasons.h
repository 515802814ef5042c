// Why a turn or a step of it ended: TurnEnded::reason and TurnStep::reason.
#pragma once

#include <string_view>

namespace lares::daemon::protocol::reason {

// Of a turn alone
inline constexpr char kEndTurn[] = "end_turn";
inline constexpr char kMaxSteps[] = "max_steps";
inline constexpr char kUnfinished[] = "unfinished";  // checked, and sent back as often as may be
inline constexpr char kCrashed[] = "crashed";  // the daemon died; written when it loads the session
// Of a step alone, after which the turn may go on
inline constexpr char kEnd[] = "end";
inline constexpr char kCalls[] = "calls";
// Of either
inline constexpr char kMaxTokens[] = "max_tokens";  // a step's
inline constexpr char kCancelled[] = "cancelled";
inline constexpr char kContextFull[] = "context_full";
inline constexpr char kRepetition[] = "repetition";
inline constexpr char kError[] = "error";

// The turn came to a bound, and can be gone on with.
constexpr bool is_limit(std::string_view reason) {
  return reason == kMaxTokens || reason == kMaxSteps || reason == kContextFull ||
         reason == kRepetition || reason == kUnfinished;
}

}  // namespace lares::daemon::protocol::reason
