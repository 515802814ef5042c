#include "daemon/skills/front_matter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lares::daemon {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

TEST(FrontMatter, HasWhatIsASingleValue) {
  const auto head = front_matter(
      "---\nname: deploy\ndescription: >\n  Deploys the site.\n  Use it on Fridays.\n"
      "allowed-tools: [Bash, Read]\nmetadata:\n  author: me\n  name: not this\n"
      "seen: &a \"with: a colon\"\nagain: *a\nlast: 'yes'\n---\n# Deploy\n---\nrest\n");
  ASSERT_TRUE(head) << head.error();
  EXPECT_THAT(
      head->fields,
      ElementsAre(Pair("description", "Deploys the site. Use it on Fridays.\n"),
                  Pair("last", "yes"), Pair("name", "deploy"), Pair("seen", "with: a colon")));
  EXPECT_EQ(head->body, "# Deploy\n---\nrest\n");
}

TEST(FrontMatter, WhatPeopleWriteInsteadOfYamlIsUnderstood) {
  const std::pair<const char*, const char*> cases[] = {
      {"description: Use when: it's Friday, or [always]\n", "Use when: it's Friday, or [always]"},
      {"description: Use when: asked,\n  and else: not\nname: a\n",
       "Use when: asked, and else: not"},
      {"description: [Beta] Deploys\n", "[Beta] Deploys"},
      {"description: *All* of it\n", "*All* of it"},
      {"description: >\n  Folded.\nother: a: b\n", "Folded."},
      {"description: \"Quoted.\"\nother: a: b\n", "Quoted."}};
  for (const auto& [yaml, wanted] : cases) {
    const auto head = front_matter(std::string("\n--- \n") + yaml + "---\t\nbody");
    ASSERT_TRUE(head) << yaml << head.error();
    EXPECT_EQ(head->fields.at("description"), wanted) << yaml;
    EXPECT_EQ(head->body, "body");
  }
}

TEST(FrontMatter, AKeyThatIsNoNameIsPassedOver) {
  const auto head = front_matter("---\nname: a\n? [x, y]\n: value\nlast: b\n---\n");
  ASSERT_TRUE(head) << head.error();
  EXPECT_EQ(head->fields.at("name"), "a");
  EXPECT_EQ(head->fields.at("last"), "b");
}

TEST(FrontMatter, OfNothingIsEmpty) {
  for (const char* text : {"---\n---\nbody", "---\n# only this\n---\nbody", "---\n\n---\nbody"}) {
    const auto head = front_matter(text);
    ASSERT_TRUE(head) << text;
    EXPECT_TRUE(head->fields.empty()) << text;
    EXPECT_EQ(head->body, "body") << text;
  }
  EXPECT_EQ(front_matter("---\na: b\n---")->body, "");
}

TEST(FrontMatter, WhatIsWrongIsSaid) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "does not begin with a line ---"},
      {"name: a\n---\n", "does not begin with a line ---"},
      {"---\nname: a\n", "no second line ---"},
      {"---\nname: a\n---x\n", "no second line ---"},
      {"---\nname: a\nother: \"open\n---\n", "line 4: "},
      {"---\nname: a\n\tb: c\n---\n", "line 3: "},
      {"---\n- a\n- b\n---\n", "no mapping"},
      {"---\njust words\n---\n", "no mapping"}};
  for (const auto& [text, why] : cases) {
    const auto head = front_matter(text);
    ASSERT_FALSE(head) << text;
    EXPECT_THAT(head.error(), HasSubstr(why)) << text;
  }
}

TEST(FrontMatter, DepthAndLengthAreBounded) {
  const auto of = [](const std::string& value) {
    return front_matter("---\na: " + value + "\nb: c\n---\n");
  };
  EXPECT_EQ(of(std::string(15, '[') + std::string(15, ']'))->fields.at("b"), "c");
  EXPECT_THAT(of(std::string(16, '[') + std::string(16, ']')).error(), HasSubstr("16 deep"));
  EXPECT_THAT(of(std::string(60'000, '[')).error(), HasSubstr("16 deep"));
  EXPECT_THAT(of(std::string(60'000, '{')).error(), HasSubstr("16 deep"));
  EXPECT_THAT(of(std::string(70'000, 'x')).error(), HasSubstr("more than 65536 bytes"));
}

}  // namespace
}  // namespace lares::daemon
