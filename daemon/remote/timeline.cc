#include "daemon/remote/timeline.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <deque>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "daemon/remote/remote.h"

namespace lares::daemon {
namespace {

using engine::Errc;
using engine::Error;
using engine::Result;
using engine::Token;
using Finish = CompletionPiece::Finish;

constexpr std::string_view kCompletions = "/v1/completions";
constexpr std::chrono::milliseconds kUsageWait{2'000};  // for what follows the last token
// a draw that was not allowed says nothing of the one in its place
constexpr std::uint64_t kOtherSeed = 0xd1342543de82ef95;

class RemotePrefix final : public engine::Prefix {
 public:
  RemotePrefix(std::shared_ptr<const Token[]> tokens, std::size_t n)
      : tokens_(std::move(tokens)), n_(n) {}
  std::span<const Token> tokens() const override { return {tokens_.get(), n_}; }
  std::int64_t n_pages() const override { return 0; }  // the server has them, or evaluates again
  std::span<const std::uint8_t> page(std::int64_t) const override { return {}; }
  std::span<const std::uint8_t> frontier() const override { return {}; }

 private:
  std::shared_ptr<const Token[]> tokens_;
  std::size_t n_;
};

bool allows(const engine::TokenMask& mask, Token token) {
  const auto at = static_cast<std::size_t>(token);
  return at / 64 < mask.size() && (mask[at / 64] >> (at % 64) & 1) != 0;
}

std::optional<Token> only_one(const engine::TokenMask& mask) {
  int n = 0;
  for (const std::uint64_t word : mask)
    if ((n += std::popcount(word)) > 1) return std::nullopt;
  return n == 1 ? std::optional(allowed_ids(mask).front()) : std::nullopt;
}

}  // namespace

class RemoteTimeline::Draws {
 public:
  static Result<std::unique_ptr<Draws>> open(const RemoteModel& model, const CompletionAsked& asked,
                                             std::string_view what, const std::stop_token& stop) {
    CompletionAsked taken = asked;
    const auto& lacks = model.server->lacks();
    if (lacks.min_p) taken.sampling.min_p = 0;
    if (lacks.logprobs) taken.n_logprobs = 0;
    auto stream = model.server->stream(what, std::string(kCompletions),
                                       completion_body(model.name, taken), stop);
    if (!stream) return tl::unexpected(std::move(stream.error()));
    return std::unique_ptr<Draws>(new Draws(model, asked, std::move(*stream)));
  }
  // Whether they go on as is wanted now.
  bool serve(const engine::Sampling& sampling, int n_logprobs) const {
    return sampling_ == sampling && n_logprobs_ >= n_logprobs;
  }

  bool over() const { return ready_.empty() && finish_ != Finish::none; }
  // nullopt: it is over.
  Result<std::optional<DrawnToken>> next(const std::stop_token& stop) {
    while (ready_.empty() && finish_ == Finish::none) {
      const auto silence = model_.server->silence_max();
      auto piece = read(stop, last_ ? std::min(silence, kPauseMax) : silence);
      if (!piece) return tl::unexpected(std::move(piece.error()));
      std::ranges::move(piece->tokens, std::back_inserter(ready_));
      finish_ = piece->finish;
      // An end that the server does not count among the tokens is one all the same.
      if (finish_ == Finish::stop && model_.eos &&
          (ready_.empty() ? last_ != model_.eos : ready_.back().id != *model_.eos))
        ready_.push_back({*model_.eos});
    }
    if (ready_.empty()) return std::nullopt;
    auto token = std::move(ready_.front());
    ready_.pop_front();
    last_ = token.id;
    return token;
  }

  // How many of the prompt's tokens the server had; after all tokens, which usage follows. nullopt:
  // it does not say.
  std::optional<std::int64_t> n_cached(const std::stop_token& stop) {
    while (!n_cached_ && read(stop, kUsageWait)) {
    }
    return n_cached_;
  }

 private:
  Draws(const RemoteModel& model, const CompletionAsked& asked,
        std::unique_ptr<RemoteStream> stream)
      : model_(model),
        sampling_(asked.sampling),
        n_logprobs_(asked.n_logprobs),
        stream_(std::move(stream)) {}

  Result<CompletionPiece> read(const std::stop_token& stop, std::chrono::milliseconds silence_max) {
    auto event = stream_->next(stop, silence_max);
    if (!event) return tl::unexpected(std::move(event.error()));
    if (!*event || **event == "[DONE]")
      return tl::unexpected(Error{
          Errc::malformed,
          fmt::format("draw a token: {} ended its answer in the middle", model_.server->name())});
    auto piece = completion_piece(**event, model_.vocab_size);
    if (piece && piece->n_cached) n_cached_ = piece->n_cached;
    return piece;
  }

  const RemoteModel& model_;
  const engine::Sampling sampling_;
  const int n_logprobs_;
  std::unique_ptr<RemoteStream> stream_;
  std::deque<DrawnToken> ready_;
  std::optional<Token> last_;
  std::optional<std::int64_t> n_cached_;
  Finish finish_ = Finish::none;
};

// What to do about something that went wrong.
class RemoteTimeline::Tries {
 public:
  Tries(const RemoteModel& model, const engine::Sampling& sampling, int n_logprobs,
        const std::stop_token& stop)
      : model_(model), min_p_(sampling.min_p > 0), logprobs_(n_logprobs > 0), stop_(stop) {}

  void begin() { began_ = Clock::now(); }
  // True: once more. False: `error` is to be told. `refused`: the request itself, for which the
  // server was asked often enough.
  bool again(Error& error, bool refused) {
    if (error.code == Errc::cancelled || error.code == Errc::unsupported) return false;
    auto& lacks = model_.server->lacks();
    if (min_p_ && gave_up("min_p", lacks.min_p, error)) return true;
    if (logprobs_ && gave_up("logprobs", lacks.logprobs, error)) return true;
    if (refused) return false;
    const bool silent = Clock::now() - began_ >=
                        std::min<Clock::duration>(kPauseMax, model_.server->silence_max());
    n_ += silent ? 2 : 1;
    if (n_ >= kRemoteTries) {
      if (n_ > 1 && !silent)
        error.message += fmt::format("; tried {} times; its own log says more", n_);
      return false;
    }
    if (model_.server->wait_before(n_, stop_)) return true;
    error = {Errc::cancelled, "draw a token: stopped"};
    return false;
  }

 private:
  using Clock = std::chrono::steady_clock;
  // What vLLM with speculative decoding cannot do. Another thread may have learnt it meanwhile.
  bool gave_up(std::string_view what, std::atomic<bool>& lacks, const Error& error) {
    if (error.message.find(what) == std::string::npos || n_given_up_ == 2) return false;
    ++n_given_up_;
    return lacks = true;
  }
  const RemoteModel& model_;
  const bool min_p_, logprobs_;
  const std::stop_token stop_;
  Clock::time_point began_ = Clock::now();
  int n_ = 0, n_given_up_ = 0;
};

RemoteTimeline::RemoteTimeline(const RemoteModel& model, const engine::PrefixRef& from)
    : model_(model), tape_(static_cast<std::size_t>(model.n_context_max)) {
  if (!from) return;
  tape_.assign(from->tokens());
  n_evaluated_ = from->tokens().size();
}

RemoteTimeline::~RemoteTimeline() = default;

Result<std::int64_t> RemoteTimeline::sync(std::span<const Token> prompt, std::stop_token stop,
                                          const engine::Progress& progress) {
  constexpr std::string_view kWhat = "evaluate the prompt";
  if (static_cast<std::int64_t>(prompt.size()) > model_.n_context_max)
    return tl::unexpected(Error{
        Errc::too_long, fmt::format("{}: {} tokens are more than the {} of the context of {}; "
                                    "leave out some of it",
                                    kWhat, prompt.size(), model_.n_context_max, model_.name)});
  if (stop.stop_requested())
    return tl::unexpected(Error{Errc::cancelled, fmt::format("{}: stopped", kWhat)});
  const auto held = tape_.tokens();
  const auto common =
      static_cast<std::size_t>(std::ranges::mismatch(held, prompt).in1 - held.begin());
  if (common != held.size() || common != prompt.size()) draws_.reset();
  n_evaluated_ = std::min(n_evaluated_, common);
  auto n = static_cast<std::int64_t>(prompt.size() - common);
  const bool full = static_cast<std::int64_t>(prompt.size()) == model_.n_context_max;
  if (static_cast<std::int64_t>(prompt.size() - n_evaluated_) >= kEvaluatedFrom && !full) {
    engine::Sampling greedy;
    greedy.temperature = 0;
    std::optional<std::int64_t> n_cached;
    const auto one = drawn_once({.prompt = prompt, .sampling = greedy}, kWhat, stop, &n_cached);
    if (!one) return tl::unexpected(one.error());
    n_evaluated_ = prompt.size();
    n = std::clamp(static_cast<std::int64_t>(prompt.size()) - n_cached.value_or(0), std::int64_t{0},
                   n);
  }
  tape_.assign(prompt);
  if (progress) progress(n, n);
  return n;
}

// One token, by a request of its own.
Result<DrawnToken> RemoteTimeline::drawn_once(const CompletionAsked& asked, std::string_view what,
                                              const std::stop_token& stop,
                                              std::optional<std::int64_t>* n_cached) const {
  for (Tries tries(model_, asked.sampling, asked.n_logprobs, stop);;) {
    tries.begin();
    auto one = Draws::open(model_, asked, what, stop);
    Error error;
    if (one) {
      auto token = (*one)->next(stop);
      if (token && *token) {
        if (n_cached) *n_cached = (*one)->n_cached(stop);
        return std::move(**token);
      }
      error = token ? Error{Errc::malformed,
                            fmt::format("{}: {} gave no token", what, model_.server->name())}
                    : std::move(token.error());
    } else {
      error = std::move(one.error());
    }
    if (!tries.again(error, /*refused=*/!one)) return tl::unexpected(std::move(error));
  }
}

// The next of those that come ahead. A stream that breaks is begun again where it broke.
Result<DrawnToken> RemoteTimeline::drawn(const engine::Sampling& sampling) {
  if (draws_ && !draws_->serve(sampling, n_logprobs_)) draws_.reset();
  for (Tries tries(model_, sampling, n_logprobs_, stop_);;) {
    tries.begin();
    Error error;
    if (!draws_) {
      const auto room = model_.n_context_max - static_cast<std::int64_t>(tape_.tokens().size());
      auto begun = Draws::open(model_,
                               {.prompt = tape_.tokens(),
                                .tokens_max = std::min(kDrawnAheadMax, room),
                                .sampling = sampling,
                                .n_logprobs = n_logprobs_},
                               "draw a token", stop_);
      if (begun) {
        draws_ = std::move(*begun);
        n_evaluated_ = tape_.tokens().size();
      } else {
        error = std::move(begun.error());
      }
    }
    const bool refused = !draws_;
    if (!refused) {
      auto token = draws_->next(stop_);
      if (!token || !*token || draws_->over()) draws_.reset();
      if (token && *token) return std::move(**token);
      error = token ? Error{Errc::malformed,
                            fmt::format("draw a token: {} gave none", model_.server->name())}
                    : std::move(token.error());
    }
    if (!tries.again(error, refused)) return tl::unexpected(std::move(error));
  }
}

Result<DrawnToken> RemoteTimeline::drawn_from(const engine::Sampling& sampling,
                                              const engine::TokenMask& mask) {
  draws_.reset();
  engine::Sampling other = sampling;
  other.seed ^= kOtherSeed;
  auto token = drawn_once({.prompt = tape_.tokens(),
                           .sampling = other,
                           .allowed = allowed_ids(mask),
                           .n_logprobs = n_logprobs_},
                          "draw a token", stop_);
  if (token && !allows(mask, token->id))
    return tl::unexpected(Error{
        Errc::unsupported, fmt::format("draw a token: {} drew what allowed_token_ids did not allow",
                                       model_.server->name())});
  return token;
}

Result<Token> RemoteTimeline::next(const engine::Sampling& sampling,
                                   const engine::TokenMask* mask) {
  if (tape_.full())
    return tl::unexpected(Error{Errc::too_long, fmt::format("draw a token: the context of {} "
                                                            "tokens is full",
                                                            model_.n_context_max)});
  logprobs_ = {};
  Result<DrawnToken> token = tl::unexpected(Error{});
  if (const auto forced = mask ? only_one(*mask) : std::nullopt; forced && !draws_) {
    token = DrawnToken{*forced};  // nothing to ask for
  } else {
    token = drawn(sampling);
    if (token && forced && token->id != *forced) {
      draws_.reset();
      token = DrawnToken{*forced};
    } else if (token && mask && !allows(*mask, token->id)) {
      token = drawn_from(sampling, *mask);
    }
  }
  if (!token) return tl::unexpected(std::move(token.error()));
  logprobs_ = std::move(token->logprobs);
  tape_.push(token->id);
  return token->id;
}

engine::Logprobs RemoteTimeline::logprobs(int n) const {
  engine::Logprobs out = logprobs_;
  if (static_cast<int>(out.top.size()) > n) out.top.resize(static_cast<std::size_t>(n));
  return out;
}

engine::PrefixRef RemoteTimeline::prefix(std::int64_t n_tokens) const {
  const auto n = static_cast<std::size_t>(n_tokens);
  if (n_tokens <= 0 || n > tape_.tokens().size()) return nullptr;
  return std::make_shared<RemotePrefix>(tape_.share(n), n);
}

}  // namespace lares::daemon
