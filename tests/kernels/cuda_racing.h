// Where a test of the emulation races, to show what that does.
#pragma once

#include <gtest/gtest.h>

#include "kernels/cuda/simt/simt_host.h"

namespace lares::kernels::cuda::test {

// In its scope a race is no failure; where somebody looks for races, none is one.
class Racing {
 public:
#ifdef LARES_RACES
  ~Racing() {
    EXPECT_FALSE(taking_.all().empty()) << "a race that is made on purpose is not found";
  }

 private:
  simt::races::Taking taking_;
#else
  ~Racing() {}  // so that it is used
#endif
};

}  // namespace lares::kernels::cuda::test
