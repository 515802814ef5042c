"""What is wrong, and where it is said: `lares doctor`, and a session's first words. doctor_test.py LARES SCRIPTED_DAEMON [unittest arguments]"""
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
import cli_case
from cli_case import THINK, CliCase


class DoctorTest(CliCase):
    def test_doctor_says_what_this_host_gives(self):
        status, out, _ = self.lares("doctor")
        self.assertRegex(out, r"(?m)^note +daemon +none runs on ")
        self.start()
        status, out, err = self.lares("doctor", "--json")
        report = json.loads(out)
        self.assertEqual((status, report["ok"]), (1, False) if any(f["kind"] == "bad" for f in report["findings"]) else (0, True))
        about = {f["about"] for f in report["findings"]}
        self.assertLessEqual({"sandbox", "state", "disk", "GPU", "daemon", "model"}, about)
        if report["ok"]:
            self.assertLessEqual({"user namespace", "PID namespace", "mounts", "proc", "network", "seccomp", "Landlock", "cgroup", "limits"}, about)
        os.chmod(os.path.join(self.home, "state"), 0o755)
        status, out, _ = self.lares("doctor")
        self.assertEqual(status, 1)
        self.assertRegex(out, r"(?m)^bad +state .*chmod 700 it")
        self.daemon.stop()
        self.daemon = None
        status, out, err = self.lares("rules")
        self.assertEqual((status, out), (1, ""))
        self.assertRegex(err, "others may look into it, .*; chmod 700 it")
        os.chmod(os.path.join(self.home, "state"), 0o700)

    def daemon_told(self, **env):
        """What doctor says of the daemon where none answers, and its status."""
        p = subprocess.run(self.command("doctor", "--json"), cwd=self.root, env=dict(self.env(), **env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, timeout=60)
        report = json.loads(p.stdout)
        self.assertEqual(p.returncode, 0 if report["ok"] else 1, p.stderr)
        return {f["about"]: (f["kind"], f["text"]) for f in report["findings"] if f["about"] in ("daemon", "state")}

    def test_doctor_says_why_no_daemon_can_be_reached_or_started(self):
        folder = os.path.dirname(self.socket)
        os.makedirs(folder, mode=0o700)
        self.assertEqual(self.daemon_told()["daemon"][0], "note")
        with socket.socket(socket.AF_UNIX) as other:  # which hangs up on whoever comes
            other.bind(self.socket)
            other.listen()
            other.settimeout(60)

            def answer():
                try:
                    while True:
                        connection, _ = other.accept()
                        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                        connection.close()
                except OSError:
                    pass
            answering = threading.Thread(target=answer, daemon=True)
            answering.start()
            kind, text = self.daemon_told()["daemon"]
            self.assertEqual(kind, "bad")
            self.assertRegex(text, f"^greet the daemon at {self.socket}: .*; if it is of another version or another program")
            other.shutdown(socket.SHUT_RDWR)
        os.unlink(self.socket)
        with open(self.socket, "w", encoding="utf-8") as f:
            f.write("precious\n")
        kind, text = self.daemon_told()["daemon"]
        self.assertEqual(kind, "bad")
        self.assertRegex(text, f"^listen on {self.socket}: there is something else of that name; give another --socket")
        os.unlink(self.socket)
        os.chmod(folder, 0o777)
        kind, text = self.daemon_told()["daemon"]
        self.assertEqual(kind, "bad")
        self.assertRegex(text, f"{folder} must be a directory of yours that nobody else can write to")
        os.chmod(folder, 0o700)
        with open(os.path.join(self.home, "file"), "w", encoding="utf-8"):
            pass
        kind, text = self.daemon_told(LARES_SOCKET=os.path.join(self.home, "file", "lares", "s"))["daemon"]
        self.assertEqual(kind, "bad")
        self.assertRegex(text, f"{self.home}/file/lares/s: Not a directory; .*, name another with --socket")
        self.start()
        kind, text = self.daemon_told(LARES_SOCKET=os.path.join(self.home, "elsewhere", "s"))["daemon"]
        self.assertEqual(kind, "bad")
        self.assertRegex(text, f"the one on {self.socket} has the state directory {self.state}; end it with `lares shutdown --socket {self.socket}`")
        self.assertEqual(self.daemon_told()["daemon"][0], "ok")

    def test_what_only_reaches_the_daemon_needs_no_state_directory(self):
        self.start()

        def homeless(*args):
            env = {k: v for k, v in self.env().items() if k not in ("HOME", "LARES_STATE_DIR", "XDG_STATE_HOME")}
            p = subprocess.run(self.command(*args), cwd=self.root, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
            return p.returncode, p.stdout.decode(), p.stderr.decode()

        self.assertEqual(homeless("status")[0], 0)
        for command in ("stop", "attach"):
            status, out, err = homeless(command)
            self.assertEqual((status, out), (1, ""))
            self.assertIn(f"find a session that works on {self.root}: none does", err)
        status, out, _ = homeless("doctor")
        self.assertEqual(status, 1)
        self.assertRegex(out, r"(?m)^bad +state +find the state directory: HOME is not set; .*; until then no daemon starts$")
        self.assertRegex(out, r"(?m)^ok +daemon ")
        self.assertEqual(homeless("shutdown")[0], 0)
        status, out, err = homeless("run", "Go.")
        self.assertEqual((status, out), (1, ""))
        self.assertIn("find the state directory: HOME is not set", err)

    def test_doctor_says_what_does_not_work_in_the_repository(self):
        def told():
            return [f["text"] for f in json.loads(self.lares("doctor", "--json")[1])["findings"] if f["about"] == "repository"]

        self.assertEqual(told(), [])
        subprocess.run(["git", "init", "-q", self.root], check=True)
        self.assertEqual(told(), [])
        config = os.path.join(self.root, ".git", "config")
        with open(config) as f:
            plain = f.read()
        for extension, what in (("refStorage = reftable", "keeps its branches in a reftable"), ("objectFormat = sha256", "by SHA-256")):
            with open(config, "w") as f:
                f.write(plain + "[core]\n\trepositoryformatversion = 1\n[extensions]\n\t" + extension + "\n")
            (text,) = told()
            self.assertRegex(text, f"^{re.escape(self.root)}: it .*{what}.*the model's git tool .* do not work in it, .*snapshots and rewind work")

    def test_doctor_says_where_no_session_can_work(self):
        def told(*where):
            report = json.loads(self.lares("doctor", "--json", where=os.path.join(self.home, *where))[1])
            return [(f["kind"], f["text"]) for f in report["findings"] if f["about"] == "repository"]

        os.makedirs(os.path.join(self.home, "plain", "below"))
        ((kind, text),) = told("plain", "below")
        self.assertEqual(kind, "note")
        self.assertRegex(text, "plain/below is in no git repository: .*`git init` makes it one")
        bare = os.path.join(self.home, "bare")
        subprocess.run(["git", "init", "-q", "--bare", bare], check=True)
        ((kind, text),) = told("bare")
        self.assertEqual(kind, "bad")
        self.assertRegex(text, f"open the repository {bare}: it is a bare one, .*git worktree add")
        self.start()
        status, out, err = self.lares("run", "--root", bare, "Do it.")
        self.assertEqual((status, out, err), (2, "", f"lares: {text}\n"))
        self.assertEqual(json.loads(self.lares("sessions", "--all", "--json")[1])["sessions"], [])  # none was begun in vain

    def test_doctor_looks_at_servers_and_hooks_and_the_models_directory(self):
        folder = os.path.join(self.home, "config", "lares")
        os.makedirs(folder)

        def told(about, **files):
            for name in ("mcp", "hooks", "config"):
                with open(os.path.join(folder, name + ".json"), "w") as f:
                    f.write(files.get(name, "{}" if name != "mcp" else '{"mcpServers": {}}'))
            report = json.loads(self.lares("doctor", "--json")[1])
            return [(f["kind"], f["text"]) for f in report["findings"] if f["about"] == about]

        self.assertEqual(told("MCP"), [])
        self.assertEqual(told("hooks"), [])
        self.assertEqual(told("model"), [])
        server = {"mcpServers": {"a": {"command": "sh"}, "b": {"command": "frobnicate"}, "c": {"url": "http://127.0.0.1:9/"}, "d": {"comand": "sh"}}}
        found = told("MCP", mcp=json.dumps(server))
        self.assertEqual(sorted(kind for kind, _ in found), ["bad", "bad", "ok"])
        self.assertIn(("ok", "a, c: started when the model first needs one"), found)
        self.assertRegex(str(found), "server b cannot be started: no directory in PATH has frobnicate.*whole path")
        self.assertRegex(str(found), "server d in .*mcp.json")
        ((kind, text),) = told("MCP", mcp='{"mcpServer": {}}')
        self.assertEqual(kind, "bad")
        self.assertIn('expected JSON like {"mcpServers"', text)
        ((kind, text),) = told("hooks", hooks='{"before_tol": []}')
        self.assertEqual(kind, "bad")
        self.assertRegex(text, "`before_tol` is not one of .*; until then every turn fails")
        self.assertRegex(told("hooks", hooks='{"turn_end": [{"command": "true"}]}')[0][1], "^1 in .*hooks.json$")
        ((kind, text),) = told("model", config='{"model": "/nonexistent"}')
        self.assertEqual(kind, "bad")
        self.assertIn("there is no /nonexistent/config.json, so no daemon gets ready; `lares config set model DIR`", text)

    def test_a_session_says_which_servers_it_has_and_which_not(self):
        config = os.path.join(self.home, "config", "lares")
        os.makedirs(config)
        os.environ["LARES_TEST_CONFIG"] = config
        self.addCleanup(os.environ.pop, "LARES_TEST_CONFIG")
        self.start(THINK + "One.", THINK + "Two.", THINK + "Three.")
        self.assertNotIn("MCP", self.lares("run", "Do it.")[2])
        with open(os.path.join(config, "mcp.json"), "w") as f:  # the daemon runs already
            json.dump({"mcpServers": {"weather": {"command": "sh"}, "tides": {"comand": "sh"}}}, f)
        err = self.lares("run", "Do it.")[2]
        self.assertIn("note: MCP servers: weather\n", err)
        self.assertRegex(err, "note: MCP: server tides in .*mcp.json: .*; `lares doctor` looks again\n")
        with open(os.path.join(config, "mcp.json"), "w") as f:
            f.write('{"mcpServers":')
        self.assertRegex(self.lares("run", "Do it.")[2], "note: MCP: read .*mcp.json: expected JSON like ")


if __name__ == "__main__":
    cli_case.main()
