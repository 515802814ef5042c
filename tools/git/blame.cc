// blame: which commit each line comes from, lines of one commit together.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "tools/edit/match.h"
#include "tools/git/objects.h"
#include "tools/git/repo.h"
#include "tools/git/shallow.h"
#include "tools/git/text.h"
#include "tools/text.h"
#include "tools/workspace/rooted_fs.h"
#include "tools/workspace/rules.h"

namespace lares::tools::git {
namespace {

constexpr std::size_t kBlameBytesMax = 1 << 20;
using Blame = Owned<git_blame, git_blame_free>;

struct Lines {
  std::size_t first = 1, last = 0;  // 0: to the end
};

// "src/a.c:10-20" and "src/a.c:10", as `show` takes REV:PATH.
std::string without_lines(const std::string& path, Lines& lines) {
  const auto colon = path.rfind(':');
  if (colon == std::string::npos) return path;
  const char *begin = path.data() + colon + 1, *end = path.data() + path.size();
  auto [dash, error] = std::from_chars(begin, end, lines.first);
  if (error != std::errc()) return path;
  lines.last = lines.first;
  if (dash != end) {
    if (*dash != '-') return path;
    const auto [stop, wrong] = std::from_chars(dash + 1, end, lines.last);
    if (wrong != std::errc() || stop != end) return path;
  }
  return path.substr(0, colon);
}

// A name may have a colon in it.
bool has_entry(git_repository* repo, const git_oid& commit, const std::string& path) {
  const auto tree = tree_of(repo, git_oid_tostr_s(&commit));
  git_tree_entry* raw = nullptr;
  if (!tree || git_tree_entry_bypath(&raw, tree->get(), path.c_str()) != 0) return false;
  git_tree_entry_free(raw);
  return true;
}

GitResult<std::string> blob_text(git_repository* repo, const git_oid& commit,
                                 const std::string& path) {
  const auto tree = tree_of(repo, git_oid_tostr_s(&commit));
  if (!tree) return tl::unexpected(tree.error());
  git_tree_entry* raw = nullptr;
  if (git_tree_entry_bypath(&raw, tree->get(), path.c_str()) != 0)
    return tl::unexpected(std::string(
        "is not in that commit; status shows what is new, log the commits that a file is in"));
  const Owned<git_tree_entry, git_tree_entry_free> entry(raw);
  if (git_tree_entry_type(raw) == GIT_OBJECT_TREE)
    return tl::unexpected(std::string("is a directory; name a file"));
  git_object* object = nullptr;
  if (git_tree_entry_to_object(&object, repo, raw) != 0)
    return tl::unexpected("cannot be read: " + last_error());
  const Object owned(object);
  if (git_object_type(object) != GIT_OBJECT_BLOB)
    return tl::unexpected(std::string("is a submodule; run git there"));
  const auto* blob = reinterpret_cast<const git_blob*>(object);
  return std::string(static_cast<const char*>(git_blob_rawcontent(blob)), git_blob_rawsize(blob));
}

// What lies in the worktree, with the line ends that git keeps: a checkout may have made CRLF of
// them.
std::string worktree_text(const Request& request, const std::string& relative,
                          const std::string& committed) {
  const auto files = RootedFs::open(request.root);
  const auto data = files ? files->read(relative, kBlameBytesMax) : tl::unexpected(std::string());
  if (!data || is_binary(data->bytes)) return committed;
  if (committed.find('\r') != std::string::npos) return data->bytes;
  std::string text;
  for (std::size_t i = 0; i < data->bytes.size(); ++i) {
    if (data->bytes[i] != '\r' || data->bytes.compare(i, 2, "\r\n") != 0) text += data->bytes[i];
  }
  return text;
}

std::string who(git_repository* repo, const git_blame_hunk& hunk) {
  if (git_oid_is_zero(&hunk.final_commit_id)) return "not committed yet";
  git_commit* raw = nullptr;
  if (git_commit_lookup(&raw, repo, &hunk.final_commit_id) != 0)
    return git_oid_tostr_s(&hunk.final_commit_id);
  const Commit commit(raw);
  const git_signature* author = git_commit_author(raw);
  return fmt::format("{} {} {}", short_id(reinterpret_cast<git_object*>(raw)),
                     date(author->when, "%Y-%m-%d"), author->name);
}

}  // namespace

GitResult<std::string> blame(const Opened& opened, const Request& request) {
  git_repository* repo = opened.repo.get();
  if (request.path.empty())
    return tl::unexpected(
        std::string("blame: `path` is missing; give a file, or lines of it as src/a.c:10-20"));
  Lines lines;
  const auto whole = path_in_repository(opened, request.root, request.path);
  if (!whole) return whole;
  const auto object = resolve(repo, request.rev.empty() ? "HEAD" : request.rev);
  if (!object) return tl::unexpected("blame: " + object.error());
  git_object* tip = nullptr;
  if (git_object_peel(&tip, object->get(), GIT_OBJECT_COMMIT) != 0)
    return tl::unexpected(fmt::format("blame: {} is not a commit", request.rev));
  const Object commit(tip);
  auto path = whole;
  if (!has_entry(repo, *git_object_id(tip), *whole))
    path = path_in_repository(opened, request.root, without_lines(request.path, lines));
  if (!path) return path;
  const auto refused = [&](std::string_view why) {
    return tl::unexpected(fmt::format("blame: {} {}", *path, why));
  };
  if (is_secret_name(*path)) return refused("is not shown: its name is one for secrets");
  const auto committed = blob_text(repo, *git_object_id(tip), *path);
  if (!committed) return refused(committed.error());
  if (needs_a_look(*path) && is_secret_text(*path, *committed))
    return refused("is not shown: it holds a key");
  if (is_binary(*committed)) return refused("is binary");
  if (committed->size() > kBlameBytesMax)
    return refused(fmt::format("has {} bytes, more than {}; use git blame -L in bash",
                               committed->size(), kBlameBytesMax));

  git_blame_options options = GIT_BLAME_OPTIONS_INIT;
  options.newest_commit = *git_object_id(tip);
  const auto ends = shallow_commits(repo);
  if (ends.size() == 1) options.oldest_commit = ends.front();
  git_blame* raw = nullptr;
  if (git_blame_file(&raw, repo, path->c_str(), &options) != 0) {
    if (ends.size() > 1)
      return refused(
          "cannot be told here: this is a shallow clone, whose history ends in several commits; "
          "use git blame in bash");
    return refused(": " + last_error());
  }
  Blame found(raw);
  // It goes on without what it could not read, and takes the first commit that it could for the
  // one.
  if (const auto why = read_failure(); !why.empty()) return refused(": " + why);
  std::string text = *committed;
  if (request.rev.empty()) {
    text = worktree_text(request, path->substr(std::min(opened.prefix.size(), path->size())),
                         *committed);
    if (needs_a_look(*path) && is_secret_text(*path, text))
      return refused("is not shown: it holds a key");
    if (text != *committed) {
      git_blame* with_changes = nullptr;
      if (git_blame_buffer(&with_changes, raw, text.data(), text.size()) != 0)
        return refused(": " + last_error());
      found.reset(with_changes);
    }
  }
  const std::string shown = to_utf8(text);
  const auto all = split_lines(shown);
  if (all.empty()) return fmt::format("{} is empty\n", *path);
  const std::size_t last = lines.last == 0 ? all.size() : std::min(lines.last, all.size());
  if (lines.first < 1 || lines.first > last)
    return refused(
        fmt::format("has the lines 1-{}, not {}-{}", all.size(), lines.first, lines.last));
  std::string out;
  std::string before;
  for (std::size_t line = lines.first, end = 0; line <= last; line = end + 1) {
    const git_blame_hunk* hunk = git_blame_get_hunk_byline(found.get(), line);
    if (!hunk) break;
    end = std::min(last, hunk->final_start_line_number + hunk->lines_in_hunk - 1);
    std::string now = who(repo, *hunk);
    if (now != before) out += to_utf8(now) + "\n";
    out += numbered(all, line, end);
    before = std::move(now);
    if (out.size() > 2 * kOutputBytesMax) break;
  }
  return bounded(std::move(out), fmt::format("give the lines you mean, as {}:10-60", *path));
}

}  // namespace lares::tools::git
