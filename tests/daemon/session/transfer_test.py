"""Sessions as files: exported, imported and gone on with here and elsewhere; sampled again; and their titles. With a scripted model, over
the socket and from the command line. transfer_test.py SCRIPTED_DAEMON LARES [unittest arguments]"""
import hashlib
import json
import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
from client import Client, Daemon, Refused, call, remove_home, say

EXECUTABLE = LARES = ""


class TransferTest(unittest.TestCase):
    def setUp(self):
        self.home = os.path.realpath(tempfile.mkdtemp(prefix="lares-transfer-"))
        self.addCleanup(remove_home, self.home)
        self.root, self.other = (os.path.join(self.home, name) for name in ("repo", "other"))
        for root in (self.root, self.other):
            subprocess.run(["git", "init", "-q", root], check=True)
            with open(os.path.join(root, "a.txt"), "w", encoding="utf-8") as f:
                f.write("alpha\n")
        self.daemon = Daemon(EXECUTABLE, self.home, "prompts")
        self.addCleanup(lambda: self.daemon.stop())
        self.file = os.path.join(self.home, "session.jsonl")

    def connect(self):
        c = Client(self.daemon.socket)
        self.addCleanup(c.close)
        return c

    def lares(self, *args, cwd=None, **how):
        env = {k: v for k, v in os.environ.items() if not k.startswith("LARES_")}
        env.update(LARES_SOCKET=self.daemon.socket, LARES_STATE_DIR=self.daemon.state)
        return subprocess.run([LARES, *args], cwd=cwd or self.root, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=60, **how)

    def turn(self, c, s, id, *answers, text="Go."):
        turn = c.call("prompt/send", sessionId=s, id=id, content=text + "\n" + say(*answers))["turnId"]
        return c.until("turn/ended", sessionId=s, turnId=turn)

    def worked(self, c, **settings):
        """A session with an edit, a command, a refusal, and a turn that was taken back."""
        s = c.call("session/create", root=self.root, settings=settings)["sessionId"]
        c.call("session/subscribe", sessionId=s)
        create = call("str_replace_editor", command="create", path=os.path.join(self.root, "new.txt"), file_text="x\n")
        edit = call("str_replace_editor", command="str_replace", path=os.path.join(self.root, "a.txt"), old_str="alpha\n", new_str="beta\n")
        self.turn(c, s, "a", "hm</think>New." + create, "so</think>Edit." + edit, "hm</think>Done.", text="Make it new.\nAnd more.")
        self.turn(c, s, "b", "hm</think>Look." + call("str_replace_editor", command="view", path=os.path.join(self.root, "a.txt")), "hm</think>Beta.")
        self.turn(c, s, "c", "hm</think>Gone.")
        c.call("session/rewind", sessionId=s, turnId=3)
        return s

    def items(self, c, s):
        return [e["params"]["item"] for e in c.call("session/history", sessionId=s)["events"] if e["method"] == "item/completed"]

    def test_a_session_comes_back_with_another_id_and_goes_on(self):
        c = self.connect()
        s = self.worked(c)
        info = c.call("session/get", sessionId=s)
        done = c.call("session/export", sessionId=s[:6], path=self.file)
        self.assertEqual((done["path"], done["bytes"]), (self.file, os.path.getsize(self.file)))
        self.assertEqual(stat.S_IMODE(os.stat(self.file).st_mode), 0o600)
        made = [c.call("session/import", path=self.file) for _ in range(2)]
        self.assertEqual(len({s, *(m["sessionId"] for m in made)}), 3)
        for m in made:
            self.assertEqual({k: m[k] for k in ("root", "title", "contextTokens", "nTurns", "settings")},
                             {k: info[k] for k in ("root", "title", "contextTokens", "nTurns", "settings")})
        new = made[0]["sessionId"]

        def without_snapshots(items):
            return [{k: v for k, v in i.items() if not k.startswith("snapshot")} for i in items]
        self.assertEqual(self.items(c, new), without_snapshots(self.items(c, s)))
        self.daemon.kill()
        self.daemon.start("prompts")
        c = self.connect()
        c.call("session/subscribe", sessionId=new, after=-1)
        ended = self.turn(c, new, "d", "hm</think>And on.")[-1]["params"]
        self.assertEqual(ended["reason"], "end_turn")
        self.assertGreater(ended["usage"]["context"], info["contextTokens"])
        self.assertEqual(c.call("session/get", sessionId=s)["lastSeq"], info["lastSeq"])  # the other is as it was
        fork = c.call("session/fork", sessionId=new, beforeTurn=2)
        self.assertLess(fork["contextTokens"], info["contextTokens"])

    def test_it_is_rewound_in_mind_and_touches_no_file(self):
        c = self.connect()
        s = self.worked(c)
        c.call("session/export", sessionId=s, path=self.file)
        new = c.call("session/import", path=self.file)["sessionId"]
        gone = c.call("session/rewind", sessionId=new, turnId=1)
        self.assertNotIn("changes", gone)
        self.assertEqual(sorted(n["path"] for n in gone["notDone"]), ["a.txt", "new.txt"])
        self.assertNotIn("contextTokens", c.call("session/get", sessionId=new))
        with open(os.path.join(self.root, "a.txt"), encoding="utf-8") as f:
            self.assertEqual(f.read(), "beta\n")
        c.call("session/unrewind", sessionId=new)
        self.assertIn("contextTokens", c.call("session/get", sessionId=new))

    def test_in_another_worktree_the_model_is_told_so_once(self):
        c = self.connect()
        c.call("session/export", sessionId=self.worked(c), path=self.file)
        new = c.call("session/import", path=self.file, root=self.other)
        self.assertEqual(new["root"], self.other)
        s = new["sessionId"]
        c.call("session/subscribe", sessionId=s, after=-1)
        here = call("str_replace_editor", command="create", path=os.path.join(self.other, "here.txt"), file_text="y\n")
        self.turn(c, s, "d", "hm</think>Here." + here, "hm</think>Done.")
        self.turn(c, s, "e", "hm</think>Done.")
        self.assertTrue(os.path.exists(os.path.join(self.other, "here.txt")))
        path = os.path.join(self.home, "again.jsonl")
        c.call("session/export", sessionId=s, path=path)
        with open(path, encoding="utf-8") as f:
            appended = [json.loads(line)["frame"]["params"]["ids"] for line in f if '{"frame":{"method":"lares/appended"' in line]
        said = [bytes(i for i in ids if i < 256).decode() for ids in appended]  # the scripted tokenizer's ids are bytes
        told = [text for text in said if f"The repository is at {self.other} now; it was at {self.root}." in text]
        self.assertEqual(len(told), 1)

    def moves_told(self, c, s):
        """How often the model of this session has read that the repository is elsewhere now, what went included."""
        path = os.path.join(self.home, f"told-{len(os.listdir(self.home))}.jsonl")
        c.call("session/export", sessionId=s, path=path)
        with open(path, encoding="utf-8") as f:
            ids = [i for line in f if '{"frame":{"method":"lares/appended"' in line for i in json.loads(line)["frame"]["params"]["ids"]]
        return bytes(i for i in ids if i < 256).decode(errors="replace").count(f"The repository is at {self.other} now; it was at {self.root}.")

    def test_in_another_worktree_forks_and_what_went_back_are_told_so_too(self):
        for restarts in (False, True):
            with self.subTest(restarts=restarts):
                c = self.connect()
                s = c.call("session/create", root=self.root)["sessionId"]
                c.call("session/subscribe", sessionId=s)
                self.turn(c, s, "a", "hm</think>One.")
                path = os.path.join(self.home, f"moves-{restarts}.jsonl")
                c.call("session/export", sessionId=s, path=path)
                s = c.call("session/import", path=path, root=self.other)["sessionId"]
                untold = c.call("session/fork", sessionId=s)["sessionId"]

                def turn(s, id):
                    c.call("session/subscribe", sessionId=s, after=-1)
                    self.turn(c, s, id, "hm</think>Two.")
                    return self.moves_told(c, s)

                self.assertEqual(turn(s, "b"), 1)
                forks = {"untold": untold, "before": c.call("session/fork", sessionId=s, beforeTurn=2)["sessionId"], "step": c.call("session/fork", sessionId=s, beforeTurn=2, afterStep=1)["sessionId"],
                         "old step": c.call("session/fork", sessionId=s, beforeTurn=1, afterStep=1)["sessionId"], "told": c.call("session/fork", sessionId=s)["sessionId"]}
                c.call("session/rewind", sessionId=s, turnId=2)
                if restarts:
                    self.daemon.kill()
                    self.daemon.start("prompts")
                    c = self.connect()
                self.assertEqual(turn(s, "c"), 2)  # what it was told has gone
                self.assertEqual(turn(s, "d"), 2)
                self.assertEqual({name: turn(fork, name) for name, fork in forks.items()}, dict.fromkeys(forks, 1))

    def test_what_waited_does_not_begin_and_rights_stay_behind(self):
        c = self.connect()
        s = c.call("session/create", root=self.root, settings={"noSandbox": True})["sessionId"]
        c.call("session/subscribe", sessionId=s)
        slow = {"text": "hm</think>" + " ".join(f"word{k}" for k in range(200)), "us": 3000}
        c.call("prompt/send", sessionId=s, id="a", content="Go.\n" + say(slow))
        c.call("prompt/send", sessionId=s, id="b", content="Later.", delivery="queue")
        c.until("item/started")
        c.call("session/export", sessionId=s, path=self.file)  # in the middle of a turn
        c.call("session/close", sessionId=s)
        new = c.call("session/import", path=self.file)
        self.assertEqual((new["settings"].get("noSandbox", False), new.get("turnId", 0), new.get("closed", False)), (False, 0, False))
        events = c.call("session/history", sessionId=new["sessionId"])["events"]
        self.assertEqual([e["params"]["reason"] for e in events if e["method"] == "turn/ended"], ["crashed"])
        self.assertEqual([e["params"]["id"] for e in events if e["method"] == "prompt/withdrawn"], ["b"])

    def test_what_is_no_export_is_refused_in_one_line_and_makes_no_session(self):
        c = self.connect()
        c.call("session/export", sessionId=self.worked(c), path=self.file)
        before = c.call("session/list")
        with open(self.file, "rb") as f:
            whole = f.read()
        foreign = whole.replace(b'"vocabulary":"', b'"vocabulary":"0')
        for name, contents in (("empty", b""), ("text", b"hello\n"), ("cut", whole[:-100]), ("changed", whole.replace(b"alpha", b"alphb", 1)), ("foreign", foreign)):
            path = os.path.join(self.home, name)
            with open(path, "wb") as f:
                f.write(contents)
            with self.assertRaises(Refused) as e:
                c.call("session/import", path=path)
            self.assertEqual((e.exception.kind, "\n" in str(e.exception)), ("invalid_params", False), name)
            self.assertIn(path, str(e.exception))
        with self.assertRaises(Refused) as e:
            c.call("session/import", path=os.path.join(self.home, "nowhere"))
        self.assertIn("No such file", str(e.exception))
        with self.assertRaises(Refused) as e:
            c.call("session/import", path=self.file, root=os.path.join(self.home, "nowhere"))
        self.assertEqual(e.exception.kind, "not_found")
        with self.assertRaises(Refused) as e:  # where no session may begin none is brought to either
            c.call("session/import", path=self.file, root=self.daemon.state)
        self.assertIn("Lares keeps files of its own", str(e.exception))
        with self.assertRaises(Refused) as e:
            c.call("session/export", sessionId=before["sessions"][0]["sessionId"], path=self.file)
        self.assertIn("left alone", str(e.exception))
        with open(self.file, "rb") as f:
            self.assertEqual(f.read(), whole)
        self.assertEqual(c.call("session/list"), before)
        self.assertEqual([n for n in os.listdir(os.path.join(self.daemon.state, "sessions")) if not n.endswith((".journal", ".summary"))], [])

    def test_an_import_that_the_daemon_did_not_live_to_finish_is_swept_away(self):
        self.daemon.kill()
        path = os.path.join(self.daemon.state, "sessions", "abc.import")
        with open(path, "w", encoding="utf-8") as f:
            f.write("lares-journal 1\n")
        self.daemon.start("prompts")
        self.assertEqual(self.connect().call("session/list"), {"sessions": []})
        self.assertFalse(os.path.exists(path))

    # ---- at the command line

    def test_the_command_line_exports_and_imports(self):
        c = self.connect()
        s = self.worked(c)
        out = self.lares("export", s, "-o", "out.jsonl")
        self.assertEqual(out.returncode, 0, out.stderr)
        self.assertIn("secrets too", out.stderr)
        piped = self.lares("export")  # the newest, to standard output
        self.assertEqual(piped.returncode, 0, piped.stderr)
        with open(os.path.join(self.root, "out.jsonl"), encoding="utf-8") as f:
            self.assertEqual(piped.stdout, f.read())
        again = self.lares("export", s, "-o", "out.jsonl")
        self.assertEqual((again.returncode, again.stderr.count("\n")), (1, 1))
        made = self.lares("import", "out.jsonl", "--root", self.other)
        self.assertEqual(made.returncode, 0, made.stderr)
        log = self.lares("log", "--session", made.stdout.strip())
        self.assertIn("Make it new.", log.stdout)
        diff = self.lares("diff", "--session", made.stdout.strip())
        self.assertIn("+beta", diff.stdout)
        self.assertEqual(self.lares("import", "nothing").returncode, 1)

    def test_a_title_is_the_first_line_of_the_first_prompt_until_it_is_given_another(self):
        c = self.connect()
        s = c.call("session/create", root=self.root)["sessionId"]
        c.call("session/subscribe", sessionId=s)
        self.turn(c, s, "a", "hm</think>Yes.", text="\n  " + "Fäden " * 40 + "\nsecond line")
        title = c.call("session/get", sessionId=s)["title"]
        self.assertTrue(title.startswith("Fäden Fäden") and len(title.encode()) <= 80 and "\n" not in title, title)
        self.turn(c, s, "b", "hm</think>Yes.", text="Another prompt")
        self.assertEqual(c.call("session/get", sessionId=s)["title"], title)
        self.assertEqual(self.lares("title", s[:6], "Threads\nand more").returncode, 0)
        self.assertEqual(c.call("session/get", sessionId=s)["title"], "Threads")
        self.assertEqual(c.until("session/updated")[-1]["params"]["title"], "Threads")
        for wrong in ("", " \n"):
            with self.assertRaises(Refused):
                c.call("session/set_title", sessionId=s, title=wrong)
        self.daemon.kill()
        self.daemon.start("prompts")
        self.assertEqual(self.connect().call("session/get", sessionId=s)["title"], "Threads")
        named = c = self.connect()
        t = named.call("session/create", root=self.root, title="Mine")["sessionId"]
        c.call("session/subscribe", sessionId=t)
        self.turn(c, t, "a", "hm</think>Yes.")
        self.assertEqual(c.call("session/get", sessionId=t)["title"], "Mine")

    # ---- sampled again

    def test_what_is_sampled_again_is_equal_and_a_changed_recording_is_not(self):
        c = self.connect()
        s = self.worked(c)
        before = c.call("session/get", sessionId=s)
        again = c.call("session/replay", sessionId=s)
        self.assertEqual((again["equal"], again["turns"], again["steps"]), (True, 3, 6), again)
        run = self.lares("replay", s)
        self.assertEqual((run.returncode, run.stdout), (0, f"6 steps, {again['tokens']} tokens, all equal\n"), run.stderr)
        self.assertEqual(c.call("session/get", sessionId=s), before)
        self.lares("export", s, "-o", self.file)
        self.assertEqual(self.lares("replay", self.file).returncode, 0)
        # The recording says that another token was drawn: the third of the last answer.
        with open(self.file, encoding="utf-8") as f:
            lines = f.read().splitlines(keepends=True)
        at = max(i for i, line in enumerate(lines) if '"lares/appended"' in line)
        frame = json.loads(lines[at])
        self.assertEqual(frame["frame"]["params"]["ids"][2], 262 - 1)  # </think>
        frame["frame"]["params"]["ids"][1] = ord("x")
        self.changed(lines, at, frame)
        run = self.lares("replay", "changed.jsonl", cwd=self.home)
        self.assertEqual((run.returncode, run.stdout), (1, f'after 6 steps, {again["tokens"] - 8} tokens: turn 3, step 1, token 1 differs: expected 120 "x", got 109 "m"\n'), run.stderr)
        # A fact that this daemon would write otherwise.
        at = [i for i, line in enumerate(lines) if '"turn/step"' in line][0]
        frame = json.loads(lines[at])
        frame["frame"]["params"]["unheard"] = 1
        self.changed(lines, at, frame)
        different = c.call("session/replay", path=os.path.join(self.home, "changed.jsonl"))
        self.assertIn("in other words", different["difference"])
        self.assertFalse(different["equal"])

        # An item that says what its tokens do not.
        at = [i for i, line in enumerate(lines) if '"item/completed"' in line and '"text":"Gone."' in line][0]
        frame = json.loads(lines[at])
        frame["frame"]["params"]["item"]["text"] = "Here."
        self.changed(lines, at, frame)
        different = c.call("session/replay", path=os.path.join(self.home, "changed.jsonl"))
        self.assertEqual((different["equal"], different["difference"]), (False, "the items of turn 3 are not what its tokens say"))

    def changed(self, lines, at, frame):
        body = "".join(lines[:at] + [json.dumps(frame, ensure_ascii=False, separators=(",", ":")) + "\n"] + lines[at + 1:-1])
        with open(os.path.join(self.home, "changed.jsonl"), "w", encoding="utf-8") as f:
            f.write(body + json.dumps({"sha256": hashlib.sha256(body.encode()).hexdigest()}, separators=(",", ":")) + "\n")

    def test_a_long_recording_is_read_beside_the_thread_that_serves(self):
        with open(os.path.join(self.root, "long.txt"), "w", encoding="utf-8") as f:
            f.writelines(f"line {i} of a file that is long enough\n" for i in range(1600))
        c = self.connect()
        s = c.call("session/create", root=self.root)["sessionId"]
        c.call("session/subscribe", sessionId=s)
        self.turn(c, s, "a", *["hm</think>Look." + call("bash", command=f"cat long.txt # {i}") for i in range(40)], "hm</think>Done.")
        before = self.cpu_of_threads()
        self.assertTrue(c.call("session/replay", sessionId=s)["equal"])
        took = {thread: ns - before.get(thread, 0) for thread, ns in self.cpu_of_threads().items()}
        self.assertLess(took[self.daemon.process.pid], sum(took.values()) / 4, took)  # it has the process's id

    def cpu_of_threads(self):
        """Nanoseconds that each has run, by id."""
        tasks = f"/proc/{self.daemon.process.pid}/task"
        out = {}
        for thread in os.listdir(tasks):
            with open(f"{tasks}/{thread}/schedstat", encoding="ascii") as f:
                out[int(thread)] = int(f.read().split()[0])
        return out

    def test_replay_takes_no_turn_from_a_running_session(self):
        c = self.connect()
        s = self.worked(c)
        t = c.call("session/create", root=self.root)["sessionId"]
        c.call("session/subscribe", sessionId=t)
        slow = {"text": "hm</think>" + " ".join(f"word{k}" for k in range(60)), "us": 2000}
        c.call("prompt/send", sessionId=t, id="a", content="Go.\n" + say(slow))
        c.until("item/started", sessionId=t)
        self.assertTrue(c.call("session/replay", sessionId=s)["equal"])
        self.assertEqual(c.until("turn/ended", sessionId=t)[-1]["params"]["reason"], "end_turn")

    def test_an_interrupted_answer_is_compared_as_far_as_it_was_sampled(self):
        c = self.connect()
        s = c.call("session/create", root=self.root)["sessionId"]
        c.call("session/subscribe", sessionId=s)
        slow = {"text": "hm</think>" + " ".join(f"word{k}" for k in range(400)), "us": 1000}
        c.call("prompt/send", sessionId=s, id="a", content="Go.\n" + say(slow))
        c.until("item/delta")
        c.call("turn/interrupt", sessionId=s)
        c.until("turn/ended", reason="cancelled")
        again = c.call("session/replay", sessionId=s)
        self.assertTrue(again["equal"], again)
        self.assertGreater(again["tokens"], 0)

    def test_what_was_drawn_from_another_token_on_is_sampled_again(self):
        path = os.path.join(self.root, "a.txt")
        edit = lambda new: call("str_replace_editor", command="str_replace", path=path, old_str="alpha\n", new_str=new)
        before = "hm</think>" + edit("alpha\n").split("alpha\n</｜DSML｜parameter>\n</")[0]
        end = edit("beta\n").split("beta")[1]
        at = len(before.replace("</think>", "t").replace("｜DSML｜", "d").encode())
        vain = {"text": before + "alpha" + end, "others": [[1, "n", -2.0], [at, "b", -1.0]]}
        done = {"text": "hm</think>Done."}
        self.daemon.stop()
        # Given again it is in one piece, but for the token that was chosen.
        self.daemon.start([vain, {"text": "eta" + end}, done, {"text": before + "eta" + end}, done, {"text": before + "etc" + end}])
        c = self.connect()
        s = c.call("session/create", root=self.root)["sessionId"]
        c.call("session/subscribe", sessionId=s)
        c.call("prompt/send", sessionId=s, id="a", content="Go.")
        c.until("turn/ended")
        with open(path, encoding="utf-8") as f:
            self.assertEqual(f.read(), "beta\n")
        again = c.call("session/replay", sessionId=s)
        self.assertEqual((again["equal"], again["steps"]), (True, 2), again)
        again = c.call("session/replay", sessionId=s)
        self.assertEqual((again["equal"], again["token"], again["expectedText"], again["gotText"]), (False, at + 3, "a", "c"), again)

    def test_a_turn_stopped_before_its_second_draw_has_no_answer_to_compare(self):
        gate = os.path.join(self.home, "gate")
        os.mkfifo(gate)
        self.daemon.stop()
        one = {"text": "hm</think>One."}
        self.daemon.start([one, {"text": "hm</think>"}, {"text": "hm</think>Never said.", "gate": gate}, one])  # the last for the replay
        c = self.connect()
        s = c.call("session/create", root=self.root)["sessionId"]
        c.call("session/subscribe", sessionId=s)
        c.call("prompt/send", sessionId=s, id="a", content="Go.")
        c.until("turn/ended")
        c.call("prompt/send", sessionId=s, id="b", content="And on.")
        while "drawn" not in c.until("item/completed")[-1]["params"]["item"].get("text", ""):  # the empty answer is to be drawn again
            pass
        c.call("turn/interrupt", sessionId=s)
        with open(gate, "w", encoding="utf-8") as f:
            f.write("x")
        c.until("turn/ended", reason="cancelled")
        again = c.call("session/replay", sessionId=s)
        self.assertEqual((again["equal"], again["steps"]), (True, 1), again)


if __name__ == "__main__":
    EXECUTABLE, LARES = (os.path.abspath(sys.argv.pop(1)) for _ in range(2))
    unittest.main()
