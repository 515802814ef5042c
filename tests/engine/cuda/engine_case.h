// nano on devices in host memory, through the engine's own interface.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/cuda/engine.h"
#include "engine/cuda/layout.h"
#include "engine/placement.h"
#include "engine/tokenizer.h"
#include "tests/engine/cuda/host_device.h"

namespace lares::engine::test {

inline const std::string kNano = std::string(LARES_SOURCE_DIR) + "/engine/nano/checkpoint";
inline constexpr std::int64_t kContext = 4096;

inline std::vector<Token> prompt(int n, int from = 0) {
  std::vector<Token> out;
  for (int i = from; i < from + n; ++i) out.push_back(2 + i * 7919 % 1200);
  return out;
}

// Of memory, what there is of it.
struct Host {
  std::uint64_t bytes = 0;  // 0: what there is
  std::string heat_directory;
  int pinned_refused = -1;  // as HostDevice's
  // A device, and its `refused`.
  std::pair<std::size_t, int> refused = {0, -1};
};
// As many devices as there are numbers, each with so much memory as the plan hears; `has`: once it
// has heard it, where that is less.
inline Result<std::unique_ptr<Engine>> on_devices(const std::vector<std::uint64_t>& bytes,
                                                  std::vector<std::uint64_t> has = {},
                                                  const Host& host = {},
                                                  Drafting drafting = Drafting::off) {
  auto weights = load_weights(kNano, {});
  if (!weights) return tl::unexpected(weights.error());
  const LoadOptions options{.directory = kNano,
                            .n_threads = 2,
                            .n_context = kContext,
                            .memory = host.bytes,
                            .heat_directory = host.heat_directory,
                            .text = false,
                            .drafting = drafting};
  cuda::EngineParts parts{.gpus = {}, .weights = std::move(*weights), .tokenizer = nullptr};
  for (std::size_t g = 0; g < bytes.size(); ++g) {
    const std::string name = "device " + std::to_string(g);
    auto device = std::make_unique<HostDevice>(std::size_t{4} << 30, name);
    if (!has.empty()) device->taken_meanwhile = (std::size_t{4} << 30) - has[g];
    device->pinned_refused = host.pinned_refused;
    if (host.refused.first == g) device->refused = host.refused.second;
    parts.gpus.push_back({std::move(device), bytes[g]});
  }
  return cuda::make_engine(std::move(parts), options, {});
}
inline constexpr std::uint64_t kPlenty = std::uint64_t{1} << 32;

// With the shortest chunk that a plan takes rather than leave experts out: memory for that share of
// them.
inline std::uint64_t with_share_of_experts(const GpuPlacement& gpu, double share) {
  static const auto weights = load_weights(kNano, {});
  return gpu.fixed() - gpu.work +
         cuda::work_bytes((*weights)->checkpoint.config(), cuda::kChunkWhole, kContext) +
         static_cast<std::uint64_t>(share * static_cast<double>(gpu.experts));
}

// Some memory of one device that leaves room for so many experts, with a ring.
inline PlacementRequest lacking(double share) {
  PlacementRequest r{.directory = kNano, .gpus = {kPlenty}, .n_context = kContext, .heat = {}};
  const GpuPlacement whole = plan_placement(r)->gpus[0];
  r.gpus = {with_share_of_experts(whole, share)};
  return r;
}

struct Answer {
  std::vector<Token> tokens;
  std::vector<float> logprobs;
  bool operator==(const Answer&) const = default;
};
inline Answer answer(Timeline& t, int n, float temperature = 0) {
  Answer out;
  for (int i = 0; i < n; ++i) {
    const auto token = t.next({.temperature = temperature, .seed = 11}, nullptr);
    EXPECT_TRUE(token) << token.error().message;
    if (!token) break;
    out.tokens.push_back(*token);
    out.logprobs.push_back(t.logprobs(1).drawn);
  }
  return out;
}

class CudaEngine : public testing::Test {
 protected:
  static Engine& cpu() {
    static const auto engine = load({.directory = kNano,
                                     .n_threads = 2,
                                     .n_context = kContext,
                                     .text = false,
                                     .drafting = Drafting::off},
                                    {});
    return **engine;
  }
  static Engine& gpus(std::size_t n) {
    static std::map<std::size_t, Result<std::unique_ptr<Engine>>> engines;
    const auto at = engines.find(n);
    Result<std::unique_ptr<Engine>>& engine =
        at != engines.end()
            ? at->second
            : engines.emplace(n, on_devices(std::vector<std::uint64_t>(n, kPlenty))).first->second;
    EXPECT_TRUE(engine) << engine.error().message;
    return **engine;
  }
  static Engine& gpu() { return gpus(1); }
};

}  // namespace lares::engine::test
