// cargo test, go test -json and ctest.
#include <map>
#include <set>

#include <nlohmann/json.hpp>

#include "tools/testing/report.h"
#include "tools/text.h"

namespace lares::tools {
namespace {

constexpr std::size_t kDetailLinesMax = 8, kSaidLinesMax = 2000;  // of one test

// The number before `word` in "2 failed; 3 passed", 0 when it is not there.
int count_before(std::string_view text, std::string_view word) {
  const std::size_t at = text.find(word);
  if (at == std::string_view::npos || at < 2) return 0;
  std::size_t begin = at - 1;
  while (begin > 0 && text[begin - 1] >= '0' && text[begin - 1] <= '9') --begin;
  return number_at(text.substr(begin));
}

// "    clamp_test.go:8: message" as testing.T writes it.
bool read_go_place(std::string_view line, std::string& file, int& number, std::string& message) {
  line = trim(line.substr(0, line.find('\n')));
  const std::size_t colon = line.find(".go:");
  if (colon == std::string_view::npos ||
      line.substr(0, colon).find_first_of(" /") != std::string_view::npos)
    return false;
  file = line.substr(0, colon + 3);
  number = number_at(line.substr(colon + 4));
  const std::size_t text = line.find(": ", colon + 4);
  message = text == std::string_view::npos ? "" : bounded_line(line.substr(text + 2));
  return number > 0;
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

// What go says outside its events when a package does not compile: "q/q.go:3:23: cannot use ...".
TestFailure go_build_failure(const std::vector<std::string>& said, const RootedFs& files,
                             const std::string& cwd) {
  TestFailure out;
  out.name = "(did not compile)";
  for (const std::string& line : said) {
    TestFailure place;
    std::string_view message;
    if (!read_place(line, files, cwd, place, message)) continue;
    if (out.file.empty()) {
      out.file = place.file, out.line = place.line;
      out.detail.push_back(bounded_line(message));
    } else if (out.detail.size() < kDetailLinesMax) {
      out.detail.push_back(bounded_line(line));
    }
  }
  return out;
}

// The first frame in the repository's test file below "panic: ...", or the first in any file of it.
void read_go_panic(const std::vector<std::string>& said, const RootedFs& files,
                   const std::string& cwd, TestFailure& out) {
  for (const std::string& raw : said) {
    const std::string_view line = trim(std::string_view(raw).substr(0, raw.find('\n')));
    if (line.starts_with("panic: ") && out.detail.empty()) out.detail.push_back(bounded_line(line));
    if (out.detail.empty()) continue;
    TestFailure place;
    std::string_view message;
    if (!read_place(std::string(line.substr(0, line.find(' '))) + ":", files, cwd, place, message))
      continue;
    if (out.file.empty()) out.file = place.file, out.line = place.line;
    if (place.file.ends_with("_test.go")) {
      if (place.file != out.file) out.rose = {out.file, out.line};
      out.file = place.file, out.line = place.line;
      break;
    }
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

std::string go_text(std::string_view output) {
  std::string out;
  for (std::string_view line : split_lines(output)) {
    const auto event = nlohmann::json::parse(line, nullptr, false);
    const bool is_event = event.is_object() && event.contains("Action");
    if (!is_event) out.append(line).append("\n");
    if (is_event && event.contains("Output") && event["Output"].is_string())
      out += event["Output"].get<std::string>();
  }
  return out;
}

TestCounts parse_go(std::string_view output, const RootedFs& files, const std::string& cwd) {
  TestCounts out;
  struct Test {
    std::vector<std::string> said;
    std::string action;
  };
  std::map<std::pair<std::string, std::string>, Test> tests;
  std::string module;
  std::vector<std::string> not_built;
  int n_not_built = 0;
  if (const auto data = files.read(relative_to_root(cwd + "/go.mod", files, cwd))) {
    for (std::string_view line : split_lines(data->bytes)) {
      if (line.starts_with("module ")) module = trim(line.substr(7));
    }
  }
  for (std::string_view line : split_lines(output)) {
    const auto event = nlohmann::json::parse(line, nullptr, false);
    if (!event.is_object() || !event.contains("Action") || !event["Action"].is_string()) {
      if (line.starts_with("# ")) ++n_not_built;
      if (n_not_built > 0 && not_built.size() < kSaidLinesMax) not_built.emplace_back(line);
      continue;
    }
    const std::string action = event["Action"].get<std::string>();
    const auto text = [&](const char* key) {
      return event.contains(key) && event[key].is_string() ? event[key].get<std::string>() : "";
    };
    const std::string name = text("Test");
    if (action == "build-output" && not_built.size() < kSaidLinesMax)
      not_built.push_back(text("Output"));  // since go 1.24
    if (action == "build-fail") ++n_not_built;
    // A package without tests, or without one of the asked name, tells only of itself.
    const bool ended = !text("Package").empty() && (action == "pass" || action == "skip");
    out.known = out.known || !name.empty() || ended;
    if (name.empty()) continue;
    Test& test = tests[{text("Package"), name}];
    if (action == "output" && test.said.size() < kSaidLinesMax) test.said.push_back(text("Output"));
    if (action == "pass" || action == "fail" || action == "skip") test.action = action;
  }
  for (const auto& [id, test] : tests) {
    bool parent = false;  // TestX of TestX/case: told by its members
    const auto next = tests.upper_bound({id.first, id.second + "/"});
    parent = next != tests.end() && next->first.first == id.first &&
             next->first.second.starts_with(id.second + "/");
    if (parent) continue;
    if (test.action == "skip") {
      ++out.skipped;
      continue;
    }
    ++out.total;
    if (test.action == "pass") continue;
    ++out.failed;
    TestFailure failure;
    failure.name = id.second;
    for (const std::string& line : test.said) {
      std::string file, message;
      int number = 0;
      if (!read_go_place(line, file, number, message)) continue;
      std::string package = id.first.starts_with(module) && !module.empty()
                                ? id.first.substr(module.size())
                                : "";
      while (package.starts_with('/')) package.erase(0, 1);
      failure.file = relative_to_root(cwd + "/" + (package.empty() ? "" : package + "/") + file,
                                      files, cwd);
      failure.line = number;
      if (!message.empty()) failure.detail.push_back(message);
      break;
    }
    if (failure.file.empty()) read_go_panic(test.said, files, cwd, failure);
    out.failures.push_back(std::move(failure));
  }
  if (n_not_built > 0) {
    auto failure = go_build_failure(not_built, files, cwd);
    if (failure.file.empty()) return out;
    out.known = true, ++out.total, ++out.failed;
    out.failures.insert(out.failures.begin(), std::move(failure));
  }
  return out;
}

}  // namespace lares::tools
