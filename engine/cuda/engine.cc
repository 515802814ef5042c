#include "engine/cuda/engine.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>

#include "engine/cuda/layout.h"
#include "engine/cuda/no_room.h"
#include "engine/cuda/timeline.h"
#include "engine/gpus.h"
#include "engine/model/checkpoint/model_info.h"
#include "engine/model/checkpoint/repack.h"
#include "engine/model/memory/available_memory.h"
#include "engine/model/memory/expert_heat.h"
#include "engine/placement.h"
#include "engine/shrinker.h"
#include "engine/tokenizer.h"

namespace lares::engine::cuda {
namespace {

constexpr int kNumericsVersion = 2;  // raised whenever the kernels give other bits than before
constexpr int kDevicesMax = 1024;
static_assert(kStepTokens >= kRowsMax);
constexpr const char* kWgmmaFault = "gives other results by wgmma than by mma";

std::size_t n_experts(const Weights& weights) {
  std::size_t n = 0;
  for (const LayerWeights& layer : weights.layers) n += layer.experts.size();
  for (const LayerWeights* const block : weights.draft_layers()) n += block->experts.size();
  return n;
}

class DeviceEngine : public Engine, public AsksShrinkers {
 public:
  DeviceEngine(EngineParts parts, const LoadOptions& options)
      : weights_(std::move(parts.weights)),
        tokenizer_(std::move(parts.tokenizer)),
        heat_(n_experts(*weights_)),
        pool_(options.n_threads),
        gpus_(std::move(parts.gpus)),
        drafts_{.mode = options.drafting, .policy = std::make_shared<DraftPolicy>()} {
    info_ = model_info(*weights_, options);
  }

  ~DeviceEngine() override { heat_.keep(); }

  bool wants_draft() const {
    return drafts_.mode != Drafting::off && !weights_->draft_layers().empty();
  }
  // Before the plan. What earlier runs were asked for, if there is a place for it.
  void remember(const std::string& directory) {
    if (directory.empty()) return;
    if (const auto remembered =
            heat_.remember({directory, checkpoint_fingerprint(weights_->checkpoint)});
        !remembered)
      info_.notes.push_back(remembered.error().message);
  }
  // [layers * experts] each expert's share of its layer's uses; empty: nothing is known. Of layers
  // that lacked none nothing was counted lately, so layers are not compared, and where one's are
  // not known they are alike.
  std::vector<double> shares() const {
    if (heat_.remembered() == 0) return {};
    const Config& c = weights_->checkpoint.config();
    std::vector<double> out;
    for (std::size_t i = 0; i < static_cast<std::size_t>(c.num_hidden_layers); ++i) {
      const auto E = static_cast<std::size_t>(c.n_routed_experts);
      const auto of = heat_.all().subspan(i * E, E);
      const double most = *std::ranges::max_element(of);
      std::vector<double> share(E, 1);
      if (most != ExpertHeat::kNever)
        std::ranges::transform(of, share.begin(), [&](double h) { return std::exp2(h - most); });
      const double sum = std::accumulate(share.begin(), share.end(), 0.0);
      for (const double s : share) out.push_back(s / sum);
    }
    return out;
  }

  // What they may take of host memory; 0: what the machine has available.
  void bound_sequences(std::uint64_t bytes_max) {
    sequences_ = std::make_shared<SequenceMemory>(bytes_max);
    sequences_->take_pages_from(std::make_shared<PageArena>(
        page_layout(weights_->checkpoint.config(), false).bytes, gpus_.front().device->pins()));
  }
  // Those that were planned, and as many more as have room in what the plan leaves of each GPU.
  std::int64_t states_max(const Placement& plan) const {
    const Config& c = weights_->checkpoint.config();
    std::int64_t more = std::numeric_limits<std::int64_t>::max() - plan.n_sequences;
    for (const GpuPlacement& of : plan.gpus) {
      std::uint64_t one = of.draft > 0 ? draft_state_bytes(c) : 0;
      for (int i = of.layer_begin; i < of.layer_end; ++i) one += layer_state_bytes(c, i);
      if (one > 0)
        more = std::min(
            more, static_cast<std::int64_t>((of.budget - std::min(of.budget, of.used())) / one));
    }
    return plan.n_sequences + more;
  }

  // Empty: nothing is in the way of what the plan says.
  std::string why_no_draft(const Placement& plan) const {
    const std::string why = DraftBlocks::refusal(*weights_, plan.gpus.back().layer_begin);
    if (!why.empty()) return fmt::format("the checkpoint's draft blocks cannot be there: {}", why);
    if (plan.gpus.back().draft > 0) return {};
    return "the checkpoint's draft blocks have no room beside all experts";
  }
  // A GPU that the plan gives neither layers nor the head is left alone. Anew, where it could not
  // be placed as it was tried before.
  Result<> place(const Placement& plan, const Progress& progress) {
    pipeline_.reset();
    if (!own_notes_) own_notes_ = info_.notes;
    info_.notes = *own_notes_;
    experts_resident_ = 0;
    const PageLayout layout = page_layout(weights_->checkpoint.config(), false);
    std::vector<Stage> stages;
    for (std::size_t g = 0; g < gpus_.size(); ++g) {
      const GpuPlacement& of = plan.gpus[g];
      const bool last = g + 1 == gpus_.size();
      info_.notes.push_back(note(of, gpus_[g].device->name(), last, plan));
      if (of.layer_begin == of.layer_end && !last) continue;
      auto stage = Stage::make(
          *gpus_[g].device, *weights_,
          {.layer_begin = of.layer_begin,
           .layer_end = of.layer_end,
           .head = last,
           .resident = plan.resident,
           .n_pages = (info_.n_context_max + layout.tokens - 1) / layout.tokens,
           .stream = of.ring > 0,
           .draft = of.draft > 0,
           .forward = {.chunk = plan.chunk,
                       .n_context = info_.n_context_max,
                       .stream_from = plan.misses == Misses::pass ? 1 : 0,
                       .heat = &heat_}},
          pool_, kernels::best(), progress);
      if (!stage) return tl::unexpected(stage.error());
      experts_resident_ += of.experts;
      if (of.n_experts < static_cast<std::int64_t>(of.layer_end - of.layer_begin) * plan.n_experts)
        info_.notes.push_back(note_of_misses(*stage, of, plan));
      if (last && wants_draft() && !stage->draft)
        info_.notes.push_back(
            fmt::format("guesses ahead are copied from the text alone: {}",
                        stage->undrafted.empty() ? why_no_draft(plan) : stage->undrafted));
      stages.push_back(std::move(*stage));
    }
    pipeline_ = std::make_unique<Pipeline>(*weights_, std::move(stages));
    pipeline_->set_states_max(states_max(plan));
    info_.n_chunk = plan.chunk;
    experts_all_ = experts_resident_ + plan.missing;
    format_ = {.page_tokens = layout.tokens,
               .page_bytes = layout.bytes,
               .fingerprint = prefix_fingerprint(*weights_, false) +
                              fmt::format(", CUDA kernels {}", kNumericsVersion)};
    if (computes_in_another_order()) format_.fingerprint += ", some experts by the CPU";
    return {};
  }

  // Many tokens go by wgmma where a GPU has it, with mma's bits. Its products run beside the
  // threads that issue them, and what can go wrong there no machine without one can show: so a
  // whole chunk is evaluated in both ways, and where they differ GPUs do without. No shorter prompt
  // runs all that a chunk does: of few tokens no expert has rows for both halves of a tile, and
  // they see too few keys to choose from. (V4-Flash on an H100: some 4 s, reckoned; beside 150 GB
  // to load.)
  Result<> compare_ways() {
    std::vector<Device*> some;
    for (const Stage& stage : pipeline_->stages())
      if (stage.device->has_wgmma()) some.push_back(stage.device);
    if (some.empty()) return {};
    const auto use = [&](bool wgmma) {
      for (Device* const device : some) device->use_wgmma(wgmma);
    };
    const auto count = [&](bool counts) {
      for (const Stage& stage : pipeline_->stages()) stage.forward->set_counts(counts);
    };
    const auto n =
        static_cast<int>(std::min<std::int64_t>(pipeline_->chunk(), info_.n_context_max));
    if (n <= kStepTokens) {  // no prompt is longer, and what is recorded cannot change its way
      use(false);
      return {};
    }
    std::vector<Token> tokens(static_cast<std::size_t>(n));
    for (std::uint32_t i = 0; Token & t : tokens)
      t = static_cast<Token>(2654435761u * ++i % static_cast<std::uint32_t>(info_.vocab_size));
    std::vector<float> logits[2];
    count(false);
    for (const bool by_wgmma : {false, true}) {
      use(by_wgmma);
      PipelineState state(*pipeline_, info_.n_context_max);
      if (const Device* const full = state.without_room())
        return tl::unexpected(no_room_for_state(*full));
      logits[by_wgmma].resize(static_cast<std::size_t>(kRowsMax) *
                              static_cast<std::size_t>(info_.vocab_size));
      const Pipeline::Sequence one{&state, n};
      if (const auto done = pipeline_->evaluate({&one, 1}, tokens, kRowsMax,
                                                logits[by_wgmma].data());
          !done)
        return done;
    }
    count(true);
    if (std::memcmp(logits[0].data(), logits[1].data(), logits[0].size() * sizeof(float)) == 0)
      return {};
    use(false);
    std::vector<std::string> names;
    for (const Device* const device : some) names.push_back(device->name());
    info_.notes.push_back(
        fmt::format("{}{} {}, so prompts go by mma, which is slower: a fault of the program's or "
                    "the driver's, please report it",
                    some.size() > 1 ? "one of " : "", fmt::join(names, ", "), kWgmmaFault));
    return {};
  }

  const ModelInfo& info() const override { return info_; }
  const Tokenizer& tokenizer() const override { return *tokenizer_; }
  std::unique_ptr<Timeline> timeline() override { return timeline(nullptr); }
  std::unique_ptr<Timeline> timeline(PrefixRef from) override {
    const DeviceTimeline::Shared shared{*weights_, *pipeline_, info_.n_context_max,
                                        &pool_,    drafts_,    sequences_};
    return std::make_unique<DeviceTimeline>(shared,
                                            std::static_pointer_cast<const ModelPrefix>(from));
  }
  std::vector<std::size_t> evaluate_together(std::span<Timeline* const> timelines) override {
    std::vector<DeviceTimeline*> ours;
    for (Timeline* const t : timelines) ours.push_back(static_cast<DeviceTimeline*>(t));
    return DeviceTimeline::evaluate_together(ours);
  }
  void ask(std::shared_ptr<Shrinker> shrinker) override { sequences_->ask(std::move(shrinker)); }
  PrefixFormat prefix_format() const override { return format_; }
  std::unique_ptr<PrefixBuilder> prefix_builder(const PrefixRef& from) const override {
    return std::make_unique<ModelPrefixBuilder>(*weights_, false, from, sequences_);
  }
  MemoryUse memory() const override {
    MemoryUse use{.weights = info_.weight_bytes};
    use.sequences = sequences_->report();
    use.experts.bytes = experts_all_;
    use.experts.bytes_max = experts_resident_ == experts_all_ ? 0 : experts_resident_;
    use.experts.resident = experts_resident_;
    for (const Stage& stage : pipeline_->stages()) {
      if (const ExpertUses* const uses = stage.forward->uses()) {
        use.experts.found += uses->found();
        use.experts.missed += uses->missed();
      }
      if (stage.stream) use.experts.read += stage.stream->copied_bytes();
    }
    use.experts.remembered = heat_.remembered();
    use.experts.unkept = heat_.unkept();
    return use;
  }

 private:
  // full: of a stage's.
  Error no_room_for_state(const Device& full) const {
    const auto stage = std::ranges::find(pipeline_->stages(), &full, &Stage::device);
    std::uint64_t bytes = 0;
    for (int i = stage->weights->begin(); i < stage->weights->end(); ++i)
      bytes += layer_state_bytes(weights_->checkpoint.config(), i);
    return no_room(*stage->device, info_.directory, "the state of a first sequence", bytes);
  }

  static std::string note(const GpuPlacement& of, const std::string& name, bool last,
                          const Placement& plan) {
    const int n_layers = of.layer_end - of.layer_begin;
    if (n_layers == 0 && !last)
      return fmt::format("{} is not used: the other GPUs have all layers", name);
    std::string what = n_layers == 0 ? std::string("the head")
                       : n_layers == 1
                           ? fmt::format("layer {}", of.layer_begin)
                           : fmt::format("layers {} to {}", of.layer_begin, of.layer_end - 1);
    if (n_layers > 0 && last) what += " and the head";
    if (n_layers > 0)
      what += fmt::format(", {} of {} experts", of.n_experts,
                          static_cast<std::int64_t>(n_layers) * plan.n_experts);
    const std::string held = of.held() ? fmt::format("; it has {:.1f} GB, {:.1f} GB free",
                                                     static_cast<double>(of.memory) / 1e9,
                                                     static_cast<double>(of.free) / 1e9)
                                       : "";
    return fmt::format(
        "{:.1f} of {:.1f} GB that {} gives are planned: {}, and a context of {} tokens{}",
        static_cast<double>(of.used()) / 1e9, static_cast<double>(of.budget) / 1e9, name, what,
        plan.n_context, held);
  }

  // Whether the CPU computes experts that a GPU adds up in another order: all but fp4, where they
  // cannot come to the GPU.
  bool computes_in_another_order() const {
    return std::ranges::any_of(pipeline_->stages(), [&](const Stage& stage) {
      return !stage.stream && stage.forward->uses() &&
             weights_->layers[static_cast<std::size_t>(stage.weights->begin())]
                     .experts.front()
                     .w1.format != kernels::Format::fp4;
    });
  }

  // What becomes of uses whose expert the GPU lacks, and what a prompt of one chunk costs by that.
  std::string note_of_misses(const Stage& stage, const GpuPlacement& of,
                             const Placement& plan) const {
    const Config& c = weights_->checkpoint.config();
    const int n_layers = of.layer_end - of.layer_begin;
    const std::int64_t n_missing = static_cast<std::int64_t>(n_layers) * plan.n_experts -
                                   of.n_experts;
    const std::string what = fmt::format("{} has no room for {} of its experts",
                                         stage.device->name(), n_missing);
    if (stage.stream) {
      const double seconds = static_cast<double>(stage.stream->packed_bytes()) / kPcieBytes;
      const std::string pass = fmt::format("{:.2g} s of PCIe 4 for {} tokens", seconds, plan.chunk);
      const int from = stage.forward->stream_from();
      if (from == 1)
        return fmt::format(
            "{}: those that are asked for come to it from {:.1f} GB of pinned memory, {}", what,
            static_cast<double>(stage.stream->packed_bytes()) / 1e9, pass);
      return fmt::format(
          "{}: the CPU computes them for fewer than {} tokens, for more they come to it from "
          "{:.1f} GB of pinned memory, {}",
          what, from, static_cast<double>(stage.stream->packed_bytes()) / 1e9, pass);
    }
    const double flops = 6.0 * c.hidden_size * c.moe_intermediate_size * plan.chunk *
                         c.num_experts_per_tok * static_cast<double>(n_missing) / plan.n_experts;
    const double seconds = flops / (pool_.size() * kThreadFlops);
    return fmt::format(
        "{}: the CPU computes them, for {} tokens of a prompt in about {}{}", what, plan.chunk,
        seconds < 99 ? fmt::format("{:.2g} s", seconds)
                     : fmt::format("{:.0f} minutes", seconds / 60),
        stage.unstreamed.empty() ? "" : "; they could not come to it: " + stage.unstreamed);
  }

  std::unique_ptr<Weights> weights_;
  std::unique_ptr<Tokenizer> tokenizer_;
  ExpertHeat heat_;  // of the layers' experts, then the draft blocks', as the CPU's engine keeps
                     // them
  kernels::ThreadPool pool_;
  std::vector<EngineGpu> gpus_;  // outlive all that has memory on them
  std::unique_ptr<Pipeline> pipeline_;
  const DraftOptions drafts_;
  SequenceMemoryRef sequences_;
  std::uint64_t experts_all_ = 0, experts_resident_ = 0;
  PrefixFormat format_;
  ModelInfo info_;
  std::optional<std::vector<std::string>> own_notes_;  // before it was placed
};

}  // namespace

Result<std::vector<int>> device_numbers(std::string_view device) {
  const auto refused = [&](std::string_view why) {
    return tl::unexpected(
        Error{Errc::bad_argument, fmt::format("use device {:.40}: {}", device, why)});
  };
  if (device == "cuda") return std::vector<int>{0};
  constexpr std::string_view form =
      "expected cpu, cuda, cuda:1 and so on, or cuda:0,1 for several GPUs";
  if (!device.starts_with("cuda:")) return refused(form);
  std::vector<int> out;
  const char* at = device.data() + 4;
  for (const char* const end = device.data() + device.size(); at != end;) {
    int number = -1;
    const auto [behind, ec] = std::from_chars(at + 1, end, number);
    if (ec != std::errc() || number < 0 || number >= kDevicesMax ||
        (behind != end && (*behind != ',' || behind + 1 == end)))
      return refused(form);
    if (std::ranges::find(out, number) != out.end())
      return refused(fmt::format("GPU {} is there twice", number));
    if (out.size() == kGpusMax)
      return refused(fmt::format("these are more than {} GPUs", kGpusMax));
    out.push_back(number);
    at = behind;
  }
  return out;
}

Result<std::unique_ptr<Engine>> make_engine(EngineParts parts, const LoadOptions& options,
                                            const Progress& progress) {
  std::vector<std::string> names;
  // What is free now differs from start to start, and with it where layers are cut, how long a
  // chunk is, which experts stay and whether guesses are made. The bits do not: a token's result is
  // of the same operations in the same order wherever cuts and chunks are (forward.h, pipeline.h),
  // an expert that passes is multiplied by the kernel of those that stay, the CPU computes those
  // alone whose bits it makes alike (fp4; others pass), and guesses change how much is evaluated at
  // a time. One case is left: other formats than fp4, where not even the ring has room; then the
  // fingerprint of what is kept says so (computes_in_another_order()).
  std::vector<std::uint64_t> memory, free;
  for (const EngineGpu& gpu : parts.gpus) {
    names.push_back(gpu.device->name());
    memory.push_back(gpu.memory);
    free.push_back(std::min(gpu.memory, gpu.device->memory_free()));
  }
  const std::string all = fmt::format("{}", fmt::join(names, ", "));
  if (options.exact)
    return tl::unexpected(Error{
        Errc::unsupported,
        fmt::format("load {} onto {}: exact numerics are the CPU's alone; load it with device cpu",
                    options.directory, all)});
  const std::uint64_t budget = parts.budget;
  const std::size_t n_gpus = parts.gpus.size();
  auto engine = std::make_unique<DeviceEngine>(std::move(parts), options);
  engine->remember(options.heat_directory);
  PlacementRequest request{.directory = options.directory,
                           .gpus = std::move(memory),
                           .gpus_free = std::move(free),
                           .gpu_names = names,
                           .gpu_memory = budget,
                           .host_memory = options.memory > 0
                                              ? std::min(options.memory, available_bytes())
                                              : available_bytes(),
                           .n_context = options.n_context,
                           .heat = engine->shares()};
  const auto plan = plan_placement(request);
  if (!plan) return tl::unexpected(plan.error());
  const auto begin = [&](const Placement& as) -> Result<> {
    // Where the CPU computes experts, their pages are in host memory, too: sequences leave them
    // alone.
    const bool bounded = options.memory > 0 || as.host.experts > 0;
    engine->bound_sequences(bounded ? request.host_memory - (as.host.total() - as.host.snapshots)
                                    : 0);
    if (const auto placed = engine->place(as, progress); !placed) return placed;
    return engine->compare_ways();
  };
  // Draft blocks come last: where a step waits for experts that are not there, each token more
  // brings others, and guessing gains less than experts do in the same room. Nor are several GPUs
  // to read prompts one after the other for them.
  if (plan->missing == 0 && engine->wants_draft()) {
    request.draft = true;
    const auto with = plan_placement(request);
    const int chunk_least = std::min(plan->chunk, n_gpus > 1 ? 2 * kPieceMin : kChunkWhole);
    if (with && with->missing == 0 && with->chunk >= chunk_least &&
        engine->why_no_draft(*with).empty()) {
      const auto begun = begin(*with);
      if (begun) return engine;
      if (begun.error().code != Errc::no_memory) return tl::unexpected(begun.error());
    }
  }
  if (const auto begun = begin(*plan); !begun) return tl::unexpected(begun.error());
  return engine;
}

}  // namespace lares::engine::cuda

namespace lares::engine {

std::string device_fault(const ModelInfo& info) {
  const auto at = std::ranges::find_if(info.notes, [](const std::string& note) {
    return note.find(cuda::kWgmmaFault) != std::string::npos;
  });
  return at == info.notes.end() ? "" : *at;
}

Result<> check_device(const std::string& device) {
  if (device == "cpu" || device == "auto") return {};
  const auto numbers = cuda::device_numbers(device);
  if (!numbers) return tl::unexpected(numbers.error());
  for (const int number : *numbers)
    if (const auto opened = cuda::open_device(number); !opened)
      return tl::unexpected(opened.error());
  return {};
}

Result<std::unique_ptr<Engine>> load_on(const DeviceChoice& choice, const LoadOptions& options,
                                        const Progress& progress) {
  if (choice.device == "cpu" || choice.device == "auto")
    return load_on_cpu(options, choice.tiles_directory, progress);
  const auto numbers = cuda::device_numbers(choice.device);
  if (!numbers) return tl::unexpected(numbers.error());
  cuda::EngineParts parts;
  parts.budget = choice.gpu_memory;
  const GpuReport found = find_gpus();
  for (const int number : *numbers) {
    auto device = cuda::open_device(number);
    if (!device) return tl::unexpected(device.error());
    parts.gpus.push_back(
        {std::move(*device), found.gpus.at(static_cast<std::size_t>(number)).memory_bytes});
  }
  auto weights = load_weights(options.directory, progress);
  if (!weights) return tl::unexpected(weights.error());
  std::unique_ptr<Tokenizer> tokenizer;
  if (options.text) {
    auto read = Tokenizer::from_file(options.directory + "/tokenizer.json");
    if (!read) return tl::unexpected(read.error());
    tokenizer = std::move(*read);
    if (const int vocab = (*weights)->checkpoint.config().vocab_size;
        tokenizer->vocab_size() > vocab)
      return tl::unexpected(
          Error{Errc::malformed,
                fmt::format("load {}: tokenizer.json has {} ids, the model's vocabulary {}",
                            options.directory, tokenizer->vocab_size(), vocab)});
  }
  parts.weights = std::move(*weights);
  parts.tokenizer = std::move(tokenizer);
  return cuda::make_engine(std::move(parts), options, progress);
}

}  // namespace lares::engine
