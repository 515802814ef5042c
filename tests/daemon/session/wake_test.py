"""An idle session goes on by itself when a background job ends: with a scripted model, over the socket. wake_test.py SCRIPTED_DAEMON [unittest arguments]"""
import os
import pathlib
import signal
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
from client import Client, Daemon, Refused, call, remove_home, say

EXECUTABLE = ""
LOOKS = 2.5  # seconds in which an idle shell is looked at twice: what has not happened then does not


class WakeTest(unittest.TestCase):
    def setUp(self):
        self.home = os.path.realpath(tempfile.mkdtemp(prefix="lares-wake-"))
        self.addCleanup(remove_home, self.home)
        self.root = os.path.join(self.home, "repo")
        os.makedirs(os.path.join(self.root, ".git"))
        with open(os.path.join(self.root, "await"), "w") as f:
            f.write('until [ -e "end-$1" ]; do sleep 0.05; done\n')
        self.daemon = None
        self.addCleanup(lambda: self.daemon and self.daemon.stop())

    def start(self):
        self.daemon = Daemon(EXECUTABLE, self.home, "prompts")
        return self.connect()

    def connect(self):
        c = Client(self.daemon.socket)
        self.addCleanup(c.close)
        return c

    def session(self, c, interactive=True, **settings):
        s = c.call("session/create", root=self.root, settings=settings)["sessionId"]
        c.call("session/subscribe", sessionId=s, interactive=interactive)
        return s

    def job(self, name):
        """A call that leaves a job behind, which makes a file when it ends: after ends()."""
        return "hm</think>Begun." + call("bash", command=f"(sh await {name}; echo {name} is built; touch {name}) & echo begun")

    def prompt(self, c, s, id, *answers, **more):
        return c.call("prompt/send", sessionId=s, id=id, content="Build it.\n" + say(*answers), **more).get("turnId", 0)

    def turn(self, c, s, id, *answers, **more):
        return c.until("turn/ended", sessionId=s, turnId=self.prompt(c, s, id, *answers, **more))

    def ends(self, name):
        self.touch("end-" + name)

    def built(self, name):
        while not os.path.exists(os.path.join(self.root, name)):
            time.sleep(0.02)

    def touch(self, name):
        open(os.path.join(self.root, name), "w").close()

    def items(self, seen, kind):
        return [m["params"]["item"]["text"] for m in seen if m["method"] == "item/completed" and m["params"]["item"]["kind"] == kind]

    def test_a_jobs_end_begins_a_turn_that_says_so(self):
        c = self.start()
        s = self.session(c)
        self.turn(c, s, "a", self.job("one"), "hm</think>I wait for it.", "hm</think>It is built.")
        self.ends("one")
        seen = c.until("turn/ended", sessionId=s, turnId=2)
        accepted = [m["params"] for m in seen if m["method"] == "prompt/accepted"]
        self.assertEqual([a["delivery"] for a in accepted], ["wake"])
        news = accepted[0]["content"]
        self.assertRegex(news, r"(?s)^\[background job \d+ ended: .*: exit code 0\]\nWhat background jobs printed last:\none is built")
        self.assertEqual((self.items(seen, "note"), self.items(seen, "user"), self.items(seen, "text")), ([news], [], ["It is built."]))
        self.assertEqual(seen[-1]["params"]["reason"], "end_turn")
        self.assertTrue(c.call("session/replay", sessionId=s)["equal"])
        # What the model read stays when the daemon is killed, and is no word of the user's.
        before = c.call("session/get", sessionId=s)
        self.daemon.kill()
        self.daemon.start("prompts")
        c = self.connect()
        c.call("session/subscribe", sessionId=s, interactive=True)
        after = c.call("session/get", sessionId=s)
        self.assertEqual([after[k] for k in ("nTurns", "contextTokens", "lastSeq")], [before[k] for k in ("nTurns", "contextTokens", "lastSeq")])
        self.assertEqual(c.call("session/rewind", sessionId=s)["turnId"], 2)

    def test_it_does_so_three_times_until_somebody_writes(self):
        c = self.start()
        s = self.session(c)
        answers = [self.job("one"), "hm</think>Waiting."]
        for name in ("two", "three", "four"):
            answers += [self.job(name), "hm</think>Waiting."]
        self.turn(c, s, "a", *answers)
        notes = []
        for turn, name in ((2, "one"), (3, "two"), (4, "three")):
            self.ends(name)
            notes.append(len(self.items(c.until("turn/ended", sessionId=s, turnId=turn), "note")))
        self.assertEqual(notes, [1, 1, 2])  # the last says that it is the last
        self.ends("four")
        self.built("four")
        time.sleep(LOOKS)
        self.assertEqual(c.call("session/get", sessionId=s)["nTurns"], 4)
        seen = self.turn(c, s, "b", self.job("five"), "hm</think>Waiting.", "hm</think>Five.")
        self.assertIn("four is built", "".join(self.items(seen, "note")))  # nothing was lost
        self.ends("five")
        self.assertEqual(self.items(c.until("turn/ended", sessionId=s, turnId=6), "text"), ["Five."])

    def test_where_nobody_is_there_it_waits_for_whoever_comes(self):
        c = self.start()
        s = self.session(c, interactive=False)
        self.turn(c, s, "a", self.job("one"), "hm</think>Waiting.", "hm</think>Somebody came.")
        self.ends("one")
        self.built("one")
        time.sleep(LOOKS)
        self.assertEqual(c.call("session/get", sessionId=s)["nTurns"], 1)
        person = self.connect()
        person.call("session/subscribe", sessionId=s, interactive=True)
        self.assertEqual(self.items(person.until("turn/ended", sessionId=s, turnId=2), "text")[-1], "Somebody came.")

    def test_not_behind_a_turn_that_was_stopped_nor_where_nothing_may_be_changed_nor_where_it_is_off(self):
        os.environ["LARES_TEST_WAKE"] = "never"
        try:
            c = self.start()
        finally:
            del os.environ["LARES_TEST_WAKE"]
        s = self.session(c)
        self.turn(c, s, "a", self.job("one"), "hm</think>Waiting.", "hm</think>Not said.")
        self.ends("one")
        self.built("one")
        time.sleep(LOOKS)
        self.assertEqual(c.call("session/get", sessionId=s)["nTurns"], 1)
        self.daemon.stop()
        self.daemon.start("prompts")
        c = self.connect()
        stopped, plans = self.session(c), self.session(c)
        self.turn(c, plans, "a", self.job("two"), "hm</think>Waiting.", "hm</think>Not said.")
        c.call("session/policy", sessionId=plans, policy="plan")
        slow = {"text": "hm</think>" + " ".join(f"word{k}" for k in range(4000)), "us": 1000}
        self.prompt(c, stopped, "a", self.job("three"), slow)
        c.until("item/delta", sessionId=stopped, field="text")
        c.until("turn/step", sessionId=stopped)
        c.until("item/delta", sessionId=stopped, field="text")
        c.call("turn/interrupt", sessionId=stopped)
        c.until("turn/ended", sessionId=stopped, reason="cancelled")
        for name in ("two", "three"):
            self.ends(name)
            self.built(name)
        time.sleep(LOOKS)
        self.assertEqual([c.call("session/get", sessionId=x)["nTurns"] for x in (stopped, plans)], [1, 1])

    def test_a_job_of_a_questions_shell_begins_no_turn_and_the_next_question_hears_of_it(self):
        c = self.start()
        s = self.session(c)
        job = "hm</think>Begun." + call("bash", command="(sh await look; echo looked) & echo begun")
        self.turn(c, s, "a", job, "hm</think>I wait for it.", mode="ask")
        self.ends("look")
        while c.call("session/jobs", sessionId=s).get("jobs"):
            time.sleep(0.02)
        time.sleep(LOOKS)
        self.assertEqual(c.call("session/get", sessionId=s)["nTurns"], 1)
        work = self.turn(c, s, "b", "hm</think>Nothing new.")
        self.assertEqual(self.items(work, "note"), [])
        seen = self.turn(c, s, "c", "hm</think>So it is.", mode="ask")
        self.assertRegex("".join(self.items(seen, "note")), "^Of the shell for reading:\n.*looked")

    def test_the_same_command_in_a_questions_shell_is_no_repetition_where_others_ran_between(self):
        c = self.start()
        s = self.session(c)
        steps = ["hm</think>" + call("bash", command=command) for i in range(9) for command in (f"cd /; true {i}", "pwd")]
        seen = self.turn(c, s, "a", *steps, "hm</think>Done.", mode="ask")
        self.assertEqual(seen[-1]["params"]["reason"], "end_turn")

    def test_what_the_user_stops_begins_no_turn_and_the_model_reads_of_it_with_its_next_command(self):
        c = self.start()
        s = self.session(c)
        self.assertEqual(c.call("session/jobs", sessionId=s).get("jobs", []), [])
        self.turn(c, s, "a", self.job("never"), "hm</think>I wait for it.", "hm</think>Not said.")
        (job,) = c.call("session/jobs", sessionId=s)["jobs"]
        self.assertIn("sh await never; echo never is built", job["command"])
        self.assertLess(abs(time.time() - job["beganMs"] / 1000), 60)
        self.assertEqual(command_of(job["hostPid"]), "bash")
        self.assertIn(job["hostPid"], descendants(self.daemon.process.pid))
        with self.assertRaisesRegex(Refused, f"no background job of session {s} is that one"):
            c.call("session/stop_job", sessionId=s, hostPid=self.daemon.process.pid)
        self.assertFalse(c.call("session/stop_job", sessionId=s, hostPid=job["hostPid"]).get("killed", False))
        self.assertNotIn(job["hostPid"], descendants(self.daemon.process.pid))
        self.assertEqual(c.call("session/jobs", sessionId=s).get("jobs", []), [])
        time.sleep(LOOKS)
        self.assertEqual(c.call("session/get", sessionId=s)["nTurns"], 1)
        seen = self.turn(c, s, "b", "hm</think>So." + call("bash", command="echo on"), "hm</think>I see.")
        output = [m["params"]["item"]["output"] for m in seen if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "tool"]
        self.assertRegex(output[0], rf"^on\n\[background job {job['pid']} was stopped by the user: .*never is built")

    def test_who_begins_a_turn_meanwhile_has_one_of_their_own(self):
        c = self.start()
        s = self.session(c)
        slow = {"text": "hm</think>" + " ".join(f"word{k}" for k in range(1000)), "us": 1000}
        self.turn(c, s, "a", self.job("one"), "hm</think>Waiting.", slow)
        self.ends("one")
        c.until("turn/started", sessionId=s, turnId=2)
        self.prompt(c, s, "b", "hm</think>For you.", delivery="start")
        self.assertEqual(c.until("turn/ended", sessionId=s, turnId=2)[-1]["params"]["reason"], "end_turn")
        seen = c.until("turn/ended", sessionId=s, turnId=3)
        self.assertEqual([m["params"]["promptId"] for m in seen if m["method"] == "turn/started"], ["b"])
        self.assertEqual(self.items(seen, "text"), ["For you."])

    def test_a_session_that_is_closed_or_rewound_while_a_job_runs_hears_no_more_of_it(self):
        c = self.start()
        closed, rewound = self.session(c), self.session(c)
        for s in (closed, rewound):
            self.turn(c, s, "a", self.job("never"), "hm</think>Waiting.", "hm</think>Not said.")
        time.sleep(LOOKS)  # they are looked at
        c.call("session/rewind", sessionId=rewound)
        c.call("session/close", sessionId=closed)
        time.sleep(LOOKS)
        self.assertEqual([c.call("session/get", sessionId=x)["nTurns"] for x in (closed, rewound)], [1, 1])

    def test_a_daemon_that_is_asked_to_end_begins_none(self):
        c = self.start()
        wakes, works = self.session(c), self.session(c)

        def until(name):
            return f"until [ -e {os.path.join(self.root, name)} ]; do sleep 0.05; done"

        job = call("bash", command=f"({until('go')}; touch one) & echo begun")
        self.turn(c, wakes, "a", "hm</think>Begun." + job, "hm</think>Waiting.", "hm</think>Not said.")
        self.prompt(c, works, "b", "hm</think>So." + call("bash", command=f"touch begun; {until('end')}"), "hm</think>Done.")
        self.built("begun")
        self.connect().call("server/shutdown", when="idle")
        self.touch("go")
        self.built("one")
        time.sleep(LOOKS)
        self.assertEqual(c.call("session/get", sessionId=wakes)["nTurns"], 1)
        self.touch("end")
        self.assertEqual(c.until("turn/ended", sessionId=works)[-1]["params"]["reason"], "end_turn")
        self.assertEqual(self.daemon.process.wait(timeout=30), 0)

    def test_servers_that_are_brought_while_the_shell_is_asked_for_news_replace_no_tool_that_is_asked(self):
        c = self.start()
        s = self.session(c)
        go = os.path.join(self.root, "go")
        job = call("bash", command=f"(until [ -e {go} ]; do sleep 0.05; done; echo one is built) & echo begun")
        self.turn(c, s, "a", "hm</think>Begun." + job, "hm</think>Waiting.", "hm</think>It is built.")
        shells = [pid for pid in descendants(self.daemon.process.pid) if command_of(pid) == "bash"]
        self.assertTrue(shells)
        for pid in shells:
            os.kill(pid, signal.SIGSTOP)  # an answer is waited for two seconds, of three
        deadline = time.monotonic() + 2 * LOOKS
        while time.monotonic() < deadline:
            c.call("session/mcp_servers", sessionId=s, servers={"one": {"command": "/bin/false"}})
            time.sleep(0.1)
        for pid in shells:
            os.kill(pid, signal.SIGCONT)
        self.touch("go")
        self.assertEqual(self.items(c.until("turn/ended", sessionId=s, turnId=2), "text"), ["It is built."])


def status_of(pid):
    """The program's name and the parent's id of a process; None: it has ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            before, _, after = f.read().rpartition(")")
    except OSError:
        return None
    return before.partition("(")[2], int(after.split()[1])


def command_of(pid):
    status = status_of(pid)
    return status and status[0]


def descendants(pid):
    parents = {int(p): status[1] for p in filter(str.isdigit, os.listdir("/proc")) if (status := status_of(p))}
    found = {pid}
    while more := {p for p, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


if __name__ == "__main__":
    EXECUTABLE = os.path.abspath(sys.argv.pop(1))
    unittest.main()
