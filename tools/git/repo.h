// An opened repository and libgit2's objects with owners. Nothing here runs a program of the
// repository's choosing.
#pragma once

#include <git2.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "tools/git/stop.h"
#include "tools/off_thread.h"
#include "tools/tool.h"

namespace lares::tools::git {

template <auto free_function>
struct Free {
  template <class T>
  void operator()(T* object) const {
    free_function(object);
  }
};
template <class T, auto free_function>
using Owned = std::unique_ptr<T, Free<free_function>>;
using Repository = Owned<git_repository, git_repository_free>;
using Index = Owned<git_index, git_index_free>;
using Object = Owned<git_object, git_object_free>;
using Commit = Owned<git_commit, git_commit_free>;
using Tree = Owned<git_tree, git_tree_free>;
using Diff = Owned<git_diff, git_diff_free>;
using Reference = Owned<git_reference, git_reference_free>;
using Signature = Owned<git_signature, git_signature_free>;

// The reason is a sentence for the model.
template <class T = void>
using GitResult = tl::expected<T, std::string>;

inline constexpr std::size_t kOutputBytesMax = 16'000;

struct Opened {
  Repository repo;
  std::string prefix;       // of the session's root in the repository's worktree: "" or "sub/dir/"
  std::uint64_t stamp = 0;  // opened_stamp.h
};

// The repository around `root`. Another user's repository is refused as git does, unless
// safe.directory names it.
GitResult<Opened> open_repository(const std::string& root);
// The same of one that is open.
GitResult<Opened> checked(Repository repository, const std::string& root);

// Why libgit2 1.5 reads neither objects nor refs of a repository, though all else; "" where it
// does.
std::string why_only_git(git_repository* repo);
std::size_t object_name_bytes(git_repository* repo);  // 20, or 32 of SHA-256

std::string last_error();  // libgit2's, of this thread

// `path` as it is called in the repository; "" is the whole root. Refuses what lies outside the
// root.
GitResult<std::string> path_in_repository(const Opened& opened, const std::string& root,
                                          const std::string& path);

// Git's settings of one worktree (extensions.worktreeConfig): who commits, line ends, a sparse
// checkout. libgit2 1.5 does not read them by itself. They come before all others, so whoever
// writes a setting has to say that the repository is meant.
void read_worktree_config(git_repository* repo);
bool is_sparse(git_repository* repo);  // whether it is a sparse checkout
// Whether git keeps the file at `path` out of the worktree (a sparse checkout, `git update-index
// --skip-worktree`): nothing lies there, and git takes it for unchanged, libgit2 for deleted.
bool is_kept_out(git_repository* repo, git_index* index, const char* path);
// As git, before a look at a sparse checkout: what lies there all the same is a file like others.
// In memory; a forced git_index_read() takes it back.
GitResult<> heed_files_that_are_there(git_repository* repo);

// The attribute working-tree-encoding of the file at `path`, where git stores it in another one,
// UTF-8; else "". libgit2 1.5 does not convert, either way. `flags`: GIT_ATTR_CHECK_*.
std::string other_encoding(git_repository* repo, unsigned flags, const char* path);

GitResult<Object> resolve(git_repository* repo, const std::string& rev);
GitResult<Tree> tree_of(git_repository* repo, const std::string& rev);
GitResult<Tree> head_tree(git_repository* repo);  // null before the first commit
std::string head_name(git_repository* repo);      // the branch, or "" when detached
std::string short_id(git_object* object);

// The calls, each with the text the model reads.
struct Request {
  std::string root, command, path, rev, message;
  int n = 0;
  bool commands_write = false;  // those in bash, to .git: they run without a sandbox
};
GitResult<std::string> status(const Opened& opened, const Request& request);
GitResult<std::string> diff(const Opened& opened, const Request& request);
GitResult<std::string> log(const Opened& opened, const Request& request,
                           const Cancelled& cancelled);
GitResult<std::string> show(const Opened& opened, const Request& request);
GitResult<std::string> blame(const Opened& opened, const Request& request);
GitResult<std::string> branch(const Opened& opened, const Request& request);
GitResult<std::string> switch_to(const Opened& opened, const Request& request);
// These two stop where nothing was changed yet, but for objects that nothing names.
GitResult<std::string> add(const Opened& opened, const Request& request, Stop& stop);
GitResult<std::string> commit(const Opened& opened, const Request& request, Stop& stop);

}  // namespace lares::tools::git
