// The bytes of a model's tensors by use: read off the shards where they are there, else computed
// from config.json in the release's formats.
#pragma once

#include <string>
#include <string_view>

#include "engine/model/checkpoint/config.h"
#include "engine/placement.h"

namespace lares::engine {

// What a release of this shape stores. expert_dtype: "fp4", "fp8" or "bf16", config.json's key.
ModelBytes model_bytes(const Config& config, std::string_view expert_dtype);

struct Sized {
  Config config;
  ModelBytes bytes;
};
// Of a directory with a config.json at least. Shards that are there and damaged are an error, in
// load()'s words.
Result<Sized> sized_model(const std::string& directory);

// Adds one tensor's bytes where they belong; false: a name the layout does not know.
bool add_tensor(ModelBytes& to, std::string_view name, std::uint64_t bytes);

}  // namespace lares::engine
