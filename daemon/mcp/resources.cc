// Sessions and what they changed, as MCP resources.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <ctime>
#include <string_view>
#include <tuple>
#include <vector>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "daemon/mcp/catalogue.h"
#include "daemon/mcp/provider.h"
#include "daemon/mcp/turn_report.h"
#include "daemon/on_disk_pool.h"
#include "daemon/repository.h"
#include "daemon/utf8.h"

namespace lares::daemon {

namespace rpc = mcp::server;

namespace {

constexpr std::string_view kSessions = "lares://sessions/", kDiff = "/diff";

bool newer(const protocol::SessionInfo* a, const protocol::SessionInfo* b) {
  return std::tie(b->updated_ms, a->session_id) < std::tie(a->updated_ms, b->session_id);
}

std::string iso_time(std::int64_t ms) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(static_cast<std::time_t>(ms / 1000)));
}

rpc::Json described(std::string uri, std::string name, const protocol::SessionInfo& info,
                    const char* what, const char* mime) {
  rpc::Json annotations = {{"lastModified", iso_time(info.updated_ms)}};
  return {
      {"uri", std::move(uri)},
      {"name", std::move(name)},
      {"title", info.title},
      {"description", fmt::format("{}: {} ({}, in {})", what, info.title, info.state, info.root)},
      {"mimeType", mime},
      {"annotations", std::move(annotations)}};
}

Read<std::string> diff_text(const Recorded& session) {
  std::string text;
  const auto changes = changes_of(session);
  if (!changes) return tl::unexpected(changes.error());
  for (const auto& file : files_of(*changes)) {
    if (text.size() + file.diff.size() > kMcpResourceBytesMax) {
      text += fmt::format(
          "# the rest is longer than {} kB and left out; `lares diff {}` shows it\n",
          kMcpResourceBytesMax >> 10, session.info.session_id);
      break;
    }
    text += file.diff.empty() ? fmt::format("# {} changed, and is no text\n", file.path)
                              : file.diff;
  }
  if (!changes->complete())
    text += "# commands ran in this session that may have changed other files too\n";
  return text;
}

}  // namespace

rpc::Json McpProvider::resources(const std::string& said, std::size_t from, std::size_t n) {
  const auto top = said.empty() ? tl::unexpected(std::string()) : repository_root(said);
  const std::string& root = top ? top->root : said;
  // Of whichever repository
  const std::string worktrees = sessions_.world().state_dir + "/worktrees/";
  std::vector<const protocol::SessionInfo*> all;
  sessions_.for_each([&](const protocol::SessionInfo& info) {
    if (root.empty() || info.root == root || info.root.starts_with(worktrees)) all.push_back(&info);
  });
  // The newest first, as far as this page reaches.
  const std::size_t end = from >= 2 * all.size() ? 0 : std::min(all.size(), (from + n + 1) / 2);
  std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(end), all.end(), newer);
  Json list = Json::array();
  for (std::size_t i = from; i < 2 * end && list.size() < n; ++i) {  // of each its log and its diff
    const auto& info = *all[i / 2];
    const std::string uri = std::string(kSessions) + info.session_id;
    list.push_back(i % 2 == 0
                       ? described(uri, "session-" + info.session_id, info, "Log", "text/markdown")
                       : described(uri + std::string(kDiff), "diff-" + info.session_id, info,
                                   "Diff", "text/x-diff"));
  }
  return list;
}

rpc::Json McpProvider::resource_templates() { return mcp_resource_templates(); }

asio::awaitable<McpProvider::Answer> McpProvider::read_resource(rpc::Call&, std::string uri) {
  std::string_view id = uri;
  rpc::Refusal unknown{rpc::kInvalidParams,
                       fmt::format("there is no resource {}; resources/list lists them", uri)};
  unknown.data["uri"] = uri;
  if (!id.starts_with(kSessions)) co_return tl::unexpected(unknown);
  id.remove_prefix(kSessions.size());
  const bool diff = id.ends_with(kDiff);
  if (diff) id.remove_suffix(kDiff.size());
  auto opening = sessions_.open(std::string(id));
  const auto session = co_await std::move(opening);
  if (!session) co_return tl::unexpected(unknown);
  const Recorded recorded(**session);
  const auto read = [recorded, diff] {
    return diff ? diff_text(recorded) : log_of(recorded, kMcpResourceBytesMax);
  };
  auto reading = on_disk_pool(disk_, read);
  const auto text = co_await std::move(reading);
  if (!text) {
    const rpc::Refusal unreadable{rpc::kInternal,
                                  fmt::format("resources/read {}: {}", uri, text.error())};
    co_return tl::unexpected(unreadable);
  }
  Json content = {{"uri", uri},
                  {"mimeType", diff ? "text/x-diff" : "text/markdown"},
                  {"text", valid_utf8(*text)}};
  Json contents = Json::array();
  contents.push_back(std::move(content));
  Json result;
  result["contents"] = std::move(contents);
  co_return result;
}

McpProvider::Answer McpProvider::complete(const Json&, const std::string& argument,
                                          const std::string& value) {
  Json values = Json::array();
  if (argument != "id") return values;
  std::vector<const protocol::SessionInfo*> fitting;
  sessions_.for_each([&](const protocol::SessionInfo& info) {
    if (info.session_id.starts_with(value)) fitting.push_back(&info);
  });
  const std::size_t n = std::min(fitting.size(), kMcpCompletionsMax);
  std::partial_sort(fitting.begin(), fitting.begin() + static_cast<std::ptrdiff_t>(n),
                    fitting.end(), newer);
  for (std::size_t i = 0; i < n; ++i) values.push_back(fitting[i]->session_id);
  return values;
}

}  // namespace lares::daemon
