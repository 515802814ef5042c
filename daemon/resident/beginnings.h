// The evaluated beginnings of a repository's bases: what sessions fork from instead of evaluating
// it again, whoever evaluated it first.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <vector>

#include "daemon/residency/base.h"
#include "daemon/residency/keeper.h"
#include "daemon/residency/rebase.h"
#include "daemon/turn/turn.h"
#include "engine/engine.h"

namespace lares::daemon {

// Tokens between the places at which a base can be gone on from; of a small base, which is rendered
// anew more often.
inline constexpr std::int64_t kMarkEvery = kFrontierSpacing;
inline constexpr std::int64_t kSmallBase = 32'768, kSmallMarkEvery = 1024;
class Beginnings final : public SharedBeginning {
 public:
  // `offered` hears of every prefix that was not there before and of a base it begins, on the
  // engine's thread.
  using Offered =
      std::function<void(const engine::PrefixRef& prefix, const std::shared_ptr<const Base>& base)>;
  // `of`: those of a repository that this one was made from. What they have evaluated is found here
  // too, and what is evaluated here of their bases they are offered; those bases are theirs to
  // finish.
  explicit Beginnings(Offered offered, std::shared_ptr<Beginnings> of = nullptr)
      : offered_(std::move(offered)), of_(std::move(of)) {}

  // Somebody works with them, or evaluates one: as long as one of these lives they are not given
  // up, nor are those that they were made from.
  class Work {
   public:
    explicit Work(std::shared_ptr<Beginnings> with);
    Work(const Work&) = delete;
    ~Work();

   private:
    const std::shared_ptr<Beginnings> with_;
  };
  // Of all, for whoever needs the memory; no base is kept any more until keep() is called again.
  // False: somebody works with them, or there is nothing.
  bool give_up();
  bool given_up() const;  // and nobody has come() since
  void come();            // somebody wants them: keep() is called soon

  // Bases that sessions begin with now, or will; prefixes of no others are kept.
  void keep(std::vector<std::shared_ptr<const Base>> bases);
  // Of those bases, from where they were kept
  void restored(std::vector<engine::PrefixRef> prefixes);
  bool wants(const Base& base) const;  // it is one of those
  // Of one of those: tokens evaluated, up to the last mark that there is a prefix of.
  std::int64_t evaluated(const Base& base) const;
  // The first of them that is not evaluated to its end; null: none
  std::shared_ptr<const Base> unfinished() const;
  struct Use {
    std::int64_t n_found = 0, n_evaluated = 0;  // tokens of all steps' prompts
  };
  Use use() const;
  std::uint64_t pages() const;  // that all of them hold, each counted once, and `of` does not
  std::vector<engine::PrefixRef> of(const Base& base) const;  // ascending

  engine::PrefixRef longest(std::span<const engine::Token> ids) override;
  std::int64_t next_mark(std::span<const engine::Token> ids, std::int64_t position) override;
  void offer(engine::PrefixRef prefix) override;
  void count(std::int64_t n_found, std::int64_t n_evaluated) override;

 private:
  // A base and its evaluated beginnings, ascending. What begins several bases stands with each, so
  // that no tokens are compared to know.
  struct Chain {
    std::shared_ptr<const Base> base;
    std::vector<engine::PrefixRef> prefixes;
    std::int64_t evaluated() const {
      return prefixes.empty() ? 0 : static_cast<std::int64_t>(prefixes.back()->tokens().size());
    }
    // false: one of that length is there. The caller knows that it begins the base
    bool add(const engine::PrefixRef& prefix);
  };
  const Chain* chain_of(const Base& base) const;
  std::set<const std::uint8_t*> held() const;

  mutable std::mutex mutex_;
  Offered offered_;
  // Never the other way round, so its lock may be taken under this one
  const std::shared_ptr<Beginnings> of_;
  std::vector<Chain> chains_;
  Use use_;
  int n_working_ = 0;
  bool given_up_ = false;
};

// The places of a base of n_tokens: multiples of kMarkEvery (kSmallMarkEvery), the last multiple of
// kKeptStep, and its end. The first one after `position`.
std::int64_t next_mark_of(std::int64_t n_tokens, std::int64_t position);

}  // namespace lares::daemon
