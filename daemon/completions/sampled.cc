#include "daemon/completions/sampled.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tools/text.h"

namespace lares::daemon {
namespace {

using Json = nlohmann::ordered_json;

// FNV-1a. Nobody gains by a collision: what is found is compared.
std::uint64_t mixed(std::uint64_t hash, std::uint64_t value) {
  return (hash ^ value) * 0x100000001b3;
}

// Trimmed, as clients do, and the parser of answers before them.
std::string key_of_text(std::string_view content) {
  std::uint64_t hash = kHashOfNothing;
  for (const char c : tools::trimmed(content)) hash = mixed(hash, static_cast<unsigned char>(c));
  return fmt::format("text {:016x} {}", hash, tools::trimmed(content).size());
}

std::string text_of(const Json& object, const char* name) {
  const auto it = object.find(name);
  return it != object.end() && it->is_string() ? it->get<std::string>() : "";
}

// Keys in any order, numbers however they are spelt, and as JavaScript reads them: an integer
// beyond 2^53 comes back as the double nearest to it.
bool same_value(const nlohmann::json& a, const nlohmann::json& b) {
  if (a.is_number() && b.is_number()) return a == b || a.get<double>() == b.get<double>();
  if (a.type() != b.type() || a.size() != b.size()) return false;
  if (a.is_array()) return std::ranges::equal(a, b, same_value);
  if (!a.is_object()) return a == b;
  const auto same_member = [](const auto& x, const auto& y) {
    return x.first == y.first && same_value(x.second, y.second);
  };
  using Members = const nlohmann::json::object_t&;
  return std::ranges::equal(a.get_ref<Members>(), b.get_ref<Members>(), same_member);
}

bool same_arguments(const std::string& a, const std::string& b) {
  if (a == b) return true;
  const auto x = nlohmann::json::parse(a, nullptr, /*allow_exceptions=*/false),
             y = nlohmann::json::parse(b, nullptr, false);
  return !x.is_discarded() && same_value(x, y);
}

bool says_the_same(const Sampled& answer, const Json& message, const Json* calls) {
  if (tools::trimmed(answer.content) != tools::trimmed(text_of(message, "content"))) return false;
  const std::size_t n = calls ? calls->size() : 0;
  if (n != answer.calls.size()) return false;
  for (std::size_t i = 0; i < n; ++i) {
    const Json& call = (*calls)[i];
    const auto function = call.find("function");
    if (text_of(call, "id") != answer.calls[i].id || function == call.end() ||
        !function->is_object())
      return false;
    if (text_of(*function, "name") != answer.calls[i].name ||
        !same_arguments(text_of(*function, "arguments"), answer.calls[i].arguments))
      return false;
  }
  return true;
}

}  // namespace

std::uint64_t hash_of(std::span<const engine::Token> ids, std::uint64_t before) {
  for (const engine::Token id : ids) before = mixed(before, static_cast<std::uint64_t>(id));
  return before;
}

void SampledAnswers::add(Sampled answer) {
  std::uint64_t bytes =
      sizeof(Sampled) + sizeof(Entry) + answer.reasoning.size() + answer.content.size() +
      (answer.reasoning_ids.size() + answer.said_ids.size()) * sizeof(engine::Token);
  for (const SampledCall& call : answer.calls)
    bytes += sizeof(SampledCall) + call.id.size() + call.name.size() + call.arguments.size();
  std::string key = answer.calls.empty() ? key_of_text(answer.content) : answer.calls.front().id;
  const std::lock_guard lock(mutex_);
  const auto [begin, end] = by_key_.equal_range(key);
  const auto same = std::find_if(begin, end, [&](const auto& known) {
    const Sampled& other = *known.second->answer;
    return answer.calls.empty() && other.prompt == answer.prompt &&
           other.reasoning_ids == answer.reasoning_ids && other.said_ids == answer.said_ids;
  });
  if (same != end) return entries_.splice(entries_.begin(), entries_, same->second);
  if (static_cast<std::size_t>(std::distance(begin, end)) >= kSameTextMax) give_up(begin);
  entries_.push_front({std::make_shared<const Sampled>(std::move(answer)), key, bytes});
  by_key_.emplace(std::move(key), entries_.begin());
  bytes_ += bytes;
  while (bytes_ > bytes_max_ && !entries_.empty()) {
    const auto last = std::prev(entries_.end());
    const auto [from, to] = by_key_.equal_range(last->key);
    give_up(std::find_if(from, to, [&](const auto& known) { return known.second == last; }));
  }
}

void SampledAnswers::give_up(Keys::iterator which) {
  bytes_ -= which->second->bytes;
  entries_.erase(which->second);
  by_key_.erase(which);
}

SampledRef SampledAnswers::find(const Json& message, std::uint64_t prompt) {
  const auto at = message.find("tool_calls");
  const Json* const calls = at != message.end() && at->is_array() && !at->empty() ? &*at : nullptr;
  if (calls && !calls->front().is_object()) return nullptr;
  const std::string key = calls ? text_of(calls->front(), "id")
                                : key_of_text(text_of(message, "content"));
  const std::string reasoning = text_of(message, "reasoning_content");
  const auto fits = [&](const Sampled& answer) {
    const bool same = tools::trimmed(answer.reasoning) == tools::trimmed(reasoning);
    return (answer.prompt == prompt && (same || reasoning.empty()) ? 2 : 0) + (same ? 1 : 0);
  };
  const std::lock_guard lock(mutex_);
  const auto [begin, end] = by_key_.equal_range(key);
  auto best = end;
  for (auto it = begin; it != end; ++it) {
    const Sampled& answer = *it->second->answer;
    if (says_the_same(answer, message, calls) &&
        (best == end || fits(answer) > fits(*best->second->answer)))
      best = it;
  }
  if (best == end) return nullptr;
  entries_.splice(entries_.begin(), entries_, best->second);
  return best->second->answer;
}

std::uint64_t SampledAnswers::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace lares::daemon
