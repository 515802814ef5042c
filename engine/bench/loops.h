// The loops that find a machine's ceilings: reading, and multiplying out of registers. One
// translation unit an instruction set, each with flags of its own, chosen at run time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace lares::engine::bench {

enum class Peak : std::uint8_t {
  fp32,
  bf16,
  int8
};  // bf16: pairs of products into float; int8: fours into int32

struct PeakLoop {
  const char* name;
  Peak peak;
  bool (*available)();
  double flops;  // of one pass
  float (*run)(std::int64_t passes);
};
// All that this build has, whether the CPU runs them or not
std::span<const PeakLoop* const> peak_loops();

// A value that depends on every byte; `bytes` a multiple of 256. Reads in ascending order.
std::uint64_t read_bytes(const std::uint8_t* data, std::size_t bytes);

// Where the loops' results go, so that nobody finds them useless
inline volatile std::uint64_t sink;

}  // namespace lares::engine::bench
