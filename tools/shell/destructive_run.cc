#include "tools/shell/destructive_run.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tools/shell/makefile_recipes.h"
#include "tools/shell/programs.h"
#include "tools/shell/runners.h"
#include "tools/shell/words.h"
#include "tools/testing/runner.h"
#include "tools/workspace/rooted_fs.h"

namespace lares::tools {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;
using Found = std::optional<std::string>;

constexpr std::size_t kMakefileBytesMax = 4 * kRunFileBytesMax;  // with what it includes

// The value of `--directory=x`, `--directory x`, `-C x` or `-Cx`; `at` moves over it.
Found option(const Words& words, std::size_t& at, std::string_view letter, std::string_view name) {
  const std::string& word = words[at];
  if (word.starts_with(name) && word.size() > name.size() && word[name.size()] == '=')
    return word.substr(name.size() + 1);
  if ((word == name || word == letter) && at + 1 < words.size()) return words[++at];
  if (!letter.empty() && word.starts_with(letter) && word.size() > letter.size())
    return word.substr(letter.size());
  return std::nullopt;
}

// Of a file that is run by its path.
bool is_shell_script(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) return false;
  if (!text.starts_with("#!")) return true;
  const std::string_view line = text.substr(0, text.find('\n'));
  return line.find("sh") != std::string_view::npos && line.find("python") == std::string_view::npos;
}

// Below the root; "" is the root itself. Of "$PWD/x.sh" what the text says is taken.
std::string place(const RootedFs& files, const std::string& directory, std::string path) {
  if (const auto mark = path.find_last_of("\1\2\4"); mark != std::string::npos)
    path.erase(0, std::min(mark + 2, path.size()));
  else if (path.starts_with('/'))
    return files.relative(path).value_or("..");
  const std::string out = (fs::path(directory) / path).lexically_normal().string();
  return out == "." ? "" : out.ends_with('/') ? out.substr(0, out.size() - 1) : out;
}

// Where `cd` and `pushd` lead, in order of the text.
Words changes_to(const ShellScript& script) {
  Words out;
  for (const ShellCommand& command : script.commands)
    for (const ShellReading& reading : command.readings)
      if (one_of(reading.words[0], "cd", "pushd") && reading.words.size() > 1 &&
          !is_marked(reading.words.back()))
        out.push_back(reading.words.back());
  return out;
}

class Look {
 public:
  Look(RootedFs files, const std::function<bool(const std::string&)>& is_path)
      : files_(std::move(files)), is_path_(is_path) {}

  Found script(const ShellScript& script, const Words& directories, int depth) {
    if (depth >= kRunDepthMax) return std::nullopt;
    const Words here = directories_of(script, directories);
    for (const ShellCommand& command : script.commands)
      for (const ShellReading& reading : command.readings)
        if (auto lost = reading_runs(reading.words, here, depth)) return lost;
    return std::nullopt;
  }

 private:
  // Where the shell may be: where it was, and where the script goes.
  Words directories_of(const ShellScript& script, Words out) const {
    const Words before = out;
    for (const auto& to : changes_to(script))
      for (const auto& directory : before) {
        const std::string there = place(directory, to);
        if (out.size() < kRunDirectoriesMax && std::ranges::find(out, there) == out.end())
          out.push_back(there);
      }
    return out;
  }

  std::string place(const std::string& directory, const std::string& path) const {
    return ::lares::tools::place(files_, directory, path);
  }

  // Each once: a script that runs itself says nothing new.
  Found read(const std::string& path) {
    if (path.empty() || path.starts_with("..") || looked_.contains(path) || n_read_ >= kRunFilesMax)
      return std::nullopt;
    looked_.insert(path);
    auto data = files_.read(path, kRunFileBytesMax);
    if (data) ++n_read_;
    return data ? Found(std::move(data->bytes)) : std::nullopt;
  }

  Found text(const std::string& what, const std::string& text, const Words& directories, int depth,
             GitBy by) {
    const ShellScript commands = shell_commands(text);
    auto lost = destructive_git(commands, is_path_, by);
    if (lost) return fmt::format("{}: {}", what, *lost);
    return script(commands, directories, depth + 1);
  }

  Found reading_runs(const Words& words, const Words& directories, int depth) {
    const std::string_view name = base_name(words[0]);
    if (is_shell(name)) {
      const ShellCall call = shell_call(words);
      if (call.text || call.only_looks || call.file == 0) return std::nullopt;  // read already
      return script_file(words[call.file], directories, depth, true);
    }
    if (one_of(name, "source", ".") && words.size() > 1)
      return script_file(words[1], directories, depth, true);
    if (one_of(name, "make", "gmake")) return make(words, directories, depth);
    if (one_of(name, "npm", "pnpm", "yarn", "bun")) return package(words, directories, depth);
    if (words[0].find('/') != std::string::npos && !is_marked(name))
      return script_file(words[0], directories, depth, false);
    return std::nullopt;
  }

  Found script_file(const std::string& file, const Words& directories, int depth, bool by_shell) {
    for (const auto& directory : directories) {
      const std::string path = place(directory, file);
      const auto bytes = read(path);
      if (!bytes || (!by_shell && !is_shell_script(*bytes))) continue;
      if (auto lost = text(path, *bytes, directories, depth, GitBy::arguments)) return lost;
    }
    return std::nullopt;
  }

  Found make(const Words& words, Words directories, int depth) {
    Words names, goals;
    std::string given;  // variables, which come before the makefile's
    for (std::size_t i = 1; i < words.size(); ++i) {
      if (!words[i].starts_with('-') && words[i].find('=') != std::string::npos)
        given += "\n" + words[i];
      if (const auto to = option(words, i, "-C", "--directory")) {
        for (auto& directory : directories) directory = place(directory, *to);
      } else if (const auto file = option(words, i, "-f", "--file")) {
        names.push_back(*file);
      } else if (const auto other = option(words, i, "", "--makefile")) {
        names.push_back(*other);
      } else if (one_of(words[i], "-n", "--dry-run", "--just-print", "--version", "--help")) {
        return std::nullopt;
      } else if (!words[i].starts_with('-') && words[i].find('=') == std::string::npos &&
                 words[i].find_first_not_of("0123456789") != std::string::npos) {
        goals.push_back(words[i]);
      }
    }
    if (names.empty()) names = {"GNUmakefile", "makefile", "Makefile"};
    for (const auto& directory : directories)
      for (const auto& name : names) {
        const std::string path = place(directory, name);
        auto makefile = read(path);
        if (!makefile) continue;
        for (const auto& included : makefile_includes(*makefile))
          if (makefile->size() > kMakefileBytesMax)
            break;
          else if (const auto more = read(place(directory, included)))
            *makefile += "\n" + *more;
        *makefile += given;
        const bool known = std::ranges::none_of(goals, is_marked);
        const std::string recipes = makefile_recipes(
            known ? *makefile : *makefile + "\n.DEFAULT_GOAL = x\n", known ? goals : Words());
        looked_.erase(path);  // for another goal
        if (auto lost = text(path, recipes, {directory}, depth, GitBy::name)) return lost;
        break;
      }
    return std::nullopt;
  }

  Found package(const Words& words, Words directories, int depth) {
    Words names;
    for (std::size_t i = 1; i < words.size() && names.empty(); ++i) {
      if (auto to = option(words, i, "-C", "--prefix");
          to || (to = option(words, i, "--dir", "--cwd"))) {
        for (auto& directory : directories) directory = place(directory, *to);
        continue;
      }
      if (words[i].starts_with('-') || one_of(words[i], "run", "run-script")) continue;
      names.push_back(one_of(words[i], "t", "tst") ? "test" : words[i]);
      if (one_of(words[i], "install", "i", "ci", "add"))
        names.insert(names.end(), {"install", "prepare"});
    }
    for (const auto& directory : directories) {
      const std::string path = place(directory, "package.json");
      const auto bytes = read(path);
      if (!bytes) continue;
      looked_.erase(path);  // for another script
      const auto json = nlohmann::json::parse(*bytes, nullptr, false);
      const auto scripts = json.is_object() ? json.find("scripts") : json.end();
      if (!json.is_object() || scripts == json.end() || !scripts->is_object()) continue;
      for (const auto& name : names)
        for (const char* before : {"pre", "", "post"}) {
          const auto found = scripts->find(before + name);
          if (found == scripts->end() || !found->is_string()) continue;
          const auto lost = text(fmt::format("{} of {}", before + name, path),
                                 found->get<std::string>(), {directory}, depth, GitBy::arguments);
          if (lost) return lost;
        }
    }
    return std::nullopt;
  }

  RootedFs files_;
  const std::function<bool(const std::string&)>& is_path_;
  std::set<std::string> looked_;
  int n_read_ = 0;
};

}  // namespace

std::optional<std::string> destructive_run(const std::string& root, const std::string& directory,
                                           const ShellScript& script,
                                           const std::function<bool(const std::string&)>& is_path) {
  if (auto lost = destructive_git(script, is_path)) return lost;
  auto files = RootedFs::open(root);
  if (!files) return std::nullopt;
  std::vector<std::string> directories{""};
  if (!directory.empty()) directories.push_back(directory);
  return Look(std::move(*files), is_path).script(script, directories, 0);
}

std::string directory_after(const std::string& root, const std::string& directory,
                            const ShellScript& script) {
  const auto files = RootedFs::open(root);
  std::string out = directory;
  if (files)
    for (const auto& to : changes_to(script)) out = place(*files, out, to);
  return out.starts_with("..") ? "" : out;
}

std::optional<TestCommand> test_command(const std::string& root, const std::string& path,
                                        const std::string& filter) {
  const auto runner = find_runner(root, path, filter);
  if (!runner) return std::nullopt;
  TestCommand out;
  for (const std::string& word : runner->argv) {
    std::string quoted = word;
    for (auto at = quoted.find('\''); at != std::string::npos; at = quoted.find('\'', at + 4))
      quoted.replace(at, 1, "'\\''");
    const bool plain =
        !word.empty() &&
        word.find_first_not_of(
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:") ==
            std::string::npos;
    out.script += (out.script.empty() ? "" : " ") + (plain ? word : fmt::format("'{}'", quoted));
  }
  if (runner->cwd.size() > root.size() && runner->cwd.starts_with(root))
    out.directory = runner->cwd.substr(root.size() + 1);
  return out;
}

}  // namespace lares::tools
