#include "daemon/completions/prompt_beginnings.h"

#include <algorithm>

#include "engine/chat.h"

namespace lares::daemon {
namespace {

constexpr std::int64_t kLongTextEvery = 16'384;  // tokens

}  // namespace

engine::PrefixRef PromptBeginnings::longest(std::span<const engine::Token> ids) {
  auto found = of_->prefixes.find(ids);
  n_found_ = found.prefix ? static_cast<std::int64_t>(found.prefix->tokens().size()) : 0;
  // Others may begin with what this has in common with one before, with the same instructions, or
  // with the same long text.
  const auto n = static_cast<std::int64_t>(ids.size());
  marks_ = {found.n_common / kPrefixEvery * kPrefixEvery};
  if (const auto user = of_->host.engine()->tokenizer().added(engine::kUser))
    marks_.insert(std::ranges::find(ids, *user) - ids.begin());
  for (std::int64_t at = kLongTextEvery; at < n; at += kLongTextEvery) marks_.insert(at);
  marks_.erase(marks_.begin(), marks_.upper_bound(n_found_));
  marks_.erase(marks_.lower_bound(n), marks_.end());
  return std::move(found.prefix);
}

std::int64_t PromptBeginnings::next_mark(std::span<const engine::Token>, std::int64_t position) {
  const auto mark = marks_.upper_bound(position);
  return mark == marks_.end() ? kNowhere : *mark;
}

}  // namespace lares::daemon
