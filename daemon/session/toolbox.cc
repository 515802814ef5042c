// A session's tools: made when its first turn begins, with what they ask the session for.
#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "daemon/session/session.h"
#include "daemon/skills/skills.h"
#include "sandbox/sandbox.h"

namespace lares::daemon {

tools::BuiltinOptions Session::builtin_options() const {
  tools::BuiltinOptions builtin;
  builtin.root = info_.root;
  builtin.state_dir = world_.state_dir + "/outputs/" + info_.session_id;
  builtin.sandbox_launcher = world_.sandbox_launcher;
  builtin.viewable = skill_directories(world_.home);
  builtin.no_sandbox = info_.settings.no_sandbox;
  builtin.network_allow = world_.network_allow;
  if (world_.command_timeout_ms > 0) builtin.command_timeout_ms = world_.command_timeout_ms;
  builtin.had_shell = had_shell_ || turn_log_.called(tools::kBashTool);
  builtin.threads = world_.tool_threads;
  builtin.on_network = [log = world_.log,
                        id = info_.session_id](const sandbox::NetworkDecision& d) {
    log->event("network", {{"session", id},
                           {"host", d.host},
                           {"port", d.port},
                           {"allowed", d.allowed},
                           {"why", d.why}});
  };
  std::error_code ec;
  // Where it fails, the tool that needs it says so
  std::filesystem::create_directories(builtin.state_dir, ec);
  return builtin;
}

// Holds the session while a question is open: a server may ask after the turn that began with it.
static asio::awaitable<std::optional<std::string>> ask_while_it_lives(
    std::weak_ptr<Session> session, std::string question,
    asio::awaitable<std::optional<std::string>> (Session::*ask)(std::string)) {
  std::optional<std::string> answer;
  if (const auto self = session.lock()) {
    auto asking = (self.get()->*ask)(std::move(question));
    answer = co_await std::move(asking);
  }
  co_return answer;
}

void Session::make_toolbox() {
  if (!tools_.empty()) return;
  tools_ = make_tools(world_.io, toolbox_options(), asker());
  tools::use_editor(tools_, overlays_);
  tools::ask_what_was_shown(tools_, [this](const std::string& path) { return was_shown(path); });
}

// These tools may be younger than what the model was shown: it resumed, rewound or was forked.
std::optional<tools::KnownText> Session::was_shown(const std::string& path) const {
  if (!pinned_) return std::nullopt;
  Seen seen = pinned_->view.seen(path);
  const bool had_text = seen.state == Seen::State::text ||
                        (seen.state == Seen::State::hidden && seen.shown == tools::Shown::full &&
                         seen.reason.empty());
  if (!had_text || seen.blob.empty()) return std::nullopt;
  return tools::KnownText{std::move(seen.blob),
                          seen.state == Seen::State::text ? std::move(seen.text) : nullptr};
}

ToolboxOptions Session::toolbox_options() const {
  return {.builtin = builtin_options(), .mcp_config = world_.mcp_config, .mcp_servers = servers_};
}

Ask Session::asker() {
  return [session = weak_from_this()](std::string question) {
    return ask_while_it_lives(session, std::move(question), &Session::ask);
  };
}

Reply<> Session::use_servers(std::vector<mcp::ServerConfig> servers) {
  if (turn_) {
    return tl::unexpected(protocol::Error{
        .code = protocol::Code::busy,
        .message = fmt::format(
            "MCP servers of session {}: a turn runs; they can be brought when it has ended",
            info_.session_id)});
  }
  servers_ = std::move(servers);
  if (!tools_.empty()) use_mcp_servers(tools_, world_.io, toolbox_options(), asker());
  return {};
}

}  // namespace lares::daemon
