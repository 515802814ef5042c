// lares model: what is in a checkpoint, what it computes from given tokens, and what it says.
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "daemon/cli/commands.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/gpu_list.h"
#include "daemon/cli/help.h"
#include "daemon/cli/option_checks.h"
#include "daemon/cli/options.h"
#include "daemon/cli/progress.h"
#include "daemon/socket_path.h"
#include "engine/chat.h"
#include "engine/gpus.h"
#include "engine/inspect.h"
#include "engine/placement.h"
#include "engine/tokenizer.h"
#include "engine/verify.h"

namespace lares::cli {
namespace {

constexpr std::streamsize kTokensBytesMax = 64 << 20;  // a million ids take 8 MB
constexpr double kGiB = 1 << 30;
constexpr auto kRedraw = std::chrono::milliseconds(100);

struct Options {
  std::string directory, tokens_path, out_path, prompt, mode = "exact", kernels, logprobs_path, trace_path, vectors;
  bool json = false, mtp = false, streams = false, dspark = false, raw = false, ids = false;
  int chunk = 256, threads = 0, n = 256, n_verify = engine::VerifyRequest{}.n_tokens;
  engine::Sampling sampling;
  int n_logprobs = 5;
  engine::Drafting drafting = engine::Drafting::automatic;
  double memory = 0;
  bool stats = false;
  std::string gpus;
  double gpu_memory = 0, host = 0;  // GiB
  std::int64_t context = 0;
  int sequences = engine::PlacementRequest{}.n_sequences;
  bool draft = false;
  std::string device = "cpu";
};

int failed(const std::string& message) {
  fmt::print(stderr, "lares model: {}\n", message);
  return kExitError;
}

// One line on stderr that overwrites itself; nothing when stderr is not a terminal.
class Line {
 public:
  explicit Line(const char* label) : shown_(::isatty(2) == 1), begun_(Progress::Clock::now()) { progress_.begin(label, begun_); }
  ~Line() { clear(); }
  engine::Progress callback(std::string unit) {
    return [this, unit](std::int64_t done, std::int64_t total) {
      const auto now = Progress::Clock::now();
      progress_.count(done, total, unit, now);
      if (!shown_ || now - drawn_ < kRedraw) return;
      drawn_ = now;
      fmt::print(stderr, "\r\033[K{}", progress_.text(now, false));
      std::fflush(stderr);
    };
  }
  void clear() {
    if (drawn_ != Progress::Clock::time_point{}) fmt::print(stderr, "\r\033[K");
    drawn_ = {};
  }

 private:
  Progress progress_;
  bool shown_;
  Progress::Clock::time_point begun_, drawn_{};
};

std::optional<std::vector<engine::Token>> read_tokens(const std::string& path, std::string& why) {
  std::ifstream file(path, std::ios::binary);
  std::string text;
  if (file) {
    std::ostringstream all;
    all << file.rdbuf();
    text = std::move(all).str();
  }
  if (!file || static_cast<std::streamsize>(text.size()) > kTokensBytesMax) {
    why = fmt::format("read {}: no such file, or larger than {} bytes", path, kTokensBytesMax);
    return std::nullopt;
  }
  const bool flat = std::count(text.begin(), text.end(), '[') == 1;  // the parser recurses; a list of ids does not nest
  const auto json = flat ? nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false) : nlohmann::json();
  std::vector<engine::Token> tokens;
  bool good = json.is_array();
  for (std::size_t i = 0; good && i < json.size(); ++i) {
    const auto* id = json[i].get_ptr<const nlohmann::json::number_unsigned_t*>();
    good = id && *id <= INT32_MAX;
    if (good) tokens.push_back(static_cast<engine::Token>(*id));
  }
  if (!good) {
    why = fmt::format("read {}: not a JSON array of token ids", path);
    return std::nullopt;
  }
  return tokens;
}

int inspect_model(const Options& o) {
  if (o.json) {
    const auto text = engine::inspect_json(o.directory);
    if (!text) return failed(text.error().message);
    fmt::print("{}\n", *text);
    return kExitFinished;
  }
  const auto inspection = engine::inspect(o.directory);
  if (!inspection) return failed(inspection.error().message + "; name the directory of a checkpoint as it was released");
  fmt::print("{}", engine::inspect_text(*inspection));
  return kExitFinished;
}

int repack_model(const Options& o) {
  Line line("repacking");
  const auto done = engine::repack_checkpoint(o.directory, daemon::tiles_dir(), o.threads, line.callback("bytes"));
  line.clear();
  if (!done) return failed(done.error().message);
  if (!done->elsewhere.empty()) fmt::print(stderr, "lares model: {}\n", done->elsewhere);
  fmt::print("{}: {:.1f} MB\n", done->path, static_cast<double>(done->bytes) / 1e6);
  return kExitFinished;
}

int plan_model(const Options& o) {
  engine::PlacementRequest request{.directory = o.directory,
                                   .gpus = {},
                                   .gpu_memory = static_cast<std::uint64_t>(o.gpu_memory * kGiB),
                                   .host_memory = static_cast<std::uint64_t>(o.host * kGiB),
                                   .n_context = o.context,
                                   .n_sequences = o.sequences,
                                   .draft = o.draft,
                                   .heat = {}};
  if (o.gpus.empty()) {
    const auto needs = engine::placement_needs(request);
    if (!needs) return failed(needs.error().message);
    fmt::print("{}", o.json ? engine::needs_json(*needs) + "\n" : engine::needs_text(*needs));
    return kExitFinished;
  }
  std::string why;
  const auto gpus = parse_gpus(o.gpus, why);
  if (!gpus) return failed(why);
  request.gpus = *gpus;
  const auto plan = engine::plan_placement(request);
  if (!plan) return failed(plan.error().message);
  fmt::print("{}", o.json ? engine::placement_json(*plan) + "\n" : engine::placement_text(*plan));
  return kExitFinished;
}

int verify_model(const Options& o) {
  Line line("reading every value");
  nlohmann::ordered_json checks = nlohmann::ordered_json::array();
  const auto report = [&](const engine::Check& c) {
    line.clear();
    if (o.json) checks.push_back({{"name", c.name}, {"passed", c.passed}, {"detail", c.detail}});
    else fmt::print("{}  {}: {}\n", c.passed ? "ok  " : "FAIL", c.name, c.detail);
    std::fflush(stdout);
  };
  const auto all = engine::verify({.directory = o.directory, .tiles_directory = daemon::tiles_dir(), .threads = o.threads, .n_tokens = o.n_verify, .vectors = o.vectors}, line.callback("bytes"), report);
  line.clear();
  if (!all) return failed(all.error().message);
  if (o.json) fmt::print("{}\n", nlohmann::ordered_json{{"passed", *all}, {"checks", checks}}.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  return *all ? kExitFinished : failed(fmt::format("verify {}: not all checks passed", o.directory));
}

int logits_of_model(const Options& o) {
  std::string why;
  auto tokens = read_tokens(o.tokens_path, why);
  if (!tokens) return failed(why);
  Line line("computing logits");
  const auto done = engine::write_logits({.directory = o.directory, .tokens = std::move(*tokens), .exact = o.mode == "exact", .chunk = o.chunk,
                                          .threads = o.threads, .mtp = o.mtp, .streams = o.streams, .dspark = o.dspark, .out_path = o.out_path, .kernels = o.kernels},
                                         line.callback("tokens"));
  line.clear();
  return done ? kExitFinished : failed(done.error().message);
}

// One line of --dump-logprobs: JSON, so text that is not UTF-8 by itself (half a character) has U+FFFD in it.
std::string logprobs_line(std::int64_t position, engine::Token token, const std::string& text, const engine::Logprobs& p) {
  nlohmann::ordered_json json{{"position", position}, {"token", token}, {"text", text}, {"logprob", p.drawn}, {"top", nlohmann::json::array()}};
  for (const auto& [id, logprob] : p.top) json["top"].push_back({id, logprob});
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

volatile std::sig_atomic_t interrupted = 0;

int generate_with_model(const Options& o) {
  std::string why;
  std::vector<engine::Token> prompt;
  if (!o.tokens_path.empty()) {
    auto tokens = read_tokens(o.tokens_path, why);
    if (!tokens) return failed(why);
    prompt = std::move(*tokens);
  }
  Line line("loading");
  auto loaded = engine::load_on({o.device, 0, daemon::tiles_dir()},
                                {.directory = o.directory,
                                 .n_threads = o.threads,
                                 .exact = o.mode == "exact",
                                 .memory = static_cast<std::uint64_t>(o.memory * 1e9),
                                 .trace = !o.trace_path.empty(),
                                 .text = !o.ids,
                                 .drafting = o.drafting},
                                line.callback("shards"));
  line.clear();
  if (!loaded) return failed(loaded.error().message);
  const engine::Tokenizer* const tokenizer = o.ids ? nullptr : &(*loaded)->tokenizer();
  if (o.tokens_path.empty()) {
    using engine::Segment;
    std::vector<Segment> segments{{std::string(engine::kBos), true}};
    if (!o.raw) segments.push_back({std::string(engine::kUser), true});
    segments.push_back({o.prompt, false});
    if (!o.raw) segments.push_back({std::string(engine::kAssistant) + std::string(engine::kThink), true});
    prompt = tokenizer->encode(segments);
  }
  const auto end = tokenizer ? tokenizer->added(engine::kEos) : std::nullopt;
  std::signal(SIGINT, [](int) { interrupted = 1; });
  std::stop_source stop;
  auto timeline = (*loaded)->timeline();
  const auto asked = std::chrono::steady_clock::now();
  Line prefill("reading the prompt");
  auto report = prefill.callback("tokens");
  const auto synced = timeline->sync(prompt, stop.get_token(), [&](std::int64_t done, std::int64_t total) {
    if (interrupted) stop.request_stop();
    report(done, total);
  });
  prefill.clear();
  if (!synced && synced.error().code == engine::Errc::cancelled) return kExitInterrupted;
  if (!synced) return failed(synced.error().message);
  std::ofstream logprobs;
  if (!o.logprobs_path.empty()) {
    logprobs.open(o.logprobs_path, std::ios::binary | std::ios::trunc);
    if (!logprobs) return failed(fmt::format("write {}: cannot create it", o.logprobs_path));
  }
  const auto read = std::chrono::steady_clock::now();
  auto first = read;  // when the first token was drawn, for which nothing more had to be evaluated
  int drawn = 0;
  const auto end_line = [&] { fmt::print("{}\n", tokenizer ? "" : drawn == 0 ? "[]" : "]"); };
  while (drawn < o.n && !interrupted) {
    const auto token = timeline->next(o.sampling, nullptr);
    if (!token) {
      end_line();
      return failed(token.error().message);
    }
    if (++drawn == 1) first = std::chrono::steady_clock::now();
    if (logprobs.is_open()) {
      const auto position = static_cast<std::int64_t>(timeline->tokens().size()) - 1;
      logprobs << logprobs_line(position, *token, tokenizer ? std::string(tokenizer->bytes(*token)) : "", timeline->logprobs(o.n_logprobs));
      if (!logprobs) return failed(fmt::format("write {}: the disk is full, or the file went away", o.logprobs_path));
    }
    if (end && *token == *end) break;
    if (tokenizer) {
      const auto bytes = tokenizer->bytes(*token);
      std::fwrite(bytes.data(), 1, bytes.size(), stdout);
    } else {
      fmt::print("{}{}", drawn == 1 ? "[" : ", ", *token);
    }
    std::fflush(stdout);
  }
  end_line();
  if (o.stats || ::isatty(2) == 1) {
    const auto rate = [](std::size_t n, auto time) { return static_cast<double>(n) / std::max(1e-9, std::chrono::duration<double>(time).count()); };
    fmt::print(stderr, "prompt: {} tokens, {:.1f}/s\n", prompt.size(), rate(prompt.size(), read - asked));
    fmt::print(stderr, "{} tokens, {:.1f}/s\n", drawn, rate(static_cast<std::size_t>(std::max(0, drawn - 1)), std::chrono::steady_clock::now() - first));
  }
  if (o.stats) {
    const auto d = timeline->drafts();
    fmt::print(stderr, "{} evaluations; guesses right: {} of {} copied, {} of {} by the draft blocks\n", d.evaluations, d.copy.accepted, d.copy.drafted,
               d.block.accepted, d.block.drafted);
    if (const auto e = (*loaded)->memory().experts; e.bytes_max > 0) {
      fmt::print(stderr, "experts: {:.3f} of {:.3f} GB in memory, {:.3f} at most; {} of {} uses found theirs there, {:.3f} GB read\n",
                 static_cast<double>(e.resident) / 1e9, static_cast<double>(e.bytes) / 1e9, static_cast<double>(e.bytes_max) / 1e9, e.found,
                 e.found + e.missed, static_cast<double>(e.read) / 1e9);
    }
  }
  if (!o.trace_path.empty()) {
    const auto totals = (*loaded)->write_trace(o.trace_path);
    if (!totals) return failed(totals.error().message);
    double all = 0;
    for (const auto& t : *totals) all += t.self_s;
    for (const auto& t : *totals) fmt::print(stderr, "{:<26} {:>8} times {:>10.3f} s {:>5.1f} %\n", t.name, t.count, t.self_s, 100 * t.self_s / all);
  }
  return interrupted ? kExitInterrupted : kExitFinished;
}

}  // namespace

int model_command(int argc, const char* const* argv) {
  CLI::App app{"Look into a checkpoint and run it without the daemon", argc > 0 ? argv[0] : "lares model"};
  app.require_subcommand(1);
  Options o;
  auto* inspect = app.add_subcommand("inspect", "Check every tensor and show what the checkpoint holds");
  inspect->add_option("dir", o.directory, "checkpoint directory")->required();
  inspect->add_flag("--json", o.json, "as JSON");

  auto* repack = app.add_subcommand("repack", "Write the weights once more in the order the kernels read them; the results are the same");
  repack->add_option("dir", o.directory, "checkpoint directory")->required();
  repack->add_option("--threads", o.threads, "threads; 0: the CPUs this process may use")->check(CLI::Range(0, 1024))->capture_default_str();

  auto* plan = app.add_subcommand("plan", "Say where weights and caches would lie on GPUs and in host memory, from arithmetic; no GPU is needed");
  plan->add_option("dir", o.directory, "checkpoint directory; config.json is enough")->required();
  plan->add_option("--gpus", o.gpus, "GPUs and their GiB, such as 2x80 or 1x141,2x79.6; without, what usual cards would do");
  plan->add_option("--context", o.context, "tokens kept on the GPUs, all sequences together; 0: the model's limit")->check(CLI::Range(std::int64_t{0}, std::int64_t{1} << 30))->capture_default_str();
  plan->add_option("--sequences", o.sequences, "that take turns on the GPUs")->check(CLI::Range(1, engine::kSequencesMax))->capture_default_str();
  plan->add_option("--gpu-memory", o.gpu_memory, "GiB of each GPU that may be taken; 0: all")->check(number_in(0.0, 4096.0))->capture_default_str();
  plan->add_option("--host", o.host, "GiB of host memory that may be taken; 0: what it takes")->check(number_in(0.0, 1e5))->capture_default_str();
  plan->add_flag("--draft", o.draft, "the draft blocks on the GPU too");
  plan->add_flag("--json", o.json, "as JSON");

  auto* verify = app.add_subcommand("verify", "Read every value, hold the forward pass against itself, and against official answers where they are given");
  verify->add_option("dir", o.directory, "checkpoint directory")->required();
  verify->add_option("--vectors", o.vectors, "directory of *.official.json: prompts and the likeliest tokens that the official API answered");
  verify->add_option("--tokens", o.n_verify, "length of the prompt it runs in several ways")->check(CLI::Range(2, engine::kVerifyTokensMax))->capture_default_str();
  verify->add_option("--threads", o.threads, "threads; 0: the CPUs this process may use")->check(CLI::Range(0, 1024))->capture_default_str();
  verify->add_flag("--json", o.json, "as JSON");

  auto* logits = app.add_subcommand("logits", "Compute logits of given tokens into a safetensors file");
  auto* generate = app.add_subcommand("generate", "Continue a prompt");
  for (auto* sub : {logits, generate}) {
    sub->add_option("--model", o.directory, "checkpoint directory")->required();
    sub->add_option("--mode", o.mode, "numerics: exact (float32) or released")->check(CLI::IsMember({"exact", "released"}))->capture_default_str();
    sub->add_option("--threads", o.threads, "threads; 0: the CPUs this process may use")->check(CLI::Range(0, 1024))->capture_default_str();
  }
  logits->add_option("--tokens", o.tokens_path, "JSON array of token ids")->required();
  logits->add_option("--out", o.out_path, "safetensors file to write")->required();
  logits->add_option("--chunk", o.chunk, "tokens evaluated at a time")->check(CLI::Range(1, engine::kLogitsChunkMax))->capture_default_str();
  logits->add_option("--impl", o.kernels, "kernels by name, such as cpu or avx2");
  logits->add_flag("--mtp", o.mtp, "the draft block's logits too");
  logits->add_flag("--dspark", o.dspark, "what the DSpark stages guess after the last token too");
  logits->add_flag("--streams", o.streams, "the residual streams after each layer too");

  auto* text = generate->add_option("--prompt", o.prompt, "what to ask");
  auto* ids = generate->add_option("--tokens", o.tokens_path, "JSON array of token ids to continue");
  text->excludes(ids);
  generate->add_flag("--ids", o.ids, "print token ids, a JSON array; needs no tokenizer.json, and stops at no end token")->needs(ids);
  generate->add_option("--n", o.n, "tokens at most")->check(CLI::Range(1, 1 << 20))->capture_default_str();
  generate->add_option("--temperature", o.sampling.temperature, "0: always the likeliest token")->check(number_in(0.0, 100.0))->capture_default_str();
  generate->add_option("--top-k", o.sampling.top_k, "keep the k likeliest tokens; 0: all")->check(CLI::Range(0, 1 << 30))->capture_default_str()->group(kSeldom);
  generate->add_option("--top-p", o.sampling.top_p, "keep the likeliest tokens of this probability mass")->check(number_in(0.0, 1.0))->capture_default_str()->group(kSeldom);
  generate->add_option("--min-p", o.sampling.min_p, "keep tokens at least this share as likely as the likeliest")->check(number_in(0.0, 1.0))->capture_default_str()->group(kSeldom);
  generate->add_option("--repetition-penalty", o.sampling.repetition_penalty, "divides logits of tokens in the context; 1: none")->check(number_in(0.01, 100.0))->capture_default_str()->group(kSeldom);
  generate->add_option("--presence-penalty", o.sampling.presence_penalty, "off the logit of what was generated")->check(number_in(-100.0, 100.0))->capture_default_str()->group(kSeldom);
  generate->add_option("--frequency-penalty", o.sampling.frequency_penalty, "the same, once for each time")->check(number_in(-100.0, 100.0))->capture_default_str()->group(kSeldom);
  generate->add_option("--seed", o.sampling.seed, "of the random draws")->check(whole_number_in(0, std::numeric_limits<std::uint64_t>::max()))->capture_default_str();
  generate->add_option("--dump-logprobs", o.logprobs_path, "write each token's log-probability and the likeliest others', a JSON line each")->group(kSeldom);
  generate->add_option("--logprobs", o.n_logprobs, "how many of the likeliest it lists")->check(CLI::Range(0, engine::kLogprobsMax))->capture_default_str()->group(kSeldom);
  const std::map<std::string, engine::Drafting> modes{{"off", engine::Drafting::off}, {"auto", engine::Drafting::automatic}, {"always", engine::Drafting::always}};
  generate->add_option("--draft", o.drafting, "evaluate guesses with each token, for speed; the text is the same")->transform(CLI::CheckedTransformer(modes))->default_str("auto")->group(kSeldom);
  generate->add_option("--memory", o.memory, "GB for weights, work space and all sequences; 0: what is free")->check(number_in(0.0, 1e6))->capture_default_str()->group(kSeldom);
  generate->add_option("--device", o.device, "cpu, cuda or cuda:1: what computes it")->capture_default_str()->group(kSeldom);
  generate->add_flag("--stats", o.stats, "tokens per second, how many guesses were right, how many experts were in memory, on stderr");
  generate->add_option("--trace", o.trace_path, "write where the time goes, for Perfetto or chrome://tracing; a table of it on stderr")->group(kSeldom);
  generate->add_flag("--raw", o.raw, "continue the prompt as plain text, not as a user's turn");
  generate->callback([&] {
    if (text->count() + ids->count() != 1) throw CLI::RequiredError("one of --prompt and --tokens");
  });
  generate->preparse_callback([&](std::size_t) { o.mode = "released"; });

  if (const auto over = parse(app, argc, argv)) return *over;
  if (inspect->parsed()) return inspect_model(o);
  if (repack->parsed()) return repack_model(o);
  if (plan->parsed()) return plan_model(o);
  if (verify->parsed()) return verify_model(o);
  if (logits->parsed()) return logits_of_model(o);
  return generate_with_model(o);
}

}  // namespace lares::cli
