#include "daemon/cli/turn_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "daemon/cli/terminal/wrap.h"
#include "daemon/protocol/redrawn.h"
#include "daemon/protocol/turn_reasons.h"
#include "daemon/shown/text.h"

namespace lares::cli {
namespace {

constexpr std::string_view kSilentWaits[] = {"starting", "loading", "waiting",
                                             "reading",  "running", "taking"};
constexpr std::chrono::seconds kToldOfWaitAfter{10}, kToldOfWaitEvery{60};
constexpr double kThoughtSecondsShown = 0.05;  // what is less would be shown as 0.0s

Progress::Clock::time_point now() { return Progress::Clock::now(); }

// The daemon tells Unix times, and is on this machine. 0: now.
Progress::Clock::time_point moment(std::int64_t unix_ms) {
  using namespace std::chrono;
  if (unix_ms <= 0) return now();
  const auto age = system_clock::now() - system_clock::time_point(milliseconds(unix_ms));
  return now() - duration_cast<Progress::Clock::duration>(std::max(age, age.zero()));
}

std::string counted(long long n, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", grouped(n), n == 1 ? one : many);
}

nlohmann::json arguments_of(const protocol::Item& item) {
  auto arguments = nlohmann::json::parse(item.arguments, nullptr, /*allow_exceptions=*/false);
  return arguments.is_discarded() ? nlohmann::json(item.arguments) : arguments;
}

}  // namespace

std::string_view reason_text(std::string_view reason) {
  if (reason == protocol::reason::kEndTurn) return "finished";
  if (reason == protocol::reason::kMaxTokens) return "stopped: the answer reached its token limit";
  if (reason == protocol::reason::kMaxSteps) return "stopped: the turn reached its step limit";
  if (reason == protocol::reason::kContextFull) return "stopped: the context is full";
  if (reason == protocol::reason::kRepetition) return "stopped: the model repeated itself";
  if (reason == protocol::reason::kUnfinished)
    return "stopped: what the model calls finished is not shown to be";
  if (reason == protocol::reason::kCancelled) return "interrupted";
  if (reason == protocol::reason::kCrashed || reason == protocol::reason::kError) return "failed";
  return reason;
}

void TurnView::waiting(std::string_view label) {
  progress_.begin(label, now());
  tick();
}

void TurnView::note(Style style, std::string_view line) { transcript_.note(style, line); }

void TurnView::tick() {
  if (screen_.terminal().is_terminal)
    screen_.status(status_text());
  else
    tell_of_long_wait();
}

// Not while the model writes: what it writes shows that it goes on.
void TurnView::tell_of_long_wait() {
  const auto at = now();
  const std::string& label = progress_.label();
  const bool silent = std::ranges::any_of(
      kSilentWaits, [&](std::string_view beginning) { return label.starts_with(beginning); });
  if (!silent || at < progress_.began() + kToldOfWaitAfter) return;
  if (told_of_wait_ && at < *told_of_wait_ + kToldOfWaitEvery) return;
  told_of_wait_ = at;
  transcript_.note(Style::dim, status_text());
}

std::string TurnView::status_text() const {
  std::string text = progress_.text(now(), screen_.terminal().utf8);
  if (!turn_began_ || text.empty()) return text;
  const std::string dot = screen_.terminal().utf8 ? " · " : " - ";
  const protocol::Usage& u = usage_;
  if (u.context > 0)
    text += dot + "context " + rough(u.context) +
            (u.context_max > 0 ? "/" + rough(u.context_max) : "");
  if (u.cached + u.prefilled > 0)
    text += dot + fmt::format("{} cached, {} new", rough(u.cached), rough(u.prefilled));
  const double seconds = std::chrono::duration<double>(now() - *turn_began_).count();
  return text + dot +
         fmt::format("turn {}", seconds < 10 ? fmt::format("{}s", static_cast<int>(seconds))
                                             : duration(seconds));
}

void TurnView::turn_began(std::int64_t context_tokens, std::int64_t unix_ms) {
  items_.clear();
  thinking_.clear();
  progress_ = Progress();
  drawing_since_.reset();
  turn_began_ = moment(unix_ms);
  usage_ = {.context = context_tokens, .context_max = usage_.context_max};
}

void TurnView::turn_ended() {
  turn_began_.reset();
  progress_ = Progress();
  hide_status();
}

void TurnView::step(const protocol::TurnStep& step) {
  usage_.cached += step.usage.cached, usage_.prefilled += step.usage.prefilled;
  usage_.context = step.usage.context, usage_.context_max = step.usage.context_max;
}

void TurnView::show(const protocol::Message& message,
                    const std::function<bool(std::int64_t)>& followed) {
  const auto with = [&]<class T>(auto f) {
    if (message.method != T::kNotification) return;
    const auto typed = protocol::from_json<T>(message.params);
    if (typed) f(*typed);  // one that makes no sense is as good as an unknown one: ignored
  };
  with.template operator()<protocol::TurnPrefill>([&](const auto& x) {
    if (followed(x.turn_id)) prefill(x);
  });
  with.template operator()<protocol::TurnSnapshot>([&](const auto& x) {
    if (followed(x.turn_id)) snapshot(x);
  });
  with.template operator()<protocol::TurnStep>([&](const auto& x) {
    if (followed(x.turn_id)) step(x);
  });
  with.template operator()<protocol::ItemStarted>([&](const auto& x) {
    if (followed(x.item.turn_id)) item_started(x.item, x.at.t);
  });
  with.template operator()<protocol::ItemDelta>([&](const auto& x) { item_delta(x); });
  with.template operator()<protocol::ItemSnapshot>([&](const auto& x) {
    if (followed(x.item.turn_id)) item_snapshot(x.item, x.item.began_ms);
  });
  with.template operator()<protocol::ItemUpdated>([&](const auto& x) {
    if (followed(x.item.turn_id)) item_snapshot(x.item, x.at.t);
  });
  with.template operator()<protocol::ItemCompleted>([&](const auto& x) {
    if (followed(x.item.turn_id)) item_completed(x.item);
  });
}

void TurnView::model_state(const protocol::ServerState& state) {
  if (state.state != "loading") return;
  progress_.begin(state.message.empty() ? "loading the model" : "waiting: " + state.message, now());
  if (state.total > 0) progress_.count(state.done, state.total, "", now());
}

void TurnView::session_state(const protocol::SessionState& state) {
  const std::string_view s = state.state;
  if (s == "loading") {
    progress_.begin("loading the model", now());
  } else if (s == "queued") {
    progress_.begin("waiting for the engine", now());
  } else if (s == "prefill") {
    progress_.begin("reading", now());
  } else if (s == "decode") {
    progress_.begin("generating", now());
    drawing_since_ = now();
  }  // tool: the item says which; waiting: so does its question; idle: turn/ended comes
}

void TurnView::prefill(const protocol::TurnPrefill& prefill) {
  progress_.begin("reading", now());
  progress_.count(prefill.done, prefill.total, "tokens", now());
}

// What is told while a call waits for it; the next thing that the call does takes its place.
void TurnView::snapshot(const protocol::TurnSnapshot& snapshot) {
  progress_.begin("taking a snapshot of the repository", now());
  if (snapshot.total > 0) progress_.count(snapshot.done, snapshot.total, "files", now());
}

TurnView::Seen& TurnView::seen(const protocol::Item& item) {
  Seen& s = items_[item.id];
  if (!item.kind.empty()) s.kind = item.kind;
  if (!item.name.empty()) s.name = item.name;
  return s;
}

void TurnView::item_started(const protocol::Item& item, std::int64_t unix_ms) {
  Seen& s = seen(item);
  // The first is told when there is something of it to show, which may be all of it.
  s.began = std::min(drawing_since_.value_or(moment(unix_ms)), moment(unix_ms));
  drawing_since_.reset();
  if (s.kind == "think") {
    if (!thinking_.empty() && !thinking_.ends_with("\n\n")) thinking_ += "\n\n";
    progress_.begin("thinking", s.began);
    progress_.limit(think_limit_);
  } else if (s.kind == "text") {
    progress_.begin("answering", s.began);
  } else if (s.kind == "tool") {
    progress_.begin(fmt::format("writing a call of {}", one_line(s.name)), s.began);
  }
}

void TurnView::item_delta(const protocol::ItemDelta& delta) {
  const auto at = items_.find(delta.item_id);
  if (at == items_.end()) return;  // its start was lost: the snapshot or the final form shows it
  Seen& s = at->second;
  if (s.completed) return;
  if (delta.field == "output") {
    const std::string clean = printable(delta.text);
    const std::size_t end = clean.find_last_not_of("\n ");
    if (end == std::string::npos) return;
    const std::size_t before = clean.rfind('\n', end);
    const std::size_t begin = before == std::string::npos ? 0 : before + 1;
    s.output_line = clean.substr(begin, end + 1 - begin);
    progress_.detail(s.output_line);
    return;
  }
  progress_.count(delta.tokens, 0, "tokens", now());
  if (delta.field != "text") return;
  const auto off = static_cast<std::size_t>(delta.off);
  if (off > s.text_bytes) return;  // a gap: the snapshot will fill it
  const std::size_t known = s.text_bytes - off;
  if (known >= delta.text.size()) return;
  const std::string_view fresh = std::string_view(delta.text).substr(known);
  s.text_bytes += fresh.size();
  fresh_text(s, fresh);
}

void TurnView::fresh_text(const Seen& s, std::string_view fresh) {
  if (s.kind == "think") {
    thinking_ += fresh;
    transcript_.think(fresh);
  } else if (s.kind == "text") {
    transcript_.text(fresh);
  }
}

void TurnView::show_text(Seen& s, const std::string& text) {
  if (text.size() <= s.text_bytes) return;
  const std::string_view fresh = std::string_view(text).substr(s.text_bytes);
  s.text_bytes = text.size();
  fresh_text(s, fresh);
}

void TurnView::show_call(Seen& s, const protocol::Item& item) {
  if (s.called) return;
  s.called = true;
  transcript_.call(item.name, arguments_of(item));
}

// Two calls of one tool may follow each other without a word between them.
void TurnView::waits_for(const protocol::Item& item, std::string_view label, std::int64_t unix_ms) {
  if (std::exchange(waited_for_, item.id) != item.id) progress_ = Progress();
  progress_.begin(label, moment(unix_ms));
}

void TurnView::item_snapshot(const protocol::Item& item, std::int64_t unix_ms) {
  Seen& s = seen(item);
  if (s.completed) return;
  if (s.kind == "think" || s.kind == "text") {
    if (s.text_bytes == 0) item_started(item, unix_ms);
    show_text(s, item.text);
  } else if (s.kind == "tool" &&
             (item.state == "running" || item.state == "waiting" || item.state == "asking")) {
    show_call(s, item);
    waits_for(item,
              item.state == "running"  ? "running " + one_line(item.name)
              : item.state == "asking" ? "waiting for permission"
                                       : "waiting for an answer",
              unix_ms);
  } else if (s.kind == "tool") {
    item_started(item, unix_ms);
  }
}

void TurnView::item_completed(const protocol::Item& item) {
  Seen& s = seen(item);
  if (s.completed) return;
  s.completed = true;
  if (s.kind == "think" || s.kind == "text") {
    show_text(s, item.text);
    transcript_.complete();
    if (s.kind == "think" && !transcript_.shows_thinking() && turn_began_) folded_thinking(s, item);
  } else if (s.kind == "error") {
    transcript_.note(Style::red, "error: " + one_line(item.text));
    error_told_ = item.text;
  } else if (s.kind == "note") {
    transcript_.note(Style::yellow, "note: " + one_line(item.text));
  } else if (s.kind == "tool") {
    if (item.state == "rejected" && item.output.starts_with(daemon::kCutOff))
      return;  // a note says why
    show_call(s, item);
    std::vector<ChangedFile> files;
    for (const auto& change : item.changes)
      if (!item.changes_untold) files.push_back({change.path, change.diff});
    const bool ok = item.state == "done";
    std::string output = item.output;
    if (item.state == "rejected" || item.state == "interrupted" || item.state == "cancelled") {
      output = fmt::format("({}){}{}", item.state, output.empty() ? "" : "\n", output);
    }
    transcript_.result(ok, output, files);
    called_.push_front(
        {one_line(item.name) + " " + summarise_call(item.name, arguments_of(item), ""),
         std::move(output)});
    if (called_.size() > kCallsKept) called_.pop_back();
  }
}

// The line that stays of it.
void TurnView::folded_thinking(const Seen& s, const protocol::Item& item) {
  if (item.text.find_first_not_of(" \n") == std::string::npos) return;
  std::string line = "thought";
  const double seconds = std::chrono::duration<double>(now() - s.began).count();
  if (s.began != Progress::Clock::time_point{} && seconds >= kThoughtSecondsShown)
    line += " for " + duration(seconds);
  if (item.tokens > 0) line += ", " + counted(item.tokens, "token", "tokens");
  transcript_.thought(line);
}

std::string TurnView::summary(const protocol::TurnEnded& ended, const shown::Changes& changes,
                              const std::string& session_id) const {
  const Terminal& t = screen_.terminal();
  const protocol::Usage& u = ended.usage;
  const std::string dot = t.utf8 ? " · " : " - ";
  std::string line(reason_text(ended.reason));
  if (!ended.message.empty() && ended.message != error_told_)
    line += ": " + one_line(ended.message);
  if (u.steps > 0 || u.cached + u.prefilled + u.generated > 0) {  // else it came to nothing, or
    line += dot + counted(u.steps, "step", "steps");              // nobody counted
    line += dot + fmt::format("{} tokens in ({} cached)", grouped(u.cached + u.prefilled),
                              grouped(u.cached));
    line += dot + fmt::format("{} out", grouped(u.generated));
    line += dot + duration(static_cast<double>(u.total_ms) / 1000);
  }
  const std::vector<std::string> paths = changes.net();
  if (paths.empty()) {
    if (changes.complete()) line += dot + "no files changed";
  } else {
    line += dot + counted(static_cast<long long>(paths.size()), "file changed", "files changed");
    if (paths.size() <= 3) {
      std::string names;
      for (const auto& path : paths) names += (names.empty() ? ": " : ", ") + one_line(path);
      line += names;
    }
  }
  const bool goes_on = ended.reason != protocol::reason::kEndTurn &&
                       ended.reason != protocol::reason::kContextFull;
  if (!session_id.empty())
    line += dot + (goes_on ? "`--session " + session_id + "` goes on" : "session " + session_id);
  Wrap wrap("", t.width);
  std::string wrapped = wrap.feed(line);
  return wrapped + wrap.end();
}

}  // namespace lares::cli
