// What test runners write, as recorded from them (only shortened, and their directory put for
// ROOT), and what is told of it.
#include "tools/testing/report.h"

#include <filesystem>
#include <regex>

#include <fmt/format.h>

#include "tests/tools/scratch.h"
#include "tools/testing/go_events.h"
#include "tools/testing/runner_output.h"

namespace lares::tools {
namespace {

namespace fs = std::filesystem;

class Report : public testing::Test {
 protected:
  TestReport told(RunnerKind kind, std::string output, std::string status = "exit status 1") {
    for (std::size_t at = 0; (at = output.find("ROOT", at)) != std::string::npos;
         at += dir_.root().size())
      output.replace(at, 4, dir_.root());
    RunnerOutput written(kind);
    written.add(output);
    return report({kind, "runner", {}, dir_.root(), "", false}, written, status, files_);
  }
  std::string text(RunnerKind kind, std::string output) {
    return told(kind, std::move(output)).text;
  }

  test::Scratch dir_;
  RootedFs files_ = *RootedFs::open(dir_.root());
};

std::string lines(int n) {
  std::string out;
  for (int i = 1; i <= n; ++i) out += "line " + std::to_string(i) + ";\n";
  return out;
}

TEST_F(Report, Vitest4) {
  dir_.write("v/clamp.test.mjs", lines(20));
  dir_.write("v/broken.test.mjs", lines(1));
  EXPECT_EQ(
      text(
          RunnerKind::jest,
          " RUN  v4.1.12 ROOT\n\nstdout | v/clamp.test.mjs > clamp > keeps the bound\n{\"num\": "
          "3}\n\n"
          R"x({"numTotalTestSuites":3,"numTotalTests":6,"numPassedTests":1,"numFailedTests":3,"numPendingTests":1,"numTodoTests":1,"success":false,"testResults":[)x"
          R"x({"assertionResults":[],"status":"failed","message":"Cannot find module './nosuch.mjs' imported from ROOT/v/broken.test.mjs","name":"ROOT/v/broken.test.mjs"},)x"
          R"x({"assertionResults":[{"ancestorTitles":["clamp"],"fullName":"clamp keeps the bound","status":"failed","title":"keeps the bound","failureMessages":)x"
          R"x(["AssertionError: expected 9 to be 5 // Object.is equality\n    at ROOT/v/clamp.test.mjs:8:28\n    at file://ROOT/node_modules/@vitest/runner/dist/chunk-artifact.js:302:11"]},)x"
          R"x({"fullName":"clamp low","status":"passed","title":"low","failureMessages":[]},{"fullName":"clamp later","status":"skipped","title":"later","failureMessages":[]},)x"
          R"x({"fullName":"clamp some day","status":"todo","title":"some day","failureMessages":[]},)x"
          R"x({"fullName":"objects","status":"failed","title":"objects","failureMessages":["AssertionError: expected { a: 1, b: [ 1, 2 ] } to deeply equal { a: 1, b: [ 1, 3 ] }\n    at ROOT/v/clamp.test.mjs:15:31"]},)x"
          R"x({"fullName":"throws","status":"failed","title":"throws","failureMessages":["TypeError: Cannot read properties of null (reading 'x')\n    at ROOT/v/clamp.test.mjs:17:29"]}],)x"
          R"x("status":"failed","message":"","name":"ROOT/v/clamp.test.mjs"}]})x"
          "\n"),
      "4 of 5 tests failed, 2 skipped (runner)\n"
      "FAIL v/broken.test.mjs (did not load)\n  Cannot find module './nosuch.mjs' imported from " +
          dir_.root() +
          "/v/broken.test.mjs\n"
          "FAIL v/clamp.test.mjs:8 clamp keeps the bound\n  line 8;\n  AssertionError: expected 9 "
          "to be 5 // Object.is equality\n"
          "FAIL v/clamp.test.mjs:15 objects\n  line 15;\n  AssertionError: expected { a: 1, b: [ "
          "1, 2 ] } to deeply equal { a: 1, b: [ 1, 3 ] }\n"
          "FAIL v/clamp.test.mjs:17 throws\n  line 17;\n  TypeError: Cannot read properties of "
          "null (reading 'x')");
}

TEST_F(Report, Jest30) {
  dir_.write("j/clamp.test.js", lines(20));
  dir_.write("j/broken.test.js", "require(\"./nosuch\");\n");
  EXPECT_EQ(
      text(
          RunnerKind::jest,
          "Tests:       3 failed, 1 skipped, 1 todo, 1 passed, 6 total\nRan all test suites "
          "matching j.\n"
          R"x({"numFailedTestSuites":2,"numFailedTests":2,"numPassedTests":1,"numPendingTests":1,"numTotalTests":4,"success":false,"testResults":[{"assertionResults":[)x"
          R"x({"ancestorTitles":["clamp"],"failureMessages":["Error: expect(received).toBe(expected) // Object.is equality\n\nExpected: 5\nReceived: 9\n    at Object.toBe (ROOT/j/clamp.test.js:6:28)\n)x"
          R"x(    at Promise.finally.completed (ROOT/node_modules/jest-circus/build/jestAdapterInit.js:1834:28)"],"fullName":"clamp keeps the bound","status":"failed","title":"keeps the bound"},)x"
          R"x({"failureMessages":[],"fullName":"clamp low","status":"passed","title":"low"},{"failureMessages":[],"fullName":"clamp later","status":"pending","title":"later"},)x"
          R"x({"failureMessages":["Error: expect(received).toEqual(expected) // deep equality\n\n- Expected  - 1\n+ Received  + 1\n\n  Object {\n    \"a\": 1,\n-     3,\n+     2,\n  }\n)x"
          R"x(    at Object.toEqual (ROOT/j/clamp.test.js:13:31)"],"fullName":"objects","status":"failed","title":"objects"}],"message":"","name":"ROOT/j/clamp.test.js","status":"failed"},)x"
          R"x({"assertionResults":[],"message":"  ● Test suite failed to run\n\n    Cannot find module './nosuch' from 'j/broken.test.js'\n\n    > 1 | require(\"./nosuch\");\n        | ^\n      2 |\n\n)x"
          R"x(      at Resolver._throwModNotFoundError (node_modules/jest-resolve/build/index.js:1031:11)\n      at Object.require (j/broken.test.js:1:1)\n","name":"ROOT/j/broken.test.js","status":"failed"}],"wasInterrupted":false})x"
          "\n"),
      "3 of 4 tests failed, 1 skipped (runner)\n"
      "FAIL j/clamp.test.js:6 clamp keeps the bound\n  line 6;\n  expect(received).toBe(expected) "
      "// Object.is equality\n  Expected: 5\n  Received: 9\n"
      "FAIL j/clamp.test.js:13 objects\n  line 13;\n  expect(received).toEqual(expected) // deep "
      "equality\n  Object {\n  \"a\": 1,\n  -     3,\n  +     2,\n  }\n"
      "FAIL j/broken.test.js:1 (did not load)\n  require(\"./nosuch\");\n  Cannot find module "
      "'./nosuch' from 'j/broken.test.js'");
}

// --colors, FORCE_COLOR
TEST_F(Report, Jest30InColour) {
  dir_.write("j/a.test.js", lines(9));
  dir_.write("j/b.test.js", lines(2));
  EXPECT_EQ(
      text(
          RunnerKind::jest,
          R"x({"numTotalTests":1,"testResults":[{"assertionResults":[{"fullName":"grp adds","status":"failed","failureMessages":)x"
          R"x(["Error: \u001b[2mexpect(\u001b[22m\u001b[31mreceived\u001b[39m\u001b[2m).\u001b[22mtoBe\u001b[2m(\u001b[22m\u001b[32mexpected\u001b[39m\u001b[2m) // Object.is equality\u001b[22m\n\n)x"
          R"x(Expected: \u001b[32m2\u001b[39m\nReceived: \u001b[31m1\u001b[39m\n    at toBe (ROOT/j/a.test.js:6:63)"]}],"message":"","name":"ROOT/j/a.test.js","status":"failed"},)x"
          R"x({"assertionResults":[],"message":"  \u001b[1m● \u001b[22mTest suite failed to run\n\n    Cannot find module './nosuch' from 'j/b.test.js'\n\n)x"
          R"x(\u001b[2m    > 1 | require(\"./nosuch\");\u001b[22m\n\u001b[2m        | ^\u001b[22m\n\n      \u001b[2mat Object.require (\u001b[22m\u001b[2m\u001b[0m\u001b[36mj/b.test.js\u001b[39m\u001b[0m\u001b[2m:1:1)\u001b[22m\n","name":"ROOT/j/b.test.js","status":"failed"}]})x"
          "\n"),
      "2 of 2 tests failed (runner)\n"
      "FAIL j/a.test.js:6 grp adds\n  line 6;\n  expect(received).toBe(expected) // Object.is "
      "equality\n  Expected: 2\n  Received: 1\n"
      "FAIL j/b.test.js:1 (did not load)\n  line 1;\n  Cannot find module './nosuch' from "
      "'j/b.test.js'");
}
TEST_F(Report, GoInColour) {
  const std::string event =
      R"({"Action":"output","Package":"x","Test":"TestA","Output":"    a_test.go:7: \u001b[31mno\u001b[0m\n"})"
      "\n"
      R"({"Action":"output","Package":"x","Output":"\u001b[1mFAIL\u001b[0m\tx\n"})"
      "\n";
  EXPECT_EQ(text(RunnerKind::go, event),
            "1 of 1 test failed (runner)\nFAIL a_test.go:7 TestA\n  no");
  EXPECT_EQ(text(RunnerKind::go, event.substr(event.find('\n') + 1)),
            "tests failed (runner, exit status 1)\n  FAIL\tx");
}

constexpr const char* kCtest =
    "Internal ctest changing into directory: ROOT/build\nTest project ROOT/build\n    Start 1: "
    "good\n"
    "1/7 Test #1: good .............................   Passed    0.01 sec\n    Start 2: bad\n"
    "2/7 Test #2: bad ..............................***Failed    0.01 sec\n[ RUN      ] "
    "Clamp.High\nROOT/t.c:6: Failure\n"
    "Expected equality of these values:\n  clamp(9, 0, 5)\n    Which is: 9\n  5\n\n[  FAILED  ] "
    "Clamp.High (0 ms)\n\n    Start 3: crash\n"
    "3/7 Test #3: crash ............................Subprocess aborted***Exception:   0.01 sec\n\n "
    "   Start 4: slow\n"
    "4/7 Test #4: slow .............................***Timeout   1.00 sec\n\n    Start 5: skipped\n"
    "5/7 Test #5: skipped ..........................***Skipped   0.01 sec\n    Start 6: off\n"
    "6/7 Test #6: off ..............................***Not Run (Disabled)   0.00 sec\n    Start 7: "
    "absent\n"
    "Could not find executable nosuchprogram\nLooked in the following places:\nnosuchprogram\n"
    "7/7 Test #7: absent ...........................***Not Run   0.00 sec\n\n33% tests passed, 4 "
    "tests failed out of 6\n\n"
    "Total Test time (real) =   1.07 sec\n\nThe following tests did not run:\n\t  5 - skipped "
    "(Skipped)\n\t  6 - off (Disabled)\n\n"
    "The following tests FAILED:\n\t  2 - bad (Failed)\n\t  3 - crash (Subprocess aborted)\n\t  4 "
    "- slow (Timeout)\n\t  7 - absent (Not Run)\n"
    "Unable to find executable: nosuchprogram\nErrors while running CTest\n";

TEST_F(Report, Ctest3) {
  dir_.write("t.c", lines(8));
  EXPECT_EQ(text(RunnerKind::ctest, kCtest),
            "4 of 5 tests failed, 2 skipped (runner)\n"
            "FAIL t.c:6 bad\n  line 6;\n  Expected equality of these values:\n    clamp(9, 0, 5)\n "
            "     Which is: 9\n    5\n"
            "FAIL crash (Subprocess aborted)\nFAIL slow (Timeout)\nFAIL absent (Not Run)");
}
TEST_F(Report, CtestWithoutTests) {
  EXPECT_EQ(text(RunnerKind::ctest,
                 "Internal ctest changing into directory: ROOT/build\nTest project ROOT/build\nNo "
                 "tests were found!!!\nErrors while running CTest\n"),
            "no tests ran (runner)");
}
TEST_F(Report, ABuildThatFailedIsToldByItsErrors) {
  dir_.write("src/a.c", lines(8));
  EXPECT_EQ(text(RunnerKind::ctest,
                 "[1/2] Building C object a.o\nFAILED: a.o\nROOT/src/a.c:3:10: error: 'x' "
                 "undeclared\nsrc/a.c:1:1: warning: unused\nninja: build stopped.\n"),
            "tests failed (runner, exit status 1)\n  " + dir_.root() +
                "/src/a.c:3:10: error: 'x' undeclared");
}

TEST_F(Report, Pytest7) {
  dir_.write("tests/test_a.py", lines(31));
  dir_.write("lib.py", lines(3));
  EXPECT_EQ(
      text(RunnerKind::pytest,
           "F.F.sxE                                                                  [100%]\n"
           "==================================== ERRORS ====================================\n"
           "_________________________ ERROR at setup of test_error _________________________\n"
           "tests/test_a.py:31: in broken\n    raise ValueError(\"no fixture\")\nE   ValueError: "
           "no fixture\n"
           "=================================== FAILURES ===================================\n"
           "______________________________ TestHalf.test_half ______________________________\n"
           "tests/test_a.py:8: in test_half\n    assert half(2) == 1\nlib.py:2: in half\n    "
           "return x / 0\nE   ZeroDivisionError: division by zero\n"
           "----------------------------- Captured stdout call "
           "-----------------------------\ndebug print\n"
           "____________________________ TestHalf.test_many[2] _____________________________\n"
           "tests/test_a.py:12: in test_many\n    assert x == 1, \"not one\"\nE   AssertionError: "
           "not one\nE   assert 2 == 1\n"
           "=========================== short test summary info ============================\n"
           "FAILED tests/test_a.py::TestHalf::test_half - ZeroDivisionError: division by ...\n"
           "FAILED tests/test_a.py::TestHalf::test_many[2] - AssertionError: not one\nERROR "
           "tests/test_a.py::test_error - ValueError: no fixture\n"
           "2 failed, 2 passed, 1 skipped, 1 xfailed, 1 error in 0.04s\n"),
      "3 of 5 tests failed, 1 skipped (runner)\n"
      "FAIL tests/test_a.py:31 ERROR at setup of test_error\n  line 31;\n  ValueError: no fixture\n"
      "FAIL tests/test_a.py:8 test_half\n  line 8;\n  at lib.py:2: line 2;\n  ZeroDivisionError: "
      "division by zero\n"
      "FAIL tests/test_a.py:12 TestHalf.test_many[2]\n  line 12;\n  AssertionError: not one");
}

TEST_F(Report, PytestOfATitleThatFillsTheLine) {
  dir_.write("test_a.py", lines(9));
  EXPECT_EQ(
      text(RunnerKind::pytest,
           "=================================== FAILURES ===================================\n"
           "_ test_a_name_that_is_much_longer_than_what_fits_between_the_underscores_of_a_title _\n"
           "test_a.py:5: in "
           "test_a_name_that_is_much_longer_than_what_fits_between_the_underscores_of_a_title\n"
           "    assert 1 == 2\nE   assert 1 == 2\n"
           "__________________________________ test_next ___________________________________\n"
           "test_a.py:8: in test_next\n    assert 3 == 4\nE   assert 3 == 4\n"
           "=========================== short test summary info ============================\n"
           "FAILED "
           "test_a.py::test_a_name_that_is_much_longer_than_what_fits_between_the_underscores_of_a_"
           "title\nFAILED test_a.py::test_next - assert 3 == 4\n2 failed in 0.18s\n"),
      "2 of 2 tests failed (runner)\n"
      "FAIL test_a.py:5 "
      "test_a_name_that_is_much_longer_than_what_fits_between_the_underscores_of_a_title\n"
      "  line 5;\n  assert 1 == 2\n"
      "FAIL test_a.py:8 test_next\n  line 8;\n  assert 3 == 4");
}
TEST_F(Report, PytestOfAChainIsToldByItsLast) {
  dir_.write("test_a.py", lines(40));
  dir_.write("lib.py", lines(9));
  EXPECT_EQ(
      text(RunnerKind::pytest,
           "=================================== FAILURES ===================================\n"
           "__________________________________ test_chain __________________________________\n"
           "lib.py:3: in load\n    return {}[x]\nE   KeyError: 'shop'\n\n"
           "The above exception was the direct cause of the following exception:\n"
           "test_a.py:8: in test_chain\n    load(\"shop\")\nlib.py:5: in load\n    raise "
           "RuntimeError(\"cannot load \" + x) from e\nE   RuntimeError: cannot load shop\n"
           "_________________________________ test_during __________________________________\n"
           "test_a.py:34: in test_during\n    load(\"q\")\nlib.py:5: in load\n    raise "
           "RuntimeError(\"cannot load \" + x) from e\nE   RuntimeError: cannot load q\n\n"
           "During handling of the above exception, another exception occurred:\n"
           "test_a.py:36: in test_during\n    raise ValueError(\"second\")\nE   ValueError: "
           "second\n"
           "=========================== short test summary info ============================\n"
           "FAILED test_a.py::test_chain - RuntimeError: cannot load shop\n"
           "FAILED test_a.py::test_during - ValueError: second\n2 failed in 0.18s\n"),
      "2 of 2 tests failed (runner)\n"
      "FAIL test_a.py:8 test_chain\n  line 8;\n  at lib.py:5: line 5;\n  RuntimeError: cannot "
      "load shop\n"
      "FAIL test_a.py:36 test_during\n  line 36;\n  ValueError: second");
}
TEST_F(Report, PytestOfFailuresWithoutATraceback) {
  dir_.write("test_a.py", lines(30));
  EXPECT_EQ(
      text(RunnerKind::pytest,
           "=================================== FAILURES ===================================\n"
           "_________________________________ test_strict __________________________________\n"
           "[XPASS(strict)] not yet\n"
           "__________________________________ test_group __________________________________\n"
           "  + Exception Group Traceback (most recent call last):\n"
           "  |   File \"ROOT/test_a.py\", line 22, in test_group\n"
           "  |     raise ExceptionGroup(\"two\", [ValueError(\"one\"), KeyError(\"x\")])\n"
           "  | ExceptionGroup: two (2 sub-exceptions)\n"
           "  +-+---------------- 1 ----------------\n    | ValueError: one\n"
           "    +---------------- 2 ----------------\n    | KeyError: 'x'\n"
           "    +------------------------------------\n"
           "__________________________________ test_a.py ___________________________________\n"
           "[gw1] linux -- Python 3.11.7 /usr/bin/python3\n"
           "worker 'gw1' crashed while running 'test_a.py::test_crash'\n"
           "=========================== short test summary info ============================\n"
           "FAILED test_a.py::test_strict\n"
           "FAILED test_a.py::test_group - ExceptionGroup: two (2 sub-exceptions)\n"
           "FAILED test_a.py::test_crash\n3 failed, 1 passed in 3.82s\n"),
      "3 of 4 tests failed (runner)\n"
      "FAIL test_a.py test_strict\n  [XPASS(strict)] not yet\n"
      "FAIL test_a.py:22 test_group\n  line 22;\n  ExceptionGroup: two (2 sub-exceptions)\n"
      "  ValueError: one\n  KeyError: 'x'\n"
      "FAIL test_a.py test_crash\n  worker 'gw1' crashed while running 'test_a.py::test_crash'");
  // As of --tb=no; a name may hold what stands before the message.
  EXPECT_EQ(
      text(RunnerKind::pytest,
           "F\n=========================== short test summary info ============================\n"
           "FAILED test_a.py::TestA::test_b - assert 1 == 2\n1 failed in 0.18s\n"),
      "1 of 1 test failed (runner)\nFAIL test_a.py test_b\n  assert 1 == 2");
}
TEST_F(Report, PytestOfWhatReadsLikeASection) {
  dir_.write("test_a.py", lines(40));
  EXPECT_EQ(
      text(
          RunnerKind::pytest,
          "=================================== FAILURES ===================================\n"
          "_________________________________ test_printed _________________________________\n"
          "test_a.py:15: in test_printed\n    assert 3 == 4\nE   assert 3 == 4\n"
          "----------------------------- Captured stdout call -----------------------------\n"
          "___ section ___\ntest_a.py:3: in nothing\n_ short _\n"
          "=================================== FAILURES ===================================\n"
          "__________________________________ test_inner __________________________________\n"
          "test_a.py:4: in test_inner\nE   no\n"
          "=========================== short test summary info ============================\n"
          "FAILED test_a.py::test_inner - no\n1 failed in 0.18s\n"
          "____________________________ TestA.test_b[q - z::w] ____________________________\n"
          "test_a.py:27: in test_b\n    assert v == 1\nE   AssertionError: assert 'q - z::w' == 1\n"
          "=========================== short test summary info ============================\n"
          "FAILED test_a.py::test_printed - assert 3 == 4\n"
          "FAILED test_a.py::TestA::test_b[q - z::w] - AssertionError: assert 'q ...\n"
          "2 failed in 0.18s\n"),
      "2 of 2 tests failed (runner)\n"
      "FAIL test_a.py:15 test_printed\n  line 15;\n  assert 3 == 4\n"
      "FAIL test_a.py:27 TestA.test_b[q - z::w]\n  line 27;\n  AssertionError: assert 'q - z::w' "
      "== 1");
}

TEST_F(Report, PytestOfAFileThatDoesNotLoad) {
  dir_.write("test_a.py", lines(3));
  EXPECT_EQ(
      text(RunnerKind::pytest,
           "==================================== ERRORS ====================================\n"
           "__________________________ ERROR collecting test_a.py __________________________\n"
           "ImportError while importing test module 'ROOT/test_a.py'.\n"
           "Hint: make sure your test modules/packages have valid Python names.\nTraceback:\n"
           "/usr/lib/python3.11/importlib/__init__.py:126: in import_module\n    return "
           "_bootstrap._gcd_import(name[level:], package, level)\n"
           "test_a.py:1: in <module>\n    import nosuch\nE   ModuleNotFoundError: No module named "
           "'nosuch'\n"
           "________________________ ERROR collecting sub/test_b.py ________________________\n"
           "E     File \"ROOT/sub/test_b.py\", line 1\nE   SyntaxError: invalid syntax\n"
           "2 errors in 0.05s\n"),
      "2 of 2 tests failed (runner)\n"
      "FAIL test_a.py:1 (did not load)\n  line 1;\n  ModuleNotFoundError: No module named "
      "'nosuch'\n"
      "FAIL sub/test_b.py (did not load)\n  File \"" +
          dir_.root() + "/sub/test_b.py\", line 1");
}

// Its file is known by the title; a message is no place, though it may read like one.
TEST_F(Report, NodeOfAFileThatDoesNotLoad) {
  dir_.write("b.test.js", lines(2));
  EXPECT_EQ(text(RunnerKind::node,
                 "TAP version 13\n# node:internal/modules/cjs/loader:1143\n#   throw err;\n#   "
                 "^\n# Error: Cannot find module './missing'\n# Require stack:\n# - "
                 "ROOT/b.test.js\n#     at Module._resolveFilename "
                 "(node:internal/modules/cjs/loader:1140:15)\n# Node.js v20.0.0\n"
                 "# Subtest: ROOT/b.test.js\nnot ok 1 - ROOT/b.test.js\n  ---\n  duration_ms: 35\n "
                 " failureType: 'testCodeFailure'\n  exitCode: 1\n  error: 'test failed'\n  code: "
                 "'ERR_TEST_FAILURE'\n  ...\n1..1\n# tests 1\n# fail 1\n"),
            "1 of 1 test failed (runner)\n"
            "FAIL b.test.js b.test.js\n  Error: Cannot find module './missing'");
}

// A test may run cargo, and ctest tells what a failing test has printed.
TEST_F(Report, WhatATestPrintsIsNoResult) {
  dir_.write("src/lib.rs", lines(14));
  EXPECT_EQ(text(RunnerKind::cargo,
                 "running 2 tests\ntest good ... ok\ntest bad ... FAILED\n\nfailures:\n\n---- bad "
                 "stdout ----\ntest result: ok. 7 passed; 0 failed; 2 ignored\n\n"
                 "thread 'bad' (26203) panicked at src/lib.rs:14:9:\nno\ntest result: ok. 9 "
                 "passed; 0 failed; 0 ignored\n\n\nfailures:\n    bad\n\n"
                 "test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; "
                 "finished in 0.00s\n"),
            "1 of 2 tests failed (runner)\n"
            "FAIL src/lib.rs:14 bad\n  line 14;\n  no\n  test result: ok. 9 passed; 0 failed; 0 "
            "ignored");
  EXPECT_EQ(
      text(RunnerKind::ctest,
           "    Start 1: good\n1/2 Test #1: good .............................   Passed    0.01 "
           "sec\n    Start 2: outer\n2/2 Test #2: outer ............................***Failed    "
           "0.01 sec\nnested:\n33% tests passed, 2 tests failed out of 3\nThe following tests "
           "FAILED:\n\t  1 - inner (Failed)\n\n50% tests passed, 1 tests failed out of 2\n\n"
           "The following tests FAILED:\n\t  2 - outer (Failed)\nErrors while running CTest\n"),
      "1 of 2 tests failed (runner)\nFAIL outer\n  nested:\n  33% tests passed, 2 tests failed "
      "out of 3\n  The following tests FAILED:\n  1 - inner (Failed)");
}

TEST_F(Report, PytestWithoutTests) {
  EXPECT_EQ(text(RunnerKind::pytest, "\nno tests ran in 0.01s\n"), "no tests ran (runner)");
}

TEST_F(Report, PytestOfNoSuchName) {
  EXPECT_EQ(text(RunnerKind::pytest, "\n7 deselected, 1 warning in 0.01s\n"),
            "no tests ran (runner)");
  EXPECT_EQ(told(RunnerKind::pytest, "\n1 xfailed in 0.01s\n", "").text, "tests passed (runner)");
}
TEST_F(Report, PytestWithoutTestsSaysWhy) {
  EXPECT_EQ(told(RunnerKind::pytest,
                 "\n!!!!!!!!!!!!!!!!! _pytest.outcomes.Exit: cannot reach postgres "
                 "!!!!!!!!!!!!!!!!!\nno tests ran in 1.21s\n",
                 "exit status 2")
                .text,
            "no tests ran (runner, exit status 2)\n  !!!!!!!!!!!!!!!!! _pytest.outcomes.Exit: "
            "cannot reach postgres !!!!!!!!!!!!!!!!!");
  EXPECT_EQ(told(RunnerKind::pytest,
                 "INTERNALERROR>   File \"ROOT/conftest.py\", line 2, in "
                 "pytest_collection_modifyitems\nINTERNALERROR>     items[0].nosuch\n"
                 "INTERNALERROR> AttributeError: 'Function' object has no attribute 'nosuch'\n\n"
                 "no tests ran in 0.03s\n",
                 "exit status 3")
                .text,
            "no tests ran (runner, exit status 3)\n  INTERNALERROR>   File \"" + dir_.root() +
                "/conftest.py\", line 2, in pytest_collection_modifyitems\n  INTERNALERROR>     "
                "items[0].nosuch\n  INTERNALERROR> AttributeError: 'Function' object has no "
                "attribute 'nosuch'");
  EXPECT_EQ(told(RunnerKind::pytest,
                 "\nno tests ran in 0.02s\nERROR: Wrong expression passed to '-k': a b: at column "
                 "3: expected end of input; got identifier\n\n",
                 "exit status 4")
                .text,
            "no tests ran (runner, exit status 4)\n  ERROR: Wrong expression passed to '-k': a b: "
            "at column 3: expected end of input; got identifier");
}
TEST_F(Report, ScriptsWhoseTestsDoNotFitTheFilterRanNone) {
  constexpr const char* kVitest =
      R"({"numTotalTests":2,"numPendingTests":2,"success":true,"testResults":[{"name":"ROOT/a","status":"passed","assertionResults":[{"fullName":"x","status":"skipped"},{"fullName":"y","status":"skipped"}]}]})"
      "\n";
  constexpr const char* kNode =
      "TAP version 13\n# Subtest: a\nok 1 - a # SKIP test name does not match pattern\n  ---\n  "
      "duration_ms: 0.5\n  ...\n1..1\n";
  const auto text = [&](RunnerKind kind, const char* output, bool filtered) {
    RunnerOutput written(kind);
    written.add(output);
    const Runner runner{kind, "runner", {}, dir_.root(), "", false, filtered};
    const TestReport told = report(runner, written, "", files_);
    return fmt::format("{}{}", told.ok ? "" : "failed: ", told.text);
  };
  EXPECT_EQ(text(RunnerKind::jest, kVitest, true), "failed: no tests ran, 2 skipped (runner)");
  EXPECT_EQ(text(RunnerKind::jest, kVitest, false), "0 tests passed, 2 skipped (runner)");
  EXPECT_EQ(text(RunnerKind::node, kNode, true), "failed: no tests ran, 1 skipped (runner)");
}
TEST_F(Report, PytestThatTellsNoTracebacksIsToldByItsEnd) {
  EXPECT_EQ(text(RunnerKind::pytest,
                 "F.\nFAILED tests/test_a.py::test_half - assert 2 == 1\n"
                 "1 failed, 1 passed, 2 subtests passed in 61.04s (0:01:01)\n"),
            "1 of 2 tests failed (runner)\n  F.\n  FAILED tests/test_a.py::test_half - assert 2 == "
            "1\n  1 failed, 1 passed, 2 subtests passed in 61.04s (0:01:01)");
}
TEST_F(Report, UnittestWithoutTests) {
  EXPECT_EQ(
      told(RunnerKind::unittest, "\nRan 0 tests in 0.000s\n\nNO TESTS RAN\n", "exit status 5").text,
      "no tests ran (runner)");
}

TEST_F(Report, GoWithoutTestsOfThatName) {
  EXPECT_EQ(
      told(
          RunnerKind::go,
          R"({"Action":"start","Package":"example.com/x/p"})"
          "\n"
          R"({"Action":"output","Package":"example.com/x/p","Output":"ok  \texample.com/x/p\t0.002s [no tests to run]\n"})"
          "\n"
          R"({"Action":"pass","Package":"example.com/x/p","Elapsed":0.002})"
          "\n"
          R"({"Action":"skip","Package":"example.com/x/q","Elapsed":0})"
          "\n",
          "")
          .text,
      "no tests ran (runner)");
}
TEST_F(Report, AGoPackageThatFailsOutsideItsTestsIsToldInItsOwnWords) {
  EXPECT_EQ(
      text(
          RunnerKind::go,
          R"({"Action":"start","Package":"example.com/x/p"})"
          "\n"
          R"({"Action":"output","Package":"example.com/x/p","Output":"panic: no home\n"})"
          "\n"
          R"({"Action":"output","Package":"example.com/x/p","Output":"FAIL\texample.com/x/p\t0.002s\n"})"
          "\n"
          R"({"Action":"fail","Package":"example.com/x/p","Elapsed":0.002})"
          "\n"),
      "tests failed (runner, exit status 1)\n  panic: no home\n  FAIL\texample.com/x/p\t0.002s");
}

TEST_F(Report, Go119) {
  dir_.write("go.mod", "module example.com/x\n\ngo 1.19\n");
  dir_.write("p/a.go", lines(6));
  dir_.write("p/a_test.go", lines(26));
  dir_.write("q/q.go", lines(3));
  const auto event = [](const char* action, const char* test, const std::string& output) {
    nlohmann::json out{{"Action", action}, {"Package", "example.com/x/p"}, {"Test", test}};
    if (!output.empty()) out["Output"] = output;
    return out.dump() + "\n";
  };
  EXPECT_EQ(
      text(
          RunnerKind::go,
          "# example.com/x/q [example.com/x/q.test]\nq/q.go:3:23: cannot use \"x\" (untyped string "
          "constant) as int value in return statement\n" +
              event("output", "TestHalf", "    a_test.go:7: got 2, want 1\n") +
              event("fail", "TestHalf", "") +
              event("output", "TestTable/b", "    a_test.go:15: bad case\n") +
              event("pass", "TestTable/a", "") + event("fail", "TestTable/b", "") +
              event("fail", "TestTable", "") + event("skip", "TestSkip", "") +
              event("output", "TestPanic", "--- FAIL: TestPanic (0.00s)\n") +
              event("output", "TestPanic", "panic: assignment to entry in nil map [recovered]\n") +
              event("output", "TestPanic", "\t/usr/lib/go-1.19/src/runtime/panic.go:884 +0x212\n") +
              event("output", "TestPanic", "\tROOT/p/a.go:5\n") +
              event("output", "TestPanic", "\tROOT/p/a_test.go:25 +0x2e\n") +
              event("fail", "TestPanic", "") +
              R"({"Action":"fail","Package":"example.com/x/p","Elapsed":0.017})"
              "\nFAIL\texample.com/x/q [build failed]\n"),
      "4 of 5 tests failed, 1 skipped (runner)\n"
      "FAIL q/q.go:3 (did not compile)\n  line 3;\n  cannot use \"x\" (untyped string constant) as "
      "int value in return statement\n"
      "FAIL p/a_test.go:7 TestHalf\n  line 7;\n  got 2, want 1\n"
      "FAIL p/a_test.go:25 TestPanic\n  line 25;\n  at p/a.go:5: line 5;\n  panic: assignment to "
      "entry in nil map [recovered]\n"
      "FAIL p/a_test.go:15 TestTable/b\n  line 15;\n  bad case");
}

// Twelve megabytes are kept of an output, and of go's every event is read.
TEST_F(Report, GoOfMoreOutputThanIsKept) {
  const std::string said(20'000, 'x');
  const auto event = [](const char* action, const std::string& test, const std::string& output) {
    nlohmann::json out{{"Action", action}, {"Package", "example.com/x/p"}, {"Test", test}};
    if (!output.empty()) out["Output"] = output;
    return out.dump() + "\n";
  };
  const auto written = [&](const char* fails) {
    std::string out;
    for (int i = 0; i < 1000; ++i) {
      const std::string test = fmt::format("Test{}", i);
      out += event("run", test, "") + event("output", test, said + "\n");
      if (test == fails) out += event("output", test, "    a_test.go:7: no\n");
      out += event(test == fails ? "fail" : "pass", test, "");
    }
    return out + R"({"Action":"pass","Package":"example.com/x/p","Elapsed":1.2})" + "\n";
  };
  EXPECT_EQ(told(RunnerKind::go, written(""), "").text, "1000 tests passed (runner)");
  EXPECT_EQ(text(RunnerKind::go, written("Test500")),
            "1 of 1000 tests failed (runner)\nFAIL a_test.go:7 Test500\n  no");
  // Of a command of any kind the middle is not read, and that it passed stands in its status.
  EXPECT_TRUE(std::regex_match(
      told(RunnerKind::generic, written(""), "").text,
      std::regex(R"(\d{3} tests passed \(runner\)\n\[of the output, \d+ bytes in the middle )"
                 R"(were not kept; what tests say there is not read\])")))
      << told(RunnerKind::generic, written(""), "").text;
}
TEST_F(Report, AGoTestThatDoesNotEndHasFailedWhereTheCommandHas) {
  constexpr const char* kRuns =
      R"({"Action":"run","Package":"example.com/x/p","Test":"TestA"})"
      "\n"
      R"({"Action":"run","Package":"example.com/x/p","Test":"TestB"})"
      "\n"
      R"({"Action":"pass","Package":"example.com/x/p","Test":"TestB"})";  // without an end
  EXPECT_EQ(text(RunnerKind::go, kRuns), "1 of 2 tests failed (runner)\nFAIL TestA");
  EXPECT_EQ(told(RunnerKind::go, kRuns, "").text, "2 tests passed (runner)");
}

TEST_F(Report, NamesOfGoTestsAreBounded) {
  const auto event = [](const std::string& name) {
    return R"({"Action":"pass","Package":"p","Test":")" + name + "\"}\n";
  };
  GoEvents events;
  events.feed(event("TestA") + event(std::string(300'000, 'x')));  // no event of go's
  EXPECT_EQ(events.counts(files_, dir_.root()).total, 1);
  EXPECT_FALSE(events.counts(files_, dir_.root()).partial);
  for (int i = 0; i < 280; ++i) events.feed(event(std::to_string(i) + std::string(250'000, 'x')));
  const TestCounts counts = events.counts(files_, dir_.root());
  EXPECT_TRUE(counts.partial);
  EXPECT_GT(counts.total, 200);
  EXPECT_LT(counts.total, 270);
}

TEST_F(Report, Cargo195) {
  dir_.write("src/lib.rs", lines(28));
  dir_.write("tests/it.rs", lines(3));
  EXPECT_EQ(text(RunnerKind::cargo,
                 "running 5 tests\ntest tests::bad ... FAILED\ntest tests::calm - should panic ... "
                 "FAILED\ntest tests::good ... ok\ntest tests::later ... ignored\n"
                 "test tests::result ... FAILED\n\nfailures:\n\n---- tests::bad stdout ----\ndebug "
                 "print\n\n"
                 "thread 'tests::bad' (26203) panicked at src/lib.rs:14:9:\nassertion `left == "
                 "right` failed: half of two\n  left: 2\n right: 1\n"
                 "note: run with `RUST_BACKTRACE=1` environment variable to display a "
                 "backtrace\n\n---- tests::calm stdout ----\n"
                 "note: test did not panic as expected at src/lib.rs:23:8\n---- tests::result "
                 "stdout ----\nError: \"no\"\n\n\nfailures:\n    tests::bad\n\n"
                 "test result: FAILED. 1 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; "
                 "finished in 0.00s\n\n"
                 "running 1 test\ntest outer ... FAILED\n\nfailures:\n\n---- outer stdout "
                 "----\n\nthread 'outer' (26214) panicked at tests/it.rs:2:49:\n"
                 "index out of bounds: the len is 0 but the index is 0\nnote: run with "
                 "`RUST_BACKTRACE=1` environment variable to display a backtrace\n\n\n"
                 "failures:\n    outer\n\ntest result: FAILED. 0 passed; 1 failed; 0 ignored; 0 "
                 "measured; 0 filtered out; finished in 0.00s\n"),
            "4 of 5 tests failed, 1 skipped (runner)\n"
            "FAIL src/lib.rs:14 tests::bad\n  line 14;\n  assertion `left == right` failed: half "
            "of two\n  left: 2\n  right: 1\n"
            "FAIL src/lib.rs:23 tests::calm\n  line 23;\n  it did not panic, and was to\nFAIL "
            "tests::result\n  Error: \"no\"\n"
            "FAIL tests/it.rs:2 outer\n  line 2;\n  index out of bounds: the len is 0 but the "
            "index is 0");
}
TEST_F(Report, CargoThatDoesNotCompile) {
  dir_.write("src/lib.rs", lines(28));
  EXPECT_EQ(
      text(RunnerKind::cargo,
           "   Compiling x v0.1.0 (ROOT)\nerror[E0308]: mismatched types\n  --> src/lib.rs:27:26\n "
           "  |\n27 | pub fn broken() -> i32 { \"x\" }\n"
           "   |                    ---   ^^^ expected `i32`, found `&str`\n\nerror: could not "
           "compile `x` (lib test) due to 1 previous error\n"),
      "tests failed (runner, exit status 1)\n  src/lib.rs:27:26: error[E0308]: mismatched types");
}

TEST_F(Report, ACommandOfAnyKindIsReadByTheOneRunnerInIt) {
  dir_.write("t.c", lines(8));
  EXPECT_TRUE(text(RunnerKind::generic, std::string("make[1]: Entering directory\n") + kCtest)
                  .starts_with("4 of 5 tests failed, 2 skipped (runner)\nFAIL t.c:6 bad\n"));
  EXPECT_TRUE(text(RunnerKind::generic, std::string(kCtest) + "Ran 3 tests in 0.1s\n\nOK\n")
                  .starts_with("tests failed (runner, exit status 1)"));
}

TEST_F(Report, WordsLikeARunnersAreNotTakenForIt) {
  constexpr const char* kPassing =
      "running 3 tests\n\ntest result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered "
      "out; finished in 0.00s\n";
  EXPECT_EQ(told(RunnerKind::generic, kPassing, "").text, "3 tests passed (runner)");
  constexpr const char* kJest =
      "PASS ./a.test.js\nTests:       3 passed, 3 total\nTime:        0.4 s\nRan all test "
      "suites.\n";
  EXPECT_EQ(told(RunnerKind::generic, kJest, "").text, "tests passed (runner)");
  EXPECT_EQ(told(RunnerKind::generic, std::string(kJest) + kPassing, "").text,
            "3 tests passed (runner)");
  EXPECT_EQ(text(RunnerKind::generic,
                 "a.py:3: error: Name \"x\" is not defined\nFound 1 error in 1 file (checked 2 "
                 "source files)\nmake: *** [Makefile:2: test] Error 1\n"),
            "tests failed (runner, exit status 1)\n  a.py:3: error: Name \"x\" is not defined");
}

// One file may have thousands of failures, and each reading of it costs the same.
TEST_F(Report, ReadsNoSourceOfWhatIsNotShown) {
  dir_.write("t.py", lines(100));
  const std::string rule(70, '='), thin(70, '-');
  std::string output;
  for (int i = 1; i <= 100; ++i)
    output += fmt::format(
        "{}\nFAIL: test_{} (t.T)\n{}\nTraceback (most recent call last):\n  File \"{}/t.py\", "
        "line {}, in test_{}\n    x\nAssertionError: x\n\n",
        rule, i, thin, dir_.root(), i, i);
  output += thin + "\nRan 100 tests in 0.1s\n\nFAILED (failures=100)\n";
  const TestCounts counts = parse_unittest(output, files_, dir_.root());
  ASSERT_EQ(counts.failures.size(), 100u);
  EXPECT_EQ(counts.failures[99].detail, std::vector<std::string>{"AssertionError: x"});
  const std::string shown = text(RunnerKind::unittest, output);
  EXPECT_NE(shown.find("FAIL t.py:10 test_10\n  line 10;\n  AssertionError: x\n[90 more"),
            std::string::npos)
      << shown;
}

// What a command prints chooses the file, and it may be one that the sandbox hides.
TEST_F(Report, ShowsNoLineOfWhatIsKeptBack) {
  const std::string key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUA\n";
  dir_.write(".env", "A=1\nDB_PASSWORD=hunter2\n");
  dir_.write(".git/credentials", "A=1\nhttps://u:hunter2@example.invalid\n");
  dir_.write("state/.lares-own", "");
  dir_.write("state/sessions/1", "A=1\nhunter2\n");
  dir_.write("notes.txt", key);
  dir_.write("a.py", "import b\nb.f()\n");
  fs::create_symlink(".env", dir_.at("plain.py"));
  fs::create_symlink("/etc/passwd", dir_.at("users.py"));
  const std::string rule(70, '-');
  for (const std::string name : {".env", ".git/credentials", "state/sessions/1", "notes.txt",
                                 "plain.py", "users.py", "a.py"}) {
    const auto output = fmt::format(
        "F\n{}\nFAIL: test_a (t.T)\n{}\nTraceback (most recent call last):\n  File \"ROOT/{}\", "
        "line 2, in test_a\nAssertionError: x\n\n{}\nRan 1 test in 0.1s\n\nFAILED "
        "(failures=1)\n",
        std::string(70, '='), rule, name, rule);
    EXPECT_EQ(text(RunnerKind::unittest, output),
              fmt::format("1 of 1 test failed (runner)\nFAIL {}:2 test_a{}\n  "
                          "AssertionError: x",
                          name, name == "a.py" ? "\n  b.f()" : ""));
  }
}

TEST_F(Report, SaysWhetherAnythingWasLeftOut) {
  EXPECT_TRUE(told(RunnerKind::generic, "no\n").whole);
  EXPECT_FALSE(told(RunnerKind::generic, std::string(kOutputKnownBytes + 1, 'x')).whole);
}

}  // namespace
}  // namespace lares::tools
