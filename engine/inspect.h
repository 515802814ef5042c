// For people with a checkpoint in hand: what is in it, what the model computes from given tokens,
// and its weights in the order the kernels read them. Needs no tokenizer.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"

namespace lares::engine {

struct LayerReport {
  // "layers.3", "CSA"; kinds: SWA, CSA, HCA; draft blocks are "mtp.0" and so on
  std::string name, kind;
  int ratio = 0;        // tokens per compressed entry; 0: none
  bool hashed = false;  // experts chosen by token id
  std::uint64_t n_parameters = 0, n_bytes = 0;
};
struct ComponentReport {
  std::string name;  // "routed experts", "attention", ...
  std::uint64_t n_tensors = 0, n_parameters = 0, n_bytes = 0;
};
struct Inspection {
  std::string directory, model_type;
  // Key, value as text, in the order of Config (model/checkpoint/config.h)
  std::vector<std::pair<std::string, std::string>> config;
  std::vector<LayerReport> layers;
  std::vector<ComponentReport> components;
  std::vector<std::pair<std::string, std::uint64_t>> shards;  // file name, bytes
  std::uint64_t n_tensors = 0, n_parameters = 0, n_bytes = 0;
  std::vector<std::string> notes;  // tensors of unknown use, draft stages that cannot be run
};
// Opens and checks every tensor, as load() does.
Result<Inspection> inspect(const std::string& directory);
Result<std::string> inspect_json(const std::string& directory);
std::string inspect_text(const Inspection& inspection);

struct LogitsRequest {
  std::string directory;
  std::vector<Token> tokens;
  bool exact = true;
  int chunk = 256;  // tokens evaluated at a time; the result does not depend on it
  int threads = 0;  // 0: as load()
  bool mtp = false, streams = false;
  // What the DSpark stages guess after the last token, which they see as the one to go on from
  bool dspark = false;
  // a safetensors file: logits [T, V], mtp_logits [T - 1, V], streams.N [T, S, D], draft_logits [B,
  // V], draft_confidence [B], all F32; draft_tokens I32 [B]
  std::string out_path;
  std::string kernels;  // a dispatch row by name; empty: the best
};
std::vector<std::string> kernel_names();  // the dispatch rows that this machine runs
inline constexpr int kLogitsChunkMax = 8192;
Result<> write_logits(const LogitsRequest& request, const Progress& progress);

// Writes the weights in the order the kernels read them, so that they are not transposed on every
// pass: into the checkpoint's directory or, where that may not be written, into `private_directory`
// (empty: nowhere; made 0700), and load() finds them in either.
struct RepackResult {
  std::string path;
  std::uint64_t bytes = 0;
  std::string elsewhere;  // why it does not lie beside the checkpoint; empty: it does
};
// Looks at `stop` after each matrix; a cancelled one leaves nothing.
Result<RepackResult> repack_checkpoint(const std::string& directory,
                                       const std::string& private_directory, int threads,
                                       std::stop_token stop, const Progress& progress);

}  // namespace lares::engine
