// Damaged requests, and generations that say anything in any order: every request is refused in one
// line or means a conversation that the engine can encode, and every stream is whole.
#include <gtest/gtest.h>

#include "daemon/dialects/messages_answer.h"
#include "daemon/dialects/messages_request.h"
#include "daemon/dialects/responses_answer.h"
#include "daemon/dialects/responses_request.h"
#include "daemon/utf8.h"
#include "engine/chat.h"
#include "tests/daemon/dialects/answers.h"
#include "tests/fuzz.h"

namespace lares::daemon {
namespace {

using namespace test;
using fuzz::Random;

const fuzz::Words kWords = {"null",
                            "[]",
                            "{}",
                            "\"\"",
                            "0",
                            "-1",
                            "1e308",
                            "18446744073709551616",
                            "true",
                            "\"\\u0000\"",
                            "\"\\ud800\"",
                            "\"text\"",
                            "\"tool_use\"",
                            "\"tool_result\"",
                            "\"tool_reference\"",
                            "\"thinking\"",
                            "\"assistant\"",
                            "\"system\"",
                            "\"user\"",
                            "\"function_call\"",
                            "\"reasoning\"",
                            "\"lares-sealed-AAAA\"",
                            "\"namespace\"",
                            "\"<｜User｜>\"",
                            "[[[[[[[[",
                            "\xff"};

// A whole value by another is what gets furthest.
const fuzz::Damage kDamage{
    .mutations = {fuzz::change_byte, fuzz::erase_some, fuzz::copy_up_to(64), fuzz::cut_off,
                  fuzz::replace_value_by(kWords), fuzz::replace_value_by(kWords)},
    .least = 1,
    .most = 4};

// Inside the JSON: what stays well-formed gets deeper into a translator than damaged text does.
void mutate(WireJson& json, Random& random, int depth) {
  if (depth > 12 || random() % 8 == 0) {
    const WireJson instead = WireJson::parse(kWords[fuzz::below(kWords.size(), random)], nullptr,
                                             false);
    if (!instead.is_discarded()) json = instead;
    return;
  }
  if (!json.is_structured() || json.empty()) return;
  auto at = json.begin();
  std::advance(at, static_cast<std::ptrdiff_t>(random() % json.size()));
  if (json.is_array() && random() % 6 == 0) {
    const WireJson again = *at;
    json.push_back(again);
    return;
  }
  if (random() % 12 == 0) {
    json.erase(at);
    return;
  }
  mutate(*at, random, depth + 1);
}

template <class Read>
void translates(const std::vector<std::string>& seeds, Read read, Random& random, int& n_meant) {
  std::string text = seeds[random() % seeds.size()];
  if (random() % 2) {
    WireJson json = WireJson::parse(text);
    for (int n = 1 + static_cast<int>(random() % 3); n-- > 0;) mutate(json, random, 0);
    text = wire_text(json);
  } else {
    text = kDamage(std::move(text), random);
  }
  SCOPED_TRACE(text);
  const auto body = parse_body(text);
  if (!body) return;
  const auto request = read(*body);
  if (!request) {
    EXPECT_FALSE(request.error().message.empty());
    EXPECT_EQ(request.error().message.find('\n'), std::string::npos) << request.error().message;
    return;
  }
  ++n_meant;
  const Conversation& c = request->conversation;
  ASSERT_FALSE(c.messages.empty());
  EXPECT_EQ(valid_utf8(wire_text(c.messages)), wire_text(c.messages));
  const auto prompt = engine::encode_chat(c.messages, WireJson::array(), {.thinking = c.thinking});
  EXPECT_TRUE(prompt) << prompt.error().message;
}

const std::vector<std::string> kMessages = {
    R"({"model":"m","max_tokens":32000,"stream":true,"thinking":{"type":"adaptive","display":"omitted"},"output_config":{"effort":"high"},"tool_choice":{"type":"auto"},"stop_sequences":["END"],"system":[{"type":"text","text":"x-anthropic-billing-header: a"},{"type":"text","text":"be brief","cache_control":{"type":"ephemeral"}}],"tools":[{"name":"Write","description":"d","input_schema":{"type":"object"}},{"name":"WebFetch","defer_loading":true,"input_schema":{"type":"object"}}],"messages":[{"role":"user","content":[{"type":"text","text":"a"}]},{"role":"system","content":"now"},{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"s"},{"type":"text","text":"b"},{"type":"tool_use","id":"i","name":"Write","input":{"a":[1,{"b":"c"}]}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"i","is_error":true,"content":[{"type":"tool_reference","tool_name":"WebFetch"},{"type":"image","source":{"type":"base64","data":"AA=="}}]},{"type":"text","text":"more"}]}]})",
    R"({"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"{"}],"temperature":0.5,"top_k":4,"output_config":{"format":{"type":"json_schema","schema":{"type":"object"}}}})"};
const std::vector<std::string> kResponses = {
    R"({"model":"m","stream":true,"instructions":"i","reasoning":{"effort":"low"},"tool_choice":"auto","parallel_tool_calls":true,"text":{"format":{"type":"json_schema","schema":{}}},"tools":[{"type":"function","name":"f","parameters":{"type":"object"}},{"type":"namespace","name":"n","tools":[{"type":"function","name":"g"}]},{"type":"custom","name":"p","format":{"type":"grammar","syntax":"lark","definition":"d"}}],"input":[{"type":"message","role":"developer","content":[{"type":"input_text","text":"d"}]},{"role":"user","content":"u"},{"type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"t"}],"encrypted_content":"lares-sealed-dA=="},{"type":"function_call","call_id":"c","namespace":"n","name":"g","arguments":"{\"a\":[1]}"},{"type":"custom_tool_call","call_id":"k","name":"p","input":"***"},{"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"o"}]},{"type":"custom_tool_call_output","call_id":"k","output":"ok"}]})",
    R"({"input":"x","max_output_tokens":10,"metadata":{"a":"b"}})"};

TEST(MessagesFuzz, ARequestIsRefusedOrMeansAConversation) {
  int meant = 0;
  const std::size_t n = fuzz::repeat({.seconds = 2}, [&](Random& random) {
    translates(
        kMessages, [](const WireJson& body) { return read_messages_request(body, {}); }, random,
        meant);
  });
  std::printf("%zu requests, %d of them conversations\n", n, meant);
  EXPECT_GT(meant, 0);
}

TEST(ResponsesFuzz, ARequestIsRefusedOrMeansAConversation) {
  int meant = 0;
  const std::size_t n = fuzz::repeat({.seconds = 2}, [&](Random& random) {
    translates(
        kResponses, [](const WireJson& body) { return read_responses_request(body, {}); }, random,
        meant);
  });
  std::printf("%zu requests, %d of them conversations\n", n, meant);
  EXPECT_GT(meant, 0);
}

std::string any_text(Random& random) {
  static const char* const kPieces[] = {"",     "a",    "\n\n", "data: ", "event: x\n\n",
                                        "\xc3", "\xa9", "\xff", "\"",     "\\",
                                        "{",    "}",    "\r",   "｜",     "long long text"};
  std::string out;
  for (auto n = random() % 4; n-- > 0;) out += kPieces[random() % std::size(kPieces)];
  return out;
}

GenerationEvent any_event(Random& random) {
  const int index = static_cast<int>(random() % 4);
  const std::string id = "call_" + std::to_string(index),
                    name = random() % 3 ? "apply_patch" : any_text(random);
  switch (random() % 5) {
    case 0:
      return ReasoningText{any_text(random)};
    case 1:
      return ContentText{any_text(random)};
    case 2:
      return CallBegun{index, id, name};
    case 3:
      return CallArguments{index, any_text(random)};
    default:
      return CallDone{index, id, name, WireJson{{"input", valid_utf8(any_text(random))}}.dump()};
  }
}

// What any client of server-sent events needs: a name and one line of JSON of that type each, and
// an end.
std::vector<WireJson> well_formed(const std::string& stream) {
  EXPECT_TRUE(stream.ends_with("\n\n"));
  EXPECT_EQ(valid_utf8(stream), stream);
  std::vector<WireJson> out;
  for (const Sent& sent : sent_events(stream)) {
    WireJson data = WireJson::parse(sent.data, nullptr, false);
    EXPECT_TRUE(data.is_object()) << sent.data;
    EXPECT_EQ(data.value("type", ""), sent.name);
    out.push_back(std::move(data));
  }
  return out;
}

void blocks_are_in_order(const std::vector<WireJson>& events) {
  int open = -1, last = -1;
  for (const WireJson& event : events) {
    const std::string type = event["type"];
    if (!type.starts_with("content_block")) continue;
    const int index = event["index"];
    if (type == "content_block_start") {
      EXPECT_EQ(open, -1);
      EXPECT_EQ(index, last + 1);
      open = last = index;
    } else {
      EXPECT_EQ(index, open);
      if (type == "content_block_stop") open = -1;
    }
  }
  EXPECT_TRUE(open == -1 || events.back()["type"] == "error");
}

void items_are_in_order(const std::vector<WireJson>& events) {
  int last = -1;
  for (std::size_t i = 0; i < events.size(); ++i) {
    EXPECT_EQ(events[i]["sequence_number"], i);
    if (!events[i].contains("output_index")) continue;
    const int index = events[i]["output_index"];
    if (events[i]["type"] == "response.output_item.added") last += 1;
    EXPECT_EQ(index, last);
  }
}

TEST(AnswersFuzz, EveryStreamIsWhole) {
  using Reason = GenerationEnd::Reason;
  const Reason reasons[] = {Reason::stop,    Reason::calls,     Reason::sequence, Reason::length,
                            Reason::context, Reason::cancelled, Reason::ending,   Reason::failed};
  const std::size_t n = fuzz::repeat({.seconds = 2}, [&](Random& random) {
    std::vector<GenerationEvent> events;
    for (auto k = random() % 20; k-- > 0;) events.push_back(any_event(random));
    const GenerationEnd end{reasons[random() % std::size(reasons)],
                            any_text(random),
                            {.prompt = 9, .cached = 3, .completion = 5, .reasoning = 2}};
    MessagesAnswer message("msg_1", any_text(random));
    const auto blocks = well_formed(streamed(message, events, end));
    EXPECT_EQ(blocks.back()["type"], is_answer(end) ? "message_stop" : "error");
    blocks_are_in_order(blocks);
    EXPECT_TRUE(WireJson::accept(wire_text(message.whole(end))));
    ResponsesAnswer response("resp_1", any_text(random), 0,
                             {{"apply_patch", {true, "", "apply_patch"}}}, WireJson::object());
    const auto items = well_formed(streamed(response, events, end));
    const std::string last = items.back()["type"];
    EXPECT_TRUE(last == "response.completed" || last == "response.incomplete" ||
                last == "response.failed")
        << last;
    items_are_in_order(items);
  });
  EXPECT_GT(n, 0u);
}

}  // namespace
}  // namespace lares::daemon
