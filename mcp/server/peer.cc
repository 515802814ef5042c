#include "mcp/server/peer.h"

#include <algorithm>
#include <exception>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <fmt/format.h>

#include "mcp/server/batch.h"
#include "mcp/server/rpc.h"
#include "mcp/server/sealed.h"
#include "tools/off_thread.h"

namespace lares::mcp::server {
namespace {

const Json kNoArguments = Json::object();

bool may_ask_back(const std::string& method) {
  return method == "tools/call" || method == "prompts/get" || method == "resources/read";
}

tl::unexpected<Refusal> no(int code, std::string why) {
  return tl::unexpected(Refusal{code, std::move(why)});
}

void refuse(const std::shared_ptr<Outlet>& out, const Json& id, const Refusal& refusal,
            bool modern) {
  out->finish(error_text(id, refusal), modern ? http_status(refusal) : 200);
}

}  // namespace

// ---- the endpoint

Endpoint::Endpoint(asio::any_io_executor io, Provider& provider, asio::thread_pool* aside)
    : io_(io),
      provider_(provider),
      key_(fresh_key()),
      peers_(std::make_shared<std::set<Peer*>>()),
      aside_(aside) {}
Endpoint::~Endpoint() = default;

std::shared_ptr<Peer> Endpoint::peer(std::string root) {
  return std::make_shared<PeerOf>(*this, peers_, key_, std::move(root));
}

std::size_t Endpoint::n_running() const {
  std::size_t n = 0;
  for (const Peer* peer : *peers_) n += peer->n_running();
  return n;
}

void Endpoint::tools_changed() {
  for (Peer* peer : *peers_) static_cast<PeerOf*>(peer)->list_changed("tools");
}
void Endpoint::prompts_changed() {
  for (Peer* peer : *peers_) static_cast<PeerOf*>(peer)->list_changed("prompts");
}
void Endpoint::resources_changed() {
  for (Peer* peer : *peers_) static_cast<PeerOf*>(peer)->list_changed("resources");
}
void Endpoint::resource_updated(const std::string& uri) {
  for (Peer* peer : *peers_) static_cast<PeerOf*>(peer)->resource_updated(uri);
}

// ---- one client

PeerOf::PeerOf(Endpoint& endpoint, std::shared_ptr<std::set<Peer*>> all, const std::string& key,
               std::string root)
    : endpoint_(endpoint), all_(std::move(all)), key_(key), root_(std::move(root)) {
  all_->insert(this);
}

PeerOf::~PeerOf() { all_->erase(this); }

bool PeerOf::receive(JsonRef message, std::shared_ptr<Outlet> out) {
  if (!message->contains("method")) {
    questions_.answer(message);
    return false;
  }
  if (!is_request(*message)) {
    notification(*message);
    return false;
  }
  request(std::move(message), std::move(out));
  return true;
}

bool PeerOf::receive_batch(IncomingRef batch, std::shared_ptr<Outlet> out) {
  if (version_ != kBatching) {
    out->finish(error_text(nullptr, no_batches(version_)), 400);
    return true;
  }
  const auto answers = std::make_shared<Batch>(std::move(out));
  for (std::size_t i = 0; i < batch->messages.size(); ++i) {
    const Answer<>& message = batch->messages[i];
    if (!message) {
      answers->request()->finish(error_text(nullptr, message.error()), 400);
      continue;
    }
    auto answer = is_request(*message) ? answers->request() : nullptr;
    receive(message_of(batch, i), std::move(answer));
  }
  return answers->close();
}

void PeerOf::notification(const Json& message) {
  if (string_member(message, "method") == "notifications/cancelled")
    end(member(member(message, "params"), "requestId"), /*cancelled=*/true);
}

void PeerOf::end(const Json& id, bool cancelled) {
  const std::string name = text_of(id);
  if (const auto listening = listening_.extract(name); !listening.empty())
    listening.mapped().out->finish("", 0);
  const auto found = running_.find(name);
  if (found == running_.end()) return;
  const auto request = found->second;
  running_.erase(found);
  request->end(cancelled);
}

void PeerOf::left() {
  listening_.clear();
  aside_ = nullptr;
  const auto running = std::exchange(running_, {});
  for (const auto& [id, request] : running) request->end(/*cancelled=*/false);
  questions_.close_all();
}

void PeerOf::request(JsonRef whole, std::shared_ptr<Outlet> out) {
  const Json& message = *whole;
  const Json id = message["id"];
  const std::string method = string_member(message, "method");
  const bool modern = !modern_version(message).empty() ||
                      member(member(message, "params"), "_meta")
                          .contains("io.modelcontextprotocol/clientCapabilities") ||
                      (method == "server/discover" && !initialized());
  if (const std::string name = text_of(id); running_.contains(name) || listening_.contains(name)) {
    return refuse(
        out, id,
        {kInvalidRequest, fmt::format("the id {} is that of a request that still runs", name)},
        modern);
  }
  if (running_.size() >= kRequestsMax) {
    return refuse(
        out, id,
        {kInternal, fmt::format("{}: more than {} requests of this client run; wait for one to end",
                                method, kRequestsMax)},
        modern);
  }
  const Json& params = member(message, "params");
  ClientSays client = client_;
  if (modern) {
    if (const auto wrong = wrong_meta(message)) return refuse(out, id, *wrong, true);
    if (method == "subscriptions/listen") return listen(message, std::move(out));
    client.declare(meta(params, "clientCapabilities"));
    const Json& level = meta(params, "logLevel");
    client.log_level = level.is_string() && log_level(level.get<std::string>()) >= 0
                           ? log_level(level.get<std::string>())
                           : kLogNothing;
  } else {
    if (method != "initialize" && method != "ping" && !initialized()) {
      return refuse(out, id,
                    {kInvalidRequest, fmt::format("{}: the first request must be initialize, or "
                                                  "say in _meta which version it is written in",
                                                  method)},
                    false);
    }
    if (const auto answered = session_method(method, params)) {
      return *answered ? out->finish(result_text(id, **answered), 200)
                       : refuse(out, id, answered->error(), false);
    }
  }
  const auto request = std::make_shared<Request>(endpoint_.io(), questions_, std::move(whole),
                                                 modern, std::move(client), root_, out);
  running_[text_of(id)] = request;
  asio::co_spawn(
      endpoint_.io(),
      [self = std::static_pointer_cast<PeerOf>(shared_from_this()), request] {
        return self->run(request);
      },
      asio::detached);
}

asio::awaitable<void> PeerOf::run(std::shared_ptr<Request> request) {
  Answer<> answered = no(kInternal, request->method() + ": failed");
  std::string of;
  try {
    auto opening = open(request);
    const auto wrong = co_await std::move(opening);
    if (wrong) {
      answered = tl::unexpected(*wrong);
    } else if (!request->ended().stop_requested()) {
      auto answering = answer(request);
      answered = co_await std::move(answering);
    }
    if (request->keeps_state()) {
      auto digesting = digest(request);
      of = co_await std::move(digesting);
    }
  } catch (const std::exception& e) {
    answered = no(kInternal, fmt::format("{}: {}", request->method(), e.what()));
  }
  if (answered && request->modern()) {
    add_cache_hints(request->method(), *answered);
    (*answered)["_meta"][std::string(kMetaPrefix) + "serverInfo"] =
        server_info(endpoint_.provider().info());
  }
  const auto found = running_.find(text_of(request->id()));
  if (found != running_.end() && found->second == request) running_.erase(found);
  request->finish(std::move(answered), key_, of);
}

// What is wrong with what the client has carried; nothing: it is open.
asio::awaitable<std::optional<Refusal>> PeerOf::open(std::shared_ptr<Request> request) {
  std::optional<Refusal> wrong;
  if (!request->modern() || !may_ask_back(request->method())) co_return wrong;
  std::string of;
  if (request->carries_state()) {
    auto digesting = digest(request);
    of = co_await std::move(digesting);
  }
  wrong = request->open_state(key_, of);
  co_return wrong;
}

// Copied, sorted and printed, which for megabytes takes a few hundred milliseconds. Empty, which is
// no request's: there was no memory for it.
asio::awaitable<std::string> PeerOf::digest(std::shared_ptr<Request> request) {
  const auto work = [message = request->message(), root = request->root(),
                     method = request->method()](const tools::Cancelled&) {
    return tools::Result<std::string>(digest_of(root, method, member(*message, "params")));
  };
  const tools::Cancelled never = false;
  if (!endpoint_.aside()) co_return *work(never);
  auto digesting = tools::off_thread<std::string>(*endpoint_.aside(), work);
  const auto of = co_await std::move(digesting);
  co_return of ? *of : std::string();
}

asio::awaitable<Answer<>> PeerOf::answer(std::shared_ptr<Request> request) {
  Provider& provider = endpoint_.provider();
  const std::string& method = request->method();
  const Json& params = request->params();
  if (method == "server/discover" && request->modern()) co_return discover(provider);
  if (method == "tools/list") co_return page("tools", slice_of(provider.tools()), params);
  if (method == "tools/call") {
    const std::string name = string_member(params, "name");
    if (name.empty()) co_return no(kInvalidParams, "name must be that of a tool");
    const Json& given = member(params, "arguments");
    if (!given.is_null() && !given.is_object())
      co_return no(kInvalidParams, "arguments must be an object");
    auto calling = provider.call_tool(*request, name, given.is_object() ? given : kNoArguments);
    co_return co_await std::move(calling);
  }
  if (method == "completion/complete" && provider.completes()) co_return complete(provider, params);
  if (method.starts_with("resources/") && provider.has_resources()) {
    if (method == "resources/list") {
      const Slice slice = [&](std::size_t from, std::size_t n) {
        return provider.resources(root_, from, n);
      };
      co_return page("resources", slice, params);
    }
    if (method == "resources/templates/list")
      co_return page("resourceTemplates", slice_of(provider.resource_templates()), params);
    if (method == "resources/read") {
      const std::string uri = string_member(params, "uri");
      if (uri.empty()) co_return no(kInvalidParams, "uri must be that of a resource");
      auto reading = provider.read_resource(*request, uri);
      co_return co_await std::move(reading);
    }
  }
  if (method.starts_with("prompts/") && provider.has_prompts()) {
    if (method == "prompts/list") co_return page("prompts", slice_of(provider.prompts()), params);
    if (method == "prompts/get") {
      const std::string name = string_member(params, "name");
      if (name.empty()) co_return no(kInvalidParams, "name must be that of a prompt");
      const Json& given = member(params, "arguments");
      auto getting = provider.get_prompt(*request, name, given.is_object() ? given : kNoArguments);
      co_return co_await std::move(getting);
    }
  }
  const Refusal refusal = unknown_method(method);
  co_return tl::unexpected(refusal);
}

// ---- the legacy session

Answer<> PeerOf::initialize(const Json& params) {
  const Json& asked = member(params, "protocolVersion");
  if (initialized()) return no(kInvalidRequest, "initialize: this session already is");
  if (!asked.is_string()) return no(kInvalidParams, "initialize: protocolVersion must be a string");
  const std::string version = asked.get<std::string>();
  version_ = agreed_version(version);
  client_.declare(member(params, "capabilities"));
  Provider& provider = endpoint_.provider();
  const Info info = provider.info();
  Json result = {{"protocolVersion", version_},
                 {"capabilities", capabilities(provider)},
                 {"serverInfo", server_info(info)}};
  if (!info.instructions.empty()) result["instructions"] = info.instructions;
  return result;
}

std::optional<Answer<>> PeerOf::session_method(const std::string& method, const Json& params) {
  Provider& provider = endpoint_.provider();
  if (method == "initialize") return initialize(params);
  if (method == "ping") return Json::object();
  if (method == "logging/setLevel" && provider.logs()) {
    const int level = log_level(string_member(params, "level"));
    if (level < 0)
      return no(kInvalidParams,
                "level must be debug, info, notice, warning, error, critical, alert or emergency");
    client_.log_level = level;
    return Json::object();
  }
  if ((method == "resources/subscribe" || method == "resources/unsubscribe") &&
      provider.has_resources()) {
    const std::string uri = string_member(params, "uri");
    if (uri.empty()) return no(kInvalidParams, "uri must be that of a resource");
    if (method == "resources/unsubscribe")
      watched_.erase(uri);
    else if (watched_.size() < kSubscriptionsMax)
      watched_.insert(uri);
    else
      return no(kInvalidParams, fmt::format("resources/subscribe: this client already watches {} "
                                            "resources; unsubscribe from one first",
                                            kSubscriptionsMax));
    return Json::object();
  }
  return std::nullopt;
}

// ---- what changes meanwhile

void PeerOf::listen(const Json& message, std::shared_ptr<Outlet> out) {
  const Json& wanted = member(message["params"], "notifications");
  if (!wanted.is_object())
    return refuse(out, message["id"],
                  {kInvalidParams, "notifications must be an object that says what is listened to"},
                  true);
  if (listening_.size() >= kSubscriptionsMax)
    return refuse(out, message["id"], {kInternal, "too many listening streams of this client"},
                  true);
  Listening listening{message["id"], out, {}, {}};
  Json accepted = Json::object();
  Provider& provider = endpoint_.provider();
  const auto list = [&](const char* name, std::string_view what, bool offered) {
    if (!offered || member(wanted, name) != true) return;
    accepted[name] = true;
    listening.lists.insert(std::string(what));
  };
  list("toolsListChanged", "tools", true);
  list("promptsListChanged", "prompts", provider.has_prompts());
  list("resourcesListChanged", "resources", provider.has_resources());
  if (const Json& uris = member(wanted, "resourceSubscriptions");
      uris.is_array() && provider.has_resources()) {
    for (const Json& uri : uris) {
      if (uri.is_string() && listening.uris.size() < kSubscriptionsMax)
        listening.uris.insert(uri.get<std::string>());
    }
    accepted["resourceSubscriptions"] = listening.uris;
  }
  const Json tag = {{std::string(kMetaPrefix) + "subscriptionId", message["id"]}};
  const auto acknowledged = notification_text("notifications/subscriptions/acknowledged",
                                              {{"_meta", tag}, {"notifications", accepted}});
  listening_[text_of(message["id"])] = std::move(listening);
  out->send(acknowledged);
}

void PeerOf::list_changed(std::string_view list) {
  const std::string method = fmt::format("notifications/{}/list_changed", list);
  if (initialized() && aside_) aside_->send(notification_text(method, nullptr));
  for (const auto& [name, listening] : listening_) {
    if (!listening.lists.contains(std::string(list))) continue;
    const Json tag = {{std::string(kMetaPrefix) + "subscriptionId", listening.id}};
    listening.out->send(notification_text(method, {{"_meta", tag}}));
  }
}

void PeerOf::resource_updated(const std::string& uri) {
  constexpr std::string_view kMethod = "notifications/resources/updated";
  if (aside_ && watched_.contains(uri)) aside_->send(notification_text(kMethod, {{"uri", uri}}));
  for (const auto& [name, listening] : listening_) {
    if (!listening.uris.contains(uri)) continue;
    const Json tag = {{std::string(kMetaPrefix) + "subscriptionId", listening.id}};
    listening.out->send(notification_text(kMethod, {{"_meta", tag}, {"uri", uri}}));
  }
}

}  // namespace lares::mcp::server
