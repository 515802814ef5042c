// Runs a kernel's body on the CPU, a fiber a thread, so that every index, barrier and fragment of
// it can be tested where there is no GPU. Blocks run one after the other, those of a cluster
// together. Threads run until they wait for others, in an order of the caller's choice: a result
// that depends on it misses a barrier. A barrier that not everybody reaches ends the program with a
// message. What a device does in its own way is done here by its definition: an mma adds exact
// products in double and rounds once.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "machine_state.h"

namespace lares::kernels::cuda::simt {

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
    races::launched();
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
  void run_ahead(const Launch& launch, Order order, Dim first);
  void end() {
    go_on();
    for (const Block& b : blocks_) check_guard(b);
    check_copies();
  }

  LARES_UNSEEN int thread() const { return thread_; }
  LARES_UNSEEN int threads() const { return threads_; }
  LARES_UNSEEN Dim block() const { return own_->at; }
  LARES_UNSEEN Dim grid() const { return grid_; }
  LARES_UNSEEN void* shared() { return own_->memory; }

  void wait_for_inputs();
  void sync_block();
  void sync_warp();
  // Barriers of their own number, for so many threads; who arrives does not wait.
  void sync_some(int barrier, int n);
  void arrive_some(int barrier, int n);
  // What has been written into shared memory may be read by copy engine and tensor cores.
  void publish();
  // Atomics: what was there before; and one that acquires and releases, true for the last of n,
  // with which the count is 0 again.
  std::uint32_t add(std::uint32_t* to, std::uint32_t v);
  bool arrive_last(std::uint32_t* count, std::uint32_t n);
  // The barrier of a cluster: a thread that has arrived goes on until it waits.
  LARES_UNSEEN int cluster_rank() const { return current_ / threads_; }
  void arrive_cluster(bool publishes);
  void wait_cluster();
  // Where `at` is in the shared memory of another block: poison until everybody has arrived at the
  // cluster's barrier, after the store.
  void store_in(int rank, void* at, std::uint32_t word);
  // Made no sooner than they are waited for, so that who does not wait misses them; without `from`
  // zeros. Until then there is poison.
  void copy_later(void* to, const void* from, int bytes);
  void finish_copies();
  void commit_copies();
  void finish_copy_groups(int left);
  // Barriers in shared memory that count arrivals and bytes (bulk.h). What is copied onto one is
  // poison from then on, and there no sooner than somebody waits for it: so who reads too early, or
  // is read by too late, has it.
  void make_phase(const void* b, int arrivals);
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
  void wait_phase(const void* b, int parity);
  // Products that go on beside what follows (wgmma.h): `make` adds to d what its operands are when
  // somebody waits for it; until then d is poison. So who writes operands too early, or reads sums
  // too early, has wrong ones.
  template <class Make>
  void multiply_later(float* d, int n, const Make& make);
  void commit_products();
  void finish_products(int left);
  // Gives every lane the others' words, until the next call.
  const std::uint32_t (*exchange(const std::uint32_t* mine, int n))[8];
  LARES_UNSEEN float f16(std::uint16_t bits) const { return f16_values_[bits]; }

 private:
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

  void prepare(const Launch& launch, Order order);
  void run_cluster(Dim first) {
    begin(first);
    end();
  }
  void begin(Dim first);

  Fiber& fiber() { return *fibers_[static_cast<std::size_t>(current_)]; }
  Warp& warp() { return own_->warps[static_cast<std::size_t>(thread_ / 32)]; }

  void check_guard(const Block& b);
  void check_copies() const;  // that onto barriers somebody has waited for all

  [[noreturn]] void fail(const char* what) const;
  Phase& phase(const void* b) {
    const auto at = phases_.find(b);
    if (at == phases_.end()) fail("uses a barrier that nobody made");
    return at->second;
  }
  void arrive_at(const races::Inside& inside, const void* b, int bytes);
  void add_copy(const races::Inside& inside, const void* b, void* to, const void* from, int bytes);
  // Ends a phase at which all have arrived and whose copies are all on their way.
  void over(Phase& p);
  static void take_sums(Later& l);

  int warp_size() const { return threads_ - thread_ / 32 * 32 < 32 ? threads_ % 32 : 32; }

  static void enter();
  void open(Barrier& b);
  void wait(Barrier& b, int n);
  // Everybody has arrived, and is awaited again who has not ended.
  void open_cluster();
  // The i-th block of the cluster at `first`.
  void begin_block(int i, Dim first);
  void go_on();
  void resume(Fiber& f);

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

#include "machine_barriers.h"
#include "machine_copies.h"
#include "machine_threads.h"
