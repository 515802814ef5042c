"""The daemon from outside, with a scripted model. Prompts: each is delivered once, now, later or into a running turn, and can be taken back.

delivery_test.py SCRIPTED_DAEMON [unittest arguments]
"""
import fcntl
import glob
import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
import journal
from client import Refused
from daemon_case import DaemonCase, main


class DeliveryTest(DaemonCase):
    def test_a_prompt_is_delivered_once(self):
        c = self.start("hm</think>One.")
        s = self.session(c)
        first = self.prompt(c, s, "Once.")
        self.assertEqual(self.prompt(c, s, "Once.")["seq"], first["seq"])
        with self.assertRaises(Refused) as e:
            self.prompt(c, s, "Other.")
        self.assertEqual(e.exception.kind, "conflict")
        c.until("turn/ended")

    def test_busy_queue_steer_and_interrupt(self):
        gate = self.gate()
        c = self.start({"text": "hm</think>First.", "gate": gate}, "hm</think>Steered.", "hm</think>Queued.")
        s = self.session(c)
        self.prompt(c, s, "First.", id="a")
        with self.assertRaises(Refused) as e:
            self.prompt(c, s, "Second.", id="b")
        self.assertEqual(e.exception.kind, "busy")
        self.assertEqual(self.prompt(c, s, "Queued.", id="c", delivery="queue").get("turnId", 0), 0)
        for _ in range(2):  # whoever sends it again hears the same
            self.assertEqual(self.prompt(c, s, "Steer.", id="d", delivery="steer")["turnId"], 1)
        self.open_gate(gate)
        first = c.until("turn/ended")
        users = [m["params"]["item"]["text"] for m in first if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "user"]
        self.assertEqual(users, ["First.", "Steer."])
        second = c.until("turn/ended", turnId=2)
        self.assertIn("Queued.", [m["params"]["item"].get("text") for m in second if m["method"] == "item/completed"])

    def skill(self, name):
        os.makedirs(path := os.path.join(self.root, ".agents", "skills", name))
        with open(os.path.join(path, "SKILL.md"), "w") as f:
            f.write(f"---\nname: {name}\ndescription: For {name}.\n---\nDo it carefully.\n")

    def test_prompts_begin_in_the_order_in_which_they_were_sent(self):
        for n in range(200):  # the one that calls a skill takes longer to be looked up
            self.skill(f"s{n}")
        c = self.start("hm</think>One.", "hm</think>Two.")
        s = self.session(c)
        for n, text in ((901, "/s0 staging"), (902, "Then tell me.")):
            c.send_raw(json.dumps({"jsonrpc": "2.0", "id": n, "method": "prompt/send", "params": {"sessionId": s, "id": f"p{n}", "content": text, "delivery": "queue"}}).encode() + b"\n")
        began = []
        while len(began) < 2:
            if (message := c.read()).get("method") == "turn/started":
                began.append(message["params"]["promptId"])
        self.assertEqual(began, ["p901", "p902"])

    def test_a_skill_steers_the_next_daemons_turn_too(self):
        self.skill("deploy")
        gate = self.gate()
        c = self.start({"text": "hm</think>One.", "gate": gate})
        s = self.session(c)
        self.prompt(c, s, "First.", id="a")
        c.until("session/state", state="prefill")
        self.prompt(c, s, "Second.", id="b", delivery="queue")
        self.prompt(c, s, "/deploy staging", id="c", delivery="steer")
        self.daemon.kill()
        c = self.start("hm</think>Two.", "hm</think>Three.")
        c.call("session/subscribe", sessionId=s)
        users = [m["params"]["item"]["text"] for m in c.until("turn/ended", turnId=2) if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "user"]
        self.assertEqual(users, ["First.", "Second.", "/deploy staging"])
        self.daemon.stop()
        journal_of = os.path.join(self.daemon.state, "sessions", s + ".journal")
        read = [f["params"]["ids"] for f in map(json.loads, journal.frames(journal_of)) if f["method"] == "lares/appended"]
        self.assertIn("That calls the skill deploy", "".join(bytes(i for i in ids if i < 256).decode(errors="replace") for ids in read))

    def test_a_question_does_not_steer_a_task_nor_a_task_a_question(self):
        for session, prompt in (("work", "ask"), ("ask", "work")):
            gate = self.gate()
            c = self.start({"text": "hm</think>First.", "gate": gate}, self.create(prompt), "hm</think>Done.")
            s = self.session(c, mode=session)
            self.prompt(c, s, "First.", id="a")
            self.assertEqual(self.prompt(c, s, "Second.", id="b", delivery="steer", mode=prompt).get("turnId", 0), 0)
            self.open_gate(gate)
            c.until("turn/ended", turnId=2)
            self.assertEqual(os.path.exists(os.path.join(self.root, prompt)), prompt == "work")
            self.daemon.stop()
            os.unlink(gate)

    def test_interrupt_ends_the_turn(self):
        c = self.start({"text": "one two three", "gate": (gate := self.gate())}, "hm</think>Next.")
        s = self.session(c)
        self.prompt(c, s, "Go.")
        c.until("session/state", state="prefill")
        self.assertEqual(c.call("turn/interrupt", sessionId=s)["turnId"], 1)
        self.open_gate(gate)
        self.assertEqual(c.until("turn/ended")[-1]["params"]["reason"], "cancelled")
        self.assertEqual(c.call("turn/interrupt", sessionId=s), {})
        self.prompt(c, s, "Next.", id="p2")
        self.assertEqual(c.until("turn/ended", turnId=2)[-1]["params"]["reason"], "end_turn")

    def test_an_interrupt_does_not_wait_for_a_snapshot(self):
        c = self.start(self.create("first"), "hm</think>Done.", self.create("second"), self.create("third"), "hm</think>Done.")
        s = self.session(c)
        self.prompt(c, s, "Go.")
        c.until("turn/ended", turnId=1)
        [lock] = glob.glob(os.path.join(self.daemon.state, "snapshots", "*.git", "lares.lock"))
        with open(lock) as held:  # as another process that takes one
            fcntl.flock(held, fcntl.LOCK_EX)
            self.prompt(c, s, "Go on.", id="p2")
            while c.until("item/started")[-1]["params"]["item"]["kind"] != "tool":
                pass
            c.call("session/get", sessionId=s)
            c.call("turn/interrupt", sessionId=s)
            items = [m["params"]["item"] for m in c.until("turn/ended", turnId=2, reason="cancelled") if m["method"] == "item/completed"]
            self.assertFalse([i for i in items if i["kind"] == "note"])  # it did not wait until that was given up
            self.assertFalse(os.path.exists(os.path.join(self.root, "second")))
        self.prompt(c, s, "Go on.", id="p3")
        [made] = [m["params"]["item"] for m in c.until("turn/ended", turnId=3) if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "tool"]
        self.assertTrue(made["snapshot"])
        self.assertTrue(os.path.exists(os.path.join(self.root, "third")))

    def test_an_interrupt_waits_briefly_for_the_snapshot_behind_a_command(self):
        c = self.start(self.create("first"), "hm</think>Done.", self.bash("touch second; echo made; sleep 60"), self.bash("touch third"), "hm</think>Done.")
        s = self.session(c)
        self.prompt(c, s, "Go.")
        c.until("turn/ended", turnId=1)
        self.prompt(c, s, "Go on.", id="p2")
        c.until("item/delta", field="output")
        [lock] = glob.glob(os.path.join(self.daemon.state, "snapshots", "*.git", "lares.lock"))
        with open(lock) as held:  # as another process that takes one
            fcntl.flock(held, fcntl.LOCK_EX)
            c.call("turn/interrupt", sessionId=s)
            items = [m["params"]["item"] for m in c.until("turn/ended", turnId=2, reason="cancelled") if m["method"] == "item/completed"]
        [call] = [i for i in items if i["kind"] == "tool"]
        self.assertTrue(call["snapshot"])
        self.assertNotIn("snapshotAfter", call)
        self.assertFalse([i for i in items if i["kind"] == "note"])  # it did not wait until that was given up
        # What it changed is between the snapshots before it and before the next call.
        self.prompt(c, s, "Go on.", id="p3")
        c.until("turn/ended", turnId=3)
        c.call("session/rewind", sessionId=s, turnId=2)
        self.assertEqual([os.path.exists(os.path.join(self.root, n)) for n in ("first", "second", "third")], [True, False, False])

    def test_an_interrupt_does_not_wait_for_a_large_repository_to_be_read(self):
        for d in range(100):
            os.mkdir(os.path.join(self.root, f"d{d}"))
            for f in range(100):
                with open(os.path.join(self.root, f"d{d}", f"{f}.txt"), "w") as file:
                    file.write(f"{d} {f}\n")
        c = self.start("hm</think>Here.")
        c.sock.settimeout(100)
        s = self.session(c)
        for turn in (1, 3):  # the second time of a session that is gone on with
            self.prompt(c, s, "Go.", id=f"p{turn}")
            self.assertEqual(c.call("turn/interrupt", sessionId=s)["turnId"], turn)
            self.assertEqual(c.until("turn/ended", turnId=turn)[-1]["params"]["reason"], "cancelled")
            prefix = c.call("repo/prefix", root=self.root)
            self.assertTrue(prefix.get("looking") and not prefix.get("epoch"), "it was read to the end first")
            self.prompt(c, s, "Again.", id=f"p{turn + 1}")
            self.assertEqual(c.until("turn/ended", turnId=turn + 1)[-1]["params"]["reason"], "end_turn")
            if turn == 1:
                self.daemon.kill()
                c = self.start("hm</think>Here.")
                c.sock.settimeout(100)
                c.call("session/subscribe", sessionId=s, after=-1)

    def test_a_waiting_prompt_is_taken_back(self):
        c = self.start({"text": "hm</think>First.", "gate": (gate := self.gate())}, "hm</think>Third.")
        s = self.session(c)
        self.prompt(c, s, "First.", id="a")
        self.prompt(c, s, "Second.", id="b", delivery="queue")
        self.prompt(c, s, "Third.", id="c", delivery="queue")
        self.assertEqual(c.call("prompt/withdraw", sessionId=s, id="b"), {"withdrawn": True})
        self.assertEqual(c.call("prompt/withdraw", sessionId=s, id="b"), {"withdrawn": True})  # said twice, done once
        self.assertEqual(c.call("prompt/withdraw", sessionId=s, id="nobody's"), {})
        self.open_gate(gate)
        first = c.until("turn/ended")
        self.assertEqual(first[-1]["params"]["reason"], "end_turn")  # the running turn is not touched
        self.assertEqual([m["params"]["id"] for m in first if m["method"] == "prompt/withdrawn"], ["b"])
        second = c.until("turn/ended", turnId=2)
        users = [m["params"]["item"]["text"] for m in second if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "user"]
        self.assertEqual(users, ["Third."])
        self.assertEqual(c.call("prompt/withdraw", sessionId=s, id="a"), {})  # its turn is over

    def test_what_waits_is_taken_back_with_the_turn_that_is_stopped(self):
        c = self.start({"text": "one two three", "gate": (gate := self.gate())}, "hm</think>Next.")
        s = self.session(c)
        self.prompt(c, s, "Go.", id="a")
        c.until("session/state", state="prefill")
        self.prompt(c, s, "Steer.", id="b", delivery="steer")
        self.prompt(c, s, "Queue.", id="c", delivery="queue")
        self.assertEqual(c.call("turn/interrupt", sessionId=s, withdraw=True), {"turnId": 1})
        self.open_gate(gate)
        ended = c.until("turn/ended")
        self.assertEqual(ended[-1]["params"]["reason"], "cancelled")
        self.assertEqual([m["params"]["id"] for m in ended if m["method"] == "prompt/withdrawn"], ["b", "c"])
        c.until("session/state", state="idle")
        self.daemon.kill()  # and they do not come back
        c = self.start("hm</think>Next.")
        c.call("session/subscribe", sessionId=s)
        self.prompt(c, s, "Next.", id="d")
        second = c.until("turn/ended", turnId=2)
        users = [m["params"]["item"]["text"] for m in second if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "user"]
        self.assertEqual(users, ["Go.", "Next."])

    def test_a_running_prompt_is_taken_back_by_stopping_its_turn(self):
        c = self.start({"text": "one two three", "gate": (gate := self.gate())})
        s = self.session(c)
        self.prompt(c, s, "Go.", id="a")
        c.until("session/state", state="prefill")
        self.assertEqual(c.call("prompt/withdraw", sessionId=s, id="a"), {"turnId": 1})
        self.open_gate(gate)
        self.assertEqual(c.until("turn/ended")[-1]["params"]["reason"], "cancelled")


if __name__ == "__main__":
    main()
