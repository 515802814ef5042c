"""`lares` in scripts: variables that are not set, pipes of every kind, a stderr that nobody reads, signals that are ignored.
in_scripts_test.py LARES SCRIPTED_DAEMON [unittest arguments]"""
import fcntl
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
import cli_case
from cli_case import THINK, CliCase
from client import call


class InScriptsTest(CliCase):
    def run_with(self, *args, **how):
        return subprocess.run(self.command(*args), cwd=self.root, env=self.env(), timeout=60, **how)

    def session(self, n=0):
        return json.loads(self.lares("sessions", "--json", "--all")[1])["sessions"][n]["sessionId"]

    # ---- variables that are not set

    def test_nothing_behind_an_options_name_is_no_value(self):
        self.start(THINK + self.edit(), THINK + "Done.")
        self.lares("run", "Make it gamma.")
        for args in (("rewind", "-y", "--session=", "1"), ("rewind", "--session=", "-n"), ("fork", "--title=", "--before", "1"),
                     ("run", "--steps=", "3", "Go."), ("run", "--json=", "Go."), ("model", "inspect", "--part=", "x")):
            status, out, err = self.lares(*args)
            self.assertEqual((status, out), (2, ""), (args, err))
            if args[0] != "model":
                name = next(a for a in args if a.endswith("="))
                self.assertRegex(err, rf"\Alares {args[0]}: nothing stands behind {name}; give it a value, or leave it out; `lares {args[0]} --help` .*\n\Z")
        self.assertEqual(self.read("a.txt"), "alpha\ngamma\n")
        status, out, err = self.lares("run", "--json", "--session=", "Go.")
        self.assertEqual((status, err, json.loads(out)["type"]), (2, "", "error"))

    def test_an_empty_word_is_not_the_default(self):
        self.start(THINK + "One.")
        self.lares("run", "Go.")
        for args, why in ((("apply", ""), "the session's id is empty"), (("replay", ""), "the session's id is empty"),
                          (("worktrees", "remove", ""), "the session's id is empty"), (("run", "--schema", "", "Go."), "the file's name is empty"),
                          (("import", ""), "the file's name is empty"), (("export", "-o", ""), "the file's name is empty"),
                          (("sessions", "--root", ""), "the directory's name is empty"), (("run", "--root", "", "Go."), "the directory's name is empty")):
            status, out, err = self.lares(*args)
            self.assertEqual((status, out), (2, ""), (args, err))
            self.assertIn(why, err)
        self.assertEqual(len(json.loads(self.lares("sessions", "--json")[1])["sessions"]), 1)

    def test_a_number_that_slipped_into_an_ids_place_names_no_session(self):
        self.start(*[THINK + "One."] * 2)
        self.lares("run", "Go.")
        session = self.session()
        for n in (1, 3):
            status, out, err = self.lares("rewind", "-y", "--session", session[:n])
            self.assertEqual((status, out), (1, ""))
            self.assertIn(f"there is no session {session[:n]}", err)
        self.assertEqual(self.lares("log", session[:4])[0], 0)

    def test_rewinding_another_repositorys_session_says_so(self):
        self.start(THINK + self.edit(), THINK + "Done.")
        self.lares("run", "Make it gamma.")
        session = self.session()
        self.assertTrue(self.lares("rewind", "-n")[1].startswith("would go back before turn 1"))
        _, out, err = self.lares("rewind", "-y", "--session", session, where=self.home)
        self.assertTrue(out.startswith(f"session {session} (Make it gamma.), which is about {self.root}:\nwent back before turn 1"), out + err)

    # ---- what is piped in

    def asked(self, stdin, *args, **how):
        """What the model was asked, and how the command ended."""
        p = self.run_with("ask", *args, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how)
        log = self.lares("log")[1] if p.returncode == 0 else ""
        return p.returncode, log, p.stderr.decode()

    def test_what_comes_through_a_socket_is_read(self):
        self.start(THINK + "Because.")
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.sendall(b"the log says no\n")
            ours.shutdown(socket.SHUT_WR)
            status, log, err = self.asked(theirs, "Why?")
        self.assertEqual(status, 0, err)
        self.assertIn("the log says no", log)

    def test_a_prompt_is_read_to_its_end_from_a_pipe_that_does_not_block(self):
        self.start(THINK + "Because.")
        read, write = os.pipe()
        fcntl.fcntl(read, fcntl.F_SETFL, os.O_NONBLOCK)
        os.write(write, b"first half, ")

        def rest():  # when the first half has been taken
            while int.from_bytes(fcntl.ioctl(read, 0x541B, b"\0\0\0\0"), "little"):  # FIONREAD
                pass
            os.write(write, b"second half")
            os.close(write)
        writer = threading.Thread(target=rest)
        writer.start()
        status, log, err = self.asked(read, "-")
        writer.join()
        os.close(read)
        self.assertEqual(status, 0, err)
        self.assertIn("first half, second half", log)

    # ---- a stderr that nobody reads

    def closed_pipe(self):
        read, write = os.pipe()
        os.close(read)
        self.addCleanup(os.close, write)
        return write

    def test_what_cannot_be_said_on_stderr_stops_nothing(self):
        self.start(THINK + "One.", THINK + "Two.")
        self.lares("run", "Go.")
        file = os.path.join(self.home, "session")
        p = self.run_with("export", "-o", file, stdin=subprocess.DEVNULL, stderr=self.closed_pipe())
        self.assertEqual(p.returncode, 0)
        p = self.run_with("rules", stdin=subprocess.DEVNULL, stderr=self.closed_pipe())
        self.assertEqual(p.returncode, 0)

    def test_nothing_prints_where_an_error_would_throw(self):
        cli = pathlib.Path(__file__).resolve().parents[3] / "daemon" / "cli"
        sources = [p for p in cli.rglob("*") if p.suffix in (".cc", ".h")]
        self.assertGreater(len(sources), 50)
        self.assertEqual([str(p) for p in sources if "fmt::print(" in p.read_text(encoding="utf-8")], [])  # terminal/print.h has others

    # ---- signals that are ignored

    def test_what_nohup_starts_outlives_the_hangup(self):
        gate = os.path.join(self.home, "gate")
        os.mkfifo(gate)
        self.start({"text": THINK + "Done.", "gate": gate})
        p = subprocess.Popen(["nohup", *self.command("run", "--json", "Go.")], cwd=self.root, env=self.env(), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(p.kill)
        self.until(p, "turn/started")
        p.send_signal(signal.SIGHUP)
        with open(gate, "w", encoding="utf-8") as f:
            f.write("x")
        out, err = p.communicate(timeout=60)
        self.assertEqual((p.returncode, json.loads(out.splitlines()[-1])["answer"]), (0, "Done."), err)

    # ---- files that are none

    def test_a_session_goes_through_pipes(self):
        self.start(THINK + "One.")
        self.lares("run", "Go.")
        whole = self.run_with("export", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout
        self.assertIn(b'{"format":"lares-session"', whole)
        self.assertEqual(self.run_with("export", "-o", "-", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout, whole)
        made = []
        for command in (f"{cli_case.LARES} export | {cli_case.LARES} import -", f"{cli_case.LARES} import <({cli_case.LARES} export {self.session()})",
                        f"{cli_case.LARES} export | {cli_case.LARES} import /dev/stdin", f"{cli_case.LARES} export -o >({cli_case.LARES} import -) | cat"):
            p = subprocess.run(["bash", "-c", command], cwd=self.root, env=self.env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, timeout=60)
            self.assertRegex(p.stdout.decode(), r"\A[0-9a-z]{12}\n\Z", (command, p.stderr))
            made.append(p.stdout)
        self.assertEqual(len(set(made)), 4)
        status, out, err = self.lares("import", "/dev/null")
        self.assertEqual((status, out), (1, ""))
        self.assertIn("no export of a session", err)

    def test_a_disk_that_is_full_is_not_taken_for_the_daemons(self):
        self.start(THINK + "One.")
        self.lares("run", "Go.")
        status, _, err = self.lares("export", "-o", "/dev/full")
        self.assertEqual((status, err), (1, "lares: write /dev/full: No space left on device; name another file\n"))
        with open("/dev/full", "wb") as full:
            p = self.run_with("mcp", input=b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n', stdout=full, stderr=subprocess.PIPE)
        self.assertEqual((p.returncode, p.stderr.decode()), (1, "lares: write to stdout: No space left on device; free some where it goes\n"))

    def test_what_was_made_is_taken_back_by_git(self):
        def create(name, text):
            return call("str_replace_editor", command="create", path=os.path.join(self.root, name), file_text=text)
        self.start(THINK + create("n w.txt", "one\n"), THINK + self.edit(), THINK + create("empty", ""), THINK + "Done.")
        os.rmdir(os.path.join(self.root, ".git"))
        subprocess.run(["git", "init", "-q", self.root], check=True)
        self.lares("run", "Make them.")
        self.assertTrue(os.path.exists(os.path.join(self.root, "n w.txt")))
        p = subprocess.run(["bash", "-c", f"{cli_case.LARES} diff | git apply --reverse"], cwd=self.root, env=self.env(), stdin=subprocess.DEVNULL,
                           stderr=subprocess.PIPE, timeout=60)
        self.assertEqual((p.returncode, p.stderr), (0, b""))
        self.assertEqual(sorted(os.listdir(self.root)), [".git", "a.txt"])
        self.assertEqual(self.read("a.txt"), "alpha\nbeta\n")

    def test_a_log_that_cannot_be_written_is_named(self):
        log = os.path.join(self.state, "laresd.log")
        os.makedirs(log)
        os.chmod(self.state, 0o700)
        status, out, err = self.lares("sessions")
        self.assertEqual((status, out), (1, ""))
        self.assertRegex(err, rf"\Alares: start the daemon: open its log {log}: Is a directory; .*\n\Z")

    def test_a_temporary_directory_that_is_not_there_is_named(self):
        self.start(THINK + "One.")
        self.lares("run", "Go.")
        p = subprocess.run(self.command("export"), cwd=self.root, env=dict(self.env(), TMPDIR="/nonexistent"), stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        self.assertEqual((p.returncode, p.stdout), (1, b""))
        self.assertRegex(p.stderr.decode(), r"\Alares: find a directory for a temporary file: .*; set TMPDIR to one that is there\n\Z")

    # ---- --json

    def test_with_json_errors_are_objects_on_stdout(self):
        self.start(THINK + "One.")
        self.lares("run", "Go.")
        for args, status in ((("run", "--json", " "), 2), (("run", "--json", "--best-of", "2", "--worktree", "Go."), 2), (("rewind", "--json"), 2),
                             (("worktrees", "--json", "x"), 2), (("worktrees", "--json", "remove"), 2),
                             (("model", "plan", "--json", "/nonexistent"), 1), (("model", "plan", "--json", "--gpus", "x"), 2)):
            got, out, err = self.lares(*args)
            self.assertEqual((got, err), (status, ""), args)
            self.assertEqual(json.loads(out)["type"], "error", args)


if __name__ == "__main__":
    cli_case.main()
