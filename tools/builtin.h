// The built-in tools of one session: bash, str_replace_editor, test, git, outline. In this order,
// always.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/thread_pool.hpp>

#include "tools/tool.h"

namespace lares::sandbox {
struct NetworkDecision;
}

namespace lares::tools {

inline constexpr std::string_view kBashTool = "bash";
// Of what `bash` says while a command runs, its result begins with as many bytes, whatever comes
// after them.
inline constexpr std::size_t kStreamedBytesKept = 10'000;

struct BuiltinOptions {
  std::string root;                   // the worktree, absolute, no symlinks
  std::string state_dir;              // where spilled outputs go (0700, outside the worktree)
  std::string sandbox_launcher;       // path of lares-sandbox
  std::vector<std::string> viewable;  // directories elsewhere whose files may be viewed, absolute
  bool no_sandbox = false;            // the user said so, in so many words, for this session
  bool worktree_readonly = false;     // for commands
  int command_timeout_ms = 300'000;
  // Who calls has run commands in another shell, which is gone: the first result says so
  bool had_shell = false;
  // Hosts that commands may reach, as the user said: sandbox::Policy::network_allow
  std::vector<std::string> network_allow;
  // Hears of every attempt to reach one; may be empty
  std::function<void(const sandbox::NetworkDecision&)> on_network;
  // For what blocks, of many sessions; null: each tool that needs one has its own. Outlives the
  // tools
  boost::asio::thread_pool* threads = nullptr;
};

// Why the shell tools are off, or "" when they work; one line for people. The answer is cached per
// process.
asio::awaitable<std::string> shell_unavailable_reason(const BuiltinOptions& options);

std::vector<std::unique_ptr<Tool>> make_builtin_tools(asio::any_io_executor io,
                                                      const BuiltinOptions& options);

// These files are shown in the session's prompt: an edit of one of them that has changed since is
// refused, once, with the difference.
struct File;
void note_shown(const std::vector<std::unique_ptr<Tool>>& tools, const std::vector<File>& files);

// Likewise, for a session whose tools are not those that it began with. Without either a file
// counts as seen from its first view or edit on.
struct KnownText {
  std::string sha;                          // blob_sha of the text as it is shown
  std::shared_ptr<const std::string> text;  // null: not at hand
};
// Relative to the root
using WasShown = std::function<std::optional<KnownText>(const std::string& path)>;
void ask_what_was_shown(const std::vector<std::unique_ptr<Tool>>& tools, const WasShown& was_shown);

}  // namespace lares::tools
