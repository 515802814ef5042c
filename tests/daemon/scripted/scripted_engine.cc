#include "tests/daemon/scripted/scripted_engine.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <span>
#include <string_view>
#include <thread>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/chat.h"

namespace lares::daemon {
namespace {

using engine::Token;

constexpr int kBytes = 256;
constexpr std::array<std::string_view, 10> kAdded = {
    engine::kBos,      engine::kEos,  engine::kUser,     engine::kAssistant, engine::kThink,
    engine::kThinkEnd, engine::kDsml, "<｜fim▁begin｜>", "<｜fim▁hole｜>",   "<｜fim▁end｜>"};

class ByteTokenizer final : public engine::Tokenizer {
 public:
  explicit ByteTokenizer(int shift = 0) : shift_(shift) {
    for (int b = 0; b < kBytes; ++b) bytes_.push_back(static_cast<char>(b + shift));
  }
  void encode(std::string_view text, bool added, std::vector<Token>& out) const override {
    while (!text.empty()) {
      std::size_t n = 0;
      for (std::size_t k = 0; added && k < kAdded.size(); ++k) {
        if (!text.starts_with(kAdded[k])) continue;
        out.push_back(kBytes + static_cast<Token>(k));
        n = kAdded[k].size();
        break;
      }
      if (n == 0) {
        out.push_back((static_cast<unsigned char>(text[0]) + kBytes - shift_) % kBytes);
        n = 1;
      }
      text.remove_prefix(n);
    }
  }
  std::vector<Token> encode(const std::vector<engine::Segment>& segments) const override {
    std::vector<Token> out;
    for (const auto& s : segments) encode(s.text, s.trusted, out);
    return out;
  }
  int vocab_size() const override { return kBytes + static_cast<int>(kAdded.size()); }
  std::string_view bytes(Token id) const override {
    if (id < kBytes) return std::string_view(bytes_).substr(static_cast<std::size_t>(id), 1);
    return kAdded.at(static_cast<std::size_t>(id - kBytes));
  }
  std::optional<Token> added(std::string_view text) const override {
    for (std::size_t k = 0; k < kAdded.size(); ++k) {
      if (kAdded[k] == text) return kBytes + static_cast<Token>(k);
    }
    return std::nullopt;
  }

 private:
  const int shift_;
  std::string bytes_;
};

}  // namespace

// Tokens alone.
class ScriptedPrefix final : public engine::Prefix {
 public:
  explicit ScriptedPrefix(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}
  std::span<const Token> tokens() const override { return tokens_; }
  std::int64_t n_pages() const override { return 0; }
  std::span<const std::uint8_t> page(std::int64_t) const override { return {}; }
  std::span<const std::uint8_t> frontier() const override { return {}; }

 private:
  std::vector<Token> tokens_;
};

class ScriptedTimeline final : public engine::Timeline {
 public:
  explicit ScriptedTimeline(ScriptedEngine& engine, const engine::PrefixRef& from = nullptr)
      : engine_(engine) {
    if (from) tokens_.assign(from->tokens().begin(), from->tokens().end());
    evaluated_ = tokens_.size();
  }

  std::span<const Token> tokens() const override { return tokens_; }

  engine::Result<std::int64_t> sync(std::span<const Token> prompt, std::stop_token stop,
                                    const engine::Progress& progress) override {
    if (engine_.info_.n_chunk > 0) {
      auto evaluated = evaluate(prompt, stop);
      if (evaluated) progress_to(progress, *evaluated);
      return evaluated;
    }
    const auto common =
        std::mismatch(tokens_.begin(), tokens_.end(), prompt.begin(), prompt.end()).first -
        tokens_.begin();
    tokens_.assign(prompt.begin(), prompt.end());
    // Behind anything but these nobody is asked to speak yet: the prompt goes on.
    const std::string_view last = prompt.empty() ? "" : engine_.tokenizer().bytes(prompt.back());
    play_taken_ = last == engine::kThink || last == engine::kThinkEnd;
    if (play_taken_) {
      if (auto taken = take_play(); !taken) return tl::unexpected(std::move(taken.error()));
    }
    if (play_taken_ && play_.fail_sync >= 0)
      return tl::unexpected(engine::Error{play_.fails_with, "the script fails here"});
    if (stop.stop_requested())
      return tl::unexpected(engine::Error{engine::Errc::cancelled, "cancelled"});
    const auto n = static_cast<std::int64_t>(prompt.size()) - common;
    count(prompt, n);
    progress_to(progress, n);
    return n;
  }

  engine::PrefixRef prefix(std::int64_t n_tokens) const override {
    const auto n = static_cast<std::size_t>(n_tokens);
    if (engine_.info_.n_chunk == 0 || n_tokens <= 0 || n > evaluated_ ||
        (n != evaluated_ && n % kReturnsTo != 0))
      return nullptr;
    return std::make_shared<ScriptedPrefix>(
        std::vector<Token>(tokens_.begin(), tokens_.begin() + n_tokens));
  }

  engine::Result<Token> next(const engine::Sampling&, const engine::TokenMask* mask) override {
    if (!play_taken_) {
      if (auto taken = take_play(); !taken) return tl::unexpected(std::move(taken.error()));
    }
    evaluated_ = tokens_.size();
    if (play_.before_token) play_.before_token(at_);
    if (at_ == play_.fail_at ||
        (play_.fails_at_end && at_ == static_cast<std::int64_t>(said_.size())))
      return tl::unexpected(engine::Error{play_.fails_with, "the script fails here"});
    Token wanted = *engine_.tokenizer().added(engine::kEos);
    if (play_.open_ended)
      wanted = said_[static_cast<std::size_t>(at_) % said_.size()];
    else if (at_ < static_cast<std::int64_t>(said_.size()))
      wanted = said_[static_cast<std::size_t>(at_)];
    const auto allowed = [&](Token t) {
      return !mask || ((*mask)[static_cast<std::size_t>(t) / 64] >> (t % 64) & 1) != 0;
    };
    if (!allowed(wanted)) {
      const std::lock_guard lock(engine_.mutex_);
      ++engine_.n_masked_;
      wanted = 0;
      while (!allowed(wanted)) ++wanted;
    } else {
      ++at_;
    }
    tokens_.push_back(wanted);
    if (engine_.keeps_syncs_) {
      const std::lock_guard lock(engine_.mutex_);
      if (!engine_.syncs_.empty()) engine_.syncs_.back().drawn.push_back(wanted);
    }
    return wanted;
  }

  engine::Logprobs logprobs(int) const override {
    engine::Logprobs out{0, {{tokens_.back(), 0}}};
    const auto other = play_.others.find(at_ - 1);
    if (other == play_.others.end()) return out;
    const float drawn = std::log(1 - std::exp(other->second.second));
    return {
        drawn,
        {{tokens_.back(), drawn},
         {engine_.tokenizer().encode(other->second.first, true).front(), other->second.second}}};
  }

 private:
  static constexpr std::size_t kReturnsTo = 128;
  static void progress_to(const engine::Progress& progress, std::int64_t n) {
    if (progress) progress(n, n);
  }

  engine::Result<std::int64_t> evaluate(std::span<const Token> prompt,
                                        const std::stop_token& stop) {
    if (engine_.before_chunk_) engine_.before_chunk_(static_cast<std::int64_t>(prompt.size()));
    if (stop.stop_requested())
      return tl::unexpected(engine::Error{engine::Errc::cancelled, "cancelled"});
    tokens_.resize(evaluated_);
    const auto common = static_cast<std::size_t>(
        std::mismatch(tokens_.begin(), tokens_.end(), prompt.begin(), prompt.end()).first -
        tokens_.begin());
    const std::size_t begin = common == evaluated_ && common < prompt.size()
                                  ? common
                                  : std::min(common, prompt.size() - 1) / kReturnsTo * kReturnsTo;
    tokens_.assign(prompt.begin(), prompt.end());
    evaluated_ = tokens_.size();
    play_taken_ = false;
    const auto n = static_cast<std::int64_t>(prompt.size() - begin);
    count(prompt, n);
    return n;
  }

  void count(std::span<const Token> prompt, std::int64_t n_evaluated) {
    const std::lock_guard lock(engine_.mutex_);
    engine_.n_evaluated_ += n_evaluated;
    if (engine_.keeps_syncs_)
      engine_.syncs_.push_back({{prompt.begin(), prompt.end()}, n_evaluated, {}});
  }

  engine::Result<> take_play() {
    play_taken_ = true;
    if (engine_.director_) {
      play_ = engine_.director_(engine_.tokenizer().decode(tokens_));
    } else {
      const std::lock_guard lock(engine_.mutex_);
      engine_.prompts_.push_back(engine_.tokenizer().decode(tokens_));
      ++step_;
      const auto next = std::ranges::find_if(
          engine_.plays_, [&](const Play& play) { return play.step == 0 || play.step == step_; });
      if (next == engine_.plays_.end())
        return tl::unexpected(
            engine::Error{engine::Errc::malformed, "the script has no more answers"});
      play_ = std::move(*next);
      engine_.plays_.erase(next);
    }
    said_ = engine_.tokenizer().encode(play_.text, true);
    at_ = 0;
    if (play_.at_sync) play_.at_sync();
    return {};
  }

  ScriptedEngine& engine_;
  std::vector<Token> tokens_, said_;
  Play play_;
  int step_ = 0;
  std::int64_t at_ = 0;
  std::size_t evaluated_ = 0;  // in chunks: all but what was drawn last
  bool play_taken_ = true;
};

ScriptedEngine::ScriptedEngine(std::deque<Play> plays, std::int64_t n_context)
    : tokenizer_(std::make_unique<ByteTokenizer>()), plays_(std::move(plays)) {
  info_.directory = "scripted", info_.model_type = "scripted";
  info_.vocab_size = tokenizer_->vocab_size(), info_.n_context_max = n_context;
}

ScriptedEngine::ScriptedEngine(Director director, std::int64_t n_context)
    : ScriptedEngine(std::deque<Play>(), n_context) {
  director_ = std::move(director);
}

ScriptedEngine::~ScriptedEngine() = default;

Play said_by_prompt(std::string_view prompt) {
  constexpr std::string_view kBegin = "[[say ", kEnd = "]]\n";
  const Play done{.text = "hm</think>Done."};
  const std::size_t at = prompt.rfind(kBegin);
  if (at == std::string_view::npos) return done;
  const std::string_view from = prompt.substr(at + kBegin.size());
  const auto answers = nlohmann::json::parse(from.substr(0, from.find(kEnd)), nullptr,
                                             /*allow_exceptions=*/false);
  std::size_t n = 0;  // that were given
  for (std::size_t next = from.find(engine::kAssistant); next != std::string_view::npos;
       next = from.find(engine::kAssistant, next + 1))
    ++n;
  if (!answers.is_array() || n == 0 || n > answers.size()) return done;
  const auto& answer = answers[n - 1];
  if (answer.is_string()) return {.text = answer.get<std::string>()};
  Play play{.text = answer.at("text").get<std::string>()};
  const std::chrono::microseconds pause(answer.value("us", 0));
  play.before_token = [pause](std::int64_t) { std::this_thread::sleep_for(pause); };
  return play;
}

std::unique_ptr<engine::Timeline> ScriptedEngine::timeline() {
  return std::make_unique<ScriptedTimeline>(*this);
}

std::unique_ptr<engine::Timeline> ScriptedEngine::timeline(engine::PrefixRef from) {
  return std::make_unique<ScriptedTimeline>(*this, from);
}

void ScriptedEngine::use_another_vocabulary() {
  tokenizer_ = std::make_unique<ByteTokenizer>(/*shift=*/1);
}

void ScriptedEngine::evaluate_in_chunks(std::int64_t n_chunk,
                                        std::function<void(std::int64_t)> before_chunk) {
  info_.n_chunk = n_chunk;
  before_chunk_ = std::move(before_chunk);
}

std::int64_t ScriptedEngine::n_evaluated() const {
  const std::lock_guard lock(mutex_);
  return n_evaluated_;
}

std::vector<std::string> ScriptedEngine::prompts() const {
  const std::lock_guard lock(mutex_);
  return prompts_;
}

std::size_t ScriptedEngine::n_left() const {
  const std::lock_guard lock(mutex_);
  return plays_.size();
}

std::vector<ScriptedEngine::Sync> ScriptedEngine::syncs() const {
  const std::lock_guard lock(mutex_);
  return syncs_;
}

std::size_t ScriptedEngine::n_syncs() const {
  const std::lock_guard lock(mutex_);
  return syncs_.size();
}

int ScriptedEngine::n_masked() const {
  const std::lock_guard lock(mutex_);
  return n_masked_;
}

std::string scripted_call(const std::string& tool,
                          const std::vector<std::pair<std::string, std::string>>& arguments) {
  std::string out = "<｜DSML｜invoke name=\"" + tool + "\">\n";
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (i > 0) out += '\n';
    out += "<｜DSML｜parameter name=\"" + arguments[i].first + "\" string=\"true\">" +
           arguments[i].second + "</｜DSML｜parameter>";
  }
  return out + "\n</｜DSML｜invoke>";
}

std::string scripted_calls(const std::vector<std::string>& calls) {
  std::string out = "\n\n<｜DSML｜tool_calls>\n";
  for (const auto& call : calls) out += call + "\n";
  return out + "</｜DSML｜tool_calls>";
}

}  // namespace lares::daemon
