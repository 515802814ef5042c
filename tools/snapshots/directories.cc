#include "tools/snapshots/directories.h"

#include <algorithm>
#include <map>

#include "tools/workspace/tree_listing.h"

namespace lares::tools {
namespace {

constexpr unsigned kPermissions = 07777;

// What most have, so that few need a name.
unsigned usual_mode_of(const std::vector<ListedDirectory>& listed) {
  std::map<unsigned, std::size_t> n;
  for (const ListedDirectory& directory : listed) ++n[directory.mode & kPermissions];
  const auto most = std::ranges::max_element(n, {}, [](const auto& one) { return one.second; });
  return most == n.end() ? 0 : most->first;
}

}  // namespace

const SnapshotDirectory* SnapshotDirectories::find(const std::string& path) const {
  const auto at = std::ranges::lower_bound(named, path, {}, &SnapshotDirectory::path);
  return at != named.end() && at->path == path ? &*at : nullptr;
}

unsigned SnapshotDirectories::mode_of(const std::string& path) const {
  const SnapshotDirectory* const directory = find(path);
  if (directory) return directory->mode;
  return modes_left_out ? 0 : usual_mode;
}

SnapshotDirectories directories_of(const std::vector<ListedDirectory>& listed,
                                   const std::function<bool(const std::string&)>& has_files) {
  SnapshotDirectories out{.usual_mode = usual_mode_of(listed), .named = {}};
  std::size_t n_empty = 0;
  for (const ListedDirectory& directory : listed) {
    if (directory.path.empty()) continue;
    const unsigned mode = directory.mode & kPermissions;
    const bool empty = !has_files(directory.path + "/");
    n_empty += empty;
    if (n_empty > kSnapshotDirectoriesMax) return {};
    if (empty || mode != out.usual_mode) out.named.push_back({directory.path, mode, empty});
  }
  out.modes_left_out = out.named.size() > kSnapshotDirectoriesMax;
  if (out.modes_left_out)
    std::erase_if(out.named, [](const SnapshotDirectory& directory) { return !directory.empty; });
  return out;
}

}  // namespace lares::tools
