// Whether a script loses what only git has by way of the worktree's own files that it runs. Reads
// files; runs nothing.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "tools/shell/commands.h"

namespace lares::tools {

// Of one; a larger one is not looked into
inline constexpr std::size_t kRunFileBytesMax = 64 << 10;
inline constexpr int kRunFilesMax = 24;  // that are read, for one command
inline constexpr int kRunDepthMax = 3;   // a script that a script runs that a script runs
inline constexpr std::size_t kRunDirectoriesMax = 6;  // that the shell may be in

// As destructive_git, of the script and of what it runs below `root`: shell scripts (sh x, source
// x, ./x), the recipes of make's goals and the scripts of package.json. In a makefile only git
// commands that are written out count. `directory`: of the shell, below the root. What cannot be
// read counts as harmless.
std::optional<std::string> destructive_run(
    const std::string& root, const std::string& directory, const ShellScript& script,
    const std::function<bool(const std::string&)>& is_path = nullptr);

// Where a shell that was in `directory` is behind the script, as far as its text says.
std::string directory_after(const std::string& root, const std::string& directory,
                            const ShellScript& script);

// The command that `test` would run (testing/runner.h), as a script, and the directory that it runs
// in; nullopt: it would run none.
struct TestCommand {
  std::string script, directory;
};
std::optional<TestCommand> test_command(const std::string& root, const std::string& path,
                                        const std::string& filter);

}  // namespace lares::tools
