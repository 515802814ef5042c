// The weights in the order the kernels read them (kernels/tiles.h), beside the checkpoint's own: in
// memory for small models, in a file that `lares model repack` writes for large ones
// (tiles_file.h). The bits of every result are the same with and without.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "engine/model/checkpoint/mapped_file.h"
#include "engine/model/checkpoint/tiles_file.h"
#include "engine/model/checkpoint/weights.h"
#include "kernels/thread_pool.h"
#include "kernels/tiles.h"

namespace lares::engine {

// Of tiles that are built at every load
inline constexpr std::uint64_t kRepackMemoryMax = 2ull << 30;

// Owns tiles and gives them to the matrices of the weights they were made from; must live as long
// as those are used.
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
  // The same from the first of `paths` that will do; why others that are there did not, into
  // `notes`.
  Result<> map_first(Weights& weights, const std::vector<std::string>& paths,
                     std::vector<std::string>& notes);

  std::uint64_t memory_bytes() const { return memory_bytes_; }          // beside the checkpoint's
  const MappedFile* file() const { return file_ ? &*file_ : nullptr; }  // when mapped
  std::size_t count() const { return tiles_.size(); }                   // matrices

 private:
  std::uint8_t* memory_ = nullptr;  // anonymous, when built
  std::uint64_t memory_bytes_ = 0;
  std::optional<MappedFile> file_;
  std::deque<kernels::Tiles> tiles_;
};

// What tiles of all matrices would take, and what `lares model repack` writes.
std::uint64_t repacked_bytes(const Weights& weights);
// 64 bits of every tensor's name and type, every shard's name, size and beginning, and samples of
// its data: tells checkpoints apart, but not one from another that differs in a few weights. Who
// must know that looks at the files' times too (tiles_file.h, prefix.h).
std::string checkpoint_fingerprint(const Checkpoint& checkpoint);

}  // namespace lares::engine
