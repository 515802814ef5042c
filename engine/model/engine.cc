#include "engine/engine.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "engine/between_layers.h"
#include "engine/gpus.h"
#include "engine/model/checkpoint/model_info.h"
#include "engine/model/checkpoint/repack.h"
#include "engine/model/checkpoint/weights.h"
#include "engine/model/forward.h"
#include "engine/model/memory/available_memory.h"
#include "engine/model/memory/expert_memory.h"
#include "engine/model/memory/memory_nodes.h"
#include "engine/model/memory/memory_plan.h"
#include "engine/model/memory/sequence_memory.h"
#include "engine/model/memory/size_text.h"
#include "engine/model/timeline.h"
#include "engine/model/trace.h"
#include "engine/shrinker.h"
#include "engine/tokenizer.h"

namespace lares::engine {
namespace {

class ModelEngine : public Engine, public DrawsBetweenLayers, public AsksShrinkers {
 public:
  ModelEngine(std::unique_ptr<Weights> weights, std::unique_ptr<Tokenizer> tokenizer,
              const LoadOptions& options, std::uint64_t sequences_max)
      : sequences_(std::make_shared<SequenceMemory>(sequences_max)),
        weights_(std::move(weights)),
        tokenizer_(std::move(tokenizer)),
        pool_(options.n_threads),
        forward_(*weights_, options.exact, pool_, kernels::best()),
        trace_(options.trace ? std::make_unique<Trace>() : nullptr),
        drafts_{.mode = options.drafting, .policy = std::make_shared<DraftPolicy>()} {
    forward_.record(trace_.get());
    info_ = model_info(*weights_, options);
    info_.n_chunk = kChunk;
  }
  // Weights in the kernels' order, where that costs little or is already there; without, all works,
  // more slowly.
  void repack(bool in_memory, const std::string& tiles_directory, const Progress& progress) {
    const auto paths = tiles_paths(weights_->checkpoint, tiles_directory);
    if (in_memory) {
      for (const std::string& path : paths)
        if (::access(path.c_str(), F_OK) == 0)
          info_.notes.push_back(fmt::format(
              "{} is not read: models of this size are repacked at every load; it may be deleted",
              path));
      if (const auto built = repacked_.build(*weights_, pool_, progress); !built)
        info_.notes.push_back(built.error().message);
      return;
    }
    const std::size_t before = info_.notes.size();
    if (repacked_.map_first(*weights_, paths, info_.notes) || info_.notes.size() > before) return;
    info_.notes.push_back(
        fmt::format("the weights are read as they are stored; `lares model repack {}` writes {} "
                    "that the kernels read faster",
                    info_.directory, size_text(repacked_bytes(*weights_))));
  }

  // After repack().
  void share_memory(std::uint64_t bytes_max, std::uint64_t experts_and_sequences,
                    const std::string& heat_directory) {
    auto parts = expert_parts(*weights_, repacked_);
    experts_ = std::make_unique<ExpertMemory>(std::move(parts), bytes_max);
    experts_->share_with(sequences_, experts_and_sequences);
    forward_.keep_experts(experts_.get());
    if (!heat_directory.empty()) {
      if (const auto remembered =
              experts_->remember({heat_directory, checkpoint_fingerprint(weights_->checkpoint)});
          !remembered)
        info_.notes.push_back(remembered.error().message);
    }
    const auto use = experts_->report();
    info_.notes.push_back(
        fmt::format("{} of {} of experts stay in memory, the others are read from the disk when "
                    "they are asked for",
                    size_text(use.bytes_max), size_text(use.bytes)));
  }

  // Of the files as they were when they were mapped.
  void fingerprint() {
    const PageLayout layout = page_layout(weights_->checkpoint.config(), forward_.exact());
    format_ = {.page_tokens = layout.tokens,
               .page_bytes = layout.bytes,
               .fingerprint = prefix_fingerprint(*weights_, forward_.exact())};
  }

  void note(std::string text) { info_.notes.push_back(std::move(text)); }

  const ModelInfo& info() const override { return info_; }
  const Tokenizer& tokenizer() const override { return *tokenizer_; }
  std::unique_ptr<Timeline> timeline() override {
    return std::make_unique<ModelTimeline>(*weights_, forward_, info_.n_context_max, kChunk,
                                           drafts_, nullptr, sequences_);
  }
  std::unique_ptr<Timeline> timeline(PrefixRef from) override {
    return std::make_unique<ModelTimeline>(
        *weights_, forward_, info_.n_context_max, kChunk, drafts_,
        std::static_pointer_cast<const ModelPrefix>(from), sequences_);
  }
  std::vector<std::size_t> evaluate_together(std::span<Timeline* const> timelines) override {
    std::vector<ModelTimeline*> ours;
    for (Timeline* const t : timelines) ours.push_back(static_cast<ModelTimeline*>(t));
    ModelTimeline::evaluate_together(ours);
    return {};  // no draw takes the room of another's
  }
  std::int64_t left_of(const Timeline& timeline, std::span<const Token> prompt) const override {
    return static_cast<const ModelTimeline&>(timeline).left_of(prompt);
  }
  void ask(std::shared_ptr<Shrinker> shrinker) override { sequences_->ask(std::move(shrinker)); }
  PrefixFormat prefix_format() const override { return format_; }
  std::unique_ptr<PrefixBuilder> prefix_builder(const PrefixRef& from) const override {
    return std::make_unique<ModelPrefixBuilder>(*weights_, forward_.exact(), from, sequences_);
  }
  MemoryUse memory() const override {
    return {.weights = info_.weight_bytes,
            .tiles = repacked_.memory_bytes(),
            .experts = experts_ ? experts_->report() : MemoryUse::Experts{},
            .sequences = sequences_->report()};
  }
  Result<std::vector<TraceTotal>> write_trace(const std::string& path) const override {
    if (!trace_) return Engine::write_trace(path);
    if (const auto written = trace_->write(path); !written) return tl::unexpected(written.error());
    return trace_->totals();
  }

 private:
  const SequenceMemoryRef sequences_;
  std::unique_ptr<Weights> weights_;
  Repacked repacked_;
  std::unique_ptr<ExpertMemory> experts_;  // null: all of them fit
  std::unique_ptr<Tokenizer> tokenizer_;
  kernels::ThreadPool pool_;
  Forward forward_;
  std::unique_ptr<Trace> trace_;  // null: not asked for
  DraftOptions drafts_;
  PrefixFormat format_;
  ModelInfo info_;
};

}  // namespace

Result<std::unique_ptr<Engine>> load(const LoadOptions& options, const Progress& progress) {
  return load_on_cpu(options, {}, progress);
}

Result<std::unique_ptr<Engine>> load_on_cpu(const LoadOptions& options,
                                            const std::string& tiles_directory,
                                            const Progress& progress) {
  // Before any page of the weights is read, and any thread started
  const int nodes = spread_memory();
  auto weights = load_weights(options.directory, progress);
  if (!weights) return tl::unexpected(weights.error());
  Result<std::unique_ptr<Tokenizer>> tokenizer;
  if (options.text) tokenizer = Tokenizer::from_file(options.directory + "/tokenizer.json");
  if (!tokenizer) return tl::unexpected(tokenizer.error());
  if (*tokenizer && (*tokenizer)->vocab_size() > (*weights)->checkpoint.config().vocab_size)
    return tl::unexpected(
        Error{Errc::malformed,
              fmt::format("load {}: tokenizer.json has {} ids, the model's vocabulary {}",
                          options.directory, (*tokenizer)->vocab_size(),
                          (*weights)->checkpoint.config().vocab_size)});
  const std::int64_t longest = (*weights)->checkpoint.config().max_position_embeddings;
  const auto needs = memory_needs(
      **weights, options.exact,
      options.n_context > 0 ? std::min(options.n_context, longest) : longest, kChunk,
      options.n_threads > 0 ? options.n_threads : kernels::usable_cpus());
  const auto plan = plan_memory(
      needs, options.memory > 0 ? std::min(options.memory, available_bytes()) : available_bytes(),
      kRepackMemoryMax, options.directory);
  if (!plan) return tl::unexpected(plan.error());
  // Without a bound of the caller's, and with room for all weights, sequences may take what there
  // is when they ask for it.
  const bool bounded = options.memory > 0 || plan->experts_max > 0;
  auto engine = std::make_unique<ModelEngine>(std::move(*weights), std::move(*tokenizer), options,
                                              bounded ? plan->sequences_max : 0);
  engine->fingerprint();
  engine->repack(plan->tiles, tiles_directory, progress);
  if (plan->experts_max > 0)
    engine->share_memory(plan->experts_max, plan->sequences_max + needs.experts_min,
                         options.heat_directory);
  if (nodes > 1) engine->note(fmt::format("memory is spread over the machine's {} nodes", nodes));
  return engine;
}

}  // namespace lares::engine
