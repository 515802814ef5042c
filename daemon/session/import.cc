#include "daemon/session/import.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>
#include <set>

#include <fmt/format.h>

#include "daemon/on_disk_pool.h"
#include "daemon/protocol/policies.h"
#include "daemon/repository.h"
#include "daemon/session/facts.h"
#include "daemon/session/session_settings.h"
#include "daemon/session/sessions.h"

namespace lares::daemon {
namespace {

using protocol::Json;

// Frame by frame; keeps what is needed for the last ones.
class Importer {
 public:
  Importer(const std::string& id, const std::string& root, int vocab_size,
           const std::string& vocabulary)
      : id_(id), root_(root), vocab_size_(vocab_size), ours_(vocabulary) {}

  std::string add(const Json& frame) {  // what is wrong; empty: nothing
    std::string method = frame["method"].get<std::string>();
    Json params = frame["params"];
    if (!params.is_object()) return "its params are no object";
    if (frames_.empty() != (method == protocol::SessionCreated::kNotification))
      return "a session begins with its creation, once";
    if (method == kAppended || method == kShortened) {
      if (auto wrong = wrong_ids(params); !wrong.empty()) return wrong;
    } else if (method == kSettings) {
      auto settings = protocol::from_json<protocol::SessionSettings>(params);
      if (!settings) return settings.error();
      if (auto wrong = take(*settings); !wrong.empty()) return wrong;
      params = protocol::to_json(*settings);
    } else if (method == kGoingBack) {
      params = Json::object();  // of another worktree
    } else if (method == kUnread) {
      for (const auto& id : params.value("prompts", std::vector<std::string>()))
        waiting_.insert(id);
    } else if (!method.starts_with("lares/")) {
      if (auto wrong = fact(method, params); !wrong.empty()) return wrong;
    }
    put(method, std::move(params));
    return "";
  }

  std::vector<std::string> finish(const std::string& from) {
    for (const auto& prompt : waiting_) {
      Json params = Json::object();
      params["id"] = prompt;
      put_fact(protocol::PromptWithdrawn::kNotification, std::move(params));
    }
    put(kImported, {{"root", from}, {"t", unix_ms()}});
    return std::move(frames_);
  }

 private:
  // What the session said with another model is retold as text, whatever its ids are; a rewinding
  // may have gone back to it.
  std::string wrong_ids(const Json& params) {
    if (auto named = vocabulary_at(params); !named.empty()) vocabulary_ = std::move(named);
    others_ = others_ || vocabulary_ != ours_;
    const auto ids = params.find("ids");
    if (ids == params.end() || !ids->is_array()) return "it has no token ids";
    const std::int64_t end = others_ ? std::int64_t{std::numeric_limits<engine::Token>::max()} + 1
                                     : vocab_size_;
    for (const auto& id : *ids)
      if (!id.is_number_integer() || id < 0 || id >= end)
        return fmt::format("token id {} is not below {}", id.dump(), end);
    return "";
  }

  // A file gives no rights.
  static std::string take(protocol::SessionSettings& settings) {
    settings.no_sandbox = false;
    return wrong_setting(settings);
  }

  std::string fact(std::string& method, Json& params) {
    if (params.value("seq", Json()) != frames_.size() + 1) return "its seq is not its number";
    params["sessionId"] = id_;
    t_ = params.value("t", Json(0));
    if (method == protocol::SessionCreated::kNotification) {
      auto made = protocol::from_json<protocol::SessionCreated>(params);
      if (!made) return made.error();
      if (auto wrong = take(made->session.settings); !wrong.empty()) return wrong;
      made->session.session_id = id_, made->session.root = root_;
      title_ = made->session.title;
      params = protocol::to_json(*made);
    } else if (method == protocol::SessionUpdated::kNotification) {
      const auto typed = protocol::from_json<protocol::SessionUpdated>(params);
      if (!typed || (!typed->policy.empty() && !protocol::is_policy(typed->policy)))
        return "it is no such change of a session";
      title_ = typed->title;
    } else if (method == protocol::SessionClosed::kNotification) {  // this one is open
      method = protocol::SessionUpdated::kNotification;
      params["title"] = title_;
    } else if (method == protocol::ApprovalResolved::kNotification) {
      params.erase("rules");
    } else if (method == protocol::SessionRewound::kNotification) {
      params.erase("undo");
    } else if (method == protocol::PromptAccepted::kNotification) {
      waiting_.insert(params.value("id", ""));
    } else if (method == protocol::PromptWithdrawn::kNotification) {
      waiting_.erase(params.value("id", ""));
    } else if (method == protocol::TurnStarted::kNotification) {
      waiting_.erase(params.value("promptId", ""));
    } else if (const auto item = params.find("item"); item != params.end() && item->is_object()) {
      waiting_.erase(item->value("promptId", ""));
      item->erase("snapshot");  // of another worktree
      item->erase("snapshotAfter");
    }
    return "";
  }

  void put(std::string_view method, Json params) {
    Json frame;
    frame["method"] = method;
    frame["params"] = std::move(params);
    frames_.push_back(protocol::dump(frame));
  }
  void put_fact(std::string_view method, Json params) {
    Json stamped = Json::object();
    stamped["sessionId"] = id_, stamped["seq"] = frames_.size() + 1, stamped["t"] = t_;
    stamped.update(params);
    put(method, std::move(stamped));
  }

  const std::string id_, root_;
  const int vocab_size_;
  const std::string ours_;  // the vocabulary of that size
  std::string vocabulary_;  // named last; empty: none, in journals of earlier versions
  bool others_ = false;     // there are ids of another one
  std::string title_;
  Json t_ = 0;
  std::set<std::string> waiting_;
  std::vector<std::string> frames_;
};

// Whole or not at all: under its name only when it is on disk.
tl::expected<void, std::string> write_journal(const std::string& path,
                                              const std::vector<std::string>& frames) {
  const std::string unfinished = path.substr(0, path.rfind('.')) + ".import";
  const auto write = [&]() -> tl::expected<void, std::string> {
    auto journal = Journal::create(unfinished);
    if (!journal) return tl::unexpected(journal.error());
    for (const auto& frame : frames)
      if (auto done = journal->append(frame); !done) return done;
    if (auto done = journal->sync(); !done) return done;
    if (::link(unfinished.c_str(), path.c_str()) != 0)
      return tl::unexpected(fmt::format("create journal {}: {}", path, std::strerror(errno)));
    return {};
  };
  auto done = write();
  ::unlink(unfinished.c_str());
  return done;
}

}  // namespace

tl::expected<std::vector<std::string>, std::string> frames_to_import(const Export& file,
                                                                     const std::string& id,
                                                                     const std::string& root,
                                                                     int vocab_size) {
  Importer importer(id, root, vocab_size, file.model.vocabulary);
  for (std::size_t i = 0; i < file.frames.size(); ++i) {
    std::string wrong;
    try {
      wrong = importer.add(Json::parse(file.frames[i]));
    } catch (const Json::exception& e) {  // a field of another type than it has
      wrong = e.what();
    }
    if (!wrong.empty())
      return tl::unexpected(fmt::format("frame {} makes no sense: {}", i + 1, wrong));
  }
  if (file.frames.empty()) return tl::unexpected<std::string>("it is empty");
  return importer.finish(file.root);
}

asio::awaitable<Reply<std::shared_ptr<Session>>> Sessions::import(std::string path,
                                                                  std::string root) {
  const std::string what = "import " + path;
  const auto no = [&](protocol::Code code, const std::string& why) {
    return tl::unexpected(refusal(code, what + ": " + why));
  };
  co_await world_.host->settled();
  const engine::Engine* const engine = world_.host->engine();
  if (!engine)
    co_return no(protocol::Code::not_ready, "load the model: " + world_.host->state().message);
  const auto read = [&] { return read_export(path); };
  auto file = co_await on_disk_pool(*world_.disk, read);
  if (!file) co_return no(protocol::Code::invalid_params, file.error());
  const auto resolved = repository_root(root.empty() ? file->root : root);
  if (!resolved)
    co_return no(protocol::Code::not_found, resolved.error() + "; name a repository with --root");
  if (const auto why = why_no_session(resolved->root); !why.empty())
    co_return no(protocol::Code::invalid_params, why);
  const std::string id = fresh_session_id(),
                    journal = world_.state_dir + "/sessions/" + id + ".journal";
  protocol::Code code = protocol::Code::invalid_params;
  const auto make = [&]() -> tl::expected<void, std::string> {
    const ExportModel ours = model_of(engine);
    if (file->model.vocabulary != ours.vocabulary)
      return tl::unexpected(other_vocabulary(file->model, ours));
    const auto frames = frames_to_import(*file, id, resolved->root, ours.vocab_size);
    if (!frames) return tl::unexpected(frames.error());
    code = protocol::Code::internal;
    return write_journal(journal, *frames);
  };
  const auto made = co_await on_disk_pool(*world_.disk, make);
  if (!made) co_return no(code, made.error());
  const auto open = [&] { return Session::open(world_, journal); };  // nobody else knows it yet
  auto session = co_await on_disk_pool(*world_.disk, open);
  if (!session) {
    ::unlink(journal.c_str());
    co_return no(protocol::Code::internal, session.error());
  }
  sessions_[id].session = *session;
  co_return std::move(*session);
}

}  // namespace lares::daemon
