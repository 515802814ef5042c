// How much each routed expert was asked for, kept between runs: which to read first, and which to
// give up last, before anything was asked of this one.
#pragma once

#include <cstdint>
#include <limits>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace lares::engine {

// Tokens after which a token sent to an expert counts half
inline constexpr double kHeatHalfLife = 2048;
// Tokens after which what experts were asked for is written down again
inline constexpr double kHeatKeptEvery = 4096;
// 4 MiB of file; Flash has 11,008 experts and its draft blocks'
inline constexpr std::size_t kHeatExpertsMax = 1u << 20;

// One file for a checkpoint. It is a hint: one that is damaged, cut, or of other weights is not
// used, and the next write replaces it.
class HeatFile {
 public:
  // `fingerprint`: checkpoint_fingerprint(). The file is DIRECTORY/expert-heat-FINGERPRINT.bin.
  HeatFile(const std::string& directory, std::string fingerprint);
  const std::string& path() const { return path_; }

  // log2 of the tokens that were sent to each of n experts, decayed to the moment of writing;
  // -infinity: none ever. Errc::not_found: there is no file; malformed: it is not what it should
  // be, and why.
  Result<std::vector<float>> read(std::size_t n) const;
  // All of it or nothing, as far as the process is concerned: after a power cut it may be damaged,
  // which read() sees.
  Result<> write(std::span<const float> heat) const;

 private:
  std::string path_, fingerprint_;
};

// The same as it grows: log2 of the tokens sent to each expert, a token worth twice one of
// kHeatHalfLife before it, so no clock ages it.
class ExpertHeat {
 public:
  explicit ExpertHeat(std::size_t n_experts);

  // Before anything else: begins with what earlier runs left in `file`, where a token of theirs
  // counts as one kHeatHalfLife ago. Keeps it there from now on, also where there was nothing or,
  // which is the error, something that is not used.
  Result<> remember(HeatFile file);
  std::int64_t remembered() const {
    return remembered_;
  }  // experts that an earlier run was asked for

  void pass(double n_tokens) { clock_ += n_tokens; }
  void sent(std::size_t expert, std::int64_t n_tokens);
  double operator[](std::size_t expert) const { return heat_[expert]; }  // kNever: none ever
  std::span<const double> all() const { return heat_; }
  static constexpr double kNever = -std::numeric_limits<double>::infinity();

  // Writes it down, if anything passed since: every kHeatKeptEvery, and at the end.
  void keep_now_and_then();
  void keep();
  std::string unkept() const;  // why it could not be, the last time; from any thread

 private:
  std::vector<double> heat_;
  double clock_ = 0, kept_at_ = 0;  // tokens
  std::optional<HeatFile> file_;
  std::int64_t remembered_ = 0;
  mutable std::mutex mutex_;  // of `unkept_`
  std::string unkept_;
};

}  // namespace lares::engine
