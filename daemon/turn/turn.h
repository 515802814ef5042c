// One turn: the model answers, its calls run, it reads their results, until it calls nothing or a
// limit is reached. Knows no socket and no file; whoever runs it hears of everything through
// TurnEvents.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/thread_pool.hpp>
#include <nlohmann/json_fwd.hpp>

#include "daemon/engine_host.h"
#include "daemon/protocol/protocol.h"
#include "daemon/turn/toolbox.h"
#include "daemon/turn/transcript.h"
#include "engine/engine.h"
#include "engine/grammar.h"
#include "engine/tokenizer.h"

namespace lares::daemon {

inline constexpr std::int64_t kStepsMax = 200;           // steps of a turn
inline constexpr std::int64_t kStepTokensMax = 131'072;  // tokens of a step ...
inline constexpr std::int64_t kThinkTokensMax = 98'304;  // ... of them reasoning: then </think> is
                                                         // forced
inline constexpr int kCallsPerStepMax = 8;
inline constexpr int kResamplesMax = 2;      // of an answer that is empty or goes in circles
inline constexpr int kEditResamplesMax = 8;  // of one whose edit changes nothing, or was taken back
                                             // before ...
inline constexpr int kBrokenResamplesMax = 4;  // ... or brings syntax errors: grammars misparse
                                               // honest code
inline constexpr int kContinuationsMax = 2;    // of an answer that reached kStepTokensMax: 384K
                                               // tokens in all
inline constexpr int kSentBackMax = 8;  // times, of a turn whose work is not done; then it ends
                                        // unfinished
inline constexpr float kResampleTemperature = 0.8f;  // at least: the same draw would come again ...
inline constexpr float kResampleTemperatureStep = 0.2f;  // ... and more with each, up to 1

enum class ToolUse {
  none,     // the model only answers
  reading,  // what changes nothing (Tool::for_reading)
  all,
};

struct TurnSettings {
  engine::Sampling sampling;
  std::int64_t steps_max = kStepsMax, step_tokens_max = kStepTokensMax,
               think_tokens_max = kThinkTokensMax;
  int continuations_max = kContinuationsMax;  // of one that reached step_tokens_max
  ToolUse tools = ToolUse::all;
  engine::JsonSchemaRef answer_schema = nullptr;  // null: what is said is text
};

struct TurnResult {
  std::string reason;   // see protocol::TurnEnded
  std::string message;  // one line for people; empty for end_turn and cancelled
  protocol::Usage usage;
};

// A task, or what the user wrote while the turn ran.
struct Said {
  std::string prompt_id, text;
  std::string for_model;  // what only the model reads, behind the text; or empty
  std::string note;       // what only people are told; or empty
  std::string whole() const { return text + for_model; }
};

// A stretch of an answer, from token `at` to the next: drawn with the `draw`-th answer of its step.
// The first token of all but the first stretch was not drawn: it was chosen, as the next likeliest
// (branches.h).
struct DrawnPart {
  std::int64_t at = 0;
  int draw = 0;
  bool operator==(const DrawnPart&) const = default;
};

// How an answer was drawn, where it was not as the settings say: what sampling it again needs to
// know.
struct Drawn {
  std::vector<DrawnPart> parts;        // empty: it is whole
  std::optional<std::int64_t> n_kept;  // tokens of one that went in circles, before this one
  std::optional<engine::Token> avoid;  // not drawn behind them
  bool without_tools = false;          // in spite of the settings
  std::optional<std::int64_t> think_tokens_max;
};

// What the model was to read with the next prompt, which had no room for it.
struct Unread {
  bool changes = false;                 // what others changed, which counts as told by now
  std::vector<std::string> news;        // of tools, which tell it once
  std::vector<std::string> prompt_ids;  // of prompts that the turn was steered with
  bool empty() const { return !changes && news.empty() && prompt_ids.empty(); }
};

// Called on the io executor, in order. `durable` ones are to be on disk when they return.
class TurnEvents {
 public:
  virtual ~TurnEvents() = default;
  virtual void state(std::string_view state) = 0;  // see protocol::SessionState
  virtual void prefill(std::int64_t step, std::int64_t done, std::int64_t total) = 0;
  virtual void item_started(const protocol::Item& item) = 0;
  virtual void item_delta(const std::string& item_id, std::string_view field,
                          const std::string& text, std::int64_t tokens) = 0;
  virtual void item_updated(const protocol::Item& item) = 0;    // durable
  virtual void item_completed(const protocol::Item& item) = 0;  // durable
  virtual void step(std::int64_t step, const std::string& reason,
                    const protocol::Usage& usage) = 0;  // durable
  // Durable. `ids` were appended to the transcript, whose unread results are now `results`.
  virtual void appended(const std::vector<engine::Token>& ids,
                        const std::vector<std::string>& results) = 0;
  // Durable, but for the news. The turn ends.
  virtual void unread(Unread what) { (void)what; }
  virtual void drawn(const Drawn& how) {
    (void)how;
  }  // durable; of the answer that is appended next
  // Durable. The transcript was `before` and is begun anew with `ids`; no result is unread.
  virtual void shortened(Transcript before, const std::vector<engine::Token>& ids) = 0;
  // What the user wrote since the last time; it is delivered now
  virtual asio::awaitable<std::vector<Said>> steering() = 0;
};

// Stops a turn from outside: within one token, one prefill chunk or the kill of a command.
struct TurnStop {
  std::stop_source engine;
  asio::cancellation_signal tool;
  void request() {
    engine.request_stop();
    tool.emit(asio::cancellation_type::all);
  }
  bool requested() const { return engine.stop_requested(); }
};

// What a session shares with the others of its repository. Called on the engine's thread.
class SharedBeginning {
 public:
  virtual ~SharedBeginning() = default;
  // That `ids` begin with; null: none
  virtual engine::PrefixRef longest(std::span<const engine::Token> ids) = 0;
  // Where it wants to be offered what was evaluated: the next place after `position` within `ids`;
  // kNowhere: nowhere.
  static constexpr std::int64_t kNowhere = INT64_MAX;
  virtual std::int64_t next_mark(std::span<const engine::Token> ids, std::int64_t position) = 0;
  virtual void offer(engine::PrefixRef prefix) = 0;
  // Tokens of a step's prompt; on the io executor
  virtual void count(std::int64_t n_found, std::int64_t n_evaluated) = 0;
};

// Of a transcript: what all sessions of the repository begin with, and what follows it.
struct Beginning {
  std::shared_ptr<const std::vector<engine::Token>> shared_ids;
  std::vector<engine::Segment> segments;
};

// Whether what the model calls finished is.
struct Checked {
  bool done = true;
  bool known = true;  // false: it could not be looked at, and `text` says why
  std::string text;   // what it reads where it is not; else a word for people, or nothing
};

struct TurnInput {
  std::int64_t turn_id = 0;
  Said said;
  bool sums_up = false;  // what is said asks for a summary (shorten.h), and for nothing else
  Beginning beginning;   // of an empty transcript, the whole prompt; else empty
  TurnSettings settings;
  std::vector<std::string> notes;  // for people, before anything else
  // Asked before every call, and after it: why it does not run, as the model reads it, or nullopt;
  // what the model reads behind its result, or nothing. Null: nobody asks.
  std::function<asio::awaitable<std::optional<std::string>>(const protocol::Item& item)>
      before_call;
  std::function<asio::awaitable<std::string>(const protocol::Item& item)> after_call;
  // Asked when the model has finished: what it is told to go on with, or nothing. Null: nobody
  // asks.
  std::function<asio::awaitable<std::string>()> at_end;
  // Asked whenever the model has finished, whether it did anything or not. Null: nobody asks.
  std::function<asio::awaitable<Checked>()> check;
  // Asked before a call that may change something, or stands in for one (Tool::for_reading): why it
  // does not run, as the model reads it, or nullopt. It may wait, and says so in `item`. Null: all
  // may run.
  std::function<asio::awaitable<std::optional<std::string>>(protocol::Item& item,
                                                            const nlohmann::json& arguments)>
      permit;
  // Called when a call has run that does not say what it changed; before its item is complete.
  // Null: nobody wants to know.
  std::function<asio::awaitable<void>(protocol::Item& item)> ran;
  // When the context is nearly full: what a transcript begins with now that has `summary` for the
  // conversation, and `next` to be answered (see shorten.h); nullopt: it cannot be. Null: nothing
  // is shortened, and the turn ends when the context is full.
  std::function<asio::awaitable<std::optional<Beginning>>(std::string summary, std::string next)>
      begin_anew;
  asio::thread_pool* threads = nullptr;  // files are read and parsed there; null: here
  std::int64_t n_repository = 0;         // tokens that stand before the conversation
  // What others changed since the model last heard of it; empty: nothing. Null: nobody asks.
  std::function<asio::awaitable<std::string>()> changes;
  // Of tools, that no prompt before had room for. What is not read in this turn either comes back
  // with TurnEvents::unread().
  std::vector<std::string> unread_news;
};

// What the model may call. A small model answers questions with `outline`, as it was trained to,
// and loses itself in more: of what changes nothing it has the tools that never do.
std::vector<engine::ToolSpec> declared_tools(const Tools& tools, ToolUse use,
                                             const engine::ModelInfo& model);

// `transcript` and `timeline` belong to the session; the timeline may be null and is made when
// needed. The engine is ready.
asio::awaitable<TurnResult> run_turn(EngineHost& host, const Tools& tools, Transcript& transcript,
                                     std::unique_ptr<engine::Timeline>& timeline,
                                     TurnEvents& events, TurnStop& stop, TurnInput input,
                                     std::shared_ptr<SharedBeginning> shared = nullptr);

}  // namespace lares::daemon
