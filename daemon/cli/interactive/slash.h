// The commands of an interactive session: a line that begins with a slash.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lares::cli {

enum class Slash {
  help,
  new_session,
  sessions,
  resume,
  fork,
  diff,
  rewind,
  undo,
  policy,
  go,
  status,
  prefix,
  ask,
  queue,
  compact,
  thinking,
  output,
  jobs,
  copy,
  review,
  quit
};

struct SlashCommand {
  Slash what;
  // argument: TEXT is needed, [TEXT] may follow, empty: none
  std::string_view name, argument, help;
  bool asks_daemon = false;  // one that runs: none is started for it
};
std::span<const SlashCommand> slash_commands();

struct SlashLine {
  const SlashCommand* command = nullptr;  // null: there is none of that name
  std::string name, argument;
  std::string text;          // to be said under it: of /plan TEXT, which is /policy plan
  std::string_view nearest;  // of an unknown one: what may have been meant, or nothing
};
// Nothing: the line is a prompt. So is one that begins with a path.
std::optional<SlashLine> parse_slash(std::string_view line);
// Of a line that is one word which leaves or helps elsewhere ("exit", ":q", "?"): the command that
// is meant by it; else nothing. A blank before it makes it text.
std::string_view command_word(std::string_view line);
std::int64_t number_in(std::string_view argument);  // 0: it is none
// The names that begin so, each with its slash and, if it takes an argument, a space.
std::vector<std::string> slash_completions(std::string_view beginning);

}  // namespace lares::cli
