#include "engine/engine.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/model/forward.h"
#include "engine/model/parameters.h"
#include "engine/model/repack.h"
#include "engine/model/timeline.h"
#include "engine/model/weights.h"
#include "engine/tokenizer.h"

namespace lares::engine {
namespace {

class ModelEngine : public Engine {
 public:
  ModelEngine(std::unique_ptr<Weights> weights, std::unique_ptr<Tokenizer> tokenizer, const LoadOptions& options)
      : weights_(std::move(weights)),
        tokenizer_(std::move(tokenizer)),
        pool_(options.n_threads),
        forward_(*weights_, options.exact, pool_, kernels::best()),
        drafts_{.mode = options.drafting, .policy = std::make_shared<DraftPolicy>()} {
    const Config& c = weights_->checkpoint.config();
    info_.directory = options.directory;
    info_.model_type = c.model_type;
    info_.n_layers = c.num_hidden_layers;
    info_.vocab_size = c.vocab_size;
    info_.n_context_max = options.n_context > 0 ? std::min(options.n_context, c.max_position_embeddings) : c.max_position_embeddings;
    info_.notes = weights_->notes;
    for (const auto& [name, entry] : weights_->checkpoint.entries()) {
      info_.weight_bytes += entry.tensor->n_bytes;
      info_.n_parameters += parameters_of(name, *entry.tensor);
    }
  }
  // Weights in the kernels' order, where that costs little or is already there; without, all works, more slowly.
  void repack(const Progress& progress) {
    const std::uint64_t bytes = repacked_bytes(*weights_);
    const auto done = bytes <= kRepackMemoryMax ? repacked_.build(*weights_, pool_, progress)
                                                : repacked_.map(*weights_, fmt::format("{}/{}", info_.directory, kRepackFile));
    if (done) return;
    if (done.error().code == Errc::not_found)
      info_.notes.push_back(fmt::format("the weights are read as they are stored; `lares model repack {}` writes {:.0f} GB that the kernels read faster",
                                        info_.directory, static_cast<double>(bytes) / 1e9));
    else info_.notes.push_back(done.error().message);
  }

  const ModelInfo& info() const override { return info_; }
  const Tokenizer& tokenizer() const override { return *tokenizer_; }
  std::unique_ptr<Timeline> timeline() override { return std::make_unique<ModelTimeline>(*weights_, forward_, info_.n_context_max, kChunk, drafts_); }

 private:
  std::unique_ptr<Weights> weights_;
  Repacked repacked_;
  std::unique_ptr<Tokenizer> tokenizer_;
  kernels::ThreadPool pool_;
  Forward forward_;
  DraftOptions drafts_;
  ModelInfo info_;
};

}  // namespace

Result<std::unique_ptr<Engine>> load(const LoadOptions& options, const Progress& progress) {
  auto weights = load_weights(options.directory, progress);
  if (!weights) return tl::unexpected(weights.error());
  auto tokenizer = Tokenizer::from_file(options.directory + "/tokenizer.json");
  if (!tokenizer) return tl::unexpected(tokenizer.error());
  if ((*tokenizer)->vocab_size() > (*weights)->checkpoint.config().vocab_size)
    return tl::unexpected(Error{Errc::malformed, fmt::format("load {}: tokenizer.json has {} ids, the model's vocabulary {}", options.directory,
                                                             (*tokenizer)->vocab_size(), (*weights)->checkpoint.config().vocab_size)});
  auto engine = std::make_unique<ModelEngine>(std::move(*weights), std::move(*tokenizer), options);
  engine->repack(progress);
  return engine;
}

}  // namespace lares::engine
