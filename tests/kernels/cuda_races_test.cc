// The race detector of emulated kernels (kernels/cuda/simt/races.h): of each kind of race it finds
// one that is made on purpose, and nothing in the twin that does what CUDA asks for.
#include <gmock/gmock.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/products/wgmma.h"
#include "kernels/cuda/simt/bulk.h"
#include "kernels/cuda/simt/cluster.h"

namespace lares::kernels::cuda {
namespace {

using simt::races::Race;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int kThreads = 128, kShared = 32 << 10;
constexpr const char *kTwoWrites = "two writes", *kWriteRead = "a write and a read",
                     *kReadWrite = "a read and a write", *kNoFence = "no proxy fence";

template <class T>
void put(T* at, T v) {
  *static_cast<volatile T*>(at) = v;
}
template <class T>
void look(const T* at) {
  static_cast<void>(*static_cast<const volatile T*>(at));
}

// What is found, each kind once.
std::vector<std::string> kinds(const std::vector<Race>& races) {
  std::vector<std::string> out;
  for (const Race& race : races)
    if (std::find(out.begin(), out.end(), race.what) == out.end()) out.push_back(race.what);
  return out;
}
std::vector<std::string> races_of(const std::function<void()>& body, int blocks = 1,
                                  int cluster = 1, simt::Order order = simt::Order::ascending) {
  const simt::races::Taking taking;
  simt::Machine::get().run({blocks}, kThreads, kShared, order, body, cluster);
  return kinds(taking.all());
}

// Every thread's word, read by another one that is `further` on.
void pass_on(int further, void (*between)()) {
  int* const words = shared<int>();
  put(words + thread(), 1);
  between();
  look(words + (thread() + further) % threads());
}
TEST(CudaRaces, ABarrierOfTheBlock) {
  EXPECT_THAT(races_of([] { pass_on(32, [] {}); }), Not(IsEmpty()));
  EXPECT_THAT(races_of([] { pass_on(32, [] { sync_block(); }); }), IsEmpty());
  // Whatever order hides it.
  for (const auto order : {simt::Order::descending, simt::Order::greedy})
    EXPECT_THAT(races_of([] { pass_on(127, [] {}); }, 1, 1, order), Not(IsEmpty()));
}
TEST(CudaRaces, ABarrierOfAWarpIsForItsLanes) {
  const auto neighbour = [](void (*between)()) {
    int* const words = shared<int>();
    put(words + thread(), 1);
    between();
    look(words + (thread() ^ 1));
  };
  EXPECT_THAT(races_of([&] { neighbour([] { sync_warp(); }); }), IsEmpty());
  EXPECT_THAT(races_of([] { pass_on(32, [] { sync_warp(); }); }), Not(IsEmpty()));
  // Lanes that talk have met, but what they wrote need not be there.
  EXPECT_THAT(races_of([&] { neighbour([] { shuffle(0, 0); }); }), Not(IsEmpty()));
}
TEST(CudaRaces, TheNextRoundsWriteWaitsForReads) {
  const auto rounds = [](bool waits) {
    int* const word = shared<int>();
    for (int i = 0; i < 3; ++i) {
      if (thread() == 0) put(word, i);
      sync_block();
      look(word);
      if (waits) sync_block();
    }
  };
  EXPECT_THAT(races_of([&] { rounds(true); }), IsEmpty());
  EXPECT_THAT(races_of([&] { rounds(false); }), Not(IsEmpty()));
  // In this order all have read before the last one writes.
  EXPECT_THAT(races_of([] {
                look(shared<int>());
                if (thread() == kThreads - 1) put(shared<int>(), 1);
              }),
              ElementsAre(kWriteRead));
}
TEST(CudaRaces, SizesMayDiffer) {
  const auto bytes = [](bool waits) {
    auto* const at = shared<unsigned char>();
    if (thread() == 0) *reinterpret_cast<Vec16*>(at) = Vec16{{1, 2, 3, 4}};
    if (waits) sync_block();
    if (thread() == 64) look(at + 15);
    if (waits) sync_block();
    if (thread() == 1) put(reinterpret_cast<std::uint16_t*>(at + 14), std::uint16_t{0});
  };
  EXPECT_THAT(races_of([&] { bytes(true); }), IsEmpty());
  EXPECT_THAT(races_of([&] { bytes(false); }),
              testing::UnorderedElementsAre(kReadWrite, kTwoWrites));
}

// Loads that a device makes in a way of its own are loads.
TEST(CudaRaces, LoadsPastCaches) {
  static Vec16 word;
  const auto seen_by = [](auto load) {
    return races_of([=] {
      if (thread() == 0) put(&word.w[0], 1u);
      if (thread() == 64) {
        [[maybe_unused]] const volatile std::uint32_t used = load();
      }
    });
  };
  const auto any = [](const Vec16& v) { return v.w[0] ^ v.w[1] ^ v.w[2] ^ v.w[3]; };
  EXPECT_THAT(seen_by([=] { return any(load_once(&word)); }), ElementsAre(kReadWrite));
  EXPECT_THAT(seen_by([=] { return any(load_fresh16(&word)); }), ElementsAre(kReadWrite));
  EXPECT_THAT(seen_by([] { return bits_of(load_fresh(reinterpret_cast<const float*>(&word))); }),
              ElementsAre(kReadWrite));
}
// However many have read since: of threads that read often and of many blocks, some that a write
// comes after and some that it does not.
TEST(CudaRaces, WhoHasReadIsNotForgotten) {
  static int word;
  const auto read = [](int writer, bool waits) {
    return races_of(
        [=] {
          for (int i = 0; i < 200; ++i) {
            look(&word);
            if (i % 3 == 0) sync_warp();
          }
          if (thread() == 0) look(shared<int>());
          if (waits) sync_block();
          if (block_x() == writer && thread() == 77) put(&word, 1);
        },
        /*blocks=*/writer + 1, 1, simt::Order::scattered);
  };
  EXPECT_THAT(read(0, true), IsEmpty());
  EXPECT_THAT(read(0, false), Contains(kWriteRead));
  EXPECT_THAT(read(40, true), ElementsAre(kWriteRead));
}
// Who takes races for himself leaves those that were found before.
TEST(CudaRaces, RacesAreTakenOneWithinTheOther) {
  const simt::races::Taking outer;
  const auto race = [] {
    simt::Machine::get().run({1}, kThreads, kShared, simt::Order::ascending,
                             [] { pass_on(32, [] {}); });
  };
  race();
  const auto found = outer.all().size();
  EXPECT_GT(found, 0u);
  {
    const simt::races::Taking inner;
    EXPECT_TRUE(inner.all().empty());
    race();
    EXPECT_EQ(inner.all().size(), found);
  }
  EXPECT_EQ(outer.all().size(), found);
}

// Warps 0 and 1 make what 2 and 3 use, over and over.
void make_and_use(bool waits) {
  constexpr int kFull = 1, kEmpty = 2;
  int* const words = shared<int>();
  for (int i = 0; i < 3; ++i) {
    if (thread() < 64) {
      if (waits && i > 0) sync_some(kEmpty, kThreads);
      put(words + thread(), i);
      if (!waits && i > 0) sync_some(kEmpty, kThreads);
      arrive_some(kFull, kThreads);
    } else {
      sync_some(kFull, kThreads);
      look(words + 127 - thread());
      if (i < 2) arrive_some(kEmpty, kThreads);
    }
  }
}
TEST(CudaRaces, WhoArrivesHasNotWaited) {
  EXPECT_THAT(races_of([] { make_and_use(true); }), IsEmpty());
  EXPECT_THAT(races_of([] { make_and_use(false); }), Not(IsEmpty()));
  EXPECT_THAT(races_of([] {  // others' barrier
                if (thread() < 64) sync_some(1, 64);
                pass_on(64, [] {
                  if (thread() < 64) sync_some(1, 64);
                });
              }),
              Not(IsEmpty()));
}

TEST(CudaRaces, ACopyIsThereWhenItHasBeenWaitedForByItsThread) {
  static std::vector<int> from(kThreads, 7);
  const auto copy = [](bool finish, bool sync, int other) {
    int* const to = shared<int>();
    copy_later<4>(to + thread(), from.data() + thread(), true);
    commit_copies();
    if (finish) finish_copy_groups<0>();
    if (sync) sync_block();
    look(to + (thread() ^ other));
    finish_copies();
  };
  EXPECT_THAT(races_of([&] { copy(true, true, 32); }), IsEmpty());
  EXPECT_THAT(races_of([&] { copy(true, false, 0); }), IsEmpty());
  EXPECT_THAT(races_of([&] { copy(true, false, 32); }), Not(IsEmpty()));
  EXPECT_THAT(races_of([&] { copy(false, true, 32); }), Contains(kWriteRead));
  EXPECT_THAT(races_of([&] { copy(false, false, 0); }), ElementsAre(kWriteRead));
}

// One slot, twice: who waits, who has published, who uses it again.
struct Ring {
  bool publishes = true, waits = true, frees = true, scribbles = false, fences = false;
};
void copy_twice(const Ring& how) {
  static std::vector<int> from(64, 7);
  auto* const full = shared<BulkBarrier>();
  int* const to = shared<int>() + 64;
  if (thread() == 0) {
    for (int i = 0; i < 2; ++i) make_ring_barrier(full + i, 1);
    if (how.publishes) publish_ring_barriers();
  }
  sync_block();
  for (int i = 0; i < 2; ++i) {
    if (how.scribbles) {
      if (thread() == 5) put(to + 3, 1);
      if (how.fences) publish_shared();
      sync_block();
    }
    if (thread() == 0) {
      announce_ring(full + i, 256);
      copy_ring(to, from.data(), 256, full + i);
    }
    if (how.waits || thread() == 0) wait_ring(full + i, 0);
    look(to + thread() % 64);
    if (how.frees) sync_block();
  }
}
TEST(CudaRaces, CopyEngine) {
  EXPECT_THAT(races_of([] { copy_twice({}); }), IsEmpty());
  EXPECT_THAT(races_of([] { copy_twice({.publishes = false}); }), ElementsAre(HasSubstr(kNoFence)));
  EXPECT_THAT(races_of([] { copy_twice({.waits = false}); }), Not(IsEmpty()));
  EXPECT_THAT(races_of([] { copy_twice({.frees = false}); }), Not(IsEmpty()));
  EXPECT_THAT(races_of([] { copy_twice({.scribbles = true}); }), ElementsAre(HasSubstr(kNoFence)));
  EXPECT_THAT(races_of([] { copy_twice({.scribbles = true, .fences = true}); }), IsEmpty());
}

TEST(CudaRaces, TensorCores) {
  struct How {
    bool fences = true, syncs = true, waits = true;
  };
  const auto multiply = [](const How& how) {
    unsigned char* const values = shared<unsigned char>();
    for (int i = thread(); i < 64 * 64; i += kThreads)
      reinterpret_cast<std::uint16_t*>(values)[i] = 0;
    if (how.fences) publish_shared();
    if (how.syncs) sync_block();
    float d[32] = {};
    const std::uint32_t a[4] = {};
    wgmma_fence();
    wgmma<true>(d, a, wgmma_matrix(values), 0, 0, true);
    wgmma_commit();
    if (how.waits) wgmma_wait<0>();
    sync_block();
    if (thread() == 3) put(values, static_cast<unsigned char>(1));
    wgmma_wait<0>();
  };
  EXPECT_THAT(races_of([&] { multiply({}); }), IsEmpty());
  EXPECT_THAT(races_of([&] { multiply({.fences = false}); }), ElementsAre(HasSubstr(kNoFence)));
  EXPECT_THAT(races_of([&] { multiply({.syncs = false}); }), Not(IsEmpty()));
  EXPECT_THAT(races_of([&] { multiply({.waits = false}); }), Contains(kReadWrite));
}

// What nobody waits for would never be looked at.
TEST(CudaRacesDeathTest, WhoEndsHasWaitedForWhatGoesOnBesideIt) {
  static std::vector<int> from(64, 7);
  const auto run = [](const std::function<void()>& body) {
    simt::Machine::get().run({1}, kThreads, kShared, simt::Order::ascending, body);
  };
  EXPECT_DEATH(run([] { copy_later<4>(shared<int>() + thread(), from.data(), true); }),
               "thread 0 ends before it has waited for its copies");
  EXPECT_DEATH(run([] {
                 float d[32] = {};
                 const std::uint32_t a[4] = {};
                 wgmma<true>(d, a, wgmma_matrix(shared<unsigned char>()), 0, 0, true);
                 wgmma_commit();
               }),
               "ends before it has waited for its products");
  EXPECT_DEATH(run([] {
                 auto* const full = shared<BulkBarrier>();
                 if (thread() != 0) return;
                 make_ring_barrier(full, 2);
                 publish_ring_barriers();
                 announce_ring(full, 256);
                 copy_ring(shared<int>() + 64, from.data(), 256, full);
               }),
               "ends before copies onto its barriers have");
}

TEST(CudaRaces, AClustersBarrier) {
  static int words[4];
  const auto meet = [](bool publishes) {
    if (thread() == 0) put(words + cluster_rank(), 1);
    publishes ? arrive_cluster() : arrive_cluster_with_nothing();
    wait_cluster();
    if (thread() == 1) look(words + (cluster_rank() ^ 1));
  };
  EXPECT_THAT(races_of([&] { meet(true); }, 4, 4), IsEmpty());
  EXPECT_THAT(races_of([&] { meet(false); }, 4, 4), Not(IsEmpty()));
  const auto store = [](bool waits) {  // into another block's, which it may still read
    float* const at = shared<float>();
    arrive_cluster();
    wait_cluster();
    look(at);
    if (waits) {
      arrive_cluster();
      wait_cluster();
    }
    if (thread() == 0) store_in(cluster_rank() ^ 1, at, 1);
    arrive_cluster();
    wait_cluster();
    look(at);
  };
  EXPECT_THAT(races_of([&] { store(true); }, 2, 2), IsEmpty());
  EXPECT_THAT(races_of([&] { store(false); }, 2, 2), Contains(kWriteRead));
}

TEST(CudaRaces, BlocksOfALaunch) {
  static int word, words[8];
  static std::uint32_t count;
  EXPECT_THAT(races_of(
                  [] {
                    if (thread() == 0) put(&word, block_x());
                  },
                  2),
              ElementsAre(kTwoWrites));
  // The last of eight reads what all have written.
  const auto by_last = [](bool orders, bool syncs) {
    count = 0;
    return races_of(
        [=] {
          if (thread() == 40) put(words + block_x(), 1);
          if (syncs) sync_block();
          if (thread() != 0) return;
          const bool last = orders ? arrive_last(&count, 8)
                                   : simt::Machine::get().add(&count, 1) == 7;
          for (int i = 0; last && i < 8; ++i) look(words + i);
        },
        8);
  };
  EXPECT_THAT(by_last(true, true), IsEmpty());
  EXPECT_THAT(by_last(false, true), ElementsAre(kReadWrite));
  EXPECT_THAT(by_last(true, false), Contains(kReadWrite));
  EXPECT_THAT(races_of(  // an atomic and what is none
                  [] {
                    if (thread() == 0) add_global(&count, 1);
                    if (thread() == 32) look(&count);
                  }),
              Not(IsEmpty()));
}

// For tests/racecheck_test.py.
TEST(CudaRacesPlaces, OneIsNeededAndOneIsNot) {
  simt::Machine::get().run({1}, kThreads, kShared, simt::Order::ascending, [] {
    int* const words = shared<int>();
    put(words + thread(), 1);
    sync_block();  // needed
    look(words + (thread() + 32) % threads());
    sync_warp();  // not needed
    look(words + (thread() + 32) % threads());
  });
}

// ---- Launches that begin early.

struct Args {
  int *in, *out, *early;
};
void add_one(Args a) {
  if (a.early) look(a.early);
  wait_for_inputs();
  put(a.out + thread(), a.in[thread()] + 1);
}
void write_early(Args a) {
  if (thread() == 0) put(a.out, 1);
  wait_for_inputs();
}
class CudaRacesOverlap : public testing::Test {
 protected:
  template <class Kernel>
  void go(Kernel kernel, const Args& args) {
    const simt::Overlap::Here here(overlap_);
    ASSERT_TRUE(launch("test", kernel, {}, kThreads, 0, nullptr, args).ok());
  }
  std::vector<std::string> found() {
    overlap_.settle();
    return kinds(taking_.all());
  }
  std::vector<int> a_ = std::vector<int>(kThreads), b_ = a_, c_ = a_, d_ = a_;
  simt::races::Taking taking_;
  simt::Overlap overlap_;
};
TEST_F(CudaRacesOverlap, WhoWaits) {
  go(add_one, {a_.data(), b_.data(), nullptr});
  go(add_one, {b_.data(), c_.data(), nullptr});
  go(add_one, {c_.data(), a_.data(), nullptr});
  EXPECT_THAT(found(), IsEmpty());
}
TEST_F(CudaRacesOverlap, WhatTheLastLaunchWroteMayNotBeReadEarly) {
  go(add_one, {a_.data(), b_.data(), nullptr});
  go(add_one, {b_.data(), c_.data(), b_.data()});
  EXPECT_THAT(found(), ElementsAre(kWriteRead));
}
TEST_F(CudaRacesOverlap, WhatTheOneBeforeWroteMay) {
  go(add_one, {a_.data(), b_.data(), nullptr});
  go(add_one, {b_.data(), c_.data(), nullptr});
  go(add_one, {c_.data(), d_.data(), b_.data()});
  EXPECT_THAT(found(), IsEmpty());
  std::uint32_t nearest = 0;
  for (const auto& early : simt::races::early()) nearest = early.distance;
  EXPECT_EQ(nearest, 2u);
}
TEST_F(CudaRacesOverlap, WhatTheLastLaunchReadsMayNotBeWrittenEarly) {
  go(add_one, {a_.data(), b_.data(), nullptr});
  go(write_early, {nullptr, a_.data(), nullptr});
  EXPECT_THAT(found(), Not(IsEmpty()));
}
TEST_F(CudaRacesOverlap, WhatIsOverIsOver) {
  go(add_one, {a_.data(), b_.data(), nullptr});
  overlap_.settle();
  go(add_one, {b_.data(), c_.data(), b_.data()});
  EXPECT_THAT(found(), IsEmpty());
}

}  // namespace
}  // namespace lares::kernels::cuda
