"""The MCP server over HTTP, on the daemon's Unix socket, in both eras. mcp_http_test.py LARES SCRIPTED_DAEMON"""
import json
import os
import pathlib
import sys
import unittest
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
import cli_case
from cli_case import THINK, CliCase
from client import Client
from mcp_client import META, MODERN, ON_AND_ON, OverSocket
from unix_http import UnixConnection

BOTH = "application/json, text/event-stream"


class McpHttpTest(CliCase):
    def send(self, method="POST", body=None, query=None, **headers):
        """The response, with its stream still to be read."""
        connection = UnixConnection(self.socket, timeout=60)
        self.addCleanup(connection.close)
        path = "/mcp" + (f"?root={urllib.parse.quote(query, safe='')}" if query else "")
        sent = {"Accept": BOTH, **{k.replace("_", "-"): v for k, v in headers.items() if v is not None}}
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        response.hang_up = lambda: (response.close(), connection.close())
        return response

    def message(self, method, n=1, **params):
        return {"jsonrpc": "2.0", "id": n, "method": method, "params": params}

    def modern(self, method, headers=None, capabilities=None, query=None, **params):
        params["_meta"] = {**params.get("_meta", {}), META + "protocolVersion": MODERN, META + "clientCapabilities": capabilities or {}}
        sent = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
        if "name" in params:
            sent["Mcp-Name"] = params["name"]
        return self.send(body=self.message(method, **params), query=query, **{**sent, **(headers or {})})

    def legacy(self, version="2025-11-25"):
        """A session's headers."""
        response = self.send(body=self.message("initialize", protocolVersion=version, capabilities={}, clientInfo={"name": "t", "version": "1"}), query=self.root)
        self.assertEqual(response.status, 200)
        session = {"Mcp-Session-Id": response.getheader("Mcp-Session-Id"), "MCP-Protocol-Version": version}
        self.assertGreaterEqual(len(session["Mcp-Session-Id"]), 32)
        self.assertEqual(self.send(body={"jsonrpc": "2.0", "method": "notifications/initialized"}, **session).status, 202)
        return session

    def events(self, response):
        """(id, message or None) of each event, as they come."""
        self.assertEqual((response.status, response.getheader("Content-Type")), (200, "text/event-stream"))
        at, data = None, ""
        for line in response:
            line = line.decode().rstrip("\n")
            if line.startswith("id: "):
                at = line[4:]
            elif line.startswith("data: "):
                data = line[6:]
            elif not line and (at or data):
                yield at, json.loads(data) if data else None
                at, data = None, ""

    def answer(self, response):
        if response.getheader("Content-Type") == "application/json":
            return json.loads(response.read())
        return [m for _, m in self.events(response)][-1]

    # ---- modern

    def test_a_modern_request_stands_for_itself(self):
        self.start(THINK + "In a.txt.")
        found = self.answer(self.modern("server/discover"))["result"]
        self.assertEqual((found["resultType"], found["supportedVersions"], found["cacheScope"]), ("complete", [MODERN], "private"))
        result = self.answer(self.modern("tools/call", name="ask_repo", arguments={"question": "where?"}, query=self.root))["result"]
        self.assertEqual(result["structuredContent"]["answer"], "In a.txt.")

    def test_what_a_modern_request_lacks_has_its_status_and_code(self):
        self.start()
        cases = [
            (self.send(body=self.message("tools/list"), MCP_Protocol_Version=MODERN, Mcp_Method="tools/list"), 400, -32602),
            (self.modern("tools/list", {"Mcp-Method": "prompts/list"}), 400, -32020),
            (self.modern("tools/list", {"Mcp-Method": None}), 400, -32020),
            (self.modern("tools/list", {"MCP-Protocol-Version": "2025-11-25"}), 400, -32020),
            (self.modern("tools/call", {"Mcp-Name": "review"}, name="ask_repo"), 400, -32020),
            (self.modern("ping"), 404, -32601),
            (self.modern("nope"), 404, -32601),
            (self.send(body=b"{"), 400, -32700),
            (self.send(body=[self.message("ping")]), 400, -32600),
            (self.send(body=self.message("ping"), Content_Type="text/plain"), 415, -32600),
        ]
        for i, (response, status, code) in enumerate(cases):
            said = json.loads(response.read())
            self.assertEqual((response.status, said["error"]["code"]), (status, code), (i, said))
        for method in ("GET", "DELETE"):
            self.assertEqual(self.send(method, MCP_Protocol_Version=MODERN).status, 405)
        self.assertEqual(self.send(body={"jsonrpc": "2.0", "method": "notifications/x"}, MCP_Protocol_Version=MODERN).status, 202)

    def test_who_hangs_up_has_cancelled(self):
        self.start(ON_AND_ON)
        response = self.modern("tools/call", name="run_task", arguments={"prompt": "go on"}, _meta={"progressToken": 1}, query=self.root)
        next(self.events(response))
        response.hang_up()
        other = OverSocket(self.socket, root=self.root)
        self.addCleanup(other.close)
        session = other.call("resources/list")["resources"][0]["uri"].split("/")[3]
        while (status := other.tool("task_status", session=session)["structuredContent"])["stop_reason"] == "":
            pass
        self.assertEqual(status["stop_reason"], "cancelled")

    def test_who_listens_hears_of_new_sessions(self):
        self.start(THINK + "An answer.")
        events = self.events(self.modern("subscriptions/listen", notifications={"resourcesListChanged": True}))
        self.assertEqual(next(events)[1]["method"], "notifications/subscriptions/acknowledged")
        self.answer(self.modern("tools/call", name="ask_repo", arguments={"question": "what?"}, query=self.root))
        self.assertEqual(next(events)[1]["method"], "notifications/resources/list_changed")

    # ---- legacy

    def test_a_session_begins_and_ends(self):
        self.start()
        session = self.legacy()
        self.assertEqual(len(self.answer(self.send(body=self.message("tools/list"), **session))["result"]["tools"]), 5)
        self.assertEqual(self.send(body=self.message("tools/list")).status, 400)
        self.assertEqual(self.send(body=self.message("tools/list"), Mcp_Session_Id="0" * 32).status, 404)
        self.assertEqual(self.send(body=self.message("tools/list"), **{**session, "MCP-Protocol-Version": "1999-01-01"}).status, 400)
        self.assertEqual(self.send("DELETE", **session).status, 204)
        for method, body in (("POST", self.message("tools/list")), ("GET", None), ("DELETE", None)):
            self.assertEqual(self.send(method, body, **session).status, 404, method)

    def test_who_lost_the_connection_goes_on_where_it_was(self):
        gate = os.path.join(self.home, "gate")
        os.mkfifo(gate)
        self.start({"text": THINK + "Found at last.", "gate": gate})
        session = self.legacy()
        response = self.send(body=self.message("tools/call", n=7, name="run_task", arguments={"prompt": "look"}, _meta={"progressToken": 1}), **session)
        events = self.events(response)
        at, first = next(events)
        self.assertIsNone(first, "the first event only says how to resume")
        seen = [next(events)]
        response.hang_up()
        with open(gate, "w") as f:
            f.write("x")
        rest = list(self.events(self.send("GET", Last_Event_ID=seen[-1][0], **session)))
        ids = [i for i, m in seen + rest if m]
        self.assertEqual(len(ids), len(set(ids)))
        self.assertEqual(rest[-1][1]["id"], 7)
        self.assertEqual(rest[-1][1]["result"]["structuredContent"]["answer"], "Found at last.")
        self.assertEqual(self.send("GET", Last_Event_ID="99-1", **session).status, 404)

    def test_what_belongs_to_no_request_comes_on_a_stream_of_its_own(self):
        self.start(THINK + "An answer.")
        session = self.legacy()
        stream = self.events(self.send("GET", **session))
        self.assertIsNone(next(stream)[1])
        self.answer(self.send(body=self.message("tools/call", name="ask_repo", arguments={"question": "what?"}), **session))
        self.assertEqual(next(stream)[1]["method"], "notifications/resources/list_changed")
        self.assertEqual(self.send("GET", Accept="application/json", **session).status, 406)

    def test_what_was_told_is_not_told_again_to_who_does_not_say_where_it_was(self):
        self.start(*[THINK + "An answer."] * 4)
        for version in ("2025-06-18", "2025-11-25"):
            session = self.legacy(version)
            asked = self.answer(self.send(body=self.message("tools/call", name="ask_repo", arguments={"question": "what?"}), **session))["result"]["structuredContent"]["session"]
            response = self.send("GET", **session)
            kept = next(m for _, m in self.events(response) if m)
            self.assertEqual(kept["method"], "notifications/resources/list_changed")
            response.hang_up()
            again = self.events(self.send("GET", **session))
            self.answer(self.send(body=self.message("resources/subscribe", uri=f"lares://sessions/{asked}"), **session))
            native = Client(self.socket)
            native.call("prompt/send", sessionId=asked, id="again", content="and?")
            self.assertEqual(next(m for _, m in again if m)["method"], "notifications/resources/updated")
            native.close()

    def test_an_old_client_gets_no_event_without_data(self):
        gate = os.path.join(self.home, "gate")
        os.mkfifo(gate)
        self.start({"text": THINK + "An answer.", "gate": gate})  # an answer at once is no stream
        session = self.legacy(version="2025-06-18")
        response = self.send(body=self.message("tools/call", name="ask_repo", arguments={"question": "what?"}, _meta={"progressToken": 1}), **session)
        with open(gate, "w") as f:
            f.write("x")
        self.assertTrue(all(m for _, m in self.events(response)))

    def test_a_batch_is_answered_in_the_one_version_that_has_them(self):
        gate = os.path.join(self.home, "gate")
        os.mkfifo(gate)
        self.start({"text": THINK + "An answer.", "gate": gate})
        session = self.legacy(version="2025-03-26")
        at_once = self.send(body=[self.message("tools/list", n=1), self.message("ping", n=2)], **session)
        self.assertEqual(at_once.getheader("Content-Type"), "application/json")
        self.assertEqual(sorted(a["id"] for a in json.loads(at_once.read())), [1, 2])
        self.assertEqual(self.send(body=[{"jsonrpc": "2.0", "method": "notifications/x"}], **session).status, 202)
        later = self.events(self.send(body=[self.message("tools/call", n=3, name="ask_repo", arguments={"question": "what?"}), self.message("ping", n=4)], **session))
        self.assertEqual(next(later)[1]["id"], 4)  # each in an event of its own
        with open(gate, "w") as f:
            f.write("x")
        self.assertEqual([m["id"] for _, m in later], [3])
        for refused in ({}, self.legacy(), {"MCP-Protocol-Version": MODERN}):
            response = self.send(body=[self.message("ping")], **refused)
            self.assertEqual((response.status, json.loads(response.read())["error"]["code"]), (400, -32600))

    def test_pages_of_other_sites_are_not_let_in(self):
        self.start()
        response = self.modern("tools/list", {"Origin": "http://evil.example"})
        self.assertEqual((response.status, json.loads(response.read())["error"]["code"]), (403, -32600))


if __name__ == "__main__":
    cli_case.main()
