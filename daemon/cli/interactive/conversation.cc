#include "daemon/cli/interactive/conversation.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "daemon/cli/own_worktree.h"
#include "daemon/client/prompt_id.h"
#include "daemon/client/start.h"
#include "daemon/protocol/policies.h"

namespace lares::cli {

Conversation::Conversation(Link& link, const DaemonOptions& daemon, std::string root, Events events)
    : link_(link), daemon_(daemon), root_(std::move(root)), events_(std::move(events)) {}

Result<> Conversation::reach() {
  auto reached = cli::reach(link_, daemon_,
                            [this](double) { events_.waiting("starting the daemon"); });
  if (!reached) return tl::unexpected(std::move(reached.error()));
  started_ = reached->started;
  return {};
}

Result<> Conversation::begin() {
  if (auto reached = reach(); !reached) return reached;
  return serves_model(link_, daemon_, started_);
}

Result<> Conversation::subscribe(std::int64_t after) {
  protocol::SessionSubscribe subscribe;
  subscribe.session_id = session_->session_id;
  subscribe.after = after;
  subscribe.interactive = true;
  auto subscribed = link_.call<protocol::SessionSubscribeResult>(subscribe);
  if (!subscribed) return tl::unexpected(std::move(subscribed.error()));
  last_seq_ = after;
  session_ = std::move(subscribed->session);
  turn_id_ = session_->turn_id;
  return {};
}

Result<> Conversation::leave() {
  if (!session_) return {};
  protocol::SessionUnsubscribe unsubscribe;
  unsubscribe.session_id = session_->session_id;
  session_.reset();
  last_seq_ = turn_id_ = 0;
  unanswered_.clear(), waiting_.clear();
  events_.left();
  if (!link_.connected()) return {};  // a daemon that is gone tells nobody anything
  auto done = link_.call<protocol::Nothing>(unsubscribe);
  if (!done) return tl::unexpected(std::move(done.error()));
  return {};
}

Result<> Conversation::resume(const std::string& session_id) {
  protocol::SessionGet get;
  get.session_id = session_id;
  auto got = link_.call<protocol::SessionInfo>(get);
  if (!got) return tl::unexpected(std::move(got.error()));
  if (auto left = leave(); !left) return left;
  const std::int64_t after = got->last_seq;
  session_ = std::move(*got);
  return subscribe(after);
}

void Conversation::measure() {
  if (!session_) return;
  const auto now = link_.call<protocol::SessionInfo>(protocol::SessionGet{session_->session_id});
  if (now) session_->context_tokens = now->context_tokens;
}

Result<std::vector<protocol::SessionInfo>> Conversation::sessions() {
  protocol::SessionList list;
  list.root = root_;
  auto listed = link_.call<protocol::SessionListResult>(list);
  if (!listed) return tl::unexpected(std::move(listed.error()));
  std::erase_if(listed->sessions, [](const auto& s) { return s.last_seq <= 1; });
  return std::move(listed->sessions);
}

Result<protocol::SessionInfo> Conversation::create(const std::string& prompt) {
  protocol::SessionCreate create;
  create.root = root_;
  create.settings = settings_;
  if (!in_own_worktree_) return link_.call<protocol::SessionInfo>(create);
  auto made = create_in_worktree(link_, std::move(create), prompt);
  if (!made) return tl::unexpected(std::move(made.error()));
  events_.in_worktree(*made);
  return std::move(made->session);
}

Result<> Conversation::ready_to_say(const std::string& prompt) {
  if (!link_.connected()) {
    if (auto reached = reach(); !reached) return reached;
    if (session_) return subscribe(last_seq_);
  }
  if (session_) return {};
  auto made = create(prompt);
  if (!made) return tl::unexpected(std::move(made.error()));
  session_ = std::move(*made);
  return subscribe(session_->last_seq);
}

Result<> Conversation::policy(const std::string& name) {
  if (!protocol::is_policy(name))
    return tl::unexpected(Error{fmt::format("set the policy to {}: it is none; there are {}", name,
                                            protocol::policies_named(", "))});
  if (session_) {
    if (auto ready = ready_to_say(/*prompt=*/""); !ready) return ready;
    protocol::SessionPolicy request;
    request.session_id = session_->session_id;
    request.policy = name;
    if (auto done = link_.call<protocol::Nothing>(request); !done)
      return tl::unexpected(std::move(done.error()));
    session_->settings.policy = name;
  }
  settings_.policy = name;
  return {};
}

void Conversation::say(const std::string& content, std::string_view delivery,
                       std::string_view mode) {
  if (auto ready = ready_to_say(content); !ready) {
    events_.failed(ready.error());
    events_.not_sent(content);
    return;
  }
  protocol::PromptSend prompt;
  prompt.session_id = session_->session_id;
  prompt.id = fresh_prompt_id();
  prompt.content = content;
  prompt.delivery = delivery;
  prompt.mode = mode;
  sent_[prompt.id] = turn_id_;
  send(prompt);
}

bool Conversation::sent_before(const std::string& prompt_id, std::int64_t turn_id) const {
  const auto at = sent_.find(prompt_id);
  return at != sent_.end() && at->second != 0 && at->second != turn_id;
}

void Conversation::send(const protocol::PromptSend& prompt) {
  const std::int64_t id = link_.send(prompt);
  // What was not sent has a key of its own: the reconnection sends it.
  unanswered_[id != 0 ? id : -static_cast<std::int64_t>(unanswered_.size()) - 1] = prompt;
}

void Conversation::interrupt() {
  if (!session_) return;
  if (turn_id_ != 0) {
    protocol::TurnInterrupt request;
    request.session_id = session_->session_id;
    request.turn_id = turn_id_;
    request.withdraw = true;
    asked_[link_.send(request)] = "interrupt the turn";
    return;
  }
  for (const auto& prompt : waiting_) {
    protocol::PromptWithdraw request;
    request.session_id = session_->session_id;
    request.id = prompt.id;
    asked_[link_.send(request)] = "take the prompt back";
  }
}

void Conversation::answer(const std::string& item_id, const std::string& text) {
  if (!session_) return;
  protocol::QuestionReply reply;
  reply.session_id = session_->session_id;
  reply.item_id = item_id;
  reply.text = text;
  asked_[link_.send(reply)] = "answer the question";
}

void Conversation::answer(protocol::ApprovalReply reply) {
  if (!session_) return;
  reply.session_id = session_->session_id;
  asked_[link_.send(reply)] = "answer the call that asks";
}

void Conversation::answered(const Happening& h) {
  if (!h.message.id || !h.message.id->is_number_integer()) return;
  const auto id = h.message.id->get<std::int64_t>();
  if (const auto asked = asked_.extract(id); asked && h.message.error) {
    events_.failed(Error{asked.mapped() + ": " + h.message.error->message, Error::Kind::refused});
  }
  const auto prompt = unanswered_.extract(id);
  if (!prompt || !h.message.error) return;
  const protocol::Error& error = *h.message.error;
  events_.failed(Error{error.hint.empty() ? error.message : error.message + "; " + error.hint,
                       Error::Kind::refused});
  events_.not_sent(prompt.mapped().content);
}

void Conversation::notified(const Happening& h) {
  if (!session_) return;
  const auto& params = h.message.params;
  if (const auto of = params.find("sessionId"); of == params.end() || *of != session_->session_id)
    return;
  if (const auto seq = params.find("seq"); seq != params.end() && seq->is_number_integer()) {
    last_seq_ = session_->last_seq = std::max(last_seq_, seq->get<std::int64_t>());
    reconnects_ = 0;
  }
  const std::string& m = h.message.method;
  if (m == protocol::TurnStarted::kNotification) {
    if (const auto x = protocol::from_json<protocol::TurnStarted>(params))
      turn_id_ = x->turn_id, no_longer_waits(x->prompt_id);
  } else if (m == protocol::TurnEnded::kNotification) {
    const auto x = protocol::from_json<protocol::TurnEnded>(params);
    if (x && x->turn_id == turn_id_) turn_id_ = 0;
    if (x) session_->context_tokens = x->usage.context;
  } else if (m == protocol::SessionUpdated::kNotification) {
    const auto x = protocol::from_json<protocol::SessionUpdated>(params);
    if (x && !x->policy.empty()) session_->settings.policy = x->policy;
  } else if (m == protocol::PromptAccepted::kNotification) {
    const auto x = protocol::from_json<protocol::PromptAccepted>(params);
    if (!x) return;
    waiting_.push_back(*x);
    // Its answer says no more
    std::erase_if(unanswered_, [&](const auto& u) { return u.second.id == x->id; });
  } else if (m == protocol::PromptWithdrawn::kNotification) {
    const auto x = protocol::from_json<protocol::PromptWithdrawn>(params);
    const auto at = x ? std::ranges::find(waiting_, x->id, &protocol::PromptAccepted::id)
                      : waiting_.end();
    if (at == waiting_.end()) return;
    const auto prompt = std::move(*at);
    waiting_.erase(at);
    events_.taken_back(prompt);
  } else if (m == protocol::ItemCompleted::kNotification) {
    const auto x = protocol::from_json<protocol::ItemCompleted>(params);
    if (x && x->item.kind == "user") no_longer_waits(x->item.prompt_id);
  }
}

void Conversation::no_longer_waits(const std::string& prompt_id) {
  std::erase_if(waiting_, [&](const auto& prompt) { return prompt.id == prompt_id; });
}

Result<> Conversation::find_again() {
  started_ = false;
  if (auto there = cli::rejoin(link_, daemon_); !there)
    return tl::unexpected(std::move(there.error()));
  return {};
}

void Conversation::rejoin() {
  if (link_.connected()) return;
  if (find_again() && session_)
    (void)subscribe(last_seq_);  // whatever needs it says that it failed
}

void Conversation::give_back() {
  for (const auto& [id, prompt] : std::exchange(unanswered_, {})) events_.not_sent(prompt.content);
}

// A daemon that somebody ended stays ended while nobody waits for anything of it.
void Conversation::lost() {
  const bool waits = busy();
  asked_.clear();
  turn_id_ = 0;
  if (++reconnects_ > kReconnectsMax) {
    events_.failed(Error{"the daemon ended " + std::to_string(kReconnectsMax) +
                         " times in a row; see its log in " + daemon_.state_dir +
                         ". The next prompt tries again"});
    reconnects_ = 0;
    give_back();
    return;
  }
  auto again = waits ? reach() : find_again();
  if (again && session_) again = subscribe(last_seq_);
  if (!again && again.error().kind == Error::Kind::disconnected)
    return;  // lost once more: that comes as a happening of its own
  if (!again && !waits && again.error().kind == Error::Kind::absent) {
    reconnects_ = 0;
    return events_.ended();
  }
  if (!again) {
    events_.failed(again.error());
    give_back();
    return;
  }
  events_.reconnected(started_ ? "the daemon had ended and was started again; the session goes on"
                               : "lost the daemon for a moment; reconnected");
  for (const auto& [id, prompt] : std::exchange(unanswered_, {})) send(prompt);
}

}  // namespace lares::cli
