// A repository in the plainest form: what small ones are written as, worked out anew to hold
// against what the daemon composes, and listed in one go, without what makes the daemon's look
// fast.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "tools/text.h"
#include "tools/workspace/rooted_fs.h"
#include "tools/workspace/rules.h"
#include "tools/workspace/tree_listing.h"
#include "tools/workspace/workspace.h"

namespace lares::tools::test {

struct WorkspaceOptions {
  std::string root;  // absolute
  std::uint64_t file_bytes_max = 256 << 10;
  // Of shown content; beyond it files are listed as path only
  std::uint64_t total_bytes_max = 3 << 20;
};

inline void load(const RootedFs& fs, const WorkspaceOptions& options, const struct stat& st,
                 File& file) {
  file.n_bytes = static_cast<std::uint64_t>(st.st_size);
  if (!S_ISREG(st.st_mode)) {
    file.skipped = S_ISLNK(st.st_mode) ? "symlink" : "not a regular file";
    return;
  }
  file.skipped = skipped_by_name(file.path);
  if (!file.skipped.empty()) return;
  if (file.n_bytes > options.file_bytes_max) {
    file.skipped = "too large";
    return;
  }
  auto data = fs.read(file.path, options.file_bytes_max);
  if (!data) {
    file.skipped = "unreadable";
    return;
  }
  file.n_bytes = data->bytes.size();
  file.skipped = skipped_by_content(file.path, data->bytes);
  if (file.skipped.empty()) file.content = shown_text(data->bytes);
}

// Files git would track (tracked or untracked but not ignored); outside a repository every file
// below the root. In bytewise path order. The same tree gives the same list whatever the locale or
// directory order.
inline Result<std::vector<File>> list_files(const WorkspaceOptions& options) {
  const auto fs = RootedFs::open(options.root);
  if (!fs) return tl::unexpected(Error{Errc::broken, fs.error()});
  auto tree = TreeLister(options.root).list();
  if (!tree) return tl::unexpected(std::move(tree.error()));
  if (tree->cut) {
    return tl::unexpected(Error{Errc::broken, fmt::format("list {}: {}; open a smaller directory",
                                                          options.root, tree->left_out.front())});
  }
  std::vector<File> out;
  std::uint64_t total = 0;
  for (const Listed& listed : tree->files) {
    struct stat st {};
    if (listed.kind == Listed::Kind::submodule || !fs->lstat(listed.path, st))
      continue;  // or gone meanwhile
    File file{listed.path, "", "", 0};
    load(*fs, options, st, file);
    if (file.skipped.empty() && total + file.content.size() > options.total_bytes_max) {
      file.content.clear();
      file.skipped = "over budget";
    }
    total += file.content.size();
    out.push_back(std::move(file));
  }
  return out;
}

// Everything between the tool catalogue and the first user turn.
inline std::string render_repository(const std::vector<File>& files) {
  std::vector<const File*> order;
  for (const File& file : files) order.push_back(&file);
  std::sort(order.begin(), order.end(),
            [](const File* a, const File* b) { return a->path < b->path; });
  std::string out = fmt::format("<repository files=\"{}\">\n", files.size());
  for (const File* file : order) out += render_file(*file);
  return out + "</repository>\n";
}

}  // namespace lares::tools::test
