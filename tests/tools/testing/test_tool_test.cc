#include "tools/testing/test_tool.h"

#include <signal.h>

#include <chrono>
#include <future>
#include <optional>
#include <regex>

#include "tests/tools/scratch.h"
#include "tools/testing/report.h"
#include "tools/testing/run.h"
#include "tools/testing/runner_output.h"

namespace lares::tools {
namespace {

using nlohmann::json;

bool has_pytest() { return std::system("python3 -c 'import pytest' 2>/dev/null") == 0; }
bool has(const std::string& program) {
  return std::system(("command -v " + program + " >/dev/null 2>&1").c_str()) == 0;
}

class TestRuns : public testing::Test {
 protected:
  TestRuns() { ::signal(SIGPIPE, SIG_IGN); }
  Outcome run(json args = json::object(), int timeout_ms = 50'000) {
    TestTool tool(BuiltinOptions{.root = dir_.root(),
                                 .state_dir = state_.root(),
                                 .sandbox_launcher = test::launcher(),
                                 .no_sandbox = true,
                                 .command_timeout_ms = timeout_ms});
    auto result = test::call(io_, tool, std::move(args));
    return result ? *result : Outcome{"BROKEN: " + result.error().message, false, {}};
  }
  std::optional<BuiltinOptions> in_sandbox() {
    const BuiltinOptions options{
        .root = dir_.root(), .state_dir = state_.root(), .sandbox_launcher = test::launcher()};
    std::string reason;
    asio::co_spawn(io_, shell_unavailable_reason(options),
                   [&](std::exception_ptr, std::string why) { reason = std::move(why); });
    io_.run();
    if (!reason.empty()) return std::nullopt;
    return options;
  }
  test::Scratch dir_, state_;
  asio::io_context io_;
};

constexpr const char* kPythonTest =
    "import unittest\n\nfrom src.clamp import clamp\n\n\nclass Tests(unittest.TestCase):\n    def "
    "test_clamp(self):\n"
    "        self.assertEqual(clamp(9, 0, 5), 5)\n\n    def test_low(self):\n        "
    "self.assertEqual(clamp(-1, 0, 5), 0)\n";

TEST_F(TestRuns, Unittest) {
  dir_.write("src/clamp.py", "def clamp(x, low, high):\n    return max(low, x)\n");
  dir_.write("tests/test_clamp.py", kPythonTest);
  const Outcome out = run();
  EXPECT_FALSE(out.ok);
  EXPECT_EQ(out.text,
            "1 of 2 tests failed (python3 -m unittest discover -s tests)\n"
            "FAIL tests/test_clamp.py:8 test_clamp\n"
            "  self.assertEqual(clamp(9, 0, 5), 5)\n"
            "  AssertionError: 9 != 5");
  // Same size, same second: a cached module would still be the wrong one.
  dir_.write("src/clamp.py", "def clamp(x, low, high):\n    return min(high, max(low, x))\n");
  EXPECT_EQ(run().text, "2 tests passed (python3 -m unittest discover -s tests)");
  EXPECT_EQ(run({{"filter", "low"}}).text,
            "1 test passed (python3 -m unittest discover -s tests -k low)");
  EXPECT_EQ(run({{"path", "tests/test_clamp.py"}}).text,
            "2 tests passed (python3 -m unittest discover -s tests -p test_clamp.py)");
  EXPECT_EQ(run({{"path", dir_.at("tests/test_clamp.py")}}).text,
            "2 tests passed (python3 -m unittest discover -s tests -p test_clamp.py)");
  EXPECT_FALSE(std::filesystem::exists(dir_.at("src/__pycache__")));
}
TEST_F(TestRuns, UnittestFindsFilesOfEitherName) {
  const std::string text =
      "import unittest\n\nclass T(unittest.TestCase):\n    def test_x(self):\n        pass\n"
      "    def test_xy(self):\n        pass\n";
  dir_.write("tests/a_test.py", text);
  EXPECT_EQ(run().text, "2 tests passed (python3 -m unittest discover -s tests -p '*_test.py')");
  dir_.write("tests/test_b.py", text);
  EXPECT_EQ(run().text, "4 tests passed (python3 -m unittest discover -s tests -p '*test*.py')");
  EXPECT_EQ(run({{"path", "tests/a_test.py::T::test_x"}}).text,
            "1 test passed (python3 -m unittest discover -s tests -p a_test.py -k '*.T.test_x')");
}
TEST_F(TestRuns, UnittestInAPackage) {
  dir_.write("tests/__init__.py", "");
  dir_.write("tests/helpers.py", "ONE = 1\n");
  const auto text = [](const std::string& from) {
    return "import unittest\nfrom " + from +
           "helpers import ONE\n\nclass T(unittest.TestCase):\n    def test_x(self):\n        "
           "self.assertEqual(ONE, 1)\n";
  };
  dir_.write("tests/test_a.py", text("."));
  dir_.write("tests/unit/__init__.py", "");
  dir_.write("tests/unit/test_b.py", text(".."));
  dir_.write("plain/__init__.py", "");
  dir_.write("plain/helpers.py", "ONE = 1\n");
  dir_.write("plain/test_c.py", text(""));
  EXPECT_EQ(run().text, "2 tests passed (python3 -m unittest discover -s tests -t .)");
  EXPECT_EQ(run({{"path", "tests/unit"}}).text,
            "1 test passed (python3 -m unittest discover -s tests/unit -t .)");
  EXPECT_EQ(run({{"path", "tests/unit/test_b.py::T::test_x"}}).text,
            "1 test passed (python3 -m unittest discover -s tests/unit -t . -p test_b.py -k "
            "'*.T.test_x')");
  EXPECT_EQ(run({{"path", "plain"}}).text, "1 test passed (python3 -m unittest discover -s plain)");
}
TEST_F(TestRuns, UnittestErrorsSubtestsSkipsAndBadImports) {
  dir_.write("lib.py", "def half(x):\n    return x / 0\n");
  dir_.write("test_a.py",
             "import unittest\nfrom lib import half\n\nclass T(unittest.TestCase):\n"
             "    def test_half(self):\n        half(2)\n"
             "    def test_sub(self):\n        for i in range(3):\n            with "
             "self.subTest(i=i):\n                self.assertEqual(i, 1)\n"
             "    @unittest.skip('x')\n    def test_skipped(self):\n        pass\n"
             "    def test_good(self):\n        pass\n");
  dir_.write("test_b.py", "import unittest\nimport nosuchmodule\n");
  const Outcome out = run();
  EXPECT_EQ(out.text,
            "3 of 4 tests failed, 1 skipped (python3 -m unittest discover)\n"
            "FAIL test_a.py:6 test_half\n  half(2)\n  at lib.py:2: return x / 0\n  "
            "ZeroDivisionError: division by zero\n"
            "FAIL test_b.py:2 test_b\n  import nosuchmodule\n  ModuleNotFoundError: No module "
            "named 'nosuchmodule'\n"
            "FAIL test_a.py:10 test_sub (i=0)\n  self.assertEqual(i, 1)\n  AssertionError: 0 != 1\n"
            "FAIL test_a.py:10 test_sub (i=2)\n  self.assertEqual(i, 1)\n  AssertionError: 2 != 1");
}
TEST_F(TestRuns, UnittestFailuresAreCappedAndCounted) {
  std::string text = "import unittest\nclass T(unittest.TestCase):\n";
  for (int i = 10; i < 40; ++i)
    text += "    def test_" + std::to_string(i) + "(self):\n        self.assertEqual(1, 2)\n";
  dir_.write("tests/test_many.py", text);
  const Outcome out = run();
  EXPECT_TRUE(out.text.starts_with("30 of 30 tests failed (")) << out.text;
  EXPECT_NE(out.text.find("\n[20 more failures]\n[the full output is in "), std::string::npos)
      << out.text;
}

TEST_F(TestRuns, Node) {
  if (!has("node")) GTEST_SKIP() << "node is not installed";
  dir_.write("src/clamp.js",
             "function clamp(x, low, high) {\n  return Math.max(low, x);\n}\nmodule.exports = { "
             "clamp };\n");
  dir_.write(
      "test/clamp.test.js",
      "const test = require(\"node:test\");\nconst assert = require(\"node:assert\");\n"
      "const { clamp } = require(\"../src/clamp.js\");\n\ntest(\"clamp keeps the bound\", () => {\n"
      "  assert.strictEqual(clamp(9, 0, 5), 5);\n});\n\ntest(\"low\", () => {\n  "
      "assert.strictEqual(clamp(-1, 0, 5), 0);\n});\n");
  EXPECT_EQ(run().text,
            "1 of 2 tests failed (node --test)\n"
            "FAIL test/clamp.test.js:6 clamp keeps the bound\n"
            "  assert.strictEqual(clamp(9, 0, 5), 5);\n"
            "  9 !== 5");
  dir_.write("src/clamp.js",
             "exports.clamp = (x, low, high) => Math.min(high, Math.max(low, x));\n");
  const Outcome out = run();
  EXPECT_TRUE(out.ok);
  EXPECT_EQ(out.text, "2 tests passed (node --test)");
}
TEST_F(TestRuns, NodeRunsWhatItsScriptNamesAndTheTestsBelowAPath) {
  if (!has("node")) GTEST_SKIP() << "node is not installed";
  const auto test = [](const std::string& name) {
    return "require('node:test')('" + name +
           "', () => { if (!globalThis.loaded) throw new Error('not'); });\n";
  };
  dir_.write("setup.js", "globalThis.loaded = true;\n");
  dir_.write("spec/a.spec.js", test("f(1) is 2"));
  dir_.write("more/deep/b.test.js", test("b"));
  dir_.write("more/node_modules/c.test.js", test("c"));
  dir_.write("more/helper.js", "throw new Error('no test');\n");
  dir_.write("package.json",
             R"({"scripts": {"test": "node --require ./setup.js --test spec/*.spec.js"}})");
  EXPECT_EQ(run().text, "1 test passed (node --test --require ./setup.js spec/*.spec.js)");
  EXPECT_EQ(run({{"path", "more"}}).text, "1 test passed (node --test --require ./setup.js more)");
  EXPECT_EQ(run({{"filter", "f(1)"}}).text,
            "1 test passed (node --test --require ./setup.js '--test-name-pattern=f\\(1\\)' "
            "spec/*.spec.js)");
}
TEST_F(TestRuns, NodeGroupsThrowersAndFilesThatDoNotLoad) {
  if (!has("node")) GTEST_SKIP() << "node is not installed";
  dir_.write("lib.js", "exports.f = (a) => a.length;\n");
  dir_.write(
      "test/a.test.js",
      "const { describe, it, test } = require('node:test');\nconst { f } = require('../lib');\n"
      "describe('group', () => {\n  it('good', () => {});\n  it('bad', () => {\n    f(null);\n  "
      "});\n});\ntest.skip('later', () => {});\n");
  dir_.write("test/b.test.js", "require('../nosuch');\n");
  const Outcome out = run();
  EXPECT_TRUE(out.text.starts_with("2 of 3 tests failed, 1 skipped (node --test)\n")) << out.text;
  EXPECT_NE(out.text.find("FAIL test/a.test.js:6 bad\n  f(null);\n  at lib.js:1: exports.f = (a) "
                          "=> a.length;\n  TypeError: Cannot read"),
            std::string::npos)
      << out.text;
  EXPECT_NE(out.text.find("Error: Cannot find module '../nosuch'"), std::string::npos) << out.text;
}

TEST_F(TestRuns, Make) {
  if (!has("cc") || !has("make")) GTEST_SKIP() << "cc or make is not installed";
  dir_.write("Makefile", "test:\n\tcc -o run_tests tests/*.c src/*.c && ./run_tests\n");
  dir_.write("src/clamp.h", "int clamp(int x, int low, int high);\n");
  dir_.write(
      "src/clamp.c",
      "#include \"clamp.h\"\nint clamp(int x, int low, int high) { return x < low ? low : x; }\n");
  dir_.write("tests/test_clamp.c",
             "#include <stdio.h>\n#include \"../src/clamp.h\"\n\nint main(void) {\n  int got = "
             "clamp(9, 0, 5);\n"
             "  if (got != 5) {\n    fflush(stdout);\n    printf(\"%s:%d: clamp(9, 0, 5) is %d, "
             "expected 5\\n\", __FILE__, __LINE__, got);\n    return 1;\n  }\n  return 0;\n}\n");
  EXPECT_EQ(run().text,
            "tests failed (make test, exit status 2)\n  tests/test_clamp.c:8: clamp(9, 0, 5) is 9, "
            "expected 5");
  dir_.write(
      "src/clamp.c",
      "int clamp(int x, int low, int high) { return x < low ? low : x > high ? high : x; }\n");
  const Outcome out = run();
  EXPECT_TRUE(out.ok);
  EXPECT_EQ(out.text, "tests passed (make test)");
  dir_.write("src/clamp.c", "int clamp(int x, int low, int high) { return y; }\n");
  EXPECT_NE(run().text.find("\n  src/clamp.c:1:46: error: "), std::string::npos) << run().text;
}
TEST_F(TestRuns, WithoutPlacesTheLastLinesAreShown) {
  dir_.write(".lares/test",
             "i=0; while [ $i -lt 50 ]; do echo line $i; i=$((i+1)); done; exit 4\n");
  const Outcome out = run();
  EXPECT_TRUE(out.text.starts_with("tests failed (sh .lares/test, exit status 4)\n  line 30\n"))
      << out.text;
  EXPECT_TRUE(out.text.ends_with("\n  line 49")) << out.text;
}
TEST_F(TestRuns, NpmScript) {
  if (!has("npm")) GTEST_SKIP() << "npm is not installed";
  dir_.write("package.json", R"({"name":"x","scripts":{"test":"sh -c 'exit 3'"}})");
  EXPECT_TRUE(run().text.starts_with("tests failed (npm test, exit status 3)"));
  dir_.write("package.json", R"({"name":"x","scripts":{"test":"true"}})");
  EXPECT_EQ(run().text, "tests passed (npm test)");
}
TEST_F(TestRuns, Ctest) {
  if (!has("ctest")) GTEST_SKIP() << "ctest is not installed";
  dir_.write("build/CTestTestfile.cmake",
             "add_test(good true)\nadd_test(bad sh -c \"echo so bad; exit 1\")\n");
  EXPECT_EQ(run().text,
            "1 of 2 tests failed (ctest --test-dir build --output-on-failure "
            "--no-tests=error)\nFAIL bad\n  so bad");
}
TEST_F(TestRuns, Cargo) {
  if (!has("cargo")) GTEST_SKIP() << "cargo is not installed";
  dir_.write("Cargo.toml", "[package]\nname = \"x\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
  dir_.write("src/lib.rs",
             "#[test]\nfn bad() {\n    assert_eq!(9, 5);\n}\n#[test]\nfn good() {}\n");
  const Outcome out = run();
  EXPECT_TRUE(
      out.text.starts_with("1 of 2 tests failed (cargo test --no-fail-fast)\nFAIL src/lib.rs:3 "
                           "bad\n  assert_eq!(9, 5);\n"))
      << out.text;
}
TEST_F(TestRuns, Pytest) {
  if (!has_pytest()) GTEST_SKIP() << "pytest is not installed";
  dir_.write("tests/test_a.py",
             "import pytest\n\ndef test_bad():\n    assert 9 == 5\n\ndef test_good():\n    pass\n");
  EXPECT_EQ(run().text,
            "1 of 2 tests failed (python3 -m pytest -q)\nFAIL tests/test_a.py:4 test_bad\n  assert "
            "9 == 5\n  assert 9 == 5");
}
TEST_F(TestRuns, PytestWithOptionsOfItsCache) {
  if (!has_pytest()) GTEST_SKIP() << "pytest is not installed";
  dir_.write("pytest.ini", "[pytest]\naddopts = --lf --ff --sw --strict-config\ncache_dir = .c\n");
  dir_.write("conftest.py",
             "def pytest_unconfigure(config):\n    import os\n    path = config.cache._cachedir\n"
             "    assert os.listdir(path) and os.stat(path).st_mode & 0o777 == 0o700\n    "
             "open('cache', 'w').write(str(path))\n");
  dir_.write("test_a.py", "def test_bad():\n    assert 9 == 5\n\ndef test_good():\n    pass\n");
  const std::string want =
      "1 of 1 test failed (python3 -m pytest -q)\nFAIL test_a.py:2 test_bad\n  assert 9 == 5\n  "
      "assert 9 == 5";
  EXPECT_EQ(run().text, want);
  dir_.write("test_a.py", "def test_bad():\n    pass\n\ndef test_good():\n    pass\n");
  EXPECT_EQ(run().text, "2 tests passed (python3 -m pytest -q)");
  const std::string cache = dir_.read("cache");
  EXPECT_TRUE(cache.starts_with("/tmp/")) << cache;
  EXPECT_FALSE(std::filesystem::exists(cache)) << cache;
  EXPECT_FALSE(std::filesystem::exists(dir_.at(".c")));
}
TEST_F(TestRuns, Go) {
  if (!has("go")) GTEST_SKIP() << "go is not installed";
  dir_.write("go.mod", "module example.com/x\n\ngo 1.19\n");
  dir_.write("a_test.go",
             "package x\n\nimport \"testing\"\n\nfunc TestBad(t *testing.T) {\n\tt.Errorf(\"got "
             "9\")\n}\n");
  EXPECT_EQ(run().text,
            "1 of 1 test failed (go test ./...)\nFAIL a_test.go:6 TestBad\n  t.Errorf(\"got 9\")\n "
            " got 9");
}

TEST_F(TestRuns, TimeoutIsSaid) {
  dir_.write(".lares/test", "echo begun; sleep 60\n");
  EXPECT_EQ(run(json::object(), 1000).text,
            "tests timed out after 1 seconds (sh .lares/test); the user's setting command_timeout "
            "allows no longer\n  begun");
}
// What took no time before and does not end now hangs; what may compile is given the time there is.
TEST_F(TestRuns, QuickTestsThatHangAreStoppedBeforeTheLimit) {
  dir_.write("tests/test_a.py",
             "import unittest\nfrom tests.lib import f\n\nclass T(unittest.TestCase):\n    def "
             "test_f(self):\n        self.assertEqual(f(), 1)\n");
  dir_.write("tests/__init__.py", ""), dir_.write("tests/lib.py", "def f():\n    return 1\n");
  TestTool tool(BuiltinOptions{.root = dir_.root(),
                               .state_dir = state_.root(),
                               .sandbox_launcher = test::launcher(),
                               .no_sandbox = true},
                std::chrono::seconds(2));
  const auto text = [&] { return test::call(io_, tool, json::object())->text; };
  EXPECT_EQ(text(), "1 test passed (python3 -m unittest discover -s tests)");
  dir_.write("tests/lib.py", "def f():\n    while True:\n        pass\n");
  const auto began = std::chrono::steady_clock::now();
  const std::string late = text();
  EXPECT_TRUE(std::regex_match(
      late,
      std::regex(
          R"(tests timed out after \d+ seconds \(python3 -m unittest discover -s tests; they took \d+\.\d seconds before: is there a loop that does not end\?\))")))
      << late;
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(100));  // 20 times of
                                                                                   // what they took
  dir_.write("tests/lib.py", "def f():\n    return 1\n");
  EXPECT_EQ(text(), "1 test passed (python3 -m unittest discover -s tests)");
}
// Neither does a failed import tell how long the tests take, nor do they hang for ever.
TEST_F(TestRuns, OnlyWhatPassedTellsHowLongTestsTake) {
  constexpr const char* kHangs =
      "import unittest\n\nclass T(unittest.TestCase):\n    def test_f(self):\n        while True: "
      "pass\n";
  TestTool tool(BuiltinOptions{.root = dir_.root(),
                               .state_dir = state_.root(),
                               .sandbox_launcher = test::launcher(),
                               .no_sandbox = true,
                               .command_timeout_ms = 10000},
                std::chrono::seconds(1));
  const auto text = [&](const std::string& test) {
    dir_.write("tests/test_a.py", test);
    return test::call(io_, tool, json::object())->text;
  };
  const auto says_before = [](const std::string& told) {
    EXPECT_TRUE(told.starts_with("tests timed out after ")) << told;
    return told.find("seconds before") != std::string::npos;
  };
  EXPECT_TRUE(text("import unittest\nimport nosuch\n").starts_with("1 of 1 test failed"));
  EXPECT_FALSE(says_before(text(kHangs)));
  EXPECT_EQ(text("import unittest\n\nclass T(unittest.TestCase):\n    def test_f(self):\n        "
                 "pass\n"),
            "1 test passed (python3 -m unittest discover -s tests)");
  EXPECT_TRUE(says_before(text(kHangs)));
  EXPECT_FALSE(says_before(text(kHangs)));
}
TEST_F(TestRuns, TheConfiguredCommandIsFirst) {
  dir_.write(".lares/test", "exit 9\n");
  dir_.write("tests/test_a.py", "import unittest\n");
  dir_.write(".lares/config.json", R"({"test": "echo 'a b' && exit 3"})");
  EXPECT_EQ(run().text, "tests failed (echo 'a b' && exit 3, exit status 3)\n  a b");
  dir_.write(".lares/config.json", R"({"test": ["sh", "-c", "exit 0", "x y"]})");
  EXPECT_EQ(run({{"filter", "z"}}).text,
            "tests passed (sh -c 'exit 0' 'x y')\n[the configured command takes neither path nor "
            "filter; all tests were run]");
  dir_.write(".lares/config.json", R"({"other": 1})");
  EXPECT_NE(run().text.find(".lares/test"), std::string::npos);
  for (const char* wrong : {"{", "[]", R"({"test": 3})", R"({"test": []})", R"({"test": ""})",
                            R"({"test": ["a", 1]})"}) {
    dir_.write(".lares/config.json", wrong);
    const Outcome out = run();
    EXPECT_FALSE(out.ok);
    EXPECT_TRUE(out.text.starts_with("The file .lares/config.json ")) << out.text;
  }
}
TEST_F(TestRuns, WhatTheReportLeavesOutIsInAFile) {
  dir_.write(".lares/test",
             "i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done; exit 4\n");
  const std::string text = run().text;
  const std::size_t at = text.find("\n[the full output is in ");
  ASSERT_NE(at, std::string::npos) << text;
  const std::string path = text.substr(at + 24, text.find(',', at) - at - 24);
  std::ifstream in(path);
  std::ostringstream all;
  all << in.rdbuf();
  EXPECT_TRUE(all.str().starts_with("line 0\nline 1\n")) << path;
  EXPECT_TRUE(all.str().ends_with("line 499\n"));
}
TEST_F(TestRuns, AFileThatLacksAMiddleIsNotCalledTheFullOutput) {
  dir_.write(".lares/test", "yes $(printf %02000d 0) | head -c 18000000; echo end; exit 4\n");
  const std::string text = run().text;
  EXPECT_TRUE(std::regex_search(
      text, std::regex(R"(\n\[of the output, \d+ bytes in the middle were not kept; .*\]\n)"
                       R"(\[the output, without \d+ bytes in its middle, is in /)")))
      << text;
}
TEST_F(TestRuns, CtestBuildsFirst) {
  if (!has("cmake") || !has("cc")) GTEST_SKIP() << "cmake or cc is not installed";
  dir_.write("CMakeLists.txt",
             "cmake_minimum_required(VERSION 3.13)\nproject(x "
             "C)\nenable_testing()\nadd_executable(t t.c)\nadd_test(NAME only COMMAND t)\n");
  dir_.write("t.c", "int main(void) { return 0; }\n");
  ASSERT_EQ(
      std::system(
          ("cmake -S '" + dir_.root() + "' -B '" + dir_.at("build") + "' >/dev/null").c_str()),
      0);
  EXPECT_EQ(run().text,
            "1 test passed (cmake --build build && ctest --test-dir build --output-on-failure "
            "--no-tests=error)");
  dir_.write("t.c", "int main(void) { return 1; }\n");
  std::filesystem::last_write_time(
      dir_.at("t.c"), std::filesystem::file_time_type::clock::now() + std::chrono::seconds(2));
  EXPECT_TRUE(run().text.starts_with("1 of 1 test failed (")) << run().text;
  dir_.write("t.c", "int main(void) { return y; }\n");
  std::filesystem::last_write_time(
      dir_.at("t.c"), std::filesystem::file_time_type::clock::now() + std::chrono::seconds(4));
  EXPECT_NE(run().text.find("t.c:1:25: error: "), std::string::npos) << run().text;
}
TEST_F(TestRuns, MakeTargetsAmongOthers) {
  if (!has("make")) GTEST_SKIP() << "make is not installed";
  dir_.write("Makefile", "check := no\ntest := no\nall check: ; @true\n");
  EXPECT_EQ(run().text, "tests passed (make check)");
}
// Programs in their place: what they are asked for is what counts here.
TEST_F(TestRuns, VitestAndJestAreAskedForJson) {
  if (!has("npm")) GTEST_SKIP() << "npm is not installed";
  const std::string program = R"(#!/bin/sh
echo "$0 $@" | sed 's/.*\///' > asked
echo '{"numTotalTests":1,"testResults":[{"name":"a","status":"passed","assertionResults":[{"status":"passed","fullName":"x"}]}]}'
)";
  for (const char* name : {"vitest", "jest"}) {
    dir_.write(std::string("node_modules/.bin/") + name, program);
    std::filesystem::permissions(dir_.at(std::string("node_modules/.bin/") + name),
                                 std::filesystem::perms(0755));
  }
  dir_.write("package.json",
             R"({"name":"x","scripts":{"test":"true && cross-env A=1 vitest run"}})");
  dir_.write("node_modules/.bin/cross-env", "#!/bin/sh\nshift\nexec \"$@\"\n");
  std::filesystem::permissions(dir_.at("node_modules/.bin/cross-env"),
                               std::filesystem::perms(0755));
  dir_.write("a.test.js", "");
  EXPECT_EQ(run({{"path", "a.test.js"}, {"filter", "low"}}).text,
            "1 test passed (npm test -- --testNamePattern low a.test.js)");
  EXPECT_EQ(
      dir_.read("asked"),
      "vitest run --run --reporter=default --reporter=json --testNamePattern low a.test.js\n");
  dir_.write("package.json", R"({"name":"x","scripts":{"test":"jest --ci"}})");
  EXPECT_EQ(run().text, "1 test passed (npm test)");
  EXPECT_EQ(dir_.read("asked"), "jest --ci --json\n");
  dir_.write("package.json", R"({"name":"x"})");
  EXPECT_EQ(run().text, "1 test passed (node_modules/.bin/vitest)");
}
TEST_F(TestRuns, NothingFoundAndBadRequests) {
  EXPECT_TRUE(run().text.starts_with("No tests were found: "));
  dir_.write(".lares/test", "true\n");
  EXPECT_EQ(run({{"path", "nosuch"}}).text, "The path nosuch does not exist.");
  EXPECT_FALSE(run({{"path", "/etc"}}).ok);
  EXPECT_FALSE(run({{"path", 3}}).ok);
  EXPECT_FALSE(run({{"filter", "--exec=x"}}).ok);
  EXPECT_EQ(run().text, "tests passed (sh .lares/test)");
}
// What it reads to find them may be on a slow disk, and other sessions go on meanwhile.
TEST_F(TestRuns, AreLookedForOnTheThreadsForWhatBlocks) {
  asio::thread_pool threads(1);
  std::promise<void> free;
  asio::post(threads, [until = free.get_future().share()] { until.wait(); });
  const BuiltinOptions options{.root = dir_.root(),
                               .state_dir = state_.root(),
                               .sandbox_launcher = test::launcher(),
                               .no_sandbox = true,
                               .threads = &threads};
  TestTool tool(options);
  std::vector<std::string> texts;
  asio::co_spawn(io_, tool.run({{"path", "nosuch"}}, {}),
                 [&](std::exception_ptr, Result<Outcome> out) { texts.push_back(out->text); });
  asio::co_spawn(io_, run_tests(options, ""),
                 [&](std::exception_ptr, Result<TestRun> out) { texts.push_back(out->text); });
  io_.poll();
  EXPECT_EQ(texts.size(), 0u);
  free.set_value();
  io_.run();
  ASSERT_EQ(texts.size(), 2u);
  EXPECT_EQ(texts[0], "The path nosuch does not exist.");
  EXPECT_TRUE(texts[1].starts_with("No tests were found: ")) << texts[1];
}
TEST_F(TestRuns, AreReportedOnTheThreadsForWhatBlocks) {
  asio::thread_pool threads(1);
  dir_.write(".lares/test",
             ": > began; until [ -e go ]; do sleep 0.05; done\necho 'a.py:1: error: x'\n"
             ": > ended; exit 1\n");
  TestTool tool(BuiltinOptions{.root = dir_.root(),
                               .state_dir = state_.root(),
                               .sandbox_launcher = test::launcher(),
                               .no_sandbox = true,
                               .threads = &threads});
  std::string text;
  const auto on_done = [&](std::exception_ptr, Result<Outcome> out) { text = out->text; };
  asio::co_spawn(io_, tool.run(json::object(), {}), on_done);
  const auto run_until = [this](const char* file) {
    while (!std::filesystem::exists(dir_.at(file))) io_.run_one_for(std::chrono::milliseconds(50));
  };
  run_until("began");
  std::promise<void> free;
  asio::post(threads, [until = free.get_future().share()] { until.wait(); });
  dir_.write("go", "");
  run_until("ended");
  io_.run_for(std::chrono::milliseconds(500));  // in vain
  EXPECT_EQ(text, "");
  free.set_value();
  io_.run();
  EXPECT_EQ(text, "tests failed (sh .lares/test, exit status 1)\n  a.py:1: error: x");
}
TEST_F(TestRuns, OutOfTimeAreToldOnTheThreadsForWhatBlocks) {
  asio::thread_pool threads(1);
  dir_.write(".lares/test", "echo $$ > pid.new; mv pid.new pid; echo begun; exec sleep 60\n");
  TestTool tool(BuiltinOptions{.root = dir_.root(),
                               .state_dir = state_.root(),
                               .sandbox_launcher = test::launcher(),
                               .no_sandbox = true,
                               .command_timeout_ms = 5000,
                               .threads = &threads});
  std::string text;
  const auto on_done = [&](std::exception_ptr, Result<Outcome> out) { text = out->text; };
  asio::co_spawn(io_, tool.run(json::object(), {}), on_done);
  const auto step = [this] { io_.run_one_for(std::chrono::milliseconds(50)); };
  while (text.empty() && !std::filesystem::exists(dir_.at("pid"))) step();
  std::promise<void> free;
  asio::post(threads, [until = free.get_future().share()] { until.wait(); });
  const int pid = std::stoi(dir_.read("pid"));
  while (::kill(pid, 0) == 0) step();
  io_.run_for(std::chrono::milliseconds(500));  // in vain
  EXPECT_EQ(text, "");
  free.set_value();
  io_.run();
  EXPECT_EQ(text,
            "tests timed out after 5 seconds (sh .lares/test); the user's setting command_timeout "
            "allows no longer\n  begun");
}
TEST_F(TestRuns, NoTestsIsNoSuccess) {
  dir_.write("tests/test_empty.py", "import unittest\n");
  const Outcome out = run();
  EXPECT_FALSE(out.ok);
  EXPECT_EQ(out.text.substr(0, 12), "no tests ran") << out.text;
}

// What runners that may be absent here write, as recorded from them.
class Recorded : public testing::Test {
 protected:
  test::Scratch dir_;
  RootedFs files_ = *RootedFs::open(dir_.root());
  std::string told(RunnerKind kind, const std::string& output) {
    RunnerOutput written(kind);
    written.add(output);
    return report({kind, "runner", {}, dir_.root(), ""}, written, "exit status 1", files_).text;
  }
};
TEST_F(Recorded, Pytest) {
  dir_.write("tests/test_a.py", "import x\n\ndef test_bad():\n    assert x.f(9) == 5\n");
  EXPECT_EQ(
      told(RunnerKind::pytest,
           "F..s                                                                     [100%]\n"
           "=================================== FAILURES ===================================\n"
           "___________________________________ test_bad ___________________________________\n"
           "tests/test_a.py:4: in test_bad\n    assert x.f(9) == 5\nE   assert 9 == 5\nE    +  "
           "where 9 = f(9)\n"
           "=========================== short test summary info ============================\n"
           "FAILED tests/test_a.py::test_bad - assert 9 == 5\n1 failed, 2 passed, 1 skipped in "
           "0.05s\n"),
      "1 of 3 tests failed, 1 skipped (runner)\nFAIL tests/test_a.py:4 test_bad\n  assert x.f(9) "
      "== 5\n  assert 9 == 5");
}
TEST_F(Recorded, Go) {
  dir_.write("go.mod", "module example.com/x\n");
  dir_.write("p/a_test.go",
             "package p\n\nfunc TestA(t *testing.T) {\n\tt.Errorf(\"got %d\", 9)\n}\n");
  EXPECT_EQ(
      told(
          RunnerKind::go,
          R"({"Action":"run","Package":"example.com/x/p","Test":"TestA"})"
          "\n"
          R"({"Action":"output","Package":"example.com/x/p","Test":"TestA","Output":"    a_test.go:4: got 9\n"})"
          "\n"
          R"({"Action":"fail","Package":"example.com/x/p","Test":"TestA","Elapsed":0})"
          "\n"
          R"({"Action":"run","Package":"example.com/x/p","Test":"TestB"})"
          "\n"
          R"({"Action":"pass","Package":"example.com/x/p","Test":"TestB","Elapsed":0})"
          "\n"
          R"({"Action":"fail","Package":"example.com/x/p","Elapsed":0})"
          "\n"),
      "1 of 2 tests failed (runner)\nFAIL p/a_test.go:4 TestA\n  t.Errorf(\"got %d\", 9)\n  got 9");
}
TEST_F(Recorded, Cargo) {
  dir_.write("src/lib.rs", "#[test]\nfn bad() {\n    assert_eq!(9, 5);\n}\n");
  EXPECT_EQ(told(RunnerKind::cargo,
                 "running 2 tests\ntest good ... ok\ntest bad ... FAILED\n\nfailures:\n\n---- bad "
                 "stdout ----\n\n"
                 "thread 'bad' panicked at src/lib.rs:3:5:\nassertion `left == right` failed\n  "
                 "left: 9\n right: 5\n"
                 "note: run with `RUST_BACKTRACE=1` environment variable to display a "
                 "backtrace\n\n\nfailures:\n    bad\n\n"
                 "test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; "
                 "finished in 0.00s\n"),
            "1 of 2 tests failed (runner)\nFAIL src/lib.rs:3 bad\n  assert_eq!(9, 5);\n  assertion "
            "`left == right` failed\n  left: 9\n  right: 5");
}
TEST_F(Recorded, NodeEighteenWrapsEachFile) {
  dir_.write("test/a.test.js", "\n\n\n  assert.strictEqual(f(), 1);\n");
  EXPECT_EQ(told(RunnerKind::node,
                 "TAP version 13\n# Subtest: " + dir_.at("test/a.test.js") +
                     "\n    # Subtest: bad\n    not ok 1 - bad\n      ---\n      duration_ms: 1\n"
                     "      failureType: 'testCodeFailure'\n      error: |-\n        Expected "
                     "values to be strictly equal:\n        \n"
                     "        2 !== 1\n        \n      code: 'ERR_ASSERTION'\n      stack: |-\n    "
                     "    TestContext.<anonymous> (" +
                     dir_.at("test/a.test.js") +
                     ":4:10)\n        Test.run (node:internal/test_runner/test:571:9)\n      ...\n"
                     "    # Subtest: good\n    ok 2 - good\n      ---\n      duration_ms: 1\n      "
                     "...\n    1..2\nnot ok 1 - " +
                     dir_.at("test/a.test.js") +
                     "\n  ---\n  duration_ms: 9\n  failureType: 'subtestsFailed'\n  exitCode: 1\n  "
                     "...\n1..1\n"),
            "1 of 2 tests failed (runner)\nFAIL test/a.test.js:4 bad\n  assert.strictEqual(f(), "
            "1);\n  2 !== 1");
}

TEST_F(TestRuns, WhatIsHiddenFromThemIsNamed) {
  const auto options = in_sandbox();
  if (!options) GTEST_SKIP() << "there is no sandbox here";
  dir_.write(".env", "A=1\n");
  dir_.write(".lares/test", "rm .env\n");
  TestTool tool(*options);
  const auto out = test::call(io_, tool, json::object());
  ASSERT_TRUE(out);
  EXPECT_EQ(out->text,
            "tests failed (sh .lares/test, exit status 1)\n  rm: cannot remove '.env': Device or "
            "resource busy\n[hidden, for it may hold secrets: .env. No command can read, change, "
            "move or remove it, nor move or remove a directory that holds it; the user can.]\n"
            "[What a command of `bash` has made of them, that shell can read and change: where the "
            "tests need it, run them with `bash`.]");
}
TEST_F(TestRuns, WhatTestsLeaveThatWouldRunOutsideIsMovedAsideAndTold) {
  const auto options = in_sandbox();
  if (!options) GTEST_SKIP() << "there is no sandbox here";
  dir_.write(".lares/test", "#!/bin/sh\nmkdir -p sub; echo 'gitdir: /var/tmp/evil' > sub/.git\n");
  std::filesystem::permissions(dir_.at(".lares/test"), std::filesystem::perms(0755));
  TestTool tool(*options);
  const auto out = test::call(io_, tool, json::object());
  ASSERT_TRUE(out);
  EXPECT_TRUE(out->text.ends_with(
      "\n[moved aside, because it could run programs outside the sandbox: sub/.git (a .git that "
      "leads out of the worktree) is now "
      "sub/.git.lares-quarantined. If it is wanted, the user can move it back.]"))
      << out->text;
  EXPECT_TRUE(std::filesystem::exists(dir_.at("sub/.git.lares-quarantined")));
}

}  // namespace
}  // namespace lares::tools
