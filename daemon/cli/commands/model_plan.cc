// lares model plan: where weights and caches would lie.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <string_view>

#include "daemon/cli/commands/gpu_list.h"
#include "daemon/cli/commands/model_parts.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/option_checks.h"
#include "daemon/cli/terminal/print.h"
#include "daemon/settings.h"
#include "engine/gpus.h"
#include "engine/placement.h"

namespace lares::cli {
namespace {

constexpr double kGb = 1e9;
constexpr std::uint64_t kContextMax = std::uint64_t{1} << 30;
constexpr std::string_view kHere = "here";

// This machine's. What others hold of their memory is known when a model is loaded: asking makes a
// context on each, which takes memory and time.
bool take_gpus_here(engine::PlacementRequest& request, std::string& why) {
  const engine::GpuReport report = engine::find_gpus();
  for (const engine::Gpu& gpu : report.gpus) {
    if (!gpu.unused.empty()) continue;
    request.gpus.push_back(gpu.memory_bytes);
    request.gpu_names.push_back(gpu.name);
  }
  if (!request.gpus.empty()) return true;
  why = fmt::format("plan for this machine's GPUs: {}; `--gpus 2x80` plans for others",
                    fmt::join(engine::gpu_lines(report), "; "));
  return false;
}

CLI::Validator gpu_list() {
  const auto check = [](std::string& text) {
    constexpr std::string_view kOption = "--gpus ";  // which CLI11 names itself
    std::string why;
    if (text == kHere) return why;
    if (!parse_gpus(text, why) && why.starts_with(kOption)) why.erase(0, kOption.size());
    return why;
  };
  return CLI::Validator(check, "");
}

class Plan : public ModelPart {
 public:
  explicit Plan(CLI::App& model)
      : ModelPart(model.add_subcommand("plan",
                                       "Say where weights and caches would lie on GPUs and in host "
                                       "memory, from arithmetic; no GPU is needed")) {
    add_directory();
    auto* const gpus = app_->add_option("--gpus", gpus_,
                                        "GPUs and their GB, such as 2x80 or 1x141,2x40; "
                                        "here: this machine's; without, what usual cards would do")
                           ->check(gpu_list());
    context_given_ =
        app_->add_option("--context", context_,
                         "tokens kept on the GPUs, all sequences together; 0: the model's limit")
            ->check(whole_number_in(0, kContextMax))
            ->capture_default_str();
    app_->add_option("--sequences", sequences_, "that take turns on the GPUs")
        ->check(whole_number_in(1, engine::kSequencesMax))
        ->capture_default_str();
    app_->add_option("--gpu-memory", gpu_memory_, "GB of each GPU that may be taken; 0: all")
        ->check(number_in(0.0, 4096.0))
        ->capture_default_str()
        ->needs(gpus);
    app_->add_option("--host", host_, "GB of host memory that may be taken; 0: what it takes")
        ->check(number_in(0.0, 1e5))
        ->capture_default_str();
    app_->add_flag("--draft", draft_, "the draft blocks on the GPU too");
    app_->add_flag("--json", json_, "as JSON");
  }

  int run(const daemon::Settings& settings) override {
    resolve(settings);
    if (!*context_given_) context_ = settings.whole("context").value_or(0);
    engine::PlacementRequest request{.directory = directory_,
                                     .gpus = {},
                                     .gpu_memory = static_cast<std::uint64_t>(gpu_memory_ * kGb),
                                     .host_memory = static_cast<std::uint64_t>(host_ * kGb),
                                     .n_context = context_,
                                     .n_sequences = sequences_,
                                     .draft = draft_,
                                     .heat = {}};
    if (gpus_.empty()) {
      const auto needs = engine::placement_needs(request);
      if (!needs) return failed_to_open(needs.error());
      print_out("{}", json_ ? engine::needs_json(*needs) + "\n" : engine::needs_text(*needs));
      return kExitFinished;
    }
    std::string why;
    if (gpus_ == kHere) {
      if (!take_gpus_here(request, why)) return failed(why);
    } else if (auto gpus = parse_gpus(gpus_, why)) {
      request.gpus = std::move(*gpus);
    } else {
      return wrong_usage(why);
    }
    const auto plan = engine::plan_placement(request);
    if (!plan) return failed_to_open(plan.error());
    print_out("{}", json_ ? engine::placement_json(*plan) + "\n" : engine::placement_text(*plan));
    return kExitFinished;
  }

 private:
  std::string gpus_;
  double gpu_memory_ = 0, host_ = 0;  // GB
  std::int64_t context_ = 0;
  int sequences_ = engine::PlacementRequest{}.n_sequences;
  bool draft_ = false, json_ = false;
  CLI::Option* context_given_ = nullptr;
};

}  // namespace

std::unique_ptr<ModelPart> plan_part(CLI::App& model) { return std::make_unique<Plan>(model); }

}  // namespace lares::cli
