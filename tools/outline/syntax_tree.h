// A source text parsed by tree-sitter, with an end to it.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <string_view>

#include <tree_sitter/api.h>

#include "tools/outline/languages.h"

namespace lares::tools {

struct FreeTree {
  void operator()(TSTree* tree) const { ts_tree_delete(tree); }
};
using SyntaxTree = std::unique_ptr<TSTree, FreeTree>;

struct ParseBudget {
  std::string_view source;
  std::chrono::steady_clock::time_point deadline;
  const std::atomic<bool>& cancelled;
};

// Null: the budget ended first
SyntaxTree parse_syntax(const Language& language, ParseBudget budget);

std::string_view extension_of(std::string_view path);  // without the dot, "" where there is none

// Whether a line begins with what only C++ says: a header named .h may be either's.
bool has_cpp_words(std::string_view source);

}  // namespace lares::tools
