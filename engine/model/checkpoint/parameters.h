// How many parameters a tensor holds: two for each packed fp4 byte, none in scales and hash tables.
#pragma once

#include <string_view>

#include "engine/model/checkpoint/safetensors.h"

namespace lares::engine {

inline std::uint64_t parameters_of(std::string_view name, const Tensor& tensor) {
  if (name.ends_with(".scale") || name.ends_with(".tid2eid")) return 0;
  return tensor.n_bytes / dtype_size(tensor.dtype) * (tensor.dtype == Dtype::i8 ? 2 : 1);
}

}  // namespace lares::engine
