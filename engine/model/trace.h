// Where the time of an evaluation goes: named spans, in the format that chrome://tracing and
// Perfetto read.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace lares::engine {

// Some 2,000 tokens of the largest model; later ones are only counted
inline constexpr std::size_t kTraceSpansMax = 1 << 21;

// For the one thread that drives a forward pass.
class Trace {
 public:
  // From its construction to its end; does nothing where `trace` is null. `value` is shown under
  // `key`.
  class Span {
   public:
    Span(Trace* trace, const char* name, const char* key = nullptr, std::int64_t value = 0);
    ~Span();
    Span(const Span&) = delete;
    Span& operator=(const Span&) = delete;

   private:
    Trace* trace_;
    std::size_t at_ = 0;
  };

  std::vector<Engine::TraceTotal> totals() const;  // by name, the longest first
  Result<> write(const std::string& path) const;

 private:
  struct Event {
    const char *name, *key;
    std::int64_t value, begin_ns, end_ns, inside_ns;  // end_ns 0: still open
    std::size_t parent;                               // kNone: none
  };
  static constexpr std::size_t kNone = ~std::size_t{0};
  std::int64_t now() const {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() -
                                                                began_)
        .count();
  }

  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  std::vector<Event> events_;
  std::size_t open_ = kNone;
  std::int64_t dropped_ = 0;
};

}  // namespace lares::engine
