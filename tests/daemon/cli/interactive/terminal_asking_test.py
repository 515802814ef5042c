"""What a conversation at a terminal asks of a person, and under which policy. terminal_asking_test.py LARES SCRIPTED_DAEMON
[unittest arguments]"""
import os
import pathlib
import re
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripted"))
import terminal_case
from client import Client, call
from terminal_case import THINK, CTRL_C, LEFT, TerminalCase


class TerminalAskingTest(TerminalCase):
    def test_a_question_that_ctrl_c_holds_is_a_question_again(self):
        self.start(self.gated("one two"))
        t = self.open()
        t.write("Go.\r")
        t.until("turn ")
        t.write("/ask what is it\r")
        t.until(r"what is it \(when this turn has ended\)")
        t.write(CTRL_C)
        t.until("interrupting")
        self.wait_until_it_stops()
        self.open_gate()
        t.until("interrupted · .*› /ask what is it$")
        t.write(CTRL_C)
        t.until("› ?$")
        self.leave(t)

    def test_a_question_is_answered(self):
        self.start(THINK + call("ask_user", question="Which colour?\n1. blue\n2. green"), THINK + "Blue it is.")
        t = self.open()
        t.write("Paint it.\r")
        t.until(r"\nWhich colour\?\n1\. blue\n2\. green\n.*answer › ?$")
        t.write("blue\r")
        t.until("Blue it is.*finished.*› ?$")
        self.leave(t)

    def test_a_call_that_asks_is_allowed_or_refused_and_taken_back(self):
        self.start(THINK + "Editing." + self.edit(), THINK + "Again." + call("bash", command="git reset --hard"), THINK + "It is gamma now.")
        t = self.open()
        t.write("/policy edits\r")
        t.until(r"the policy is edits")
        t.write("Do it.\r")
        t.until(r"git reset --hard throws away uncommitted changes\. Run it\?")
        t.until(r"y once; n no, or say what to do instead")  # no rule can be made of that
        t.until(r"allow\? › ?$")
        t.write("leave git alone\r")
        t.until(r"finished")
        self.assertIn("the user refused it: leave git alone", t.screen.text())
        path = os.path.join(self.root, "a.txt")
        def text():
            with open(path) as f:
                return f.read()
        self.assertEqual(text(), "alpha\ngamma\n")
        t.write("/rewind 1\r")
        t.until(r"rewind\? › ?$")
        t.write("y\r")
        t.until(r"went back before turn 1; 1 file changed\s+changed +a\.txt\s+/undo takes that back")
        self.assertEqual(text(), "alpha\nbeta\n")
        t.until(r"› Do it\.$")
        t.write(CTRL_C + "/undo\r")
        t.until(r"went forth again, with turn 1; 1 file changed")
        self.assertEqual(text(), "alpha\ngamma\n")
        t.write("/fork 0\r")
        t.until(r"session \w+ knows what \w+ knew; this goes on in it")
        self.leave(t)

    def wait_until_it_asks(self):
        c = Client(self.socket)
        self.addCleanup(c.close)
        session = c.call("session/list")["sessions"][0]["sessionId"]
        while c.call("session/get", sessionId=session)["state"] != "waiting":
            time.sleep(0.02)
        return lambda: c.call("session/get", sessionId=session)["state"]

    def test_what_is_typed_before_a_question_is_shown_does_not_answer_it(self):
        for kind in "xterm", "dumb":
            self.start(self.gated(THINK + call("bash", command="git reset --hard")), THINK + "Refused.")
            t = self.open(TERM=kind)
            t.write("Go.\r")
            while not any(s.get("turnId") for s in self.listed()):
                time.sleep(0.02)
            t.signal(signal.SIGSTOP)
            self.open_gate()
            state = self.wait_until_it_asks()
            t.write("yes\x7f\x7f\r")
            t.wait_until_typed()
            t.signal(signal.SIGCONT)
            t.until(r"y once; n no, or say what to do instead.*allow\? [›>] ?$")
            time.sleep(0.3)
            self.assertEqual(state(), "waiting")
            t.write("n\r")
            text = t.until(r"Refused\..*finished")
            steered = "y" in [p[0] for p in self.prompts()]  # it was read before the daemon's word came
            if kind == "dumb" and not steered:
                self.assertIn("not sent: y", text)
            t.until(r"finished.*› y$" if kind == "xterm" and not steered else r"finished.*[›>] ?$")
            t.write(CTRL_C)
            self.leave(t)
            self.daemon.stop()

    def test_a_draft_stands_aside_while_a_question_is_open(self):
        self.start(self.gated(THINK + call("bash", command="git reset --hard")), THINK + call("ask_user", question="Which colour?"), THINK + "Blue it is.",
                   THINK + "Well.")
        t = self.open()
        t.write("Go.\r")
        t.until("turn ")
        paste = "\n".join(f"line {i}" for i in range(40))
        t.write(f"and \x1b[200~{paste}\x1b[201~ too" + LEFT * 4)
        t.until(r"› and \[pasted 40 lines #1\] too$")
        self.open_gate()
        t.until(r"allow\? › ?$")
        t.write("n\r")
        t.until(r"Which colour\?.*answer › ?$")
        t.write(f"\x1b[200~blue{paste}\x1b[201~")
        t.until(r"answer › \[pasted 40 lines #1\]$")
        t.write("\r")
        t.until(r"Blue it is\..*finished.*› and \[pasted 40 lines #1\] too$")
        t.write(",\r")  # the cursor is where it was
        t.until(r"Well\..*finished.*› ?$")
        self.assertEqual([p[0] for p in self.prompts()], ["Go.", f"and {paste}, too"])
        self.leave(t)

    def test_what_another_terminal_answers_is_said(self):
        self.start(THINK + self.edit(), THINK + call("ask_user", question="Which colour?"), THINK + "Blue it is.")
        t = self.open()
        t.write("/policy ask\r")
        t.until("the policy is ask")
        t.write("Do it.\r")
        t.until(r"allow\? › ?$")
        c = Client(self.socket)
        self.addCleanup(c.close)
        session = c.call("session/list")["sessions"][0]["sessionId"]
        c.call("session/subscribe", sessionId=session, interactive=True)

        def item_that_is(state):
            while True:
                item = c.next()["params"].get("item", {})
                if item.get("state") == state:
                    return item["id"]

        c.call("approval/reply", sessionId=session, itemId=item_that_is("asking"), decision="allow")
        t.until(r"allowed from another terminal.*Which colour\?.*answer › ?$")
        c.call("question/reply", sessionId=session, itemId=item_that_is("waiting"), text="blue")
        t.until("answered from another terminal.*Blue it is.*finished")
        self.leave(t)

    def test_the_bell_rings_for_whoever_is_wanted(self):
        for bell, rings in ("always", 2), ("away", 0), ("never", 0):
            self.start(THINK + call("ask_user", question="Which?"), THINK + "This one.")
            t = self.open(LARES_BELL=bell)
            t.write("Go.\r")
            t.until(r"answer › ?$")
            t.write("that\r")  # somebody types, so nobody is away
            t.until("This one.*finished.*› ?$")
            self.assertEqual(t.bytes.count(b"\a"), rings, bell)
            self.leave(t)
            self.daemon.stop()

    def test_all_of_a_call_is_seen_before_it_is_allowed(self):
        long = "echo " + "word " * 40 + "&& git reset --hard"
        self.start(THINK + call("bash", command=long), THINK + call("bash", command="echo a &&\ngit clean -f"),
                   THINK + call("str_replace_editor", command="create", path="b.txt", file_text="w" * 200 + " end of the line\n"), THINK + "Well.")
        t = self.open()
        t.write("/policy ask\r")
        t.until("the policy is ask")
        t.write("Do it.\r")
        text = t.until(r"allow\? › ?$")
        rows = re.findall(r"^  │ (.*)$", text, re.M)
        self.assertEqual("".join(row.ljust(75) for row in rows).rstrip(), long)
        t.write("n\r")
        t.until(r"  │ echo a &&\n  │ git clean -f\n.*allow\? › ?$")
        t.write("n\r")
        t.until(r"b.txt\n  \+w+\n  w+\n  w+ end of the line\n.*allow\? › ?$")
        t.write("n\r")
        t.until(r"Well.*finished.*› ?$")
        self.leave(t)

    def test_a_question_of_a_session_that_one_leaves_is_not_answered_in_the_next(self):
        self.start(THINK + call("bash", command="git reset --hard"), THINK + "Another.")
        t = self.open()
        t.write("Do it.\r")
        t.until(r"allow\? › ?$")
        t.write("/new\r")
        t.until("begins a new session\n› ?$")
        c = Client(self.socket)
        self.addCleanup(c.close)
        old = c.call("session/list")["sessions"][0]["sessionId"]
        t.write("y\r")
        t.until("› y\n")
        self.assertEqual(c.call("session/get", sessionId=old)["state"], "waiting")
        c.call("turn/interrupt", sessionId=old)
        t.until("Another.*finished.*› ?$")
        self.assertEqual(self.prompts(but=old), [("y", "steer", "work")])
        t.write(f"/resume {old}\r")
        t.until(f"session {old}")
        self.leave(t)

    def test_a_yes_in_capitals_allows_and_what_is_not_offered_asks_again(self):
        self.start(THINK + call("bash", command="git reset --hard"), THINK + "Tried.", THINK + self.edit(), THINK + "Edited.")
        t = self.open(width=120)
        t.write("Do it.\r")
        t.until(r"allow\? › ?$")
        t.write("s\r")
        t.until(r"there is no s for this call: y once; n no, or say what to do instead\n.*allow\? › ?$")
        t.write("Yes\r")
        self.assertNotIn("refused", t.until("Tried.*finished"))
        t.write("Edit.\r")
        t.until("Edited.*finished")
        t.write("/rewind 2\r")
        t.until(r"rewind\? › ?$")
        t.write("Y\r")
        t.until(r"went back before turn 2.*› \S[^\n]*$")
        t.write(CTRL_C)
        t.until("› ?$")
        self.leave(t)

    def test_what_only_sounds_like_a_yes_is_asked_about_once_for_each_call(self):
        self.start(THINK + self.edit(), THINK + self.edit(), THINK + "Well.")
        t = self.open(width=120)
        t.write("/policy ask\r")
        t.until("the policy is ask")
        t.write("Do it.\r")
        for n in (1, 2):
            t.until(rf"(Run it\?.*){{{n}}}allow\? › ?$")
            t.write("yes, but stash it first\r")
            t.until(rf'(is "yes, but stash it first" a yes\?.*){{{n}}}allow\? › ?$')
            t.write("yes, but stash it first\r")
        t.until(r"(user refused it: yes, but stash it first.*){2}finished")
        self.assertEqual(self.read(os.path.join(self.root, "a.txt")), "alpha\nbeta\n")
        self.leave(t)

    def test_a_policy_holds_for_the_next_session_too(self):
        self.start(THINK + "One.", THINK + "Two.")
        t = self.open()
        t.write("First.\r")
        t.until("One.*finished")
        t.write("/policy ask\r")
        t.until("the policy is ask from")
        t.write("/new\r")
        t.until("begins a new session")
        t.write("/policy\r")
        t.until("the policy is ask; .*\n  edits      Edits files unasked, asks before commands\n.*› ?$")
        t.write("Second.\r")
        t.until("Two.*finished")
        self.assertEqual([s["settings"]["policy"] for s in self.listed()], ["ask", "ask"])
        self.leave(t)

    def test_the_prompt_names_a_policy_that_is_not_the_usual_one_and_a_key_goes_to_the_next(self):
        self.start(THINK + "One.", self.gated(THINK + "Two."))
        t = self.open("--policy", "plan", until=r"\nplan › ?$")
        t.write("draft")
        for policy, what in (("auto", "Works on its own"), ("edits", "Edits files unasked"), ("ask", "Asks before every change"), ("plan", "Changes nothing")):
            t.write("\x1b[Z")
            t.until(rf"\npolicy {policy}: {what}[^\n]*\n{'' if policy == 'auto' else policy + ' '}› draft$")
        self.assertEqual(self.listed(), [])
        t.write("\r")
        t.until(r"One\..*finished.*\nplan › ?$")
        self.leave(t)
        t = self.open("--continue", until=r"session \w+ · 1 turn · \d+s ago · policy plan · draft\n.*\nplan › ?$")
        t.write("Go on.\r")
        t.until(r"turn \d+s\nplan › ?$")
        t.write("\x1b[Z")  # of the turn that runs, too
        t.until(r"\npolicy auto: [^\n]*\n.*\n› ?$")
        self.assertEqual([s["settings"]["policy"] for s in self.listed()], ["auto"])
        self.open_gate()
        t.until(r"Two\..*finished.*\n› ?$")
        self.leave(t)

    def test_a_plan_is_carried_out_under_the_policy_from_before_it(self):
        path = os.path.join(self.root, "planned.txt")
        self.start(THINK + "First this, then that.", THINK + call("str_replace_editor", command="create", path=path, file_text="x"), THINK + "Done.", THINK + "Planned.", THINK + "Carried.", THINK + "More.")
        t = self.open()
        t.write("/go\r")
        t.until("/go carries out what was planned under /policy plan")
        t.write("/policy edits\r")
        t.until("the policy is edits from")
        t.write("/policy plan\r")
        t.until("the policy is plan from")
        t.write("Plan it.\r")
        t.until("First this, then that.*finished.*\n/go carries it out, under the policy edits")
        t.write("/go\r")
        t.until("the policy is edits\n.*Done.*finished")
        self.assertTrue(os.path.exists(path))
        t.write("/policy plan\r")
        t.until("the policy is plan from")
        t.write("Plan again.\r")
        t.until("Planned.*finished")
        t.write("/go auto\r")
        t.until("the policy is auto\n.*Carried.*finished")
        self.assertEqual([s["settings"]["policy"] for s in self.listed()], ["auto"])
        t.write("/policy plan\r")
        t.until("the policy is plan from.*› ?$")
        t.write("/go\r")  # nothing is planned yet
        t.until("/go carries out what was planned under /policy plan\n")
        t.write("Plan more.\r")
        t.until("More.*finished")
        self.leave(t)
        t = self.open("--continue")
        t.until("session .* turns")
        for command in ("/go", "/go read-only"):  # what the policy was before, this process has not seen
            t.write(command + "\r")
            t.until("/go NAME: under which policy it is carried out; auto, edits or ask")
        self.assertEqual([s["settings"]["policy"] for s in self.listed()], ["plan"])
        self.leave(t)


if __name__ == "__main__":
    terminal_case.main()
