// The safetensors container: a header that says where each tensor lies, checked before anything is
// read through it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/model/checkpoint/mapped_file.h"

namespace lares::engine {

enum class Dtype : std::uint8_t {
  f32,
  f16,
  bf16,
  f64,
  i64,
  i32,
  i16,
  i8,
  u8,
  f8_e4m3,
  f8_e5m2,
  f8_e8m0,
  boolean
};
const char* dtype_name(Dtype dtype);
std::size_t dtype_size(Dtype dtype);

inline constexpr std::uint64_t kHeaderBytesMax = 256u << 20;  // the largest real header has 5 MB
inline constexpr std::size_t kTensorsMax = 1u << 20;          // the largest release has 150,000
inline constexpr std::size_t kDimsMax = 8;
inline constexpr std::uint64_t kElementsMax = std::uint64_t{1} << 48;

struct Tensor {
  Dtype dtype;
  std::vector<std::int64_t> shape;
  const std::uint8_t* data = nullptr;  // inside the mapping; not necessarily aligned
  std::uint64_t n_bytes = 0;
};
std::string shape_text(const std::vector<std::int64_t>& shape);

struct Shard {
  MappedFile file;
  std::map<std::string, Tensor, std::less<>> tensors;
};

// Every offset is checked against the file's size and the tensor's dtype and shape; overlapping
// tensors are refused.
Result<Shard> open_shard(const std::string& path);

struct OutputTensor {
  std::string name;
  Dtype dtype;
  std::vector<std::int64_t> shape;
  const void* data;
};
Result<> write_safetensors(const std::string& path, const std::vector<OutputTensor>& tensors);

}  // namespace lares::engine
