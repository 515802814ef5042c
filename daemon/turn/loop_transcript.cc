// What the model reads next, behind the transcript; or in its place, when the context is full.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "daemon/protocol/turn_reasons.h"
#include "daemon/turn/loop.h"
#include "daemon/turn/prefill.h"
#include "daemon/turn/prompt.h"
#include "daemon/turn/shorten.h"
#include "engine/chat.h"

namespace lares::daemon {
namespace {

constexpr std::size_t kMuchSaid = 16'384;  // bytes
constexpr std::string_view kDoWhatWasAsked = "Now do what was asked last.";
constexpr std::string_view kWait =
    "There is nothing to do yet: the user goes on with what follows.";

}  // namespace

std::int64_t TurnLoop::n_least() const {
  const std::string said = in_.said.whole();
  const auto bytes = static_cast<std::int64_t>(said.size());
  if (in_.n_repository + bytes + kClosingTokens < context_limit())
    return in_.n_repository + bytes;  // tokens are fewer
  return in_.n_repository +
         static_cast<std::int64_t>(engine_.tokenizer().encode(said, /*added=*/false).size());
}

bool TurnLoop::can_hold(std::int64_t n_prompt) {
  if (n_prompt + kClosingTokens < context_limit()) return true;
  end(protocol::reason::kError,
      fmt::format("read the prompt: {} tokens with the {} of the repository, and the "
                  "context has {}; say less, or put it into a file of the repository",
                  n_prompt, in_.n_repository, context_limit()));
  return false;
}

asio::awaitable<bool> TurnLoop::memory_holds(std::vector<engine::Token> prompt) {
  if (in_.said.text.size() < kMuchSaid) co_return true;
  auto asking = may_have_room(host_, timeline_, shared_, prompt);
  const engine::Result<> room = co_await std::move(asking);
  if (!room) end(protocol::reason::kError, "read the prompt: " + room.error().message);
  co_return room.has_value();
}

asio::awaitable<void> TurnLoop::go_on(std::vector<std::string> results,
                                      std::vector<std::string> said, bool with_task) {
  auto ids = behind_answer(results, said);
  const auto n_prompt = static_cast<std::int64_t>(transcript_.ids.size() + ids.size());
  if (in_.begin_anew && is_crowded(n_prompt, in_.n_repository, context_limit())) {
    Shortening how{
        .request = summary_request(),
        .note = fmt::format("{} of {} tokens are used: the conversation is summed up and begun "
                            "anew; the repository stays",
                            transcript_.ids.size(), context_limit()),
        .next = with_task ? std::string_view() : kGoOn};
    auto shortening = shorten(std::move(results), std::move(said), std::move(how));
    const Shortened done = co_await std::move(shortening);
    if (done == Shortened::anew) co_return;
    if (done == Shortened::no && !can_hold(n_prompt)) {
      leave_unread();
      co_return;
    }
    const std::string next(with_task ? kDoWhatWasAsked : kGoOn);
    if (!result_.reason.empty()) co_return;  // stopped: nothing is to be answered any more
    if (done == Shortened::asked) ids = behind_answer({}, {next});
  }
  if (with_task) {
    std::vector<engine::Token> whole = transcript_.ids;
    whole.insert(whole.end(), ids.begin(), ids.end());
    auto asking = memory_holds(std::move(whole));
    if (!co_await std::move(asking)) {
      leave_unread();
      co_return;
    }
  }
  append(ids);
}

std::vector<engine::Token> TurnLoop::behind_answer(const std::vector<std::string>& results,
                                                   const std::vector<std::string>& said) const {
  const engine::Tokenizer& tokenizer = engine_.tokenizer();
  std::vector<engine::Token> ids;
  const auto eos = tokenizer.added(engine::kEos), think_end = tokenizer.added(engine::kThinkEnd);
  if (eos && think_end && !transcript_.ids.empty() && transcript_.ids.back() != *eos)
    ids = {*think_end, *eos};
  const auto more = tokenizer.encode(continue_session(results, said));
  ids.insert(ids.end(), more.begin(), more.end());
  return ids;
}

asio::awaitable<TurnLoop::Shortened> TurnLoop::shorten(std::vector<std::string> results,
                                                       std::vector<std::string> said,
                                                       Shortening how) {
  std::vector<std::string> asked = said;
  asked.push_back(how.request);
  auto request = behind_answer(results, asked);
  const auto room_before = [&] {
    return context_limit() - summary_tokens_max(context_limit()) - kClosingTokens -
           static_cast<std::int64_t>(request.size());
  };
  std::int64_t room = room_before();
  const auto n_bytes = static_cast<std::size_t>(context_limit() / kBytesShare);
  if (room < static_cast<std::int64_t>(transcript_.ids.size()) && clip(results, n_bytes)) {
    request = behind_answer(results, asked);  // rather than of the conversation
    room = room_before();
  }
  if (room < static_cast<std::int64_t>(transcript_.ids.size())) {
    if (room <= in_.n_repository) co_return Shortened::no;
    drop_the_end(room);
    request = behind_answer(results, asked);
  }
  items_.complete({.kind = "note", .text = how.note});
  append(request);
  summing_up_ = true;
  ++total_.steps;
  usage_ = {.steps = 1};
  items_.begin_answer();
  auto answering = answer(0, /*last=*/true);
  const std::string reason = co_await std::move(answering);
  summing_up_ = false;
  finish_step(reason);
  if (reason == protocol::reason::kCancelled) end(reason, "");
  if ((reason != protocol::reason::kEnd && reason != protocol::reason::kMaxTokens) ||
      items_.said().empty())
    co_return Shortened::asked;
  std::string next;
  for (const auto& text : said) next += (next.empty() ? "" : "\n\n") + text;
  if (!how.next.empty()) next += (next.empty() ? "" : "\n\n") + std::string(how.next);
  auto beginning_anew = in_.begin_anew(items_.said(), std::move(next));
  const std::optional<Beginning> beginning = co_await std::move(beginning_anew);
  if (!beginning) co_return Shortened::asked;
  auto ids = tokens_of(*beginning);
  if (ids.size() >= how.n_below.value_or(transcript_.ids.size())) co_return Shortened::asked;
  begin_transcript(std::move(ids));
  if (beginning->shared_ids)
    in_.n_repository = static_cast<std::int64_t>(beginning->shared_ids->size());
  co_return Shortened::anew;
}

asio::awaitable<void> TurnLoop::sum_up() {
  const std::size_t n_before = transcript_.ids.size();
  std::vector<std::string> said = co_await what_happened();
  Shortening how{.request = summary_request(in_.said.text),
                 .note = fmt::format("the conversation of {} tokens is summed up and begun anew; "
                                     "the repository stays",
                                     n_before),
                 .next = kWait,
                 .n_below = n_before};
  auto shortening = shorten(transcript_.results, std::move(said), std::move(how));
  const Shortened done = co_await std::move(shortening);
  total_.context = static_cast<std::int64_t>(transcript_.ids.size());
  if (!result_.reason.empty()) co_return;
  if (done != Shortened::anew) {
    leave_unread();
    end(protocol::reason::kError,
        "sum the conversation up: no summary came that is shorter; it stays as it is");
    co_return;
  }
  items_.complete(
      {.kind = "note",
       .text = fmt::format("{} tokens are left of {}", transcript_.ids.size(), n_before)});
  end(protocol::reason::kEndTurn, "");
}

void TurnLoop::leave_unread() {
  if (!transcript_.results.empty()) append_ids({});
  tell_unread();
}

void TurnLoop::tell_unread() {
  if (!unread_.empty()) events_.unread(std::exchange(unread_, {}));
}

void TurnLoop::drop_the_end(std::int64_t n_ids) {
  std::vector<engine::Token> ids(transcript_.ids.begin(),
                                 transcript_.ids.begin() + std::max<std::int64_t>(0, n_ids - 1));
  if (const auto eos = engine_.tokenizer().added(engine::kEos)) ids.push_back(*eos);
  begin_transcript(std::move(ids));
}

void TurnLoop::begin_transcript(std::vector<engine::Token> ids) {
  Transcript before = std::exchange(transcript_, {ids, {}});
  unread_ = {};
  timeline_ = nullptr;  // another shares the repository's pages, at any place
  events_.shortened(std::move(before), ids);
}

std::vector<engine::Token> TurnLoop::tokens_of(const Beginning& beginning) const {
  std::vector<engine::Token> ids;
  if (beginning.shared_ids) ids = *beginning.shared_ids;
  const auto more = engine_.tokenizer().encode(beginning.segments);
  ids.insert(ids.end(), more.begin(), more.end());
  return ids;
}

void TurnLoop::append(const std::vector<engine::Token>& ids) {
  transcript_.results.clear();
  unread_ = {};
  append_ids(ids);
}

void TurnLoop::append_ids(const std::vector<engine::Token>& ids) {
  transcript_.ids.insert(transcript_.ids.end(), ids.begin(), ids.end());
  events_.appended(ids, transcript_.results);
}

}  // namespace lares::daemon
