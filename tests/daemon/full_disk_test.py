"""A disk that fills up under the daemon, below its state and below the repository, and one that cannot be written at all: one line says
so, nothing that was told or promised is lost, and it goes on when there is room again. Mounts small file systems in a namespace of its
own. full_disk_test.py SCRIPTED_DAEMON [unittest arguments]"""
import errno
import os
import subprocess
import sys
import tempfile
import unittest

from client import Daemon, Refused, call, remove_home
from crash_actors import Record, RecordingClient, say

EXECUTABLE = ""
SKIPPED = 77
INSIDE = "LARES_TEST_MAY_MOUNT"
BIG = "x" * 20_000  # more than what is left of any page


def mount(*args):
    subprocess.run(["mount", *args], check=True)


class FullDiskTest(unittest.TestCase):
    def setUp(self):
        self.home = os.path.realpath(tempfile.mkdtemp(prefix="lares-full-"))
        self.addCleanup(remove_home, self.home)
        self.state, self.root = os.path.join(self.home, "state"), os.path.join(self.home, "repo")
        for path in (self.state, self.root):
            os.mkdir(path, 0o700)
            mount("-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", path)
            self.addCleanup(subprocess.run, ["umount", "-l", path], check=True)
        subprocess.run(["git", "init", "-q", self.root], check=True)
        self.write("a.txt", "alpha\n")
        self.record = Record()
        self.daemon = Daemon(EXECUTABLE, self.home, "prompts")
        self.addCleanup(lambda: self.daemon.stop())

    def connect(self):
        c = RecordingClient(self.daemon.socket, self.record)
        self.addCleanup(c.close)
        return c

    def write(self, name, text):
        with open(os.path.join(self.root, name), "w", encoding="utf-8") as f:
            f.write(text)

    def read(self, name):
        with open(os.path.join(self.root, name), encoding="utf-8") as f:
            return f.read()

    def fill(self, directory):
        """Leaves not a byte; returns how to make room again."""
        path = os.path.join(directory, "filler")
        with open(path, "ab", buffering=0) as f:
            for size in (1 << 16, 1 << 12, 1):
                try:
                    while f.write(b"\0" * size) == size:
                        pass
                except OSError as e:
                    self.assertEqual(e.errno, errno.ENOSPC)
        return lambda: os.unlink(path)

    def session(self, c):
        s = c.call("session/create", root=self.root)["sessionId"]
        c.call("session/subscribe", sessionId=s)
        return s

    def turn(self, c, s, id, *answers, text="Go."):
        c.call("prompt/send", sessionId=s, id=id, content=text + "\n" + say(*answers))
        turn = c.until("turn/started", promptId=id)[-1]["params"]["turnId"]  # another may have waited
        return c.until("turn/ended", turnId=turn)[-1]["params"]

    def refused(self, c, method, **params):
        with self.assertRaises(Refused) as e:
            c.call(method, **params)
        self.assertIn("No space left on device", str(e.exception))
        self.assertNotIn("\n", str(e.exception))
        return e.exception

    def edit(self, old, new):
        return "hm</think>Edit." + call("str_replace_editor", command="str_replace", path=os.path.join(self.root, "a.txt"), old_str=old, new_str=new)

    def nothing_is_lost(self, s):
        """All that was ever told of the session is what a new subscriber gets, in another daemon too."""
        for again in (False, True):
            if again:
                self.daemon.kill()
                self.daemon.start("prompts")
            c = RecordingClient(self.daemon.socket, Record())
            events = c.call("session/history", sessionId=s)["events"]
            c.call("session/subscribe", sessionId=s)
            while c.next()["params"].get("seq", 0) < events[-1]["params"]["seq"]:
                pass
            c.close()
            for seq, line in self.record.facts[s].items():
                self.assertEqual(c.record.facts[s].get(seq), line)
        return events

    def test_a_prompt_that_cannot_be_kept_is_refused_and_taken_when_there_is_room(self):
        c = self.connect()
        s = self.session(c)
        self.assertEqual(self.turn(c, s, "a", "hm</think>One.")["reason"], "end_turn")
        before = c.call("session/history", sessionId=s)
        make_room = self.fill(self.state)
        for _ in range(2):
            e = self.refused(c, "prompt/send", sessionId=s, id="b", content=BIG)
            self.assertEqual(e.kind, "internal")
        self.assertEqual(c.call("session/history", sessionId=s), before)
        make_room()
        self.assertEqual(self.turn(c, s, "b", "hm</think>Two.")["reason"], "end_turn")
        events = self.nothing_is_lost(s)
        self.assertEqual([e["params"]["id"] for e in events if e["method"] == "prompt/accepted"], ["a", "b"])

    def test_a_session_that_cannot_be_kept_is_none(self):
        c = self.connect()
        make_room = self.fill(self.state)
        self.refused(c, "session/create", root=self.root, title=BIG)
        self.assertEqual(os.listdir(os.path.join(self.state, "sessions")), [])
        self.assertEqual(c.call("session/list"), {"sessions": []})
        make_room()
        self.assertEqual(self.turn(c, self.session(c), "a", "hm</think>One.")["reason"], "end_turn")

    def test_a_turn_whose_facts_cannot_be_kept_ends_and_the_session_goes_on(self):
        c = self.connect()
        s = self.session(c)
        self.write("big.txt", BIG)
        look = "hm</think>Look." + call("str_replace_editor", command="view", path=os.path.join(self.root, "big.txt"))
        turn = c.call("prompt/send", sessionId=s, id="a", content="Go.\n" + say({"text": look, "us": 3000}))["turnId"]
        c.until("item/started")
        make_room = self.fill(self.state)
        ended = c.until("turn/ended", turnId=turn)[-1]["params"]  # at the latest for what the model would read of the file
        self.assertEqual((ended["reason"], ended.get("seq")), ("error", None))
        self.assertIn("No space left on device", ended["message"])
        self.refused(c, "prompt/send", sessionId=s, id="c", content=BIG)
        make_room()
        self.assertEqual(self.turn(c, s, "d", "hm</think>Two.")["reason"], "end_turn")
        ends = {e["params"]["turnId"]: e["params"]["reason"] for e in self.nothing_is_lost(s) if e["method"] == "turn/ended"}
        self.assertEqual(ends[turn], "crashed")

    def test_a_daemon_that_starts_on_a_full_disk_reads_and_goes_on_later(self):
        c = self.connect()
        s = self.session(c)
        self.turn(c, s, "a", "hm</think>One.")
        self.daemon.stop()
        make_room = self.fill(self.state)
        self.daemon.start("prompts")
        c = self.connect()
        self.assertEqual(c.call("session/get", sessionId=s)["nTurns"], 1)
        self.refused(c, "prompt/send", sessionId=s, id="b", content=BIG)
        make_room()
        c.call("session/subscribe", sessionId=s, after=-1)
        self.assertEqual(self.turn(c, s, "c", "hm</think>Two.")["reason"], "end_turn")
        self.nothing_is_lost(s)

    def test_an_edit_on_a_full_disk_changes_nothing(self):
        c = self.connect()
        s = self.session(c)
        self.write("a.txt", "version 1\n" + BIG)
        make_room = self.fill(self.root)
        id = 0
        for made in (False, True):
            id += 1
            turn = c.call("prompt/send", sessionId=s, id=f"p{id}", content="Go.\n" + say(self.edit("version 1\n", "version 2\n")))["turnId"]
            seen = c.until("turn/ended", turnId=turn)
            item = [m["params"]["item"] for m in seen if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "tool"][0]
            self.assertEqual(seen[-1]["params"]["reason"], "end_turn")
            self.assertEqual(item["state"], "done" if made else "failed", item)
            if not made:
                self.assertIn("No space left on device", item["output"])
                self.assertNotIn("changes", item)
            self.assertEqual(self.read("a.txt"), ("version 2\n" if made else "version 1\n") + BIG)
            self.assertEqual(sorted(os.listdir(self.root)), [".git", "a.txt"] + ([] if made else ["filler"]))
            if not made:
                make_room()
        self.nothing_is_lost(s)

    def test_an_export_to_a_full_disk_leaves_no_file(self):
        c = self.connect()
        s = self.session(c)
        self.turn(c, s, "a", "hm</think>One.", text=BIG)
        make_room = self.fill(self.root)
        path = os.path.join(self.root, "session")
        self.refused(c, "session/export", sessionId=s, path=path)
        self.assertEqual(sorted(os.listdir(self.root)), [".git", "a.txt", "filler"])
        make_room()
        self.assertEqual(c.call("session/export", sessionId=s, path=path)["bytes"], os.path.getsize(path))

    def test_a_state_directory_that_cannot_be_written_is_said_in_one_line(self):
        self.daemon.stop()
        for state in (self.state, os.path.join(self.state, "deeper")):
            mount("-o", "remount,ro", self.state)
            ended = subprocess.run([EXECUTABLE, os.path.join(self.home, "other"), state, os.path.join(self.home, "script.json")],
                                   stderr=subprocess.PIPE, text=True, timeout=60)
            mount("-o", "remount,rw", self.state)
            self.assertEqual((ended.returncode, ended.stderr.count("\n")), (1, 1), ended.stderr)
            self.assertIn("Read-only file system", ended.stderr)
            self.assertIn(state, ended.stderr)
        self.daemon.start("prompts")
        self.assertEqual(self.connect().call("ping"), {})


def main():
    global EXECUTABLE
    EXECUTABLE = os.path.abspath(sys.argv.pop(1))
    if INSIDE not in os.environ:
        how = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
        if subprocess.run([*how, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], stderr=subprocess.DEVNULL).returncode != 0:
            print("SKIPPED: no small file system can be mounted here: neither as root nor in a user namespace", file=sys.stderr)
            sys.exit(SKIPPED)
        os.environ[INSIDE] = "yes"
        os.execvp(how[0], [*how, sys.executable, os.path.abspath(__file__), EXECUTABLE, *sys.argv[1:]])
    unittest.main()


if __name__ == "__main__":
    main()
