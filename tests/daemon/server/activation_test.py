"""The daemon under systemd: a socket that it is handed, and what it tells about itself. This test plays systemd.
activation_test.py LARES SCRIPTED_DAEMON"""
import json
import os
import pathlib
import socket
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
import cli_case
from cli_case import THINK, CliCase
from client import Client

# Execs the daemon with descriptor 3 and the variables of sd_listen_fds(3), which name the process that they are for.
WRAPPER = """
import os, sys
fd = int(sys.argv[1])
if fd != 3:
    os.dup2(fd, 3, inheritable=True)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=sys.argv[2], LISTEN_FDNAMES="lares.socket")
os.execv(sys.argv[3], sys.argv[3:])
"""


class ActivationTest(CliCase):
    def setUp(self):
        super().setUp()
        os.makedirs(os.path.dirname(self.socket), mode=0o700)
        self.processes = []
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notified.bind(os.path.join(self.home, "notify"))
        self.notified.settimeout(30)
        self.addCleanup(self.notified.close)

    def listen(self, path=None, kind=socket.SOCK_STREAM, listens=True):
        s = socket.socket(socket.AF_UNIX, kind)
        self.addCleanup(s.close)
        old = os.umask(0o177)
        s.bind(path or self.socket)
        os.umask(old)
        if listens:
            s.listen(16)
        return s

    def activate(self, handed, *answers, n="1", notify=None):
        script = os.path.join(self.home, "script.json")
        with open(script, "w") as f:
            json.dump([{"text": a} for a in answers], f)
        env = dict(self.env(), NOTIFY_SOCKET=notify or os.path.join(self.home, "notify"))
        p = subprocess.Popen([sys.executable, "-c", WRAPPER, str(handed.fileno()), n, cli_case.EXECUTABLE, os.path.join(self.home, "elsewhere"), self.state, script],
                             env=env, pass_fds=[handed.fileno()], stderr=subprocess.PIPE)
        self.addCleanup(lambda: (p.kill(), p.wait(), p.stderr.close()))
        return p

    def refused(self, handed, n="1"):
        p = self.activate(handed, n=n)
        err = p.communicate(timeout=60)[1].decode()
        self.assertEqual(p.returncode, 1, err)
        self.assertIn("listen on the socket handed over by the service manager: ", err)
        return err.splitlines()[-1]

    def test_who_connects_before_it_is_ready_is_answered_and_it_says_when_it_is(self):
        handed = self.listen()
        early = socket.socket(socket.AF_UNIX)
        early.connect(self.socket)
        early.sendall(b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocol":1}}\n')
        p = self.activate(handed, THINK + "Done.")
        self.assertEqual(json.loads(early.makefile().readline())["result"]["socket"], self.socket)
        self.assertEqual(self.notified.recv(100), b"READY=1")
        self.assertEqual(self.lares("run", "Go.")[1].strip(), "Done.")  # found where it always is
        self.assertEqual(self.lares("shutdown")[0], 0)
        self.assertEqual(self.notified.recv(100), b"STOPPING=1")
        self.assertEqual(p.wait(timeout=60), 0)
        early.close()
        self.assertTrue(os.path.exists(self.socket))  # it is systemd's
        self.assertFalse(os.path.exists(os.path.join(self.home, "elsewhere")))

    def test_who_connects_while_it_is_dead_is_answered_by_the_next_one(self):
        handed = self.listen()
        p = self.activate(handed)
        Client(self.socket).close()
        p.kill()
        p.wait()
        waiting = self.background("status", "--json")
        self.activate(handed)
        out, err = waiting.communicate(timeout=60)
        self.assertEqual((waiting.returncode, json.loads(out)["socket"]), (0, self.socket), err)

    def test_variables_of_another_process_mean_nothing(self):
        variables = dict(self.env(), LISTEN_PID="1", LISTEN_FDS="1")
        p = subprocess.run([cli_case.EXECUTABLE, self.socket, self.state, "/dev/null"], env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        self.assertNotIn(b"handed over", p.stderr)

    def test_an_abstract_address_is_told_too(self):
        other = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        name = f"lares-test-{os.getpid()}"
        other.bind("\0" + name)
        other.settimeout(30)
        self.activate(self.listen(), notify="@" + name)
        self.assertEqual(other.recv(100), b"READY=1")
        other.close()

    def test_a_socket_that_is_none_to_serve_is_refused(self):
        run = os.path.dirname(self.socket)
        self.assertIn("it is no Unix stream socket", self.refused(self.listen(os.path.join(run, "d"), socket.SOCK_DGRAM, listens=False)))
        self.assertIn("it does not listen", self.refused(self.listen(os.path.join(run, "n"), listens=False)))
        tcp = socket.create_server(("127.0.0.1", 0))
        self.assertIn("it is no Unix stream socket", self.refused(tcp))
        tcp.close()
        nameless = self.listen("\0lares-abstract-" + str(os.getpid()))
        self.assertIn("it has no path", self.refused(nameless))
        wide = self.listen(os.path.join(run, "w"))
        os.chmod(os.path.join(run, "w"), 0o666)
        self.assertIn("is not this user's alone; lares.socket must have SocketMode=0600", self.refused(wide))
        gone = self.listen(os.path.join(run, "g"))
        os.unlink(os.path.join(run, "g"))
        self.assertIn("No such file or directory; start lares.socket anew", self.refused(gone))
        self.assertIn("there are 2", self.refused(self.listen(), n="2"))


if __name__ == "__main__":
    cli_case.main()
