"""nano behind a program that speaks in token ids, as another Lares does: vLLM's wire format. nano_token_ids_test.py BIN"""
import json
import os
import sys
import unittest

from nano_case import NanoCase, UnixConnection

CODE = "<｜begin▁of▁sentence｜>" + "".join(f"def add_{i}(a, b):\n    return a + b + {i}\n\n\n" for i in range(40)) + "def add_40(a, b):\n"
EOS = "<｜end▁of▁sentence｜>"


class TokenIds(NanoCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.prompt = cls("ids_of").ids_of(CODE)

    def ids_of(self, text):
        return self.post("/tokenize", prompt=text)["tokens"]

    def go_on(self, ids, **fields):
        """The answer's choice and usage, greedy."""
        answer = self.post("/v1/completions", **{"prompt": ids, "temperature": 0, "return_token_ids": True, "max_tokens": 48, **fields})
        choice, = answer["choices"]
        return choice, answer["usage"]

    def stream(self, ids, **fields):
        """All its pieces."""
        status, text = self.ask("POST", "/v1/completions", {"prompt": ids, "temperature": 0, "stream": True, "return_token_ids": True, "max_tokens": 48, **fields})
        self.assertEqual(status, 200, text)
        *pieces, done, rest = text.decode().split("\n\n")  # no code point is torn, or this fails
        self.assertEqual((done, rest), ("data: [DONE]", ""))
        return [json.loads(piece.removeprefix("data: ")) for piece in pieces]

    def test_a_text_is_tokenised_as_the_model_reads_it(self):
        model = json.loads(self.ask("GET", "/v1/models")[1])["data"][0]
        answer = self.post("/tokenize", prompt="<｜User｜>ab" + EOS, add_special_tokens=True)
        self.assertEqual(answer["count"], len(answer["tokens"]))
        self.assertEqual(answer["max_model_len"], model["max_model_len"])
        self.assertEqual(answer["meta"], model["meta"])
        self.assertGreater(model["meta"]["n_params"], 10_000_000)
        self.assertEqual(answer["tokens"], self.ids_of("<｜User｜>") + self.ids_of("ab") + self.ids_of(EOS))
        self.assertEqual(len(self.ids_of(EOS)), 1)
        self.assertEqual(self.ids_of(""), [])
        self.assertGreater(len(self.prompt), 300)

    def test_whole_in_two_requests_and_streamed_it_is_the_same(self):
        whole, usage = self.go_on(self.prompt)
        ids = whole["token_ids"]
        self.assertEqual(usage["prompt_tokens"], len(self.prompt))
        self.assertEqual(usage["completion_tokens"], len(ids))
        self.assertGreater(len(ids), 12)
        begun, usage = self.go_on(self.prompt + ids[:12])
        n = len(ids) - 12
        self.assertEqual(begun["token_ids"][:n], ids[12:])
        # All of the first prompt, but not what the first answer said: that ends behind these.
        self.assertGreaterEqual(usage["prompt_tokens_details"]["cached_tokens"], len(self.prompt))
        pieces = self.stream(self.prompt, stream_options={"include_usage": True})
        *said, last, counted = pieces
        self.assertEqual([i for piece in (*said, last) for i in piece["choices"][0]["token_ids"]], ids)
        self.assertEqual("".join(piece["choices"][0]["text"] for piece in (*said, last)), whole["text"])
        self.assertTrue(all(piece["choices"][0]["token_ids"] and piece["choices"][0]["finish_reason"] is None for piece in said))
        self.assertEqual(last["choices"][0]["finish_reason"], whole["finish_reason"])
        self.assertEqual(counted["choices"], [])
        self.assertEqual(counted["usage"]["completion_tokens"], len(ids))

    def test_each_id_has_its_logprobs(self):
        fields = {"logprobs": 3, "return_tokens_as_token_ids": True}
        whole, _ = self.go_on(self.prompt, **fields)
        columns, ids = whole["logprobs"], whole["token_ids"]
        self.assertEqual(columns["tokens"], [f"token_id:{i}" for i in ids])
        for name, value, top in zip(columns["tokens"], columns["token_logprobs"], columns["top_logprobs"], strict=True):
            self.assertEqual(len(top), 3)
            self.assertEqual(value, max(top.values()))  # it was drawn greedily
            self.assertEqual(top[name], value)
        streamed = [piece["choices"][0] for piece in self.stream(self.prompt, **fields)]
        self.assertTrue(all(len(piece["logprobs"]["tokens"]) == len(piece["token_ids"]) for piece in streamed))
        self.assertEqual([v for piece in streamed for v in piece["logprobs"]["token_logprobs"]], columns["token_logprobs"])

    def test_a_token_at_a_time_evaluates_a_token_at_a_time(self):
        prompt = self.prompt + self.ids_of("    # one by one\n")
        whole, _ = self.go_on(prompt, max_tokens=8)
        one_by_one = []
        for n in range(8):
            choice, usage = self.go_on(prompt + one_by_one, max_tokens=1)
            if n > 0:
                self.assertGreaterEqual(usage["prompt_tokens_details"]["cached_tokens"], len(prompt) + n - 1)
            one_by_one += choice["token_ids"]
            self.assertEqual(choice["finish_reason"], "length")
        self.assertEqual(one_by_one, whole["token_ids"])

    def test_who_hangs_up_goes_on_from_what_came(self):
        prompt = self.prompt + self.ids_of("    # and off\n")
        connection = UnixConnection(self.socket, timeout=240)
        response = connection.ask("POST", "/v1/completions", {"prompt": prompt, "temperature": 0, "stream": True, "return_token_ids": True, "max_tokens": 4000})
        came = []
        while len(came) < 20:
            line = response.readline().decode()
            if line.startswith("data: "):
                came += json.loads(line.removeprefix("data: "))["choices"][0]["token_ids"]
        response.close()
        connection.close()
        going_on, usage = self.go_on(prompt + came[:20], max_tokens=10)
        self.assertGreater(usage["prompt_tokens_details"]["cached_tokens"], len(prompt) - 16)  # so few more are evaluated rather than kept
        whole, _ = self.go_on(prompt, max_tokens=30)
        self.assertEqual(came[:20] + going_on["token_ids"], whole["token_ids"])

    def test_the_end_is_among_the_ids_and_not_in_the_text(self):
        eos, = self.ids_of(EOS)
        choice, usage = self.go_on(self.prompt, allowed_token_ids=[eos])
        self.assertEqual((choice["token_ids"], choice["text"], choice["finish_reason"]), ([eos], "", "stop"))
        self.assertEqual(usage["completion_tokens"], 1)

    def test_draws_are_of_what_is_allowed(self):
        one, two = self.ids_of(" a")[0], self.ids_of(" b")[0]
        choice, _ = self.go_on(self.prompt, allowed_token_ids=[one], max_tokens=5)
        self.assertEqual(choice["token_ids"], [one] * 5)
        self.assertEqual(choice["finish_reason"], "length")
        drawn = set()
        for seed in range(4):
            choice, _ = self.go_on(self.prompt, allowed_token_ids=[one, two], max_tokens=20, temperature=2, seed=seed)
            self.assertEqual(len(choice["token_ids"]), 20)
            drawn |= set(choice["token_ids"])
        self.assertEqual(drawn, {one, two})
        same = [self.go_on(self.prompt, max_tokens=20, temperature=1, seed=7)[0]["token_ids"] for _ in range(2)]
        self.assertEqual(*same)

    def test_without_asking_no_ids_are_told(self):
        answer = self.post("/v1/completions", prompt=self.prompt, temperature=0)
        self.assertEqual(list(answer["choices"][0]), ["text", "index", "logprobs", "finish_reason"])
        self.assertEqual(answer["usage"]["completion_tokens"], 16)

    def test_what_is_refused_says_where(self):
        n = 1 << 30
        for fields, parameter in (({"prompt": []}, "prompt"), ({"prompt": [1, True]}, "prompt[1]"), ({"prompt": [1, 2, 3.0]}, "prompt[2]"), ({"prompt": [-1]}, "prompt[0]"),
                                  ({"prompt": [0, n]}, "prompt[1]"), ({"prompt": [0], "allowed_token_ids": []}, "allowed_token_ids"),
                                  ({"prompt": [0], "allowed_token_ids": [1, n]}, "allowed_token_ids[1]"), ({"prompt": [0], "suffix": "x"}, "suffix"),
                                  ({"prompt": [0], "stop": ["x"]}, "stop"), ({"prompt": [0], "echo": True}, "echo"), ({"prompt": [0], "logprobs": 21}, "logprobs"),
                                  ({"prompt": [0], "n": 2}, "n"), ({"prompt": [0], "max_tokens": 0}, "max_tokens")):
            status, text = self.ask("POST", "/v1/completions", fields)
            self.assertEqual(status, 400, fields)
            error = json.loads(text)["error"]
            self.assertEqual(error["param"], parameter, error)
            self.assertIn(parameter, error["message"])
        for body, parameter in (({"messages": []}, "messages"), ({}, "prompt"), ({"prompt": [1]}, "prompt")):
            status, text = self.ask("POST", "/tokenize", body)
            self.assertEqual((status, json.loads(text)["error"]["param"]), (400, parameter))

    def test_a_prompt_of_a_million_ids_is_read(self):
        # What refuses it is the context, once it is read.
        n = json.loads(self.ask("GET", "/v1/models")[1])["data"][0]["max_model_len"]
        self.assertGreaterEqual(n, 10**6)
        status, text = self.ask("POST", "/v1/completions", {"prompt": [1279] * n})
        self.assertEqual(status, 400)
        error = json.loads(text)["error"]
        self.assertEqual((error["code"], error["param"]), ("context_length_exceeded", "prompt"), error)


if __name__ == "__main__":
    NanoCase.BIN = os.path.abspath(sys.argv.pop(1))
    unittest.main()
