// pytest's text: one section a failure, then a line of each with its full name.
#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string_view>

#include <fmt/format.h>

#include "tools/characters.h"
#include "tools/testing/report.h"
#include "tools/text.h"

namespace lares::tools {
namespace {

using Lines = std::span<const std::string_view>;
constexpr std::size_t kGroupLinesMax = 8;  // of an exception group's messages
constexpr std::size_t kReadingsMax = 4;    // of a summary line with several " - "
constexpr std::size_t kAheadMax = 100;     // summary lines that a title is looked for in

// Of the line that ends a run, "2 failed, 1 passed in 0.04s", between rules or not: how many there
// were of each. Much that is printed beside tests counts errors or what passed, too.
using PytestCounts = std::map<std::string_view, int>;
std::optional<PytestCounts> pytest_counts(std::string_view line) {
  constexpr std::string_view kAround = "= \t\r", kDigits = "0123456789",
                             kWord = "abcdefghijklmnopqrstuvwxyz ";
  line.remove_prefix(std::min(line.find_first_not_of(kAround), line.size()));
  const std::size_t in = line.find(" in ");
  if (in == std::string_view::npos) return std::nullopt;
  const std::string_view time = line.substr(in + 4);
  const std::size_t seconds = time.find_first_not_of("0123456789.");
  if (seconds == 0 || seconds == std::string_view::npos || time[seconds] != 's')
    return std::nullopt;
  PytestCounts out;
  std::string_view said = line.substr(0, in);
  if (said == "no tests ran") return out;
  while (!said.empty()) {
    const std::string_view part = said.substr(0, said.find(", "));
    const std::size_t blank = part.find_first_not_of(kDigits);
    if (blank == 0 || blank == std::string_view::npos || part[blank] != ' ' ||
        part.find_first_not_of(kWord, blank) != std::string_view::npos)
      return std::nullopt;
    out[part.substr(blank + 1)] = number_at(part);
    said.remove_prefix(std::min(part.size() + 2, said.size()));
  }
  return out;
}

// "===== FAILURES =====": what stands between the rules; "" when it is none. One that is as long as
// the line is wide has a sign and a blank on either side.
std::string_view ruled(std::string_view line, char sign) {
  const std::size_t begin = line.find_first_not_of(sign), end = line.find_last_not_of(sign);
  if (begin == std::string_view::npos || begin == 0 || end + 1 == line.size()) return "";
  const std::string_view inside = line.substr(begin, end + 1 - begin);
  return inside.size() > 2 && inside.front() == ' ' && inside.back() == ' '
             ? inside.substr(1, inside.size() - 2)
             : "";
}

// A line of the summary: "FAILED tests/test_a.py::TestA::test_b[x - y] - assert 1 == 2".
struct Summed {
  std::string_view text;  // id and message
  bool error = false;     // in a fixture or while the file was loaded
};
struct SummedName {
  std::string_view id, message;
};
// A name may hold the " - " that stands between the two: all that it may mean, the short one first.
std::vector<SummedName> readings(const Summed& summed) {
  std::vector<SummedName> out;
  for (std::size_t at = 0; out.size() < kReadingsMax; at += 3) {
    at = summed.text.find(" - ", at);
    if (at == std::string_view::npos) break;
    out.push_back({summed.text.substr(0, at), summed.text.substr(at + 3)});
  }
  out.push_back({summed.text, ""});
  return out;
}
std::string_view file_of(std::string_view id) { return id.substr(0, id.find("::")); }
// As sections are titled: "TestA.test_b[x - y]".
std::string title_of(std::string_view id) {
  const std::size_t at = id.find("::");
  if (at == std::string_view::npos) return std::string(id);
  std::string out;
  bool params = false;
  for (std::size_t i = at + 2; i < id.size(); ++i) {
    params = params || id[i] == '[';
    const bool colons = !params && id.substr(i).starts_with("::");
    out += colons ? '.' : id[i];
    if (colons) ++i;
  }
  return out;
}

struct Section {
  std::string_view title;
  Lines lines;
};

// The lines of a run's report, told from what tests print by their place and their length.
class PytestText {
 public:
  explicit PytestText(Lines lines);
  const std::vector<Summed>& summary() const { return summary_; }
  const std::vector<Section>& sections() const { return sections_; }

 private:
  bool is_rule(std::string_view line, char sign) const {
    // Of its own width, or made longer by what it says
    const std::size_t n = n_characters(line);
    return widths_.contains(n) || (!widths_.empty() && n > *widths_.begin() && line.size() > 3 &&
                                   line[0] == sign && line[1] == ' ');
  }
  std::vector<Summed> summary_;
  std::vector<Section> sections_;
  std::set<std::size_t> widths_;  // of the terminal; a test may run pytest, too
};

PytestText::PytestText(Lines lines) {
  // The last is the run's own: tests that run pytest print theirs before.
  std::size_t end = lines.size(), begin = lines.size();
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (!lines[i].starts_with('=')) continue;
    const std::string_view title = ruled(lines[i], '=');
    if (title == "FAILURES" || title == "ERRORS") {
      begin = std::min(begin, i);
      widths_.insert(n_characters(lines[i]));
    }
    if (title == "short test summary info") end = i;
  }
  for (std::size_t i = end; i < lines.size(); ++i) {
    const bool failed = lines[i].starts_with("FAILED "), error = lines[i].starts_with("ERROR ");
    if (failed || error) summary_.push_back({lines[i].substr(lines[i].find(' ') + 1), error});
  }
  std::ranges::stable_partition(summary_, &Summed::error);  // as their sections are
  Section* open = nullptr;
  for (std::size_t i = begin; i < end; ++i) {
    const std::string_view line = lines[i];
    const std::string_view title = line.starts_with('_') ? ruled(line, '_') : "";
    const bool heading = !title.empty() && is_rule(line, '_');
    const bool other = line.starts_with("===") && is_rule(line, '=');
    // What a test has printed comes last in its section, and may read like anything.
    const bool captured = line.starts_with("---") && ruled(line, '-').starts_with("Captured ");
    if (open && (heading || other || captured)) open = nullptr;
    if (heading)
      open = &sections_.emplace_back(Section{title, lines.subspan(i + 1, 0)});
    else if (open)
      open->lines = lines.subspan(static_cast<std::size_t>(open->lines.data() - lines.data()),
                                  open->lines.size() + 1);
  }
}

// "tests/test_a.py:12: in test_b", as --tb=short and =line have it.
bool read_short_frame(std::string_view line, const RootedFs& files, const std::string& cwd,
                      TestPlace& out) {
  const std::size_t in = line.find(": in "), colon = line.find(':');
  if (in == std::string_view::npos || colon >= in || line.starts_with(' ')) return false;
  out.line = number_at(line.substr(colon + 1));
  out.file = relative_to_root(std::string(line.substr(0, colon)), files, cwd);
  return out.line > 0;
}

// An exception group, in Python's own form: where it rose, and its messages with those inside.
void read_group(Lines lines, const RootedFs& files, const std::string& cwd,
                std::vector<TestPlace>& frames, std::vector<std::string>& said) {
  bool inside = false;
  for (std::string_view line : lines) {
    const std::size_t bar = line.find_first_not_of(" |+");
    if (bar == std::string_view::npos || bar == 0) continue;
    if (line.substr(bar).starts_with("---")) inside = true;
    // A message has one blank before it, a frame and its line of code more.
    const bool message = bar >= 2 && line[bar - 1] == ' ' && line[bar - 2] == '|';
    line.remove_prefix(bar);
    TestPlace frame;
    if (!inside && read_python_frame(line, files, cwd, frame)) {
      if (!frame.file.empty()) frames.push_back(frame);
    } else if (message && !line.starts_with("Traceback ") &&
               !line.starts_with("Exception Group Traceback") && said.size() < kGroupLinesMax) {
      said.push_back(bounded_line(line));
    }
  }
}

// Where an exception of a chain ends and the one that came of it begins.
bool is_link(std::string_view line) {
  return line == "The above exception was the direct cause of the following exception:" ||
         line == "During handling of the above exception, another exception occurred:";
}

// The place and the message that a section tells of; `own` is the test's file, or "".
void read_section(Lines lines, const std::string& own, const RootedFs& files,
                  const std::string& cwd, TestFailure& out) {
  std::vector<TestPlace> frames;
  std::vector<std::string> said;
  std::string_view message, first;
  for (const std::string_view line : lines) {
    TestPlace frame;
    if (is_link(line)) {
      frames.clear(), message = {};
    } else if (line.find("Exception Group Traceback (most recent call last)") != line.npos) {
      read_group(lines, files, cwd, frames, said);
      break;
    } else if (read_short_frame(line, files, cwd, frame)) {
      message = {};
      if (!frame.file.empty()) frames.push_back(std::move(frame));
    } else if (message.empty() && line.starts_with("E ")) {
      message = trim(line.substr(1));
    } else if (first.empty() && !trim(line).empty() && !line.starts_with("[gw")) {
      first = trim(line);  // "[XPASS(strict)] why", "worker 'gw1' crashed while ..."
    }
  }
  if (!frames.empty()) {
    const bool known = std::ranges::any_of(frames, [&](const auto& f) { return f.file == own; });
    out.file = known ? own : frames.front().file;
    for (const TestPlace& frame : frames) {
      if (frame.file == out.file) out.line = frame.line;
    }
    if (frames.back().file != out.file) out.rose = frames.back();
  }
  if (!message.empty()) said.push_back(bounded_line(message));
  if (said.empty() && frames.empty() && !first.empty()) said.push_back(bounded_line(first));
  out.detail = std::move(said);
}

constexpr std::string_view kCollecting = "ERROR collecting ";

// Of a title: the last part of it, unless what a dot stands in are parameters.
std::string name_of(std::string_view title) {
  if (title.starts_with(kCollecting)) return "(did not load)";
  const std::size_t dot = title.rfind('.');
  const bool whole = dot == std::string_view::npos || title.find('[') != std::string_view::npos;
  return std::string(title.substr(whole ? 0 : dot + 1));
}

// pytest names files from its root directory, which may lie above the one that it runs in.
std::string file_at(std::string_view path, const RootedFs& files, const std::string& cwd) {
  const std::string below = relative_to_root(std::string(path), files, cwd);
  struct stat st {};
  if (!below.empty() && files.lstat(below, st)) return below;
  const std::string top = relative_to_root(std::string(path), files, files.root());
  return !top.empty() && files.lstat(top, st) ? top : below;
}

bool is_titled(std::string_view title, const SummedName& name, bool error) {
  const std::string own = title_of(name.id);
  if (!error) return title == own || title == file_of(name.id);  // of a worker that crashed
  return title == "ERROR at setup of " + own || title == "ERROR at teardown of " + own ||
         title == std::string(kCollecting) + std::string(name.id);
}

// Which section is that of each summary line; null where there is none.
std::vector<const Section*> sections_of(const PytestText& text) {
  // As they are printed: errors first.
  std::vector<const Section*> out(text.summary().size());
  if (text.sections().size() == out.size()) {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = &text.sections()[i];
    return out;
  }
  // Something was printed that looks like one, or one is missing. Both are in the same order.
  std::size_t next = 0;
  for (const Section& section : text.sections()) {
    for (std::size_t i = next; i < out.size() && i < next + kAheadMax; ++i) {
      const Summed& summed = text.summary()[i];
      const bool own = std::ranges::any_of(readings(summed), [&](const SummedName& name) {
        return is_titled(section.title, name, summed.error);
      });
      if (!own) continue;
      out[i] = &section, next = i + 1;
      break;
    }
  }
  return out;
}

TestFailure read_failure(const Summed* summed, const Section* section, const RootedFs& files,
                         const std::string& cwd) {
  TestFailure out;
  SummedName name;
  if (summed) {
    const auto all = readings(*summed);
    const auto own = std::ranges::find_if(all, [&](const SummedName& one) {
      return section && is_titled(section->title, one, summed->error);
    });
    name = own == all.end() ? all.front() : *own;
    out.name = name_of(title_of(name.id));
    if (summed->error && name.id.find("::") == std::string_view::npos) out.name = "(did not load)";
  }
  const std::string own_file = summed ? file_at(file_of(name.id), files, cwd) : "";
  if (section) {
    read_section(section->lines, own_file, files, cwd, out);
    // Of a crashed worker's the title is a file.
    if (!summed || summed->error || section->title != file_of(name.id))
      out.name = name_of(section->title);
    if (out.file.empty() && !summed && section->title.starts_with(kCollecting))
      out.file = file_at(section->title.substr(kCollecting.size()), files, cwd);
  }
  if (out.file.empty()) out.file = own_file;
  if (out.detail.empty() && !name.message.empty()) out.detail.push_back(bounded_line(name.message));
  return out;
}

}  // namespace

TestCounts parse_pytest(std::string_view output, const RootedFs& files, const std::string& cwd) {
  TestCounts out;
  const auto lines = split_lines(output);
  std::size_t ended = lines.size();
  for (std::size_t i = lines.size(); i-- > 0 && !out.known;) {
    auto counts = pytest_counts(lines[i]);
    if (!counts) continue;
    ended = i;
    out.failed = (*counts)["failed"] + (*counts)["error"] + (*counts)["errors"];
    out.total = out.failed + (*counts)["passed"];
    out.skipped = (*counts)["skipped"];
    // None of the asked name is none, too; those that were to fail are some.
    out.none = std::ranges::none_of(*counts, [](const auto& one) {
      return one.second > 0 && one.first != "deselected" && !one.first.starts_with("warning");
    });
    out.known = out.none || out.total + out.skipped > 0;
  }
  if (!out.known) return out;
  for (std::size_t i = 0; out.none && i < lines.size(); ++i) {
    if (i != ended && !trim(lines[i]).empty()) out.besides.append(lines[i]).append("\n");
  }
  const PytestText text(lines);
  const auto sections = sections_of(text);
  for (std::size_t i = 0; i < sections.size(); ++i)
    out.failures.push_back(read_failure(&text.summary()[i], sections[i], files, cwd));
  // Of subtests, and where the project's options leave it out, there is no summary.
  for (const Section& section : text.sections()) {
    if (static_cast<int>(out.failures.size()) >= out.failed) break;
    if (std::ranges::find(sections, &section) == sections.end())
      out.failures.push_back(read_failure(nullptr, &section, files, cwd));
  }
  return out;
}

}  // namespace lares::tools
