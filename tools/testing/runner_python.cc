#include "tools/testing/runner_python.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <initializer_list>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "tools/text.h"

namespace lares::tools {
namespace {

namespace fs = std::filesystem;
constexpr int kTestFilesMax = 200;  // of one directory that are read

// Test files of Python in one directory, by what they are called and what they hold.
struct PythonTests {
  bool test_first = false, test_last = false;  // test_a.py, a_test.py
  bool pytest = false;                         // needs it, or reads as if written for it
  bool relative = false;  // takes what lies beside it from its package: "from .helpers import x"

  bool any() const { return test_first || test_last; }
  // For `unittest discover`, which looks for test*.py unless told otherwise and takes one pattern.
  // Of both kinds the wide one is told: it may import a file too many, but leaves out no test.
  std::string pattern() const {
    if (!test_last) return "";
    return test_first ? "*test*.py" : "*_test.py";
  }
  void add(std::string_view name, const std::string& head);
};

bool is_called_python_test(std::string_view name) {
  return name.ends_with(".py") && (name.starts_with("test_") || name.ends_with("_test.py"));
}
// A script that is only called like a test has neither.
bool holds_python_tests(const std::string& head) {
  return head.find("unittest") != std::string::npos || head.find("def test") != std::string::npos;
}
// Tests that unittest would not find: functions, and classes that inherit nothing. Beside a
// TestCase they are taken for its helpers; unittest.mock is no TestCase.
bool has_bare_tests(const std::string& head) {
  if (head.find("TestCase") != std::string::npos) return false;
  return std::ranges::any_of(split_lines(head), [](std::string_view line) {
    return line.starts_with("def test") || line.starts_with("async def test") ||
           (line.starts_with("class Test") && line.find('(') == std::string_view::npos);
  });
}

void PythonTests::add(std::string_view name, const std::string& head) {
  if (!is_called_python_test(name) || !holds_python_tests(head)) return;
  (name.starts_with("test_") ? test_first : test_last) = true;
  pytest = pytest || head.find("import pytest") != std::string::npos ||
           head.find("from pytest") != std::string::npos || has_bare_tests(head);
  relative = relative || head.starts_with("from .") || head.find("\nfrom .") != std::string::npos;
}

PythonTests python_tests_in(const Project& p, const std::string& below) {
  PythonTests out;
  int n_read = 0;
  for (const std::string& name : p.names(below)) {
    if (!is_called_python_test(name)) continue;
    out.add(name, p.head(below.empty() ? name : below + "/" + name));
    if (out.pytest || ++n_read >= kTestFilesMax) break;
  }
  return out;
}

// In the asked file.
PythonTests asked_tests(const Project& p) {
  PythonTests out;
  const std::string name = fs::path(p.path).filename().string();
  if (is_called_python_test(name)) out.add(name, p.head(p.path));
  return out;
}

// One of the sections that begin so: "[tox" is "[tox]" and "[tox:x]".
bool has_section(const std::string& text, std::initializer_list<std::string_view> begins) {
  return std::ranges::any_of(split_lines(text), [&](std::string_view line) {
    return std::ranges::any_of(begins, [&](auto begin) { return line.starts_with(begin); });
  });
}
bool configures_pytest(const Project& p) {
  return p.has("pytest.ini") || has_section(p.text("pyproject.toml"), {"[tool.pytest"}) ||
         has_section(p.text("setup.cfg"), {"[tool:pytest]"}) ||
         has_section(p.text("tox.ini"), {"[pytest]"});
}

// What -k takes for one word of a name, in every version since 5.4.
bool is_name_character(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || (c & 0x80) ||
         std::string_view("_+-.[]").find(c) != std::string_view::npos;
}
bool is_operator(std::string_view word) { return word == "and" || word == "or" || word == "not"; }

// "slow and not db", and not "test_p[x or y]".
bool is_expression(std::string_view filter) {
  bool has_operator = false;
  while (!filter.empty()) {
    const std::size_t end = std::min(filter.find_first_of(" ()"), filter.size());
    const std::string_view word = filter.substr(0, end);
    if (std::ranges::count(word, '[') != std::ranges::count(word, ']') ||
        !std::ranges::all_of(word, is_name_character))
      return false;
    has_operator = has_operator || is_operator(word);
    filter.remove_prefix(std::min(end + 1, filter.size()));
  }
  return has_operator;
}

// The filter for -k, which takes expressions, and parts of single names: "TestA and test_b[x and
// y]" for TestA::test_b[x y]. What it takes no word of is left out.
std::string names_with(const std::string& filter) {
  if (is_expression(filter)) return filter;
  std::string out, word;
  const auto end = [&] {
    if (word.find_first_not_of("[].+-") != std::string::npos && !is_operator(word))
      out += (out.empty() ? "" : " and ") + word;
    word.clear();
  };
  for (const char c : filter) {
    if (is_name_character(c))
      word += c;
    else
      end();
  }
  end();
  return out.empty() ? filter : out;
}

// Without a sandbox others can write to /tmp too, and must not know its name before it is there.
std::string scratch_directory() {
  std::random_device random;
  return fmt::format("/tmp/lares-pytest-{:08x}{:08x}", random(), random());
}

Runner pytest(const Project& p, std::vector<std::string> argv) {
  argv.insert(argv.end(), {"pytest", "-q"});
  if (!p.path.empty()) argv.push_back(p.asked());
  if (!p.filter.empty()) argv.insert(argv.end(), {"-k", names_with(p.filter)});
  Runner out = p.runner(RunnerKind::pytest, argv);
  // Without its cache pytest would not know --ff, --lf and --sw, which a project's own options may
  // have; in the repository it would be a change.
  out.scratch = scratch_directory();
  // As quiet as one -q, whatever the project's own options add: of two, no counts are told.
  out.argv.insert(out.argv.end(), {"--verbosity=-1", "-o", "cache_dir=" + out.scratch, "--color=no",
                                   "--tb=short", "-rfE"});
  return out;
}

// "Class::test" as a pattern of unittest's names: module.Class.test.
std::string unittest_name(const std::string& inside) {
  const std::size_t at = inside.find("::");
  if (at == std::string::npos) return fmt::format("*.{}.*", inside);
  return fmt::format("*.{}.{}", inside.substr(0, at), inside.substr(at + 2));
}
// "Class::test" as a part of one: Class.test.
std::string dotted(std::string filter) {
  for (std::size_t at = 0; (at = filter.find("::", at)) != std::string::npos; ++at)
    filter.replace(at, 2, 1, '.');
  return filter;
}
// Whether the folder is a package of Python's, and all around it below the project's top.
bool is_package(const Project& p, std::string folder) {
  for (; !folder.empty(); folder = fs::path(folder).parent_path().string())
    if (!p.has(folder + "/__init__.py")) return false;
  return true;
}

Runner unittest(const Project& p, std::vector<std::string> argv, std::string folder,
                const PythonTests& tests) {
  argv.insert(argv.end(), {"unittest", "discover"});
  std::string pattern = tests.pattern();
  bool relative = tests.relative;
  if (p.path.ends_with(".py")) {
    folder = fs::path(p.path).parent_path().string();
    pattern = fs::path(p.path).filename().string();
    relative = asked_tests(p).relative;
  } else if (!p.path.empty()) {
    folder = p.path;
    if (const PythonTests own = python_tests_in(p, folder); own.any())
      pattern = own.pattern(), relative = own.relative;
  }
  if (!folder.empty()) argv.insert(argv.end(), {"-s", folder});
  // Otherwise the folder is the top, and its modules are in no package.
  if (!folder.empty() && relative && is_package(p, folder)) argv.insert(argv.end(), {"-t", "."});
  if (!pattern.empty()) argv.insert(argv.end(), {"-p", pattern});
  // Two of -k are the tests of either.
  if (!p.inside.empty())
    argv.insert(argv.end(), {"-k", unittest_name(p.inside)});
  else if (!p.filter.empty())
    argv.insert(argv.end(), {"-k", dotted(p.filter)});
  Runner out = p.runner(RunnerKind::unittest, std::move(argv));
  if (!p.inside.empty() && !p.filter.empty())
    out.note = "unittest takes no filter beside one test; the filter was left out";
  return out;
}

}  // namespace

bool asks_for_python_test(const Project& p) { return asked_tests(p).any(); }

bool is_python_project(const Project& p) {
  return p.has("setup.py") || configures_pytest(p) ||
         has_section(p.text("pyproject.toml"), {"[project]", "[build-system]", "[tool.poetry"}) ||
         has_section(p.text("setup.cfg"), {"[metadata]", "[options]"}) ||
         has_section(p.text("tox.ini"), {"[tox", "[testenv"});
}

std::optional<Runner> python(const Project& p) {
  std::string folder;
  PythonTests tests;
  for (const char* below : {"tests", "test", ""}) {
    tests = python_tests_in(p, below);
    folder = below;
    if (tests.any()) break;
  }
  const bool configured = configures_pytest(p) || p.has("conftest.py") ||
                          p.has("tests/conftest.py");
  const PythonTests asked = asked_tests(p);
  if (!tests.any() && !asked.any() && !configured) return std::nullopt;
  const bool venv = p.has(".venv/bin/python");
  const std::vector<std::string> argv = {venv ? ".venv/bin/python" : "python3", "-m"};
  Runner out = configured || tests.pytest || asked.pytest ? pytest(p, argv)
                                                          : unittest(p, argv, folder, tests);
  out.weak = folder.empty() && !configured && !is_python_project(p);
  return out;
}

}  // namespace lares::tools
