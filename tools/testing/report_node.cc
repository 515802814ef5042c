// The TAP that `node --test` writes, of Node 18 to 22.
#include <sys/stat.h>

#include <array>
#include <charconv>

#include "tools/testing/report.h"
#include "tools/text.h"

namespace lares::tools {
namespace {

constexpr std::size_t kMessageLinesMax = 8;
constexpr std::array<std::string_view, 7> kBoilerplate = {
    "Expected values to be strictly equal:",
    "Expected values to be strictly deep-equal:",
    "Expected values to be loosely equal:",
    "Expected values to be loosely deep-equal:",
    "+ actual - expected",
    "The expression evaluated to a falsy value:",
    "... Lines skipped"};

std::size_t indent_of(std::string_view line) {
  return line.size() - trim(line).size() - (line.size() - line.find_last_not_of(" \t\r") - 1);
}

std::string unquoted(std::string_view text) {
  text = trim(text);
  if (text.size() < 2 || (text[0] != '\'' && text[0] != '"') || text.back() != text[0])
    return std::string(text);
  const bool escapes = text[0] == '"';
  std::string out;
  for (std::size_t i = 1; i + 1 < text.size(); ++i) {
    if (escapes && text[i] == '\\' && i + 2 < text.size()) {
      ++i;
      out += text[i] == 'n' ? '\n' : text[i];
    } else {
      out += text[i];
    }
  }
  return out;
}

// The YAML block below a "not ok" line: key -> text, block scalars joined with "\n".
struct Diagnostic {
  std::string error, stack, location, type, failure_type, name;
};
std::size_t read_diagnostic(const std::vector<std::string_view>& lines, std::size_t i,
                            Diagnostic& out) {
  if (i >= lines.size() || trim(lines[i]) != "---") return i;
  const std::size_t indent = indent_of(lines[i]);
  for (++i; i < lines.size(); ++i) {
    const std::string_view line = trim(lines[i]);
    if (line == "..." && indent_of(lines[i]) == indent) return i + 1;
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || indent_of(lines[i]) != indent) continue;
    const std::string_view key = line.substr(0, colon);
    std::string value = unquoted(line.substr(colon + 1));
    if (value == "|-" || value == "|") {
      value.clear();
      while (i + 1 < lines.size() &&
             (trim(lines[i + 1]).empty() || indent_of(lines[i + 1]) > indent)) {
        ++i;
        value += std::string(lines[i].substr(std::min(lines[i].size(), indent + 2))) + "\n";
      }
    }
    if (key == "error")
      out.error = value;
    else if (key == "stack")
      out.stack = value;
    else if (key == "location")
      out.location = value;
    else if (key == "type")
      out.type = value;
    else if (key == "failureType")
      out.failure_type = value;
    else if (key == "name")
      out.name = value;
  }
  return i;
}

void add_message(const Diagnostic& diagnostic, std::vector<std::string>& detail) {
  std::vector<std::string> message;
  for (std::string_view line : split_lines(diagnostic.error)) {
    line = line.substr(0, line.find_last_not_of(" \r") + 1);
    if (trim(line).empty()) continue;
    bool boilerplate = false;
    for (std::string_view words : kBoilerplate) boilerplate |= trim(line).starts_with(words);
    if (boilerplate) continue;
    if (message.size() == kMessageLinesMax) break;
    message.push_back(bounded_line(
        message.empty() && trim(line).find('\n') == std::string_view::npos ? trim(line) : line));
  }
  if (message.empty() && !diagnostic.error.empty())
    message.push_back(bounded_line(trim(split_lines(diagnostic.error)[0])));
  const bool named = !diagnostic.name.empty() && diagnostic.name != "AssertionError" &&
                     diagnostic.name != "Error";
  if (named && !message.empty()) message[0] = diagnostic.name + ": " + message[0];
  detail.insert(detail.end(), message.begin(), message.end());
}

}  // namespace

bool read_js_place(std::string_view text, const RootedFs& files, const std::string& cwd,
                   std::string& file, int& line) {
  text = trim(text);
  if (const std::size_t open = text.rfind('(');
      open != std::string_view::npos && text.ends_with(')')) {
    text = text.substr(open + 1, text.size() - open - 2);
  } else if (text.starts_with("at ")) {
    text.remove_prefix(3);
  }
  if (text.starts_with("async ")) text.remove_prefix(6);
  for (int i = 0; i < 2; ++i) {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) return false;
    int n = 0;
    const auto [end, error] = std::from_chars(text.data() + colon + 1, text.data() + text.size(),
                                              n);
    if (error != std::errc() || end != text.data() + text.size()) {
      if (i == 0) return false;
      break;
    }
    line = n;
    text = text.substr(0, colon);
  }
  if (text.find('/') == std::string_view::npos || text.starts_with("node:")) return false;
  file = relative_to_root(std::string(text), files, cwd);
  return !file.empty() && file.find("node_modules/") == std::string::npos;
}

TestCounts parse_node(std::string_view output, const RootedFs& files, const std::string& cwd) {
  TestCounts out;
  const auto lines = split_lines(output);
  // By depth: results seen below the result that is still to come
  std::vector<std::size_t> open_children;
  // "# ..." lines since the last result: what a file that did not load printed
  std::vector<std::string> said;
  for (std::size_t i = 0; i < lines.size();) {
    const std::string_view line = trim(lines[i]);
    if (line.starts_with("TAP version")) out.known = true;
    const bool ok = line.starts_with("ok "), not_ok = line.starts_with("not ok ");
    const std::size_t depth = lines[i].find_first_not_of(' ') == std::string_view::npos
                                  ? 0
                                  : lines[i].find_first_not_of(' ') / 4;
    if (!ok && !not_ok) {
      if (depth == 0 && line.starts_with("# ") && !line.starts_with("# Subtest:"))
        said.emplace_back(line.substr(2));
      ++i;
      continue;
    }
    if (open_children.size() < depth + 2) open_children.resize(depth + 2, 0);
    const bool parent = open_children[depth + 1] > 0;
    open_children[depth + 1] = 0;
    ++open_children[depth];
    std::string_view name = line.substr(ok ? 3 : 7);
    if (const std::size_t dash = name.find(" - "); dash != std::string_view::npos)
      name = name.substr(dash + 3);
    const std::size_t directive = name.rfind(" # ");
    const std::string_view mark = directive == std::string_view::npos ? ""
                                                                      : name.substr(directive + 3);
    const bool skipped = mark.starts_with("SKIP") || mark.starts_with("TODO");
    if (skipped) name = name.substr(0, directive);
    Diagnostic diagnostic;
    i = read_diagnostic(lines, i + 1, diagnostic);
    if (skipped) {
      ++out.skipped;
      continue;
    }
    // A group is told by its members, unless it failed on its own account.
    const bool group = parent || diagnostic.type == "suite" ||
                       diagnostic.failure_type == "subtestsFailed";
    if (group &&
        (ok || diagnostic.failure_type == "subtestsFailed" || diagnostic.failure_type.empty())) {
      said.clear();
      continue;
    }
    ++out.total;
    if (ok) {
      said.clear();
      continue;
    }
    ++out.failed;
    TestFailure failure;
    failure.name = std::string(name);
    std::string place, rose;
    int at = 0, rose_at = 0;
    std::string location_file;
    int location_line = 0;
    read_js_place(diagnostic.location, files, cwd, location_file, location_line);
    for (std::string_view frame : split_lines(diagnostic.stack)) {
      std::string file;
      int number = 0;
      if (!read_js_place(frame, files, cwd, file, number)) continue;
      if (rose.empty()) rose = file, rose_at = number;
      // The first frame in the test's own file; without a location the outermost one.
      if (place.empty() || (location_file.empty() ? false : place != location_file))
        place = file, at = number;
      if (!location_file.empty() && place == location_file) break;
    }
    if (diagnostic.stack.empty() || place.empty()) {
      if (name.starts_with('/') || name.ends_with("js")) {  // a file that could not be loaded
        failure.name = relative_to_root(std::string(name), files, cwd);
        if (failure.name.empty()) failure.name = std::string(name);
        for (const std::string& words : said) {
          std::string file;
          int number = 0;
          struct stat st {};
          if (place.empty() &&
              read_js_place(words + (words.find(':') == words.rfind(':') ? ":1" : ""), files, cwd,
                            file, number) &&
              files.lstat(file, st))  // a message may read like a place
            place = file, at = number;
          if (words.find("Error: ") != std::string::npos) {
            diagnostic.error = words;
            break;
          }
        }
        if (place.empty()) place = failure.name, at = 0;
      } else {
        place = location_file, at = location_line;
      }
    }
    failure.file = place;
    failure.line = at;
    if (rose != place) failure.rose = {rose, rose_at};
    add_message(diagnostic, failure.detail);
    out.failures.push_back(std::move(failure));
    said.clear();
  }
  return out;
}

}  // namespace lares::tools
