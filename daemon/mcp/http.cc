#include "daemon/mcp/http.h"

#include <optional>
#include <utility>

#include <fmt/format.h>

#include "daemon/mcp/event_stream.h"
#include "daemon/shared_aside.h"
#include "daemon/state_dir.h"

namespace lares::daemon {

namespace rpc = mcp::server;
using rpc::Json;

struct McpHttp::Session {
  std::string id;
  std::shared_ptr<rpc::Peer> peer;
  std::shared_ptr<EventStream> aside;  // stream 0: what belongs to no request
  std::map<std::int64_t, std::shared_ptr<EventStream>> streams;
  std::int64_t n_streams = 0, used = 0;

  bool resumable() const {
    return peer->version() >= rpc::kNewestLegacy;
  }  // older clients take an event without data for a message
};

namespace {

constexpr std::size_t kSessionIdBytes = 32;
// A call that is not answered by then is answered as a stream, so that whoever waits sees that
// somebody is there.
constexpr std::chrono::milliseconds kPatience{500};

HttpReply refusal(unsigned status, const Json& id, int code, std::string why) {
  return {.status = status, .body = rpc::error_text(id, {code, std::move(why)})};
}

std::optional<std::string> header_of(const HttpRequest& request, std::string_view name) {
  for (const auto& [key, value] : request.headers) {
    if (key == name) return value;
  }
  return std::nullopt;
}

// Of "root=%2Fhome%2Fme%2Frepo&...".
std::string root_of(const HttpRequest& request) {
  const std::string_view query = request.query;
  const auto at = query.starts_with("root=") ? 0 : query.find("&root=");
  if (at == std::string_view::npos) return "";
  const std::string_view value = query.substr(query.find('=', at) + 1);
  std::string root;
  for (std::size_t i = 0; i < value.size() && value[i] != '&'; ++i) {
    const auto digit = [&](std::size_t j) {
      const char c = j < value.size() ? value[j] : 'x';
      return c >= '0' && c <= '9'   ? c - '0'
             : c >= 'a' && c <= 'f' ? c - 'a' + 10
             : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                    : -1;
    };
    if (value[i] == '%' && digit(i + 1) >= 0 && digit(i + 2) >= 0)
      root += static_cast<char>(16 * digit(i + 1) + digit(i + 2)), i += 2;
    else
      root += value[i] == '+' ? ' ' : value[i];
  }
  return root;
}

bool is_json(std::string_view content_type) {
  return content_type.empty() || content_type.starts_with("application/json");
}

// A reply with nothing before it goes out whole; else, or when it does not come soon, everything is
// a stream.
asio::awaitable<bool> answer(Exchange& exchange, EventStream& stream, HttpHeaders headers,
                             bool resumable) {
  co_await stream.first(kPatience);
  if (stream.answered_at_once() && !stream.answer().empty()) {
    HttpReply reply{.status = static_cast<unsigned>(stream.status()),
                    .body = stream.answer(),
                    .headers = std::move(headers)};
    co_await exchange.reply(std::move(reply));
    co_return true;
  }
  const bool whole = co_await stream.write_to(exchange, std::move(headers), 0, resumable);
  if (whole) co_await exchange.end();
  co_return whole;
}

}  // namespace

McpHttp::~McpHttp() = default;

asio::awaitable<void> McpHttp::handle(Exchange& exchange) {
  const std::string& method = exchange.request().method;
  if (method == "POST") co_return co_await post(exchange);
  const bool modern = exchange.request().header("mcp-protocol-version") >= rpc::kModern;
  if (method == "GET" && !modern) co_return co_await get(exchange);
  if (method == "DELETE" && !modern) co_return co_await remove(exchange);
  HttpReply reply = refusal(405, nullptr, rpc::kInvalidRequest,
                            fmt::format("{}: only POST is answered here", method));
  reply.headers.emplace_back("Allow", "POST");
  co_await exchange.reply(std::move(reply));
}

asio::awaitable<void> McpHttp::post(Exchange& exchange) {
  const HttpRequest& request = exchange.request();
  std::optional<HttpReply> refused;
  const auto read = [&body = request.body] { return rpc::parse_all(body); };
  const std::size_t bytes = request.body.size();
  auto reading = aside_where_long(aside_, bytes, read);
  rpc::Incoming read_in = co_await std::move(reading);
  const rpc::IncomingRef incoming = shared_aside(aside_, bytes, std::move(read_in));
  exchange.drop_body();
  const rpc::Answer<>& message = incoming->messages.front();
  bool modern = request.header("mcp-protocol-version") >= rpc::kModern;
  if (!is_json(request.header("content-type")))
    refused = refusal(415, nullptr, rpc::kInvalidRequest, "the body must be application/json");
  else if (incoming->batch && modern)
    refused = refusal(400, nullptr, rpc::kInvalidRequest,
                      rpc::no_batches(request.header("mcp-protocol-version")).message);
  else if (!incoming->batch && !message)
    refused = {.status = 400, .body = rpc::error_text(nullptr, message.error())};
  if (refused) co_return co_await exchange.reply(std::move(*refused));
  if (incoming->batch) {
    auto answering = post_legacy(exchange, incoming);
    co_return co_await std::move(answering);
  }
  modern = modern || !rpc::modern_version(*message).empty();
  if (modern) co_return co_await post_modern(exchange, rpc::message_of(incoming, 0));
  if (rpc::is_request(*message) && (*message)["method"] == "initialize")
    co_return co_await begin_session(exchange, rpc::message_of(incoming, 0));
  auto answering = post_legacy(exchange, incoming);
  co_await std::move(answering);
}

// ---- modern: the client's hanging up is its giving up

asio::awaitable<void> McpHttp::post_modern(Exchange& exchange, rpc::JsonRef received) {
  const Json& message = *received;
  if (!rpc::is_request(message)) {
    HttpReply accepted{.status = 202};
    co_return co_await exchange.reply(std::move(accepted));
  }
  const HttpRequest& request = exchange.request();
  auto wrong = rpc::header_mismatch(
      message, endpoint_.provider().tools(),
      [&](std::string_view name) { return header_of(request, name); });
  if (!wrong) wrong = rpc::wrong_meta(message);
  if (wrong) {
    HttpReply reply{.status = static_cast<unsigned>(rpc::http_status(*wrong)),
                    .body = rpc::error_text(message["id"], *wrong)};
    co_return co_await exchange.reply(std::move(reply));
  }
  const auto peer = endpoint_.peer(root_of(request));
  const auto stream = std::make_shared<EventStream>(endpoint_.io(), 0);
  const auto gone = exchange.gone();
  const Json id = message["id"];
  peer->receive(std::move(received), stream);
  const std::stop_callback on_gone(gone, [&] { peer->give_up(id); });
  const bool whole = co_await answer(exchange, *stream, {}, /*resumable=*/false);
  peer->left();
  if (whole || !gone.stop_requested()) co_return;
  // Where it is the daemon that ends, somebody still reads.
  const rpc::Refusal ended{rpc::kInternal, "the daemon ends; ask again when it runs"};
  co_await exchange.write("event: message\ndata: " + rpc::error_text(id, ended) + "\n\n");
  co_await exchange.end();
}

// ---- legacy: sessions; a connection that is lost is no cancelling

void McpHttp::make_room() {
  while (sessions_.size() >= kMcpHttpSessionsMax) {
    auto oldest = sessions_.begin();
    for (auto it = sessions_.begin(); it != sessions_.end(); ++it) {
      if (it->second->used < oldest->second->used) oldest = it;
    }
    oldest->second->peer->left();
    oldest->second->aside->finish("", 0);
    sessions_.erase(oldest);
  }
}

asio::awaitable<void> McpHttp::begin_session(Exchange& exchange, rpc::JsonRef message) {
  const auto session = std::make_shared<Session>();
  session->id = random_hex(kSessionIdBytes);
  session->peer = endpoint_.peer(root_of(exchange.request()));
  session->aside = std::make_shared<EventStream>(endpoint_.io(), 0);
  session->peer->aside(session->aside);
  session->used = ++n_uses_;
  const auto stream = std::make_shared<EventStream>(endpoint_.io(), ++session->n_streams);
  session->peer->receive(std::move(message), stream);
  HttpHeaders headers;
  if (session->peer->initialized()) {
    make_room();
    sessions_[session->id] = session;
    headers.emplace_back("Mcp-Session-Id", session->id);
  }
  co_await answer(exchange, *stream, std::move(headers), /*resumable=*/false);
}

std::shared_ptr<McpHttp::Session> McpHttp::session_of(const HttpRequest& request,
                                                      HttpReply& refused, const Json& id) {
  const auto version = header_of(request, "mcp-protocol-version");
  if (version && !rpc::speaks_legacy(*version)) {
    refused = refusal(400, id, rpc::kInvalidRequest,
                      fmt::format("MCP-Protocol-Version {} is not spoken here; {} is, and {}",
                                  *version, rpc::kNewestLegacy, rpc::kModern));
    return nullptr;
  }
  const auto name = header_of(request, "mcp-session-id");
  if (!name) {
    refused = refusal(400, id, rpc::kInvalidRequest,
                      "Mcp-Session-Id is missing; initialize begins a session, or say in _meta "
                      "which version the request is written in");
    return nullptr;
  }
  const auto found = sessions_.find(*name);
  if (found == sessions_.end()) {
    refused = refusal(404, id, rpc::kInvalidRequest,
                      "there is no such session, or no longer; begin one with initialize");
    return nullptr;
  }
  found->second->used = ++n_uses_;
  return found->second;
}

asio::awaitable<void> McpHttp::post_legacy(Exchange& exchange, rpc::IncomingRef incoming) {
  HttpReply reply{.status = 202};
  const Json id = incoming->batch ? Json() : rpc::id_of(*incoming->messages.front());
  const auto session = session_of(exchange.request(), reply, id);
  if (!session) co_return co_await exchange.reply(std::move(reply));
  const auto stream = std::make_shared<EventStream>(endpoint_.io(), ++session->n_streams);
  const bool answers = incoming->batch
                           ? session->peer->receive_batch(incoming, stream)
                           : session->peer->receive(rpc::message_of(incoming, 0), stream);
  if (!answers) co_return co_await exchange.reply(std::move(reply));
  session->streams[stream->number()] = stream;
  if (session->streams.size() > kMcpStreamsMax) session->streams.erase(session->streams.begin());
  const bool whole = co_await answer(exchange, *stream, {}, session->resumable());
  if (whole) session->streams.erase(stream->number());
}

asio::awaitable<void> McpHttp::get(Exchange& exchange) {
  const HttpRequest& request = exchange.request();
  HttpReply reply;
  const auto session = session_of(request, reply, nullptr);
  if (!session) co_return co_await exchange.reply(std::move(reply));
  if (const auto accept = request.header("accept");
      accept.find("text/event-stream") == std::string_view::npos &&
      accept.find("*/*") == std::string_view::npos) {
    reply = refusal(406, nullptr, rpc::kInvalidRequest,
                    "GET opens a stream; accept text/event-stream");
    co_return co_await exchange.reply(std::move(reply));
  }
  auto stream = session->aside;
  std::int64_t after = stream->written();  // who does not say where it was gets nothing twice
  if (const auto last = header_of(request, "last-event-id")) {
    std::int64_t number = 0;
    const bool ours = parse_event_id(*last, number, after);
    const auto found = session->streams.find(number);
    if (!ours || (number != 0 && found == session->streams.end())) {
      reply = refusal(
          404, nullptr, rpc::kInvalidRequest,
          fmt::format("there is no stream to resume after event {}, or no longer", *last));
      co_return co_await exchange.reply(std::move(reply));
    }
    if (number != 0) stream = found->second;
  }
  const bool whole = co_await stream->write_to(exchange, {}, after, session->resumable());
  if (!whole) co_return;
  co_await exchange.end();
  session->streams.erase(stream->number());
}

asio::awaitable<void> McpHttp::remove(Exchange& exchange) {
  HttpReply reply{.status = 204};
  if (const auto session = session_of(exchange.request(), reply, nullptr)) {
    sessions_.erase(session->id);
    session->peer->left();
    session->aside->finish("", 0);
    for (const auto& [number, stream] : session->streams) stream->finish("", 0);
  }
  co_await exchange.reply(std::move(reply));
}

}  // namespace lares::daemon
