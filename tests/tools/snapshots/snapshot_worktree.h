// A worktree with snapshots of its own, and all that can be seen of it in one value.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "tests/tools/git/git_command.h"
#include "tests/tools/scratch.h"
#include "tools/snapshots/snapshots.h"

namespace lares::tools::test {

using Files = std::map<std::string, std::string>;  // path -> "644 bytes" or "link target"

class Worktree {
 public:
  Worktree() { std::filesystem::create_directory(root()); }
  std::string root() const { return scratch_.at("work"); }
  std::string store() const { return scratch_.at("private"); }
  std::string at(const std::string& path) const { return root() + "/" + path; }
  void write(const std::string& path, const std::string& text) const {
    scratch_.write("work/" + path, text);
  }
  std::string read(const std::string& path) const { return scratch_.read("work/" + path); }
  bool has(const std::string& path) const {
    struct stat st {};
    return ::lstat(at(path).c_str(), &st) == 0;
  }
  void remove(const std::string& path) const {
    std::error_code nothing_there;
    std::filesystem::remove_all(at(path), nothing_there);
  }
  void link(const std::string& target, const std::string& path) const {
    ::unlink(at(path).c_str());
    std::filesystem::create_symlink(target, at(path));
  }
  Snapshots open(SnapshotLimits limits = {}) const {
    auto out = Snapshots::open(root(), store(), limits);
    if (!out) throw std::runtime_error(out.error());
    return std::move(*out);
  }
  // Everything below `path`, directories too; .git only when asked for.
  Files files(const std::string& path = "", bool git_directory = false) const {
    Files out;
    namespace fs = std::filesystem;
    for (auto at = fs::recursive_directory_iterator(this->at(path));
         at != fs::recursive_directory_iterator(); ++at) {
      if (at->path().filename() == ".git" && !git_directory) {
        at.disable_recursion_pending();
        continue;
      }
      const std::string name = at->path().string().substr(root().size() + 1);
      struct stat st {};
      if (::lstat(at->path().c_str(), &st) != 0) continue;
      if (S_ISLNK(st.st_mode))
        out[name] = "link " + fs::read_symlink(at->path()).string();
      else if (S_ISDIR(st.st_mode))
        out[name] = "directory";
      else if (S_ISREG(st.st_mode))
        out[name] = fmt::format("{:o} {}", st.st_mode & 0777, read(name));
      else
        out[name] = "special";
    }
    return out;
  }

 private:
  Scratch scratch_;
};

inline std::string take(Snapshots& snapshots, const std::string& label = "step") {
  const auto out = snapshots.take(label);
  EXPECT_TRUE(out) << out.error();
  return out ? out->id : "";
}
inline const Selection kAll{.all = true, .paths = {}};
inline Restored restore(Snapshots& snapshots, const std::string& id,
                        const Selection& selection = kAll) {
  auto out = snapshots.restore(id, selection);
  EXPECT_TRUE(out) << out.error();
  return out ? std::move(*out) : Restored{};
}
// "added a.txt 0 3", a line each.
inline std::vector<std::string> lines(const std::vector<SnapshotChange>& changes) {
  constexpr const char* kNames[] = {"added", "changed", "removed", "mode", "type"};
  std::vector<std::string> out;
  for (const SnapshotChange& c : changes) {
    out.push_back(fmt::format("{} {} {} {}", kNames[static_cast<int>(c.kind)], c.path,
                              c.bytes_before, c.bytes_after));
  }
  return out;
}
inline std::vector<std::string> compare(Snapshots& snapshots, std::string_view from,
                                        std::string_view to) {
  const auto out = snapshots.compare(from, to);
  EXPECT_TRUE(out) << out.error();
  return out ? lines(*out) : std::vector<std::string>();
}
inline std::vector<std::string> named(const std::vector<PathReason>& files) {
  std::vector<std::string> out;
  for (const PathReason& file : files) out.push_back(file.path + ": " + file.why);
  return out;
}

}  // namespace lares::tools::test
