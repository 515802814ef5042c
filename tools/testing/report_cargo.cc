// cargo test.
#include <set>

#include "tools/testing/report.h"
#include "tools/text.h"

namespace lares::tools {
namespace {

// The number before `word` in "2 failed; 3 passed", 0 when it is not there.
int count_before(std::string_view text, std::string_view word) {
  const std::size_t at = text.find(word);
  if (at == std::string_view::npos || at < 2) return 0;
  std::size_t begin = at - 1;
  while (begin > 0 && text[begin - 1] >= '0' && text[begin - 1] <= '9') --begin;
  return number_at(text.substr(begin));
}

// `Error: "no"` of a test that returns a Result, and "note: test did not panic as expected at
// src/lib.rs:23:8".
void note_without_panic(std::string_view line, const RootedFs& files, const std::string& cwd,
                        TestFailure& out) {
  constexpr std::string_view kNoPanic = "note: test did not panic as expected";
  if (line.starts_with(kNoPanic)) {
    std::string_view place = line.substr(kNoPanic.size());
    if (place.starts_with(" at ")) place.remove_prefix(4);
    std::string_view rest;
    read_place(std::string(place) + ":", files, cwd, out, rest);
    out.detail.emplace_back("it did not panic, and was to");
  } else if (line.starts_with("Error: ")) {
    out.detail.push_back(bounded_line(line));
  }
}

}  // namespace

TestCounts parse_cargo(std::string_view output, const RootedFs& files, const std::string& cwd) {
  TestCounts out;
  const auto lines = split_lines(output);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string_view line = trim(lines[i]);
    if (line.starts_with("test result: ")) {
      out.known = true;
      out.failed += count_before(line, "failed");
      out.total += count_before(line, "failed") + count_before(line, "passed");
      out.skipped += count_before(line, "ignored");
    }
    if (!line.starts_with("---- ") || !line.ends_with(" stdout ----")) continue;
    TestFailure failure;
    failure.name = line.substr(5, line.size() - 5 - 12);
    std::size_t end = i + 1;
    while (end < lines.size() && !lines[end].starts_with("---- ") &&
           !lines[end].starts_with("failures:"))
      ++end;
    for (std::size_t k = i + 1; k < end; ++k) {
      const std::size_t at = lines[k].find("panicked at ");
      if (at == std::string_view::npos) {
        note_without_panic(trim(lines[k]), files, cwd, failure);
        continue;
      }
      failure.detail.clear();
      std::string_view place = lines[k].substr(at + 12);
      if (place.starts_with('\'')) {  // before Rust 1.73: panicked at 'message', src/lib.rs:8:5
        const std::size_t close = place.rfind("', ");
        if (close == std::string_view::npos) break;
        failure.detail.push_back(bounded_line(place.substr(1, close - 1)));
        place = place.substr(close + 3);
      } else {
        for (std::size_t m = k + 1; m < lines.size() && m < k + 4 && !trim(lines[m]).empty(); ++m) {
          if (!trim(lines[m]).starts_with("note: "))
            failure.detail.push_back(bounded_line(trim(lines[m])));
        }
      }
      const std::size_t colon = place.find(':');
      failure.file = relative_to_root(std::string(place.substr(0, colon)), files, cwd);
      if (colon != std::string_view::npos) failure.line = number_at(place.substr(colon + 1));
      break;
    }
    out.failures.push_back(std::move(failure));
    if (end < lines.size()) i = end - 1;  // what it has printed may tell of results, too
  }
  return out;
}

}  // namespace lares::tools
