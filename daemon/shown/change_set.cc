#include "daemon/shown/change_set.h"

#include <fmt/format.h>

#include <optional>
#include <string_view>
#include <utility>

#include "daemon/shown/text.h"

namespace lares::shown {
namespace {

// Of a diff; what does not fit into a prompt is read for the names of its files
constexpr std::size_t kGitBytesMax = 64u << 20;
constexpr std::size_t kLogBytesMax = 16u << 10;
constexpr const char* kLogCommitsMax = "-50";
constexpr std::size_t kNamesShownMax = 5;
constexpr std::string_view kReviewBegins = "Review ";
constexpr std::string_view kFileBegins = "diff --git ", kNextFileBegins = "\ndiff --git ";

// Of what git says.
std::string first_line(std::string_view text) {
  if (text.starts_with("fatal: ")) text.remove_prefix(7);
  return one_line(text.substr(0, text.find('\n')));
}

// git's last word is what people know; `why` stands for what it says in many lines.
Result<std::string> git(const std::string& root, const std::string& attempt,
                        std::vector<std::string> arguments, std::size_t bytes_max,
                        int status_max = 0) {
  auto done = run_git(root, arguments, bytes_max);
  if (!done) return tl::unexpected(std::move(done.error()));
  if (done->status > status_max)
    return tl::unexpected(
        fmt::format("{}: git {}: {}", attempt, arguments.front(), first_line(done->err)));
  return std::move(done->out);
}

std::vector<std::string> diff_arguments(std::vector<std::string> what,
                                        const std::vector<std::string>& only) {
  // Whatever the user's configuration: a plain unified diff, and no program is run for it.
  std::vector<std::string> arguments = {"diff",           "--no-ext-diff",  "--no-textconv",
                                        "--no-color",     "--find-renames", "--src-prefix=a/",
                                        "--dst-prefix=b/"};
  arguments.insert(arguments.end(), what.begin(), what.end());
  arguments.push_back("--");
  arguments.insert(arguments.end(), only.begin(), only.end());
  return arguments;
}

// A commit's full name.
Result<std::string> commit(const std::string& root, const std::string& range,
                           const std::string& name) {
  const auto found = run_git(
      root, {"rev-parse", "--verify", "--quiet", "--end-of-options", name + "^{commit}"},
      kLogBytesMax);
  if (!found) return tl::unexpected(found.error());
  if (found->status == 0) return found->out.substr(0, found->out.find('\n'));
  return tl::unexpected(fmt::format(
      "review {}: {} names no commit of {}; `git log --oneline` and `git branch -a` list them",
      range, name, root));
}

Result<std::string> empty_tree(const std::string& root) {
  auto tree = git(root, "review", {"hash-object", "-t", "tree", "/dev/null"}, kLogBytesMax);
  if (tree) tree->resize(tree->find_last_not_of('\n') + 1);
  return tree;
}

struct Text {
  std::string diff;
  std::vector<std::string> left_out;
};

std::string path_of(std::string_view section) {
  const std::string_view line = section.substr(0, section.find('\n'));
  const auto at = line.rfind(" b/");
  return std::string(at == std::string_view::npos ? line.substr(kFileBegins.size())
                                                  : line.substr(at + 3));
}

// Whole files, as far as they fit. A file that is too large for a prompt of its own is cut, and
// says so.
void add(Text& text, std::string_view diff) {
  while (!diff.empty()) {
    auto end = diff.find(kNextFileBegins);
    end = end == std::string_view::npos ? diff.size() : end + 1;
    std::string_view section = diff.substr(0, end);
    diff.remove_prefix(end);
    if (text.diff.size() + section.size() <= kReviewDiffBytesMax) {
      text.diff += section;
    } else if (text.diff.empty()) {
      const auto line = section.rfind('\n', kReviewDiffBytesMax);
      text.diff = section.substr(0, line + 1);
      text.left_out.push_back(fmt::format("the rest of {}", path_of(section)));
    } else {
      text.left_out.push_back(path_of(section));
    }
  }
}

Result<> add_untracked(const std::string& root, const std::vector<std::string>& only, Text& text) {
  std::vector<std::string> arguments = {"ls-files", "--others", "--exclude-standard", "-z", "--"};
  arguments.insert(arguments.end(), only.begin(), only.end());
  const auto names = git(root, "look for new files", arguments, kGitBytesMax);
  if (!names) return tl::unexpected(names.error());
  std::size_t n = 0;
  for (std::string_view rest = *names; !rest.empty();) {
    const std::string name(rest.substr(0, rest.find('\0')));
    rest.remove_prefix(std::min(rest.size(), name.size() + 1));
    // a repository in the repository ends so
    if (++n > kUntrackedFilesMax || name.ends_with('/')) {
      text.left_out.push_back(name);
      continue;
    }
    // Exit status 1 says that they differ.
    const auto diff = git(root, "read " + name, diff_arguments({"--no-index"}, {"/dev/null", name}),
                          kGitBytesMax, 1);
    if (!diff)
      text.left_out.push_back(name);
    else
      add(text, *diff);
  }
  return {};
}

Result<ChangeSet> uncommitted(const std::string& root, const std::vector<std::string>& only) {
  const auto head = run_git(root, {"rev-parse", "--verify", "--quiet", "HEAD"}, kLogBytesMax);
  if (!head) return tl::unexpected(head.error());
  std::string base = "HEAD";
  if (head->status != 0) {  // nothing was ever committed
    auto empty = empty_tree(root);
    if (!empty) return tl::unexpected(std::move(empty.error()));
    base = *empty;
  }
  const auto diff = git(root, "review the uncommitted changes", diff_arguments({base}, only),
                        kGitBytesMax);
  if (!diff) return tl::unexpected(diff.error());
  Text text;
  add(text, *diff);
  if (auto added = add_untracked(root, only, text); !added) return tl::unexpected(added.error());
  return ChangeSet{"the uncommitted changes", "", std::move(text.diff), std::move(text.left_out)};
}

Result<ChangeSet> committed(const std::string& root, const std::string& range,
                            const std::vector<std::string>& only) {
  const auto dots = range.find("..");
  const bool one = dots == std::string::npos;
  std::string from, what;
  const std::string right = one ? range
                                : range.substr(range.find_first_not_of('.', dots) ==
                                                       std::string::npos
                                                   ? range.size()
                                                   : range.find_first_not_of('.', dots));
  const std::string left = one ? "" : range.substr(0, dots);
  // From the left on, as it is read: what is wrong first is told.
  const auto base_named = one ? Result<std::string>()
                              : commit(root, range, left.empty() ? "HEAD" : left);
  if (!base_named) return tl::unexpected(base_named.error());
  const auto to = commit(root, range, right.empty() ? "HEAD" : right);
  if (!to) return tl::unexpected(to.error());
  std::vector<std::string> log = {"log", "--no-color", "--no-decorate", "--format=%h %an: %B",
                                  kLogCommitsMax};
  if (one) {
    what = fmt::format("commit {}", to->substr(0, 12));
    const auto parent = run_git(root, {"rev-parse", "--verify", "--quiet", *to + "^1"},
                                kLogBytesMax);
    if (!parent) return tl::unexpected(parent.error());
    auto base = parent->status == 0
                    ? Result<std::string>(parent->out.substr(0, parent->out.find('\n')))
                    : empty_tree(root);
    if (!base) return tl::unexpected(std::move(base.error()));
    from = *base;
    log.insert(log.end(), {"-1", *to});
  } else {
    what = fmt::format("{}...{}", left.empty() ? "HEAD" : left, right.empty() ? "HEAD" : right);
    const auto parted = run_git(root, {"merge-base", *base_named, *to}, kLogBytesMax);
    if (!parted) return tl::unexpected(parted.error());
    from = parted->status == 0 ? parted->out.substr(0, parted->out.find('\n')) : *base_named;
    log.push_back(from + ".." + *to);
  }
  log.push_back("--");
  const std::string attempt = "review " + range;
  const auto told = git(root, attempt, log, kLogBytesMax);
  if (!told) return tl::unexpected(told.error());
  const auto diff = git(root, attempt, diff_arguments({from, *to}, only), kGitBytesMax);
  if (!diff) return tl::unexpected(diff.error());
  Text text;
  add(text, *diff);
  return ChangeSet{what, *told, std::move(text.diff), std::move(text.left_out)};
}

}  // namespace

Result<ChangeSet> change_set(const std::string& root, const std::string& range,
                             const std::vector<std::string>& only) {
  const auto inside = run_git(root, {"rev-parse", "--is-inside-work-tree"}, kLogBytesMax);
  if (!inside) return tl::unexpected(inside.error());
  if (inside->status != 0 || !inside->out.starts_with("true")) {
    const std::string why = inside->err.empty() ? "it is no git worktree" : first_line(inside->err);
    return tl::unexpected(fmt::format(
        "review {}: {}; run it inside a repository, or name one with --root", root, why));
  }
  return range.empty() ? uncommitted(root, only) : committed(root, range, only);
}

std::string left_out_told(const ChangeSet& changes, const std::string& how) {
  std::string names;
  for (std::size_t i = 0; i < changes.left_out.size() && i < kNamesShownMax; ++i)
    names += fmt::format("{}{}", i > 0 ? ", " : "", one_line(changes.left_out[i]));
  if (changes.left_out.size() > kNamesShownMax)
    names += fmt::format(" and {} more", changes.left_out.size() - kNamesShownMax);
  return fmt::format(
      "the change is longer than {} kB, so the model is only told the names of: {}; review them by "
      "themselves {}",
      kReviewDiffBytesMax >> 10, names, how);
}

std::string nothing_told(const ChangeSet& changes) {
  return fmt::format(
      "nothing to review in {}; name a commit or a range, such as HEAD or main..HEAD",
      changes.what);
}

bool is_review(std::string_view title) { return title.starts_with(kReviewBegins); }

// The diff stands in the prompt rather than behind a call of the git tool: so what is reviewed is
// what was asked for, to the byte, and no step goes into fetching it.
std::string review_prompt(const ChangeSet& changes) {
  std::string prompt = fmt::format(
      "{}{}.\n\n"
      "Find what is wrong: bugs, edge cases and error paths that break, data that is lost, races, "
      "holes in security, behaviour that "
      "callers rely on and no longer get, tests that are missing or cannot fail. Before you claim "
      "something, read the code around the "
      "change and its callers; claim only what the code shows. Change nothing.\n\n"
      "Answer with the findings alone, the worst first, one paragraph each, in this form:\n\n"
      "[critical|major|minor] path:line: what is wrong, when it shows, and what to do about it\n\n"
      "The line is one of the file as it is after the change. No praise, and no summary of the "
      "change. If nothing is wrong, answer: no findings.\n",
      kReviewBegins, changes.what);
  if (!changes.log.empty()) prompt += "\nWhat its authors say of it:\n\n" + changes.log;
  if (!changes.left_out.empty()) {
    prompt +=
        "\nAlso changed, and not shown below because it would be too long; look at it with the git "
        "tool:\n";
    for (const auto& path : changes.left_out) prompt += fmt::format("  {}\n", path);
  }
  return prompt + "\nThe change:\n\n```diff\n" + changes.diff + "```\n";
}

}  // namespace lares::shown
