#include "daemon/mcp/turn_watch.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "daemon/shown/text.h"

namespace lares::daemon {
namespace {

constexpr int kCallColumnsMax = 100;
constexpr std::string_view kPrefill = "\"method\":\"turn/prefill\"";

std::string state_in_words(const std::string& state) {
  if (state == "loading") return "waits for the model to load";
  if (state == "queued") return "waits for the engine";
  if (state == "prefill") return "reads";
  if (state == "decode") return "thinks";
  if (state == "waiting") return "waits for an answer";
  if (state == "stopping") return "stops";
  return "";  // tool: the item says which
}

}  // namespace

std::string argument_of(const protocol::Item& item, const char* name) {
  const auto arguments = protocol::Json::parse(item.arguments, nullptr, /*allow_exceptions=*/false);
  if (!arguments.is_object() || !arguments.contains(name) || !arguments[name].is_string())
    return "";
  return arguments[name].get<std::string>();
}

std::string call_in_words(const protocol::Item& item) {
  std::string what = argument_of(item, "command");
  if (const std::string path = argument_of(item, "path"); !path.empty())
    what += (what.empty() ? "" : " ") + path;
  if (what.empty()) what = item.arguments == "{}" ? "" : item.arguments;
  what = shown::clip(shown::one_line(what), kCallColumnsMax, "…");
  return what.empty() ? item.name : item.name + ": " + what;
}

TurnWatch::TurnWatch(asio::any_io_executor io, std::shared_ptr<Session> session, bool answers)
    : session_(std::move(session)), answers_(answers), news_(io) {
  session_->subscribe(this);
}

void TurnWatch::follow(std::int64_t turn_id) {
  turn_id_ = turn_id;
  // One that ended before anybody watched is over too.
  ended_ = ended_turn_ >= turn_id || (session_->info().turn_id != turn_id &&
                                      session_->info().n_turns >= turn_id && turn_id != 0);
  if (ended_) news_.open();
  // It may have been told before anybody watched, and not change for long
  else
    say(state_in_words(session_->info().state));
}

asio::awaitable<void> TurnWatch::changed() {
  co_await news_.wait();
  news_.close();
}

void TurnWatch::say(std::string doing) {
  if (doing.empty() || doing == doing_) return;
  doing_ = std::move(doing);
  news_.open();
}

void TurnWatch::notify(const std::string&, const std::string& line, Weight weight) {
  if (weight == Weight::delta && line.find(kPrefill) == std::string::npos)
    return;  // of those that clients may lose only this one counts
  protocol::Id id;
  if (const auto message = protocol::parse_line(line, id)) seen(*message);
}

void TurnWatch::seen(const protocol::Message& message) {
  const std::string& what = message.method;
  const auto read = [&]<class T>(T) { return protocol::from_json<T>(message.params); };
  if (what == protocol::SessionState::kNotification) {
    if (const auto x = read(protocol::SessionState{})) say(state_in_words(x->state));
  } else if (what == protocol::TurnPrefill::kNotification) {
    if (const auto x = read(protocol::TurnPrefill{}); x && x->total > 0)
      say(fmt::format("reads, {} of {} tokens", x->done, x->total));
  } else if (what == protocol::TurnStep::kNotification) {
    if (const auto x = read(protocol::TurnStep{})) step_ = x->step, news_.open();
  } else if (what == protocol::ItemUpdated::kNotification ||
             what == protocol::ItemSnapshot::kNotification ||
             what == protocol::ItemCompleted::kNotification) {
    // The three have an item in the same place, and only that counts here.
    if (const auto x = read(protocol::ItemCompleted{})) item(x->item);
  } else if (what == protocol::ApprovalResolved::kNotification) {
    if (const auto x = read(protocol::ApprovalResolved{})) settled(x->item_id);
  } else if (what == protocol::TurnEnded::kNotification) {
    const auto x = read(protocol::TurnEnded{});
    if (!x) return;
    ended_turn_ = std::max(ended_turn_, x->turn_id);
    if (turn_id_ == 0 || x->turn_id < turn_id_) return;
    ended_ = true, news_.open();
    const bool shown = asking() != nullptr;
    asking_.clear();
    if (shown && on_settled_) on_settled_();
  }
}

void TurnWatch::answered(const std::string& item_id) {
  std::erase_if(asking_, [&](const protocol::Item& item) { return item.id == item_id; });
}

void TurnWatch::settled(const std::string& item_id) {
  const bool shown = asking() && asking()->id == item_id;
  answered(item_id);
  if (shown && on_settled_) on_settled_();
}

void TurnWatch::item(const protocol::Item& item) {
  if (item.kind != "tool" && item.kind != "note") return;
  if (item.state == "asking" || item.state == "waiting") {
    const auto known = std::ranges::find(asking_, item.id, &protocol::Item::id);
    if (known == asking_.end())
      asking_.push_back(item);
    else
      *known = item;
    news_.open();
    return;
  }
  settled(item.id);
  if (item.kind == "tool" && item.state == "running") say("runs " + call_in_words(item));
}

}  // namespace lares::daemon
