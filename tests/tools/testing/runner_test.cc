#include "tools/testing/runner.h"

#include <algorithm>
#include <map>
#include <string>

#include "tests/tools/scratch.h"

namespace lares::tools {
namespace {

using Files = std::map<std::string, std::string>;

constexpr const char* kUnittest =
    "import unittest\n\nclass T(unittest.TestCase):\n    def test_a(self):\n        pass\n";
constexpr const char* kPytest = "def test_a():\n    assert True\n";
constexpr const char* kScript = "import sys\n\nif __name__ == '__main__':\n    sys.exit(0)\n";
constexpr const char* kMakefile = "test:\n\ttrue\n";
constexpr const char* kPackage = R"({"scripts": {"test": "node run.js"}})";

std::string shown(const Files& files, const std::string& path = "",
                  const std::string& filter = "") {
  test::Scratch dir;
  for (const auto& [name, text] : files) dir.write(name, text);
  const auto runner = find_runner(dir.root(), path, filter);
  if (!runner) return runner.error().substr(0, runner.error().find(": looked"));
  return runner->shown + (runner->note.empty() ? "" : " [" + runner->note + "]");
}

struct Case {
  std::string what;
  Files files;
  std::string want, path = "", filter = "";
};
void check(const std::vector<Case>& cases) {
  for (const Case& c : cases) EXPECT_EQ(shown(c.files, c.path, c.filter), c.want) << c.what;
}

// -k takes an expression of parts of single names.
TEST(Runner, AFilterIsMadeWhatPythonsRunnersTake) {
  const Files pytest = {{"tests/test_a.py", kPytest}}, unittest = {{"tests/test_a.py", kUnittest}};
  const std::string runs = "python3 -m pytest -q ";
  check({
      {"a part", pytest, runs + "-k test_p", "", "test_p"},
      {"parameters", pytest, runs + "-k 'test_p[1-a.b]'", "", "test_p[1-a.b]"},
      {"with a blank", pytest, runs + "-k 'test_p[x and y]'", "", "test_p[x y]"},
      {"like an expression", pytest, runs + "-k 'test_p[x and y]'", "", "test_p[x or y]"},
      {"of signs", pytest, runs + "-k 'test_p[f and x'", "", "test_p[f(x)]"},
      {"in a class", pytest, runs + "-k 'TestA and test_b'", "", "TestA::test_b"},
      {"of a file", pytest, runs + "tests/test_a.py::test_b", "", "tests/test_a.py::test_b"},
      {"an expression", pytest, runs + "-k 'slow and not (db or net)'", "",
       "slow and not (db or net)"},
      {"unittest, in a class", unittest, "python3 -m unittest discover -s tests -k TestA.test_b",
       "", "TestA::test_b"},
  });
}

// A second -q, of the project's own options, would leave no line of counts.
TEST(Runner, PytestIsAsQuietAsOneOptionMakesIt) {
  test::Scratch dir;
  dir.write("pytest.ini", "[pytest]\naddopts = -ra -q\n");
  dir.write("test_a.py", kPytest);
  const auto runner = find_runner(dir.root(), "", "");
  ASSERT_TRUE(runner) << runner.error();
  EXPECT_EQ(std::ranges::count(runner->argv, "--verbosity=-1"), 1);
}

// `addopts = --lf` is an error without it, and with a cache of its own it selects nothing.
TEST(Runner, PytestKeepsItsCacheOutOfTheRepositoryAndOfEarlierRuns) {
  test::Scratch dir;
  dir.write("test_a.py", kPytest);
  const auto runner = find_runner(dir.root(), "", ""), other = find_runner(dir.root(), "", "");
  ASSERT_TRUE(runner && other);
  EXPECT_TRUE(runner->scratch.starts_with("/tmp/")) << runner->scratch;
  EXPECT_NE(runner->scratch, other->scratch);
  EXPECT_EQ(std::ranges::count(runner->argv, "cache_dir=" + runner->scratch), 1);
  EXPECT_EQ(std::ranges::count(runner->argv, "no:cacheprovider"), 0);
}

TEST(Runner, TheFilesOfAPythonSuiteAreTheOnesThatAreRun) {
  check({
      {"unittest's own names",
       {{"tests/test_a.py", kUnittest}},
       "python3 -m unittest discover -s tests"},
      {"the other names",
       {{"tests/a_test.py", kUnittest}},
       "python3 -m unittest discover -s tests -p '*_test.py'"},
      {"both",
       {{"tests/a_test.py", kUnittest}, {"tests/test_b.py", kUnittest}},
       "python3 -m unittest discover -s tests -p '*test*.py'"},
      {"a script counts for neither",
       {{"tests/a_test.py", kScript}, {"tests/test_b.py", kUnittest}},
       "python3 -m unittest discover -s tests"},
      {"a script alone is no suite", {{"tests/a_test.py", kScript}}, "No tests were found"},
      {"nor hides another",
       {{"tests/a_test.py", kScript}, {"test_b.py", kUnittest}},
       "python3 -m unittest discover"},
      {"of the asked directory",
       {{"tests/test_a.py", kUnittest}, {"tests/unit/b_test.py", kUnittest}},
       "python3 -m unittest discover -s tests/unit -p '*_test.py'",
       "tests/unit"},
      {"the asked file",
       {{"tests/a_test.py", kUnittest}, {"tests/test_b.py", kUnittest}},
       "python3 -m unittest discover -s tests -p a_test.py",
       "tests/a_test.py"},
  });
}

TEST(Runner, WhatIsWrittenForPytestIsRunByIt) {
  const std::string pytest = "python3 -m pytest -q";
  check({
      {"functions", {{"tests/a_test.py", kPytest}}, pytest},
      {"beside a mock",
       {{"tests/test_a.py", std::string("from unittest import mock\n\n") + kPytest}},
       pytest},
      {"a class of no parent",
       {{"tests/test_a.py", "class TestA:\n    def test_a(self):\n        pass\n"}},
       pytest},
      {"a TestCase's class of helpers",
       {{"tests/test_a.py", "class TestA:\n    pass\n\n" + std::string(kUnittest)}},
       "python3 -m unittest discover -s tests"},
      {"an import", {{"tests/test_a.py", std::string("import pytest\n") + kUnittest}}, pytest},
      {"a configuration", {{"pytest.ini", ""}, {"tests/test_a.py", kUnittest}}, pytest},
      {"a conftest.py", {{"tests/conftest.py", ""}, {"tests/test_a.py", kUnittest}}, pytest},
      {"one of two", {{"tests/test_a.py", kUnittest}, {"tests/test_b.py", kPytest}}, pytest},
      {"the asked one",
       {{"tests/test_a.py", kUnittest}, {"more/test_b.py", kPytest}, {"setup.py", ""}},
       pytest + " more/test_b.py",
       "more/test_b.py"},
  });
}

TEST(Runner, WhatIsWrittenDownComesBeforeWhatOnlyLiesThere) {
  const Files others[] = {{{"Cargo.toml", ""}},
                          {{"go.mod", ""}},
                          {{"build/CTestTestfile.cmake", ""}},
                          {{"package.json", kPackage}},
                          {{"Makefile", kMakefile}}};
  const std::string want[] = {"cargo test --no-fail-fast", "go test ./...",
                              "ctest --test-dir build --output-on-failure --no-tests=error",
                              "npm test", "make test"};
  const std::string unittest = "python3 -m unittest discover -s tests";
  for (std::size_t i = 0; i < std::size(others); ++i) {
    const auto with = [&](Files files) {
      files.insert(others[i].begin(), others[i].end());
      return files;
    };
    check({
        {"a script", with({{"tests/a_test.py", kScript}}), want[i]},
        {"a suite", with({{"tests/test_a.py", kUnittest}}), want[i]},
        {"a suite for pytest", with({{"tests/test_a.py", kPytest}}), want[i]},
        {"of its own settings", with({{"tests/conftest.py", ""}, {"tests/test_a.py", kPytest}}),
         want[i]},
        {"loose files of node", with({{"tests/a.test.js", ""}}), want[i]},
        {"a formatter's settings",
         with({{"pyproject.toml", "[tool.ruff]\nline-length = 100\n"},
               {"setup.cfg", "[flake8]\n"},
               {"tox.ini", "[flake8]\n"},
               {"tests/test_a.py", kUnittest}}),
         want[i]},
        {"setup.py", with({{"setup.py", ""}, {"tests/test_a.py", kUnittest}}), unittest},
        {"pyproject.toml",
         with({{"pyproject.toml", "[project]\nname = 'x'\n"}, {"tests/test_a.py", kUnittest}}),
         unittest},
        {"setup.cfg", with({{"setup.cfg", "[metadata]\n"}, {"tests/test_a.py", kUnittest}}),
         unittest},
        {"tox.ini", with({{"tox.ini", "[tox]\n"}, {"tests/test_a.py", kUnittest}}), unittest},
        {"pytest.ini", with({{"pytest.ini", "[pytest]\n"}, {"tests/test_a.py", kUnittest}}),
         "python3 -m pytest -q"},
        {"a project without tests", with({{"setup.py", ""}, {"tests/a_test.py", kScript}}),
         want[i]},
    });
  }
  check({
      {"no goal", {{"Makefile", "all:\n"}, {"tests/test_a.py", kUnittest}}, unittest},
      {"not built", {{"CMakeLists.txt", ""}, {"tests/test_a.py", kUnittest}}, unittest},
      {"no script", {{"package.json", "{}"}, {"tests/test_a.py", kUnittest}}, unittest},
      {"no script, but files", {{"package.json", "{}"}, {"test/a.js", ""}}, "node --test"},
  });
}

TEST(Runner, TheAskedFileChoosesItsLanguage) {
  const Files mixed = {{"Makefile", kMakefile},
                       {"Cargo.toml", ""},
                       {"setup.py", ""},
                       {"package.json", kPackage},
                       {"tests/test_a.py", kUnittest},
                       {"tests/b.rs", ""},
                       {"tests/script_test.py", kScript},
                       {"web/c.ts", ""}};
  Files unnamed = mixed;
  unnamed.erase("setup.py"), unnamed.erase("package.json");
  Files deep = {{"Makefile", kMakefile}, {"tests/py/test_a.py", kUnittest}};
  check({
      {"all", mixed, "python3 -m unittest discover -s tests"},
      {"Rust", mixed, "cargo test --no-fail-fast --test b", "tests/b.rs"},
      {"Node", mixed,
       "npm test [the `test` script takes neither path nor filter; all tests were run]",
       "web/c.ts"},
      {"Python that no file names", unnamed, "python3 -m unittest discover -s tests -p test_a.py",
       "tests/test_a.py"},
      {"a script is none of its tests", unnamed,
       "cargo test --no-fail-fast [cargo knows targets and modules, and the path is neither; all "
       "tests were run]",
       "tests/script_test.py"},
      {"Python where no suite is looked for", deep,
       "cd tests/py && python3 -m unittest discover -p test_a.py", "tests/py/test_a.py"},
  });
}

TEST(Runner, CargoRunsTheModuleOfAPath) {
  Files crate = {{"Cargo.toml", ""}};
  for (const char* name :
       {"src/lib.rs", "src/main.rs", "src/a.rs", "src/b/mod.rs", "src/b/c.rs", "src/bin/x.rs",
        "src/bin/y/main.rs", "src/bin/y/z.rs", "tests/one.rs", "tests/two/main.rs",
        "tests/two/part.rs", "tests/common/mod.rs", "examples/e.rs", "benches/f.rs", "build.rs"})
    crate[name] = "";
  const std::string all = "cargo test --no-fail-fast",
                    neither = all +
                              " [cargo knows targets and modules, and the path is neither; "
                              "all tests were run]";
  const std::pair<const char*, std::string> cases[] = {
      {"", all},
      {"src/lib.rs", all + " --lib"},
      {"src/main.rs", all + " --bins"},
      {"src/a.rs", all + " a::"},
      {"src/b", all + " b::"},
      {"src/b/mod.rs", all + " b::"},
      {"src/b/c.rs", all + " b::c::"},
      {"src/bin/x.rs", all + " --bin x"},
      {"src/bin/y", all + " --bin y"},
      {"src/bin/y/main.rs", all + " --bin y"},
      {"src/bin/y/z.rs", all + " --bin y z::"},
      {"tests", all + " --test '*'"},
      {"tests/one.rs", all + " --test one"},
      {"tests/two", all + " --test two"},
      {"tests/two/part.rs", all + " --test two part::"},
      {"tests/common/mod.rs", neither},
      {"examples/e.rs", all + " --example e"},
      {"benches/f.rs", all + " --bench f"},
      {"build.rs", neither},
      {"src", all + " --lib --bins"},
  };
  for (const auto& [path, want] : cases) check({{path, crate, want, path}});
}

TEST(Runner, AStrayFileHidesNoProjectBesideIt) {
  check({
      {"one below the root",
       {{"scripts/a_test.py", kUnittest}, {"server/Cargo.toml", ""}},
       "cd server && cargo test --no-fail-fast"},
      {"where there is nothing else",
       {{"scripts/a_test.py", kUnittest}},
       "cd scripts && python3 -m unittest discover -p '*_test.py'"},
      {"around the asked file",
       {{"src/x.c", ""}, {"src/test_x.py", kUnittest}, {"Makefile", kMakefile}},
       "make test [make takes neither path nor filter; all tests were run]",
       "src/x.c"},
      {"a project around it",
       {{"py/setup.py", ""}, {"py/test_x.py", kUnittest}, {"Makefile", kMakefile}},
       "cd py && python3 -m unittest discover",
       "py"},
  });
}

Files package(const std::string& script) {
  return {{"package.json", nlohmann::json{{"scripts", {{"test", script}}}}.dump()},
          {"src/a.test.ts", ""},
          {"tests/a.test.js", ""}};
}
TEST(Runner, AScriptOfNodesIsRunAsItIsWritten) {
  const std::string all = " [the `test` script takes neither path nor filter; all tests were run]";
  check({
      {"nothing more", package("node --test"), "node --test"},
      {"its files", package("node --test tests/"), "node --test tests/"},
      {"its options", package("node --import tsx --test --watch 'src/**/*.test.ts'"),
       "node --test --import tsx 'src/**/*.test.ts'"},
      {"another report", package("node --test --test-reporter spec --test-reporter=dot x.js"),
       "node --test x.js"},
      {"a path in place of its files", package("node --test --import tsx src/*.ts"),
       "node --test --import tsx src/a.test.ts", "src/a.test.ts"},
      {"a filter beside them", package("node --test --import tsx src/*.ts"),
       "node --test --import tsx --test-name-pattern=low src/*.ts", "", "low"},
      {"what the shell does is left to it", package("node --test tests | tee log"),
       "npm test" + all, "tests"},
      {"a comment too", package("node --test # all"), "npm test" + all, "tests"},
      {"and a blank in quotes", package("node --test 'my tests'"), "npm test" + all, "tests"},
      {"another program", package("node run.js"), "npm test" + all, "tests"},
  });
}

TEST(Runner, AFilterIsPartOfANameUnlessItIsWrittenAsAPattern) {
  const Files node = {{"test/a.js", ""}}, go = {{"go.mod", ""}},
              ctest = {{"build/CTestTestfile.cmake", ""}};
  const std::string in_node = "node --test --test-name-pattern=", in_go = "go test -run ",
                    in_ctest = "ctest --test-dir build --output-on-failure --no-tests=error -R ";
  check({
      {"brackets", node, "node --test '--test-name-pattern=f\\(\\) is \\[1\\.5\\]'", "",
       "f() is [1.5]"},
      {"a word", node, in_node + "low", "", "low"},
      {"anchors", go, in_go + "'^TestA$' ./...", "", "^TestA$"},
      {"either", go, in_go + "'TestA|TestB' ./...", "", "TestA|TestB"},
      {"anything between", ctest, in_ctest + "'low.*high'", "", "low.*high"},
      {"a C++ name", ctest, in_ctest + "'c\\+\\+'", "", "c++"},
  });
}

TEST(Runner, ATestInsideAFileIsNoMissingFile) {
  const Files unittest = {{"tests/test_a.py", kUnittest}, {"other/test_b.py", kUnittest}};
  const Files pytest = {{"tests/test_a.py", kPytest}, {"other/test_b.py", kPytest}};
  check({
      {"pytest", pytest, "python3 -m pytest -q tests/test_a.py::test_a", "tests/test_a.py::test_a"},
      {"and a filter", pytest, "python3 -m pytest -q 'tests/test_a.py::test_a[1]' -k x",
       "tests/test_a.py::test_a[1]", "x"},
      {"unittest", unittest, "python3 -m unittest discover -s tests -p test_a.py -k '*.T.test_a'",
       "./tests/test_a.py::T::test_a"},
      {"its class", unittest, "python3 -m unittest discover -s tests -p test_a.py -k '*.T.*'",
       "tests/test_a.py::T"},
      {"and a filter, which would be a second choice", unittest,
       "python3 -m unittest discover -s tests -p test_a.py -k '*.T.test_a' [unittest takes no "
       "filter "
       "beside one test; the filter was left out]",
       "tests/test_a.py::T::test_a", "x"},
      {"handed on",
       {{".lares/test", ""}, {"tests/test_a.py", kPytest}},
       "sh .lares/test tests/test_a.py::test_a",
       "tests/test_a.py::test_a"},
      {"no such file", unittest,
       "The path tests/test_b.py::T does not exist. There is other/test_b.py.",
       "tests/test_b.py::T"},
  });
}

}  // namespace
}  // namespace lares::tools
