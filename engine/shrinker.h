// What is kept of this engine's work for whoever comes, given up when its sequences need the
// memory: others' caches, and what a timeline holds that nobody goes on with now.
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

// A timeline that is this, too, is told when nobody goes on with it for now. All it holds beside
// its tokens may then be given up, though it was used just now; whoever uses it next, with which
// its rest is over, evaluates that again.
enum class Rest {
  none,
  turns,  // somebody may go on with it at any time: after all else
  spare,  // nobody waits for what it evaluates: before any cache
};
class Rests {
 public:
  virtual ~Rests() = default;
  virtual void rest(Rest how) = 0;  // from any thread
};

}  // namespace lares::engine
