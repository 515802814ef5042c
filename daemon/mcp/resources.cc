// Sessions and what they changed, as MCP resources.
#include <chrono>
#include <ctime>
#include <string_view>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "daemon/mcp/catalogue.h"
#include "daemon/mcp/provider.h"
#include "daemon/mcp/turn_report.h"
#include "daemon/repository.h"
#include "daemon/utf8.h"

namespace lares::daemon {

namespace rpc = mcp::server;

namespace {

constexpr std::string_view kSessions = "lares://sessions/", kDiff = "/diff";

std::string iso_time(std::int64_t ms) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(static_cast<std::time_t>(ms / 1000)));
}

rpc::Json described(std::string uri, std::string name, const protocol::SessionInfo& info, const char* what, const char* mime) {
  rpc::Json annotations = {{"lastModified", iso_time(info.updated_ms)}};
  return {{"uri", std::move(uri)}, {"name", std::move(name)}, {"title", info.title}, {"description", fmt::format("{}: {} ({}, in {})", what, info.title, info.state, info.root)},
          {"mimeType", mime}, {"annotations", std::move(annotations)}};
}

std::string diff_text(const Session& session) {
  std::string text;
  const auto changes = changes_of(session);
  for (const auto& file : files_of(changes)) {
    if (text.size() + file.diff.size() > kMcpResourceBytesMax) {
      text += fmt::format("# the rest is longer than {} kB and left out; `lares diff {}` shows it\n", kMcpResourceBytesMax >> 10, session.info().session_id);
      break;
    }
    text += file.diff.empty() ? fmt::format("# {} changed, and is no text\n", file.path) : file.diff;
  }
  if (!changes.complete()) text += "# commands ran in this session that may have changed other files too\n";
  return text;
}

}  // namespace

rpc::Json McpProvider::resources(const std::string& said) {
  const auto top = said.empty() ? tl::unexpected(std::string()) : repository_root(said);
  const std::string& root = top ? top->root : said;
  Json list = Json::array();
  const std::string worktrees = sessions_.world().state_dir + "/worktrees/";  // of whichever repository
  std::size_t n = 0;
  for (const auto& info : sessions_.list("", /*closed=*/true)) {
    if (!root.empty() && info.root != root && !info.root.starts_with(worktrees)) continue;
    if (++n > kMcpSessionsListed) break;
    const std::string uri = std::string(kSessions) + info.session_id;
    list.push_back(described(uri, "session-" + info.session_id, info, "Log", "text/markdown"));
    list.push_back(described(uri + std::string(kDiff), "diff-" + info.session_id, info, "Diff", "text/x-diff"));
  }
  return list;
}

rpc::Json McpProvider::resource_templates() { return mcp_resource_templates(); }

asio::awaitable<McpProvider::Answer> McpProvider::read_resource(rpc::Call&, std::string uri) {
  std::string_view id = uri;
  rpc::Refusal unknown{rpc::kInvalidParams, fmt::format("there is no resource {}; resources/list lists them", uri)};
  unknown.data["uri"] = uri;
  if (!id.starts_with(kSessions)) co_return tl::unexpected(unknown);
  id.remove_prefix(kSessions.size());
  const bool diff = id.ends_with(kDiff);
  if (diff) id.remove_suffix(kDiff.size());
  const auto session = sessions_.find(std::string(id));
  if (!session) co_return tl::unexpected(unknown);
  const std::string text = diff ? diff_text(**session) : log_of(**session, kMcpResourceBytesMax);
  Json content = {{"uri", uri}, {"mimeType", diff ? "text/x-diff" : "text/markdown"}, {"text", valid_utf8(text)}};
  Json contents = Json::array();
  contents.push_back(std::move(content));
  Json result;
  result["contents"] = std::move(contents);
  co_return result;
}

McpProvider::Answer McpProvider::complete(const Json&, const std::string& argument, const std::string& value) {
  Json values = Json::array();
  if (argument != "id") return values;
  for (const auto& info : sessions_.list("", /*closed=*/true)) {
    if (info.session_id.starts_with(value) && values.size() < kMcpSessionsListed) values.push_back(info.session_id);
  }
  return values;
}

}  // namespace lares::daemon
