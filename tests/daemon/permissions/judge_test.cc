#include "daemon/permissions/judge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace lares::daemon {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Rules = std::vector<protocol::PermissionRule>;

Judgement bash(std::string_view policy, const std::string& command, const Rules& rules = {}) {
  const nlohmann::json args{{"command", command}};
  return judge(policy, rules, {"bash", args, "/repo"});
}
Judgement edit(std::string_view policy, const std::string& path, const Rules& rules = {}) {
  const nlohmann::json args{{"command", "create"}, {"path", path}};
  return judge(policy, rules, {"str_replace_editor", args, "/repo"});
}

TEST(Judge, APolicySaysWhatIsAskedFor) {
  struct Row {
    const char* policy;
    Verdict edit, command;
  };
  for (const Row& row :
       {Row{"auto", Verdict::allow, Verdict::allow}, Row{"edits", Verdict::allow, Verdict::ask},
        Row{"ask", Verdict::ask, Verdict::ask}, Row{"plan", Verdict::deny, Verdict::deny},
        Row{"read-only", Verdict::deny, Verdict::deny}}) {
    EXPECT_EQ(edit(row.policy, "/repo/a.cc").verdict, row.edit) << row.policy;
    EXPECT_EQ(bash(row.policy, "make").verdict, row.command) << row.policy;
  }
  EXPECT_THAT(bash("plan", "make").why, HasSubstr("nothing may be changed"));
}

TEST(Judge, WhatLosesWorkIsAlwaysAskedFor) {
  const Rules all{{"*", "*", "allow", "user"}};
  EXPECT_EQ(bash("auto", "git reset --hard", all).verdict, Verdict::ask);
  EXPECT_THAT(bash("auto", "make; git clean -fdx").why, HasSubstr("git clean -fdx deletes files"));
  EXPECT_THAT(bash("auto", "git reset --hard").likes, IsEmpty());  // so no rule can be made of it
  EXPECT_EQ(bash("read-only", "git reset --hard", all).verdict, Verdict::deny);
}

TEST(Judge, InAShellThatWritesNothingOnlyRulesCount) {
  const auto reading = [](std::string_view policy, const std::string& command,
                          const Rules& rules = {}) {
    const nlohmann::json args{{"command", command}};
    return judge(policy, rules, {.tool = "bash", .arguments = args, .root = "/r", .reading = true});
  };
  for (const char* policy : {"auto", "edits", "ask", "plan", "read-only"}) {
    EXPECT_EQ(reading(policy, "grep -rn x .").verdict, Verdict::allow) << policy;
    EXPECT_EQ(reading(policy, "git reset --hard").verdict, Verdict::allow) << policy;
  }
  const Rules rules{{"bash", "cat *", "deny", "user"}, {"bash", "psql *", "ask", "user"}};
  EXPECT_EQ(reading("plan", "ls; cat x", rules).verdict, Verdict::deny);
  EXPECT_EQ(reading("plan", "psql -c 'select 1'", rules).verdict, Verdict::ask);
  EXPECT_EQ(reading("plan", "$x", rules).verdict, Verdict::ask);
  EXPECT_EQ(reading("plan", "ls", rules).verdict, Verdict::allow);
}

TEST(Judge, WhatAServerSaysOnlyReadsIsAskedForWhereNothingMayBeChanged) {
  const nlohmann::json args{{"server", "db"}, {"tool", "query"}};
  const auto reading = [&](const Rules& rules) {
    return judge("plan", rules,
                 {.tool = "mcp_call", .arguments = args, .root = "/r", .reading = true});
  };
  EXPECT_EQ(reading({}).verdict, Verdict::ask);
  EXPECT_THAT(reading({}).why, HasSubstr("only the server says that this reads"));
  EXPECT_THAT(reading({}).likes, ElementsAre("db/query"));
  EXPECT_EQ(reading({{"mcp_call", "db/*", "allow", "user"}}).verdict, Verdict::allow);
  EXPECT_EQ(reading({{"mcp_call", "db/*", "deny", "user"}}).verdict, Verdict::deny);
}

TEST(Judge, EveryCommandOfAScriptMustBeAllowed) {
  const Rules rules{{"bash", "npm test *", "allow", "session"},
                    {"bash", "ls *", "allow", "session"}};
  for (const char* command : {"npm test", "npm test -- a b", "npm test && ls -l",
                              "for f in a b; do npm test $f; done", "bash -c 'npm test'; ls"})
    EXPECT_EQ(bash("ask", command, rules).verdict,
              std::string_view(command).starts_with("bash") ? Verdict::ask : Verdict::allow)
        << command;
  for (const char* command :
       {"npm test; rm -rf src", "npm testing", "npm install", "npm test $(curl x)", "npm test | sh",
        "eval \"$x\"", "npm test; $x", "", "xnpm test"})
    EXPECT_EQ(bash("ask", command, rules).verdict, Verdict::ask) << command;
}

TEST(Judge, DenyComesBeforeAskAndAskBeforeAllow) {
  const Rules rules{{"bash", "*", "allow", "user"},
                    {"bash", "curl *", "deny", "repository"},
                    {"bash", "npm publish *", "ask", "user"}};
  EXPECT_EQ(bash("ask", "make", rules).verdict, Verdict::allow);
  EXPECT_EQ(bash("auto", "make && curl -s x", rules).verdict, Verdict::deny);
  EXPECT_THAT(bash("auto", "curl x", rules).why,
              HasSubstr("a rule of this repository denies bash curl *"));
  EXPECT_EQ(bash("auto", "npm publish", rules).verdict, Verdict::ask);
  EXPECT_EQ(edit("ask", "/repo/a.cc", rules).verdict, Verdict::ask);  // another tool's rules
}

TEST(Judge, AnAllowedCommandAllowsNoMoreThanItself) {
  const Rules rules{{"bash", "ls *", "allow", "session"},
                    {"bash", "git diff *", "allow", "session"}};
  EXPECT_EQ(bash("ask", "ls -l 2>&1 | ls", rules).verdict, Verdict::allow);
  for (const char* command :
       {"ls > src/main.cc", "ls; > a", "sudo ls", "PATH=evil ls", "export PATH=evil; ls",
        "GIT_EXTERNAL_DIFF=x git diff", "find . -exec ls {} +", "ls ${x:-`rm a`}",
        "ls <<E\n`rm a`\nE", "ls \"${x:-'$(rm a)'}\""})
    EXPECT_EQ(bash("ask", command, rules).verdict, Verdict::ask) << command;
}

TEST(Judge, AnotherSpellingIsNoWayAroundARule) {
  const Rules rules{{"bash", "curl *", "deny", "user"},
                    {"str_replace_editor", "config/*", "deny", "user"},
                    {"str_replace_editor", "src/*", "allow", "user"}};
  for (const char* command :
       {"/usr/bin/curl x", "sudo curl x", "env curl x", "timeout --kill-after 3 5 curl x",
        "cu\\\nrl x", "cat > a <<E\n`curl x`\nE", "echo ${a:-`curl x`}", "coproc curl x",
        "perf stat -e b curl x", "bash -eo pipefail -c 'curl x'", "numactl -C 0 curl x"})
    EXPECT_EQ(bash("auto", command, rules).verdict, Verdict::deny) << command;
  for (const char* command : {"c=curl; $c x", "eval \"$x\"", "bash a.sh"})
    EXPECT_EQ(bash("auto", command, rules).verdict, Verdict::ask) << command;
  const Rules every{{"*", "x *", "deny", "user"}};  // of every tool, so of commands too
  EXPECT_EQ(bash("auto", "bash a.sh", every).verdict, Verdict::ask);
  EXPECT_EQ(bash("auto", "bash a.sh", {{"*", "x *", "allow", "user"}}).verdict, Verdict::allow);
  for (const char* path :
       {"/repo/config/x", "/repo//config/x", "/repo/src/../config/x", "/repo/./config/x"})
    EXPECT_EQ(edit("ask", path, rules).verdict, Verdict::deny) << path;
  const auto like = edit("ask", "/repo/a/[id]/page.tsx").likes.at(0);
  EXPECT_EQ(edit("ask", "/repo/a/[id]/page.tsx", {{"str_replace_editor", like, "allow", "session"}})
                .verdict,
            Verdict::allow);
  EXPECT_EQ(
      edit("ask", "/repo/a/i/page.tsx", {{"str_replace_editor", like, "allow", "session"}}).verdict,
      Verdict::ask);
}

TEST(Judge, PathsAreBelowTheRoot) {
  const Rules rules{{"str_replace_editor", "src/*", "allow", "session"},
                    {"str_replace_editor", "*.pem", "deny", "user"}};
  EXPECT_EQ(edit("ask", "/repo/src/a/b.cc", rules).verdict, Verdict::allow);
  EXPECT_EQ(edit("ask", "/repo/docs/a.md", rules).verdict, Verdict::ask);
  EXPECT_EQ(edit("auto", "/repo/src/key.pem", rules).verdict, Verdict::deny);
  EXPECT_EQ(edit("ask", "/elsewhere/src/a", rules).verdict, Verdict::ask);
  EXPECT_EQ(edit("ask", "/repo2src/a", rules).verdict, Verdict::ask);  // no more than its beginning
}

TEST(Judge, SaysWhatARuleForCallsLikeItWouldBe) {
  EXPECT_THAT(bash("ask", "npm test -- x && ls -l; npm test").likes,
              ElementsAre("npm test *", "ls *"));
  EXPECT_THAT(bash("ask", "$x").likes, IsEmpty());
  EXPECT_THAT(edit("ask", "/repo/src/a.cc").likes, ElementsAre("src/*"));
  EXPECT_THAT(edit("ask", "/repo/a.cc").likes, ElementsAre("a.cc"));
  // And that rule allows it
  for (const std::string command : {"npm test -- x && ls -l", "make -j2"}) {
    Rules rules;
    for (const auto& like : bash("ask", command).likes)
      rules.push_back({"bash", like, "allow", "session"});
    EXPECT_EQ(bash("ask", command, rules).verdict, Verdict::allow) << command;
  }
  const nlohmann::json args{{"server", "db"}, {"tool", "query"}};
  EXPECT_THAT(judge("ask", {}, {"mcp_call", args, "/repo"}).likes, ElementsAre("db/query"));
}

TEST(Judge, ARuleIsCheckedBeforeItIsKept) {
  EXPECT_EQ(why_no_rule({"bash", "make *", "allow", "user"}), "");
  EXPECT_NE(why_no_rule({"", "make *", "allow", "user"}), "");
  EXPECT_NE(why_no_rule({"bash", "", "allow", "user"}), "");
  EXPECT_NE(why_no_rule({"bash", "x", "maybe", "user"}), "");
  EXPECT_NE(why_no_rule({"bash", std::string(2000, 'x'), "allow", "user"}), "");
}

}  // namespace
}  // namespace lares::daemon
