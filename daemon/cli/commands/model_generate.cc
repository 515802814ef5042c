// lares model generate: what the model says, without the daemon.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <limits>
#include <map>
#include <optional>

#include "daemon/cli/commands/generate_output.h"
#include "daemon/cli/commands/model_parts.h"
#include "daemon/cli/commands/output_file.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/help.h"
#include "daemon/cli/option_checks.h"
#include "daemon/protocol/socket_path.h"
#include "daemon/settings.h"
#include "daemon/turn/generation_config.h"
#include "engine/chat.h"
#include "engine/gpus.h"
#include "engine/tokenizer.h"

namespace lares::cli {
namespace {

constexpr std::uint64_t kTokensMax = 1 << 20, kTopKMax = 1 << 30;
const std::map<std::string, engine::Drafting> kDrafting{{"off", engine::Drafting::off},
                                                        {"auto", engine::Drafting::automatic},
                                                        {"always", engine::Drafting::always}};

volatile std::sig_atomic_t stop_asked = 0;

class Generate : public ModelPart {
 public:
  explicit Generate(CLI::App& model)
      : ModelPart(model.add_subcommand("generate", "Continue a prompt")) {
    add_model_directory();
    app_->add_option("--mode", mode_, "numerics: exact (float32) or released")
        ->check(CLI::IsMember({"exact", "released"}))
        ->capture_default_str();
    add_threads();
    auto* text = app_->add_option("--prompt", prompt_, "what to ask; - is stdin");
    auto* file =
        app_->add_option("--file", prompt_path_, "what to ask, from this file")->excludes(text);
    auto* ids = app_->add_option("--tokens", tokens_path_,
                                 "token ids to continue, a JSON array, from this file; - is stdin")
                    ->excludes(text)
                    ->excludes(file);
    app_->add_flag(
            "--ids", ids_,
            "print token ids, a JSON array; needs no tokenizer.json, and stops at no end token")
        ->needs(ids);
    app_->add_option("--n", n_, "tokens at most")
        ->check(whole_number_in(1, kTokensMax))
        ->capture_default_str();
    app_->add_option("--temperature", temperature_,
                     "0: always the likeliest token (default: the checkpoint's)")
        ->check(number_in(0.0, 100.0));
    app_->add_option("--top-k", top_k_, "keep the k likeliest tokens; 0: all")
        ->check(whole_number_in(0, kTopKMax))
        ->group(kSeldom);
    app_->add_option("--top-p", top_p_, "keep the likeliest tokens of this probability mass")
        ->check(number_in(0.0, 1.0))
        ->group(kSeldom);
    app_->add_option("--min-p", min_p_,
                     "keep tokens at least this share as likely as the likeliest")
        ->check(number_in(0.0, 1.0))
        ->group(kSeldom);
    app_->add_option("--repetition-penalty", sampling_.repetition_penalty,
                     "divides logits of tokens in the context; 1: none")
        ->check(number_in(0.01, 100.0))
        ->capture_default_str()
        ->group(kSeldom);
    app_->add_option("--presence-penalty", sampling_.presence_penalty,
                     "off the logit of what was generated")
        ->check(number_in(-100.0, 100.0))
        ->capture_default_str()
        ->group(kSeldom);
    app_->add_option("--frequency-penalty", sampling_.frequency_penalty,
                     "the same, once for each time")
        ->check(number_in(-100.0, 100.0))
        ->capture_default_str()
        ->group(kSeldom);
    app_->add_option("--seed", sampling_.seed, "of the random draws")
        ->check(whole_number_in(0, std::numeric_limits<std::uint64_t>::max()))
        ->capture_default_str();
    auto* dump =
        app_->add_option(
                "--dump-logprobs", logprobs_path_,
                "write each token's log-probability and the likeliest others', a JSON line each")
            ->group(kSeldom);
    app_->add_option("--logprobs", n_logprobs_, "how many of the likeliest it lists")
        ->check(whole_number_in(0, engine::kLogprobsMax))
        ->capture_default_str()
        ->needs(dump)
        ->group(kSeldom);
    app_->add_option("--draft", drafting_,
                     "evaluate guesses with each token, for speed; the text is the same")
        ->check(CLI::IsMember({"off", "auto", "always"}))
        ->capture_default_str()
        ->group(kSeldom);
    memory_given_ = app_->add_option(
                            "--memory", memory_,
                            "GB for weights, work space and all sequences; 0: what is free")
                        ->check(number_in(0.0, 1e6))
                        ->capture_default_str()
                        ->group(kSeldom);
    app_->add_option("--device", device_, kDeviceHelp)->check(device_name())->group(kSeldom);
    app_->add_flag("--stats", stats_,
                   "tokens per second, how many guesses were right, how many experts were in "
                   "memory, on stderr");
    app_->add_option(
            "--trace", trace_path_,
            "write where the time goes, for Perfetto or chrome://tracing; a table of it on stderr")
        ->group(kSeldom);
    app_->add_flag("--raw", raw_, "continue the prompt as plain text, not as a user's turn");
    app_->callback([=] {
      if (text->count() + file->count() + ids->count() != 1)
        throw CLI::RequiredError("one of --prompt, --file and --tokens");
    });
  }

  int run(const daemon::Settings& settings) override {
    resolve(settings);
    if (const auto ready = take_settings(settings); !ready) return failed(ready.error().message);
    if (const auto ready = outputs(); !ready) return failed(ready.error().message);
    std::vector<engine::Token> prompt;
    if (!tokens_path_.empty()) {
      auto tokens = read_tokens(tokens_path_);
      if (!tokens) return failed(tokens.error().message);
      prompt = std::move(*tokens);
    } else if (prompt_ == "-" || !prompt_path_.empty()) {
      auto text = read_input(prompt_path_.empty() ? prompt_ : prompt_path_);
      if (!text) return failed(text.error().message);
      prompt_ = std::move(*text);
    }
    exit_when_interrupted("\nlares model generate: interrupted\n");
    ProgressLine line("loading");
    const auto engine = engine::load_on({device_, gpu_memory_, daemon::tiles_dir()},
                                        {.directory = directory_,
                                         .n_threads = threads_,
                                         .exact = mode_ == "exact",
                                         .n_context = context_,
                                         .memory = static_cast<std::uint64_t>(memory_ * 1e9),
                                         .trace = !trace_path_.empty(),
                                         .text = !ids_,
                                         .drafting = kDrafting.at(drafting_)},
                                        line.callback("shards"));
    line.clear();
    if (!engine && !ids_ && engine.error().message.find("the tokenizer") != std::string::npos)
      return failed(tokenizer_fault(directory_));
    if (!engine) return failed_to_open(engine.error());
    const engine::Tokenizer* const tokenizer = ids_ ? nullptr : &(*engine)->tokenizer();
    if (tokens_path_.empty()) prompt = encoded(*tokenizer);
    return generate(**engine, tokenizer, prompt);
  }

 private:
  Result<> take_settings(const daemon::Settings& settings) {
    if (!*memory_given_) memory_ = settings.number("memory").value_or(0);
    context_ = settings.whole("context").value_or(0);
    gpu_memory_ = static_cast<std::uint64_t>(settings.number("gpu_memory").value_or(0) * 1e9);
    if (device_.empty()) device_ = settings.text("device").value_or("cpu");
    const auto defaults = daemon::generation_defaults(directory_);
    if (!defaults) return tl::unexpected(Error{defaults.error()});
    const engine::Sampling& usual = defaults->sampling;
    sampling_.temperature = static_cast<float>(
        temperature_.value_or(settings.number("temperature").value_or(usual.temperature)));
    sampling_.top_k = top_k_.value_or(usual.top_k);
    sampling_.top_p = top_p_.value_or(usual.top_p);
    sampling_.min_p = min_p_.value_or(usual.min_p);
    return {};
  }

  Result<> outputs() {
    for (std::string* path : {&logprobs_path_, &trace_path_}) {
      if (path->empty()) continue;
      auto checked = output_path(*path, {tokens_path_, prompt_path_}, directory_,
                                 /*to_stdout=*/false);
      if (!checked) return tl::unexpected(checked.error());
    }
    if (!trace_path_.empty() && trace_path_ == logprobs_path_)
      return tl::unexpected(
          Error{fmt::format("write {}: both --trace and --dump-logprobs name it", trace_path_)});
    return {};
  }

  std::vector<engine::Token> encoded(const engine::Tokenizer& tokenizer) const {
    std::vector<engine::Segment> segments{{std::string(engine::kBos), true}};
    if (!raw_) segments.push_back({std::string(engine::kUser), true});
    segments.push_back({prompt_, false});
    if (!raw_)
      segments.push_back({std::string(engine::kAssistant) + std::string(engine::kThink), true});
    return tokenizer.encode(segments);
  }

  int generate(engine::Engine& engine, const engine::Tokenizer* tokenizer,
               const std::vector<engine::Token>& prompt) const {
    const auto now = [] { return std::chrono::steady_clock::now(); };
    std::signal(SIGINT, [](int) { stop_asked = 1; });
    std::stop_source stop;
    const auto timeline = engine.timeline();
    GenerateTimes times{.n_prompt = prompt.size(),
                        .n_drawn = 0,
                        .asked = now(),
                        .read = {},
                        .first = {},
                        .last = {}};
    ProgressLine reading("reading the prompt");
    const auto synced = timeline->sync(
        prompt, stop.get_token(),
        [&, report = reading.callback("tokens")](std::int64_t done, std::int64_t total) {
          if (stop_asked) stop.request_stop();
          report(done, total);
        });
    reading.clear();
    if (!synced && synced.error().code == engine::Errc::cancelled) return interrupted();
    if (!synced) return failed(synced.error().message);
    LogprobsFile logprobs;
    if (const auto opened = logprobs.open(logprobs_path_); !opened)
      return failed(opened.error().message);
    const auto end = tokenizer ? tokenizer->added(engine::kEos) : std::nullopt;
    times.read = times.first = now();
    DrawnTokens shown(tokenizer);
    std::string why;
    while (times.n_drawn < n_ && !stop_asked && why.empty()) {
      const auto token = timeline->next(sampling_, nullptr);
      if (!token) {
        why = token.error().message;
        break;
      }
      if (++times.n_drawn == 1) times.first = now();
      if (const auto added = logprobs.add(*timeline, *token,
                                          tokenizer ? std::string(tokenizer->bytes(*token)) : "",
                                          n_logprobs_);
          !added)
        why = added.error().message;
      if (end && *token == *end) break;
      shown.show(*token);
    }
    times.last = now();
    shown.end();
    if (const auto closed = logprobs.close(); !closed && why.empty()) why = closed.error().message;
    if (!why.empty()) return failed(why);
    if (stats_ || ::isatty(STDERR_FILENO) == 1) print_rates(times);
    if (stats_) print_stats(engine, *timeline);
    if (!trace_path_.empty())
      if (const auto traced = print_trace(engine, trace_path_); !traced)
        return failed(traced.error().message);
    return stop_asked ? interrupted() : kExitFinished;
  }

  std::string prompt_, prompt_path_, tokens_path_, mode_ = "released", logprobs_path_, trace_path_,
                                                   drafting_ = "auto", device_;
  bool raw_ = false, ids_ = false, stats_ = false;
  int n_ = 256, n_logprobs_ = 5;
  engine::Sampling sampling_;
  std::optional<double> temperature_;
  std::optional<float> top_p_, min_p_;
  std::optional<int> top_k_;
  double memory_ = 0;  // GB
  std::uint64_t gpu_memory_ = 0;
  std::int64_t context_ = 0;
  CLI::Option* memory_given_ = nullptr;
};

}  // namespace

std::unique_ptr<ModelPart> generate_part(CLI::App& model) {
  return std::make_unique<Generate>(model);
}

}  // namespace lares::cli
