#include "daemon/bridges/mcp/traffic.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "daemon/protocol/mcp_wire.h"
#include "mcp/server/batch.h"
#include "mcp/server/rpc.h"

namespace lares::cli {

namespace rpc = mcp::server;

namespace {

// Requests of the bridge's own: their answers are not the client's
constexpr std::string_view kOurs = "lares-bridge-";
constexpr const char *kInitialized = "notifications/initialized",
                     *kCancelled = "notifications/cancelled", *kPing = "ping";
constexpr const char *kListen = "subscriptions/listen",
                     *kAcknowledged = "notifications/subscriptions/acknowledged";

// What a call did before its answer was lost is not known; everything else may be asked twice.
bool may_be_sent_again(const std::string& method) { return method != "tools/call"; }

class Lines final : public rpc::Outlet {
 public:
  explicit Lines(McpTraffic::Tell tell) : tell_(std::move(tell)) {}
  void send(std::string message) override { tell_(std::move(message) + "\n"); }
  void finish(std::string message, int) override {
    if (!message.empty()) send(std::move(message));
  }

 private:
  const McpTraffic::Tell tell_;
};

}  // namespace

McpTraffic::McpTraffic(std::string root, Tell tell)
    : root_(std::move(root)), tell_(std::move(tell)) {}

void McpTraffic::push(std::string line, std::string request) {
  line += '\n';
  bytes_ += line.size();
  out_.push_back({std::move(line), std::move(request)});
}

void McpTraffic::written() {
  if (const auto found = open_.find(out_.front().request); found != open_.end())
    found->second.sent = true;
  bytes_ -= out_.front().text.size();
  out_.pop_front();
}

bool McpTraffic::waits() const {
  return std::any_of(open_.begin(), open_.end(),
                     [](const auto& one) { return one.second.method != kListen; });
}

bool McpTraffic::listens() const { return !watched_.empty() || (!open_.empty() && !waits()); }

// ---- the client

void McpTraffic::from_client(std::string_view line) {
  if (line.find_first_not_of(" \t\r") == std::string_view::npos) return;
  const rpc::Incoming incoming = rpc::parse_all(line);
  if (!incoming.batch) {
    const auto& message = incoming.messages.front();
    return message ? take(*message, line, nullptr)
                   : tell_(rpc::error_text(nullptr, message.error()) + "\n");
  }
  if (version_ != rpc::kBatching)
    return tell_(rpc::error_text(nullptr, rpc::no_batches(version_)) + "\n");
  // One by one, for any of them may have to be sent again; the answers go back together.
  const auto batch = std::make_shared<rpc::Batch>(std::make_shared<Lines>(tell_));
  for (const auto& message : incoming.messages) {
    if (!message)
      batch->request()->finish(rpc::error_text(nullptr, message.error()), 0);
    else
      take(*message, rpc::text_of(*message),
           rpc::is_request(*message) ? batch->request() : nullptr);
  }
  batch->close();
}

void McpTraffic::take(const Json& message, std::string_view line, Outlet batch) {
  const std::string method = rpc::string_member(message, "method"),
                    id = rpc::text_of(rpc::id_of(message));
  const Json& params = rpc::member(message, "params");
  if (method.empty()) {
    if (asked_.erase(id) > 0)
      push(std::string(line));  // else it answers a question that is none any more
    return;
  }
  if (!rpc::is_request(message)) return notified(method, params, line);
  Request request{.id = message["id"],
                  .method = method,
                  .line = std::string(line),
                  .uri = rpc::string_member(params, "uri"),
                  .batch = std::move(batch),
                  .n = ++n_requests_};
  if (!connected_ && method == kPing) return answer_ping(request);
  if (open_.contains(id))
    return tell(request, rpc::error_text(
                             request.id,
                             {rpc::kInvalidRequest,
                              fmt::format("the id {} is that of a request that still runs", id)}));
  open_.emplace(id, std::move(request));
  push(std::string(line), id);
}

void McpTraffic::tell(const Request& request, std::string answer) {
  if (request.batch) return request.batch->finish(std::move(answer), 0);
  tell_(std::move(answer) + "\n");
}

void McpTraffic::notified(const std::string& method, const Json& params, std::string_view line) {
  if (method == kInitialized) initialized_ = true;
  if (method == kCancelled) {
    const auto found = open_.find(rpc::text_of(rpc::member(params, "requestId")));
    if (found == open_.end()) return;  // it was answered, or is an old daemon's
    const bool unsent = take_from_out(found->first);
    if (found->second.batch) found->second.batch->finish("", 0);
    open_.erase(found);
    if (unsent) return;
  }
  // a daemon that comes later is told what it needs to know by connected()
  if (connected_) push(std::string(line));
}

// True: the daemon has not seen it, and will not. The line that is being written stays.
bool McpTraffic::take_from_out(const std::string& request) {
  for (auto at = out_.begin(); at != out_.end(); ++at) {
    if (at->request != request) continue;
    if (connected_ && at == out_.begin()) return false;
    bytes_ -= at->text.size();
    out_.erase(at);
    return true;
  }
  return false;
}

// ---- the daemon

void McpTraffic::from_daemon(std::string_view line) {
  const auto message = rpc::parse(line);
  if (message && !is_for_client(*message)) return;
  tell_(std::string(line) + "\n");
}

bool McpTraffic::is_for_client(const Json& message) {
  const std::string method = rpc::string_member(message, "method");
  if (method.empty()) {
    return answered(message);
  }
  if (rpc::is_request(message)) asked_.insert(rpc::text_of(message["id"]));
  const Json& params = rpc::member(message, "params");
  if (method == kCancelled) asked_.erase(rpc::text_of(rpc::member(params, "requestId")));
  if (method != kAcknowledged) return true;
  const auto found = open_.find(rpc::text_of(rpc::meta(params, "subscriptionId")));
  // The second is that of a daemon which came later
  return found == open_.end() || !std::exchange(found->second.acknowledged, true);
}

// Whether the client is told as it is.
bool McpTraffic::answered(const Json& message) {
  const std::string name = rpc::string_member(message, "id");
  const Json& result = rpc::member(message, "result");
  if (name.starts_with(kOurs)) {
    if (result.is_object() && (!result.contains("protocolVersion") ||
                               rpc::string_member(result, "protocolVersion") == version_))
      return false;
    if (!result.is_object() && name.find("resources") != std::string::npos)
      return false;  // one resource less to hear of
    const std::string why = result.is_object()
                                ? "it speaks another version"
                                : rpc::string_member(rpc::member(message, "error"), "message");
    broken_ = fmt::format(
        "take up the client's session with the daemon that was started again: {}; start this "
        "server again",
        why);
    return false;
  }
  const auto found = open_.find(rpc::text_of(rpc::id_of(message)));
  if (found == open_.end()) return true;
  const Request request = std::move(found->second);
  open_.erase(found);
  if (request.batch) request.batch->finish(rpc::text_of(message), 0);
  if (message.contains("error")) return !request.batch;
  if (request.method == "initialize")
    initialize_ = rpc::member(*rpc::parse(request.line), "params"),
    version_ = rpc::string_member(result, "protocolVersion");
  if (request.method == "resources/subscribe") watched_.insert(request.uri);
  if (request.method == "resources/unsubscribe") watched_.erase(request.uri);
  return !request.batch;
}

// ---- one daemon after another

void McpTraffic::ours(const char* method, Json params) {
  const std::string id = fmt::format("{}{}-{}", kOurs, method, ++n_ours_);
  push(rpc::request_text(id, method, std::move(params)));
}

void McpTraffic::connected() {
  connected_ = true;
  std::deque<Line> waiting;
  std::swap(waiting, out_);
  bytes_ = 0;
  push(rpc::notification_text(daemon::protocol::kMcpRootNotification, {{"root", root_}}));
  if (!initialize_.is_null()) {
    ours("initialize", initialize_);
    if (initialized_) push(rpc::notification_text(kInitialized, nullptr));
    for (const std::string& uri : watched_) ours("resources/subscribe", {{"uri", uri}});
  }
  for (auto& line : waiting) {
    bytes_ += line.text.size();
    out_.push_back(std::move(line));
  }
}

// Whoever looks whether we live starts no daemon.
void McpTraffic::answer_ping(const Request& request) {
  tell(request, rpc::result_text(request.id, Json::object()));
}

void McpTraffic::fail(const Request& request, const std::string& why) {
  tell(request, rpc::error_text(request.id, {rpc::kInternal, request.method + ": " + why}));
}

void McpTraffic::lost() {
  connected_ = false;
  for (const std::string& id : std::exchange(asked_, {})) {
    const Json params = {{"requestId", Json::parse(id)},
                         {"reason", "the daemon that asked is gone"}};
    tell_(rpc::notification_text(kCancelled, params) + "\n");
  }
  std::map<std::int64_t, std::string> again;  // ids, in the order in which they came
  for (auto at = open_.begin(); at != open_.end();) {
    Request& request = at->second;
    if (request.method != kPing && (!request.sent || may_be_sent_again(request.method))) {
      request.sent = false;
      again[request.n] = at++->first;
      continue;
    }
    if (request.method == kPing)
      answer_ping(request);
    else
      fail(request,
           "the daemon was lost before it answered, so what came of it is not known; once it is "
           "back, resources/list and task_status find what was begun");
    at = open_.erase(at);
  }
  out_.clear(), bytes_ = 0;  // what is in it besides is about the daemon that is gone
  for (const auto& [n, id] : again) push(open_[id].line, id);
}

void McpTraffic::give_up(const std::string& why) {
  for (const auto& [id, request] : std::exchange(open_, {})) fail(request, why);
  out_.clear(), bytes_ = 0;
}

}  // namespace lares::cli
