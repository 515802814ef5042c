// Whether a checkpoint on this machine can be relied on: every value read once, the forward pass
// held against itself in all the ways it may be run, and against answers that somebody else got
// from the same weights.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "engine/engine.h"

namespace lares::engine {

struct Check {
  std::string name, detail;  // what was compared, and the figures, or what is wrong and where
  bool passed = false;
};

struct VerifyRequest {
  std::string directory;
  // Where tiles may lie that do not lie beside the checkpoint; empty: nowhere
  std::string tiles_directory;
  int threads = 0;  // 0: as load()
  // Of the prompt that the forward pass is held against itself with, 2 to kVerifyTokensMax
  int n_tokens = 96;
  // a directory of *.official.json (answers of DeepSeek's API): prompts and the likeliest next
  // tokens; empty: none
  std::string vectors;
  std::string device;  // as DeviceChoice's (gpus.h): loaded there too, and held against itself, the
                       // CPU and `vectors`; empty: the CPU alone
  std::uint64_t gpu_memory = 0;  // bytes of each GPU that may be taken; 0: all
  std::uint64_t memory = 0;      // as LoadOptions', for the device
};
inline constexpr int kVerifyTokensMax = 8192;

// Calls `done` after each check; false when one of them failed. An error where the checkpoint does
// not open or the device is not there, in load_on()'s words.
Result<bool> verify(const VerifyRequest& request, const Progress& progress,
                    const std::function<void(const Check&)>& done);

}  // namespace lares::engine
