#include "tools/testing/go_events.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "tools/clip.h"
#include "tools/text.h"

namespace lares::tools {
namespace {

using nlohmann::json;
constexpr std::size_t kDetailLinesMax = 8, kSaidLinesMax = 2000;  // of one test

std::string text_of(const json& event, const char* key) {
  const auto found = event.find(key);
  return found != event.end() && found->is_string() ? cleaned(found->get<std::string>()) : "";
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

// The `module` of go.mod, which begins its packages' names.
std::string module_name(const RootedFs& files, const std::string& cwd) {
  std::string out;
  const auto data = files.read(relative_to_root(cwd + "/go.mod", files, cwd));
  if (!data) return out;
  for (const std::string_view line : split_lines(data->bytes)) {
    if (line.starts_with("module ")) out = trim(line.substr(7));
  }
  return out;
}

// What a test said: the place that it named and the message there, else its panic.
void read_go_failure(const std::vector<std::string>& said, std::string package,
                     const std::string& module, const RootedFs& files, const std::string& cwd,
                     TestFailure& out) {
  for (const std::string& line : said) {
    std::string file, message;
    int number = 0;
    if (!read_go_place(line, file, number, message)) continue;
    package = package.starts_with(module) && !module.empty() ? package.substr(module.size()) : "";
    while (package.starts_with('/')) package.erase(0, 1);
    out.file = relative_to_root(cwd + "/" + (package.empty() ? "" : package + "/") + file, files,
                                cwd);
    out.line = number;
    if (!message.empty()) out.detail.push_back(message);
    break;
  }
  if (out.file.empty()) read_go_panic(said, files, cwd, out);
}

}  // namespace

std::string go_text(std::string_view output) {
  std::string out;
  for (std::string_view line : split_lines(output)) {
    const auto event = nlohmann::json::parse(line, nullptr, false);
    const bool is_event = event.is_object() && event.contains("Action");
    if (!is_event) out.append(line).append("\n");
    if (is_event) out += text_of(event, "Output");
  }
  return out;
}

void GoEvents::feed(std::string_view text) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view piece = text.substr(0, end);
    if (partial_.size() <= kLineBytesMax) partial_ += piece;
    if (end == std::string_view::npos) return;
    read(partial_);
    partial_.clear();
    text.remove_prefix(end + 1);
  }
}

void GoEvents::read(std::string_view line) {
  if (line.size() > kLineBytesMax) return;
  const json event = json::parse(line, nullptr, false);
  if (!event.is_object() || text_of(event, "Action").empty()) {
    if (line.starts_with("# ")) ++n_not_built_;
    if (n_not_built_ > 0 && not_built_.size() < kSaidLinesMax) keep_not_built(std::string(line));
    return;
  }
  const std::string action = text_of(event, "Action"), package = text_of(event, "Package"),
                    name = text_of(event, "Test");
  if (action == "build-output" && not_built_.size() < kSaidLinesMax)
    keep_not_built(text_of(event, "Output"));  // since go 1.24
  if (action == "build-fail") ++n_not_built_;
  // A package without tests, or without one of the asked name, tells only of itself.
  const bool ended = action == "pass" || action == "skip";
  known_ = known_ || !name.empty() || (!package.empty() && ended);
  if (name.empty()) return;
  auto at = tests_.find({package, name});
  if (at == tests_.end()) {
    const std::size_t bytes = package.size() + name.size();
    if (tests_.size() >= kTestsMax || kept_bytes_ + bytes > kKeptBytesMax) {
      left_out_ = true;
      return;
    }
    kept_bytes_ += bytes;
    at = tests_.emplace(std::pair(package, name), Test()).first;
  }
  if (action == "output") keep(at->second, text_of(event, "Output"));
  if (ended || action == "fail") end(at->second, action);
}

void GoEvents::keep_not_built(std::string line) {
  if (kept_bytes_ + line.size() > kSaidBytesMax) {
    left_out_ = true;
    return;
  }
  kept_bytes_ += line.size();
  not_built_.push_back(std::move(line));
}

void GoEvents::keep(Test& test, std::string said) {
  if (test.said.size() >= kSaidLinesMax || kept_bytes_ + said.size() > kSaidBytesMax) return;
  kept_bytes_ += said.size();
  test.said.push_back(std::move(said));
}

void GoEvents::end(Test& test, std::string action) {
  test.action = std::move(action);
  if (test.action == "fail") return;
  for (const std::string& line : test.said) kept_bytes_ -= line.size();
  test.said = {};
}

TestCounts GoEvents::counts(const RootedFs& files, const std::string& cwd) const {
  if (!partial_.empty()) {
    GoEvents whole = *this;
    whole.feed("\n");
    return whole.counts(files, cwd);
  }
  TestCounts out;
  out.known = known_;
  out.partial = left_out_;
  const std::string module = module_name(files, cwd);
  for (const auto& [id, test] : tests_) {
    const auto& [package, name] = id;
    // TestX of TestX/case: told by its members
    const auto next = tests_.upper_bound({package, name + "/"});
    if (next != tests_.end() && next->first.first == package &&
        next->first.second.starts_with(name + "/"))
      continue;
    if (test.action == "skip") {
      ++out.skipped;
      continue;
    }
    ++out.total;
    if (test.action == "pass") continue;
    ++out.failed;
    TestFailure failure;
    failure.name = name;
    failure.unfinished = test.action.empty();
    read_go_failure(test.said, package, module, files, cwd, failure);
    out.failures.push_back(std::move(failure));
  }
  if (n_not_built_ > 0) {
    auto failure = go_build_failure(not_built_, files, cwd);
    if (failure.file.empty()) return out;
    out.known = true, ++out.total, ++out.failed;
    out.failures.insert(out.failures.begin(), std::move(failure));
  }
  return out;
}

TestCounts parse_go(std::string_view output, const RootedFs& files, const std::string& cwd) {
  GoEvents events;
  events.feed(output);
  return events.counts(files, cwd);
}

}  // namespace lares::tools
