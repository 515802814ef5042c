#include "engine/inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "engine/model/checkpoint/parameters.h"
#include "engine/model/checkpoint/weights.h"
#include "engine/model/memory/size_text.h"

namespace lares::engine {
namespace {

const char* component_of(std::string_view name) {
  const auto has = [&](std::string_view part) { return name.find(part) != std::string_view::npos; };
  if (name.starts_with("mtp.")) return "draft blocks";
  if (name.starts_with("embed.")) return "embedding";
  if (name.starts_with("head.")) return "head";
  if (has("tid2eid")) return "hash tables";
  if (has(".experts.")) return "routed experts";
  if (has(".shared_experts.")) return "shared experts";
  if (has(".gate.")) return "routers";
  if (has(".indexer.")) return "indexers";
  if (has(".compressor.")) return "compressors";
  if (has("norm") || has("attn_sink")) return "norms and sinks";
  if (has("hc_")) return "hyper-connections";
  if (has(".attn.")) return "attention";
  return "other";
}

}  // namespace

Result<Inspection> inspect(const std::string& directory) {
  const auto weights = load_weights(directory, {});
  if (!weights) return tl::unexpected(weights.error());
  const Checkpoint& ckpt = (*weights)->checkpoint;
  const Config& c = ckpt.config();
  Inspection out;
  out.directory = directory;
  out.model_type = c.model_type;
  const auto add = [&](const char* key, const auto& value) {
    out.config.emplace_back(key, fmt::format("{}", value));
  };
  add("vocab_size", c.vocab_size);
  add("hidden_size", c.hidden_size);
  add("num_hidden_layers", c.num_hidden_layers);
  add("num_attention_heads", c.num_attention_heads);
  add("head_dim", c.head_dim);
  add("qk_rope_head_dim", c.qk_rope_head_dim);
  add("q_lora_rank", c.q_lora_rank);
  add("o_groups", c.o_groups);
  add("o_lora_rank", c.o_lora_rank);
  add("sliding_window", c.sliding_window);
  add("index_n_heads", c.index_n_heads);
  add("index_head_dim", c.index_head_dim);
  add("index_topk", c.index_topk);
  add("hc_mult", c.hc_mult);
  add("n_routed_experts", c.n_routed_experts);
  add("num_experts_per_tok", c.num_experts_per_tok);
  add("moe_intermediate_size", c.moe_intermediate_size);
  add("num_hash_layers", c.num_hash_layers);
  add("routed_scaling_factor", c.routed_scaling_factor);
  add("swiglu_limit", c.swiglu_limit);
  add("max_position_embeddings", c.max_position_embeddings);
  if (c.dspark_block_size > 0) {
    add("dspark_block_size", c.dspark_block_size);
    add("dspark_markov_rank", c.dspark_markov_rank);
    add("dspark_noise_token_id", c.dspark_noise_token_id);
    add("dspark_target_layer_ids", fmt::format("[{}]", fmt::join(c.dspark_target_layer_ids, ", ")));
  }

  std::map<std::string, LayerReport*, std::less<>> by_prefix;
  out.layers.resize((*weights)->layers.size() + (*weights)->draft_layers().size());
  for (std::size_t i = 0; i < out.layers.size(); ++i) {
    const bool draft = i >= (*weights)->layers.size();
    LayerReport& layer = out.layers[i];
    layer.name = draft ? fmt::format("mtp.{}", i - (*weights)->layers.size())
                       : fmt::format("layers.{}", i);
    layer.kind = c.kind(static_cast<int>(i));
    layer.ratio = c.ratio(static_cast<int>(i));
    layer.hashed = !draft && c.hashed(static_cast<int>(i));
    by_prefix[layer.name] = &layer;
  }
  for (const auto& [name, entry] : ckpt.entries()) {
    const std::uint64_t parameters = parameters_of(name, *entry.tensor),
                        bytes = entry.tensor->n_bytes;
    ++out.n_tensors;
    out.n_parameters += parameters;
    out.n_bytes += bytes;
    const std::string_view component = component_of(name);
    auto at = std::find_if(out.components.begin(), out.components.end(),
                           [&](const auto& r) { return r.name == component; });
    if (at == out.components.end())
      at = out.components.insert(at, ComponentReport{std::string(component)});
    ++at->n_tensors;
    at->n_parameters += parameters;
    at->n_bytes += bytes;
    if (const auto dot = name.find('.', name.find('.') + 1); dot != std::string::npos)
      if (const auto layer = by_prefix.find(std::string_view(name).substr(0, dot));
          layer != by_prefix.end()) {
        layer->second->n_parameters += parameters;
        layer->second->n_bytes += bytes;
      }
  }
  std::sort(out.components.begin(), out.components.end(),
            [](const auto& a, const auto& b) { return a.n_bytes > b.n_bytes; });
  for (std::size_t i = 0; i < ckpt.shards().size(); ++i)
    out.shards.emplace_back(ckpt.shards()[i], ckpt.shard_bytes(i));
  out.notes = (*weights)->notes;
  return out;
}

Result<std::string> inspect_json(const std::string& directory) {
  const auto i = inspect(directory);
  if (!i) return tl::unexpected(i.error());
  nlohmann::ordered_json json;
  json["directory"] = i->directory;
  json["model_type"] = i->model_type;
  for (const auto& [key, value] : i->config)
    json["config"][key] = nlohmann::ordered_json::parse(value, nullptr, false);
  json["parameters"] = i->n_parameters;
  json["bytes"] = i->n_bytes;
  json["tensors"] = i->n_tensors;
  json["layers"] = json["components"] = json["shards"] = nlohmann::ordered_json::array();
  for (const auto& l : i->layers)
    json["layers"].push_back({{"name", l.name},
                              {"kind", l.kind},
                              {"ratio", l.ratio},
                              {"hashed", l.hashed},
                              {"parameters", l.n_parameters},
                              {"bytes", l.n_bytes}});
  for (const auto& c : i->components)
    json["components"].push_back({{"name", c.name},
                                  {"tensors", c.n_tensors},
                                  {"parameters", c.n_parameters},
                                  {"bytes", c.n_bytes}});
  for (const auto& [file, bytes] : i->shards)
    json["shards"].push_back({{"file", file}, {"bytes", bytes}});
  json["notes"] = i->notes;
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::string inspect_text(const Inspection& i) {
  std::string s = fmt::format("{}\n{}: {} parameters, {} in {} tensors and {} shards\n\n",
                              i.directory, i.model_type, i.n_parameters, size_text(i.n_bytes),
                              i.n_tensors, i.shards.size());
  for (const auto& [key, value] : i.config) s += fmt::format("  {:<26}{}\n", key, value);
  s += fmt::format("\n  {:<14}{:<6}{:>7}  {:<8}{:>16}{:>12}\n", "layer", "kind", "ratio", "experts",
                   "parameters", "size");
  for (const auto& l : i.layers)
    s += fmt::format("  {:<14}{:<6}{:>7}  {:<8}{:>16}{:>12}\n", l.name, l.kind, l.ratio,
                     l.hashed ? "hashed" : "scored", l.n_parameters, size_text(l.n_bytes));
  s += fmt::format("\n  {:<20}{:>9}{:>18}{:>12}\n", "component", "tensors", "parameters", "size");
  for (const auto& c : i.components)
    s += fmt::format("  {:<20}{:>9}{:>18}{:>12}\n", c.name, c.n_tensors, c.n_parameters,
                     size_text(c.n_bytes));
  s += "\n";
  for (const auto& [file, bytes] : i.shards)
    s += fmt::format("  {:<40}{:>12}\n", file, size_text(bytes));
  for (const auto& note : i.notes) s += fmt::format("note: {}\n", note);
  return s;
}

}  // namespace lares::engine
