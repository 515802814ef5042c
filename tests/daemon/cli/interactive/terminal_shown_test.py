"""What a conversation shows of a call in one line, of a session that it goes on with, and of a command that is none.
terminal_shown_test.py LARES SCRIPTED_DAEMON [unittest arguments]"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripted"))
import terminal_case
from client import call
from terminal_case import THINK, CTRL_C, TerminalCase


class TerminalShownTest(TerminalCase):
    # ---- the line of a call

    def test_the_line_of_a_call_shows_its_output_and_no_remark_on_it(self):
        bash = lambda command: call("bash", command=command)
        self.start(THINK + bash("echo hello; echo again"), THINK + bash("echo '[a remark]'; echo; echo hi"), THINK + bash("echo '[a remark]'"),
                   THINK + bash("echo '[1, 2]'; echo two"), THINK + "Well.")
        t = self.open()
        t.write("/ask Do it.\r")
        text = t.until("Well.*finished.*› ?$")
        for shown in ("hello … 2 more lines", "hi … 2 more lines", "[a remark]", "[1, 2] … 1 more line"):
            self.assertIn(f"  │ {shown}\n", text)
        t.write("/output 4\r")
        t.until(r"bash echo hello; echo again\n\[a new shell, for reading, [^]]*\]\nhello\nagain\n› ?$")
        self.leave(t)

    def test_paths_below_the_root_are_shown_from_there(self):
        lines = [f"{self.root}/a.txt:1: alpha", f"see {self.root}/a.txt", f"{self.root}", f"{self.root}/", f"{self.root}x/a.txt", f"/x{self.root}/a.txt"]
        self.start(*[THINK + call("bash", command=f"echo '{line}'") for line in lines], THINK + call("bash", command=f"echo '{self.root}/b.c:3: no'; (exit 1)"),
                   THINK + "Well.")
        t = self.open(width=200, height=60)
        t.write("Do it.\r")
        text = t.until("Well.*finished.*› ?$")
        shown = ["a.txt:1: alpha", "see a.txt"] + lines[2:]
        self.assertEqual([line[4:] for line in text.splitlines() if line.startswith("  │ ")], shown + ["b.c:3: no", "[exit code: 1]"])
        self.leave(t)

    # ---- a session that goes on

    def test_a_session_that_goes_on_shows_numbers_of_turns_emphasis_and_what_was_interrupted(self):
        self.start(THINK + "It is **bold** and `code`.\n\n- **one**\n- two", self.gated(THINK + "Two."))
        t = self.open()
        t.write("First.\r")
        t.until("bold.*finished.*› ?$")
        t.write("Second.\r")
        t.until("turn [0-9]+s\n› ?$")
        t.write(CTRL_C)
        t.until("interrupting the turn")
        self.wait_until_it_stops()
        self.open_gate()
        t.until("\ninterrupted.*› ?$")
        self.leave(t)
        t = self.open("--continue")
        text = t.until(r"Second\..*› ?$")
        self.assertIn("› First. (turn 1)\n\nIt is bold and code.\n\n- one\n- two\n", text)
        self.assertIn(b"\x1b[1mbold\x1b[0m", t.bytes)
        self.assertRegex(text, r"› Second\. \(turn 2\)\n(\nTwo\.\n)?interrupted")
        self.leave(t)

    def test_a_turn_that_is_joined_tells_what_it_changed_before(self):
        self.start(THINK + self.edit(), self.gated(THINK + "It is gamma."))
        t = self.open()
        t.write("Make it gamma.\r")
        t.until(r"\+gamma.*turn \d+s\n› ?$")
        self.leave(t)
        t = self.open("--continue", until=r"turn \d+s\n› ?$")
        self.open_gate()
        t.until(r"It is gamma\.\n\nfinished [^›]* 1\s+file\s+changed:\s+a.txt\n› ?$")
        self.leave(t)

    def test_a_prompt_of_one_long_line_takes_a_bounded_part_of_the_terminal(self):
        self.start(THINK + "-".join(str(1000 + n) for n in range(800)))
        t = self.open()
        t.write("\x1b[200~" + "x" * 20_000 + "\x1b[201~\r")
        t.until("finished.*› ?$")
        self.leave(t)
        t = self.open("--continue")
        text = t.until(r"session .*1000-1001.*› ?$").partition(" (turn 1)\n\n")
        said = text[0].split("› ")[1].splitlines()
        self.assertEqual([len(row.strip()) for row in said[:-1]], [77] * 24)
        self.assertEqual(said[-1], "  … 236 more lines")  # 20,000 letters take 260 rows of 77
        self.assertRegex(text[2], r"^1000-1001[^\n]{70}\n([-\d]{79}\n){5}… 45 more lines\n› ?$")
        self.leave(t)

    # ---- commands

    def test_a_command_that_is_none_is_told_what_was_meant_where_that_is_near(self):
        self.start()
        t = self.open(width=120)
        for typed, near in (("/init", ""), ("/logg", ""), ("/hepl", "help"), ("/sesions", "sessions"), ("/di", "diff"), ("/frobnicate", "")):
            t.write(typed + "\r")
            text = t.until(rf"there is no {typed}[;,][^\n]* sends it as text\n› {typed}$")
            told = text.split(f"there is no {typed}")[-1]
            self.assertTrue(told.startswith(f", but /{near};" if near else ";"), told)
            t.write(CTRL_C)
            t.until("› ?$")
        self.leave(t)

    def test_a_command_that_is_one_of_lares_itself_is_named(self):
        self.start()
        t = self.open(width=120)
        for name in ("doctor", "rules", "skills", "apply", "log", "config"):
            t.write(f"/{name}\r")
            t.until(rf"there is no /{name} here, but `lares {name}` in a shell: !lares {name};[^›]*› /{name}$")
            t.write(CTRL_C)
            t.until("› ?$")
        self.leave(t)

    def test_plan_is_a_policy(self):
        self.start(THINK + "First this, then that.")
        t = self.open()
        t.write("/plan\r")
        t.until(r"› /policy plan\n.*the policy is plan from the next call on\n.*plan › ?$")
        t.write("/policy auto\r")
        t.until(r"the policy is auto from the next call on\n.*› ?$")
        t.write("/plan What would you do?\r")
        t.until(r"the policy is plan from the next call on\n.*› What would you do\?\n.*First this.*finished.*plan › ?$")
        self.assertEqual(self.prompts(), [("What would you do?", "steer", "work")])
        self.leave(t)

    def test_a_word_that_leaves_or_helps_elsewhere_does_so_and_behind_a_blank_is_text(self):
        self.start(THINK + "One.", THINK + "Two.", THINK + "Three.")
        t = self.open(height=60)
        for n, word in enumerate(("help", "?")):
            t.write(word + "\r")
            t.until(r"(› /help\n.*Ctrl-G.*){%d}› ?$" % (n + 1))
        for word, answer in ((" exit", "One"), (" ?", "Two"), ("exit now", "Three")):
            t.write(word + "\r")
            t.until(answer + r"\..*finished.*› ?$")
        self.assertEqual([p[0] for p in self.prompts()], [" exit", " ?", "exit now"])
        t.write("exit\r")
        self.assertEqual(t.wait(), 0)
        for word in ("quit", ":q"):
            t = self.open()
            t.write(word + "\r")
            self.assertEqual(t.wait(), 0)
            self.assertEqual(t.modes(), t.before)
        self.assertEqual(len(self.listed()), 1)


if __name__ == "__main__":
    terminal_case.main()
