// Fills a dispatch row from the lane type V; included by one translation unit per instruction set.
#pragma once

#include "kernels/cpu/attention_lanes.h"
#include "kernels/cpu/compress_lanes.h"
#include "kernels/dispatch.h"
#include "kernels/cpu/exp_lanes.h"
#include "kernels/cpu/hyper_lanes.h"
#include "kernels/cpu/indexer_lanes.h"
#include "kernels/cpu/moe_lanes.h"
#include "kernels/cpu/norm_lanes.h"
#include "kernels/cpu/quantise_lanes.h"
#include "kernels/cpu/rope_lanes.h"

namespace lares::kernels {
namespace {

inline bool halves(const AttentionArgs& a) { return a.released && a.cell == Format::bf16; }

// Own: what an instruction set does in its own way, as static functions: linear, pack,
// linear_tiles, index_codes (index scores of fp4 keys), unpack_cells, and, where it has them,
// scores, weights and values (attention in released numerics over bf16 rows). The rest is written
// over lanes.
template <class V, class Own>
constexpr Kernels row(const char* name, bool (*available)()) {
  return {name,
          available,
          Own::linear,
          Own::pack,
          Own::linear_tiles,
          rms_norm<V>,
          head_norm<V>,
          round_bf16<V>,
          quantise<V>,
          rope<V>,
          hadamard<V>,
          hyper_split<V>,
          hyper_enter<V>,
          hyper_leave<V>,
          drop_small<V>,
          [](const AttentionArgs& a, int begin, int end) {
            if constexpr (requires { Own::scores; })
              if (halves(a)) return Own::scores(a, begin, end);
            attention_scores<V>(a, begin, end, Own::linear);
          },
          [](const AttentionArgs& a, int begin, int end) {
            if constexpr (requires { Own::weights; })
              if (halves(a)) return Own::weights(a, begin, end);
            attention_weights<V>(a, begin, end);
          },
          [](const AttentionArgs& a, int begin, int end) {
            if constexpr (requires { Own::values; })
              if (halves(a)) return Own::values(a, begin, end);
            attention_values<V>(a, begin, end);
          },
          pool<V>,
          [](const IndexArgs& a) {
            a.cell == Format::f32 ? index_scores<V>(a, Own::linear) : Own::index_codes(a);
          },
          swiglu<V>,
          Own::unpack_cells,
          exp_blocks};
}

}  // namespace
}  // namespace lares::kernels
