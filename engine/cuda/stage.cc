#include "engine/cuda/stage.h"

#include <fmt/format.h>

namespace lares::engine::cuda {

Result<Stage> Stage::make(Device& device, const Weights& weights, const StageOptions& options, kernels::ThreadPool& pool,
                          const kernels::Kernels& kernels, const Progress& progress) {
  Stage out{.device = &device, .weights = {}, .pages = {}, .cache = {}, .forward = {}};
  const int begin = options.layer_begin, end = options.layer_end;
  const auto uploaded = [&](std::int64_t done, std::int64_t) { progress(begin + done, static_cast<std::int64_t>(weights.layers.size())); };
  auto on_device = DeviceWeights::upload(device, weights, begin, end, options.head, options.resident, progress ? Progress(uploaded) : Progress());
  if (!on_device) return tl::unexpected(on_device.error());
  out.weights = std::move(*on_device);
  out.pages = std::make_unique<PagePool>(device, page_layout(weights.checkpoint.config(), false), begin, end, options.n_pages);
  if (!out.pages->made())
    return tl::unexpected(
        Error{Errc::no_memory, fmt::format("load {} onto {}: the pages of {} tokens have no room beside the weights; load with a shorter context",
                                           weights.checkpoint.directory(), device.name(), options.forward.n_context)});
  out.cache = std::make_unique<PageCache>(device, *out.pages);
  auto forward = DeviceForward::make(device, weights, *out.weights, options.forward, pool, kernels);
  if (!forward) return tl::unexpected(forward.error());
  out.forward = std::move(*forward);
  return out;
}

}  // namespace lares::engine::cuda
