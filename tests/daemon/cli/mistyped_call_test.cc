#include "daemon/cli/mistyped_call.h"

#include <cstdlib>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/tools/scratch.h"

namespace lares::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class MistypedCallTest : public testing::Test {
 protected:
  void SetUp() override {
    ::setenv("HOME", home_.root().c_str(), 1);
    skill("deploy");
    skill("app");
    skill("test");
    skill("release-notes");
  }
  void skill(const std::string& name) {
    repo_.write(".agents/skills/" + name + "/SKILL.md",
                "---\nname: " + name + "\ndescription: does it\n---\nDo it.\n");
  }
  std::string told(const std::string& prompt) const { return mistyped_call(prompt, repo_.root()); }

  tools::test::Scratch repo_, home_;
};

TEST_F(MistypedCallTest, ASlipOfASkillIsTold) {
  EXPECT_EQ(told("/deplyo x"),
            "call /deplyo: there is no such skill; do you mean /deploy? `lares skills` lists them; "
            "a blank before the slash sends it as text");
  for (const char* const slip : {"/depoly", "/deplo now", "/deployy\n", "/Deploy x"})
    EXPECT_THAT(told(slip), HasSubstr("do you mean /deploy?")) << slip;
  for (const char* const slip : {"/relaese-ntoes 1.2", "/release_notes", "/relase-note"})
    EXPECT_THAT(told(slip), HasSubstr("do you mean /release-notes?")) << slip;
}

TEST_F(MistypedCallTest, ACommandOfAConversationIsTold) {
  EXPECT_THAT(told("/diff"), AllOf(HasSubstr("call /diff:"), HasSubstr("here it is `lares diff`")));
  EXPECT_THAT(told("/rewind 3"), HasSubstr("here it is `lares rewind`"));
  EXPECT_THAT(told("/ask what is this?"), HasSubstr("here it is `lares ask`"));
  EXPECT_THAT(told("/help"), HasSubstr("here it is `lares help`"));
  EXPECT_THAT(told("/clear"), AllOf(HasSubstr("call /clear:"), HasSubstr("`lares` alone")));
  EXPECT_THAT(told("/sesions"), AllOf(HasSubstr("call /sesions:"), HasSubstr("/sessions is a")));
}

TEST_F(MistypedCallTest, WhatIsNoSlipIsAPrompt) {
  repo_.write("tests/a.py", "");
  repo_.write("Sessions", "");
  for (const char* const prompt :
       {"", "fix it", " /deplyo x", "/", "/deploy x", "/test", "/etc/hosts is wrong",
        "/etc is full", "/deploy/x is gone", "/deplyo.py fails", "//deplyo", "/api returns 500",
        "/frobnicate x", "/employ somebody", "/tests fail", "/Sessions is empty",
        "/status returns 500", "/rewind goes one too far", "/дeploy"})
    EXPECT_EQ(told(prompt), "") << prompt;
}

// What is wrong with it is said by the session.
TEST_F(MistypedCallTest, ASkillThatIsNotUsedIsCalledAllTheSame) {
  repo_.write(".agents/skills/deplyo/SKILL.md", "no description\n");
  EXPECT_EQ(told("/deplyo x"), "");
}

}  // namespace
}  // namespace lares::cli
