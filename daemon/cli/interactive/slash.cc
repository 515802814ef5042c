#include "daemon/cli/interactive/slash.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "daemon/nearest.h"

namespace lares::cli {
namespace {

constexpr std::array kCommands{
    SlashCommand{Slash::help, "help", "", "this list"},
    SlashCommand{Slash::new_session, "new", "", "begin a new session"},
    SlashCommand{Slash::sessions, "sessions", "",
                 "sessions about this repository, to go on with one", true},
    SlashCommand{Slash::resume, "resume", "[ID]", "go on with a session", true},
    SlashCommand{Slash::ask, "ask", "TEXT", "a question: nothing is changed"},
    SlashCommand{Slash::queue, "queue", "TEXT", "a task for when the running turn has ended"},
    SlashCommand{Slash::review, "review", "[RANGE]",
                 "finds mistakes in what is not committed, or in RANGE"},
    SlashCommand{Slash::compact, "compact", "[TEXT]",
                 "sums the conversation up, and goes on with that"},
    SlashCommand{Slash::diff, "diff", "", "what this session changed", true},
    SlashCommand{Slash::rewind, "rewind", "[N]",
                 "before turn N of a list, with the files it changed", true},
    SlashCommand{Slash::undo, "undo", "", "takes the rewinding back", true},
    SlashCommand{Slash::fork, "fork", "[N]", "goes on in a copy of it from before turn N", true},
    SlashCommand{Slash::policy, "policy", "[NAME]",
                 "what may change something unasked; Shift-Tab: the next"},
    SlashCommand{Slash::go, "go", "[NAME]", "carries a plan out, under the policy before it"},
    SlashCommand{Slash::thinking, "thinking", "[on|off]",
                 "the last turn's thinking; on: as it is written"},
    SlashCommand{Slash::output, "output", "[N]", "all that came of the last call, or the Nth last"},
    SlashCommand{Slash::jobs, "jobs", "[PID]", "background jobs of the shell; PID: stops that one",
                 true},
    SlashCommand{Slash::copy, "copy", "", "the last answer, to the clipboard"},
    SlashCommand{Slash::status, "status", "", "what the daemon does", true},
    SlashCommand{Slash::prefix, "prefix", "", "what of the repository the model has before it",
                 true},
    SlashCommand{Slash::quit, "quit", "", "leave; a running turn goes on"},
};
// What they are called elsewhere.
constexpr std::pair<std::string_view, std::string_view> kOtherNames[] = {
    {"?", "help"},       {"exit", "quit"},        {"q", "quit"},
    {"clear", "new"},    {"context", "status"},   {"cost", "status"},
    {"usage", "status"}, {"approvals", "policy"}, {"permissions", "policy"},
    {"bashes", "jobs"},  {"tasks", "jobs"}};
constexpr std::pair<std::string_view, std::string_view> kWords[] = {
    {"exit", "/quit"}, {"quit", "/quit"}, {":q", "/quit"}, {"help", "/help"}, {"?", "/help"}};
constexpr std::string_view kPlan = "plan";

bool is_name(std::string_view word) {
  return !word.empty() && std::all_of(word.begin(), word.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || c == '-' || c == '?';
  });
}

}  // namespace

std::span<const SlashCommand> slash_commands() { return kCommands; }

std::optional<SlashLine> parse_slash(std::string_view line) {
  if (!line.starts_with('/')) return std::nullopt;
  line.remove_prefix(1);
  const std::size_t end = std::min(line.find_first_of(" \t\n"), line.size());
  SlashLine out;
  out.name = line.substr(0, end);
  if (!is_name(out.name)) return std::nullopt;
  std::string_view rest = line.substr(end);
  rest.remove_prefix(std::min(rest.find_first_not_of(" \t\n"), rest.size()));
  while (!rest.empty() && (rest.back() == ' ' || rest.back() == '\n' || rest.back() == '\t'))
    rest.remove_suffix(1);
  out.argument = rest;
  if (out.name == kPlan) {
    out.name = "policy";
    out.text = std::exchange(out.argument, std::string(kPlan));
  }
  for (const auto& [other, name] : kOtherNames)
    if (out.name == other) out.name = name;
  std::size_t least = std::string_view::npos;
  for (const auto& command : kCommands) {
    if (command.name == out.name) {
      out.command = &command;
      return out;
    }
    const bool begins = command.name.starts_with(out.name);
    const std::size_t d = begins ? 1 : daemon::edit_distance(out.name, command.name);
    if (!begins && d > daemon::slips_max(command.name.size())) continue;
    if (d < least) least = d, out.nearest = command.name;
  }
  return out;
}

std::string_view command_word(std::string_view line) {
  line = line.substr(0, line.find_last_not_of(" \t\n") + 1);
  for (const auto& [word, command] : kWords)
    if (line == word) return command;
  return {};
}

std::int64_t number_in(std::string_view text) {
  std::int64_t n = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), n);
  return ec == std::errc{} && end == text.data() + text.size() ? n : 0;
}

std::vector<std::string> slash_completions(std::string_view beginning) {
  std::vector<std::string> out;
  if (!beginning.starts_with('/')) return out;
  for (const auto& command : kCommands) {
    const std::string full = fmt::format("/{}{}", command.name,
                                         command.argument.empty() ? "" : " ");
    if (full.starts_with(beginning)) out.push_back(full);
  }
  return out;
}

}  // namespace lares::cli
