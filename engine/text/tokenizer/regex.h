// A compiled PCRE2 pattern over UTF-8, matched by its just-in-time code. Text must be valid UTF-8.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "engine/engine.h"

namespace lares::engine {

class Regex {
 public:
  static Result<Regex> compile(const std::string& pattern, bool literal = false);
  ~Regex();
  Regex(Regex&&) noexcept;

  // Working memory of one thread's matching.
  class Scratch {
   public:
    explicit Scratch(const Regex&);
    ~Scratch();
    Scratch(const Scratch&) = delete;

   private:
    friend class Regex;
    void* data_;
  };
  struct Match {
    std::size_t begin, end;
  };
  // The first match at or after `from`. A match that would need more than the library's limits
  // counts as none.
  std::optional<Match> find(std::string_view text, std::size_t from, Scratch& scratch) const;

 private:
  struct Code;
  explicit Regex(std::unique_ptr<Code> code);
  std::unique_ptr<Code> code_;
};

}  // namespace lares::engine
