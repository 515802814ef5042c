#include "kernels/dispatch.h"

namespace lares::kernels {

extern const Kernels kCpuRow;
#ifdef LARES_X86
extern const Kernels kAvx2Row;
extern const Kernels kAvx512Row;
#endif

namespace {

constexpr const Kernels* kRows[] = {
#ifdef LARES_X86
    &kAvx512Row,
    &kAvx2Row,
#endif
    &kCpuRow,
};

}  // namespace

void attention(const Kernels& k, const AttentionArgs& a) {
  k.attention_scores(a, 0, a.n_rows);
  k.attention_weights(a, 0, a.n_heads);
  k.attention_values(a, 0, a.head_dim);
}

std::span<const Kernels* const> rows() { return kRows; }

const Kernels& best() {
  for (const Kernels* row : kRows)
    if (row->available()) return *row;
  return kCpuRow;
}

const Kernels* find(std::string_view name) {
  for (const Kernels* row : kRows)
    if (name == row->name && row->available()) return row;
  return nullptr;
}

}  // namespace lares::kernels
