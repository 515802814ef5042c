// A checkpoint directory: config.json, the index, the mapped shards, and every tensor by name.
#pragma once

#include <deque>
#include <initializer_list>
#include <map>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/model/checkpoint/config.h"
#include "engine/model/checkpoint/safetensors.h"
#include "kernels/linear.h"

namespace lares::engine {

inline constexpr std::size_t kIndexBytesMax = 256u << 20;
inline constexpr std::size_t kShardsMax = 10000;

struct Entry {
  std::string name, file;
  const Tensor* tensor;
  bool listed = true;  // in the index, or there is none
  bool used = false;
};

class Checkpoint {
 public:
  static Result<Checkpoint> open(const std::string& directory, const Progress& progress);
  // No files, a shape alone: for weights that come from elsewhere.
  static Checkpoint of_shape(Config config) {
    Checkpoint c;
    c.config_ = std::move(config);
    return c;
  }

  const std::string& directory() const { return directory_; }
  const Config& config() const { return config_; }
  // Its tensors are not DSpark's, whatever config.json says.
  void without_dspark() {
    config_.dspark_block_size = 0;
    config_.dspark_target_layer_ids.clear();
  }
  const std::map<std::string, Entry, std::less<>>& entries() const { return entries_; }
  const std::vector<std::string>& shards() const { return shard_names_; }
  std::uint64_t shard_bytes(std::size_t i) const { return shards_[i].file.bytes().size(); }
  const MappedFile& file(std::size_t i) const { return shards_[i].file; }
  std::span<const std::uint8_t> shard(std::size_t i) const { return shards_[i].file.bytes(); }
  bool has(std::string_view name) const { return entries_.find(name) != entries_.end(); }

  // The tensor of that name, if its shape and one of the dtypes fit; marks it used.
  Result<const Tensor*> take(const std::string& name, std::initializer_list<Dtype> dtypes,
                             const std::vector<std::int64_t>& shape);
  // `name` + ".weight" as a matrix [n_out, n_in]; F8_E4M3 and I8 also take ".scale", E8M0 or (for
  // F8_E4M3) F32.
  Result<kernels::Matrix> matrix(const std::string& name, std::initializer_list<Dtype> dtypes,
                                 int n_out, int n_in);
  // A tensor without ".weight", F32, as a matrix.
  Result<kernels::Matrix> plain_matrix(const std::string& name, int n_out, int n_in);
  // BF16 or F32 as floats that live as long as the checkpoint.
  Result<const float*> floats(const std::string& name, const std::vector<std::int64_t>& shape);
  // I64, each value in [0, limit).
  Result<const std::int64_t*> ids(const std::string& name, const std::vector<std::int64_t>& shape,
                                  std::int64_t limit);

 private:
  template <class T>
  const T* aligned(const Tensor& tensor);

  std::string directory_;
  Config config_;
  std::deque<Shard> shards_;
  std::vector<std::string> shard_names_;
  std::map<std::string, Entry, std::less<>> entries_;
  std::deque<std::vector<std::uint64_t>> owned_;  // copies of tensors the file does not align
  std::deque<std::vector<float>> owned_floats_;
};

}  // namespace lares::engine
