// config.json of the family's shapes, in directories of their own: the golden one's keys with the
// released sizes in it.
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "tests/temporary_directory.h"

namespace lares::engine::test {

inline nlohmann::json family_config() {
  std::ifstream file(std::string(LARES_SOURCE_DIR) + "/tests/goldens/micro-flash/config.json");
  auto json = nlohmann::json::parse(file);
  json["vocab_size"] = 129280;
  json["head_dim"] = 512;
  json["o_lora_rank"] = 1024;
  json["index_n_heads"] = 64;
  json["num_experts_per_tok"] = 6;
  json["num_hash_layers"] = 3;
  return json;
}
// `first` twice, then CSA and HCA in turn, CSA last; 0 for the MTP block.
inline nlohmann::json ratios(int first, int n_layers) {
  nlohmann::json out{first, first};
  while (static_cast<int>(out.size()) < n_layers) out.push_back(out.size() % 2 == 0 ? 4 : 128);
  out.push_back(0);
  return out;
}
inline nlohmann::json flash_config() {
  auto json = family_config();
  json.update({{"hidden_size", 4096},
               {"num_hidden_layers", 43},
               {"num_attention_heads", 64},
               {"q_lora_rank", 1024},
               {"o_groups", 8},
               {"index_topk", 512},
               {"n_routed_experts", 256},
               {"moe_intermediate_size", 2048},
               {"compress_ratios", ratios(0, 43)}});
  return json;
}
inline nlohmann::json pro_config() {
  auto json = family_config();
  json.update({{"hidden_size", 7168},
               {"num_hidden_layers", 61},
               {"num_attention_heads", 128},
               {"q_lora_rank", 1536},
               {"o_groups", 16},
               {"index_topk", 1024},
               {"n_routed_experts", 384},
               {"moe_intermediate_size", 3072},
               {"routed_scaling_factor", 2.5},
               {"compress_ratios", ratios(128, 61)}});
  return json;
}

// A directory with that config.json alone, for as long as this lives.
class ConfigDirectory {
 public:
  explicit ConfigDirectory(const nlohmann::json& config) {
    std::ofstream(made_ / "config.json") << config.dump();
  }
  const std::string& path() const { return made_.path(); }

 private:
  TemporaryDirectory made_;
};

}  // namespace lares::engine::test
