// git itself, to make the repositories that the tests read.
#pragma once

#include <string>

#include "tests/tools/scratch.h"

namespace lares::tools::test {

// Fails the test when git does; nobody's own configuration counts.
inline void git(const std::string& directory, const std::string& args) {
  const std::string command =
      "GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null git -C '" + directory +
      "' -c user.name=t -c user.email=t@localhost -c protocol.file.allow=always "
      "-c init.defaultBranch=main -c commit.gpgsign=false " +
      args + " >/dev/null 2>&1";
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
}

}  // namespace lares::tools::test
