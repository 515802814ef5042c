// The weights in the order the kernels read them (kernels/tiles.h), beside the checkpoint's own: in memory for small models, in a
// file that `lares model repack` writes for large ones. The bits of every result are the same with and without.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "engine/model/mapped_file.h"
#include "engine/model/weights.h"
#include "kernels/thread_pool.h"
#include "kernels/tiles.h"

namespace lares::engine {

inline constexpr std::uint64_t kRepackMemoryMax = 2ull << 30;  // of tiles that are built at every load
inline constexpr std::string_view kRepackFile = "lares-tiles-2.bin";  // in the checkpoint's directory, or one named for it
inline constexpr std::size_t kRepackHeaderMax = 64u << 20;

// Owns tiles and gives them to the matrices of the weights they were made from; must live as long as those are used.
class Repacked {
 public:
  Repacked() = default;
  Repacked(const Repacked&) = delete;
  Repacked& operator=(const Repacked&) = delete;
  ~Repacked();

  // Builds the tiles of every matrix they can hold.
  Result<> build(Weights& weights, kernels::ThreadPool& pool, const Progress& progress);
  // Takes them from a file written for this very checkpoint. Errc::not_found: there is none.
  Result<> map(Weights& weights, const std::string& path);

  std::uint64_t memory_bytes() const { return memory_bytes_; }  // beside the checkpoint's
  const MappedFile* file() const { return file_ ? &*file_ : nullptr; }  // when mapped
  std::size_t count() const { return tiles_.size(); }           // matrices

 private:
  std::uint8_t* memory_ = nullptr;  // anonymous, when built
  std::uint64_t memory_bytes_ = 0;
  std::optional<MappedFile> file_;
  std::deque<kernels::Tiles> tiles_;
};

// What tiles of all matrices would take, and what `lares model repack` writes.
std::uint64_t repacked_bytes(const Weights& weights);
// Writes `path` (complete or not at all); refuses when the file system has too little room.
Result<std::uint64_t> write_repacked(Weights& weights, const std::string& path, kernels::ThreadPool& pool, const Progress& progress);
// 64 bits of config.json, the index, every shard's header and samples of its data: what a file of tiles was made from.
std::string checkpoint_fingerprint(const Checkpoint& checkpoint);

}  // namespace lares::engine
