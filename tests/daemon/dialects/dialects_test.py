"""Messages and Responses from outside, over the Unix socket, with a scripted model. dialects_test.py SCRIPTED_DAEMON"""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
from client import call
from dialect_case import NOISE, DialectCase, main, read_until, rest

SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}, "text": {"type": "string"}}, "required": ["path"]}
CACHE = {"cache_control": {"type": "ephemeral"}}


class Case(DialectCase):
    def events(self, path, **body):
        """What a stream says, each with its name."""
        blocks = [block for block in self.stream(path, **body).split("\n\n") if block and not block.startswith(":")]
        pairs = [block.split("\n", 1) for block in blocks]
        events = [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in pairs]
        self.assertTrue(all(name == data["type"] for name, data in events), events)
        return events


def last_words(response):
    """The last event of what is left on the wire."""
    return json.loads(rest(response).rsplit("data: ", 1)[1].split("\n", 1)[0])


# A call whose argument no strict tool of this schema takes, and an answer that no such format does.
LINES = {"type": "object", "properties": {"lines": {"type": "array", "items": {"enum": [7, 70, 9]}, "minItems": 2, "maxItems": 3}, "deep": {"type": "boolean"}},
         "required": ["lines", "deep"], "additionalProperties": False}
DSML = "｜DSML｜"
ASKED = f'hm</think>\n\n<{DSML}tool_calls>\n<{DSML}invoke name="show">\n<{DSML}parameter name="lines" string="false">[7, "9"]</{DSML}parameter>'
SAID = 'hm</think>Here: {"deep": true, "lines": [7, 8]}'


def obeys(case, arguments):
    case.assertEqual(sorted(arguments), ["deep", "lines"])
    case.assertIsInstance(arguments["deep"], bool)
    case.assertTrue(2 <= len(arguments["lines"]) <= 3 and set(arguments["lines"]) <= {7, 70, 9}, arguments)


class Messages(Case):
    PATH = "/anthropic/v1/messages?beta=true"
    TOOLS = [{"name": "write", "description": "Writes a file.", "input_schema": SCHEMA}]

    def test_a_second_turn_evaluates_what_is_new(self):
        self.start({"text": "hm</think>I write it." + call("write", path="a", text="x")}, {"text": "ok</think>Done."})
        billing = {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.330.9f5;"}
        system = [billing, {"type": "text", "text": "s" * 2000}]
        user = {"role": "user", "content": [{"type": "text", "text": "Write.", **CACHE}]}
        date = {"role": "system", "content": "It is Thursday."}
        status, first = self.whole(self.PATH, max_tokens=4000, system=system, messages=[user, date], tools=self.TOOLS)
        self.assertEqual(status, 200, first)
        self.assertEqual([block["type"] for block in first["content"]], ["thinking", "text", "tool_use"])
        self.assertEqual(first["stop_reason"], "tool_use")
        thought, said, asked = first["content"]
        self.assertEqual((thought["thinking"], said["text"], asked["input"]), ("hm", "I write it.", {"path": "a", "text": "x"}))
        # As clients do: the billing line is another, the cache mark has moved, text is a string, arguments are written anew.
        system = [dict(billing, text="x-anthropic-billing-header: cc_version=2.1.330.777;"), dict(system[1], **CACHE)]
        result = {"type": "tool_result", "tool_use_id": asked["id"], "content": "done", **CACHE}
        again = dict(asked, input={"text": "x", "path": "a"})
        status, second = self.whole(self.PATH, max_tokens=4000, system=system, tools=self.TOOLS, messages=[
            dict(user, content="Write."), date, {"role": "assistant", "content": [thought, said, again]}, {"role": "user", "content": [result]}])
        self.assertEqual(status, 200, second)
        self.assertEqual([block.get("text") for block in second["content"]], [None, "Done."])
        usage, later = first["usage"], second["usage"]
        self.assertEqual(usage["cache_read_input_tokens"], 0)
        self.assertEqual(later["cache_read_input_tokens"], usage["input_tokens"] + usage["output_tokens"] - 1)
        self.assertLess(later["input_tokens"], 100)

    def test_a_prompt_is_read_ahead_of_its_answer(self):
        self.start({"text": "hm</think>Done."})
        body = {"system": "s" * 2000, "messages": [{"role": "user", "content": "Write."}]}
        status, ahead = self.whole(self.PATH, max_tokens=0, **body)
        self.assertEqual((status, ahead["content"], ahead["stop_reason"], ahead["usage"]["output_tokens"]), (200, [], "max_tokens", 0))
        told = [name for name, _ in self.events(self.PATH, max_tokens=0, **body) if name != "ping"]
        self.assertEqual(told, ["message_start", "message_delta", "message_stop"])
        status, answer = self.whole(self.PATH, max_tokens=4000, **body)
        self.assertEqual([block.get("text") for block in answer["content"]], [None, "Done."])
        self.assertGreater(answer["usage"]["cache_read_input_tokens"], ahead["usage"]["input_tokens"] - 100)

    def test_a_stream_says_what_a_whole_answer_does(self):
        answer = {"text": "hm</think>Über.\n" + call("write", path="a", text="\n\"ü\"")}
        self.start(answer, answer)
        body = {"model": "claude-x", "messages": [{"role": "user", "content": "x"}], "tools": self.TOOLS}
        _, whole = self.whole("/v1/messages", **body)
        events = self.events("/v1/messages", **body)
        blocks = [""] * len(whole["content"])
        for name, data in events:
            if name == "content_block_delta":
                blocks[data["index"]] += next((data["delta"][k] for k in ("thinking", "text", "partial_json") if k in data["delta"]), "")
        thought, said, asked = whole["content"]
        self.assertEqual(blocks[:2], [thought["thinking"], said["text"]])
        self.assertEqual(json.loads(blocks[2]), asked["input"])
        self.assertEqual(events[-2][1]["delta"]["stop_reason"], "tool_use")
        self.assertEqual(events[-2][1]["usage"]["output_tokens"], whole["usage"]["output_tokens"])
        self.assertEqual((events[-1][0], events[0][1]["message"]["model"]), ("message_stop", "claude-x"))

    def test_a_number_is_the_one_that_the_model_wrote(self):
        ids = [12345678901234567890123, -9999999999999999999, 10**79]
        lines = f'<{DSML}parameter name="ids" string="false">{json.dumps(ids)}</{DSML}parameter>'
        answer = {"text": "hm</think>So." + call("show").replace(f'<{DSML}invoke name="show">\n', f'<{DSML}invoke name="show">\n{lines}')}
        self.start(answer, answer)
        tools = [{"name": "show", "input_schema": {"type": "object", "properties": {"ids": {"type": "array"}}, "required": ["ids"]}}]
        body = {"messages": [{"role": "user", "content": "x"}], "tools": tools}
        self.assertEqual(self.whole(self.PATH, **body)[1]["content"][-1]["input"], {"ids": ids})
        pieces = [data["delta"].get("partial_json", "") for name, data in self.events(self.PATH, **body) if name == "content_block_delta"]
        self.assertEqual(json.loads("".join(pieces)), {"ids": ids})

    def test_a_stream_ends_whatever_happens(self):
        self.start({"text": "abcdef", "failAt": 3})
        body = {"messages": [{"role": "user", "content": "x"}], "thinking": {"type": "disabled"}}
        name, data = self.events(self.PATH, **body)[-1]
        self.assertEqual((name, data["error"]["type"]), ("error", "api_error"))
        self.assertIn("internal error", data["error"]["message"])
        status, failed = self.whole(self.PATH, **body)
        self.assertEqual((status, failed["type"]), (500, "error"))

    def test_a_stream_ends_with_the_daemon(self):
        self.start({"text": NOISE, "openEnded": True})
        response = self.ask("POST", self.PATH, {"messages": [{"role": "user", "content": "x"}], "stream": True, "thinking": {"type": "disabled"}})
        read_until(response, b'"text":"')
        self.daemon.process.terminate()
        self.assertEqual(last_words(response)["error"]["type"], "overloaded_error")
        self.assertEqual(self.daemon.process.wait(timeout=30), 0)

    def test_schemas_are_obeyed(self):
        self.start({"text": ASKED}, {"text": SAID}, {"text": SAID})
        user = [{"role": "user", "content": "x"}]
        status, answer = self.whole(self.PATH, messages=user, tools=[{"name": "show", "strict": True, "input_schema": LINES}])
        self.assertEqual((status, answer["stop_reason"]), (200, "tool_use"), answer)
        self.assertEqual(answer["content"][-1]["input"]["lines"][0], 7)
        obeys(self, answer["content"][-1]["input"])
        for place in ({"output_config": {"format": {"type": "json_schema", "schema": LINES}}}, {"output_format": {"type": "json_schema", "schema": LINES}}):
            status, answer = self.whole(self.PATH, messages=user, **place)
            self.assertEqual((status, answer["stop_reason"]), (200, "end_turn"), answer)
            obeys(self, json.loads(answer["content"][-1]["text"]))
        status, wrong = self.whole(self.PATH, messages=user, output_config={"format": {"type": "json_schema", "schema": dict(LINES, maxProperties=2)}})
        self.assertEqual((status, wrong["error"]["type"]), (400, "invalid_request_error"))
        self.assertEqual(wrong["error"]["message"], "read output_config.format.schema.maxProperties: it cannot be enforced; leave it out")

    def test_tokens_are_counted_and_mistakes_named(self):
        self.start({"text": "x"})
        _, short = self.whole("/v1/messages/count_tokens", messages=[{"role": "user", "content": "x"}])
        _, long = self.whole("/anthropic/v1/messages/count_tokens", messages=[{"role": "user", "content": "x" * 500}], tools=self.TOOLS)
        self.assertGreater(long["input_tokens"], short["input_tokens"])
        status, wrong = self.whole(self.PATH, messages=[])
        self.assertEqual((status, wrong["error"]["type"]), (400, "invalid_request_error"))
        status, missing = self.whole("/anthropic/v1/files")
        self.assertEqual((status, missing["error"]["type"]), (404, "not_found_error"))
        self.assertEqual(self.ask("HEAD", "/anthropic/api/hello").status, 200)


class Responses(Case):
    PATH = "/v1/responses"
    TOOLS = [{"type": "namespace", "name": "mcp__fs", "tools": [{"type": "function", "name": "write", "parameters": SCHEMA}]},
             {"type": "custom", "name": "apply_patch", "description": "Patches."}, {"type": "web_search"}]
    USER = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Write."}]}

    def test_a_second_turn_evaluates_what_is_new(self):
        self.start({"text": "hm</think>I write it." + call("mcp__fs__write", path="a", text="x")}, {"text": "ok</think>Done."})
        developer = {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "s" * 2000}]}
        body = {"tools": self.TOOLS, "store": False, "prompt_cache_key": "k", "include": ["reasoning.encrypted_content"]}
        status, first = self.whole(self.PATH, input=[developer, self.USER], **body)
        self.assertEqual(status, 200, first)
        thought, said, asked = first["output"]
        self.assertEqual((asked["type"], asked["namespace"], asked["name"]), ("function_call", "mcp__fs", "write"))
        # As the AI SDK does: nothing of the thought but its handle, arguments written anew.
        handle = {"type": "reasoning", "id": thought["id"], "summary": [], "encrypted_content": thought["encrypted_content"]}
        again = dict(asked, arguments=json.dumps({"text": "x", "path": "a"}))
        output = {"type": "function_call_output", "call_id": asked["call_id"], "output": "done"}
        status, second = self.whole(self.PATH, input=[developer, self.USER, handle, said, again, output], **body)
        self.assertEqual(status, 200, second)
        self.assertEqual(second["output"][-1]["content"][0]["text"], "Done.")
        usage, later = first["usage"], second["usage"]
        self.assertEqual(later["input_tokens_details"]["cached_tokens"], usage["input_tokens"] + usage["output_tokens"] - 1)

    def test_a_custom_tool_gets_its_text(self):
        patch = "*** Begin Patch\n*** Add File: a\n+\"x\"\n*** End Patch\n"
        self.start({"text": "hm</think>" + call("apply_patch", input=patch)})
        events = self.events("/responses", input=[self.USER], tools=self.TOOLS)
        item = events[-1][1]["response"]["output"][-1]
        self.assertEqual((item["type"], item["input"]), ("custom_tool_call", patch))
        self.assertEqual([data["sequence_number"] for _, data in events], list(range(len(events))))

    def test_a_stream_ends_whatever_happens(self):
        self.start({"text": "abcdef", "failAt": 3})
        body = {"input": "x", "reasoning": {"effort": "none"}}
        name, data = self.events(self.PATH, **body)[-1]
        self.assertEqual((name, data["response"]["status"]), ("response.failed", "failed"))
        self.assertIn("internal error", data["response"]["error"]["message"])
        status, failed = self.whole(self.PATH, **body)
        self.assertEqual((status, failed["error"]["type"]), (500, "server_error"))

    def test_a_stream_ends_with_the_daemon(self):
        self.start({"text": NOISE, "openEnded": True})
        response = self.ask("POST", self.PATH, {"input": "x", "stream": True, "reasoning": {"effort": "none"}})
        read_until(response, b'"delta":"')
        self.daemon.process.terminate()
        self.assertEqual(last_words(response)["type"], "response.failed")
        self.assertEqual(self.daemon.process.wait(timeout=30), 0)

    def test_schemas_are_obeyed(self):
        self.start({"text": ASKED}, {"text": SAID})
        tool = {"type": "function", "name": "show", "strict": True, "parameters": LINES}
        status, answer = self.whole(self.PATH, input="x", tools=[tool])
        self.assertEqual(status, 200, answer)
        obeys(self, json.loads(answer["output"][-1]["arguments"]))
        form = {"type": "json_schema", "name": "s", "strict": True, "schema": LINES}
        status, answer = self.whole(self.PATH, input="x", text={"format": form})
        self.assertEqual((status, answer["status"]), (200, "completed"), answer)
        obeys(self, json.loads(answer["output"][-1]["content"][0]["text"]))
        status, wrong = self.whole(self.PATH, input="x", text={"format": dict(form, schema=dict(LINES, minProperties=1))})
        self.assertEqual((status, wrong["error"]["param"]), (400, "text.format.schema.minProperties"))
        status, wrong = self.whole(self.PATH, input="x", tools=[dict(tool, parameters=dict(LINES, oneOf=[]))])
        self.assertEqual((status, wrong["error"]["param"]), (400, "tools[0].parameters.oneOf"))

    def test_mistakes_are_named(self):
        self.start({"text": "x"})
        status, wrong = self.whole(self.PATH, input="x", previous_response_id="resp_1")
        self.assertEqual((status, wrong["error"]["param"]), (400, "previous_response_id"))
        response = self.ask("GET", self.PATH)
        self.assertEqual((response.status, json.loads(response.read())["error"]["code"]), (404, "not_found"))


if __name__ == "__main__":
    main()
