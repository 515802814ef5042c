#include "daemon/cli/commands/best_of_attempt.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <tuple>

#include "daemon/protocol/turn_reasons.h"
#include "daemon/shown/text.h"

namespace lares::cli {
namespace {

namespace protocol = daemon::protocol;

// Failures, where the tests ran and nobody knows how many failed
constexpr std::int64_t kUncounted = INT64_MAX;

std::string outcome(const Attempt& a) {
  if (a.reason == protocol::reason::kEndTurn) return "finished";
  if (a.reason == protocol::reason::kCancelled) return "interrupted";
  return a.reason.empty() ? a.state : a.reason;
}

std::string tests(const Attempt& a) {
  if (!a.untested.empty()) return "not run";
  if (!a.test.ran) return "none found";
  if (!a.test.counted) return a.test.passed ? "passed" : "failed";
  if (a.test.passed) return fmt::format("{} passed", a.test.total);
  return a.test.failed > 0 ? fmt::format("{} of {} failed", a.test.failed, a.test.total) : "failed";
}

std::int64_t failures(const Attempt& a) {
  if (!a.untested.empty() || !a.test.ran) return kUncounted;
  if (a.test.passed) return 0;
  return a.test.counted && a.test.failed > 0 ? a.test.failed : kUncounted;
}

void put(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n <= 0) return;  // nobody reads it; the work goes on
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

}  // namespace

std::vector<const Attempt*> ranked(const std::vector<Attempt>& attempts) {
  std::vector<const Attempt*> out;
  for (const Attempt& a : attempts) out.push_back(&a);
  const auto key = [](const Attempt* a) {
    return std::tuple(!a->passes(), a->diff.n_changed == 0, a->reason != "end_turn", failures(*a),
                      a->diff.n_added + a->diff.n_deleted, a->number);
  };
  std::ranges::sort(out, {}, key);
  return out;
}

std::string live_line(const Attempt& a) {
  return fmt::format("{}  {:<11} step {:>3}  {:>8} tokens  {}", a.number,
                     a.ended ? outcome(a) : a.state, a.step, grouped(a.tokens + a.tokens_in_step),
                     a.branch);
}

std::string best_of_table(const std::vector<const Attempt*>& ranked, const Terminal& t) {
  std::string out = t.paint(Style::dim,
                            fmt::format("  {:<12} {:<12} {:<18} {:>7} {:>7} {:>9}", "session",
                                        "outcome", "tests", "+lines", "-lines", "tokens")) +
                    "\n";
  for (std::size_t i = 0; i < ranked.size(); ++i) {
    const Attempt& a = *ranked[i];
    const std::string row = fmt::format("{} {:<12} {:<12} {:<18} {:>7} {:>7} {:>9}",
                                        i == 0 ? '*' : ' ', a.session.session_id, outcome(a),
                                        tests(a), fmt::format("+{}", a.diff.n_added),
                                        fmt::format("-{}", a.diff.n_deleted), grouped(a.tokens));
    out += (i == 0 ? t.paint(a.passes() ? Style::green : Style::yellow, row) : row) + "\n";
  }
  return out;
}

protocol::Json best_of_json(const std::vector<const Attempt*>& ranked, bool applied) {
  protocol::Json attempts = protocol::Json::array();
  for (const Attempt* a : ranked) {
    protocol::Json one = {
        {"session", a->session.session_id}, {"root", a->session.root},     {"branch", a->branch},
        {"stop_reason", a->reason},         {"message", a->message},       {"tokens", a->tokens},
        {"added", a->diff.n_added},         {"deleted", a->diff.n_deleted}};
    if (a->untested.empty())
      one["test"] = protocol::to_json(a->test);
    else
      one["untested"] = a->untested;
    attempts.push_back(std::move(one));
  }
  const Attempt& best = *ranked.front();
  return {{"type", "best_of"},       {"winner", best.session.session_id},
          {"passes", best.passes()}, {"applied", applied},
          {"diff", best.diff.diff},  {"attempts", std::move(attempts)}};
}

void AttemptLines::show(const std::vector<Attempt>& attempts) {
  if (!terminal_.is_terminal) {
    said_.resize(attempts.size());
    for (std::size_t i = 0; i < attempts.size(); ++i) {
      const Attempt& a = attempts[i];
      // What it does meanwhile, and its tokens, are no news: there may be hundreds of steps.
      const std::string what = a.ended ? outcome(a) : fmt::format("step {}", a.step);
      if (what == said_[i]) continue;
      said_[i] = what;
      put(fd_, live_line(a) + "\n");
    }
    return;
  }
  std::string out = n_drawn_ ? fmt::format("\x1b[{}A", n_drawn_) : "";
  for (const Attempt& a : attempts) {
    const std::string line = live_line(a);
    out += "\r\x1b[2K" +
           (terminal_.width > 0 ? clip(line, terminal_.width - 1, terminal_.utf8 ? "…" : "~")
                                : line) +
           "\n";
  }
  n_drawn_ = attempts.size();
  put(fd_, out);
}

void AttemptLines::end() { n_drawn_ = 0; }

}  // namespace lares::cli
