"""nano with hardly more memory than it takes: what is only kept for whoever comes makes room for who is there. nano_memory_test.py BIN"""
import os
import sys
import unittest

from nano_case import NanoCase

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
        for i in range(6):
            text = " ".join(WORDS[(i + k * (i + 1)) % len(WORDS)] for k in range(100))
            answer = self.post("/v1/chat/completions", messages=[{"role": "user", "content": text}], max_tokens=2)
            self.assertEqual(answer["usage"]["completion_tokens"], 2)
        sequences = self.sequences()
        self.assertLessEqual(sequences["bytes"], sequences["bytesMax"])
        self.assertEqual(sequences.get("refused", 0), 0)


if __name__ == "__main__":
    NanoCase.BIN = os.path.abspath(sys.argv.pop(1))
    unittest.main()
