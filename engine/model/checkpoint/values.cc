#include "engine/model/checkpoint/values.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "engine/model/checkpoint/digest.h"

namespace lares::engine {
namespace {

constexpr std::uint64_t kPiece = std::uint64_t{1} << 20;  // bytes; a multiple of every dtype's size
constexpr std::int64_t kAtATime = 64;                     // pieces between two reports

struct Piece {
  const Entry* entry;
  std::uint64_t begin, size;
};
struct Found {
  std::uint64_t bad = 0, first = 0, digest = 0;  // first: the element, within the tensor
};

template <class Word, class Bad>
void count(const Piece& p, Found& out, Bad bad) {
  for (std::uint64_t i = 0; i + sizeof(Word) <= p.size; i += sizeof(Word)) {
    Word w;
    std::memcpy(&w, p.entry->tensor->data + p.begin + i, sizeof w);
    if (!bad(w)) continue;
    if (out.bad++ == 0) out.first = (p.begin + i) / sizeof(Word);
  }
}

Found read(const Piece& p) {
  Found out;
  switch (p.entry->tensor->dtype) {
    case Dtype::f8_e4m3:
      count<std::uint8_t>(p, out, [](std::uint8_t b) { return (b & 0x7F) == 0x7F; });
      break;
    case Dtype::f8_e8m0:
      count<std::uint8_t>(p, out, [](std::uint8_t b) { return b == 0xFF; });
      break;
    case Dtype::bf16:
      count<std::uint16_t>(p, out, [](std::uint16_t w) { return (w & 0x7F80) == 0x7F80; });
      break;
    case Dtype::f32:
      count<std::uint32_t>(p, out, [](std::uint32_t w) { return (w & 0x7F800000) == 0x7F800000; });
      break;
    default:
      break;  // every code of the others is a value; expert ids are checked when the checkpoint
              // opens
  }
  out.digest = digest_of(p.entry->tensor->data + p.begin, p.size, seed_of(p.entry->name, p.begin));
  return out;
}

}  // namespace

Values read_values(const Checkpoint& checkpoint, kernels::ThreadPool& pool,
                   const Progress& progress) {
  Values out;
  std::vector<Piece> pieces;
  for (const auto& [name, entry] : checkpoint.entries()) {
    out.bytes += entry.tensor->n_bytes;
    for (std::uint64_t at = 0; at < entry.tensor->n_bytes; at += kPiece)
      pieces.push_back({&entry, at, std::min(kPiece, entry.tensor->n_bytes - at)});
  }
  std::uint64_t done = 0;
  std::vector<Found> found(pieces.size());
  const auto n = static_cast<std::int64_t>(pieces.size());
  for (std::int64_t at = 0; at < n; at += kAtATime) {
    if (progress) progress(static_cast<std::int64_t>(done), static_cast<std::int64_t>(out.bytes));
    const std::int64_t count = std::min(kAtATime, n - at);
    pool.run(count, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = at + begin; i < at + end; ++i)
        found[static_cast<std::size_t>(i)] = read(pieces[static_cast<std::size_t>(i)]);
    });
    for (std::int64_t i = at; i < at + count; ++i) done += pieces[static_cast<std::size_t>(i)].size;
  }
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const Entry& e = *pieces[i].entry;
    if (found[i].bad > 0 && out.bad == 0)
      out.first_bad = fmt::format("{} in {}: {} value {}", e.name, e.file,
                                  dtype_name(e.tensor->dtype), found[i].first);
    out.bad += found[i].bad;
    out.digest += found[i].digest;  // a sum, so the order of pieces does not matter
  }
  return out;
}

}  // namespace lares::engine
