#include "daemon/cli/commands/doctor_work.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "daemon/hooks/hook_config.h"
#include "daemon/repository.h"
#include "daemon/settings.h"
#include "mcp/config.h"
#include "sandbox/search_path.h"
#include "tools/git/form.h"

namespace lares::cli {

namespace fs = std::filesystem;

namespace {

using Kind = Finding::Kind;

// The folder of what the user says for all repositories; empty: there is none.
std::string user_folder() {
  const auto settings = daemon::settings_path();
  return settings ? fs::path(*settings).parent_path().string() : "";
}

// Why the program of a server that runs here would not be found. `root` may be empty.
std::string why_not_found(const mcp::ServerConfig& server, const std::string& root) {
  if (server.command.empty()) return "";  // it is reached by its address
  if (server.command.find('/') != std::string::npos)
    return ::access(server.command.c_str(), X_OK) == 0 || !server.command.starts_with('/')
               ? ""
               : fmt::format("{}: {}", server.command, std::strerror(errno));
  const auto own = server.env.find("PATH");
  const char* const path = own != server.env.end() ? own->second.c_str() : std::getenv("PATH");
  if (!path || !sandbox::program_outside(server.command, path, root).empty()) return "";
  return fmt::format("no directory in PATH has {}, or only one of the repository", server.command);
}

}  // namespace

void look_at_repository(std::vector<Finding>& out) {
  std::error_code failed;
  const auto here = daemon::repository_root(fs::current_path(failed).string());
  if (failed || !here) {
    out.push_back(
        {Kind::bad, "repository",
         failed ? fmt::format("find the current directory: {}", failed.message()) : here.error()});
    return;
  }
  if (const auto why = daemon::why_no_session(here->root); !why.empty())
    out.push_back({Kind::bad, "repository", why});
  else if (!here->git)
    out.push_back({Kind::note, "repository",
                   fmt::format("{} is in no git repository: all files in it are taken for its own, "
                               "and worktrees for sessions (--worktree, --best-of), `lares review` "
                               "and the model's git tool do not work; `git init` makes it one",
                               here->root)});
  else if (const auto form = tools::why_only_git_reads(here->root); !form.empty())
    out.push_back({Kind::note, "repository",
                   fmt::format("{}: {}; the model's git tool and worktrees for sessions "
                               "(--worktree, --best-of) do not work in it, and commits are yours "
                               "to make; files, edits, tests, snapshots and rewind work, and "
                               "commands read its history with git",
                               here->root, form)});
  if (::access(here->root.c_str(), W_OK) != 0)
    out.push_back({Kind::note, "repository",
                   fmt::format("{}: {}: questions can be asked about it, and nothing be changed",
                               here->root, std::strerror(errno))});
}

void look_at_servers_and_hooks(std::vector<Finding>& out) {
  const std::string folder = user_folder();
  if (folder.empty()) return;
  std::error_code failed;
  const auto here = daemon::repository_root(fs::current_path(failed).string());
  const mcp::Config servers = mcp::read_config(folder + "/mcp.json");
  for (const auto& problem : servers.problems) out.push_back({Kind::bad, "MCP", problem});
  std::vector<std::string> names;
  for (const auto& server : servers.servers) {
    const std::string why = why_not_found(server, here ? here->root : "");
    if (why.empty())
      names.push_back(server.name);
    else
      out.push_back({Kind::bad, "MCP",
                     fmt::format("server {} cannot be started: {}; name its program with its whole "
                                 "path in {}/mcp.json",
                                 server.name, why, folder)});
  }
  if (!names.empty())
    out.push_back(
        {Kind::good, "MCP",
         fmt::format("{}: started when the model first needs one", fmt::join(names, ", "))});
  const auto hooks = daemon::read_hooks(folder + "/hooks.json");
  if (!hooks)
    out.push_back({Kind::bad, "hooks", hooks.error() + "; until then every turn fails"});
  else if (const auto n = hooks->before_tool.size() + hooks->after_tool.size() +
                          hooks->turn_end.size();
           n > 0)
    out.push_back({Kind::good, "hooks", fmt::format("{} in {}/hooks.json", n, folder)});
}

void look_at_model_directory(std::vector<Finding>& out) {
  const auto directory = daemon::Settings::load_sound().text("model");
  std::error_code ec;
  if (!directory || fs::exists(fs::path(*directory) / "config.json", ec)) return;
  out.push_back(
      {Kind::bad, "model",
       fmt::format("there is no {}/config.json, so no daemon gets ready; `lares config set "
                   "model DIR` names the directory of a checkpoint, `lares config unset "
                   "model` goes back to nano",
                   *directory)});
}

}  // namespace lares::cli
