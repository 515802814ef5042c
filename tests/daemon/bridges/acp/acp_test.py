"""`lares acp` from outside, with a scripted model behind the daemon. acp_test.py LARES SCRIPTED_DAEMON"""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripted"))
import cli_case
from acp_case import REWIND, SELECTED, AcpCase, bash
from acp_client import Failed
from cli_case import THINK
from client import Refused, call, mcp_call


class AcpTest(AcpCase):
    def test_long_reading_is_told_in_quarters_and_short_reading_is_not(self):
        self.install_daemon("LARES_TEST_CHUNK=1024 LARES_TEST_CHUNK_MS=20")
        self.script(THINK + "Read.", THINK + "Short.", THINK + "Read.")
        reading = lambda texts: [t for t in texts if t.startswith("Reading: ")]
        editor, session = self.begin(can={"session": {"notices": {}}})
        editor.answer(editor.prompt(session, "word " * 8000))
        told = reading(u["title"] for u in editor.updates("notice"))
        self.assertTrue(2 <= len(told) <= 4, told)
        self.assertRegex(told[0], r"^Reading: [\d.]+k? of 4\dk tokens$")
        editor.answer(editor.prompt(session, "Now this."))
        self.assertEqual(reading(u["title"] for u in editor.updates("notice")), told)
        other, session = self.begin()  # one that knows no notices hears it once, as a thought
        other.answer(other.prompt(session, "other " * 8000))
        self.assertEqual(len(reading(u["content"]["text"] for u in other.updates("agent_thought_chunk"))), 1)

    def test_the_editors_mcp_servers_are_the_sessions(self):
        servers = self.mcp_servers()
        self.script(THINK + call("mcp_search", query="probe"), THINK + "Found.", THINK + call("mcp_search", query="probe"), THINK + "Found again.")
        editor = self.editor()
        editor.initialize()
        session = editor.call("session/new", cwd=self.root, mcpServers=servers)["sessionId"]
        for _ in range(2):
            seen = len(editor.seen)
            self.assertEqual(editor.call("session/prompt", sessionId=session, prompt=[{"type": "text", "text": "Look."}])["stopReason"], "end_turn")
            self.assertIn("Adds two numbers", json.dumps(editor.seen[seen:]))
            self.shut_down()  # another daemon hears of them again

    def mcp_servers(self):
        server = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "mcp", "server.py")
        return [{"name": "probe", "command": sys.executable, "args": [server, "good"], "env": []}, {"name": "odd", "type": "carrier-pigeon"}]

    def test_what_is_wrong_with_servers_is_told_when_the_session_is_open(self):
        editor = self.editor()
        editor.initialize(session={"notices": {}})
        session = editor.call("session/new", cwd=self.root, mcpServers=self.mcp_servers())["sessionId"]
        self.assertEqual(editor.seen, [])  # an editor drops what is about a session that it does not know
        notice = editor.until_update("notice")
        self.assertEqual((notice["severity"], editor.seen[-1]["params"]["sessionId"]), ("warning", session))
        self.assertIn("odd", notice["title"])

    def test_servers_that_come_while_a_turn_runs_are_used_when_it_has_ended(self):
        look = THINK + call("mcp_search", query="probe")
        self.script(bash("while ! test -e go; do sleep 0.05; done"), look, THINK + "none", look, THINK + "found")
        editor, session = self.begin()
        n = editor.prompt(session, "begin")
        editor.until_update("tool_call_update", status="in_progress")
        other = self.editor()
        other.initialize(session={"notices": {}})
        other.call("session/resume", sessionId=session, cwd=self.root, mcpServers=self.mcp_servers())
        self.assertEqual([u["sessionUpdate"] for u in other.updates()], [])
        self.assertIn("when this turn has ended", other.until_update("notice", severity="info")["title"])
        self.write("go", "")
        editor.answer(n)
        self.assertNotIn("Adds two numbers", json.dumps(editor.seen))
        self.assertIn("odd", other.until_update("notice", severity="warning")["title"])  # now they were brought
        editor.answer(editor.prompt(session, "again"))
        self.assertIn("Adds two numbers", json.dumps(editor.seen))

    def test_a_question_of_a_session_that_is_opened_comes_when_it_is_open(self):
        self.script(bash("echo 1 > one"), THINK + "done")
        first, session = self.begin("--policy", "ask", session_request_permission=None)
        first.prompt(session, "one")
        first.until_asked("session/request_permission")
        second = self.editor(session_request_permission=SELECTED)
        second.initialize(fs={"readTextFile": True})  # so the daemon is told more behind the subscription, and the question is there before the answer
        n = second.send("session/resume", sessionId=session, cwd=self.root, mcpServers=[])
        second.answer(n)
        self.assertEqual((second.asked, second.seen), ([], []))
        second.until_asked("session/request_permission")
        second.until_update("agent_message_chunk")
        self.assertEqual(self.read("one"), "1\n")

    def test_prompts_that_are_too_long_are_refused_and_others_taken(self):
        self.script(THINK + "read it", THINK + "and this")
        editor, session = self.begin()
        embedded = {"type": "resource", "resource": {"uri": f"file://{self.root}/b.txt", "text": "\u00e9" * (2 << 20)}}
        with self.assertRaisesRegex(Failed, r"the prompt is 41943\d\d bytes long, and 4194304 at most are taken; link to files") as failed:
            editor.answer(editor.prompt(session, [{"type": "text", "text": "Look: "}, embedded]))
        self.assertEqual(failed.exception.code, -32602)
        image = {"type": "image", "mimeType": "image/png", "data": "A" * (16 << 20)}
        with self.assertRaisesRegex(Failed, "the model reads text, links and embedded text, not image"):
            editor.answer(editor.prompt(session, [{"type": "text", "text": "Look: "}, image]))
        binary = {"type": "resource", "resource": {"uri": "file:///x.bin", "blob": "A" * (16 << 20)}}
        with self.assertRaisesRegex(Failed, "not binary resources"):
            editor.answer(editor.prompt(session, [binary]))
        embedded["resource"]["text"] = "\u00e9" * (1 << 16)
        self.assertEqual(editor.answer(editor.prompt(session, [embedded])), {"stopReason": "end_turn"})
        self.assertEqual(editor.text(), "read it")

    def test_half_a_line_is_no_message(self):
        self.script(THINK + "never")
        editor, session = self.begin()
        editor.raw(json.dumps({"jsonrpc": "2.0", "id": 50, "method": "session/prompt", "params": {"sessionId": session, "prompt": [{"type": "text", "text": "rm"}]}}).encode())
        self.assertEqual(editor.close(), (0, ""))  # the editor died while it wrote
        self.assertEqual([e for e in self.client().call("session/history", sessionId=session)["events"] if e["method"] == "prompt/accepted"], [])

    def test_an_interrupt_and_an_editor_that_reads_nothing(self):
        self.script(bash("seq 1 200000"), THINK + "done")
        editor, session = self.begin()
        editor.prompt(session, "run")
        editor.process.stdout.close()  # killed: nobody reads any more
        self.assertEqual(editor.process.wait(timeout=60), 0)
        other = self.editor()
        other.initialize()
        other.process.send_signal(signal.SIGINT)
        self.assertEqual(other.close(), (0, ""))

    def test_initialize_needs_no_daemon(self):
        os.remove(os.path.join(self.bin, "laresd"))
        editor = self.editor()
        for asked in (1, 2, 0):
            answer = editor.call("initialize", protocolVersion=asked, clientCapabilities={}, _meta={"x": 1})
            self.assertEqual((answer["protocolVersion"], answer["authMethods"], answer["agentInfo"]["name"]), (1, [], "lares"))
        self.assertTrue(answer["agentCapabilities"]["loadSession"])
        self.assertEqual(set(answer["agentCapabilities"]["sessionCapabilities"]), {"list", "resume", "close", "delete"})
        with self.assertRaisesRegex(Failed, "laresd belongs beside lares"):
            self.new(editor)
        self.assertEqual(editor.initialize()["protocolVersion"], 1)  # and goes on

    def test_a_turn_that_edits_a_file(self):
        self.script("hm</think>I change it." + self.edit(), THINK + "Done.")
        editor, session = self.begin()
        result = editor.answer(editor.prompt(session, "make it gamma"))
        self.assertEqual(result, {"stopReason": "end_turn"})
        self.assertEqual(self.read("a.txt"), "alpha\ngamma\n")
        self.assertEqual((editor.text(), editor.text("agent_thought_chunk")), ("I change it.Done.", "hmhm"))
        path = os.path.join(self.root, "a.txt")
        begun = editor.updates("tool_call")
        self.assertEqual([(u["toolCallId"], u["status"]) for u in begun], [(begun[0]["toolCallId"], "pending")])
        runs, ends = [u for u in editor.updates("tool_call_update") if "status" in u]
        self.assertEqual((runs["title"], runs["kind"], runs["status"]), ("Edit a.txt", "edit", "in_progress"))
        self.assertEqual(runs["locations"], [{"path": path, "line": 2}])
        self.assertEqual(runs["rawInput"]["old_str"], "beta")
        self.assertEqual(runs["content"], [{"type": "diff", "path": path, "oldText": "beta", "newText": "gamma"}])
        self.assertEqual((ends["status"], ends["locations"]), ("completed", [{"path": path, "line": 2}]))
        self.assertEqual(ends["content"], [{"type": "diff", "path": path, "oldText": "alpha\nbeta\n", "newText": "alpha\ngamma\n"}])
        usage = editor.updates("usage_update")
        self.assertEqual((len(usage), usage[-1]["size"]), (2, 1 << 20))
        self.assertEqual(editor.updates("session_info_update")[0]["title"], "make it gamma")
        self.assertEqual(editor.updates("user_message_chunk"), [])  # the editor shows its own
        self.assertEqual([c["name"] for c in editor.updates("available_commands_update")[0]["availableCommands"]][:4], ["ask", "compact", "rewind", "undo"])

    def test_skills_are_commands(self):
        for name in ("deploy", "undo"):
            skill = os.path.join(self.root, ".agents", "skills", name)
            os.makedirs(skill)
            with open(os.path.join(skill, "SKILL.md"), "w") as f:
                f.write(f"---\ndescription: For {name}.\n---\nDo it.\n")
        self.script(THINK + "Deployed.")
        editor, session = self.begin()
        self.assertEqual(editor.answer(editor.prompt(session, "/deploy staging")), {"stopReason": "end_turn"})
        self.assertEqual((editor.text(), editor.text("agent_thought_chunk")), ("Deployed.", "skills: deploy, undo\nhm"))
        commands = [(c["name"], c["description"]) for c in editor.updates("available_commands_update")[0]["availableCommands"]]
        self.assertIn(("deploy", "For deploy."), commands)
        self.assertEqual([what for name, what in commands if name == "undo"], ["Take the last rewinding back"])

    def test_commands_show_their_output(self):
        self.script(bash("echo one; echo two; exit 3"), THINK + "ok")
        editor, session = self.begin("--policy", "auto")
        editor.answer(editor.prompt(session, "run"))
        end = editor.updates("tool_call_update")[-1]
        self.assertIn("two", end["content"][0]["content"]["text"])
        self.assertIn("two", end["rawOutput"]["output"])
        self.assertEqual(editor.until_update("tool_call_update", kind="execute")["title"], "echo one; echo two; exit 3")

    def test_a_plan_is_a_plan_and_no_call(self):
        steps = json.dumps([{"step": "look", "status": "done"}, {"step": "mend", "status": "in_progress"}, {"step": "test", "status": "pending"}])
        self.script(THINK + call("plan", steps=steps).replace('string="true">[', 'string="false">['), THINK + "ok")
        editor, session = self.begin()
        editor.answer(editor.prompt(session, "plan it"))
        self.assertEqual([(e["content"], e["status"]) for e in editor.updates("plan")[0]["entries"]],
                         [("look", "completed"), ("mend", "in_progress"), ("test", "pending")])
        self.assertEqual(editor.updates("tool_call"), [])

    def test_links_and_embedded_text_reach_the_model(self):
        self.script(THINK + "ok")
        editor, session = self.begin()
        editor.answer(editor.prompt(session, [
            {"type": "text", "text": "Look at "}, {"type": "resource_link", "name": "a", "uri": f"file://{self.root}/a%2Etxt#L2"},
            {"type": "resource", "resource": {"uri": f"file://{self.root}/b.txt", "text": "embedded\n"}}]))
        sent = [e for e in self.client().call("session/history", sessionId=session)["events"] if e["method"] == "prompt/accepted"][0]["params"]["content"]
        self.assertEqual(sent, 'Look at `a.txt#L2``b.txt`\n\n<attached name="b.txt">\nembedded\n</attached>')
        for blocks in ([], [{"type": "image", "data": "", "mimeType": "image/png"}], [{"type": "text", "text": "  "}]):
            with self.assertRaises(Failed) as failed:
                editor.answer(editor.prompt(session, blocks))
            self.assertEqual(failed.exception.code, -32602)

    def test_permission_once_always_and_rejected(self):
        self.script(bash("echo 1 > one"), THINK + "1", bash("echo 2 > two"), THINK + "2", bash("touch two"), THINK + "3", bash("rm two"), THINK + "4")
        choices = iter(["once", "reject", "session"])
        editor, session = self.begin("--policy", "ask", session_request_permission=lambda _: {"outcome": {"outcome": "selected", "optionId": next(choices)}})
        editor.answer(editor.prompt(session, "one"))
        asked = editor.asked[0]["params"]
        self.assertEqual((asked["sessionId"], asked["toolCall"]["title"], asked["toolCall"]["kind"]), (session, "echo 1 > one", "execute"))
        self.assertEqual({o["kind"] for o in asked["options"]} & {"allow_once", "reject_once"}, {"allow_once", "reject_once"})
        self.assertEqual(editor.updates("tool_call")[0]["toolCallId"], asked["toolCall"]["toolCallId"])
        self.assertEqual(self.read("one"), "1\n")
        editor.answer(editor.prompt(session, "two"))
        self.assertFalse(os.path.exists(os.path.join(self.root, "two")))
        self.assertEqual(editor.updates("tool_call_update")[-1]["status"], "failed")
        self.assertEqual(editor.updates("tool_call_update")[-1]["rawOutput"]["state"], "denied")
        always = editor.answer(editor.prompt(session, "three"))
        self.assertEqual((always, self.read("two")), ({"stopReason": "end_turn"}, ""))
        self.assertEqual([o["kind"] for o in editor.asked[2]["params"]["options"]], ["allow_once", "allow_always", "allow_always", "reject_once", "reject_always"])

    def test_what_a_title_cannot_hold_is_shown_before_it_is_allowed(self):
        long = "echo " + "word " * 30 + "&& touch end-of-it"
        self.script(bash(long), THINK + "1", bash("echo a &&\ntouch b"), THINK + "2", bash("touch c"), THINK + "3")
        editor, session = self.begin("--policy", "ask", session_request_permission={"outcome": {"outcome": "selected", "optionId": "reject"}})
        for prompt in "one", "two", "three":
            editor.answer(editor.prompt(session, prompt))
        shown = [[c["content"]["text"] for c in asked["params"]["toolCall"]["content"]] for asked in editor.asked]
        self.assertEqual(shown[0], [f"```\n{long}\n```", "the session asks before every change"])
        self.assertEqual(shown[1][0], "```\necho a &&\ntouch b\n```")
        self.assertEqual(shown[2], ["the session asks before every change"])

    def test_what_is_asked_is_there_as_a_whole(self):
        command = "ls \x1b]0;" + " " * 200 + "; touch two"
        self.script(bash(command), THINK + "never")
        editor, session = self.begin("--policy", "ask", session_request_permission={"outcome": {"outcome": "selected", "optionId": "reject"}})
        editor.answer(editor.prompt(session, "one"))
        said = "".join(c["content"]["text"] for c in editor.asked[0]["params"]["toolCall"]["content"])
        self.assertIn("```\n" + command.replace("\x1b", "\u241b") + "\n```", said)

    def test_nobody_decided_is_no_denial(self):
        self.script(bash("echo 1 > one"), THINK + "never")
        editor, session = self.begin("--policy", "ask", session_request_permission={"outcome": {"outcome": "cancelled"}})
        self.assertEqual(editor.answer(editor.prompt(session, "one")), {"stopReason": "cancelled"})
        self.assertEqual(editor.updates("tool_call_update")[-1]["rawOutput"]["state"], "cancelled")
        self.assertFalse(os.path.exists(os.path.join(self.root, "one")))

    def test_a_call_answered_elsewhere_is_taken_back_from_the_editor(self):
        self.script(bash("echo 1 > one"), THINK + "done")
        editor, session = self.begin("--policy", "ask", session_request_permission=None)
        n = editor.prompt(session, "one")
        asked = editor.until_asked("session/request_permission")
        item = asked["params"]["toolCall"]["toolCallId"]
        self.client().call("approval/reply", sessionId=session, itemId=item, decision="allow")
        self.assertEqual(editor.answer(n), {"stopReason": "end_turn"})
        withdrawn = [m["params"]["requestId"] for m in editor.seen if m["method"] == "$/cancel_request"]
        self.assertEqual(withdrawn, [asked["id"]])

    def test_a_question_as_a_form(self):
        self.script(THINK + call("ask_user", question="Which colour?"), THINK + "blue it is")
        editor, session = self.begin(can={"elicitation": {"form": {}}}, elicitation_create={"action": "accept", "content": {"answer": "blue"}})
        editor.answer(editor.prompt(session, "paint"))
        self.assertEqual(editor.asked[0]["params"]["message"], "Which colour?")
        self.assertEqual(editor.updates("tool_call_update")[-1]["rawOutput"]["output"], "blue")

    def test_what_the_person_makes_of_a_servers_question_reaches_the_server(self):
        filled = {"action": "accept", "content": {"answer": "3"}}
        for answer, heard in ((filled, {"action": "accept", "content": {"count": "3"}}), ({"action": "decline"}, {"action": "decline"}),
                              ({"action": "cancel"}, {"action": "cancel"})):
            with self.subTest(answer=answer):
                self.script(THINK + mcp_call("probe", "elicit", type="string"), THINK + "Counted.")
                editor = self.editor(elicitation_create=answer, session_request_permission=SELECTED)
                editor.initialize(elicitation={"form": {}})
                session = editor.call("session/new", cwd=self.root, mcpServers=self.mcp_servers())["sessionId"]
                self.assertEqual(editor.answer(editor.prompt(session, "count")), {"stopReason": "end_turn"})
                asked, = [m["params"] for m in editor.asked if m["method"] == "elicitation/create"]
                self.assertIn("The MCP server probe asks: How many?", asked["message"])
                self.assertNotIn("toolCallId", asked)  # it is no call that the editor has heard of
                self.assertEqual(json.loads(editor.updates("tool_call_update")[-1]["rawOutput"]["output"])["result"], heard)
                self.shut_down()  # the next model has answers of its own

    def test_a_question_as_text_is_answered_by_the_next_prompt(self):
        self.script(THINK + call("ask_user", question="Which colour?"), THINK + "red it is")
        editor, session = self.begin()
        self.assertEqual(editor.answer(editor.prompt(session, "paint")), {"stopReason": "end_turn"})
        self.assertIn("Which colour?", editor.text())
        self.assertEqual(editor.answer(editor.prompt(session, "red")), {"stopReason": "end_turn"})
        self.assertIn("red it is", editor.text())
        self.assertEqual(editor.updates("tool_call_update")[-1]["rawOutput"]["output"], "red")

    def test_a_second_prompt_steers_the_turn(self):
        self.script(bash("while ! test -e go; do sleep 0.05; done"), THINK + "both")
        editor, session = self.begin()
        first = editor.prompt(session, "begin")
        editor.until_update("tool_call_update", status="in_progress")
        second = editor.prompt(session, "and this")
        client = self.client()
        client.call("session/subscribe", sessionId=session, after=0)
        client.until("prompt/accepted", content="and this")
        self.write("go", "")
        self.assertEqual([editor.answer(n) for n in (first, second)], [{"stopReason": "end_turn"}] * 2)
        history = self.client().call("session/history", sessionId=session)["events"]
        self.assertEqual([e["params"]["item"]["text"] for e in history if e["params"].get("item", {}).get("kind") == "user"], ["begin", "and this"])
        self.assertEqual(len([e for e in history if e["method"] == "turn/started"]), 1)

    def test_cancel_ends_the_turn_after_its_updates(self):
        self.script(bash("sleep 600"), THINK + "never")
        editor, session = self.begin()
        first = editor.prompt(session, "begin")
        editor.until_update("tool_call_update", status="in_progress")
        waits = editor.prompt(session, "and this")
        editor.notify("session/cancel", sessionId=session)
        self.assertEqual([editor.answer(n) for n in (first, waits)], [{"stopReason": "cancelled"}] * 2)
        self.assertEqual(editor.updates("tool_call_update")[-1]["status"], "failed")

    def test_cancel_request_is_for_one_prompt(self):
        self.script(bash("sleep 600"), THINK + "never")
        editor, session = self.begin()
        n = editor.prompt(session, "begin")
        editor.until_update("tool_call_update", status="in_progress")
        editor.notify("$/cancel_request", requestId=n)
        self.assertEqual(editor.answer(n), {"stopReason": "cancelled"})

    def test_modes_and_options(self):
        editor = self.editor("--policy", "edits")
        editor.initialize()
        new = self.new(editor)
        self.assertEqual(new["modes"]["currentModeId"], "edits")
        self.assertEqual([m["id"] for m in new["modes"]["availableModes"]], ["auto", "edits", "ask", "plan", "read-only"])
        self.assertEqual([(o["id"], o["category"], o["type"], o["currentValue"]) for o in new["configOptions"]], [("mode", "mode", "select", "edits")])  # no choice of one
        self.assertEqual([o["value"] for o in new["configOptions"][0]["options"]], [m["id"] for m in new["modes"]["availableModes"]])
        session = new["sessionId"]
        self.assertEqual(editor.call("session/set_mode", sessionId=session, modeId="plan"), {})
        self.assertEqual(editor.until_update("current_mode_update")["currentModeId"], "plan")
        self.assertEqual(self.client().call("session/get", sessionId=session)["settings"]["policy"], "plan")
        options = editor.call("session/set_config_option", sessionId=session, configId="mode", value="edits")["configOptions"]
        self.assertEqual([o["currentValue"] for o in options], ["edits"])
        self.assertEqual([u["configOptions"] for u in editor.updates("config_option_update")][-1], options)
        self.client().call("session/policy", sessionId=session, policy="auto")  # from another client
        self.assertEqual(editor.until_update("current_mode_update", currentModeId="auto")["currentModeId"], "auto")
        for bad in ({"configId": "mode", "value": "yolo"}, {"configId": "model", "value": "another"}, {"configId": "x", "value": "y"}):
            with self.assertRaisesRegex(Failed, "configOptions lists"):
                editor.call("session/set_config_option", sessionId=session, **bad)

    def test_load_replays_all_resume_nothing(self):
        self.script(THINK + "I change it." + self.edit(), THINK + "Done.", THINK + "more")
        editor, session = self.begin()
        editor.answer(editor.prompt(session, "make it gamma"))
        editor.close()
        other = self.editor()
        other.initialize()
        other.call("session/load", sessionId=session, cwd=self.root, mcpServers=[])
        self.assertEqual((other.text("user_message_chunk"), other.text()), ("make it gamma", "I change it.Done."))
        self.assertEqual([(u["title"], u["status"]) for u in other.updates("tool_call")], [("Edit a.txt", "in_progress")])
        self.assertEqual(other.updates("tool_call_update")[-1]["status"], "completed")
        n = len(other.seen)
        self.assertEqual(other.call("session/resume", sessionId=session, cwd=self.root, mcpServers=[])["modes"]["currentModeId"], "auto")
        self.assertLessEqual({m["params"]["update"]["sessionUpdate"] for m in other.seen[n:]}, {"available_commands_update"})
        other.answer(other.prompt(session, "go on"))
        self.assertEqual(other.text(), "I change it.Done.more")

    def test_a_rewinding_is_shown_and_asked_first(self):
        self.script(THINK + self.edit(), THINK + "two")
        answers, shown = ["leave", "rewind"], []

        def permit(params):
            shown.append((params["toolCall"]["title"], params["toolCall"]["content"][0]["content"]["text"], self.read("a.txt")))
            return {"outcome": {"outcome": "selected", "optionId": answers[len(shown) - 1]}}

        editor, session = self.begin(session_request_permission=permit)
        editor.answer(editor.prompt(session, "edit"))
        self.write("a.txt", "alpha\ngamma\nmine\n")
        self.assertEqual(editor.answer(editor.prompt(session, "/rewind"))["stopReason"], "end_turn")
        self.assertIn("Nothing was rewound.", editor.text())
        self.assertEqual(self.read("a.txt"), "alpha\ngamma\nmine\n")
        editor.answer(editor.prompt(session, "/rewind"))
        self.assertIn("Back to before turn 1; /undo takes this back.", editor.text())
        self.assertEqual(self.read("a.txt"), "alpha\nbeta\n")
        for title, text, on_disk in shown:
            self.assertEqual((title, on_disk), ("Back to before turn 1", "alpha\ngamma\nmine\n"))
            self.assertIn("- changed `a.txt`, with what others changed there since", text)

    def test_a_rewinding_to_before_an_earlier_turn(self):
        self.script(THINK + self.edit(), THINK + "one", THINK + "two", THINK + "three")
        editor, session = self.begin(session_request_permission=REWIND)
        editor.answer(editor.prompt(session, "edit"))
        editor.answer(editor.prompt(session, "more"))
        editor.answer(editor.prompt(session, "/rewind "))  # as an editor completes it
        self.assertIn("Back to before turn 2;", editor.text())
        self.assertEqual(self.read("a.txt"), "alpha\ngamma\n")
        editor.answer(editor.prompt(session, "/undo "))
        editor.answer(editor.prompt(session, "/rewind 1"))
        self.assertIn("Back to before turn 1;", editor.text())
        self.assertEqual(self.read("a.txt"), "alpha\nbeta\n")
        editor.answer(editor.prompt(session, "/rewinding is what I ask about"))
        self.assertIn("three", editor.text())

    def test_what_happened_while_it_was_asked_is_not_rewound_unseen(self):
        self.script(THINK + self.edit(), THINK + "two", THINK + "three")
        editor, session = self.begin()
        editor.answer(editor.prompt(session, "edit"))
        native = self.client()

        def permit(params):
            native.call("session/subscribe", sessionId=session)
            native.call("prompt/send", sessionId=session, id="p", content="more")
            native.until("turn/ended")
            while True:  # it is at work a moment longer
                try:
                    native.call("session/rewind", sessionId=session, dryRun=True)
                    return REWIND
                except Refused:
                    time.sleep(0.02)

        editor.answers["session_request_permission"] = permit
        editor.answer(editor.prompt(session, "/rewind"))
        self.assertIn("more has happened since that was asked", editor.text())
        self.assertEqual(self.read("a.txt"), "alpha\ngamma\n")
        self.assertEqual(editor.until_update("tool_call_update", toolCallId="rewind-1")["status"], "failed")

    def test_an_editor_that_cannot_ask_or_is_gone_rewinds_nothing(self):
        self.script(THINK + self.edit(), THINK + "two")
        editor, session = self.begin()
        editor.answer(editor.prompt(session, "edit"))
        editor.answer(editor.prompt(session, "/rewind"))
        self.assertIn(f"`lares rewind {session}` in a terminal does it.", editor.text())
        editor.answers["session_request_permission"] = None
        asked = editor.prompt(session, "/rewind")
        n = len(editor.asked)
        while len(editor.asked) == n:
            editor.step()
        editor.call("session/close", sessionId=session)
        self.assertEqual(editor.answer(asked)["stopReason"], "cancelled")
        self.assertEqual(self.read("a.txt"), "alpha\ngamma\n")

    def test_load_shows_what_came_back_with_the_last_of_several_undos(self):
        self.script(THINK + "one", THINK + "two", THINK + "three", THINK + "four")
        editor, session = self.begin(session_request_permission=REWIND)
        for prompt in ("first", "second", "third", "/rewind", "/rewind", "/undo", "/undo"):
            editor.answer(editor.prompt(session, prompt))
        for loaded in (("firstsecondthird", "onetwothree"), ("firstsecondfourth", "onetwofour")):  # the second with a turn in place of the last
            editor.call("session/close", sessionId=session)
            editor.seen.clear()
            editor.call("session/load", sessionId=session, cwd=self.root, mcpServers=[])
            self.assertEqual((editor.text("user_message_chunk"), editor.text()), loaded)
            if loaded[1] == "onetwothree":
                for prompt in ("/rewind", "fourth"):
                    editor.answer(editor.prompt(session, prompt))

    def test_load_leaves_out_what_was_gone_back_behind(self):
        self.script(THINK + "one", THINK + self.edit(), THINK + "two", THINK + "three")
        editor, session = self.begin(session_request_permission=REWIND)
        editor.answer(editor.prompt(session, "first"))
        editor.answer(editor.prompt(session, "second"))
        editor.answer(editor.prompt(session, "/rewind"))
        self.assertIn("changed `a.txt`", editor.text())
        self.assertEqual(self.read("a.txt"), "alpha\nbeta\n")
        editor.answer(editor.prompt(session, "/undo"))
        self.assertEqual(self.read("a.txt"), "alpha\ngamma\n")
        editor.answer(editor.prompt(session, "/rewind"))
        editor.call("session/close", sessionId=session)
        editor.seen.clear()
        editor.call("session/load", sessionId=session, cwd=self.root, mcpServers=[])
        self.assertEqual((editor.text("user_message_chunk"), editor.text()), ("first", "one"))

    def test_list_pages_and_filters(self):
        editor, session = self.begin()
        client = self.client()
        for i in range(52):
            client.call("session/create", root=self.root, title=f"s{i}")
        page = editor.call("session/list", cwd=self.root)
        rest = editor.call("session/list", cwd=self.root, cursor=page["nextCursor"])
        self.assertEqual((len(page["sessions"]), len(rest["sessions"]), "nextCursor" in rest), (50, 3, False))
        ids = [s["sessionId"] for s in page["sessions"] + rest["sessions"]]
        self.assertEqual((len(set(ids)), session in ids), (53, True))
        self.assertRegex(page["sessions"][0]["updatedAt"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertEqual(page["sessions"][0]["cwd"], self.root)
        self.assertEqual(editor.call("session/list", cwd=self.home)["sessions"], [])
        self.assertEqual(len(editor.call("session/list")["sessions"]), 50)
        with self.assertRaises(Failed) as failed:
            editor.call("session/list", cursor="nothing")
        self.assertEqual(failed.exception.code, -32602)

    def test_close_cancels_and_leaves_the_session(self):
        self.script(bash("sleep 600"), THINK + "never")
        editor, session = self.begin()
        n = editor.prompt(session, "begin")
        editor.until_update("tool_call_update", status="in_progress")
        self.assertEqual(editor.call("session/close", sessionId=session), {})
        self.assertEqual(editor.answer(n), {"stopReason": "cancelled"})
        with self.assertRaisesRegex(Failed, "is not open"):
            editor.answer(editor.prompt(session, "more"))
        self.assertIn(session, [s["sessionId"] for s in editor.call("session/list")["sessions"]])

    def test_a_deleted_session_is_listed_no_more_and_can_be_read(self):
        self.script(bash("sleep 600"), THINK + "never")
        editor, session = self.begin()
        n = editor.prompt(session, "begin")
        editor.until_update("tool_call_update", status="in_progress")
        self.assertEqual(editor.call("session/delete", sessionId=session), {})
        self.assertEqual(editor.answer(n), {"stopReason": "cancelled"})
        self.assertEqual(editor.call("session/list")["sessions"], [])
        with self.assertRaisesRegex(Failed, "is closed; session/load still shows it"):
            editor.call("session/resume", sessionId=session, cwd=self.root, mcpServers=[])
        editor.call("session/load", sessionId=session, cwd=self.root, mcpServers=[])
        self.assertEqual(editor.text("user_message_chunk"), "begin")

    def test_what_cannot_be_opened(self):
        editor, session = self.begin()
        outside = os.path.join(self.home, "outside")
        os.makedirs(outside)
        for method, params, code, why in (
                ("session/new", {"cwd": "repo"}, -32602, "absolute path"),
                ("session/new", {}, -32602, "cwd must be an absolute path, not missing"),
                ("session/new", {"cwd": outside}, -32602, "is in no git repository"),
                ("session/new", {"cwd": self.home + "/nowhere"}, -32602, "nowhere"),
                ("session/load", {"cwd": self.root, "sessionId": "zzzz"}, -32002, "zzzz"),
                ("session/load", {"cwd": self.root, "sessionId": session[:3]}, -32002, "there is no session"),
                ("session/resume", {"cwd": self.root, "sessionId": ""}, -32002, "session"),
                ("session/close", {"sessionId": "zzzz"}, -32002, "is not open"),
                ("session/set_mode", {"sessionId": session, "modeId": "yolo"}, -32602, "there are auto, edits, ask"),
                ("session/delete", {"sessionId": session[:3]}, -32002, "there is no session"),
                ("session/delete", {}, -32002, "session"),
                ("authenticate", {"methodId": "x"}, -32601, "nobody to authenticate"),
                ("session/fork", {"sessionId": session}, -32601, "no method session/fork")):
            with self.subTest(method=method, params=params), self.assertRaisesRegex(Failed, why) as failed:
                editor.call(method, **params)
            self.assertEqual(failed.exception.code, code)
        subprocess.run(["git", "init", "-q", outside], check=True)
        with self.assertRaisesRegex(Failed, "is about"):
            editor.call("session/load", sessionId=session, cwd=outside, mcpServers=[])

    def test_garbage_is_answered_and_survived(self):
        editor = self.editor()
        with self.assertRaisesRegex(Failed, "initialize comes first"):
            self.new(editor)
        editor.initialize()
        for line in (b"not json\n", b"[1,2]\n", b"{}\n", b'{"id":7}\n', b'{"id":{},"method":"x"}\n', b"\xff\xfe{\n", b"\x00\n"):
            editor.raw(line)
            answer = editor.step()
            self.assertIn(answer["error"]["code"], (-32700, -32600), line)
        editor.raw(b"\n  \r\n")
        editor.raw(b'{"jsonrpc":"2.0","method":"unknown/thing"}\n{"jsonrpc":"2.0","id":99,"result":{}}\n')  # nobody asked
        editor.raw(b'{"jsonrpc":"2.0","id":98,"method":"session/prompt","params":"' + b"a" * (33 << 20) + b'"}\n')
        answer = editor.step()
        self.assertEqual((answer["id"], answer["error"]["code"]), (98, -32600))  # or the editor would wait for ever
        self.assertIn("longer than 33554432 bytes", answer["error"]["message"])
        editor.results.clear()
        for id in (None, "text", 1.5):
            editor.post({"id": id, "method": "session/list", "params": {}})
            self.assertEqual(editor.answer(id), {"sessions": []})

    def test_a_prompt_with_half_a_character_is_a_prompt(self):
        self.script(THINK + "Seen.")
        editor, session = self.begin()
        editor.raw(json.dumps({"jsonrpc": "2.0", "id": 70, "method": "session/prompt", "params": {
            "sessionId": session, "prompt": [{"type": "text", "text": "selected: ab\ud83d"}]}}).encode() + b"\n")
        self.assertEqual(editor.answer(70), {"stopReason": "end_turn"})
        history = self.client().call("session/history", sessionId=session)["events"]
        self.assertEqual([e["params"]["item"]["text"] for e in history if e["params"].get("item", {}).get("kind") == "user"], ["selected: ab\ufffd"])

    def test_a_request_that_cannot_be_read_is_answered_under_its_id(self):
        editor = self.editor()
        editor.initialize()
        deep = b'{"id":72,"method":"session/list","params":' + b"[" * 1000 + b"]" * 1000 + b"}\n"
        for line, id in ((b'{"id":71,"method":"session/list","params":{"cwd":"\xff"}}\n', 71), (deep, 72), (b'{"id":"x","method":"session/list",}\n', "x"),
                         (b'{"id":0,"result":{"outcome":"\xff"}}\n', None)):  # to something that the agent asked
            editor.raw(line)
            answer = editor.step()
            self.assertEqual((answer["id"], answer["error"]["code"]), (id, -32700), line[:60])

    def test_it_ends_when_the_editor_hangs_up_or_says_so(self):
        self.script(bash("echo 1 > one; sleep 1; echo 2 > one"), THINK + "done")
        editor, session = self.begin()
        editor.prompt(session, "run")
        editor.until_update("tool_call_update", status="in_progress")
        self.assertEqual(editor.close()[0], 0)
        client = self.client()
        client.call("session/subscribe", sessionId=session, after=0)
        client.until("turn/ended")  # what was begun does not depend on the editor
        self.assertEqual(self.read("one"), "2\n")
        other = self.editor()
        other.initialize()
        other.process.send_signal(signal.SIGTERM)
        self.assertEqual(other.close(), (0, ""))

    def test_a_daemon_killed_in_a_turn_is_started_again(self):
        self.script(bash("sleep 600"), THINK + "never")
        editor, session = self.begin()
        n = editor.prompt(session, "begin")
        editor.until_update("tool_call_update", status="in_progress")
        waits = editor.prompt(session, "then this")
        until = self.client()
        until.call("session/subscribe", sessionId=session, after=0)
        until.until("prompt/accepted", content="then this")
        self.script(THINK + "went on")
        os.kill(until.greeting["pid"], signal.SIGKILL)
        with self.assertRaisesRegex(Failed, "the daemon died during this turn; what it did is kept"):
            editor.answer(n)
        self.assertEqual(editor.answer(waits), {"stopReason": "end_turn"})  # it was on disk: not lost
        self.assertIn("went on", editor.text())
        self.assertEqual(editor.updates("tool_call_update")[-1]["rawOutput"]["state"], "interrupted")

    def test_a_prompt_that_is_lost_for_good_fails(self):
        self.script(bash("sleep 600"), THINK + "never")
        editor, session = self.begin()
        n = editor.prompt(session, "begin")
        editor.until_update("tool_call_update", status="in_progress")
        pid = self.client().greeting["pid"]
        os.remove(os.path.join(self.bin, "laresd"))
        os.kill(pid, signal.SIGKILL)
        with self.assertRaisesRegex(Failed, "the daemon was lost: .*laresd belongs beside lares"):
            editor.answer(n)

    def test_loading_a_session_again_does_not_stop_its_turn(self):
        self.script(bash("while ! test -e go; do sleep 0.05; done"), THINK + "went on")
        editor, session = self.begin()
        n = editor.prompt(session, "begin")
        editor.until_update("tool_call_update", status="in_progress")
        editor.call("session/resume", sessionId=session, cwd=self.root, mcpServers=[])
        self.assertEqual(editor.answer(n), {"stopReason": "cancelled"})  # nobody waits for it any more
        self.write("go", "")
        editor.until_update("agent_message_chunk")
        self.assertEqual(editor.text(), "went on")

    def test_an_idle_editor_waits_for_a_daemon_and_starts_none(self):
        editor, session = self.begin()
        pid = self.shut_down()
        while os.path.exists(f"/proc/{pid}/exe") or self.socket_is_there():
            pass
        self.start(THINK + "back")  # by hand, when it has ended
        self.assertNotEqual(self.client().greeting["pid"], pid)
        self.assertEqual(editor.answer(editor.prompt(session, "again")), {"stopReason": "end_turn"})
        self.assertEqual(editor.text(), "back")

    def test_a_prompt_finds_a_daemon_that_was_down(self):
        editor, session = self.begin()
        self.shut_down()
        self.script(THINK + "started")
        self.assertEqual(editor.answer(editor.prompt(session, "again")), {"stopReason": "end_turn"})
        self.assertEqual(editor.text(), "started")

    def test_a_model_that_cannot_be_loaded_fails_the_prompt(self):
        self.script({"fail": "no such file"})
        editor, session = self.begin()
        with self.assertRaisesRegex(Failed, "no such file"):
            editor.answer(editor.prompt(session, "hello"))

    def test_other_clients_prompts_are_shown(self):
        self.script(THINK + "hello")
        editor, session = self.begin()
        client = self.client()
        client.call("prompt/send", sessionId=session, id="p1", content="from the terminal")
        editor.until_update("agent_message_chunk")
        self.assertEqual((editor.text("user_message_chunk"), editor.text()), ("from the terminal", "hello"))


if __name__ == "__main__":
    cli_case.main()
