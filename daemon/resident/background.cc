#include "daemon/resident/background.h"

#include <algorithm>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>

#include "daemon/ended.h"
#include "engine/between_layers.h"
#include "engine/shrinker.h"

namespace lares::daemon {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kYield{20};  // before it looks again whether people wait
constexpr std::chrono::milliseconds kLookForRoom{200};

// When it goes, nobody goes on with `timeline` for now, if that is one.
class Spare {
 public:
  explicit Spare(const std::unique_ptr<engine::Timeline>& timeline) : timeline_(timeline) {}
  Spare(const Spare&) = delete;
  ~Spare() {
    if (auto* const rests = dynamic_cast<engine::Rests*>(timeline_.get()))
      rests->rest(engine::Rest::spare);
  }

 private:
  const std::unique_ptr<engine::Timeline>& timeline_;
};

// Whether it would evaluate more than it lacks, and all of that in one piece, which people would
// wait for. What the engine cannot tell is taken for no.
bool was_given_up(const engine::Timeline& timeline, std::span<const engine::Token> tokens,
                  const engine::Engine& engine) {
  const auto* const tells = dynamic_cast<const engine::DrawsBetweenLayers*>(&engine);
  return tells &&
         tells->left_of(timeline, tokens) > std::ssize(tokens) - std::ssize(timeline.tokens());
}

}  // namespace

void Background::work() {
  more_ = true;
  if (std::exchange(working_, true)) return;
  asio::co_spawn(
      io_, [self = shared_from_this()] { return self->run(); },
      logged(log_, "evaluating what is resident"));
}

void Background::scrub() {
  scrub_ = {.asked = true, .done = 0, .found = {}, .pass = scrub_.pass + 1};
  work();
}

asio::awaitable<void> Background::run() {
  try {
    while (std::exchange(more_, false)) {
      if (!host_.engine() || host_.engine()->prefix_format().page_tokens == 0) break;
      if (const auto base = beginnings_->unfinished()) {
        const std::int64_t before = beginnings_->evaluated(*base);
        auto evaluating = evaluate(base);
        const Step how = co_await std::move(evaluating);
        if (beginnings_->evaluated(*base) > before) leaves_room_for_ = kLeaveRoomFor;
        if (how == Step::no_room) {
          auto waiting = until_room(base);
          co_await std::move(waiting);
        }
        if (how != Step::failed) more_ = true;
      } else if (scrub_.asked || Clock::now() >= scrub_due_) {
        if (co_await scrub_one()) more_ = true;
      }
    }
  } catch (const std::exception& e) {
    log_.event("background_failed", {{"root", root_}, {"why", e.what()}});
  }
  working_ = false;
}

// Until others gave memory back, somebody came, or the base is not wanted any more.
asio::awaitable<void> Background::until_room(std::shared_ptr<const Base> base) {
  const auto not_before = Clock::now() + leaves_room_for_;
  leaves_room_for_ = std::min<Clock::duration>(2 * leaves_room_for_, kLeaveRoomMax);
  auto held = host_.engine()->memory().sequences;
  bool given = false;
  asio::steady_timer timer(io_);
  while (!more_ && !host_.stopping() && beginnings_->wants(*base)) {
    timer.expires_after(kLookForRoom);
    co_await timer.async_wait(asio::use_awaitable);
    const auto now = host_.engine()->memory().sequences;
    given = given || now.bytes < held.bytes || now.n < held.n;
    held = now;
    if (given && Clock::now() >= not_before) co_return;
  }
}

asio::awaitable<void> Background::pause() {
  asio::steady_timer timer(io_, kYield);
  co_await timer.async_wait(asio::use_awaitable);
}

// The next chunk towards `end`, unless somebody waits for the engine; `offers`: what it computes,
// to sessions.
asio::awaitable<Background::Step> Background::step(std::unique_ptr<engine::Timeline>& timeline,
                                                   std::span<const engine::Token> tokens,
                                                   std::int64_t end, bool offers) {
  if (host_.stopping()) co_return Step::failed;
  if (host_.people_wait()) {
    co_await pause();
    co_return Step::waits;
  }
  bool kept = true;
  const auto piece = [&](const std::stop_token& stop) -> engine::Result<std::int64_t> {
    engine::Engine& engine = *host_.engine();
    // Not given up for this. Between two pieces it may be, for who needs the room.
    const Beginnings::Work working(beginnings_);
    const Spare spare(timeline);
    const std::int64_t chunk = engine.info().n_chunk > 0 ? engine.info().n_chunk : end;
    if (offers || !timeline) {
      const auto best = beginnings_->longest(tokens);  // perhaps a session got further meanwhile
      if (!timeline || (best && best->tokens().size() > timeline->tokens().size()) ||
          was_given_up(*timeline, tokens, engine))
        timeline = engine.timeline(best);
    }
    const auto at = static_cast<std::int64_t>(timeline->tokens().size());
    const std::int64_t to = std::min(
        {end, (at / chunk + 1) * chunk, offers ? beginnings_->next_mark(tokens, at) : end});
    const auto began = Clock::now();
    const auto given = host_.given();
    auto n = timeline->sync(tokens.first(static_cast<std::size_t>(to)), stop,
                            host_.drawing_between(nullptr));
    if (n) host_.evaluated(*n, Clock::now() - began - (host_.given() - given));
    if (n && offers && beginnings_->next_mark(tokens, to - 1) == to) {
      auto prefix = timeline->prefix(to);
      kept = prefix != nullptr;
      beginnings_->offer(std::move(prefix));
    }
    return n;
  };
  engine::Result<std::int64_t> n;
  // People do not wait for another machine's work, nor for a comparison, which nobody needs the
  // chunk of. One of a base may be what they wait for.
  if (host_.engine()->prefix_format().page_bytes == 0 || !offers) {
    n = co_await host_.run_unasked(piece);
    if (!n && n.error().code == engine::Errc::cancelled && !host_.stopping()) {
      co_await pause();
      co_return Step::waits;
    }
  } else {
    const auto here = [&] { return piece(host_.stop_token()); };
    n = co_await host_.run(here);
  }
  if (!n && n.error().code != engine::Errc::cancelled)
    log_.event("background_failed", {{"root", root_}, {"why", n.error().message}});
  if (n && !kept)
    log_.event("background_no_room",
               {{"root", root_}, {"tokens", timeline->tokens().size()}, {"of", tokens.size()}});
  if (n ? !kept : n.error().code == engine::Errc::no_memory) co_return Step::no_room;
  co_return n ? Step::done : Step::failed;
}

// Done: up to the end of the base, or until it is no longer wanted. Failed: the engine cannot, and
// is not to be asked again before somebody comes.
asio::awaitable<Background::Step> Background::evaluate(std::shared_ptr<const Base> base) {
  const auto total = static_cast<std::int64_t>(base->tokens.size());
  std::unique_ptr<engine::Timeline> timeline;
  {
    const Beginnings::Work reading(beginnings_);
    co_await kept_->resume(base, beginnings_);
  }
  while (beginnings_->evaluated(*base) < total) {
    if (!beginnings_->wants(*base)) co_return Step::done;
    const std::int64_t evaluated = beginnings_->evaluated(*base),
                       at = timeline ? std::ssize(timeline->tokens()) : -1;
    const Step step = co_await this->step(timeline, base->tokens, total, /*offers=*/true);
    if (step == Step::failed || step == Step::no_room) co_return step;
    // A place that it does not get past would be tried for ever: what it evaluated was given up
    // again.
    if (step == Step::done && std::ssize(timeline->tokens()) == at &&
        beginnings_->evaluated(*base) <= evaluated)
      co_return Step::no_room;
  }
  co_return Step::done;
}

// The next of the extents on disk. False: there is no more to do now.
asio::awaitable<bool> Background::scrub_one() {
  const int pass = scrub_.pass;
  const KeptPrefixes::OnDisk kept = co_await kept_->on_disk();
  if (kept.base != scrub_base_.lock()) scrub_.done = 0;
  scrub_base_ = kept.base;
  const auto next = std::ranges::find_if(
      kept.extents, [&](const Keeper::Kept& extent) { return extent.begin >= scrub_.done; });
  if (next == kept.extents.end()) {  // all of it, or none is there
    if (!scrub_.asked) scrub_.done = 0;
    scrub_.asked = false;
    scrub_due_ = std::max(scrub_due_, Clock::now() + kScrubAfter);
    co_return false;
  }
  const auto tokens = std::span(kept.base->tokens).first(static_cast<std::size_t>(next->end));
  const auto before = [&] {
    return beginnings_->longest(tokens.first(static_cast<std::size_t>(next->begin)));
  };
  const auto begin = [&] { return host_.engine()->timeline(before()); };
  std::unique_ptr<engine::Timeline> timeline = co_await host_.run(begin);
  Clock::duration spent{};
  while (static_cast<std::int64_t>(timeline->tokens().size()) < next->end) {
    if (beginnings_->unfinished()) co_return true;         // that first
    if (!beginnings_->wants(*kept.base)) co_return false;  // nobody does: the repository was let go
    const auto began = Clock::now();
    const Step step = co_await this->step(timeline, tokens, next->end, /*offers=*/false);
    if (step == Step::failed || step == Step::no_room) {
      if (scrub_.asked) scrub_.found = "the engine could not evaluate it again";
      scrub_.asked = false;
      co_return false;
    }
    if (step == Step::done) spent += Clock::now() - began;
  }
  const auto anew = [&] {
    const Beginnings::Work working(beginnings_);
    return timeline->prefix(next->end);
  };
  const engine::PrefixRef prefix = co_await host_.run(anew);
  if (!prefix) co_return false;
  const auto equal = co_await kept_->compare(kept.base, prefix, next->begin);
  if (pass != scrub_.pass) co_return true;  // it was asked to begin again meanwhile
  scrub_.done = next->end;
  if (!equal) {
    scrub_.found = equal.error();
    log_.event("prefix_differs", {{"root", root_}, {"why", scrub_.found}});
  }
  scrub_due_ = Clock::now() + spent * (kScrubShare - 1);
  co_return true;
}

}  // namespace lares::daemon
