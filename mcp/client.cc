#include "mcp/client.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <set>

namespace lares::mcp {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr auto kIo = asio::as_tuple(asio::use_awaitable);
constexpr const char* kProtocolVersion = "2025-06-18";
constexpr std::size_t kPagesMax = 100, kToolsMax = 2'000;
constexpr int kGraceMs = 300;

bool speaks(const std::string& version) {
  return version == kProtocolVersion || version == "2025-11-25" || version == "2025-03-26" ||
         version == "2024-11-05";
}

std::string text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

}  // namespace

Client::Client(asio::any_io_executor io, ServerConfig server, std::string root,
               const Limits& limits)
    : io_(io), server_(std::move(server)), root_(std::move(root)), limits_(limits), started_(io) {
  started_.expires_at(Clock::time_point::max());
}

Client::~Client() {
  if (connection_) connection_->close("was ended", kGraceMs);
}

void Client::note_end() {
  ++n_deaths_;
  last_death_ = connection_ ? connection_->why_ended() : last_death_;
  connection_ = nullptr;
  listed_ = false;
  if (n_deaths_ < 2) return;  // the first time it is simply started again
  const auto factor = 1ll << std::min(n_deaths_ - 2, 20);
  not_before_ = Clock::now() + std::chrono::milliseconds(std::min<long long>(
                                   limits_.backoff_ms * factor, limits_.backoff_max_ms));
}

// The running connection; starts the server when there is none. One start at a time: who comes
// meanwhile waits for it.
asio::awaitable<Reply<std::shared_ptr<Connection>>> Client::connected() {
  const auto self = shared_from_this();
  while (starting_) {
    auto [ec] = co_await started_.async_wait(kIo);
    if (starting_ && ec) {  // not the start's end: the caller was cancelled
      Reply<std::shared_ptr<Connection>> stopped =
          tl::unexpected(Failure{Failure::cancelled, "cancelled"});
      co_return stopped;
    }
  }
  if (connection_ && !connection_->alive()) note_end();
  if (connection_) {
    Reply<std::shared_ptr<Connection>> running = connection_;
    co_return running;
  }
  if (const auto wait = not_before_ - Clock::now(); wait > Clock::duration::zero()) {
    const auto seconds = std::chrono::duration<double>(wait).count();
    Reply<std::shared_ptr<Connection>> later = tl::unexpected(Failure{
        Failure::died,
        fmt::format(
            "is started again in {:.0f} s at the earliest: it ended {} times in a row; it {}",
            std::max(1.0, seconds), n_deaths_, last_death_)});
    co_return later;
  }
  struct Guard {
    Client& client;
    ~Guard() {
      client.starting_ = false;
      client.started_.cancel();
    }
  } guard{*this};
  starting_ = true;
  auto made = co_await connect();
  if (made) {
    connection_ = *made;
  } else if (made.error().kind != Failure::cancelled) {
    last_death_ = made.error().why;
    note_end();
  }
  co_return made;
}

asio::awaitable<Reply<std::shared_ptr<Connection>>> Client::connect() {
  auto child = start_child(server_, root_);
  if (!child) {
    Reply<std::shared_ptr<Connection>> failed =
        tl::unexpected(Failure{Failure::died, "could not be started: " + child.error()});
    co_return failed;
  }
  auto connection = std::make_shared<Connection>(io_, *child, limits_);
  connection->start();
  json params{{"protocolVersion", kProtocolVersion},
              {"capabilities", json::object()},
              {"clientInfo", {{"name", "lares"}, {"version", "0.1.0"}}}};
  const auto answer =
      co_await connection->request("initialize", std::move(params), limits_.start_timeout_ms);
  if (!answer) {
    connection->close("did not start", 0);
    auto failure = answer.error();
    if (failure.kind == Failure::refused) failure.why = "refused to start: " + failure.why;
    Reply<std::shared_ptr<Connection>> failed = tl::unexpected(std::move(failure));
    co_return failed;
  }
  const auto version = answer->is_object() ? text_of(*answer, "protocolVersion") : "";
  if (!speaks(version)) {
    connection->close("speaks another protocol", 0);
    Reply<std::shared_ptr<Connection>> failed = tl::unexpected(Failure{
        Failure::refused, fmt::format("speaks MCP version \"{}\", and this client {} and older",
                                      version.substr(0, 40), kProtocolVersion)});
    co_return failed;
  }
  connection->notify("notifications/initialized", json());
  Reply<std::shared_ptr<Connection>> made = connection;
  co_return made;
}

asio::awaitable<Reply<std::vector<RemoteTool>>> Client::list(
    std::shared_ptr<Connection> connection) {
  std::vector<RemoteTool> tools;
  std::set<std::string> names;
  json params = json::object();
  for (std::size_t page = 0; page < kPagesMax; ++page) {
    const auto answer = co_await connection->request("tools/list", params, limits_.list_timeout_ms);
    if (!answer) {
      Reply<std::vector<RemoteTool>> failed = tl::unexpected(answer.error());
      co_return failed;
    }
    const auto listed = answer->is_object() ? answer->find("tools") : answer->end();
    if (!answer->is_object() || listed == answer->end() || !listed->is_array()) {
      Reply<std::vector<RemoteTool>> failed =
          tl::unexpected(Failure{Failure::refused, "answered tools/list without \"tools\""});
      co_return failed;
    }
    for (const auto& tool : *listed) {
      if (!tool.is_object() || tools.size() == kToolsMax) continue;
      RemoteTool entry{text_of(tool, "name"), text_of(tool, "description"),
                       tool.value("inputSchema", json::object())};
      if (!entry.name.empty() && names.insert(entry.name).second) tools.push_back(std::move(entry));
    }
    const auto next =
        answer->find("nextCursor");  // absent is the end; the empty string is a cursor
    if (next == answer->end() || !next->is_string() || tools.size() == kToolsMax) break;
    if (params.contains("cursor") && params["cursor"] == *next)
      break;  // it would give the same page for ever
    params["cursor"] = *next;
  }
  std::ranges::sort(tools, {}, &RemoteTool::name);
  Reply<std::vector<RemoteTool>> done = std::move(tools);
  co_return done;
}

asio::awaitable<Reply<std::vector<RemoteTool>>> Client::tools() {
  const auto self = shared_from_this();
  const auto connection = co_await connected();
  if (!connection) {
    Reply<std::vector<RemoteTool>> failed = tl::unexpected(connection.error());
    co_return failed;
  }
  if ((*connection)->take_tools_changed()) listed_ = false;
  if (!listed_) {
    auto listed = co_await list(*connection);
    if (!listed) co_return listed;
    if (connection_ == *connection) {
      tools_ = std::move(*listed);
      listed_ = true;
    }
  }
  Reply<std::vector<RemoteTool>> known = tools_;
  co_return known;
}

asio::awaitable<Reply<json>> Client::call(std::string tool, json arguments) {
  const auto self = shared_from_this();
  const auto connection = co_await connected();
  if (!connection) {
    Reply<json> failed = tl::unexpected(connection.error());
    co_return failed;
  }
  json params{{"name", std::move(tool)}, {"arguments", std::move(arguments)}};
  auto answer =
      co_await (*connection)->request("tools/call", std::move(params), limits_.call_timeout_ms);
  if (answer || answer.error().kind == Failure::refused) n_deaths_ = 0;
  co_return answer;
}

}  // namespace lares::mcp
