"""A disk that fills up under the daemon, below its state and below the repository, and one that cannot be written at all: one line says
so, nothing that was told or promised is lost, and it goes on when there is room again. Mounts small file systems in a namespace of its
own. full_disk_test.py SCRIPTED_DAEMON [unittest arguments]

$LARES_TEST_KILLS: so many on a full disk, 20 where it is not set; $LARES_TEST_SEED: of these."""
import collections
import errno
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
import crash_test
from client import Client, Daemon, Refused, call, remove_home, say
from crash_actors import Actor, Record, RecordingClient, file_text

EXECUTABLE = ""
SKIPPED = 77
INSIDE = "LARES_TEST_MAY_MOUNT"
BIG = "x" * 20_000  # more than what is left of any page
FULL, READ_ONLY = "No space left on device", "Read-only file system"


def mount(*args):
    subprocess.run(["mount", *args], check=True)


def fill(directory):
    """Leaves not a byte; returns how to make room again."""
    path = os.path.join(directory, "filler")
    with open(path, "ab", buffering=0) as f:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while f.write(b"\0" * size) == size:
                    pass
            except OSError as e:
                if e.errno != errno.ENOSPC:
                    raise
    return lambda: os.unlink(path)


class DiskCase(unittest.TestCase):
    size = "4m"

    def setUp(self):
        self.home = os.path.realpath(tempfile.mkdtemp(prefix="lares-full-"))
        self.addCleanup(remove_home, self.home)
        self.state, self.root = os.path.join(self.home, "state"), os.path.join(self.home, "repo")
        for path in (self.state, self.root):
            os.mkdir(path, 0o700)
            self.mount_on(path)
            self.addCleanup(subprocess.run, ["umount", "-l", path], check=True)
        subprocess.run(["git", "init", "-q", self.root], check=True)
        self.write("a.txt", "alpha\n")
        self.record = Record()
        self.daemon = Daemon(EXECUTABLE, self.home, "prompts")
        self.addCleanup(lambda: self.daemon.stop())

    def mount_on(self, path):
        mount("-t", "tmpfs", "-o", f"size={self.size},mode=700", "tmpfs", path)

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

    def session(self, c):
        s = c.call("session/create", root=self.root)["sessionId"]
        c.call("session/subscribe", sessionId=s)
        return s

    def room(self, s):
        """What is left of the last page of its journal: on a full disk it takes so many bytes more."""
        return -os.path.getsize(os.path.join(self.state, "sessions", s + ".journal")) % os.sysconf("SC_PAGESIZE")

    def turn(self, c, s, id, *answers, text="Go."):
        c.call("prompt/send", sessionId=s, id=id, content=text + "\n" + say(*answers))
        turn = c.until("turn/started", promptId=id)[-1]["params"]["turnId"]  # another may have waited
        return c.until("turn/ended", turnId=turn)[-1]["params"]

    def refused(self, c, method, why=FULL, **params):
        with self.assertRaises(Refused) as e:
            c.call(method, **params)
        self.assertIn(why, str(e.exception))
        self.assertNotIn("\n", str(e.exception))
        return e.exception

    def edit(self, old, new):
        return "hm</think>Edit." + call("str_replace_editor", command="str_replace", path=os.path.join(self.root, "a.txt"), old_str=old, new_str=new)

    def undo(self):
        return "hm</think>Undo." + call("str_replace_editor", command="undo_edit", path=os.path.join(self.root, "a.txt"))

    def bash(self, command):
        return "hm</think>Look." + call("bash", command=command)

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


class FullDiskTest(DiskCase):
    def test_a_prompt_that_cannot_be_kept_is_refused_and_taken_when_there_is_room(self):
        c = self.connect()
        s = self.session(c)
        self.assertEqual(self.turn(c, s, "a", "hm</think>One.")["reason"], "end_turn")
        before = c.call("session/history", sessionId=s)
        make_room = fill(self.state)
        for _ in range(2):
            e = self.refused(c, "prompt/send", sessionId=s, id="b", content=BIG)
            self.assertEqual(e.kind, "internal")
        self.assertEqual(c.call("session/history", sessionId=s), before)
        make_room()
        self.assertEqual(self.turn(c, s, "b", "hm</think>Two.")["reason"], "end_turn")
        events = self.nothing_is_lost(s)
        self.assertEqual([e["params"]["id"] for e in events if e["method"] == "prompt/accepted"], ["a", "b"])

    def test_a_prompt_whose_turn_cannot_begin_runs_only_when_it_is_sent_again(self):
        for id, dies in (("b", False), ("c", False), ("c", True)):
            with self.subTest(id=id, dies=dies):
                c = self.connect()
                s = self.session(c)
                self.assertEqual(self.turn(c, s, "a", "hm</think>One.")["reason"], "end_turn")
                while self.room(s) < 1000:
                    c.call("session/set_title", sessionId=s, title="y" * 60)
                make_room = fill(self.state)
                content = "Go.\n" + say("hm</think>Two.")
                accepted = {"method": "prompt/accepted", "params": {"sessionId": s, "seq": 10, "t": 10**12, "id": "b", "content": content, "delivery": "start"}}
                content += "y" * (self.room(s) - len(json.dumps(accepted, ensure_ascii=False, separators=(",", ":"))) - 100)  # too little for turn/started
                before = self.room(s)
                self.refused(c, "prompt/send", sessionId=s, id="b", content=content)
                self.assertEqual(self.room(s), before)  # nothing is kept of it that would have to be taken back
                if dies:
                    self.daemon.kill()
                make_room()
                if dies:
                    self.daemon.start("prompts")
                    c = self.connect()
                    c.call("session/subscribe", sessionId=s, after=-1)
                self.assertEqual(c.call("prompt/send", sessionId=s, id=id, content=content)["turnId"], 2)
                c.until("turn/ended", turnId=2, reason="end_turn")
                self.assertEqual(self.turn(c, s, "d", "hm</think>Three.")["turnId"], 3)
                started = [e["params"]["promptId"] for e in self.nothing_is_lost(s) if e["method"] == "turn/started"]
                self.assertEqual(started, ["a", id, "d"])

    def test_what_waits_begins_when_the_journal_is_written_again(self):
        gate = os.path.join(self.home, "gate")
        os.mkfifo(gate)
        self.daemon.stop()
        self.daemon.start([{"text": "hm</think>One.", "gate": gate}, {"text": "hm</think>Two."}])
        c = self.connect()
        s = self.session(c)
        c.call("prompt/send", sessionId=s, id="a", content="Go.")
        c.until("session/state", state="prefill")
        c.call("prompt/send", sessionId=s, id="b", content="Second.", delivery="queue")
        make_room = fill(self.state)
        with self.assertRaises(Refused):
            while True:
                c.call("session/set_title", sessionId=s, title="y" * 60)
        with open(gate, "w", encoding="utf-8") as f:
            f.write("x")
        self.assertEqual(c.until("turn/ended")[-1]["params"]["reason"], "error")
        make_room()
        c.call("session/policy", sessionId=s, policy="auto")
        turn = c.until("turn/started", promptId="b")[-1]["params"]["turnId"]
        self.assertEqual(c.until("turn/ended", turnId=turn)[-1]["params"]["reason"], "end_turn")
        self.nothing_is_lost(s)

    def test_a_rewinding_that_cannot_be_kept_touches_no_file(self):
        c = self.connect()
        s = self.session(c)
        self.turn(c, s, "a", self.bash("echo precious > made.txt; echo beta > a.txt"), "hm</think>One.")
        files = sorted(os.listdir(self.root))
        self.assertIn("made.txt", files)
        c.call("session/rewind", sessionId=s, turnId=1, dryRun=True)
        make_room = fill(self.state)
        for _ in range(2):
            self.refused(c, "session/rewind", sessionId=s, turnId=1)
            self.assertEqual((sorted(os.listdir(self.root)), self.read("a.txt")), (files, "beta\n"))
        make_room()
        for _ in range(2):
            c.call("session/rewind", sessionId=s, turnId=1)
            self.assertEqual((sorted(os.listdir(self.root)), self.read("a.txt")), ([".git", "a.txt"], "alpha\n"))
            c.call("session/unrewind", sessionId=s)
            self.assertEqual((sorted(os.listdir(self.root)), self.read("a.txt")), (files, "beta\n"))
        self.nothing_is_lost(s)

    def test_a_session_that_cannot_be_kept_is_none(self):
        c = self.connect()
        make_room = fill(self.state)
        self.refused(c, "session/create", root=self.root, title=BIG)
        self.assertEqual(os.listdir(os.path.join(self.state, "sessions")), [])
        self.assertEqual(c.call("session/list"), {"sessions": []})
        make_room()
        self.assertEqual(self.turn(c, self.session(c), "a", "hm</think>One.")["reason"], "end_turn")

    def test_a_fork_that_cannot_be_kept_is_none(self):
        c = self.connect()
        s = self.session(c)
        self.assertEqual(self.turn(c, s, "a", "hm</think>One.", text=BIG)["reason"], "end_turn")
        fill(self.state)
        filler = os.path.join(self.state, "filler")
        os.truncate(filler, os.path.getsize(filler) - 3 * 4096)  # room to begin with
        for _ in range(3):
            self.refused(c, "session/fork", sessionId=s)
        os.unlink(filler)
        self.daemon.stop()
        self.daemon.start("prompts")
        c = self.connect()
        self.assertEqual([i["sessionId"] for i in c.call("session/list")["sessions"]], [s])
        fork = c.call("session/fork", sessionId=s)["sessionId"]
        self.assertEqual(len(c.call("session/list")["sessions"]), 2)
        self.assertNotEqual(fork, s)

    def test_a_turn_whose_facts_cannot_be_kept_ends_and_the_session_goes_on(self):
        c = self.connect()
        s = self.session(c)
        self.write("big.txt", BIG)
        look = "hm</think>Look." + call("str_replace_editor", command="view", path=os.path.join(self.root, "big.txt"))
        turn = c.call("prompt/send", sessionId=s, id="a", content="Go.\n" + say({"text": look, "us": 10_000}))["turnId"]
        c.until("item/started")
        make_room = fill(self.state)
        ended = c.until("turn/ended", turnId=turn)[-1]["params"]  # at the latest for what the model would read of the file
        self.assertEqual((ended["reason"], ended.get("seq")), ("error", None))
        self.assertIn("No space left on device", ended["message"])
        self.refused(c, "prompt/send", sessionId=s, id="c", content=BIG)
        make_room()
        self.assertEqual(self.turn(c, s, "d", "hm</think>Two.")["reason"], "end_turn")
        ends = {e["params"]["turnId"]: e["params"]["reason"] for e in self.nothing_is_lost(s) if e["method"] == "turn/ended"}
        self.assertEqual(ends[turn], "crashed")

    def test_a_prompt_waits_for_the_end_of_the_turn_that_could_not_be_kept(self):
        gate = os.path.join(self.home, "gate")
        os.mkfifo(gate)
        self.daemon.stop()
        self.daemon.start([{"text": "hm", "gate": gate}, {"text": "hm</think>Two."}])
        c = self.connect()
        s = self.session(c)
        c.call("prompt/send", sessionId=s, id="a", content="Go.")
        c.until("session/state", state="prefill")
        make_room = fill(self.state)
        self.refused(c, "prompt/send", sessionId=s, id="b", content=BIG, delivery="queue")
        make_room()
        sent = c.send("prompt/send", sessionId=s, id="c", content="There is room.", delivery="queue")
        pinged, answered = c.send("ping"), []
        while pinged not in answered:
            answered.append(c.read().get("id"))
        self.assertNotIn(sent, answered)  # whether it can be kept is not known yet
        with open(gate, "w", encoding="utf-8") as f:
            f.write("x")
        turn = c.answer(sent)["turnId"]
        self.assertEqual(c.until("turn/ended", turnId=turn)[-1]["params"]["reason"], "end_turn")
        self.nothing_is_lost(s)

    def test_a_daemon_that_starts_on_a_full_disk_reads_and_goes_on_later(self):
        c = self.connect()
        s = self.session(c)
        self.turn(c, s, "a", "hm</think>One.")
        self.daemon.stop()
        make_room = fill(self.state)
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
        make_room = fill(self.root)
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

    def test_a_turn_that_goes_on_writing_to_a_full_disk_ends_and_says_so(self):
        c = self.connect()
        s = self.session(c)
        self.write("a.txt", "version 1\n" + BIG)
        edits = [self.edit("version 1\n", f"version {i}\n") for i in range(2, 9)]  # none like another
        def cycle():
            answers = [a for e in edits for a in (e, self.undo(), self.bash("true"))]
            turn = c.call("prompt/send", sessionId=s, id=str(time.monotonic()), content="Go.\n" + say(*answers[:7], "hm</think>I cannot write."))["turnId"]
            return c.until("turn/ended", turnId=turn)
        for why, begin, end in (("No space left on device: the disk is full", lambda: fill(self.root), lambda make_room: make_room()),
                                ("Read-only file system", lambda: mount("-o", "remount,ro", self.root), lambda _: mount("-o", "remount,rw", self.root))):
            kept = begin()
            seen = cycle()
            end(kept)
            ended = seen[-1]["params"]
            items = [m["params"]["item"] for m in seen if m["method"] == "item/completed"]
            failed = [i["output"] for i in items if i["kind"] == "tool" and i["state"] == "failed" and "could not be written" in i["output"] or READ_ONLY in i.get("output", "")]
            self.assertEqual((ended["reason"], len(failed)), ("error", 3), items)
            for text in (ended["message"], *failed):
                self.assertIn(why, text)
                self.assertIn("no file can be written here until somebody changes that", text)
            self.assertTrue(any("what the user has to do about the disk" in i.get("text", "") for i in items), items)
            self.assertTrue(any(i.get("text") == "I cannot write." for i in items), items)
        self.assertEqual(self.turn(c, s, "z", edits[0], "hm</think>Done.")["reason"], "end_turn")
        self.assertTrue(self.read("a.txt").startswith("version 2\n"))

    def test_an_export_to_a_full_disk_leaves_no_file(self):
        c = self.connect()
        s = self.session(c)
        self.turn(c, s, "a", "hm</think>One.", text=BIG)
        make_room = fill(self.root)
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


class ReadOnlyInTheMiddleTest(DiskCase):
    """New files cannot be made, while those that are open are written still: the most that an administrator can do to a disk in use."""

    def test_what_needs_no_new_file_goes_on_and_the_rest_says_why_not(self):
        c = self.connect()
        s = self.session(c)
        self.assertEqual(self.turn(c, s, "a", "hm</think>One.")["reason"], "end_turn")
        mount("--bind", self.state, self.state)
        self.addCleanup(lambda: self.covered and subprocess.run(["umount", "-l", self.state]))
        self.covered = True
        mount("-o", "remount,bind,ro", self.state)
        before = c.call("session/list")
        for _ in range(2):
            self.refused(c, "session/create", READ_ONLY, root=self.root)
            self.refused(c, "session/fork", READ_ONLY, sessionId=s)
        self.assertEqual(c.call("session/list"), before)
        turn = c.call("prompt/send", sessionId=s, id="b", content="Go.\n" + say(self.edit("alpha", "beta")))["turnId"]
        seen = c.until("turn/ended", turnId=turn)
        self.assertEqual((seen[-1]["params"]["reason"], self.read("a.txt")), ("end_turn", "beta\n"))
        items = [m["params"]["item"] for m in seen if m["method"] == "item/completed"]
        notes = [i["text"] for i in items if i["kind"] == "note"]
        self.assertTrue(any(READ_ONLY in n for n in notes), items)  # the edit is made, and cannot be taken back
        subprocess.run(["umount", self.state], check=True)
        self.covered = False
        self.assertEqual(self.turn(c, self.session(c), "c", "hm</think>New.")["reason"], "end_turn")
        self.assertEqual(self.turn(c, s, "d", "hm</think>Two.")["reason"], "end_turn")
        events = self.nothing_is_lost(s)
        self.assertEqual([e["params"]["id"] for e in events if e["method"] == "prompt/accepted"], ["a", "b", "d"])


class FailedDiskTest(DiskCase):
    """A file system that has met an error allows no writing any more, whatever is open, until somebody has mounted it again."""

    def mount_on(self, path):
        if path != self.state:
            return super().mount_on(path)
        self.image = os.path.join(self.home, "image")
        with open(self.image, "wb") as f:
            f.truncate(32 << 20)
        made = shutil.which("mkfs.ext4", path="/usr/sbin:/sbin:/usr/bin:/bin")
        if not made or subprocess.run([made, "-q", "-F", self.image]).returncode != 0 or not self.mount_image():
            self.skipTest("no file system in a file can be made and mounted here")
        os.chmod(path, 0o700)

    def mount_image(self):
        return subprocess.run(["mount", "-o", "loop", self.image, self.state], stderr=subprocess.DEVNULL).returncode == 0

    def test_nothing_acknowledged_is_missing_when_it_is_mounted_again(self):
        c = self.connect()
        s = self.session(c)
        self.assertEqual(self.turn(c, s, "a", "hm</think>One.")["reason"], "end_turn")
        words = {"text": "hm</think>" + "word. " * 500, "us": 3000}
        running = c.call("prompt/send", sessionId=s, id="b", content="Go.\n" + say(words, self.edit("alpha", "beta")))
        c.until("item/started")
        c.call("prompt/send", sessionId=s, id="waits", content="Next.", delivery="queue")
        mount("-o", "remount,abort", self.state)
        self.refused(c, "session/create", READ_ONLY, root=self.root)
        ended = c.until("turn/ended", turnId=running["turnId"])[-1]["params"]
        self.assertEqual((ended["reason"], ended.get("seq")), ("error", None))
        self.assertIn(READ_ONLY, ended["message"])
        kept = c.call("session/history", sessionId=s)
        after = "an earlier write failed; restart the daemon when the disk is well"
        for _ in range(2):
            self.refused(c, "prompt/send", after, sessionId=s, id="c", content="Go on.")
            self.refused(c, "prompt/withdraw", after, sessionId=s, id="waits")
            self.refused(c, "session/policy", after, sessionId=s, policy="ask")
            self.refused(c, "session/close", after, sessionId=s)
        self.assertEqual(c.call("session/history", sessionId=s), kept)
        self.daemon.stop()
        subprocess.run(["umount", self.state], check=True)
        self.assertTrue(self.mount_image())
        self.daemon.start("prompts")
        c = self.connect()
        c.call("session/subscribe", sessionId=s)
        c.until("turn/ended", turnId=running["turnId"] + 1)  # what waited was promised
        self.assertEqual(self.turn(c, s, "d", "hm</think>Two.")["reason"], "end_turn")
        events = self.nothing_is_lost(s)
        self.assertEqual([e["params"]["id"] for e in events if e["method"] == "prompt/accepted"], ["a", "b", "waits", "d"])
        ends = [e["params"]["reason"] for e in events if e["method"] == "turn/ended"]
        self.assertEqual(ends, ["end_turn", "crashed", "end_turn", "end_turn"])


class User(Actor):
    """Is told when the disk is full, and goes on."""

    def begin(self):
        while not self.world.over.is_set():
            try:
                return super().begin()
            except Refused as e:
                self.told(e)

    def act(self):
        try:
            super().act()
        except Refused as e:
            self.told(e)

    def told(self, e):
        if FULL not in str(e):
            raise e
        with self.world.lock:
            self.world.counts["refused"] += 1
        time.sleep(0.01)


class KillsOnAFullDiskTest(DiskCase):
    """The disk below the state, the repository or both fills up and is freed again, and in the middle of that the daemon is killed."""

    size = "16m"
    KILLS_OF_A_HOME = 5  # then another state directory: this one has to stay small

    def setUp(self):
        super().setUp()
        self.lock, self.over, self.counts = threading.Lock(), threading.Event(), collections.Counter()
        self.mark, self.versions = "full", 0
        self.socket = self.daemon.socket

    def next_version(self):
        with self.lock:
            self.versions += 1
            return f"0.{self.versions}"

    def crowd(self, rng):
        """Until one of the moments when there is no room, mostly."""
        until = time.monotonic() + rng.uniform(0.1, 0.5)
        while time.monotonic() < until:
            time.sleep(rng.uniform(0, 0.08))
            room = [fill(d) for d in rng.choice([[self.state], [self.state], [self.root], [self.state, self.root]])]
            self.counts["times it was full"] += 1
            time.sleep(rng.uniform(0, 0.05))
            if time.monotonic() > until and rng.random() < 0.8:
                self.counts["kills while it was full"] += 1
                return room
            for make in room:
                make()
        return []

    def one_round(self, rng):
        self.over.clear()
        actors = []
        for k in range(2):
            path = os.path.join(self.root, f"f{k}.txt")
            if not os.path.exists(path):
                self.write(f"f{k}.txt", file_text("0"))
                self.record.whole(path, file_text("0"))
            actors.append(User(self, k, random.Random(rng.getrandbits(64)), "unconfined"))
        for a in actors:
            a.start()
        room = self.crowd(rng)
        self.over.set()
        self.daemon.kill()
        for a in actors:
            a.join(timeout=40)
            self.assertFalse(a.is_alive(), f"user {a.number} waits for ever")
            if a.client:
                a.client.close()
            if a.failure:
                raise AssertionError(f"user {a.number}: {type(a.failure).__name__}: {a.failure}") from a.failure
        crash_test.check_files(self)
        while room and rng.random() < 0.5:
            room.pop()()
        self.daemon.start("prompts")  # with room or without
        sessions = sorted({s for a in actors for s in a.sessions})
        c = Client(self.socket)
        listed = {x["sessionId"]: x for x in c.call("session/list", closed=True, limit=1000)["sessions"]}
        self.assertLessEqual(set(sessions), set(listed))
        for make in room:
            make()
        for s in sessions:  # where the end of a turn could not be kept, it is with the next prompt; and what waits begins then
            if not listed[s].get("closed"):
                c.call("prompt/send", sessionId=s, id=f"room{self.next_version()}", content="There is room.", delivery="queue")
        c.close()
        crash_test.check_facts(self, sessions)
        for s in sessions:
            crash_test.settle(self, s)
            crash_test.check_calls(crash_test.history(self, s), s, self.counts)
        crash_test.check_facts(self, sessions)
        crash_test.check_files(self)
        self.counts["sessions gone on with"] += len(sessions)

    def test_nothing_is_lost_by_kills_while_it_fills_up_and_is_freed(self):
        seed = int(os.environ.get("LARES_TEST_SEED") or random.SystemRandom().getrandbits(32))
        for n in range(int(os.environ.get("LARES_TEST_KILLS", 20))):
            try:
                if n > 0 and n % self.KILLS_OF_A_HOME == 0:
                    self.daemon.stop()
                    for name in os.listdir(self.state):
                        path = os.path.join(self.state, name)
                        shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
                    for name in os.listdir(self.root):
                        if name != ".git":
                            os.unlink(os.path.join(self.root, name))
                    self.record = Record()
                    self.daemon.start("prompts")
                self.one_round(random.Random(f"{seed}/{n}"))
            except BaseException:
                print(f"LARES_TEST_SEED={seed}, kill {n}", file=sys.stderr)
                raise
        print(f"seed {seed}: " + ", ".join(f"{v} {k}" for k, v in sorted(self.counts.items())), file=sys.stderr)


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
