// Responses answers as clients read them: exact events, whole responses, refusals; and what is
// asked of the model by which path.
#include <gtest/gtest.h>

#include "daemon/dialects/dialects.h"
#include "daemon/dialects/responses_answer.h"
#include "daemon/dialects/thoughts.h"
#include "tests/daemon/dialects/answers.h"

namespace lares::daemon {
namespace {

using namespace test;
using Reason = GenerationEnd::Reason;

const ResponsesTools kTools = {{"mcp__so__probe", {false, "mcp__so", "probe"}},
                               {"apply_patch", {true, "", "apply_patch"}}};

ResponsesAnswer fresh() {
  return ResponsesAnswer("resp_7", "gpt-x", 1700000000, kTools, {{"store", false}});
}
std::string stream_of(const std::vector<GenerationEvent>& events, const GenerationEnd& end) {
  ResponsesAnswer answer = fresh();
  return streamed(answer, events, end);
}
std::string stream_of(const Script& script) { return stream_of(all_events(script), script.end); }

// One event of a stream, by its name; of several the n-th.
WireJson event_of(const std::string& stream, const std::string& name, int n = 0) {
  for (const Sent& sent : sent_events(stream)) {
    if (sent.name == name && n-- == 0) return WireJson::parse(sent.data);
  }
  ADD_FAILURE() << "no " << name << " in\n" << stream;
  return {};
}

TEST(ResponsesStream, IsExactlyThis) {
  const Script script{
      .steps = {{ReasoningText{"Hm"}, ContentText{"Hi"}, CallDone{0, "call_a", "f", "{\"n\":1}"}}},
      .end = {Reason::calls, "", kUsage}};
  const std::string sealed = sealed_thought("Hm");
  const std::string reasoning =
      R"({"id":"rs_7_0","type":"reasoning","status":"completed","summary":[],"content":[{"type":"reasoning_text","text":"Hm"}],"encrypted_content":")" +
      sealed + R"("})";
  const std::string message =
      R"({"id":"msg_7_1","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hi","annotations":[],"logprobs":[]}]})";
  const std::string call =
      R"({"id":"fc_7_2","type":"function_call","status":"completed","call_id":"call_a","name":"f","arguments":"{\"n\":1}"})";
  EXPECT_EQ(
      stream_of(script),
      R"(event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_7","object":"response","created_at":1700000000,"status":"in_progress","error":null,"incomplete_details":null,"model":"gpt-x","output":[],"usage":null,"user":null,"store":false}}

event: response.in_progress
data: {"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_7","object":"response","created_at":1700000000,"status":"in_progress","error":null,"incomplete_details":null,"model":"gpt-x","output":[],"usage":null,"user":null,"store":false}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"id":"rs_7_0","type":"reasoning","status":"in_progress","summary":[],"content":[]}}

event: response.content_part.added
data: {"type":"response.content_part.added","sequence_number":3,"item_id":"rs_7_0","output_index":0,"content_index":0,"part":{"type":"reasoning_text","text":""}}

event: response.reasoning_text.delta
data: {"type":"response.reasoning_text.delta","sequence_number":4,"item_id":"rs_7_0","output_index":0,"content_index":0,"delta":"Hm"}

event: response.reasoning_text.done
data: {"type":"response.reasoning_text.done","sequence_number":5,"item_id":"rs_7_0","output_index":0,"content_index":0,"text":"Hm"}

event: response.content_part.done
data: {"type":"response.content_part.done","sequence_number":6,"item_id":"rs_7_0","output_index":0,"content_index":0,"part":{"type":"reasoning_text","text":"Hm"}}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":7,"output_index":0,"item":)" +
          reasoning + R"(}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":8,"output_index":1,"item":{"id":"msg_7_1","type":"message","status":"in_progress","role":"assistant","content":[]}}

event: response.content_part.added
data: {"type":"response.content_part.added","sequence_number":9,"item_id":"msg_7_1","output_index":1,"content_index":0,"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":10,"item_id":"msg_7_1","output_index":1,"content_index":0,"delta":"Hi","logprobs":[]}

event: response.output_text.done
data: {"type":"response.output_text.done","sequence_number":11,"item_id":"msg_7_1","output_index":1,"content_index":0,"text":"Hi","logprobs":[]}

event: response.content_part.done
data: {"type":"response.content_part.done","sequence_number":12,"item_id":"msg_7_1","output_index":1,"content_index":0,"part":{"type":"output_text","text":"Hi","annotations":[],"logprobs":[]}}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":13,"output_index":1,"item":)" +
          message + R"(}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":14,"output_index":2,"item":{"id":"fc_7_2","type":"function_call","status":"in_progress","call_id":"call_a","name":"f","arguments":""}}

event: response.function_call_arguments.delta
data: {"type":"response.function_call_arguments.delta","sequence_number":15,"item_id":"fc_7_2","output_index":2,"delta":"{\"n\":1}"}

event: response.function_call_arguments.done
data: {"type":"response.function_call_arguments.done","sequence_number":16,"item_id":"fc_7_2","output_index":2,"name":"f","arguments":"{\"n\":1}"}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":17,"output_index":2,"item":)" +
          call + R"(}

event: response.completed
data: {"type":"response.completed","sequence_number":18,"response":{"id":"resp_7","object":"response","created_at":1700000000,"status":"completed","error":null,"incomplete_details":null,"model":"gpt-x","output":[)" +
          reasoning + "," + message + "," + call +
          R"(],"usage":{"input_tokens":100,"input_tokens_details":{"cached_tokens":64},"output_tokens":20,"output_tokens_details":{"reasoning_tokens":7},"total_tokens":120},"user":null,"store":false}}

)");
}

TEST(ResponsesStream, DoesNotDependOnHowItWasCut) {
  const Script script = tool_turn("apply_patch", "mcp__so__probe");
  const std::string want = joined(stream_of(script));
  for (const auto& events : cut_everywhere(all_events(script)))
    EXPECT_EQ(joined(stream_of(events, script.end)), want);
}

TEST(ResponsesStream, ACustomToolIsCalledWithItsText) {
  const std::string patch = "*** Begin Patch\n\"é\"\n",
                    arguments = WireJson{{"input", patch}}.dump();
  const std::string stream = stream_of(
      {CallBegun{0, "call_p", "apply_patch"}, CallArguments{0, arguments.substr(0, 9)},
       CallArguments{0, arguments.substr(9)}, CallDone{0, "call_p", "apply_patch", arguments}},
      {Reason::calls, "", kUsage});
  std::vector<std::string> names = names_of(stream);
  names.erase(names.begin(), names.begin() + 2);
  EXPECT_EQ(names, (std::vector<std::string>{"response.output_item.added",
                                             "response.custom_tool_call_input.delta",
                                             "response.custom_tool_call_input.done",
                                             "response.output_item.done", "response.completed"}));
  const WireJson item = event_of(stream, "response.output_item.done")["item"];
  EXPECT_EQ(item["type"], "custom_tool_call");
  EXPECT_EQ(item["name"], "apply_patch");
  EXPECT_EQ(item["call_id"], "call_p");
  EXPECT_EQ(item["input"], patch);
  EXPECT_FALSE(item.contains("arguments"));
}

TEST(ResponsesStream, AToolInANamespaceIsCalledByBoth) {
  const std::string stream = stream_of({CallDone{0, "c", "mcp__so__probe", "{}"}},
                                       {Reason::calls, "", kUsage});
  for (const char* name : {"response.output_item.added", "response.output_item.done"}) {
    const WireJson item = event_of(stream, name)["item"];
    EXPECT_EQ(item["namespace"], "mcp__so");
    EXPECT_EQ(item["name"], "probe");
  }
}

// What each client cannot do without: there, and in this order.
TEST(ResponsesStream, HasTheEventsThatClientsBreakWithout) {
  const auto names = names_of(stream_of(tool_turn()));
  std::vector<std::string> needed;
  for (const std::string& name : names) {
    if (name.ends_with("added") || name.ends_with("done") || name == "response.completed")
      needed.push_back(name.substr(9));
  }
  EXPECT_EQ(
      needed,
      (std::vector<std::string>{
          "output_item.added", "content_part.added", "reasoning_text.done", "content_part.done",
          "output_item.done",  // thought
          "output_item.added", "content_part.added", "output_text.done", "content_part.done",
          "output_item.done",                                                       // said
          "output_item.added", "function_call_arguments.done", "output_item.done",  // called
          "output_item.added", "function_call_arguments.done", "output_item.done", "completed"}));
}

TEST(ResponsesStream, SequenceNumbersCountFromZero) {
  std::int64_t n = 0;
  for (const Sent& sent : sent_events(stream_of(tool_turn()))) {
    const WireJson data = WireJson::parse(sent.data);
    EXPECT_EQ(data["sequence_number"], n++);
    EXPECT_EQ(data["type"], sent.name);
  }
}

TEST(ResponsesStream, CutAtTheLimitIsIncomplete) {
  for (const Reason reason : {Reason::length, Reason::context}) {
    const std::string said = stream_of({ContentText{"half"}}, {reason, "", kUsage});
    EXPECT_EQ(names_of(said).back(), "response.incomplete");
    const WireJson response = event_of(said, "response.incomplete")["response"];
    EXPECT_EQ(response["status"], "incomplete");
    EXPECT_EQ(response["incomplete_details"]["reason"], "max_output_tokens");
    EXPECT_EQ(response["output"][0]["status"], "incomplete");
    EXPECT_EQ(response["usage"]["total_tokens"], 120);
  }

  const std::string called = stream_of({CallBegun{0, "c", "f"}, CallArguments{0, "{\"a\":"}},
                                       {Reason::length, "", kUsage});
  const auto names = names_of(called);
  EXPECT_EQ(std::count(names.begin(), names.end(), "response.output_item.done"), 0)
      << "clients would run it";
  EXPECT_EQ(event_of(called, "response.incomplete")["response"]["output"].size(), 0u);
}

TEST(ResponsesStream, EndsWithFailedWhereThereIsNoAnswer) {
  for (const Reason reason : {Reason::failed, Reason::ending, Reason::cancelled}) {
    const std::string stream = stream_of(
        {ReasoningText{"t"}, ContentText{"x"}},
        {reason, reason == Reason::failed ? "evaluate: no memory" : "", {}});
    EXPECT_EQ(names_of(stream).back(), "response.failed");
    const WireJson response = event_of(stream, "response.failed")["response"];
    EXPECT_EQ(response["status"], "failed");
    EXPECT_EQ(response["error"]["code"], "server_error");
    EXPECT_FALSE(response["error"]["message"].get<std::string>().empty());
    EXPECT_EQ(response["output"].size(), 1u) << "the thought, which was whole";
  }
}

// ---- over HTTP

constexpr const char* kAsk = R"({"model":"gpt-x","input":"x"})";
constexpr const char* kAskStream = R"({"model":"gpt-x","stream":true,"input":"x"})";

TEST(Responses, StreamAndWholeByEitherPath) {
  for (const char* path : {"/v1/responses", "/responses"}) {
    FakeGenerations whole(tool_turn());
    const auto response = ask(add_responses, whole, "POST", path, kAsk);
    ASSERT_TRUE(response) << path;
    EXPECT_EQ(response->answer.status, 200u);
    const WireJson body = WireJson::parse(response->answer.body);
    EXPECT_EQ(body["status"], "completed");
    EXPECT_EQ(body["store"], false);
    EXPECT_EQ(body["output"].size(), 4u);
    EXPECT_NE(body["output"][2]["call_id"], body["output"][3]["call_id"]);

    FakeGenerations stream(tool_turn());
    const auto events = ask(add_responses, stream, "POST", path, kAskStream);
    EXPECT_EQ(events->request().body, "") << "it is read, and let go";
    EXPECT_TRUE(events->streamed);
    EXPECT_TRUE(events->ended);
    EXPECT_EQ(names_of(events->answer.body).back(), "response.completed");
    EXPECT_EQ(events->answer.body.find("[DONE]"), std::string::npos);
  }
}

// Codex counts events alone as signs of life; other clients like comments better.
TEST(Responses, ASilentStreamSaysNowAndThenByAnEventThatItLives) {
  FakeGenerations generations(tool_turn());
  const auto ex = ask(add_responses, generations, "POST", "/v1/responses", kAskStream);
  const auto n_events = static_cast<std::int64_t>(names_of(ex->answer.body).size());
  for (int event = 0; event < 2; ++event) {
    for (int i = 0; i < kCommentsMax; ++i) EXPECT_EQ(ex->keep_alive(), ": keep-alive\n\n");
    const WireJson kept = event_of(ex->keep_alive(), "keepalive");
    EXPECT_EQ(kept["type"], "keepalive");
    EXPECT_EQ(kept["sequence_number"], n_events + event);
  }
}

TEST(Responses, AnEventIsASignOfLifeByItself) {
  ResponsesAnswer answer = fresh();
  const auto keep_alive = answer.keep_alive();
  for (int i = 0; i < 3 * kCommentsMax; ++i) {
    EXPECT_TRUE(keep_alive().starts_with(":")) << i;
    if (i % kCommentsMax == kCommentsMax - 1) answer.add(ContentText{"a"});
  }
}

TEST(Responses, AStreamSaysByEventsThatItLivesWhileTheModelLoads) {
  FakeGenerations generations(tool_turn());
  generations.is_loading = true;
  const auto ex = ask(add_responses, generations, "POST", "/v1/responses", kAskStream);
  ASSERT_EQ(ex->keep_alives.size(), 2u);
  const auto n_events = static_cast<std::int64_t>(names_of(ex->answer.body).size());
  const auto& while_it_loads = ex->keep_alives[0];
  for (int i = 0; i < kCommentsMax; ++i) EXPECT_EQ(while_it_loads(), ": keep-alive\n\n");
  const WireJson kept = event_of(while_it_loads(), "keepalive");
  EXPECT_EQ(kept["sequence_number"], n_events) << "it counts as those of the answer do";
}

// OpenAI's SDKs throw at a stream whose first event is another.
TEST(Responses, TheFirstEventIsThatTheResponseIsCreatedHoweverLongTheModelLoads) {
  ResponsesAnswer answer = fresh();
  const auto while_it_loads = answer.keep_alive();
  std::string sent;
  for (int i = 0; i < 2 * (kCommentsMax + 1); ++i) {
    const std::string said = while_it_loads();
    if (!said.starts_with(":")) sent += said;
  }
  sent += streamed(answer, {ContentText{"Hi"}}, {Reason::stop, "", kUsage});
  auto names = names_of(sent);
  ASSERT_GT(names.size(), 4u);
  EXPECT_EQ(event_of(sent, "response.created")["response"],
            event_of(stream_of({ContentText{"Hi"}}, {Reason::stop, "", kUsage}),
                     "response.created")["response"]);
  std::int64_t n = 0;
  for (const Sent& event : sent_events(sent))
    EXPECT_EQ(WireJson::parse(event.data)["sequence_number"], n++);
  EXPECT_EQ(std::count(names.begin(), names.end(), "response.created"), 1);
  EXPECT_EQ(names.back(), "response.completed");
  names.resize(4);
  EXPECT_EQ(names, (std::vector<std::string>{"response.created", "response.in_progress",
                                             "keepalive", "response.output_item.added"}));
}

TEST(Responses, AStreamThatBeganWhileTheModelLoadedSaysWhyThereIsNone) {
  FakeGenerations generations(tool_turn());
  generations.is_loading = true;
  const auto answered = ask(add_responses, generations, "POST", "/v1/responses", kAskStream);
  EXPECT_EQ(answered->n_begins, 2);
  EXPECT_EQ(names_of(answered->answer.body).back(), "response.completed");
  generations.refusal = Refusal{Refusal::Kind::failed, "generate: it is broken", ""};
  const auto refused = ask(add_responses, generations, "POST", "/v1/responses", kAskStream);
  const WireJson failed = event_of(refused->answer.body, "response.failed");
  EXPECT_EQ(failed["response"]["error"]["message"], "generate: it is broken");
  EXPECT_TRUE(refused->ended);
  const auto whole = ask(add_responses, generations, "POST", "/v1/responses", kAsk);
  EXPECT_EQ(whole->answer.status, 500u);
}

// Whether another try makes sense agents tell by the code.
TEST(Responses, AStreamThatHadBegunSaysWhatIsWrongWithTheRequest) {
  FakeGenerations generations;
  generations.is_loading = true;
  const std::pair<Refusal::Kind, const char*> codes[] = {
      {Refusal::Kind::too_long, "context_length_exceeded"},
      {Refusal::Kind::invalid, "invalid_prompt"},
      {Refusal::Kind::not_ready, "server_error"}};
  for (const auto& [kind, code] : codes) {
    generations.refusal = Refusal{kind, "generate: no"};
    const auto told = ask(add_responses, generations, "POST", "/v1/responses", kAskStream);
    EXPECT_EQ(told->answer.status, 200u);
    const WireJson error = event_of(told->answer.body, "response.failed")["response"]["error"];
    EXPECT_EQ(error["code"], code);
    EXPECT_EQ(error["message"], "generate: no");
  }
}

TEST(Responses, AStreamThatFailsEndsCleanly) {
  for (const Reason reason : {Reason::failed, Reason::ending, Reason::cancelled}) {
    FakeGenerations generations({.steps = {{ContentText{"x"}}}, .end = {reason, "", {}}});
    const auto events = ask(add_responses, generations, "POST", "/v1/responses", kAskStream);
    EXPECT_EQ(names_of(events->answer.body).back(), "response.failed");
    EXPECT_TRUE(events->ended);
    const auto whole = ask(add_responses, generations, "POST", "/v1/responses", kAsk);
    EXPECT_EQ(whole->answer.status, reason == Reason::failed ? 500u : 503u);
    EXPECT_EQ(WireJson::parse(whole->answer.body)["error"]["type"], "server_error");
  }
}

TEST(Responses, WhoReadsNoMoreIsNotWrittenFor) {
  FakeGenerations generations(tool_turn());
  const auto events = ask(add_responses, generations, "POST", "/v1/responses", kAskStream,
                          /*writes_max=*/1);
  EXPECT_FALSE(events->ended) << "a cut stream must not look like a whole one";
  EXPECT_EQ(generations.n_steps_told, 1);
}

TEST(Responses, RefusalsAreOpenAIs) {
  FakeGenerations generations;
  generations.refusal = Refusal{Refusal::Kind::too_long, "the prompt is too long"};
  const auto refused = ask(add_responses, generations, "POST", "/v1/responses", kAskStream);
  EXPECT_EQ(refused->answer.status, 400u);
  EXPECT_EQ(WireJson::parse(refused->answer.body)["error"]["code"], "context_length_exceeded");
  for (const char* body : {"", "{", "[]", R"({"input":"x","previous_response_id":"resp_1"})"}) {
    const auto invalid = ask(add_responses, generations, "POST", "/v1/responses", body);
    EXPECT_EQ(invalid->answer.status, 400u) << body;
    EXPECT_EQ(WireJson::parse(invalid->answer.body)["error"]["type"], "invalid_request_error");
  }
}

// Codex asks for a WebSocket first.
TEST(Responses, NothingIsThereToBeRead) {
  FakeGenerations generations;
  for (const char* path : {"/v1/responses", "/responses", "/v1/responses/resp_1"}) {
    const auto found = ask(add_responses, generations, "GET", path, "");
    ASSERT_TRUE(found) << path;
    EXPECT_EQ(found->answer.status, 404u) << path;
    EXPECT_EQ(WireJson::parse(found->answer.body)["error"]["code"], "not_found");
  }
}

}  // namespace
}  // namespace lares::daemon
