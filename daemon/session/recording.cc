#include "daemon/session/recording.h"

#include <algorithm>
#include <iterator>
#include <type_traits>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "daemon/protocol/redrawn.h"
#include "daemon/protocol/turn_reasons.h"
#include "daemon/session/facts.h"
#include "daemon/session/session_settings.h"
#include "daemon/turn/prompt.h"
#include "daemon/utf8.h"
#include "engine/chat.h"

namespace lares::daemon {

using protocol::Json;

template <class T>
bool Recording::take(const std::string& method, const Json& params, const std::string& as_read) {
  if (method != T::kNotification) return false;
  const auto typed = protocol::from_json<T>(params);
  if (!typed) {
    wrong_ = fmt::format("{}: {}", method, typed.error());
    return true;
  }
  ++n_facts_;
  if (first_unlike_ == 0 && protocol::dump(protocol::to_json(*typed)) != as_read)
    first_unlike_ = typed->at.seq;
  if constexpr (requires { apply(*typed); }) apply(*typed);
  return true;
}

void Recording::apply(const protocol::SessionCreated& x) {
  info_ = x.session, policy_ = x.session.settings.policy;
}

void Recording::apply(const protocol::SessionUpdated& x) {
  if (!x.policy.empty()) policy_ = x.policy;
}

void Recording::apply(const protocol::SessionRewound& x) {
  turn_log_.cut(x.turn_id, transcript_, {});
}

void Recording::apply(const protocol::SessionUnrewound&) { turn_log_.uncut(transcript_); }

void Recording::apply(const protocol::PromptAccepted& x) { modes_[x.id] = x.mode; }

void Recording::apply(const protocol::TurnStarted& x) {
  turn_log_.begin(x.turn_id, transcript_);
  step_.turn_id = x.turn_id, step_.policy = policy_;  // what changes meanwhile holds from the next
                                                      // turn on
  drawn_ = {};
  const auto mode = modes_.find(x.prompt_id);
  step_.mode = mode == modes_.end() || mode->second.empty() ? info_.settings.mode : mode->second;
  n_redrawn_ = 0;
  items_.clear();
}

void Recording::apply(const protocol::TurnEnded& x) {
  turn_ended_ = x.reason == protocol::reason::kEndTurn;
}

std::vector<Piece> Recording::told() const {
  std::vector<Piece> out;
  for (const auto& [number, piece] : items_) out.push_back(piece);
  return out;
}

void Recording::apply(const protocol::ItemCompleted& x) {
  if (x.item.kind == "note" && tells_of_redrawing(x.item.text)) ++n_redrawn_, appended_ = false;
  const std::int64_t number = item_number(x.item);
  if (number == 0) return;
  if (x.item.kind == "think" || x.item.kind == "text") items_[number] = {x.item.kind, x.item.text};
  if (x.item.kind == "tool") items_[number] = {x.item.name, x.item.arguments};
}

void Recording::apply(const protocol::TurnStep& x) {
  step_.step = x.step;
  step_.n_prompt = std::min(n_before_, transcript_.ids.size());  // a file may say anything
  step_.n_answer = transcript_.ids.size() - step_.n_prompt;
  step_.n_redrawn = std::exchange(n_redrawn_, 0);
  step_.drawn = std::exchange(drawn_, {});
  step_.broken_off = x.reason != protocol::reason::kEnd && x.reason != protocol::reason::kCalls;
  // Else nothing was sampled, or nothing that was kept, and what was appended last is a prompt.
  complete_ = x.usage.generated > 0 && appended_ && step_.n_prompt > 0 && step_.n_answer > 0;
}

bool Recording::heard(const Json& frame) {
  const std::string method = frame["method"].get<std::string>();
  const Json& params = frame["params"];
  complete_ = turn_ended_ = false;
  if (method == kDrawn) {
    const auto number = [&](const char* key) {
      return params.contains(key) && params[key].is_number_integer()
                 ? std::optional(params[key].get<std::int64_t>())
                 : std::nullopt;
    };
    const auto avoid = number("avoid");
    drawn_ = {drawn_parts(params), number("kept"),
              avoid ? std::optional(static_cast<engine::Token>(*avoid)) : std::nullopt,
              params.value("withoutTools", false), number("thinkTokensMax")};
    return false;
  }
  if (method == kAppended || method == kShortened) {
    if (method == kShortened) {
      Transcript anew{.vocabulary = transcript_.vocabulary};
      turn_log_.shortened(std::exchange(transcript_, std::move(anew)));
    }
    if (auto written_with = vocabulary_at(params); !written_with.empty())
      transcript_.vocabulary = std::move(written_with);
    n_before_ = transcript_.ids.size(), appended_ = true;
    if (const auto ids = params.find("ids"); ids != params.end() && ids->is_array())
      for (const auto& id : *ids)
        transcript_.ids.push_back(id.is_number_integer() ? id.get<engine::Token>() : -1);
    return false;
  }
  if (method == kSettings) {
    if (auto settings = protocol::from_json<protocol::SessionSettings>(params))
      info_.settings = std::move(*settings);
    return false;
  }
  if (method.starts_with("lares/")) return false;
  using namespace protocol;
  const std::string as_read = dump(params);
  const auto any = [&]<class... T>(std::type_identity<T>...) {
    return (take<T>(method, params, as_read) || ...);
  };
  using std::type_identity;
  any(type_identity<SessionCreated>{}, type_identity<SessionUpdated>{},
      type_identity<SessionRewound>{}, type_identity<SessionUnrewound>{},
      type_identity<SessionClosed>{}, type_identity<PromptAccepted>{},
      type_identity<PromptWithdrawn>{}, type_identity<TurnStarted>{}, type_identity<TurnStep>{},
      type_identity<TurnEnded>{}, type_identity<ItemUpdated>{}, type_identity<ItemCompleted>{},
      type_identity<ApprovalResolved>{});  // one that a later version writes is not ours to judge
  return complete_;
}

std::vector<DrawnPart> Recording::drawn_parts(const Json& params) {
  std::vector<DrawnPart> out;
  const auto parts = params.find("parts");
  if (parts == params.end() || !parts->is_array()) return out;
  for (const auto& part : *parts)
    if (part.is_array() && part.size() == 2 && part[0].is_number_integer() &&
        part[1].is_number_integer())
      out.push_back({part[0].get<std::int64_t>(), part[1].get<int>()});
  return out;
}

const RecordedStep* Recording::feed(std::string_view payload) {
  const Json frame = Json::parse(payload, nullptr, /*allow_exceptions=*/false);
  if (!frame.is_object() || !frame.contains("method") || !frame["method"].is_string() ||
      !frame.contains("params")) {
    wrong_ = "it is no frame";
    return nullptr;
  }
  return heard(frame) ? &step_ : nullptr;
}

std::vector<engine::Event> events_of(std::string_view answer) {
  engine::StreamParser parser({.thinking = true, .tools = catalogue(), .held_to_grammar = true});
  std::vector<engine::Event> events;
  const auto add = [&events](std::vector<engine::Event> more) {
    std::move(more.begin(), more.end(), std::back_inserter(events));
  };
  const std::size_t thought = answer.find(engine::kThinkEnd);
  add(parser.feed(valid_utf8(answer.substr(0, thought))));
  if (thought != std::string_view::npos) {
    add(parser.end_thinking());
    add(parser.feed(valid_utf8(answer.substr(thought + engine::kThinkEnd.size()))));
  }
  add(parser.finish());
  return events;
}

std::vector<Piece> pieces_of(std::string_view answer) {
  std::vector<Piece> out;
  const auto add = [&](const char* kind, const std::string& text) {
    if (text.empty()) return;
    if (out.empty() || out.back().kind != kind) out.push_back({kind, ""});
    out.back().text += text;
  };
  for (const auto& event : events_of(answer)) {
    if (const auto* d = std::get_if<engine::ReasoningDelta>(&event)) add("think", d->text);
    if (const auto* d = std::get_if<engine::ContentDelta>(&event)) add("text", d->text);
    if (const auto* d = std::get_if<engine::CallBegin>(&event)) out.push_back({d->name, ""});
    if (const auto* d = std::get_if<engine::CallEnd>(&event)) out.back().text = d->arguments;
    if (std::holds_alternative<engine::CallRejected>(event)) out.push_back({"", ""});
  }
  return out;
}

std::map<std::pair<std::int64_t, std::string>, std::string> snapshots_of_calls(
    const std::vector<std::string>& frames) {
  std::map<std::pair<std::int64_t, std::string>, std::string> out;
  for (const auto& payload : frames) {
    if (payload.find(R"("snapshot":")") == std::string::npos) continue;
    const Json frame = Json::parse(payload, nullptr, /*allow_exceptions=*/false);
    if (!frame.is_object() || frame.value("method", "") != protocol::ItemCompleted::kNotification)
      continue;
    const auto x = protocol::from_json<protocol::ItemCompleted>(frame["params"]);
    if (x) out.try_emplace({x->item.turn_id, x->item.arguments}, x->item.snapshot);
  }
  return out;
}

}  // namespace lares::daemon
