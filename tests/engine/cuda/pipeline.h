// A model over devices that a test made: its layers cut where the test says.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "engine/cuda/pipeline.h"
#include "tests/engine/cuda/host_device.h"

namespace lares::engine::test {

// Layers [0, cuts[0]) on the first device, [cuts[0], cuts[1]) on the second and so on, the rest and
// the head on the last. options: of one device with all layers. piece_min: as Pipeline's.
inline Result<std::unique_ptr<cuda::Pipeline>> pipeline_over(
    std::span<cuda::Device* const> devices, const Weights& weights, std::span<const int> cuts,
    cuda::StageOptions options, kernels::ThreadPool& pool, int piece_min = cuda::kPieceMin) {
  EXPECT_EQ(devices.size(), cuts.size() + 1);
  std::vector<cuda::Stage> stages;
  for (std::size_t k = 0; k < devices.size(); ++k) {
    options.layer_begin = k == 0 ? 0 : cuts[k - 1];
    options.layer_end = k == cuts.size() ? static_cast<int>(weights.layers.size()) : cuts[k];
    options.head = k == cuts.size();
    auto stage = cuda::Stage::make(*devices[k], weights, options, pool, kernels::best(), {});
    if (!stage) return tl::unexpected(stage.error());
    stages.push_back(std::move(*stage));
  }
  return std::make_unique<cuda::Pipeline>(weights, std::move(stages), piece_min);
}

}  // namespace lares::engine::test
