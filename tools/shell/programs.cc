#include "tools/shell/programs.h"

#include <algorithm>
#include <span>

namespace lares::tools {
namespace {

constexpr std::string_view kCarriers[] = {
    "npx",    "npm", "yarn",  "pnpm", "bun",   "bunx", "poetry", "uv",     "pipenv",
    "bundle", "nix", "conda", "pdm",  "hatch", "rye",  "direnv", "dotenv", "docker"};
constexpr std::string_view kLaunchers[] = {"perf",         "systemd-run",
                                           "setarch",      "prlimit",
                                           "runuser",      "faketime",
                                           "linux32",      "linux64",
                                           "ltrace",       "rr",
                                           "valgrind",     "firejail",
                                           "bwrap",        "proot",
                                           "torsocks",     "proxychains",
                                           "cgexec",       "dbus-run-session",
                                           "xvfb-run",     "rlwrap",
                                           "uclampset",    "i386",
                                           "x86_64",       "eatmydata",
                                           "proxychains4", "start-stop-daemon"};
constexpr std::string_view kTalkers[] = {
    "git",    "echo",     "printf", "grep",  "egrep",   "fgrep",   "rg",     "ag",      "ack",
    "man",    "info",     "tldr",   "help",  "which",   "whereis", "type",   "apropos", "whatis",
    "apt",    "apt-get",  "dnf",    "yum",   "apk",     "brew",    "pacman", "zypper",  "snap",
    "pip",    "pip3",     "pipx",   "cargo", "gem",     "go",      "dpkg",   "rpm",     "hub",
    "gh",     "ls",       "cat",    "cd",    "mkdir",   "touch",   "rm",     "cp",      "mv",
    "ln",     "sed",      "head",   "tail",  "wc",      "sort",    "diff",   "tr",      "cut",
    "tee",    "basename", "file",   "stat",  "test",    "set",     "read",   "unset",   "alias",
    ":",      "true",     "false",  "exit",  "return",  "make",    "gmake",  "ninja",   "ctest",
    "tar",    "zip",      "rsync",  "scp",   "curl",    "wget",    "jq",     "chmod",   "du",
    "export", "local",    "pushd",  "hash",  "command", "code",    "vim",    "less"};
constexpr std::string_view kRunVariables[] = {
    "PROMPT_COMMAND",    "EDITOR",           "VISUAL",      "PAGER",   "GIT_EDITOR",
    "GIT_PAGER",         "MANPAGER",         "LESSOPEN",    "GIT_SSH", "GIT_SEQUENCE_EDITOR",
    "GIT_EXTERNAL_DIFF", "GIT_SSH_COMMAND",  "GIT_ASKPASS", "FCEDIT",  "SSH_ASKPASS",
    "BROWSER",           "GIT_PROXY_COMMAND"};
constexpr std::string_view kEvaluators[] = {"test",      "let",     "printf",  "read", "mapfile",
                                            "readarray", "getopts", "unset",   "wait", "declare",
                                            "typeset",   "local",   "compgen", "["};

bool is_one_of(std::string_view name, std::span<const std::string_view> names) {
  return std::ranges::find(names, name) != names.end();
}

}  // namespace

bool is_carrier(std::string_view program) { return is_one_of(program, kCarriers); }
bool is_launcher(std::string_view program) { return is_one_of(program, kLaunchers); }
bool is_talker(std::string_view program) { return is_one_of(program, kTalkers); }
bool is_evaluator(std::string_view builtin) { return is_one_of(builtin, kEvaluators); }
bool is_run_variable(std::string_view name) { return is_one_of(name, kRunVariables); }

}  // namespace lares::tools
