// The file of tiles that `lares model repack` writes: a header that names each matrix, its place
// and the digest of its bytes, then the tiles. It is good for the files it was made from and no
// others: their names, sizes, times of change and samples, and the text of config.json and the
// index. A checkpoint that was copied keeps its tiles where the copy keeps the times (cp -a, rsync
// -a); else it is repacked again, because what would tell more is a digest of all weights, which
// takes as long.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model/checkpoint/mapped_file.h"
#include "engine/model/checkpoint/tile_slots.h"

namespace lares::engine {

// In the checkpoint's directory
inline constexpr std::string_view kRepackFile = "lares-tiles-2.bin";
inline constexpr std::size_t kRepackHeaderMax = 64u << 20;

struct TilesFile {
  MappedFile file;
  std::vector<Slot> slots;
  std::vector<std::uint64_t> digests;  // of each slot's bytes, as they were written
  const std::uint8_t* data = nullptr;  // what slots are offsets in
};

// Where to look, in this order: beside the checkpoint, and in `private_directory` (empty: nowhere),
// under the checkpoint's fingerprint.
std::vector<std::string> tiles_paths(const Checkpoint& checkpoint,
                                     const std::string& private_directory);

// Checks header and sizes, not the tiles. Errc::not_found: there is none.
Result<TilesFile> open_tiles(const Weights& weights, const std::string& path);
// Reads all of it; the error names the first matrix that is not as it was written.
Result<> check_tiles(const TilesFile& tiles, const std::string& path, kernels::ThreadPool& pool,
                     const Progress& progress);

// Writes `path`, complete or not at all, and returns its size. Refuses when another process is
// writing there, when there is too little room, and when the checkpoint changed meanwhile. Looks at
// `stop` after each matrix. *denied: there is no permission to write there.
Result<std::uint64_t> write_tiles(Weights& weights, const std::string& path,
                                  kernels::ThreadPool& pool, std::stop_token stop,
                                  const Progress& progress, bool* denied = nullptr);

}  // namespace lares::engine
