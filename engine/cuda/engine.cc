#include "engine/cuda/engine.h"

#include <fmt/format.h>

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
  DeviceEngine(EngineParts parts, const LoadOptions& options) : weights_(std::move(parts.weights)), tokenizer_(std::move(parts.tokenizer)), pool_(options.n_threads), device_(std::move(parts.device)) {
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

  Result<> place(const Placement& plan, const std::string& device_name, const Progress& progress) {
    const Config& c = weights_->checkpoint.config();
    const PageLayout layout = page_layout(c, false);
    auto on_device = DeviceWeights::upload(*device_, *weights_, 0, c.num_hidden_layers, true, plan.resident, progress);
    if (!on_device) return tl::unexpected(on_device.error());
    on_device_ = std::move(*on_device);
    pages_ = std::make_unique<PagePool>(*device_, layout, 0, c.num_hidden_layers, (info_.n_context_max + layout.tokens - 1) / layout.tokens);
    if (!pages_->made())
      return tl::unexpected(Error{Errc::no_memory, fmt::format("load {} onto {}: the pages of {} tokens have no room beside the weights; load with a shorter context", info_.directory, device_name,
                                                               info_.n_context_max)});
    cache_ = std::make_unique<PageCache>(*device_, *pages_);
    auto forward = DeviceForward::make(*device_, *weights_, *on_device_, {.chunk = plan.chunk, .n_context = info_.n_context_max}, pool_, kernels::best());
    if (!forward) return tl::unexpected(forward.error());
    forward_ = std::move(*forward);
    info_.n_chunk = plan.chunk;
    const GpuPlacement& gpu = plan.gpus.front();
    info_.notes.push_back(fmt::format("{:.1f} of {:.1f} GB that {} gives are planned: {} of {} experts, the rest of the weights, and a context of {} tokens", static_cast<double>(gpu.used()) / 1e9,
                                      static_cast<double>(gpu.budget) / 1e9, device_name, gpu.n_experts, static_cast<std::int64_t>(plan.n_layers) * plan.n_experts, plan.n_context));
    if (plan.host.experts > 0)
      info_.notes.push_back(fmt::format("{:.1f} GB of experts stay in host memory and are computed by the CPU", static_cast<double>(plan.host.experts) / 1e9));
    experts_all_ = gpu.experts + plan.host.experts;
    experts_resident_ = gpu.experts;
    format_ = {.page_tokens = layout.tokens, .page_bytes = layout.bytes, .fingerprint = prefix_fingerprint(*weights_, false) + fmt::format(", CUDA kernels {}", kNumericsVersion)};
    return {};
  }

  const ModelInfo& info() const override { return info_; }
  const Tokenizer& tokenizer() const override { return *tokenizer_; }
  std::unique_ptr<Timeline> timeline() override { return timeline(nullptr); }
  std::unique_ptr<Timeline> timeline(PrefixRef from) override {
    const DeviceTimeline::Shared shared{*device_, *weights_, *forward_, *pages_, *cache_, info_.n_context_max};
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
  std::unique_ptr<Weights> weights_;
  std::unique_ptr<Tokenizer> tokenizer_;
  kernels::ThreadPool pool_;
  std::unique_ptr<Device> device_;  // outlives all that has memory on it
  std::unique_ptr<DeviceWeights> on_device_;
  std::unique_ptr<PagePool> pages_;
  std::unique_ptr<PageCache> cache_;
  std::unique_ptr<DeviceForward> forward_;
  std::uint64_t experts_all_ = 0, experts_resident_ = 0;
  PrefixFormat format_;
  ModelInfo info_;
};

}  // namespace

Result<int> device_number(std::string_view device) {
  const auto refused = [&] { return tl::unexpected(Error{Errc::bad_argument, fmt::format("use device {:.40}: expected cpu, cuda, or cuda:0 and so on", device)}); };
  if (device == "cuda") return 0;
  if (!device.starts_with("cuda:")) return refused();
  int number = -1;
  const char* const end = device.data() + device.size();
  const auto [at, ec] = std::from_chars(device.data() + 5, end, number);
  if (ec != std::errc() || at != end || number < 0 || number >= kDevicesMax) return refused();
  return number;
}

Result<std::unique_ptr<Engine>> make_engine(EngineParts parts, const LoadOptions& options, const Progress& progress) {
  if (options.exact)
    return tl::unexpected(Error{Errc::unsupported, fmt::format("load {} onto {}: exact numerics are the CPU's alone; load it with device cpu", options.directory, parts.name)});
  const auto plan = plan_placement({.directory = options.directory,
                                    .gpus = {parts.device_memory},
                                    .gpu_memory = parts.budget,
                                    .host_memory = options.memory > 0 ? std::min(options.memory, available_bytes()) : available_bytes(),
                                    .n_context = options.n_context,
                                    .heat = {}});
  if (!plan) return tl::unexpected(plan.error());
  const std::string name = parts.name;
  auto engine = std::make_unique<DeviceEngine>(std::move(parts), options);
  if (const auto placed = engine->place(*plan, name, progress); !placed) return tl::unexpected(placed.error());
  return engine;
}

}  // namespace lares::engine::cuda

namespace lares::engine {

Result<std::unique_ptr<Engine>> load_on(const DeviceChoice& choice, const LoadOptions& options, const Progress& progress) {
  if (choice.device == "cpu" || choice.device == "auto") return load_on_cpu(options, choice.tiles_directory, progress);
  const auto number = cuda::device_number(choice.device);
  if (!number) return tl::unexpected(number.error());
  auto device = cuda::open_device(*number);
  if (!device) return tl::unexpected(device.error());
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
  const Gpu found = find_gpus().gpus.at(static_cast<std::size_t>(*number));
  return cuda::make_engine({.device = std::move(*device), .device_memory = found.memory_bytes, .weights = std::move(*weights), .tokenizer = std::move(tokenizer), .name = found.name,
                            .budget = choice.gpu_memory},
                           options, progress);
}

}  // namespace lares::engine
