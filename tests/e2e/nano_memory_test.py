"""nano with hardly more memory than it takes: what is only kept for whoever comes makes room for who is there. nano_memory_test.py BIN"""
import json
import os
import sys
import unittest

from nano_case import NanoCase
from unix_http import UnixConnection

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "daemon", "scripted"))
from client import Client  # noqa: E402

WORDS = "one two three four five six seven eight nine ten".split()


class Memory(NanoCase):
    ARGUMENTS = ("--memory", "0.114", "--threads", "1")  # GB: 109 MB is the least, and one request takes 10 of what is left

    def sequences(self):
        client = Client(self.socket)
        self.addCleanup(client.close)
        return client.call("server/status")["sequences"]

    def test_requests_that_are_over_make_room_for_the_next(self):
        refused = self.sequences().get("refused", 0)  # of the other tests' prompts
        for i in range(6):
            text = " ".join(WORDS[(i + k * (i + 1)) % len(WORDS)] for k in range(100))
            answer = self.post("/v1/chat/completions", messages=[{"role": "user", "content": text}], max_tokens=2)
            self.assertEqual(answer["usage"]["completion_tokens"], 2)
        sequences = self.sequences()
        self.assertLessEqual(sequences["bytes"], sequences["bytesMax"])
        self.assertEqual(sequences.get("refused", 0), refused)

    # That one that only waits for others is told to come again: queue_test.cc.
    def test_what_never_has_room_is_refused_with_the_numbers(self):
        text = " ".join(WORDS * 6000)
        messages = [{"role": "user", "content": text}]
        for path, body in (("/v1/chat/completions", {"messages": messages}), ("/v1/messages", {"messages": messages, "max_tokens": 2}),
                           ("/v1/responses", {"input": text}), ("/v1/completions", {"prompt": text, "max_tokens": 2})):
            connection = UnixConnection(self.socket, timeout=240)
            response = connection.ask("POST", path, {"model": "deepseek-v4-flash", **body})
            error = json.loads(response.read())["error"]
            self.assertEqual((response.status, response.getheader("Retry-After"), error["type"]), (400, None, "invalid_request_error"), error)
            self.assertRegex(error["message"], r"^generate: the prompt is too long: evaluate a prompt of \d+ tokens: it takes \S+ MB, "
                             r"and all sequences together may take \S+ MB; raise the memory limit, or shorten the prompt$")
            connection.close()

    def test_a_turn_that_never_has_room_ends_and_keeps_nothing_of_it(self):
        root = os.path.join(self.home, "small")
        os.mkdir(root)
        client = Client(self.socket)
        self.addCleanup(client.close)
        client.sock.settimeout(240)
        session = client.call("session/create", root=root)["sessionId"]
        client.call("session/subscribe", sessionId=session)
        client.call("prompt/send", sessionId=session, id="p1", content=" ".join(WORDS * 6000), mode="ask")
        ended = client.until("turn/ended", turnId=1)[-1]["params"]
        self.assertEqual(ended["reason"], "error")
        self.assertRegex(ended["message"], r"^read the prompt: evaluate a prompt of \d+ tokens: it takes \S+ MB, and all sequences together may take ")
        self.assertEqual(client.call("session/get", sessionId=session).get("contextTokens", 0), 0)


class Sessions(NanoCase):
    ARGUMENTS = ("--memory", "0.112", "--threads", "1")  # a request takes 10 MB, a session a few more than are left then

    def test_a_session_between_two_turns_makes_room_at_once(self):
        root = os.path.join(self.home, "repository")
        os.mkdir(root)
        client = Client(self.socket)
        self.addCleanup(client.close)
        client.sock.settimeout(240)
        session = client.call("session/create", root=root)["sessionId"]
        client.call("session/subscribe", sessionId=session)
        client.call("prompt/send", sessionId=session, id="p1", content="What is one and one?", mode="ask")  # it can leave nothing running
        client.until("turn/ended", turnId=1)
        self.post("/v1/chat/completions", messages=[{"role": "user", "content": "one two " * 500}], max_tokens=2)
        sequences = client.call("server/status")["sequences"]
        self.assertGreaterEqual(sequences.get("evicted", 0), 1)


if __name__ == "__main__":
    NanoCase.BIN = os.path.abspath(sys.argv.pop(1))
    unittest.main()
