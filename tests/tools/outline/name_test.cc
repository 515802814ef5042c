#include "tools/outline/name.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "tests/tools/scratch.h"
#include "tools/clip.h"
#include "tools/edit/edit_tool.h"
#include "tools/outline/outline_tool.h"

namespace lares::tools {
namespace {

using nlohmann::json;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class OutlineName : public testing::Test {
 protected:
  void SetUp() override {
    BuiltinOptions options;
    options.root = dir_.root();
    tool_ = make_outline_tool({}, options);
    if (call({{"name", "x"}}).text.find("LARES_TREE_SITTER=OFF") != std::string::npos)
      GTEST_SKIP() << "built with LARES_TREE_SITTER=OFF";
  }
  Outcome call(json args) {
    asio::io_context io;
    const auto outcome = test::call(io, *tool_, std::move(args));
    return outcome ? *outcome : Outcome{outcome.error().message, false, {}};
  }
  // What is shown of `name`, with "@" for the root.
  std::string named(const std::string& name, json args = json::object()) {
    args["name"] = name;
    auto text = call(std::move(args)).text;
    for (auto at = text.find(dir_.root()); at != std::string::npos; at = text.find(dir_.root()))
      text.replace(at, dir_.root().size(), 1, '@');
    return text;
  }

  test::Scratch dir_;
  std::unique_ptr<Tool> tool_;
};

TEST_F(OutlineName, Python) {
  dir_.write(
      "a.py",
      "import os\n\n@cache\n@wraps(os)\ndef f(x):\n    if x:\n        return 1\n\n    return "
      "2\n\n\nclass A:\n    def m(self):\n        pass\n\n    @property\n    def f(self): "
      "pass\n\nclass B:\n    def m(self): return 3\n");
  EXPECT_EQ(named("A.m"), "@/a.py\n    13      def m(self):\n    14          pass\n");
  EXPECT_EQ(named("B.m"), "@/a.py\n    20      def m(self): return 3\n");
  EXPECT_EQ(named("m"),
            "@/a.py\n    13      def m(self):\n    14          pass\n"
            "@/a.py\n    20      def m(self): return 3\n");
  EXPECT_EQ(named("f"),
            "@/a.py\n     3  @cache\n     4  @wraps(os)\n     5  def f(x):\n     6      if x:\n"
            "     7          return 1\n     8  \n     9      return 2\n"
            "@/a.py\n    16      @property\n    17      def f(self): pass\n");
  EXPECT_EQ(named("A"),
            "@/a.py\n    12  class A:\n    13      def m(self):\n    14          pass\n    15  \n"
            "    16      @property\n    17      def f(self): pass\n");
}

TEST_F(OutlineName, OfACFunctionOnlyTheBodyIsShown) {
  dir_.write("f.h", "int f(int x);\nint g(int x);\n");
  dir_.write(
      "f.c",
      "static int f(int);\n/* f */\nint f(int x)\n{\n  return g(x);\n}\n"
      "#define MAX(a, b) \\\n  ((a) > (b) ? (a) : (b))\n"
      "typedef struct node node;\nstruct node { int v; };\nchar **names(void) { return 0; }\n"
      "typedef int (*hook)(int);\n");
  EXPECT_EQ(named("f"),
            "@/f.c\n     3  int f(int x)\n     4  {\n     5    return g(x);\n     6  }\n");
  EXPECT_EQ(named("g"), "@/f.h\n     2  int g(int x);\n");
  EXPECT_EQ(named("f", {{"path", "f.h"}}), "@/f.h\n     1  int f(int x);\n");
  EXPECT_EQ(named("MAX"),
            "@/f.c\n     7  #define MAX(a, b) \\\n     8    ((a) > (b) ? (a) : (b))\n");
  EXPECT_EQ(named("node"), "@/f.c\n    10  struct node { int v; };\n");
  EXPECT_EQ(named("names"), "@/f.c\n    11  char **names(void) { return 0; }\n");
  EXPECT_EQ(named("hook"), "@/f.c\n    12  typedef int (*hook)(int);\n");
}

TEST_F(OutlineName, Cpp) {
  dir_.write(
      "a.h",
      "namespace n {\nclass A {\n public:\n  A() = default;\n  int m() const;\n  bool "
      "operator==(const A&) const;\n};\ntemplate <class T>\nT* twice(T t) {\n  return t;\n}\n"
      "}\n");
  dir_.write("a.cc",
             "int n::A::m() const {\n  return 1;\n}\nint B<int>::m() { return 2; }\n"
             "bool A::operator==(const A&) const { return true; }\nA::~A() {}\n");
  const std::string body =
      "@/a.cc\n     1  int n::A::m() const {\n     2    return 1;\n     3  }\n";
  EXPECT_EQ(named("A::m"), body);
  EXPECT_EQ(named("n::A::m"), body);
  EXPECT_EQ(named("elsewhere::A::m"), body);
  EXPECT_EQ(named("B::m"), "@/a.cc\n     4  int B<int>::m() { return 2; }\n");
  EXPECT_EQ(named("m"), body + "@/a.cc\n     4  int B<int>::m() { return 2; }\n");
  EXPECT_THAT(named("A"), StartsWith("@/a.h\n     2  class A {\n"));
  EXPECT_THAT(named("A"), EndsWith("     7  };\n"));
  EXPECT_EQ(named("twice"),
            "@/a.h\n     8  template <class T>\n     9  T* twice(T t) {\n    10    return t;\n"
            "    11  }\n");
  EXPECT_EQ(named("n::twice"), named("twice"));
  EXPECT_EQ(named("operator=="),
            "@/a.cc\n     5  bool A::operator==(const A&) const { return true; }\n");
  EXPECT_EQ(named("~A"), "@/a.cc\n     6  A::~A() {}\n");
  dir_.write("d.h",
             "class D {\n  D() = default;\n  D(int);\n};\nvoid p::D::k() {}\nvoid q::D::k() {}\n");
  EXPECT_EQ(named("D::D"), "@/d.h\n     2    D() = default;\n");
  EXPECT_EQ(named("q::D::k"), "@/d.h\n     6  void q::D::k() {}\n");
}

TEST_F(OutlineName, JavaScript) {
  dir_.write("a.js",
             "export function f(x) {\n  return x;\n}\nexport const add = (a, b) =>\n  a + b;\n"
             "exports.run = async function (x) {\n};\nconst api = {\n  get: function () {},\n};\n"
             "class A {\n  #m() {}\n  h = () => 1;\n}\nA.prototype.k = function () {};\n");
  EXPECT_EQ(named("f"), "@/a.js\n     1  export function f(x) {\n     2    return x;\n     3  }\n");
  EXPECT_EQ(named("add"), "@/a.js\n     4  export const add = (a, b) =>\n     5    a + b;\n");
  const std::string run = "@/a.js\n     6  exports.run = async function (x) {\n     7  };\n";
  EXPECT_EQ(named("run"), run);
  EXPECT_EQ(named("exports.run"), run);
  EXPECT_EQ(named("get"), "@/a.js\n     9    get: function () {},\n");
  EXPECT_EQ(named("A.#m"), "@/a.js\n    12    #m() {}\n");
  EXPECT_EQ(named("A#h"), "@/a.js\n    13    h = () => 1;\n");
  EXPECT_EQ(named("A.k"), "@/a.js\n    15  A.prototype.k = function () {};\n");
}

TEST_F(OutlineName, TypeScript) {
  dir_.write("a.ts",
             "interface I {\n  f(x: number): string;\n}\ntype T = {\n  a: number\n};\n"
             "@Injectable()\nexport abstract class C<T> implements I {\n  @Input()\n  f(x: number) "
             "{ return ''; }\n  h = (x: T) => x;\n}\ndeclare function outer(): void;\n"
             "namespace N.M {\n  export enum E { A }\n}\n");
  EXPECT_EQ(named("f"), "@/a.ts\n     9    @Input()\n    10    f(x: number) { return ''; }\n");
  EXPECT_EQ(named("I.f"), "@/a.ts\n     2    f(x: number): string;\n");
  EXPECT_EQ(named("h"), "@/a.ts\n    11    h = (x: T) => x;\n");
  EXPECT_EQ(named("T"), "@/a.ts\n     4  type T = {\n     5    a: number\n     6  };\n");
  EXPECT_THAT(named("C"), StartsWith("@/a.ts\n     7  @Injectable()\n     8  export abstract"));
  EXPECT_EQ(named("outer"), "@/a.ts\n    13  declare function outer(): void;\n");
  EXPECT_EQ(named("M.E"), "@/a.ts\n    15    export enum E { A }\n");
}

TEST_F(OutlineName, Rust) {
  dir_.write("a.rs",
             "#[derive(Debug)]\n// of two\n#[repr(C)]\npub struct P<T>(T);\nstruct Unit;\ntrait T "
             "{ fn f(&self); }\nimpl<X> T for P<X> {\n    fn f(&self) {}\n}\nimpl Unit {\n    fn "
             "new() -> Self { Unit }\n}\nmacro_rules! mac { () => {} }\n");
  const std::string impl = "@/a.rs\n     8      fn f(&self) {}\n";
  EXPECT_EQ(named("f"), impl);
  EXPECT_EQ(named("P::f"), impl);
  EXPECT_EQ(named("T::f"), "@/a.rs\n     6  trait T { fn f(&self); }\n");
  EXPECT_EQ(named("P"),
            "@/a.rs\n     1  #[derive(Debug)]\n     2  // of two\n     3  #[repr(C)]\n"
            "     4  pub struct P<T>(T);\n@/a.rs\n     7  impl<X> T for P<X> {\n"
            "     8      fn f(&self) {}\n     9  }\n");
  EXPECT_THAT(named("Unit"), StartsWith("@/a.rs\n     5  struct Unit;\n@/a.rs\n    10  impl"));
  EXPECT_EQ(named("mac"), "@/a.rs\n    13  macro_rules! mac { () => {} }\n");
}

TEST_F(OutlineName, Go) {
  dir_.write("a.go",
             "package a\n\ntype S struct {\n\tx int\n}\ntype I interface {\n\tF(x int) error\n}\n"
             "func (s *S) F(x int) error {\n\treturn nil\n}\nfunc (g G[T]) F() {}\nfunc H() {}\n");
  EXPECT_EQ(named("S.F"),
            "@/a.go\n     9  func (s *S) F(x int) error {\n    10  \treturn nil\n    11  }\n");
  EXPECT_EQ(named("G.F"), "@/a.go\n    12  func (g G[T]) F() {}\n");
  EXPECT_EQ(named("I.F"), "@/a.go\n     7  \tF(x int) error\n");
  EXPECT_EQ(named("S"), "@/a.go\n     3  type S struct {\n     4  \tx int\n     5  }\n");
}

TEST_F(OutlineName, Java) {
  dir_.write("A.java",
             "interface I { void f(int x); }\n@Entity\npublic class A<T> implements I {\n  "
             "@Override\n  public void f(int x) {\n  }\n  A() {}\n}\n");
  EXPECT_EQ(named("f"),
            "@/A.java\n     4    @Override\n     5    public void f(int x) {\n     6    }\n");
  EXPECT_THAT(named("A"), StartsWith("@/A.java\n     2  @Entity\n     3  public class A"));
  EXPECT_EQ(named("I.f"), "@/A.java\n     1  interface I { void f(int x); }\n");
}

TEST_F(OutlineName, Bash) {
  dir_.write("a.sh", "f() {\n  :\n}\nfunction g { :; }\n");
  EXPECT_EQ(named("f"), "@/a.sh\n     1  f() {\n     2    :\n     3  }\n");
}

TEST_F(OutlineName, FilesComeInOrderAndPathNarrows) {
  for (const auto* file : {"b/z.py", "a.py", "B.py"}) dir_.write(file, "def f(): pass\n");
  const std::string line = "\n     1  def f(): pass\n";
  EXPECT_EQ(named("f"), "@/B.py" + line + "@/a.py" + line + "@/b/z.py" + line);
  EXPECT_EQ(named("f", {{"path", "b"}}), "@/b/z.py" + line);
  EXPECT_EQ(named("f", {{"path", dir_.at("a.py")}}), "@/a.py" + line);
}

TEST_F(OutlineName, ANameIsLookedForInEveryFile) {
  for (int i = 0; i < 2'100; ++i)
    dir_.write(fmt::format("src/d{}/f{}.py", i % 7, i), fmt::format("def f{}():\n    pass\n", i));
  for (const int i : {0, 1'000, 2'099})
    EXPECT_THAT(named(fmt::format("f{}", i)), HasSubstr(fmt::format("1  def f{}():", i)));
  const auto missed = named("nowhere_at_all");
  EXPECT_THAT(missed, HasSubstr("(2100 files in Python)"));
  EXPECT_THAT(missed, Not(HasSubstr("name a subdirectory")));
}

TEST_F(OutlineName, LinesAreShownAsByView) {
  const auto path = dir_.write("a.py",
                               "\xef\xbb\xbf"
                               "x = 1\r\ndef f():\r\n\treturn '\xff\r'\r\n");
  BuiltinOptions options;
  options.root = dir_.root();
  EditTool edit(options);
  asio::io_context io;
  const auto view = test::call(
      io, edit, {{"command", "view"}, {"path", path}, {"view_range", json::array({2, 3})}});
  EXPECT_EQ(call({{"name", "f"}}).text, path + "\n" + view->text);
}

TEST_F(OutlineName, NoLineIsShownTwice) {
  dir_.write("a.py", "class f:\n    def f(self):\n        def f(): pass\n");
  dir_.write("a.js", "function f() {} function f() {}\n");
  EXPECT_EQ(named("f"),
            "@/a.js\n     1  function f() {} function f() {}\n@/a.py\n     1  class f:\n"
            "     2      def f(self):\n     3          def f(): pass\n");
}

TEST_F(OutlineName, WhatDoesNotParseIsNoObstacle) {
  dir_.write("a.py", "def good():\n    pass\n\ndef bad(:\n  pass\n");
  EXPECT_EQ(named("good"), "@/a.py\n     1  def good():\n     2      pass\n");
}

TEST_F(OutlineName, NothingFoundNamesWhatIsSimilar) {
  dir_.write("a.py", "def clamp_stock(): pass\ndef stock(): pass\ndef st(): pass\n");
  dir_.write("a.c", "int Stocks(void) { return 0; }\n");
  const auto outcome = call({{"name", "STOCK"}});
  EXPECT_FALSE(outcome.ok);
  EXPECT_EQ(named("STOCK"),
            "outline: no definition of `STOCK` in @ (2 files in C, Python); similar: stock, "
            "Stocks, clamp_stock");
  EXPECT_EQ(named("stockpile"),
            "outline: no definition of `stockpile` in @ (2 files in C, Python); similar: stock");
  EXPECT_EQ(named("shelf.clamp_stock", {{"path", "a.py"}}),
            "outline: no definition of `shelf.clamp_stock` in @/a.py (1 file in Python); similar: "
            "clamp_stock, stock");
  EXPECT_EQ(named("qux"), "outline: no definition of `qux` in @ (2 files in C, Python)");
  EXPECT_THAT(named(std::string(5'000, 'q')), HasSubstr("qqq...` in @ ("));
}

TEST_F(OutlineName, ALongDefinitionIsCutAtALineEnd) {
  std::string source = "def f():\n";
  for (int i = 0; i < 1'000; ++i) source += "    print('a line of some length')\n";
  dir_.write("a.py", source + "\ndef g(): pass\n");
  const auto text = named("f");
  EXPECT_LE(call({{"name", "f"}}).text.size(), kOutputBytesMax);
  EXPECT_GT(text.size(), 14'000u);
  const auto cut = text.rfind("\n[cut: ");
  ASSERT_NE(cut, std::string::npos);
  const auto last = text.rfind('\n', cut - 1) + 1;
  const int line = std::atoi(text.substr(last, 6).c_str());
  EXPECT_EQ(text.substr(last, cut - last),
            fmt::format("{:6}      print('a line of some length')", line));
  EXPECT_EQ(text.substr(cut + 1), fmt::format("[cut: {} more lines; view @/a.py from line {}]\n",
                                              1'001 - line, line + 1));
}

TEST_F(OutlineName, FurtherDefinitionsAreNamed) {
  std::string source;
  for (int i = 0; i < 200; ++i) source += fmt::format("def f():\n    return '{:x<300}'\n", "");
  dir_.write("a.py", source);
  const auto text = named("f");
  EXPECT_LE(call({{"name", "f"}}).text.size(), kOutputBytesMax);
  const auto more = text.rfind("\n[");
  ASSERT_NE(more, std::string::npos);
  const int shown = static_cast<int>(std::count(text.begin(), text.begin() + more + 1, '@'));
  EXPECT_GT(shown, 30);
  EXPECT_THAT(text.substr(more + 1),
              StartsWith(fmt::format("[{} more definitions: a.py:{}, a.py:{}, ", 200 - shown,
                                     2 * shown + 1, 2 * shown + 3)));
  EXPECT_THAT(text, EndsWith(", ...]\n"));
}

TEST_F(OutlineName, WhatMayBeSecretIsKeptBack) {
  dir_.write("a.json", "{\"token\": \"s3cret\"}\n");
  dir_.write("key.py", "def token():\n    '''\n-----BEGIN PRIVATE KEY-----\ns3cret\n'''\n");
  dir_.write(".git/hook.py", "def token(): return 's3cret'\n");
  dir_.write(".env.py", "def token(): return 's3cret'\n");
  EXPECT_THAT(named("token"), StartsWith("outline: no definition of `token` in @ ("));
  for (const auto* path : {"a.json", "key.py", ".git", ".git/hook.py", ".env.py"}) {
    EXPECT_THAT(named("token", {{"path", path}}), StartsWith("outline: ")) << path;
    EXPECT_THAT(named("token", {{"path", path}}), Not(HasSubstr("s3cret"))) << path;
  }
}

TEST_F(OutlineName, BadArgumentsAreRefused) {
  EXPECT_EQ(named(""), "outline: `name` must not be empty");
  EXPECT_FALSE(call({{"name", ""}}).ok);
  EXPECT_EQ(call({{"name", 1}}).text, "outline: `name` must be a string");
  EXPECT_EQ(named("f", {{"path", "no.py"}}), "outline no.py: no such file or directory");
  EXPECT_THAT(named("f", {{"path", "../x"}}), HasSubstr("outside the repository"));
}

TEST_F(OutlineName, TheNamesThatThereAreMayBeAsked) {
  EXPECT_FALSE(tool_->choices("name", {}));  // nothing to choose from: anything may be asked
  dir_.write("a.py", "def f(): pass\n\nclass A:\n    def m(self): pass\n");
  dir_.write("b.json", "{\"secret\": 1}\n");
  const auto choices = tool_->choices("name", {});
  ASSERT_TRUE(choices);
  EXPECT_THAT(choices->one_of, testing::ElementsAre("A", "A.m", "f", "m"));
  EXPECT_FALSE(tool_->choices("path", {}));
  for (const auto& name : choices->one_of) EXPECT_TRUE(call({{"name", name}}).ok) << name;
  std::string many;
  for (int i = 0; i < 5'001; ++i) many += fmt::format("def g{}(): pass\n", i);
  dir_.write("many.py", many);
  EXPECT_FALSE(tool_->choices("name", {}));
}

}  // namespace
}  // namespace lares::tools
