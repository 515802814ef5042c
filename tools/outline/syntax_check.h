// The syntax errors that an edit brought, for the model to read below the edit's result. Advice,
// never a veto: grammars misparse honest code (macros, templates), so only what was not there
// before counts, and of a shell script only where bash refuses it too.
#pragma once

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace lares::tools {

inline constexpr std::size_t kCheckedBytesMax = 512 << 10;  // a larger file is not looked at
inline constexpr auto kSyntaxTimeMax = std::chrono::milliseconds(200);  // for both texts
// Of one line that is quoted
inline constexpr std::size_t kSyntaxErrorsShown = 2, kSyntaxSourceBytes = 80;

// Whether an edit of such a file is looked at at all.
bool can_check_syntax(std::string_view path, std::string_view after);

// Up to three lines, or "": nothing new, no grammar, no time. `before` and `after` as the model is
// shown them; nothing before: the file was made.
std::string new_syntax_errors(std::string_view path, const std::optional<std::string>& before,
                              std::string_view after, const std::atomic<bool>& cancelled);

}  // namespace lares::tools
