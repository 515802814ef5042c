// What runs where: one row an implementation, best first. Tests walk the same rows, so none goes
// untested, and `--impl NAME` picks one by name. Every row gives the same bits (tests/kernels hold
// them to it); a row for another device enters here.
#pragma once

#include <span>
#include <string_view>

#include "kernels/attention.h"
#include "kernels/cells.h"
#include "kernels/compress.h"
#include "kernels/hyper.h"
#include "kernels/indexer.h"
#include "kernels/linear.h"
#include "kernels/moe.h"
#include "kernels/norm.h"
#include "kernels/quantise.h"
#include "kernels/rope.h"
#include "kernels/tiles.h"

namespace lares::kernels {

struct Kernels {
  const char* name;
  bool (*available)();
  void (*linear)(const LinearArgs&);
  void (*pack)(const PackArgs&);
  void (*linear_tiles)(const TilesArgs&);
  void (*rms_norm)(const RmsNormArgs&);
  void (*head_norm)(const HeadNormArgs&);
  void (*round_bf16)(float* x, std::int64_t n);  // in place
  void (*quantise)(const QuantiseArgs&);
  void (*rope)(const RopeArgs&);
  void (*hadamard)(const HadamardArgs&);
  void (*hyper_split)(const HyperSplitArgs&);
  void (*hyper_enter)(const HyperEnterArgs&);
  void (*hyper_leave)(const HyperLeaveArgs&);
  // Below kAttentionLeast to zero, in place; n a multiple of 32
  void (*drop_small)(float* x, std::int64_t n);
  void (*attention_scores)(const AttentionArgs&, int row_begin, int row_end);
  void (*attention_weights)(const AttentionArgs&, int head_begin, int head_end);
  void (*attention_values)(const AttentionArgs&, int column_begin, int column_end);
  void (*pool)(const PoolArgs&);
  void (*index_scores)(const IndexArgs&);
  void (*swiglu)(const SwigluArgs&);
  void (*unpack_cells)(const UnpackArgs&);
  // Exp of numbers <= 0, in place; below kExpLeast zero; n a multiple of kExpBlock
  void (*exp_blocks)(double* x, std::int64_t n);
};

// All three steps.
void attention(const Kernels& k, const AttentionArgs& a);

std::span<const Kernels* const> rows();
const Kernels& best();  // the first available row
// Null: no such row, or it does not run on this machine
const Kernels* find(std::string_view name);

}  // namespace lares::kernels
