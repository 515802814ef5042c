#include "daemon/repetition.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace lares::daemon {

std::optional<Period> find_period(std::span<const engine::Token> tokens) {
  const std::size_t n = std::min(tokens.size(), kPeriodWindow);
  if (n < kPeriodTokensMin) return std::nullopt;
  // Read backwards, a periodic end is a periodic beginning: z[p] tokens from p on equal the first z[p], so the first z[p] + p
  // tokens have period p (Gusfield's Z algorithm).
  const auto r = [&](std::size_t i) { return tokens[tokens.size() - 1 - i]; };
  std::vector<std::size_t> z(n, 0);
  std::size_t left = 0, right = 0;
  for (std::size_t i = 1; i < n; ++i) {
    if (i < right) z[i] = std::min(right - i, z[i - left]);
    while (i + z[i] < n && r(z[i]) == r(i + z[i])) ++z[i];
    if (i + z[i] > right) {
      left = i;
      right = i + z[i];
    }
    const std::size_t covered = z[i] + i;
    if (covered >= kPeriodTokensMin && covered >= kPeriodRepeatsMin * i) return Period{i, covered};
  }
  return std::nullopt;
}

int CallCounter::count(const std::string& name, const std::string& arguments, bool mutates) {
  std::string key = name + ' ';
  const auto parsed = nlohmann::json::parse(arguments, nullptr, /*allow_exceptions=*/false);  // sorts the keys
  key += parsed.is_discarded() ? arguments : parsed.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (mutates) std::erase_if(counts_, [&](const auto& entry) { return entry.first != key; });
  return ++counts_[key];
}

std::string call_reminder(const std::string& name, int n) {
  if (n == kCallsRemind)
    return fmt::format("This was the same call of {} with the same arguments for the {}rd time. Repeating it gives the same "
                       "result; use what you have, or do something else.", name, n);
  if (n >= kCallsStop)
    return fmt::format("{} has been called {} times with identical arguments; no more calls are taken. Say what you know, and what is left "
                       "to do.", name, n);
  if (n == kCallsRemindAgain || n == kCallsStop - 1)
    return fmt::format("{} has now been called {} times with identical arguments. At {} no more calls are taken. Change the "
                       "approach, or finish with what you know.", name, n, kCallsStop);
  return {};
}

}  // namespace lares::daemon
