#include "daemon/server/server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include "daemon/ended.h"
#include "daemon/http/server.h"
#include "daemon/mcp/door.h"
#include "daemon/on_disk_pool.h"
#include "daemon/protocol/job_wire.h"
#include "daemon/protocol/mcp_wire.h"
#include "daemon/protocol/overlay_wire.h"
#include "daemon/repository.h"
#include "daemon/server/answers.h"
#include "daemon/server/connection.h"
#include "daemon/session/worktrees.h"
#include "daemon/turn/prompt.h"

namespace lares::daemon {
namespace {

using namespace protocol;

constexpr std::chrono::milliseconds kLastWords{500};
constexpr int kCrowdedRetryMs = 1000;

bool is_http(char first) { return first >= 'A' && first <= 'Z'; }
// By what it has said already.
bool speaks_http(Listener::Protocol::socket& socket) {
  char first = 0;
  return ::recv(socket.native_handle(), &first, 1, MSG_PEEK | MSG_DONTWAIT) == 1 && is_http(first);
}

// What an observer may not call; while the daemon stops nobody may, but for what a running turn
// ends with.
enum class Changes { nothing, something, what_runs };
Changes changes(const std::string& method) {
  for (const std::string_view ends :
       {ServerShutdown::kMethod, SessionClose::kMethod, PromptWithdraw::kMethod,
        TurnInterrupt::kMethod, QuestionReply::kMethod, ApprovalReply::kMethod,
        SessionStopJob::kMethod})
    if (method == ends) return Changes::what_runs;
  for (const std::string_view some :
       {SessionCreate::kMethod, PromptSend::kMethod, SessionRewind::kMethod,
        SessionUnrewind::kMethod, SessionFork::kMethod, WorktreeRemove::kMethod,
        WorktreeApply::kMethod, SessionTest::kMethod, SessionPolicy::kMethod,
        SessionSetTitle::kMethod, SessionExport::kMethod, SessionImport::kMethod,
        kSessionMcpServers, kSessionOverlay, kSessionHoldFiles, RuleAdd::kMethod,
        RuleRemove::kMethod})
    if (method == some) return Changes::something;
  return Changes::nothing;
}

}  // namespace

Server::Server(asio::any_io_executor io, asio::thread_pool& disk, EngineHost& host,
               Residents& residents, Sessions& sessions, Worktrees& worktrees, HttpServer& http,
               const Log& log, ServerOptions options)
    : io_(io),
      disk_(disk),
      host_(host),
      residents_(residents),
      sessions_(sessions),
      worktrees_(worktrees),
      http_(http),
      log_(log),
      options_(std::move(options)),
      last_words_(io),
      no_worktrees_(io) {
  no_worktrees_.open();
}

Server::~Server() = default;

asio::awaitable<void> Server::serve(Listener& listener) {
  acceptor_ = &listener.acceptor();
  for (;;) {
    auto [ec, socket] = co_await acceptor_->async_accept(asio::as_tuple(asio::use_awaitable));
    if (!acceptor_->is_open()) break;
    if (ec) {  // out of descriptors: those that are there go on
      log_.event("accept_failed", {{"why", ec.message()}});
      asio::steady_timer pause(io_, std::chrono::milliseconds(100));
      co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
      continue;
    }
    if (ended_) continue;  // nobody is served any more, and who is has not had the last words yet
    const long uid = peer_uid(socket);
    if (uid != static_cast<long>(::geteuid()) && uid != 0) {
      log_.event("client_refused", {{"uid", uid}});
      continue;
    }
    if (n_arriving_ + connections_.size() >= options_.limits.clients + kClientsToldApartMax) {
      if (!speaks_http(socket))
        refuse(socket);
      else if (stopping_ == Stopping::no)
        http_.take(std::move(socket));
      continue;
    }
    ++n_arriving_;
    const auto client = std::make_shared<Listener::Protocol::socket>(std::move(socket));
    asio::co_spawn(
        io_, [this, client] { return tell_apart(client); },
        logged(log_, "a client's first byte", [this](const std::string&) { --n_arriving_; }));
  }
  if (connections_.empty()) co_return;
  last_words_.expires_after(kLastWords);  // a client that does not read does not keep the daemon
  co_await last_words_.async_wait(asio::as_tuple(asio::use_awaitable));
}

// HTTP begins with the name of a method, and a line of JSON-RPC does not.
asio::awaitable<void> Server::tell_apart(std::shared_ptr<Listener::Protocol::socket> socket) {
  asio::steady_timer patience(io_, options_.limits.first_byte);
  bool late = false;
  patience.async_wait([weak = std::weak_ptr(socket), &late](const boost::system::error_code& ec) {
    const auto waiting = ec ? nullptr : weak.lock();  // with it, this coroutine lives
    if (!waiting) return;
    late = true;
    boost::system::error_code ignored;
    waiting->cancel(ignored);
  });
  char first = 0;
  ssize_t n = -1;
  while (n < 0) {
    auto [ec] = co_await socket->async_wait(Listener::Protocol::socket::wait_read,
                                            asio::as_tuple(asio::use_awaitable));
    if (late)
      log_.event("client_refused",
                 {{"why", "it said nothing"}, {"ms", options_.limits.first_byte.count()}});
    if (ec || late || ended_) co_return;
    n = ::recv(socket->native_handle(), &first, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && errno != EINTR) co_return;
  }
  if (n == 0) co_return;
  if (is_http(first)) {
    if (stopping_ == Stopping::no) http_.take(std::move(*socket));
  } else if (connections_.size() >= options_.limits.clients) {
    refuse(*socket);
  } else {
    crowded_ = false;
    serve_client(std::make_shared<Connection>(*this, disk_, std::move(*socket)));
  }
}

void Server::serve_client(const std::shared_ptr<Connection>& connection) {
  joined(connection);
  asio::co_spawn(
      io_, [connection] { return connection->run(); },
      logged(log_, "a client", [this, connection](const std::string&) {
        connection->close();
        left(connection);
      }));
}

// One line, which a socket that nothing was written to has room for.
void Server::refuse(Listener::Protocol::socket& socket) {
  Error error{.code = Code::overloaded,
              .message = fmt::format("connect: {} clients are connected, and more are not served",
                                     options_.limits.clients),
              .hint = "end some of them: `lares run`, `lares attach`, editors"};
  error.retry_after_ms = kCrowdedRetryMs;
  const std::string line = error_line(nullptr, error);
  (void)::send(socket.native_handle(), line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (std::exchange(crowded_, true)) return;  // a line of the log for all of them
  log_.event("client_refused",
             {{"why", "too many"}, {"n", connections_.size()}, {"arriving", n_arriving_}});
}

asio::awaitable<void> Server::stop(bool now) {
  const auto before = stopping_;
  if (before == Stopping::now || (before == Stopping::when_idle && !now)) co_return;
  stopping_ = now ? Stopping::now : Stopping::when_idle;
  sessions_.begin_no_turns();
  for (const auto& c : connections_) {
    if (c->initialized()) c->send(notification_line(state()));
  }
  if (now) sessions_.interrupt_all();
  if (now && options_.ending) options_.ending();
  if (now) co_await http_.stop();
  if (before != Stopping::no) co_return;  // who began waits for those that run
  co_await no_worktrees_.wait();
  co_await sessions_.all_ended();
  if (options_.ending) options_.ending();
  if (mcp_) co_await mcp_->settled();
  co_await http_.stop();
  ended_ = true;
  const auto all = connections_;
  for (const auto& c : all) c->close();
  boost::system::error_code ignored;
  if (acceptor_) acceptor_->close(ignored);  // who comes now finds nobody, instead of waiting
}

void Server::left(const std::shared_ptr<Connection>& connection) {
  sessions_.forget(connection.get());
  connections_.erase(connection);
  if (ended_ && connections_.empty()) last_words_.cancel();
}

ServerState Server::state() const {
  if (stopping_ != Stopping::no) return {.state = "stopping"};
  return host_.state();
}

void Server::engine_changed(const ServerState& state) {
  for (const auto& c : connections_) {
    if (c->initialized()) c->send(notification_line(state));
  }
  if (state.state == "ready") log_.event("ready", {{"model", options_.model_directory}});
  if (state.state == "ready" && !state.message.empty())
    log_.event("model_notes", {{"notes", state.message}});
  if (state.state == "failed") log_.event("load_failed", {{"why", state.message}});
}

std::string Server::health() const {
  const Json json = {{"status", state().state}, {"version", options_.version}, {"pid", ::getpid()}};
  return dump(json) + "\n";
}

InitializeResult Server::greeting() const {
  return {
      .server = "laresd/" + options_.version,
      .daemon_id = options_.daemon_id,
      .boot_id = options_.boot_id,
      .pid = ::getpid(),
      .state_dir = options_.state_dir,
      .socket = options_.socket,
      .capabilities = {"steer", "queue", "interrupt", "withdraw", "history", "question", "approval",
                       "rules", "rewind", "fork", "export", "replay", "worktree", "test"}};
}

asio::awaitable<ServerStatusResult> Server::status() {
  ServerStatusResult r;
  r.engine = state();
  r.model.directory = options_.model_directory;
  if (const engine::Engine* engine = host_.engine()) {
    const auto& info = engine->info();
    r.model = {info.directory,
               info.model_type,
               info.n_layers,
               info.vocab_size,
               info.n_context_max,
               static_cast<std::int64_t>(info.weight_bytes),
               static_cast<std::int64_t>(info.n_parameters)};
    const auto memory = engine->memory();
    const auto& experts = memory.experts;
    const auto& sequences = memory.sequences;
    const auto n = [](std::uint64_t bytes) { return static_cast<std::int64_t>(bytes); };
    r.experts = {n(experts.bytes),   n(experts.bytes_max), n(experts.resident),
                 n(experts.read),    experts.found,        experts.missed,
                 experts.remembered, n(experts.ahead),     experts.unkept};
    r.sequences = {n(sequences.bytes), n(sequences.bytes_max), n(sequences.most), sequences.n,
                   sequences.parked,   sequences.evicted,      sequences.refused};
  }
  r.version = options_.version, r.socket = options_.socket, r.state_dir = options_.state_dir,
  r.http = options_.http, r.pid = ::getpid();
  r.uptime_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                    std::chrono::steady_clock::now() - began_)
                    .count();
  r.n_clients = static_cast<int>(connections_.size());
  r.n_sessions = sessions_.n_sessions(), r.n_running = sessions_.n_running(),
  r.n_queued = host_.n_queued();
  r.shell = co_await tools::shell_unavailable_reason(options_.shell);
  for (const auto& resident : residents_.all()) {
    auto report = co_await resident->report(/*with_files=*/false);
    r.prefixes.push_back(std::move(report));
  }
  co_return r;
}

Reply<> Server::not_stopping(const std::string& method) const {
  if (stopping_ == Stopping::no || changes(method) != Changes::something) return {};
  return no(Code::not_ready, method + ": the daemon is stopping",
            "it ends when no turn runs any more; `lares shutdown` ends it now");
}

// Reading one back takes its time, in which the daemon may begin to stop.
asio::awaitable<Reply<std::shared_ptr<Session>>> Server::open(std::string method, std::string id) {
  auto opening = sessions_.open(std::move(id));
  auto session = co_await std::move(opening);
  if (const auto may = not_stopping(method); session && !may) co_return tl::unexpected(may.error());
  co_return session;
}

asio::awaitable<Reply<Json>> Server::call(Connection& from, const std::string& method,
                                          const Json& params) {
  if (!from.may_change() && changes(method) != Changes::nothing)
    co_return no(Code::denied, method + ": an observer changes nothing");
  if (const auto may = not_stopping(method); !may) co_return tl::unexpected(may.error());
  if (method == Ping::kMethod) co_return ok(Nothing{});
  if (method == ServerStatus::kMethod) co_return ok(co_await status());
  if (method == PromptHead::kMethod) co_return ok(PromptHeadResult{prompt_head()});
  if (method == ServerShutdown::kMethod) {
    auto request = typed<ServerShutdown>(method, params);
    if (!request) co_return tl::unexpected(request.error());
    if (request->when != "now" && request->when != "idle")
      co_return no(Code::invalid_params, method + ": when must be now or idle");
    // Behind the answer, which nobody would be there to send
    asio::post(io_, [this, now = request->when == "now"] {
      asio::co_spawn(io_, stop(now), logged(log_, "the end"));
    });
    co_return ok(Nothing{});
  }
  if (method == RepoOpen::kMethod) {
    auto request = typed<RepoOpen>(method, params);
    if (!request) co_return tl::unexpected(request.error());
    const auto root = repository_root(request->root);
    if (!root) co_return no(Code::not_found, root.error());
    if (const auto why = why_no_session(root->root); !why.empty())
      co_return no(Code::invalid_params, why);
    co_return ok(RepoOpenResult{.root = root->root, .git = root->git});
  }
  if (method == RepoPrefix::kMethod) {
    auto request = typed<RepoPrefix>(method, params);
    if (!request) co_return tl::unexpected(request.error());
    const auto root = repository_root(request->root);
    if (!root) co_return no(Code::not_found, root.error());
    const auto resident = residents_.find(root->root);
    if (!resident) co_return ok(RepoPrefixResult{.root = root->root});
    auto report = co_await resident->report(request->files);
    co_return ok(std::move(report));
  }
  if (method == RepoScrub::kMethod) {
    auto request = typed<RepoScrub>(method, params);
    if (!request) co_return tl::unexpected(request.error());
    const auto root = repository_root(request->root);
    if (!root) co_return no(Code::not_found, root.error());
    const auto resident = residents_.find(root->root);
    const bool begun = resident && co_await resident->scrub();
    if (!begun)
      co_return no(Code::not_found,
                   fmt::format("scrub what is kept of {}: nothing is; `lares prefix` says what is "
                               "evaluated, and when that is all it is kept",
                               root->root));
    co_return ok(Nothing{});
  }
  if (method == SessionCreate::kMethod) {
    auto request = typed<WorktreeCreate>(method, params);
    if (!request) co_return tl::unexpected(request.error());
    if (request->worktree) {
      const AtWorktrees at_it(*this);
      // Nobody would know of it: not even the command that Ctrl-C ended meanwhile
      std::function<bool()> given_up = [there = from.shared_from_this()] {
        return there->closed();
      };
      auto creating = sessions_.create_in_worktree(request->create, std::move(given_up));
      const auto made = co_await std::move(creating);
      if (!made) co_return tl::unexpected(made.error());
      co_return ok(WorktreeCreated{made->session->info(), made->worktree.worktree_of,
                                   made->worktree.branch});
    }
    const auto session = sessions_.create(request->create);
    if (!session) co_return tl::unexpected(session.error());
    co_return ok((*session)->info());
  }
  if (method == SessionList::kMethod) {
    auto request = typed<SessionList>(method, params);
    if (!request) co_return tl::unexpected(request.error());
    std::vector<std::string> roots;
    if (!request->root.empty()) {
      const auto resolved = repository_root(request->root);
      // One that is gone still has sessions
      roots.push_back(resolved ? resolved->root : request->root);
      if (request->worktrees) {
        auto listing = worktrees_.all(roots.front());
        for (auto& record : co_await std::move(listing)) roots.push_back(std::move(record.root));
      }
    }
    co_return ok(SessionListResult{sessions_.list(roots, request->closed)});
  }
  if (method == SessionExport::kMethod || method == SessionImport::kMethod ||
      method == SessionReplay::kMethod || method == SessionSetTitle::kMethod) {
    auto done = co_await about_transfer(from.shared_from_this(), method, params);
    co_return done;
  }
  if (method == RuleList::kMethod || method == RuleAdd::kMethod || method == RuleRemove::kMethod)
    co_return co_await about_rules(method, params);
  if (method.starts_with("worktree/")) co_return co_await about_worktrees(method, params);
  auto answering = about_session(from, method, params);
  auto answered = co_await std::move(answering);
  co_return answered;
}

}  // namespace lares::daemon
