#include "tools/testing/runner_output.h"

#include <algorithm>

namespace lares::tools {

RunnerOutput::RunnerOutput(RunnerKind kind) {
  if (kind == RunnerKind::go) events_.emplace();
}

void RunnerOutput::add(std::string_view text) {
  if (events_) events_->feed(text);
  const std::size_t room = kHeadMax - std::min(kHeadMax, head_.size());
  head_ += text.substr(0, room);
  if (text.size() <= room) return;
  tail_ += text.substr(room);
  if (tail_.size() <= 2 * kTailMax) return;
  // From the beginning of a line on, where lines are not endless.
  std::size_t cut = tail_.find('\n', tail_.size() - kTailMax);
  cut = cut == std::string::npos ? tail_.size() - kTailMax : cut + 1;
  tail_.erase(0, cut);
  left_out_ += cut;
}

std::string RunnerOutput::text() const { return head_ + (left_out_ > 0 ? "\n\n" : "") + tail_; }

}  // namespace lares::tools
