#include "engine/model/checkpoint/model_info.h"

#include <algorithm>

#include "engine/model/checkpoint/parameters.h"

namespace lares::engine {

ModelInfo model_info(const Weights& weights, const LoadOptions& options) {
  const Config& c = weights.checkpoint.config();
  ModelInfo info;
  info.directory = options.directory;
  info.model_type = c.model_type;
  info.n_layers = c.num_hidden_layers;
  info.vocab_size = c.vocab_size;
  info.n_context_max = options.n_context > 0
                           ? std::min(options.n_context, c.max_position_embeddings)
                           : c.max_position_embeddings;
  info.notes = weights.notes;
  for (const auto& [name, entry] : weights.checkpoint.entries()) {
    info.weight_bytes += entry.tensor->n_bytes;
    info.n_parameters += parameters_of(name, *entry.tensor);
  }
  return info;
}

}  // namespace lares::engine
