// Whether a call may run, must be asked for, or may not: what the session's policy and the rules
// say of it. Knows no session.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "daemon/protocol/protocol.h"

namespace lares::daemon {

enum class Verdict { allow, ask, deny };

// Of one call. `likes` are patterns that a rule for calls like it would have; none where a rule
// makes no sense.
struct Judgement {
  Verdict verdict = Verdict::allow;
  std::string why;  // of ask and deny, for people and the model
  std::vector<std::string> likes;
};

struct JudgedCall {
  std::string_view tool;
  const nlohmann::json& arguments;
  std::string_view root;            // of the repository
  std::string_view directory = {};  // below it, where the shell is thought to be
  // In a turn that changes nothing (tools::Tool::for_reading): no policy speaks against its shell,
  // and people are asked whether they believe an MCP server that says it only reads
  bool reading = false;
};

// Of a call that may change something, or stands in for one. A rule is about a tool ("*": all) and
// a pattern ('*' is anything, '?' a character) over
//   bash                 every command of the script by itself, as ShellCommand::text; a final " *"
//                        may be nothing
//   str_replace_editor   the path below the root
//   mcp_call             SERVER/TOOL
//   git                  the subcommand
//   others               ""
// Rules that deny come before those that ask, and those before the ones that allow; a script is
// allowed by rules only when each of its commands is, and its text says what it runs. What would
// lose work that only git has (destructive_run.h) is always asked for: bash, and the command that
// `test` finds. Also `git reset --hard` in the sandbox, where it fails at a .git that is read-only:
// which repository a shell is in, and what an earlier command has made of git there (GIT_DIR, a
// function of that name), its next command's text does not say. Reads files.
Judgement judge(std::string_view policy, const std::vector<protocol::PermissionRule>& rules,
                const JudgedCall& call);

// Why the tests that the repository names may not run unasked, for those that nobody could answer
// for; nullopt: they may.
std::optional<std::string> tests_lose(const std::string& root);

constexpr bool is_scope(std::string_view scope) {
  return scope == "once" || scope == "turn" || scope == "session" || scope == "repository" ||
         scope == "user";
}
// One line; empty: it is a rule.
std::string why_no_rule(const protocol::PermissionRule& rule);

}  // namespace lares::daemon
