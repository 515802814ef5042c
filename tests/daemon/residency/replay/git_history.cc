#include "tests/daemon/residency/replay/git_history.h"

#include <fmt/format.h>
#include <git2.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/text.h"

namespace lares::daemon {
namespace {

// Half of a change's weight is gone after so many commits.
constexpr double kHalfLifeCommits = 150;

template <class T, void (*free)(T*)>
struct Freed {
  void operator()(T* p) const { free(p); }
};
template <class T, void (*free)(T*)>
using Git = std::unique_ptr<T, Freed<T, free>>;
using Repository = Git<git_repository, git_repository_free>;
using Commit = Git<git_commit, git_commit_free>;
using Tree = Git<git_tree, git_tree_free>;
using Blob = Git<git_blob, git_blob_free>;
using Diff = Git<git_diff, git_diff_free>;
using Walk = Git<git_revwalk, git_revwalk_free>;

struct GitLibrary {
  GitLibrary() { git_libgit2_init(); }
  ~GitLibrary() { git_libgit2_shutdown(); }
};

bool has_suffix(std::string_view path, std::initializer_list<std::string_view> suffixes) {
  return std::any_of(suffixes.begin(), suffixes.end(),
                     [&](std::string_view s) { return path.ends_with(s); });
}

bool is_vendored(std::string_view path) {
  for (const std::string_view name : {"third_party", "vendor", "node_modules", "external", "deps",
                                      "dist", "testdata", "fixtures", "goldens"}) {
    for (std::size_t at = path.find(name); at != std::string_view::npos;
         at = path.find(name, at + 1)) {
      const bool begins = at == 0 || path[at - 1] == '/';
      if (begins && path.substr(at + name.size()).starts_with('/')) return true;
    }
  }
  return false;
}

std::string why_not(std::string_view path, std::string_view bytes) {
  if (is_vendored(path)) return "vendored";
  if (has_suffix(path, {".lock", "-lock.json", ".min.js", ".svg", ".csv", ".ipynb", ".xml",
                        ".patch", ".po", ".pem"}))
    return "data";
  if (tools::is_binary(bytes) || !tools::is_utf8(bytes)) return "binary";
  return bytes.size() > kHistoryFileBytesMax ? "large" : "";
}

struct Touched {
  std::string path;
  git_oid blob;
  bool exists;
};

class GitHistory final : public History {
 public:
  tl::expected<void, std::string> open(const std::string& path, std::size_t n_commits) {
    git_repository* repository = nullptr;
    if (git_repository_open(&repository, path.c_str()) != 0) return failed("open " + path);
    repository_.reset(repository);
    git_revwalk* walk = nullptr;
    if (git_revwalk_new(&walk, repository) != 0) return failed("walk " + path);
    const Walk owned(walk);
    git_revwalk_simplify_first_parent(walk);
    if (git_revwalk_push_head(walk) != 0) return failed("find HEAD of " + path);
    git_oid id{};
    while (commits_.size() <= n_commits + kVolatilityCommitsMax && git_revwalk_next(&id, walk) == 0)
      commits_.push_back(id);
    if (commits_.empty()) return failed("list commits of " + path);
    at_ = std::min(n_commits, commits_.size() - 1);
    for (std::size_t i = commits_.size() - 1; i > at_; --i)
      count_changes(touched(tree(i).get(), tree(i - 1).get()));
    for (const Touched& file : touched(nullptr, tree(at_).get())) apply(file);
    return {};
  }

  const tools::Workspace& now() const override { return now_; }

  // Commits that change nothing a session could see are no events.
  bool next() override {
    while (at_ > 0) {
      const auto files = touched(tree(at_).get(), tree(at_ - 1).get());
      --at_;
      if (files.empty()) continue;
      for (const Touched& file : files) apply(file);
      count_changes(files);
      return true;
    }
    return false;
  }

  std::chrono::seconds idle() const override {
    return at_ == 0 ? std::chrono::hours(24)
                    : std::chrono::seconds(std::max<git_time_t>(0, time(at_ - 1) - time(at_)));
  }

  double changes(const std::string& path) const override {
    const auto it = changes_.find(path);
    return it == changes_.end() ? 0 : it->second.first * decay(it->second.second);
  }

 private:
  static tl::unexpected<std::string> failed(const std::string& what) {
    const git_error* error = git_error_last();
    return tl::unexpected(
        fmt::format("{}: {}", what, error && error->message ? error->message : "no reason given"));
  }

  Commit commit(std::size_t i) const {
    git_commit* out = nullptr;
    git_commit_lookup(&out, repository_.get(), &commits_[i]);
    return Commit(out);
  }
  git_time_t time(std::size_t i) const {
    const Commit c = commit(i);
    return c ? git_commit_time(c.get()) : 0;
  }
  Tree tree(std::size_t i) const {
    git_tree* out = nullptr;
    if (const Commit c = commit(i)) git_commit_tree(&out, c.get());
    return Tree(out);
  }

  // Files that differ; with no tree before, all of them.
  std::vector<Touched> touched(git_tree* before, git_tree* after) const {
    git_diff* diff = nullptr;
    if (git_diff_tree_to_tree(&diff, repository_.get(), before, after, nullptr) != 0) return {};
    const Diff owned(diff);
    std::vector<Touched> out;
    for (std::size_t i = 0; i < git_diff_num_deltas(diff); ++i) {
      const git_diff_delta* delta = git_diff_get_delta(diff, i);
      const bool exists = delta->status != GIT_DELTA_DELETED;
      const git_diff_file& file = exists ? delta->new_file : delta->old_file;
      if (file.mode != GIT_FILEMODE_BLOB && file.mode != GIT_FILEMODE_BLOB_EXECUTABLE) continue;
      out.push_back({file.path, file.id, exists});
    }
    return out;
  }

  void apply(const Touched& file) {
    if (!file.exists) {
      now_.erase(file.path);
      return;
    }
    git_blob* blob = nullptr;
    if (git_blob_lookup(&blob, repository_.get(), &file.blob) != 0) return;  // of a partial clone
    const Blob owned(blob);
    const auto n_bytes = static_cast<std::size_t>(git_blob_rawsize(blob));
    const std::string_view bytes(static_cast<const char*>(git_blob_rawcontent(blob)), n_bytes);
    tools::SourceFile source{.path = file.path, .n_bytes = bytes.size()};
    source.reason = why_not(file.path, bytes);
    if (source.reason.empty()) {
      source.text = std::make_shared<const std::string>(tools::shown_text(bytes));
      source.blob = tools::blob_sha(*source.text);
      source.crlf = bytes.find("\r\n") != std::string_view::npos;
    } else {
      source.shown = tools::Shown::path;
    }
    now_.insert_or_assign(file.path, std::move(source));
  }

  double decay(int when) const { return std::exp2(-(n_counted_ - when) / kHalfLifeCommits); }
  void count_changes(const std::vector<Touched>& files) {
    ++n_counted_;
    for (const Touched& file : files) {
      auto& [weight, when] = changes_[file.path];
      weight = weight * decay(when) + 1;
      when = n_counted_;
    }
  }

  const GitLibrary library_;
  Repository repository_;
  std::vector<git_oid> commits_;  // the newest first
  std::size_t at_ = 0;            // of now_
  tools::Workspace now_;
  std::map<std::string, std::pair<double, int>> changes_;  // decayed weight, as of which count
  int n_counted_ = 0;
};

}  // namespace

tl::expected<std::unique_ptr<History>, std::string> open_git_history(const std::string& repository,
                                                                     std::size_t n_commits) {
  auto out = std::make_unique<GitHistory>();
  if (auto opened = out->open(repository, n_commits); !opened)
    return tl::unexpected(std::move(opened.error()));
  return out;
}

}  // namespace lares::daemon
