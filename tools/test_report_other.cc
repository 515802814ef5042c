// cargo test, go test -json and ctest.
#include <charconv>
#include <map>
#include <set>

#include <nlohmann/json.hpp>

#include "tools/test_report.h"
#include "tools/text.h"

namespace lares::tools {
namespace {

int number_at(std::string_view text) {
  int n = 0;
  std::from_chars(text.data(), text.data() + text.size(), n);
  return n;
}
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
  if (colon == std::string_view::npos || line.substr(0, colon).find(' ') != std::string_view::npos) return false;
  file = line.substr(0, colon + 3);
  number = number_at(line.substr(colon + 4));
  const std::size_t text = line.find(": ", colon + 4);
  message = text == std::string_view::npos ? "" : bounded_line(line.substr(text + 2));
  return number > 0;
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
    for (std::size_t k = i + 1; k < lines.size() && !lines[k].starts_with("---- ") && !lines[k].starts_with("failures:"); ++k) {
      const std::size_t at = lines[k].find("panicked at ");
      if (at == std::string_view::npos) continue;
      std::string_view place = lines[k].substr(at + 12);
      if (place.starts_with('\'')) {  // before Rust 1.73: panicked at 'message', src/lib.rs:8:5
        const std::size_t close = place.rfind("', ");
        if (close == std::string_view::npos) break;
        failure.detail.push_back(bounded_line(place.substr(1, close - 1)));
        place = place.substr(close + 3);
      } else {
        for (std::size_t m = k + 1; m < lines.size() && m < k + 4 && !trim(lines[m]).empty(); ++m) {
          if (!trim(lines[m]).starts_with("note: ")) failure.detail.push_back(bounded_line(trim(lines[m])));
        }
      }
      const std::size_t colon = place.find(':');
      failure.file = relative_to_root(std::string(place.substr(0, colon)), files, cwd);
      if (colon != std::string_view::npos) failure.line = number_at(place.substr(colon + 1));
      if (const auto source = source_line(files, failure.file, failure.line); !source.empty()) {
        failure.detail.insert(failure.detail.begin(), source);
      }
      break;
    }
    out.failures.push_back(std::move(failure));
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
  if (const auto data = files.read(relative_to_root(cwd + "/go.mod", files, cwd))) {
    for (std::string_view line : split_lines(data->bytes)) {
      if (line.starts_with("module ")) module = trim(line.substr(7));
    }
  }
  for (std::string_view line : split_lines(output)) {
    const auto event = nlohmann::json::parse(line, nullptr, false);
    if (!event.is_object() || !event.contains("Action") || !event["Action"].is_string()) continue;
    const std::string action = event["Action"].get<std::string>();
    const auto text = [&](const char* key) { return event.contains(key) && event[key].is_string() ? event[key].get<std::string>() : ""; };
    const std::string name = text("Test");
    if (name.empty()) continue;
    out.known = true;
    Test& test = tests[{text("Package"), name}];
    if (action == "output") test.said.push_back(text("Output"));
    if (action == "pass" || action == "fail" || action == "skip") test.action = action;
  }
  for (const auto& [id, test] : tests) {
    bool parent = false;  // TestX of TestX/case: told by its members
    const auto next = tests.upper_bound({id.first, id.second + "/"});
    parent = next != tests.end() && next->first.first == id.first && next->first.second.starts_with(id.second + "/");
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
      std::string package = id.first.starts_with(module) && !module.empty() ? id.first.substr(module.size()) : "";
      while (package.starts_with('/')) package.erase(0, 1);
      failure.file = relative_to_root(cwd + "/" + (package.empty() ? "" : package + "/") + file, files, cwd);
      failure.line = number;
      if (const auto source = source_line(files, failure.file, number); !source.empty()) failure.detail.push_back(source);
      if (!message.empty()) failure.detail.push_back(message);
      break;
    }
    out.failures.push_back(std::move(failure));
  }
  return out;
}

TestCounts parse_ctest(std::string_view output) {
  TestCounts out;
  const auto lines = split_lines(output);
  std::map<std::string, std::vector<std::string>> said;
  std::string current;
  bool in_list = false;
  for (std::string_view line : lines) {
    const std::string_view bare = trim(line);
    if (const std::size_t at = bare.find("% tests passed, "); at != std::string_view::npos) {
      out.known = true;
      out.failed = count_before(bare, "tests failed");
      out.total = number_at(bare.substr(bare.find("out of ") + 7));
      current.clear();
    }
    if (bare.find("Test #") != std::string_view::npos && bare.find("/") != std::string_view::npos) {
      const std::size_t colon = bare.find(": ");
      current = colon == std::string_view::npos ? "" : std::string(bare.substr(colon + 2, bare.find(' ', colon + 2) - colon - 2));
      if (bare.find("***Skipped") != std::string_view::npos || bare.find("***Not Run (Disabled)") != std::string_view::npos) ++out.skipped;
      continue;
    }
    if (bare.starts_with("The following tests FAILED")) in_list = true;
    if (in_list && bare.find(" - ") != std::string_view::npos) {
      const std::size_t dash = bare.find(" - "), open = bare.rfind(" (");
      TestFailure failure;
      failure.name = bare.substr(dash + 3, open == std::string_view::npos ? open : open - dash - 3);
      out.failures.push_back(std::move(failure));
    } else if (!current.empty() && !bare.empty() && said[current].size() < 8) {
      said[current].push_back(bounded_line(bare));
    }
  }
  for (TestFailure& failure : out.failures) failure.detail = said[failure.name];
  return out;
}

}  // namespace lares::tools
