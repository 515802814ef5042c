#include "sandbox/control_look.h"

#include <errno.h>
#include <fcntl.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>

#include <fmt/format.h>

#include "sandbox/below.h"
#include "sandbox/git_config.h"
#include "sandbox/git_links.h"

namespace lares::sandbox {
namespace {

namespace fs = std::filesystem;

// a stamp younger than this may hide a change of the same clock tick
constexpr std::int64_t kSettleNs = 20'000'000;
constexpr int kLinksMax = 4;     // from one git directory to the next
constexpr int kNamesMax = 1000;  // tried for one that is moved
// Built or fetched by tools, large, and with repositories of others in them: looked at, but not
// below.
constexpr std::array kTopOnly = {"node_modules", "target", ".venv", "venv",
                                 "__pycache__",  ".tox",   ".cache"};
// Next to the worktree's own .git, what programs outside obey as soon as it is there.
struct Whole {
  const char *name, *why;
};
constexpr Whole kWhole[] = {{".envrc", "direnv's"},
                            {".mcp.json", "servers for agents"},
                            {".husky", "git hooks"},
                            {".pre-commit-config.yaml", "what git hooks run"},
                            {"lefthook.yml", "what git hooks run"},
                            {".lefthook.yml", "what git hooks run"},
                            {".claude/settings.json", "an agent's hooks"},
                            {".cursor/mcp.json", "servers for agents"},
                            {".devcontainer/devcontainer.json", "an editor's containers"},
                            {".claude/settings.local.json", "an agent's hooks"},
                            {".cursor/hooks.json", "an agent's hooks"},
                            {".gemini/settings.json", "servers for agents"},
                            {".opencode", "an agent's plugins"},
                            {"opencode.json", "an agent's plugins"},
                            {"opencode.jsonc", "an agent's plugins"},
                            {".hg/hgrc", "Mercurial's hooks"}};
constexpr Whole kInEditors[] = {
    {".vscode/tasks.json", "an editor's tasks"},      {".vscode/launch.json", "an editor's tasks"},
    {".vscode/mcp.json", "servers for agents"},       {".idea/workspace.xml", "an editor's tasks"},
    {".idea/runConfigurations", "an editor's tasks"}, {".idea/startup.xml", "an editor's tasks"},
    {".idea/watcherTasks.xml", "an editor's tasks"}};
constexpr const char* kEditors[] = {".vscode", ".idea"};
constexpr const char* kSettings = ".vscode/settings.json";
// Of an editor's settings, those that name a program: ends of their names, and beginnings.
constexpr std::array<std::string_view, 11> kProgramEnds = {
    "path", "paths",   "executable", "interpreter", "command", "commands",
    "args", "runtime", "binary",     "server",      "shell"};
constexpr std::array<std::string_view, 2> kProgramBegins = {"terminal.integrated.",
                                                            "task.allowautomatictasks"};

std::int64_t ns(const timespec& t) { return t.tv_sec * 1'000'000'000ll + t.tv_nsec; }

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return out;
}

bool names_programs(std::string_view settings) {
  if (settings.find("\\u") != settings.npos) return true;  // letters in disguise
  for (std::size_t at = 0; (at = settings.find('"', at)) != settings.npos;) {
    const auto end = settings.find('"', at + 1);
    if (end == settings.npos) break;
    const auto key = lower(settings.substr(at + 1, end - at - 1));
    const auto next = settings.find_first_not_of(" \t\r\n", end + 1);
    at = end + 1;
    if (next == settings.npos || settings[next] != ':' || key.find_first_of("/*") != key.npos)
      continue;  // a pattern of files is no setting
    if (std::ranges::any_of(kProgramEnds, [&](auto word) { return key.ends_with(word); }) ||
        std::ranges::any_of(kProgramBegins, [&](auto word) { return key.starts_with(word); }))
      return true;
  }
  return false;
}

// One look at what is there.
class Finder {
 public:
  Finder(int root, const std::string& root_path, const ControlLimits& limits,
         const std::map<std::string, ino_t>& guarded)
      : root_(root), root_path_(root_path), limits_(limits), guarded_(guarded) {}

  // False: it is gone.
  bool repository(const std::string& path) {
    struct stat status;
    if (!stat_of(root_, path, status)) return errno != ENOENT && errno != ENOTDIR;
    if (is_guarded(path, status)) return true;
    if (S_ISDIR(status.st_mode))
      git_dir(path, 0);
    else if (S_ISREG(status.st_mode) || S_ISLNK(status.st_mode))
      git_link(path, status);
    return true;
  }

  void editors_and_others() {
    struct stat status;
    for (const auto& [name, why] : kWhole)
      if (stat_of(root_, name, status) && !is_guarded(name, status)) add(name, why, status, true);
    for (const char* name : kEditors) {
      if (!stat_of(root_, name, status) || is_guarded(name, status)) continue;
      if (S_ISLNK(status.st_mode)) add(name, "an editor's settings, by a link", status, true);
      if (!S_ISDIR(status.st_mode)) continue;
      for (const auto& [file, why] : kInEditors)
        if (std::string_view(file).starts_with(name) && stat_of(root_, file, status))
          add(file, why, status, true);
      if (name != std::string_view(".vscode") || !stat_of(root_, kSettings, status)) continue;
      const auto text = text_of(root_, kSettings);
      if (!text || names_programs(*text))
        add(kSettings, "an editor's settings that name programs", status, true);
    }
  }

  void named(const std::vector<GitNamed>& all) {
    for (const auto& [path, are_hooks] : all) {
      struct stat status;
      if (!stat_of(root_, path, status) || is_guarded(path, status)) continue;
      if (are_hooks) {
        hooks(path, true);
      } else {
        const auto text = text_of(root_, path);
        if (!text || !judge_config(*text).runs.empty())
          add(path, "a git configuration that git includes", status, true);
      }
    }
  }

  std::vector<ControlFound> take() { return std::move(found_); }

 private:
  // Or below what is.
  bool is_guarded(const std::string& path, const struct stat& status) const {
    if (const auto known = guarded_.find(path);
        known != guarded_.end() && known->second == status.st_ino)
      return true;
    for (auto above = parent_of(path); !above.empty(); above = parent_of(above)) {
      const auto known = guarded_.find(above);
      struct stat now;
      if (known != guarded_.end() && stat_of(root_, above, now) && now.st_ino == known->second)
        return true;
    }
    return false;
  }

  bool is_kept(const std::string& path) const {
    struct stat status;
    return stat_of(root_, path, status) && is_guarded(path, status);
  }

  void add(const std::string& path, std::string why, const struct stat& status,
           bool may_be_work = false) {
    auto id = fmt::format("{}|{}|{}|{}|{}", path, status.st_ino, ns(status.st_ctim), status.st_size,
                          why);
    if (!paths_.insert(path).second) return;
    found_.push_back({path, std::move(why), std::move(id), may_be_work});
  }

  void git_link(const std::string& path, const struct stat& status) {
    std::string to;
    if (S_ISLNK(status.st_mode)) {
      std::error_code failed;
      to = fs::read_symlink(fs::path(root_path_) / path, failed).native();
    } else {
      const auto text = text_of(root_, path);
      if (!text) return add(path, "a .git file that cannot be read", status);
      if (!text->starts_with("gitdir: ")) return;  // git stops there
      to = text->substr(8);
      while (to.ends_with('\n') || to.ends_with('\r')) to.pop_back();
    }
    bool there;
    const auto target = leads(root_, root_path_, parent_of(path), to, there);
    if (!target) return add(path, "a .git that leads out of the worktree", status);
    if (there) git_dir(*target, 0);
  }

  void git_dir(const std::string& dir, int n_links) {
    struct stat status;
    if (is_kept(dir) || !seen_.insert(dir).second) return;
    for (const char* name : {"config", "config.worktree"}) config(dir, join(dir, name));
    hooks(join(dir, "hooks"));
    links(dir);
    const auto common = join(dir, "commondir");
    if (!stat_of(root_, common, status)) return;
    auto text = text_of(root_, common);
    while (text && (text->ends_with('\n') || text->ends_with('\r'))) text->pop_back();
    bool there = false;
    const auto target = text ? leads(root_, root_path_, dir, *text, there) : std::nullopt;
    if (!target || n_links >= kLinksMax)
      return add(common, "a git directory's link out of the worktree", status);
    if (there && *target != dir) git_dir(*target, n_links + 1);
  }

  void links(const std::string& dir) {
    auto found = find_git_links(root_, root_path_, dir,
                                [&](const std::string& path) { return is_kept(path); });
    struct stat status;
    for (auto& one : found.astray)
      if (stat_of(root_, one.path, status)) add(one.path, std::move(one.why), status);
    // Without them git takes it for no repository.
    if (const auto path = join(dir, "objects"); found.beyond && stat_of(root_, path, status))
      add(path, "of a git directory with more files than are looked at", status);
    for (const auto& path : found.modules) git_dir(path, 0);
  }

  void config(const std::string& dir, const std::string& path) {
    struct stat status;
    if (!stat_of(root_, path, status)) return;
    const auto text = text_of(root_, path);
    if (!text)
      return S_ISDIR(status.st_mode)
                 ? void()
                 : add(path, "a git configuration that cannot be read as a file", status);
    const auto verdict = judge_config(*text);
    if (!verdict.runs.empty()) return add(path, verdict.runs + " in a git configuration", status);
    for (const auto& worktree : verdict.worktrees) {
      bool there;
      if (!leads(root_, root_path_, dir, worktree, there))
        return add(path, "core.worktree out of the worktree in a git configuration", status);
    }
  }

  void hooks(const std::string& path, bool may_be_work = false) {
    struct stat status;
    if (!stat_of(root_, path, status)) return;
    if (S_ISLNK(status.st_mode)) return add(path, "git hooks, by a link", status, may_be_work);
    const Fd dir = open_below(root_, path, O_RDONLY | O_DIRECTORY);
    if (!dir) return;
    std::size_t n = 0;
    for_entries(dir, [&](const std::string& name, unsigned char) {
      if (++n > limits_.hooks_max)
        return add(path, "more git hooks than are looked at", status, may_be_work), false;
      struct stat hook;
      if (name.ends_with(".sample") || name.find(kQuarantined) != name.npos) return true;
      if (::fstatat(dir.get(), name.c_str(), &hook, AT_SYMLINK_NOFOLLOW) != 0) return true;
      const bool runs = S_ISLNK(hook.st_mode) ||
                        (S_ISREG(hook.st_mode) && (hook.st_mode & 0111) != 0);
      if (runs) add(path + "/" + name, "a git hook", hook, may_be_work);
      return true;
    });
  }

  const int root_;
  const std::string& root_path_;
  const ControlLimits& limits_;
  const std::map<std::string, ino_t>& guarded_;
  std::vector<ControlFound> found_;
  std::set<std::string> paths_, seen_;  // of found_; git directories looked at
};

bool top_only(const std::string& path) {
  const auto name = name_of(path);
  return std::ranges::any_of(kTopOnly, [&](const char* one) { return name == one; });
}

void add_repository(std::string path, const ControlLimits& limits, ControlTree& tree) {
  if (tree.repositories.size() < limits.repositories_max)
    tree.repositories.insert(std::move(path));
  else
    tree.beyond = tree.beyond || !tree.repositories.contains(path);
}

// Reads one directory; those that are new in it are added, to be read in their turn.
void read_directory(int root, const std::string& path, const ControlLimits& limits,
                    ControlTree& tree, std::size_t& n_entries, std::vector<std::string>& todo) {
  const Fd dir = open_below(root, path, O_RDONLY | O_DIRECTORY);
  struct stat status;
  if (!dir || ::fstat(dir.get(), &status) != 0) {
    tree.directories.erase(path);
    return;
  }
  timespec now;
  ::clock_gettime(CLOCK_REALTIME, &now);
  bool head = false, objects = false, refs = false, common = false;
  const bool below = !top_only(path) && std::ranges::count(path, '/') + 1 < limits.depth_max;
  for_entries(dir, [&](const std::string& name, unsigned char type) {
    ++n_entries;
    head = head || name == "HEAD";
    objects = objects || name == "objects";
    refs = refs || name == "refs";
    common = common || name == "commondir";
    if (::strcasecmp(name.c_str(), ".git") == 0) {
      add_repository(join(path, name), limits, tree);
      return true;
    }
    struct stat of_entry;
    const bool unknown = type == DT_UNKNOWN &&
                         ::fstatat(dir.get(), name.c_str(), &of_entry, AT_SYMLINK_NOFOLLOW) == 0;
    if (unknown && S_ISDIR(of_entry.st_mode)) type = DT_DIR;
    if (type != DT_DIR) return true;
    if (!below) {
      tree.beyond = tree.beyond || !top_only(path);
      return true;
    }
    auto child = join(path, name);
    if (tree.directories.size() >= limits.directories_max)
      tree.beyond = tree.beyond || !tree.directories.contains(child);
    else if (tree.directories.try_emplace(child).second)
      todo.push_back(std::move(child));
    return true;
  });
  // As git finds one without the name.
  if (head && ((objects && refs) || common)) add_repository(path, limits, tree);
  const auto changed = ns(status.st_ctim);
  tree.directories[path] = {status.st_dev, status.st_ino,
                            changed + kSettleNs > ns(now) ? 0 : changed};
}

}  // namespace

void follow(int root, const ControlLimits& limits, ControlTree& tree) {
  std::vector<std::string> todo;
  tree.directories.try_emplace("");
  for (auto known = tree.directories.begin(); known != tree.directories.end();) {
    struct stat status;
    auto& [path, last] = *known;
    if (!stat_of(root, path, status) || !S_ISDIR(status.st_mode)) {
      known = tree.directories.erase(known);
      continue;
    }
    if (last.changed_ns == 0 || last.changed_ns != ns(status.st_ctim) ||
        last.inode != status.st_ino || last.device != status.st_dev) {
      last.changed_ns = 0;
      todo.push_back(path);
    }
    ++known;
  }
  std::size_t n_entries = 0;
  while (!todo.empty() && n_entries < limits.entries_max) {
    const auto path = std::move(todo.back());
    todo.pop_back();
    read_directory(root, path, limits, tree, n_entries, todo);
  }
  tree.unread = !todo.empty();
}

std::vector<ControlFound> find_control(int root, const std::string& root_path,
                                       const ControlLimits& limits, ControlTree& tree,
                                       const std::map<std::string, ino_t>& guarded) {
  Finder finder(root, root_path, limits, guarded);
  std::erase_if(tree.repositories,
                [&](const std::string& path) { return !finder.repository(path); });
  finder.named(tree.named);
  finder.editors_and_others();
  return finder.take();
}

std::vector<GitNamed> find_named(const std::string& root_path, const ControlTree& tree) {
  std::vector<GitNamed> out;
  const auto add = [&](const std::string& dir) {
    for (auto& one : named_by_git(root_path, dir))
      out.push_back({one.path.substr(root_path.size() + 1), one.hooks});
  };
  add(root_path);
  for (const auto& path : tree.repositories)
    if (name_of(path) == ".git" && path != ".git") add(root_path + "/" + parent_of(path));
  return out;
}

std::map<std::string, ino_t> find_guarded(int root, const ControlTree& tree) {
  std::map<std::string, ino_t> out;
  const auto add = [&](const std::string& path) {
    struct stat status;
    if (stat_of(root, path, status) && (S_ISDIR(status.st_mode) || S_ISREG(status.st_mode)))
      out.emplace(path, status.st_ino);
  };
  for (const auto& path : tree.repositories)
    if (name_of(path) == ".git") add(path);
  for (const char* name : kObeyedOutside) add(name);
  for (const auto& one : tree.named) add(one.path);
  return out;
}

std::string move_aside(int root, const std::string& path) {
  const Fd dir = open_below(root, parent_of(path), O_PATH | O_DIRECTORY);
  const auto name = name_of(path);
  for (int n = 1; dir && n <= kNamesMax; ++n) {
    const auto to = n == 1 ? name + std::string(kQuarantined)
                           : fmt::format("{}{}.{}", name, kQuarantined, n);
    if (::renameat2(dir.get(), name.c_str(), dir.get(), to.c_str(), RENAME_NOREPLACE) == 0)
      return join(parent_of(path), to);
    if (errno != EEXIST) break;
  }
  return {};
}

}  // namespace lares::sandbox
