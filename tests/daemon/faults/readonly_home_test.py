"""A home that cannot be written: what fails says what it tried, on what, why, and what to do. Mounts a file system in a namespace of its
own. readonly_home_test.py LARES SCRIPTED_DAEMON [unittest arguments]"""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
from client import remove_home

LARES, SCRIPTED = "", ""
SKIPPED = 77
INSIDE = "LARES_TEST_MAY_MOUNT"


class ReadOnlyHomeTest(unittest.TestCase):
    def setUp(self):
        self.place = os.path.realpath(tempfile.mkdtemp(prefix="lares-ro-"))
        self.addCleanup(remove_home, self.place)
        self.home, self.repo = os.path.join(self.place, "home"), os.path.join(self.place, "repo")
        os.mkdir(self.home)
        subprocess.run(["git", "init", "-q", self.repo], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", self.home], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", self.home], check=True)

    def read_only(self):
        subprocess.run(["mount", "-o", "remount,ro", self.home], check=True)

    def lares(self, *args):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("LARES_", "XDG_"))}
        env.update(HOME=self.home, LARES_SOCKET=os.path.join(self.place, "s"), TERM="dumb", COLUMNS="200")
        p = subprocess.run([LARES, *args], cwd=self.repo, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           timeout=60, text=True)
        return p.returncode, p.stdout, p.stderr

    def test_a_state_directory_that_cannot_be_made_is_said_with_the_way_out(self):
        self.read_only()
        status, _, err = self.lares("run", "Do it.")
        self.assertEqual((status, err.count("\n")), (1, 1), err)
        self.assertIn(f"start the daemon: create {self.home}/.local: Read-only file system; name a directory that you may write to with "
                      "--state-dir or LARES_STATE_DIR", err)
        status, out, _ = self.lares("doctor")
        shown = " ".join(out.split())
        self.assertEqual(status, 1, out)
        why = f"make {self.home}/.local/state/lares in {self.home}: Read-only file system, so no daemon starts; name a directory"
        self.assertIn(why, shown)
        self.assertNotIn("is made with the first session", shown)

    def test_one_that_is_there_already_is_no_better(self):
        state = os.path.join(self.home, ".local/state/lares")
        os.makedirs(os.path.join(state, "sessions"))
        os.chmod(state, 0o700)
        self.read_only()
        err = self.lares("run", "Do it.")[2]
        self.assertRegex(err, f"open {state}/start.lock: Read-only file system; name a directory .*--state-dir or LARES_STATE_DIR")
        status, out, _ = self.lares("doctor")
        self.assertIn(f"write into {state}: Read-only file system, so no daemon starts; name a directory", " ".join(out.split()))
        self.assertEqual(status, 1)

    def test_settings_that_cannot_be_written_say_where_else_they_could_be(self):
        self.read_only()
        status, _, err = self.lares("config", "set", "wake", "never")
        self.assertEqual(status, 1)
        self.assertIn(f"change the settings in {self.home}/.config/lares/config.json: ", err)
        self.assertRegex(err, "Read-only file system; nothing was changed; set LARES_WAKE=never .*XDG_CONFIG_HOME")

    def test_the_daemon_itself_says_it_too(self):
        self.read_only()
        script = os.path.join(self.place, "script.json")
        with open(script, "w") as f:
            f.write("[]")
        command = [SCRIPTED, os.path.join(self.place, "other"), os.path.join(self.home, "a/b"), script]
        ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual((ended.returncode, ended.stderr.count("\n")), (1, 1), ended.stderr)
        self.assertIn(f"create {self.home}/a: Read-only file system; name a directory", ended.stderr)


def main():
    global LARES, SCRIPTED
    LARES, SCRIPTED = (os.path.abspath(sys.argv.pop(1)) for _ in range(2))
    if INSIDE not in os.environ:
        how = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
        if subprocess.run([*how, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], stderr=subprocess.DEVNULL).returncode != 0:
            print("SKIPPED: nothing can be mounted here: neither as root nor in a user namespace", file=sys.stderr)
            sys.exit(SKIPPED)
        os.environ[INSIDE] = "yes"
        os.execvp(how[0], [*how, sys.executable, os.path.abspath(__file__), LARES, SCRIPTED, *sys.argv[1:]])
    unittest.main()


if __name__ == "__main__":
    main()
