// Paths that a command can make and that programs outside obey later: git's hooks and
// configuration, an editor's tasks. Those that are there when a sandbox begins are read-only in it
// (launcher/covers.cc); of those that appear this finds what would run something on the host, or
// lead git out of the worktree. What lies where nobody looks, in git's directories, is moved aside
// under a name that nobody obeys; a file of the worktree is told. A repository as git itself makes
// it stays as it is.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace lares::sandbox {

// Names in a worktree of what programs outside obey: git's hooks and configuration, and the
// others'. Read-only for commands where they are there.
inline constexpr std::array kObeyedOutside = {".git",
                                              ".envrc",
                                              ".mcp.json",
                                              ".vscode",
                                              ".idea",
                                              ".husky",
                                              ".pre-commit-config.yaml",
                                              "lefthook.yml",
                                              ".lefthook.yml",
                                              ".claude/settings.json",
                                              ".cursor/mcp.json",
                                              ".devcontainer/devcontainer.json",
                                              ".claude/settings.local.json",
                                              ".cursor/hooks.json",
                                              ".gemini/settings.json",
                                              ".opencode",
                                              "opencode.json",
                                              "opencode.jsonc",
                                              ".hg/hgrc"};

// Bounds of one look; what lies beyond is not found, and that is told.
struct ControlLimits {
  int depth_max = 24;  // of directories
  // Of directories that are new or have changed; the rest of them is left to the next look, and
  // until then is nobody's. A million take a second
  std::size_t entries_max = 1'000'000;
  // Known, and told to be unchanged by their stamps alone: each costs a microsecond
  std::size_t directories_max = 5'000;
  std::size_t repositories_max = 512, hooks_max = 1024;
};
// Behind the name, and a number if that is taken
inline constexpr std::string_view kQuarantined = ".lares-quarantined";

struct MovedAside {
  // Relative to the worktree; to "": it could not be moved, or was to be `left`
  std::string path, to;
  std::string why;  // "a git hook", "core.fsmonitor in a git configuration"
  // It may be what the user wants or has just written, and is in what people review: only told.
  // Path "": that not all could be looked at, or not yet
  bool left = false;
};
// For the model and the person, one line; "" when there is nothing to tell.
std::string told_of(const std::vector<MovedAside>& moved);

// Of one worktree, for all who run commands in it. Blocks on the disk: two looks, a command's, at
// 10,000 files in 500 directories take 1.3 ms (make bench-sandbox).
class ControlPaths {
 public:
  explicit ControlPaths(std::string root, ControlLimits limits = {});
  ~ControlPaths();
  // The one that everybody shares who runs commands in this worktree now.
  static std::shared_ptr<ControlPaths> of(const std::string& root);
  bool is_busy() const;  // a command runs, or what one has left running
  // Whether a command could have changed the .git of the root since that was last looked at.
  bool could_change_git() const;

  // A sandbox, from before its policy is made until nothing of it is left. While none runs
  // anything, what appears is the user's own.
  class Inside {
   public:
    explicit Inside(std::shared_ptr<ControlPaths> paths);
    ~Inside();
    Inside(const Inside&) = delete;
    void begin();  // a command
    // It has ended; `idle`: and none of its processes is left but a shell that waits. What was
    // moved aside and not told yet.
    std::vector<MovedAside> end(bool idle);

   private:
    const std::shared_ptr<ControlPaths> paths_;
    bool active_ = false;
  };

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

}  // namespace lares::sandbox
