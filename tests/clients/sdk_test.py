"""The openai and anthropic SDKs over TCP and over the Unix socket: a turn whose tool writes a file, streams, errors, token counts. And the
MCP SDK of a version with batches.
sdk_test.py BIN DAEMON NPM"""
import os
import unittest

import door
from door import DoorCase, have

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sdk")


class Sdk(DoorCase):
    def run_both(self, script):
        for socket in ([], [self.daemon.socket]):
            with self.subTest(over="the Unix socket" if socket else "TCP"):
                url = "http://localhost" if socket else self.url
                p = self.client(door.node(), os.path.join(SCRIPTS, script), url, self.token, self.file, *socket, NODE_PACKAGES=door.NPM)
                self.assertEqual(p.returncode, 0, self.said[-6000:])
                self.assertIn("ok ", self.said)

    @have("openai", "undici")
    def test_openai_chat_completions(self):
        self.run_both("chat.mjs")

    @have("openai", "undici")
    def test_openai_responses(self):
        self.run_both("responses.mjs")

    @have("@anthropic-ai/sdk", "undici")
    def test_anthropic_messages(self):
        self.run_both("anthropic.mjs")

    @have("mcp-sdk-2025-03-26")
    def test_mcp_of_2025_03_26(self):
        p = self.client(door.node(), os.path.join(SCRIPTS, "mcp_2025_03_26.mjs"), self.url, self.token, self.file, NODE_PACKAGES=door.NPM)
        self.assertEqual(p.returncode, 0, self.said[-6000:])


if __name__ == "__main__":
    door.main()
