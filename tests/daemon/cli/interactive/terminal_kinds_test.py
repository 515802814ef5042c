"""A conversation at terminals of all kinds, which are stopped, made wider and taken away, and with daemons that go and come.
terminal_kinds_test.py LARES SCRIPTED_DAEMON [unittest arguments]"""
import os
import pathlib
import re
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripted"))
import terminal_case
from client import Daemon, processes_of, say
from terminal import Terminal
from terminal_case import THINK, CTRL_D, CTRL_Z, TerminalCase


class TerminalKindsTest(TerminalCase):
    # ---- the daemon goes and comes

    def test_a_restart_of_the_daemon_loses_nothing_that_was_typed(self):
        self.start(THINK + "One.", THINK + "Two.")
        t = self.open()
        t.write("First.\r")
        t.until("One.*finished")
        t.write("half a sen")
        t.until("half a sen$")
        t.signal(signal.SIGSTOP)  # stopped while the daemon is replaced, so that the new one is there when it looks
        self.daemon.kill()
        self.start(THINK + "Two.")
        t.write("tence")
        t.signal(signal.SIGCONT)
        t.until("reconnected.*half a sentence$")
        t.write("\r")
        t.until("Two.*finished")
        self.assertEqual([p[0] for p in self.prompts()], ["First.", "half a sentence"])
        self.leave(t)

    def test_a_daemon_that_was_ended_while_nobody_waits_stays_ended(self):
        self.start(THINK + "One.")
        t = self.open()
        t.write("First.\r")
        t.until("One.*finished")
        self.daemon.stop()
        t.until("the daemon ended; the next prompt starts it\n› ?$")
        t.write("/status\r")
        t.until("no daemon runs; the next prompt starts it\n› ?$")
        self.assertEqual([pid for pid in processes_of(self.home) if pid != t.pid], [])
        self.start(THINK + "Two.", THINK + "Three.")
        t.write("/status\r")
        t.until("engine +ready")
        t.write("Second.\r")
        t.until("Two.*finished")
        self.assertEqual([p[0] for p in self.prompts()], ["First.", "Second."])
        self.leave(t)

    def test_a_daemon_that_dies_in_a_turn_is_told(self):
        self.start(self.gated("never"), THINK + "x")
        t = self.open()
        t.write("Go.\r")
        t.until("turn ")
        t.signal(signal.SIGSTOP)
        self.daemon.kill()
        self.start(THINK + "Later.")
        t.signal(signal.SIGCONT)
        t.until("reconnected.*the daemon died during this turn.*› ?$")
        t.write("Again.\r")
        t.until("Later.*finished")
        self.leave(t)

    # ---- terminals

    def test_a_dumb_terminal_gets_plain_lines(self):
        self.start(self.gated(THINK + "One."), THINK + "Two.")
        t = self.open(TERM="dumb")
        t.write("First.\r")
        t.until("First")
        self.open_gate()
        t.until("One.*finished.*› ?$")
        t.write("Second\\\r")
        t.until(r"\. ?$")
        t.write("goes on.\r")
        t.until("Two.*finished.*› ?$")
        self.assertNotIn(b"\x1b", t.bytes)
        self.assertEqual(t.screen.text().count("First."), 1)  # as it was typed
        self.assertEqual([p[0] for p in self.prompts()], ["First.", "Second\ngoes on."])
        self.leave(t)

    def test_no_color_is_honoured(self):
        self.start("hm</think>" + self.edit(), THINK + "Done.")
        t = self.open(NO_COLOR="1")
        t.write("Go.\r")
        t.until("Done.*finished")
        self.assertIsNone(re.search(rb"\x1b\[[0-9;]*m", t.bytes))
        self.leave(t)

    def test_an_unknown_terminal_and_another_locale(self):
        self.start(THINK + "café")
        t = self.open(TERM="no-such-terminal", LC_ALL="C")
        t.write("un thé?")
        t.until("> un thé\\?$")
        t.write("\x7f!\r")
        t.until("café.*finished - .*> ?$")
        self.assertEqual(self.prompts()[0][0], "un thé!")
        self.leave(t)

    def test_the_terminal_is_as_it_was_whatever_ends_it(self):
        self.start()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGSEGV, signal.SIGABRT):
            with self.subTest(number):
                t = self.open()
                self.assertNotEqual(t.modes(), t.before)
                t.write("typed")
                t.until("typed$")
                t.signal(number)
                self.assertEqual(t.wait(), 130 if number in (signal.SIGTERM, signal.SIGHUP) else -number)
                self.assertEqual(t.modes(), t.before)
                self.assertTrue(t.bytes.rstrip().endswith(b"\x1b[?2004l") or b"\x1b[?2004l" in t.bytes[-200:])

    def test_ctrl_z_gives_the_terminal_back_until_it_goes_on(self):
        self.start(THINK + "One.")
        t = self.open()
        t.write("typed")
        t.until("typed$")
        t.write(CTRL_Z)
        pid, status = os.waitpid(t.pid, os.WUNTRACED)
        self.assertTrue(os.WIFSTOPPED(status))
        self.assertEqual(t.modes(), t.before)
        t.signal(signal.SIGCONT)
        t.write(" on")
        t.until("› typed on$")
        self.assertNotEqual(t.modes(), t.before)
        t.write("\r")
        t.until("One.*finished")
        self.leave(t)

    def shell(self):
        env = dict(os.environ, LARES_SOCKET=self.socket, LARES_STATE_DIR=self.state, TERM="xterm", LC_ALL="C.UTF-8", PS1="$ ")
        t = Terminal(["/bin/bash", "--norc", "--noprofile", "--noediting", "-i"], self.root, env, 110, 24)
        self.addCleanup(t.close)
        t.until(r"\$ ?$")
        return t

    def test_what_was_said_during_a_stop_stands_below_what_the_shell_wrote(self):
        words = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen".split()
        daemon = Daemon(self.EXECUTABLE, self.home, "prompts")
        self.addCleanup(daemon.stop)
        t = self.shell()
        t.write(self.LARES + "\n")
        t.until("› ?$")
        t.write("\x1b[200~" + say({"text": THINK + " ".join(words), "us": 60_000}) + "Go.\x1b[201~\r")
        t.until(r"\none two three")
        t.write(CTRL_Z)
        t.until(r"Stopped.*\$ ?$")
        until = time.monotonic() + 60
        while self.listed()[0]["state"] != "idle" and time.monotonic() < until:
            time.sleep(0.05)
        t.write("echo as it was\n")
        t.until(r"\nas it was\n\$ ?$")
        t.write("fg\n")
        before, _, after = t.until(r"fg\n.*finished.*› ?$").partition("$ fg\n")
        self.assertTrue(before.endswith("\nas it was\n"), before)
        self.assertRegex(after, r"^\S*lares\S*\n")
        shown = re.findall(r"\b(?:%s)\b" % "|".join(words), before.split("Go.\n")[1].split("Stopped")[0] + after)
        self.assertEqual(shown, words, t.screen.text())
        self.leave_shell(t)

    def leave_shell(self, t):
        t.write("\x04")
        t.until(r"goes on\n\$ ?$")
        t.write("exit\n")
        t.wait()

    def test_lares_run_goes_on_in_the_width_that_the_terminal_has_after_a_stop(self):
        self.start(self.gated(THINK + "One."))
        t = self.shell()
        t.write(self.LARES + " run Go.\n")
        t.until("reading")
        t.write(CTRL_Z)
        t.until(r"Stopped.*\$ ?$")
        t.resize(30, 24)
        t.write("fg\n")
        t.until(r"fg\n.*reading[^\n]*$")
        self.open_gate()
        t.until(r"One\.\n\nfinished · 1 step · [\d,]+\ntokens in .*\$ ?$")  # broken between words
        t.write("exit\n")
        t.wait()

    def test_a_resize_while_a_shell_has_the_terminal(self):
        self.start(self.gated(THINK + "One."))
        t = self.shell()
        t.write(self.LARES + "\n")
        t.until("› ?$")
        t.write("Go.\r")
        t.until(r"turn \d+s\n› ?$")
        t.write(CTRL_Z)
        t.until(r"Stopped.*\$ ?$")
        t.resize(40, 24)
        t.write("fg\n")
        t.until(r"fg\n.*turn (?:[3-9]|\d\d+)s.*\n› ?$|fg\n[^\n]*\n[^\n]*…\n› ?$")
        until = time.monotonic() + 2  # it is drawn several times meanwhile
        while time.monotonic() < until:
            t.read(0.1)
        after = t.screen.text().split("$ fg\n")[1]
        self.assertRegex(after, r"^\S*lares\S*\n(\S+\n)?[^\n]{1,39}\n› ?$")  # bash's line in one row or two, the status, the line
        self.open_gate()
        t.until("One.*finished.*› ?$")
        t.write(CTRL_D)
        t.until(r"\$ ?$")
        t.write("exit\n")
        t.wait()


if __name__ == "__main__":
    terminal_case.main()
