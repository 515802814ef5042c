// What a prompt begins with that was evaluated for another, and the places in it whose prefixes
// others may want.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <span>

#include "daemon/completions/generator.h"
#include "daemon/turn/turn.h"
#include "engine/engine.h"

namespace lares::daemon {

// tokens: where an engine can return to without evaluating again
inline constexpr std::int64_t kPrefixEvery = 128;

// Of one prompt, on the engine's thread.
class PromptBeginnings final : public SharedBeginning {
 public:
  explicit PromptBeginnings(std::shared_ptr<GeneratorCore> of) : of_(std::move(of)) {}
  engine::PrefixRef longest(std::span<const engine::Token> ids) override;
  std::int64_t next_mark(std::span<const engine::Token> ids, std::int64_t position) override;
  void offer(engine::PrefixRef prefix) override { of_->prefixes.keep(std::move(prefix)); }
  void count(std::int64_t, std::int64_t) override {}  // a completion counts itself when it ends

  std::int64_t n_found() const { return n_found_; }  // tokens of longest(), which was asked before

 private:
  const std::shared_ptr<GeneratorCore> of_;
  std::set<std::int64_t> marks_;
  std::int64_t n_found_ = 0;
};

}  // namespace lares::daemon
