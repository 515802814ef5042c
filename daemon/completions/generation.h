// The answer to a Conversation while it is sampled: what was said since the last look, in order,
// and how it ended.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <tl/expected.hpp>

#include "daemon/completions/conversation.h"

namespace lares::daemon {

namespace asio = boost::asio;

struct TokenLogprob {
  std::string token;  // its bytes
  float logprob = 0;
  std::vector<std::pair<std::string, float>> top;
};
struct ReasoningText {
  std::string text;
  std::vector<TokenLogprob> logprobs = {};
};
struct ContentText {
  std::string text;
  std::vector<TokenLogprob> logprobs = {};
  // Behind a RawPrompt: all that were drawn, also where they add no text yet. The text is theirs
  // without the end-of-sentence token, and never ends within a code point that may become whole.
  std::vector<engine::Token> ids = {};
};
struct CallBegun {
  int index = 0;
  std::string id, name;
};  // ids are unique, and name what was sampled when they come back
struct CallArguments {
  int index = 0;
  std::string json;
};  // the next piece of the arguments object
struct CallDone {
  int index = 0;
  std::string id, name, arguments;
};  // whole: a valid JSON object
using GenerationEvent =
    std::variant<ReasoningText, ContentText, CallBegun, CallArguments, CallDone>;

// Why a request is not answered at all; nothing was sampled.
struct Refusal {
  enum class Kind {
    invalid,
    too_long,
    not_ready /* too many wait, or the daemon ends: later */,
    failed
  } kind = Kind::invalid;
  std::string message;         // one line
  std::string parameter = "";  // which field of the request, where it is one
};

struct GenerationUsage {
  std::int64_t prompt = 0, cached = 0;         // tokens; cached ones are of the prompt
  std::int64_t completion = 0, reasoning = 0;  // reasoning ones are of the completion
};

struct GenerationEnd {
  enum class Reason {
    stop,       // the model's own end, without calls
    calls,      // its own end, with calls
    sequence,   // one of Conversation::stop, which is `what`
    length,     // tokens_max, or the same again and again
    cancelled,  // the stop token
    ending,     // the daemon ends
    failed,     // `what` says why
    context,    // it is full, whatever the request allowed
  } reason = Reason::stop;
  std::string what;
  GenerationUsage usage;
  // failed: it did not begin, which was known too late for a status of its own, or had no memory
  // to go on
  std::optional<Refusal> refused = std::nullopt;

  bool cut_off() const { return reason == Reason::length || reason == Reason::context; }
};

class Generation {
 public:
  virtual ~Generation() = default;
  virtual std::int64_t prompt_tokens() const = 0;
  // What was said since the last call, waiting for some; empty: it has ended. Also after the stop
  // token fired it is to be called until then, so that what was evaluated is kept.
  virtual asio::awaitable<std::vector<GenerationEvent>> next() = 0;
  virtual const GenerationEnd& end() const = 0;  // after that
};

// Generates for clients that keep their conversations themselves. On the io executor.
class Generations {
 public:
  virtual ~Generations() = default;
  // Encodes and queues; the prompt is evaluated during the first next(). Waits for the model to be
  // loaded. `stop` is requested on the io executor.
  virtual asio::awaitable<tl::expected<std::unique_ptr<Generation>, Refusal>> begin(
      Conversation conversation, std::stop_token stop) = 0;
  virtual asio::awaitable<tl::expected<std::unique_ptr<Generation>, Refusal>> begin(
      Infill infill, std::stop_token stop) = 0;
  virtual asio::awaitable<tl::expected<std::unique_ptr<Generation>, Refusal>> begin(
      RawPrompt prompt, std::stop_token stop) = 0;
  virtual asio::awaitable<tl::expected<std::int64_t, Refusal>> count_tokens(
      Conversation conversation) = 0;
  // The ids of a text, its control tokens among them; nothing is put before it.
  virtual asio::awaitable<tl::expected<std::vector<engine::Token>, Refusal>> tokenize(
      std::string text) = 0;
  virtual bool loading() const { return false; }  // what begins now waits for that
  virtual std::string model() const = 0;          // what the loaded checkpoint is called
  virtual std::optional<std::int64_t> context_max() const = 0;  // tokens; nullopt: none is loaded
  virtual std::uint64_t n_parameters() const { return 0; }      // 0: nobody knows
  // How it is sampled where a request says nothing else; the seed is another each time.
  virtual engine::Sampling sampling() const { return {}; }
  // Where a long request is read, so that others' events do not wait for it; empty: anywhere.
  virtual asio::any_io_executor aside() { return {}; }
};

}  // namespace lares::daemon
