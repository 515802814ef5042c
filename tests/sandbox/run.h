// Test helpers: run one command to its end under a backend, and scratch directories that clean up
// after themselves.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "sandbox/sandbox.h"
#include "tests/temporary_directory.h"

namespace lares::sandbox::test {

// A directory below /tmp, or another one, with `wt` (the worktree, holding a .git with a config)
// and `outside` beside it.
class Scratch {
 public:
  explicit Scratch(const std::filesystem::path& below = "/tmp");
  void write(const std::string& name, const std::string& text) const;  // below wt, folders made
  std::string read(const std::string& name) const;  // "<absent>" when there is none

  const TemporaryDirectory made;
  const std::filesystem::path dir = made.path(), wt = dir / "wt", outside = dir / "outside";
};

struct Ran {
  std::string error;  // spawn()'s, with its Errc in front: "refused: ..."
  Exit exit;
  std::string output;
  bool timed_out = false;
  bool ok() const { return error.empty() && exit.exited && exit.code == 0; }
};

struct RunOptions {
  Backend backend = Backend::native;
  Policy policy;
  std::string cwd;  // "" is the root
  std::vector<std::string> env;
  std::function<void(RunOptions&)> meanwhile;  // what somebody else does when it runs already
  std::vector<std::string> hide, keep;         // before it gets its input
  std::string input;
  // Of what hangs: commands run behind all else, on a machine that may be crowded
  std::chrono::milliseconds timeout = std::chrono::minutes(5);
  std::function<bool(const std::string&)> kill_when;  // asked with all output when there is more
  std::size_t output_max = 1 << 20;                   // beyond it the command is killed
  bool reads_at_the_end = false;                      // its output, as somebody does who looks away
};

// Whether Process::alone() after each of these lines, of a shell that stays.
std::vector<bool> alone_after(const std::vector<std::string>& lines, RunOptions options);

std::string launcher();  // the one just built
Ran run(const std::vector<std::string>& argv, RunOptions options);
Ran shell(const std::string& script, RunOptions options);
RunOptions in(const Scratch& scratch, Backend backend = Backend::native);

// Why the native backend cannot start here, "" when it can; whether it holds is what the tests are
// for.
const std::string& why_not();

}  // namespace lares::sandbox::test
