// A thousand steps at random against a model in memory: whatever was snapshotted comes back, byte
// for byte.
#include <gmock/gmock.h>

#include <random>
#include <set>

#include "tests/tools/snapshots/snapshot_worktree.h"
#include "tools/snapshots/snapshots.h"

namespace lares::tools {
namespace {

using namespace test;

class Model {
 public:
  explicit Model(const Worktree& tree) : tree_(tree), snapshots_(tree.open()) {}

  void edit() {
    const std::string path = any_path();
    switch (pick(7)) {
      case 0:
        return tree_.remove(path.substr(0, path.find('/')));
      case 1:
        return tree_.remove(path);
      case 2:
        return void(::chmod(tree_.at(path).c_str(), pick(2) ? 0755 : 0644));
      case 3:
        make_room(path);
        return tree_.link("target" + std::to_string(pick(3)), path);
      default:
        make_room(path);
        return tree_.write(path, std::string(pick(200), static_cast<char>('a' + pick(26))));
    }
  }
  void take() {
    const auto taken = snapshots_.take("step");
    ASSERT_TRUE(taken) << taken.error();
    taken_.push_back({taken->id, present()});
  }
  void restore() {
    if (taken_.empty()) return;
    const auto [id, files] = taken_[pick(static_cast<int>(taken_.size()))];
    const Files now = present();
    if (pick(2)) {
      const Restored out = test::restore(snapshots_, id);
      ASSERT_THAT(named(out.not_done), testing::IsEmpty());
      ASSERT_EQ(present(), files);
      taken_.push_back({out.before.id, now});
      return;
    }
    // One top-level name only: the others stay.
    const std::string top = any_path().substr(0, 1);
    const Restored out = test::restore(snapshots_, id, {.all = false, .paths = {top}});
    ASSERT_THAT(named(out.not_done), testing::IsEmpty());
    Files expected;
    const auto below_top = [&](const std::string& path) {
      return path.substr(0, path.find('/')) == top;
    };
    for (const auto& [path, what] : files) {
      if (below_top(path)) expected[path] = what;
    }
    for (const auto& [path, what] : now) {
      if (!below_top(path)) expected[path] = what;
    }
    ASSERT_EQ(present(), expected);
    taken_.push_back({out.before.id, now});
  }
  void compare() {
    if (taken_.empty()) return;
    const auto [id, files] = taken_[pick(static_cast<int>(taken_.size()))];
    const Files now = present();
    std::set<std::string> differ, told;
    for (const auto& [path, what] : files) {
      if (!now.contains(path) || now.at(path) != what) differ.insert(path);
    }
    for (const auto& [path, what] : now) {
      if (!files.contains(path)) differ.insert(path);
    }
    const auto changes = snapshots_.compare(kWorktree, id);
    ASSERT_TRUE(changes) << changes.error();
    for (const SnapshotChange& change : *changes) told.insert(change.path);
    ASSERT_EQ(told, differ);
  }
  void prune() {
    const auto kept = taken_.empty() ? "" : taken_[pick(static_cast<int>(taken_.size()))].first;
    ASSERT_TRUE(
        snapshots_.prune({.count = 20, .keep = [&](const Snapshot& s) { return s.id == kept; }}));
    const auto list = snapshots_.list();
    ASSERT_TRUE(list);
    std::set<std::string> left;
    for (const Snapshot& s : *list) left.insert(s.id);
    ASSERT_TRUE(kept.empty() || left.contains(kept));
    std::erase_if(taken_, [&](const auto& one) { return !left.contains(one.first); });
  }
  int pick(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }

 private:
  std::string any_path() {
    std::string out(1, static_cast<char>('a' + pick(5)));
    for (int depth = pick(3); depth > 0; --depth)
      out += std::string("/") + static_cast<char>('a' + pick(3));
    return out;
  }
  // Nothing but directories on the way, and no directory at its end.
  void make_room(const std::string& path) const {
    namespace fs = std::filesystem;
    for (std::size_t slash = path.find('/'); slash != std::string::npos;
         slash = path.find('/', slash + 1)) {
      const std::string above = path.substr(0, slash);
      if (!fs::is_directory(fs::symlink_status(tree_.at(above)))) tree_.remove(above);
    }
    tree_.remove(path);
    fs::create_directories(fs::path(tree_.at(path)).parent_path());
  }
  Files present() const {
    Files out = tree_.files();
    std::erase_if(out, [](const auto& file) { return file.second == "directory"; });
    return out;
  }

  const Worktree& tree_;
  Snapshots snapshots_;
  std::vector<std::pair<std::string, Files>> taken_;
  std::mt19937 random_{2024};
};

TEST(SnapshotsModel, AThousandStepsComeBack) {
  const Worktree tree;
  git(tree.root(), "init -q");
  Model model(tree);
  for (int step = 0; step < 1000; ++step) {
    SCOPED_TRACE(step);
    const int kind = model.pick(100);
    if (kind < 50)
      model.edit();
    else if (kind < 72)
      model.take();
    else if (kind < 88)
      model.restore();
    else if (kind < 98)
      model.compare();
    else
      model.prune();
    if (testing::Test::HasFatalFailure() || testing::Test::HasNonfatalFailure()) return;
  }
}

}  // namespace
}  // namespace lares::tools
