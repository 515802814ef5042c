// Messages answers as clients read them: exact events, whole messages, refusals; and what is asked
// of the model by which path.
#include <gtest/gtest.h>

#include "daemon/dialects/dialects.h"
#include "daemon/dialects/messages_answer.h"
#include "daemon/dialects/thoughts.h"
#include "tests/daemon/dialects/answers.h"

namespace lares::daemon {
namespace {

using namespace test;
using Reason = GenerationEnd::Reason;

std::string stream_of(const std::vector<GenerationEvent>& events, const GenerationEnd& end) {
  MessagesAnswer answer("msg_1", "claude-x");
  return streamed(answer, events, end);
}
std::string stream_of(const Script& script) { return stream_of(all_events(script), script.end); }

TEST(MessagesStream, IsExactlyThis) {
  const std::string signature = thought_signature("I write é.");
  EXPECT_EQ(stream_of(tool_turn()),
            R"(event: message_start
data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":100,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}}}

event: ping
data: {"type":"ping"}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"I wri"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"te é."}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":")" +
                signature + R"("}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Now."}}

event: content_block_stop
data: {"type":"content_block_stop","index":1}

event: content_block_start
data: {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"call_a","name":"Write","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"path\":"}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"\"a\"}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":2}

event: content_block_start
data: {"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"call_b","name":"Read","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":3}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":36,"cache_creation_input_tokens":0,"cache_read_input_tokens":64,"output_tokens":20}}

event: message_stop
data: {"type":"message_stop"}

)");
}

TEST(MessagesStream, DoesNotDependOnHowItWasCut) {
  const Script script = tool_turn();
  const std::string want = joined(stream_of(script));
  const auto cuts = cut_everywhere(all_events(script));
  ASSERT_GT(cuts.size(), 20u);
  for (const auto& events : cuts) EXPECT_EQ(joined(stream_of(events, script.end)), want);
}

// What each client cannot do without: there, and in this order.
TEST(MessagesStream, HasTheEventsThatClientsBreakWithout) {
  std::vector<std::string> names = names_of(stream_of(tool_turn()));
  names.erase(std::unique(names.begin(), names.end()), names.end());
  const std::vector<std::string> block = {"content_block_start", "content_block_delta",
                                          "content_block_stop"};
  std::vector<std::string> want = {"message_start", "ping"};
  for (int i = 0; i < 4; ++i) want.insert(want.end(), block.begin(), block.end());
  want.insert(want.end(), {"message_delta", "message_stop"});
  EXPECT_EQ(names, want);
}

struct Stop {
  Reason reason;
  const char *what, *stop_reason, *stop_sequence;
};
TEST(MessagesStream, EndsWithWhyItStopped) {
  const Stop rows[] = {{Reason::stop, "", R"("end_turn")", "null"},
                       {Reason::calls, "", R"("tool_use")", "null"},
                       {Reason::sequence, "END", R"("stop_sequence")", R"("END")"},
                       {Reason::length, "", R"("max_tokens")", "null"},
                       {Reason::context, "", R"("max_tokens")", "null"}};
  for (const Stop& row : rows) {
    const std::string stream = stream_of({ContentText{"x"}}, {row.reason, row.what, kUsage});
    EXPECT_NE(stream.find(std::string(R"("delta":{"stop_reason":)") + row.stop_reason +
                          R"(,"stop_sequence":)" + row.stop_sequence + "}"),
              std::string::npos)
        << stream;
    EXPECT_EQ(names_of(stream).back(), "message_stop");
  }
}

TEST(MessagesStream, EndsWithAnErrorWhereThereIsNoAnswer) {
  const std::pair<Reason, std::string> rows[] = {{Reason::failed, "api_error"},
                                                 {Reason::ending, "overloaded_error"},
                                                 {Reason::cancelled, "overloaded_error"}};
  for (const auto& [reason, type] : rows) {
    const auto sent = sent_events(stream_of(
        {ContentText{"x"}}, {reason, reason == Reason::failed ? "evaluate: no memory" : "", {}}));
    ASSERT_EQ(sent.back().name, "error");
    const WireJson data = WireJson::parse(sent.back().data);
    EXPECT_EQ(data["type"], "error");
    EXPECT_EQ(data["error"]["type"], type);
    for (const char* end : {"message_stop", "content_block_stop"})  // nobody is to take what is
                                                                    // open for the model's whole
      EXPECT_EQ(
          std::count_if(sent.begin(), sent.end(), [&](const Sent& s) { return s.name == end; }), 0)
          << end;
  }
}

TEST(MessagesStream, OfNothingIsComplete) {
  EXPECT_EQ(names_of(stream_of({}, {Reason::stop, "", {}})),
            (std::vector<std::string>{"message_start", "ping", "message_delta", "message_stop"}));
}

TEST(MessagesStream, ACallThatWasCutIsClosedAndNotInAWholeMessage) {
  const std::vector<GenerationEvent> events = {ContentText{"x"}, CallBegun{0, "a", "W"},
                                               CallArguments{0, "{\"p\":\"he"}};
  const GenerationEnd end{Reason::length, "", kUsage};
  const auto names = names_of(stream_of(events, end));
  EXPECT_EQ(names[names.size() - 3], "content_block_stop");
  MessagesAnswer answer("msg_1", "m");
  streamed(answer, events, end);
  EXPECT_EQ(answer.whole(end)["content"].dump(), R"([{"type":"text","text":"x"}])");
}

TEST(MessagesStream, ACallIsToldOnceThoughItsEndComesLate) {
  const std::vector<GenerationEvent> events = {CallBegun{0, "a", "W"}, CallArguments{0, "{}"},
                                               CallDone{0, "a", "W", "{}"}, ContentText{"x"},
                                               CallDone{0, "a", "W", "{}"}};
  const auto names = names_of(stream_of(events, {Reason::calls, "", kUsage}));
  EXPECT_EQ(std::ranges::count(names, "content_block_start"), 2);
}

TEST(MessagesAnswer, Whole) {
  MessagesAnswer answer("msg_1", "claude-x");
  const Script script = tool_turn();
  streamed(answer, all_events(script), script.end);
  EXPECT_EQ(
      wire_text(answer.whole(script.end)),
      R"({"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[{"type":"thinking","thinking":"I write é.","signature":")" +
          thought_signature("I write é.") +
          R"("},{"type":"text","text":"Now."},{"type":"tool_use","id":"call_a","name":"Write","input":{"path":"a"}},{"type":"tool_use","id":"call_b","name":"Read","input":{}}],)"
          R"("stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":36,"cache_creation_input_tokens":0,"cache_read_input_tokens":64,"output_tokens":20}})");
}

TEST(MessagesAnswer, BytesThatAreNoTextAreReplaced) {
  const std::string stream = stream_of({ContentText{"a\xff"}, ContentText{"\xe2\x82"}},
                                       {Reason::stop, "", {}});
  EXPECT_NE(joined(stream).find("<- a\xef\xbf\xbd\xef\xbf\xbd"), std::string::npos) << stream;
}

// The whole is what counts, however its pieces ended.
TEST(MessagesAnswer, APieceCutWithinACharacterDoesNotSpoilACall) {
  MessagesAnswer answer("msg_1", "m");
  const GenerationEnd end{Reason::calls, "", {}};
  streamed(answer, {CallBegun{0, "a", "W"}, CallArguments{0, "\xc3"}, CallDone{0, "a", "W", "{}"}},
           end);
  EXPECT_EQ(wire_text(answer.whole(end)["content"][0]["input"]), "{}");
}

TEST(MessagesAnswer, ACallsNumbersAreThoseOfTheModel) {
  const std::string input =
      R"({"id":12345678901234567890123,"n":[-9999999999999999999,1e400],"price":123456789012345678.25,"at":1.50})";
  MessagesAnswer answer("msg_1", "m");
  const GenerationEnd end{Reason::calls, "", {}};
  streamed(answer, {CallBegun{0, "a", "W"}, CallArguments{0, input}, CallDone{0, "a", "W", input}},
           end);
  const std::string whole = json_reply(answer.whole(end)).body;
  EXPECT_NE(whole.find("\"input\":" + input + "}"), std::string::npos) << whole;
}

// ---- over HTTP

std::string header(const HttpReply& reply, const std::string& name) {
  for (const auto& [key, value] : reply.headers) {
    if (key == name) return value;
  }
  return "";
}
constexpr const char* kAsk =
    R"({"model":"claude-x","max_tokens":100,"messages":[{"role":"user","content":"x"}]})";
constexpr const char* kAskStream =
    R"({"model":"claude-x","stream":true,"messages":[{"role":"user","content":"x"}]})";

TEST(Messages, StreamAndWholeByEitherPath) {
  for (const char* path : {"/v1/messages", "/anthropic/v1/messages"}) {
    FakeGenerations whole(tool_turn());
    const auto message = ask(add_messages, whole, "POST", path, kAsk);
    ASSERT_TRUE(message) << path;
    EXPECT_EQ(message->answer.status, 200u);
    EXPECT_EQ(message->n_replies, 1);
    EXPECT_TRUE(header(message->answer, "request-id").starts_with("req_"));
    EXPECT_EQ(WireJson::parse(message->answer.body)["model"], "claude-x");
    EXPECT_EQ(whole.asked.tokens_max, 100);

    FakeGenerations stream(tool_turn());
    const auto events = ask(add_messages, stream, "POST", path, kAskStream);
    EXPECT_EQ(events->request().body, "") << "it is read, and let go";
    EXPECT_TRUE(events->streamed);
    EXPECT_TRUE(events->ended);
    EXPECT_TRUE(events->answer.content_type.starts_with("text/event-stream"));
    EXPECT_TRUE(header(events->answer, "request-id").starts_with("req_"));
    EXPECT_EQ(events->keep_alive(), "event: ping\ndata: {\"type\":\"ping\"}\n\n");
    EXPECT_EQ(names_of(events->answer.body).back(), "message_stop");
  }
}

// To who asks to be told it: others may break with a reason that they do not know.
TEST(Messages, TheContextIsNamedWhereItEndedTheAnswer) {
  const std::string others = "claude-code-20250219",
                    beta = others + ",model-context-window-exceeded-2025-08-26";
  const std::tuple<Reason, std::string, const char*> rows[] = {
      {Reason::context, beta, "model_context_window_exceeded"},
      {Reason::length, beta, "max_tokens"},
      {Reason::context, others, "max_tokens"}};
  for (const char* const body : {kAsk, kAskStream}) {
    for (const auto& [reason, betas, says] : rows) {
      FakeGenerations generations({.steps = {{ContentText{"x"}}}, .end = {reason, "", kUsage}});
      const auto answered = ask(add_messages, generations, "POST", "/v1/messages", body, 1 << 30,
                                {{"anthropic-beta", betas}});
      const std::string want = std::string("\"stop_reason\":\"") + says + "\"";
      EXPECT_NE(answered->answer.body.find(want), std::string::npos) << answered->answer.body;
    }
  }
}

TEST(Messages, AStreamThatBeganWhileTheModelLoadedSaysWhyThereIsNone) {
  FakeGenerations generations(tool_turn());
  generations.is_loading = true;
  const auto answered = ask(add_messages, generations, "POST", "/v1/messages", kAskStream);
  EXPECT_EQ(answered->n_begins, 2);
  EXPECT_TRUE(header(answered->answer, "request-id").starts_with("req_"));
  EXPECT_EQ(names_of(answered->answer.body).back(), "message_stop");
  generations.refusal = Refusal{Refusal::Kind::failed, "generate: it is broken", ""};
  const auto refused = ask(add_messages, generations, "POST", "/v1/messages", kAskStream);
  EXPECT_EQ(names_of(refused->answer.body).back(), "error");
  EXPECT_NE(refused->answer.body.find(R"("message":"generate: it is broken")"), std::string::npos)
      << refused->answer.body;
  EXPECT_TRUE(refused->ended);
  generations.refusal = Refusal{Refusal::Kind::too_long, "generate: the prompt is too long", ""};
  const auto shorter = ask(add_messages, generations, "POST", "/v1/messages", kAskStream);
  EXPECT_NE(shorter->answer.body.find(
                R"({"type":"invalid_request_error","message":"generate: the prompt is too long"})"),
            std::string::npos)
      << shorter->answer.body;
}

TEST(Messages, AStreamThatFailsEndsCleanly) {
  for (const Reason reason : {Reason::failed, Reason::ending, Reason::cancelled}) {
    FakeGenerations generations({.steps = {{ContentText{"x"}}}, .end = {reason, "", {}}});
    const auto events = ask(add_messages, generations, "POST", "/v1/messages", kAskStream);
    EXPECT_EQ(names_of(events->answer.body).back(), "error");
    EXPECT_TRUE(events->ended);
    const auto whole = ask(add_messages, generations, "POST", "/v1/messages", kAsk);
    EXPECT_EQ(whole->answer.status, reason == Reason::failed ? 500u : 503u);
    EXPECT_EQ(WireJson::parse(whole->answer.body)["type"], "error");
  }
}

TEST(Messages, WhoReadsNoMoreIsNotWrittenFor) {
  FakeGenerations generations(tool_turn());
  const auto events = ask(add_messages, generations, "POST", "/v1/messages", kAskStream,
                          /*writes_max=*/1);
  EXPECT_FALSE(events->ended) << "a cut stream must not look like a whole one";
  EXPECT_EQ(generations.n_steps_told, 1);
}

TEST(Messages, CountsTokens) {
  for (const char* path : {"/v1/messages/count_tokens", "/anthropic/v1/messages/count_tokens"}) {
    FakeGenerations generations;
    const auto counted = ask(add_messages, generations, "POST", path,
                             R"({"model":"m","messages":[{"role":"user","content":"x"}]})");
    ASSERT_TRUE(counted) << path;
    EXPECT_EQ(counted->answer.body, R"({"input_tokens":321})");
  }
}

struct Refused {
  Refusal::Kind kind;
  unsigned status;
  const char* type;
};
TEST(Messages, RefusalsAreAnthropics) {
  const Refused rows[] = {{Refusal::Kind::invalid, 400, "invalid_request_error"},
                          {Refusal::Kind::too_long, 400, "invalid_request_error"},
                          {Refusal::Kind::not_ready, 503, "overloaded_error"},
                          {Refusal::Kind::failed, 500, "api_error"}};
  for (const Refused& row : rows) {
    for (const char* path : {"/v1/messages", "/v1/messages/count_tokens"}) {
      FakeGenerations generations;
      generations.refusal = Refusal{row.kind, "the prompt is too long"};
      const auto refused = ask(add_messages, generations, "POST", path, kAskStream);
      EXPECT_EQ(refused->answer.status, row.status);
      const WireJson body = WireJson::parse(refused->answer.body);
      EXPECT_EQ(body["error"]["type"], row.type);
      EXPECT_EQ(body["error"]["message"], "the prompt is too long");
      EXPECT_EQ(body["request_id"], header(refused->answer, "request-id"));
    }
  }
  FakeGenerations generations;
  for (const char* body : {"", "{", "[]", R"({"messages":[]})"}) {
    const auto refused = ask(add_messages, generations, "POST", "/v1/messages", body);
    EXPECT_EQ(refused->answer.status, 400u) << body;
    EXPECT_EQ(WireJson::parse(refused->answer.body)["error"]["type"], "invalid_request_error");
  }
}

TEST(Messages, WhatClaudeLooksAtFirstIsThere) {
  FakeGenerations generations;
  for (const char* path : {"/anthropic", "/anthropic/api/hello"}) {
    const auto hello = ask(add_messages, generations, "HEAD", path, "");
    ASSERT_TRUE(hello) << path;
    EXPECT_EQ(hello->answer.status, 200u);
  }
}

TEST(Messages, UnknownPathsBelowAreRefusedInItsWords) {
  Router router;
  FakeGenerations generations;
  add_messages(router, generations);
  for (const char* path : {"/anthropic/v1/files", "/v1/messages/batches"}) {
    EXPECT_FALSE(router.find("POST", path).handler) << path;
    EXPECT_EQ(WireJson::parse(router.refusal(path, 404, "no such path").body)["error"]["type"],
              "not_found_error")
        << path;
  }
}

}  // namespace
}  // namespace lares::daemon
