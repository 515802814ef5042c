"""The daemon from outside, with a scripted model. Turns: what a prompt sets going, what is delivered when, and what is seen of it afterwards.

turns_test.py SCRIPTED_DAEMON [unittest arguments]
"""
import json
import os
import pathlib
import re
import shutil
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
import daemon_case
import evaluated
import journal
from client import DSML, Daemon, Refused, call
from daemon_case import DaemonCase, main


class TurnsTest(DaemonCase):
    def test_a_turn_from_prompt_to_file(self):
        path = os.path.join(self.root, "b.txt")
        c = self.start("I write it.</think>Writing." + call("str_replace_editor", command="create", path=path, file_text="beta\n"), "ok</think>Written.")
        s = self.session(c)
        sent = self.prompt(c, s, "Write b.txt.\nWith beta.")
        self.assertEqual(sent["turnId"], 1)
        seen = c.until("turn/ended")
        self.assertEqual(seen[-1]["params"]["reason"], "end_turn")
        with open(path) as f:
            self.assertEqual(f.read(), "beta\n")
        done = [m["params"]["item"] for m in seen if m["method"] == "item/completed"]
        self.assertEqual([(i["kind"], i.get("state")) for i in done],
                         [("user", None), ("think", None), ("text", None), ("tool", "done"), ("think", None), ("text", None)])
        self.assertIn("+beta", done[3]["changes"][0]["diff"])
        # The deltas of an item make up its text.
        text = "".join(m["params"]["text"] for m in seen if m["method"] == "item/delta" and m["params"]["itemId"] == done[2]["id"])
        self.assertEqual(text, "Writing.")
        info = c.call("session/get", sessionId=s[:5])
        self.assertEqual((info["title"], info["nTurns"], info["state"]), ("Write b.txt.", 1, "idle"))

    def test_a_number_beyond_64_bits_is_not_run_with_another(self):
        def view(last):
            path, lines = os.path.join(self.root, "a.txt"), f'<{DSML}parameter name="view_range" string="false">[1, {last}]</{DSML}parameter>'
            return "hm</think>So." + call("str_replace_editor", command="view", path=path).replace(f"\n</{DSML}invoke>", f"\n{lines}\n</{DSML}invoke>")

        long, exact = "12345678901234567890123", "10000000000000000000000"
        c = self.start(view(long), view(exact), "ok</think>Done.")
        s = self.session(c)
        self.prompt(c, s, "Look.")
        seen = c.until("turn/ended")
        refused, ran = [m["params"]["item"] for m in seen if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "tool"]
        self.assertEqual((refused["state"], refused["output"]), (
            "rejected", f"This call of str_replace_editor did not run: argument view_range[1]: {long} does not fit in 64 bits; pass it as a string."))
        self.assertIn(long, refused["arguments"])
        self.assertNotEqual(ran["state"], "rejected", ran)  # whatever the tool says of it: it is that number
        kept = [m["params"]["item"]["arguments"] for m in c.call("session/history", sessionId=s)["events"]
                if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "tool"]
        self.assertEqual(kept, [refused["arguments"], ran["arguments"]])

    def test_what_is_known_is_not_evaluated_again(self):
        c = self.start(self.create("b.txt"), "hm</think>One.", "hm</think>", "hm</think>Two.")  # an empty answer is drawn again
        s = self.session(c)
        steps = []
        for n in (1, 2):
            self.prompt(c, s, "Go.", id=f"p{n}")
            steps += [m["params"]["usage"] for m in c.until("turn/ended", turnId=n) if m["method"] == "turn/step"]
        self.assertEqual((len(steps), steps[0].get("cached", 0)), (3, 0))
        for before, step in zip(steps, steps[1:]):
            self.assertEqual((step["cached"], step["prefilled"]), (before["context"], step["prompt"] - before["context"]))
        self.daemon.stop()
        lived = self.daemon.lived
        self.assertEqual(evaluated.check(self.daemon.state, lived), {"steps": 3, "compared": 2})
        for text in (b'"cached":', b'"prefilled":'):  # a journal that says otherwise is found out
            state = os.path.join(self.home, "copy", text.decode().strip('":'))
            shutil.copytree(self.daemon.state, state)
            path = os.path.join(state, "sessions", s + ".journal")
            with open(path, "rb") as f:
                told = f.read()
            at = told.rindex(text, 0, told.rindex(b'"turn/ended"')) + len(text)
            with open(path, "wb") as f:
                f.write(told[:at] + (b"1" if told[at:at + 1] != b"1" else b"2") + told[at + 1:])
            with self.assertRaises(AssertionError):
                evaluated.check(state, lived)

    def context(self, n):
        os.environ["LARES_TEST_CONTEXT"] = str(n)
        self.addCleanup(os.environ.pop, "LARES_TEST_CONTEXT")

    def too_long_behind_a_conversation(self, c, s, n):
        """A prompt that a context of n tokens has room for, behind the repository alone."""
        self.prompt(c, s, "x" * n, id="too long")
        why = c.until("turn/ended", reason="error")[-1]["params"]["message"]
        n_repository = int(re.search(r"with the (\d+) of the repository", why).group(1))
        return "".join("qzx"[i * i % 7 % 3] + str(i % 10) for i in range(n))[:n - n_repository - 60]

    def read_by_the_model(self, s):
        """Prompts and answers, one after the other."""
        frames = [json.loads(frame) for frame in journal.frames(os.path.join(self.daemon.state, "sessions", s + ".journal"))]
        return [bytes(i for i in f["params"]["ids"] if i < 256).decode(errors="replace") for f in frames if f["method"] == "lares/appended" and f["params"]["ids"]]

    def test_what_others_changed_is_told_with_the_first_prompt_that_has_room(self):
        self.context(16000)
        for restarts in (False, True):
            with self.subTest(restarts=restarts):
                c = self.start(*["hm</think>Yes."] * 3)
                s = self.session(c)
                self.prompt(c, s, "Go.")
                c.until("turn/ended")
                long = self.too_long_behind_a_conversation(c, s, 16000)
                with open(os.path.join(self.root, "a.txt"), "a", encoding="utf-8") as f:
                    f.write("omega\n")
                self.prompt(c, s, long, id="p2")
                self.assertIn("read the prompt: ", c.until("turn/ended")[-1]["params"]["message"])
                if restarts:
                    self.daemon.kill()
                    c = self.start("hm</think>Yes.")
                    c.call("session/subscribe", sessionId=s, after=-1)
                self.prompt(c, s, "Short.", id="p3")
                c.until("turn/ended", reason="end_turn")
                self.assertRegex(self.read_by_the_model(s)[-2], "<workspace-update>\nFiles may have changed(.|\n)*Short[.]")
                self.daemon.stop()

    def test_news_are_told_with_the_first_prompt_that_has_room(self):
        self.context(16000)
        os.environ["LARES_TEST_WAKE"] = "never"
        self.addCleanup(os.environ.pop, "LARES_TEST_WAKE")
        job = "hm</think>Begun." + call("bash", command="(until [ -e go ]; do sleep 0.02; done; echo one is built) & echo begun")
        c = self.start(job, *["hm</think>Yes."] * 2)
        s = self.session(c, noSandbox=True)
        self.prompt(c, s, "Go.")
        c.until("turn/ended", reason="end_turn")
        long = self.too_long_behind_a_conversation(c, s, 16000)
        open(os.path.join(self.root, "go"), "w").close()
        while c.call("session/jobs", sessionId=s).get("jobs"):
            time.sleep(0.02)
        notes = []
        for id in ("p2", "p3"):
            self.prompt(c, s, long, id=id)
            seen = c.until("turn/ended", reason="error")
            self.assertIn("read the prompt: ", seen[-1]["params"]["message"])
            notes += [m["params"]["item"]["text"] for m in seen if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "note"]
        self.assertEqual(len([n for n in notes if "one is built" in n]), 1, notes)
        self.prompt(c, s, "Short.", id="p4")
        c.until("turn/ended", reason="end_turn")
        told = self.read_by_the_model(s)[-2]
        self.assertRegex(told, "one is built(.|\n)*Short[.]")
        self.assertEqual(told.count("one is built"), 1)

    def test_what_others_changed_is_told_after_a_summary_that_had_no_room(self):
        self.context(16000)
        c = self.start(*["hm</think>Yes."] * 2)
        s = self.session(c)
        self.prompt(c, s, "Go.")
        c.until("turn/ended", reason="end_turn")
        with open(os.path.join(self.root, "a.txt"), "a", encoding="utf-8") as f:
            f.write("".join(f"omega {i}\n" for i in range(900)))  # all is told, and leaves no room for a summary
        self.prompt(c, s, "/compact", id="p2")
        self.assertIn("it stays as it is", c.until("turn/ended")[-1]["params"]["message"])
        self.prompt(c, s, "Short.", id="p3")
        c.until("turn/ended", reason="end_turn")
        self.assertRegex(self.read_by_the_model(s)[-2], "<workspace-update>\nFiles may have changed(.|\n)*Short[.]")

    def test_a_steering_prompt_that_has_no_room_is_a_turn_of_its_own(self):
        self.context(16000)
        look = "hm</think>Look." + call("str_replace_editor", command="view", path=os.path.join(self.root, "a.txt"))
        for restarts in (False, True):
            with self.subTest(restarts=restarts):
                gate = self.gate()
                c = self.start("hm</think>Yes.", {"text": look, "gate": gate}, "hm</think>Yes.")
                s = self.session(c)
                self.prompt(c, s, "Go.")
                c.until("turn/ended")
                long = self.too_long_behind_a_conversation(c, s, 16000)
                turn = self.prompt(c, s, "Look.", id="p2")["turnId"]
                c.until("session/state", state="prefill")
                self.prompt(c, s, long, id="steer", delivery="steer")
                self.open_gate(gate)
                self.assertEqual(c.until("turn/ended", turnId=turn)[-1]["params"]["reason"], "error")
                its_own = c.until("turn/started", promptId="steer")[-1]["params"]["turnId"]
                self.assertIn("say less", c.until("turn/ended", turnId=its_own)[-1]["params"]["message"])
                if restarts:
                    self.daemon.kill()
                    c = self.start("hm</think>Yes.")
                    c.call("session/subscribe", sessionId=s, after=-1)
                self.prompt(c, s, "Short.", id="p3")
                c.until("turn/ended", reason="end_turn", turnId=its_own + 1)
                self.assertRegex(self.read_by_the_model(s)[-2], "1  alpha(.|\n)*Short[.]")  # of the call
                os.remove(gate)
                self.daemon.stop()

    def test_a_crowded_context_is_begun_anew_and_gone_back_behind(self):
        self.context(26000)
        lines = "".join(f"line {i}\n" for i in range(1, 2000))
        c = self.start("x</think>" + lines[:7000], "x</think>" + lines[:9500], "x</think>I said lines.", "x</think>Four.", "x</think>Five.")
        s = self.session(c)
        sizes = []
        for n, task in enumerate(["Say lines.", "More.", "Two and two?"], 1):
            self.prompt(c, s, task, id=f"p{n}")
            seen = c.until("turn/ended", turnId=n)
            sizes.append(c.call("session/get", sessionId=s)["contextTokens"])
        notes = [m["params"]["item"]["text"] for m in seen if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "note"]
        self.assertTrue(any("summed up and begun anew" in n for n in notes), notes)
        self.assertGreater(sizes[1], sizes[0])
        self.assertLess(sizes[2], sizes[0])
        fork = c.call("session/fork", sessionId=s, beforeTurn=3)
        self.assertEqual(fork["contextTokens"], sizes[1])
        self.daemon.kill()
        c = self.start("x</think>Six.")
        c.call("session/subscribe", sessionId=s)
        self.assertEqual(c.call("session/get", sessionId=s)["contextTokens"], sizes[2])
        c.call("session/rewind", sessionId=s, turnId=3, files="keep")
        self.assertEqual(c.call("session/get", sessionId=s)["contextTokens"], sizes[1])
        c.call("session/unrewind", sessionId=s)
        self.assertEqual(c.call("session/get", sessionId=s)["contextTokens"], sizes[2])
        self.prompt(c, s, "Six?", id="p4")
        self.assertEqual(c.until("turn/ended", turnId=4)[-1]["params"]["reason"], "end_turn")

    def test_a_conversation_is_summed_up_when_the_user_asks(self):
        lines = "".join(f"line {i}\n" for i in range(1, 700))
        gate = self.gate()
        c = self.start({"text": "x</think>" + lines, "gate": gate}, "x</think>I said lines.", "x</think>Seven.")
        s = self.session(c)
        self.prompt(c, s, "Say lines.", id="p1")
        c.until("turn/started", turnId=1)
        self.prompt(c, s, "/compact keep 7", id="p2", delivery="steer")  # is no word to the running turn
        self.open_gate(gate)
        first = c.until("turn/ended", turnId=1)[-1]["params"]["usage"]["context"]
        summed = c.until("turn/ended", turnId=2)
        self.assertEqual(summed[-1]["params"]["reason"], "end_turn")
        self.assertLess(summed[-1]["params"]["usage"]["context"], first - 4000)
        notes = [m["params"]["item"]["text"] for m in summed if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "note"]
        self.assertRegex(notes[0], r"^the conversation of \d+ tokens is summed up and begun anew; the repository stays$")
        self.assertRegex(notes[1], r"^\d+ tokens are left of \d+$")
        self.prompt(c, s, "Which number?", id="p3")
        self.assertEqual(c.until("turn/ended", turnId=3)[-1]["params"]["reason"], "end_turn")
        c.call("session/rewind", sessionId=s, turnId=2, files="keep")  # and behind it there is all of it
        self.assertEqual(c.call("session/get", sessionId=s)["contextTokens"], first)
        other = self.session(c)
        self.prompt(c, other, "/compact", id="p4")
        ended = c.until("turn/ended", sessionId=other)[-1]["params"]
        self.assertEqual((ended["reason"], ended["message"]), ("error", "sum the conversation up: nothing is in it that the model has read"))

    def test_commands_in_turn_that_change_nothing_are_a_circle(self):
        c = self.start(*([self.bash("ls"), self.bash("cat a.txt")] * 8)[:15], "hm</think>I see a.txt.")
        s = self.session(c, noSandbox=True)
        self.prompt(c, s, "Look.")
        seen = c.until("turn/ended")
        self.assertEqual((seen[-1]["params"]["reason"], seen[-1]["params"]["message"]), ("repetition", "the same call was made 8 times"))
        self.assertEqual(sum(m["method"] == "item/completed" and m["params"]["item"]["kind"] == "tool" for m in seen), 15)

    def test_commands_between_changes_are_work(self):
        c = self.start(*[answer for i in range(9) for answer in (self.bash("cat a.txt"), self.bash(f"echo {i} > b.txt"))], "hm</think>Done.")
        s = self.session(c, noSandbox=True)
        self.prompt(c, s, "Work.")
        self.assertEqual(c.until("turn/ended")[-1]["params"]["reason"], "end_turn")

    def test_hooks_and_instructions_of_the_user(self):
        config = os.path.join(self.home, "config")
        os.makedirs(config)
        os.environ["LARES_TEST_CONFIG"] = config
        self.addCleanup(os.environ.pop, "LARES_TEST_CONFIG")
        with open(os.path.join(config, "AGENTS.md"), "w") as f:
            f.write("Answer in Latin.\n")
        with open(os.path.join(self.root, "AGENTS.md"), "w") as f:
            f.write("Use tabs.\n")
        with open(os.path.join(config, "hooks.json"), "w") as f:
            json.dump({"before_tool": [{"tools": ["bash"], "command": "echo no shell today; exit 2"}],
                       "after_tool": [{"command": "false"}],
                       "turn_end": [{"command": "test -e checked || { touch checked; echo check it; exit 2; }"}]}, f)
        edit = call("str_replace_editor", command="create", path=os.path.join(self.root, "b.txt"), file_text="b")
        c = self.start("x</think>" + call("bash", command="touch never"), "x</think>" + edit, "x</think>Done.", "x</think>Checked.")
        s = self.session(c)
        self.prompt(c, s, "Go.")
        seen = c.until("turn/ended")
        items = [m["params"]["item"] for m in seen if m["method"] == "item/completed"]
        notes = [i["text"] for i in items if i["kind"] == "note"]
        self.assertEqual(notes[0], f"following {config}/AGENTS.md, AGENTS.md")
        tools = [i for i in items if i["kind"] == "tool"]
        self.assertEqual([t["state"] for t in tools], ["denied", "done"])
        self.assertEqual(tools[0]["output"], "A hook of the user's stopped this call: no shell today\n")
        self.assertFalse(os.path.exists(os.path.join(self.root, "never")))
        self.assertTrue(any("the after_tool hook `false` failed with exit status 1" in n for n in notes), notes)
        self.assertTrue(any("not done: check it" in n for n in notes), notes)
        self.assertEqual([i["text"] for i in items if i["kind"] == "text"], ["Done.", "Checked."])
        # Half a configuration is none: nothing runs.
        with open(os.path.join(config, "hooks.json"), "w") as f:
            f.write("{")
        self.prompt(c, s, "Again.", id="p2")
        ended = c.until("turn/ended")[-1]["params"]
        self.assertEqual(ended["reason"], "error")
        self.assertIn(f"read the hooks in {config}/hooks.json: line 1 is not JSON; mend the file", ended["message"])

    def test_skills(self):
        def skill(home, name, body):
            path = os.path.join(home, ".agents", "skills", name)
            os.makedirs(path)
            with open(os.path.join(path, "SKILL.md"), "w") as f:
                f.write(f"---\nname: {name}\ndescription: For {name}.\n---\n{body}\n")

        os.environ["LARES_TEST_HOME"] = os.path.join(self.home, "person")
        self.addCleanup(os.environ.pop, "LARES_TEST_HOME")
        skill(os.environ["LARES_TEST_HOME"], "own", "[[say [\"hm</think>By my own, for $ARGUMENTS.\"]]]")
        skill(self.root, "here", "[[say [\"hm</think>By this one's.\"]]]")
        os.makedirs(os.path.join(self.root, ".claude", "skills", "bad"))
        with open(os.path.join(self.root, ".claude", "skills", "bad", "SKILL.md"), "w") as f:
            f.write("no front matter\n")
        self.daemon = Daemon(daemon_case.EXECUTABLE, self.home, "prompts")
        c = self.connect()
        s = self.session(c)
        self.prompt(c, s, "/own this task")
        items = [m["params"]["item"] for m in c.until("turn/ended") if m["method"] == "item/completed"]
        self.assertEqual([(i["kind"], i["text"]) for i in items if i["kind"] != "think"],
                         [("user", "/own this task"), ("note", "skills: here, own"),
                          ("note", "the skill .claude/skills/bad/SKILL.md is not used: it does not begin with a line ---, its description and another ---"),
                          ("text", "By my own, for this task.")])
        self.prompt(c, s, "/here", id="p2")
        items = [m["params"]["item"] for m in c.until("turn/ended", turnId=2) if m["method"] == "item/completed"]
        self.assertEqual([(i["kind"], i["text"]) for i in items if i["kind"] != "think"], [("user", "/here"), ("text", "By this one's.")])
        self.prompt(c, s, '/bad [[say ["hm</think>Without it."]]]\n', id="p3")
        items = [m["params"]["item"] for m in c.until("turn/ended", turnId=3) if m["method"] == "item/completed"]
        self.assertEqual([(i["kind"], i["text"]) for i in items if i["kind"] in ("note", "text")],
                         [("note", "the skill .claude/skills/bad/SKILL.md is not used: it does not begin with a line ---, its description and another ---"), ("text", "Without it.")])
        slow = {"text": "x</think>" + call("str_replace_editor", command="create", path=os.path.join(self.root, "b.txt"), file_text="b"), "us": 6000}
        self.prompt(c, s, f"[[say {json.dumps([slow])}]]\n", id="p4")
        self.prompt(c, s, "/own steering", id="p5", delivery="steer")
        texts = [m["params"]["item"]["text"] for m in c.until("turn/ended", turnId=4) if m["method"] == "item/completed" and m["params"]["item"]["kind"] in ("user", "text")]
        self.assertEqual(texts[1:], ["/own steering", "By my own, for steering."])
        self.prompt(c, s, f"[[say {json.dumps([slow, 'hm</think>Then.'])}]]\n", id="p6")
        self.prompt(c, s, "/bad steering", id="p7", delivery="steer")
        items = [m["params"]["item"] for m in c.until("turn/ended", turnId=5) if m["method"] == "item/completed"]
        self.assertIn("the skill .claude/skills/bad/SKILL.md is not used: it does not begin with a line ---, its description and another ---",
                      [i["text"] for i in items if i["kind"] == "note"])
        view = call("str_replace_editor", command="view", path=os.path.join(os.environ["LARES_TEST_HOME"], ".agents", "skills", "own", "SKILL.md"))
        self.prompt(c, s, f"[[say {json.dumps(['x</think>' + view, 'hm</think>Seen.'])}]]\n", id="p8")
        tools = [m["params"]["item"] for m in c.until("turn/ended", turnId=6) if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "tool"]
        self.assertIn("By my own", tools[0]["output"])

    def test_the_model_is_told_where_nothing_is_changed(self):
        c = self.start(*["hm</think>Done."] * 5)

        def prompt_tokens(mode="", **settings):
            s = self.session(c, **settings)
            self.prompt(c, s, "Look.", id=s, **({"mode": mode} if mode else {}))
            return c.until("turn/ended")[-1]["params"]["usage"]["prompt"]

        plain, ask, plan, read_only = prompt_tokens(), prompt_tokens("ask"), prompt_tokens(policy="plan"), prompt_tokens(policy="read-only")
        self.assertGreater(ask - plain, len("Nothing is changed in this turn"))
        self.assertGreater(plan - ask, len("say step by step what you would change"))
        self.assertEqual(read_only, ask)
        self.assertLess(prompt_tokens("ask", noSandbox=True), ask)

    def test_an_answer_is_held_to_a_schema(self):
        edit = call("str_replace_editor", command="create", path=os.path.join(self.root, "b.txt"), file_text="b")
        c = self.start('hm</think>{"n": 7}', "hm</think>" + edit, 'hm</think>{"n":7}', "hm</think>It is seven.", '</think>{"n":7}')
        schema = json.dumps({"type": "object", "properties": {"n": {"const": 7}}, "required": ["n"], "additionalProperties": False})
        s = self.session(c, answerSchema=schema)
        for n in (1, 2):
            self.prompt(c, s, "How many?", id=f"p{n}")
            items = [m["params"]["item"] for m in c.until("turn/ended", turnId=n) if m["method"] == "item/completed"]
            self.assertEqual([json.loads(i["text"]) for i in items if i["kind"] == "text"], [{"n": 7}])
        self.assertEqual([i["state"] for i in items if i["kind"] == "tool"], ["done"])
        self.prompt(c, s, "In words?", id="p3")  # the mask has it say something else than it wanted to
        items = [m["params"]["item"] for m in c.until("turn/ended", turnId=3) if m["method"] == "item/completed"]
        self.assertNotIn("It is seven.", [i["text"] for i in items if i["kind"] == "text"])
        with self.assertRaises(Refused) as refused:
            self.session(c, answerSchema='{"not": {}}')
        self.assertIn("settings.answerSchema cannot be obeyed: .not: ", str(refused.exception))

    def test_replay_is_what_was_seen(self):
        c = self.start("hm</think>One.", "hm</think>Two.")
        s = self.session(c)
        durable = []
        for k in (1, 2):
            self.prompt(c, s, f"Prompt {k}.", id=f"p{k}")
            durable += [m for m in c.until("turn/ended") if "seq" in m["params"]]
        again = self.connect()
        again.call("session/subscribe", sessionId=s)
        replayed = [m for m in again.until("turn/ended", turnId=2) if "seq" in m["params"]]
        self.assertEqual(replayed, durable)
        seqs = [m["params"]["seq"] for m in replayed]
        self.assertEqual(seqs, sorted(set(seqs)))
        late = self.connect()
        late.call("session/subscribe", sessionId=s, after=seqs[-2])
        self.assertEqual([m for m in late.until("turn/ended") if "seq" in m["params"]], durable[-1:])
        history = late.call("session/history", sessionId=s, after=0, limit=3)
        self.assertTrue(history["more"])
        self.assertEqual([e["params"]["seq"] for e in history["events"]], seqs[:3])

    def test_a_page_of_the_history_has_an_event_however_long_it_is(self):
        c = self.start({"text": "hm</think>One.", "gate": (gate := self.gate())})
        s = self.session(c)
        self.prompt(c, s, "First.", id="a")
        self.prompt(c, s, "x" * (3 << 20), id="b", delivery="queue")  # longer than pages are otherwise
        c.call("prompt/withdraw", sessionId=s, id="b")
        self.open_gate(gate)
        c.until("turn/ended")
        methods, after = [], 0
        while True:
            page = c.call("session/history", sessionId=s, after=after)
            methods += [e["method"] for e in page["events"]]
            if not page.get("more"):
                break
            self.assertTrue(page["events"])
            after = page["events"][-1]["params"]["seq"]
        self.assertEqual((methods.count("prompt/accepted"), methods[-1]), (2, "turn/ended"))

    def test_a_question_is_sampled_at_a_lower_temperature_unless_told_otherwise(self):
        c = self.start()
        def temperature(**settings):
            return c.call("session/create", root=self.root, settings=settings)["settings"]["temperature"]
        self.assertLess(temperature(mode="ask"), temperature())
        self.assertEqual(temperature(mode="ask", temperature=0.7), 0.7)

    def test_a_prompts_mode_holds_for_its_turn_in_a_session_of_the_other(self):
        c = self.start(self.create("asked"))
        s = self.session(c)
        self.prompt(c, s, "What?", id="a", mode="ask")
        c.until("turn/ended", turnId=1)
        self.assertFalse(os.path.exists(os.path.join(self.root, "asked")))
        self.daemon.stop()
        c = self.start(self.create("worked"), "hm</think>Done.")
        c.call("session/subscribe", sessionId=s)
        self.prompt(c, s, "Do it.", id="b")  # the session's own mode again
        c.until("turn/ended", turnId=2)
        self.assertTrue(os.path.exists(os.path.join(self.root, "worked")))
        with self.assertRaises(Refused) as e:
            self.prompt(c, s, "What?", id="a", mode="work")
        self.assertEqual(e.exception.kind, "conflict")
        with self.assertRaises(Refused) as e:
            self.prompt(c, s, "What?", id="c", mode="play")
        self.assertEqual(e.exception.kind, "invalid_params")


if __name__ == "__main__":
    main()
