// A directory that may be a project with tests, and what of it is asked for.
#pragma once

#include <string>
#include <vector>

#include "tools/testing/runner.h"
#include "tools/workspace/rooted_fs.h"

namespace lares::tools {

struct Project {
  const RootedFs* files;
  std::string dir;           // relative to the root, "" or with a final '/'
  std::string path, filter;  // what is asked for, relative to `dir`
  std::string inside = "";   // of the file `path`, in pytest's words: "Class::test", or ""

  std::string asked() const { return inside.empty() ? path : path + "::" + inside; }
  // The filter for runners that take a regular expression: names of tests hold brackets and dots,
  // so only one that is clearly written as an expression is one.
  std::string pattern() const;
  std::string text(const std::string& name) const;  // "" where it cannot be read
  std::string head(const std::string& name) const;  // of a file that may hold tests
  bool has(const std::string& name) const;
  // In a directory of the project, in order.
  std::vector<std::string> names(const std::string& below) const;
  std::string cwd() const;
  Runner runner(RunnerKind kind, std::vector<std::string> argv) const;
};

}  // namespace lares::tools
