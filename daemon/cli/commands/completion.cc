// lares completion: what the shell may complete, from the same tables that parse the command line.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "daemon/cli/commands/commands.h"
#include "daemon/cli/commands/table.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/options.h"
#include "daemon/cli/terminal/print.h"
#include "daemon/client/link.h"
#include "daemon/shown/text.h"

namespace lares::cli {
namespace {

constexpr std::chrono::seconds kSessionsWithin{2};  // or nothing is completed

struct Word {
  std::string word, what;
  bool takes_value = false, takes_text = false;  // text may be the name of a file
  bool takes_session = false;
  std::vector<std::string> values;  // where the value is one of a few
};
// `lares`, `lares run`, `lares model logits`: what may follow those words.
struct Place {
  std::string path;
  std::vector<Word> commands, options;
  bool takes_session = false;
};

// Lines of an id, a tab and a title; nothing where no daemon runs.
constexpr std::string_view kSessions = "lares completion --sessions 2>/dev/null";

std::string first_sentence(std::string text) {
  if (const auto end = text.find_first_of("\n;:("); end != std::string::npos) text.resize(end);
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

// {a,b,c}, as CLI::IsMember writes it into the option's type.
std::vector<std::string> values_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const auto begin = type.rfind('{'), end = type.rfind('}');
  std::vector<std::string> values;
  if (begin == std::string::npos || end == std::string::npos) return values;
  std::string value;
  for (const char c : type.substr(begin + 1, end - begin - 1) + ",") {
    if (c != ',') {
      value += c;
      continue;
    }
    if (const auto arrow = value.find("->"); arrow != std::string::npos) value.resize(arrow);
    values.push_back(value);
    value.clear();
  }
  return values;
}

bool takes_file(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  return type.starts_with("TEXT") || type.starts_with("DIR") || type.starts_with("PATH");
}

bool takes_session(const CLI::Option& option) {
  return option.get_type_name() == "ID" || option.get_name(/*positional=*/true) == "ID" ||
         option.get_name(true) == "session";
}

void describe(const CLI::App& app, const std::string& path, std::vector<Place>& out) {
  Place place{path, {}, {}};
  for (const auto* option : app.get_options()) {
    if (option->get_group().empty()) continue;  // hidden
    for (const auto& name : option->get_lnames())
      place.options.push_back({"--" + name, first_sentence(option->get_description()),
                               option->get_items_expected_max() > 0, takes_file(*option),
                               takes_session(*option), values_of(*option)});
    if (option->get_lnames().empty() && option->get_snames().empty()) {
      place.takes_session = place.takes_session || takes_session(*option);
      for (const auto& value : values_of(*option))
        place.commands.push_back({.word = value, .what = "", .values = {}});
    }
  }
  const auto subcommands = app.get_subcommands([](const CLI::App*) { return true; });
  for (const auto* sub : subcommands)
    place.commands.push_back(
        {.word = sub->get_name(), .what = first_sentence(sub->get_description()), .values = {}});
  out.push_back(std::move(place));
  for (const auto* sub : subcommands) describe(*sub, path + " " + sub->get_name(), out);
}

std::vector<Place> everything() {
  std::vector<Place> places;
  describe_options(interactive_command, "lares",
                   [&](const CLI::App& app) { describe(app, "lares", places); });
  places.front().options.push_back({.word = "--version", .what = "the version", .values = {}});
  for (const auto& command : commands())
    places.front().commands.push_back({.word = std::string(command.name),
                                       .what = first_sentence(std::string(command.what)),
                                       .values = {}});
  places.front().commands.push_back(
      {.word = "help", .what = "this list, or a command's help", .values = {}});
  for (const auto& command : commands()) {
    const std::string path = "lares " + std::string(command.name);
    describe_options(command.run, path.c_str(),
                     [&](const CLI::App& app) { describe(app, path, places); });
  }
  return places;
}

std::string joined(const std::vector<Word>& words) {
  std::string out;
  for (const auto& w : words) out += (out.empty() ? "" : " ") + w.word;
  return out;
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const auto& w : words) out += (out.empty() ? "" : " ") + w;
  return out;
}

// In single quotes, for every shell; fish alone needs its backslashes doubled, and there are none.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

// The words before the one that is completed, without options, select the place.
std::string bash(const std::vector<Place>& places) {
  std::string out =
      "_lares() {\n"
      "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path=lares next word "
      "i\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    word=${COMP_WORDS[i]}\n"
      "    case \"$path $word\" in\n";
  for (const auto& p : places) {
    if (p.path != "lares") out += fmt::format("      {}) path=$path' '$word ;;\n", quoted(p.path));
  }
  out += "    esac\n  done\n  case \"$path $prev\" in\n";
  for (const auto& p : places) {
    for (const auto& o : p.options) {
      if (o.takes_session)
        out += fmt::format(
            "    {}) COMPREPLY=($(compgen -W \"$({} | cut -f1)\" -- \"$cur\")); return ;;\n",
            quoted(p.path + " " + o.word), kSessions);
      else if (!o.values.empty())
        out += fmt::format("    {}) COMPREPLY=($(compgen -W {} -- \"$cur\")); return ;;\n",
                           quoted(p.path + " " + o.word), quoted(joined(o.values)));
      else if (o.takes_value)
        out += fmt::format(
            "    {}) {}return ;;\n", quoted(p.path + " " + o.word),
            o.takes_text ? "COMPREPLY=($(compgen -f -- \"$cur\")); " : "compopt +o default; ");
    }
  }
  out += "  esac\n  case $path in\n";
  for (const auto& p : places) {
    const std::string words = p.takes_session ? fmt::format("\"$({} | cut -f1)\"", kSessions)
                                              : quoted(joined(p.commands));
    out += fmt::format("    {}) [[ $cur == -* ]] && next={} || next={} ;;\n", quoted(p.path),
                       quoted(joined(p.options)), words);
  }
  return out +
         "  esac\n"
         "  COMPREPLY=($(compgen -W \"$next\" -- \"$cur\"))\n"
         "}\n"
         "complete -o default -F _lares lares\n";
}

std::string zsh(const std::vector<Place>& places) {
  std::string out =
      "#compdef lares\n"
      "_lares_sessions() {\n"
      "  local -a ids\n"
      "  local line\n"
      "  for line in ${(f)\"$(" +
      std::string(kSessions) +
      ")\"}; do ids+=(\"${line%%$'\\t'*}:${${line#*$'\\t'}//:/\\\\:}\"); done\n"
      "  _describe session ids\n"
      "}\n"
      "_lares() {\n"
      "  local place=lares word i\n"
      "  local -a next\n"
      "  for ((i = 2; i < CURRENT; i++)); do\n"
      "    word=${words[i]}\n"
      "    case \"$place $word\" in\n";
  const auto described = [](const Word& w) {
    std::string word;
    for (const char c : w.word) word += c == ':' ? "\\:" : std::string(1, c);
    return quoted(w.what.empty() ? word : word + ":" + w.what);
  };
  for (const auto& p : places) {
    if (p.path != "lares")
      out += fmt::format("      {}) place=\"$place $word\" ;;\n", quoted(p.path));
  }
  out += "    esac\n  done\n  case \"$place ${words[CURRENT-1]}\" in\n";
  for (const auto& p : places) {
    for (const auto& o : p.options) {
      if (o.takes_session)
        out += fmt::format("    {}) _lares_sessions; return ;;\n", quoted(p.path + " " + o.word));
      else if (!o.values.empty())
        out += fmt::format("    {}) compadd -- {}; return ;;\n", quoted(p.path + " " + o.word),
                           joined(o.values));
      else if (o.takes_value)
        out += fmt::format("    {}) {}return ;;\n", quoted(p.path + " " + o.word),
                           o.takes_text ? "_files; " : "");
    }
  }
  out += "  esac\n  case $place in\n";
  for (const auto& p : places) {
    out += fmt::format("    {}) next=(", quoted(p.path));
    for (const auto& c : p.commands) out += "\n      " + described(c);
    for (const auto& o : p.options) out += "\n      " + described(o);
    out += fmt::format(
        "); {};;\n", p.takes_session ? "[[ $PREFIX == -* ]] || { _lares_sessions; return; } " : "");
  }
  return out +
         "  esac\n"
         "  _describe lares next || _files\n"
         "}\n"
         "if [[ $funcstack[1] == _lares ]]; then _lares \"$@\"; else compdef _lares lares; fi\n";
}

std::string fish(const std::vector<Place>& places) {
  std::string out =
      "function __lares_at\n"
      "  set -l path lares\n"
      "  for word in (commandline -opc)[2..-1]\n"
      "    switch \"$path $word\"\n";
  for (const auto& p : places) {
    if (p.path != "lares")
      out += fmt::format("      case {}\n        set path \"$path $word\"\n", quoted(p.path));
  }
  out += "    end\n  end\n  test \"$path\" = \"$argv[1]\"\nend\n";
  for (const auto& p : places) {
    const std::string at = fmt::format("complete -c lares -n {}",
                                       quoted("__lares_at \"" + p.path + "\""));
    if (!p.commands.empty() || p.takes_session) out += at + " -f\n";
    if (p.takes_session) out += fmt::format("{} -a '({})'\n", at, kSessions);
    for (const auto& c : p.commands)
      out += fmt::format("{} -a {} -d {}\n", at, c.word, quoted(c.what));
    for (const auto& o : p.options) {
      out += fmt::format("{} -l {} -d {}", at, o.word.substr(2), quoted(o.what));
      if (o.takes_session)
        out += fmt::format(" -x -a '({})'", kSessions);
      else if (!o.values.empty())
        out += fmt::format(" -x -a {}", quoted(joined(o.values)));
      else if (o.takes_value)
        out += o.takes_text ? " -r" : " -x";
      out += '\n';
    }
  }
  return out;
}

}  // namespace

namespace {

// Of this repository, the newest first; a daemon is not started for it.
int print_sessions() {
  DaemonOptions daemon;
  Link link;
  if (!daemon.resolve() || !link.connect(daemon.socket)) return kExitFinished;
  protocol::SessionList list;
  list.closed = true;
  if (const auto top = repository_root("")) list.root = *top;
  const auto sessions = link.call<protocol::SessionListResult>(list, kSessionsWithin);
  if (!sessions) return kExitFinished;
  for (const auto& s : sessions->sessions)
    if (s.last_seq > 1) print_out("{}\t{}\n", s.session_id, one_line(s.title));
  return kExitFinished;
}

}  // namespace

int completion_command(int argc, const char* const* argv) {
  CLI::App app("Prints what makes a shell complete commands and options.", "lares completion");
  std::string shell;
  bool sessions = false;
  auto* const which = app.add_option("shell", shell, "bash, zsh or fish")
                          ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  app.add_flag("--sessions", sessions, "the sessions there are, for those scripts")
      ->group("")
      ->excludes(which);
  app.footer(
      "bash: source <(lares completion bash)     in ~/.bashrc\n"
      "zsh:  source <(lares completion zsh)      in ~/.zshrc, after compinit\n"
      "fish: lares completion fish | source      in ~/.config/fish/config.fish");
  if (const auto over = parse(app, argc, argv)) return *over;
  if (sessions) return print_sessions();
  if (shell.empty()) {
    print_err("lares completion: for which shell? Name bash, zsh or fish\n");
    return kExitUsage;
  }
  const auto places = everything();
  print_out("{}", shell == "bash" ? bash(places) : shell == "zsh" ? zsh(places) : fish(places));
  return kExitFinished;
}

}  // namespace lares::cli
