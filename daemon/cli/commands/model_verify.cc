// lares model verify: whether a checkpoint on this machine can be relied on.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "daemon/cli/commands/model_parts.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/option_checks.h"
#include "daemon/cli/options.h"
#include "daemon/cli/terminal/print.h"
#include "daemon/protocol/socket_path.h"
#include "daemon/settings.h"
#include "engine/verify.h"

namespace lares::cli {
namespace {

using Json = nlohmann::ordered_json;

class Verify : public ModelPart {
 public:
  explicit Verify(CLI::App& model)
      : ModelPart(model.add_subcommand("verify",
                                       "Read every value, hold the forward pass against itself, "
                                       "and against official answers where they are given")) {
    add_directory();
    app_->add_option("--vectors", vectors_,
                     "directory of *.official.json: prompts and the likeliest tokens that the "
                     "official API answered");
    app_->add_option("--tokens", n_tokens_, "length of the prompt it runs in several ways")
        ->check(whole_number_in(2, engine::kVerifyTokensMax))
        ->capture_default_str();
    add_threads();
    app_->add_option("--device", device_,
                     "load it there too, as `device` names it (cuda, cuda:1, cuda:0,1), and hold "
                     "it against itself and the CPU")
        ->check(device_name());
    app_->add_flag("--json", json_, "as JSON");
  }

  int run(const daemon::Settings& settings) override {
    resolve(settings);
    exit_when_interrupted(
        "\nlares model verify: interrupted; what was checked until then is above\n");
    ProgressLine line("reading every value");
    Json checks = Json::array();
    const auto report = [&](const engine::Check& c) {
      line.clear();
      if (json_)
        checks.push_back({{"name", c.name}, {"passed", c.passed}, {"detail", c.detail}});
      else
        print_out("{}  {}: {}\n", c.passed ? "ok  " : "FAIL", c.name, c.detail);
      std::fflush(stdout);
    };
    auto all = engine::verify(
        {.directory = directory_,
         .tiles_directory = daemon::tiles_dir(),
         .threads = threads_,
         .n_tokens = n_tokens_,
         .vectors = vectors_,
         .device = device_,
         .gpu_memory = static_cast<std::uint64_t>(settings.number("gpu_memory").value_or(0) * 1e9),
         .memory = static_cast<std::uint64_t>(settings.number("memory").value_or(0) * 1e9)},
        line.callback("bytes"), report);
    line.clear();
    if (!all) return json_ ? fail(Error{all.error().message}, true) : failed_to_open(all.error());
    const std::string fault = tokenizer_fault(directory_);
    report({"tokenizer", fault.empty() ? "can be read" : fault, fault.empty()});
    const bool passed = *all && fault.empty();
    if (json_)
      print_out("{}\n", Json{{"passed", passed}, {"checks", checks}}.dump(
                            -1, ' ', false, Json::error_handler_t::replace));
    return passed ? kExitFinished
                  : failed(fmt::format("verify {}: not all checks passed", directory_));
  }

 private:
  std::string vectors_, device_;
  int n_tokens_ = engine::VerifyRequest{}.n_tokens;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<ModelPart> verify_part(CLI::App& model) { return std::make_unique<Verify>(model); }

}  // namespace lares::cli
