"""`lares` alone at a terminal: on a pty, against the real daemon with a scripted model. terminal_test.py LARES SCRIPTED_DAEMON
[unittest arguments]"""
import base64
import os
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripted"))
import terminal_case
from client import Client, call
from terminal_case import THINK, CTRL_C, CTRL_D, HOME, TerminalCase


class TerminalTest(TerminalCase):
    # ---- a turn

    def test_a_prompt_is_worked_on_and_shown(self):
        self.start("I look first.</think>Editing." + self.edit(), THINK + call("bash", command="printf 'one\\ntwo\\n'"), THINK + "It is gamma now.")
        t = self.open(width=120)
        t.write("Make it gamma.\r")
        text = t.until("finished.*› ?$")
        for shown in ("lares 0.1.0 · scripted · /help · ", "› Make it gamma.", "Editing.", "str_replace_editor", "-beta", "+gamma", "● bash printf", "It is gamma now.", "1 file changed: a.txt", "┆ thought"):
            self.assertIn(shown, text)
        self.assertNotIn("I look first.", text)
        self.assertEqual(text.count("Make it gamma."), 1, text)
        self.assertEqual(text.count("It is gamma now."), 1, text)
        self.assertRegex(text, r"\n  │ .*more line")  # of the output its first line
        self.assertIn(b"\x1b[32m+gamma", t.bytes)
        t.write("/thinking\r")
        t.until("/thinking\n\n┆ I look first.\n┆ ?\n┆ hm\n┆ ?\n┆ hm")
        t.write("/diff\r")
        t.until(r"/diff.*a\.txt.*\+gamma")
        self.assertIn("`lares --continue` goes on", self.leave(t))

    def test_a_session_in_a_worktree_of_its_own(self):
        os.rmdir(os.path.join(self.root, ".git"))
        for command in (["init", "-q"], ["add", "a.txt"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "-m", "first"]):
            subprocess.run(["git", "-C", self.root, *command], check=True)
        self.start(THINK + call("bash", command="sed -i s/beta/gamma/ a.txt"), THINK + "Done.")
        t = self.open("--worktree", width=200)
        for policy, told in (("foo", "set the policy to foo: it is none; there are auto, edits, ask, plan, read-only"), ("edits", "the policy is edits from"), ("auto", "the policy is auto from")):
            t.write(f"/policy {policy}\r")
            t.until(told + r"[^\n]*\n.*› ?$")
        self.assertEqual(self.listed(), [])  # none of them makes a worktree
        t.write("Make it gamma.\r")
        text = t.until("finished.*› ?$")
        told = re.search(r"works in (\S+), on the branch (lares/make-it-gamma\S*); `lares apply (\S+)`", text)
        self.assertTrue(told, text)
        self.assertEqual(self.read(os.path.join(told[1], "a.txt")), "alpha\ngamma\n")
        self.assertEqual(self.read(os.path.join(self.root, "a.txt")), "alpha\nbeta\n")
        self.assertIn(f"session {told[3]}: `lares --session {told[3]}` goes on", self.leave(t))

    def test_the_status_says_what_is_cached_and_new(self):
        view = call("str_replace_editor", command="view", path=os.path.join(self.root, "a.txt"))
        self.start(THINK + view, self.gated(THINK + "Done."))
        t = self.open(width=120)
        t.write("Look.\r")
        t.until(r"context [\d.]+k/1.0M · [\d.k]+ cached, [\d.k]+ new · turn \d+s\n› ?$")
        self.open_gate()
        self.assertNotIn("cached, ", t.until("finished.*› ?$").split("finished")[1])
        self.leave(t)

    def test_typing_while_a_turn_runs_steers_it(self):
        view = call("str_replace_editor", command="view", path=os.path.join(self.root, "a.txt"))
        self.start(self.gated(THINK + view), THINK + "Both done.")
        t = self.open()
        t.write("First.\r")
        t.until("context|turn ")
        t.write("Seco")
        t.until("› Seco$")
        t.write("nd.\r")
        t.until(r"› Second\. \(steers the running turn\)")
        t.write("draft")
        self.open_gate()
        text = t.until("Both done.*› draft$")  # and what is typed stands below what arrived
        self.assertEqual(text.count("draft"), 1, text)
        self.assertEqual(self.prompts(), [("First.", "steer", "work"), ("Second.", "steer", "work")])
        t.write(CTRL_C)
        t.until("› ?$")
        self.leave(t)

    def test_queue_and_ask(self):
        self.start(self.gated(THINK + "One."), THINK + "Two.", THINK + "Three.")
        t = self.open()
        t.write("First.\r")
        t.until("turn ")
        t.write("/queue Then this.\r")
        t.until(r"Then this\. \(when this turn has ended\)")
        self.open_gate()
        t.until("One.*finished.*› Then this\\.\n.*Two.*finished")
        t.write("/ask What is it?\r")
        t.until("Three.*finished")
        self.assertEqual(self.prompts(), [("First.", "steer", "work"), ("Then this.", "queue", "work"), ("What is it?", "steer", "ask")])
        self.leave(t)

    def test_ctrl_c_interrupts_then_clears_then_leaves(self):
        self.start(self.gated("one two"), THINK + "Next.")
        t = self.open()
        t.write("Go.\r")
        t.until("turn ")
        c = Client(self.socket)
        self.addCleanup(c.close)
        c.call("session/subscribe", sessionId=c.call("session/list")["sessions"][0]["sessionId"])
        t.write("\x1b")
        t.until("Ctrl-C stops the turn")
        t.write(CTRL_C)
        t.until("interrupting the turn")
        c.until("session/state", state="stopping")  # the daemon has heard of it
        self.open_gate()
        t.until("interrupted · .*› ?$")
        t.write("not this")
        t.until("not this$")
        t.write(CTRL_C)
        t.until("› ?$")
        t.write("Again.\r")
        t.until("Next.*finished")
        t.write(CTRL_C)
        t.until("once more leaves")
        t.write(CTRL_C)
        self.assertEqual(t.wait(), 0)
        self.assertEqual(t.modes(), t.before)
        self.assertEqual([p[0] for p in self.prompts()], ["Go.", "Again."])

    def test_ctrl_c_holds_what_waits(self):
        self.start(self.gated("one two"), THINK + "Held.")
        t = self.open()
        t.write("Go.\r")
        t.until("turn ")
        c = Client(self.socket)
        self.addCleanup(c.close)
        session = c.call("session/list")["sessions"][0]["sessionId"]
        c.call("session/subscribe", sessionId=session)
        t.write("steer me\r")
        t.until(r"steer me \(steers the running turn\)")
        t.write("/queue and then this\r")
        t.until(r"and then this \(when this turn has ended\)")
        t.write("/ask and what is it\r")
        t.until(r"and what is it \(when this turn has ended\)")
        c.call("prompt/send", sessionId=session, id="theirs", content="somebody else's", delivery="queue", mode="work")
        t.write("draft")
        t.until("draft$")
        t.write(CTRL_C)
        c.until("session/state", state="stopping")
        self.open_gate()
        text = t.until("interrupted · .*taken back before it began.*› steer me\nand then this\ndraft$")
        self.assertIn("taken back, of another client: somebody else's", text)
        self.assertIn("taken back: /ask and what is it", text)
        c.until("session/state", state="idle")
        self.assertEqual(c.call("session/get", sessionId=session)["nTurns"], 1)
        t.write("\r")
        t.until("Held.*finished")
        self.assertEqual(self.prompts()[-1], ("steer me\nand then this\ndraft", "steer", "work"))
        self.leave(t)

    def test_rewind_shows_what_it_would_do_and_asks(self):
        self.start(THINK + self.edit(), THINK + call("bash", command="true"), THINK + "It is gamma now.")
        t = self.open()
        t.write("Make it gamma.\r")
        t.until("finished")
        path = os.path.join(self.root, "a.txt")
        for answer in ("n", "", "no", "q", CTRL_C, "\x1b"):
            t.write("/rewind 1\r")
            text = t.until(r"would go back before turn 1; 1 file would be changed\n +changed +a\.txt\n.*rewind\? › ?$")
            t.write(answer + ("" if answer in (CTRL_C, "\x1b") else "\r"))
            t.until("nothing was rewound\n› ?$")
        with open(path, "a") as f:
            f.write("mine\n")
        t.write("/rewind 1\r")
        t.until(r"a\.txt: with what others changed there since\n.*rewind\? › ?$")
        t.write("go on instead\r")
        t.until("nothing was rewound\n› go on instead$")
        self.assertEqual(self.read(path), "alpha\ngamma\nmine\n")
        t.write(CTRL_C)
        t.write("/rewind 1\r")
        t.until(r"rewind\? › ?$")
        t.write("y\r")
        t.until(r"went back before turn 1; 1 file changed.*/undo takes that back")
        self.assertEqual(self.read(path), "alpha\nbeta\n")
        t.until("› Make it gamma\\.$")
        t.write(CTRL_C + "/status\r")
        t.until("session +.*, context of 0 tokens")
        t.write("/undo\r")
        t.until("went forth again")
        self.assertEqual(self.read(path), "alpha\ngamma\nmine\n")
        self.assertEqual(len(self.prompts()), 1)
        self.leave(t)

    def test_the_last_answer_is_copied(self):
        words = "".join(f"{n * 7919 % 99991:05d} " for n in range(13_000))  # that do not repeat themselves
        long = words[:73_999] + "é" + words[-100:]
        self.start(THINK + "# A *title*\n\n- raw", THINK + long)
        t = self.open()
        t.write("/copy\r")
        t.until("no answer yet")
        t.write("Go.\r")
        t.until(r"finished.*› ?$")
        t.write("/copy\r")
        t.until("copied 18 bytes, if your terminal lets programs do so\n› ?$")
        def copied():
            return base64.b64decode(re.findall(rb"\x1b\]52;c;([^\a]*)\a", t.bytes)[-1]).decode()
        self.assertEqual(copied(), "# A *title*\n\n- raw")
        t.write("More.\r")
        t.until(r"finished.*finished.*› ?$")
        t.write("/copy\r")
        t.until("copied the first 73,999 of 74,101 bytes")
        self.assertEqual(copied(), long[:73999])
        t.write(CTRL_D)
        self.assertEqual(t.wait(), 0)

    def test_a_review_is_a_prompt_of_this_session(self):
        os.rmdir(os.path.join(self.root, ".git"))
        commit = ["-c", "user.name=n", "-c", "user.email=e", "commit", "-qm", "first"]
        for command in (["init", "-q"], ["add", "-A"], commit):
            subprocess.run(["git", *command], cwd=self.root, check=True)
        self.start(THINK + "Nothing is wrong.", THINK + "Fixed.")
        t = self.open(width=120)
        t.write("/review\r")
        t.until("nothing to review in the uncommitted changes; name a commit or a range")
        t.write("/review nosuch\r")
        t.until("nosuch.*› ?$")
        with open(os.path.join(self.root, "a.txt"), "a") as f:
            f.write("delta\n")
        t.write("/review\r")
        t.until(r"› /review\n.*Nothing is wrong\..*finished.*› ?$")
        t.write("Fix it.\r")
        t.until(r"Fixed\..*finished.*› ?$")
        (review, _, mode), second = self.prompts()
        self.assertTrue(review.startswith("Review the uncommitted changes"), review)
        self.assertIn("+delta\n", review)
        self.assertEqual((mode, second[0]), ("ask", "Fix it."))
        self.leave(t)

    def test_help_fits_a_terminal(self):
        self.start()
        t = self.open()
        t.write("/help\r")
        text = t.until(r"› /help\n.*Ctrl-G.*› ?$")
        lines = text.split("› /help\n")[1].rpartition("\n›")[0].strip("\n").split("\n")
        self.assertLessEqual(len(lines), 24, text)
        self.assertTrue(all(line.startswith("  ") for line in lines), text)
        self.leave(t)

    def test_a_conversation_begins_under_a_policy(self):
        self.start(THINK + "A plan.")
        t = self.open("--policy", "plan")
        t.until("· policy plan ·")
        t.write("Go.\r")
        t.until(r"A plan\..*/go.*› ?$")
        self.assertEqual(self.listed()[0]["settings"]["policy"], "plan")
        self.leave(t)

    def test_rewind_and_fork_list_the_turns(self):
        self.start(THINK + self.edit(), THINK + "First.", THINK + "Second.", THINK + "Third.", THINK + "Other.")
        t = self.open()
        for prompt, answer in (("Make it gamma.\\\rNow.", "First"), ("/ask Is it " + "very " * 20 + "good?", "Second")):
            t.write(prompt + "\r")
            t.until(answer + r"\..*finished.*› ?$")
        turns = r"  1 +\d+\w  Make it gamma\. Now\. · 1 file\n  2 +\d+\w  /ask Is it (very )+v?e?r?y?…\n.*which one\? › ?$"
        for none in ("q\r", "n\r", "\r", "\x1b", CTRL_C):
            t.write("/rewind\r")
            t.until(turns)
            t.write(none)
            t.until("nothing was picked\n› ?$")
            t.write("/help\r")  # so that this is not seen again
            t.until(r"Tab.*› ?$")
        t.write("/rewind\r")
        t.until(turns)
        t.write("another thing\r")
        t.until("nothing was picked\n› another thing$")
        t.write(CTRL_C + "/rewind\r")
        t.until(turns)
        t.write("7\r")
        t.until(r"no turn 7; /rewind lists them\n› ?$")
        t.write("/rewind\r")
        t.until(turns)
        t.write("2\r")
        t.until(r"would go back before turn 2.*rewind\? › ?$")
        t.write("y\r")
        t.until(r"went back before turn 2.*› /ask Is it very.*good\?$")
        t.write(CTRL_C + "/rewind\r")
        t.until(r"\n  1 +\d+\w  Make it gamma\. Now\. · 1 file\n[^\n]*\nwhich one\? › ?$")
        t.write("1\r")
        t.until(r"rewind\? › ?$")
        t.write("y\r")
        t.until(r"went back before turn 1.*› Make it gamma\.\nNow\.$")
        t.write(" Please.\r")
        t.until(r"Third\..*finished.*› ?$")
        t.write("/fork\r")
        t.until(r"Make it gamma\. Now\. Please\.\n.*which one\? › ?$")
        t.write("3\r")
        t.until(r"session \w+ knows what \w+ knew before turn 3; this goes on\s+in it\n› Make it gamma\.\nNow\. Please\.$")
        t.write(" Again.\r")
        t.until(r"Other\..*finished.*› ?$")
        self.assertEqual([p[0] for p in self.prompts()], ["Make it gamma.\nNow. Please. Again."])
        self.leave(t)

    def test_a_list_of_sessions_is_cut_and_left(self):
        self.start(*[THINK + "Done."] * 17)
        c = Client(self.socket)
        self.addCleanup(c.close)
        for n in range(17):
            session = c.call("session/create", root=self.root)["sessionId"]
            c.call("session/subscribe", sessionId=session)
            c.call("prompt/send", sessionId=session, id=f"p{n}", content=f"Topic {n}.", delivery="start")
            while c.next()["method"] != "turn/ended":
                pass
        t = self.open()
        for none in ("q\r", "n\r", "\x1b"):
            t.write("/sessions\r")
            t.until(r"  1 +\d+\w  Topic 16\..* 15 +\d+\w  Topic 2\.\nand 2 more: .*which one\? › ?$")
            t.write(none)
            t.until("nothing was picked\n› ?$")
            t.write("/help\r")
            t.until(r"Tab.*› ?$")
        self.assertEqual(len(self.listed()), 17)
        self.leave(t)

    def test_a_list_of_sessions_says_which_run_and_which_ask(self):
        ask = THINK + call("bash", command="true")
        self.start(THINK + "Done.", ask, self.gated(THINK + "Late."))
        t = self.open()
        for prompt, seen in (("One.", "Done.*finished"), ("Two.", r"allow\? › ?$"), ("Three. " + "x" * 90, r"turn \d+s\n")):
            if prompt == "Two.":
                t.write("/policy ask\r")
                t.until("the policy is ask from")
            t.write(prompt + "\r")
            t.until(seen)
            t.write("/new\r")
            t.until("begins a new session.*› ?$")
        t.write("/sessions\r")
        t.until(r"\n  1 +\d+\w  Three\. x{30,}… · runs\n  2 +\d+\w  Two\. · asks\n  3 +\d+\w  One\.\n.*which one\? › ?$")
        t.write("\r")
        self.open_gate()
        t.until("nothing was picked")
        self.leave(t)

    def test_a_call_that_fails_shows_how_and_output_shows_all(self):
        self.start(THINK + call("bash", command="seq 1 30; echo oops >&2; (exit 3)"), THINK + call("bash", command="seq 40 60"), THINK + "Well.")
        t = self.open()
        t.write("/output\r")
        t.until("no call was seen here yet")
        t.write("Do it.\r")
        text = t.until("Well.*finished.*› ?$")
        self.assertIn("  │ … 26 more lines\n  │ 27\n  │ 28\n  │ 29\n  │ 30\n  │ oops\n  │ [exit code: 3]\n", text)
        self.assertIn("  │ 40 … 20 more lines", text)
        t.write("/output\r")
        t.until("bash seq 40 60\n40\n41\n.*59\n60\n› ?$")
        t.write("/output 2\r")
        t.until(r"bash seq 1 30.*\n1\n2\n3\n.*oops\n\[exit code: 3\]\n› ?$")
        t.write("/output 3\r")
        t.until(r"/output \[N\]: N is 1, the last call, to 2")
        self.leave(t)

    def test_output_that_the_model_saw_a_part_of_is_shown_whole(self):
        self.start(THINK + call("bash", command="seq 1 8000; (exit 3)"), THINK + "Well.")
        t = self.open(height=60)
        t.write("Do it.\r")
        t.until("Well.*finished.*› ?$")
        t.write("/output\r")
        text = t.until(r"› /output\n.*\n8000\n.*› ?$").split("› /output\n")[1]
        self.assertIn("\n" + "\n".join(str(n) for n in range(1, 8001)) + "\n[exit code: 3]\n", text)
        self.leave(t)

    def test_background_jobs_are_listed_and_stopped(self):
        self.start(THINK + call("bash", command="sleep 1234 & (sleep 4321; echo never) & echo begun"), THINK + "Both run.", THINK + "Not said.")
        t = self.open()
        t.write("/jobs\r")
        t.until(r"no background job of this session runs\n› ?$")
        t.write("Do it.\r")
        t.until(r"Both run\..*finished.*› ?$")
        t.write("/jobs\r")
        text = t.until(r"\n +\d+ +\d+\w  sleep 1234\n +\d+ +\d+\w  \( sleep 4321; echo never \)\n/jobs PID stops one[^\n]*\n› ?$")
        pid = re.search(r"\n +(\d+) +\d+\w  \( sleep 4321", text)[1]
        t.write("/status\r")
        t.until(r"jobs +2 in the background; /jobs lists them\n› ?$")
        t.write("/jobs 1234\r")
        t.until(r"/jobs \[PID\]: 1234 is none of the 2 background jobs; /jobs lists\s+them\n› ?$")
        t.write(f"/jobs {pid}\r")
        t.until(rf"\nstopped {pid}: \( sleep 4321; echo never \)\n› ?$")
        t.write("/jobs\r")
        text = t.until(r"stopped .*sleep 1234\n/jobs PID[^\n]*\n› ?$")
        self.assertNotIn("4321", text.rpartition("› /jobs")[2])
        self.leave(t)

    def test_a_plan_is_a_list_of_steps(self):
        steps = '[{"step": "look", "status": "done"}, {"step": "mend what is broken over there", "status": "in_progress"}, {"step": "test", "status": "pending"}]'
        self.start(THINK + call("plan", steps=steps).replace('string="true">[', 'string="false">['), THINK + "Done.")
        t = self.open(width=30)
        t.write("Go.\r")
        t.until("● plan\n  ✓ look\n  ▸ mend what is broken over\n    there\n  ○ test\n.*Done.*finished.*› ?$")
        self.leave(t)

    def test_an_interrupt_does_not_reach_the_next_session(self):
        self.start(self.gated("one two"), THINK + "Next.")
        t = self.open()
        t.write("Go.\r")
        t.until("turn ")
        t.write(CTRL_C)
        t.until("interrupting the turn")
        t.write("/new\r")
        t.until("begins a new session\n› ?$")
        t.write("Again.\r")
        t.until("› Again")
        self.open_gate()
        self.assertNotIn("interrupted", t.until("Next.*finished|interrupted"))
        self.leave(t)

    def test_control_sequences_of_the_model_do_nothing(self):
        self.start("hm \x1b[2J\x07</think>Title \x1b]0;owned\x07 and \x1b[31mred.")
        t = self.open()
        t.write("Go.\r")
        t.until("red.*finished")
        for forbidden in (b"\x1b]0;owned", b"\x1b[2J", b"\x1b[31mred"):
            self.assertNotIn(forbidden, t.bytes)
        self.leave(t)

    # ---- commands

    def test_an_unknown_command_names_the_nearest(self):
        self.start()
        t = self.open()
        t.write("/hepl\r")
        t.until("there is no /hepl, but /help")
        t.write(CTRL_C)
        t.write("/xyzzy\r")
        t.until("there is no /xyzzy; /help")
        t.write(CTRL_C)
        t.write("/st\t\r")
        t.until("/status.*engine +ready")
        t.write("/clear\r")  # as others call it
        t.until("› /new\nthe next prompt begins a new session")
        t.write("/prefix\r")
        t.until("/prefix.*none yet")
        t.resize(40, 24)
        t.write("/help\r")
        t.until(r"  /prefix              what of the\n +repository the model has before it")  # broken between words
        t.write("/queue\r")
        t.until("the text is missing")
        self.leave(t)

    def test_a_conversation_is_summed_up(self):
        self.start(THINK + "".join(f"line {i}\n" for i in range(900)), THINK + "I said lines.")
        t = self.open(width=100)
        t.write("/compact\r")
        t.until(r"nothing has been said in this session yet\n› ?$")
        t.write("Say lines.\r")
        t.until(r"finished.*› ?$")
        t.write("/compact keep line 7\r")
        text = t.until(r"tokens are left of .*finished.*› ?$")
        self.assertIn("I said lines.", text)
        self.assertEqual([content for content, _, _ in self.prompts()], ["Say lines.", "/compact keep line 7"])
        self.leave(t)

    def test_a_skill_is_called_by_its_name(self):
        path = os.path.join(self.root, ".agents", "skills", "deploy2")
        os.makedirs(path)
        with open(os.path.join(path, "SKILL.md"), "w") as f:
            f.write("---\ndescription: Deploys the site.\n---\nDeploy it.\n")
        self.start(THINK + "Deployed.")
        t = self.open(width=100)
        t.write("/help\r")
        t.until("  /deploy2             Deploys the site.")
        t.write("/deplyo staging\r")
        t.until("there is no /deplyo, but /deploy2; .*› /deplyo staging$")
        t.write(CTRL_C)
        t.until("› ?$")
        t.write("/dep\tstaging\r")
        t.until("› /deploy2 staging\n.*skills: deploy2.*Deployed.*finished")
        self.assertEqual([p[0] for p in self.prompts()], ["/deploy2 staging"])
        self.leave(t)

    def test_what_begins_like_a_command_is_not_lost(self):
        self.start(THINK + "One.", THINK + call("ask_user", question="Where?"), THINK + "There.", THINK + "Path.", THINK + "Etc.")
        t = self.open(width=120)
        t.write("/todo app: build it\r")
        t.until("there is no /todo; .* a blank before it sends it as text\n› /todo app: build it$")
        t.write(HOME + " \r")
        t.until("One.*finished")
        t.write("Ask me.\r")
        t.until(r"Where\?.*answer › ?$")
        t.write("/srv is where\r")
        t.until("There.*finished")
        t.write("/srv/data has it\r")
        t.until("Path.*finished")
        t.write("/etc is full\r")
        t.until("Etc.*finished")
        self.assertEqual([p[0] for p in self.prompts()], [" /todo app: build it", "Ask me.", "/srv/data has it", "/etc is full"])
        self.leave(t)

    def test_sessions_are_picked_and_resumed(self):
        self.start(THINK + "Answer one.", THINK + "Answer two.", THINK + "Answer three.", THINK + "Answer four.")
        t = self.open()
        t.write("The first topic.\r")
        t.until("Answer one.*finished")
        t.write("/new\r")
        t.until("begins a new session")
        t.write("The second topic.\r")
        t.until("Answer two.*finished")
        t.write("/sessions\r")
        t.until(r"1 +\d+\w  The second topic\. \(this one\)\n +2 +\d+\w  The first topic\..*which one\? › ?$")
        t.write("2\r")
        t.until("session .* 1 turn .*› The first topic.*Answer one.*› ?$")
        t.write("More of it.\r")
        t.until("Answer three.*finished")
        self.leave(t)
        t = self.open("--continue")
        text = t.until("More of it.*Answer three.*› ?$")
        self.assertIn("The first topic.", text)
        self.assertNotIn("second topic", text)
        self.leave(t)
        second = next(s for s in self.listed() if s["title"] == "The second topic.")
        t = self.open("--session", second["sessionId"][:8])
        t.until("The second topic.*Answer two")
        t.write("And?\r")
        t.until("Answer four.*finished")
        self.leave(t)

    def test_leaving_without_a_word_leaves_no_session(self):
        self.start()
        self.leave(self.open())
        self.assertEqual(self.listed(), [])

    # ---- the command line

    def test_without_a_terminal_it_says_what_does_not_need_one(self):
        p = subprocess.run([self.LARES, "--continue"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30)
        self.assertEqual((p.returncode, p.stdout), (2, b""))
        self.assertIn(b"needs a terminal", p.stderr)


if __name__ == "__main__":
    terminal_case.main()
