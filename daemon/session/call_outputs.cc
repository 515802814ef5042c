#include "daemon/session/call_outputs.h"

#include <algorithm>
#include <charconv>

#include "daemon/protocol/redrawn.h"
#include "daemon/turn/transcript.h"

namespace lares::daemon {

std::int64_t item_number(const protocol::Item& item) {
  const std::size_t dot = item.id.find('.');
  std::int64_t number = 0;
  const char* const end = item.id.data() + item.id.size();
  if (dot == std::string::npos || std::from_chars(item.id.data() + dot + 1, end, number).ptr != end)
    return 0;
  return number;
}

void CallOutputs::appended(bool any_ids, bool any_results) {
  if (any_ids && !any_results) outputs_.clear();  // a prompt, or an answer without calls
}

void CallOutputs::begun(const protocol::Item& item) {
  if (const auto number = item_number(item); item.kind == "tool" && number > 0)
    outputs_[number] = kUnknownOutcome;
}

void CallOutputs::completed(const protocol::Item& item) {
  const auto number = item_number(item);
  if (item.kind != "tool" || number == 0) return;
  if (item.output.starts_with(kCutOff))
    outputs_.erase(number);  // of an answer that was given up
  else
    outputs_[number] = item.output;
}

bool CallOutputs::fill(std::vector<std::string>& results) const {
  if (outputs_.empty() || !std::ranges::all_of(results, [](const std::string& text) {
        return text == kUnknownOutcome;
      }))
    return false;
  const std::int64_t first = outputs_.begin()->first;
  bool any = false;
  for (const auto& [number, output] : outputs_) {
    const auto at = static_cast<std::size_t>(number - first);
    if (at >= results.size() || output == kUnknownOutcome) continue;
    results[at] = output;
    any = true;
  }
  return any;
}

}  // namespace lares::daemon
