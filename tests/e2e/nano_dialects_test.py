"""nano behind each HTTP dialect: the second turn of a conversation evaluates what is new in it and nothing else; what it says at random obeys
a schema. nano_dialects_test.py BIN"""
import datetime
import json
import os
import sys
import unittest

from nano_case import NanoCase

QUESTION, MORE = "Which function adds two numbers? " + "Look at every file. " * 40, "And which one subtracts them?"


class Dialects(NanoCase):
    def assert_new_alone(self, first, second):
        """Each: tokens of the prompt, of them found, of the answer."""
        (prompt, found, said), (prompt_2, found_2, _) = first, second
        self.assertLess(found, 16)  # what all conversations begin with
        self.assertGreater(said, 1)
        new = prompt_2 - prompt - said
        self.assertGreater(new, 0)
        # What ends the answer is not evaluated with it: it is drawn last, or not at all.
        self.assertLessEqual(prompt_2 - found_2, new + 1, "something was evaluated twice")

    def test_chat_completions(self):
        def turn(messages):
            answer = self.post("/v1/chat/completions", messages=messages, max_tokens=48, thinking={"type": "disabled"})
            usage = answer["usage"]
            return answer["choices"][0]["message"], (usage["prompt_tokens"], usage["prompt_cache_hit_tokens"], usage["completion_tokens"])
        asked = {"role": "user", "content": "Chat. " + QUESTION}
        said, first = turn([asked])
        _, second = turn([asked, said, {"role": "user", "content": MORE}])
        self.assert_new_alone(first, second)

    def test_messages(self):
        def turn(messages):
            answer = self.post("/anthropic/v1/messages", messages=messages, max_tokens=48, thinking={"type": "disabled"})
            usage = answer["usage"]
            return answer["content"], (usage["input_tokens"] + usage["cache_read_input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"])
        asked = {"role": "user", "content": "Messages. " + QUESTION}
        said, first = turn([asked])
        _, second = turn([asked, {"role": "assistant", "content": said}, {"role": "user", "content": [{"type": "text", "text": MORE}]}])
        self.assert_new_alone(first, second)

    def test_responses(self):
        def turn(items):
            answer = self.post("/v1/responses", input=items, max_output_tokens=48, reasoning={"effort": "none"})
            usage = answer["usage"]
            return answer["output"], (usage["input_tokens"], usage["input_tokens_details"]["cached_tokens"], usage["output_tokens"])
        asked = {"role": "user", "content": "Responses. " + QUESTION}
        said, first = turn([asked])
        _, second = turn([asked, *said, {"role": "user", "content": MORE}])
        self.assert_new_alone(first, second)

    def test_what_nano_says_at_random_obeys_a_schema(self):
        day = {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}
        item = {"type": "object", "properties": {"kind": {"enum": ["bug", "question"]}, "line": {"type": "integer", "minimum": 1, "maximum": 500}, "since": day},
                "required": ["kind", "line", "since"], "additionalProperties": False}
        schema = {"type": "object", "properties": {"items": {"type": "array", "items": item, "minItems": 1, "maxItems": 3}, "sure": {"type": "boolean"}},
                  "required": ["items", "sure"], "additionalProperties": False}
        for seed in range(4):
            answer = self.post("/v1/chat/completions", messages=[{"role": "user", "content": QUESTION}], max_tokens=1000, thinking={"type": "disabled"}, temperature=1, seed=seed,
                               response_format={"type": "json_schema", "json_schema": {"name": "s", "strict": True, "schema": schema}})
            self.assertEqual(answer["choices"][0]["finish_reason"], "stop", answer)
            said = json.loads(answer["choices"][0]["message"]["content"])
            self.assertEqual(list(said), ["items", "sure"])
            self.assertIsInstance(said["sure"], bool)
            self.assertTrue(1 <= len(said["items"]) <= 3, said)
            for one in said["items"]:
                self.assertEqual(list(one), ["kind", "line", "since"])
                self.assertIn(one["kind"], ("bug", "question"))
                self.assertTrue(1 <= one["line"] <= 500, one)
                if one["since"] is not None:
                    datetime.date.fromisoformat(one["since"])


if __name__ == "__main__":
    NanoCase.BIN = os.path.abspath(sys.argv.pop(1))
    unittest.main()
