// The answers that were sampled, by what clients send back of them: their tokens, so that a
// conversation that goes on is the same tokens it was, although a client writes a call's arguments
// anew, or leaves reasoning out. Any thread.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/engine.h"

namespace lares::daemon {

inline constexpr std::uint64_t kSampledBytesMax = 256u << 20;
inline constexpr std::size_t kSameTextMax = 64;  // answers with one text: each is looked at

struct SampledCall {
  std::string id, name, arguments;  // arguments: a JSON object, as clients got it
};
struct Sampled {
  std::uint64_t prompt = 0;        // hash_of() the ids it answered
  std::string reasoning, content;  // as clients got them
  std::vector<SampledCall> calls;
  std::vector<engine::Token> reasoning_ids;  // up to </think>
  std::vector<engine::Token> said_ids;       // behind it, up to the end-of-sentence token
};
using SampledRef = std::shared_ptr<const Sampled>;

// Piece after piece: `before` is that of what stands before them.
inline constexpr std::uint64_t kHashOfNothing = 0xcbf29ce484222325;
std::uint64_t hash_of(std::span<const engine::Token> ids, std::uint64_t before = kHashOfNothing);

class SampledAnswers {
 public:
  explicit SampledAnswers(std::uint64_t bytes_max = kSampledBytesMax) : bytes_max_(bytes_max) {}

  void add(Sampled answer);
  // What was sampled where `message` (an assistant's, as Conversation has them) says the same as it
  // did: found by the id of its first call, or by its text. Of several with the same text the one
  // that answered `prompt`, then one with that reasoning; the reasoning may also be missing or
  // another. Null: nobody knows, or the client has changed what was said.
  SampledRef find(const nlohmann::ordered_json& message, std::uint64_t prompt = 0);

  std::uint64_t bytes() const;

 private:
  struct Entry {
    SampledRef answer;
    std::string key;
    std::uint64_t bytes;
  };
  using Entries = std::list<Entry>;  // the latest use first
  using Keys = std::unordered_multimap<std::string, Entries::iterator>;
  void give_up(Keys::iterator which);

  const std::uint64_t bytes_max_;
  mutable std::mutex mutex_;
  Entries entries_;
  Keys by_key_;
  std::uint64_t bytes_ = 0;
};

}  // namespace lares::daemon
