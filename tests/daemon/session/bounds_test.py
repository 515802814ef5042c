"""The daemon from outside, with a scripted model. What closed sessions may cost, and descriptors, and that open sessions lose nothing by it.

bounds_test.py SCRIPTED_DAEMON [unittest arguments]
"""
import json
import os
import pathlib
import re
import resource
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
from client import Daemon, Refused
import daemon_case
from daemon_case import DaemonCase, main

WITHIN = 60  # seconds, for what takes one


class BoundsCase(DaemonCase):
    def begin(self, *answers, **env):
        self.daemon = Daemon(daemon_case.EXECUTABLE, self.home, [{"text": a} for a in answers], **env)
        return self.connect()

    def again(self, c, *answers):
        c.close()
        self.daemon.stop()
        return self.start(*answers)

    def wait_for(self, what, true):
        until = time.monotonic() + WITHIN
        while not true():
            self.assertLess(time.monotonic(), until, what)
            time.sleep(0.02)

    def in_memory(self):
        """The sessions whose journals the daemon has open."""
        folder, found = f"/proc/{self.daemon.process.pid}/fd", set()
        for fd in os.listdir(folder):
            try:
                found |= set(re.findall(r"/sessions/(\w+)\.journal", os.readlink(os.path.join(folder, fd))))
            except OSError:  # closed meanwhile
                pass
        return found

    def answered(self, c, title="Go.", **settings):
        """A session with one turn."""
        s = self.session(c, mode="ask", **settings)
        self.prompt(c, s, title)
        c.until("turn/ended", sessionId=s)
        c.call("session/unsubscribe", sessionId=s)
        return s

    def listed(self, c):
        return {s["sessionId"]: s for s in c.call("session/list", closed=True)["sessions"]}

    def journal(self, s):
        return os.path.join(self.daemon.state, "sessions", s + ".journal")

    def logged_events(self, name):
        with open(os.path.join(self.home, "log"), encoding="utf-8") as f:
            return [line for line in f if line.startswith(name + " ")]


class OpenFilesTest(BoundsCase):
    def test_the_daemon_takes_all_it_is_given_and_commands_get_what_was_usual(self):
        usual = 300
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        config = os.path.join(self.home, "config")
        os.mkdir(config)
        told = os.path.join(self.home, "told")
        with open(os.path.join(config, "hooks.json"), "w", encoding="utf-8") as f:
            json.dump({"turn_end": [{"command": f"echo $(ulimit -Sn) $(ulimit -Hn) > {told}"}]}, f)
        pid = os.getpid()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (usual, before[1]))
        try:
            c = self.begin("hm</think>Yes.", LARES_TEST_CONFIG=config)
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        self.assertEqual(resource.prlimit(self.daemon.process.pid, resource.RLIMIT_NOFILE), (before[1], before[1]))
        s = self.session(c)
        self.prompt(c, s, "Go.")
        c.until("turn/ended")
        with open(told, encoding="utf-8") as f:
            self.assertEqual(f.read().split(), [str(usual), str(before[1])])


class NamesTest(BoundsCase):
    def test_what_is_no_session_is_named_by_its_beginning(self):
        c = self.begin()
        with self.assertRaises(Refused) as refused:
            c.call("session/get", sessionId="é" * 1_000_000)
        message = str(refused.exception)
        self.assertTrue(message.startswith("there is no session é"), message[:100])
        self.assertLess(len(message), 200)

    def test_a_beginning_of_an_id_has_four_letters(self):
        c = self.begin("hm</think>Yes.")
        s = c.call("session/create", root=self.root)["sessionId"]
        self.assertEqual(c.call("session/get", sessionId=s[:4])["sessionId"], s)
        for n in (0, 1, 3):  # such as a turn's number in its place
            with self.assertRaisesRegex(Refused, f"^there is no session {s[:n]};"):
                c.call("session/get", sessionId=s[:n])


class ClosedSessionsTest(BoundsCase):
    def test_a_closed_session_leaves_the_memory_and_can_be_read(self):
        c = self.begin("hm</think>Yes.")
        s = self.answered(c, "What is this?")
        before = c.call("session/history", sessionId=s)
        c.call("session/close", sessionId=s)
        self.wait_for("it is at rest", lambda: not self.in_memory())
        info = self.listed(c)[s]
        self.assertEqual((info["title"], info["closed"], info["nTurns"], info["lastSeq"]), ("What is this?", True, 1, before["events"][-1]["params"]["seq"] + 1))
        self.assertEqual(c.call("session/get", sessionId=s[:6]), info)
        self.assertFalse(self.in_memory())
        after = c.call("session/history", sessionId=s)
        self.assertEqual(after["events"][:-1], before["events"])
        self.assertEqual(after["events"][-1]["method"], "session/closed")
        self.wait_for("it is at rest again", lambda: not self.in_memory())
        with self.assertRaisesRegex(Refused, "is closed"):
            self.prompt(c, s, "More.", id="p2")
        exported = c.call("session/export", sessionId=s, path=os.path.join(self.home, "exported"))
        self.assertEqual(exported["frames"], after["events"][-1]["params"]["seq"])

    def test_who_follows_one_keeps_it(self):
        c = self.begin("hm</think>Yes.")
        s = self.answered(c)
        c.call("session/subscribe", sessionId=s)
        c.call("session/close", sessionId=s)
        other = c.call("session/create", root=self.root)["sessionId"]
        c.call("session/close", sessionId=other)
        self.wait_for("the other is at rest", lambda: other not in self.in_memory())
        self.assertEqual(self.in_memory(), {s})
        c.call("session/set_title", sessionId=s, title="Named")
        self.assertEqual(c.until("session/updated", title="Named")[-1]["params"]["sessionId"], s)
        c.call("session/unsubscribe", sessionId=s)
        self.wait_for("it is at rest", lambda: not self.in_memory())
        self.assertEqual(self.listed(c)[s]["title"], "Named")

    def test_many_open_one_at_once_and_it_is_one_session(self):
        c = self.begin("hm</think>Yes.")
        s = self.answered(c)
        c.call("session/close", sessionId=s)
        self.wait_for("it is at rest", lambda: not self.in_memory())
        clients = [self.connect() for _ in range(8)]
        asked = [(each, each.send("session/subscribe", sessionId=s)) for each in clients]
        for each, n in asked:
            each.answer(n)
        c.call("session/set_title", sessionId=s, title="Named")
        for each in clients:
            each.until("session/updated", title="Named")

    def test_a_start_reads_no_journal_of_one_that_ended_well(self):
        c = self.begin("hm</think>Yes.", "hm</think>No.")
        closed, still_open = self.answered(c, "One?"), self.answered(c, "Two?")
        c.call("session/close", sessionId=closed)
        infos = self.listed(c)
        c.close()
        self.daemon.stop()
        self.daemon.known_is_evaluated_again = "a journal is damaged"
        for s in infos:  # if it were read, it would be cut
            with open(self.journal(s), "r+b") as f:
                f.seek(os.path.getsize(self.journal(s)) // 2)
                f.write(b"damaged!")
        c = self.start()
        self.assertEqual(self.listed(c), infos)
        self.assertFalse(self.in_memory())
        self.assertEqual(self.logged_events("journal_repaired"), [])
        c.call("session/history", sessionId=closed)
        self.assertEqual(len(self.logged_events("journal_repaired")), 1)

    def test_an_open_one_goes_on_after_a_restart(self):
        c = self.begin("hm</think>Yes.")
        s = self.answered(c, "One?")
        c = self.again(c, "hm</think>No.")
        self.assertFalse(self.in_memory())
        c.call("session/subscribe", sessionId=s, after=-1)
        self.prompt(c, s, "Two?", id="p2")
        self.assertEqual(c.until("turn/ended")[-1]["params"]["reason"], "end_turn")
        self.assertEqual(self.listed(c)[s]["nTurns"], 2)

    def test_what_a_killed_daemon_left_is_read_from_the_journals(self):
        gate = self.gate()
        self.daemon = Daemon(daemon_case.EXECUTABLE, self.home, [{"text": "hm</think>Yes."}, {"text": "x", "gate": gate}])
        c = self.connect()
        closed = self.answered(c, "One?")
        c.call("session/close", sessionId=closed)
        running = self.session(c)
        self.prompt(c, running, "Two?")
        c.until("session/state", state="prefill")
        self.daemon.kill()
        c.close()
        with open(self.journal(closed)[:-len("journal")] + "summary", "w", encoding="utf-8") as f:
            f.write('{"version": "0.1.0", "bytes": 17, "session"')  # torn
        c = self.start("hm</think>On.")
        infos = self.listed(c)
        self.assertEqual((infos[closed]["title"], infos[closed]["closed"], infos[closed]["nTurns"]), ("One?", True, 1))
        self.assertEqual((infos[running].get("closed", False), infos[running].get("turnId", 0), infos[running]["nTurns"]), (False, 0, 1))
        self.wait_for("they are at rest", lambda: not self.in_memory())

    def test_the_oldest_closed_ones_go_with_their_outputs_and_no_open_one(self):
        c = self.begin(*["hm</think>Yes."] * 6, LARES_TEST_CLOSED="2 1000000000")
        old, *closed = [self.answered(c, f"Number {i}?") for i in range(6)]
        outputs = {s: os.path.join(self.daemon.state, "outputs", s) for s in closed + [old]}
        for folder in outputs.values():
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, "bash-0001.txt"), "w", encoding="utf-8") as f:
                f.write("much\n")
        for s in closed:
            c.call("session/close", sessionId=s)
        self.wait_for("three are gone", lambda: len(self.listed(c)) == 3)
        kept = {old} | set(closed[-2:])
        self.assertEqual(set(self.listed(c)), kept)
        names = lambda: {name.split(".")[0] for name in os.listdir(os.path.join(self.daemon.state, "sessions"))}
        self.wait_for("their files are gone", lambda: names() == kept)
        self.assertEqual({s for s in outputs if os.path.exists(outputs[s])}, kept)
        self.assertEqual(len(self.logged_events("session_removed")), 3)
        for s in kept:
            self.assertTrue(c.call("session/history", sessionId=s)["events"])
        with self.assertRaisesRegex(Refused, "there is no session"):
            c.call("session/history", sessionId=closed[0])

    def test_what_nobody_worked_with_for_long_is_put_away_and_opens_for_whoever_writes_to_it(self):
        c = self.begin(*["hm</think>Yes."] * 4, LARES_TEST_IDLE_MS="1500")
        followed = self.session(c, mode="ask")
        self.prompt(c, followed, "One?")
        c.until("turn/ended", sessionId=followed)
        idle = self.answered(c, "Two?")
        time.sleep(1.6)
        other = self.answered(c, "Three?")  # then it is looked at who has been idle for long
        c.call("session/subscribe", sessionId=other)
        self.wait_for("it is put away", lambda: self.listed(c)[idle].get("closed", False))
        self.assertEqual([self.listed(c)[s].get("closed", False) for s in (followed, other)], [False, False])
        self.wait_for("and at rest", lambda: idle not in self.in_memory())
        self.again(c, "hm</think>On.").close()
        c = self.connect()
        self.assertTrue(self.listed(c)[idle]["closed"])
        c.call("session/subscribe", sessionId=idle, after=-1)
        self.prompt(c, idle, "Go on.", id="p2")
        self.assertEqual(c.until("turn/ended")[-1]["params"]["reason"], "end_turn")
        self.assertFalse(self.listed(c)[idle].get("closed", False))

    def test_they_are_limited_by_bytes_and_those_found_at_start_count(self):
        c = self.begin(*["hm</think>Yes."] * 3)
        sessions = [self.answered(c, f"Number {i}?") for i in range(3)]
        for s in sessions:
            c.call("session/close", sessionId=s)
        folder = os.path.join(self.daemon.state, "outputs", sessions[1])
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "bash-0001.txt"), "w", encoding="utf-8") as f:
            f.write("x" * 1_000_000)
        c.close()
        self.daemon.stop()
        self.daemon.env = {"LARES_TEST_CLOSED": "1000 900000"}
        c = self.start()
        self.wait_for("two are gone", lambda: len(self.listed(c)) == 1)
        self.assertEqual(set(self.listed(c)), {sessions[2]})  # the first is older than the large one


    def test_thousands_do_not_go_for_the_one_that_is_large(self):
        c = self.begin(*["hm</think>Yes."] * 4)
        small = [self.answered(c, f"Number {i}?") for i in range(3)]
        large = self.answered(c, "Much?")
        for s in small + [large]:
            c.call("session/close", sessionId=s)
        folder = os.path.join(self.daemon.state, "outputs", large)
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "bash-0001.txt"), "w", encoding="utf-8") as f:
            f.write("x" * 90_000_000)
        c.close()
        self.daemon.stop()
        self.daemon.env = {"LARES_TEST_CLOSED": "1000 20000000"}
        c = self.start()
        self.wait_for("the large one is gone", lambda: large not in self.listed(c))
        time.sleep(0.2)
        self.assertEqual(set(self.listed(c)), set(small))

    def test_who_was_put_away_goes_after_those_that_were_closed_before(self):
        c = self.begin(*["hm</think>Yes."] * 3, LARES_TEST_CLOSED="1 1000000000", LARES_TEST_IDLE_MS="3000")
        idle, closed = self.answered(c, "One?"), self.answered(c, "Two?")
        c.call("session/close", sessionId=closed)
        time.sleep(3.1)
        other = self.answered(c, "Three?")
        c.call("session/subscribe", sessionId=other)
        self.wait_for("one is gone", lambda: len(self.listed(c)) == 2)
        self.assertEqual(set(self.listed(c)), {idle, other})
        self.assertTrue(self.listed(c)[idle]["closed"])


if __name__ == "__main__":
    main()
