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


if __name__ == "__main__":
    main()
