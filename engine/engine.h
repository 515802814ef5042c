// The model as the daemon sees it: token ids in, token ids out. Nothing here knows agents, tools or
// sockets.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <tl/expected.hpp>

namespace lares::engine {

using Token = std::int32_t;

enum class Errc {
  not_found,    // a file or directory is missing
  malformed,    // a file is not what it claims to be
  unsupported,  // well-formed, but not something this engine runs
  too_long,     // the prompt does not fit the context, or the memory, whoever else ends
  no_memory,    // arithmetic says it cannot fit; of a prompt: now
  cancelled,    // the caller's stop token fired
  bad_argument,
};
struct Error {
  Errc code;
  std::string message;  // what was attempted, on what, why it failed, what to do
};
template <class T = void>
using Result = tl::expected<T, Error>;

class Tokenizer;  // engine/tokenizer.h

// How to draw the next token. temperature 0 is argmax (ties to the lowest id). Applied in this
// order: the penalties, the mask, temperature, top_k, top_p, min_p; each of the last three looks at
// what the ones before it left.
struct Sampling {
  float temperature = 1.0f;
  int top_k = 0;       // keep the k likeliest; 0: all
  float top_p = 1.0f;  // keep the likeliest until they hold this share of the probability
  float min_p = 0.0f;  // keep what is at least this share as likely as the likeliest
  // Hugging Face's: logits of tokens in the context, > 0 divided, < 0 multiplied
  float repetition_penalty = 1.0f;
  float presence_penalty = 0.0f;  // OpenAI's: off the logit of every token generated since the last
                                  // sync,
  float frequency_penalty = 0.0f;  // this once for each time it was
  // Draws are a function of (seed, position), the logits and, with penalties, the context alone
  std::uint64_t seed = 0;
  bool operator==(const Sampling&) const = default;
};

inline constexpr int kLogprobsMax = 20;
// Log-probabilities under the model itself: before penalties, mask, temperature and filters.
struct Logprobs {
  float drawn = 0;
  std::vector<std::pair<Token, float>> top;  // likeliest first, ties to the lowest id
};

// One bit per vocabulary id: 1 allows the token. [ceil(vocab / 64)] words.
using TokenMask = std::vector<std::uint64_t>;

// How far a long evaluation has come; tokens, not seconds. Called from the engine's thread.
using Progress = std::function<void(std::int64_t done, std::int64_t total)>;

// Tokens guessed ahead and evaluated together with the one that waits. Whether a guess is kept is
// exact: it never changes a draw.
enum class Drafting {
  off,
  automatic,  // as long as measured times and acceptance say it pays
  always,     // for tests and measurements
};
struct DraftStats {
  struct Source {
    std::int64_t drafted = 0, accepted = 0;  // tokens
  };
  Source copy, block;  // from the sequence itself, from the checkpoint's MTP or DSpark blocks
  std::int64_t evaluations = 0;  // for a draw, with or without guesses
};

// A beginning that sequences share: its tokens and what the model remembers of them, as bytes that
// only an engine of the same fingerprint understands. Never changes; any thread may read it.
class Prefix {
 public:
  virtual ~Prefix() = default;
  virtual std::span<const Token> tokens() const = 0;
  // Page i: the cells of tokens [i * page_tokens, (i + 1) * page_tokens), a function of the tokens
  // up to their last. The last page may be of fewer, with zeros behind.
  virtual std::int64_t n_pages() const = 0;
  virtual std::span<const std::uint8_t> page(std::int64_t i) const = 0;  // [page_bytes]
  // What the position at its end needs besides.
  virtual std::span<const std::uint8_t> frontier() const = 0;
};
using PrefixRef = std::shared_ptr<const Prefix>;

struct PrefixFormat {
  std::int64_t page_tokens = 0;  // 0: this engine shares no prefixes
  std::size_t page_bytes = 0;    // 0: the cells are elsewhere, and pages are tokens alone
  std::string fingerprint;  // of all that decides a cell's bits: weights, shape, numerics, formats
};

// Puts together a prefix out of bytes kept elsewhere, page by page.
class PrefixBuilder {
 public:
  virtual ~PrefixBuilder() = default;
  virtual std::span<std::uint8_t> add_page() = 0;  // to be filled
  // With the pages of all `tokens` and no more. `frontier`: what Prefix::frontier() gave for as
  // many tokens.
  virtual Result<PrefixRef> finish(std::vector<Token> tokens,
                                   std::vector<std::uint8_t> frontier) = 0;
};

// One sequence: its tokens, their KV cache, and the logits after the last of them.
// One thread at a time. All timelines of one engine share its thread pool, so run them one after
// another, unless ModelInfo::timelines_apart.
class Timeline {
 public:
  virtual ~Timeline() = default;

  virtual std::span<const Token> tokens() const = 0;

  // Makes the timeline end with exactly `prompt`, evaluating only what follows the longest common
  // prefix that its caches can return to. Looks at `stop` between layers; a cancelled sync keeps
  // the whole chunks it has evaluated. Returns the number of tokens evaluated.
  virtual Result<std::int64_t> sync(std::span<const Token> prompt, std::stop_token stop,
                                    const Progress& progress) = 0;

  // Before a prompt of n_tokens is synced in pieces: room is made for all of it, or refused with
  // the numbers, before any is evaluated.
  virtual Result<> expect(std::int64_t n_tokens) {
    (void)n_tokens;
    return {};
  }

  // Draws the next token from the current logits, restricted to `mask` when it is not null, and
  // appends it. Its own evaluation happens with the next call, so the last token of a turn costs
  // nothing. `mask` allows at least one id.
  virtual Result<Token> next(const Sampling& sampling, const TokenMask* mask) = 0;

  // Draws that wait for more than this machine's own computing end at the token's word, cancelled.
  virtual void end_waits_at(std::stop_token stop) { (void)stop; }

  // Of the token the last next() drew, with the `n` likeliest, n <= kLogprobsMax. Until the next
  // call to anything else.
  virtual Logprobs logprobs(int n) const {
    (void)n;
    return {};
  }
  // So many will be asked for of the draws from here on, for engines that must know it before; 0:
  // none will.
  virtual void expect_logprobs(int n) { (void)n; }

  virtual DraftStats drafts() const { return {}; }

  // The first n_tokens of tokens(): all that were evaluated, or as many as it can return to without
  // evaluating any again (the multiples of 128 of the last chunk, and some before). Null: not
  // those. Costs a page.
  virtual PrefixRef prefix(std::int64_t n_tokens) const {
    (void)n_tokens;
    return nullptr;
  }
};

struct ModelInfo {
  std::string directory, model_type;
  int n_layers = 0, vocab_size = 0;
  std::int64_t n_context_max = 0;  // tokens
  // Tokens evaluated at a time: a prompt synced up to one multiple after the other costs no more;
  // 0: at once
  std::int64_t n_chunk = 0;
  std::uint64_t weight_bytes = 0;  // as stored
  std::uint64_t n_parameters = 0;
  std::vector<std::string> notes;  // what a person should know
  bool gives_logprobs = true;      // Timeline::logprobs() of every draw
  // They share nothing: each may be used on a thread of its own while others are, and what one
  // waits for no other needs
  bool timelines_apart = false;
};

// Bytes. Weights are mapped: what is not used is on the disk alone, and what is used may go there
// again.
struct MemoryUse {
  std::uint64_t weights = 0;  // of the checkpoint
  // Its matrices once more, in the order the kernels read them, when they are built in memory
  std::uint64_t tiles = 0;
  struct Experts {  // the routed ones
    // Of them all, and how much of that may be in memory; 0: all
    std::uint64_t bytes = 0, bytes_max = 0;
    std::uint64_t resident = 0, read = 0;  // now in memory, ever read
    std::int64_t found = 0, missed = 0;    // uses by a layer that found one in memory, that did not
    std::int64_t given_up = 0;
    std::int64_t remembered = 0;  // experts that an earlier run was asked for
    std::uint64_t ahead = 0;  // of `read`: because of that, before anything was asked of this one
    // Why what experts are asked for could not be written down; empty: it could, or nobody wanted
    // it
    std::string unkept;
  } experts;
  struct Sequences {  // all timelines and prefixes, what they share counted once
    std::uint64_t bytes = 0, bytes_max = 0;  // now, and at most; 0: what the machine has available
    std::uint64_t most = 0;                  // ever
    std::int64_t n = 0;                      // timelines
    // Times one that waited gave up its work space, its cells, for another
    std::int64_t parked = 0, evicted = 0;
    std::int64_t refused = 0;  // times there was no room all the same
  } sequences;
};

struct LoadOptions {
  std::string directory;
  int n_threads = 0;           // 0: the CPUs this process may use, cgroup quota included
  bool exact = false;          // float32 everywhere, no activation quantisation (model/forward.h)
  std::int64_t n_context = 0;  // tokens a timeline may hold; 0: the model's own limit
  // Bytes for weights, work space and all sequences, at most what is available; 0: that. With less
  // than they take, experts are kept by how much they are asked for
  std::uint64_t memory = 0;
  // Where what experts are asked for is kept between runs (model/memory/expert_heat.h); empty:
  // nowhere
  std::string heat_directory;
  bool trace = false;  // keep spans for write_trace()
  bool text = true;    // false: ids alone; no tokenizer.json is read, and nobody may ask for the
                       // tokenizer
  Drafting drafting = Drafting::automatic;  // the same tokens in any mode
};

class Engine {
 public:
  virtual ~Engine() = default;
  virtual const ModelInfo& info() const = 0;
  virtual const Tokenizer& tokenizer() const = 0;
  virtual std::unique_ptr<Timeline> timeline() = 0;
  // One that has the tokens of `from` already; within a millisecond.
  virtual std::unique_ptr<Timeline> timeline(PrefixRef from) {
    (void)from;
    return timeline();
  }
  // Evaluates in one pass what the next draws of several timelines wait for; each draws what it
  // would have drawn alone. Without it they wait for one after the other. Returns which of them
  // have no room beside the others, ascending, never the first: a draw of theirs would take the
  // others', which costs more than many draws, so they should wait for a turn of their own.
  virtual std::vector<std::size_t> evaluate_together(std::span<Timeline* const> timelines) {
    (void)timelines;
    return {};
  }
  virtual PrefixFormat prefix_format() const { return {}; }
  // One that has the pages of `from` already, which ends where a page does or is null. Null: see
  // PrefixFormat.
  virtual std::unique_ptr<PrefixBuilder> prefix_builder(const PrefixRef& from) const {
    (void)from;
    return nullptr;
  }
  virtual MemoryUse memory() const { return {}; }  // from any thread

  // Where time went since the start, when loaded with `trace`: a file in Chrome's trace event
  // format, which Perfetto reads too.
  struct TraceTotal {
    std::string name;
    std::int64_t count;
    double self_s;  // without what other names account for
  };
  virtual Result<std::vector<TraceTotal>> write_trace(const std::string& path) const {
    return tl::unexpected(
        Error{Errc::unsupported, "write " + path + ": this engine keeps no trace"});
  }
};

// Opens an official-layout checkpoint directory; every expected tensor is checked before this
// returns.
Result<std::unique_ptr<Engine>> load(const LoadOptions& options, const Progress& progress);

}  // namespace lares::engine
