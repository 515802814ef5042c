#include "daemon/turn/items.h"

#include <algorithm>
#include <utility>
#include <variant>

#include <fmt/format.h>

namespace lares::daemon {

using protocol::Item;

void TurnItems::begin_answer() {
  calls_.clear();
  open_ = nullptr;
  said_anything_ = false;
  said_.clear();
  drawn_ = drawn_before_ = {};
}

TurnItems::Call& TurnItems::begin_call(const std::string& name) {
  close();
  calls_.push_back({make({.kind = "tool", .name = name, .state = "writing"})});
  events_.item_started(calls_.back().item);
  return calls_.back();
}

void TurnItems::hear(engine::Event event, Drawn drawn) {
  using namespace engine;
  if (drawn.all != drawn_.all) drawn_before_ = std::exchange(drawn_, drawn);
  if (open_) open_->tokens = n_of(*open_, drawn);  // what ends it may have come alone
  if (auto* d = std::get_if<ReasoningDelta>(&event)) return text("think", d->text);
  if (auto* d = std::get_if<ContentDelta>(&event)) {
    said_anything_ = said_anything_ || d->text.find_first_not_of(" \t\r\n") != std::string::npos;
    said_ += d->text;
    return text("text", d->text);
  }
  said_anything_ = true;
  if (auto* begin = std::get_if<CallBegin>(&event)) {
    begin_call(begin->name);
  } else if (auto* d = std::get_if<ArgumentsDelta>(&event)) {
    Item& item = calls_.at(static_cast<std::size_t>(d->index)).item;
    item.arguments += d->json;
    events_.item_delta(item.id, "arguments", d->json, drawn.all);
  } else if (auto* done = std::get_if<CallEnd>(&event)) {
    calls_.at(static_cast<std::size_t>(done->index)).item.arguments = done->arguments;
  } else if (auto* no = std::get_if<CallRejected>(&event)) {
    while (calls_.size() <= static_cast<std::size_t>(no->index))
      begin_call(no->name);  // it may be rejected before it has a name
    Call& call = calls_[static_cast<std::size_t>(no->index)];
    call.rejected = true;
    call.item.state = "rejected", call.item.output = no->why;
    events_.item_completed(call.item);
  }
}

std::int64_t TurnItems::n_of(const Item& item, Drawn drawn) const {
  const std::int64_t thinking = drawn.thinking - opened_at_.thinking;
  const std::int64_t n = item.kind == "think" ? thinking : drawn.all - opened_at_.all - thinking;
  return std::max<std::int64_t>(1, n);
}

void TurnItems::text(const char* kind, const std::string& piece) {
  if (piece.empty()) return;
  if (!open_ || open_->kind != kind) {
    close();
    open_ = std::make_unique<Item>(make({.kind = kind}));
    opened_at_ = drawn_before_;
    events_.item_started(*open_);
  }
  open_->text += piece;
  open_->tokens = n_of(*open_, drawn_);
  events_.item_delta(open_->id, "text", piece, drawn_.all);
}

void TurnItems::close() {
  if (!open_) return;
  events_.item_completed(*open_);
  open_ = nullptr;
}

void TurnItems::said_before(const std::string& text) {
  said_.insert(0, text);
  said_anything_ = said_anything_ || text.find_first_not_of(" \t\r\n") != std::string::npos;
}

void TurnItems::drop_calls(const std::string& why) {
  for (Call& call : calls_) {
    if (call.rejected) continue;
    call.item.state = "rejected", call.item.output = why;
    events_.item_completed(call.item);
  }
  calls_.clear();
}

Item TurnItems::make(Item item) {
  item.id = fmt::format("{}.{}", turn_id_, ++n_items_);
  item.turn_id = turn_id_;
  return item;
}

}  // namespace lares::daemon
