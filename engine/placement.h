// Where a model's weights, caches and work space would lie, on GPUs and in host memory: arithmetic
// alone, before anything is loaded, on a machine that need not have a GPU.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace lares::engine {

inline constexpr std::size_t kGpusMax = 64;

// Everything a layer holds but its routed experts, by use.
enum class Component {
  attention,
  compressors,
  indexers,
  routers,
  hash_tables,
  shared_experts,
  hyper_connections,
  norms
};
inline constexpr std::array<const char*, 8> kComponentNames{
    "attention",   "compressors",    "indexers",          "routers",
    "hash tables", "shared experts", "hyper-connections", "norms and sinks"};

// Bytes of weights as stored.
struct LayerBytes {
  std::array<std::uint64_t, kComponentNames.size()> components{};
  std::uint64_t expert = 0;  // one routed expert
  std::uint64_t dense() const;
};
struct ModelBytes {
  std::uint64_t embed = 0, head = 0;  // head: the final norm and hyper-connection too
  std::vector<LayerBytes> layers;
  std::uint64_t draft = 0;  // the draft blocks, their experts included
  std::uint64_t n_tensors = 0;
  bool fp4_experts = false;  // all of them, of which a GPU and the CPU make the same bits
  bool from_shards = false;  // read off the shards, not computed from config.json
  std::uint64_t total(int n_experts) const;
};

struct PlacementRequest {
  std::string directory;            // config.json is enough
  std::vector<std::uint64_t> gpus;  // bytes of each; empty: what GPUs would it take?
  // Of those now, beside this program's context; empty: of cards that are only described,
  // everything
  std::vector<std::uint64_t> gpus_free = {};
  std::vector<std::string> gpu_names = {};  // for people; empty: GPU 0 and so on
  std::uint64_t gpu_memory = 0;             // of each, bytes that may be taken; 0: all
  std::uint64_t host_memory = 0;            // bytes that may be taken; 0: as much as it takes
  // Tokens of all sequences together that are kept on the GPUs; 0: the model's own limit
  std::int64_t n_context = 0;
  // Whose windows are on the GPUs at a time, as many as are evaluated together; others wait in host
  // memory
  int n_sequences = 16;
  bool draft = false;  // the draft blocks too, where the checkpoint has them
  // [layers * experts] how often each is asked for, of each layer's by itself; empty: not known
  std::vector<double> heat;
};
inline constexpr int kSequencesMax = 1024;

// Bytes of a GPU's memory that were not free, from which on it is said: what others hold then shows
// in what is planned. This program's own context is less.
inline constexpr std::uint64_t kHeldShown = 1'000'000'000;

// One GPU: a run of layers and everything those need. Bytes.
struct GpuPlacement {
  std::uint64_t memory = 0;
  std::uint64_t free = 0;    // of it, when it was planned; all, where nobody asked
  std::uint64_t budget = 0;  // that may be taken
  bool held() const { return memory - free > kHeldShown; }
  int layer_begin = 0, layer_end = 0;
  std::array<std::uint64_t, kComponentNames.size()> components{};
  // On the last one; draft: the blocks, their work space and the sequences' state
  std::uint64_t head = 0, draft = 0;
  std::uint64_t pages = 0;  // cells of n_context tokens
  std::uint64_t state = 0;  // windows and open rows of n_sequences
  std::uint64_t work = 0;   // buffers of a chunk
  // Through which experts pass that it has no room for; 0: it lacks none, or the CPU computes them
  std::uint64_t ring = 0;
  std::uint64_t reserve = 0;  // for CUDA itself
  std::uint64_t experts = 0;  // the routed ones that stay
  std::int64_t n_experts = 0;
  std::uint64_t fixed() const;  // all but experts
  std::uint64_t used() const { return fixed() + ring + experts; }
};

// What becomes of uses whose expert has no room on its GPU. They pass: the experts come from pinned
// host memory, in the kernels' order, which for a prompt is sooner than the CPU computes them; for
// few tokens the CPU is, if it has them in its own order too.
enum class Misses { none, computed_or_pass, pass, computed };

struct Placement {
  std::string directory, model_type;
  int n_layers = 0, n_experts = 0, experts_per_token = 0, chunk = 0;
  std::int64_t n_context = 0;
  int n_sequences = 0;
  bool heat_known = false;
  ModelBytes model;
  std::vector<GpuPlacement> gpus;
  std::vector<char> resident;  // [layers * experts] on the layer's GPU
  Misses misses = Misses::none;
  std::uint64_t missing = 0;  // bytes of experts that are on no GPU
  struct Host {
    std::uint64_t embed = 0;      // a row a token is looked up
    std::uint64_t experts = 0;    // that the CPU may compute
    std::uint64_t passing = 0;    // that pass through GPUs, pinned
    std::uint64_t snapshots = 0;  // frontiers to return to
    std::uint64_t work = 0;       // pinned buffers of a chunk
    std::uint64_t total() const { return embed + experts + passing + snapshots + work; }
  } host;
  double found = 0;  // of the routed uses, the share that a GPU has
  // Bytes of weights a token reads at batch 1, expected
  std::uint64_t token_gpu = 0, token_host = 0;
};

// no_memory, with the numbers, where it cannot be. Experts that have no room pass, and fp4 ones may
// be computed too, if host memory has room for both.
Result<Placement> plan_placement(const PlacementRequest& request);
std::string placement_text(const Placement& placement);
std::string placement_json(const Placement& placement);

// What a card of so many GB gives: of a usual card the driver's figure, which is another than what
// it is sold with.
std::uint64_t card_bytes(double gb);

// For each usual card: how many hold everything, and what one of them leaves to host memory. `gpus`
// of the request are not looked at.
struct CardNeeds {
  int gb = 0;                // that a card is sold with
  std::uint64_t memory = 0;  // of one card
  std::int64_t n_all = 0;    // cards that hold every weight; 0: not with kGpusMax
  std::int64_t n_least = 0;  // cards that hold all but routed experts
  double found = 0;          // with so many
  std::uint64_t host = 0;    // what host memory then holds at least
};
struct Needs {
  std::string directory;
  std::int64_t n_context = 0;
  ModelBytes model;
  int n_experts = 0;
  std::vector<CardNeeds> cards;
};
Result<Needs> placement_needs(const PlacementRequest& request);
std::string needs_text(const Needs& needs);
std::string needs_json(const Needs& needs);

}  // namespace lares::engine
