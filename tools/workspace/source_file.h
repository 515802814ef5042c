// A file of the workspace at one moment, as far as the model may know it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

namespace lares::tools {

enum class Shown {
  full,     // its text
  outline,  // its definitions' signatures
  path,     // its name, and why no more
};

struct SourceFile {
  std::string path;  // relative to the root, '/' separated
  std::string blob;  // SHA-1 of git's blob for `text`, 40 hex digits; "" where there is no text
  Shown shown = Shown::full;
  std::string reason;  // of outline and path: "over budget", "binary", "secret", "lock file", ...
  // The whole file: UTF-8, LF line ends, no byte order mark; null when only its path may be known
  std::shared_ptr<const std::string> text;
  std::uint64_t n_bytes = 0;  // on disk
  bool crlf = false;          // its line ends there
};

// All files git would track, in bytewise path order.
using Workspace = std::map<std::string, SourceFile>;

}  // namespace lares::tools
