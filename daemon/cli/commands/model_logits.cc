// lares model logits: what the model computes from given tokens.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "daemon/cli/commands/kernel_names.h"
#include "daemon/cli/commands/model_parts.h"
#include "daemon/cli/commands/output_file.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/option_checks.h"
#include "engine/inspect.h"

namespace lares::cli {
namespace {

class Logits : public ModelPart {
 public:
  explicit Logits(CLI::App& model)
      : ModelPart(model.add_subcommand("logits",
                                       "Compute logits of given tokens into a safetensors file")) {
    add_model_directory();
    app_->add_option("--mode", mode_, "numerics: exact (float32) or released")
        ->check(CLI::IsMember({"exact", "released"}))
        ->capture_default_str();
    add_threads();
    app_->add_option("--tokens", tokens_path_,
                     "token ids, a JSON array, from this file; - is stdin")
        ->required();
    app_->add_option("--out", out_path_, "safetensors file to write; - is stdout")->required();
    app_->add_option("--chunk", chunk_, "tokens evaluated at a time")
        ->check(whole_number_in(1, engine::kLogitsChunkMax))
        ->capture_default_str();
    app_->add_option("--impl", kernels_, "kernels by name, such as cpu or avx2")
        ->check(kernel_name());
    app_->add_flag("--mtp", mtp_, "the draft block's logits too");
    app_->add_flag("--dspark", dspark_, "what the DSpark stages guess after the last token too");
    app_->add_flag("--streams", streams_, "the residual streams after each layer too");
  }

  int run(const daemon::Settings& settings) override {
    resolve(settings);
    const auto out = output_path(out_path_, {tokens_path_}, directory_, /*to_stdout=*/true);
    if (!out) return failed(out.error().message);
    auto tokens = read_tokens(tokens_path_);
    if (!tokens) return failed(tokens.error().message);
    exit_when_interrupted("\nlares model logits: interrupted\n");
    ProgressLine line("computing logits");
    const auto done = engine::write_logits({.directory = directory_,
                                            .tokens = std::move(*tokens),
                                            .exact = mode_ == "exact",
                                            .chunk = chunk_,
                                            .threads = threads_,
                                            .mtp = mtp_,
                                            .streams = streams_,
                                            .dspark = dspark_,
                                            .out_path = *out,
                                            .kernels = kernels_},
                                           line.callback("tokens"));
    line.clear();
    return done ? kExitFinished : failed_to_open(done.error());
  }

 private:
  std::string tokens_path_, out_path_, mode_ = "exact", kernels_;
  int chunk_ = engine::LogitsRequest{}.chunk;
  bool mtp_ = false, dspark_ = false, streams_ = false;
};

}  // namespace

std::unique_ptr<ModelPart> logits_part(CLI::App& model) { return std::make_unique<Logits>(model); }

}  // namespace lares::cli
