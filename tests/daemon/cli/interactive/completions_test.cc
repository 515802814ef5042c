#include "daemon/cli/interactive/completions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/temporary_directory.h"

namespace lares::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;

TEST(Completions, NamesAreLookedForWhereOneStandsAndThenFromTheTop) {
  const TemporaryDirectory made;
  const std::string& root = made.path();
  for (const char* file : {"main.py", "made/top.py", "src/map.py", "src/deep/g.py"}) {
    fs::create_directories((fs::path(root) / file).parent_path());
    std::ofstream(fs::path(root) / file) << "x\n";
  }
  const auto names = [&](const char* before, const char* directory) {
    return completions_of(before, root, directory).candidates;
  };
  EXPECT_THAT(names("see @ma", ""), ElementsAre("made/", "main.py"));
  EXPECT_THAT(names("see @ma", "src"), ElementsAre("map.py"));
  EXPECT_THAT(names("see deep/", "src"), ElementsAre("deep/g.py"));
  EXPECT_THAT(names("see @mai", "src"), ElementsAre("main.py"));
  EXPECT_THAT(names("see @../ma", "src"), ElementsAre("../made/", "../main.py"));
  EXPECT_EQ(completions_of("see @ma", root, "src").becomes, "@map.py");
}

}  // namespace
}  // namespace lares::cli
