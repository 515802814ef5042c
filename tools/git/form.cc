#include "tools/git/form.h"

#include "tools/git/library.h"
#include "tools/git/repo.h"

namespace lares::tools {

std::string why_only_git_reads(const std::string& directory) {
  git_repository* raw = nullptr;
  if (!git::start_library() || git_repository_open_ext(&raw, directory.c_str(), 0, nullptr) != 0)
    return "";
  const git::Repository repository(raw);
  return git::why_only_git(raw);
}

}  // namespace lares::tools
