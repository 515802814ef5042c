#include "kernels/rows.h"

namespace lares::kernels {

extern const Kernels kCpuRow;
constexpr Kernels kCpuRow = row<Plain8, Plain8, linear_cpu, pack_cpu, linear_tiles_cpu>("cpu", [] { return true; });

}  // namespace lares::kernels
