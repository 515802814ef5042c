#include "daemon/dialects/parts.h"

#include <algorithm>
#include <utility>

#include "daemon/dialects/reader.h"
#include "daemon/dialects/sse.h"
#include "daemon/utf8.h"

namespace lares::daemon {
namespace {

template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};

}  // namespace

void Parts::add(const GenerationEvent& event) {
  const Overloaded each{
      [&](const ReasoningText& piece) { text(Part::Kind::reasoning, piece.text); },
      [&](const ContentText& piece) { text(Part::Kind::content, piece.text); },
      [&](const CallBegun& call) {
        open({.kind = Part::Kind::call, .call = call.index, .id = call.id, .name = call.name});
      },
      [&](const CallArguments& piece) {
        if (open_ && parts_.back().kind == Part::Kind::call && parts_.back().call == piece.index)
          extend(piece.json);
      },
      [&](const CallDone& call) { done(call); },
  };
  std::visit(each, event);
}

void Parts::text(Part::Kind kind, std::string_view piece) {
  if (piece.empty()) return;
  if (!open_ || parts_.back().kind != kind) open({.kind = kind});
  extend(piece);
}

void Parts::open(Part part) {
  close(/*whole=*/true);
  part.index = parts_.size();
  parts_.push_back(std::move(part));
  open_ = true;
  opened(parts_.back());
}

void Parts::extend(std::string_view piece) {
  held_ += piece;
  std::string bytes = std::exchange(held_, {});
  const std::size_t n = bytes.size() - incomplete_tail(bytes);
  held_ = bytes.substr(n);
  bytes.resize(n);
  if (bytes.empty()) return;
  const std::string text = valid_utf8(bytes);
  parts_.back().text += text;
  extended(parts_.back(), text);
}

void Parts::flush() {
  if (held_.empty()) return;
  const std::string text = valid_utf8(std::exchange(held_, {}));
  parts_.back().text += text;
  extended(parts_.back(), text);
}

void Parts::done(const CallDone& call) {
  const auto same = [&](const Part& part) {
    return part.kind == Part::Kind::call && part.call == call.index;
  };
  if (!open_ || !same(parts_.back())) {
    if (std::any_of(parts_.begin(), parts_.end(), same))
      return;  // closed already: nothing of it can be told any more
    open({.kind = Part::Kind::call, .call = call.index, .id = call.id, .name = call.name});
  }
  // What was not told in pieces yet: all of it, where the pieces were left out.
  const std::string told = parts_.back().text + held_;
  if (std::string_view(call.arguments).starts_with(told))
    extend(std::string_view(call.arguments).substr(told.size()));
  flush();
  parts_.back().text = valid_utf8(call.arguments);
  parts_.back().whole = true;
  close(/*whole=*/true);
}

void Parts::close(bool whole) {
  if (!open_) return;
  Part& part = parts_.back();
  flush();
  if (part.kind != Part::Kind::call) part.whole = whole;  // a call is whole by its CallDone alone
  open_ = false;
  closed(part);
}

std::string DialectAnswer::take() { return std::exchange(out_, {}); }

Exchange::KeepAlive DialectAnswer::keep_alive() const {
  return [] { return std::string(kSseKeepAlive); };
}

asio::awaitable<void> stream_answer(Exchange& exchange, Reader& reader, Generation& generation,
                                    DialectAnswer& answer, HttpReply head) {
  Exchange::KeepAlive keep_alive = answer.keep_alive();
  co_await exchange.begin(std::move(head), std::move(keep_alive));
  answer.begin(generation.prompt_tokens());
  for (bool ended = false; !ended;) {
    std::string said = answer.take();
    if (!said.empty()) co_await reader.write(std::move(said));
    const std::vector<GenerationEvent> events = co_await generation.next();
    for (const GenerationEvent& event : events) answer.add(event);
    ended = events.empty();
  }
  answer.end(generation.end());
  std::string last_words = answer.take();
  co_await reader.write(std::move(last_words));
  if (reader.there()) co_await exchange.end();
}

asio::awaitable<tl::expected<WireJson, WireError>> whole_answer(Exchange& exchange,
                                                                Generation& generation,
                                                                DialectAnswer& answer) {
  exchange.takes_long();
  while (true) {
    const std::vector<GenerationEvent> events = co_await generation.next();
    if (events.empty()) break;
    for (const GenerationEvent& event : events) answer.add(event);
    answer.take();  // of a whole answer nobody reads the stream
  }
  answer.end(generation.end());
  if (!is_answer(generation.end())) co_return tl::unexpected(error_of(generation.end()));
  co_return answer.whole(generation.end());
}

}  // namespace lares::daemon
