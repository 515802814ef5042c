"""Settings: `lares config`, and who listens to the file. config_test.py LARES SCRIPTED_DAEMON"""
import fcntl
import json
import os
import pathlib
import socket
import stat
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
import cli_case
from cli_case import THINK, CliCase
from client import Client, Daemon


class ConfigTest(CliCase):
    def setUp(self):
        super().setUp()
        self.variables = {}
        self.file = os.path.join(self.home, "config", "lares", "config.json")

    def env(self):
        return super().env() | self.variables

    def settings(self, text):
        os.makedirs(os.path.dirname(self.file), exist_ok=True)
        with open(self.file, "w") as f:
            f.write(text)

    def shown(self):
        return {s["key"]: (s["value"], s["from"]) for s in json.loads(self.lares("config", "--json")[1])["settings"]}

    def laresd(self, **variables):
        """What the real daemon says when it cannot start; it is given no model that it could load."""
        p = subprocess.run([os.path.join(os.path.dirname(cli_case.LARES), "laresd"), "--model", "/nonexistent", "--socket", "relative"], env=self.env() | variables,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        return p.returncode, p.stderr.decode()

    def test_a_value_comes_from_the_environment_before_the_file_before_the_default(self):
        self.assertEqual(self.shown()["memory"], (None, "default"))
        self.assertEqual(self.lares("config", "get", "memory"), (0, "", "memory is not set: what is free\n"))
        self.assertEqual(self.lares("config", "set", "memory", "64"), (0, "", "lares: it holds from the next start of the daemon; `lares shutdown` ends one that runs\n"))
        self.assertEqual(self.shown()["memory"], (64, "file"))
        self.variables["LARES_MEMORY"] = "1.5"
        self.assertEqual(self.shown()["memory"], (1.5, "environment"))
        self.assertEqual(self.lares("config", "get", "memory")[1], "1.5\n")
        self.assertIn("LARES_MEMORY=1.5 in the environment comes before it", self.lares("config", "set", "memory", "8")[2])
        self.variables["LARES_MEMORY"] = ""  # empty is not set
        self.assertEqual(self.lares("config", "get", "memory")[1], "8\n")
        self.assertEqual(self.lares("config", "unset", "memory")[0], 0)
        self.assertEqual(self.shown()["memory"], (None, "default"))

    def test_a_device_is_the_cpu_or_gpus_by_number(self):
        for value in ("cpu", "cuda", "cuda:9", "cuda:0,1", "cuda:3,12,0"):
            self.assertEqual(self.lares("config", "set", "device", value)[0], 0, value)
            self.assertEqual(self.shown()["device"], (value, "file"))

    def test_the_list_fits_a_screen_and_says_what_each_is_for(self):
        status, out, err = self.lares("config")
        self.assertEqual((status, err), (0, ""))
        self.assertLessEqual(len(out.splitlines()), 24)
        for shown in ("nano, which comes with Lares", "its checkpoint", "300  seconds until a command is ended", self.file):
            self.assertIn(shown, out)
        self.assertRegex(out, "(?m)^socket .*LARES_SOCKET$")

    def test_the_file_is_the_users_alone_and_keeps_what_others_wrote(self):
        self.settings('{"future": {"x": 1}, "steps": 3}')
        os.chmod(self.file, 0o644)
        self.assertIn(f"{self.file}: not known, so left alone: future; `lares config`", self.lares("config", "set", "policy", "plan")[2])
        with open(self.file) as f:
            self.assertEqual(json.load(f), {"future": {"x": 1}, "steps": 3, "policy": "plan"})
        self.assertEqual(stat.S_IMODE(os.stat(self.file).st_mode), 0o600)
        self.assertEqual(os.listdir(os.path.dirname(self.file)), ["config.json"])

    def test_a_link_to_the_file_stays_one(self):
        real = os.path.join(self.home, "dotfiles.json")
        self.settings("{}")
        os.rename(self.file, real)
        os.symlink(real, self.file)
        self.assertEqual(self.lares("config", "set", "steps", "9")[0], 0)
        self.assertTrue(os.path.islink(self.file))
        with open(real) as f:
            self.assertEqual(json.load(f), {"steps": 9})

    def test_a_link_to_a_file_that_is_not_there_yet_stays_one(self):
        real = os.path.join(self.home, "kept", "elsewhere", "config.json")
        between = os.path.join(self.home, "kept", "config.json")
        os.makedirs(os.path.dirname(between))
        os.makedirs(os.path.dirname(self.file))
        os.symlink(between, self.file)
        os.symlink("elsewhere/config.json", between)
        self.assertEqual(self.lares("config", "set", "policy", "plan")[0], 0)
        self.assertTrue(os.path.islink(self.file) and os.path.islink(between))
        with open(real, encoding="utf-8") as f:
            self.assertEqual(json.load(f)["policy"], "plan")

    def test_two_that_set_at_once_lose_nothing(self):
        self.settings('{"steps": 3}')
        folder = os.open(os.path.dirname(self.file), os.O_RDONLY)
        self.addCleanup(os.close, folder)
        fcntl.flock(folder, fcntl.LOCK_EX)  # as another that is just writing
        p = self.background("config", "set", "temperature", "0.5")
        with self.assertRaises(subprocess.TimeoutExpired):
            p.wait(timeout=1.5)
        self.settings('{"steps": 3, "policy": "plan"}')
        fcntl.flock(folder, fcntl.LOCK_UN)
        self.assertEqual(p.wait(timeout=60), 0)
        with open(self.file) as f:
            self.assertEqual(json.load(f), {"steps": 3, "policy": "plan", "temperature": 0.5})
        fcntl.flock(folder, fcntl.LOCK_EX)
        status, _, err = self.lares("config", "set", "steps", "4")
        self.assertEqual((status, len(err.splitlines())), (1, 1), err)
        self.assertIn("another process holds its directory locked for 10 seconds; nothing was changed", err)

    def test_what_makes_no_sense_is_refused_and_changes_nothing(self):
        for args, why in ((("get", "memori"), "there is no setting memori; do you mean memory?"), (("set", "memory", "lots"), "set memory to lots: memory must be a number from 0 to 1000000"),
                          (("set", "threads", "1.5"), "threads must be a whole number from 0 to 1024"), (("set", "memory", "nan"), "memory must be a number"),
                          (("set", "command_timeout", "0"), "command_timeout must be a whole number from 1 to 86400"),
                          (("set", "device", "cuda:0,"), "device must be auto, cpu, cuda, or GPUs by their numbers: cuda:1, cuda:0,1"),
                          (("set", "device", "cuda:x"), "device must be"), (("set", "device", "cuda:"), "device must be"), (("set", "device", "cuda:0,,1"), "device must be"),
                          (("set", "policy", "yolo"), "policy must be one of: auto edits ask plan read-only"), (("set", "hide_thinking", "1"), "hide_thinking must be true or false"),
                          (("set", "model", "/nonexistent"), "there is no /nonexistent/config.json"), (("set", "socket", "/" + "x" * 120), "a socket address holds 107"),
                          (("set", "socket", "relative/x"), "set socket to relative/x: it is no absolute path; give one that starts with /"),
                          (("set", "state_dir", "here"), "set state_dir to here: it is no absolute path")):
            status, out, err = self.lares("config", *args)
            self.assertNotEqual(status, 0, args)
            self.assertEqual((out, len(err.splitlines())), ("", 1), err)
            self.assertIn(why, err)
        self.assertFalse(os.path.exists(self.file))

    def test_a_broken_file_is_named_with_its_line_and_nothing_starts(self):
        for text, line, why in (('{\n "memory": 3,,\n}', 2, "unexpected ','"), ('{"memory": 3', 1, "unexpected end of input"), ("[]", 1, "must hold an object"),
                                ('{\n\n "memory": "3"}', 3, 'memory must be a number from 0 to 1000000, and is "3"'), ('{"policy": "yolo"}', 1, 'policy must be one of'),
                                ('{"model": "models/x"}', 1, "model must be an absolute path")):
            self.settings(text)
            mends = [self.lares("config", "set", "steps", "3")[::2]] if line != 3 and "must be" not in why else []  # a value that makes no sense is no hindrance
            for status, err in (self.lares("run", "Go.")[::2], *mends, self.laresd()):
                self.assertNotEqual(status, 0)
                self.assertIn(f"read the settings in {self.file}, line {line}: ", err)
                self.assertIn(why, err)
                self.assertIn("mend it, or move the file away", err)
                self.assertEqual(len(err.splitlines()), 1, err)
            with open(self.file) as f:
                self.assertEqual(f.read(), text)
        self.assertFalse(os.path.exists(self.socket))

    def test_what_lares_keeps_itself_is_no_part_of_a_worktree_around_it(self):
        self.start(THINK + "Hello.", THINK + "Hello.")
        self.root = self.home  # with state/, run/ and the repository in it
        self.write("mine.txt", "x\n")
        for _ in range(2):
            self.assertEqual(self.lares("ask", "Who is there?")[0], 0)
            listed = self.lares("prefix", "--files")[1]
            self.assertIn("mine.txt", listed)
            for own in ("state/", "sessions", "api-token", "daemon-id", "run/"):
                self.assertNotIn(own, listed)
        ignored = subprocess.run(["git", "-C", self.root, "-c", "init.defaultBranch=main", "init", "-q"]).returncode == 0
        added = subprocess.run(["git", "-C", self.root, "add", "-n", "state"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual((ignored, added.stdout), (True, ""), added)
        for root in (self.state, os.path.join(self.state, "sessions")):
            os.rename(os.path.join(self.root, ".git"), os.path.join(self.root, "git"))  # else that is the root
            status, _, err = self.lares("ask", "--root", root, "Who is there?")
            os.rename(os.path.join(self.root, "git"), os.path.join(self.root, ".git"))
            self.assertEqual((status, len(err.splitlines())), (2, 1), err)
            self.assertIn("Lares keeps files of its own in " + self.state, err)

    def test_a_home_directory_is_no_repository(self):
        self.start()
        c = Client(self.socket)
        self.addCleanup(c.close)
        for home in (self.root, os.path.join(self.root, "below")):
            os.makedirs(home, exist_ok=True)
            self.variables["HOME"] = home
            for args in (("ask", "hi"), ("run", "Go."), ("run", "--worktree", "Go.")):
                status, out, err = self.lares(*args)
                self.assertEqual((status, out, len(err.splitlines())), (2, "", 1), err)
                self.assertIn("open the repository " + self.root, err)
                self.assertIn("home directory", err)
        self.assertEqual(c.call("session/list"), {"sessions": []})

    def test_what_makes_no_sense_can_be_mended_and_is_shown(self):
        self.settings('{"steps": "abc", "memory": 3, "policy": "yolo"}')
        self.assertEqual(self.lares("run", "Go.")[0], 1)
        status, out, err = self.lares("config")
        self.assertEqual((status, len(err.splitlines())), (1, 2), err)
        self.assertRegex(out, r'(?m)^steps +"abc" .*file$')
        self.assertIn('steps must be a whole number from 1 to 1000000, and is "abc"', out)
        self.assertEqual(self.shown()["memory"], (3, "file"))
        self.assertEqual(self.lares("config", "get", "memory")[:2], (0, "3\n"))
        status, out, err = self.lares("config", "get", "steps")
        self.assertEqual((status, out), (1, ""))
        self.assertIn("`lares config unset steps` takes it out", err)
        self.start(THINK + "One.")
        for command in ("status", "doctor", "shutdown"):  # are needed whatever the settings say
            status, out, err = self.lares(command)
            self.assertEqual(status, 0 if command != "doctor" else 1, err)
            self.assertIn('and is "abc"', out if command == "doctor" else err)
        self.daemon.process.wait(timeout=60)
        status, _, err = self.lares("config", "unset", "steps")
        self.assertEqual((status, len(err.splitlines())), (0, 1), err)  # the other
        self.assertEqual(self.lares("config", "set", "policy", "plan"), (0, "", ""))
        self.assertEqual((self.shown()["steps"], self.shown()["policy"]), ((200, "default"), ("plan", "file")))
        self.settings('{"memory": 3,,}')
        for command in ("status", "doctor"):
            self.assertIn("mend it, or move the file away", "".join(self.lares(command)[1:]))

    def test_the_address_of_http_is_shown_and_one_that_is_taken_is_found(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = "127.0.0.1:%d" % taken.getsockname()[1]
            self.lares("config", "set", "listen", address)
            status, out, _ = self.lares("doctor")
            self.assertEqual(status, 1)
            self.assertRegex(out, rf"(?m)^bad +HTTP +listen on {address}: Address already in use")
            for how, env in (("`lares config set listen 127.0.0.1:PORT`", {}), ("set LARES_LISTEN", {"LARES_LISTEN": address})):
                p = subprocess.run([os.path.join(os.path.dirname(cli_case.LARES), "laresd"), "--socket", self.socket, "--state-dir", self.state], env=self.env() | env,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60)
                self.assertEqual(p.returncode, 1)
                self.assertIn(how, p.stderr.decode())
        status, out, _ = self.lares("doctor")
        self.assertRegex(out, rf"(?m)^note +HTTP +will be served at http://{address}")
        self.daemon = Daemon(cli_case.EXECUTABLE, self.home, [], LARES_TEST_LISTEN=address)
        self.assertIn("http       http://" + address, self.lares("status")[1])
        self.assertEqual(json.loads(self.lares("status", "--json")[1])["http"], address)
        self.assertRegex(self.lares("doctor")[1], rf"(?m)^ok +HTTP +served at http://{address}$")

    def test_a_broken_variable_is_named(self):
        self.variables["LARES_MEMORY"] = "lots"
        for status, err in (self.lares("config")[::2], self.laresd()):
            self.assertEqual(status, 1)
            self.assertIn("read LARES_MEMORY=lots: memory must be a number", err)

    @unittest.skipIf(os.geteuid() == 0, "SKIPPED: root reads every file; run as another user")
    def test_a_file_that_cannot_be_read_is_no_empty_one(self):
        self.settings("{}")
        os.chmod(self.file, 0)
        status, _, err = self.lares("config")
        self.assertEqual(status, 1)
        self.assertIn("Permission denied", err)

    def test_unknown_settings_are_one_warning(self):
        self.settings('{"memry": 3, "polcy": "auto"}')
        err = self.laresd()[1]
        self.assertEqual(err.count("memry (near memory), polcy (near policy)"), 1, err)
        self.assertIn("the path is not absolute", err.splitlines()[-1])  # and it went on

    def test_socket_and_state_directory_of_the_file_are_where_lares_looks(self):
        env = {k: v for k, v in self.env().items() if not k.startswith("LARES_")}
        self.start()
        self.settings(json.dumps({"socket": self.socket, "state_dir": self.state}))
        p = subprocess.run([cli_case.LARES, "status", "--json"], env=env, stdout=subprocess.PIPE, timeout=60)
        self.assertEqual((p.returncode, json.loads(p.stdout)["socket"]), (0, self.socket))

    def test_new_sessions_take_policy_temperature_and_steps_and_the_command_line_comes_first(self):
        self.start(*[THINK + "Done."] * 2)
        self.settings('{"policy": "plan", "temperature": 0.25, "steps": 7}')
        for args in ((), ("--policy", "edits", "--temperature", "0.5", "--steps", "3")):
            self.assertEqual(self.lares("run", *args, "Go.")[0], 0)
        c = Client(self.socket)
        settings = [{k: s["settings"][k] for k in ("policy", "temperature", "stepsMax")} for s in c.call("session/list")["sessions"]]
        c.close()
        self.assertEqual(settings, [{"policy": "edits", "temperature": 0.5, "stepsMax": 3}, {"policy": "plan", "temperature": 0.25, "stepsMax": 7}])

    def test_thinking_is_hidden_unless_it_is_asked_for(self):
        self.start(*["Deep thought.</think>Done."] * 2)
        self.settings('{"hide_thinking": true}')
        self.assertNotIn("Deep thought.", self.lares("run", "Go.")[2])
        self.assertIn("Deep thought.", self.lares("run", "--hide-thinking=false", "Go.")[2])


if __name__ == "__main__":
    cli_case.main()
