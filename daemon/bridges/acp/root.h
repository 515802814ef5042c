// A repository's folder by both its names: the daemon's, which leads through no link, and the one
// by which the editor opened it. An editor knows its files by the second alone.
#pragma once

#include <string>

namespace lares::cli::acp {

class Root {
 public:
  // `cwd`: a folder inside it, as the editor calls it. Where a link below the root leads there, the
  // editor's name for the root is not to be told from it: it is the daemon's, then.
  Root(const std::string& real, const std::string& cwd);

  const std::string& opened() const { return opened_; }  // by the editor's name
  // Of a path by either name, or below the root: the editor's. Elsewhere it is what it is.
  std::string as_opened(const std::string& path) const;
  // Below the root, ".": the root itself. Elsewhere it is what it is.
  std::string below(const std::string& path) const;

 private:
  std::string real_, opened_;
};

}  // namespace lares::cli::acp
