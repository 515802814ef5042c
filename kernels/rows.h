// Fills a dispatch row from the lane type V; included by one translation unit per instruction set.
#pragma once

#include "kernels/attention_lanes.h"
#include "kernels/compress_lanes.h"
#include "kernels/dispatch.h"
#include "kernels/hyper_lanes.h"
#include "kernels/indexer_lanes.h"
#include "kernels/moe_lanes.h"
#include "kernels/norm_lanes.h"
#include "kernels/quantise_lanes.h"
#include "kernels/rope_lanes.h"

namespace lares::kernels {
namespace {

// Wide: a lane type of V's operations or more lanes, for what is not summed across them.
template <class V, class Wide, void (*matmul)(const LinearArgs&), void (*pack)(const PackArgs&), void (*tiles)(const TilesArgs&)>
constexpr Kernels row(const char* name, bool (*available)()) {
  return {name,
          available,
          matmul,
          pack,
          tiles,
          rms_norm<V>,
          head_norm<V>,
          round_bf16<V>,
          quantise<V>,
          rope<V>,
          hadamard<V>,
          hyper_split<V>,
          hyper_enter<V>,
          hyper_leave<V>,
          [](const AttentionArgs& a) { attention<V, Wide>(a, matmul); },
          pool<V>,
          [](const IndexArgs& a) { index_scores<V>(a, matmul); },
          swiglu<V>};
}

}  // namespace
}  // namespace lares::kernels
