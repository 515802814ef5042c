#include "daemon/skills/skills.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "daemon/skills/skill_file.h"
#include "tools/text.h"
#include "tools/workspace/workspace.h"

namespace lares::daemon {
namespace {

constexpr std::string_view kArguments = "$ARGUMENTS";

struct Call {
  std::string_view name, arguments;
};
std::optional<Call> call_in(std::string_view prompt) {
  if (!prompt.starts_with('/')) return std::nullopt;
  const std::size_t end = std::min(prompt.find_first_of(" \t\r\n"), prompt.size());
  const Call out{prompt.substr(1, end - 1), tools::trimmed(prompt.substr(end))};
  if (!is_command_name(out.name)) return std::nullopt;
  return out;
}

std::string with_arguments(std::string_view body, std::string_view arguments) {
  std::string out;
  for (std::size_t at; (at = body.find(kArguments)) != std::string_view::npos;) {
    out.append(body.substr(0, at)).append(arguments);
    body.remove_prefix(at + kArguments.size());
    if (out.size() > kSkillBytesMax) return out;
  }
  return out.append(body);
}

std::string_view kind_of(const Skill& skill) { return skill.is_command ? "command" : "skill"; }
std::string opening(const Skill& skill) {
  return fmt::format("<{} name=\"{}\">", kind_of(skill), skill.name);
}

}  // namespace

std::string told_of_skills(const Skills& skills) {
  std::string out;
  std::size_t n_left_out = 0;
  for (const Skill& skill : skills.all) {
    if (!skill.for_model) continue;
    const std::string line = fmt::format("- {} ({}): {}\n", skill.name,
                                         tools::attribute_text(skill.path), skill.description);
    if (out.size() + line.size() > kSkillsToldBytesMax)
      ++n_left_out;
    else
      out += line;
  }
  if (n_left_out > 0) out += fmt::format("- and {} more, for which there is no room\n", n_left_out);
  if (out.empty()) return out;
  return "There are skills: instructions for one kind of work each. Where one is for what is "
         "asked, "
         "view its file before you begin and follow it; paths in it are relative to its "
         "directory.\n" +
         out + "\n";
}

CalledSkill called_skill(std::string_view prompt, const std::string& root,
                         const std::string& home) {
  const auto call = call_in(prompt);
  if (!call) return {};
  const auto not_used = [](const std::string& path, const std::string& why) {
    return CalledSkill{"", fmt::format("the skill {} is not used: {}", one_line(path), why)};
  };
  const Skills skills = find_skills(root, home);
  const auto at = std::ranges::find(skills.all, call->name, &Skill::name);
  if (at == skills.all.end()) {
    for (const auto& other : skills.passed_over)
      if (!other.hidden && other.name == call->name) return not_used(other.path, other.why);
    return {};
  }
  const auto text = read_skill(root, at->path, /*whole=*/true);
  const auto head = text ? head_of(*text, at->is_command) : tl::unexpected(text.error());
  if (!head) return not_used(at->path, head.error());
  std::string body = with_arguments(tools::trimmed(head->body), call->arguments);
  if (body.size() > kSkillBytesMax) {
    body.resize(tools::utf8_floor(body, kSkillBytesMax));
    body += "\n[what follows is left out: view the rest in the file]";
  }
  return {
      fmt::format("\n\nThat calls the {0} {1} ({2}). Follow its instructions; paths in them are "
                  "relative to {3}:\n{4}\n{5}\n</{0}>",
                  kind_of(*at), at->name, tools::attribute_text(at->path),
                  at->is_command ? "the repository" : "its directory", opening(*at), body),
      ""};
}

std::string called_before(const std::vector<std::string>& prompts, const Skills& skills,
                          std::string_view next) {
  std::string out;
  for (const auto& prompt : prompts) {
    const auto call = call_in(prompt);
    const auto at = call ? std::ranges::find(skills.all, call->name, &Skill::name)
                         : skills.all.end();
    if (at == skills.all.end() || next.find(opening(*at)) != std::string_view::npos) continue;
    const std::string line = fmt::format("\n\n/{} above calls the {} in {}: view it again.",
                                         at->name, kind_of(*at), tools::attribute_text(at->path));
    if (out.find(line) == std::string::npos) out += line;
  }
  return out;
}

}  // namespace lares::daemon
