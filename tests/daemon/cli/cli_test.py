"""What a user of `lares` sees: against the real daemon with a scripted model, and a daemon made of a script where a fault is
wanted. cli_test.py LARES SCRIPTED_DAEMON [unittest arguments]"""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
import cli_case
from cli_case import THINK, CliCase
from cli_fake_daemon import FakeDaemon
from client import Client, Daemon, call


class CliTest(CliCase):
    # ---- run

    def test_the_answer_is_on_stdout_and_the_work_on_stderr(self):
        self.start("I look first.</think>Editing." + self.edit(), THINK + "It is gamma now.")
        status, out, err = self.lares("run", "Make it gamma.")
        self.assertEqual((status, self.read("a.txt")), (0, "alpha\ngamma\n"), err)
        self.assertIn("It is gamma now.", out)
        self.assertNotIn("I look first.", out)
        for shown in ("I look first.", "str_replace_editor", "-beta", "+gamma", "finished", "a.txt"):
            self.assertIn(shown, err)
        self.assertNotIn("\x1b", out + err)  # no terminal, no control sequences

    def test_the_summary_counts_what_is_another_at_the_end(self):
        undo = call("str_replace_editor", command="undo_edit", path=os.path.join(self.root, "a.txt"))
        self.start(THINK + self.edit(), THINK + undo, THINK + "Back.", THINK + call("bash", command="true"), THINK + "Ran.",
                   THINK + call("bash", command="touch new"), THINK + "Ran.", THINK + call("bash", command="true"), THINK + self.edit(), THINK + "Edited.")
        self.assertIn("no files changed", self.lares("run", "Try.")[2])
        self.assertEqual(self.read("a.txt"), "alpha\nbeta\n")
        self.assertIn("no files changed", self.lares("run", "Run.")[2])
        self.assertIn("1 file changed: new", self.lares("run", "Run.")[2])
        self.assertIn("1 file changed: a.txt", self.lares("run", "Both.")[2])

    def test_what_commands_changed_is_in_summary_diff_and_result(self):
        new = call("str_replace_editor", command="create", path=os.path.join(self.root, "n1.txt"), file_text="x\n")
        commands = "printf '#!/bin/sh\\n' > n2.txt; chmod +x n2.txt; sed -i s/alpha/omega/ a.txt; rm old.txt"
        pathlib.Path(self.root, "old.txt").write_text("old\n")
        before = os.path.join(self.home, "before")
        shutil.copytree(self.root, before)
        self.start(THINK + self.edit(), THINK + new, THINK + call("bash", command=commands), THINK + "Done.")
        status, out, err = self.lares("run", "--json", "Change all that.")
        self.assertEqual(status, 0, err)
        result = json.loads(out.splitlines()[-1])
        self.assertEqual([c["path"] for c in result["changes"]], ["a.txt", "n1.txt", "a.txt", "n2.txt", "old.txt"])
        told = json.loads(self.lares("diff", "--json")[1])
        self.assertEqual((sorted({c["path"] for c in told["changes"]}), told["complete"]), (["a.txt", "n1.txt", "n2.txt", "old.txt"], True))
        diff, said = self.lares("diff")[1:]
        self.assertNotIn("may have changed", said)
        subprocess.run(["git", "apply", "-"], input=diff, text=True, cwd=before, check=True, env=dict(os.environ, GIT_CEILING_DIRECTORIES=self.home))
        for name in ("a.txt", "n1.txt", "n2.txt"):
            self.assertEqual(pathlib.Path(before, name).read_text(), self.read(name))
        self.assertEqual((self.read("a.txt"), os.path.exists(os.path.join(before, "old.txt"))), ("omega\ngamma\n", False))
        self.assertTrue(os.access(os.path.join(before, "n2.txt"), os.X_OK))
        self.assertEqual(self.lares("rewind", "--yes")[0], 0)
        self.assertEqual(self.lares("diff")[1:], ("", ""))
        self.assertEqual(self.lares("rewind", "--undo")[0], 0)
        self.assertEqual(self.lares("diff")[1], diff)

    def test_of_a_command_that_changed_very_many_files_it_is_said_that_it_may_have(self):
        self.start(THINK + call("bash", command="for i in $(seq 1000 1500); do echo $i > $i; done"), THINK + "Done.")
        self.assertNotIn("changed", self.lares("run", "Go.")[2])
        diff, said = self.lares("diff")[1:]
        self.assertEqual(diff, "")
        self.assertIn("may have changed other files too", said)

    def test_json_is_the_daemons_lines_and_a_result(self):
        self.start(THINK + self.edit(), THINK + "Done.")
        status, out, _ = self.lares("run", "--json", "Make it gamma.")
        lines = [json.loads(line) for line in out.splitlines()]
        self.assertEqual(status, 0)
        self.assertEqual(lines[-1]["type"], "result")
        self.assertEqual(lines[-1]["stop_reason"], "end_turn")
        self.assertEqual([c["path"] for c in lines[-1]["changes"]], ["a.txt"])
        self.assertIn("turn/ended", [line.get("method") for line in lines])
        self.assertEqual(lines[-1]["answer"], "Done.")

    def test_the_tokens_of_thinking_are_those_of_the_step(self):
        self.start("I think of quite a number of things here.</think>So.")
        lines = [json.loads(line) for line in self.lares("ask", "--json", "What?")[1].splitlines()]
        items = {line["params"]["item"]["kind"]: line["params"]["item"] for line in lines if line.get("method") == "item/completed"}
        step = next(line["params"]["usage"] for line in lines if line.get("method") == "turn/step")
        self.assertGreater(step["thinking"], 5)
        self.assertEqual(items["think"]["tokens"], step["thinking"])
        self.assertLessEqual(items["text"]["tokens"], step["generated"] - step["thinking"])

    def test_limits_and_errors_have_their_status(self):
        view = call("str_replace_editor", command="view", path=os.path.join(self.root, "a.txt"))
        self.start(THINK + view, THINK + view)
        status, _, err = self.lares("run", "--steps", "1", "Look.")
        self.assertEqual(status, 3, err)
        self.assertIn("step limit", err)
        self.assertEqual(self.lares("run", "--steps", "1", "Look.")[0], 3)
        status, _, err = self.lares("run", "The script has nothing more to say.")
        self.assertEqual(status, 1, err)
        self.assertIn("the script has no more answers", err)

    def test_an_answer_is_a_document_of_a_schema(self):
        schema = os.path.join(self.home, "schema.json")
        with open(schema, "w") as f:
            f.write('{"enum": ["yes", "no"]}')
        self.start(THINK + '"yes"')
        status, out, err = self.lares("ask", "--schema", schema, "Is it?")
        self.assertEqual((status, json.loads(out)), (0, "yes"), err)
        with open(schema, "w") as f:
            f.write('{"not": {}}')
        for file, why in ((schema, f"obey --schema {schema}: .not: "), ("/nowhere", "read --schema /nowhere: No such file")):
            status, out, err = self.lares("ask", "--schema", file, "Is it?")
            self.assertEqual((status, out), (2, ""))
            self.assertIn(why, err)
        self.assertIn("--session continues a session", self.lares("ask", "--schema", schema, "--session", "abcd", "Is it?")[2])

    def test_ask_changes_nothing(self):
        self.start(THINK + "It says alpha.")
        status, out, _ = self.lares("ask", "What does it say?")
        self.assertEqual((status, out.strip()), (0, "It says alpha."))

    def test_ctrl_c_interrupts_the_turn_and_the_session_lives_on(self):
        gate = os.path.join(self.home, "gate")
        os.mkfifo(gate)
        self.start({"text": "one two", "gate": gate}, THINK + "Next.")
        p = self.background("run", "--json", "Go.")
        session = self.until(p, "session/state", state="prefill")["sessionId"]
        p.send_signal(signal.SIGINT)
        self.until(p, "session/state", state="stopping")
        with open(gate, "w") as f:
            f.write("x")
        rest = p.communicate(timeout=60)[0].decode()
        self.assertEqual(p.returncode, 130)
        self.assertEqual(json.loads(rest.splitlines()[-1])["stop_reason"], "cancelled")
        self.assertEqual(self.lares("run", "--session", session, "Again.")[1].strip(), "Next.")

    def test_the_end_of_an_interrupted_turn_says_how_to_go_on(self):
        gate = os.path.join(self.home, "gate")
        os.mkfifo(gate)
        self.start({"text": "one two", "gate": gate})
        p = self.background("run", "Go.")
        with open(gate, "w") as f:  # opens when the turn runs
            c = Client(self.socket)
            session = c.call("session/list")["sessions"][0]["sessionId"]
            c.call("session/subscribe", sessionId=session)
            p.send_signal(signal.SIGINT)
            c.until("session/state", state="stopping")
            c.close()
            f.write("x")
        err = p.communicate(timeout=60)[1].decode()
        self.assertEqual(p.returncode, 130)
        self.assertRegex(err.splitlines()[-1], f"^interrupted · .*`--session {session}` goes on$")

    def test_a_second_run_on_the_same_files_is_told_of_the_first(self):
        gate = os.path.join(self.home, "gate")
        os.mkfifo(gate)
        self.start({"text": THINK + "First.", "gate": gate}, THINK + "Second.", THINK + "Third.", THINK + "Fourth.", THINK + "Fifth.")
        first = self.background("run", "--json", "First.")
        session = self.until(first, "session/state", state="prefill")["sessionId"]
        told = f"session {session} is at work on these files too"
        seconds = [self.background(*args) for args in (("run", "Second."), ("ask", "Third."), ("run", "--policy", "read-only", "Fourth."))]
        c = Client(self.socket)
        self.addCleanup(c.close)
        while sum(s.get("turnId", 0) != 0 for s in c.call("session/list")["sessions"]) < 4:
            pass  # they have looked around before they begin
        with open(gate, "w") as f:
            f.write("x")
        errs = [p.communicate(timeout=60)[1].decode() for p in seconds]
        first.communicate(timeout=60)
        self.assertEqual([err.count(told) for err in errs], [1, 0, 0], errs)
        self.assertNotIn("is at work", self.lares("run", "Fifth.")[2])

    def test_ctrl_c_takes_back_a_prompt_that_waits_and_leaves_the_running_turn_alone(self):
        gate = os.path.join(self.home, "gate")
        os.mkfifo(gate)
        self.start({"text": THINK + "First.", "gate": gate}, THINK + "Third.")
        first = self.background("run", "--json", "First.")
        session = self.until(first, "session/state", state="prefill")["sessionId"]
        second = self.background("run", "--json", "--session", session, "--delivery", "queue", "Second.")
        self.until(second, "prompt/accepted", content="Second.")
        second.send_signal(signal.SIGINT)
        rest = second.communicate(timeout=60)[0].decode()
        self.assertEqual(second.returncode, 130)
        result = json.loads(rest.splitlines()[-1])
        self.assertEqual((result["type"], result["stop_reason"]), ("result", "cancelled"))
        with open(gate, "w") as f:
            f.write("x")
        rest = first.communicate(timeout=60)[0].decode()
        self.assertEqual((first.returncode, json.loads(rest.splitlines()[-1])["stop_reason"]), (0, "end_turn"))
        self.assertEqual(self.lares("run", "--session", session, "Third.")[1].strip(), "Third.")  # and "Second." never ran

    # ---- the daemon comes and goes

    def test_a_daemon_that_dies_in_mid_turn_is_waited_for(self):
        gate = os.path.join(self.home, "gate")
        os.mkfifo(gate)
        self.start({"text": "never", "gate": gate})
        p = self.background("run", "--json", "Go.")
        self.until(p, "turn/started")
        # Stopped while the daemon is replaced, so that the new one is there when it looks.
        p.send_signal(signal.SIGSTOP)
        self.daemon.kill()
        self.start(THINK + "Later.")
        p.send_signal(signal.SIGCONT)
        out, err = (x.decode() for x in p.communicate(timeout=60))
        self.assertEqual(json.loads(out.splitlines()[-1])["stop_reason"], "crashed")
        self.assertEqual(p.returncode, 1, err)

    def test_that_the_daemon_died_is_said_once(self):
        gate = os.path.join(self.home, "gate")
        os.mkfifo(gate)
        self.start(THINK + self.edit(), {"text": "never", "gate": gate})
        p = self.background("run", "Go.")
        with open(gate, "w"):
            while b"+gamma" not in p.stderr.readline():
                pass
            p.send_signal(signal.SIGSTOP)
            self.daemon.kill()
        self.start()
        p.send_signal(signal.SIGCONT)
        err = p.communicate(timeout=60)[1].decode()
        self.assertEqual(p.returncode, 1)
        self.assertIn("\nfailed: the daemon died during this turn · ", err)
        self.assertEqual(err.count("died"), 1, err)
        self.assertNotIn("0 steps", err)  # nobody counted them

    def test_a_daemon_that_is_just_dying_is_asked_again(self):
        os.makedirs(os.path.dirname(self.socket), mode=0o700)
        with socket.socket(socket.AF_UNIX) as dying:
            dying.bind(self.socket)
            dying.listen()
            p = self.background("run", "Go.")
            connection, _ = dying.accept()
        with connection:
            connection.recv(1)  # the greeting came, and is never answered
            p.send_signal(signal.SIGSTOP)
        os.unlink(self.socket)
        self.start(THINK + "Here.")
        p.send_signal(signal.SIGCONT)
        out, err = (x.decode() for x in p.communicate(timeout=60))
        self.assertEqual((p.returncode, out.strip()), (0, "Here."), err)

    def test_without_a_daemon_beside_it_one_line_says_so(self):
        alone = os.path.join(self.home, "lares")
        shutil.copy(cli_case.LARES, alone)
        status, out, err = self.lares("run", "Go.", lares=alone)
        self.assertEqual((status, out), (1, ""))
        self.assertIn("laresd belongs beside lares", err)
        self.assertEqual(len(err.strip().splitlines()), 1, err)

    def test_status_sessions_and_shutdown(self):
        status, out, _ = self.lares("status")
        self.assertEqual(status, 1)
        self.assertIn("no daemon runs on", out)
        self.start(THINK + "One.")
        self.assertEqual(json.loads(self.lares("status", "--json")[1])["model"]["directory"], "scripted")
        self.lares("run", "A title to see.")
        self.assertIn("A title to see.", self.lares("sessions")[1])
        self.assertEqual(self.lares("shutdown")[0], 0)
        self.assertEqual(self.daemon.process.poll(), 0)  # it has ended when that comes back

    def test_rules_are_added_listed_and_removed(self):
        edit = call("str_replace_editor", command="create", path=os.path.join(self.root, "new.txt"), file_text="x\n")
        self.start(THINK + "So." + edit, THINK + "Done.", THINK + "So." + edit, THINK + "Done.")
        self.assertIn("no rules", self.lares("rules")[2])
        self.assertEqual(json.loads(self.lares("rules", "--json")[1]), {"rules": []})
        status, out, err = self.lares("rules", "add", "bahs", "*", "allow")
        self.assertEqual((status, out), (1, ""))
        self.assertIn("add a rule: there is no tool bahs; do you mean bash?", err)
        self.assertEqual(self.lares("rules", "add", "str_replace_editor", "*.txt", "deny")[0], 0)
        self.assertEqual(self.lares("rules", "add", "bash", "make *", "allow", "--user")[0], 0)
        self.assertEqual([line.split() for line in self.lares("rules")[1].splitlines()],
                         [["user", "allow", "bash", "make", "*"], ["repository", "deny", "str_replace_editor", "*.txt"]])
        self.lares("run", "Make it.")
        self.assertFalse(os.path.exists(os.path.join(self.root, "new.txt")))
        self.assertIn("there is a user's one, which `--user` removes", self.lares("rules", "remove", "bash", "make *")[2])
        self.assertIn("there is a repository's one", self.lares("rules", "remove", "--user", "str_replace_editor", "*.txt")[2])
        self.assertEqual(self.lares("rules", "remove", "str_replace_editor", "*.txt")[0], 0)
        self.assertEqual(self.lares("rules", "remove", "str_replace_editor", "*.txt")[0], 1)
        # Nobody is there to be asked: the call does not run, and the command ends.
        status, out, err = self.lares("run", "--policy", "ask", "Make it.")
        self.assertEqual(status, 0)
        self.assertIn("nobody was there to answer", err)
        self.assertFalse(os.path.exists(os.path.join(self.root, "new.txt")))

    def test_prefix_says_what_the_model_has_before_it(self):
        self.start(THINK + "One.", THINK + "Two.")
        self.assertIn("none yet", self.lares("prefix")[1])
        os.makedirs(os.path.join(self.root, "src"))
        self.write("src/b.py", "x = 1\n")
        self.write("key.pem", "secret\n")
        self.lares("ask", "What?")
        status, out, err = self.lares("prefix")
        self.assertEqual((status, err), (0, ""))
        self.assertRegex(out, r"base +epoch 1, [\d,]+ of at most [\d,]+ tokens")
        self.assertRegex(out, r"changes +none since")
        self.assertRegex(out, r"src/  \(1 in full\)")
        files = self.lares("prefix", "--files")[1]
        self.assertRegex(files, r"a\.txt  \(full\)")
        self.assertRegex(files, r"key\.pem  \(by name only: secret\)")
        self.write("src/b.py", "x = 2\n")
        self.lares("ask", "And now?")
        prefix = json.loads(self.lares("prefix", "--json")[1])
        self.assertEqual((prefix["root"], prefix["epoch"]), (self.root, 2))  # a small one is written anew
        self.assertEqual([f["state"] for f in prefix["files"] if f["path"] == "src/b.py"], ["full"])
        self.assertGreater(prefix["prefilledTokens"], 0)
        self.assertRegex(self.lares("prefix")[1], r"cache +[\d,]+ of [\d,]+ tokens of prompts were evaluated already")
        status, out, err = self.lares("prefix", "--scrub")  # the scripted engine has no pages to keep
        self.assertEqual((status, out), (1, ""))
        self.assertIn("nothing is", err)
        self.assertIn("prefix", self.lares("status")[1])

    def test_output_that_cannot_be_written_is_an_error_and_a_reader_that_left_is_none(self):
        def to(stdout, *args):
            p = subprocess.run(self.command(*args), cwd=self.root, env=self.env(), stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE,
                               timeout=60)
            return p.returncode, p.stderr.decode().strip().splitlines()[-1:]
        full = ["lares: write the output: No space left on device"]
        with open("/dev/full", "w") as disk:
            self.assertEqual(to(disk, "status"), (1, full))
            self.start(THINK + "One.", THINK + "Two.", THINK + "Three.")
            self.assertEqual(to(disk, "status"), (1, full))
            self.assertEqual(to(disk, "run", "Go."), (1, full))
            self.assertEqual(to(disk, "run", "--json", "Go."), (1, full))
        reader, writer = os.pipe()
        os.close(reader)
        self.assertEqual(to(writer, "status"), (0, []))
        self.assertEqual(to(writer, "run", "--json", "Go."), (0, []))
        os.close(writer)

    def test_a_model_that_does_not_load_leaves_no_daemon_and_no_session(self):
        env = dict(self.env(), LARES_MODEL="/nonexistent")
        for _ in range(2):
            p = subprocess.run(self.command("run", "Go."), cwd=self.root, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, timeout=60)
            self.assertEqual((p.returncode, p.stdout), (1, b""))
            self.assertIn(b"/nonexistent/config.json", p.stderr)
            self.assertEqual(len(p.stderr.strip().splitlines()), 1, p.stderr)
        self.assertEqual(json.loads(self.lares("sessions", "--json")[1])["sessions"], [])
        self.assertEqual(self.lares("shutdown")[0], 0)

    def run_without_model(self, **environment):
        p = subprocess.run(self.command("run", "Go."), cwd=self.root, env=dict(self.env(), **environment), stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        self.assertEqual((p.returncode, p.stdout), (1, b""))
        return p.stderr.decode()

    def test_a_models_name_in_the_environment_is_one_from_here(self):
        self.assertIn(f"{self.root}/models/none/config.json", self.run_without_model(LARES_MODEL="./models/none"))

    def test_a_state_directory_may_be_named_with_a_slash_behind_it(self):
        for n, ending in enumerate(("/", "//", "/.")):
            state = os.path.join(self.home, f"of{n}", "state")
            for _ in range(2):
                self.assertIn("/nonexistent/config.json", self.run_without_model(LARES_STATE_DIR=state + ending, LARES_MODEL="/nonexistent"))
            self.assertEqual(os.stat(state).st_mode & 0o777, 0o700)

    def test_token_ids_go_in_and_out_where_there_is_no_tokenizer(self):
        golden = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../goldens/micro-flash")
        self.write("ids.json", "[0, 5, 7]")
        generate = ("model", "generate", "--model", golden, "--tokens", "ids.json", "--n", "3", "--temperature", "0")
        status, out, err = self.lares(*generate, "--ids")
        self.assertEqual(status, 0, err)
        ids = json.loads(out)
        self.assertEqual([type(i) for i in ids], [int] * 3)
        self.write("ids.json", json.dumps([0, 5, 7, *ids[:2]]))
        self.assertEqual(json.loads(self.lares(*generate, "--ids")[1])[0], ids[2])
        status, out, err = self.lares(*generate)
        self.assertEqual((status, out), (1, ""))
        self.assertIn("tokenizer.json", err)

    def test_decode_takes_ids_and_nothing_that_looks_like_them(self):
        ids = json.loads(self.lares("tokenize", "def f(x):")[1])
        words = [str(i) for i in ids]
        for text in (json.dumps(ids), " ".join(words), ", ".join(words), f" {words[0]} {','.join(words[1:])}\n"):
            self.assertEqual(self.lares("tokenize", "--decode", text), (0, "def f(x):", ""))
        self.assertEqual(self.lares("tokenize", "--decode", " "), (0, "", ""))
        for text in ("[1,2", "1,,2", "1,", ",1", "[1,,2]", "[1] 2", "1]", "[[1]]", "[1.5]", '["1"]', "1.5", "x", "[-1]", "99999999", "99999999999999999999", "[99999999999999999999]"):
            status, out, err = self.lares("tokenize", "--decode", text)
            self.assertEqual((status, out, len(err.splitlines())), (1, "", 1), (text, err))
            self.assertIn("decode: ", err)

    # ---- what a session holds

    def test_completion_knows_every_command_and_option(self):
        script = self.lares("completion", "bash")[1]

        def complete(*words):
            ask = f'{script}\nCOMP_WORDS=(lares "$@"); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _lares 2>/dev/null; printf "%s\\n" "${{COMPREPLY[@]}}"'
            return subprocess.run(["bash", "-c", ask, "bash", *words], stdout=subprocess.PIPE, timeout=30).stdout.decode().split()
        help = self.lares("--help")[1]
        commands = [c for c in re.findall(r"^  ([a-z]+) +[a-z]", help, re.M) if c not in ("lares", "and")]
        commands += re.split(r",\s+", re.search(r"^  and +(.+(?:\n {13}.+)*)$", help, re.M)[1])
        self.assertIn("completion", commands)
        self.assertLessEqual(set(commands), set(complete("")))
        for command in commands:
            options = set(re.findall(r"^ +(?:-h,)?(--[a-z-]+)", self.lares(command, "--help")[1], re.M))
            self.assertLessEqual(options, set(complete(command, "--")), command)
            for shell in ("zsh", "fish"):
                text = self.lares("completion", shell)[1]
                self.assertEqual([o for o in options if o[2:] not in text], [])
        self.assertEqual(complete("run", "--delivery", "st"), ["start", "steer"])
        self.assertIn("--temperature", complete("model", "generate", "--te"))
        self.assertEqual(complete("completion", "b"), ["bash"])

    def test_completion_knows_the_sessions(self):
        self.start(THINK + "One.", THINK + "Two.")
        self.assertEqual(self.lares("completion", "--sessions"), (0, "", ""))
        sessions = [json.loads(self.lares("run", "--json", text)[1].splitlines()[-1])["session"] for text in ("First.", "Second.")]
        self.assertEqual(self.lares("completion", "--sessions")[1], f"{sessions[1]}\tSecond.\n{sessions[0]}\tFirst.\n")
        script = self.lares("completion", "bash")[1]
        for words in (["log", "--session", sessions[0][:4]], ["export", sessions[0][:4]]):
            ask = f'PATH="{os.path.dirname(cli_case.LARES)}:$PATH"\n{script}\nCOMP_WORDS=(lares "$@"); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _lares 2>/dev/null; printf "%s\\n" "${{COMPREPLY[@]}}"'
            got = subprocess.run(["bash", "-c", ask, "bash", *words], cwd=self.root, env=self.env(), stdout=subprocess.PIPE, timeout=30).stdout.decode().split()
            self.assertEqual(got, [sessions[0]])

    def test_in_a_narrow_terminal_titles_are_shown_and_words_stay_whole(self):
        self.start(THINK + "One.")
        session = json.loads(self.lares("run", "--json", "Make it as it should be.")[1].splitlines()[-1])["session"]
        for command, wanted, last in (("sessions", f"^{session}  idle\n  Make it as it should be\\.\n", "tokens"),
                                      ("doctor", "^[a-z]+ +user namespace +[a-z ]+\n      [a-z]", "model +scripted[^\r]*"),
                                      ("status", "^work +turns .*\n           [a-z0-9]", "shell +[^\r]*")):
            t = self.terminal(command, width=42)
            shown = re.sub(r"\x1b\[[0-9;]*m", "", t.see(last + "\r\n")).replace("\r", "")
            self.assertLess(max(len(line) for line in shown.splitlines()), 42, shown)
            self.assertRegex(shown, "(?m)" + wanted)

    def test_wrong_command_lines(self):
        for args in (("run",), ("run", " "), ("no-such",), ("fix", "the", "test"), ("run", "--no-such", "x"), ("run", "--steps", "x", "y"), ("run", "fix", "it"),
                     ("--continu",), ("log", "--session", ""), ("run", "x", "--session="), ("model", "logits"), ()):
            status, out, err = self.lares(*args)
            self.assertEqual((status, out), (2, ""), (args, err))
            self.assertRegex(err, r"\A.*`?lares.* (says what it takes|help lists (them|the commands)|stdin)\n\Z", args)
        status, out, err = self.lares("run", "--json", "--no-such", "x")
        self.assertEqual((status, err, json.loads(out)["type"]), (2, "", "error"))
        self.assertIn("there is no --no-such", json.loads(out)["message"])

    def test_what_is_misspelt_is_told_what_it_may_have_meant(self):
        self.assertIn("no command is called reveiw; do you mean review?", self.lares("reveiw")[2])
        self.assertIn("open the repository /: that is the whole file system, devices and all; name a directory in it", self.lares("run", "--root", "/", "Go.")[2])
        self.assertIn("do you mean review?", self.lares("reveiw", "main..HEAD")[2])
        self.assertIn("put it in quotes: lares run \"...\"", self.lares("fix", "the", "test")[2])
        self.assertIn("called \"fix the test\"; to have that done, put run before it: lares run \"...\"", self.lares("fix the test")[2])
        self.assertIn("the is one word too many; what has blanks stands in quotes", self.lares("run", "fix", "the", "test")[2])
        self.assertIn("do you mean --continue?", self.lares("--continu")[2])
        status, out, err = self.lares("run", "--polcy", "plan", "Go.")
        self.assertEqual((status, out), (2, ""))
        self.assertIn("there is no --polcy, do you mean --policy?; `lares run --help` says what it takes", err)

    def test_a_file_where_the_socket_should_be_is_left_alone(self):
        os.makedirs(os.path.dirname(self.socket), mode=0o700)
        with open(self.socket, "w") as f:
            f.write("precious\n")
        status, out, err = self.lares("run", "Go.")
        self.assertEqual((status, out), (1, ""))
        self.assertIn("there is something else of that name; give another --socket", err)
        with open(self.socket) as f:
            self.assertEqual(f.read(), "precious\n")

    def test_an_option_before_the_command_is_told_its_place(self):
        status, out, err = self.lares("--socket", "/tmp/x", "status")
        self.assertEqual((status, out), (2, ""))
        self.assertIn("--socket stands before the command; options follow it: lares COMMAND --socket", err)

    def test_numbers_that_make_no_sense_are_refused_with_their_range(self):
        for option, value, range in (("--seed", "-1", "0 on"), ("--seed", "18446744073709551616", "0 on"),
                                     ("--temperature", "nan", "0 to 10"), ("--temperature", "inf", "0 to 10"), ("--temperature", "-1", "0 to 10"),
                                     ("--steps", "0", "1 to 1000000"), ("--steps", "1.5", "1 to 1000000")):
            status, out, err = self.lares("run", f"{option}={value}", "Go.")
            self.assertEqual((status, out), (2, ""), err)
            self.assertIn(f"{option}: {value} is no ", err)
            self.assertIn(range, err)

    # ---- at a terminal

    def test_on_a_terminal_control_sequences_of_the_model_do_nothing(self):
        self.start("hm \x1b[2J\x07</think>Title \x1b]0;owned\x07 and \x1b[31mred.")
        t = self.terminal("run", "Go.")
        seen = t.see("finished")
        self.assertNotIn("\x1b]0;owned", seen)
        self.assertNotIn("\x1b[2J", seen)
        self.assertNotIn("\x1b[31mred", seen)
        self.assertIn("red.", seen)

    def test_a_question_is_answered_at_the_terminal(self):
        self.start(THINK + call("ask_user", question="Which colour?"), THINK + "Blue it is.")
        t = self.terminal("run", "Paint it.")
        t.see("Which colour\\?[^>]*> ")
        t.write(b"blue\n")
        t.see("finished")
        self.assertEqual(t.wait(60), 0)

    def test_loading_is_shown_with_its_count(self):
        os.makedirs(os.path.dirname(self.socket), exist_ok=True)

        def turn(c, fake):
            c.notify("server/state", state="loading", done=3, total=46)
            fake.shown.acquire()
            c.close()
        import threading
        fake = FakeDaemon(self.socket, turn, engine={"state": "loading", "done": 3, "total": 46})
        fake.shown = threading.Semaphore(0)
        t = self.terminal("run", "Go.")
        t.see("loading the model 6%")
        t.signal(signal.SIGINT)
        t.signal(signal.SIGINT)
        fake.shown.release()
        t.see("left without waiting|interrupt|lost")

    def test_one_client_too_many_reads_why(self):
        self.daemon = Daemon(cli_case.EXECUTABLE, self.home, [], LARES_TEST_CLIENTS="1")
        c = Client(self.socket)
        self.addCleanup(c.close)
        status, _, err = self.lares("status")
        self.assertEqual(status, 1, err)
        self.assertIn("1 clients are connected, and more are not served; end some of them", err)
        self.assertNotIn("another program", err)

    def test_what_is_piped_in_goes_with_the_prompt(self):
        self.start(*[THINK + "Seen."] * 4)
        def ask(stdin, *prompt, **more):
            p = subprocess.run(self.command("ask", *prompt), cwd=self.root, env=self.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                               **({"stdin": stdin} if stdin else more))
            self.assertEqual(p.returncode, 0, p.stderr.decode())
            return p.stderr.decode()
        ask(None, "What is it?", input=b"E1: disk full\n")
        with open(os.path.join(self.root, "a.txt")) as f:
            ask(f, "And this?")
        reader, writer = os.pipe()  # nobody ever closes it
        self.assertIn("nothing came within 3 s", ask(reader, "Alone?"))
        os.close(reader)
        os.close(writer)
        ask(None, "-", input=b"all of it")
        c = Client(self.socket)
        self.addCleanup(c.close)
        prompts = []
        for session in reversed(c.call("session/list")["sessions"]):
            events = c.call("session/history", sessionId=session["sessionId"], after=0)["events"]
            prompts += [e["params"]["content"] for e in events if e["method"] == "prompt/accepted"]
        self.assertEqual(prompts, ["What is it?\n\n<stdin>\nE1: disk full\n</stdin>", "And this?\n\n<stdin>\nalpha\nbeta\n</stdin>", "Alone?", "all of it"])
        p = subprocess.run(self.command("ask", "Long?"), cwd=self.root, env=self.env(), input=b"x" * (5 << 20), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(p.returncode, 2)
        self.assertIn(b"with what stdin gives", p.stderr)

    def test_a_pager_that_is_not_there_loses_nothing(self):
        self.start(THINK + self.edit(), THINK + "It is gamma.")
        self.lares("run", "Go.")
        base = {k: v for k, v in self.env().items() if k != "PAGER"}
        empty = os.path.join(self.home, "empty")
        os.mkdir(empty)
        for env in (base | {"PAGER": "no-such-pager -R"}, base | {"PATH": empty}):
            self.env = lambda: env
            for command, shown in (("log", "It is gamma"), ("diff", "\\+gamma")):
                t = self.terminal(command)
                t.see(shown)
                self.assertEqual(t.wait(60), 0)

    def test_a_pager_of_the_repository_is_not_run(self):
        self.start(THINK + "It is gamma.")
        self.lares("run", "Go.")
        tools = os.path.join(self.root, "node_modules", ".bin")
        os.makedirs(tools)
        with open(os.path.join(tools, "less"), "w") as f:
            f.write(f"#!/bin/sh\ntouch '{self.home}/ran'\n")
        os.chmod(os.path.join(tools, "less"), 0o755)
        base = {k: v for k, v in self.env().items() if k != "PAGER"}
        self.env = lambda: base | {"PATH": f"{tools}:{base['PATH']}"}
        t = self.terminal("log")
        t.see("It is gamma")
        t.write(b"q")  # a pager may stay
        self.assertEqual(t.wait(60), 0)
        self.assertFalse(os.path.exists(os.path.join(self.home, "ran")))

    def test_a_pager_that_stays_at_ctrl_c_is_waited_for(self):
        self.start(THINK + "One.")
        self.lares("run", "Go.")
        pager = os.path.join(self.home, "pager")
        with open(pager, "w") as f:
            f.write("#!/usr/bin/env python3\nimport signal, sys\n"
                    "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})\n"
                    "print(sys.stdin.read() + 'read', flush=True)\nsignal.sigwait({signal.SIGINT})\nprint('caught', flush=True)\n"
                    "open('/dev/tty').readline()\nprint('left')\n")
        os.chmod(pager, 0o755)
        base = self.env()
        self.env = lambda: base | {"PAGER": pager}
        t = self.terminal("log")
        t.see("(?s)One.*read")
        t.write(b"\x03")
        t.see("caught")
        time.sleep(0.5)  # nothing shows that it stays
        self.assertFalse(t.ended(), "it left its reader alone with the terminal")
        t.write(b"\n")
        t.see("left")
        self.assertEqual(t.wait(60), 0)


if __name__ == "__main__":
    cli_case.main()
