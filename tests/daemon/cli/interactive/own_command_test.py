"""What a person runs within a conversation, "!make test". own_command_test.py LARES SCRIPTED_DAEMON [unittest arguments]"""
import os
import pathlib
import re
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripted"))
import terminal_case
from client import call
from terminal_case import THINK, CTRL_C, CTRL_Z, UP, TerminalCase


class OwnCommandTest(TerminalCase):
    def said(self):
        return self.prompts()[0][0]

    def lives(self, pid, seconds=60):
        """Whether a process that was ended still runs, after so long at most. One whose parent has not heard of it yet does not."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                if self.read(f"/proc/{pid}/stat").rpartition(") ")[2][0] == "Z":
                    return False
            except (FileNotFoundError, ProcessLookupError):
                return False
            time.sleep(0.05)
        return True

    def test_its_output_is_shown_and_goes_with_the_next_prompt(self):
        self.start(THINK + "Seen.", THINK + "Again.")
        t = self.open(width=100)
        t.write("!pwd; cat a.txt; printf '\\033[31mred\\033[0m\\tx' >&2; exit 3\r")
        text = t.until(r"alpha\nbeta\nred\s+x\nexit status 3 · \d+\.\ds · the next prompt brings its output\n› ?$")
        self.assertIn(f"\n{self.root}\n", text)
        t.write("What is that?\r")
        t.until(r"Seen\..*finished.*› ?$")
        ran = "pwd; cat a.txt; printf '\\033[31mred\\033[0m\\tx' >&2; exit 3"
        self.assertEqual(self.said(), f"What is that?\n\n<ran_by_user>\n$ {ran}\n{self.root}\nalpha\nbeta\nred\tx\n[exit status 3]\n</ran_by_user>")
        t.write("And now?\r")
        t.until(r"Again\..*finished.*› ?$")
        self.assertEqual(self.prompts()[1][0], "And now?")
        self.leave(t)

    def test_a_shell_ends_when_lares_is_told_to(self):
        self.start()
        t = self.open(width=100)
        t.write("!echo $$ >pid; exec bash --norc -i\r")
        t.until(r"bash-[\d.]+[$#] ?$")
        t.signal(signal.SIGTERM)
        t.wait()
        self.assertFalse(self.lives(self.read(os.path.join(self.root, "pid")).strip()))

    def test_several_are_kept_and_a_long_output_is_clipped(self):
        self.start(THINK + "Seen.")
        t = self.open(width=100, height=50)
        t.write("!seq 100\r")
        t.until(r"\n100\ndone · .*› ?$")
        for n in range(8):
            t.write(f"!echo number {n}\r")
            t.until(rf"\nnumber {n}\ndone.*› ?$")
        t.write("!seq 7000\r")
        t.until(r"\n7000\ndone · .*› ?$")
        t.write("/ask What is that?\r")
        t.until(r"Seen\..*finished.*› ?$")
        said = self.said()
        self.assertEqual(re.findall(r"\$ echo number (\d)", said), list("1234567"))  # the oldest are left out
        self.assertNotIn("seq 100\n", said)
        self.assertIn("<response clipped>", said)
        self.assertIn("\n1\n2\n", said)
        self.assertTrue(said.endswith("\n7000\n</ran_by_user>"), said[-200:])
        self.assertLess(len(said), 20_000)
        self.leave(t)

    def test_ctrl_c_ends_the_command_alone(self):
        self.start(self.gated(THINK + "Done."))
        t = self.open(width=100)
        t.write("Work.\r")
        t.until("turn ")
        t.write("!stty -g; echo begun; sleep 100\r")
        its = re.search(r"\n([0-9a-f:]+)\nbegun$", t.until(r"\nbegun$"))[1].split(":")
        self.assertEqual(int(its[3], 16), t.before[3])  # it has a terminal in its usual modes
        t.write(CTRL_C)
        t.until(r"killed by SIGINT · .*› ?$")
        self.open_gate()
        t.until(r"Done\..*finished.*› ?$")
        self.leave(t)

    def test_it_has_a_terminal_to_fill_and_to_ask_at(self):
        self.start(THINK + "Seen.")
        with open(os.path.join(self.home, "full.py"), "w") as f:
            f.write("""import os, signal, sys, tty
def size(*_): os.write(1, b"size %d %d;" % os.get_terminal_size(1)); os.write(1, b"\\x1b[m")
assert all(os.isatty(fd) for fd in (0, 1, 2))
name = os.read(os.open("/dev/tty", os.O_RDWR), 100)
os.write(1, b"before\\n\\x1b[?1049"); os.write(1, b"hthe other screen ")
tty.setraw(0)
signal.signal(signal.SIGWINCH, size), signal.signal(signal.SIGINT, lambda *_: None)
size()
while (key := os.read(0, 1)) != b"q": os.write(1, b"key %d;" % key[0])
os.write(1, b"\\x1b[?1049l\\r\\n")
print("asked as", name.decode().strip(), end="\\r\\n")
""")
        t = self.open(width=100)
        t.write(f"!python3 {self.home}/full.py\r")
        t.until(r"full\.py$")
        t.write("me\r")
        t.until(r"me\nbefore\nthe other screen size 100 24;$")
        t.resize(90, 20)
        t.until(r"size 90 20;$")
        t.write("x" + CTRL_C * 3 + UP)  # a program that reads keys has them all
        t.until(r"key 120;key 3;key 3;key 3;key 27;key 91;key 65;$")
        t.write("q")
        t.until(r"asked as me\ndone · .*› ?$")
        t.write("What is that?\r")
        t.until(r"Seen\..*finished.*› ?$")
        self.assertIn(f"$ python3 {self.home}/full.py\nme\nbefore\n\nasked as me\n</ran_by_user>", self.said())
        self.leave(t)

    def test_what_ends_on_the_other_screen_leaves_the_first_one_shown(self):
        self.start()
        t = self.open(width=100)
        t.write("!printf 'begun\\033[?1049h\\033[?25l'; kill -9 $$\r")
        t.until(r"killed by SIGKILL · .*› ?$")
        self.assertRegex(t.bytes, rb"\?1049h.*\x1b\[\?1049l\x1b\[m\x1b\[\?25h")
        self.leave(t)

    def test_two_ctrl_c_end_what_heeds_none(self):
        self.start()
        t = self.open(width=100)
        t.write("!trap '' INT; (trap '' INT; sleep 100) & echo $! > job; echo begun; wait; wait; wait\r")
        t.until(r"\nbegun$")
        t.write(CTRL_C)
        t.until(r"\^C$")
        time.sleep(1.1)  # so these are no two
        t.write(CTRL_C)
        t.until(r"\^C\^C$")
        self.assertFalse(t.read(1.1))
        t.write(CTRL_C * 2)
        t.until(r"killed by SIGKILL · .*› ?$")
        self.assertFalse(self.lives(int(self.read(os.path.join(self.root, "job")))))
        self.leave(t)

    def test_one_that_is_suspended_ends(self):
        self.start()
        t = self.open(width=100)
        t.write("!echo begun; sleep 100\r")
        t.until(r"\nbegun$")
        t.write(CTRL_Z)
        t.until(r"killed by SIGTERM · .*› ?$")
        self.leave(t)

    def test_a_job_of_it_holds_nothing_up(self):
        self.start(THINK + "Seen.")
        t = self.open(width=100)
        t.write("!sleep 100 & echo begun $!\r")
        pid = int(re.search(r"\nbegun (\d+)\n", t.until(r"\nbegun \d+\n"))[1])
        self.addCleanup(os.kill, pid, signal.SIGKILL)
        t.write("Look.\r")  # nor swallows it what is typed
        t.until(r"\ndone · .*Seen\..*finished.*› ?$")
        self.assertTrue(self.said().startswith(f"Look.\n\n<ran_by_user>\n$ sleep 100 & echo begun $!\nbegun {pid}\n"), self.said())
        self.assertTrue(self.lives(pid, seconds=3))
        self.leave(t)

    def test_what_is_typed_while_it_runs_and_it_does_not_read_is_typed_behind_it(self):
        self.start(self.gated(THINK + "One."), THINK + "Two.")
        t = self.open(width=100)
        t.write("!echo begun; until [ -e go ]; do sleep 0.05; done\r")
        t.until(r"\nbegun$")
        t.write("First thing\x7f\x7f\x7f\x7f\x7fone.\rthen this")  # as the terminal has edited it
        t.until("then this$")
        open(os.path.join(self.root, "go"), "w").close()
        t.until(r"done · .*› First one\..*\n› then this$")
        self.open_gate()
        t.until(r"One\..*finished.*› then this$")
        t.write(" too.\r")
        t.until(r"Two\..*finished.*› ?$")
        self.assertTrue(self.prompts()[0][0].startswith("First one.\n\n<ran_by_user>\n"), self.prompts())
        self.assertEqual(self.prompts()[1][0], "then this too.")
        self.leave(t)

    def test_what_it_reads_is_not_typed_behind_it(self):
        self.start(THINK + "One.")
        t = self.open(width=100)
        t.write("!printf 'name? '; read x; stty -echo -icanon; printf 'key? '; head -c 1 > /dev/null; echo \"<$x>\"\r")
        t.until(r"\nname\? ?$")
        t.write("me\r")
        t.until(r"key\? ?$")
        t.write("yMore.\r")
        t.until(r"<me>\ndone · .*› More\..*One\..*finished.*› ?$")
        self.assertTrue(self.said().startswith("More.\n\n<ran_by_user>\n"), self.said())
        self.assertEqual(len(self.prompts()), 1)
        self.leave(t)

    def test_it_runs_where_the_person_stands(self):
        below = os.path.join(self.root, "src", "deep")
        os.makedirs(below)
        self.start(THINK + "Seen.")
        t = self.open(width=100, cwd=below)
        t.write("!pwd; echo x > here.txt\r")
        t.until(rf"\n{below}\ndone · .*› ?$")
        self.assertTrue(os.path.exists(os.path.join(below, "here.txt")))
        t.write("What is that?\r")
        t.until(r"Seen\..*finished.*› ?$")
        self.assertIn(f"\n$ pwd; echo x > here.txt\n{below}\n</ran_by_user>", self.said())
        self.assertIn("(I am in src/deep/.)", self.said())
        self.leave(t)

    def test_the_terminal_that_goes_takes_it_along(self):
        self.start()
        t = self.open(width=100)
        t.write("!echo $$ > pid; echo begun; sleep 100\r")
        t.until(r"\nbegun$")
        pid = int(self.read(os.path.join(self.root, "pid")))
        os.kill(t.pid, signal.SIGTERM)
        t.wait()
        self.assertEqual(t.modes(), t.before)
        self.assertFalse(self.lives(pid))

    def test_what_cannot_be_run_is_told_and_nothing_else_is_run(self):
        self.start(THINK + "Seen.")
        t = self.open(width=100, SHELL="/nonexistent/shell")
        t.write("!\r")
        t.until(r"the command is missing.*› ?$")
        t.write("!echo by $0\r")
        t.until(r"\nby /bin/sh\ndone.*› ?$")
        t.write(" !echo text\r")  # a blank before it makes it a prompt
        t.until(r"Seen\..*finished.*› ?$")
        self.assertTrue(self.said().startswith(" !echo text\n\n<ran_by_user>\n$ echo by $0\n"), self.said())
        os.rename(self.root, self.root + "-gone")
        t.write("!echo x\r")
        t.until(r"run `echo x` by /bin/sh in \S+: No such file or directory.*› ?$")
        os.rename(self.root + "-gone", self.root)
        self.leave(t)

    def test_while_a_call_asks_it_is_run(self):
        self.start(THINK + call("bash", command="true"), THINK + "Done.")
        t = self.open(width=100)
        t.write("/policy ask\r")
        t.until("the policy is ask")
        t.write("Run it.\r")
        t.until(r"allow\? › ?$")
        t.write("!cat a.txt\r")
        t.until(r"alpha\nbeta\ndone.*allow\? › ?$")
        t.write("y\r")
        t.until(r"Done\..*finished.*› ?$")
        self.leave(t)


if __name__ == "__main__":
    terminal_case.main()
