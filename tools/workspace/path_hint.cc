#include "tools/workspace/path_hint.h"

#include <strings.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include <fmt/format.h>

#include "tools/git/kept_view.h"
#include "tools/text.h"
#include "tools/workspace/rooted_fs.h"
#include "tools/workspace/tree_listing.h"

namespace lares::tools {
namespace {

namespace fs = std::filesystem;

std::string_view base_of(std::string_view path) { return path.substr(path.rfind('/') + 1); }

// How many of the path's directories, from its end, the file lies in too.
std::size_t common_tail(std::string_view a, std::string_view b) {
  std::size_t n = 0;
  while (n < std::min(a.size(), b.size()) && a[a.size() - 1 - n] == b[b.size() - 1 - n]) ++n;
  return n;
}

// The deepest directory of the path that is there, and what is not in it.
std::string missing_directory(const RootedFs& files, const std::string& path,
                              const std::string& prefix) {
  std::string there;
  for (std::size_t slash = path.find('/'); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    const std::string directory = path.substr(0, slash);
    if (!files.is_directory(directory)) {
      const std::string name(base_of(directory));
      if (there.empty()) return "";
      return fmt::format(" The directory {}{} is there, {} is not in it.", prefix, there, name);
    }
    there = directory;
  }
  return "";
}

}  // namespace

std::string path_hint(const std::string& root, const std::string& path, const std::string& prefix) {
  KeptView git(root);
  return path_hint(git, path, prefix);
}

std::string path_hint(KeptView& git, const std::string& asked, const std::string& prefix) {
  const std::string path = fs::path(asked).lexically_normal().generic_string();
  const std::string name(base_of(path));
  const auto files = RootedFs::open(git.root());
  if (name.empty() || !files || !is_utf8(path)) return "";
  const auto tree = list_tree(git);
  if (!tree) return "";
  std::vector<std::string> found;
  for (const Listed& file : tree->files) {
    if (file.kind == Listed::Kind::submodule) continue;
    if (::strcasecmp(std::string(base_of(file.path)).c_str(), name.c_str()) == 0 &&
        file.path != path && is_utf8(file.path))
      found.push_back(file.path);
  }
  if (found.empty()) return missing_directory(*files, path, prefix);
  std::ranges::stable_sort(found, [&](const auto& a, const auto& b) {
    return common_tail(a, path) > common_tail(b, path);
  });
  const std::size_t n = std::min(found.size(), kPathHintsMax), n_more = found.size() - n;
  std::string names;
  for (std::size_t i = 0; i < n; ++i)
    names += fmt::format("{}{}{}",
                         i == 0                      ? ""
                         : i + 1 == n && n_more == 0 ? " and "
                                                     : ", ",
                         prefix, found[i]);
  if (n_more > 0) names += fmt::format(" and {} more", n_more);
  return fmt::format(" There {} {}.", found.size() == 1 ? "is" : "are", names);
}

}  // namespace lares::tools
