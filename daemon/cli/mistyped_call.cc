#include "daemon/cli/mistyped_call.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <optional>
#include <utility>

#include "daemon/cli/commands/table.h"
#include "daemon/cli/interactive/slash.h"
#include "daemon/nearest.h"
#include "tools/text.h"

namespace lares::cli {

namespace fs = std::filesystem;

namespace {

struct Call {
  std::string_view typed;  // without its slash
  std::string name;        // in lower case
  std::string_view argument;
};

// None: it is a path, or text.
std::optional<Call> call_in(std::string_view prompt) {
  if (!prompt.starts_with('/')) return std::nullopt;
  const std::size_t end = std::min(prompt.find_first_of(" \t\r\n"), prompt.size());
  Call call{prompt.substr(1, end - 1), "", tools::trimmed(prompt.substr(end))};
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || c == '?'; };
  for (const char c : call.typed)
    call.name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const bool is_name = !call.name.empty() && is_letter(call.name[0]) &&
                       std::ranges::all_of(call.name, [&](char c) {
                         return is_letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '_';
                       });
  return is_name ? std::optional(std::move(call)) : std::nullopt;
}

bool is_slip(std::string_view word, std::string_view name) {
  return daemon::edit_distance(word, name) <= daemon::slips_max(name.size());
}

// Also one that is not used: the session says why.
bool is_skill(std::string_view name, const daemon::Skills& skills) {
  return std::ranges::any_of(skills.all, [&](const auto& skill) { return skill.name == name; }) ||
         std::ranges::any_of(skills.passed_over,
                             [&](const auto& other) { return other.name == name; });
}

// "/status returns 500" is a route of somebody's server, and "/status" is not.
bool takes(const SlashCommand& command, std::string_view argument) {
  if (command.argument.empty()) return argument.empty();
  return command.argument == "TEXT" || command.argument == "[TEXT]" ||
         argument.find_first_of(" \t\r\n") == std::string_view::npos;
}

std::string instead_of(std::string_view command) {
  const bool there = command == "help" ||
                     std::ranges::find(commands(), command, &Command::name) != commands().end();
  return there ? fmt::format("here it is `lares {}`", command) : "`lares` alone begins one";
}

constexpr std::string_view kAsText = "a blank before the slash sends it as text";

}  // namespace

std::string_view skill_meant(std::string_view name, const daemon::Skills& skills) {
  for (const auto& skill : skills.all)
    if (skill.for_people && is_slip(name, skill.name)) return skill.name;
  return {};
}

bool begins_path(std::string_view name, const std::string& root) {
  std::error_code ec;
  return fs::exists(fs::path("/") / name, ec) || fs::exists(fs::path(root) / name, ec);
}

std::string mistyped_call(std::string_view prompt, const std::string& root) {
  const auto call = call_in(prompt);
  if (!call) return "";
  const daemon::Skills skills = daemon::find_skills(root, daemon::skills_home());
  if (is_skill(call->typed, skills)) return "";
  if (begins_path(call->typed, root)) return "";
  if (const auto line = parse_slash(prompt); line && line->command) {
    if (!takes(*line->command, line->argument)) return "";
    return fmt::format("call /{}: that is a command of a conversation; {}; {}", call->typed,
                       instead_of(line->command->name), kAsText);
  }
  if (const auto meant = skill_meant(call->name, skills); !meant.empty())
    return fmt::format(
        "call /{}: there is no such skill; do you mean /{}? `lares skills` lists them; {}",
        call->typed, meant, kAsText);
  for (const auto& command : slash_commands())
    if (is_slip(call->name, command.name) && takes(command, call->argument))
      return fmt::format(
          "call /{}: nothing is called so; /{} is a command of a conversation; {}; {}", call->typed,
          command.name, instead_of(command.name), kAsText);
  return "";
}

}  // namespace lares::cli
