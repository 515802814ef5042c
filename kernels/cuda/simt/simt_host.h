// Runs a kernel's body on the CPU, a fiber a thread, so that every index, barrier and fragment of
// it can be tested where there is no GPU. Blocks run one after the other, those of a cluster
// together. Threads run until they wait for others, in an order of the caller's choice: a result
// that depends on it misses a barrier. A barrier that not everybody reaches ends the program with a
// message. What a device does in its own way is done here by its definition: an mma adds exact
// products in double and rounds once.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#ifdef LARES_RACES
#include "races.h"
#define LARES_UNSEEN __attribute__((no_sanitize("thread")))
#define LARES_APART __attribute__((noinline))
#else
#include "no_races.h"
#define LARES_UNSEEN
#define LARES_APART
#endif
// In what a kernel's code calls: from here on it is the emulation that works. LARES_APART, so that
// there is somebody who calls; what only looks something up is LARES_UNSEEN instead.
#define LARES_INSIDE const races::Inside inside(__builtin_return_address(0))

namespace lares::kernels::cuda::simt {

struct Dim {
  int x = 1, y = 1, z = 1;
};
enum class Order {
  ascending,
  descending,
  scattered,
  greedy
};  // greedy: the first thread that can go on does, so warps drift apart

struct Launch {
  Dim grid;
  int threads = 0;
  std::size_t shared_bytes = 0;
  int cluster = 1;  // how many blocks, consecutive along x, make a cluster
  std::function<void()> body;
  races::Place place = {};  // where launches overlap

  int clusters() const { return grid.x / cluster * grid.y * grid.z; }
  Dim first_of(int i) const {  // its first block
    const int along = grid.x / cluster;
    return {i % along * cluster, i / along % grid.y, i / along / grid.y};
  }
};

class Machine {
 public:
  Machine() = default;
  Machine(const Machine&) = delete;

  // The one whose threads run, else that of launches that run at once.
  LARES_UNSEEN static Machine& get() {
    static Machine machine;
    return running() ? *running() : machine;
  }

  void run(const Launch& launch, Order order) {
    prepare(launch, order);
    place_ = races::alone();
    races::forget();
    for (int i = 0; i < launch.clusters(); ++i) run_cluster(launch.first_of(i));
  }
  void run_one(const Launch& launch, Order order, Dim first) {
    prepare(launch, order);
    run_cluster(first);
  }
  void run(Dim grid, int threads, std::size_t shared_bytes, Order order,
           const std::function<void()>& body, int cluster = 1) {
    run({grid, threads, shared_bytes, cluster, body}, order);
  }
  // The blocks of one cluster up to what they wait for inputs for, and, some time later, the rest.
  void run_ahead(const Launch& launch, Order order, Dim first) {
    prepare(launch, order);
    begin(first);
    inputs_there_ = false;
    go_on();
    for (const Block& b : blocks_)
      if (b.live == 0) {
        std::fprintf(stderr, "emulated kernel: block %d %d %d waits for no inputs\n", b.at.x,
                     b.at.y, b.at.z);
        std::abort();
      }
    inputs_there_ = true;
  }
  void end() {
    go_on();
    for (const Block& b : blocks_) check_guard(b);
  }

  LARES_UNSEEN int thread() const { return thread_; }
  LARES_UNSEEN int threads() const { return threads_; }
  LARES_UNSEEN Dim block() const { return own_->at; }
  LARES_UNSEEN Dim grid() const { return grid_; }
  LARES_UNSEEN void* shared() { return own_->memory; }

  LARES_APART void wait_for_inputs() {
    LARES_INSIDE;
    races::waited(inside, place_);
    if (inputs_there_) return;
    fiber().for_inputs = true;
    if (!_setjmp(fiber().at)) _longjmp(scheduler_, 1);
  }
  LARES_APART void sync_block() {
    LARES_INSIDE;
    own_->barrier.meeting.arrive(inside, /*waits=*/true);
    wait(own_->barrier, own_->live);
  }
  LARES_APART void sync_warp() {
    LARES_INSIDE;
    warp().barrier.meeting.arrive(inside, /*waits=*/true);
    wait(warp().barrier, warp_size());
  }
  // Barriers of their own number, for so many threads; who arrives does not wait.
  LARES_APART void sync_some(int barrier, int n) {
    LARES_INSIDE;
    own_->named[barrier].meeting.arrive(inside, /*waits=*/true);
    wait(own_->named[barrier], n);
  }
  LARES_APART void arrive_some(int barrier, int n) {
    LARES_INSIDE;
    own_->named[barrier].meeting.arrive(inside, /*waits=*/false);
    if (++own_->named[barrier].arrived == n) open(own_->named[barrier]);
  }
  // What has been written into shared memory may be read by copy engine and tensor cores.
  LARES_APART void publish() {
    LARES_INSIDE;
    races::publish(inside);
  }
  // Atomics: what was there before; and one that acquires and releases, true for the last of n,
  // with which the count is 0 again.
  LARES_APART std::uint32_t add(std::uint32_t* to, std::uint32_t v) {
    LARES_INSIDE;
    races::atomic(inside, to, 4);
    const std::uint32_t before = *to;
    *to += v;
    return before;
  }
  LARES_APART bool arrive_last(std::uint32_t* count, std::uint32_t n) {
    LARES_INSIDE;
    races::atomic(inside, count, 4);
    races::acquire_release(inside, count);
    if (++*count != n) return false;
    races::store(inside, count, 4);
    *count = 0;
    return true;
  }
  // The barrier of a cluster: a thread that has arrived goes on until it waits.
  LARES_UNSEEN int cluster_rank() const { return current_ / threads_; }
  LARES_APART void arrive_cluster(bool publishes) {
    LARES_INSIDE;
    if (publishes) races::release(inside, cluster_gathered_);
    Fiber& f = fiber();
    if (f.arrived) fail("arrives at its cluster's barrier once more before it has waited");
    if (!publishes && f.stored) fail("does not publish what it has stored in other blocks");
    f.stored = false;
    f.arrived = true;
    ++f.arrivals;
    if (--cluster_missing_ == 0) open_cluster();
  }
  LARES_APART void wait_cluster() {
    LARES_INSIDE;
    Fiber& f = fiber();
    if (!f.arrived) fail("waits at its cluster's barrier before it has arrived");
    f.arrived = false;
    f.met = true;
    if (f.arrivals != cluster_.generation) {  // what it arrived at is not over
      f.waits = &cluster_;
      f.generation = cluster_.generation;
      if (!_setjmp(f.at)) _longjmp(scheduler_, 1);
    }
    races::acquire(inside, cluster_known_);
  }
  // Where `at` is in the shared memory of another block: poison until everybody has arrived at the
  // cluster's barrier, after the store.
  LARES_APART void store_in(int rank, void* at, std::uint32_t word) {
    LARES_INSIDE;
    if (!fiber().met) fail("stores into a block that may not have begun");
    const auto offset =
        static_cast<std::size_t>(static_cast<char*>(at) - static_cast<char*>(own_->memory));
    if (rank < 0 || rank >= static_cast<int>(blocks_.size()) || offset + 4 > shared_bytes_)
      fail("stores outside of its cluster's shared memory");
    const Block& other = blocks_[static_cast<std::size_t>(rank)];
    if (other.live == 0) fail("stores into a block that has ended");
    void* const to = static_cast<char*>(other.memory) + offset;
    races::store(inside, to, 4);
    std::memset(to, 0xFF, 4);
    stores_.push_back({to, word, &other, fiber().arrivals});
    fiber().stored = true;
  }
  // Made no sooner than they are waited for, so that who does not wait misses them; without `from`
  // zeros. Until then there is poison.
  LARES_APART void copy_later(void* to, const void* from, int bytes) {
    LARES_INSIDE;
    std::memset(to, 0xFF, static_cast<std::size_t>(bytes));
    fiber().copies.push_back({to, from, bytes, 0, races::begin(inside)});
  }
  LARES_APART void finish_copies() {
    LARES_INSIDE;
    for (const Copy& c : fiber().copies) land(inside, c);
    fiber().copies.clear();
  }
  LARES_APART void commit_copies() {
    LARES_INSIDE;
    Fiber& f = fiber();
    ++f.copy_groups;
    for (Copy& c : f.copies)
      if (c.group == 0) c.group = f.copy_groups;
  }
  LARES_APART void finish_copy_groups(int left) {
    LARES_INSIDE;
    Fiber& f = fiber();
    std::size_t n = 0;
    while (n < f.copies.size() && f.copies[n].group != 0 &&
           f.copies[n].group <= f.copy_groups - left)
      land(inside, f.copies[n++]);
    f.copies.erase(f.copies.begin(), f.copies.begin() + static_cast<std::ptrdiff_t>(n));
  }
  // Barriers in shared memory that count arrivals and bytes (bulk.h). What is copied onto one is
  // poison from then on, and there no sooner than somebody waits for it: so who reads too early, or
  // is read by too late, has it.
  LARES_APART void make_phase(const void* b, int arrivals) {
    LARES_INSIDE;
    races::store(inside, b, 8);
    Phase& p = phases_[b] = {};
    p.arrivals = p.left = arrivals;
    p.engine = races::engine(cluster_number_, engines_++);
  }
  LARES_APART void arrive_phase(const void* b, int bytes) {
    LARES_INSIDE;
    arrive_at(inside, b, bytes);
  }
  LARES_APART void copy_onto(const void* b, void* to, const void* from, int bytes) {
    LARES_INSIDE;
    add_copy(inside, b, to, from, bytes);
  }
  // Both at once.
  LARES_APART void arrive_and_copy(const void* b, void* to, const void* from, int bytes) {
    LARES_INSIDE;
    arrive_at(inside, b, bytes);
    add_copy(inside, b, to, from, bytes);
  }
  // Until the phase of this parity is over; one that has not begun is, as the device has it.
  LARES_APART void wait_phase(const void* b, int parity) {
    LARES_INSIDE;
    races::use_barrier(inside, b, /*by_engine=*/false);
    Phase& p = phase(b);
    if (over(p), p.parity == (parity != 0)) {
      Fiber& f = fiber();
      f.phase = &p;
      f.parity = parity != 0;
      if (!_setjmp(f.at)) _longjmp(scheduler_, 1);
    }
    races::acquire(inside, phase(b).known[parity != 0]);
  }
  // Products that go on beside what follows (wgmma.h): `make` adds to d what its operands are when
  // somebody waits for it; until then d is poison. So who writes operands too early, or reads sums
  // too early, has wrong ones.
  template <class Make>
  LARES_APART void multiply_later(float* d, int n, const Make& make) {
    LARES_INSIDE;
    auto& later = fiber().later;
    later.push_back({d, n, 0, false, {}, make, races::begin(inside)});
    for (std::size_t i = 0; i + 1 < later.size(); ++i) later.back().chained |= later[i].d == d;
    if (!later.back().chained) take_sums(later.back());
  }
  LARES_APART void commit_products() {
    LARES_INSIDE;
    Fiber& f = fiber();
    ++f.groups;
    for (Later& l : f.later)
      if (l.group == 0) l.group = f.groups;
  }
  LARES_APART void finish_products(int left) {
    LARES_INSIDE;
    auto& later = fiber().later;
    const int last = fiber().groups - left;
    while (!later.empty() && later.front().group != 0 && later.front().group <= last) {
      const Later l = std::move(later.front());
      later.erase(later.begin());
      if (!l.chained) std::memcpy(l.d, l.sums.data(), l.sums.size() * sizeof(float));
      {
        const races::Running running(inside, l.begun);
        l.make();
      }
      for (Later& next : later)
        if (next.d == l.d) {
          next.chained = false;
          take_sums(next);
          break;
        }
    }
  }
  // Gives every lane the others' words, until the next call.
  LARES_APART const std::uint32_t (*exchange(const std::uint32_t* mine, int n))[8] {
    LARES_INSIDE;
    Warp& w = warp();
    wait(w.barrier, warp_size());  // nobody reads the last ones any more
    for (int i = 0; i < n; ++i) w.words[thread_ % 32][i] = mine[i];
    wait(w.barrier, warp_size());
    return w.words;
  }
  LARES_UNSEEN float f16(std::uint16_t bits) const { return f16_values_[bits]; }

 private:
  struct Barrier {
    int arrived = 0;
    unsigned generation = 0;
    races::Meeting meeting;
  };
  struct Warp {
    Barrier barrier;
    std::uint32_t words[32][8];
  };
  struct Copy {
    void* to;
    const void* from;
    int bytes, group;
    races::Begun begun;
  };
  template <class Who>
  static void land(const Who& who, const Copy& c) {
    races::landed(who, c.begun, c.to, c.from, static_cast<std::size_t>(c.bytes));
    if (c.from)
      std::memcpy(c.to, c.from, static_cast<std::size_t>(c.bytes));
    else
      std::memset(c.to, 0, static_cast<std::size_t>(c.bytes));
  }
  struct Phase {
    int arrivals = 0, left = 0;
    std::int64_t expected = 0, copied = 0;  // bytes
    bool parity = false;                    // of the phase that goes on
    std::vector<Copy> copies;
    races::Engine engine;
    races::Known gathered, known[2];  // of who has arrived; of the phases of both parities
  };
  struct Later {
    float* d;
    int n, group;
    bool chained;  // behind another one that adds to d
    std::vector<float> sums;
    std::function<void()> make;
    races::Begun begun;
  };
  struct Fiber {
    static constexpr std::size_t kStack = 128 << 10;
    jmp_buf at;
    ucontext_t start, back;
    bool started = false, done = true;
    const Barrier* waits = nullptr;
    unsigned generation = 0;
    Phase* phase = nullptr;
    bool parity = false;
    std::unique_ptr<char[]> stack{new char[kStack]};
    std::vector<Copy> copies;
    std::vector<Later> later;
    int groups = 0, copy_groups = 0;
    unsigned arrivals = 0;    // at the cluster's barrier
    bool arrived = false;     // ... and has not waited since
    bool met = false;         // has waited there
    bool stored = false;      // in another block, since it last arrived
    bool for_inputs = false;  // it waits for them
    races::Thread race;
  };
  struct Words {
    std::uint32_t w[4];
  };
  static constexpr std::size_t kSharedGuard = 264;  // words of 16 bytes behind the last
  struct Block {
    Dim at;
    std::vector<Words> shared;
    std::vector<Warp> warps;
    Barrier barrier, named[16];
    int live = 0;            // threads that have not ended
    void* memory = nullptr;  // aligned as on a device
  };
  struct Store {
    void* to;
    std::uint32_t word;
    const Block* in;
    unsigned after;  // so many arrivals of the thread
  };

  static std::vector<float> f16_values() {
    std::vector<float> out(1 << 16);
    for (int i = 0; i < 1 << 16; ++i) {
      const int e = i >> 10 & 31, m = i & 1023;
      const float v = e == 31 ? (m ? NAN : INFINITY)
                      : e     ? std::ldexp(static_cast<float>(1024 + m), e - 25)
                              : std::ldexp(static_cast<float>(m), -24);
      out[static_cast<std::size_t>(i)] = i & 0x8000 ? -v : v;
    }
    return out;
  }
  LARES_UNSEEN static Machine*& running() {
    static Machine* machine = nullptr;
    return machine;
  }

  void prepare(const Launch& launch, Order order) {
    const int cluster = launch.cluster;
    if (launch.grid.x % cluster != 0) {
      std::fprintf(stderr, "emulated kernel: %d blocks are no clusters of %d\n", launch.grid.x,
                   cluster);
      std::abort();
    }
    grid_ = launch.grid;
    threads_ = launch.threads;
    shared_bytes_ = launch.shared_bytes;
    greedy_ = order == Order::greedy;
    body_ = &launch.body;
    place_ = launch.place;
    const int n = threads_ * cluster;
    while (static_cast<int>(fibers_.size()) < n) fibers_.push_back(std::make_unique<Fiber>());
    blocks_.resize(static_cast<std::size_t>(cluster));
    turn_.resize(static_cast<std::size_t>(n));
    for (int i = 0; i < n; ++i)
      turn_[static_cast<std::size_t>(i)] = order == Order::ascending || greedy_ ? i
                                           : order == Order::descending
                                               ? n - 1 - i
                                               : static_cast<int>((i * 7919LL + 13) % n);
  }
  void run_cluster(Dim first) {
    begin(first);
    end();
  }
  void begin(Dim first) {
    cluster_number_ = races::begin_cluster(place_, static_cast<int>(turn_.size()));
    for (int i = 0; i < static_cast<int>(blocks_.size()); ++i) begin_block(i, first);
    live_ = cluster_missing_ = static_cast<int>(turn_.size());
    cluster_ = {};
    cluster_gathered_ = cluster_known_ = {};
    engines_ = 0;
    stores_.clear();
    phases_.clear();
  }

  Fiber& fiber() { return *fibers_[static_cast<std::size_t>(current_)]; }
  Warp& warp() { return own_->warps[static_cast<std::size_t>(thread_ / 32)]; }

  void check_guard(const Block& b) {
    const auto* const end =
        reinterpret_cast<const unsigned char*>(b.shared.data() + b.shared.size());
    for (const unsigned char* p = static_cast<unsigned char*>(b.memory) + shared_bytes_; p < end;
         ++p)
      if (*p != 0xFF) {
        std::fprintf(
            stderr,
            "emulated kernel: block %d %d %d: wrote beyond its %zu bytes of shared memory\n",
            b.at.x, b.at.y, b.at.z, shared_bytes_);
        std::abort();
      }
  }

  [[noreturn]] void fail(const char* what) const {
    const Dim at = block();
    std::fprintf(stderr, "emulated kernel: block %d %d %d: thread %d %s\n", at.x, at.y, at.z,
                 thread(), what);
    std::abort();
  }
  Phase& phase(const void* b) {
    const auto at = phases_.find(b);
    if (at == phases_.end()) fail("uses a barrier that nobody made");
    return at->second;
  }
  void arrive_at(const races::Inside& inside, const void* b, int bytes) {
    races::use_barrier(inside, b, /*by_engine=*/false);
    Phase& p = phase(b);
    if (p.left == 0) fail("arrives once too often at a barrier");
    races::release(inside, p.gathered);
    --p.left;
    p.expected += bytes;
    if (p.expected == 0) over(p);
  }
  void add_copy(const races::Inside& inside, const void* b, void* to, const void* from, int bytes) {
    races::use_barrier(inside, b, /*by_engine=*/true);
    Phase& p = phase(b);
    std::memset(to, 0xFF, static_cast<std::size_t>(bytes));
    p.copies.push_back({to, from, bytes, 0, races::begin(inside)});
    p.copied += bytes;
  }
  // Ends a phase at which all have arrived and whose copies are all on their way.
  void over(Phase& p) {
    if (p.left > 0 || p.copied != p.expected) return;
    for (const Copy& c : p.copies) land(p.engine, c);
    races::finish(p.engine, p.gathered);
    p.known[p.parity] = std::exchange(p.gathered, {});
    p.copies.clear();
    p.left = p.arrivals;
    p.expected = p.copied = 0;
    p.parity = !p.parity;
  }
  static void take_sums(Later& l) {
    l.sums.assign(l.d, l.d + l.n);
    std::memset(static_cast<void*>(l.d), 0xFF, l.sums.size() * sizeof(float));
  }

  int warp_size() const { return threads_ - thread_ / 32 * 32 < 32 ? threads_ % 32 : 32; }

  static void enter() {
    Machine& m = get();
    for (;;) {
      {
        const races::Running running(m.fiber().race);
        (*m.body_)();
      }
      Fiber& f = m.fiber();
      if (f.arrived) m.fail("ends before it has waited at its cluster's barrier");
      Block& b = *m.own_;
      f.done = true;
      --m.live_;
      --b.live;
      if (b.barrier.arrived > 0 && b.barrier.arrived == b.live)
        m.open(b.barrier);  // those left over need not wait for it
      if (f.arrivals == m.cluster_.generation && --m.cluster_missing_ == 0) m.open_cluster();
      if (!_setjmp(f.at)) _longjmp(m.scheduler_, 1);
    }
  }
  void open(Barrier& b) {
    b.meeting.open();
    b.arrived = 0;
    ++b.generation;
  }
  void wait(Barrier& b, int n) {
    if (++b.arrived == n) return open(b);
    Fiber& f = fiber();
    f.waits = &b;
    f.generation = b.generation;
    if (!_setjmp(f.at)) _longjmp(scheduler_, 1);
  }
  // Everybody has arrived, and is awaited again who has not ended.
  void open_cluster() {
    std::erase_if(stores_, [&](const Store& store) {
      if (store.in->live == 0) fail("meets others that store into a block that has ended");
      if (store.after > cluster_.generation) return false;
      std::memcpy(store.to, &store.word, 4);
      return true;
    });
    cluster_known_ = std::exchange(cluster_gathered_, {});
    open(cluster_);
    cluster_missing_ = live_;
  }
  // The i-th block of the cluster at `first`.
  void begin_block(int i, Dim first) {
    Block& b = blocks_[static_cast<std::size_t>(i)];
    b.at = {first.x + i, first.y, first.z};
    races::forget(b.shared.data(), b.shared.size() * sizeof(Words));  // which may go elsewhere
    // NaN, whatever it is read as
    b.shared.assign(shared_bytes_ / 16 + kSharedGuard,
                    {0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu});
    races::forget(b.shared.data(), b.shared.size() * sizeof(Words));
    // Aligned as on a device.
    b.memory = reinterpret_cast<void*>((reinterpret_cast<std::uintptr_t>(b.shared.data()) + 1023) /
                                       1024 * 1024);
    b.warps.assign(static_cast<std::size_t>((threads_ + 31) / 32), {});
    b.barrier = {};
    for (Barrier& named : b.named) named = {};
    b.live = threads_;
    for (int t = 0; t < threads_; ++t) {
      Fiber& f = *fibers_[static_cast<std::size_t>(i * threads_ + t)];
      f.done = false;
      f.waits = nullptr;
      f.phase = nullptr;
      f.copies.clear();
      f.later.clear();
      f.groups = f.copy_groups = 0;
      f.arrivals = 0;
      f.arrived = f.met = f.stored = f.for_inputs = false;
      const auto& words = b.warps[static_cast<std::size_t>(t / 32)].words;
      races::begin(f.race, cluster_number_, i * threads_ + t, place_,
                   {f.stack.get(), Fiber::kStack}, {words, sizeof words},
                   {b.memory, shared_bytes_});
    }
  }
  void go_on() {
    running() = this;
    while (live_ > 0) {
      progress_ = false;
      for (next_ = 0; next_ < turn_.size(); ++next_) {
        Fiber& f = *fibers_[static_cast<std::size_t>(turn_[next_])];
        if (f.done || (f.for_inputs && !inputs_there_) ||
            (f.waits && f.waits->generation == f.generation))
          continue;
        if (f.phase) over(*f.phase);
        if (f.phase && f.phase->parity == f.parity) continue;
        f.waits = nullptr;
        f.phase = nullptr;
        f.for_inputs = false;
        progress_ = true;
        current_ = turn_[next_];
        thread_ = current_ % threads_;
        own_ = &blocks_[static_cast<std::size_t>(current_ / threads_)];
        if (!_setjmp(scheduler_)) resume(f);
        if (greedy_) next_ = static_cast<std::size_t>(-1);  // from the first one again
      }
      if (!progress_ && !inputs_there_) break;
      if (!progress_) {
        const Dim at = blocks_.front().at;
        std::fprintf(stderr,
                     "emulated kernel: block %d %d %d: %d threads wait at a barrier that the "
                     "others do not reach\n",
                     at.x, at.y, at.z, live_);
        std::abort();
      }
    }
    running() = nullptr;
  }
  void resume(Fiber& f) {
    if (f.started) _longjmp(f.at, 1);
    f.started = true;
    getcontext(&f.start);
    f.start.uc_stack.ss_sp = f.stack.get();
    f.start.uc_stack.ss_size = Fiber::kStack;
    f.start.uc_link = nullptr;
    makecontext(&f.start, &Machine::enter, 0);
    setcontext(&f.start);
  }

  Dim grid_;
  std::size_t shared_bytes_ = 0;
  int threads_ = 0, live_ = 0;    // of a block; of the cluster, those that have not ended
  int current_ = 0, thread_ = 0;  // in the cluster, in its block
  Block* own_ = nullptr;          // the current thread's
  std::size_t next_ = 0;          // of the round; members, for locals do not survive a jump
  bool progress_ = false, greedy_ = false, inputs_there_ = true;
  std::vector<int> turn_;  // whose it is to go on, in order
  const std::function<void()>* body_ = nullptr;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Block> blocks_;  // of the cluster that runs
  Barrier cluster_;
  int cluster_missing_ = 0;  // threads that have not arrived
  std::vector<Store> stores_;
  std::unordered_map<const void*, Phase> phases_;
  races::Place place_;  // of the launch
  std::uint32_t cluster_number_ = 0;
  int engines_ = 0;                                // barriers that were made
  races::Known cluster_gathered_, cluster_known_;  // of who has arrived; of the last time all met
  jmp_buf scheduler_;
  static inline const std::vector<float> f16_ = f16_values();
  static inline const float* const f16_values_ = f16_.data();
};

}  // namespace lares::kernels::cuda::simt
