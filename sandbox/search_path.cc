#include "sandbox/search_path.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>

namespace lares::sandbox {
namespace {

namespace fs = std::filesystem;

bool below_or_same(std::string_view path, std::string_view top) {
  return path.starts_with(top) &&
         (path.size() == top.size() || top.ends_with('/') || path[top.size()] == '/');
}

// Calls `each` with the entries, until it returns true.
template <class Each>
void for_each_entry(std::string_view path, const Each& each) {
  while (!path.empty()) {
    const auto end = std::min(path.find(':'), path.size());
    if (each(std::string(path.substr(0, end)))) return;
    path.remove_prefix(std::min(end + 1, path.size()));
  }
}

}  // namespace

std::string path_outside(std::string_view path, const std::string& root) {
  std::string out;
  for_each_entry(path, [&](const std::string& entry) {
    std::error_code failed;
    const auto real = fs::weakly_canonical(entry, failed).native();
    if (entry.starts_with('/') && !below_or_same(failed ? entry : real, root))
      out.append(out.empty() ? "" : ":").append(entry);
    return false;
  });
  return out;
}

std::string program_outside(const std::string& name, std::string_view path,
                            const std::string& root) {
  std::string out;
  for_each_entry(path_outside(path, root), [&](const std::string& entry) {
    const std::string file = entry + "/" + name;
    std::error_code failed;
    if (fs::is_regular_file(file, failed) && ::access(file.c_str(), X_OK) == 0) out = file;
    return !out.empty();
  });
  return out;
}

}  // namespace lares::sandbox
