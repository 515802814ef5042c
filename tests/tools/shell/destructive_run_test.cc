#include "tools/shell/destructive_run.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "tests/temporary_directory.h"

namespace lares::tools {
namespace {

namespace fs = std::filesystem;

class DestructiveRun : public ::testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) {
    fs::create_directories((fs::path(root_) / path).parent_path());
    std::ofstream(root_ + "/" + path) << text;
  }
  std::string asks(const std::string& script, const std::string& directory = "") {
    return destructive_run(root_, directory, shell_commands(script)).value_or("");
  }
  std::string tests_ask(const std::string& path = "") {
    const auto command = test_command(root_, path, "");
    return command ? asks(command->script, command->directory) : "";
  }
  const TemporaryDirectory directory_;
  const std::string root_ = directory_.path();
};

TEST_F(DestructiveRun, ScriptsOfTheWorktreeAreLookedInto) {
  write("build.sh", "set -e\nmake\ngit reset --hard\n");
  write("x", "#!/usr/bin/env bash\ng=gi; \"${g}t\" clean -fdx\n");
  write("outer.sh", "cd sub && . ./inner.sh\n");
  write("sub/inner.sh", "git clean -fdx\n");
  for (const char* script :
       {"bash build.sh", "sh -eu ./build.sh a b", "./build.sh", "source build.sh", ". ./build.sh",
        "make; bash -x build.sh > log", "cd sub; ../build.sh", "f=build.sh; bash $f",
        "\"$PWD/build.sh\"", "$(git rev-parse --show-toplevel)/build.sh", "bash < build.sh", "./x",
        "bash outer.sh", "cd sub && ./inner.sh", "sudo ./build.sh", "timeout 5 bash build.sh",
        "find . -name a -exec ./build.sh {} \\;", "if true; then ./build.sh; fi"})
    EXPECT_NE(asks(script), "") << script;
  EXPECT_EQ(asks("bash build.sh"), "build.sh: git reset --hard throws away uncommitted changes");
  EXPECT_NE(asks("bash " + root_ + "/build.sh"), "");
  for (const char* text : {"\"$(echo git)\" clean -fdx\n", "echo Z2l0 | base64 -d | sh\n",
                           "eval \"$(cat x)\"\n", "x=$(tr a-z b-z <<< fhs); $x reset --hard\n"}) {
    write("made.sh", text);
    EXPECT_NE(asks("./made.sh"), "") << text;
  }
  EXPECT_NE(asks("./inner.sh", "sub"), "");  // where the shell went before
  EXPECT_EQ(asks("./inner.sh"), "");
}

TEST_F(DestructiveRun, WhatIsHarmlessOrCannotBeReadAsksNothing) {
  write("build.sh", "set -e\nmake -j2\n$CC a.c\n# git reset --hard\ngit status\n");
  write("wrapper.sh", "$(basename $0) $args; \"${X}t\" --version; $doit $what \"$@\"\n");
  write("tool.py", "#!/usr/bin/env python3\nimport os\nx = 'git reset --hard'\n");
  write("text", "git reset --hard\n");
  write("big.sh", "git reset --hard\n" + std::string(kRunFileBytesMax, '#'));
  write("itself.sh", "bash itself.sh; ./itself.sh\n");
  write("binary", std::string("\x7f"
                              "ELF\0 git reset --hard\n",
                              24));
  fs::create_symlink("/etc/profile", root_ + "/away.sh");
  for (const char* script :
       {"bash build.sh", "./wrapper.sh", "./tool.py", "cat text", "bash big.sh", "bash itself.sh",
        "./binary", "bash missing.sh", "bash away.sh", "bash -n build.sh", "source ../outside.sh",
        "python3 tool.py"})
    EXPECT_EQ(asks(script), "") << script;
}

TEST_F(DestructiveRun, ReadingIsBounded) {
  for (int i = 0; i < 100; ++i) write(fmt::format("s{}.sh", i), "true\n");
  write("s99.sh", "git reset --hard\n");
  std::string all;
  for (int i = 0; i < 100; ++i) all += fmt::format("bash s{}.sh\n", i);
  EXPECT_EQ(asks(all), "");
  write("a.sh", "bash b.sh");
  write("b.sh", "bash c.sh");
  write("c.sh", "bash d.sh");
  write("d.sh", "git reset --hard");
  EXPECT_NE(asks("bash b.sh"), "");
  EXPECT_EQ(asks("bash a.sh"), "");
}

TEST_F(DestructiveRun, MakeRunsTheRecipesOfItsGoals) {
  write("Makefile",
        "GIT = git\nCLEAN := $(GIT) clean\nall: a.o\n\tcc -o all $^\na.o: a.c\n\t$(CC) -c "
        "$<\nclean:\n\t@$(CLEAN) \\\n\t  -fdx\n"
        "fresh: clean all\ntest: all; -git checkout -- .\nlog:\n\t@git log $(N) && for f in "
        "$$list; do $(RM) $$f; done; $(am__run) "
        "\"$$x\"\nsub:\n\t$(MAKE) -C sub all\n");
  write("sub/Makefile", "all:\n\tgit stash drop\n");
  for (const char* script :
       {"make clean", "make -j4 fresh", "make test CC=clang", "make $x", "make -C . clean",
        "make --directory=. clean", "make -f Makefile clean", "cd sub && make", "make sub",
        "make all clean", "make sub -k"})
    EXPECT_NE(asks(script), "") << script;
  EXPECT_EQ(asks("make clean"), "Makefile: git clean -fdx deletes files that git does not know");
  for (const char* script :
       {"make", "make -j4 all", "make log", "make -n clean", "make CC=clang", "make missing"})
    EXPECT_EQ(asks(script), "") << script;
  EXPECT_NE(asks("make", "sub"), "");
  EXPECT_NE(asks("make CC='git reset --hard' a.o"), "");
  write("other.mk", "do:\n\t$(DO) clean -fdx\nlose:\n\tgit reset --hard\n");
  EXPECT_NE(asks("make -f other.mk lose"), "");
  EXPECT_NE(asks("make --makefile=other.mk lose"), "");
  EXPECT_NE(asks("make -f other.mk DO=git do"), "");
  EXPECT_EQ(asks("make -f other.mk do"), "");
}

TEST_F(DestructiveRun, MakefilesThatDoNotDecideCountWhole) {
  write("Makefile", "include rules.mk\nall: $(THINGS)\n");
  write("rules.mk", "other:\n\tgit reset --hard\n");
  EXPECT_NE(asks("make"), "");
  write("Makefile", "X := $(shell git clean -fdx)\nall:\n\ttrue\n");
  EXPECT_NE(asks("make"), "");
  write("Makefile", "all:\n\ttrue\n%.o:\n\tgit reset --hard\n");
  EXPECT_NE(asks("make"), "");
  write("GNUmakefile", "all:\n\ttrue\n");  // is taken before the other
  EXPECT_EQ(asks("make"), "");
}

// However many rules lie between a goal and what it needs in the end, in whichever order; and where
// the names of targets come to too much, they count whatever they are for.
TEST_F(DestructiveRun, LongMakefilesAreLookedInto) {
  std::string chain = "a2000:\n\tgit reset --hard\nb:\n\ttrue\n";
  for (int i = 1999; i > 0; --i) chain += fmt::format("a{}: a{}\n", i, i + 1);
  write("Makefile", chain + "goal: a1\n");
  EXPECT_NE(asks("make goal"), "");
  EXPECT_EQ(asks("make b"), "");
  std::string large = "X = " + std::string(20'000, 'x') + "\nb:\n\ttrue\n";
  for (int i = 0; i < 100; ++i) large += "c: $(X)\n";
  write("Makefile", large + "other:\n\tgit reset --hard\n");
  EXPECT_NE(asks("make b"), "");
}

TEST_F(DestructiveRun, ScriptsOfPackagesAreLookedInto) {
  write(
      "package.json",
      R"({"scripts": {"build": "tsc", "pretest": "git clean -fdx", "test": "jest", "fresh": "npm run wipe",)"
      R"( "wipe": "git reset --hard && npm ci", "lint": "eslint ."}})");
  write("web/package.json", R"({"scripts": {"start": "git checkout -- ."}})");
  for (const char* script : {"npm test", "npm t", "npm run test -- --watch", "npm run wipe",
                             "npm run-script fresh", "yarn wipe", "pnpm run wipe", "bun run wipe",
                             "npm --prefix web start", "cd web; npm start"})
    EXPECT_NE(asks(script), "") << script;
  EXPECT_EQ(asks("npm run wipe"),
            "wipe of package.json: git reset --hard throws away uncommitted changes");
  for (const char* script : {"npm run build", "npm run lint", "yarn build", "npm install",
                             "npm start", "npx jest", "npm"})
    EXPECT_EQ(asks(script), "") << script;
}

// npm runs what prepares a package wherever it installs it.
TEST_F(DestructiveRun, InstallingRunsWhatPreparesAPackage) {
  write("package.json", R"({"scripts": {"prepare": "git clean -fdx"}})");
  for (const char* script : {"npm install", "npm i", "npm ci", "npm add x"})
    EXPECT_NE(asks(script), "") << script;
  EXPECT_EQ(asks("npm test"), "");
  write("package.json", R"({"scripts": {"postinstall": "git clean -fdx"}})");
  EXPECT_NE(asks("npm ci"), "");
}

TEST_F(DestructiveRun, WhereAShellIsAfterwardsStaysInTheWorktree) {
  const auto after = [&](const std::string& directory, const std::string& script) {
    return directory_after(root_, directory, shell_commands(script));
  };
  EXPECT_EQ(after("", "ls"), "");
  EXPECT_EQ(after("", "cd a && make; cd b"), "a/b");
  EXPECT_EQ(after("a/b", "cd .."), "a");
  EXPECT_EQ(after("a", "pushd ./c/"), "a/c");
  EXPECT_EQ(after("a", "cd " + root_ + "/d"), "d");
  EXPECT_EQ(after("a", "cd $x"), "a");
  for (const char* away : {"cd ../..", "cd /tmp", "cd ../../x"}) EXPECT_EQ(after("a", away), "");
}

TEST_F(DestructiveRun, TheCommandThatTestFindsIsJudgedLikeAScript) {
  write(".lares/config.json", R"({"test": "git clean -fdx -e .lares"})");
  EXPECT_EQ(tests_ask(), "git clean -fdx -e .lares deletes files that git does not know");
  write(".lares/config.json", R"({"test": ["sh", "-c", "g=gi; ${g}t clean -fdx"]})");
  EXPECT_NE(tests_ask(), "");
  write(".lares/config.json", R"({"test": ["sh", "-c", "echo 'a b'; git clean -fdx"]})");
  EXPECT_NE(tests_ask(), "");
  write(".lares/config.json", R"({"test": "make check"})");
  EXPECT_EQ(tests_ask(), "");
  write("Makefile", "check:\n\tgit reset --hard\n");
  EXPECT_NE(tests_ask(), "");
  fs::remove(root_ + "/.lares/config.json");
  EXPECT_NE(tests_ask(), "");  // make is what is found
  fs::remove(root_ + "/Makefile");
  EXPECT_EQ(tests_ask(), "");
  write(".lares/test", "git stash clear\n");
  EXPECT_NE(tests_ask(), "");
  fs::remove(root_ + "/.lares/test");
  write("pkg/Makefile", "test:\n\tgit reset --hard\n");
  EXPECT_NE(tests_ask(), "");
  for (const auto& [file, text] : {std::pair{"tests/test_a.py", "import unittest\n"},
                                   {"a.test.js", "1\n"},
                                   {"build/CTestTestfile.cmake", "\n"},
                                   {"go.mod", "module a\n"},
                                   {"Cargo.toml", "[package]\n"}}) {
    fs::remove_all(root_ + "/pkg"), fs::remove_all(root_ + "/tests"),
        fs::remove_all(root_ + "/build");
    fs::remove(root_ + "/a.test.js"), fs::remove(root_ + "/go.mod");
    write(file, text);
    if (std::string_view(file).starts_with("build")) write("build/CMakeCache.txt", "");
    EXPECT_EQ(tests_ask(), "") << file;
  }
}

}  // namespace
}  // namespace lares::tools
