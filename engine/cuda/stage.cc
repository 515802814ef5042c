#include "engine/cuda/stage.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/cuda/no_room.h"

namespace lares::engine::cuda {

Result<Stage> Stage::make(Device& device, const Weights& weights, const StageOptions& options,
                          kernels::ThreadPool& pool, const kernels::Kernels& kernels,
                          const Progress& progress) {
  Stage out{.device = &device,
            .weights = {},
            .stream = {},
            .unstreamed = {},
            .pages = {},
            .cache = {},
            .forward = {},
            .draft = {},
            .undrafted = {}};
  const int begin = options.layer_begin, end = options.layer_end;
  const auto E = static_cast<std::size_t>(weights.checkpoint.config().n_routed_experts);
  const auto ours = options.resident.empty()
                        ? options.resident
                        : options.resident.subspan(static_cast<std::size_t>(begin) * E,
                                                   static_cast<std::size_t>(end - begin) * E);
  if (options.stream && std::ranges::find(ours, 0) != ours.end()) {
    auto stream = ExpertStream::make(device, weights, begin, end, options.resident,
                                     options.ring_max);
    if (stream)
      out.stream = std::move(*stream);
    else
      out.unstreamed = stream.error().message;
  }
  const auto uploaded = [&](std::int64_t done, std::int64_t) {
    if (out.stream) out.stream->pack(begin + static_cast<int>(done) - 1, pool);
    if (progress) progress(begin + done, static_cast<std::int64_t>(weights.layers.size()));
  };
  auto on_device = DeviceWeights::upload(device, weights, begin, end, options.head,
                                         options.resident, pool, uploaded);
  if (!on_device) return tl::unexpected(on_device.error());
  out.weights = std::move(*on_device);
  out.pages = std::make_unique<PagePool>(device, page_layout(weights.checkpoint.config(), false),
                                         begin, end, options.n_pages);
  if (!out.pages->made())
    return tl::unexpected(
        no_room(device, weights.checkpoint.directory(),
                fmt::format("the pages of {} tokens", options.forward.n_context),
                aligned(out.pages->bytes()) * static_cast<std::uint64_t>(options.n_pages)));
  out.cache = std::make_unique<PageCache>(device, *out.pages);
  DeviceForward::Options of = options.forward;
  of.stream = out.stream.get();
  if (options.draft && options.head) {
    auto draft = DraftBlocks::make(device, weights, *out.weights, pool, kernels);
    if (draft)
      out.draft = std::move(*draft);
    else
      out.undrafted = draft.error().message;
  }
  of.keeps = out.draft != nullptr;
  auto forward = DeviceForward::make(device, weights, *out.weights, of, pool, kernels);
  if (!forward) return tl::unexpected(forward.error());
  out.forward = std::move(*forward);
  return out;
}

}  // namespace lares::engine::cuda
