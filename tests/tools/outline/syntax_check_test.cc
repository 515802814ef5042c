#include "tools/outline/syntax_check.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <utility>

namespace lares::tools {
namespace {

const std::atomic<bool> kNotCancelled = false;
std::string told(std::string_view path, const std::optional<std::string>& before,
                 std::string_view after) {
  return new_syntax_errors(path, before, after, kNotCancelled);
}

class Syntax : public testing::Test {
 protected:
  void SetUp() override {
    if (!can_check_syntax("a.py", "")) GTEST_SKIP() << "built with LARES_TREE_SITTER=OFF";
  }
};

TEST_F(Syntax, NamesTheLine) {
  EXPECT_EQ(
      told("a.py", "x = 1\nif x == 1:\n    y()\n", "x = 1\nif x =\n    y()\n"),
      "The file now has a syntax error at line 2: `if x =`; it had none there before this edit.");
  EXPECT_EQ(told("a.c", "int f(void) {\n  return g(1);\n}\n", "int f(void) {\n  return g(1;\n}\n"),
            "The file now has a syntax error at line 2, where `)` is missing: `return g(1;`; it "
            "had none there before this edit.");
}

// As their programs take it, with comments; what no program takes is told.
TEST_F(Syntax, AFinalCommaIsAnErrorWhereItsProgramSaysSo) {
  constexpr const char* kGood = "{\n  \"a\": [1, 2]\n}\n";
  constexpr const char* kComma =
      "{\n  // why\n  \"a\": [1, 2,], /* x */\n  \"b\": \",}\", // y\n}\n";
  for (const char* path :
       {"tsconfig.json", "web/tsconfig.build.json", "jsconfig.json", ".vscode/settings.json",
        "web/.vscode/launch.json", ".devcontainer/devcontainer.json", "babel.config.json"})
    EXPECT_EQ(told(path, kGood, kComma), "") << path;
  for (const char* path : {"package.json", "vscode/a.json", "my.tsconfig.json"})
    EXPECT_NE(told(path, kGood, kComma), "") << path;
  for (const char* bad : {"{\n  \"a\": [1,, 2]\n}\n", "{\n  \"a\": [1, 2,,]\n}\n",
                          "{\n  \"a\": [,]\n}\n", "{\n  \"a\": [1, 2\n}\n", "{\n  \"a\": ,\n}\n"})
    EXPECT_NE(told("tsconfig.json", kGood, bad), "") << bad;
}

struct Case {
  const char *path, *good, *bad;
};
class SyntaxOf : public testing::TestWithParam<Case> {};
// In each language: an edit that breaks it is told, and neither the way back nor an edit elsewhere
// in what was broken.
TEST_P(SyntaxOf, OnlyNewErrorsAreTold) {
  const auto [path, good, bad] = GetParam();
  if (!can_check_syntax("a.py", "")) GTEST_SKIP() << "built with LARES_TREE_SITTER=OFF";
  EXPECT_EQ(told(path, std::string(), good), "");
  EXPECT_NE(told(path, good, bad), "");
  EXPECT_EQ(told(path, bad, good), "");
  EXPECT_EQ(told(path, bad, bad + std::string("\n")), "");
  EXPECT_EQ(told(path, std::string(bad), std::string("\n").append(bad)), "");
}
INSTANTIATE_TEST_SUITE_P(
    Languages, SyntaxOf,
    testing::Values(
        Case{"a.c", "int f(int x) {\n  return x;\n}\n", "int f(int x) {\n  return x\n}\n"},
        Case{"a.cc", "namespace n {\nclass A {\n  void f();\n};\n}\n",
             "namespace n {\nclass A {\n  void f();\n;\n}\n"},
        Case{"a.h", "class A {\n  int f(int x = 1);\n};\n", "class A {\n  int f(int x = 1;\n};\n"},
        Case{"a.py", "def f(x):\n    return [x]\n", "def f(x):\n    return [x\n"},
        Case{"a.js", "function f(x) {\n  return x;\n}\n", "function f(x) {\n  return x;\n"},
        Case{"a.jsx", "const a = () => <div>x</div>;\n", "const a = () => <div>x</dv>;\nlet = ;\n"},
        Case{"a.ts", "interface A {\n  b: number;\n}\nconst c: A = { b: 1 };\n",
             "interface A {\n  b: number;\n}\nconst c: A = { b: 1 ;\n"},
        Case{"a.tsx", "const a = () => <div>{f(1)}</div>;\n",
             "const a = () => <div>{f(1}</div>;\n"},
        Case{"a.rs", "fn f(x: i32) -> i32 {\n    x\n}\n", "fn f(x: i32 -> i32 {\n    x\n}\n"},
        Case{"a.go", "package a\n\nfunc f() int {\n\treturn 1\n}\n",
             "package a\n\nfunc f() int {\n\treturn 1 +\n}\n"},
        Case{"A.java", "class A {\n  int f() { return 1; }\n}\n",
             "class A {\n  int f() { return 1 }\n}\n"},
        Case{"a.sh", "if true; then\n  f\nfi\n", "if true; then\n  f\n"},
        Case{"a.json", "{\"a\": [1, 2]}\n", "{\"a\": [1, 2}\n"}));

TEST_F(Syntax, WhatWasBrokenBeforeIsNotTheEdits) {
  EXPECT_EQ(
      told("a.py", "a = = 1\nb = 2\n", "a = = 1\nb = = 2\n"),
      "The file now has a syntax error at line 2: `b = = 2`; it had none there before this edit.");
  const std::string broken = "def f(:\n    pass\n\n\nx = 1\n";
  EXPECT_EQ(told("a.py", broken, "def f(:\n    pass\n\n\nx = 2\n"), "");
  EXPECT_EQ(told("a.py", broken, "import os\n\n" + broken), "");
  EXPECT_EQ(told("a.py", broken, broken + "y = (\n").find("line 1:"), std::string::npos);
}
// Honest code that the grammars stop at: none of it was in the file before.
TEST_F(Syntax, HonestCodeIsLeftAlone) {
  const std::string before = "#include \"a.h\"\n\nint f();\n";
  for (const char* line : {"void g(const Options& options = {});", "INLINE void each(F&& f) {}",
                           "INSTANTIATE_TEST_SUITE_P(, Linear, testing::Values(1));",
                           "using std::chrono::milliseconds, std::chrono::seconds;",
                           "bool h() { return (this->*step)(); }",
                           "#ifdef A\nvoid x() {\n#else\nvoid y() {\n#endif\n}", "Q_OBJECT",
                           "__attribute__((packed)) int z;"}) {
    EXPECT_EQ(told("a.cc", before, before + line + "\n"), "") << line;
    EXPECT_EQ(told("a.cc", std::nullopt, before + line + "\n"), "") << line;
  }
}
// What the languages have by now and the grammars do not: none of it is told, and a bracket lost in
// another line is.
TEST_F(Syntax, WhatAGrammarDoesNotKnowIsLeftAlone) {
  const std::pair<const char*, const char*> known[] = {
      {"A.java", "import module java.base;"},
      {"A.java", "class A extends B {\n  A(int y) {\n    int x = y;\n    super(x);\n  }\n}"},
      {"a.js", "export { _null as null };"},
      {"a.js", "class A {\n  accessor y = 1;\n}"},
      {"a.js", "import defer * as ns from \"x\";"},
      {"a.py", "class A[T = int]:\n    pass"},
      {"a.py", "def f[T = int](x: T) -> T:\n    return x"},
      {"a.py", "type X[T = int] = list[T]"},
      {"a.rs", "unsafe extern \"C\" {\n    safe fn f();\n}"},
      {"a.rs", "fn f(x: impl async Fn() -> u8) {}"},
      {"a.ts", "export type * from \"a\";"},
      {"a.ts", "type A = import(\"a\").B<C>;"},
      {"a.ts", "interface A<out T, in U> {}"},
      {"a.ts", "declare module \"a\" {\n  export default function (): { a: b };\n}"},
      {"a.tsx", "declare global {\n  interface W {}\n}"},
  };
  for (const auto& [path, text] : known) {
    EXPECT_EQ(told(path, "\n", fmt::format("{}\n", text)), "") << text;
    const auto broken = path == std::string_view("a.py") ? "def f(a: list[int] = None:\n    pass\n"
                                                         : "f((1, timeout = 2);\n";
    EXPECT_NE(told(path, "\n", broken), "") << path;
  }
}
// So are scripts that the grammar alone stops at; bash reads them.
TEST_F(Syntax, ScriptsThatBashReadsAreLeftAlone) {
  for (const char* line :
       {"for i do echo \"$i\"; done", "[ \"$a\" = ~ ]", "shopt -s extglob\nls !(a|b)",
        "while ((n=$(f 2>/dev/null))); do :; done", "a=${1:-`dirname $0`}"}) {
    const std::string script = fmt::format("set -e\n{}\n", line);
    EXPECT_EQ(told("a.sh", "set -e\n", script), "") << line;
    EXPECT_EQ(told("a.sh", std::nullopt, script), "") << line;
    EXPECT_NE(told("a.sh", "set -e\n", script + "if f; then\n"), "") << line;
  }
  EXPECT_NE(told("a.sh", std::nullopt, "#!/usr/bin/env -S bash -e\nif f; then\n"), "");
  EXPECT_NE(told("a.sh", "", "x=(a b\n"), "");
  EXPECT_EQ(told("a.sh", std::nullopt, "#!/usr/bin/env zsh\nif f; then\n"), "");  // not bash's
}
// `bash -n` runs nothing, and what a script does at its start is no exception.
TEST_F(Syntax, NothingOfAScriptIsRun) {
  const std::string made = testing::TempDir() + "/made-by-a-script";
  told("a.sh", std::nullopt, fmt::format("touch {0}\n: $(touch {0})\nif\n", made));
  EXPECT_FALSE(std::filesystem::exists(made));
}
// A whole file has too many chances to be misread.
TEST_F(Syntax, OfANewFileInCppOnlyBracketsCount) {
  const std::string honest =
      "void f(FILE* pipe) {\n  for (char b[9]; const auto n = fread(b, 1, 9, pipe);) g(n);\n}\n";
  EXPECT_EQ(told("a.cc", std::nullopt, honest), "");
  EXPECT_NE(told("a.cc", std::nullopt, honest.substr(0, honest.size() - 2)), "");
}
TEST_F(Syntax, ABracketLostInHardCodeIsTold) {
  const std::string before =
      "#define INLINE inline\nINLINE int f(int x = {}) {\n  if (x) {\n    return '}';  // }\n  }\n "
      " return 100'000;\n}\n";
  std::string after = before;
  after.erase(after.find("  }\n"), 4);
  EXPECT_NE(told("a.cc", before, after), "");
  EXPECT_NE(told("a.cc", std::nullopt, after), "");
}
TEST_F(Syntax, AtMostThreeLinesAndBoundedOnes) {
  std::string bad;
  for (int i = 0; i < 20; ++i) bad += "x = = " + std::string(300, '1') + "\ny = 1\n";
  const std::string text = told("a.py", "y = 1\n", bad);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2) << text;
  EXPECT_LT(text.size(), 400u);
}
TEST_F(Syntax, OtherFilesAndLargeOnesAreNotLookedAt) {
  EXPECT_FALSE(can_check_syntax("README.md", ""));
  EXPECT_FALSE(can_check_syntax("a.py", std::string(kCheckedBytesMax + 1, '(')));
  EXPECT_EQ(told("a.txt", "", "((("), "");
  EXPECT_EQ(told("a.py", "", std::string(kCheckedBytesMax + 1, '(')), "");
}
TEST_F(Syntax, ACancelledLookSaysNothing) {
  const std::atomic<bool> cancelled = true;
  std::string big;
  for (int i = 0; i < 20'000; ++i) big += "x = 1\n";
  EXPECT_EQ(new_syntax_errors("a.py", big, big + "(((", cancelled), "");
}
// 100,000 levels: a recursive walk would overflow the stack.
TEST_F(Syntax, DeepNestingIsHarmless) {
  told("deep.py", "x = 1\n", "x = " + std::string(100'000, '(') + "\n");
}

}  // namespace
}  // namespace lares::tools
