#include "engine/cuda/engine.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "engine/cuda/layout.h"
#include "engine/cuda/timeline.h"
#include "engine/gpus.h"
#include "engine/model/available_memory.h"
#include "engine/model/parameters.h"
#include "engine/placement.h"
#include "engine/tokenizer.h"

namespace lares::engine::cuda {
namespace {

constexpr int kNumericsVersion = 1;  // raised whenever the kernels give other bits than before
constexpr int kDevicesMax = 1024;

class DeviceEngine : public Engine {
 public:
  DeviceEngine(EngineParts parts, const LoadOptions& options)
      : weights_(std::move(parts.weights)), tokenizer_(std::move(parts.tokenizer)), pool_(options.n_threads), gpus_(std::move(parts.gpus)),
        drafts_{.mode = options.drafting, .block = false, .policy = std::make_shared<DraftPolicy>()} {
    const Config& c = weights_->checkpoint.config();
    info_.directory = options.directory;
    info_.model_type = c.model_type;
    info_.n_layers = c.num_hidden_layers;
    info_.vocab_size = c.vocab_size;
    info_.n_context_max = options.n_context > 0 ? std::min(options.n_context, c.max_position_embeddings) : c.max_position_embeddings;
    info_.notes = weights_->notes;
    if (drafts_.mode != Drafting::off && (weights_->dspark || !weights_->mtp.empty()))
      info_.notes.push_back("guesses ahead are copied from the text alone: the checkpoint's draft blocks are the CPU's");
    for (const auto& [name, entry] : weights_->checkpoint.entries()) {
      info_.weight_bytes += entry.tensor->n_bytes;
      info_.n_parameters += parameters_of(name, *entry.tensor);
    }
  }

  // A GPU that the plan gives neither layers nor the head is left alone.
  Result<> place(const Placement& plan, const Progress& progress) {
    const PageLayout layout = page_layout(weights_->checkpoint.config(), false);
    std::vector<Stage> stages;
    for (std::size_t g = 0; g < gpus_.size(); ++g) {
      const GpuPlacement& of = plan.gpus[g];
      const bool last = g + 1 == gpus_.size();
      info_.notes.push_back(note(of, gpus_[g].device->name(), last, plan));
      if (of.layer_begin == of.layer_end && !last) continue;
      auto stage = Stage::make(*gpus_[g].device, *weights_,
                               {.layer_begin = of.layer_begin,
                                .layer_end = of.layer_end,
                                .head = last,
                                .resident = plan.resident,
                                .n_pages = (info_.n_context_max + layout.tokens - 1) / layout.tokens,
                                .forward = {.chunk = plan.chunk, .n_context = info_.n_context_max}},
                               pool_, kernels::best(), progress);
      if (!stage) return tl::unexpected(stage.error());
      stages.push_back(std::move(*stage));
      experts_resident_ += of.experts;
    }
    pipeline_ = std::make_unique<Pipeline>(*weights_, std::move(stages));
    info_.n_chunk = plan.chunk;
    if (plan.host.experts > 0)
      info_.notes.push_back(fmt::format("{:.1f} GB of experts stay in host memory and are computed by the CPU", static_cast<double>(plan.host.experts) / 1e9));
    experts_all_ = experts_resident_ + plan.host.experts;
    format_ = {.page_tokens = layout.tokens, .page_bytes = layout.bytes, .fingerprint = prefix_fingerprint(*weights_, false) + fmt::format(", CUDA kernels {}", kNumericsVersion)};
    return {};
  }

  const ModelInfo& info() const override { return info_; }
  const Tokenizer& tokenizer() const override { return *tokenizer_; }
  std::unique_ptr<Timeline> timeline() override { return timeline(nullptr); }
  std::unique_ptr<Timeline> timeline(PrefixRef from) override {
    const DeviceTimeline::Shared shared{*weights_, *pipeline_, info_.n_context_max, drafts_};
    return std::make_unique<DeviceTimeline>(shared, std::static_pointer_cast<const ModelPrefix>(from));
  }
  void evaluate_together(std::span<Timeline* const> timelines) override {
    std::vector<DeviceTimeline*> ours;
    for (Timeline* const t : timelines) ours.push_back(static_cast<DeviceTimeline*>(t));
    DeviceTimeline::evaluate_together(ours);
  }
  PrefixFormat prefix_format() const override { return format_; }
  std::unique_ptr<PrefixBuilder> prefix_builder(const PrefixRef& from) const override { return std::make_unique<ModelPrefixBuilder>(*weights_, false, from); }
  MemoryUse memory() const override {
    MemoryUse use{.weights = info_.weight_bytes};
    use.experts.bytes = experts_all_;
    use.experts.bytes_max = experts_resident_ == experts_all_ ? 0 : experts_resident_;
    use.experts.resident = experts_resident_;
    return use;
  }

 private:
  static std::string note(const GpuPlacement& of, const std::string& name, bool last, const Placement& plan) {
    const int n_layers = of.layer_end - of.layer_begin;
    if (n_layers == 0 && !last) return fmt::format("{} is not used: the other GPUs have all layers", name);
    std::string what = n_layers == 0 ? std::string("the head") : n_layers == 1 ? fmt::format("layer {}", of.layer_begin) : fmt::format("layers {} to {}", of.layer_begin, of.layer_end - 1);
    if (n_layers > 0 && last) what += " and the head";
    if (n_layers > 0) what += fmt::format(", {} of {} experts", of.n_experts, static_cast<std::int64_t>(n_layers) * plan.n_experts);
    return fmt::format("{:.1f} of {:.1f} GB that {} gives are planned: {}, and a context of {} tokens", static_cast<double>(of.used()) / 1e9, static_cast<double>(of.budget) / 1e9, name, what,
                       plan.n_context);
  }

  std::unique_ptr<Weights> weights_;
  std::unique_ptr<Tokenizer> tokenizer_;
  kernels::ThreadPool pool_;
  std::vector<EngineGpu> gpus_;  // outlive all that has memory on them
  std::unique_ptr<Pipeline> pipeline_;
  const DraftOptions drafts_;
  std::uint64_t experts_all_ = 0, experts_resident_ = 0;
  PrefixFormat format_;
  ModelInfo info_;
};

}  // namespace

Result<std::vector<int>> device_numbers(std::string_view device) {
  const auto refused = [&](std::string_view why) { return tl::unexpected(Error{Errc::bad_argument, fmt::format("use device {:.40}: {}", device, why)}); };
  if (device == "cuda") return std::vector<int>{0};
  constexpr std::string_view form = "expected cpu, cuda, cuda:1 and so on, or cuda:0,1 for several GPUs";
  if (!device.starts_with("cuda:")) return refused(form);
  std::vector<int> out;
  const char* at = device.data() + 4;
  for (const char* const end = device.data() + device.size(); at != end;) {
    int number = -1;
    const auto [behind, ec] = std::from_chars(at + 1, end, number);
    if (ec != std::errc() || number < 0 || number >= kDevicesMax || (behind != end && (*behind != ',' || behind + 1 == end))) return refused(form);
    if (std::ranges::find(out, number) != out.end()) return refused(fmt::format("GPU {} is there twice", number));
    if (out.size() == kGpusMax) return refused(fmt::format("these are more than {} GPUs", kGpusMax));
    out.push_back(number);
    at = behind;
  }
  return out;
}

Result<std::unique_ptr<Engine>> make_engine(EngineParts parts, const LoadOptions& options, const Progress& progress) {
  std::vector<std::string> names;
  std::vector<std::uint64_t> memory;
  for (const EngineGpu& gpu : parts.gpus) {
    names.push_back(gpu.device->name());
    memory.push_back(gpu.memory);
  }
  const std::string all = fmt::format("{}", fmt::join(names, ", "));
  if (options.exact) return tl::unexpected(Error{Errc::unsupported, fmt::format("load {} onto {}: exact numerics are the CPU's alone; load it with device cpu", options.directory, all)});
  const auto plan = plan_placement({.directory = options.directory,
                                    .gpus = std::move(memory),
                                    .gpu_memory = parts.budget,
                                    .host_memory = options.memory > 0 ? std::min(options.memory, available_bytes()) : available_bytes(),
                                    .n_context = options.n_context,
                                    .heat = {}});
  if (!plan) return tl::unexpected(plan.error());
  auto engine = std::make_unique<DeviceEngine>(std::move(parts), options);
  if (const auto placed = engine->place(*plan, progress); !placed) return tl::unexpected(placed.error());
  return engine;
}

}  // namespace lares::engine::cuda

namespace lares::engine {

Result<std::unique_ptr<Engine>> load_on(const DeviceChoice& choice, const LoadOptions& options, const Progress& progress) {
  if (choice.device == "cpu" || choice.device == "auto") return load_on_cpu(options, choice.tiles_directory, progress);
  const auto numbers = cuda::device_numbers(choice.device);
  if (!numbers) return tl::unexpected(numbers.error());
  cuda::EngineParts parts;
  parts.budget = choice.gpu_memory;
  const GpuReport found = find_gpus();
  for (const int number : *numbers) {
    auto device = cuda::open_device(number);
    if (!device) return tl::unexpected(device.error());
    parts.gpus.push_back({std::move(*device), found.gpus.at(static_cast<std::size_t>(number)).memory_bytes});
  }
  auto weights = load_weights(options.directory, progress);
  if (!weights) return tl::unexpected(weights.error());
  std::unique_ptr<Tokenizer> tokenizer;
  if (options.text) {
    auto read = Tokenizer::from_file(options.directory + "/tokenizer.json");
    if (!read) return tl::unexpected(read.error());
    tokenizer = std::move(*read);
    if (const int vocab = (*weights)->checkpoint.config().vocab_size; tokenizer->vocab_size() > vocab)
      return tl::unexpected(Error{Errc::malformed, fmt::format("load {}: tokenizer.json has {} ids, the model's vocabulary {}", options.directory, tokenizer->vocab_size(), vocab)});
  }
  parts.weights = std::move(*weights);
  parts.tokenizer = std::move(tokenizer);
  return cuda::make_engine(std::move(parts), options, progress);
}

}  // namespace lares::engine
