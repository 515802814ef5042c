// How much each routed expert was asked for, kept between runs: which to read first, and which to give up last, before anything was
// asked of this one.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace lares::engine {

inline constexpr std::size_t kHeatExpertsMax = 1u << 20;  // 4 MiB of file; Flash has 11,008 experts and its draft blocks'

// One file for a checkpoint. It is a hint: one that is damaged, cut, or of other weights is not used, and the next write replaces it.
class HeatFile {
 public:
  // `fingerprint`: checkpoint_fingerprint(). The file is DIRECTORY/expert-heat-FINGERPRINT.bin.
  HeatFile(const std::string& directory, std::string fingerprint);
  const std::string& path() const { return path_; }

  // log2 of the tokens that were sent to each of n experts, decayed to the moment of writing; -infinity: none ever. Errc::not_found:
  // there is no file; malformed: it is not what it should be, and why.
  Result<std::vector<float>> read(std::size_t n) const;
  // All of it or nothing, as far as the process is concerned: after a power cut it may be damaged, which read() sees.
  Result<> write(std::span<const float> heat) const;

 private:
  std::string path_, fingerprint_;
};

}  // namespace lares::engine
