"""The official MCP conformance suite against our client; see tests/mcp/conformance_client.py.

mcp_client_conformance_test.py BIN DAEMON NPM [unittest arguments]
"""
import os
import subprocess
import sys
import unittest

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "mcp", "conformance_client.py")
CLIENT = NPM = ""


class Conformance(unittest.TestCase):
    def test_every_required_scenario_but_those_of_oauth(self):
        run = subprocess.run([sys.executable, SCRIPT, CLIENT, NPM], stdout=subprocess.PIPE, text=True)
        if run.stdout.startswith("skipped: "):
            self.skipTest(run.stdout.strip().removeprefix("skipped: "))
        self.assertEqual(run.returncode, 0, run.stdout)


if __name__ == "__main__":
    CLIENT, NPM = os.path.join(os.path.dirname(os.path.abspath(sys.argv[2])), "lares_mcp_conformance_client"), os.path.abspath(sys.argv[3])
    del sys.argv[1:4]
    unittest.main()
