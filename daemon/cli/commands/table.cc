#include "daemon/cli/commands/table.h"

#include "daemon/cli/commands/commands.h"
#include "daemon/cli/commands/mcp.h"
#include "daemon/cli/commands/worktrees.h"

namespace lares::cli {
namespace {

constexpr Command kCommands[] = {
    {"run", "work on a task in this repository", run_command},
    {"ask", "answer a question about this repository; changes nothing", ask_command},
    {"review", "findings in uncommitted changes, a commit or a range", review_command},
    {"attach", "follow a session that works, and answer what it asks", attach_command},
    {"stop", "stop the turn of a session that works", stop_command, /*seldom=*/true},
    {"status", "what the daemon does", status_command},
    {"prefix", "what of the repository the model has before it", prefix_command},
    {"sessions", "what was worked on, newest first", sessions_command},
    {"log", "what was said and done in a session", log_command},
    {"diff", "what a session changed", diff_command},
    {"rewind", "back to before a turn, with the files it changed", rewind_command},
    {"fork", "another session that knows what this one knows", fork_command},
    {"worktrees", "sessions that work in a git worktree of their own", worktrees_command,
     /*seldom=*/true},
    {"apply", "what such a session did, into your worktree", apply_command, /*seldom=*/true},
    {"export", "a session as a file", export_command, /*seldom=*/true},
    {"import", "a session from a file", import_command, /*seldom=*/true},
    {"replay", "whether a session's answers come out the same again", replay_command,
     /*seldom=*/true},
    {"title", "call a session something else", title_command, /*seldom=*/true},
    {"mcp", "an MCP server on stdin and stdout", mcp_command, /*seldom=*/true},
    {"skills", "instructions for one kind of work each", skills_command, /*seldom=*/true},
    {"rules", "what may run unasked, must be asked for, or may not", rules_command},
    {"config", "settings: each value, where it comes from, setting it", config_command},
    {"doctor", "what this host gives, and what is in the way", doctor_command},
    {"acp", "for editors: the Agent Client Protocol on stdin and stdout", acp_command,
     /*seldom=*/true},
    {"shutdown", "end the daemon; sessions stay on disk", shutdown_command},
    {"prompt", "what every prompt begins with", prompt_command, /*seldom=*/true},
    {"model", "inspect a checkpoint, compute its logits, generate", model_command, /*seldom=*/true},
    {"tokenize", "text to token ids and back", tokenize_command, /*seldom=*/true},
    {"bench", "measure kernels and layers against the machine's ceilings", bench_command,
     /*seldom=*/true},
    {"manual", "the manual page, for man", manual_command, /*seldom=*/true},
    {"completion", "completion of all this for bash, zsh or fish", completion_command,
     /*seldom=*/true},
};

}  // namespace

std::span<const Command> commands() { return kCommands; }

}  // namespace lares::cli
