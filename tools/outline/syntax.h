// The definitions in one source text, by tree-sitter. Knows no file system.
#pragma once

#include <atomic>
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace lares::tools {

struct Definition {
  int line;           // 1-based, where the definition's text starts
  int depth;          // how many listed definitions enclose it
  std::string text;   // its signature on one line, bounded
  std::string name;   // its identifier alone, "" when it has none
  std::string scope;  // ".A.B.": what encloses or qualifies it, namespaces included
  int start_line;     // of the whole, with what stands before it: decorators, `export`
  int end_line;       // of the whole
  bool has_body;      // false: a prototype, a forward declaration, an abstract method
};

struct SourceOutline {
  std::string language;
  std::vector<Definition> definitions;
  std::vector<int> error_lines;  // where the text did not parse, at most kErrorLinesMax
  int n_errors = 0;              // all of them
  bool complete = true;          // false: the deadline passed or the work was cancelled
};

inline constexpr int kErrorLinesMax = 5;

// Whether the path's extension belongs to a language that is built in.
bool can_outline(std::string_view path);

// Languages, for messages: "C, C++, ..."
std::string outline_languages();

// A header named .h is read as C and as C++, and what parses better counts.
SourceOutline outline_source(std::string_view path, std::string_view source,
                             std::chrono::steady_clock::time_point deadline,
                             const std::atomic<bool>& cancelled);

}  // namespace lares::tools
