#include "daemon/bridges/acp/root.h"

#include <filesystem>
#include <system_error>

namespace lares::cli::acp {
namespace {

namespace fs = std::filesystem;

// `cwd` without what is below `real` in it; empty: they do not end alike.
std::string opened_as(const std::string& real, const std::string& cwd) {
  std::error_code ec;
  fs::path below = fs::canonical(cwd, ec).lexically_relative(real),
           opened = fs::path(cwd).lexically_normal();
  if (ec || below.empty()) return "";
  if (!opened.has_filename()) opened = opened.parent_path();  // "/a/b/"
  for (; below.has_filename() && below != "."; below = below.parent_path()) {
    if (opened.filename() != below.filename()) return "";
    opened = opened.parent_path();
  }
  return fs::equivalent(opened, real, ec) ? opened.string() : "";
}

}  // namespace

Root::Root(const std::string& real, const std::string& cwd)
    : real_(real), opened_(opened_as(real, cwd)) {
  if (opened_.empty()) opened_ = real;
}

std::string Root::as_opened(const std::string& path) const {
  if (!path.starts_with('/')) return path.empty() ? opened_ : opened_ + "/" + path;
  if (path == opened_ || path.starts_with(opened_ + "/")) return path;
  return path == real_ || path.starts_with(real_ + "/") ? opened_ + path.substr(real_.size())
                                                        : path;
}

std::string Root::below(const std::string& path) const {
  const std::string whole = as_opened(path);
  if (whole == opened_) return ".";
  return whole.starts_with(opened_ + "/") ? whole.substr(opened_.size() + 1) : whole;
}

}  // namespace lares::cli::acp
