#include "daemon/skills/skills.h"

#include <sys/stat.h>

#include <filesystem>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/tools/scratch.h"

namespace lares::daemon {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

class SkillsTest : public testing::Test {
 protected:
  void put(const tools::test::Scratch& where, const std::string& place, const std::string& name,
           const std::string& fields, const std::string& body = "Do it.\n") {
    where.write(place + "/" + name + "/SKILL.md", "---\n" + fields + "---\n" + body);
  }
  Skills found() const { return find_skills(repo_.root(), home_.root()); }
  std::vector<std::string> paths() const {
    std::vector<std::string> out;
    for (const auto& skill : found().all) out.push_back(skill.path);
    return out;
  }
  std::vector<std::string> wrong() const {
    std::vector<std::string> out;
    for (const auto& other : found().passed_over)
      if (!other.hidden) out.push_back(other.path + ": " + other.why);
    return out;
  }
  std::string called(const std::string& prompt) const {
    return called_skill(prompt, repo_.root(), home_.root()).for_model;
  }
  tools::test::Scratch repo_, home_;
};

TEST_F(SkillsTest, TheUsersComeBeforeTheRepositorys) {
  put(home_, ".agents/skills", "own", "name: own\ndescription: mine\n");
  put(home_, ".agents/skills", "both", "name: both\ndescription: first\n");
  put(home_, ".claude/skills", "both", "name: both\ndescription: second\n");
  put(home_, ".claude/skills", "other", "description: named by its directory\n");
  put(repo_, ".claude/skills", "trick", "name: own\ndescription: not mine\n");
  put(repo_, ".agents/skills", "group/deep", "name: deep\ndescription: below another\n");
  EXPECT_THAT(paths(), ElementsAre(home_.at(".agents/skills/both/SKILL.md"),
                                   ".agents/skills/group/deep/SKILL.md",
                                   home_.at(".claude/skills/other/SKILL.md"),
                                   home_.at(".agents/skills/own/SKILL.md")));
  EXPECT_EQ(found().all[0].description, "first");
  EXPECT_EQ(found().all[2].name, "other");
  EXPECT_THAT(wrong(), IsEmpty());
  EXPECT_THAT(found().passed_over, SizeIs(2));  // the two others of one name
  EXPECT_THAT(find_skills(repo_.root(), "").all, SizeIs(2));
  EXPECT_THAT(find_skills(home_.root(), home_.root()).passed_over, SizeIs(1));
}

TEST_F(SkillsTest, OnePlaceMayLinkToTheOther) {
  put(repo_, ".agents/skills", "a", "name: a\ndescription: d\n");
  fs::create_directory(repo_.at(".claude"));
  fs::create_directory_symlink("../.agents/skills", repo_.at(".claude/skills"));
  EXPECT_THAT(paths(), SizeIs(1));
  EXPECT_THAT(found().passed_over, IsEmpty());
}

TEST_F(SkillsTest, TheUsersMayBeLinksAndTheRepositorysLeadNowhereElse) {
  tools::test::Scratch elsewhere;
  put(elsewhere, "dotfiles", "a", "name: a\ndescription: d\n", "Kept elsewhere.\n");
  fs::create_directories(home_.at(".agents/skills/a"));
  fs::create_symlink(elsewhere.at("dotfiles/a/SKILL.md"), home_.at(".agents/skills/a/SKILL.md"));
  EXPECT_THAT(called("/a"), HasSubstr("Kept elsewhere."));
  fs::create_directories(repo_.at(".agents/skills/b"));
  fs::create_symlink(elsewhere.at("dotfiles/a/SKILL.md"), repo_.at(".agents/skills/b/SKILL.md"));
  fs::create_directory_symlink(elsewhere.at("dotfiles"), repo_.at(".agents/skills/c"));
  EXPECT_THAT(paths(), ElementsAre(home_.at(".agents/skills/a/SKILL.md")));
  EXPECT_THAT(wrong(), ElementsAre(HasSubstr("b/SKILL.md: it leads out of the worktree")));
}

TEST_F(SkillsTest, WhatIsWrongWithOneIsSaid) {
  put(repo_, ".agents/skills", "no-description", "name: a\n");
  put(repo_, ".agents/skills", "No Name", "name: Neither This\ndescription: d\n");
  repo_.write(".agents/skills/plain/SKILL.md", "# Only text\n");
  put(repo_, ".agents/skills", "secret", "name: secret\ndescription: d\n",
      "AKIA"
      "IOSFODNN7QWERTYU and -----BEGIN RSA "
      "PRIVATE KEY-----\nMIIEow\n");
  fs::create_directories(repo_.at(".agents/skills/fifo"));
  ASSERT_EQ(::mkfifo(repo_.at(".agents/skills/fifo/SKILL.md").c_str(), 0600), 0);
  EXPECT_THAT(paths(), IsEmpty());
  const auto all = wrong();
  ASSERT_THAT(all, SizeIs(5));
  EXPECT_THAT(all, testing::Contains(HasSubstr("no-description/SKILL.md: it has no description")));
  EXPECT_THAT(all, testing::Contains(HasSubstr("No Name/SKILL.md: neither its name nor")));
  EXPECT_THAT(
      all,
      testing::Contains(HasSubstr(
          "plain/SKILL.md: it does not begin with a line ---, its description and another ---")));
  EXPECT_THAT(all, testing::Contains(HasSubstr("secret/SKILL.md: it holds a secret")));
  EXPECT_THAT(all, testing::Contains(HasSubstr("fifo/SKILL.md: it ")));
  EXPECT_EQ(called("/plain now"), "");
  EXPECT_EQ(called_skill("/plain now", repo_.root(), home_.root()).note,
            "the skill .agents/skills/plain/SKILL.md is not used: it does not begin with a line "
            "---, its description and another ---");
}

TEST_F(SkillsTest, TheModelIsToldOfThoseThatAreForIt) {
  EXPECT_EQ(told_of_skills(found()), "");
  put(repo_, ".agents/skills", "a", "name: a\ndescription: |\n  For\n  this.\n");
  put(repo_, ".agents/skills", "b",
      "name: b\ndescription: d\ndisable-model-invocation: true\nuser-invocable: false\n");
  put(home_, ".agents/skills", "c", "name: c\ndescription: mine\n");
  EXPECT_THAT(told_of_skills(found()),
              EndsWith(fmt::format("\n- a (.agents/skills/a/SKILL.md): For this.\n"
                                   "- c ({}/.agents/skills/c/SKILL.md): mine\n\n",
                                   home_.root())));
  EXPECT_TRUE(found().all[0].for_people);
  EXPECT_FALSE(found().all[1].for_people);
}

TEST_F(SkillsTest, WhatIsToldIsBounded) {
  const std::string words(3000, 'w'), deep(120, '<');
  for (int i = 0; i < 40; ++i)
    put(repo_, ".agents/skills", fmt::format("{}/s{:03}", deep, i), "description: " + words + "\n");
  const std::string told = told_of_skills(found());
  EXPECT_LT(told.size(), kSkillsToldBytesMax + 400);
  EXPECT_THAT(told, HasSubstr("- s000 (.agents/skills/"));
  EXPECT_THAT(told, HasSubstr("\n- and 3"));
  put(repo_, ".agents/skills", std::string(250, 'a') + "/" + std::string(250, 'b'),
      "name: long\ndescription: d\n");
  EXPECT_THAT(wrong(), ElementsAre(HasSubstr("its path has more than 512 bytes")));
}

TEST_F(SkillsTest, NoMoreThanSoManyAreLookedAtOfEither) {
  for (std::size_t i = 0; i <= kSkillsMax + 1; ++i)
    repo_.write(fmt::format(".agents/skills/s{:03}/SKILL.md", i), "not one\n");
  put(home_, ".agents/skills", "own", "description: d\n");
  EXPECT_THAT(paths(), SizeIs(1));
  EXPECT_THAT(wrong(), SizeIs(kSkillsMax + 1));
  EXPECT_THAT(wrong().back(), HasSubstr("there are 256 already"));
}

TEST_F(SkillsTest, ManyNamesAreCutOff) {
  put(home_, ".agents/skills", "own", "description: d\n");
  for (std::size_t i = 0; i <= kSkillNamesMax; ++i)
    fs::create_directories(repo_.at(fmt::format(".agents/skills/{}", i)));
  EXPECT_THAT(paths(), SizeIs(1));
  EXPECT_THAT(wrong(), ElementsAre(HasSubstr("more than 4096 names")));
}

TEST_F(SkillsTest, LinksInCirclesEnd) {
  put(repo_, ".agents/skills", "a", "description: d\n");
  for (const char* name : {"b", "c", "d", "e", "f", "g"})
    fs::create_directory_symlink(".", repo_.at(fmt::format(".agents/skills/{}", name)));
  EXPECT_THAT(paths(), ElementsAre(".agents/skills/a/SKILL.md"));
  EXPECT_THAT(wrong(), IsEmpty());
}

TEST_F(SkillsTest, WhatIsSeenOfThemIsAllThereIs) {
  put(repo_, ".agents/skills", "a", "description: \"a\\u200b\\U000e0041\\u202eb \\e[31mred\"\n");
  EXPECT_EQ(told_of_skills(found()).find("\x1b"), std::string::npos);
  EXPECT_THAT(found().all.at(0).description, HasSubstr("<U+202E>"));
  EXPECT_EQ(found().all.at(0).description.find("\xe2\x80\x8b"), std::string::npos);
  repo_.write(".agents/skills/\x1b[2Jx/SKILL.md", "none\n");
  EXPECT_EQ(wrong().at(0).find('\x1b'), std::string::npos);
}

TEST_F(SkillsTest, WhatTheModelIsNotShownIsNoSkill) {
  repo_.write("credentials.yml", "---\ndescription: d\n---\nuser: me\n");
  fs::create_directories(repo_.at(".agents/skills/a"));
  fs::create_symlink("../../../credentials.yml", repo_.at(".agents/skills/a/SKILL.md"));
  EXPECT_THAT(wrong(), ElementsAre(HasSubstr("it leads to what the model is not shown")));
}

TEST_F(SkillsTest, WhereAConversationBeginsAnewTheyAreNamedAgain) {
  put(repo_, ".agents/skills", "a", "description: d\n");
  put(home_, ".agents/skills", "b", "description: d\n");
  EXPECT_EQ(called_before({"/a one", "/c two", "/a again", "/b"}, found(), "<skill name=\"b\">"),
            "\n\n/a above calls the skill in .agents/skills/a/SKILL.md: view it again.");
}

TEST_F(SkillsTest, APromptThatBeginsWithItsNameCallsIt) {
  put(repo_, ".agents/skills", "deploy", "name: deploy\ndescription: d\n",
      "\nDeploy to $ARGUMENTS, and only to $ARGUMENTS.\n\n");
  EXPECT_THAT(called("/deploy  the staging\nhost \n"),
              EndsWith("<skill name=\"deploy\">\nDeploy to the staging\nhost, and only to the "
                       "staging\nhost.\n</skill>"));
  EXPECT_THAT(called("/deploy"), HasSubstr("Deploy to , and"));
  EXPECT_THAT(called("/deploy"), HasSubstr("deploy (.agents/skills/deploy/SKILL.md)"));
  for (const char* prompt : {"deploy", " /deploy", "/deployed", "/deploy/it", "/", "/Deploy", "",
                             "say /deploy", "/tmp/deploy is full"})
    EXPECT_EQ(called(prompt), "") << prompt;
}

TEST_F(SkillsTest, ACommandIsOneFileThatAPersonCalls) {
  repo_.write(".claude/commands/fix_issue.md", "# Fix an issue\n\nFix issue $ARGUMENTS.\n");
  repo_.write(".claude/commands/web/review.md",
              "---\ndescription: Looks at it\nallowed-tools: Bash(git:*)\n---\nReview it.\n");
  repo_.write(".claude/commands/deploy.md", "Not this one.\n");
  repo_.write(".claude/commands/notes.txt", "No command.\n");
  home_.write(".claude/commands/Mine.md", "Mine alone.\n");
  put(repo_, ".claude/skills", "deploy", "description: d\n");
  const auto all = found().all;
  ASSERT_THAT(paths(),
              ElementsAre(home_.at(".claude/commands/Mine.md"), ".claude/skills/deploy/SKILL.md",
                          ".claude/commands/fix_issue.md", ".claude/commands/web/review.md"));
  EXPECT_EQ(all[2].description, "Fix an issue");
  EXPECT_EQ(all[3].description, "Looks at it");
  EXPECT_TRUE(all[3].is_command && all[3].for_people);
  EXPECT_THAT(told_of_skills(found()), Not(HasSubstr("review")));
  EXPECT_THAT(called("/fix_issue 12"),
              AllOf(HasSubstr("the command fix_issue (.claude/commands/fix_issue.md)"),
                    HasSubstr("relative to the repository"),
                    EndsWith("<command name=\"fix_issue\">\n# Fix an issue\n\nFix issue 12.\n"
                             "</command>")));
  EXPECT_THAT(called("/Mine"), HasSubstr("Mine alone."));
  EXPECT_EQ(called("/mine"), "");
  put(repo_, ".agents/skills", "Mine", "name: mine\ndescription: theirs\n");
  home_.write(".claude/commands/mine.md", "Also mine.\n");
  EXPECT_THAT(called("/mine"), HasSubstr("Also mine."));
  EXPECT_THAT(told_of_skills(found()), HasSubstr("- mine (.agents/skills/Mine/SKILL.md): theirs"));
  EXPECT_EQ(
      called_before({"/review"}, found(), ""),
      "\n\n/review above calls the command in .claude/commands/web/review.md: view it again.");
}

TEST_F(SkillsTest, ACommandThatCannotBeUsedIsNamed) {
  repo_.write(".claude/commands/empty.md", " \n");
  repo_.write(".claude/commands/two words.md", "Text.\n");
  repo_.write(".claude/commands/torn.md", "---\ndescription: d\nText.\n");
  fs::create_symlink("/etc/hostname", repo_.at(".claude/commands/out.md"));
  EXPECT_THAT(paths(), IsEmpty());
  EXPECT_THAT(wrong(), testing::UnorderedElementsAre(
                           HasSubstr("empty.md: it is empty"),
                           HasSubstr("two words.md: its name is not one of letters"),
                           HasSubstr("torn.md: "), HasSubstr("out.md: it leads out of")));
  EXPECT_THAT(called_skill("/empty", repo_.root(), home_.root()).note,
              HasSubstr(".claude/commands/empty.md is not used: it is empty"));
}

TEST_F(SkillsTest, ALongOneIsCut) {
  put(repo_, ".agents/skills", "long", "description: d\n",
      "begin " + std::string(kSkillBytesMax, 'x') + " end");
  EXPECT_THAT(called("/long"), HasSubstr("begin x"));
  EXPECT_THAT(called("/long"), Not(HasSubstr("end")));
  EXPECT_THAT(called("/long"), HasSubstr("x\n[what follows is left out"));
  put(repo_, ".agents/skills", "many", "description: d\n",
      fmt::format("{}", fmt::join(std::vector<std::string>(9000, "$ARGUMENTS"), " ")));
  EXPECT_LT(called("/many " + std::string(100'000, 'a')).size(), kSkillBytesMax + 1000);
}

}  // namespace
}  // namespace lares::daemon
