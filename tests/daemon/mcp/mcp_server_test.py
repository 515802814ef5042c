"""The MCP server from outside: over the socket and `lares mcp`, in both eras. mcp_server_test.py LARES SCRIPTED_DAEMON"""
import json
import os
import pathlib
import queue
import socket
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
import cli_case
from cli_case import THINK, CliCase
from client import Client, Gated, Refused, call, mcp_call
from mcp_client import MODERN, ON_AND_ON, OverSocket, OverStdio

TOOLS = ["ask_repo", "run_task", "review", "task_status", "task_cancel"]
FORM = {"elicitation": {}}
SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "mcp", "server.py")
N_SESSIONS = 1_010  # more than any list that is made in one piece should hold


class McpServerTest(Gated, CliCase):
    def client(self, **how):
        c = OverSocket(self.socket, root=how.pop("root", self.root), **how)
        self.addCleanup(c.close)
        return c

    def stdio(self, *args, **how):
        c = OverStdio([cli_case.LARES, "mcp", *args], self.env(), how.pop("cwd", self.root), **how)
        self.addCleanup(c.kill)
        return c

    def text(self, result):
        return result["content"][0]["text"]

    # ---- batches, in the one version that has them

    def batch(self, c):
        """Two requests, of which the second is answered at once, and what is no request."""
        tool = {"name": "ask_repo", "arguments": {"question": "what?"}, "_meta": {"progressToken": 7}}
        return [{"jsonrpc": "2.0", "id": 71, "method": "tools/call", "params": tool}, {"jsonrpc": "2.0", "method": "notifications/x"},
                {"jsonrpc": "2.0", "id": "l", "method": "tools/list"}, {"nonsense": 1}]

    def check_batch(self, c):
        self.assertEqual(c.server["protocolVersion"], "2025-03-26")
        c.write(json.dumps(self.batch(c)).encode() + b"\n")
        while isinstance(answers := c.read(), dict):
            self.assertIn("method", answers)  # what is told meanwhile
        by_id = {a.get("id"): a for a in answers}
        self.assertEqual(len(answers), 3, answers)
        self.assertEqual(by_id[71]["result"]["structuredContent"]["answer"], "An answer.")
        self.assertEqual([t["name"] for t in by_id["l"]["result"]["tools"]], TOOLS)
        self.assertEqual(by_id[None]["error"]["code"], -32600)
        c.write(json.dumps([{"jsonrpc": "2.0", "method": "notifications/x"}]).encode() + b"\n")  # has no answer
        c.write(b"[]\n")
        self.assertEqual(c.read()["error"]["code"], -32600)
        self.assertEqual(c.call("ping"), {})

    def test_a_batch_is_answered_by_one(self):
        self.start(THINK + "An answer.", THINK + "An answer.")
        self.check_batch(self.client(version="2025-03-26"))
        self.check_batch(self.stdio(version="2025-03-26"))

    def test_other_versions_have_no_batches(self):
        self.start()
        for c in (self.client(), self.stdio()):
            c.write(json.dumps(self.batch(c)).encode() + b"\n")
            self.assertIn("2025-03-26 alone", c.read()["error"]["message"])
            self.assertEqual(c.call("ping"), {})

    def test_who_has_said_all_has_its_answers(self):
        self.start(THINK + "An answer.")
        c = self.client()
        n = c.begin("ask_repo", question="what?")
        c.sock.shutdown(socket.SHUT_WR)
        self.assertEqual(c.answer(n)["result"]["structuredContent"]["answer"], "An answer.")
        while c.read() is not None:  # then it is let go
            pass

    def test_who_has_said_all_has_its_answer_though_the_model_asks(self):
        for asked in (False, True):  # before the client says nothing more
            self.start(THINK + call("ask_user", question="Which one?"), THINK + "So be it.")
            c = self.client(capabilities=FORM)
            n = c.begin("ask_repo", question="what?")
            if asked:
                c.question()
            c.sock.shutdown(socket.SHUT_WR)
            result = c.answer(n)["result"]
            self.assertEqual((self.text(result), result.get("isError")), ("So be it.", None))
            native = Client(self.socket)
            self.assertTrue(all(s["closed"] for s in native.call("session/list", closed=True)["sessions"]))
            native.close()
            self.daemon.stop()

    def test_a_task_that_asks_who_has_said_all_waits_for_somebody_else(self):
        for calls, method, answer in ((call("bash", command="git reset --hard"), "approval/reply", {"decision": "deny"}),
                                      (call("ask_user", question="Which one?"), "question/reply", {"text": "The right one."})):
            self.start(THINK + calls, THINK + "So be it.")
            c = self.client(capabilities=FORM)
            n = c.begin("run_task", prompt="try")
            c.question()
            c.sock.shutdown(socket.SHUT_WR)
            result = c.answer(n)["result"]
            session = result["structuredContent"]["session"]
            self.assertEqual((result["structuredContent"]["state"], result.get("isError")), ("waiting", None))
            self.assertIn(f"[session {session}: waiting; it waits for an answer, which `lares attach {session}` can give]", self.text(result))
            native = Client(self.socket)
            native.call(method, sessionId=session, itemId=self.asking(native, session), **answer)
            self.assertEqual(self.wait(self.client(), lambda s: s["state"] == "finished")["answer"], "So be it.")
            native.close()
            self.daemon.stop()

    # ---- what is offered

    def test_tools_come_in_the_same_order_with_schemas_in_both_eras(self):
        self.start()
        for c in (self.client(), self.client(modern=True)):
            tools = c.call("tools/list")["tools"]
            self.assertEqual([t["name"] for t in tools], TOOLS)
            for t in tools:
                self.assertEqual((t["inputSchema"]["type"], t["outputSchema"]["type"]), ("object", "object"))
            self.assertEqual(c.call("tools/list")["tools"], tools)
        self.assertEqual(self.client(modern=True).call("server/discover")["supportedVersions"], [MODERN])
        self.assertEqual(self.client().server["serverInfo"]["name"], "lares")

    def test_the_native_protocol_is_still_told_apart(self):
        self.start()
        native = Client(self.socket)
        self.assertEqual(native.call("session/list")["sessions"], [])
        native.close()
        raw = Client(self.socket, initialize=False)
        raw.send_raw(b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}\n')
        self.assertIn("first request must be initialize", raw.read()["error"]["message"])
        raw.close()

    def test_arguments_that_are_wrong_are_told_to_the_model(self):
        self.start()
        c = self.client()
        for name, arguments, why in (("ask_repo", {}, "question is missing"), ("ask_repo", {"question": " "}, "question is missing"), ("run_task", {"prompt": "x", "tree": True}, "takes no argument tree"),
                                     ("run_task", {"prompt": "x", "worktree": "yes"}, "worktree must be true or false"), ("task_status", {"session": "nope"}, "there is no session nope")):
            result = c.tool(name, **arguments)
            self.assertTrue(result["isError"], name)
            self.assertIn(why, self.text(result))
        self.assertEqual(c.refused("tools/call", name="nope", arguments={})["code"], -32602)
        elsewhere = self.client(root=None)
        self.assertIn("which repository", self.text(elsewhere.tool("ask_repo", question="x")))
        self.assertIn("question is missing", self.text(c.tool("ask_repo", question=None)))
        self.assertIn("/nowhere", self.text(elsewhere.tool("ask_repo", question="x", root="/nowhere")))

    # ---- tools

    def test_ask_repo_answers_and_changes_nothing(self):
        self.start(THINK + "In a.txt.", THINK + "In a.txt still.")
        for c, where in ((self.client(), {}), (self.client(modern=True, root=None), {"root": self.root})):
            result = c.tool("ask_repo", question="where is beta?", **where)
            self.assertFalse(result.get("isError"))
            self.assertEqual(self.text(result), result["structuredContent"]["answer"])
            self.assertTrue(self.text(result).startswith("In a.txt"))
            native = Client(self.socket)
            session = native.call("session/get", sessionId=result["structuredContent"]["session"])
            self.assertEqual((session["root"], session["settings"]["mode"]), (self.root, "ask"))
            native.close()

    def test_a_task_that_cannot_begin_leaves_no_worktree(self):
        for command in (["init", "-q", "-b", "main"], ["-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-q", "--allow-empty", "-m", "first"]):
            cli_case.subprocess.run(["git", "-C", self.root, *command], check=True)
        self.start(THINK + "Done.")
        c, native = self.client(), Client(self.socket)
        self.addCleanup(native.close)
        result = c.tool("run_task", prompt="x" * 5_000_000, worktree=True)
        self.assertTrue(result["isError"])
        self.assertRegex(self.text(result), "is longer than [0-9]+ bytes; put it into a file of the repository and name that")
        self.assertEqual(native.call("worktree/list").get("worktrees", []), [])
        self.assertEqual(native.call("session/list", closed=True)["sessions"], [])
        session = c.tool("run_task", prompt="\n" + "tidy up " * 10_000, worktree=True)["structuredContent"]["session"]
        self.assertRegex(native.call("session/get", sessionId=session)["title"], r"\Atidy up [a-z ]{0,72}\Z")

    def test_an_argument_that_is_null_or_empty_is_left_out(self):
        self.start(THINK + "In a.txt.", THINK + "Done.")
        c = self.client()
        self.assertEqual(self.text(c.tool("ask_repo", question="where is beta?", root=None)), "In a.txt.")
        self.assertEqual(c.tool("run_task", prompt="x", root="", worktree=None)["structuredContent"]["root"], self.root)

    def test_what_was_answered_is_closed_and_goes_on_for_whoever_writes_to_it(self):
        self.start(THINK + "In a.txt.", THINK + "Line 2.")
        c, native = self.client(), Client(self.socket)
        self.addCleanup(native.close)
        asked = c.tool("ask_repo", question="where is beta?")["structuredContent"]["session"]
        self.assertEqual(native.call("session/list")["sessions"], [])
        self.assertEqual([s["sessionId"] for s in native.call("session/list", closed=True)["sessions"]], [asked])
        self.assertIn("In a.txt.", c.call("resources/read", uri=f"lares://sessions/{asked}")["contents"][0]["text"])
        native.call("session/subscribe", sessionId=asked, after=-1)
        native.call("prompt/send", sessionId=asked, id="p", content="Which line?")
        native.until("turn/ended")
        session = native.call("session/get", sessionId=asked)
        self.assertEqual((session.get("closed", False), session["nTurns"]), (False, 2))
        native.call("session/close", sessionId=asked)  # by somebody who means it
        with self.assertRaisesRegex(Refused, "is closed"):
            native.call("prompt/send", sessionId=asked, id="q", content="And now?")

    def test_what_was_answered_stays_closed_after_a_restart(self):
        self.start(THINK + "In a.txt.")
        asked = self.client().tool("ask_repo", question="where is beta?")["structuredContent"]["session"]
        self.daemon.kill()
        self.start(THINK + "Line 2.")
        native = Client(self.socket)
        self.addCleanup(native.close)
        self.assertTrue(native.call("session/get", sessionId=asked)["closed"])
        native.call("session/subscribe", sessionId=asked, after=-1)
        native.call("prompt/send", sessionId=asked, id="p", content="Which line?")
        native.until("turn/ended")
        self.assertEqual(native.call("session/list")["sessions"][0]["sessionId"], asked)

    def test_run_task_says_what_it_did_and_is_found_again(self):
        self.start(THINK + self.edit(), THINK + "It says gamma now.")
        c = self.client()
        n = c.begin("run_task", meta={"progressToken": "p"}, prompt="make it gamma")
        answer = c.answer(n)["result"]
        done = answer["structuredContent"]
        self.assertEqual((done["state"], done["stop_reason"], done["answer"]), ("finished", "end_turn", "It says gamma now."))
        self.assertEqual(done["files"], [{"path": "a.txt", "added": 1, "deleted": 1}])
        self.assertIn("a.txt +1 -1", self.text(answer))
        self.assertEqual(self.read("a.txt"), "alpha\ngamma\n")
        told = [m["params"] for m in c.kept if m.get("method") == "notifications/progress"]
        self.assertGreater(len(told), 1)
        self.assertTrue(all(p["progressToken"] == "p" for p in told))
        self.assertEqual([p["progress"] for p in told], sorted({p["progress"] for p in told}))
        self.assertTrue(any("str_replace_editor" in p["message"] for p in told), told)
        status = self.client(modern=True).tool("task_status", session=done["session"][:6])
        self.assertEqual({**done, "state": "finished"}, status["structuredContent"])

    def test_a_task_in_a_worktree_says_where_it_worked(self):
        git = ["git", "-C", self.root, "-c", "user.name=A", "-c", "user.email=a@b"]
        os.rmdir(os.path.join(self.root, ".git"))
        for args in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "-m", "begin"]):
            cli_case.subprocess.run([*git, *args], check=True)
        self.start(THINK + "Done.")
        c = self.client()
        result = c.tool("run_task", prompt="tidy up", worktree=True)
        done = result["structuredContent"]
        self.assertNotEqual(done["root"], self.root)
        self.assertTrue(done["branch"].startswith("lares/tidy-up-"), done)
        self.assertIn(f"lares apply {done['session']}", self.text(result))
        self.assertEqual(c.tool("task_status", session=done["session"])["structuredContent"], done)

    def test_sessions_and_diffs_are_resources_the_newest_first(self):
        self.start(THINK + self.edit(), THINK + "Done.", THINK + "An answer.")
        c = self.client()
        task = c.tool("run_task", prompt="make it gamma")["structuredContent"]["session"]
        asked = c.tool("ask_repo", question="what is it?")["structuredContent"]["session"]
        uris = [r["uri"] for r in c.call("resources/list")["resources"]]
        self.assertEqual(uris, [f"lares://sessions/{s}{end}" for s in (asked, task) for end in ("", "/diff")])
        self.assertEqual([t["uriTemplate"] for t in c.call("resources/templates/list")["resourceTemplates"]], ["lares://sessions/{id}", "lares://sessions/{id}/diff"])
        log = c.call("resources/read", uri=uris[2])["contents"][0]["text"]
        for shown in ("make it gamma", "str_replace_editor", "Done."):
            self.assertIn(shown, log)
        self.assertIn("-beta\n+gamma\n", c.call("resources/read", uri=uris[3])["contents"][0]["text"])
        self.assertEqual(c.refused("resources/read", uri="lares://sessions/nope")["data"], {"uri": "lares://sessions/nope"})
        self.assertEqual(c.call("completion/complete", ref={"type": "ref/resource", "uri": "lares://sessions/{id}"}, argument={"name": "id", "value": task[:4]})["completion"]["values"], [task])

    def test_every_session_is_listed_page_by_page(self):
        self.start()
        native = Client(self.socket)
        made = {native.call("session/create", root=self.root)["sessionId"] for _ in range(N_SESSIONS)}
        native.close()
        c = self.client()
        seen, page, where = [], None, {}
        while page is None or "nextCursor" in page:
            page = c.call("resources/list", **where)
            where = {"cursor": page.get("nextCursor")}
            self.assertLessEqual(len(page["resources"]), 100)
            seen += [r["uri"] for r in page["resources"]]
        self.assertEqual(len(seen), 2 * N_SESSIONS)
        self.assertEqual(set(seen), {f"lares://sessions/{s}{end}" for s in made for end in ("", "/diff")})

    def test_a_journal_is_read_beside_what_else_is_asked(self):
        self.start(THINK + "An answer.")
        c = self.client()
        session = c.tool("ask_repo", question="what?")["structuredContent"]["session"]
        journal = os.path.join(self.state, "sessions", session + ".journal")
        os.rename(journal, journal + "-aside")
        os.mkfifo(journal)  # who opens it waits
        reads = [c.request("tools/call", name="task_status", arguments={"session": session}), c.request("resources/read", uri=f"lares://sessions/{session}"),
                 c.request("resources/read", uri=f"lares://sessions/{session}/diff")]
        self.assertEqual(c.call("ping"), {})
        self.assertEqual([m for m in c.kept if m.get("id") in reads], [])
        keep = os.open(journal, os.O_RDWR)  # whoever waits or comes is let in
        status = c.answer(reads[0])["result"]
        self.assertTrue(status["isError"])
        self.assertIn(f"read what session {session} did: ", self.text(status))
        for n in reads[1:]:
            self.assertIn("resources/read lares://sessions/", c.answer(n)["error"]["message"])
        os.close(keep)
        os.rename(journal + "-aside", journal)
        self.assertEqual(c.tool("task_status", session=session)["structuredContent"]["answer"], "An answer.")

    def test_review_reads_what_is_not_committed(self):
        os.rmdir(os.path.join(self.root, ".git"))
        cli_case.subprocess.run(["git", "init", "--quiet", self.root], check=True)
        self.start(THINK + "[minor] a.txt:1: alpha.")
        result = self.client().tool("review")
        self.assertEqual((self.text(result), result["structuredContent"]["what"]), ("[minor] a.txt:1: alpha.", "the uncommitted changes"))
        native = Client(self.socket)
        self.addCleanup(native.close)
        self.assertTrue(native.call("session/get", sessionId=result["structuredContent"]["session"])["closed"])
        self.assertIn("names no commit", self.text(self.client().tool("review", range="nope")))

    # ---- questions

    def test_what_a_task_asks_is_asked_of_the_client(self):
        for decision, state in (("allow", ("done", "failed")), ("deny", ("denied",))):
            self.start(THINK + call("bash", command="git reset --hard"), THINK + "So be it.")
            c = self.client(capabilities=FORM)
            n = c.begin("run_task", prompt="reset it")
            asked = c.question()
            self.assertIn("git reset --hard", asked["params"]["message"])
            self.assertEqual(asked["params"]["requestedSchema"]["required"], ["decision"])
            c.send({"id": asked["id"], "result": {"action": "accept", "content": {"decision": decision, "message": "Not now."}}})
            done = c.answer(n)["result"]["structuredContent"]
            self.assertEqual((done["answer"], done["unanswered"]), ("So be it.", []))
            item = self.items(done["session"])[0]
            self.assertIn(item["state"], state)
            if decision == "deny":
                self.assertIn("Not now.", item["output"])
            self.daemon.stop()

    def test_what_a_task_asks_is_shown_as_a_whole(self):
        command = "git reset --hard" + " " * 200 + "; touch two"
        self.start(THINK + call("bash", command=command), THINK + "So be it.")
        c = self.client(capabilities=FORM)
        n = c.begin("run_task", prompt="reset it")
        asked = c.question()
        self.assertIn(command, asked["params"]["message"])
        c.send({"id": asked["id"], "result": {"action": "accept", "content": {"decision": "deny"}}})
        c.answer(n)

    def with_server(self):
        """The daemon's own MCP server, which asks things itself."""
        config = os.path.join(self.home, "servers")
        os.makedirs(config)
        with open(os.path.join(config, "mcp.json"), "w") as f:
            json.dump({"mcpServers": {"scripted": {"command": sys.executable, "args": [SERVER, "good"]}}}, f)
        os.environ["LARES_TEST_CONFIG"] = config
        self.addCleanup(os.environ.pop, "LARES_TEST_CONFIG")

    def test_what_an_mcp_server_asks_meanwhile_is_asked_of_the_client(self):
        self.with_server()
        for answer, heard in (({"action": "accept", "content": {"answer": "3"}}, {"action": "accept", "content": {"count": 3}}),
                              ({"action": "decline"}, {"action": "decline"}), ({"action": "cancel"}, {"action": "cancel"})):
            self.start(THINK + mcp_call("scripted", "elicit"), THINK + "Counted.")
            c = self.client(capabilities=FORM)
            n = c.begin("run_task", prompt="count")
            asked = c.question()
            self.assertIn("The MCP server scripted asks: How many?", asked["params"]["message"])
            c.send({"id": asked["id"], "result": answer})
            done = c.answer(n)["result"]["structuredContent"]
            self.assertEqual(done["answer"], "Counted.")
            self.assertEqual(json.loads(self.items(done["session"])[0]["output"])["result"], heard)
            self.daemon.stop()

    def test_what_an_mcp_server_asks_comes_with_the_answer_in_the_modern_era(self):
        self.with_server()
        self.start(THINK + mcp_call("scripted", "elicit"), THINK + "Counted.")
        c = self.client(modern=True, capabilities=FORM)
        first = c.tool("run_task", prompt="count")
        (key, asked), = first["inputRequests"].items()
        self.assertIn("How many?", asked["params"]["message"])
        done = c.call("tools/call", name="run_task", arguments={"prompt": "count"}, requestState=first["requestState"],
                      inputResponses={key: {"action": "accept", "content": {"answer": "3"}}})
        item = self.items(done["structuredContent"]["session"])[0]
        self.assertEqual(json.loads(item["output"])["result"], {"action": "accept", "content": {"count": 3}})

    def test_a_late_question_of_an_mcp_server_hides_no_approval(self):
        self.with_server()
        self.start(THINK + mcp_call("scripted", "elicit_late"), THINK + call("bash", command="git reset --hard"), THINK + "So be it.")
        c = self.client(capabilities=FORM)
        n = c.begin("run_task", prompt="reset it")
        about = []
        for _ in range(2):  # in either order
            asked = c.question()
            about.append("How many?" in asked["params"]["message"])
            c.send({"id": asked["id"], "result": {"action": "accept", "content": {"decision": "deny", "answer": "3"}}})
        self.assertEqual(sorted(about), [False, True])
        done = c.answer(n)["result"]["structuredContent"]
        self.assertEqual((done["answer"], done["unanswered"]), ("So be it.", []))

    def test_what_is_answered_elsewhere_closes_the_clients_form(self):
        for calls, method, answer, shown in ((call("bash", command="git reset --hard"), "approval/reply", {"decision": "deny", "message": "Said at the terminal."}, "Said at the terminal."),
                                             (call("ask_user", question="Which one?"), "question/reply", {"text": "The right one."}, "The right one.")):
            self.start(THINK + calls, THINK + "So be it.")
            c = self.client(capabilities=FORM)
            n = c.begin("run_task", prompt="try")
            asked = c.question()
            native = Client(self.socket)
            session = native.call("session/list")["sessions"][0]["sessionId"]
            item = self.asking(native, session)
            native.call(method, sessionId=session, itemId=item, **answer)
            closed = c.next(lambda m: m.get("method") == "notifications/cancelled")
            self.assertEqual(closed["params"]["requestId"], asked["id"])
            c.send({"id": asked["id"], "result": {"action": "accept", "content": {"decision": "allow", "answer": "The left one."}}})  # too late
            done = c.answer(n)["result"]["structuredContent"]
            self.assertEqual(done["answer"], "So be it.")
            self.assertIn(shown, self.items(session)[0]["output"])
            native.close()
            self.daemon.stop()

    def asking(self, native, session):
        """The item that waits for a person."""
        native.call("session/subscribe", sessionId=session, after=0)
        while True:
            message = native.read()
            item = message.get("params", {}).get("item", {})
            if item.get("state") in ("asking", "waiting"):
                return item["id"]

    def items(self, session):
        native = Client(self.socket)
        events = native.call("session/history", sessionId=session)["events"]
        native.close()
        return [e["params"]["item"] for e in events if e["method"] == "item/completed" and e["params"]["item"]["kind"] == "tool"]

    def test_a_question_of_the_modern_era_comes_with_the_answer(self):
        self.start(THINK + call("ask_user", question="Which one?"), THINK + "That one.")
        c = self.client(modern=True, capabilities=FORM)
        first = c.tool("run_task", prompt="choose")
        self.assertEqual(first["resultType"], "input_required")
        (key, asked), = first["inputRequests"].items()
        self.assertEqual(asked["params"]["message"], "Which one?")
        again = dict(name="run_task", arguments={"prompt": "choose"}, inputResponses={key: {"action": "accept", "content": {"answer": "The left one."}}})
        self.assertEqual(c.refused("tools/call", requestState=first["requestState"] + "x", **again)["code"], -32602)
        done = c.call("tools/call", requestState=first["requestState"], **again)
        self.assertEqual((done["resultType"], done["structuredContent"]["answer"]), ("complete", "That one."))
        self.assertIn("The left one.", self.items(done["structuredContent"]["session"])[0]["output"])

    def test_without_anybody_to_ask_it_is_said_what_did_not_run(self):
        self.start(THINK + call("bash", command="git reset --hard"), THINK + "I could not.")
        done = self.client().tool("run_task", prompt="reset it")
        self.assertEqual(done["structuredContent"]["state"], "finished")
        self.assertEqual(len(done["structuredContent"]["unanswered"]), 1)
        self.assertIn("did not run, because nobody was there to allow it:\n  bash: git reset --hard", self.text(done))

    # ---- the end of a client

    def test_who_cancels_stops_the_turn(self):
        self.start(ON_AND_ON)
        c = self.client()
        n = c.begin("run_task", meta={"progressToken": 1}, prompt="go on")
        c.progress(n)
        c.notify("notifications/cancelled", requestId=n)
        status = self.wait(c, lambda s: s["state"] == "stopped")
        self.assertEqual(status["stop_reason"], "cancelled")
        self.assertEqual([m for m in c.kept if m.get("id") == n], [])

    def wait(self, c, wanted):
        """The newest task's status, when it is as wanted."""
        while True:
            uris = [r["uri"] for r in c.call("resources/list")["resources"]]
            if uris:
                status = c.tool("task_status", session=uris[0].split("/")[3])["structuredContent"]
                if wanted(status):
                    return status

    def test_who_goes_away_leaves_the_task_at_work(self):
        gate = self.gate()
        self.start({"text": THINK + "Finished all alone.", "gate": gate})
        c = OverSocket(self.socket, root=self.root)
        c.progress(c.begin("run_task", meta={"progressToken": 1}, prompt="take your time"))
        c.close()
        other = self.client()
        self.assertEqual(self.wait(other, lambda s: s["turn"] == 1)["stop_reason"], "")
        self.open_gate(gate)
        self.assertEqual(self.wait(other, lambda s: s["state"] == "finished")["answer"], "Finished all alone.")

    def test_task_cancel_stops_what_runs_and_says_where_nothing_does(self):
        self.start(ON_AND_ON)
        c = self.client()
        n = c.begin("run_task", meta={"progressToken": 1}, prompt="go on")
        c.progress(n)
        session = self.wait(c, lambda s: s["turn"] == 1)["session"]
        self.assertTrue(c.tool("task_cancel", session=session)["structuredContent"]["stopped"])
        done = c.answer(n)["result"]
        self.assertEqual((done["isError"], done["structuredContent"]["state"]), (True, "stopped"))
        self.assertFalse(c.tool("task_cancel", session=session)["structuredContent"]["stopped"])

    def test_a_question_goes_unanswered_when_its_client_goes_away(self):
        self.start(ON_AND_ON)
        c = OverSocket(self.socket, root=self.root)
        c.progress(c.begin("ask_repo", meta={"progressToken": 1}, question="why?"))
        c.close()
        self.assertEqual(self.wait(self.client(), lambda s: s["stop_reason"])["stop_reason"], "cancelled")

    def test_changes_are_told_to_who_watches(self):
        self.start(THINK + "An answer.", THINK + "Another.")
        c = self.client()
        session = c.tool("ask_repo", question="what?")["structuredContent"]["session"]
        watcher = self.client(modern=True)
        watcher.request("subscriptions/listen", notifications={"resourcesListChanged": True})
        self.assertEqual(watcher.read()["method"], "notifications/subscriptions/acknowledged")
        c.call("resources/subscribe", uri=f"lares://sessions/{session}")
        native = Client(self.socket)
        native.call("prompt/send", sessionId=session, id="again", content="and?")
        self.assertEqual(c.next(lambda m: m.get("method") == "notifications/resources/updated")["params"]["uri"], f"lares://sessions/{session}")
        native.call("session/create", root=self.root)
        native.close()

    # ---- lares mcp

    def test_the_bridge_knows_its_repository_and_ends_with_stdin(self):
        self.start(THINK + "In a.txt.")
        os.makedirs(os.path.join(self.root, "sub"))
        c = self.stdio(cwd=os.path.join(self.root, "sub"))
        self.assertEqual(self.text(c.tool("ask_repo", question="where?")), "In a.txt.")
        self.assertEqual(c.end(), (0, ""))
        other = self.stdio("--root", self.root, cwd=self.home)
        self.assertEqual(len(other.call("resources/list")["resources"]), 2)
        self.assertEqual(other.end(), (0, ""))

    def test_the_bridge_carries_large_messages_and_both_eras(self):
        answer = " ".join(str(i * i) for i in range(20_000))
        self.start(THINK + answer)
        c = self.stdio(modern=True)
        self.assertEqual(self.text(c.tool("ask_repo", question="y" * 300_000)), answer)
        self.assertEqual(c.end(), (0, ""))

    def test_the_bridge_starts_the_daemon_again_when_something_is_asked(self):
        c = self.stdio()
        self.addCleanup(self.lares, "shutdown")
        self.assertEqual([t["name"] for t in c.call("tools/list")["tools"]], TOOLS)
        self.assertEqual(self.lares("shutdown")[0], 0)
        self.assertEqual(c.call("ping"), {})  # of a daemon that ends, or of none
        while os.path.exists(self.socket):  # the test's own time is the bound
            time.sleep(0.01)
        self.assertEqual(c.call("ping"), {})
        self.assertFalse(os.path.exists(self.socket), "a ping starts none")
        self.assertEqual([t["name"] for t in c.call("tools/list")["tools"]], TOOLS)
        self.assertEqual(c.end(), (0, ""))

    def test_the_bridge_outlives_a_daemon_that_is_killed(self):
        for modern in (False, True):
            self.start(ON_AND_ON)
            c = self.stdio(modern=modern)
            task = c.begin("run_task", meta={"progressToken": 1}, prompt="go on")
            c.progress(task)
            self.daemon.kill()
            why = c.answer(task)["error"]["message"]
            self.assertIn("tools/call: the daemon was lost before it answered, so what came of it is not known", why)
            self.start(THINK + "Back.", THINK + "Back.")
            self.assertEqual(self.text(c.tool("ask_repo", question="and now?")), "Back.")
            self.assertEqual(len(c.call("resources/list")["resources"]) % 2, 0)
            self.assertEqual(c.end(), (0, ""))
            self.daemon.stop()

    def test_the_bridge_listens_on_after_a_restart(self):
        self.start(THINK + "One.")
        c = self.stdio()
        session = c.tool("ask_repo", question="what?")["structuredContent"]["session"]
        c.call("resources/subscribe", uri=f"lares://sessions/{session}")
        self.daemon.kill()
        self.start(*[THINK + "Again."] * 60)
        native = Client(self.socket)
        heard = []
        for i in range(60):  # until the bridge is there again
            native.call("prompt/send", sessionId=session, id=f"again-{i}", content="and?", delivery="queue")
            try:
                heard.append(json.loads(c.readline(1)))
            except queue.Empty:
                pass
            if any(m["method"] == "notifications/resources/updated" for m in heard):
                break
        self.assertIn({"uri": f"lares://sessions/{session}"}, [m.get("params") for m in heard])
        native.close()

    def test_the_bridge_says_why_no_daemon_can_be_had(self):
        self.start()
        c = self.stdio()
        self.daemon.stop()
        os.rename(self.state, self.state + "-aside")
        self.write_file(self.state, "no directory")
        why = c.refused("tools/list")["message"]
        self.assertTrue(why.startswith("tools/list: start the daemon: "), why)
        os.remove(self.state)
        os.rename(self.state + "-aside", self.state)
        self.start()
        self.assertEqual([t["name"] for t in c.call("tools/list")["tools"]], TOOLS)

    def test_the_bridge_tells_of_somebody_who_hangs_up_again_and_again(self):
        self.start()
        c = self.stdio()
        self.daemon.stop()
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(60)
            s.bind(self.socket)
            s.listen()
            asked = c.request("tools/list")
            for _ in range(7):  # the daemon's end was the first
                s.accept()[0].close()
            self.assertEqual(c.answer(asked)["error"]["message"],
                             f"tools/list: greet the daemon at {self.socket}: it hung up 8 times; see laresd.log in {self.state}")
        os.remove(self.socket)

    def write_file(self, path, text):
        with open(path, "w") as f:
            f.write(text)

    def test_a_client_that_does_not_read_is_still_heard(self):
        answer = " ".join(str(i * i) for i in range(20_000))
        gate = self.gate()
        self.start(THINK + answer, {"text": THINK + "Heard.", "gate": gate})
        c = self.stdio(modern=True, reads=False)
        c.request("tools/list")
        while c.n_unread() == 0:  # what comes next finds the pipe writable, and no room for all of it
            time.sleep(0.01)
        first = c.begin("ask_repo", question="say much")
        while c.n_unread() < 60_000:  # more than the pipe holds comes
            time.sleep(0.01)
        long = threading.Thread(target=c.begin, args=("ask_repo",), kwargs={"question": "y" * 300_000}, daemon=True)  # nor does its pipe hold this
        long.start()
        long.join(60)
        self.assertFalse(long.is_alive(), "the bridge reads nothing while it cannot write")
        self.open_gate(gate)
        c.read_on()
        self.assertEqual(self.text(c.answer(first)["result"]), answer)
        self.assertEqual(self.text(c.answer(first + 1)["result"]), "Heard.")
        self.assertEqual(c.end(), (0, ""))

    def test_the_bridge_without_a_daemon_to_start_says_so(self):
        c = cli_case.subprocess.run([cli_case.LARES, "mcp", "--socket", "/dev/null/s"], env=self.env(), cwd=self.root, stdin=cli_case.subprocess.DEVNULL,
                                    stdout=cli_case.subprocess.PIPE, stderr=cli_case.subprocess.PIPE, timeout=60)
        self.assertEqual((c.returncode, c.stdout), (1, b""))
        self.assertIn(b"/dev/null/s", c.stderr)


if __name__ == "__main__":
    cli_case.main()
