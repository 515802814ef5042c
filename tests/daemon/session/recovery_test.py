"""The daemon from outside, with a scripted model. What a daemon that was killed leaves to the next.

recovery_test.py SCRIPTED_DAEMON [unittest arguments]
"""
import os
import pathlib
import re
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
import daemon_case
import journal
from client import Daemon, Refused, call, say
from daemon_case import DaemonCase, main

# Journals cannot be brought to the disk while a file is there.
FAILING_SYNC = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int fdatasync(int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t n = readlink(link, path, sizeof path - 1);
  if (n > 8 && memcmp(path + n - 8, ".journal", 8) == 0 && access(getenv("FAILS"), F_OK) == 0) {
    errno = EIO;
    return -1;
  }
  return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
"""


class RecoveryTest(DaemonCase):
    GOES_ON_WITHIN = 40  # prompts

    def test_a_session_survives_a_kill_between_turns(self):
        c = self.start("hm</think>One.")
        s = self.session(c)
        self.prompt(c, s, "First.")
        before = [m for m in c.until("turn/ended") if "seq" in m["params"]]
        self.daemon.kill()
        c = self.start("hm</think>Two.")
        c.call("session/subscribe", sessionId=s)
        self.prompt(c, s, "Second.", id="p2")
        seen = [m for m in c.until("turn/ended", turnId=2) if "seq" in m["params"]]
        self.assertEqual(seen[:len(before)], before)
        usage = seen[-1]["params"]["usage"]
        self.assertGreater(usage["context"], before[-1]["params"]["usage"]["context"])  # it goes on from the first turn
        self.assertEqual(self.prompt(c, s, "First.")["turnId"], 1)  # known, not begun again

    NEW_SHELL = "[a new shell: the directory, environment and background jobs of earlier calls are gone]\n"

    def shell_says(self, c, s, id):
        """The result of the turn's one command."""
        self.prompt(c, s, "Run it.", id=id)
        seen = c.until("turn/ended", sessionId=s)
        return [m["params"]["item"].get("output", "") for m in seen if m["method"] == "item/completed" and m["params"]["item"].get("name") == "bash"][-1]

    def test_the_model_is_told_that_its_shell_died_with_the_daemon(self):
        c = self.start(self.bash("cd /; pwd"), "hm</think>One.", "hm</think>Other.")
        s = self.session(c, noSandbox=True)
        other = self.session(c, noSandbox=True)  # it runs no command before
        self.assertEqual(self.shell_says(c, s, "p1"), "/\n")
        self.prompt(c, other, "Say so.")
        c.until("turn/ended", sessionId=other)
        self.daemon.kill()
        c = self.start(self.bash("pwd"), "hm</think>Two.", self.bash("pwd"), "hm</think>Three.", self.bash("pwd"), "hm</think>Other.")
        for one in (s, other):
            c.call("session/subscribe", sessionId=one, after=c.call("session/get", sessionId=one)["lastSeq"])
        self.assertEqual(self.shell_says(c, s, "p2"), self.NEW_SHELL + self.root + "\n")
        self.assertEqual(self.shell_says(c, s, "p3"), self.root + "\n")
        self.assertEqual(self.shell_says(c, other, "p2"), self.root + "\n")

    def test_the_model_is_told_that_an_interrupt_took_its_shell(self):
        c = self.start(self.bash("mkdir d; cd d; sleep 71 &"), "hm</think>One.", self.bash("touch up; sleep 60"), self.bash("pwd"), "hm</think>Three.")
        s = self.session(c, noSandbox=True)
        self.assertEqual(self.shell_says(c, s, "p1"), "")
        self.prompt(c, s, "Wait.", id="p2")
        while not os.path.exists(os.path.join(self.root, "d", "up")):
            time.sleep(0.01)
        c.call("turn/interrupt", sessionId=s)
        c.until("turn/ended", turnId=2)
        told = self.shell_says(c, s, "p3")
        self.assertRegex(told, r"^\[a new shell: [^\n]*\]\n\[background job \d+ was killed with the shell: sleep 71\]\n/")
        self.assertTrue(told.startswith(self.NEW_SHELL) and told.endswith("\n" + self.root + "\n"), told)

    def test_a_fork_and_a_session_that_went_back_are_told_of_the_shell_they_knew(self):
        pwd = self.bash("pwd")
        c = self.start(self.bash("cd /; pwd"), "hm</think>One.", pwd, "hm</think>Fork.", pwd, "hm</think>Fork.", pwd, "hm</think>Back.", pwd, "hm</think>Back.")
        s = self.session(c, noSandbox=True)
        self.shell_says(c, s, "p1")
        knows, knows_not = (c.call("session/fork", sessionId=s, **how)["sessionId"] for how in ({}, {"beforeTurn": 1}))
        self.prompt(c, s, "Again.", id="p2")
        self.assertEqual(c.until("turn/ended", sessionId=s)[-1]["params"]["reason"], "end_turn")
        for fork, told in ((knows, self.NEW_SHELL), (knows_not, "")):
            c.call("session/subscribe", sessionId=fork)
            self.assertEqual(self.shell_says(c, fork, "f1"), told + self.root + "\n")
        c.call("session/rewind", sessionId=s, turnId=2)
        self.assertEqual(self.shell_says(c, s, "p3"), self.NEW_SHELL + self.root + "\n")

    def read_by_another_model(self, s):
        """What the model with the other words was given to read, prompt after prompt."""
        with open(os.path.join(self.daemon.state, "sessions", s + ".journal"), "rb") as f:
            appended = re.findall(rb'"method":"lares/appended","params":{"ids":\[([0-9,]*)\]', f.read())
        return [bytes((i + 1) % 256 for i in map(int, ids.split(b",")) if i < 256).decode(errors="replace") for ids in appended if ids]

    def with_another_model(self, *answers, words=True):
        self.daemon.kill()
        self.daemon.known_is_evaluated_again = "another model has evaluated nothing"
        self.daemon.env = {"LARES_TEST_WORDS": "1"} if words else {}
        return self.start(*answers)

    def ask(self, c, s, n, text):
        """The turn's reason, and what people were told in it."""
        c.call("session/subscribe", sessionId=s, after=-1)
        self.prompt(c, s, text, id=f"p{n}")
        seen = c.until("turn/ended", sessionId=s)
        items = [m["params"]["item"] for m in seen if m["method"] == "item/completed"]
        return seen[-1]["params"]["reason"], [i["text"] for i in items if i["kind"] == "note"]

    TOLD = "<user>\nWhat is in a.txt?\n</user>\n<assistant>\nIt is alpha.\n</assistant>\n\n"

    SENTENCE = b"You are a helpful software engineer assistant."

    def held_with_another_version(self, s, writes_its_vocabulary=True):
        """As if it had begun with another system sentence."""
        def change(params):
            ids = bytes(i if i < 256 else 0 for i in params["ids"])
            if (at := ids.find(self.SENTENCE)) >= 0:
                params["ids"][at:at + len(self.SENTENCE)] = b"You are one who helps."
            if not writes_its_vocabulary:
                params.pop("vocabulary", None)
        self.rewritten(s, change)

    def rewritten(self, s, change):
        self.daemon.kill()
        journal.rewrite(os.path.join(self.daemon.state, "sessions", s + ".journal"), "lares/appended", change)
        self.daemon.known_is_evaluated_again = "it was written by the test"

    def test_another_system_sentence_is_no_other_model(self):
        c = self.start("hm</think>It is alpha.")
        s = self.session(c)
        self.assertEqual(self.ask(c, s, 1, "What is in a.txt?"), ("end_turn", []))
        fork = c.call("session/fork", sessionId=s)["sessionId"]
        self.held_with_another_version(fork)
        self.held_with_another_version(s)
        c = self.start(*["hm</think>Yes."] * 3)
        for session in (s, fork):
            self.assertEqual(self.ask(c, session, 2, "Sure?"), ("end_turn", []))
        self.assertEqual(self.ask(c, c.call("session/fork", sessionId=s, beforeTurn=2)["sessionId"], 3, "Sure?"), ("end_turn", []))
        c.call("session/rewind", sessionId=s, turnId=2)
        self.rewritten(s, lambda params: None)
        c = self.start("hm</think>Yes.")
        self.assertEqual(self.ask(c, s, 4, "Sure?"), ("end_turn", []))

    def test_journals_that_do_not_say_their_vocabulary_are_known_by_their_head(self):
        c = self.start(*["hm</think>It is alpha."] * 2)
        ours, others = (self.session(c) for _ in range(2))
        for s in ours, others:
            self.ask(c, s, 1, "What is in a.txt?")
        self.rewritten(ours, lambda params: params.pop("vocabulary", None))
        self.held_with_another_version(others, writes_its_vocabulary=False)
        c = self.start(*["hm</think>Yes."] * 3)
        self.assertEqual(self.ask(c, ours, 2, "Sure?"), ("end_turn", []))
        reason, notes = self.ask(c, others, 2, "Sure?")
        self.assertEqual((reason, len(notes)), ("end_turn", 1))
        self.assertIn("held with another model", notes[0])
        self.held_with_another_version(ours)  # it was written down since
        c = self.start("hm</think>Yes.")
        self.assertEqual(self.ask(c, ours, 3, "Sure?"), ("end_turn", []))

    def test_another_model_reads_what_was_said_as_text(self):
        c = self.start("hm</think>It is alpha.")
        s = self.session(c, stepTokensMax=50, temperature=0.25, stepsMax=7)
        self.assertEqual(self.ask(c, s, 1, "What is in a.txt?"), ("end_turn", []))
        first = c.call("session/get", sessionId=s)["contextTokens"]
        c = self.with_another_model("hm</think>Still alpha.", "hm</think>Yes.")
        reason, notes = self.ask(c, s, 2, "And now?")
        self.assertEqual((reason, len(notes)), ("end_turn", 1))
        self.assertIn("held with another model", notes[0])
        self.assertIn(self.TOLD + "And now?", "".join(self.read_by_another_model(s)))
        self.assertEqual(self.ask(c, s, 3, "Sure?"), ("end_turn", []))  # it is told once
        self.assertEqual("".join(self.read_by_another_model(s)).count(self.TOLD), 1)
        self.daemon.kill()
        c = self.start()
        now = c.call("session/get", sessionId=s)["settings"]  # what the other was sampled with is not for this one
        self.assertEqual((now["stepTokensMax"], now["temperature"], now["stepsMax"]), (131072, 1, 7))
        c.call("session/rewind", sessionId=s, turnId=2)
        self.assertEqual(c.call("session/get", sessionId=s)["contextTokens"], first)
        c = self.with_another_model("hm</think>Back.", words=False)
        self.assertEqual(self.ask(c, s, 4, "Back?"), ("end_turn", []))  # the first knows its own words
        self.assertGreater(c.call("session/get", sessionId=s)["contextTokens"], first)

    def test_what_a_model_of_more_words_said_is_kept_and_not_compared(self):
        c = self.start("hm</think>It is alpha.")
        s = self.session(c)
        self.ask(c, s, 1, "What is in a.txt?")
        frames = []

        def of_more_words(params):
            if params["ids"] and not frames:
                params["vocabulary"], params["ids"][-1] = "another's", 100_000
            frames.append(params)

        self.rewritten(s, of_more_words)
        self.daemon.start("prompts")
        c = self.connect()
        self.assertIn("held with another model", self.ask(c, s, 2, "And now?\n" + say("hm</think>Still alpha."))[1][0])
        self.assertEqual(self.ask(c, s, 3, "Sure?\n" + say("hm</think>Yes.")), ("end_turn", []))
        again = c.call("session/replay", sessionId=s)
        self.assertEqual((again["equal"], again["turns"], again["steps"], again["note"]), (True, 2, 2, "not compared: 1 step of another model"))
        file = os.path.join(self.home, "file")
        c.call("session/export", sessionId=s, path=file)
        again = c.call("session/replay", path=file)
        self.assertEqual((again["equal"], again["steps"]), (True, 2))
        imported = c.call("session/import", path=file, root=self.root)["sessionId"]
        self.assertEqual(self.ask(c, imported, 4, "And here?\n" + say("hm</think>Here."))[0], "end_turn")
        c.call("session/rewind", sessionId=imported, turnId=2)  # to what the other had said
        self.assertEqual(c.call("session/get", sessionId=imported)["nTurns"], 4)

    def test_a_kill_before_another_model_was_told_loses_nothing_that_was_said(self):
        c = self.start("hm</think>It is alpha.")
        s = self.session(c)
        self.ask(c, s, 1, "What is in a.txt?")
        c = self.with_another_model("hm</think>Still alpha.")
        self.ask(c, s, 2, "And now?")
        self.daemon.kill()
        journal = os.path.join(self.daemon.state, "sessions", s + ".journal")
        with open(journal, "r+b") as f:
            whole = f.read()
            at = whole.index(b'{"method":"lares/shortened"')
            f.truncate(at + int.from_bytes(whole[at - 8:at - 4], "little"))
        c = self.start("hm</think>Yes.")
        self.assertEqual(self.ask(c, s, 3, "Sure?")[0], "end_turn")
        self.assertIn(self.TOLD + "Sure?", "".join(self.read_by_another_model(s)))

    def test_what_a_shorter_context_cannot_hold_is_told_as_text(self):
        c = self.start("hm</think>" + "".join(f"line {i}\n" for i in range(2500)))
        s = self.session(c)
        self.ask(c, s, 1, "Say lines.")
        self.daemon.kill()
        self.daemon.known_is_evaluated_again = "it is another context"
        self.daemon.env = {"LARES_TEST_CONTEXT": "26000"}
        c = self.start("hm</think>Lines.")
        reason, notes = self.ask(c, s, 2, "What did you say?")
        self.assertEqual((reason, len(notes)), ("end_turn", 1))
        self.assertLess(c.call("session/get", sessionId=s)["contextTokens"], 26000)

    def test_a_kill_during_a_turn_is_written_down(self):
        gate = self.gate()
        c = self.start("hm</think>" + call("str_replace_editor", command="view", path=os.path.join(self.root, "a.txt")),
                       {"text": "hm</think>Never.", "gate": gate})
        s = self.session(c)
        self.prompt(c, s, "First.")
        c.until("turn/step")
        self.prompt(c, s, "Queued.", id="q", delivery="queue")
        self.daemon.kill()
        c = self.start("hm</think>Queued answer.", "hm</think>Third.")
        c.call("session/subscribe", sessionId=s)
        seen = c.until("turn/ended", turnId=1)
        self.assertEqual(seen[-1]["params"]["reason"], "crashed")
        self.assertEqual(c.until("turn/ended", turnId=2)[-1]["params"]["reason"], "end_turn")  # it was promised
        self.assertEqual(c.call("session/get", sessionId=s)["nTurns"], 2)

    def test_what_changes_under_an_edit_is_not_lost_by_a_session_that_goes_on(self):
        """Resumed, forked or rewound: an edit of text that the model was not told of is refused, and the next has what it needs."""
        path = os.path.join(self.root, "a.txt")
        ask = call("ask_user", question="Now?")
        edit = call("str_replace_editor", command="str_replace", path=path, old_str="alpha", new_str="beta")
        end = "\n</\uff5cDSML\uff5ctool_calls>"
        both = "hm</think>Both." + ask[:-len(end)] + edit[edit.index("\n<\uff5cDSML\uff5cinvoke"):]
        one = "hm</think>Again." + edit
        for how in ("resumed", "forked", "rewound"):
            with self.subTest(how):
                with open(path, "w") as f:
                    f.write("alpha\n")
                c = self.start("hm</think>One.", "hm</think>Two.", both, one, "hm</think>Done.")
                s = self.session(c)
                for turn in (1, 2):
                    self.prompt(c, s, "Look.", id=f"p{turn}")
                    c.until("turn/ended", turnId=turn)
                turn = 3
                if how == "resumed":
                    self.daemon.kill()
                    c = self.start(both, one, "hm</think>Done.")
                elif how == "forked":
                    s, turn = c.call("session/fork", sessionId=s)["sessionId"], 1
                else:
                    c.call("session/rewind", sessionId=s, turnId=2)
                c.call("session/subscribe", sessionId=s, interactive=True)
                self.prompt(c, s, "Change it.", id="edit")
                waiting = c.until("item/updated")[-1]["params"]
                while waiting["sessionId"] != s or waiting["item"]["state"] != "waiting":
                    waiting = c.until("item/updated")[-1]["params"]
                with open(path, "w") as f:
                    f.write("alpha\nsomebody else's\n")
                c.call("question/reply", sessionId=s, itemId=waiting["item"]["id"], text="Yes.")
                told = [m["params"] for m in c.until("turn/ended", sessionId=s, turnId=waiting["item"]["turnId"]) if m["method"] == "item/completed"]
                edits = [p["item"] for p in told if p["sessionId"] == s and p["item"].get("name") == "str_replace_editor"]
                self.assertEqual([e["state"] for e in edits], ["failed", "done"], edits)
                self.assertIn("a.txt changed since you last saw it.", edits[0]["output"])
                with open(path) as f:
                    self.assertEqual(f.read(), "beta\nsomebody else's\n")
                self.daemon.kill()

    def test_a_torn_journal_is_mended(self):
        c = self.start("hm</think>One.")
        s = self.session(c)
        self.prompt(c, s, "First.")
        c.until("turn/ended")
        self.daemon.kill()
        path = os.path.join(self.daemon.state, "sessions", s + ".journal")
        os.truncate(path, os.path.getsize(path) - 5)  # the end of turn/ended
        c = self.start("hm</think>Two.")
        c.call("session/subscribe", sessionId=s)
        self.assertEqual(c.until("turn/ended")[-1]["params"]["reason"], "crashed")
        self.daemon.kill()  # nobody has been told yet
        c = self.start("hm</think>Two.", "hm</think>Three.")
        c.call("session/subscribe", sessionId=s)
        told = []
        for turn in (2, 3):
            self.prompt(c, s, "Next.", id=f"p{turn}")
            seen = c.until("turn/ended", turnId=turn)
            self.assertEqual(seen[-1]["params"]["reason"], "end_turn")
            notes = [m["params"]["item"]["text"] for m in seen if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "note"]
            told.append([note.split(";")[0] for note in notes])
        self.assertRegex(told[0][0], r"^the last \d+ bytes of this session's journal were damaged and cut off$")
        self.assertEqual((len(told[0]), told[1]), (1, []))

    def test_what_a_call_said_before_a_crash_is_known_after_it(self):
        one = call("str_replace_editor", command="create", path=os.path.join(self.root, "one"), file_text="1")
        asking = call("ask_user", question="Which?")
        block = lambda c: c[c.index("<｜DSML｜invoke"):c.rindex("</｜DSML｜tool_calls>")]
        both = "\n\n<｜DSML｜tool_calls>\n" + block(one) + block(asking) + block(one) + "</｜DSML｜tool_calls>"
        before = call("str_replace_editor", command="view", path=os.path.join(self.root, "a.txt"))  # of a step that is over
        c = self.start("x</think>" + before, "x</think>" + both)
        s = c.call("session/create", root=self.root)["sessionId"]
        c.call("session/subscribe", sessionId=s, interactive=True)
        self.prompt(c, s, "Go.")
        seen = c.until("item/updated")
        while seen[-1]["params"]["item"]["name"] != "ask_user":
            seen += c.until("item/updated")
        self.daemon.kill()
        c = self.start("x</think>Done.")
        c.call("session/subscribe", sessionId=s)
        with open(os.path.join(self.daemon.state, "sessions", s + ".journal"), "rb") as f:
            last = f.read().rsplit(b'{"method":"lares/appended"', 1)[1]
        self.assertIn(b'"ids":[],"results":["File created successfully at: ', last)
        self.assertEqual(last.count(b"Lares was stopped before this call was finished"), 2)
        self.prompt(c, s, "Go on.", id="p2")
        self.assertEqual(c.until("turn/ended", turnId=2)[-1]["params"]["reason"], "end_turn")

    def test_a_waiting_question_is_still_one_after_a_kill(self):
        c = self.start({"text": "hm</think>First.", "gate": self.gate()})
        s = self.session(c)
        self.prompt(c, s, "First.", id="a")
        self.prompt(c, s, "What?", id="b", delivery="queue", mode="ask")
        self.daemon.kill()
        c = self.start(self.create("asked"))
        c.call("session/subscribe", sessionId=s)
        c.until("turn/ended", turnId=2)
        self.assertFalse(os.path.exists(os.path.join(self.root, "asked")))

    def test_what_is_not_on_the_disk_is_not_acknowledged(self):
        fails, library = os.path.join(self.home, "fails"), os.path.join(self.home, "sync.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-xc", "-", "-o", library], input=FAILING_SYNC.encode(), check=True)
        script = [{"text": "hm</think>Yes."}] * (3 + self.GOES_ON_WITHIN)
        self.daemon = Daemon(daemon_case.EXECUTABLE, self.home, script, LD_PRELOAD=library, FAILS=fails)
        c = self.connect()
        s = self.session(c)
        self.prompt(c, s, "First.")
        c.until("turn/ended")
        open(fails, "w").close()
        for id in ("p2", "p3"):
            with self.assertRaises(Refused) as e:
                self.prompt(c, s, "Next.", id=id)
            self.assertIn("Input/output error", str(e.exception))
        os.unlink(fails)
        for k in range(self.GOES_ON_WITHIN):  # what was on its way to the disk when it failed still tells
            try:
                turn = self.prompt(c, s, "And on.", id=f"on{k}")["turnId"]
                if c.until("turn/ended", turnId=turn)[-1]["params"]["reason"] == "end_turn":
                    return
            except Refused:
                time.sleep(0.05)
        self.fail("it does not go on")

    def test_a_prompt_taken_back_stays_so_after_a_kill(self):
        c = self.start({"text": "hm</think>First.", "gate": self.gate()})
        s = self.session(c)
        self.prompt(c, s, "First.", id="a")
        self.prompt(c, s, "Second.", id="b", delivery="queue")
        self.prompt(c, s, "Third.", id="c", delivery="queue")
        self.assertTrue(c.call("prompt/withdraw", sessionId=s, id="b")["withdrawn"])
        self.daemon.kill()
        c = self.start("hm</think>Third.")
        c.call("session/subscribe", sessionId=s)
        seen = c.until("turn/ended", turnId=2)
        self.assertEqual([m["params"]["promptId"] for m in seen if m["method"] == "turn/started"], ["a", "c"])


if __name__ == "__main__":
    main()
