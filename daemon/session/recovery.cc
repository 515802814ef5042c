// A session read back from its journal, and what a daemon that died left open in it.
#include <algorithm>
#include <type_traits>
#include <utility>

#include <boost/asio/post.hpp>

#include "daemon/on_disk_pool.h"
#include "daemon/session/facts.h"
#include "daemon/session/session_settings.h"
#include "daemon/session/session.h"

namespace lares::daemon {

using protocol::Json;

namespace {

std::int64_t number_at(const Json& params, const char* key) {
  const auto it = params.find(key);
  return it != params.end() && it->is_number_integer() ? it->get<std::int64_t>() : 0;
}

}  // namespace

// One recorded event, into what this object knows.
void Session::restore(std::string_view payload, std::int64_t seq) {
  const Json frame = Json::parse(payload, nullptr, /*allow_exceptions=*/false);
  if (!frame.is_object() || !frame.contains("method") || !frame.contains("params") ||
      !frame["method"].is_string())
    return;
  const std::string method = frame["method"].get<std::string>();
  const Json& params = frame["params"];
  const auto with = [&]<class T>(auto f, std::type_identity<T>) {
    if (method != T::kNotification) return;
    if (auto typed = protocol::from_json<T>(params)) {
      if (typed->at.t > 0) info_.updated_ms = typed->at.t;
      f(*typed);
    }
  };
  if (method == kAppended || method == kShortened) {
    // Of a journal in which a turn began without it
    if (const auto ids = params.find("ids"); ids != params.end() && !ids->empty())
      turn_log_.not_going_back();
    if (method == kShortened) {
      Transcript anew{.vocabulary = transcript_.vocabulary};
      turn_log_.shortened(std::exchange(transcript_, std::move(anew)));
    }
    if (auto written_with = vocabulary_at(params); !written_with.empty())
      transcript_.vocabulary = std::move(written_with);
    const auto ids = params.find("ids");
    if (ids != params.end() && ids->is_array()) {
      if (!ids->empty()) transcript_.root.clear();
      for (const auto& id : *ids) {
        if (id.is_number_integer()) transcript_.ids.push_back(id.get<engine::Token>());
      }
    }
    transcript_.results.clear();
    if (const auto results = params.find("results");
        results != params.end() && results->is_array()) {
      for (const auto& text : *results)
        transcript_.results.push_back(text.is_string() ? text.get<std::string>() : "");
    }
    call_outputs_.appended(ids != params.end() && !ids->empty(), !transcript_.results.empty());
    info_.context_tokens = static_cast<std::int64_t>(transcript_.ids.size());
    return;
  }
  if (method == kShown) {
    was_shown_.take(params);
    return;
  }
  if (method == kPutAway) {
    info_.closed = put_away_ = true;
    info_.updated_ms = std::max(info_.updated_ms, number_at(params, "t"));
    return;
  }
  if (method == kLeft) {
    left_by_rewinding_.clear();
    if (const auto names = params.find("names"); names != params.end() && names->is_object())
      for (const auto& [path, name] : names->items())
        if (name.is_string()) left_by_rewinding_[path] = name.get<std::string>();
    return;
  }
  if (method == kGoingBack) {
    if (params.contains("told")) return;
    if (auto going = going_back_at(params))
      turn_log_.going_back(std::move(*going));
    else
      turn_log_.not_going_back();
    return;
  }
  if (method == kUnread) {
    if (params.contains("changes")) doubt_what_was_shown();
    if (const auto ids = params.find("prompts"); ids != params.end() && ids->is_array())
      for (const auto& id : *ids)
        if (id.is_string()) wait_again(id.get<std::string>());
    return;
  }
  if (method == kSettings) {
    if (auto settings = protocol::from_json<protocol::SessionSettings>(params))
      info_.settings = std::move(*settings);
    return;
  }
  if (method == kImported) {
    if (std::exchange(put_away_, false)) info_.closed = false;
    info_.updated_ms = std::max(info_.updated_ms, number_at(params, "t"));
    unsure_ = true;
    was_shown_ = {};
    if (const auto root = params.find("root"); root != params.end() && root->is_string()) {
      turn_log_.was_at(root->get<std::string>());
      if (transcript_.root.empty()) transcript_.root = root->get<std::string>();
    }
    return;
  }
  if (method == kForked) {
    unsure_ = true;
    if (const auto words = params.find("words"); words != params.end() && words->is_array())
      for (const auto& text : *words)
        if (text.is_string()) words_before_.push_back(text.get<std::string>());
    if (const auto shell = params.find("shell"); shell != params.end())
      had_shell_ = shell->is_boolean() && shell->get<bool>();
    if (const auto root = params.find("root"); root != params.end() && root->is_string())
      transcript_.root = root->get<std::string>();
    return;
  }
  if (method == kRepaired) {
    if (const auto note = params.find("note"); note != params.end() && note->is_string())
      repair_ = note->get<std::string>();
    return;
  }
  with(
      [&](auto& x) {
        info_ = x.session;
        info_.last_seq = seq;
      },
      std::type_identity<protocol::SessionCreated>{});
  with(
      [&](auto& x) {
        info_.title = x.title;
        if (!x.policy.empty()) info_.settings.policy = x.policy;
      },
      std::type_identity<protocol::SessionUpdated>{});
  with([&](auto&) { info_.closed = true, put_away_ = false; },
       std::type_identity<protocol::SessionClosed>{});
  with(
      [&](auto& x) {
        if (std::exchange(put_away_, false)) info_.closed = false;
        prompts_.push_back({.send = {.session_id = info_.session_id,
                                     .id = x.id,
                                     .content = x.content,
                                     .delivery = x.delivery,
                                     .mode = x.mode},
                            .seq = seq});
      },
      std::type_identity<protocol::PromptAccepted>{});
  with(
      [&](auto& x) {
        if (Prompt* p = prompt_of(x.id)) p->delivered = true;
      },
      std::type_identity<protocol::PromptWithdrawn>{});
  with(
      [&](auto& x) {
        turn_log_.begin(x.turn_id, transcript_, static_cast<std::size_t>(seq) - 1);
        info_.n_turns = info_.turn_id = x.turn_id;
        repair_.clear();
        if (Prompt* p = prompt_of(x.prompt_id)) p->turn_id = x.turn_id;
      },
      std::type_identity<protocol::TurnStarted>{});
  with(
      [&](auto& x) {
        open_[x.item.id] = x.item;
        call_outputs_.begun(x.item);
      },
      std::type_identity<protocol::ItemUpdated>{});
  with(
      [&](auto& x) {
        for (const auto& rule : x.rules)
          if (rule.scope == "session") permissions_.add(rule);
      },
      std::type_identity<protocol::ApprovalResolved>{});
  with(
      [&](auto& x) {
        turn_log_.cut(x.turn_id, transcript_,
                      undo_of(x.undo, x.changes, std::exchange(left_by_rewinding_, {})));
        forget_what_was_shown();
      },
      std::type_identity<protocol::SessionRewound>{});
  with(
      [&](auto&) {
        turn_log_.uncut(transcript_);
        forget_what_was_shown();
      },
      std::type_identity<protocol::SessionUnrewound>{});
  with(
      [&](auto& x) {
        open_.erase(x.item.id);
        turn_log_.completed(x.item);
        call_outputs_.completed(x.item);
        for (const auto& change : x.item.changes) {
          if (x.item.changes_untold) break;  // see item_completed()
          const std::string blob = blob_shown(change);
          was_shown_.files[change.path] = {blob,
                                           blob.empty() ? Seen::State::absent : Seen::State::text};
        }
        if (Prompt* p = x.item.kind == "user" ? prompt_of(x.item.prompt_id) : nullptr)
          p->delivered = true, p->turn_id = x.item.turn_id;
      },
      std::type_identity<protocol::ItemCompleted>{});
  with(
      [&](auto&) {
        info_.turn_id = 0;
        open_.clear();  // earlier versions left a server's question behind
      },
      std::type_identity<protocol::TurnEnded>{});
}

void Session::forget() {
  const std::string id = info_.session_id;
  info_ = {};
  info_.session_id = id;
  transcript_ = {};
  turn_log_ = {};
  prompts_.clear();
  words_before_.clear();
  had_shell_ = false;
  call_outputs_.forget();
  open_.clear();
  permissions_.forget();
  forget_what_was_shown();
  shown_.forget();
  left_by_rewinding_.clear();
  repair_.clear();
  put_away_ = false;
}

asio::awaitable<bool> Session::writable() {
  const auto self = shared_from_this();
  if (failure_.empty()) co_return true;
  co_await idle_.wait();  // a turn that could not be written is ending, and there may be room now
  if (turn_ || rewinding_) co_return false;
  // By its path, as far as it reaches now: whoever makes it writable first appends to it while
  // another's reading still waits for the disk.
  for (;;) {
    const auto read =
        [this, path = journal_.path(),
         bytes = journal_.bytes()]() -> tl::expected<std::vector<std::string>, std::string> {
      std::vector<std::string> frames;
      if (auto again = journal_.write_again(); !again) return tl::unexpected(again.error());
      const auto done = Journal::scan(path, bytes, [&](std::size_t, std::string_view payload) {
        frames.emplace_back(payload);
      });
      if (!done) return tl::unexpected(done.error());
      return frames;
    };
    const std::uint64_t bytes = journal_.bytes();
    const auto frames = co_await on_disk_pool(*world_.disk, read);
    if (failure_.empty()) co_return true;  // another that waited for the same was first
    if (turn_ || rewinding_) co_return false;
    if (journal_.bytes() != bytes) continue;  // and it could not be written again
    if (frames)
      recover(*frames);
    else
      failure_ = frames.error();
    // What waits begins behind whoever asked: they may take it back, go back themselves or close
    // it.
    if (failure_.empty()) asio::post(world_.io, [self] { self->start_next(); });
    co_return failure_.empty();
  }
}

void Session::recover(const std::vector<std::string>& frames) {
  forget();
  failure_.clear();
  for (std::size_t i = 0; i < frames.size(); ++i)
    restore(frames[i], static_cast<std::int64_t>(i) + 1);
  info_.last_seq = static_cast<std::int64_t>(journal_.size());
  const std::int64_t cut_off = info_.turn_id;
  mend("the journal could not be written");
  // What had run to its end does not run again, whoever was told that it is on no disk.
  std::erase_if(refused_, [&](const std::string& id) {
    const Prompt* p = prompt_of(id);
    return p && p->turn_id != 0 && p->turn_id != cut_off;
  });
  withdraw_refused();
  if (failure_.empty()) world_.log->event("journal_written_again", {{"session", info_.session_id}});
}

void Session::withdraw_refused() {
  for (Prompt& p : prompts_) {
    if (p.turn_id != 0 || p.delivered || !refused_.contains(p.send.id)) continue;
    fact(protocol::PromptWithdrawn{.id = p.send.id});
    if (!failure_.empty()) return;  // the next time, then
    p.delivered = true;
  }
}

// Of the last answer's calls: those that had ended have results, whatever became of the others.
void Session::tell_known_results() {
  std::vector<std::string> results = transcript_.results;
  if (!call_outputs_.fill(results)) return;
  transcript_.results = results;
  appended({}, results);
}

void Session::mend(const std::string& why) {
  info_.state = "idle";
  if (info_.turn_id == 0) return;
  for (auto& [id, item] : std::map(open_)) {
    if (item.kind == "note") {
      complete_question(item, std::nullopt);
      continue;
    }
    protocol::Item lost = item;
    if (item.state == "asking")
      lost.state = "denied", lost.output = unanswered_text(item.name, item.why);
    else
      lost.state = "interrupted", lost.output = kUnknownOutcome, lost.changes_untold = true;
    turn_log_.completed(lost);
    call_outputs_.completed(lost);
    fact(protocol::ItemCompleted{.item = lost});
  }
  open_.clear();
  tell_known_results();
  fact(protocol::TurnEnded{.turn_id = info_.turn_id, .reason = "crashed", .message = why});
  for (auto& p : prompts_) {
    if (p.turn_id == info_.turn_id)
      p.delivered = true;  // it was begun; to begin it again is the user's to say
  }
  info_.turn_id = 0;
}

}  // namespace lares::daemon
