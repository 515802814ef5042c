#include "daemon/permissions/judge.h"

#include <fnmatch.h>

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "daemon/protocol/policies.h"
#include "tools/shell/commands.h"
#include "tools/shell/destructive_run.h"

namespace lares::daemon {
namespace {

using protocol::PermissionRule;

constexpr std::size_t kPatternBytesMax = 1000;

std::string string_of(const nlohmann::json& args, const char* key) {
  const auto it = args.is_object() ? args.find(key) : args.end();
  return args.is_object() && it != args.end() && it->is_string() ? it->get<std::string>()
                                                                 : std::string();
}

// What the rules are held against; all of it must be allowed.
struct Subjects {
  std::vector<std::string> texts;
  std::vector<std::string> also;  // other spellings, for rules that deny or ask
  bool understood = true;         // else no rule allows it
};

// So that as a pattern it is itself alone.
std::string literal(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (std::string_view("*?[]\\").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

// `make -j2` -> `make *`; `npm test -- x` -> `npm test *`.
std::string like_of(const tools::ShellCommand& command) {
  const auto is_name = [](const std::string& word) {
    return !word.empty() && std::ranges::all_of(word, [](unsigned char c) {
      return std::isalnum(c) || c == '-' || c == '_' || c == ':';
    }) && word[0] != '-';
  };
  static constexpr std::string_view kWithSubcommands[] = {
      "git",  "npm", "npx",  "yarn", "pnpm",   "cargo", "go",       "docker",
      "make", "pip", "pip3", "uv",   "dotnet", "apt",   "systemctl"};
  const auto& w = command.words;
  const bool sub = w.size() > 1 && is_name(w[1]) &&
                   std::ranges::find(kWithSubcommands, w[0]) != std::end(kWithSubcommands);
  return literal(sub ? w[0] + " " + w[1] : w[0]) + " *";
}

bool matches(const PermissionRule& rule, std::string_view tool, const std::string& text) {
  if (rule.tool != "*" && rule.tool != tool) return false;
  if (rule.pattern == "*" || ::fnmatch(rule.pattern.c_str(), text.c_str(), 0) == 0) return true;
  return rule.pattern.ends_with(" *") &&
         rule.pattern.compare(0, rule.pattern.size() - 2, text) == 0;
}

const PermissionRule* first_of(const std::vector<PermissionRule>& rules, std::string_view verdict,
                               const JudgedCall& call, const std::string& text) {
  const auto at = std::ranges::find_if(rules, [&](const PermissionRule& r) {
    return r.verdict == verdict && matches(r, call.tool, text);
  });
  return at == rules.end() ? nullptr : &*at;
}

std::string below(std::string_view root, const std::string& path) {
  const std::string plain = std::filesystem::path(path).lexically_normal().string();
  if (plain.starts_with(std::string(root) + "/")) return plain.substr(root.size() + 1);
  return plain;
}

Judgement by_policy(std::string_view policy, std::string_view tool) {
  if (policy == "auto" || (policy == "edits" && tool == "str_replace_editor")) return {};
  if (protocol::changes_nothing(policy))
    return {Verdict::deny, fmt::format("the session is {}: nothing may be changed", policy), {}};
  return {Verdict::ask,
          policy == "edits" ? "the session asks before commands"
                            : "the session asks before every change",
          {}};
}

Judgement for_reading(std::string_view tool) {
  if (tool != "mcp_call") return {};
  return {Verdict::ask, "nothing may be changed, and only the server says that this reads", {}};
}

std::optional<std::string> loss(std::string_view root, std::string_view directory,
                                const tools::ShellScript& script) {
  return tools::destructive_run(
      std::string(root), std::string(directory), script, [&](const std::string& name) {
        std::error_code ec;
        return std::filesystem::exists(
            std::filesystem::symlink_status(std::filesystem::path(root) / name, ec));
      });
}

std::optional<std::string> test_loss(const std::string& root, const std::string& path,
                                     const std::string& filter) {
  const auto command = tools::test_command(root, path, filter);
  return command ? loss(root, command->directory, tools::shell_commands(command->script))
                 : std::nullopt;
}

}  // namespace

std::optional<std::string> tests_lose(const std::string& root) { return test_loss(root, "", ""); }

std::string why_no_rule(const PermissionRule& rule) {
  if (rule.tool.empty() || rule.pattern.empty())
    return "a rule needs a tool and a pattern; \"*\" is all of them";
  if (rule.pattern.size() > kPatternBytesMax)
    return fmt::format("a pattern has at most {} bytes", kPatternBytesMax);
  if (rule.verdict != "allow" && rule.verdict != "ask" && rule.verdict != "deny")
    return "a rule's verdict is allow, ask or deny";
  return "";
}

Judgement judge(std::string_view policy, const std::vector<PermissionRule>& rules,
                const JudgedCall& call) {
  Judgement plain = call.reading ? for_reading(call.tool) : by_policy(policy, call.tool);
  if (plain.verdict == Verdict::deny) return plain;
  Subjects subjects;
  std::vector<std::string> likes;
  std::optional<std::string> loses;
  if (call.tool == "bash") {
    const auto script = tools::shell_commands(string_of(call.arguments, "command"));
    subjects.understood = script.understood && !script.does_more;
    if (!call.reading) loses = loss(call.root, call.directory, script);
    const bool rules_forbid = std::ranges::any_of(rules, [](const auto& r) {
      return r.verdict != "allow" && (r.tool == "bash" || r.tool == "*");
    });
    if (!loses && !script.understood && rules_forbid)
      loses = "what it runs is known only when it runs, and there are rules against some commands";
    for (const auto& command : script.commands) {
      subjects.texts.push_back(command.text);
      if (const auto slash = command.words[0].rfind('/'); slash != std::string::npos)
        subjects.also.push_back(command.text.substr(slash + 1));
      const std::string like = like_of(command);
      if (std::ranges::find(likes, like) == likes.end()) likes.push_back(like);
    }
    if (!subjects.understood) likes.clear();
  } else if (call.tool == "str_replace_editor") {
    const std::string path = below(call.root, string_of(call.arguments, "path"));
    subjects.texts = {path};
    const auto slash = path.rfind('/');
    likes = {slash == std::string::npos ? literal(path) : literal(path.substr(0, slash)) + "/*"};
  } else if (call.tool == "mcp_call") {
    subjects.texts = {string_of(call.arguments, "server") + "/" +
                      string_of(call.arguments, "tool")};
    likes = {literal(subjects.texts[0])};
  } else if (call.tool == "git") {
    subjects.texts = likes = {string_of(call.arguments, "command")};
  } else {
    if (call.tool == "test")
      loses = test_loss(std::string(call.root), string_of(call.arguments, "path"),
                        string_of(call.arguments, "filter"));
    subjects.texts = {""};
    likes = {"*"};
  }
  std::vector<std::string> all = subjects.texts;
  all.insert(all.end(), subjects.also.begin(), subjects.also.end());
  for (const std::string& text : all)
    if (const auto* rule = first_of(rules, "deny", call, text))
      return {Verdict::deny,
              fmt::format("a rule of this {} denies {} {}", rule->scope, call.tool, rule->pattern),
              {}};
  if (loses) return {Verdict::ask, *loses, {}};
  for (const std::string& text : all)
    if (const auto* rule = first_of(rules, "ask", call, text))
      return {
          Verdict::ask,
          fmt::format("a rule of this {} asks before {} {}", rule->scope, call.tool, rule->pattern),
          {}};
  const bool allowed = subjects.understood && !subjects.texts.empty() &&
                       std::ranges::all_of(subjects.texts, [&](const std::string& text) {
                         return first_of(rules, "allow", call, text) != nullptr;
                       });
  if (allowed || plain.verdict == Verdict::allow) return {};
  plain.likes = std::move(likes);
  return plain;
}

}  // namespace lares::daemon
