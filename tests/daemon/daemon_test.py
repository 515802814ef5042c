"""The daemon from outside, with a scripted model: protocol, sessions, journal, and what a kill leaves behind.

daemon_test.py SCRIPTED_DAEMON [unittest arguments]
"""
import json
import os
import socket
import stat
import sys
import tempfile
import unittest

from client import Client, Daemon, Refused, call, remove_home

EXECUTABLE = ""


class DaemonTest(unittest.TestCase):
    def setUp(self):
        self.home = os.path.realpath(tempfile.mkdtemp(prefix="lares-daemon-"))
        self.addCleanup(remove_home, self.home)
        self.root = os.path.join(self.home, "repo")
        os.makedirs(os.path.join(self.root, ".git"))
        with open(os.path.join(self.root, "a.txt"), "w") as f:
            f.write("alpha\n")
        self.daemon = None

    def tearDown(self):
        if self.daemon:
            self.daemon.stop()

    def start(self, *answers):
        script = [a if isinstance(a, dict) else {"text": a} for a in answers]
        if self.daemon:
            self.daemon.start(script)
        else:
            self.daemon = Daemon(EXECUTABLE, self.home, script)
        return self.connect()

    def connect(self, **how):
        c = Client(self.daemon.socket, **how)
        self.addCleanup(c.close)
        return c

    def gate(self):
        path = os.path.join(self.home, "gate")
        os.mkfifo(path)
        return path

    def open_gate(self, path):
        with open(path, "w") as f:
            f.write("x")

    def session(self, c, **settings):
        s = c.call("session/create", root=self.root, settings=settings)["sessionId"]
        c.call("session/subscribe", sessionId=s)
        return s

    def prompt(self, c, s, text, id="p1", **more):
        return c.call("prompt/send", sessionId=s, id=id, content=text, **more)

    # ---- one turn

    def test_a_crowded_context_is_begun_anew_and_gone_back_behind(self):
        os.environ["LARES_TEST_CONTEXT"] = "26000"
        self.addCleanup(os.environ.pop, "LARES_TEST_CONTEXT")
        lines = "".join(f"line {i}\n" for i in range(1, 2000))
        c = self.start("x</think>" + lines[:7000], "x</think>" + lines[:9500], "x</think>I said lines.", "x</think>Four.", "x</think>Five.")
        s = self.session(c)
        sizes = []
        for n, task in enumerate(["Say lines.", "More.", "Two and two?"], 1):
            self.prompt(c, s, task, id=f"p{n}")
            seen = c.until("turn/ended", turnId=n)
            sizes.append(c.call("session/get", sessionId=s)["contextTokens"])
        notes = [m["params"]["item"]["text"] for m in seen if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "note"]
        self.assertTrue(any("summed up and begun anew" in n for n in notes), notes)
        self.assertGreater(sizes[1], sizes[0])
        self.assertLess(sizes[2], sizes[0])
        fork = c.call("session/fork", sessionId=s, beforeTurn=3)
        self.assertEqual(fork["contextTokens"], sizes[1])
        self.daemon.kill()
        c = self.start("x</think>Six.")
        c.call("session/subscribe", sessionId=s)
        self.assertEqual(c.call("session/get", sessionId=s)["contextTokens"], sizes[2])
        c.call("session/rewind", sessionId=s, turnId=3, files="keep")
        self.assertEqual(c.call("session/get", sessionId=s)["contextTokens"], sizes[1])
        c.call("session/unrewind", sessionId=s)
        self.assertEqual(c.call("session/get", sessionId=s)["contextTokens"], sizes[2])
        self.prompt(c, s, "Six?", id="p4")
        self.assertEqual(c.until("turn/ended", turnId=4)[-1]["params"]["reason"], "end_turn")

    def test_what_a_call_said_before_a_crash_is_known_after_it(self):
        one = call("str_replace_editor", command="create", path=os.path.join(self.root, "one"), file_text="1")
        asking = call("ask_user", question="Which?")
        block = lambda c: c[c.index("<｜DSML｜invoke"):c.rindex("</｜DSML｜tool_calls>")]
        both = "\n\n<｜DSML｜tool_calls>\n" + block(one) + block(asking) + block(one) + "</｜DSML｜tool_calls>"
        c = self.start("x</think>" + both)
        s = c.call("session/create", root=self.root)["sessionId"]
        c.call("session/subscribe", sessionId=s, interactive=True)
        self.prompt(c, s, "Go.")
        seen = c.until("item/updated")
        while seen[-1]["params"]["item"]["name"] != "ask_user":
            seen += c.until("item/updated")
        self.daemon.kill()
        c = self.start("x</think>Done.")
        c.call("session/subscribe", sessionId=s)
        with open(os.path.join(self.daemon.state, "sessions", s + ".journal"), "rb") as f:
            last = f.read().rsplit(b'{"method":"lares/appended"', 1)[1]
        self.assertIn(b'"ids":[],"results":["File created successfully at: ', last)
        self.assertEqual(last.count(b"Lares was stopped before this call was finished"), 2)
        self.prompt(c, s, "Go on.", id="p2")
        self.assertEqual(c.until("turn/ended", turnId=2)[-1]["params"]["reason"], "end_turn")

    def test_hooks_and_instructions_of_the_user(self):
        config = os.path.join(self.home, "config")
        os.makedirs(config)
        os.environ["LARES_TEST_CONFIG"] = config
        self.addCleanup(os.environ.pop, "LARES_TEST_CONFIG")
        with open(os.path.join(config, "AGENTS.md"), "w") as f:
            f.write("Answer in Latin.\n")
        with open(os.path.join(self.root, "AGENTS.md"), "w") as f:
            f.write("Use tabs.\n")
        with open(os.path.join(config, "hooks.json"), "w") as f:
            json.dump({"before_tool": [{"tools": ["bash"], "command": "echo no shell today; exit 2"}],
                       "after_tool": [{"command": "false"}],
                       "turn_end": [{"command": "test -e checked || { touch checked; echo check it; exit 2; }"}]}, f)
        edit = call("str_replace_editor", command="create", path=os.path.join(self.root, "b.txt"), file_text="b")
        c = self.start("x</think>" + call("bash", command="touch never"), "x</think>" + edit, "x</think>Done.", "x</think>Checked.")
        s = self.session(c)
        self.prompt(c, s, "Go.")
        seen = c.until("turn/ended")
        items = [m["params"]["item"] for m in seen if m["method"] == "item/completed"]
        notes = [i["text"] for i in items if i["kind"] == "note"]
        self.assertEqual(notes[0], f"following {config}/AGENTS.md, AGENTS.md")
        tools = [i for i in items if i["kind"] == "tool"]
        self.assertEqual([t["state"] for t in tools], ["denied", "done"])
        self.assertEqual(tools[0]["output"], "A hook of the user's stopped this call: no shell today\n")
        self.assertFalse(os.path.exists(os.path.join(self.root, "never")))
        self.assertTrue(any("the after_tool hook `false` failed with exit status 1" in n for n in notes), notes)
        self.assertTrue(any("not done: check it" in n for n in notes), notes)
        self.assertEqual([i["text"] for i in items if i["kind"] == "text"], ["Done.", "Checked."])
        # Half a configuration is none: nothing runs.
        with open(os.path.join(config, "hooks.json"), "w") as f:
            f.write("{")
        self.prompt(c, s, "Again.", id="p2")
        ended = c.until("turn/ended")[-1]["params"]
        self.assertEqual(ended["reason"], "error")
        self.assertIn(f"read the hooks in {config}/hooks.json: line 1 is not JSON; mend the file", ended["message"])

    def test_a_turn_from_prompt_to_file(self):
        path = os.path.join(self.root, "b.txt")
        c = self.start("I write it.</think>Writing." + call("str_replace_editor", command="create", path=path, file_text="beta\n"), "ok</think>Written.")
        s = self.session(c)
        sent = self.prompt(c, s, "Write b.txt.\nWith beta.")
        self.assertEqual(sent["turnId"], 1)
        seen = c.until("turn/ended")
        self.assertEqual(seen[-1]["params"]["reason"], "end_turn")
        with open(path) as f:
            self.assertEqual(f.read(), "beta\n")
        done = [m["params"]["item"] for m in seen if m["method"] == "item/completed"]
        self.assertEqual([(i["kind"], i.get("state")) for i in done],
                         [("user", None), ("think", None), ("text", None), ("tool", "done"), ("think", None), ("text", None)])
        self.assertIn("+beta", done[3]["changes"][0]["diff"])
        # The deltas of an item make up its text.
        text = "".join(m["params"]["text"] for m in seen if m["method"] == "item/delta" and m["params"]["itemId"] == done[2]["id"])
        self.assertEqual(text, "Writing.")
        info = c.call("session/get", sessionId=s[:5])
        self.assertEqual((info["title"], info["nTurns"], info["state"]), ("Write b.txt.", 1, "idle"))

    def test_replay_is_what_was_seen(self):
        c = self.start("hm</think>One.", "hm</think>Two.")
        s = self.session(c)
        durable = []
        for k in (1, 2):
            self.prompt(c, s, f"Prompt {k}.", id=f"p{k}")
            durable += [m for m in c.until("turn/ended") if "seq" in m["params"]]
        again = self.connect()
        again.call("session/subscribe", sessionId=s)
        replayed = [m for m in again.until("turn/ended", turnId=2) if "seq" in m["params"]]
        self.assertEqual(replayed, durable)
        seqs = [m["params"]["seq"] for m in replayed]
        self.assertEqual(seqs, sorted(set(seqs)))
        late = self.connect()
        late.call("session/subscribe", sessionId=s, after=seqs[-2])
        self.assertEqual([m for m in late.until("turn/ended") if "seq" in m["params"]], durable[-1:])
        history = late.call("session/history", sessionId=s, after=0, limit=3)
        self.assertTrue(history["more"])
        self.assertEqual([e["params"]["seq"] for e in history["events"]], seqs[:3])

    def test_a_page_of_the_history_has_an_event_however_long_it_is(self):
        c = self.start({"text": "hm</think>One.", "gate": (gate := self.gate())})
        s = self.session(c)
        self.prompt(c, s, "First.", id="a")
        self.prompt(c, s, "x" * (3 << 20), id="b", delivery="queue")  # longer than pages are otherwise
        c.call("prompt/withdraw", sessionId=s, id="b")
        self.open_gate(gate)
        c.until("turn/ended")
        methods, after = [], 0
        while True:
            page = c.call("session/history", sessionId=s, after=after)
            methods += [e["method"] for e in page["events"]]
            if not page.get("more"):
                break
            self.assertTrue(page["events"])
            after = page["events"][-1]["params"]["seq"]
        self.assertEqual((methods.count("prompt/accepted"), methods[-1]), (2, "turn/ended"))

    def test_a_prompt_is_delivered_once(self):
        c = self.start("hm</think>One.")
        s = self.session(c)
        first = self.prompt(c, s, "Once.")
        self.assertEqual(self.prompt(c, s, "Once.")["seq"], first["seq"])
        with self.assertRaises(Refused) as e:
            self.prompt(c, s, "Other.")
        self.assertEqual(e.exception.kind, "conflict")
        c.until("turn/ended")

    def test_busy_queue_steer_and_interrupt(self):
        gate = self.gate()
        c = self.start({"text": "hm</think>First.", "gate": gate}, "hm</think>Steered.", "hm</think>Queued.")
        s = self.session(c)
        self.prompt(c, s, "First.", id="a")
        with self.assertRaises(Refused) as e:
            self.prompt(c, s, "Second.", id="b")
        self.assertEqual(e.exception.kind, "busy")
        self.assertEqual(self.prompt(c, s, "Queued.", id="c", delivery="queue").get("turnId", 0), 0)
        self.assertEqual(self.prompt(c, s, "Steer.", id="d", delivery="steer")["turnId"], 1)
        self.open_gate(gate)
        first = c.until("turn/ended")
        users = [m["params"]["item"]["text"] for m in first if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "user"]
        self.assertEqual(users, ["First.", "Steer."])
        second = c.until("turn/ended", turnId=2)
        self.assertIn("Queued.", [m["params"]["item"].get("text") for m in second if m["method"] == "item/completed"])

    def create(self, name):
        return "hm</think>Text" + call("str_replace_editor", command="create", path=os.path.join(self.root, name), file_text="x\n")

    def test_a_question_is_sampled_at_a_lower_temperature_unless_told_otherwise(self):
        c = self.start()
        def temperature(**settings):
            return c.call("session/create", root=self.root, settings=settings)["settings"]["temperature"]
        self.assertLess(temperature(mode="ask"), temperature())
        self.assertEqual(temperature(mode="ask", temperature=0.7), 0.7)

    def test_a_prompts_mode_holds_for_its_turn_in_a_session_of_the_other(self):
        c = self.start(self.create("asked"))
        s = self.session(c)
        self.prompt(c, s, "What?", id="a", mode="ask")
        c.until("turn/ended", turnId=1)
        self.assertFalse(os.path.exists(os.path.join(self.root, "asked")))
        self.daemon.stop()
        c = self.start(self.create("worked"), "hm</think>Done.")
        c.call("session/subscribe", sessionId=s)
        self.prompt(c, s, "Do it.", id="b")  # the session's own mode again
        c.until("turn/ended", turnId=2)
        self.assertTrue(os.path.exists(os.path.join(self.root, "worked")))
        with self.assertRaises(Refused) as e:
            self.prompt(c, s, "What?", id="a", mode="work")
        self.assertEqual(e.exception.kind, "conflict")
        with self.assertRaises(Refused) as e:
            self.prompt(c, s, "What?", id="c", mode="play")
        self.assertEqual(e.exception.kind, "invalid_params")

    def test_a_question_does_not_steer_a_task_nor_a_task_a_question(self):
        for session, prompt in (("work", "ask"), ("ask", "work")):
            gate = self.gate()
            c = self.start({"text": "hm</think>First.", "gate": gate}, self.create(prompt), "hm</think>Done.")
            s = self.session(c, mode=session)
            self.prompt(c, s, "First.", id="a")
            self.assertEqual(self.prompt(c, s, "Second.", id="b", delivery="steer", mode=prompt).get("turnId", 0), 0)
            self.open_gate(gate)
            c.until("turn/ended", turnId=2)
            self.assertEqual(os.path.exists(os.path.join(self.root, prompt)), prompt == "work")
            self.daemon.stop()
            os.unlink(gate)

    def test_a_waiting_question_is_still_one_after_a_kill(self):
        c = self.start({"text": "hm</think>First.", "gate": self.gate()})
        s = self.session(c)
        self.prompt(c, s, "First.", id="a")
        self.prompt(c, s, "What?", id="b", delivery="queue", mode="ask")
        self.daemon.kill()
        c = self.start(self.create("asked"))
        c.call("session/subscribe", sessionId=s)
        c.until("turn/ended", turnId=2)
        self.assertFalse(os.path.exists(os.path.join(self.root, "asked")))

    def bash(self, command):
        return "hm</think>So." + call("bash", command=command)

    def asked(self, c, turn=1):
        """The call that asks."""
        while True:
            item = c.until("item/updated")[-1]["params"]["item"]
            if item["state"] == "asking":
                return item

    def completed(self, c):
        return [m["params"]["item"] for m in c.until("turn/ended") if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "tool"]

    def test_a_policy_asks_and_an_answer_decides(self):
        c = self.start(self.create("one"), self.create("two"), self.create("three"), "hm</think>Done.")
        s = self.session(c, policy="ask")
        self.prompt(c, s, "Go.")
        item = self.asked(c)
        self.assertEqual((item["why"], item["likes"]), ("the session asks before every change", ["one"]))
        self.assertFalse(os.path.exists(os.path.join(self.root, "one")))
        self.assertEqual(c.call("session/get", sessionId=s)["state"], "waiting")
        for wrong in ({"decision": "perhaps"}, {"decision": "allow", "scope": "ever"}):
            with self.assertRaises(Refused) as e:
                c.call("approval/reply", sessionId=s, itemId=item["id"], **wrong)
            self.assertEqual(e.exception.kind, "invalid_params")
        other = self.connect()
        other.call("approval/reply", sessionId=s, itemId=item["id"], decision="allow")
        with self.assertRaises(Refused) as e:  # the first answer wins
            c.call("approval/reply", sessionId=s, itemId=item["id"], decision="deny")
        self.assertEqual(e.exception.kind, "not_found")
        second = self.asked(c)
        self.assertTrue(os.path.exists(os.path.join(self.root, "one")))
        c.call("approval/reply", sessionId=s, itemId=second["id"], decision="deny", message="Not there.")
        denied = c.until("item/completed")[-1]
        third = self.asked(c)
        c.call("approval/reply", sessionId=s, itemId=third["id"], decision="allow", scope="turn")
        self.assertEqual([i["state"] for i in self.completed(c)], ["done"])
        denied = denied["params"]["item"]
        self.assertEqual(denied["state"], "denied")
        self.assertEqual(denied["output"], "str_replace_editor did not run: the user refused it: Not there.")
        self.assertEqual([n for n in ("one", "two", "three") if os.path.exists(os.path.join(self.root, n))], ["one", "three"])

    def test_rules_hold_for_a_session_and_for_a_repository(self):
        steps = [self.create("a1"), self.create("a2"), "hm</think>Done."]
        c = self.start(self.create("a1"), self.create("a1"), "hm</think>Done.")
        s = self.session(c, policy="ask")
        self.prompt(c, s, "Go.")
        c.call("approval/reply", sessionId=s, itemId=self.asked(c)["id"], decision="allow", scope="repository")
        states = [i["state"] for i in self.completed(c)]
        self.assertEqual(states, ["done", "failed"])  # the second ran unasked: the file is there
        rules = c.call("rule/list", root=self.root)["rules"]
        self.assertEqual(rules, [{"tool": "str_replace_editor", "pattern": "a1", "verdict": "allow", "scope": "repository"}])
        c.call("rule/add", root=self.root, rule={"tool": "str_replace_editor", "pattern": "*", "verdict": "deny", "scope": "user"})
        self.daemon.kill()
        c = self.start(*steps)  # rules are on disk
        s = self.session(c)
        self.prompt(c, s, "Go.")
        self.assertEqual([i["state"] for i in self.completed(c)], ["denied", "denied"])
        c.call("rule/remove", root=self.root, rule={"tool": "str_replace_editor", "pattern": "*", "scope": "user"})
        with self.assertRaises(Refused) as e:
            c.call("rule/remove", root=self.root, rule={"tool": "str_replace_editor", "pattern": "*", "scope": "user"})
        self.assertEqual(e.exception.kind, "not_found")

    def test_what_loses_work_is_asked_for_in_every_mode(self):
        c = self.start(self.bash("git reset --hard"), "hm</think>Done.")
        s = self.session(c)
        self.prompt(c, s, "Go.")
        item = self.asked(c)
        self.assertEqual((item["why"], item.get("likes", [])), ("git reset --hard throws away uncommitted changes", []))
        c.call("approval/reply", sessionId=s, itemId=item["id"], decision="deny")
        self.assertIn("the user refused it", self.completed(c)[0]["output"])

    def test_nobody_there_is_no_denial(self):
        c = self.start(self.create("one"), "hm</think>Done.")
        s = self.session(c, policy="ask", unattended="skip")
        self.prompt(c, s, "Go.")
        seen = c.until("turn/ended")
        done = [m["params"]["item"] for m in seen if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "tool"]
        self.assertEqual(done[0]["state"], "denied")
        self.assertIn("nobody was there to answer. That is no refusal", done[0]["output"])
        self.assertEqual([m["params"]["decision"] for m in seen if m["method"] == "approval/resolved"], ["unattended"])

    def test_a_call_that_asks_waits_for_whoever_comes(self):
        c = self.start(self.create("one"), "hm</think>Done.")
        s = self.session(c, policy="ask")
        self.prompt(c, s, "Go.")
        item = self.asked(c)
        c.close()
        c = self.connect()
        c.call("session/subscribe", sessionId=s, interactive=True)
        self.assertEqual(c.until("item/snapshot")[-1]["params"]["item"]["state"], "asking")
        c.call("approval/reply", sessionId=s, itemId=item["id"], decision="allow")
        c.until("turn/ended", reason="end_turn")
        self.assertTrue(os.path.exists(os.path.join(self.root, "one")))

    def test_a_call_that_asked_when_the_daemon_died_did_not_run(self):
        c = self.start(self.create("one"), "hm</think>Done.")
        s = self.session(c, policy="ask")
        self.prompt(c, s, "Go.")
        self.asked(c)
        self.daemon.kill()
        c = self.start("hm</think>Done.")
        c.call("session/subscribe", sessionId=s)
        seen = c.until("turn/ended")
        item = [m["params"]["item"] for m in seen if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "tool"][0]
        self.assertEqual((item["state"], item.get("changesUntold", False)), ("denied", False))
        self.assertFalse(os.path.exists(os.path.join(self.root, "one")))

    def test_interrupt_ends_a_turn_that_asks_and_a_policy_can_change(self):
        # What the grammar forbids the script insists on, until it is drawn again, once.
        c = self.start(self.create("one"), self.create("two"), self.create("two"), self.create("two"), "hm</think>Done.")
        s = self.session(c, policy="ask")
        self.prompt(c, s, "Go.")
        self.asked(c)
        c.call("turn/interrupt", sessionId=s)
        seen = c.until("turn/ended")
        self.assertEqual(seen[-1]["params"]["reason"], "cancelled")
        with self.assertRaises(Refused):
            c.call("session/policy", sessionId=s, policy="anything")
        c.call("session/policy", sessionId=s, policy="plan")
        self.prompt(c, s, "Plan.", id="p2")
        c.until("turn/ended", turnId=2)
        self.assertFalse(os.path.exists(os.path.join(self.root, "two")))
        c.call("session/policy", sessionId=s, policy="auto")
        self.prompt(c, s, "Go.", id="p3")
        c.until("turn/ended", turnId=3)
        self.assertTrue(os.path.exists(os.path.join(self.root, "two")))
        self.assertEqual(c.call("session/get", sessionId=s)["settings"]["policy"], "auto")

    def read(self, name):
        path = os.path.join(self.root, name)
        if not os.path.exists(path):
            return None
        with open(path) as f:
            return f.read()

    def write(self, name, text):
        with open(os.path.join(self.root, name), "w") as f:
            f.write(text)

    def turn(self, c, s, text, n):
        self.prompt(c, s, text, id=f"p{n}")
        return c.until("turn/ended", turnId=n)

    def test_a_session_goes_back_and_forth_with_its_files(self):
        self.write("mine", "before\n")
        answers = ["hm</think>First.", self.create("new"), self.bash("echo by command > cmd; rm -f mine"), "hm</think>Second.", "hm</think>Other second."]
        c = self.start(*answers)
        s = self.session(c, noSandbox=True)
        self.turn(c, s, "First.", 1)
        before = c.call("session/get", sessionId=s)["contextTokens"]
        seen = self.turn(c, s, "Second.", 2)
        after = c.call("session/get", sessionId=s)["contextTokens"]
        calls = [m["params"]["item"] for m in seen if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "tool"]
        self.assertTrue(all(i["snapshot"] for i in calls), calls)
        self.assertEqual([bool(i.get("snapshotAfter")) for i in calls], [False, True])
        self.assertEqual((self.read("new"), self.read("cmd"), self.read("mine")), ("x\n", "by command\n", None))
        self.write("theirs", "somebody else's\n")  # not the session's: it stays
        plan = c.call("session/rewind", sessionId=s, turnId=2, dryRun=True)
        kinds = {x["path"]: x["kind"] for x in plan["changes"]}
        self.assertEqual(kinds, {"new": "removed", "cmd": "removed", "mine": "added"})
        self.assertEqual(self.read("new"), "x\n")
        done = c.call("session/rewind", sessionId=s, turnId=2)
        self.assertEqual({x["path"]: x["kind"] for x in done["changes"]}, kinds)
        self.assertEqual((self.read("new"), self.read("cmd"), self.read("mine"), self.read("theirs")), (None, None, "before\n", "somebody else's\n"))
        self.assertEqual(c.call("session/get", sessionId=s)["contextTokens"], before)
        with self.assertRaises(Refused) as e:
            c.call("session/rewind", sessionId=s, turnId=2)
        self.assertEqual(e.exception.kind, "not_found")
        self.daemon.kill()  # and it is still so for the next daemon
        c = self.start("hm</think>Other second.")
        c.call("session/subscribe", sessionId=s, after=-1)
        self.assertEqual(c.call("session/get", sessionId=s)["contextTokens"], before)
        back = c.call("session/unrewind", sessionId=s)
        self.assertEqual((back["turnId"], self.read("new"), self.read("cmd"), self.read("mine")), (2, "x\n", "by command\n", None))
        self.assertEqual(c.call("session/get", sessionId=s)["contextTokens"], after)
        with self.assertRaises(Refused):
            c.call("session/unrewind", sessionId=s)
        c.call("session/rewind", sessionId=s, turnId=2, files="keep")
        self.assertEqual((self.read("new"), c.call("session/get", sessionId=s)["contextTokens"]), ("x\n", before))
        self.assertEqual(self.turn(c, s, "Another.", 3)[-1]["params"]["reason"], "end_turn")
        with self.assertRaises(Refused):  # a turn has begun since
            c.call("session/unrewind", sessionId=s)
        self.assertEqual(c.call("session/rewind", sessionId=s, turnId=1)["turnId"], 1)
        self.assertNotIn("contextTokens", c.call("session/get", sessionId=s))

    def test_what_somebody_changed_since_is_in_the_undo(self):
        c = self.start(self.create("new"), "hm</think>Done.")
        s = self.session(c)
        self.turn(c, s, "Go.", 1)
        self.write("new", "changed by a person\n")
        c.call("session/rewind", sessionId=s, turnId=1)
        self.assertIsNone(self.read("new"))
        c.call("session/unrewind", sessionId=s)
        self.assertEqual(self.read("new"), "changed by a person\n")

    def test_a_session_at_work_is_not_rewound(self):
        c = self.start("hm</think>One.", {"text": "hm</think>Two.", "gate": (gate := self.gate())})
        s = self.session(c)
        self.turn(c, s, "One.", 1)
        self.prompt(c, s, "Two.", id="p2")
        for method, params in (("session/rewind", {"turnId": 1}), ("session/unrewind", {}), ("session/fork", {})):
            with self.assertRaises(Refused) as e:
                c.call(method, sessionId=s, **params)
            self.assertEqual(e.exception.kind, "busy")
        self.open_gate(gate)
        c.until("turn/ended", turnId=2)

    def test_a_fork_knows_what_the_other_knew(self):
        c = self.start("hm</think>One.", "hm</think>Two.", "hm</think>Fork.")
        s = self.session(c, temperature=0.25)
        self.turn(c, s, "One.", 1)
        tokens = c.call("session/get", sessionId=s)["contextTokens"]
        self.turn(c, s, "Two.", 2)
        fork = c.call("session/fork", sessionId=s, beforeTurn=2, title="Another way")
        self.assertEqual((fork["title"], fork["contextTokens"], fork["settings"]["temperature"]), ("Another way", tokens, 0.25))
        whole = c.call("session/fork", sessionId=s)
        self.assertEqual(whole["contextTokens"], c.call("session/get", sessionId=s)["contextTokens"])
        c.call("session/subscribe", sessionId=fork["sessionId"])
        self.prompt(c, fork["sessionId"], "Go on.", id="f1")
        ended = c.until("turn/ended", sessionId=fork["sessionId"])[-1]["params"]
        self.assertEqual(ended["reason"], "end_turn")
        self.assertEqual(c.call("session/get", sessionId=s)["nTurns"], 2)
        self.daemon.kill()
        c = self.start()
        self.assertGreater(c.call("session/get", sessionId=fork["sessionId"])["contextTokens"], tokens)
        with self.assertRaises(Refused):
            c.call("session/fork", sessionId=s, beforeTurn=9)

    def test_interrupt_ends_the_turn(self):
        c = self.start({"text": "one two three", "gate": (gate := self.gate())}, "hm</think>Next.")
        s = self.session(c)
        self.prompt(c, s, "Go.")
        self.assertEqual(c.call("turn/interrupt", sessionId=s)["turnId"], 1)
        self.open_gate(gate)
        self.assertEqual(c.until("turn/ended")[-1]["params"]["reason"], "cancelled")
        self.assertEqual(c.call("turn/interrupt", sessionId=s), {})
        self.prompt(c, s, "Next.", id="p2")
        self.assertEqual(c.until("turn/ended", turnId=2)[-1]["params"]["reason"], "end_turn")

    def test_a_waiting_prompt_is_taken_back(self):
        c = self.start({"text": "hm</think>First.", "gate": (gate := self.gate())}, "hm</think>Third.")
        s = self.session(c)
        self.prompt(c, s, "First.", id="a")
        self.prompt(c, s, "Second.", id="b", delivery="queue")
        self.prompt(c, s, "Third.", id="c", delivery="queue")
        self.assertEqual(c.call("prompt/withdraw", sessionId=s, id="b"), {"withdrawn": True})
        self.assertEqual(c.call("prompt/withdraw", sessionId=s, id="b"), {"withdrawn": True})  # said twice, done once
        self.assertEqual(c.call("prompt/withdraw", sessionId=s, id="nobody's"), {})
        self.open_gate(gate)
        first = c.until("turn/ended")
        self.assertEqual(first[-1]["params"]["reason"], "end_turn")  # the running turn is not touched
        self.assertEqual([m["params"]["id"] for m in first if m["method"] == "prompt/withdrawn"], ["b"])
        second = c.until("turn/ended", turnId=2)
        users = [m["params"]["item"]["text"] for m in second if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "user"]
        self.assertEqual(users, ["Third."])
        self.assertEqual(c.call("prompt/withdraw", sessionId=s, id="a"), {})  # its turn is over

    def test_a_running_prompt_is_taken_back_by_stopping_its_turn(self):
        c = self.start({"text": "one two three", "gate": (gate := self.gate())})
        s = self.session(c)
        self.prompt(c, s, "Go.", id="a")
        self.assertEqual(c.call("prompt/withdraw", sessionId=s, id="a"), {"turnId": 1})
        self.open_gate(gate)
        self.assertEqual(c.until("turn/ended")[-1]["params"]["reason"], "cancelled")

    def test_a_prompt_taken_back_stays_so_after_a_kill(self):
        c = self.start({"text": "hm</think>First.", "gate": self.gate()})
        s = self.session(c)
        self.prompt(c, s, "First.", id="a")
        self.prompt(c, s, "Second.", id="b", delivery="queue")
        self.prompt(c, s, "Third.", id="c", delivery="queue")
        self.assertTrue(c.call("prompt/withdraw", sessionId=s, id="b")["withdrawn"])
        self.daemon.kill()
        c = self.start("hm</think>Third.")
        c.call("session/subscribe", sessionId=s)
        seen = c.until("turn/ended", turnId=2)
        self.assertEqual([m["params"]["promptId"] for m in seen if m["method"] == "turn/started"], ["a", "c"])

    # ---- after a kill

    def test_a_session_survives_a_kill_between_turns(self):
        c = self.start("hm</think>One.")
        s = self.session(c)
        self.prompt(c, s, "First.")
        before = [m for m in c.until("turn/ended") if "seq" in m["params"]]
        self.daemon.kill()
        c = self.start("hm</think>Two.")
        c.call("session/subscribe", sessionId=s)
        self.prompt(c, s, "Second.", id="p2")
        seen = [m for m in c.until("turn/ended", turnId=2) if "seq" in m["params"]]
        self.assertEqual(seen[:len(before)], before)
        usage = seen[-1]["params"]["usage"]
        self.assertGreater(usage["context"], before[-1]["params"]["usage"]["context"])  # it goes on from the first turn
        self.assertEqual(self.prompt(c, s, "First.")["turnId"], 1)  # known, not begun again

    def test_a_kill_during_a_turn_is_written_down(self):
        gate = self.gate()
        c = self.start("hm</think>" + call("str_replace_editor", command="view", path=os.path.join(self.root, "a.txt")),
                       {"text": "hm</think>Never.", "gate": gate})
        s = self.session(c)
        self.prompt(c, s, "First.")
        c.until("turn/step")
        self.prompt(c, s, "Queued.", id="q", delivery="queue")
        self.daemon.kill()
        c = self.start("hm</think>Queued answer.", "hm</think>Third.")
        c.call("session/subscribe", sessionId=s)
        seen = c.until("turn/ended", turnId=1)
        self.assertEqual(seen[-1]["params"]["reason"], "crashed")
        self.assertEqual(c.until("turn/ended", turnId=2)[-1]["params"]["reason"], "end_turn")  # it was promised
        self.assertEqual(c.call("session/get", sessionId=s)["nTurns"], 2)

    def test_a_torn_journal_is_mended(self):
        c = self.start("hm</think>One.")
        s = self.session(c)
        self.prompt(c, s, "First.")
        c.until("turn/ended")
        self.daemon.kill()
        path = os.path.join(self.daemon.state, "sessions", s + ".journal")
        os.truncate(path, os.path.getsize(path) - 5)  # the end of turn/ended
        c = self.start("hm</think>Two.")
        c.call("session/subscribe", sessionId=s)
        self.assertEqual(c.until("turn/ended")[-1]["params"]["reason"], "crashed")
        self.daemon.kill()  # nobody has been told yet
        c = self.start("hm</think>Two.", "hm</think>Three.")
        c.call("session/subscribe", sessionId=s)
        told = []
        for turn in (2, 3):
            self.prompt(c, s, "Next.", id=f"p{turn}")
            seen = c.until("turn/ended", turnId=turn)
            self.assertEqual(seen[-1]["params"]["reason"], "end_turn")
            notes = [m["params"]["item"]["text"] for m in seen if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "note"]
            told.append([note.split(";")[0] for note in notes])
        self.assertRegex(told[0][0], r"^the last \d+ bytes of this session's journal were damaged and cut off$")
        self.assertEqual((len(told[0]), told[1]), (1, []))

    # ---- protocol

    def test_initialize_comes_first(self):
        self.start()
        c = self.connect(initialize=False)
        with self.assertRaises(Refused) as e:
            c.call("session/list")
        self.assertEqual(e.exception.kind, "invalid_request")
        with self.assertRaises(Refused):
            c.call("initialize", protocol=2)
        self.assertEqual(c.call("initialize", protocol=1)["protocol"], 1)
        with self.assertRaises(Refused):
            c.call("initialize", protocol=1)
        self.assertEqual(c.call("ping"), {})

    def test_nonsense_is_answered_not_fatal(self):
        c = self.start()
        for line, kind in ((b"{", "parse_error"), (b"[1]", "invalid_request"), (b'{"jsonrpc":"2.0","id":7,"method":"no/such"}', "unknown_method"),
                           (b'{"jsonrpc":"2.0","id":8,"method":"session/create","params":{"root":5}}', "invalid_params"),
                           (b'{"jsonrpc":"2.0","id":9,"method":"session/create","params":{"root":"/no/such"}}', "not_found"),
                           (b'{"jsonrpc":"2.0","id":9,"method":"session/get","params":{"sessionId":"zzz"}}', "not_found"),
                           (b'{"jsonrpc":"2.0","id":9,"method":"session/create","params":{"root":"/","settings":{"mode":"x"}}}', "invalid_params")):
            c.send_raw(line + b"\n")
            message = c.read()
            while "method" in message:
                message = c.read()
            self.assertEqual(message["error"]["data"]["kind"], kind, line)
        self.assertEqual(c.call("ping"), {})

    def test_an_observer_changes_nothing(self):
        self.start()
        c = self.connect(role="observe")
        self.assertEqual(c.call("session/list"), {"sessions": []})
        for method, params in (("session/create", {"root": self.root}), ("server/shutdown", {}), ("prompt/send", {})):
            with self.assertRaises(Refused) as e:
                c.call(method, **params)
            self.assertEqual(e.exception.kind, "denied")

    def test_a_line_has_a_limit(self):
        self.start()
        c = self.connect(initialize=False)
        try:
            for _ in range(17):
                c.send_raw(b"x" * (1 << 20))
        except OSError:
            pass  # it has hung up
        message = c.read()
        self.assertIn("longer than", message["error"]["message"])
        self.assertEqual(self.connect().call("ping"), {})

    def test_status_repository_and_health(self):
        c = self.start()
        c.until("server/state", state="ready")
        status = c.call("server/status")
        self.assertEqual(status["engine"]["state"], "ready")
        self.assertEqual((status["nClients"], status["nSessions"]), (1, 0))
        os.makedirs(os.path.join(self.root, "sub"))
        repo = c.call("repo/open", root=os.path.join(self.root, "sub"))
        self.assertEqual((repo["root"], repo["git"]), (self.root, True))
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.daemon.socket)
            s.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            head, body = s.makefile("rb").read().split(b"\r\n\r\n", 1)
        self.assertTrue(head.startswith(b"HTTP/1.1 200"), head)
        self.assertEqual(json.loads(body)["status"], "ready")

    def test_a_model_that_does_not_load_is_said(self):
        c = self.start({"fail": "open the checkpoint: no such file"})
        s = self.session(c)
        c.until("server/state", state="failed")
        with self.assertRaises(Refused) as e:
            self.prompt(c, s, "Go.")
        self.assertEqual(e.exception.kind, "not_ready")
        self.assertIn("no such file", str(e.exception))

    # ---- the socket

    def test_the_socket_is_private_and_there_is_one_daemon(self):
        self.start()
        self.assertEqual(stat.S_IMODE(os.stat(self.daemon.socket).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.dirname(self.daemon.socket)).st_mode), 0o700)
        import subprocess
        for state in (self.daemon.state, self.daemon.state + "2"):
            other = subprocess.run([EXECUTABLE, self.daemon.socket if state.endswith("2") else self.daemon.socket + "2", state,
                                    os.path.join(self.home, "script.json")], stderr=subprocess.PIPE)
            self.assertEqual(other.returncode, 1)
            self.assertIn(f"end it with `lares shutdown --socket {self.daemon.socket}`".encode(), other.stderr)
        self.assertEqual(self.connect().call("ping"), {})

    def test_shutdown_ends_it_and_leaves_no_socket(self):
        gate = self.gate()
        c = self.start({"text": "hm", "gate": gate})
        s = self.session(c)
        self.prompt(c, s, "Go.")
        c.until("session/state", state="prefill")
        self.assertEqual(c.call("server/shutdown"), {})
        self.open_gate(gate)
        self.assertEqual(c.until("turn/ended")[-1]["params"]["reason"], "cancelled")
        self.assertEqual(self.daemon.process.wait(timeout=30), 0)
        self.assertFalse(os.path.exists(self.daemon.socket))

    def test_a_client_that_does_not_read_is_let_go(self):
        c = self.start("hm</think>Yes.")
        s = self.session(c)
        deaf = self.connect()
        deaf.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        # Answers of the size of the outbox, none of them read.
        for _ in range(400):
            try:
                deaf.send("server/prompt_head")
            except OSError:
                break
        self.prompt(c, s, "Others go on.")
        self.assertEqual(c.until("turn/ended")[-1]["params"]["reason"], "end_turn")


if __name__ == "__main__":
    EXECUTABLE = sys.argv.pop(1)
    unittest.main()
