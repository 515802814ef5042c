#include "daemon/turn/instructions.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lares::daemon {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

tools::SourceFile file(const std::string& path, const std::string& text) {
  tools::SourceFile f{.path = path, .blob = std::string(40, 'a')};
  f.text = std::make_shared<const std::string>(text);
  return f;
}

struct Repository {
  tools::Workspace files;
  View view{std::make_shared<const Base>()};
  void add(const std::string& path, const std::string& text, bool shown = true) {
    files[path] = file(path, text);
    if (shown) view.saw(files[path]);
  }
};

TEST(Instructions, NobodyAsksAnything) {
  Repository r;
  r.add("README.md", "Read me.");
  r.add("AGENTS.md", "");
  r.add("docs/agents.md", "Not by this name.");
  const auto none = instructions(r.files, r.view, "/nonexistent/AGENTS.md");
  EXPECT_EQ(none.text, "");
  EXPECT_THAT(none.files, IsEmpty());
}

// Their text stands in the prompt: it is not said twice.
TEST(Instructions, ThoseShownAreNamedWithWhatTheyHoldFor) {
  Repository r;
  r.add("AGENTS.md", "Use tabs.");
  r.add("CLAUDE.md", "Older.");
  r.add("web/ui/CLAUDE.md", "Use spaces.");
  const auto two = instructions(r.files, r.view, "");
  EXPECT_THAT(two.files, ElementsAre("AGENTS.md", "web/ui/CLAUDE.md"));
  EXPECT_TRUE(two.text.starts_with("Follow what this repository asks of agents.")) << two.text;
  EXPECT_THAT(two.text, HasSubstr("- AGENTS.md\n- web/ui/CLAUDE.md, for web/ui/\n"));
  EXPECT_THAT(two.text, Not(HasSubstr("tabs")));
  EXPECT_TRUE(two.text.ends_with("\n\n"));
}

TEST(Instructions, ThoseNotShownAreQuotedWithinABound) {
  Repository r;
  r.add("AGENTS.md", "Use tabs.", false);
  r.add("z/AGENTS.md", std::string(kInstructionBytesMax, 'z'), false);
  r.add("zz/AGENTS.md", "Nothing is left for this.", false);
  const auto two = instructions(r.files, r.view, "");
  EXPECT_THAT(two.text, HasSubstr("AGENTS.md:\nUse tabs.\n"));
  EXPECT_THAT(two.text, HasSubstr("[what follows is left out]"));
  EXPECT_LT(two.text.size(), kInstructionBytesMax + 1000);
  EXPECT_THAT(two.text, HasSubstr("- zz/AGENTS.md, for zz/\n"));
  EXPECT_THAT(two.text, Not(HasSubstr("zz/AGENTS.md:\n")));
  Repository just;
  just.add("AGENTS.md", std::string(kInstructionBytesMax, 'z'), false);
  EXPECT_THAT(instructions(just.files, just.view, "").text, Not(HasSubstr("left out")));
}

TEST(Instructions, TheUsersOwnComeFirst) {
  const std::string path = testing::TempDir() + "/lares-instructions-test.md";
  std::ofstream(path) << "Answer in Latin.";
  Repository r;
  r.add("AGENTS.md", "Use tabs.");
  const auto both = instructions(r.files, r.view, path);
  EXPECT_THAT(both.files, ElementsAre(path, "AGENTS.md"));
  EXPECT_LT(both.text.find("Answer in Latin.\n"), both.text.find("- AGENTS.md"));
  std::filesystem::remove(path);
}

TEST(Instructions, StandInFilesOfTwoNames) {
  EXPECT_TRUE(may_instruct("AGENTS.md"));
  EXPECT_TRUE(may_instruct("web/ui/CLAUDE.md"));
  EXPECT_FALSE(may_instruct("web/MY-AGENTS.md"));
  EXPECT_FALSE(may_instruct("AGENTS.md/README.md"));
}

TEST(Instructions, SoManyAreCounted) {
  Repository r;
  for (std::size_t i = 0; i < kInstructionFilesMax + 3; ++i)
    r.add(fmt::format("d{}/AGENTS.md", i), "x");
  const auto many = instructions(r.files, r.view, "");
  EXPECT_EQ(many.files.size(), kInstructionFilesMax);
  EXPECT_THAT(many.text, HasSubstr("- and 3 more, deeper in the tree\n"));
}

}  // namespace
}  // namespace lares::daemon
