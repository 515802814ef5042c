#include "tools/shell/runners.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "tools/shell/programs.h"

namespace lares::tools {
namespace {

constexpr auto npos = std::string_view::npos;
constexpr std::string_view kShells[] = {"sh",   "bash", "dash", "zsh",   "ksh",   "ash",  "rbash",
                                        "rksh", "rzsh", "mksh", "lksh",  "oksh",  "yash", "posh",
                                        "fish", "csh",  "tcsh", "ksh93", "bash5", "pdksh"};

// What a program that only runs another takes before that: options with a value of their own, and
// plain values.
struct Runner {
  std::string_view name;
  std::string_view letters = {};  // of the options that take the next word
  std::string_view names = {};    // theirs, each behind " --"
  int n_values = 0;
  bool assignments = false;
  bool adds_words = false;  // that its text does not have
};
constexpr std::array kRunners{
    Runner{"sudo", "ugCDhpRrTt",
           " --user --group --close-from --chdir --host --prompt --chroot --role --type"
           " --command-timeout --other-user --auth-type",
           0, true},
    Runner{"doas", "uCa"},
    Runner{"env", "uC", " --unset --chdir", 0, true},
    Runner{"command"},
    Runner{"builtin"},
    Runner{"exec", "a"},
    Runner{"coproc"},
    Runner{"nohup"},
    Runner{"setsid"},
    Runner{"time", "fo", " --format --output"},
    Runner{"nice", "n", " --adjustment"},
    Runner{"ionice", "cnpPu", " --class --classdata --pid --pgid --uid"},
    Runner{"stdbuf", "ioe", " --input --output --error"},
    Runner{"timeout", "ks", " --kill-after --signal", 1},
    Runner{"xargs", "EILPadns",
           " --arg-file --delimiter --max-lines --max-args --max-procs --process-slot-var"
           " --max-chars",
           0, false, true},
    Runner{"chroot", "", " --groups --userspec", 1},
    Runner{
        "strace", "eopsuabEIPSOX",
        " --env --attach --user --detach-on --trace --signal --status --trace-path --columns"
        " --abbrev --verbose --raw --read --write --decode-fds --output --string-limit --fault"
        " --inject --interruptible --summary-sort-by --summary-columns --summary-syscall-overhead"
        " --const-print-style --trace-fds"},
    Runner{"flock", "wE", " --timeout --wait --conflict-exit-code", 1},
    Runner{"unbuffer"},
    Runner{"chrt", "TPD", " --sched-runtime --sched-period --sched-deadline", 1},
    Runner{"taskset", "", "", 1},
    Runner{"setpriv", "",
           " --ambient-caps --inh-caps --bounding-set --ruid --euid --rgid --egid --reuid --regid"
           " --groups --securebits --pdeathsig --selinux-label --apparmor-profile --ptracer"
           " --landlock-access --landlock-rule --seccomp-filter"},
    Runner{"numactl", "ipPwCNmLoSfM",
           " --interleave --preferred --preferred-many --weighted-interleave --physcpubind"
           " --cpunodebind --membind --length --offset --shm --file --shmmode"},
    Runner{"unshare", "RwSGl",
           " --map-user --map-group --map-users --map-groups --propagation --setgroups --root --wd"
           " --setuid --setgid --monotonic --boottime --load-interp"},
    Runner{"nsenter", "tSGWN", " --target --setuid --setgid --wdns --net-socket"},
    Runner{"chronic"},
    Runner{"fakeroot", "lsibf", " --lib --faked --save-file --load-file --fd-base"},
    Runner{"catchsegv"},
    Runner{"choom", "np", " --adjust --pid"},
    Runner{"parallel", "jNnIaSPLCsE",
           " --jobs --max-procs --max-args --max-replace-args --arg-file --colsep --delay --joblog"
           " --results --retries --sshlogin --timeout --tmpdir --workdir --wd --tagstring --load"
           " --memfree --nice --halt --max-lines --max-chars --block --recstart --recend",
           0, false, true},
    Runner{"watch", "nq", " --interval --equexit"}};

const Runner* runner_of(std::string_view word) {
  const auto at = std::ranges::find(kRunners, base_name(word), &Runner::name);
  return at == kRunners.end() ? nullptr : &*at;
}

bool is_assignment(std::string_view word) {
  const auto at = word.find('=');
  return at != npos && at > 0 && word[0] != '-';
}

// Whether the word behind this option is its value, as getopt_long takes it: a long one may be cut
// short, and letters may stand together.
bool takes_next(const Runner& runner, std::string_view option) {
  if (option.starts_with("--"))
    return option.find('=') == npos && !one_of(option, "--summary", "--tag") &&  // flags of their
                                                                                 // own
           runner.names.find(fmt::format(" {}", option)) != npos;
  const auto letter = option.find_first_of(runner.letters, 1);
  return letter != npos && letter + 1 == option.size();
}

}  // namespace

bool is_shell(std::string_view name) {
  return std::ranges::find(kShells, name) != std::end(kShells);
}
bool is_runner(std::string_view name) { return runner_of(name) != nullptr; }
bool any_runner(const std::function<bool(std::string_view)>& matches) {
  return std::ranges::any_of(kShells, matches) ||
         std::ranges::any_of(kRunners, matches, &Runner::name);
}

std::size_t skip_runners(const std::vector<std::string>& words, bool& adds_words) {
  std::size_t i = 0;
  for (;;) {
    if (i >= words.size()) return 0;
    const Runner* const runner = runner_of(words[i]);
    if (!runner) return i;
    adds_words = adds_words || runner->adds_words;
    std::size_t next = i + 1;
    for (int values = runner->n_values; next < words.size();) {
      const std::string& word = words[next];
      if (word == "--") {
        ++next;
        break;
      }
      if (word.size() > 1 && word[0] == '-')
        next += takes_next(*runner, word) ? 2 : 1;
      else if (runner->assignments && (is_assignment(word) || word == "-"))
        ++next;
      else if (values-- > 0)
        ++next;
      else
        break;
    }
    if (runner->name == "coproc" && next + 1 < words.size() && words[next + 1] == "{") next += 2;
    if (next >= words.size()) return i;  // it runs nothing: `env`, `time` alone
    i = next;
  }
}

std::string env_script(const std::vector<std::string>& words) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (base_name(words[i]) != "env") continue;
    for (std::size_t k = i + 1; k < words.size() && words[k].size() > 1; ++k) {
      const std::string& word = words[k];
      const bool is_long = word.starts_with("--");
      if (word[0] != '-' || word == "--") break;
      const auto letter = is_long ? npos : word.find_first_of("uCS", 1);
      const auto equals = word.find('=');
      const bool splits = is_long ? word.starts_with("--s") : letter != npos && word[letter] == 'S';
      if (splits) {
        std::string out = is_long && equals != npos ? word.substr(equals + 1)
                          : is_long                 ? ""
                                                    : word.substr(letter + 1);
        for (++k; k < words.size(); ++k) out += fmt::format(" {}", words[k]);
        return out;
      }
      if (is_long ? equals == npos && (word.starts_with("--u") || word.starts_with("--c"))
                  : letter != npos && letter + 1 == word.size())
        ++k;
    }
  }
  return {};
}

ShellCall shell_call(const std::vector<std::string>& words) {
  ShellCall out;
  bool command = false, looks = false, acts = false, reads_input = false;
  std::size_t i = 1;
  while (i < words.size() && words[i].size() > 1 && (words[i][0] == '-' || words[i][0] == '+')) {
    const std::string& word = words[i++];
    if (word == "--") break;
    if (word.starts_with("--")) {
      const auto equals = word.find('=');
      const std::string_view name = std::string_view(word).substr(0, equals);
      if (one_of(name, "--command", "--init-command") && equals != npos)  // fish
        out.text = word.substr(equals + 1);
      else if (one_of(name, "--command", "--init-command") && i < words.size())
        out.text = words[i++];
      else if (one_of(name, "--rcfile", "--init-file"))
        out.startup = i++;
      looks = looks || one_of(name, "--version", "--help", "--no-execute");
      continue;
    }
    for (const char c : std::string_view(word).substr(1)) {
      command = command || (c == 'c' && word[0] == '-');
      if (c == 'n') (word[0] == '-' ? looks : acts) = true;
      acts = acts || c == 'i';
      reads_input = reads_input || c == 's';
      if (c == 'o' || c == 'O') ++i;  // its name
    }
  }
  if (i < words.size() && words[i] == "-") ++i;
  out.only_looks = looks && !acts;
  if (command && !out.text && i < words.size()) out.text = words[i++];
  if (i < words.size()) (out.text ? out.arguments : out.file) = i;
  if (reads_input) out.file = 0;
  if (out.startup >= words.size()) out.startup = 0;
  return out;
}

}  // namespace lares::tools
