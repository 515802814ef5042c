#include <fmt/format.h>

#include <cstdlib>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

#include "tools/git/index.h"
#include "tools/git/patch.h"
#include "tools/git/repo.h"
#include "tools/git/text.h"
#include "tools/git/tree_diff.h"
#include "tools/text.h"
#include "tools/workspace/rules.h"

namespace lares::tools::git {
namespace {

std::string full_date(const git_time& when) {
  auto text = date(when, "%a %b %d %H:%M:%S %Y");
  if (text.size() > 8 && text[8] == '0') text.erase(8, 1);  // git: "Nov 4", no padding
  const int minutes = std::abs(when.offset);
  return fmt::format("{} {}{:02}{:02}", text, when.offset < 0 ? '-' : '+', minutes / 60,
                     minutes % 60);
}

std::string header_of(git_commit* commit) {
  std::string text = fmt::format("commit {}\n", git_oid_tostr_s(git_commit_id(commit)));
  if (git_commit_parentcount(commit) > 1) {
    text += "Merge:";
    for (unsigned i = 0; i < git_commit_parentcount(commit); ++i) {
      git_commit* raw = nullptr;
      if (git_commit_parent(&raw, commit, i) != 0) continue;
      const Commit parent(raw);
      text += ' ';
      text += short_id(reinterpret_cast<git_object*>(raw));
    }
    text += "\n";
  }
  const git_signature* author = git_commit_author(commit);
  text += fmt::format("Author: {} <{}>\nDate:   {}\n\n", author->name, author->email,
                      full_date(author->when));
  for (const auto line : split_lines(git_commit_message(commit)))
    text += fmt::format("    {}\n", line);
  return to_utf8(text);
}

GitResult<std::string> show_commit(const Opened& opened, git_commit* commit,
                                   const std::string& path) {
  git_repository* repo = opened.repo.get();
  git_tree *raw_tree = nullptr, *raw_parent_tree = nullptr;
  if (git_commit_tree(&raw_tree, commit) != 0) return tl::unexpected(last_error());
  const Tree tree(raw_tree);
  git_commit* raw_parent = nullptr;
  const bool has_parent = git_commit_parentcount(commit) > 0 &&
                          git_commit_parent(&raw_parent, commit, 0) == 0;
  const Commit parent(raw_parent);
  if (has_parent && git_commit_tree(&raw_parent_tree, raw_parent) != 0)
    return tl::unexpected(last_error());
  const Tree parent_tree(raw_parent_tree);
  auto options = diff_options();
  Strings spec(path);
  spec.into(options.pathspec);
  auto diff = diff_trees(repo, raw_parent_tree, raw_tree, options);
  if (!diff) return tl::unexpected(diff.error());
  std::vector<Diff> changes;
  changes.push_back(std::move(*diff));
  auto patch = patch_text(changes);
  if (!patch) return patch;
  return fmt::format("{}\n{}", header_of(commit), *patch);
}

// The path that a revision names, `HEAD@{2020-01-01 10:00}:a/b` and `:0:a/b` too; "" where it names
// none.
std::string path_named_by(const std::string& rev) {
  std::size_t at = 0;
  for (; at < rev.size() && rev[at] != ':'; ++at) {
    const std::string_view rest = std::string_view(rev).substr(at);
    if (!rest.starts_with("@{") && !rest.starts_with("^{")) continue;
    const std::size_t end = rev.find('}', at);
    if (end == std::string::npos) break;
    at = end;
  }
  if (at >= rev.size()) return "";
  const bool stage = at == 0 && rev.size() > 2 && rev[2] == ':' && rev[1] >= '0' && rev[1] <= '3';
  return rev.substr(stage ? 3 : at + 1);
}

struct NamesOf {
  git_oid id;
  std::vector<std::string> paths;
};
int add_name(const char* directory, const git_tree_entry* entry, void* payload) {
  auto& names = *static_cast<NamesOf*>(payload);
  if (git_oid_equal(git_tree_entry_id(entry), &names.id))
    names.paths.push_back(directory + std::string(git_tree_entry_name(entry)));
  return 0;
}
// What a content that is given by its id is called in the index and in HEAD.
std::vector<std::string> names_of(git_repository* repo, const git_oid& id) {
  NamesOf names{id, {}};
  if (const auto index = index_of(repo)) {
    for (std::size_t i = 0; i < git_index_entrycount(index->get()); ++i) {
      const git_index_entry* entry = git_index_get_byindex(index->get(), i);
      if (git_oid_equal(&entry->id, &id)) names.paths.emplace_back(entry->path);
    }
  }
  if (const auto head = head_tree(repo); head && *head)
    (void)git_tree_walk(head->get(), GIT_TREEWALK_PRE, add_name, &names);
  return std::move(names.paths);
}

GitResult<std::string> show_blob(git_repository* repo, const std::string& rev,
                                 const git_blob* blob) {
  const std::string_view bytes(static_cast<const char*>(git_blob_rawcontent(blob)),
                               static_cast<std::size_t>(git_blob_rawsize(blob)));
  std::vector<std::string> paths = {path_named_by(rev)};
  if (paths.front().empty()) {
    paths = names_of(repo, *git_blob_id(blob));
    paths.emplace_back("x.crt");  // a key has no name here when it is gone from both
  }
  for (const std::string& path : paths) {
    if (is_secret_name(path) || (needs_a_look(path) && is_secret_text(path, bytes)))
      return tl::unexpected(fmt::format("{}: content withheld, this name is one for secrets", rev));
  }
  if (is_binary(bytes)) return fmt::format("{} is binary, {} bytes\n", rev, bytes.size());
  return bounded(to_utf8(bytes), "use git show in bash with sed -n");
}

}  // namespace

GitResult<std::string> show(const Opened& opened, const Request& request) {
  const std::string rev = request.rev.empty() ? "HEAD" : request.rev;
  auto path = path_in_repository(opened, request.root, request.path);
  if (!path) return path;
  auto object = resolve(opened.repo.get(), rev);
  if (!object) return tl::unexpected(object.error());
  if (git_object_type(object->get()) == GIT_OBJECT_TAG) {
    git_object* raw = nullptr;
    if (git_object_peel(&raw, object->get(), GIT_OBJECT_ANY) != 0)
      return tl::unexpected(last_error());
    *object = Object(raw);
  }
  switch (git_object_type(object->get())) {
    case GIT_OBJECT_COMMIT:
      return show_commit(opened, reinterpret_cast<git_commit*>(object->get()), *path);
    case GIT_OBJECT_BLOB:
      return show_blob(opened.repo.get(), rev, reinterpret_cast<git_blob*>(object->get()));
    case GIT_OBJECT_TREE: {
      const auto* tree = reinterpret_cast<git_tree*>(object->get());
      std::string text = fmt::format("tree {}\n\n", rev);
      for (std::size_t i = 0; i < git_tree_entrycount(tree); ++i) {
        const git_tree_entry* entry = git_tree_entry_byindex(tree, i);
        text += fmt::format("{}{}\n", git_tree_entry_name(entry),
                            git_tree_entry_type(entry) == GIT_OBJECT_TREE ? "/" : "");
      }
      return bounded(to_utf8(text), "name a subdirectory");
    }
    default:
      return tl::unexpected(fmt::format("{} is neither a commit nor a file", rev));
  }
}

}  // namespace lares::tools::git
