#include "tools/workspace/workspace.h"

#include <clocale>

#include "tests/tools/scratch.h"
#include "tests/tools/workspace/plain_repository.h"
#include "tools/text.h"
#include "tools/workspace/own_files.h"

namespace lares::tools {
namespace {

using test::list_files, test::render_repository, test::WorkspaceOptions;

std::vector<std::string> names(const std::vector<File>& files) {
  std::vector<std::string> out;
  for (const File& file : files)
    out.push_back(file.path + (file.skipped.empty() ? "" : " [" + file.skipped + "]"));
  return out;
}
std::vector<std::string> list(const test::Scratch& dir, WorkspaceOptions options = {}) {
  options.root = dir.root();
  const auto files = list_files(options);
  return files ? names(*files) : std::vector<std::string>{"ERROR " + files.error().message};
}
void git(const test::Scratch& dir, const std::string& args) {
  const std::string command = "git -C '" + dir.root() +
                              "' -c user.name=t -c user.email=t@localhost " + args +
                              " >/dev/null 2>&1";
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
}
using Names = std::vector<std::string>;

TEST(Workspace, ListsInByteOrderWhateverTheOrderOfCreation) {
  const Names want = {"B.py", "Z/a.py", "a-b.py", "a.py", "a/x.py", "a0.py", "\u00e4.py"};
  test::Scratch one, two;
  for (auto it = want.begin(); it != want.end(); ++it) one.write(*it, "1\n");
  for (auto it = want.rbegin(); it != want.rend(); ++it) two.write(*it, "1\n");
  std::setlocale(LC_ALL, "C.UTF-8");
  EXPECT_EQ(list(one), want);
  std::setlocale(LC_ALL, "C");
  EXPECT_EQ(list(two), want);
  EXPECT_EQ(render_repository(*list_files({.root = one.root()})),
            render_repository(*list_files({.root = two.root()})));
}
// Its state, its settings, its socket: whichever daemon's they are.
TEST(Workspace, WhatIsLaresOwnIsNotListedUnlessGitTracksIt) {
  test::Scratch dir;
  dir.write("a.py", "x\n");
  dir.write("state/lares/api-token", "x\n");
  dir.write("state/lares/history/0", "x\n");
  dir.write("state/other", "x\n");
  EXPECT_EQ(list(dir).size(), 4u);
  mark_as_own(dir.at("state/lares"));
  EXPECT_EQ(list(dir), (Names{"a.py", "state/other"}));
  git(dir, "init");
  EXPECT_EQ(list(dir), (Names{"a.py", "state/other"}));
  git(dir, "add state/lares/history/0");  // as somebody's settings may be
  EXPECT_EQ(list(dir), (Names{"a.py", "state/lares/history/0", "state/other"}));
  git(dir, "add state");  // a repository does not say what is the daemon's
  EXPECT_EQ(list(dir).size(), 5u);
}
TEST(Workspace, SaysWhyAFileIsNotShown) {
  test::Scratch dir;
  dir.write("a.py", "x\n");
  dir.write("b.bin", std::string("\0\1", 2));
  dir.write("c.txt", "\xff\xfe\n");
  dir.write(".env", "TOKEN=1\n");
  dir.write(".env.example", "TOKEN=\n");
  dir.write("k.txt", "x\n-----BEGIN RSA PRIVATE KEY-----\n");
  dir.write("id_rsa.pub", "ssh-rsa AAAA\n");
  dir.write("Cargo.lock", "x\n");
  dir.write("m.js", std::string(3000, 'x') + "\n");
  dir.write("big.txt", std::string(2000, 'x') + "\n");
  std::filesystem::create_symlink("a.py", dir.at("link"));
  EXPECT_EQ(list(dir, {.file_bytes_max = 3500, .total_bytes_max = 2009}),
            (Names{".env [secret]", ".env.example", "Cargo.lock [lock file]", "a.py",
                   "b.bin [binary]", "big.txt [over budget]", "c.txt [not UTF-8]", "id_rsa.pub",
                   "k.txt [secret]", "link [symlink]", "m.js [minified]"}))
      << "big.txt is one byte more than .env.example and a.py leave; what is smaller still fits";
  EXPECT_EQ(list(dir, {.file_bytes_max = 1000}).at(5), "big.txt [too large]");
}
TEST(Workspace, WhatIsHiddenFromCommandsIsNotShown) {
  test::Scratch dir;
  Names want;
  for (const char* name :
       {".aws/credentials", ".dockerconfigjson", ".env.local", ".envrc", ".kube/config", ".npmrc",
        ".ssh/config", ".vault-token", "ca.pem", "client_secret_2.json", "credentials.yaml",
        "kubeconfig", "prod.tfvars", "secrets.toml", "secrets.yml", "service-account-1.json",
        "terraform.tfstate", "tls.key"}) {
    dir.write(name, "x\n");
    want.push_back(std::string(name) + " [secret]");
  }
  EXPECT_EQ(list(dir), want);
}
TEST(Workspace, GitDecidesInARepository) {
  test::Scratch dir;
  git(dir, "init -q");
  dir.write(".gitignore", "*.o\nout/\n");
  dir.write("a.c", "int a;\n");
  dir.write("forced.o", "text\n");
  git(dir, "add -f a.c forced.o .gitignore");
  git(dir, "commit -qm first");
  dir.write("new.c", "int b;\n");
  dir.write("x.o", "ignored\n");
  dir.write("out/y.c", "ignored\n");
  dir.write("sub/node_modules/p/i.js", "product\n");
  dir.write("sub/z.c", "int z;\n");
  dir.write("gone.c", "int g;\n");
  git(dir, "add gone.c");
  std::filesystem::remove(dir.at("gone.c"));
  EXPECT_EQ(list(dir), (Names{".gitignore", "a.c", "forced.o", "new.c", "sub/z.c"}));
  const auto below = list_files({.root = dir.at("sub")});
  ASSERT_TRUE(below);
  EXPECT_EQ(names(*below), (Names{"z.c"}));
}
TEST(Workspace, OutsideARepositoryProductsAreLeftOut) {
  test::Scratch dir;
  dir.write("a.py", "1\n");
  dir.write("__pycache__/a.pyc", "x\n");
  dir.write("node_modules/b/c.js", "x\n");
  EXPECT_EQ(list(dir), (Names{"a.py"}));
}
TEST(Workspace, MissingRootIsAnError) {
  const auto files = list_files({.root = "/nonexistent/place"});
  ASSERT_FALSE(files);
  EXPECT_NE(files.error().message.find("/nonexistent/place"), std::string::npos);
}
TEST(Workspace, RendersTheContractsBytes) {
  // The hash is git's: printf 'a\nb\n' | git hash-object --stdin
  EXPECT_EQ(render_file({"src/a.py", "a\nb\n", "", 4}),
            "<file path=\"src/a.py\" lines=\"2\" sha=\"422c2b7a\">\na\nb\n</file>\n");
  EXPECT_TRUE(render_file({"b", "a\nb", "", 3}).ends_with("\na\nb\n</file>\n"));
  EXPECT_EQ(render_file({"logo.png", "", "binary", 9}),
            "<file path=\"logo.png\" skipped=\"binary\"/>\n");
  EXPECT_EQ(render_file({"a\"<\n", "", "binary", 9}),
            "<file path=\"a&quot;&lt;&#10;\" skipped=\"binary\"/>\n");
  EXPECT_EQ(render_repository({{"b", "", "binary", 1}, {"a", "", "", 0}}),
            "<repository files=\"2\">\n<file path=\"a\" lines=\"0\" sha=\"e69de29b\">\n</file>\n"
            "<file path=\"b\" skipped=\"binary\"/>\n</repository>\n");
}
TEST(Workspace, ShowsLfWithoutBom) {
  test::Scratch dir;
  dir.write("a.txt", "\xef\xbb\xbfone\r\ntwo\r\n");
  EXPECT_EQ(list_files({.root = dir.root()})->at(0).content, "one\ntwo\n");
}

TEST(Text, Utf8) {
  EXPECT_EQ(to_utf8("a\xff"
                    "b\xe2\x82"),
            "a\xef\xbf\xbd"
            "b\xef\xbf\xbd");
  EXPECT_FALSE(is_utf8("\xc0\xaf"));
  EXPECT_FALSE(is_utf8("\xed\xa0\x80"));
  EXPECT_TRUE(is_utf8("\xf0\x9f\x98\x80"));
  EXPECT_EQ(utf8_floor("a\u20ac", 2), 1u);
}

}  // namespace
}  // namespace lares::tools
