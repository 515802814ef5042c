#include "tools/outline/outline_tool.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <future>
#include <thread>

#include "tests/tools/git/git_command.h"
#include "tests/tools/scratch.h"
#include "tools/text.h"

namespace lares::tools {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class Outline : public testing::Test {
 protected:
  void SetUp() override {
    tool_ = make(dir_.root());
    dir_.write("probe.py", "def f(): pass\n");
    if (outline({{"path", "probe.py"}}).find("LARES_TREE_SITTER=OFF") != std::string::npos) {
      GTEST_SKIP() << "built with LARES_TREE_SITTER=OFF";
    }
    std::filesystem::remove(std::filesystem::path(dir_.root()) / "probe.py");
  }
  static std::unique_ptr<Tool> make(const std::string& root) {
    BuiltinOptions options;
    options.root = root;
    return make_outline_tool({}, options);
  }
  std::string outline(json args) {
    asio::io_context io;
    const auto outcome = test::call(io, *tool_, std::move(args));
    return outcome ? outcome->text : outcome.error().message;
  }
  std::string of(const std::string& name, const std::string& source) {
    dir_.write(name, source);
    return outline({{"path", name}});
  }

  test::Scratch dir_;
  std::unique_ptr<Tool> tool_;
};

TEST_F(Outline, Python) {
  EXPECT_EQ(of("a.py",
               "import os\n\n@cache\nclass A(Base):\n    def m(self,\n          x: int) -> int:\n  "
               "      return x\n\n"
               "async def f():\n    def inner(): pass\n    return inner\n"),
            "a.py\n     4  class A(Base)\n     5    def m(self, x: int) -> int\n     9  async def "
            "f()\n    10    def inner()\n");
}

TEST_F(Outline, C) {
  EXPECT_EQ(
      of("a.c",
         "#define MAX(a, b) \\\n  ((a) > (b) ? (a) : (b))\ntypedef struct { int x; } "
         "point;\nstruct node { int v; };\n"
         "struct node *head;\nint (*hook)(int);\nstatic int *find(int x);\nenum color { RED };\n"
         "int main(void) {\n  int local(void);\n  return 0;\n}\n"),
      "a.c\n     1  #define MAX(a, b)\n     3  typedef struct {...} point\n     4  struct node\n"
      "     7  static int *find(int x)\n     8  enum color\n     9  int main(void)\n");
}

TEST_F(Outline, Cpp) {
  EXPECT_EQ(of("a.cc",
               "namespace n {\ntemplate <class T>\nclass Box : public Base {\n public:\n  Box() : "
               "x_(1) {}\n"
               "  virtual int get() const = 0;\n  int x_;\n};\nusing Alias = Box<int>;\nint "
               "Box<int>::get() const { return 1; }\n}\n"),
            "a.cc\n     3  class Box : public Base\n     5    Box()\n     6    virtual int get() "
            "const = 0\n"
            "     9  using Alias = Box<int>\n    10  int Box<int>::get() const\n");
}

TEST_F(Outline, AHeaderIsReadAsWhatItIs) {
  EXPECT_EQ(of("c.h", "int class(int new);\n"), "c.h\n     1  int class(int new)\n");
  EXPECT_EQ(of("cpp.h", "class A {\n public:\n  void f();\n};\n"),
            "cpp.h\n     1  class A\n     3    void f()\n");
}

TEST_F(Outline, JavaScript) {
  EXPECT_EQ(of("a.js",
               "class A extends B {\n  constructor(x) { super(); }\n  get v() { return 1; }\n}\n"
               "export const add = (a, b) => a + b;\nfunction make() {\n  const hidden = () => "
               "1;\n  function inner() {}\n}\n"
               "exports.run = async function (x) {};\nconst n = 3;\n"),
            "a.js\n     1  class A extends B\n     2    constructor(x)\n     3    get v()\n     5  "
            "const add = (a, b)\n"
            "     6  function make()\n     8    function inner()\n    10  exports.run = async "
            "function (x)\n");
}

TEST_F(Outline, TypeScript) {
  EXPECT_EQ(of("a.ts",
               "interface I {\n  f(x: number): string;\n}\ntype T = { a: number };\nenum E { A }\n"
               "@Injectable()\nexport abstract class C<T> implements I {\n  abstract g(): void;\n  "
               "h = (x: T) => x;\n}\n"),
            "a.ts\n     1  interface I\n     2    f(x: number): string\n     4  type T = {...}\n   "
            "  5  enum E\n"
            "     7  abstract class C<T> implements I\n     8    abstract g(): void\n     9    h = "
            "(x: T)\n");
  EXPECT_EQ(of("a.tsx", "function App(): JSX.Element {\n  return <div/>;\n}\n"),
            "a.tsx\n     1  function App(): JSX.Element\n");
}

TEST_F(Outline, Rust) {
  EXPECT_EQ(of("a.rs",
               "struct P(i32);\npub enum E { A }\ntrait T { fn f(&self); }\nimpl T for P {\n    fn "
               "f(&self) {}\n}\n"
               "mod m {\n    pub fn g() -> i32 { 1 }\n}\nmacro_rules! mac { () => {} }\n"),
            "a.rs\n     1  struct P(i32)\n     2  pub enum E\n     3  trait T\n     3    fn "
            "f(&self)\n     4  impl T for P\n"
            "     5    fn f(&self)\n     7  mod m\n     8    pub fn g() -> i32\n    10  "
            "macro_rules! mac\n");
}

TEST_F(Outline, Go) {
  EXPECT_EQ(of("a.go",
               "package a\n\ntype S struct {\n\tx int\n}\ntype I interface {\n\tF(x int) error\n}\n"
               "func (s *S) F(x int) error { return nil }\nfunc G() {}\n"),
            "a.go\n     3  type S struct\n     6  type I interface\n     7    F(x int) error\n"
            "     9  func (s *S) F(x int) error\n    10  func G()\n");
}

TEST_F(Outline, Java) {
  EXPECT_EQ(of("A.java",
               "@Entity\npublic class A<T> extends B {\n  @Override\n  public int f(int x) { "
               "return x; }\n  A() {}\n"
               "  enum E { X }\n}\ninterface I { void g(); }\n"),
            "A.java\n     2  public class A<T> extends B\n     4    public int f(int x)\n     5    "
            "A()\n     6    enum E\n"
            "     8  interface I\n     8    void g()\n");
}

TEST_F(Outline, Bash) {
  EXPECT_EQ(of("a.sh", "f() {\n  :\n}\nfunction g {\n  :\n}\n"),
            "a.sh\n     1  f()\n     4  function g\n");
}

TEST_F(Outline, JsonShowsKeysAndNoValues) {
  EXPECT_EQ(of("a.json", "{\"token\": \"s3cret\",\n \"scripts\": {\"test\": {\"deep\": 1}}}\n"),
            "a.json\n     1  \"token\"\n     2  \"scripts\"\n     2    \"test\"\n");
}

// What the tests above leave out of each language.
TEST_F(Outline, EveryKindOfDefinition) {
  EXPECT_EQ(of("b.c",
               "union u { int a; float b; };\nextern int (*table[2])(void);\nstatic inline void "
               "g(struct node *n) {}\n"),
            "b.c\n     1  union u\n     3  static inline void g(struct node *n)\n");
  EXPECT_EQ(of("b.cc",
               "enum class Kind : char { a, b };\nunion U { int i; };\nstruct S final {\n  bool "
               "operator==(const S&) const = default;\n  ~S();\n"
               "  enum { kMax = 3 };\n};\ntemplate <class T>\nconcept C = requires(T t) { t.f(); "
               "};\nauto g(int x) -> int;\n#define TWICE(x) (2 * (x))\n"),
            "b.cc\n     1  enum class Kind : char\n     2  union U\n     3  struct S final\n     4 "
            "   bool operator==(const S&) const = default\n     5    ~S()\n"
            "     9  concept C = requires(T t) {...}\n    10  auto g(int x) -> int\n    11  "
            "#define TWICE(x)\n");
  EXPECT_EQ(of("b.py",
               "type Pair = tuple[int, int]\n\nclass A[T]:\n    @property\n    def p(self): return "
               "1\n\n    class B: pass\n"),
            "b.py\n     1  type Pair = tuple[int, int]\n     3  class A[T]\n     5    def "
            "p(self)\n     7    class B\n");
  EXPECT_EQ(of("b.jsx",
               "export default function App({ x }) {\n  return <Row y={x}/>;\n}\nconst Row = ({ y "
               "}) => <li>{y}</li>;\nfunction* walk() {}\n"),
            "b.jsx\n     1  function App({ x })\n     4  const Row = ({ y })\n     5  function* "
            "walk()\n");
  EXPECT_EQ(of("b.ts",
               "namespace N {\n  export function f(): void {}\n}\ndeclare function g(x: string): "
               "number;\nexport const h = async (x: number): Promise<void> => {};\n"),
            "b.ts\n     1  namespace N\n     2    function f(): void\n     4  function g(x: "
            "string): number\n     5  const h = async (x: number): Promise<void>\n");
  EXPECT_EQ(of("b.tsx",
               "interface Props { x: number }\nexport const App = ({ x }: Props) => "
               "<div>{x}</div>;\nclass C extends React.Component<Props> {\n  render() { return "
               "null; }\n}\n"),
            "b.tsx\n     1  interface Props\n     2  const App = ({ x }: Props)\n     3  class C "
            "extends React.Component<Props>\n     4    render()\n");
  EXPECT_EQ(of("b.rs",
               "pub struct S<T> where T: Copy {\n    x: T,\n}\nunion U { a: u32 }\ntype A = "
               "S<i32>;\nimpl<T: Copy> S<T> {\n    pub async fn f(&self) {}\n}\n"),
            "b.rs\n     1  pub struct S<T> where T: Copy\n     4  union U\n     5  type A = "
            "S<i32>\n     6  impl<T: Copy> S<T>\n     7    pub async fn f(&self)\n");
  EXPECT_EQ(of("b.go",
               "package b\n\ntype A = int\ntype (\n\tB struct{}\n\tF func(int) error\n)\nfunc G[T "
               "any](x T) T { return x }\n"),
            "b.go\n     3  type A = int\n     5  type B struct\n     6  type F func(int) error\n   "
            "  8  func G[T any](x T) T\n");
  EXPECT_EQ(of("B.java",
               "record P(int x, int y) {\n  P { }\n}\n@interface Ann { int v(); }\nsealed "
               "interface S permits P {}\n"),
            "B.java\n     1  record P(int x, int y)\n     2    P\n     4  @interface Ann\n     5  "
            "sealed interface S permits P\n");
  EXPECT_EQ(of("b.bash", "outer() {\n  inner() { :; }\n}\nfunction dashed-name() ( : )\n"),
            "b.bash\n     1  outer()\n     2    inner()\n     4  function dashed-name()\n");
}

TEST_F(Outline, ParseErrorsAreReportedBesideWhatWasFound) {
  const auto text = of("a.py", "def good(): pass\n\ndef bad(:\n  pass\n\ndef after(): pass\n");
  EXPECT_THAT(text, StartsWith("a.py ["));
  EXPECT_THAT(text, HasSubstr("did not parse: line"));
  EXPECT_THAT(text, HasSubstr("     1  def good()\n"));
}

TEST_F(Outline, ADirectoryListsItsFilesInOrderAndSkipsWhatGitIgnores) {
  ASSERT_EQ(std::system(("git init -q " + dir_.root()).c_str()), 0);
  dir_.write("b/z.py", "def z(): pass\n");
  dir_.write("a.py", "def a(): pass\n");
  dir_.write("empty.py", "x = 1\n");
  dir_.write("build/gen.py", "def gen(): pass\n");
  dir_.write("README.md", "# no grammar\n");
  dir_.write("package-lock.json", "{\"packages\": 1}\n");
  dir_.write(".gitignore", "build/\n");
  std::filesystem::create_symlink("/etc", std::filesystem::path(dir_.root()) / "link");
  EXPECT_EQ(outline(json::object()),
            "a.py\n     1  def a()\nb/z.py\n     1  def z()\n[1 file without definitions]\n");
  EXPECT_EQ(outline({{"path", (std::filesystem::path(dir_.root()) / "b").string()}}),
            "b/z.py\n     1  def z()\n");
}

TEST_F(Outline, WhatGitIgnoresIsAsTheRulesAreNow) {
  test::git(dir_.root(), "init");
  for (const char* name : {"a.py", "b.py", "sub/a.py"}) dir_.write(name, "def f(): pass\n");
  const auto names = [&] {
    std::string out;
    const std::string text = outline(json::object());
    for (const auto line : split_lines(text))
      if (line.find(".py") != std::string_view::npos) out += std::string(line) + ' ';
    return out;
  };
  EXPECT_EQ(names(), "a.py b.py sub/a.py ");
  dir_.write(".gitignore", "b.py\n");
  EXPECT_EQ(names(), "a.py sub/a.py ");
  dir_.write("sub/.gitignore", "a.py\n");
  EXPECT_EQ(names(), "a.py ");
  dir_.write("rules", "/a.py\n");
  test::git(dir_.root(), "config core.excludesFile " + dir_.at("rules"));
  EXPECT_EQ(names(), "");
  std::filesystem::remove_all(dir_.at(".git"));
  EXPECT_EQ(names(), "a.py b.py sub/a.py ");
}

// Whoever opens one waits for somebody to write.
TEST_F(Outline, APipeInTheRulesPlaceHoldsNobodyUp) {
  test::git(dir_.root(), "init");
  dir_.write("a.py", "def a(): pass\n");
  dir_.write("sub/b.py", "def b(): pass\n");
  dir_.write("sub/deep/c.py", "def c(): pass\n");
  for (const char* name : {"sub/.gitignore", ".gitignore"}) {
    const std::string pipe = dir_.at(name);
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    std::promise<void> ended;
    auto end = ended.get_future();
    bool waited = false;
    std::thread writer([&] {  // who does, where the call has not ended long since
      while (end.wait_for(std::chrono::seconds(10)) != std::future_status::ready) {
        waited = true;
        const int fd = ::open(pipe.c_str(), O_WRONLY | O_NONBLOCK);
        if (fd >= 0) ::close(fd);
      }
    });
    EXPECT_EQ(outline(json::object()),
              "a.py\n     1  def a()\nsub/b.py\n     1  def b()\nsub/deep/c.py\n     1  def c()\n");
    EXPECT_EQ(tool_->choices("name", {})->one_of, (std::vector<std::string>{"a", "b", "c"}));
    ended.set_value();
    writer.join();
    EXPECT_FALSE(waited) << name;
  }
}

TEST_F(Outline, LongOutlinesKeepTheTopLevel) {
  std::string source;
  for (int c = 0; c < 40; ++c) {
    source += "class C" + std::to_string(c) + ":\n";
    for (int m = 0; m < 40; ++m) source += "    def method_" + std::to_string(m) + "(self): pass\n";
  }
  const auto text = of("a.py", source);
  EXPECT_LE(text.size(), 16'200u);
  EXPECT_THAT(text, HasSubstr("class C39\n"));
  EXPECT_THAT(text, Not(HasSubstr("method_")));
  EXPECT_THAT(text, HasSubstr("[top level only: the whole outline has "));
}

TEST_F(Outline, WhatCannotBeOutlinedSaysWhy) {
  EXPECT_EQ(outline({{"path", "nowhere.py"}}), "outline nowhere.py: no such file or directory");
  dir_.write("src/here.py", "x = 1\n");
  EXPECT_EQ(outline({{"path", "here.py"}}),
            "outline here.py: no such file or directory. There is src/here.py.");
  EXPECT_THAT(of("a.xyz", "x"),
              StartsWith("outline a.xyz: no grammar for this extension; there are Bash, C, "));
  EXPECT_EQ(of("min.js", std::string(30'000, 'x')),
            "outline: min.js has a line of 30000 bytes, so it is minified or generated");
  EXPECT_EQ(of("bin.c", std::string("\0\1", 2)), "outline: bin.c is binary");
  EXPECT_THAT(outline({{"path", "/etc/passwd"}}), HasSubstr("outside the repository"));
  EXPECT_THAT(outline({{"path", "../x.py"}}), HasSubstr("outside the repository"));
  std::filesystem::create_symlink("/etc", std::filesystem::path(dir_.root()) / "link");
  EXPECT_THAT(outline({{"path", "link/x.py"}}), StartsWith("outline link/x.py: no such"));
  EXPECT_EQ(outline({{"path", 1}}), "outline: `path` must be a string");
}

TEST_F(Outline, WhatViewKeepsBackIsNotOutlined) {
  dir_.write("secrets.json", "{\"a\": 1}\n");
  dir_.write(".git/hooks/x.py", "def f(): pass\n");
  std::filesystem::create_symlink("secrets.json",
                                  std::filesystem::path(dir_.root()) / "plain.json");
  for (const char* name : {"secrets.json", ".git/hooks/x.py", "plain.json"})
    EXPECT_EQ(outline({{"path", name}}),
              std::string("outline: ") + name + " is kept from you: it may hold secrets");
  // By what it holds
  const std::string token = std::string("ghp_") + "Zx8Qw3Er5Ty7Ui9Op1As3Df5Gh7Jk9Lz2Xc4";
  EXPECT_EQ(of("c.py", "def connect(token=\"" + token + "\"):\n    return token\n"),
            "outline: c.py is kept from you: it may hold secrets");
  EXPECT_THAT(outline(json::object()), HasSubstr("c.py [is kept from you: it may hold secrets]\n"));
  EXPECT_THAT(outline(json::object()), Not(HasSubstr(token)));
}

TEST_F(Outline, OfALinkedDirectoryWhatIsInItIsListed) {
  dir_.write("real/m.py", "def f():\n    return 1\n");
  const std::filesystem::path root = dir_.root();
  std::filesystem::create_directory_symlink("real", root / "link");
  std::filesystem::create_directory_symlink("link", root / "twice");
  std::filesystem::create_directory_symlink(".", root / "here");
  for (const char* name : {"real", "link", "twice", "here"}) {
    EXPECT_EQ(outline({{"path", name}}), "real/m.py\n     1  def f()\n") << name;
    EXPECT_THAT(outline({{"path", name}, {"name", "f"}}), HasSubstr("real/m.py")) << name;
  }
}

// 50,000 levels: a recursive walk would overflow the stack.
TEST_F(Outline, DeepNestingIsHarmless) {
  const std::string deep = std::string(5'000, '(') + "\n";
  std::string source = "x = ";
  for (int i = 0; i < 10; ++i) source += deep;
  source += "1\n";
  EXPECT_THAT(of("deep.py", source), StartsWith("deep.py ["));
}

// The project's own sources are real input: the public interfaces parse without an error and list
// what they declare.
TEST_F(Outline, OwnSources) {
  tool_ = make(LARES_SOURCE_DIR);
  const auto header = outline({{"path", "tools/tool.h"}});
  EXPECT_THAT(header, StartsWith("tools/tool.h\n"));
  EXPECT_THAT(header, HasSubstr("  class Tool\n"));
  EXPECT_THAT(header, HasSubstr("    virtual const Spec& spec() const = 0\n"));
  EXPECT_THAT(outline({{"path", "tests/layering_test.py"}}), HasSubstr("  def violations(root)\n"));
  const auto all = outline({{"path", "tools"}});
  EXPECT_THAT(all, HasSubstr("tools/outline/outline_tool.h"));
  EXPECT_THAT(all, Not(HasSubstr("did not parse")));
}

}  // namespace
}  // namespace lares::tools
