// A happens-before race detector for emulated kernels (simt_host.h): every thread of a kernel has a
// vector clock, every byte remembers who wrote it last and who has read it since, and a pair of
// accesses of which nothing that CUDA promises makes one come first is a race, whatever order the
// emulation ran them in. A translation unit takes part that is compiled with -DLARES_RACES and
// -fsanitize=thread, whose calls races_hooks.cc receives in place of that sanitizer's library; it
// is linked without -fsanitize.
//
// What makes one come first: barriers of a block, of some of its threads and of a warp; a cluster's
// barrier, unless an arrival publishes nothing; a barrier's phase that is waited for; an atomic
// that acquires and releases; waits for copies and products; a launch's end. Lanes that talk
// (shuffles, votes, mma, ldmatrix) do not: they order no memory. What copy engine and tensor cores
// touch in shared memory must have been made visible to them (a proxy fence) if a thread wrote it.
// A launch begins when all blocks of the one before it in its stream wait for their inputs no more,
// so before its own wait it comes after all but that one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace lares::kernels::cuda::simt::races {

// What is known to have happened of a cluster's threads, by each one's own time, and of others.
struct Clock;
class Ref {
 public:
  Ref() = default;
  explicit Ref(Clock* own) : clock_(own) {}  // takes over one reference
  Ref(const Ref& other);
  Ref(Ref&& other) noexcept : clock_(std::exchange(other.clock_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(clock_, other.clock_);
    return *this;
  }
  ~Ref();
  Clock* get() const { return clock_; }
  Clock* operator->() const { return clock_; }
  explicit operator bool() const { return clock_; }

 private:
  Clock* clock_ = nullptr;
};

// A launch among those of its stream: those numbered below begins_after are over when it begins.
struct Place {
  std::uint32_t stream = 0, number = 0, begins_after = 0;
};
Place alone();             // in a stream of its own
Place next(Place& last);   // the one behind, which begins early
void settle(Place& last);  // all of its stream's are over

struct Memory {
  const void* at = nullptr;
  std::size_t bytes = 0;

  bool has(const void* p) const {
    return reinterpret_cast<std::uintptr_t>(p) - reinterpret_cast<std::uintptr_t>(at) < bytes;
  }
};
struct Thread {
  Ref seen;       // happened before what it does next
  Ref published;  // ... and is visible to copy engine and tensor cores
  std::uint32_t cluster = 0, local = 0, time = 1;
  std::uint32_t over = 0;  // launches of its stream numbered below are
  // Its own memory, what its warp's lanes exchange, its block's shared memory.
  Memory stack, words, shared;
};
// What happened before an operation began that goes on beside its thread, and where it was asked
// for.
struct Begun {
  Ref seen, published;
  std::uint32_t cluster = 0, local = 0, time = 0, over = 0;
  std::uintptr_t at = 0;
};
// What arrivals leave for who waits.
struct Known {
  Ref seen, published;
  std::uint32_t over = 0;
};

// The thread whose kernel's code runs, or null; within `products`, what that code reads of shared
// memory is read by a product begun there.
extern Thread* current;
extern const Begun* products;
// While the emulation itself works for a thread, whose code called from `at`.
class Inside {
 public:
  explicit Inside(const void* at);
  ~Inside();
  Inside(const Inside&) = delete;
  Thread& own() const { return *own_; }
  std::uintptr_t at() const { return at_; }

 private:
  Thread* own_;
  const Begun* products_;
  std::uintptr_t at_;
};
// While a thread's code runs: its kernel, or a product that it has waited for.
class Running {
 public:
  explicit Running(Thread& thread);
  Running(const Inside& inside, const Begun& begun);
  ~Running();
  Running(const Running&) = delete;
};

// Clusters of blocks, in the order they begin in. Threads first, then engines: barriers on which
// copies end.
std::uint32_t begin_cluster(const Place& place, int n_threads);
void begin(Thread& thread, std::uint32_t cluster, int local, const Place& place, Memory stack,
           Memory words, Memory shared);
void waited(const Inside& inside, const Place& place);  // for all launches before its own

// A barrier that opens for all who wait at once.
class Meeting {
 public:
  void arrive(const Inside& inside, bool waits);
  void open();

 private:
  struct Part {
    Thread* thread;
    Ref seen, published;  // of who does not wait; others' stay as they are
    std::uint32_t time, over;
    bool waits;
  };
  std::vector<Part> parts_;
};
void release(const Inside& inside, Known& into);
void acquire(const Inside& inside, const Known& from);
void publish(const Inside& inside);  // a proxy fence, of shared memory
Begun begin(const Inside& inside);

// An engine's time: what it has written by then a waiter sees.
struct Engine {
  std::uint32_t cluster = 0, local = 0, time = 1;
};
Engine engine(std::uint32_t cluster, int number);
void finish(Engine& engine, Known& into);  // what it did so far, to be seen by who acquires

void launched();  // one more, for what is said in the end

// Accesses that are no plain ones of the kernel's code.
void atomic(const Inside& inside, const void* at, std::size_t bytes);
void acquire_release(const Inside& inside, const void* at);  // by an atomic that does both
// One that must have been made, and for an engine published.
void use_barrier(const Inside& inside, const void* at, bool by_engine);
void store(const Inside& inside, const void* at, std::size_t bytes);
void landed(const Inside& inside, const Begun& begun, const void* to, const void* from,
            std::size_t bytes);
void landed(const Engine& engine, const Begun& begun, const void* to, const void* from,
            std::size_t bytes);

void forget(const void* from, std::size_t bytes);  // memory that begins anew
void forget();                                     // all of it: nothing is under way

// For what tests the tests: places in the code that should order nothing, from LARES_RACES_WITHOUT
// (hexadecimal, from where the program begins, commas between them). Whoever calls from there still
// waits. Where LARES_RACES_PLACES is set, a program's end prints all that ordered something.
bool left_out(const Inside& inside);

// A race, once for each pair of places in the code. They are printed as they are found, and the
// process ends with status 66; unless somebody takes them. Where LARES_RACES_FIRST is set, it ends
// with the first. What a program looked at is printed in its end: "races: .. launches, ..".
struct Race {
  std::string what;  // "a write and a read", "no proxy fence ..."
  std::uintptr_t second, first;
};
class Taking {
 public:
  Taking();
  ~Taking();
  Taking(const Taking&) = delete;
  std::vector<Race> all() const;
};
// Reads before a launch's own wait of what an earlier launch of its stream wrote: how many launches
// back at least, of each place in the code. Printed as they are found where LARES_RACES_EARLY is
// set.
struct Early {
  std::uint32_t distance;
  std::uintptr_t read, written;
};
std::vector<Early> early();

}  // namespace lares::kernels::cuda::simt::races
