// The JSON that jest and vitest write on one line, in the same form.
#include <nlohmann/json.hpp>

#include "tools/clip.h"
#include "tools/testing/report.h"
#include "tools/text.h"

namespace lares::tools {
namespace {

using nlohmann::json;
constexpr std::size_t kMessageLinesMax = 8;

std::string text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? cleaned(found->get<std::string>()) : "";
}
const json& list_of(const json& object, const char* key) {
  static const json none = json::array();
  const auto found = object.find(key);
  return found != object.end() && found->is_array() ? *found : none;
}

// Tests print what they like around it; the last one is the runner's.
json report_in(std::string_view output) {
  const auto lines = split_lines(output);
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
    const std::size_t at = line->find("{\"num");
    if (at == std::string_view::npos) continue;
    json found = json::parse(line->substr(at), nullptr, false);
    if (found.is_object() && found.contains("numTotalTests") && found.contains("testResults"))
      return found;
  }
  return {};
}

// The runner's own drawing: "● group › test", the source around the place ("> 6 |   expect(...)"),
// the legend of a difference.
bool is_drawn(std::string_view line) {
  if (line.empty() || line.starts_with("\u25cf") || line.starts_with("> ") || line.starts_with("|"))
    return true;
  if (line.starts_with("- Expected") || line.starts_with("+ Received")) return true;
  const std::size_t number = line.find_first_not_of("0123456789");
  return number != 0 && number != std::string_view::npos && line.substr(number).starts_with(" |");
}

// The message above the stack, and the place: the first frame in the test's own file, else the
// first in the repository.
void read_message(const std::string& message, const std::string& own_file, const RootedFs& files,
                  const std::string& cwd, TestFailure& out) {
  std::vector<std::string> said;
  for (const std::string_view raw : split_lines(message)) {
    const std::string_view line = trim(raw);
    if (line.starts_with("at ")) {
      std::string file;
      int number = 0;
      if (!read_js_place(line, files, cwd, file, number)) continue;
      if (out.file.empty() || (file == own_file && out.file != own_file))
        out.file = file, out.line = number;
      continue;
    }
    if (is_drawn(line) || said.size() == kMessageLinesMax) continue;
    said.push_back(
        bounded_line(said.empty() && line.starts_with("Error: ") ? line.substr(7) : line));
  }
  out.detail.insert(out.detail.end(), said.begin(), said.end());
}

}  // namespace

TestCounts parse_jest(std::string_view output, const RootedFs& files, const std::string& cwd) {
  TestCounts out;
  const json found = report_in(output);
  if (!found.is_object()) return out;
  out.known = true;
  for (const json& suite : list_of(found, "testResults")) {
    if (!suite.is_object()) continue;
    const std::string file = relative_to_root(text_of(suite, "name"), files, cwd);
    const json& tests = list_of(suite, "assertionResults");
    for (const json& test : tests) {
      if (!test.is_object()) continue;
      const std::string status = text_of(test, "status");
      const bool ran = status == "passed" || status == "failed";
      (ran ? out.total : out.skipped) += 1;
      if (status != "failed") continue;
      ++out.failed;
      TestFailure failure;
      failure.name = text_of(test, "fullName");
      std::string message;
      for (const json& part : list_of(test, "failureMessages")) {
        if (part.is_string()) message += cleaned(part.get<std::string>()) + "\n";
      }
      read_message(message, file, files, cwd, failure);
      if (failure.file.empty()) failure.file = file;
      out.failures.push_back(std::move(failure));
    }
    // A file that did not load has no tests, and counts as one.
    if (!tests.empty() || text_of(suite, "status") != "failed") continue;
    ++out.total, ++out.failed;
    TestFailure failure;
    failure.name = "(did not load)";
    read_message(text_of(suite, "message"), file, files, cwd, failure);
    if (failure.file.empty()) failure.file = file;
    out.failures.push_back(std::move(failure));
  }
  return out;
}

}  // namespace lares::tools
