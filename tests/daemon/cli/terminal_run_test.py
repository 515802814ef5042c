"""`lares run` and `lares attach` at a terminal, and the keys that are pressed at them while a turn is shown.
terminal_run_test.py LARES SCRIPTED_DAEMON [unittest arguments]"""
import os
import pathlib
import signal
import sys
import termios

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "interactive"), str(HERE.parent / "scripted")]
import terminal_case
from client import Client, Daemon, say
from terminal import Terminal
from terminal_case import THINK, CTRL_Z, TerminalCase

QUESTION = r"Run it\?.*\n> ?$"
LOCAL_MODES = 3  # in what tcgetattr returns


class TerminalRunTest(TerminalCase):
    def shell(self):
        env = dict(os.environ, LARES_SOCKET=self.socket, LARES_STATE_DIR=self.state, TERM="xterm", LC_ALL="C.UTF-8", PS1="$ ")
        t = Terminal(["/bin/bash", "--norc", "--noprofile", "--noediting", "-i"], self.root, env, 110, 24)
        self.addCleanup(t.close)
        t.until(r"\$ ?$")
        return t

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
        t.wait_until_typed()
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
        t.wait_until_typed()
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

    # ---- keys while a turn is shown

    def echoes(self, t):
        return bool(t.modes()[LOCAL_MODES] & termios.ECHO)

    def test_keys_are_not_shown_in_the_midst_of_a_turn_and_stay_for_the_shell(self):
        self.start(self.gated(THINK + "It says beta."))
        t = self.open("run", "Go.", until="reading")
        t.write("ls\nzz\n\n")
        self.open_gate()
        self.assertEqual(t.wait(), 0)
        self.assertNotRegex(t.screen.text(), "ls|zz")
        self.assertRegex(t.screen.text(), r"^\n*┆ hm\n\nIt says beta\.\n\nfinished · ")
        self.assertEqual(t.modes(), t.before)
        self.assertEqual(os.read(t.keeper, 100), b"ls\n")

    def test_an_answer_is_shown_while_it_is_typed_and_nothing_before_or_after_it(self):
        self.start(self.gated(THINK + self.edit()), self.gated(THINK + "Done."))
        t = self.open("run", "--policy", "ask", "Make it gamma.", until="reading")
        self.assertFalse(self.echoes(t))
        self.open_gate()
        t.until(QUESTION)
        self.assertTrue(self.echoes(t))
        t.write("y")
        t.until(r"\n> y$")
        t.write("\n")
        t.until("reading")
        self.assertFalse(self.echoes(t))
        self.open_gate()
        self.assertEqual(t.wait(), 0)
        self.assertEqual(self.read(os.path.join(self.root, "a.txt")), "alpha\ngamma\n")
        self.assertEqual(t.modes(), t.before)

    def test_the_terminal_is_as_it_was_whatever_ends_it(self):
        self.start(*[self.gated(THINK + "x")] * 6)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGSEGV, signal.SIGABRT, signal.SIGINT):
            with self.subTest(number):
                t = self.open("run", "Go.", until="reading")
                self.assertFalse(self.echoes(t))
                if number in (signal.SIGTERM, signal.SIGINT):  # the first stops the turn
                    t.signal(number)
                    t.until("interrupting the turn")
                t.signal(number)
                self.assertEqual(t.wait(), 130 if number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT) else -number)
                self.assertEqual(t.modes(), t.before)
                self.open_gate()

    def test_beside_a_program_in_a_pipe_the_terminal_is_left_alone(self):
        self.start(self.gated(THINK + "It says beta."))
        t = self.shell()
        t.write(self.LARES + " ask What? | cat\n")
        t.until("reading")
        self.assertTrue(self.echoes(t))
        self.open_gate()
        t.until(r"It says beta\..*\$ ?$")

    # ---- Ctrl-Z

    def test_ctrl_z_leaves_nothing_behind_and_the_text_goes_on_below(self):
        self.daemon = Daemon(self.EXECUTABLE, self.home, "prompts")
        self.addCleanup(self.daemon.stop)
        words = [f"word{n}" for n in range(40)]
        with open(os.path.join(self.home, "prompt"), "w") as f:
            f.write(say({"text": THINK + " ".join(words), "us": 20_000}) + "Go.")
        t = self.shell()
        t.write(f'{self.LARES} run "$(cat ../prompt)"\n')
        t.until("word4 .*answering")
        t.write(CTRL_Z)
        before = t.until(r"Stopped.*\$ ?$")
        self.assertNotIn("^Z", before)
        self.assertNotIn("answering", before)
        self.assertTrue(self.echoes(t))
        t.write("fg\n")
        t.until(r"word39\n\nfinished .*\$ ?$")
        text = t.screen.text()
        self.assertNotRegex(text, "answering|reading")
        self.assertEqual([word for word in text.split() if word.startswith("word")], words)
        self.assertRegex(text.split("fg\n")[1], r"^\S+ run [^\n]*\nword")  # in the first column
        t.write("exit\n")
        t.wait()

    def test_ctrl_z_at_a_question_leaves_it_open(self):
        self.start(THINK + self.edit(), THINK + "Well.")
        t = self.shell()
        t.write(self.LARES + " run --policy ask Go.\n")
        t.until(QUESTION)
        t.write(CTRL_Z)
        t.until(r"Stopped.*\$ ?$")
        t.write("fg\n")
        t.until(r"fg\n[^\n]*\n> ?$")
        t.write("n\n")
        t.until(r"finished.*\$ ?$")
        self.assertTrue(self.echoes(t))
        self.assertEqual(self.read(os.path.join(self.root, "a.txt")), "alpha\nbeta\n")

    def test_where_no_shell_could_let_it_go_on_ctrl_z_does_not_stop_it(self):
        self.start(self.gated(THINK + "It says beta."))
        t = self.open("run", "Go.", until="reading")
        t.write(CTRL_Z)
        t.until("reading")
        self.open_gate()
        self.assertEqual(t.wait(), 0)
        self.assertIn("It says beta.", t.screen.text())

    # ---- what is said beside the turn

    def test_a_narrow_terminal_breaks_no_word_of_what_is_said_at_the_end(self):
        self.start(self.gated(THINK + "Done."))
        c = Client(self.socket)
        self.addCleanup(c.close)
        session = c.call("session/create", root=self.root)["sessionId"]
        c.call("session/subscribe", sessionId=session, after=0)
        c.call("prompt/send", sessionId=session, id="p", content="Go.")
        c.until("turn/started")
        t = self.open("attach", session, until=r"› Go\.", width=45)  # it follows the turn by then
        t.signal(signal.SIGINT)
        self.assertEqual(t.wait(), 130)
        self.open_gate()
        said = " ".join(line.strip() for line in t.screen.text().splitlines())
        self.assertIn(f"lares: left; session {session} goes on: `lares attach {session}` comes back to it, `lares stop {session}` stops its turn", said)

    # ---- what an answer means

    def test_what_only_sounds_like_a_yes_is_asked_about(self):
        self.start(THINK + self.edit(), THINK + "Well.")
        t = self.open("run", "--policy", "ask", "Make it gamma.", until=QUESTION)
        t.write("ok\n")
        t.until(r'is "ok" a yes\? y runs it, n does not.*\n> ?$')
        t.write("y\n")
        self.assertEqual(t.wait(), 0)
        self.assertEqual(self.read(os.path.join(self.root, "a.txt")), "alpha\ngamma\n")


if __name__ == "__main__":
    terminal_case.main()
