#include "kernels/cuda/products/share_plan.h"

#include <algorithm>

namespace lares::kernels::cuda {
namespace {

// Groups of columns that enter.
int groups(const Product& p) { return p.n_out / p.rows_per_group; }
// Whether both multiply the same rows of x.
bool share_x(const Product& a, const Product& b) {
  return a.x == b.x && a.codes == b.codes && a.codes_in == b.codes_in && a.quantise == b.quantise &&
         a.n_in == b.n_in && groups(a) == 1 && groups(b) == 1;
}

}  // namespace

StreamShares shares_of(const StreamArgs& s, int blocks) {
  StreamShares to{};
  std::uint32_t before[kLinearTogether + 1] = {};  // costs
  int units = 0, n_groups = 0, key[kLinearTogether] = {};
  for (int i = 0; i < s.n_items; ++i) {
    const Product& p = s.item[i];
    const int unit = together(s.plan, p), rows = tile_rows(p.n_out);
    int same = 0;
    while (same < i && !share_x(s.item[same], p)) ++same;
    key[i] = same < i ? key[same] : n_groups;
    to.run[i] = {p.tiles, units, unit, unit * cuda::tile_bytes(p.format), key[i]};
    n_groups += groups(p);
    units += rows * along_of(p.n_in) / unit;
    before[i + 1] = before[i] + static_cast<std::uint32_t>(rows) * row_cost(p);
  }
  for (int i = s.n_items; i <= kLinearTogether; ++i) to.run[i] = {nullptr, units, 1, 0, 0};
  const std::uint32_t total = before[s.n_items], of = static_cast<std::uint32_t>(blocks),
                      each = total / of, rest = total % of;
  const bool cuts = s.scratch && each >= static_cast<std::uint32_t>(s.cut_from);
  for (int b = 0, i = 0; b <= blocks; ++b) {
    // The first `rest` blocks have one more
    const std::uint32_t block = static_cast<std::uint32_t>(b),
                        at = each * block + std::min(block, rest);
    while (i + 1 < s.n_items && at >= before[i + 1]) ++i;
    const Product& p = s.item[i];
    const int along = along_of(p.n_in), of_row = along / to.run[i].unit;
    const std::uint32_t cost = cuts ? unit_cost(s.plan, p) : row_cost(p);
    const int unit = static_cast<int>((at - before[i] + cost - 1) / cost) * (cuts ? 1 : of_row);
    to.cut[b].unit = to.run[i].units_before + unit;
    if (b == 0 || unit % of_row == 0) continue;
    StreamCut& last = to.cut[b - 1];
    last.tail = std::min(unit % of_row, to.cut[b].unit - last.unit);
  }
  return to;
}

}  // namespace lares::kernels::cuda
