// A KV row in 584 bytes instead of 1024: the grid of Q8_64 (kernels/quantise.h) has 8 bits a value
// and one scale for each 64.
//   [head_dim - rope_dim] e4m3 codes
//   [(head_dim - rope_dim) / 64] e8m0 scales, zeros up to the next multiple of 8
//   [rope_dim] bf16, zeros up to the next multiple of 8
// Nothing is lost, zeros keep their signs, and unpacking gives the bf16 row that attention reads.
// Source: DeepSeek-V4 inference/model.py, kv_cache after act_quant. Floor: the cell in, the row
// out.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lares::kernels {

inline constexpr int kCellBlock = 64;  // values that share a scale

// Where the bf16 values begin, and all of it.
inline constexpr std::size_t cell_rope_at(int head_dim, int rope_dim) {
  const auto n = static_cast<std::size_t>(head_dim - rope_dim);
  return (n + n / kCellBlock + 7) / 8 * 8;
}
inline constexpr std::size_t cell_bytes(int head_dim, int rope_dim) {
  return (cell_rope_at(head_dim, rope_dim) + 2 * static_cast<std::size_t>(rope_dim) + 7) / 8 * 8;
}

// x [head_dim]: the first head_dim - rope_dim values on Q8_64's grid, the others on bf16's; nothing
// but zeros below kAttentionLeast (Kernels::drop_small). A block that holds a value which is no
// number holds no other after that.
void pack_cell(const float* x, int head_dim, int rope_dim, std::uint8_t* cell);

struct UnpackArgs {
  const void* const* cells;  // [n] pointers
  std::uint16_t* rows;       // [n, head_dim] bf16 out
  int n, head_dim, rope_dim;
};

void unpack_cells_cpu(const UnpackArgs& a);
void unpack_cells_avx2(const UnpackArgs& a);
void unpack_cells_avx512(const UnpackArgs& a);  // with VBMI

}  // namespace lares::kernels
