#include "daemon/bridges/acp/bridge.h"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <utility>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include "daemon/bridges/acp/options.h"
#include "daemon/repository.h"
#include "daemon/version.h"

namespace lares::cli::acp {
namespace {

namespace fs = std::filesystem;

Fault invalid(std::string message) { return {kInvalidParams, std::move(message)}; }

void log(const std::string& line) { fmt::print(stderr, "lares acp: {}\n", line); }

}  // namespace

Bridge::Bridge(asio::any_io_executor io, const BridgeOptions& options, int in, int out)
    : io_(io),
      options_(options),
      editor_(io, in, out),
      daemon_(io, options.daemon,
              {.up = [this] { return up(); },
               .down =
                   [this] {
                     for (const auto& [id, session] : sessions_) session->lost();
                   },
               .notified =
                   [this](const protocol::Message& message) {
                     const auto it = sessions_.find(string_at(message.params, "sessionId"));
                     if (it != sessions_.end()) SessionRef(it->second)->notified(message);
                   },
               .gave_up =
                   [this](const Fault& why) {
                     for (const auto& [id, session] : sessions_)
                       session->leave(
                           {kInternal, "session/prompt: the daemon was lost: " + why.message});
                   },
               .wanted =
                   [this] {
                     return std::any_of(sessions_.begin(), sessions_.end(),
                                        [](const auto& s) { return s.second->busy(); });
                   },
               .may_go_on = [this] { return editor_.drained(); }}),
      world_{.io = io,
             .editor = &editor_,
             .daemon = &daemon_,
             .agreement = &agreement_,
             .can = {},
             .log = log} {}

void Bridge::start(std::function<void()> end) {
  editor_.start({.line = [this](const Line& line) { heard(line); }, .end = std::move(end)});
  const auto over = [](std::exception_ptr thrown) {
    if (thrown) std::rethrow_exception(thrown);  // out of memory: the command ends
  };
  asio::co_spawn(io_, daemon_.run(), over);
}

asio::awaitable<void> Bridge::up() {
  const auto all = sessions_;
  for (const auto& [id, session] : all) {
    auto again = session->again();
    co_await std::move(again);
  }
}

// ---- what the editor says

void Bridge::heard(const Line& line) {
  Json id = line.too_long ? id_of_cut(line.text) : Json();
  auto message =
      line.too_long
          ? tl::unexpected(Fault{
                kInvalidRequest,
                fmt::format("read a message: its line is longer than {} bytes; send less at once",
                            kLineBytesMax)})
          : parse(line.text, id);
  if (!message) {
    log(message.error().message);
    return editor_.answer(id, tl::unexpected(message.error()));
  }
  if (message->method.empty()) return editor_.heard(*message);
  if (message->id) return request(*message->id, message->method, std::move(message->params));
  notification(message->method, message->params);
}

void Bridge::request(const Json& id, const std::string& method, Json params) {
  const auto refuse = [&](Fault fault) { editor_.answer(id, tl::unexpected(std::move(fault))); };
  if (method == "initialize") return editor_.answer(id, initialize(params));
  if (!initialized_) return refuse({kInvalidRequest, method + ": initialize comes first"});
  if (method == "session/prompt") {
    const auto session = find(params);
    if (!session)
      return refuse(
          {kNotFound,
           fmt::format(
               "session/prompt: session {} is not open; session/load or session/resume opens it",
               string_at(params, "sessionId"))});
    return session->prompt(id, at(params, "prompt"));
  }
  const std::string key = protocol::dump(id);
  if (requests_.size() >= kRequestsMax)
    return refuse(
        {kInternal, fmt::format("{}: {} requests wait for their answers already; wait for one",
                                method, kRequestsMax)});
  const auto request = std::make_shared<Request>(Request{.id = id});
  requests_[key] = request;
  const auto over = [this, request, key](std::exception_ptr thrown) {
    if (const auto it = requests_.find(key); it != requests_.end() && it->second == request)
      requests_.erase(it);
    if (thrown && !request->closed)
      editor_.answer(request->id,
                     tl::unexpected(Fault{kInternal, "the bridge failed; its log says more"}));
  };
  asio::co_spawn(io_, serve(request, method, std::move(params)), over);
}

void Bridge::notification(const std::string& method, const Json& params) {
  if (method == "session/cancel") {
    if (const auto session = find(params)) session->cancel();
  } else if (method == "$/cancel_request") {
    const Json& id = at(params, "requestId");
    for (const auto& [name, session] : sessions_)
      if (session->cancel_prompt(id)) return;
    const auto it = requests_.find(protocol::dump(id));
    if (it == requests_.end() || std::exchange(it->second->closed, true)) return;
    editor_.answer(id, tl::unexpected(Fault{kCancelled, "cancelled"}));
  }
}

Reply<Json> Bridge::initialize(const Json& params) {
  if (!at(params, "protocolVersion").is_number_integer())
    return tl::unexpected(invalid("initialize: protocolVersion must be an integer"));
  const Json& can = at(params, "clientCapabilities");
  world_.can = {.notices = declared(can, {"session", "notices"}),
                .forms = declared(can, {"elicitation", "form"}),
                .reads_files = declared(can, {"fs", "readTextFile"}),
                .writes_files = declared(can, {"fs", "writeTextFile"})};
  initialized_ = true;
  const Json none = Json::object();
  const Json prompts = {{"image", false}, {"audio", false}, {"embeddedContext", true}};
  const Json servers = {{"http", true}, {"sse", false}};
  const Json sessions = {{"list", none}, {"resume", none}, {"close", none}, {"delete", none}};
  const Json abilities = {{"loadSession", true},
                          {"promptCapabilities", prompts},
                          {"mcpCapabilities", servers},
                          {"sessionCapabilities", sessions}};
  const Json self = {{"name", "lares"}, {"title", "Lares"}, {"version", daemon::kVersion}};
  return Json{{"protocolVersion", kProtocolVersion},
              {"agentCapabilities", abilities},
              {"agentInfo", self},
              {"authMethods", Json::array()}};
}

asio::awaitable<void> Bridge::serve(RequestRef request, std::string method, Json params) {
  auto answering = answer(method, params);
  auto reply = co_await std::move(answering);
  const bool opens = reply && (method == "session/new" || method == "session/load" ||
                               method == "session/resume");
  const auto it = opens ? sessions_.find(method == "session/new" ? string_at(*reply, "sessionId")
                                                                 : string_at(params, "sessionId"))
                        : sessions_.end();
  if (request->closed) {  // taken back meanwhile: the editor knows of no such session
    if (it == sessions_.end()) co_return;
    auto forgetting = forget(it->second);
    co_await std::move(forgetting);
    co_return;
  }
  editor_.answer(request->id, reply);
  request->closed = true;
  if (it != sessions_.end()) SessionRef(it->second)->opened();
}

asio::awaitable<Reply<Json>> Bridge::answer(std::string method, Json params) {
  if (method == "session/new") return create(std::move(params));
  if (method == "session/load" || method == "session/resume")
    return open(std::move(params), method == "session/load");
  if (method == "session/list") return list(std::move(params));
  if (method == "session/close") return close(std::move(params));
  if (method == "session/delete") return remove(std::move(params));
  if (method == "session/set_mode") return set_mode(std::move(params));
  if (method == "session/set_config_option") return set_option(std::move(params));
  const auto refused = [](Fault fault) -> asio::awaitable<Reply<Json>> {
    co_return tl::unexpected(std::move(fault));
  };
  if (method == "authenticate" || method == "logout")
    return refused(
        {kUnknownMethod,
         method + ": there is nobody to authenticate to; the daemon is this machine's own"});
  return refused({kUnknownMethod, "there is no method " + method});
}

// ---- sessions

Bridge::SessionRef Bridge::find(const Json& params) const {
  const auto it = sessions_.find(string_at(params, "sessionId"));
  return it == sessions_.end() ? nullptr : it->second;
}

Json Bridge::opened(const Session& session) const {
  return {{"modes", modes_json(session.mode())}, {"configOptions", options_json(session.mode())}};
}

asio::awaitable<Reply<std::string>> Bridge::root_of(std::string cwd, std::string what) {
  if (cwd.empty() || !fs::path(cwd).is_absolute())
    co_return tl::unexpected(invalid(fmt::format("{}: cwd must be an absolute path, not {}", what,
                                                 cwd.empty() ? "missing" : cwd)));
  const auto found = daemon::repository_root(cwd);
  if (!found) co_return tl::unexpected(invalid(fmt::format("{}: {}", what, found.error())));
  if (found->git) co_return found->root;
  std::string known;
  auto asking = daemon_.call(protocol::ServerStatus{});
  if (const auto answer = co_await std::move(asking))
    if (const auto status = protocol::from_json<protocol::ServerStatusResult>(*answer))
      for (const auto& prefix : status->prefixes)
        known += (known.empty() ? "; resident are " : ", ") + prefix.root;
  co_return tl::unexpected(invalid(
      fmt::format("{}: {} is in no git repository; open a folder of one, or `git init` this one{}",
                  what, cwd, known)));
}

asio::awaitable<Reply<Bridge::SessionRef>> Bridge::adopt(protocol::SessionInfo info,
                                                         std::string cwd, Json servers,
                                                         bool replays) {
  if (sessions_.size() >= kSessionsMax && !sessions_.contains(info.session_id))
    co_return tl::unexpected(
        Fault{kInternal, fmt::format("open session {}: {} are open already; session/close one",
                                     info.session_id, kSessionsMax)});
  const std::string id = info.session_id;
  const auto session = std::make_shared<Session>(world_, std::move(info), cwd);
  if (servers.is_array()) session->bring_servers(std::move(servers));
  if (const auto before = sessions_.find(id); before != sessions_.end())
    before->second->leave({kCancelled, "opened again"});
  sessions_.erase(id);
  if (replays) {
    auto replaying = session->replay();
    if (auto replayed = co_await std::move(replaying); !replayed)
      co_return tl::unexpected(std::move(replayed.error()));
  }
  sessions_[id] = session;  // before it is followed, for what comes first
  auto following = session->follow();
  if (auto followed = co_await std::move(following); !followed) {
    sessions_.erase(id);
    co_return tl::unexpected(std::move(followed.error()));
  }
  co_return session;
}

asio::awaitable<Reply<Json>> Bridge::create(Json params) {
  auto looking = root_of(string_at(params, "cwd"), "session/new");
  const auto root = co_await std::move(looking);
  if (!root) co_return tl::unexpected(root.error());
  protocol::SessionCreate create;
  create.root = *root;
  create.settings.policy = options_.policy;
  auto creating = daemon_.call(std::move(create));
  const auto answer = co_await std::move(creating);
  if (!answer) co_return tl::unexpected(answer.error());
  auto info = protocol::from_json<protocol::SessionInfo>(*answer);
  if (!info)
    co_return tl::unexpected(
        Fault{kInternal, "session/create: the daemon's answer makes no sense: " + info.error()});
  auto adopting = adopt(std::move(*info), string_at(params, "cwd"), at(params, "mcpServers"),
                        /*replays=*/false);
  const auto session = co_await std::move(adopting);
  if (!session) co_return tl::unexpected(session.error());
  Json out = {{"sessionId", (*session)->id()}};
  out.update(opened(**session));
  co_return out;
}

asio::awaitable<Reply<Json>> Bridge::open(Json params, bool replays) {
  const std::string what = replays ? "session/load" : "session/resume",
                    id = string_at(params, "sessionId");
  auto looking = root_of(string_at(params, "cwd"), what);
  const auto root = co_await std::move(looking);
  if (!root) co_return tl::unexpected(root.error());
  protocol::SessionGet get;
  get.session_id = id;
  auto getting = daemon_.call(std::move(get));
  const auto answer = co_await std::move(getting);
  if (!answer)
    co_return tl::unexpected(
        Fault{answer.error().code, fmt::format("{}: {}", what, answer.error().message)});
  auto info = protocol::from_json<protocol::SessionInfo>(*answer);
  if (!info || info->session_id != id)
    co_return tl::unexpected(Fault{
        kNotFound,
        fmt::format("{}: there is no session {}; session/list names those there are", what, id)});
  if (info->root != *root)
    co_return tl::unexpected(
        invalid(fmt::format("{}: session {} is about {}, not {}", what, id, info->root, *root)));
  if (info->closed && !replays)
    co_return tl::unexpected(Fault{
        kNotFound, fmt::format("{}: session {} is closed; session/load still shows it", what, id)});
  auto adopting = adopt(std::move(*info), string_at(params, "cwd"), at(params, "mcpServers"),
                        replays);
  const auto session = co_await std::move(adopting);
  if (!session) co_return tl::unexpected(session.error());
  co_return opened(**session);
}

asio::awaitable<Reply<Json>> Bridge::list(Json params) {
  const std::string cwd = string_at(params, "cwd"), cursor = string_at(params, "cursor");
  protocol::SessionList request;
  if (!cwd.empty()) {
    if (!fs::path(cwd).is_absolute())
      co_return tl::unexpected(invalid("session/list: cwd must be an absolute path, not " + cwd));
    const auto found = daemon::repository_root(cwd);
    request.root = found ? found->root : cwd;
  }
  const std::string root = request.root;
  auto listing = daemon_.call(std::move(request));
  const auto answer = co_await std::move(listing);
  if (!answer) co_return tl::unexpected(answer.error());
  const auto all = protocol::from_json<protocol::SessionListResult>(*answer);
  if (!all)
    co_return tl::unexpected(
        Fault{kInternal, "session/list: the daemon's answer makes no sense: " + all.error()});
  auto begin = all->sessions.begin();
  if (!cursor.empty()) {  // the last of the page before
    begin = std::find_if(begin, all->sessions.end(),
                         [&](const auto& s) { return s.session_id == cursor; });
    if (begin == all->sessions.end())
      co_return tl::unexpected(
          invalid("session/list: this cursor is not known (any more); begin without one"));
    ++begin;
  }
  const auto left = static_cast<std::size_t>(all->sessions.end() - begin),
             n = std::min(left, kListedMax);
  Json sessions = Json::array();
  for (auto it = begin; it != begin + static_cast<std::ptrdiff_t>(n); ++it) {
    Json session = {{"sessionId", it->session_id},
                    {"cwd", it->root == root ? cwd : it->root},
                    {"updatedAt", iso_time(it->updated_ms)}};
    if (!it->title.empty()) session["title"] = it->title;
    sessions.push_back(std::move(session));
  }
  Json out = {{"sessions", std::move(sessions)}};
  if (left > n) out["nextCursor"] = (begin + static_cast<std::ptrdiff_t>(n) - 1)->session_id;
  co_return out;
}

// The session stays where it is, and can be loaded again: what the daemon calls closing is for
// ever.
asio::awaitable<Reply<Json>> Bridge::close(Json params) {
  const auto session = find(params);
  if (!session)
    co_return tl::unexpected(Fault{kNotFound, fmt::format("session/close: session {} is not open",
                                                          string_at(params, "sessionId"))});
  session->cancel();
  auto forgetting = forget(session);
  co_await std::move(forgetting);
  co_return Json::object();
}

// What the daemon calls closing: it is listed no more and takes no prompt, and what was said and
// done stays readable.
asio::awaitable<Reply<Json>> Bridge::remove(Json params) {
  protocol::SessionClose request;
  request.session_id = string_at(params, "sessionId");
  const std::string id = request.session_id;
  if (const auto session = find(params)) {
    auto forgetting = forget(session);
    co_await std::move(forgetting);
  }
  // a beginning of an id would do for the daemon, and is none of this protocol's
  protocol::SessionGet get;
  get.session_id = id;
  auto getting = daemon_.call(std::move(get));
  const auto answer = co_await std::move(getting);
  if (!answer)
    co_return tl::unexpected(
        Fault{answer.error().code, "session/delete: " + answer.error().message});
  if (string_at(*answer, "sessionId") != id)
    co_return tl::unexpected(Fault{
        kNotFound,
        fmt::format("session/delete: there is no session {}; session/list names those there are",
                    id)});
  auto closing = daemon_.call(std::move(request));
  if (const auto closed = co_await std::move(closing); !closed)
    co_return tl::unexpected(closed.error());
  co_return Json::object();
}

asio::awaitable<void> Bridge::forget(SessionRef session) {
  session->leave({kCancelled, "closed"});
  sessions_.erase(session->id());
  if (!daemon_.up()) co_return;
  protocol::SessionUnsubscribe request;
  request.session_id = session->id();
  auto leaving = daemon_.call_now(std::move(request));
  (void)co_await std::move(leaving);
}

asio::awaitable<Reply<Json>> Bridge::set_mode(Json params) {
  const auto session = find(params);
  const std::string mode = string_at(params, "modeId");
  if (!session)
    co_return tl::unexpected(Fault{
        kNotFound,
        fmt::format("session/set_mode: session {} is not open", string_at(params, "sessionId"))});
  if (!is_mode(mode))
    co_return tl::unexpected(invalid(
        fmt::format("session/set_mode: there is no mode {}; there are {}", mode, modes_known())));
  auto setting = session->set_mode(mode);
  if (const auto set = co_await std::move(setting); !set) co_return tl::unexpected(set.error());
  co_return Json::object();
}

asio::awaitable<Reply<Json>> Bridge::set_option(Json params) {
  const auto session = find(params);
  const std::string option = string_at(params, "configId"), value = string_at(params, "value");
  if (!session)
    co_return tl::unexpected(
        Fault{kNotFound, fmt::format("session/set_config_option: session {} is not open",
                                     string_at(params, "sessionId"))});
  if (option != "mode" || !is_mode(value))
    co_return tl::unexpected(invalid(fmt::format(
        "session/set_config_option: {} cannot be {}; configOptions lists what it can be",
        option.empty() ? "no option" : option, value.empty() ? "this" : value)));
  auto setting = session->set_mode(value);
  if (const auto set = co_await std::move(setting); !set) co_return tl::unexpected(set.error());
  co_return Json{{"configOptions", options_json(session->mode())}};
}

}  // namespace lares::cli::acp
