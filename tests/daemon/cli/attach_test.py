"""`lares attach` and `lares stop`: a session that works, from another terminal. attach_test.py LARES SCRIPTED_DAEMON"""
import json
import os
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
import cli_case
from cli_case import THINK, CliCase
from client import Client, call


class AttachTest(CliCase):
    def setUp(self):
        super().setUp()
        self.gate = os.path.join(self.home, "gate")
        os.mkfifo(self.gate)

    def view(self):
        return call("str_replace_editor", command="view", path=os.path.join(self.root, "a.txt"))

    def open_gate(self):
        with open(self.gate, "w") as f:
            f.write("x")

    def working(self):
        """A turn that has looked at a file and waits at the gate before its answer; its session."""
        self.runner = self.background("run", "--json", "Look at it.")
        self.until(self.runner, "item/completed")
        while self.until(self.runner, "item/completed")["item"]["kind"] != "tool":
            pass
        return self.session()["sessionId"]

    def session(self):
        return json.loads(self.lares("sessions", "--json")[1])["sessions"][0]

    def test_in_a_pipe_it_shows_the_turn_from_its_beginning_to_its_end(self):
        self.start(THINK + "Past.", "First I look.</think>Looking." + self.view(), {"text": THINK + "It says beta.", "gate": self.gate})
        self.assertEqual(self.lares("run", "Before.")[0], 0)
        past = self.session()["sessionId"]
        self.working()
        p = self.background("attach")
        while b"First I look." not in (line := p.stderr.readline()):
            self.assertTrue(line)
        self.open_gate()
        out, err = (x.decode() for x in p.communicate(timeout=60))
        self.assertEqual((p.returncode, out), (0, "It says beta.\n"), err)
        self.assertIn("finished", err)
        self.assertNotIn("\x1b", out + err)
        self.assertNotIn("Past.", out + err)
        self.assertNotIn(past, err)

    def test_only_the_running_turn_of_a_session_is_shown(self):
        self.start(THINK + "One.", "First I look.</think>" + self.view(), {"text": THINK + "Two.", "gate": self.gate})
        self.assertEqual(self.lares("run", "Before.")[0], 0)
        session = self.session()["sessionId"]
        p = self.background("run", "--json", "--session", session, "Again.")
        while self.until(p, "item/completed")["item"]["kind"] != "tool":
            pass
        attached = self.background("attach", "--json", session[:6])
        self.until(attached, "turn/started", turnId=2)
        self.open_gate()
        lines = attached.communicate(timeout=60)[0].decode().splitlines()
        self.assertEqual(attached.returncode, 0)
        self.assertEqual(json.loads(lines[-1])["stop_reason"], "end_turn")
        turns = {json.loads(line)["params"].get("turnId") for line in lines[:-1] if "method" in json.loads(line)}
        self.assertNotIn(1, turns)

    def test_ctrl_c_leaves_and_the_turn_goes_on(self):
        self.start(THINK + self.view(), {"text": THINK + "It says beta.", "gate": self.gate})
        session = self.working()
        p = self.background("attach", session)
        while b"str_replace_editor" not in (line := p.stderr.readline()):
            self.assertTrue(line)
        p.send_signal(signal.SIGINT)
        err = p.communicate(timeout=60)[1].decode()
        self.assertEqual(p.returncode, 130)
        self.assertIn(f"left; session {session} goes on: `lares attach {session}`", err.splitlines()[-1])
        self.open_gate()
        last = json.loads(self.runner.communicate(timeout=60)[0].decode().splitlines()[-1])
        self.assertEqual((self.runner.returncode, last["stop_reason"]), (0, "end_turn"))

    def test_a_question_is_answered_from_the_other_terminal(self):
        self.start(THINK + call("ask_user", question="Which colour?"), THINK + "Blue it is.")
        c = Client(self.socket)
        session = c.call("session/create", root=self.root)["sessionId"]
        c.call("session/subscribe", sessionId=session, after=0, interactive=True)  # else it is told that nobody is there
        c.call("prompt/send", sessionId=session, id="p", content="Paint it.")
        c.until("session/state", state="waiting")
        t = self.terminal("attach")
        t.see("(?s)Paint it\\..*Which colour\\?[^>]*> ")
        t.write(b"blue\n")
        t.see("finished")
        self.assertEqual(t.wait(60), 0)
        answer = [m["params"]["item"]["output"] for m in c.until("turn/ended") if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "tool"]
        self.assertIn("blue", answer[0])
        c.close()

    def test_who_asked_first_hears_that_it_was_answered_elsewhere(self):
        self.start(THINK + call("ask_user", question="Which colour?"), THINK + "Blue it is.")
        t = self.terminal("run", "Paint it.")
        t.see("Which colour\\?[^>]*> ")
        other = self.terminal("attach")
        other.see("Which colour\\?[^>]*> ")
        other.write(b"blue\n")
        t.see("answered from another terminal")
        for end in (t, other):
            end.see("finished")
            self.assertEqual(end.wait(60), 0)

    def test_a_call_that_asks_is_allowed_from_the_other_terminal(self):
        edit = self.edit()
        self.start(THINK + edit, THINK + "Done.")
        c = Client(self.socket)
        session = c.call("session/create", root=self.root, settings={"policy": "ask"})["sessionId"]
        c.call("session/subscribe", sessionId=session, after=0)
        c.call("prompt/send", sessionId=session, id="p", content="Make it gamma.")
        c.until("session/state", state="waiting")
        t = self.terminal("attach", session)
        t.see("-beta[^+]*\\+gamma[^>]*Run it\\?[^>]*> ")  # what it would do comes before the question
        t.write(b"y\n")
        t.see("finished")
        self.assertEqual(t.wait(60), 0)
        c.close()
        self.assertEqual(self.read("a.txt"), "alpha\ngamma\n")

    def test_it_says_what_is_wrong(self):
        status, out, err = self.lares("attach")
        self.assertEqual((status, out), (1, ""))
        self.assertIn(f"no daemon runs on {self.socket}", err)
        self.start(THINK + "One.")
        self.lares("run", "First.")
        session = self.session()["sessionId"]
        self.assertIn(f"find a session that works on {self.root}: none does", self.lares("attach")[2])
        self.assertIn(f"attach to session {session}: no turn runs in it; `lares log", self.lares("attach", session)[2])
        self.assertIn("there is no session zzz", self.lares("attach", "zzz")[2])
        self.assertIn("excludes", self.lares("attach", session, "--root", "/")[2])

    def test_of_several_that_work_one_must_be_named(self):
        self.start({"text": THINK + "One.", "gate": self.gate}, {"text": THINK + "Two.", "gate": self.gate})
        runs = [self.background("run", "--json", f"{n}.") for n in (1, 2)]
        sessions = [self.until(p, "turn/started")["sessionId"] for p in runs]
        status, _, err = self.lares("attach")
        self.assertEqual(status, 1)
        for p in runs:  # before their daemon: they would start another
            p.kill()
            p.wait()
        self.daemon.kill()
        self.assertRegex(err, f"2 do, ({sessions[0]}, {sessions[1]}|{sessions[1]}, {sessions[0]}); name one of them")

    def test_follow_waits_for_the_next_turn(self):
        self.start(THINK + "One.", THINK + "Two.", THINK + "Three.")
        self.lares("run", "First.")
        session = self.session()["sessionId"]
        p = self.background("attach", "--follow", session)
        self.assertIn(b"waiting for a turn", p.stderr.readline())
        for prompt in ("Second.", "Third."):
            self.lares("run", "--session", session, prompt)
        out = [p.stdout.readline(), p.stdout.readline()]
        p.send_signal(signal.SIGINT)
        p.communicate(timeout=60)
        self.assertEqual(out, [b"Two.\n", b"Three.\n"])

    def following(self):
        """A session between two turns, and who follows it: the turn that it has shown says that it does."""
        self.start(THINK + "One.", THINK + "Two.")
        self.lares("run", "First.")
        session = self.session()["sessionId"]
        p = self.background("attach", "--follow", session)
        self.assertIn(b"waiting for a turn", p.stderr.readline())
        self.follows(p, session, "Two.")
        return session, p

    def follows(self, p, session, answer):
        self.lares("run", "--session", session, "Go on.")
        self.assertEqual(p.stdout.readline(), answer.encode() + b"\n")

    def test_follow_starts_no_daemon_that_was_ended_while_nothing_ran(self):
        session, p = self.following()
        self.assertEqual(self.lares("shutdown")[0], 0)
        _, err = p.communicate(timeout=60)
        self.assertEqual(p.returncode, 1)
        self.assertIn(f"lares: follow session {session}: the daemon was ended, and no turn ran in it; `lares attach --follow {session}`", err.decode())
        self.assertIn("no daemon runs on", self.lares("status")[1])

    def test_follow_outlives_as_many_daemons_as_there_are(self):
        session, p = self.following()
        for n in range(6):  # one more than may die in a turn
            p.send_signal(signal.SIGSTOP)
            self.daemon.stop()
            self.start(THINK + f"Again {n}.")
            p.send_signal(signal.SIGCONT)
            while b"reconnected" not in (line := p.stderr.readline()):
                self.assertTrue(line)
            self.follows(p, session, f"Again {n}.")
        p.send_signal(signal.SIGINT)
        p.communicate(timeout=60)

    def test_stop_ends_the_turn_and_leaves_the_session(self):
        self.start({"text": "one two", "gate": self.gate}, THINK + "Next.")
        p = self.background("run", "--json", "Go.")
        session = self.until(p, "session/state", state="prefill")["sessionId"]
        stop = self.background("stop")
        self.until(p, "session/state", state="stopping")
        self.open_gate()
        out, err = (x.decode() for x in stop.communicate(timeout=60))
        self.assertEqual((stop.returncode, out), (0, f"stopped turn 1 of session {session}; `lares --session {session}` goes on\n"), err)
        self.assertEqual(json.loads(p.communicate(timeout=60)[0].decode().splitlines()[-1])["stop_reason"], "cancelled")
        self.assertEqual(json.loads(self.lares("stop", "--json", session)[1]), {"session": session, "turn": 0, "stop_reason": None})
        self.assertEqual(self.lares("run", "--session", session, "Again.")[1].strip(), "Next.")


if __name__ == "__main__":
    cli_case.main()
