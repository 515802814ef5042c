#include "tests/daemon/remote/fake_server.h"

#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <fmt/format.h>

namespace lares::daemon {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using engine::Token;
using nlohmann::json;

bool send(asio::ip::tcp::socket& socket, const std::string& bytes) {
  boost::system::error_code ec;
  asio::write(socket, asio::buffer(bytes), ec);
  return !ec;
}

void answer(asio::ip::tcp::socket& socket, int status, const std::string& body) {
  send(socket, fmt::format("HTTP/1.1 {} Whatever\r\nContent-Length: {}\r\n\r\n{}", status,
                           body.size(), body));
}

bool send_event(asio::ip::tcp::socket& socket, const std::string& data) {
  const std::string event = "data: " + data + "\n\n";
  return send(socket, fmt::format("{:x}\r\n{}\r\n", event.size(), event));
}

}  // namespace

FakeServer::FakeServer() : acceptor_(io_, {asio::ip::address_v4::loopback(), 0}) {
  thread_ = std::thread([this] { accept(); });
}

FakeServer::~FakeServer() {
  over_ = true;
  boost::system::error_code ec;
  asio::io_context io;
  Tcp::socket(io).connect(acceptor_.local_endpoint(), ec);  // so that accept() returns
  thread_.join();
  for (auto& connection : connections_) connection.join();
}

std::string FakeServer::url() const {
  return fmt::format("http://127.0.0.1:{}", acceptor_.local_endpoint().port());
}
void FakeServer::behave(Manners manners) {
  const std::lock_guard lock(mutex_);
  manners_ = std::move(manners);
}
std::vector<json> FakeServer::asked() const {
  const std::lock_guard lock(mutex_);
  return asked_;
}
std::string FakeServer::authorization() const {
  const std::lock_guard lock(mutex_);
  return authorization_;
}

Token FakeServer::after(const std::vector<Token>& ids) const {
  {
    const std::lock_guard lock(mutex_);
    if (ids.size() == manners_.eos_at) return kEos;
  }
  std::uint64_t hash = 14695981039346656037u;
  for (const Token id : ids) hash = (hash ^ static_cast<std::uint64_t>(id)) * 1099511628211u;
  return static_cast<Token>((hash >> 20) % kEos);
}

std::vector<Token> FakeServer::follow(std::vector<Token> ids, int n) const {
  std::vector<Token> out;
  for (; n > 0; --n) {
    out.push_back(after(ids));
    ids.push_back(out.back());
  }
  return out;
}

void FakeServer::accept() {
  while (!over_) {
    auto socket = std::make_shared<Tcp::socket>(io_);
    boost::system::error_code ec;
    acceptor_.accept(*socket, ec);
    if (ec || over_) return;
    connections_.emplace_back([this, socket] { serve(*socket); });
  }
}

void FakeServer::serve(Tcp::socket& socket) {
  boost::beast::flat_buffer buffer;
  http::request_parser<http::string_body> parser;
  parser.body_limit(64 << 20);
  boost::system::error_code ec;
  http::read(socket, buffer, parser, ec);
  if (ec) return;
  const auto& request = parser.get();
  const std::string target(request.target());
  Manners manners;
  {
    const std::lock_guard lock(mutex_);
    authorization_ = std::string(request[http::field::authorization]);
    manners = manners_;
  }
  if (target.ends_with("/v1/completions")) return complete(socket, request.body());
  if (target.ends_with("/v1/models")) {
    const std::lock_guard lock(mutex_);
    if (manners_.away > 0) return --manners_.away, answer(socket, 503, "starting");
    return answer(socket, 200, manners.models);
  }
  if (target.ends_with("/tokenize") && !manners.tokenize.empty())
    return answer(socket, 200, manners.tokenize);
  answer(socket, 404, R"({"detail": "Not Found"})");
}

// Until the other side goes away.
void FakeServer::wait_for_end(Tcp::socket& socket) {
  socket.non_blocking(true);
  for (char byte = 0; !over_; std::this_thread::sleep_for(std::chrono::milliseconds(2))) {
    boost::system::error_code ec;
    if (socket.receive(asio::buffer(&byte, 1), 0, ec) > 0 || ec == asio::error::would_block)
      continue;
    ++n_cut_off_;
    return;
  }
}

void FakeServer::complete(Tcp::socket& socket, const std::string& body) {
  const json asked = json::parse(body);
  Manners manners;
  bool refuses = false, breaks = false;
  {
    const std::lock_guard lock(mutex_);
    asked_.push_back(asked);
    refuses = manners_.refuse > 0, breaks = !refuses && manners_.break_off > 0;
    manners_.refuse -= refuses ? 1 : 0, manners_.break_off -= breaks ? 1 : 0;
    manners = manners_;
  }
  if (refuses) return answer(socket, manners.refuse_with, R"({"error": {"message": "not\nnow"}})");
  if (manners.silent) return wait_for_end(socket);
  send(socket, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
  auto ids = asked.at("prompt").get<std::vector<Token>>();
  const auto allowed = asked.value("allowed_token_ids", std::vector<Token>());
  if (!manners.takes_min_p && asked.at("min_p") > 0) {
    send_event(socket, R"({"error": {"message": "min_p is not supported here", "code": 400}})");
    return;
  }
  const int n_logprobs = asked.value("logprobs", 0);
  if (n_logprobs > 0 && !manners.takes_logprobs)
    return void(send_event(socket, R"({"error": {"message": "logprobs: none here"}})"));
  send(socket, "7\r\n: ping\n\r\n");
  const int n = std::min(asked.at("max_tokens").get<int>(), manners.tokens_max);
  bool ends = false;
  for (int i = 0; i < n && !ends;) {
    json fresh = json::array(), own = json::array(), tops = json::array();
    for (const int until = std::min(n, i + 1 + i % 2); i < until && !ends; ++i) {  // one or two
      if (breaks && i == manners.break_after) {
        if (manners.hangs) wait_for_end(socket);
        return;
      }
      Token token = after(ids);
      if (!allowed.empty()) token = allowed[static_cast<std::size_t>(token) % allowed.size()];
      ends = token == kEos;
      ids.push_back(token);
      if (ends && !manners.tells_end) continue;
      fresh.push_back(token);
      own.push_back(logprob(1));
      json top;
      for (int k = 0; k < n_logprobs; ++k) {
        const Token other = k == 1 ? token : (token + (k == 0 ? 1 : k)) % kVocab;
        top[fmt::format("token_id:{}", other)] = logprob(k);
      }
      tops.push_back(std::move(top));
    }
    json choice = {{"index", 0}, {"text", "x"}, {"finish_reason", nullptr}};
    if (manners.tells_ids) choice["token_ids"] = std::move(fresh);
    if (n_logprobs > 0) choice["logprobs"] = {{"token_logprobs", own}, {"top_logprobs", tops}};
    if (i <= 1) choice["prompt_token_ids"] = asked.at("prompt");
    if (ends || i == n) choice["finish_reason"] = ends ? "stop" : "length";
    if (!send_event(socket, json({{"choices", {choice}}}).dump())) {
      ++n_cut_off_;
      return;
    }
  }
  json usage = {{"prompt_tokens", asked.at("prompt").size()}};
  if (manners.n_cached >= 0) usage["prompt_tokens_details"]["cached_tokens"] = manners.n_cached;
  send_event(socket, json({{"choices", json::array()}, {"usage", usage}}).dump());
  send_event(socket, "[DONE]");
  send(socket, "0\r\n\r\n");
}

}  // namespace lares::daemon
