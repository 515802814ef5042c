#include "mcp/server/client.h"

#include <array>
#include <chrono>
#include <random>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include "mcp/server/rpc.h"
#include "mcp/server/sealed.h"

namespace lares::mcp::server {
namespace {

std::int64_t now_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string_view capability_of(std::string_view method) {
  return method == "elicitation/create"       ? "elicitation"
         : method == "sampling/createMessage" ? "sampling"
                                              : "roots";
}

// Its form, not what it says: that is the provider's to judge.
bool is_answer_to(std::string_view method, const Json& answer) {
  if (!answer.is_object()) return false;
  if (method == "roots/list") return member(answer, "roots").is_array();
  if (method == "sampling/createMessage") return member(answer, "content").is_structured();
  const Json& action = member(answer, "action");
  return action == "decline" || action == "cancel" ||
         (action == "accept" && (!answer.contains("content") || answer["content"].is_object()));
}

const Json& object_or_none(const Json& value) {
  static const Json kNone = Json::object();
  return value.is_object() ? value : kNone;
}

// What goes back with every progress: nothing else is one.
Json token_of(const Json& value) {
  return value.is_string() || value.is_number_integer() ? value : Json();
}

}  // namespace

void ClientSays::declare(const Json& capabilities) {
  const Json &elicits = member(capabilities, "elicitation"),
             &samples = member(capabilities, "sampling");
  // Of elicitation there are two kinds; the older one, which we use, is meant where none is named.
  can_elicit = elicits.is_object() && (elicits.empty() || elicits.contains("form"));
  can_sample = samples.is_object();
  can_sample_with_tools = member(samples, "tools").is_object();
  has_roots = member(capabilities, "roots").is_object();
}

int log_level(std::string_view name) {
  constexpr std::array<std::string_view, 8> kLevels = {"debug", "info",     "notice", "warning",
                                                       "error", "critical", "alert",  "emergency"};
  for (std::size_t i = 0; i < kLevels.size(); ++i) {
    if (kLevels[i] == name) return static_cast<int>(i);
  }
  return -1;
}

const Json& Asked::result() const {
  static const Json kNothing = nullptr;
  return said ? *said : kNothing;
}

// ---- questions

Questions::Questions() : prefix_(fmt::format("lares-{:08x}", std::random_device{}())) {}

std::shared_ptr<Waiting> Questions::open(const asio::any_io_executor& io, std::string key,
                                         std::string& id) {
  id = fmt::format("{}-{}", prefix_, ++n_);
  return open_[id] = std::make_shared<Waiting>(io, std::move(key));
}

void Questions::answer(const JsonRef& message) {
  const auto found = open_.find(string_member(*message, "id"));
  if (found == open_.end()) return;  // too late, or never asked
  const bool refused = message->contains("error");
  found->second->settle({refused ? Asked::failed : Asked::answered,
                         JsonRef(message, &(*message)[refused ? "error" : "result"])});
}

void Questions::close_all() {
  closed_ = true;
  for (const auto& [id, waiting] : open_) waiting->settle({Asked::gone});
}

// ---- requests

Request::Request(asio::any_io_executor io, Questions& questions, JsonRef message, bool modern,
                 ClientSays client, std::string root, std::shared_ptr<Outlet> out)
    : io_(io),
      questions_(&questions),
      message_(std::move(message)),
      id_(id_of(*message_)),
      method_(string_member(*message_, "method")),
      params_(object_or_none(member(*message_, "params"))),
      modern_(modern),
      client_(std::move(client)),
      root_(std::move(root)),
      out_(std::move(out)),
      token_(token_of(member(member(params_, "_meta"), "progressToken"))) {}

bool Request::can_be_asked(std::string_view capability) const {
  return capability == "elicitation" ? client_.can_elicit
         : capability == "sampling"  ? client_.can_sample
                                     : capability == "roots" && client_.has_roots;
}

void Request::say(std::string text) {
  if (out_) out_->send(std::move(text));
}

void Request::progress(double done, double total, const std::string& message) {
  if (!wants_progress() || done <= progress_) return;
  progress_ = done;
  Json params = {{"progressToken", token_}, {"progress", done}};
  if (total > 0) params["total"] = total;
  if (!message.empty()) params["message"] = message;
  say(notification_text("notifications/progress", std::move(params)));
}

void Request::log(std::string_view level, const Json& data) {
  if (log_level(level) < client_.log_level) return;
  say(notification_text("notifications/message",
                        {{"level", level}, {"logger", "lares"}, {"data", data}}));
}

void Request::let_go() {
  if (out_) out_->let_go();
}

asio::awaitable<Asked> Request::ask(std::string key, std::string method, Json params) {
  Asked asked;
  if (stop_.stop_requested() || !out_ || questions_->closed()) co_return asked;
  if (!can_be_asked(capability_of(method)) ||
      (params.contains("tools") && !client_.can_sample_with_tools)) {
    asked.how = Asked::impossible;
    co_return asked;
  }
  if (modern_) {
    const Json* const answer = responses_ ? &member(*responses_, key) : nullptr;
    if (answer && is_answer_to(method, *answer)) {
      asked.how = Asked::answered, asked.said = JsonRef(message_, answer);
      co_return asked;
    }
    asked.how = pending_.size() < kAsksMax ? Asked::pending : Asked::impossible;
    if (asked.how == Asked::pending)
      pending_[key] = {{"method", std::move(method)}, {"params", std::move(params)}};
    co_return asked;
  }
  if (waiting_.size() >= kAsksMax) {
    asked.how = Asked::impossible;
    co_return asked;
  }
  std::string id;
  const auto waiting = questions_->open(io_, std::move(key), id);
  waiting_[id] = waiting;
  out_->send(request_text(id, method, std::move(params)));
  while (!waiting->over) {
    waiting->wake.expires_at(asio::steady_timer::time_point::max());
    co_await waiting->wake.async_wait(asio::as_tuple(asio::use_awaitable));
  }
  waiting_.erase(id);
  if (questions_) questions_->close(id);
  asked = waiting->asked;
  if (asked.how == Asked::answered && !is_answer_to(method, asked.result()))
    asked.how = Asked::failed;
  co_return asked;
}

void Request::take_back(const std::string& id, Waiting& waiting, Asked::How how) {
  if (waiting.over) return;
  say(notification_text(
      "notifications/cancelled",
      {{"requestId", id},
       {"reason", how == Asked::withdrawn ? "answered elsewhere" : "its request was cancelled"}}));
  waiting.settle({how});
}

void Request::withdraw(const std::string& key) {
  pending_.erase(key);
  for (const auto& [id, waiting] : waiting_) {
    if (waiting->key == key) take_back(id, *waiting, Asked::withdrawn);
  }
}

std::optional<Refusal> Request::open_state(const std::string& key, const std::string& digest) {
  if (params_.contains("inputResponses")) {
    if (!params_["inputResponses"].is_object())
      return Refusal{kInvalidParams,
                     "inputResponses must be an object of answers by their questions' keys"};
    responses_ = &params_["inputResponses"];
  }
  if (!carries_state()) return std::nullopt;
  const std::string sealed = string_member(params_, "requestState");
  auto state = sealed.size() <= 2 * kStateBytesMax ? unseal(key, digest, sealed, now_seconds())
                                                   : std::nullopt;
  if (!state)
    return Refusal{kInvalidParams,
                   "requestState is not what this daemon gave out for this request, or is too old; "
                   "make the request anew, without it"};
  kept_ = std::move(*state);
  return std::nullopt;
}

void Request::finish(Answer<> answer, const std::string& key, const std::string& digest) {
  const auto out = std::exchange(out_, nullptr);
  questions_ = nullptr;
  if (!out) return;
  if (!pending_.empty()) {
    Json result = {{"resultType", "input_required"}, {"inputRequests", pending_}};
    if (keeps_state()) {
      if (text_of(keep_).size() > kStateBytesMax)
        return out->finish(
            error_text(id_, {kInternal, "what this request has to remember is too long"}), 200);
      result["requestState"] = seal(key, digest, keep_, now_seconds() + kStateSecondsMax);
    }
    return out->finish(result_text(id_, std::move(result)), 200);
  }
  if (!answer)
    return out->finish(error_text(id_, answer.error()),
                       modern_ ? http_status(answer.error()) : 200);
  if (modern_ && !answer->contains("resultType")) (*answer)["resultType"] = "complete";
  out->finish(result_text(id_, std::move(*answer)), 200);
}

void Request::end(bool cancelled) {
  if (stop_.stop_requested()) return;
  cancelled_ = cancelled;
  // Whoever cancels a request has its questions open still
  for (const auto& [id, waiting] : waiting_) {
    if (cancelled)
      take_back(id, *waiting, Asked::gone);
    else
      waiting->settle({Asked::gone});
  }
  const auto out = std::exchange(out_, nullptr);
  stop_.request_stop();
  if (out) out->finish("", 0);
}

}  // namespace lares::mcp::server
