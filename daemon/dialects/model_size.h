// How large the loaded model is, as other servers say it.
#pragma once

#include "daemon/completions/generation.h"
#include "daemon/dialects/wire.h"

namespace lares::daemon {

// vLLM's `max_model_len`, tokens of context, and llama.cpp's `meta.n_params`; of each, nothing
// where nobody knows it.
inline void add_size(WireJson& json, const Generations& generations) {
  if (const auto n = generations.context_max()) json["max_model_len"] = *n;
  if (const auto n = generations.n_parameters()) json["meta"] = {{"n_params", n}};
}

}  // namespace lares::daemon
