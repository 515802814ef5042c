"""Sessions as a user of `lares` goes on with them, looks at them and takes them back. sessions_test.py LARES SCRIPTED_DAEMON
[unittest arguments]"""
import json
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
import cli_case
from cli_case import THINK, CliCase
from client import Client, call


class SessionsTest(CliCase):
    def test_a_session_is_continued(self):
        self.start(THINK + "One.", THINK + "Two.")
        self.assertEqual(self.lares("run", "First.")[0], 0)
        session = json.loads(self.lares("sessions", "--json")[1])["sessions"][0]
        self.assertEqual((session["title"], session["nTurns"]), ("First.", 1))
        status, out, err = self.lares("run", "--session", session["sessionId"][:6], "Second.")
        self.assertEqual((status, out.strip()), (0, "Two."), err)
        self.assertEqual(json.loads(self.lares("sessions", "--json")[1])["sessions"][0]["nTurns"], 2)

    def test_the_newest_session_is_not_that_of_a_question_asked_in_between(self):
        self.start(THINK + "Text" + self.edit(), THINK + "Done.", THINK + "Alpha.", THINK + "Beta.")
        self.lares("run", "Change it.")
        self.lares("ask", "What does it say?")
        self.assertIn("+gamma", self.lares("diff")[1])
        self.assertIn("would go back before turn 1; 1 file would be changed", self.lares("rewind", "-n")[1])
        self.assertIn("What does it say?", self.lares("log")[1])  # which is what was said last
        self.assertEqual(self.lares("ask", "--continue", "And?")[1].strip(), "Beta.")
        self.assertEqual(self.lares("run", "--session", "no", "--continue", "Go on.")[0], 2)
        self.assertIn("--continue continues a session as it was", self.lares("run", "--continue", "--seed", "1", "Go on.")[2])
        self.assertEqual([s["nTurns"] for s in json.loads(self.lares("sessions", "--json")[1])["sessions"]], [2, 1])

    def test_a_task_goes_on_with_the_newest_session(self):
        self.start(THINK + "One.", THINK + "Alpha.", THINK + "Two.")
        status, _, err = self.lares("run", "--continue", "Go on.")
        self.assertEqual(status, 1)
        self.assertIn("--continue: there is no session about", err)
        self.lares("run", "First.")
        self.lares("ask", "What?")
        status, out, err = self.lares("run", "--continue", "Go on.")
        self.assertEqual((status, out.strip()), (0, "Two."), err)
        first = json.loads(self.lares("sessions", "--json")[1])["sessions"][0]
        self.assertEqual((first["title"], first["nTurns"]), ("First.", 2))

    def test_where_a_person_stands_below_the_top_is_told_once_and_names_are_looked_for_there(self):
        self.write("top.py", "x\n")
        src = os.path.join(self.root, "src")
        os.mkdir(src)
        self.write("src/f.py", "x\n")
        self.start(*[THINK + "Yes."] * 4)
        self.assertEqual(self.lares("run", "Look at @f.py and @top.py.", where=src)[0], 0)
        self.assertEqual(self.lares("ask", "--continue", "And @f.py?", where=src)[0], 0)
        self.assertEqual(self.lares("run", "Look at @top.py.")[0], 0)
        c = Client(self.socket)
        self.addCleanup(c.close)
        said = []
        for session in c.call("session/list")["sessions"]:
            events = c.call("session/history", sessionId=session["sessionId"], after=0)["events"]
            said += [e["params"]["content"] for e in events if e["method"] == "prompt/accepted"]
        here = "\n\n(I am in src/.)"
        self.assertEqual(sorted(said), ["And @src/f.py?" + here, "Look at @src/f.py and @top.py." + here, "Look at @top.py."])

    def test_ask_and_run_mean_the_same_in_each_others_sessions(self):
        self.start(THINK + "One.", THINK + "Text" + self.edit())
        self.lares("run", "First.")
        session = json.loads(self.lares("sessions", "--json")[1])["sessions"][0]["sessionId"]
        self.lares("ask", "--session", session, "What?")
        self.assertEqual(self.read("a.txt"), "alpha\nbeta\n")
        self.daemon.stop()
        self.start(THINK + "One.", THINK + self.edit(), THINK + "Done.")
        question = json.loads(self.lares("ask", "--json", "What?")[1].splitlines()[-1])["session"]
        self.assertEqual(self.lares("run", "--session", question, "Do it.")[0], 0)
        self.assertEqual(self.read("a.txt"), "alpha\ngamma\n")

    def test_a_session_is_rewound_and_forked(self):
        edit = call("str_replace_editor", command="create", path=os.path.join(self.root, "new.txt"), file_text="x\n")
        self.start(THINK + "So." + edit, THINK + "Done.")
        self.lares("run", "Make it.")
        self.assertTrue(os.path.exists(os.path.join(self.root, "new.txt")))
        status, out, _ = self.lares("rewind", "-n")
        self.assertEqual((status, out), (0, "would go back before turn 1; 1 file would be changed\n  removed  new.txt\n"))
        status, out, err = self.lares("rewind")  # nobody is there to be asked
        self.assertEqual((status, out), (2, ""))
        self.assertIn("give -y, or -n to see what it would do", err)
        self.assertTrue(os.path.exists(os.path.join(self.root, "new.txt")))
        original = json.loads(self.lares("sessions", "--json")[1])["sessions"][0]["sessionId"]
        fork = self.lares("fork", "--title", "Other")[1].strip()
        self.assertEqual(self.lares("rewind", "--yes", "--session", original)[0], 0)
        self.assertFalse(os.path.exists(os.path.join(self.root, "new.txt")))
        self.assertEqual(self.lares("diff", "--session", original)[1], "")
        self.assertIn("0 is no whole number from 1", self.lares("rewind", "0")[2])
        self.assertIn("it has no turn of its own", self.lares("rewind", "--session", fork, "--yes")[2])  # of its own yet
        self.assertEqual(self.lares("rewind", "--session", original, "--undo")[0], 0)
        self.assertTrue(os.path.exists(os.path.join(self.root, "new.txt")))
        self.assertIn("+x", self.lares("diff", "--session", original)[1])
        self.assertIn("nothing was rewound", self.lares("rewind", "--session", original, "--undo")[2])

    def test_the_diff_has_what_came_back_with_the_last_of_several_undos(self):
        edit = call("str_replace_editor", command="create", path=os.path.join(self.root, "new.txt"), file_text="x\n")
        self.start(THINK + "One.", THINK + "So." + edit, THINK + "Done.")
        self.lares("run", "first")
        session = json.loads(self.lares("sessions", "--json")[1])["sessions"][0]["sessionId"]
        self.lares("run", "--session", session, "second")
        diffs = []
        for options in ((), (), ("--undo",), ("--undo",)):
            self.assertEqual(self.lares("rewind", "--yes", *options)[0], 0)
            diffs.append(self.lares("diff")[1])
        self.assertEqual(diffs[:3], [""] * 3)
        self.assertIn("+x", diffs[3])

    def test_diff_and_log_of_a_session(self):
        undo = call("str_replace_editor", command="undo_edit", path=os.path.join(self.root, "a.txt"))
        self.start(THINK + self.edit(), THINK + undo, *["Once more.</think>" + self.edit()] * 9, THINK + "It is gamma now.")  # insisted on, or it would not be made again
        self.lares("run", "Make it gamma.")
        status, out, err = self.lares("diff")
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(out.count("+gamma"), 1, out)
        self.assertEqual(subprocess.run(["git", "apply", "-R"], cwd=self.root, input=out.encode(), stderr=subprocess.PIPE).stderr, b"")
        self.assertEqual(self.read("a.txt"), "alpha\nbeta\n")
        session = json.loads(self.lares("sessions", "--json")[1])["sessions"][0]["sessionId"]
        self.assertEqual([c["path"] for c in json.loads(self.lares("diff", "--json", "--session", session)[1])["changes"]], ["a.txt"])
        status, out, _ = self.lares("log")
        self.assertEqual(status, 0)
        for shown in ("Make it gamma.", "str_replace_editor", "+gamma", "It is gamma now."):
            self.assertIn(shown, out)
        self.assertNotIn("Once more.", out)
        self.assertNotIn("rejected", out)  # the calls of the answers that were drawn again
        self.assertEqual(out.count("drawn again"), 8, out)
        self.assertNotIn("\x1b", out)
        self.assertIn("Once more.", self.lares("log", "--thinking")[1])
        self.assertIn("prompt/accepted", [json.loads(line)["method"] for line in self.lares("log", "--json")[1].splitlines()])

    def test_log_and_diff_take_a_session_by_its_id_alone(self):
        self.start(THINK + self.edit(), THINK + "Nothing.")
        _, _, err = self.lares("run", "--steps", "1", "Make it gamma.")
        self.assertIn("\nstopped: the turn reached its step limit", err)
        first = json.loads(self.lares("sessions", "--json")[1])["sessions"][0]["sessionId"]
        self.lares("run", "Do nothing.")
        self.assertIn("+gamma", self.lares("diff", first)[1])
        self.assertEqual(self.lares("diff")[1], "")
        log = self.lares("log", first[:6])[1]
        self.assertIn("Make it gamma.", log)
        self.assertIn("\nstopped: the turn reached its step limit", log)  # in the same words
        self.assertEqual(self.lares("fork", first)[0], 0)

    def test_log_names_the_turns_as_rewind_takes_them_and_shows_the_last_alone(self):
        self.start(THINK + "One.", THINK + self.edit(), THINK + "Two.", THINK + "Three.")
        self.lares("run", "First.")
        session = json.loads(self.lares("sessions", "--json")[1])["sessions"][0]["sessionId"]
        for prompt in ("Second.", "Third."):
            self.lares("run", "--session", session, prompt)
        log = self.lares("log")[1]
        for n, prompt in enumerate(("First.", "Second.", "Third."), 1):
            self.assertIn(f"› {prompt} (turn {n})\n", log)
        last = self.lares("log", "--last", "2")[1]
        self.assertTrue(last.startswith("› Second. (turn 2)\n"), last)
        self.assertIn("Third.", last)
        self.assertEqual(self.lares("log", "--last", "3")[1], log)
        self.assertEqual(self.lares("log", "--last", "99")[1], log)
        events = [json.loads(line) for line in self.lares("log", "--last", "1", "--json")[1].splitlines()]
        self.assertEqual([e["params"]["turnId"] for e in events if e["method"] == "turn/started"], [3])
        self.assertEqual(self.lares("log", "--last", "0")[0], 2)
        self.assertIn("a.txt", self.lares("rewind", "2", "-y")[1])
        self.assertEqual(self.read("a.txt"), "alpha\nbeta\n")
        self.assertTrue(self.lares("log", "--last", "1")[1].endswith("rewound: before turn 2\n"))

    def test_log_and_diff_without_a_session_say_so(self):
        self.start()
        for command in ("log", "diff"):
            status, out, err = self.lares(command)
            self.assertEqual((status, out), (1, ""))
            self.assertIn("there is none about " + self.root, err)


if __name__ == "__main__":
    cli_case.main()
