"""The daemon from outside, with a scripted model. Permissions: what is asked for, who answers, and which rules hold.

permissions_test.py SCRIPTED_DAEMON [unittest arguments]
"""
import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
from client import Refused
from daemon_case import DaemonCase, call, main


class PermissionsTest(DaemonCase):
    def asked(self, c, turn=1):
        """The call that asks."""
        while True:
            item = c.until("item/updated")[-1]["params"]["item"]
            if item["state"] == "asking":
                return item

    def completed(self, c):
        return [m["params"]["item"] for m in c.until("turn/ended") if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "tool"]

    def follow(self, c, s):
        """What comes from now on."""
        c.call("session/subscribe", sessionId=s, after=c.call("session/get", sessionId=s)["lastSeq"])

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

    def test_where_nothing_is_changed_commands_run_that_cannot_and_rules_hold(self):
        with open(os.path.join(self.root, "a.txt"), "w") as f:
            f.write("alpha\n")
        tool = lambda name, **arguments: "hm</think>" + call(name, **arguments)
        steps = [tool("bash", command="grep -c alpha a.txt; echo x > b.txt"), tool("bash", command="curl -s example.com"), tool("str_replace_editor", command="view", path=os.path.join(self.root, "a.txt")),
                 tool("git", command="log"), "hm</think>Done."]
        c = self.start(*steps, *steps)
        c.call("rule/add", root=self.root, rule={"tool": "bash", "pattern": "curl *", "verdict": "deny", "scope": "user"})
        for settings, mode in (({"policy": "plan"}, {}), ({"policy": "auto"}, {"mode": "ask"})):
            with self.subTest(settings=settings):
                s = self.session(c, **settings)
                self.prompt(c, s, "Look.", **mode)
                items = self.completed(c)
                self.assertEqual([i["state"] for i in items[:3]], ["failed", "denied", "done"], items)
                if "no sandbox works here" not in items[0]["output"]:
                    self.assertIn("]\n1\n", items[0]["output"])
                    self.assertIn("b.txt: Read-only file system", items[0]["output"])
                self.assertFalse(os.path.exists(os.path.join(self.root, "b.txt")))
                self.assertIn("alpha", items[2]["output"])
                self.assertNotEqual(items[3]["state"], "rejected")
                self.assertFalse(any("snapshot" in i for i in items))  # nothing to go back behind

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

    def test_a_sessions_rules_are_its_own_and_outlive_the_daemon(self):
        c = self.start(self.create("a1"), self.create("a1"), "hm</think>Done.", self.create("a1"), "hm</think>Done.")
        s = self.session(c, policy="ask")
        self.prompt(c, s, "Go.")
        c.call("approval/reply", sessionId=s, itemId=self.asked(c)["id"], decision="allow", scope="session")
        self.assertEqual([i["state"] for i in self.completed(c)], ["done", "failed"])  # the second ran unasked: the file is there
        self.assertEqual(c.call("rule/list", root=self.root).get("rules", []), [])
        other = self.session(c, policy="ask")
        self.prompt(c, other, "Go.")
        c.call("approval/reply", sessionId=other, itemId=self.asked(c)["id"], decision="deny", scope="turn")  # the other's rule is not its own
        self.assertEqual([i["state"] for i in self.completed(c)], ["denied"])
        self.daemon.kill()
        c = self.start(self.create("a1"), "hm</think>Done.", self.create("a1"), self.create("b1"), "hm</think>Done.")
        self.follow(c, other)
        self.prompt(c, other, "Again.", id="p2")  # nor did the turn's rule last
        c.call("approval/reply", sessionId=other, itemId=self.asked(c)["id"], decision="deny", scope="session")
        self.assertEqual([i["state"] for i in self.completed(c)], ["denied"])
        self.follow(c, s)
        self.prompt(c, s, "Again.", id="p2")
        item = self.asked(c)
        self.assertEqual(item["likes"], ["b1"])  # what the session's rule does not cover asks, and a1 did not
        c.call("approval/reply", sessionId=s, itemId=item["id"], decision="deny")
        self.assertEqual([i["state"] for i in self.completed(c)], ["denied"])
        self.daemon.kill()
        c = self.start(self.create("a1"), "hm</think>Done.")
        self.follow(c, other)
        self.prompt(c, other, "Once more.", id="p3")  # one that denies outlives it too
        done = self.completed(c)[0]
        self.assertIn("a rule of this session denies", done["output"])

    def test_what_loses_work_is_asked_for_in_every_mode(self):
        c = self.start(self.bash("git reset --hard"), "hm</think>Done.")
        s = self.session(c)
        self.prompt(c, s, "Go.")
        item = self.asked(c)
        self.assertEqual((item["why"], item.get("likes", [])), ("git reset --hard throws away uncommitted changes", []))
        c.call("approval/reply", sessionId=s, itemId=item["id"], decision="deny")
        self.assertIn("the user refused it", self.completed(c)[0]["output"])

    def test_what_a_command_runs_of_the_worktree_is_looked_into(self):
        def put(name, text):
            path = os.path.join(self.root, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as f:
                f.write(text)

        put("build.sh", "make\n")
        put("sub/x.sh", "git clean -fdx\n")
        put("Makefile", "all:\n\ttrue\nclean:\n\tgit clean -fdx\n")
        commands = ("bash build.sh; make", "make clean", "cd sub", "bash x.sh", 'g=gi; "${g}t" clean -fdx')
        c = self.start(*[self.bash(command) for command in commands], "hm</think>Done.")
        s = self.session(c)
        self.prompt(c, s, "Go.")
        for why in ("Makefile: git clean -fdx deletes", "sub/x.sh: git clean -fdx deletes", "${g}t clean -fdx deletes"):
            item = self.asked(c)
            self.assertIn(why, item["why"])
            self.assertEqual(item.get("likes", []), [])
            c.call("approval/reply", sessionId=s, itemId=item["id"], decision="deny")
        self.assertEqual([i["state"] for i in self.completed(c)], ["denied"])  # and nothing else asked

    def test_the_configured_test_command_is_judged_before_it_runs(self):
        os.makedirs(os.path.join(self.root, ".lares"))
        config = os.path.join(self.root, ".lares", "config.json")
        write = "hm</think>So." + call("str_replace_editor", command="create", path=config, file_text='{"test": "git clean -fdx -e .lares"}')
        c = self.start(write, "hm</think>So." + call("test"), "hm</think>Done.")
        open(os.path.join(self.root, "precious"), "w").close()
        s = self.session(c)
        self.prompt(c, s, "Go.")
        item = self.asked(c)
        self.assertEqual((item["name"], item["why"]), ("test", "git clean -fdx -e .lares deletes files that git does not know"))
        c.call("approval/reply", sessionId=s, itemId=item["id"], decision="deny")
        self.assertEqual([i["state"] for i in self.completed(c)], ["denied"])
        tested = c.call("session/test", sessionId=s)  # for somebody who is not the model
        self.assertFalse(tested.get("ran", False))
        self.assertIn("were not run: git clean -fdx", tested["summary"])
        self.assertTrue(os.path.exists(os.path.join(self.root, "precious")))

    def test_nobody_there_is_no_denial(self):
        c = self.start(self.create("one"), "hm</think>Done.")
        s = self.session(c, policy="ask", unattended="skip")
        self.prompt(c, s, "Go.")
        seen = c.until("turn/ended")
        done = [m["params"]["item"] for m in seen if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "tool"]
        self.assertEqual(done[0]["state"], "denied")
        self.assertIn("nobody was there to answer. That is no refusal", done[0]["output"])
        self.assertEqual([m["params"]["decision"] for m in seen if m["method"] == "approval/resolved"], ["unattended"])

    def test_an_observer_is_nobody_to_wait_for(self):
        c = self.start(self.create("one"), "hm</think>Done.")
        s = self.session(c, policy="ask", unattended="skip")
        self.connect(role="observe").call("session/subscribe", sessionId=s, interactive=True)
        self.prompt(c, s, "Go.")
        self.assertEqual(self.completed(c)[0]["state"], "denied")

    def test_a_daemon_that_waits_for_a_turn_takes_its_answers(self):
        c = self.start(self.create("one"), self.create("two"), "hm</think>Done.")
        s = self.session(c, policy="ask")
        self.prompt(c, s, "Go.")
        first = self.asked(c)
        c.call("server/shutdown", when="idle")
        for method, params in (("prompt/send", {"sessionId": s, "text": "More."}), ("session/create", {"root": self.root})):
            with self.assertRaises(Refused) as e:
                c.call(method, **params)
            self.assertEqual(e.exception.kind, "not_ready")
        c.call("approval/reply", sessionId=s, itemId=first["id"], decision="allow")
        second = self.asked(c)
        other = self.connect()  # who comes now may answer too
        self.assertEqual(other.call("server/status")["engine"]["state"], "stopping")
        other.call("approval/reply", sessionId=s, itemId=second["id"], decision="allow")
        self.assertEqual(c.until("turn/ended")[-1]["params"]["reason"], "end_turn")
        self.assertEqual(self.daemon.process.wait(timeout=30), 0)
        self.assertEqual([n for n in ("one", "two") if os.path.exists(os.path.join(self.root, n))], ["one", "two"])

    def test_a_daemon_that_waits_for_a_turn_can_be_ended_now(self):
        for how in ("interrupt", "shutdown", "terminate"):
            with self.subTest(how):
                c = self.start(self.create(how), "hm</think>Done.")
                s = self.session(c, policy="ask")
                self.prompt(c, s, "Go.")
                self.asked(c)
                c.call("server/shutdown", when="idle")
                if how == "interrupt":
                    c.call("turn/interrupt", sessionId=s)
                elif how == "shutdown":
                    self.connect().call("server/shutdown", when="now")
                else:
                    self.daemon.process.terminate()
                self.assertEqual(c.until("turn/ended")[-1]["params"]["reason"], "cancelled")
                self.assertEqual(self.daemon.process.wait(timeout=30), 0)
                self.assertFalse(os.path.exists(os.path.join(self.root, how)))

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
        # Of what the script means in the second turn, the grammar lets it say `view`.
        c = self.start(self.create("one"), self.create("two"), "hm</think>Planned.", self.create("two"), "hm</think>Done.")
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
        seen = c.until("turn/ended", turnId=2)
        self.assertEqual([json.loads(m["params"]["item"]["arguments"])["command"] for m in seen if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "tool"], ["view"])
        self.assertFalse(os.path.exists(os.path.join(self.root, "two")))
        c.call("session/policy", sessionId=s, policy="auto")
        self.prompt(c, s, "Go.", id="p3")
        c.until("turn/ended", turnId=3)
        self.assertTrue(os.path.exists(os.path.join(self.root, "two")))
        self.assertEqual(c.call("session/get", sessionId=s)["settings"]["policy"], "auto")


if __name__ == "__main__":
    main()
