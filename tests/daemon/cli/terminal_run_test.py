"""`lares run` and `lares attach` at a terminal, and the keys that are pressed at them while a turn is shown.
terminal_run_test.py LARES SCRIPTED_DAEMON [unittest arguments]"""
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "interactive"), str(HERE.parent / "scripted")]
import terminal_case
from client import Client
from terminal_case import THINK, TerminalCase

QUESTION = r"Run it\?.*\n> ?$"


class TerminalRunTest(TerminalCase):
    # ---- what is typed before a question

    def refused(self, t):
        """Answers the question that is open with n, and reads on to the end of the turn."""
        t.write("n\n")
        self.assertEqual(t.wait(), 0, t.screen.text())
        self.assertEqual(self.read(os.path.join(self.root, "a.txt")), "alpha\nbeta\n", t.screen.text())

    def test_a_line_typed_before_a_question_does_not_answer_it(self):
        self.start(self.gated(THINK + self.edit()), THINK + "Well.")
        t = self.open("run", "--policy", "ask", "Make it gamma.", until="reading")
        t.write("y\ny\n")
        self.open_gate()
        t.until(QUESTION)
        self.refused(t)

    def test_half_a_line_typed_before_a_question_is_no_part_of_its_answer(self):
        self.start(self.gated(THINK + self.edit()), THINK + "Well.")
        t = self.open("run", "--policy", "ask", "Make it gamma.", until="reading")
        t.write("y")
        self.open_gate()
        t.until(QUESTION)
        t.write("\n")
        t.until(r"\n> *\n> ?$")
        self.refused(t)

    def test_what_is_typed_at_a_question_answered_elsewhere_does_not_answer_the_next_one(self):
        self.start(THINK + self.edit(), self.gated(THINK + self.edit()), THINK + "Well.")
        t = self.open("run", "--policy", "ask", "Make it gamma.", until=QUESTION)
        c = Client(self.socket)
        self.addCleanup(c.close)
        session = c.call("session/list")["sessions"][0]["sessionId"]
        c.call("session/subscribe", sessionId=session, after=0, interactive=True)
        item = c.until("item/updated")[-1]["params"]["item"]
        while item["state"] != "asking":
            item = c.until("item/updated")[-1]["params"]["item"]
        c.call("approval/reply", sessionId=session, itemId=item["id"], decision="deny")
        t.until("reading")
        t.write("y\x04")  # half a line, and that is sent
        self.open_gate()
        t.until(QUESTION)
        t.write("\n")
        t.until(r"\n> *\n> ?$")
        self.refused(t)

    def test_in_attach_too_a_line_typed_before_a_question_does_not_answer_it(self):
        self.start(self.gated(THINK + self.edit()), THINK + "Well.")
        c = Client(self.socket)
        self.addCleanup(c.close)
        session = c.call("session/create", root=self.root, settings={"policy": "ask"})["sessionId"]
        c.call("session/subscribe", sessionId=session, after=0)
        c.call("prompt/send", sessionId=session, id="p", content="Make it gamma.")
        c.until("turn/started")
        t = self.open("attach", session, until="Make it gamma")
        t.write("y\n")
        self.open_gate()
        t.until(QUESTION)
        self.refused(t)

    def test_a_line_typed_before_rewind_has_said_what_it_would_do_does_not_confirm_it(self):
        self.start(THINK + self.edit(), THINK + "Done.")
        self.open("run", "Make it gamma.", until="finished").wait()
        t = self.open("rewind", ahead="y\n", until=r"Do it\? \[y/N\] ?$")
        t.write("n\n")
        self.assertEqual(t.wait(), 130, t.screen.text())
        self.assertEqual(self.read(os.path.join(self.root, "a.txt")), "alpha\ngamma\n")


if __name__ == "__main__":
    terminal_case.main()
