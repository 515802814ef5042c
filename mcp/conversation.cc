#include "mcp/conversation.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "mcp/form.h"
#include "mcp/param_headers.h"

namespace lares::mcp {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr auto kIo = asio::as_tuple(asio::use_awaitable);
constexpr std::array kLegacyVersions{"2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"};
constexpr std::size_t kInputsMax = 32;           // that a server wants at once
constexpr std::size_t kAskedMax = 64;            // requests of the server at once
constexpr std::size_t kStateBytesMax = 1 << 20;  // of what it wants back with them
constexpr const char* kListen = "subscriptions/listen";
constexpr int kListenRetryMs = 1'000, kListenRetryMaxMs = 60'000;
const std::string kMeta = "io.modelcontextprotocol/";

json client_info() { return {{"name", "lares"}, {"version", LARES_VERSION}}; }

std::string file_uri(const std::string& path) {
  std::string uri = "file://";
  for (const unsigned char c : path) {
    if (std::isalnum(c) ||
        std::string_view("/-._~").find(static_cast<char>(c)) != std::string_view::npos)
      uri += static_cast<char>(c);
    else
      uri += fmt::format("%{:02X}", c);
  }
  return uri;
}

bool supports(const Failure& failure, const std::string& version) {
  const auto supported = failure.data.is_object() ? failure.data.find("supported")
                                                  : failure.data.end();
  return failure.data.is_object() && supported != failure.data.end() && supported->is_array() &&
         std::ranges::find(*supported, json(version)) != supported->end();
}

// False: a handshake would fail as well. A legacy server may make anything of server/discover, even
// silence.
bool may_be_legacy(const Failure& failure) {
  if (failure.kind != Failure::refused && failure.kind != Failure::timed_out) return false;
  if (failure.http_status == 401 || failure.http_status == 403) return false;
  if (failure.code == kHeaderMismatch || failure.code == kMissingCapability) return false;
  return failure.code != kUnsupportedVersion ||
         std::ranges::any_of(kLegacyVersions,
                             [&](const char* version) { return supports(failure, version); });
}

}  // namespace

Conversation::Conversation(asio::any_io_executor io, std::shared_ptr<Transport> transport,
                           Host host, const Limits& limits)
    : io_(io), transport_(std::move(transport)), host_(std::move(host)), limits_(limits) {}

Conversation::~Conversation() { transport_->close("is no longer needed"); }

void Conversation::start() {
  const std::weak_ptr<Conversation> weak = weak_from_this();
  Transport::Events events;
  events.message = [weak](Message message) {
    if (const auto self = weak.lock()) self->receive(std::move(message));
  };
  events.failed = [weak](std::int64_t id, Failure failure) {
    if (const auto self = weak.lock()) self->settle(id, tl::unexpected(std::move(failure)));
  };
  events.ended = [weak](const std::string& why) {
    const auto self = weak.lock();
    if (self) self->forget_asked();
    while (self && !self->pending_.empty())
      self->settle(self->pending_.begin()->first, tl::unexpected(Failure{Failure::died, why}));
  };
  transport_->start(std::move(events));
}

void Conversation::close(const std::string& why) { transport_->close(why); }

void Conversation::send(std::string line, bool first) {
  transport_->send({std::move(line), std::nullopt, {}, first});
}

json Conversation::our_capabilities() const {
  json can = json::object();
  if (!host_.root.empty()) can["roots"] = json::object();
  if (host_.elicit) can["elicitation"] = {{"form", json::object()}, {"url", json::object()}};
  return can;
}

json Conversation::with_meta(json params) const {
  if (!params.is_object()) params = json::object();
  if (era_ == Era::legacy) return params;
  auto& meta = params["_meta"];
  meta[kMeta + "protocolVersion"] = version_;
  meta[kMeta + "clientInfo"] = client_info();
  meta[kMeta + "clientCapabilities"] = our_capabilities();
  return params;
}

Headers Conversation::headers_of(const std::string& method, const json& params,
                                 Headers headers) const {
  if (!repeats_arguments()) return headers;
  headers.emplace_back("Mcp-Method", method);
  const bool named = method == "tools/call" || method == "prompts/get";
  if (named || method == "resources/read")
    headers.emplace_back("Mcp-Name", header_value(text_at(params, named ? "name" : "uri")));
  return headers;
}

// Modern servers are asked first. Whatever a legacy one makes of that, it gets the handshake next.
asio::awaitable<Reply<>> Conversation::open(Opening how) {
  const auto self = shared_from_this();
  Reply<> opened;
  if (how == Opening::pinned) {
    version_ = kModernVersion;
    transport_->speak(era_, version_);
    co_return opened;
  }
  if (how == Opening::negotiate) {
    opened = co_await discover(kModernVersion);
    if (opened) asio::co_spawn(io_, listen_loop(), asio::detached);
    if (opened || !may_be_legacy(opened.error()) || !alive()) co_return opened;
  }
  opened = co_await initialize();
  co_return opened;
}

asio::awaitable<Reply<>> Conversation::discover(std::string version) {
  era_ = Era::modern, version_ = version;
  transport_->speak(era_, version_);
  Asking asking{.timeout_ms = std::min(limits_.probe_timeout_ms, limits_.start_timeout_ms)};
  auto discovering = ask_once("server/discover", json::object(), asking);
  auto found = co_await std::move(discovering);
  if (!found && found.error().code == kUnsupportedVersion &&
      supports(found.error(), kModernVersion)) {
    // Refused by one of several behind the same address
    auto again = ask_once("server/discover", json::object(), asking);
    found = co_await std::move(again);
  }
  Reply<> opened;
  if (!found)
    opened = tl::unexpected(std::move(found.error()));
  else if (!found->is_object() || !found->contains("capabilities"))
    opened = tl::unexpected(
        Failure{Failure::refused, "answered server/discover without \"capabilities\""});
  else
    capabilities_ = std::move((*found)["capabilities"]);
  co_return opened;
}

asio::awaitable<Reply<>> Conversation::initialize() {
  era_ = Era::legacy, version_.clear();
  transport_->speak(era_, version_);
  json params{{"protocolVersion", kLegacyVersion},
              {"capabilities", our_capabilities()},
              {"clientInfo", client_info()}};
  Asking asking{.timeout_ms = limits_.start_timeout_ms};
  auto asking_once = ask_once("initialize", std::move(params), std::move(asking));
  auto answered = co_await std::move(asking_once);
  Reply<> opened;
  if (!answered) {
    opened = tl::unexpected(std::move(answered.error()));
    if (opened.error().kind == Failure::refused)
      opened.error().why = "refused to start: " + opened.error().why;
    co_return opened;
  }
  version_ = text_at(*answered, "protocolVersion");
  if (std::ranges::find(kLegacyVersions, version_) == kLegacyVersions.end()) {
    opened = tl::unexpected(
        Failure{Failure::refused,
                fmt::format("speaks MCP version {}, and this client {}, {} and older",
                            dumped(version_.substr(0, 40)), kModernVersion, kLegacyVersion)});
    co_return opened;
  }
  if (answered->contains("capabilities") && (*answered)["capabilities"].is_object())
    capabilities_ = std::move((*answered)["capabilities"]);
  transport_->speak(era_, version_);
  send(notification_line("notifications/initialized", json()), true);
  transport_->listen();
  co_return opened;
}

asio::awaitable<Reply<json>> Conversation::request(std::string method, json params, Asking asking) {
  const auto self = shared_from_this();
  for (int round = 0;; ++round) {
    auto asking_once = ask_once(method, params, asking);
    auto reply = co_await std::move(asking_once);
    if (!reply || era_ == Era::legacy) co_return reply;
    const auto type = reply->is_object() && reply->contains("resultType")
                          ? text_at(*reply, "resultType")
                          : "complete";
    if (type == "complete") co_return reply;
    if (type != "input_required" || round == kRoundsMax) {
      reply = tl::unexpected(Failure{
          Failure::refused,
          type == "input_required"
              ? fmt::format("asked for more input {} times within one {}", kRoundsMax, method)
              : fmt::format("answered {} with the result type {}, which is not known", method,
                            dumped(type))});
      co_return reply;
    }
    // The state goes back as it came, or not at all: what an earlier round left is not this
    // round's.
    params.erase("requestState"), params.erase("inputResponses");
    if (const auto state = reply->find("requestState"); state != reply->end() && state->is_string())
      params["requestState"] = *state;
    if (text_at(params, "requestState").size() > kStateBytesMax) {
      reply = tl::unexpected(Failure{
          Failure::refused, fmt::format("wants more than {} bytes of state back", kStateBytesMax)});
      co_return reply;
    }
    json wanted = reply->contains("inputRequests") ? (*reply)["inputRequests"] : json();
    if (wanted.is_null()) continue;
    auto fulfilling = fulfil(std::move(wanted));
    auto inputs = co_await std::move(fulfilling);
    if (!inputs) co_return inputs;
    params["inputResponses"] = std::move(*inputs);
  }
}

asio::awaitable<Reply<json>> Conversation::fulfil(json wanted) {
  Reply<json> inputs = json::object();
  if (!wanted.is_object() || wanted.size() > kInputsMax) {
    inputs = tl::unexpected(Failure{
        Failure::refused,
        fmt::format("asked for input that is no object of at most {} requests", kInputsMax)});
    co_return inputs;
  }
  for (const auto& [key, one] : wanted.items()) {
    auto answering = answer(text_at(one, "method"),
                            one.is_object() ? one.value("params", json::object()) : json::object());
    auto answered = co_await std::move(answering);
    if (!answered) {
      inputs = tl::unexpected(Failure{
          Failure::refused,
          fmt::format("asked for {}, which is not offered to it", dumped(text_at(one, "method")))});
      co_return inputs;
    }
    (*inputs)[key] = std::move(*answered);
  }
  co_return inputs;
}

// A question before a person. What they took is nobody's delay: from the answer on every request
// has its whole time again.
class Conversation::AtAPerson {
 public:
  explicit AtAPerson(Conversation& conversation) : conversation_(conversation) {
    ++conversation_.n_asking_;
  }
  ~AtAPerson() {
    --conversation_.n_asking_;
    for (const auto& [id, pending] : conversation_.pending_) pending->heard = Clock::now();
  }
  AtAPerson(const AtAPerson&) = delete;
  AtAPerson& operator=(const AtAPerson&) = delete;

 private:
  Conversation& conversation_;
};

// nullopt: nothing that we offer.
asio::awaitable<std::optional<json>> Conversation::answer(std::string method, json params) {
  std::optional<json> result;
  if (method == "ping") {
    result = json::object();
  } else if (method == "roots/list" && !host_.root.empty()) {
    json root{{"uri", file_uri(host_.root)},
              {"name", host_.root.substr(host_.root.rfind('/') + 1)}};
    json roots = json::array();
    roots.push_back(std::move(root));
    result = json{{"roots", std::move(roots)}};
  } else if (method == "elicitation/create" && host_.elicit) {
    const AtAPerson asking(*this);
    auto eliciting = elicit(host_.name, std::move(params), host_.elicit);
    result = co_await std::move(eliciting);
  }
  co_return result;
}

// Beside whatever else runs: a person may take an hour to answer.
void Conversation::answer_request(const json& id, std::string method, json params) {
  if (asked_.size() >= kAskedMax)
    return send(error_line(id, kInternalError,
                           fmt::format("{} of your requests wait already", asked_.size())));
  const auto key = dumped(id);
  const auto stop = std::make_shared<asio::cancellation_signal>();
  asked_[key] = stop;
  // It holds `stop`, too: a signal must outlive what it may stop.
  const auto answered = [self = shared_from_this(), stop, id, key, method](
                            std::exception_ptr thrown, std::optional<json> result) {
    if (self->asked_.erase(key) == 0) return;  // taken back
    if (thrown || !result)
      self->send(error_line(id, thrown ? kInternalError : kMethodNotFound,
                            fmt::format("this client offers no {}", method)));
    else
      self->send(reply_line(id, std::move(*result)));
  };
  asio::co_spawn(io_, answer(std::move(method), std::move(params)),
                 asio::bind_cancellation_slot(stop->slot(), answered));
}

// On the executor, as HttpTransport::cancel.
void Conversation::cancel(std::shared_ptr<asio::cancellation_signal> stop) {
  asio::dispatch(io_, [stop = std::move(stop)] { stop->emit(asio::cancellation_type::terminal); });
}

// Nobody waits for what the server wants to know any more: the person is left in peace.
void Conversation::forget_asked() {
  for (const auto& [key, stop] : std::exchange(asked_, {})) cancel(stop);
}

// One request and its reply, of whatever type the result is.
asio::awaitable<Reply<json>> Conversation::ask_once(std::string method, json params,
                                                    Asking asking) {
  const auto self = shared_from_this();
  if (!alive()) {
    Reply<json> gone = tl::unexpected(Failure{Failure::died, why_ended()});
    co_return gone;
  }
  const auto id = next_id_++;
  const auto pending = std::make_shared<Pending>(io_);
  pending_[id] = pending;
  pending->on_progress = std::move(asking.on_progress);
  pending->listens = method == kListen;
  const auto begun = pending->heard = Clock::now();
  params = method == "initialize" ? std::move(params) : with_meta(std::move(params));
  if (pending->on_progress) params["_meta"]["progressToken"] = id;
  auto headers = headers_of(method, params, std::move(asking.headers));
  transport_->send({request_line(id, method, std::move(params)), id, std::move(headers), false});
  bool cancelled = false;
  auto until = begun;
  while (!pending->reply && !cancelled) {
    const auto now = Clock::now();
    if (n_asking_ > 0) pending->heard = now;
    until = pending->heard + milliseconds(asking.timeout_ms);
    if (asking.timeout_max_ms > 0)
      until = std::min(until, begun + milliseconds(asking.timeout_max_ms));
    if (asking.timeout_ms == 0) until = Clock::time_point::max();
    if (until <= now) break;
    pending->wake.expires_at(until);
    auto [ec] = co_await pending->wake.async_wait(kIo);
    cancelled = ec && !pending->reply;
  }
  if (pending->reply) {
    auto reply = std::move(*pending->reply);
    co_return reply;
  }
  pending_.erase(id);
  withdraw(id, method, cancelled ? "cancelled" : "timeout");
  const auto waited = std::chrono::duration<double>(until - begun).count();
  Failure failure{Failure::cancelled, "cancelled"};
  if (!cancelled)
    failure = {Failure::timed_out,
               fmt::format("did not answer {} within {:.3g} s", method, waited)};
  if (!cancelled && complained_ >= begun)
    failure.why += fmt::format("; of a message that it does not name it said: {}", complaint_);
  Reply<json> none = tl::unexpected(std::move(failure));
  co_return none;
}

void Conversation::withdraw(std::int64_t id, const std::string& method, const char* reason) {
  if (pending_.empty()) forget_asked();
  // A legacy server need not hear of the question which era it is of, and may take anything before
  // its handshake amiss.
  if (transport_->abandon(id) || method == "initialize" || method == "server/discover") return;
  json about{{"requestId", id}, {"reason", reason}};
  send(notification_line("notifications/cancelled", std::move(about)));
}

void Conversation::receive(Message message) {
  switch (message.kind) {
    case Message::reply:
      return settle(message.id, std::move(message.result));
    case Message::failure:
      if (message.of_none) complaint_ = message.error, complained_ = Clock::now();
      return settle(message.id, tl::unexpected(Failure{Failure::refused, std::move(message.error),
                                                       message.code, 0, std::move(message.data)}));
    case Message::notification:
      return hear(message.method, message.params);
    case Message::request:
      return answer_request(message.any_id, std::move(message.method), std::move(message.params));
    case Message::garbage:
      return;
  }
}

void Conversation::settle(std::int64_t id, Reply<json> reply) {
  const auto found = pending_.find(id);
  if (found == pending_.end()) return;  // late, or never asked
  const auto pending = found->second;
  pending_.erase(found);
  pending->reply = std::move(reply);
  pending->wake.cancel();
}

void Conversation::hear(const std::string& method, const json& params) {
  if (method == "notifications/tools/list_changed") changed_.insert(Listed::tools);
  if (method == "notifications/resources/list_changed") changed_.insert(Listed::resources);
  if (method == "notifications/prompts/list_changed") changed_.insert(Listed::prompts);
  if (method == "notifications/cancelled" && params.contains("requestId")) {
    const auto& id = params["requestId"];
    if (const auto asked = asked_.extract(dumped(id))) return cancel(asked.mapped());
    // A server that ends a subscription may say so in this way; nothing else of ours is its to
    // cancel.
    const auto ours = id_of(id);
    const auto pending = ours ? pending_.find(*ours) : pending_.end();
    if (pending != pending_.end() && pending->second->listens)
      settle(pending->first, tl::unexpected(Failure{Failure::refused, "cancelled the request"}));
  }
  if (method != "notifications/progress" || !params.contains("progressToken")) return;
  const auto token = id_of(params["progressToken"]);
  if (!token) return;
  const auto found = pending_.find(*token);
  const auto progress = params.find("progress");
  if (found == pending_.end() || !found->second->on_progress || progress == params.end() ||
      !progress->is_number())
    return;
  const auto pending = found->second;
  if (progress->get<double>() <= pending->progress)
    return;  // it must grow, or it could keep a call alive for ever
  pending->progress = progress->get<double>();
  pending->heard = Clock::now();
  pending->on_progress(params);
}

// Modern servers tell changes of their lists only to who listens.
asio::awaitable<void> Conversation::listen_loop() {
  const std::weak_ptr<Conversation> weak = weak_from_this();
  json wanted = json::object();
  for (const auto& [capability, name] : {std::pair{"tools", "toolsListChanged"},
                                         {"resources", "resourcesListChanged"},
                                         {"prompts", "promptsListChanged"}}) {
    if (can(capability) && capabilities_[capability].is_object() &&
        capabilities_[capability].value("listChanged", json()) == true)
      wanted[name] = true;
  }
  if (wanted.empty()) co_return;
  const json params{{"notifications", std::move(wanted)}};
  asio::steady_timer pause(io_);
  for (int retry_ms = kListenRetryMs;; retry_ms = std::min(2 * retry_ms, kListenRetryMaxMs)) {
    const auto begun = Clock::now();
    {
      const auto self = weak.lock();
      if (!self || !alive()) co_return;
      auto listening = ask_once(kListen, params, Asking{});
      const auto ended = co_await std::move(listening);
      if (!ended && ended.error().code == kMethodNotFound) co_return;
      // What was said meanwhile is lost
      changed_.insert({Listed::tools, Listed::resources, Listed::prompts});
    }
    if (Clock::now() - begun > milliseconds(kListenRetryMaxMs)) retry_ms = kListenRetryMs;
    pause.expires_after(milliseconds(retry_ms));
    co_await pause.async_wait(kIo);
  }
}

}  // namespace lares::mcp
