#include "tools/workspace/kept_back.h"

#include "tools/workspace/own_files.h"
#include "tools/workspace/rooted_fs.h"
#include "tools/workspace/rules.h"

namespace lares::tools {

bool is_kept_back(const RootedFs& fs, std::string_view path) {
  return names_git_directory(path) || is_secret_name(path) || lies_in_own(fs, path);
}

}  // namespace lares::tools
