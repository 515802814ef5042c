// lares manual: the manual pages. Commands, options and settings come from the tables that parse
// them; the prose is here.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <string_view>

#include "daemon/cli/commands/commands.h"
#include "daemon/cli/commands/table.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/help.h"
#include "daemon/cli/options.h"
#include "daemon/settings.h"
#include "daemon/version.h"

namespace lares::cli {
namespace {

// What a command's help has no room for; in roff.
struct Note {
  std::string_view path, text;
};
constexpr Note kNotes[] = {
    {"lares",
     "What is typed while a turn runs steers it. Enter sends; Alt\\-Enter, or a backslash at the "
     "end, begins another line. Ctrl\\-C stops the\n"
     "turn, Ctrl\\-D leaves. /help lists what else it knows. It needs a terminal; run and ask do "
     "not.\n"},
    {"lares run",
     "The answer goes to standard output and everything else to standard error, so that lares ask "
     "... > answer.txt keeps the answer alone. With\n"
     "\\-\\-json every notification of the daemon is a line, and the last line is an object of "
     "type result. Ctrl\\-C stops the turn; a second one\n"
     "leaves at once. In a pipe nobody can be asked: a call that asks for permission does not run, "
     "and the model is told that nobody was there.\n"
     ".PP\n"
     "\\-\\-delivery says what becomes of a prompt when the session is busy: start refuses it, "
     "queue lets it wait for its turn, steer shows it to\n"
     "the model in the running turn, interrupt stops that turn first.\n"
     ".PP\n"
     "\\-\\-policy says what may change something unasked: auto, all but what loses work; edits, "
     "edits alone; ask, nothing; plan and read\\-only:\n"
     "nothing is changed at all.\n"},
    {"lares review",
     "The change is taken from git and stands in the prompt. A..B and A...B both mean what B has "
     "that A has not, from where they parted, as a\n"
     "pull request shows it. Of a change of more than 256 kB, whole files are shown as far as they "
     "fit and the others named; \\-\\-only reviews\n"
     "them by themselves. lares run \\-\\-session ID \"fix the first\" goes on from the "
     "findings.\n"},
    {"lares attach",
     "Shows the running turn from its beginning, then what happens as it happens, until the turn "
     "ends; its exit status is the turn\\(aqs. At a\n"
     "terminal a question or a call that asks for permission can be answered here as well as where "
     "the turn was begun: the first answer counts.\n"},
    {"lares config",
     "The settings are listed below. A value that makes no sense is refused, here and in the file; "
     "the daemon does not start with a file it does\n"
     "not understand.\n"},
    {"lares mcp",
     "For MCP clients of any protocol version since 2024\\-11\\-05, 2026\\-07\\-28 included. Its "
     "tools are ask_repo, run_task, review, task_status and\n"
     "task_cancel; sessions and what they changed are resources. Whoever cancels a call stops its "
     "turn; a task whose client merely goes away runs\n"
     "on. What a task asks is asked of the client\\(aqs user where the client can; else what would "
     "need permission does not run, and is listed. The\n"
     "same server answers on the daemon\\(aqs HTTP at /mcp?root=DIR.\n"},
    {"lares skills",
     "A skill is a directory with a SKILL.md: YAML between two lines \\-\\-\\- with name and "
     "description, then what is to be done. The model reads it when\n"
     "a task is for it; a prompt that begins with /NAME hands it over, $ARGUMENTS in it being the "
     "rest of the prompt.\n"},
    {"lares rules",
     "A pattern is held against every command of a script, a path, or SERVER/TOOL; * is "
     "anything.\n"},
    {"lares bench",
     "A floor is the time the same work takes at the ceilings measured in the same run: the larger "
     "of bytes / read bandwidth and flops / peak. In\n"
     "pairs is the speed over that of a plain loop run in turn with the kernel, reading the same "
     "bytes or doing the same flops.\n"},
    {"lares completion",
     "bash: source <(lares completion bash) in ~/.bashrc. zsh: source <(lares completion zsh) in "
     "~/.zshrc, after compinit. fish: lares\n"
     "completion fish | source in ~/.config/fish/config.fish.\n"},
};

// Plain text for roff: nothing in it is a request or an escape, and a hyphen is one that can be
// searched for and copied.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else if (c == '\'')
      out += "\\(aq";
    else
      out += c;
  }
  return out.starts_with('.') ? "\\&" + out : out;
}

void section(std::string& out, std::string_view name) { out += fmt::format(".SH {}\n", name); }
void item(std::string& out, std::string_view what, const std::string& text) {
  out += fmt::format(".TP\n\\fB{}\\fR\n{}\n", escaped(what), escaped(text));
}
void example(std::string& out, std::string_view line) {
  out += fmt::format(".PP\n.RS 4\n.nf\n{}\n.fi\n.RE\n", escaped(line));
}

std::string sentence(std::string text) {
  return text.empty() || text.ends_with('.') ? text : text + ".";
}

void describe(std::string& out, const CLI::App& app) {
  const std::string path = path_of(app);
  out += fmt::format(".SS \"{}\"\n{}\n", escaped(usage_of(app)),
                     escaped(sentence(app.get_description())));
  for (const Note& note : kNotes) {
    if (note.path == path) out += fmt::format(".PP\n{}", note.text);
  }
  for (const auto* option : app.get_options()) {
    if (const std::string form = form_of(*option); !form.empty())
      item(out, form, meaning_of(*option));
  }
  if (const auto line = example_of(path); !line.empty()) example(out, line);
  for (const auto* sub : app.get_subcommands([](const CLI::App*) { return true; }))
    describe(out, *sub);
}

void head(std::string& out, std::string_view name, std::string_view what) {
  std::string upper;
  for (const char c : name) upper += static_cast<char>(c - 'a' + 'A');
  out += fmt::format(".\\\" Written by `lares manual {}`.\n.TH {} 1 \"\" \"Lares {}\" \"Lares\"\n",
                     name, upper, daemon::kVersion);
  section(out, "NAME");
  out += fmt::format("{} \\- {}\n", name, what);
}

void settings(std::string& out, bool of_daemon_alone) {
  for (const auto& s : daemon::settings_table()) {
    if (of_daemon_alone && !s.of_daemon) continue;
    std::string text =
        sentence(fmt::format("{}. Default: {}", s.what, s.usual.empty() ? "see FILES" : s.usual));
    if (!s.words.empty()) text += fmt::format(" One of: {}.", s.words);
    item(out, fmt::format("{}, {}", s.key, daemon::environment_name(s)), text);
  }
}

void files(std::string& out) {
  section(out, "FILES");
  item(out, "$XDG_CONFIG_HOME/lares/config.json",
       "the settings; ~/.config/lares/config.json where the variable is not set.");
  item(out, "$XDG_CONFIG_HOME/lares/mcp.json", "MCP servers whose tools the model gets.");
  item(out, "$XDG_RUNTIME_DIR/lares/lares.sock",
       "the socket; /tmp/lares-UID/lares.sock where the variable is not set.");
  item(out, "$XDG_STATE_HOME/lares",
       "sessions, snapshots, kept prefixes and laresd.log, before which there may be a "
       "laresd.log.1; "
       "~/.local/state/lares where the variable is not set.");
}

std::string lares_page() {
  std::string out;
  head(out, "lares", "a coding agent that lives in your repository");
  section(out, "SYNOPSIS");
  out += ".B lares\n[OPTIONS]\n.br\n.B lares\nCOMMAND [OPTIONS] ...\n";
  section(out, "DESCRIPTION");
  out +=
      "Lares keeps the files of a repository in the prompt of a language model that runs on this "
      "machine, and works on the code in loops of tool\n"
      "calls: edit, test, git, MCP servers. Commands of the model run in a sandbox: the repository "
      "and a private /tmp, no network, no secrets.\n"
      "The model is hosted by a daemon,\n.BR laresd (1),\nwhich starts when it is needed. Nothing "
      "leaves the machine.\n"
      ".PP\nWithout a command lares is a conversation.\n";
  section(out, "COMMANDS");
  describe_options(interactive_command, "lares", [&](const CLI::App& app) { describe(out, app); });
  for (const auto& command : commands()) {
    const std::string path = "lares " + std::string(command.name);
    describe_options(command.run, path.c_str(), [&](const CLI::App& app) { describe(out, app); });
  }
  section(out, "SETTINGS");
  out +=
      "A value comes from the command line, else from the environment, else from the file, else it "
      "is the default.\n";
  settings(out, false);
  section(out, "ENVIRONMENT");
  out += "Each setting has a variable, named above. Beside them:\n";
  item(out, "PAGER", "what log and diff show long output with, at a terminal.");
  item(out, "NO_COLOR, TERM=dumb", "no colours; no line that is redrawn.");
  files(out);
  section(out, "EXIT STATUS");
  item(out, std::to_string(kExitFinished), "the command did what it was asked.");
  item(out, std::to_string(kExitError), "it did not; one line on standard error says why.");
  item(out, std::to_string(kExitUsage), "the command line is wrong.");
  item(out, std::to_string(kExitLimited),
       "the turn was stopped by a limit: of steps, tokens or the context.");
  item(out, std::to_string(kExitInterrupted),
       "the turn was interrupted, or the command was left before its end.");
  section(out, "SEE ALSO");
  out += ".BR laresd (1),\n.BR git (1)\n";
  return out;
}

std::string laresd_page() {
  std::string out;
  head(out, "laresd", "the daemon of Lares: hosts the model, keeps sessions");
  section(out, "SYNOPSIS");
  out += ".B laresd\n[OPTIONS]\n";
  section(out, "DESCRIPTION");
  out +=
      "Loads a checkpoint, keeps repositories in the model\\(aqs prompt, runs the turns of "
      "sessions and serves them on a Unix socket that is the\n"
      "user\\(aqs alone. The commands of\n.BR lares (1)\nstart it when none runs, and lares "
      "shutdown ends it. It writes its log to standard error.\n";
  section(out, "OPTIONS");
  out += "What is not given is taken from the environment, else from the settings.\n";
  for (const auto& s : daemon::settings_table()) {
    if (!s.of_daemon) continue;
    std::string name = "--";
    for (const char c : s.key) name += c == '_' ? '-' : c;
    item(out, name + " VALUE", sentence(std::string(s.what)));
  }
  item(out, "--version", "says which.");
  section(out, "SETTINGS");
  settings(out, true);
  section(out, "SYSTEMD");
  out +=
      "systemctl \\-\\-user enable \\-\\-now lares.socket lets systemd listen; the first command "
      "starts the daemon, and who connects while it restarts\n"
      "waits. The daemon then has the environment of the user manager and not that of a shell: "
      "systemctl \\-\\-user import\\-environment PATH gives the\n"
      "model\\(aqs commands the programs of yours, and settings belong into the file rather than "
      "into variables. Its log is read with journalctl\n"
      "\\-\\-user \\-u lares. lares shutdown ends it until the next command; systemctl \\-\\-user "
      "stop lares.socket lares.service ends it for good.\n";
  files(out);
  section(out, "SEE ALSO");
  out += ".BR lares (1),\n.BR systemd.socket (5)\n";
  return out;
}

}  // namespace

int manual_command(int argc, const char* const* argv) {
  CLI::App app("Prints the manual page of lares or laresd, as man reads it.", "lares manual");
  std::string page = "lares";
  app.add_option("page", page, "lares or laresd")
      ->check(CLI::IsMember({"lares", "laresd"}))
      ->capture_default_str();
  app.footer(kShortExitStatusHelp);
  if (const auto over = parse(app, argc, argv)) return *over;
  const std::string text = page == "lares" ? lares_page() : laresd_page();
  std::fwrite(text.data(), 1, text.size(), stdout);
  return kExitFinished;
}

}  // namespace lares::cli
