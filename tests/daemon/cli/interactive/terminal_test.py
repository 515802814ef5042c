"""`lares` alone at a terminal: on a pty, against the real daemon with a scripted model. terminal_test.py LARES SCRIPTED_DAEMON
[unittest arguments]"""
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripted"))
import terminal_case
from client import Client, call, processes_of
from terminal import Terminal
from terminal_case import THINK, CTRL_C, CTRL_D, CTRL_Z, HOME, TerminalCase


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

    def test_a_question_that_ctrl_c_holds_is_a_question_again(self):
        self.start(self.gated("one two"))
        t = self.open()
        t.write("Go.\r")
        t.until("turn ")
        t.write("/ask what is it\r")
        t.until(r"what is it \(when this turn has ended\)")
        t.write(CTRL_C)
        t.until("interrupting")
        self.open_gate()
        t.until("interrupted · .*› /ask what is it$")
        t.write(CTRL_C)
        t.until("› ?$")
        self.leave(t)

    def test_rewind_shows_what_it_would_do_and_asks(self):
        self.start(THINK + self.edit(), THINK + call("bash", command="true"), THINK + "It is gamma now.")
        t = self.open()
        t.write("Make it gamma.\r")
        t.until("finished")
        path = os.path.join(self.root, "a.txt")
        for answer in ("n", "", "no", CTRL_C):
            t.write("/rewind\r")
            text = t.until(r"would go back before turn 1; 1 file would be changed\n +changed +a\.txt\n.*rewind\? › ?$")
            t.write(answer + ("" if answer == CTRL_C else "\r"))
            t.until("nothing was rewound\n› ?$")
        with open(path, "a") as f:
            f.write("mine\n")
        t.write("/rewind\r")
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
        t.write("/status\r")
        t.until("session +.*, context of 0 tokens")
        t.write("/undo\r")
        t.until("went forth again")
        self.assertEqual(self.read(path), "alpha\ngamma\nmine\n")
        self.assertEqual(len(self.prompts()), 1)
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
        t.write("/rewind\r")
        t.until(r"rewind\? › ?$")
        t.write("y\r")
        t.until(r"went back before turn 1; 1 file changed\s+changed +a\.txt\s+/undo takes that back")
        self.assertEqual(text(), "alpha\nbeta\n")
        t.write("/undo\r")
        t.until(r"went forth again, with turn 1; 1 file changed")
        self.assertEqual(text(), "alpha\ngamma\n")
        t.write("/fork\r")
        t.until(r"session \w+ knows what \w+ knew; this goes on in it")
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

    def test_a_plan_is_a_list_of_steps(self):
        steps = '[{"step": "look", "status": "done"}, {"step": "mend what is broken over there", "status": "in_progress"}, {"step": "test", "status": "pending"}]'
        self.start(THINK + call("plan", steps=steps).replace('string="true">[', 'string="false">['), THINK + "Done.")
        t = self.open(width=30)
        t.write("Go.\r")
        t.until("● plan\n  ✓ look\n  ▸ mend what is broken over\n    there\n  ○ test\n.*Done.*finished.*› ?$")
        self.leave(t)

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
        t.write("/rewind\r")
        t.until(r"rewind\? › ?$")
        t.write("Y\r")
        t.until("went back before turn 2")
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
        t.until("there is no /todo, but /undo; .* a blank before it sends it as text\n› /todo app: build it$")
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
        t.until(r"1 +\d+s  The second topic\. \(this one\)\n +2 +\d+s  The first topic\..*which one\? › ?$")
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

    def listed(self):
        c = Client(self.socket)
        sessions = c.call("session/list")["sessions"]
        c.close()
        return sessions

    def test_leaving_without_a_word_leaves_no_session(self):
        self.start()
        self.leave(self.open())
        self.assertEqual(self.listed(), [])

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
        t.until(r"turn \ds\n› ?$")
        t.write(CTRL_Z)
        t.until(r"Stopped.*\$ ?$")
        t.resize(40, 24)
        t.write("fg\n")
        t.until(r"fg\n.*turn [3-9]s.*\n› ?$|fg\n[^\n]*\n[^\n]*…\n› ?$")
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

    # ---- the command line

    def test_without_a_terminal_it_says_what_does_not_need_one(self):
        p = subprocess.run([self.LARES, "--continue"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30)
        self.assertEqual((p.returncode, p.stdout), (2, b""))
        self.assertIn(b"needs a terminal", p.stderr)


if __name__ == "__main__":
    terminal_case.main()
