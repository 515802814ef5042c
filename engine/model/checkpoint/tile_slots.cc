#include "engine/model/checkpoint/tile_slots.h"

#include <algorithm>

namespace lares::engine {
namespace {

constexpr int kRowsPiece = 128;  // rows a thread repacks at a time: one block of fp8 scales
constexpr std::uint64_t kLine = 64;

std::uint64_t tiles_size(const kernels::Matrix& m) {
  return static_cast<std::uint64_t>(kernels::tiles_bytes(m.format, m.n_out, m.n_in));
}
std::uint64_t scales_size(const kernels::Matrix& m) {
  return m.format == kernels::Format::fp8
             ? sizeof(float) * static_cast<std::uint64_t>(kernels::tiles_scales(m.n_out, m.n_in))
             : 0;
}

}  // namespace

Slot slot_after(std::uint64_t end, const NamedMatrix& of) {
  Slot s{&of, (end + kLine - 1) / kLine * kLine, 0, 0};
  s.scale_at = s.at + tiles_size(*of.matrix);  // whole lines, so still aligned
  s.end = s.scale_at + scales_size(*of.matrix);
  return s;
}

std::vector<Slot> plan_slots(const Weights& weights, kernels::ThreadPool& pool) {
  std::vector<char> fits(weights.matrices.size());
  pool.run(static_cast<std::int64_t>(fits.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) fits[i] = kernels::tileable(*weights.matrices[i].matrix);
  });
  std::vector<Slot> out;
  std::uint64_t end = 0;
  for (std::size_t i = 0; i < fits.size(); ++i)
    if (fits[i]) {
      out.push_back(slot_after(end, weights.matrices[i]));
      end = out.back().end;
    }
  return out;
}

void fill(const Slot& slot, std::uint8_t* data, kernels::ThreadPool& pool) {
  const kernels::Matrix& m = *slot.of->matrix;
  const std::int64_t pieces = (m.n_out + kRowsPiece - 1) / kRowsPiece;
  pool.run(pieces, 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i)
      kernels::repack(m, static_cast<int>(i) * kRowsPiece,
                      std::min(m.n_out, static_cast<int>(i + 1) * kRowsPiece), data + slot.at,
                      reinterpret_cast<float*>(data + slot.scale_at));
  });
}

kernels::Tiles tiles_at(const Slot& slot, const std::uint8_t* data) {
  const kernels::Matrix& m = *slot.of->matrix;
  return {m.format, data + slot.at,
          m.format == kernels::Format::fp8 ? reinterpret_cast<const float*>(data + slot.scale_at)
                                           : nullptr,
          m.n_out, m.n_in};
}

}  // namespace lares::engine
