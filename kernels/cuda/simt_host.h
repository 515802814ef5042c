// Runs a kernel's body on the CPU, a fiber a thread, so that every index, barrier and fragment of
// it can be tested where there is no GPU. Blocks run one after the other. Threads run until they
// wait for others, in an order of the caller's choice: a result that depends on it misses a
// barrier. A barrier that not everybody reaches ends the program with a message. What a device does
// in its own way is done here by its definition: an mma adds exact products in double and rounds
// once.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <vector>

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

class Machine {
 public:
  static Machine& get() {
    static Machine machine;
    return machine;
  }

  void run(Dim grid, int threads, std::size_t shared_bytes, Order order,
           const std::function<void()>& body) {
    grid_ = grid;
    threads_ = threads;
    greedy_ = order == Order::greedy;
    body_ = &body;
    while (static_cast<int>(fibers_.size()) < threads) fibers_.push_back(std::make_unique<Fiber>());
    std::vector<int> turn(static_cast<std::size_t>(threads));
    for (int i = 0; i < threads; ++i)
      turn[static_cast<std::size_t>(i)] = order == Order::ascending || greedy_ ? i
                                          : order == Order::descending
                                              ? threads - 1 - i
                                              : static_cast<int>((i * 7919LL + 13) % threads);
    for (block_.z = 0; block_.z < grid.z; ++block_.z)
      for (block_.y = 0; block_.y < grid.y; ++block_.y)
        for (block_.x = 0; block_.x < grid.x; ++block_.x) {
          shared_.assign(shared_bytes / 16 + kSharedGuard,
                         {0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu});  // NaN, whatever it
                                                                                 // is read as
          run_block(turn);
          check_guard(shared_bytes);
        }
  }

  int thread() const { return current_; }
  int threads() const { return threads_; }
  Dim block() const { return block_; }
  Dim grid() const { return grid_; }
  // Aligned as on a device.
  void* shared() {
    return reinterpret_cast<void*>((reinterpret_cast<std::uintptr_t>(shared_.data()) + 1023) /
                                   1024 * 1024);
  }

  void sync_block() { wait(block_barrier_, live_); }
  void sync_warp() { wait(warps_[static_cast<std::size_t>(current_ / 32)].barrier, warp_size()); }
  // Barriers of their own number, for so many threads; who arrives does not wait.
  void sync_some(int barrier, int n) { wait(named_[barrier], n); }
  void arrive_some(int barrier, int n) {
    if (++named_[barrier].arrived == n) open(named_[barrier]);
  }
  // Made no sooner than they are waited for, so that who does not wait misses them; without `from`
  // zeros. Until then there is poison.
  void copy_later(void* to, const void* from, int bytes) {
    std::memset(to, 0xFF, static_cast<std::size_t>(bytes));
    fibers_[static_cast<std::size_t>(current_)]->copies.push_back({to, from, bytes, 0});
  }
  void finish_copies() {
    for (const Copy& c : fibers_[static_cast<std::size_t>(current_)]->copies) land(c);
    fibers_[static_cast<std::size_t>(current_)]->copies.clear();
  }
  void commit_copies() {
    Fiber& f = *fibers_[static_cast<std::size_t>(current_)];
    ++f.copy_groups;
    for (Copy& c : f.copies)
      if (c.group == 0) c.group = f.copy_groups;
  }
  void finish_copy_groups(int left) {
    Fiber& f = *fibers_[static_cast<std::size_t>(current_)];
    std::size_t n = 0;
    while (n < f.copies.size() && f.copies[n].group != 0 &&
           f.copies[n].group <= f.copy_groups - left)
      land(f.copies[n++]);
    f.copies.erase(f.copies.begin(), f.copies.begin() + static_cast<std::ptrdiff_t>(n));
  }
  // Barriers in shared memory that count arrivals and bytes (bulk.h). What is copied onto one is
  // poison from then on, and there no sooner than somebody waits for it: so who reads too early, or
  // is read by too late, has it.
  void make_phase(const void* b, int arrivals) {
    phases_[b] = {arrivals, arrivals, 0, 0, false, {}};
  }
  void arrive_phase(const void* b, int bytes) {
    Phase& p = phase(b);
    if (p.left == 0) fail("arrives once too often at a barrier");
    --p.left;
    p.expected += bytes;
    if (p.expected == 0) over(p);
  }
  void copy_onto(const void* b, void* to, const void* from, int bytes) {
    Phase& p = phase(b);
    std::memset(to, 0xFF, static_cast<std::size_t>(bytes));
    p.copies.push_back({to, from, bytes, 0});
    p.copied += bytes;
  }
  // Until the phase of this parity is over; one that has not begun is, as the device has it.
  void wait_phase(const void* b, int parity) {
    Phase& p = phase(b);
    if (over(p), p.parity != (parity != 0)) return;
    Fiber& f = *fibers_[static_cast<std::size_t>(current_)];
    f.phase = &p;
    f.parity = parity != 0;
    if (!_setjmp(f.at)) _longjmp(scheduler_, 1);
  }
  // Products that go on beside what follows (wgmma.h): `make` adds to d what its operands are when
  // somebody waits for it; until then d is poison. So who writes operands too early, or reads sums
  // too early, has wrong ones.
  void multiply_later(float* d, int n, std::function<void()> make) {
    auto& later = fibers_[static_cast<std::size_t>(current_)]->later;
    later.push_back({d, n, 0, false, {}, std::move(make)});
    for (std::size_t i = 0; i + 1 < later.size(); ++i) later.back().chained |= later[i].d == d;
    if (!later.back().chained) take_sums(later.back());
  }
  void commit_products() {
    Fiber& f = *fibers_[static_cast<std::size_t>(current_)];
    ++f.groups;
    for (Later& l : f.later)
      if (l.group == 0) l.group = f.groups;
  }
  void finish_products(int left) {
    auto& later = fibers_[static_cast<std::size_t>(current_)]->later;
    const int last = fibers_[static_cast<std::size_t>(current_)]->groups - left;
    while (!later.empty() && later.front().group != 0 && later.front().group <= last) {
      const Later l = std::move(later.front());
      later.erase(later.begin());
      if (!l.chained) std::memcpy(l.d, l.sums.data(), l.sums.size() * sizeof(float));
      l.make();
      for (Later& next : later)
        if (next.d == l.d) {
          next.chained = false;
          take_sums(next);
          break;
        }
    }
  }
  // Gives every lane the others' words, until the next call.
  const std::uint32_t (*exchange(const std::uint32_t* mine, int n))[8] {
    Warp& w = warps_[static_cast<std::size_t>(current_ / 32)];
    sync_warp();  // nobody reads the last ones any more
    for (int i = 0; i < n; ++i) w.words[current_ % 32][i] = mine[i];
    sync_warp();
    return w.words;
  }
  float f16(std::uint16_t bits) const { return f16_[bits]; }

 private:
  struct Barrier {
    int arrived = 0;
    unsigned generation = 0;
  };
  struct Warp {
    Barrier barrier;
    std::uint32_t words[32][8];
  };
  struct Copy {
    void* to;
    const void* from;
    int bytes, group;
  };
  static void land(const Copy& c) {
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
  };
  struct Later {
    float* d;
    int n, group;
    bool chained;  // behind another one that adds to d
    std::vector<float> sums;
    std::function<void()> make;
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
  };

  Machine() : f16_(1 << 16) {
    for (int i = 0; i < 1 << 16; ++i) {
      const int e = i >> 10 & 31, m = i & 1023;
      const float v = e == 31 ? (m ? NAN : INFINITY)
                      : e     ? std::ldexp(static_cast<float>(1024 + m), e - 25)
                              : std::ldexp(static_cast<float>(m), -24);
      f16_[static_cast<std::size_t>(i)] = i & 0x8000 ? -v : v;
    }
  }

  void check_guard(std::size_t shared_bytes) {
    const auto* const end = reinterpret_cast<const unsigned char*>(shared_.data() + shared_.size());
    for (const unsigned char* p = static_cast<unsigned char*>(shared()) + shared_bytes; p < end;
         ++p)
      if (*p != 0xFF) {
        std::fprintf(
            stderr,
            "emulated kernel: block %d %d %d: wrote beyond its %zu bytes of shared memory\n",
            block_.x, block_.y, block_.z, shared_bytes);
        std::abort();
      }
  }

  [[noreturn]] void fail(const char* what) const {
    std::fprintf(stderr, "emulated kernel: block %d %d %d: thread %d %s\n", block_.x, block_.y,
                 block_.z, current_, what);
    std::abort();
  }
  Phase& phase(const void* b) {
    const auto at = phases_.find(b);
    if (at == phases_.end()) fail("uses a barrier that nobody made");
    return at->second;
  }
  // Ends a phase at which all have arrived and whose copies are all on their way.
  void over(Phase& p) {
    if (p.left > 0 || p.copied != p.expected) return;
    for (const Copy& c : p.copies) land(c);
    p = {p.arrivals, p.arrivals, 0, 0, !p.parity, {}};
  }
  static void take_sums(Later& l) {
    l.sums.assign(l.d, l.d + l.n);
    std::memset(static_cast<void*>(l.d), 0xFF, l.sums.size() * sizeof(float));
  }

  int warp_size() const { return threads_ - current_ / 32 * 32 < 32 ? threads_ % 32 : 32; }

  static void enter() {
    Machine& m = get();
    for (;;) {
      (*m.body_)();
      Fiber& f = *m.fibers_[static_cast<std::size_t>(m.current_)];
      f.done = true;
      --m.live_;
      if (m.block_barrier_.arrived > 0 && m.block_barrier_.arrived == m.live_)
        m.open(m.block_barrier_);  // those left over need not wait for it
      if (!_setjmp(f.at)) _longjmp(m.scheduler_, 1);
    }
  }
  void open(Barrier& b) {
    b.arrived = 0;
    ++b.generation;
  }
  void wait(Barrier& b, int n) {
    if (++b.arrived == n) return open(b);
    Fiber& f = *fibers_[static_cast<std::size_t>(current_)];
    f.waits = &b;
    f.generation = b.generation;
    if (!_setjmp(f.at)) _longjmp(scheduler_, 1);
  }
  void run_block(const std::vector<int>& turn) {
    warps_.assign(static_cast<std::size_t>((threads_ + 31) / 32), {});
    block_barrier_ = {};
    for (Barrier& b : named_) b = {};
    live_ = threads_;
    for (int i = 0; i < threads_; ++i) {
      fibers_[static_cast<std::size_t>(i)]->done = false;
      fibers_[static_cast<std::size_t>(i)]->waits = nullptr;
      fibers_[static_cast<std::size_t>(i)]->phase = nullptr;
      fibers_[static_cast<std::size_t>(i)]->copies.clear();
      fibers_[static_cast<std::size_t>(i)]->later.clear();
      fibers_[static_cast<std::size_t>(i)]->groups =
          fibers_[static_cast<std::size_t>(i)]->copy_groups = 0;
    }
    phases_.clear();
    while (live_ > 0) {
      progress_ = false;
      for (next_ = 0; next_ < turn.size(); ++next_) {
        Fiber& f = *fibers_[static_cast<std::size_t>(turn[next_])];
        if (f.done || (f.waits && f.waits->generation == f.generation)) continue;
        if (f.phase) over(*f.phase);
        if (f.phase && f.phase->parity == f.parity) continue;
        f.waits = nullptr;
        f.phase = nullptr;
        progress_ = true;
        current_ = turn[next_];
        if (!_setjmp(scheduler_)) resume(f);
        if (greedy_) next_ = static_cast<std::size_t>(-1);  // from the first one again
      }
      if (!progress_) {
        std::fprintf(stderr,
                     "emulated kernel: block %d %d %d: %d threads wait at a barrier that the "
                     "others do not reach\n",
                     block_.x, block_.y, block_.z, live_);
        std::abort();
      }
    }
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

  Dim grid_, block_;
  int threads_ = 0, live_ = 0, current_ = 0;
  std::size_t next_ = 0;  // of the round; members, for locals do not survive a jump
  bool progress_ = false, greedy_ = false;
  const std::function<void()>* body_ = nullptr;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  struct Words {
    std::uint32_t w[4];
  };
  static constexpr std::size_t kSharedGuard = 264;  // words of 16 bytes behind the last
  std::vector<Words> shared_;
  std::vector<Warp> warps_;
  Barrier block_barrier_, named_[16];
  std::map<const void*, Phase> phases_;
  jmp_buf scheduler_;
  std::vector<float> f16_;
};

}  // namespace lares::kernels::cuda::simt
