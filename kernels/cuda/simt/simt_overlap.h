// Launches that begin before the one before them has ended, as sm_90 has them: some blocks of each
// run to where they wait for inputs before the one before it runs at all. So who reads too early
// finds what was there before, and who writes too early has it read by a launch that should not.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "kernels/cuda/simt/simt_host.h"

namespace lares::kernels::cuda::simt {

class Overlap {
 public:
  Overlap() { ++alive(); }
  ~Overlap() { --alive(); }
  Overlap(const Overlap&) = delete;

  // Where launches of a scope go.
  class Here {
   public:
    explicit Here(Overlap& overlap) { current() = &overlap; }
    ~Here() { current() = nullptr; }
    Here(const Here&) = delete;
  };
  static Overlap*& current() {
    static Overlap* overlap = nullptr;
    return overlap;
  }

  void launch(Launch next) {
    auto begun = std::make_unique<Begun>();
    begun->launch = std::move(next);
    begun->launch.place = races::next(last_);
    races::launched();
    const int n = begun->launch.clusters();
    for (const int i : {0, n / 2, n - 1}) {
      if (!begun->ahead.insert(i).second) continue;
      begun->machines.push_back(machine());
      begun->machines.back()->run_ahead(begun->launch, Order::scattered, begun->launch.first_of(i));
    }
    end_held();
    held_ = std::move(begun);
  }
  // The last launch ends too: for all that may not begin before it has.
  void settle() {
    end_held();
    races::settle(last_);
    if (alive() == 1) races::forget();
  }

 private:
  struct Begun {
    Launch launch;
    std::set<int> ahead;  // clusters that have begun
    std::vector<std::unique_ptr<Machine>> machines;
  };
  void end_held() {
    if (!held_) return;
    for (auto& m : held_->machines) {
      m->end();
      free_.push_back(std::move(m));
    }
    if (free_.empty()) return;
    for (int i = 0; i < held_->launch.clusters(); ++i)
      if (!held_->ahead.contains(i))
        free_.back()->run_one(held_->launch, Order::scattered, held_->launch.first_of(i));
    held_ = nullptr;
  }
  static int& alive() {
    static int n = 0;
    return n;
  }
  std::unique_ptr<Machine> machine() {
    if (free_.empty()) return std::make_unique<Machine>();
    auto out = std::move(free_.back());
    free_.pop_back();
    return out;
  }

  std::unique_ptr<Begun> held_;
  races::Place last_ = races::alone();
  std::vector<std::unique_ptr<Machine>> free_;
};

}  // namespace lares::kernels::cuda::simt
