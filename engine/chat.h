// DeepSeek-V4's chat format (its encoding_dsv4.py): messages to prompt segments, the model's text
// back to a message.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/engine.h"
#include "engine/tokenizer.h"

namespace lares::engine {

// ---- the wire encoder: OpenAI-shaped messages to the exact prompt text (encoding_dsv4.py's
// behaviour)

struct EncodeOptions {
  bool thinking = true;
  bool drop_thinking = true;
  bool add_bos = true;
  // "", "low", "high", "max": what they mean is data of the checkpoint generation
  std::string reasoning_effort;
  std::string generation = "preview";  // "preview" or "0731": the texts of effort differ
};
// `messages` is a JSON array; `context` an already encoded prefix of it (may be an empty array).
// Control tokens and our own wording come back trusted; what people, files and tools wrote does
// not. Key order matters. An assistant message with a true "sampled" is not rendered: a trusted
// segment of its own stands for it, up to its end-of-sentence token, where the caller puts the ids
// that were sampled.
inline constexpr std::string_view kSampledWhole = "\x01";  // ... reasoning, </think> and what
                                                           // follows it
inline constexpr std::string_view kSampledSaid = "\x02";   // ... what follows </think>, which is
                                                           // there already
Result<std::vector<Segment>> encode_chat(const nlohmann::ordered_json& messages,
                                         const nlohmann::ordered_json& context,
                                         const EncodeOptions& options);

// ---- building blocks of the agent loop's prompt; each returns trusted and untrusted segments

// What asks for that effort, before all else in the prompt; "" when nothing does
std::string effort_text(std::string_view effort, std::string_view generation);
// A blank line and the release's wording (text/chat/tools_wording.h) for (name, description,
// schema) triples, schemas in their given key order.
std::string tools_text(const std::vector<struct ToolSpec>& tools);

inline constexpr std::string_view kBos = "<｜begin▁of▁sentence｜>", kEos = "<｜end▁of▁sentence｜>",
                                  kUser = "<｜User｜>", kAssistant = "<｜Assistant｜>",
                                  kThink = "<think>", kThinkEnd = "</think>", kDsml = "｜DSML｜";

// ---- the way back

struct ToolCall {
  std::string name;
  std::string arguments;  // a JSON object, as text, keys in the order written
};
struct Message {
  std::string reasoning, content;
  std::vector<ToolCall> calls;
};
// The strict parser, as that of encoding_dsv4.py: exact or refused.
Result<Message> parse_strict(std::string_view text, bool thinking);

// Streaming, and lenient (text/chat/stream_parser.cc). Feed text in any pieces; the events, joined,
// do not depend on how it was cut.
struct ReasoningDelta {
  std::string text;
};
struct ContentDelta {
  std::string text;
};
struct CallBegin {
  int index;
  std::string name;
};
struct ArgumentsDelta {
  int index;
  std::string json;
};  // pieces of the arguments object
struct CallEnd {
  int index;
  std::string arguments;
};  // complete and valid JSON
struct CallRejected {
  int index;
  std::string name, why;
};  // tell the model; never execute
using Event =
    std::variant<ReasoningDelta, ContentDelta, CallBegin, ArgumentsDelta, CallEnd, CallRejected>;

// What a tag can name: the parameters of tools are called so.
inline constexpr std::size_t kParameterNameBytesMax = 400;
bool is_parameter_name(std::string_view name);

class StreamParser {
 public:
  struct Options {
    bool thinking = true;
    std::vector<struct ToolSpec> tools;  // empty: DSML is plain content
    // What it reads was drawn under a grammar, token by token: a block that begins is one, in a
    // code fence that was never closed too, none stands in the reasoning, and that ends with
    // end_thinking(); a "</think>" in the text is text
    bool held_to_grammar = false;
  };
  explicit StreamParser(Options options);
  ~StreamParser();
  StreamParser(StreamParser&&) noexcept;
  std::vector<Event> feed(std::string_view text);
  // Where a token ended the reasoning, whose text is not fed. Of one held to a grammar
  std::vector<Event> end_thinking();
  // What was held back of what was fed so far: it is said now, and not again.
  std::vector<Event> settle();
  // The generation ended: flush what was held back; an unfinished call is rejected
  std::vector<Event> finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lares::engine
