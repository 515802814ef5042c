"""The daemon from outside, with a scripted model. What waits for a person, who stops the turn or goes away instead of answering.

questions_test.py SCRIPTED_DAEMON [unittest arguments]
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
from client import call
from daemon_case import DaemonCase, main

ASK = "hm</think>So." + call("ask_user", question="Red or blue?")


class QuestionsTest(DaemonCase):
    def tool(self, seen, name):
        return next(m["params"]["item"] for m in seen if m["method"] == "item/completed" and m["params"]["item"].get("name") == name)

    def test_a_question_of_a_turn_that_is_stopped_is_cancelled(self):
        c = self.start(ASK)
        s = c.call("session/create", root=self.root)["sessionId"]
        c.call("session/subscribe", sessionId=s, interactive=True)
        self.prompt(c, s, "Go.")
        c.until("session/state", state="waiting")
        c.until("item/updated")
        c.call("turn/interrupt", sessionId=s)
        item = self.tool(c.until("turn/ended", reason="cancelled"), "ask_user")
        self.assertEqual((item["state"], item["output"]), ("cancelled", "The user interrupted this call."))

    def test_who_leaves_while_it_asks_is_not_waited_for_where_nobody_is(self):
        for name, answer, output in (("ask_user", ASK, "Nobody is there to answer"), ("bash", self.bash("git reset --hard"), "nobody was there to answer")):
            with self.subTest(name):
                c = self.start(answer, "hm</think>Done.")
                s = self.session(c, unattended="skip")
                person = self.connect()
                person.call("session/subscribe", sessionId=s, interactive=True)
                person.call("session/get", sessionId=s)
                self.prompt(c, s, "Go.")
                person.until("session/state", state="waiting")
                person.until("item/updated")
                person.call("session/subscribe", sessionId=s, interactive=True)  # that is no leaving
                person.until("item/snapshot")
                self.assertEqual(c.call("session/get", sessionId=s)["state"], "waiting")
                person.close()
                seen = c.until("turn/ended", reason="end_turn")
                self.assertIn(output, self.tool(seen, name)["output"])
                self.assertEqual([m["params"]["decision"] for m in seen if m["method"] == "approval/resolved"], ["unattended"] if name == "bash" else [])
                self.daemon.stop()

    def test_who_only_looks_on_from_now_on_has_left(self):
        c = self.start(ASK, "hm</think>Done.")
        s = c.call("session/create", root=self.root, settings={"unattended": "skip"})["sessionId"]
        c.call("session/subscribe", sessionId=s, interactive=True)
        self.prompt(c, s, "Go.")
        c.until("session/state", state="waiting")
        c.until("item/updated")
        c.call("session/subscribe", sessionId=s, after=-1)
        self.assertIn("Nobody is there", self.tool(c.until("turn/ended", reason="end_turn"), "ask_user")["output"])


if __name__ == "__main__":
    main()
