#include "tools/snapshots/left_out.h"

namespace lares::tools {

LeftOut::LeftOut(const Snapshot& snapshot) : snapshot_(snapshot) {
  for (const PathReason& file : snapshot.left_out) by_path_.emplace(file.path, file);
}

const PathReason* LeftOut::find(const std::string& path) const {
  auto at = by_path_.find(path);
  for (std::size_t slash = path.find('/'); at == by_path_.end() && slash != std::string::npos;
       slash = path.find('/', slash + 1))
    at = by_path_.find(path.substr(0, slash + 1));
  return at == by_path_.end() ? nullptr : &at->second;
}

bool LeftOut::names_all() const {
  return snapshot_.incomplete.empty() && snapshot_.n_left_out <= snapshot_.left_out.size();
}

}  // namespace lares::tools
