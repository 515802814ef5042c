#include "daemon/permissions/rule_store.h"

#include <sys/stat.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/tools/scratch.h"

namespace lares::daemon {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Rules : public ::testing::Test {
 protected:
  std::vector<std::string> patterns(const std::string& root) const {
    std::vector<std::string> out;
    const auto rules = RuleStore(directory_).of(root);
    if (!rules) return {rules.error()};
    for (const auto& rule : *rules)
      out.push_back(rule.scope + " " + rule.verdict + " " + rule.pattern);
    return out;
  }
  tools::test::Scratch scratch_;
  const std::string directory_ = scratch_.at("rules");
  RuleStore store_{directory_};
};

TEST_F(Rules, OutliveTheDaemonAndBelongToTheirRepository) {
  EXPECT_THAT(patterns("/a"), IsEmpty());
  ASSERT_TRUE(store_.add("/a", {"bash", "make *", "allow", "repository"}));
  ASSERT_TRUE(store_.add("/a", {"bash", "curl *", "deny", "user"}));
  EXPECT_THAT(patterns("/a"), ElementsAre("user deny curl *", "repository allow make *"));
  EXPECT_THAT(patterns("/b"), ElementsAre("user deny curl *"));
  ASSERT_TRUE(store_.add("/a", {"bash", "make *", "deny", "repository"}));  // takes its place
  EXPECT_THAT(patterns("/a"), ElementsAre("user deny curl *", "repository deny make *"));
  EXPECT_TRUE(store_.remove("/a", {"bash", "make *", "allow", "repository"}).value());
  EXPECT_FALSE(store_.remove("/a", {"bash", "make *", "allow", "repository"}).value());
  EXPECT_THAT(patterns("/a"), ElementsAre("user deny curl *"));
  struct stat st {};
  ASSERT_EQ(::stat((directory_ + "/user.json").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
}

// Such a file may have denied something, so it is not taken for none.
TEST_F(Rules, AFileThatIsNoRulesIsAnError) {
  ASSERT_TRUE(store_.add("/a", {"bash", "make *", "allow", "user"}));
  for (const char* text : {"", "[]", "{\"rules\": 1}", "{\"rules\": [{\"tool\": \"bash\"}]}",
                           "{\"rules\": [{\"tool\": \"\", \"pattern\": \"x\"}]}"}) {
    std::ofstream(directory_ + "/user.json") << text;
    EXPECT_THAT(patterns("/a").at(0), HasSubstr("mend or remove the file")) << text;
    EXPECT_FALSE(store_.add("/a", {"bash", "x", "allow", "user"})) << text;
  }
  std::filesystem::remove(directory_ + "/user.json");
  std::filesystem::create_symlink("/etc/passwd", directory_ + "/user.json");
  EXPECT_FALSE(store_.of("/a"));
}

TEST_F(Rules, AreBounded) {
  std::ofstream(directory_ + "x");
  std::string text = "{\"rules\": [";
  for (std::size_t i = 0; i < kRulesMax; ++i)
    text += std::string(i ? "," : "") + "{\"tool\":\"bash\",\"pattern\":\"p" + std::to_string(i) +
            "\"}";
  std::filesystem::create_directory(directory_);
  std::ofstream(directory_ + "/user.json") << text + "]}";
  EXPECT_THAT(store_.add("/a", {"bash", "one more", "allow", "user"}).error(),
              HasSubstr("there are 1000 already"));
  EXPECT_TRUE(store_.add("/a", {"bash", "p7", "deny", "user"}));  // one of them
}

}  // namespace
}  // namespace lares::daemon
