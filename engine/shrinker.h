// What others cache of this engine, given up when its sequences need the memory.
#pragma once

#include <memory>

namespace lares::engine {

// Of a cache of prefixes that nobody needs to go on. Called from any thread that has the engine do
// something, one at a time, while that waits: it may neither use the engine nor wait for who does,
// and holds no prefix itself.
class Shrinker {
 public:
  // `of`: what it shrinks. Of two caches the one of the lower rank shrinks first.
  Shrinker(const void* of, int rank) : of_(of), rank_(rank) {}
  virtual ~Shrinker() = default;
  const void* of() const { return of_; }
  int rank() const { return rank_; }

  // Gives up some of it, what was used longest ago. False: there is nothing, or somebody works
  // with it.
  virtual bool shrink() = 0;
  virtual bool gone() const = 0;  // there will be nothing any more

 private:
  const void* const of_;
  const int rank_;
};

// An engine that is this, too, asks caches before it refuses somebody for want of memory: by their
// rank, and of one rank the cache told of longest ago first.
class AsksShrinkers {
 public:
  virtual ~AsksShrinkers() = default;
  // In place of an earlier one of the same cache. From any thread.
  virtual void ask(std::shared_ptr<Shrinker> shrinker) = 0;
};

}  // namespace lares::engine
