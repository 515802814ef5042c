#include "tools/shell/effort.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace lares::tools {
namespace {

std::string repeated(std::string_view text, std::size_t n_bytes) {
  std::string out;
  while (out.size() + text.size() <= n_bytes) out += text;
  return out;
}

constexpr std::size_t kBytes = 100'000;

// A script that takes the square of its length is not read to its end, or counts for what it may
// take; no rule allows it.
TEST(Effort, OfAScriptThatTakesTooMuchIsBounded) {
  const std::string open = repeated("$(", 1'800), more = std::string(kBytes, 'y');
  for (const std::string& script :
       {fmt::format("x{}", repeated(")", kBytes)), repeated("sh\n", kBytes),
        repeated("for ", kBytes), "cat <<E\n" + open + more + "\nE\n",
        "let 'a[" + open + more + "'"}) {
    const ShellScript read = shell_commands(script);
    const std::string name = script.substr(0, 20);
    EXPECT_GT(read.effort, kShellEffortMax / 4) << name;
    EXPECT_LT(read.effort, kShellEffortMax * 5 / 4) << name;
    EXPECT_FALSE(read.understood) << name;
  }
}

TEST(Effort, OfAScriptOfBracketsIsNone) {
  for (const std::string& script :
       {repeated("${", kBytes), repeated("${!", kBytes), "echo " + repeated("$((", kBytes),
        repeated("(", kBytes), repeated("{ ", kBytes), repeated("[", kBytes),
        "echo " + repeated("$(echo ", kBytes / 2) + "x" + repeated(")", kBytes / 14)}) {
    const ShellScript read = shell_commands(script);
    const std::string name = script.substr(0, 20);
    EXPECT_LT(read.effort, script.size()) << name;
    EXPECT_FALSE(read.understood) << name;
    EXPECT_EQ(destructive_git(read).value_or("").substr(0, 23), "it is nested too deeply") << name;
  }
}

// Of twice as much it is twice as much.
TEST(Effort, GrowsWithTheScriptAndNoFaster) {
  const auto effort = [](const std::string& script) {
    return static_cast<double>(shell_commands(script).effort);
  };
  for (const char* piece : {"ls\n", "alias a=b\na\n", "eval x\n", "a=1\n", "a+=1\n", "(a=1) ",
                            "cat <<E\n$(x)\nE\n", "x=$(which git) ", "'`' ", "${x:-`a`} "})
    EXPECT_LT(effort(repeated(piece, 60'000)), 2.5 * effort(repeated(piece, 30'000))) << piece;
  const auto quoted = [](std::string_view piece, std::size_t n) {
    return fmt::format("ls \"{}\"", repeated(piece, n));
  };
  for (const char* piece : {"$x", "${x}y", "$((1))"})
    EXPECT_LT(effort(quoted(piece, 60'000)), 2.5 * effort(quoted(piece, 30'000))) << piece;
}

TEST(Effort, OfWhatPeopleWriteIsLittle) {
  const std::string piece =
      "build() {\n  local dir=\"$(dirname \"$0\")/$1\"\n"
      "  for f in \"$dir\"/*.c; do\n    if [[ -f $f && ! -L $f ]]; then\n"
      "      cc -O2 -c \"$f\" -o \"${f%.c}.o\" 2>> log || { echo \"$f: failed\" >&2; return 1; }\n"
      "    fi\n  done\n}\n"
      "cat > notes <<EOF\nbuilt $(date) in $PWD, see `hostname`\nEOF\n"
      "case $1 in a|b) build $((x + 1)) ;; *) awk '{ print $1 }' log | sort -u ;; esac\n";
  const std::string script = repeated(piece, 64 << 10);
  const ShellScript read = shell_commands(script);
  EXPECT_LT(read.effort, 12 * script.size());
  EXPECT_FALSE(read.hides_git);
  EXPECT_FALSE(destructive_git(read));
}

}  // namespace
}  // namespace lares::tools
