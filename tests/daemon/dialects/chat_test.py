"""Chat Completions from outside, over the Unix socket, with a scripted model. chat_test.py SCRIPTED_DAEMON"""
import json
import os
import pathlib
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
from client import call
from dialect_case import NOISE, DialectCase, main, read_until, rest

TOOL = {"type": "function", "function": {"name": "write", "description": "Writes a file.", "parameters": {
    "type": "object", "properties": {"path": {"type": "string"}, "text": {"type": "string"}}, "required": ["path"]}}}


class ChatTest(DialectCase):
    PATH = "/v1/chat/completions"

    def chat(self, path=PATH, **body):
        return self.whole(path, **body)

    def chunks(self, **body):
        """The payloads of a stream; the last must be [DONE]."""
        events = [line[6:] for line in self.stream(self.PATH, **body).split("\n") if line.startswith("data: ")]
        self.assertEqual(events[-1], "[DONE]")
        return [json.loads(event) for event in events[:-1]]

    def logged(self):
        with open(os.path.join(self.home, "log"), encoding="utf-8") as f:
            return [line for line in f.read().splitlines() if "generation.end" in line]

    def wait_for_ends(self, n):
        """Of so many generations."""
        for _ in range(n):
            self.daemon.wait_for_log("generation.end", self.daemon.process)

    def test_a_tool_whose_reference_leads_nowhere_needs_properties_of_its_own(self):
        self.start({"text": "hm</think>Hello."})
        def asked(**parameters):
            tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "$ref": "#/$defs/gone", **parameters}}}
            return self.chat(messages=[{"role": "user", "content": "Hi."}], tools=[tool])
        status, refused = asked()
        self.assertEqual((status, refused["error"]["param"]), (400, "tools[0].function.parameters.$ref"))
        self.assertIn("put the definition there", refused["error"]["message"])
        self.assertEqual(asked(properties={"q": {"type": "string"}})[0], 200)

    def test_a_second_turn_evaluates_what_is_new(self):
        said = "I write it." + call("write", path="a", text="x")
        self.start({"text": "hm</think>" + said}, {"text": "ok</think>Done."})
        messages = [{"role": "system", "content": "s" * 2000}, {"role": "user", "content": "Write."}]
        status, first = self.chat(messages=messages, tools=[TOOL])
        self.assertEqual(status, 200, first)
        message = first["choices"][0]["message"]
        self.assertEqual(first["choices"][0]["finish_reason"], "tool_calls")
        self.assertEqual((message["reasoning_content"], message["content"]), ("hm", "I write it."))
        asked = message["tool_calls"][0]
        self.assertEqual(json.loads(asked["function"]["arguments"]), {"path": "a", "text": "x"})
        # As clients do: arguments written anew, reasoning left out.
        again = {"role": "assistant", "content": message["content"], "tool_calls": [
            {"id": asked["id"], "type": "function", "function": {"name": "write", "arguments": json.dumps({"text": "x", "path": "a"}, separators=(",", ":"))}}]}
        status, second = self.chat(messages=messages + [again, {"role": "tool", "tool_call_id": asked["id"], "content": "done"}], tools=[TOOL])
        self.assertEqual(status, 200, second)
        self.assertEqual(second["choices"][0]["message"]["content"], "Done.")
        usage = first["usage"]
        self.assertEqual(usage["prompt_cache_hit_tokens"], 0)
        self.assertEqual(second["usage"]["prompt_cache_hit_tokens"], usage["prompt_tokens"] + usage["completion_tokens"] - 1)
        self.assertEqual(second["usage"]["prompt_tokens_details"]["cached_tokens"] + second["usage"]["prompt_cache_miss_tokens"], second["usage"]["prompt_tokens"])

    def test_a_stream_says_what_a_whole_answer_does(self):
        answer = {"text": "hm</think>Über.\n" + call("write", path="a", text="\n\"ü\"")}
        self.start(answer, answer)
        body = {"messages": [{"role": "user", "content": "x"}], "tools": [TOOL], "model": "deepseek-v4-pro"}
        _, whole = self.chat(**body)
        chunks = self.chunks(stream_options={"include_usage": True}, **body)
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
        message = whole["choices"][0]["message"]
        self.assertEqual("".join(delta.get("reasoning_content") or "" for delta in deltas), message["reasoning_content"])
        self.assertEqual("".join(delta.get("content") or "" for delta in deltas), message["content"])
        arguments = "".join(piece["function"]["arguments"] for delta in deltas for piece in delta.get("tool_calls", []))
        self.assertEqual(arguments, message["tool_calls"][0]["function"]["arguments"])
        self.assertEqual(chunks[-2]["choices"][0]["finish_reason"], whole["choices"][0]["finish_reason"])
        self.assertEqual(chunks[-1]["usage"]["completion_tokens"], whole["usage"]["completion_tokens"])
        self.assertEqual({chunk["model"] for chunk in chunks}, {"deepseek-v4-pro"})
        self.assertEqual(len({chunk["id"] for chunk in chunks}), 1)

    def test_who_hangs_up_stops_the_decode_and_keeps_the_prefill(self):
        self.start({"text": NOISE, "openEnded": True}, {"text": "Done."})
        body = {"messages": [{"role": "user", "content": "x" * 3000}], "thinking": {"type": "disabled"}}
        connection = self.connect()
        response = connection.ask("POST", self.PATH, dict(body, stream=True))
        read_until(response, b'"delta":{"content":"')
        response.close()
        connection.close()
        self.wait_for_ends(1)
        self.assertIn("stop=cancelled", self.logged()[0])
        _, again = self.chat(**body)
        usage = again["usage"]
        self.assertEqual(usage["prompt_cache_hit_tokens"], (usage["prompt_tokens"] - 1) // 128 * 128)

    def test_a_stream_ends_whatever_happens(self):
        self.start({"text": "abcdef", "failAt": 3})
        chunks = self.chunks(messages=[{"role": "user", "content": "x"}], thinking={"type": "disabled"})
        why = chunks.pop(-2)
        self.assertEqual((why["error"]["message"], why["error"]["type"]), ("generate: internal error: the script fails here", "server_error"))
        self.assertEqual("".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks), "abc")
        self.assertEqual(chunks[-1]["choices"][0]["finish_reason"], "insufficient_system_resource")
        status, failed = self.chat(messages=[{"role": "user", "content": "x"}])
        self.assertEqual((status, failed["error"]["type"]), (500, "server_error"))

    def test_a_stream_ends_with_the_daemon(self):
        self.start({"text": NOISE, "openEnded": True})
        response = self.ask("POST", self.PATH, {"messages": [{"role": "user", "content": "x"}], "stream": True, "thinking": {"type": "disabled"}})
        read_until(response, b'"delta":{"content":"')
        self.daemon.process.terminate()
        left = rest(response)
        self.assertTrue(left.endswith("data: [DONE]\n\n"), left[-300:])
        self.assertIn('"finish_reason":"insufficient_system_resource"', left)
        self.assertIn('{"error":{"message":"generate: service unavailable', left[-1000:])
        self.assertEqual(self.daemon.process.wait(timeout=30), 0)

    def test_many_at_once(self):
        n = 40
        self.start(*[{"text": NOISE}] * n)
        answers = []

        def one(i):
            chunks = self.chunks(messages=[{"role": "user", "content": f"{i}" * 50}], thinking={"type": "disabled"})
            answers.append("".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks))

        threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(answers, [NOISE] * n)

    def test_an_answer_obeys_its_schema(self):
        self.start({"text": "hm</think>Sure! Here it is: {\"n\": 12.5, \"tags\": [\"z\"]}"})
        schema = {"type": "object", "properties": {"name": {"type": "string"}, "n": {"type": "integer", "minimum": 3, "maximum": 40},
                                                   "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 1, "maxItems": 2}, "none": {"type": "null"}},
                  "required": ["name", "n", "tags", "none"], "additionalProperties": False}
        status, answer = self.chat(messages=[{"role": "user", "content": "x"}],
                                   response_format={"type": "json_schema", "json_schema": {"name": "s", "strict": True, "schema": schema}})
        self.assertEqual(status, 200, answer)
        self.assertEqual(answer["choices"][0]["finish_reason"], "stop")
        document = json.loads(answer["choices"][0]["message"]["content"])
        self.assertEqual(list(document), ["name", "n", "tags", "none"])
        self.assertEqual((document["name"], document["none"]), ("Sure! Here it is: {", None))  # what may be written is
        self.assertTrue(isinstance(document["n"], int) and 3 <= document["n"] <= 40, document)
        self.assertTrue(1 <= len(document["tags"]) <= 2 and set(document["tags"]) <= {"a", "b"}, document)

    def test_a_strict_tool_obeys_its_schema(self):
        lines = {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2, "maxItems": 3}
        tool = {"type": "function", "function": {"name": "show", "strict": True, "parameters": {
            "type": "object", "properties": {"path": {"type": "string"}, "lines": lines}, "required": ["path", "lines"], "additionalProperties": False}}}
        asked = "hm</think>\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"show\">\n<｜DSML｜parameter name=\"lines\" string=\"false\">[7, \"8\"]</｜DSML｜parameter>"
        self.start({"text": asked})
        status, answer = self.chat(messages=[{"role": "user", "content": "x"}], tools=[tool])
        self.assertEqual(status, 200, answer)
        arguments = json.loads(answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"])
        self.assertEqual(sorted(arguments), ["lines", "path"])
        self.assertEqual(arguments["lines"][0], 7)
        self.assertTrue(2 <= len(arguments["lines"]) <= 3 and all(isinstance(n, int) and n >= 1 for n in arguments["lines"]), arguments)
        lines["uniqueItems"] = True
        status, wrong = self.chat(messages=[{"role": "user", "content": "x"}], tools=[tool])
        self.assertEqual((status, wrong["error"]["param"]), (400, "tools[0].function.parameters.properties.lines.uniqueItems"))

    def test_what_is_wrong_is_said(self):
        self.start({"text": "x"})
        status, wrong = self.chat(messages=[{"role": "user", "content": "x"}], max_tokens=0)
        self.assertEqual((status, wrong["error"]["param"], wrong["error"]["type"]), (400, "max_tokens", "invalid_request_error"))
        status, gone = self.chat(path="/chat/completions", messages=[{"role": "user", "content": "x"}], model="deepseek-chat")
        self.assertEqual((status, gone["error"]["code"]), (404, "model_not_found"))
        models = json.loads(self.ask("GET", "/v1/models").read())["data"]
        self.assertEqual([model["id"] for model in models], ["deepseek-v4-flash", "deepseek-v4-pro"])

    def test_a_tool_with_a_parameter_that_no_call_can_name_is_refused(self):
        self.start({"text": "hm</think>Done."})
        for name in ("a>b", 'a"b', "a\nb", "x" * 401, ""):
            tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"ok": {}, name: {"type": "string"}}}}}
            for strict in (False, True):
                tool["function"]["strict"] = strict
                status, wrong = self.chat(messages=[{"role": "user", "content": "x"}], tools=[tool])
                self.assertEqual(status, 400, name)
                self.assertIn("a parameter's name is 1 to 400 bytes without quotes, angle brackets and control characters", wrong["error"]["message"])

    def test_a_last_message_of_the_assistants_is_answered(self):
        """As opencode sends it when the steps it may take are used up."""
        self.start({"text": "hm</think>It is half done."}, {"text": " and more"}, {"text": "print(1)\nprint(2)"}, {"text": "print(1)\nprint(2)"}, {"text": " and so on"})
        messages = [{"role": "user", "content": "Do it."}, {"role": "assistant", "content": "No steps are left. Sum up in text."}]
        status, answer = self.chat(messages=messages, tools=[TOOL], tool_choice="none")
        self.assertEqual(status, 200, answer)
        self.assertEqual(answer["choices"][0]["message"]["content"], "It is half done.")
        status, answer = self.chat(path="/beta/chat/completions", messages=[messages[0], dict(messages[1], prefix=True)], thinking={"type": "disabled"})
        self.assertEqual((status, answer["choices"][0]["message"]["content"]), (200, " and more"))
        messages[1]["content"] = "```python\n"  # whose end the client has already
        status, answer = self.chat(path="/beta/chat/completions", messages=[messages[0], dict(messages[1], prefix=True)], thinking={"type": "disabled"}, stop=["\n"])
        self.assertEqual((status, answer["choices"][0]["message"]["content"], answer["choices"][0]["finish_reason"]), (200, "print(1)", "stop"))
        status, answer = self.chat(path="/beta/chat/completions", messages=[messages[0], dict(messages[1], prefix=True)], thinking={"type": "disabled"})
        self.assertEqual(answer["choices"][0]["message"]["content"], "print(1)\nprint(2)")
        quoted = 'It says </think>\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name="write">\n<｜DSML｜parameter name="path" string="true">/etc</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>'
        status, answer = self.chat(path="/beta/chat/completions", messages=[messages[0], {"role": "assistant", "content": "", "reasoning_content": quoted, "prefix": True}], tools=[TOOL], max_tokens=4)
        said = answer["choices"][0]
        self.assertEqual((status, said["finish_reason"], said["message"].get("tool_calls"), said["message"]["content"]), (200, "length", None, ""))
        self.assertEqual(said["message"]["reasoning_content"], " and")
        messages[1]["content"] = "No steps are left."
        messages[1]["tool_calls"] = [{"id": "1", "type": "function", "function": {"name": "write", "arguments": "{}"}}]
        status, waits = self.chat(messages=messages, tools=[TOOL])
        self.assertEqual((status, waits["error"]["param"]), (400, "messages"))


if __name__ == "__main__":
    main()
