"""MCP servers in a session: their tools in the loop, their questions to the person, and a turn that is stopped meanwhile.

mcp_client_test.py SCRIPTED_DAEMON [unittest arguments]
"""
import json
import os
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
import client
import journal
from client import Client, Daemon, Gated, Refused, call, remove_home

EXECUTABLE = ""
SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "mcp", "server.py")


def mcp_call(tool, **arguments):
    return "x</think>" + client.mcp_call("scripted", tool, **arguments)


class McpClientTest(Gated, unittest.TestCase):
    def setUp(self):
        self.home = os.path.realpath(tempfile.mkdtemp(prefix="lares-mcp-client-"))
        self.addCleanup(remove_home, self.home)
        self.root, self.log = os.path.join(self.home, "repo"), os.path.join(self.home, "server.log")
        os.makedirs(os.path.join(self.root, ".git"))
        config = os.path.join(self.home, "config")
        os.makedirs(config)
        with open(os.path.join(config, "mcp.json"), "w") as f:
            json.dump({"mcpServers": {"scripted": {"command": sys.executable, "args": [SERVER, "good", self.log]}}}, f)
        with open(os.path.join(self.root, ".mcp.json"), "w") as f:
            json.dump({"mcpServers": {"foreign": {"command": "touch", "args": [os.path.join(self.home, "started")]}}}, f)
        os.environ["LARES_TEST_CONFIG"] = config
        self.addCleanup(os.environ.pop, "LARES_TEST_CONFIG")

    def begin(self, *answers, interactive=True):
        self.daemon = Daemon(EXECUTABLE, self.home, [a if isinstance(a, dict) else {"text": a} for a in answers])
        self.addCleanup(self.daemon.stop)
        self.client = Client(self.daemon.socket)
        self.addCleanup(self.client.close)
        self.client.sock.settimeout(120)
        self.session = self.client.call("session/create", root=self.root)["sessionId"]
        self.client.call("session/subscribe", sessionId=self.session, interactive=interactive)
        self.client.call("prompt/send", sessionId=self.session, id="p1", content="Go.")

    def until(self, state, name):
        while True:
            item = self.client.next()["params"].get("item", {})
            if item.get("state") == state and item.get("name") == name:
                return item

    def test_the_person_answers_a_server(self):
        self.begin(mcp_call("elicit"), "x</think>Done.")
        asked = self.until("waiting", "ask_user")
        self.assertIn("The MCP server scripted asks: How many?", json.loads(asked["arguments"])["question"])
        self.client.call("question/reply", sessionId=self.session, itemId=asked["id"], text="3")
        self.assertEqual(self.until("done", "ask_user")["text"].rsplit("\n", 1)[1], "> 3")
        self.assertEqual(json.loads(self.until("done", "mcp_call")["output"])["result"], {"action": "accept", "content": {"count": 3}})
        self.client.until("turn/ended", reason="end_turn")

    def notes_until_the_end(self):
        seen = self.client.until("turn/ended")
        items = [m["params"]["item"] for m in seen if m["method"] == "item/completed"]
        return [item["text"] for item in items if item["kind"] == "note"]

    def test_the_servers_named_are_those_that_the_session_has(self):
        self.begin("x</think>One.", "x</think>Two.")
        self.assertIn("MCP servers: scripted", self.notes_until_the_end())
        self.client.call("session/mcp_servers", sessionId=self.session, servers={"brought": {"command": "true"}})
        self.client.call("session/rewind", sessionId=self.session, turnId=1, files="keep")
        self.client.call("prompt/send", sessionId=self.session, id="p2", content="Go on.")
        self.assertIn("MCP servers: brought, scripted", self.notes_until_the_end())

    def test_nobody_is_there_to_answer(self):
        self.begin(mcp_call("elicit"), "x</think>Done.", interactive=False)
        self.assertEqual(json.loads(self.until("done", "mcp_call")["output"])["result"], {"action": "cancel"})

    def test_a_late_question_is_answered_beside_an_approval(self):
        self.begin(mcp_call("elicit_late"), "x</think>" + call("bash", command="git clean -fd"), "x</think>Done.")
        items = {}
        while not {"waiting", "asking"} <= items.keys():  # in either order
            item = self.client.next()["params"].get("item", {})
            items[item.get("state")] = item
        asked, asking = items["waiting"], items["asking"]
        self.client.sock.settimeout(20)
        self.client.call("question/reply", sessionId=self.session, itemId=asked["id"], text="3")
        self.client.call("approval/reply", sessionId=self.session, itemId=asking["id"], decision="deny")
        self.client.until("turn/ended", reason="end_turn")

    def next_daemon(self, *answers):
        self.daemon.stop()
        self.daemon.start([{"text": a} for a in answers])
        self.client = Client(self.daemon.socket)
        self.addCleanup(self.client.close)
        self.client.call("session/subscribe", sessionId=self.session, after=-1, interactive=True)

    def test_a_late_question_does_not_outlive_the_turn(self):
        self.begin(mcp_call("elicit_late"), {"text": "x</think>Done.", "gate": (gate := self.gate())})
        asked = self.until("waiting", "ask_user")
        self.open_gate(gate)
        told = [m["params"]["item"] for m in self.client.until("turn/ended", reason="end_turn") if m["method"] == "item/completed" and m["params"]["item"]["id"] == asked["id"]]
        self.assertEqual([i["state"] for i in told], ["cancelled"])
        self.assertRegex(told[0]["text"], r"How many\?[\s\S]*\n\(not answered\)$")
        with self.assertRaises(Refused) as refused:
            self.client.call("question/reply", sessionId=self.session, itemId=asked["id"], text="3")
        self.assertEqual(refused.exception.kind, "not_found")

    def test_a_question_that_an_older_journal_left_open_waits_no_more(self):
        self.begin(mcp_call("elicit_late"), {"text": "x</think>Done.", "gate": (gate := self.gate())})
        asked = self.until("waiting", "ask_user")
        self.open_gate(gate)
        self.client.until("turn/ended", reason="end_turn")
        self.daemon.stop()

        def as_another(params):
            if params["item"]["id"] == asked["id"]:
                params["item"]["id"] = "1.other"

        journal.rewrite(os.path.join(self.daemon.state, "sessions", self.session + ".journal"), "item/completed", as_another)
        self.next_daemon("x</think>" + call("ask_user", question="Red or blue?"), "x</think>Done.")
        self.client.call("prompt/send", sessionId=self.session, id="p2", content="Go on.")
        seen = self.client.until("session/state", state="waiting")
        self.assertNotIn(asked["id"], [m["params"].get("item", {}).get("id") for m in seen])
        mine = self.until("waiting", "ask_user")
        self.client.call("question/reply", sessionId=self.session, itemId=mine["id"], text="Red")
        self.assertEqual(self.until("done", "ask_user")["output"], "Red")
        self.client.until("turn/ended", reason="end_turn")

    def test_a_late_question_gives_way_to_the_models(self):
        self.begin(mcp_call("elicit_late"), {"text": "x</think>" + call("ask_user", question="Red or blue?"), "gate": (gate := self.gate())}, "x</think>Done.")
        late = self.until("waiting", "ask_user")
        self.open_gate(gate)
        self.client.sock.settimeout(20)
        mine = self.until("waiting", "ask_user")
        self.assertEqual((late["kind"], mine["kind"]), ("note", "tool"))
        self.assertEqual(self.until("cancelled", "ask_user")["id"], late["id"])
        self.client.call("question/reply", sessionId=self.session, itemId=mine["id"], text="Red")
        self.assertEqual(self.until("done", "ask_user")["output"], "Red")
        self.client.until("turn/ended", reason="end_turn")

    def test_a_stopped_turn_takes_its_question_along(self):
        self.begin(mcp_call("elicit"), mcp_call("echo", text="again"), "x</think>Done.")
        asked = self.until("waiting", "ask_user")
        self.client.call("turn/interrupt", sessionId=self.session)
        self.client.until("turn/ended", reason="cancelled")
        with self.assertRaises(Refused) as refused:
            self.client.call("question/reply", sessionId=self.session, itemId=asked["id"], text="3")
        self.assertEqual(refused.exception.kind, "not_found")
        self.client.call("prompt/send", sessionId=self.session, id="p2", content="Go on.")
        self.assertEqual(self.until("done", "mcp_call")["output"], "again")

    def test_the_repositorys_servers_are_named_and_not_started(self):
        self.begin("x</think>" + call("mcp_search", query="foreign"), "x</think>Done.")
        self.assertIn("server foreign in " + os.path.join(self.root, ".mcp.json") + ": is not started on the repository's word", self.until("done", "mcp_search")["output"])
        self.assertFalse(os.path.exists(os.path.join(self.home, "started")))

    def test_no_server_outlives_its_daemon(self):
        self.begin(mcp_call("echo", text="up"), "x</think>Done.")
        self.client.until("turn/ended")
        with open(self.log) as f:
            server = int(f.readline().split()[1])
        self.daemon.kill()
        while os.path.exists(f"/proc/{server}"):
            pass


if __name__ == "__main__":
    EXECUTABLE = os.path.abspath(sys.argv.pop(1))
    unittest.main()
