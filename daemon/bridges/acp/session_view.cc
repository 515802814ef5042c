#include "daemon/bridges/acp/session_view.h"

#include <ctime>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "daemon/bridges/acp/tool_view.h"
#include "daemon/bridges/acp/unsaved.h"
#include "daemon/shown/text.h"
#include "tools/characters.h"

namespace lares::cli::acp {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::string_view kPlan = "plan";

template <class T, class F>
void on(const protocol::Message& message, F f) {
  if (message.method != T::kNotification) return;
  if (const auto typed = protocol::from_json<T>(message.params))
    f(*typed);  // one that makes no sense is as good as an unknown one
}

Json chunk(const char* kind, std::string_view text, const std::string& id) {
  const Json block = {{"type", "text"}, {"text", text}};
  Json out = {{"sessionUpdate", kind}, {"content", block}};
  if (!id.empty()) out["messageId"] = id;
  return out;
}

// From a place where no character is cut.
std::string_view tail(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  text.remove_prefix(text.size() - bytes_max);
  const std::size_t line = text.find('\n');
  if (line != std::string_view::npos) return text.substr(line + 1);
  return text.substr(tools::utf8_ceiling(text, 0));
}

}  // namespace

std::string iso_time(std::int64_t unix_ms) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}",
                     fmt::gmtime(static_cast<std::time_t>(unix_ms / 1000)));
}

void SessionView::replay(const protocol::Message& message) {
  past_ = true;
  show(message);
  past_ = false;
}

void SessionView::show(const protocol::Message& message) {
  on<protocol::ItemDelta>(message, [&](const auto& x) { delta(x); });
  on<protocol::ItemStarted>(message, [&](const auto& x) { started(x.item); });
  on<protocol::ItemSnapshot>(message, [&](const auto& x) { snapshot(x.item); });
  on<protocol::ItemUpdated>(message, [&](const auto& x) { snapshot(x.item); });
  on<protocol::ItemCompleted>(message, [&](const auto& x) { completed(x.item); });
  on<protocol::TurnStep>(message, [&](const auto& x) { step(x); });
  on<protocol::TurnPrefill>(message, [&](const auto& x) { prefill(x); });
  on<protocol::TurnEnded>(
      message, [&](const auto&) { items_.clear(), told_step_ = 0, told_loading_ = false; });
  on<protocol::SessionState>(message, [&](const auto& x) {
    if (x.state == "loading" && !std::exchange(told_loading_, true))
      notice("info", "The model is being loaded; the turn begins when it is there.");
  });
  on<protocol::SessionUpdated>(message, [&](const auto& x) {
    if (!x.title.empty())
      events_.update({{"sessionUpdate", "session_info_update"},
                      {"title", x.title},
                      {"updatedAt", iso_time(x.at.t)}});
  });
}

void SessionView::notice(const char* severity, const std::string& title) {
  if (notices_ && past_) return;  // notices are live, not history
  if (notices_)
    events_.update({{"sessionUpdate", "notice"}, {"severity", severity}, {"title", title}});
  else
    events_.update(chunk("agent_thought_chunk", title + "\n", ""));
}

void SessionView::text(Seen& seen, const std::string& id, std::string_view fresh) {
  if (fresh.empty()) return;
  seen.text_bytes += fresh.size();
  events_.update(
      chunk(seen.kind == "think" ? "agent_thought_chunk" : "agent_message_chunk", fresh, id));
}

void SessionView::started(const protocol::Item& item) {
  Seen& seen = items_[item.id];
  if (!item.kind.empty()) seen.kind = item.kind;
  if (!item.name.empty()) seen.name = item.name;
  if (seen.kind != "tool" || seen.name == kPlan || seen.announced) return;
  seen.announced = true;
  const Json none = Json::object();
  events_.update({{"sessionUpdate", "tool_call"},
                  {"toolCallId", item.id},
                  {"title", seen.name},
                  {"name", seen.name},
                  {"kind", kind_of(seen.name, none)},
                  {"status", "pending"}});
}

void SessionView::delta(const protocol::ItemDelta& delta) {
  const auto it = items_.find(delta.item_id);
  if (it == items_.end() || it->second.completed)
    return;  // its start was lost: a snapshot or the whole item shows it
  Seen& seen = it->second;
  if (delta.field == "text" && (seen.kind == "think" || seen.kind == "text")) {
    const auto off = static_cast<std::size_t>(delta.off);
    if (off > seen.text_bytes || seen.text_bytes - off >= delta.text.size()) return;
    text(seen, delta.item_id, std::string_view(delta.text).substr(seen.text_bytes - off));
  } else if (delta.field == "output") {
    seen.output += delta.text;
    if (seen.output.size() > 2 * kLiveOutputBytesMax)
      seen.output = tail(seen.output, kLiveOutputBytesMax);
    if (Clock::now() - seen.shown_at < kLiveOutputEvery) return;
    seen.shown_at = Clock::now();
    const Json block = {{"type", "text"}, {"text", fenced(tail(seen.output, kLiveOutputBytesMax))}};
    Json content = Json::array();
    content.push_back({{"type", "content"}, {"content", block}});
    events_.update({{"sessionUpdate", "tool_call_update"},
                    {"toolCallId", delta.item_id},
                    {"content", std::move(content)}});
  }
}

void SessionView::call(Seen& seen, const protocol::Item& item, Json fields) {
  Json update = {
      {"sessionUpdate", std::exchange(seen.announced, true) ? "tool_call_update" : "tool_call"},
      {"toolCallId", item.id}};
  update.update(fields);
  events_.update(std::move(update));
}

void SessionView::snapshot(const protocol::Item& item) {
  if (item.kind != "tool" || item.state == "writing") started(item);
  Seen& seen = items_[item.id];
  seen.kind = item.kind, seen.name = item.name;
  if (seen.completed) return;
  if (seen.kind == "think" || seen.kind == "text") {
    if (item.text.size() > seen.text_bytes)
      text(seen, item.id, std::string_view(item.text).substr(seen.text_bytes));
    return;
  }
  if (seen.kind != "tool" || item.state == "writing") return;
  if (seen.name == kPlan) return;
  const bool runs = item.state == "running" || item.state == "waiting";
  Json fields = std::exchange(seen.called, true) ? Json::object() : call_fields(item, root_);
  fields["status"] = runs ? "in_progress" : "pending";
  call(seen, item, std::move(fields));
}

void SessionView::completed(const protocol::Item& item) {
  Seen& seen = items_[item.id];
  seen.kind = item.kind, seen.name = item.name;
  if (std::exchange(seen.completed, true)) return;
  if (item.kind == "think" || item.kind == "text") {
    if (item.text.size() > seen.text_bytes)
      text(seen, item.id, std::string_view(item.text).substr(seen.text_bytes));
  } else if (item.kind == "user") {
    if (past_ || !events_.ours(item.prompt_id))
      events_.update(chunk("user_message_chunk", without_unsaved(item.text), item.id));
  } else if (item.kind == "note") {
    notice("info", item.text);
  } else if (item.kind == "error") {
    if (notices_)
      notice("error", item.text);
    else
      events_.update(chunk("agent_message_chunk", item.text + "\n", item.id));
  } else if (item.kind == "tool" && item.name == kPlan) {
    if (Json entries = plan_entries(item.arguments); item.state == "done" && !entries.empty())
      events_.update({{"sessionUpdate", "plan"}, {"entries", std::move(entries)}});
  } else if (item.kind == "tool") {
    Json fields = seen.called ? Json::object() : call_fields(item, root_);
    fields.update(result_fields(item, root_));
    call(seen, item, std::move(fields));
  }
}

void SessionView::step(const protocol::TurnStep& step) {
  if (step.usage.context_max <= 0) return;
  events_.update({{"sessionUpdate", "usage_update"},
                  {"used", step.usage.context},
                  {"size", step.usage.context_max}});
}

// A cold repository is read once, and that takes a while: where people can be told in passing, four
// times; else once.
void SessionView::prefill(const protocol::TurnPrefill& prefill) {
  if (prefill.total < kPrefillTold || prefill.done >= prefill.total) return;
  const std::int64_t quarters = 4 * prefill.done / prefill.total;
  if (prefill.step == told_step_ && (!notices_ || quarters <= told_quarters_)) return;
  told_step_ = prefill.step, told_quarters_ = quarters;
  notice("info",
         fmt::format("Reading: {} of {} tokens", rough(prefill.done), rough(prefill.total)));
}

}  // namespace lares::cli::acp
