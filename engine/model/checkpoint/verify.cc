#include "engine/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/chat.h"
#include "engine/gpus.h"
#include "engine/model/checkpoint/repack.h"
#include "engine/model/checkpoint/values.h"
#include "engine/model/checkpoint/verify_engine.h"
#include "engine/model/forward.h"
#include "engine/model/timeline.h"
#include "engine/tokenizer.h"

namespace lares::engine {
namespace {

namespace fs = std::filesystem;

constexpr int kTokensPlain = 4;  // scalar kernels take a hundred times as long
constexpr std::uintmax_t kVectorBytesMax = 16 << 20;

struct Model {
  explicit Model(std::unique_ptr<Weights> w, int threads) : weights(std::move(w)), pool(threads) {}
  const Config& config() const { return weights->checkpoint.config(); }

  std::unique_ptr<Weights> weights;
  Repacked repacked;
  kernels::ThreadPool pool;
};

// Logits after every token, [n, V].
std::vector<float> logits_of(const Model& m, kernels::ThreadPool& pool, const kernels::Kernels& row,
                             std::span<const Token> tokens, int chunk) {
  const Config& c = m.config();
  Forward forward(*m.weights, /*exact=*/false, pool, row);
  State state(*m.weights, /*exact=*/false, chunk);
  std::vector<float> out(tokens.size() * static_cast<std::size_t>(c.vocab_size)),
      x(static_cast<std::size_t>(chunk) * c.hc_mult * c.hidden_size);
  for (std::size_t at = 0; at < tokens.size(); at += static_cast<std::size_t>(chunk)) {
    const auto piece = tokens.subspan(
        at, std::min(tokens.size() - at, static_cast<std::size_t>(chunk)));
    forward.evaluate(state, piece, x.data());
    forward.head(x.data(), static_cast<int>(piece.size()),
                 out.data() + at * static_cast<std::size_t>(c.vocab_size));
  }
  return out;
}

// The first position whose logits are not the same to the bit; -1: none.
std::int64_t first_difference(const std::vector<float>& a, const std::vector<float>& b, int vocab) {
  const std::size_t n = std::min(a.size(), b.size()), v = static_cast<std::size_t>(vocab);
  for (std::size_t at = 0; at < n; at += v)
    if (std::memcmp(a.data() + at, b.data() + at, v * sizeof(float)) != 0)
      return static_cast<std::int64_t>(at / v);
  return -1;
}

Check same(std::string name, const std::vector<float>& a, const std::vector<float>& b, int vocab) {
  const std::int64_t at = first_difference(a, b, vocab);
  const auto n = static_cast<std::int64_t>(std::min(a.size(), b.size())) / vocab;
  return {std::move(name),
          at < 0 ? fmt::format("logits of {} positions equal to the bit", n)
                 : fmt::format("logits differ from position {} on", at),
          at < 0};
}

Check values_check(const Model& m, kernels::ThreadPool& pool, const Progress& progress) {
  const Values v = read_values(m.weights->checkpoint, pool, progress);
  const std::size_t tensors = m.weights->checkpoint.entries().size();
  if (v.bad == 0)
    return {
        "values",
        fmt::format("{} tensors, {} bytes, all finite; digest {:016x}", tensors, v.bytes, v.digest),
        true};
  return {"values",
          fmt::format("{} values are not finite, the first {}; fetch that file again", v.bad,
                      v.first_bad),
          false};
}

// Every byte of a file of tiles, used or not: one that is damaged or of other weights would be
// found out by nobody else.
Check tiles_check(const Model& m, const std::string& path, kernels::ThreadPool& pool,
                  const Progress& progress) {
  const auto tiles = open_tiles(*m.weights, path);
  if (!tiles) return {"tiles", tiles.error().message, false};
  if (const auto whole = check_tiles(*tiles, path, pool, progress); !whole)
    return {"tiles", whole.error().message, false};
  return {"tiles",
          fmt::format("{}: {} matrices, {} bytes, each as it was written", path,
                      tiles->slots.size(), tiles->file.bytes().size()),
          true};
}

Check drafts_check(Model& m, std::span<const Token> prompt) {
  Forward forward(*m.weights, /*exact=*/false, m.pool, kernels::best());
  std::vector<Token> text[2];
  DraftStats stats;
  for (const bool drafted : {false, true}) {
    ModelTimeline t(*m.weights, forward, static_cast<std::int64_t>(prompt.size()) + kDrawn + 1,
                    kChunk, {.mode = drafted ? Drafting::always : Drafting::off});
    if (const auto done = t.sync(prompt, {}, {}); !done)
      return {"drafted", done.error().message, false};
    for (int i = 0; i < kDrawn; ++i) {
      const auto token = t.next({.temperature = i % 2 ? 1.0f : 0.0f, .seed = 1}, nullptr);
      if (!token) return {"drafted", token.error().message, false};
      text[drafted].push_back(*token);
    }
    stats = t.drafts();
  }
  if (text[0] == text[1])
    return {"drafted",
            fmt::format("{} tokens the same with guesses evaluated ahead ({} of {} copied and {} "
                        "of {} guesses of the draft blocks right)",
                        kDrawn, stats.copy.accepted, stats.copy.drafted, stats.block.accepted,
                        stats.block.drafted),
            true};
  const auto at = std::mismatch(text[0].begin(), text[0].end(), text[1].begin()).first -
                  text[0].begin();
  return {"drafted",
          fmt::format("token {} of {} is another one with guesses evaluated ahead", at, kDrawn),
          false};
}

// ---- answers of somebody else

struct Vector {
  struct Likely {
    std::string bytes;
    double logprob;
  };
  struct Step {
    std::string chosen;
    std::vector<Likely> top;
  };
  std::string id, prompt;
  std::int64_t n_prompt = 0;  // tokens the other engine counted; 0: not said
  bool thinking = false;
  std::vector<Step> steps;
};

std::string in_quotes(std::string_view bytes) {
  return nlohmann::json(bytes).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Result<Vector> read_vector(const std::string& path) {
  const auto malformed = [&](std::string why) {
    return tl::unexpected(Error{Errc::malformed, fmt::format("read {}: {}", path, why)});
  };
  std::error_code ec;
  if (const auto size = fs::file_size(path, ec); ec || size > kVectorBytesMax)
    return malformed("unreadable, or larger than 16 MB");
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  const auto json = nlohmann::json::parse(text.str(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return malformed("not a JSON object");
  try {
    Vector v;
    v.id = json.at("id").get<std::string>();
    v.prompt = json.at("prompt").get<std::string>();
    v.n_prompt = json.value("/usage/prompt_tokens"_json_pointer, std::int64_t{0});
    v.thinking = json.value("/request/thinking/type"_json_pointer, std::string()) == "enabled";
    const auto bytes = [](const nlohmann::json& token) {
      std::string out;
      for (const auto& b : token.at("bytes")) out += static_cast<char>(b.get<int>());
      return out;
    };
    for (const auto& step : json.at("steps")) {
      Vector::Step s{bytes(step.at("token")), {}};
      for (const auto& likely : step.at("top_logprobs"))
        s.top.push_back({bytes(likely.at("token")), likely.at("logprob").get<double>()});
      v.steps.push_back(std::move(s));
    }
    return v;
  } catch (const nlohmann::json::exception& e) {
    std::string_view why = e.what();
    if (const auto at = why.find("] "); at != std::string_view::npos) why.remove_prefix(at + 2);
    return malformed(fmt::format(
        "{}; expected an object of id, prompt and steps, each step with a token and top_logprobs",
        why));
  }
}

std::vector<Token> prompt_of(const Tokenizer& tokenizer, const Vector& v) {
  return tokenizer.encode(
      std::vector<Segment>{{std::string(kBos), true},
                           {std::string(kUser), true},
                           {v.prompt, false},
                           {std::string(kAssistant), true},
                           {std::string(v.thinking ? kThink : kThinkEnd), true}});
}
std::int64_t context_of(const Tokenizer& tokenizer, const Vector& v) {
  return static_cast<std::int64_t>(prompt_of(tokenizer, v).size() + v.steps.size()) + 1;
}

// The chosen tokens must be our likeliest, one after the other; the log-probabilities of what is at
// all likely must be near.
Check vector_check(std::string name, Timeline& t, const Tokenizer& tokenizer, const Vector& v) {
  Check check{std::move(name), "", false};
  const std::vector<Token> prompt = prompt_of(tokenizer, v);
  if (v.n_prompt != 0 && v.n_prompt != static_cast<std::int64_t>(prompt.size())) {
    check.detail = fmt::format("the prompt has {} tokens here and {} there: another tokenizer",
                               prompt.size(), v.n_prompt);
    return check;
  }
  if (const auto done = t.sync(prompt, {}, {}); !done) {
    check.detail = done.error().message;
    return check;
  }
  double worst = 0;
  for (std::size_t i = 0; i < v.steps.size(); ++i) {
    const auto token = t.next({.temperature = 0}, nullptr);
    if (!token) {
      check.detail = token.error().message;
      return check;
    }
    const Logprobs ours = t.logprobs(kLogprobsMax);
    for (const auto& [bytes, logprob] : v.steps[i].top) {
      if (logprob < kLogprobFloor) continue;
      const auto at = std::find_if(ours.top.begin(), ours.top.end(), [&](const auto& p) {
        return tokenizer.bytes(p.first) == bytes;
      });
      worst = std::max(worst,
                       at == ours.top.end() ? -kLogprobFloor : std::abs(at->second - logprob));
    }
    if (tokenizer.bytes(*token) != v.steps[i].chosen) {
      check.detail = fmt::format("token {} is {} here and {} there", i,
                                 in_quotes(tokenizer.bytes(*token)), in_quotes(v.steps[i].chosen));
      return check;
    }
  }
  check.passed = worst <= kLogprobNear;
  check.detail = fmt::format(
      "{} tokens after {} the same, log-probabilities within {:.2f} (may be {:.1f})",
      v.steps.size(), prompt.size(), worst, kLogprobNear);
  return check;
}

}  // namespace

Result<bool> verify(const VerifyRequest& r, const Progress& progress,
                    const std::function<void(const Check&)>& done) {
  if (r.n_tokens < 2 || r.n_tokens > kVerifyTokensMax)
    return tl::unexpected(
        Error{Errc::bad_argument, fmt::format("verify {}: {} tokens are not within 2 to {}",
                                              r.directory, r.n_tokens, kVerifyTokensMax)});
  if (!r.device.empty())
    if (const auto there = check_device(r.device); !there) return tl::unexpected(there.error());
  std::vector<Vector> vectors;
  if (!r.vectors.empty()) {
    std::vector<std::string> paths;
    std::error_code ec;
    for (const auto& file : fs::directory_iterator(r.vectors, ec))
      if (file.path().string().ends_with(".official.json")) paths.push_back(file.path());
    if (ec)
      return tl::unexpected(
          Error{Errc::bad_argument,
                fmt::format("verify {} --vectors {}: {}", r.directory, r.vectors, ec.message())});
    if (paths.empty())
      return tl::unexpected(
          Error{Errc::bad_argument,
                fmt::format("verify {}: {} holds no *.official.json", r.directory, r.vectors)});
    std::sort(paths.begin(), paths.end());
    for (const auto& path : paths) {
      auto v = read_vector(path);
      if (!v) return tl::unexpected(v.error());
      vectors.push_back(std::move(*v));
    }
  }
  auto weights = load_weights(r.directory, {});
  if (!weights) return tl::unexpected(weights.error());
  Model m(std::move(*weights), r.threads);
  bool all = true;
  const auto report = [&](const Check& check) {
    all = all && check.passed;
    done(check);
  };
  report(values_check(m, m.pool, progress));
  const auto tiles = tiles_paths(m.weights->checkpoint, r.tiles_directory);
  for (const std::string& path : tiles)
    if (std::error_code ec; fs::exists(path, ec)) report(tiles_check(m, path, m.pool, progress));

  const int vocab = m.config().vocab_size;
  std::vector<Token> prompt;
  for (std::uint32_t x = 1; static_cast<int>(prompt.size()) < r.n_tokens;) {
    x = x * 1664525u + 1013904223u;  // text that repeats itself now and then, as real text does
    prompt.push_back(prompt.size() >= 24 && x >> 29 != 0
                         ? prompt[prompt.size() - 24]
                         : static_cast<Token>((x >> 8) % static_cast<unsigned>(vocab)));
  }
  const auto n = static_cast<int>(prompt.size());
  const std::vector<float> whole = logits_of(m, m.pool, kernels::best(), prompt, n);
  const bool finite = std::all_of(whole.begin(), whole.end(),
                                  [](float x) { return std::isfinite(x); });
  report(
      {"logits", finite ? fmt::format("finite after each of {} tokens", n) : "not finite", finite});
  report(same(fmt::format("in chunks of {}", kOddChunk), whole,
              logits_of(m, m.pool, kernels::best(), prompt, kOddChunk), vocab));
  report(same("token by token", whole, logits_of(m, m.pool, kernels::best(), prompt, 1), vocab));
  kernels::ThreadPool alone(1), crowd(m.pool.size() + 1);
  report(same("on one thread", whole, logits_of(m, alone, kernels::best(), prompt, n), vocab));
  report(same(fmt::format("on {} threads", crowd.size()), whole,
              logits_of(m, crowd, kernels::best(), prompt, n), vocab));
  const std::span<const Token> few(prompt.data(),
                                   static_cast<std::size_t>(std::min(n, kTokensPlain)));
  for (const kernels::Kernels* row : kernels::rows())
    if (row->available() && row != &kernels::best())
      report(same(fmt::format("kernels {} for {}", row->name, kernels::best().name), whole,
                  logits_of(m, m.pool, *row, few, kTokensPlain), vocab));
  std::vector<std::string> unused;
  const auto repacked = repacked_bytes(*m.weights) <= kRepackMemoryMax
                            ? m.repacked.build(*m.weights, m.pool, {})
                            : m.repacked.map_first(*m.weights, tiles, unused);
  if (repacked)
    report(same("repacked", whole, logits_of(m, m.pool, kernels::best(), prompt, n), vocab));
  else if (repacked.error().code != Errc::not_found)
    report({"repacked", repacked.error().message, false});
  report(drafts_check(m, prompt));

  std::unique_ptr<Tokenizer> tokenizer;
  std::int64_t n_context = n + kDrawn + 1;
  if (!vectors.empty()) {
    auto read = Tokenizer::from_file(r.directory + "/tokenizer.json");
    if (!read) return tl::unexpected(read.error());
    tokenizer = std::move(*read);
    Forward forward(*m.weights, /*exact=*/false, m.pool, kernels::best());
    for (const Vector& v : vectors) {
      n_context = std::max(n_context, context_of(*tokenizer, v));
      ModelTimeline t(*m.weights, forward, context_of(*tokenizer, v));
      report(vector_check("official: " + v.id, t, *tokenizer, v));
    }
  }
  if (r.device.empty()) return all;
  const auto engine = load_on({r.device, r.gpu_memory, r.tiles_directory},
                              {.directory = r.directory,
                               .n_threads = r.threads,
                               .n_context = n_context,
                               .memory = r.memory,
                               .text = false},
                              progress);
  if (!engine) return tl::unexpected(engine.error());
  if (const std::string fault = device_fault((*engine)->info()); !fault.empty())
    report({r.device + ": both ways of multiplying", fault, false});
  check_engine(**engine, r.device, prompt, whole, report);
  for (const Vector& v : vectors)
    report(vector_check(fmt::format("{}: official: {}", r.device, v.id), *(*engine)->timeline(),
                        *tokenizer, v));
  return all;
}

}  // namespace lares::engine
