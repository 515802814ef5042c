// Which scripts would lose what only git has: lists of those that ask and, longer, of those that do
// not.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tools/shell/commands.h"

namespace lares::tools {
namespace {

// The name of the program, or the text that is run, is put together when it runs.
TEST(DestructiveGit, AsksWhereWhatRunsIsMadeWhenItRuns) {
  for (const char* script : {"g=gi; \"${g}t\" clean -fdx",
                             "a=g; b=it; $a$b clean -fdx",
                             "g=git; $g clean -fdx",
                             "g=git\n\"$g\" reset --hard",
                             "g='git clean'; $g -fdx",
                             "$(echo git) clean -fdx",
                             "`printf git` clean -fdx",
                             "g=$(echo git); $g clean -fdx",
                             "g=$(printf '%s%s' gi t); \"$g\" clean -fdx",
                             "${g}t clean -fdx",
                             "g$x clean",
                             "${!x} clean",
                             "${x/a/b} y",
                             "x=GIT; ${x,,} clean -fdx",
                             "x=xgit; ${x#x} clean -fdx",
                             "x=git.c; ${x%.c} clean -fdx",
                             "c=(git clean -fdx); \"${c[@]}\"",
                             "c=(git); c+=(clean -fdx); ${c[*]}",
                             "set -- git clean -fdx; \"$@\"",
                             "for c in ls git; do $c clean -fdx; done",
                             "run() { \"$@\"; }; run git clean -fdx",
                             "$RUN git clean -fdx",
                             "$x clean -fdx",
                             "\"$x\" reset --hard",
                             "${GIT:-git} clean -fdx",
                             "${x:-gi}t clean -fdx",
                             "eval \"$x\"",
                             "x='git clean -fdx'; eval \"$x\"",
                             "x='git clean'; eval $x -fdx",
                             "eval \"$(echo Z2l0 | base64 -d)\"",
                             "eval \"$x clean\"",
                             "sh -c \"$x\"",
                             "x='git clean -fdx'; sh -c \"$x\"",
                             "bash -c \"$(cat x)\"",
                             "bash -c \"$*\"",
                             "echo Z2l0 | base64 -d | sh",
                             "base64 -d <<< Z2l0 | bash",
                             "cat x | bash -s",
                             "bash <(echo x)",
                             "source <(echo x)",
                             "source /dev/stdin <<< x",
                             "echo clean -fdx | xargs git",
                             "echo git clean -fdx | xargs env",
                             "echo x | xargs -I{} sh -c '{}'",
                             "echo git | xargs -I{} {} clean -fdx",
                             "echo x | xargs sh -c '\"$@\"'",
                             "echo x | xargs sh -c",
                             "echo x | xargs bash",
                             "find . -exec sh -c 'git clean -fdx' \\;",
                             "find . -name git -exec {} clean -fdx \\;",
                             "/usr/bin/g?t clean -fdx",
                             "/usr/bin/gi[t] clean -fdx",
                             "\\g\\i\\t clean -fdx",
                             "g''it clean -fdx",
                             "$'git' clean -fdx",
                             "$'\\x67it' clean -fdx",
                             "g?t clean -fdx",
                             "{git,clean,-fdx}",
                             "read a b <<< 'git clean'; $a $b -fdx",
                             "printf -v g '%s%s' gi t; $g clean -fdx",
                             "declare -l g=GIT; $g clean -fdx",
                             "declare -n r=g; $r clean -fdx",
                             "g=gi; g+=t; $g clean -fdx",
                             "x=$y; $x clean -fdx",
                             "export g=gi; \"${g}t\" clean -fdx",
                             "(g=gi; ${g}t clean -fdx)",
                             "g=gi bash -c '${g}t clean -fdx'",
                             "bash <<'E'\ng=gi; ${g}t clean -fdx\nE",
                             "cat > x.sh <<'E'\ngit clean -fdx\nE\nbash x.sh",
                             "echo 'git clean -fdx' > x.sh; ./x.sh",
                             "git config alias.x 'clean -fdx'; git x",
                             "s=clean; git $s -fdx",
                             "f=-fdx; git clean $f",
                             "env $(echo git) clean -fdx",
                             "\"$(which git)\" clean -fdx",
                             "$(command -v git) reset --hard",
                             "x=\"$(which git)\"; $x clean -fdx",
                             "sudo \"$(echo git)\" clean -fdx",
                             "timeout 5 $g$t clean -fdx",
                             "if true; then g=git; fi; $g clean -fdx",
                             "while :; do \"${g}t\" clean -fdx; done",
                             "trap 'git clean -fdx' EXIT",
                             "watch 'git clean -fdx'",
                             "poetry run git clean -fdx",
                             "git submodule foreach --recursive 'git clean -fdx'",
                             "git bisect run git reset --hard",
                             "npx -- git clean -fdx",
                             "command -p git clean -fdx",
                             "exec git clean -fdx",
                             "hyperfine 'git clean -fdx'",
                             "x=$(cat y); echo ${x@P}",
                             "for a in 1 2 3 4; do for v in ls git; do "
                             "env A=$a B=$a C=$a $v clean -fdx; done; done",
                             "for v in a b c d e f g h i j k l m n o p git; do $v clean -fdx; done",
                             "set -- git; for x; do $x restore .; done",
                             "sh -c 'echo $1' _ ls; \"$1\" clean -fdx",
                             "e${x}l \"$y\"",
                             "sou${x}ce y",
                             "xargs bash < list",
                             "find . -name '*.sh' -exec bash {} \\;",
                             "sed s/x/git/ <<E | sh\nx clean -fdx\nE",
                             "$(find . -exec cat x \\;) y",
                             "$(find . -printf git) y",
                             "$(sort < x) y"})
    EXPECT_TRUE(destructive_git(shell_commands(script))) << script;
}

// Not by git, but by its files.
TEST(DestructiveGit, AsksBeforeGitsOwnFilesAreLost) {
  for (const char* script :
       {"find . -name .git -exec rm -rf {} +",
        "find . -type d -name .git -prune -exec rm -rf {} \\;", "find . -name .git -delete",
        "find . \\( -name .git -o -name .hg \\) -exec rm -rf {} +",
        "find . -iname '.GIT*' -exec sudo rm -rf {} +", "find . -path '*/.git/*' -delete",
        "find .git -type f -exec rm {} +", "find -L ./.git/objects -delete",
        "find . -name .git -print0 | xargs -0 rm -rf",
        "find . -name .git | while read -r d; do rm -rf \"$d\"; done",
        "find . -name .git -exec sh -c 'rm -rf \"$1\"' _ {} \\;", "truncate -s 0 .git/HEAD",
        "truncate --size=0 sub/.git/index", ": > .git/HEAD", "echo x | tee .git/refs/heads/main",
        "dd if=/dev/null of=.git/HEAD", "sed -i s/a/b/ .git/packed-refs", "cp other .git/index",
        "rm -rf .git"})
    EXPECT_TRUE(destructive_git(shell_commands(script))) << script;
  for (const char* script :
       {"find . -path ./.git -prune -o -name '*.pyc' -exec rm {} +",
        "find . -name .git -prune -o -type f -print | xargs rm -f",
        "find . -name '*.pyc' -not -path './.git/*' -delete",
        "find . ! -path '*/.git/*' -name '*.o' -delete",
        "find . ! \\( -name .git -o -name x \\) -name '*.o' -delete",
        "find . -path '*/.github/*' -name '*.bak' -delete", "find . -name .gitkeep -delete",
        "find . -name .git", "find . -name .git -type d | sort", "find .git -name '*.lock'",
        "find . -name '*.pyc' -delete", "truncate -s 0 app.log", "cp .git/HEAD /tmp/head",
        "sed s/a/b/ .git/HEAD", "echo x >> .git/info/exclude", "echo x > a.git/HEADER",
        "cat .git/HEAD"})
    EXPECT_FALSE(destructive_git(shell_commands(script))) << script;
}

TEST(DestructiveGit, AsksBeforeBranchesAreOverwrittenByAFetch) {
  for (const char* script :
       {"git fetch -f origin main:main", "git fetch origin +main:main",
        "git fetch --force . HEAD~2:main", "git fetch origin '+refs/heads/*:refs/heads/*'",
        "git fetch --tags -f", "git fetch --prune-tags", "git pull -f origin main:main",
        "git pull origin +main:main", "git fetch origin \"$ref\""})
    EXPECT_TRUE(destructive_git(shell_commands(script))) << script;
  for (const char* script :
       {"git fetch", "git fetch -f", "git fetch origin main", "git fetch --all --prune",
        "git fetch origin main:main", "git fetch \"$remote\"", "git fetch origin \"pull/$n/head\"",
        "git fetch origin '+refs/heads/*:refs/remotes/origin/*'",
        "git fetch -f https://git.example/a.git main", "git pull", "git pull --ff-only"})
    EXPECT_FALSE(destructive_git(shell_commands(script))) << script;
}

TEST(DestructiveGit, AsksBeforeAPatchIsTakenBack) {
  for (const char* script :
       {"git diff | git apply -R", "git diff > x.patch; git apply --reverse x.patch",
        "git stash show -p | git apply -R --index", "git diff | patch -p1 -R",
        "git diff HEAD | (cd x && patch -Rp1)", "git apply -R --stat --apply x"})
    EXPECT_TRUE(destructive_git(shell_commands(script))) << script;
  for (const char* script :
       {"git apply x.patch", "git apply -R --check x.patch",
        "git diff --cached | git apply -R "
        "--cached",
        "git apply --stat -R x", "patch -p1 < x.patch", "patch -R -p1 < x.patch",
        "git diff | patch -p1 -R --dry-run", "git diff > x.patch && patch -p1 < x.patch"})
    EXPECT_FALSE(destructive_git(shell_commands(script))) << script;
}

// What would be many or long readings is cut off, and asked about.
TEST(DestructiveGit, ReadingIsBounded) {
  std::string doubled = "v0=xxxxxxxx\n", many = "v=a", nested = "x='eval \"$x\"'; eval \"$x\"";
  std::string stars = "x=" + std::string(5000, 'a') + "; ${x%";
  for (int i = 0; i < 60; ++i) doubled += fmt::format("v{0}=$v{1}$v{1}\n", i + 1, i);
  for (int i = 0; i < 15; ++i)
    many += fmt::format("; v={}", std::string(4000, static_cast<char>('b' + i)));
  many += "\n";
  for (int i = 0; i < 900; ++i) many += "echo $v $v $v $v $v\n";
  for (int i = 0; i < 40; ++i) stars += "*a";
  EXPECT_TRUE(destructive_git(shell_commands(doubled + "$v60 x\n")));
  EXPECT_TRUE(destructive_git(shell_commands(many)));
  EXPECT_TRUE(destructive_git(shell_commands(nested)));
  EXPECT_TRUE(destructive_git(shell_commands(stars + "b} x")));
}

TEST(DestructiveGit, AsksNothingOfHonestCommands) {
  int n = 0;
  for (const char* script :
       {"ls -la",
        "cat README.md",
        "pwd && ls",
        "cd src && ls -l | head -20",
        "grep -rn 'TODO' --include=*.cc .",
        "rg -n 'clean' src | head",
        "find . -name '*.py' | head",
        "wc -l $(find . -name '*.c')",
        "find . -name '*.o' -delete",
        "find . -type f -exec grep -l foo {} +",
        "find . -name '*.c' -exec clang-format -i {} \\;",
        "find src -name '*.py' | xargs grep -n 'import os'",
        "find . -name '*.h' -print0 | xargs -0 wc -l",
        "ls *.c | xargs -n1 basename",
        "find . -name '*.c' | xargs -I{} sh -c 'echo {}; wc -l {}'",
        "find . -name '*.c' -exec sh -c 'gcc -fsyntax-only \"$1\"' _ {} \\;",
        "sed -n '10,25p' src/main.cc",
        "sed -i 's/a/b/' x.py",
        "awk '{print $1}' x | sort | uniq -c | sort -rn | head",
        "diff -u a b",
        "mkdir -p build && cd build && cmake .. && make -j$(nproc)",
        "cmake -S . -B build -G Ninja && ninja -C build",
        "make",
        "make -j4 test",
        "make clean && make",
        "make CC=clang CFLAGS=\"-O2 $EXTRA\"",
        "ctest --test-dir build --output-on-failure",
        "./configure --prefix=$HOME/x",
        "$CC file.c",
        "\"$PYTHON\" x.py",
        "$CC -c file.c -o file.o && $CXX main.cc",
        "${CC:-gcc} -O2 a.c",
        "${PYTHON:-python3} -m pytest -q",
        "\"${PYTHON:-python3}\" setup.py build",
        "f() { \"$@\"; }; f ls -l",
        "run() { echo \"+ $*\"; \"$@\"; }; run make -j2",
        "$(brew --prefix)/bin/x --version",
        "$(npm bin)/jest",
        "$(go env GOPATH)/bin/golangci-lint run",
        "\"$(git rev-parse --show-toplevel)/build.sh\"",
        "$(which python3) x.py",
        "\"$(command -v node)\" a.js",
        "PY=$(which python3); $PY -m pytest",
        "PY=$(command -v python3 || command -v python); \"$PY\" x.py",
        "BIN=build/bin; $BIN/lares --help",
        "DIR=$(pwd); $DIR/run.py",
        "DIR=\"$(cd \"$(dirname \"$0\")\" && pwd)\"; \"$DIR/tool\" x",
        "B=./build; for t in a b c; do $B/tests/${t}_test; done",
        "for t in build/tests/*_test; do echo $t; $t || exit 1; done",
        "for t in build/tests/*_test; do \"./$t\" --gtest_brief=1; done",
        "for f in *.c; do gcc $f -o ${f%.c} && ./${f%.c}; done",
        "for v in 3.9 3.10; do python$v -m pytest; done",
        "python$V -m pytest",
        "for i in 1 2 3; do ./run_$i.sh; done",
        "${CROSS_COMPILE}gcc -c a.c",
        "$ANDROID_HOME/platform-tools/adb devices",
        "\"$VIRTUAL_ENV/bin/pip\" list",
        "~/bin/tool x",
        "./build/$name --help",
        "$t",
        "\"$t\" --list",
        "T=$(find build -name 'judge_test' -type f | head -1); $T --gtest_filter=A",
        "exe=$(ls build/bin/* | head -1); \"$exe\" --help",
        "cmd=(pytest -q tests); \"${cmd[@]}\"",
        "args=(-x -q); pytest \"${args[@]}\"",
        "OPTS=\"-q -x\"; pytest $OPTS tests/",
        "source .venv/bin/activate && pytest -q",
        ". ./env.sh; make",
        "source venv/bin/activate && pip list && git status",
        "git status && bash build.sh",
        "bash build.sh && git diff --stat",
        "bash -n script.sh",
        "bash --version",
        "bash -c 'make -j2 && ls'",
        "bash -lc \"cd $PWD && make test\"",
        "sh -c 'echo $0 $1' a b",
        "bash <<'E'\nset -e\nmake\nfor i in 1 2; do echo $i; done\nE",
        "bash -x run.sh a b",
        "eval \"$(ssh-agent -s)\"",
        "eval \"$(pyenv init -)\"",
        "eval $(opam env)",
        "eval 'echo a'",
        "git status",
        "git status --short && git diff | head -100",
        "git log --oneline -5",
        "git diff HEAD~1 -- src/a.cc",
        "git add -A && git commit -m 'Fix the parser: clean up'",
        "git commit -am \"$MSG\"",
        "git show HEAD:src/a.cc | head",
        "git stash list",
        "git branch -a",
        "git checkout -b fix/parser",
        "git log --format='%h %s' -n $N",
        "git blame -L 10,20 a.cc",
        "git grep -n 'reset --hard'",
        "git ls-files | xargs wc -l | tail -1",
        "git ls-files '*.py' | xargs python3 -m py_compile",
        "cd \"$(git rev-parse --show-toplevel)\" && make",
        "git diff > /tmp/x.diff",
        "b=$(git branch --show-current); echo $b",
        "git rev-parse HEAD > rev.txt; ./build/tool rev.txt",
        "git diff --name-only | while read -r f; do wc -l \"$f\"; done",
        "npm test",
        "npm run build && npm test -- --watch=false",
        "npx tsc --noEmit",
        "yarn lint",
        "cargo test --no-fail-fast 2>&1 | tail -40",
        "cargo clean && cargo build",
        "go test ./... | grep -v '^ok'",
        "go vet ./...",
        "python3 -m pytest tests -q 2>&1 | tail -20",
        "python3 -c 'import sys; print(sys.path)'",
        "python3 - <<'E'\nprint('git')\nE",
        "node -e 'console.log(1)'",
        "pip install -e . 2>&1 | tail -1",
        "python3 -m venv .venv && .venv/bin/pip install pytest",
        "docker ps",
        "$DOCKER rm -f x",
        "PYTHONPATH=. python3 tests/a.py",
        "A=1 B=2 ./run",
        "time make",
        "timeout 60 ./build/tests/foo_test",
        "nohup ./server > log 2>&1 &",
        "sleep 2; curl -s localhost:8080 | head",
        "kill %1",
        "jobs",
        "echo \"$PATH\" | tr ':' '\\n'",
        "export PATH=$PWD/bin:$PATH; tool x",
        "export CC=clang; make",
        "CC=gcc; $CC -o a a.c && ./a",
        "SRC=src; ls $SRC/*.c",
        "x=5; y=$((x + 1)); echo $y",
        "if [ -f a ]; then cat a; else echo no; fi",
        "[[ -d build ]] || mkdir build",
        "test -f x && ./x",
        "case $1 in a) make;; *) echo b;; esac",
        "cat > a.py <<'E'\nprint(1)\nE\npython3 a.py",
        "cat > run.sh <<'E'\nmake\nE\nchmod +x run.sh && ./run.sh",
        "printf 'a\\nb\\n' > x.txt",
        "tee out.txt < in.txt",
        "while read -r l; do echo \"$l\"; done < x",
        "xargs -a list.txt -n1 python3 -m py_compile",
        "seq 3 | xargs -P2 -I{} ./work {}",
        "seq 3 | xargs -I% sh -c 'echo %; sleep %'",
        "tar czf x.tgz src",
        "rm -rf build dist",
        "rm -f $TMP",
        "mv a b",
        "cp -r src /tmp/x",
        "chmod +x x.sh && ./x.sh",
        "ps aux | grep python",
        "df -h",
        "env | sort",
        "env FOO=bar make",
        "which gcc g++ clang",
        "command -v cmake",
        "type -a python",
        "nice -n 10 ninja -C build",
        "stdbuf -oL ./x | tee log",
        "gdb -batch -ex run -ex bt ./a.out",
        "valgrind ./a.out",
        "strace -f -o t ./x",
        "perl -pi -e 's/a/b/' x",
        "jq '.a' x.json",
        "\"$EDITOR\" --version",
        "$SHELL --version",
        "$MAKE clean",
        "\"$CARGO\" clean",
        "$DOTNET restore",
        "$JAVA_HOME/bin/java -version",
        "trap 'rm -rf $TMP' EXIT; make",
        "trap - EXIT",
        "watch -n 5 make",
        "git submodule foreach git pull",
        "npx prettier --check .",
        "npm install git",
        "poetry run pytest",
        "uv run python x.py",
        "hyperfine './a.out'"}) {
    ++n;
    EXPECT_EQ(destructive_git(shell_commands(script)), std::nullopt) << script;
  }
  EXPECT_GE(n, 150);
}

// What makes a command harmless is an option of its own: no value, no file's name, and not taken
// back.
TEST(DestructiveGit, ADryRunIsOneThatGitTakesForIt) {
  for (const char* script :
       {"git clean -fdx -e -n", "git clean -e -n -fdx", "git clean -fdxe -n",
        "git clean -fdx --exclude -n", "git clean -fdx --exc --dry-run", "git clean -fdx -- -n",
        "git clean -n --no-dry-run -fdx", "git clean -n --no-dry -fdx", "git clean -fdx -en",
        "git restore --staged --no-staged .", "git restore --staged --no-st .",
        "git restore -- --staged", "git restore --pathspec-from-file --staged",
        "git rm -rf --cached --no-cached .", "git rm -rf -- --cached", "git rm -rfn --no-dry-run .",
        "git checkout --detach --no-detach a.cc"})
    EXPECT_TRUE(destructive_git(shell_commands(script))) << script;
  for (const char* script :
       {"git clean -n -fdx -e keep", "git clean -fdxn -e -f", "git clean -e keep --dry-run",
        "git clean --exclude=keep -n", "git clean -ndx -- build", "git restore --staged -- a.cc",
        "git restore -S --source HEAD a.cc", "git restore -Ss HEAD .", "git rm -r --cached .",
        "git rm -rfn .", "git checkout -b new.feature", "git checkout --orphan pages.io",
        "git checkout --detach v1.0"})
    EXPECT_EQ(destructive_git(shell_commands(script)), std::nullopt) << script;
}

// What nests without end is read to a bound, and not again and again.
TEST(DestructiveGit, NestedWordsEnd) {
  std::string which = "git clean -fdx", value = "git";
  for (int i = 0; i < 60; ++i) which = "$(which " + which + ")";
  for (int i = 0; i < 20'000; ++i) value = "${a:-" + value + "}";
  EXPECT_NE(destructive_git(shell_commands("x=" + which + "; $x clean -fdx")), std::nullopt);
  EXPECT_NE(destructive_git(shell_commands("\"" + value + "\" clean -fdx")), std::nullopt);
  EXPECT_NE(destructive_git(shell_commands("\"${a:-git}\" clean -fdx")), std::nullopt);
}

}  // namespace
}  // namespace lares::tools
