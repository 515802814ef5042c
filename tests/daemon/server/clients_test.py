"""How many clients there may be, how long one may be silent at first, and what one is told whose session cannot be read.

clients_test.py SCRIPTED_DAEMON [unittest arguments]
"""
import json
import os
import pathlib
import socket
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
from client import Daemon
import daemon_case
import journal
from daemon_case import DaemonCase, main


def closed(sock):
    """Whether the daemon has hung up; what it said before is what this reads."""
    said = b""
    try:
        while block := sock.recv(65536):
            said += block
    except ConnectionResetError:
        pass
    return said


class ClientsTest(DaemonCase):
    def start_with(self, *answers, **env):
        self.daemon = Daemon(daemon_case.EXECUTABLE, self.home, [{"text": a} for a in answers], **env)

    def silent(self):
        s = socket.socket(socket.AF_UNIX)
        self.addCleanup(s.close)
        s.settimeout(60)
        s.connect(self.daemon.socket)
        return s

    def n_descriptors(self):
        return len(os.listdir(f"/proc/{self.daemon.process.pid}/fd"))

    def logged(self):
        with open(os.path.join(self.home, "log")) as f:
            return f.read()

    def test_the_one_too_many_is_told_so(self):
        self.start_with(LARES_TEST_CLIENTS="4")
        clients = [self.connect() for _ in range(4)]
        crowded = self.silent()
        crowded.sendall(b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocol":1}}\n')
        said = closed(crowded)
        self.assertEqual(said.count(b"\n"), 1, said)
        error = json.loads(said)["error"]
        self.assertEqual(error["data"]["kind"], "overloaded")
        self.assertIn("4 clients", error["message"])
        self.assertTrue(error["data"]["retryable"])
        self.assertEqual(clients[0].call("server/status")["nClients"], 4)
        with socket.socket(socket.AF_UNIX) as s:  # HTTP has a limit of its own
            s.connect(self.daemon.socket)
            s.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            self.assertTrue(s.makefile("rb").read().startswith(b"HTTP/1.1 200"))
        clients.pop().close()
        while clients[0].call("server/status")["nClients"] > 3:
            pass
        self.assertEqual(self.connect().call("ping"), {})
        self.assertEqual(self.logged().count("client_refused why=\"too many\""), 1)

    def test_a_daemon_that_cannot_serve_ends(self):
        self.start_with(LARES_TEST_CLIENTS="0", LARES_TEST_PEEK="throws")
        told_apart = 32  # client_limits.h's: who comes after them is looked at at once
        clients = [self.silent() for _ in range(told_apart + 1)]
        self.assertEqual(self.daemon.process.wait(timeout=30), 1)
        self.daemon.log.close()  # or its end would be taken for a fault of it
        self.assertEqual([closed(c) for c in clients], [b""] * len(clients))
        self.assertIn("laresd: serve clients: std::bad_alloc; start the daemon again\n", self.logged())
        self.assertIn('coroutine_failed what="serve clients" why=std::bad_alloc\n', self.logged())

    def test_who_does_not_read_gives_its_place_back(self):
        self.start_with(LARES_TEST_CLIENTS="4")
        c = self.connect()
        evicted, half = self.connect(), self.connect()
        long = "x" * 400_000  # comes back in an answer
        try:
            for _ in range(40):
                evicted.send(long)
        except OSError:
            pass  # evicted
        for _ in range(4):
            half.send(long)
        half.sock.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + 60
        while c.call("server/status")["nClients"] > 1:
            self.assertLess(time.monotonic(), deadline, "they keep their places")
            time.sleep(0.1)
        self.assertIn("client_evicted", self.logged())

    def test_who_reads_gets_more_than_the_outbox_holds(self):
        self.start_with("hm</think>Yes.", LARES_TEST_CONTEXT="20000000")
        c = self.connect()
        s = self.session(c)
        self.prompt(c, s, "\n" * 3_900_000)  # twice as long on the wire, and sent twice: as accepted, and as the turn's first item
        seen = c.until("turn/ended")
        self.assertEqual([len(m["params"]["item"]["text"]) for m in seen if m["method"] == "item/completed" and m["params"]["item"]["kind"] == "user"], [3_900_000])
        accepted = next(m["params"]["seq"] for m in seen if m["method"] == "prompt/accepted")
        other = self.connect()
        asked = [other.send("session/history", sessionId=s, after=accepted - 1) for _ in range(10)]  # more than any outbox holds, asked before one is read
        for n in asked:
            self.assertEqual(len(other.answer(n)["events"][0]["params"]["content"]), 3_900_000)
        self.assertNotIn("client_evicted", self.logged())

    def test_who_reads_a_long_line_slowly_gets_it_all(self):
        self.start_with()
        slow = self.connect()
        long = "x" * 4_000_000  # comes back in the answer
        slow.send(long)
        slow.sock.shutdown(socket.SHUT_WR)
        n = 0
        began = time.monotonic()
        while block := slow.sock.recv(100_000):
            n += len(block)
            time.sleep(0.3)  # all together longer than two looks at who takes its last words
        self.assertGreater(n, len(long))
        self.assertGreater(time.monotonic() - began, 10)

    def test_silent_connections_are_bounded_and_end(self):
        self.start_with(LARES_TEST_CLIENTS="4", LARES_TEST_FIRST_BYTE_MS="2500")
        before = self.n_descriptors()
        silent = [self.silent() for _ in range(200)]
        last = closed(silent[-1])  # at once
        self.assertIn(b"overloaded", last)
        self.assertLessEqual(self.n_descriptors(), before + 4 + 32 + 8)  # kClientsToldApartMax, and what else it may have opened
        self.assertEqual(closed(silent[0]), b"")  # after its time
        self.assertEqual(self.connect().call("ping"), {})
        self.assertIn('why="it said nothing" ms=2500', self.logged())

    def test_who_has_said_something_may_be_silent(self):
        self.start_with(LARES_TEST_FIRST_BYTE_MS="1500")
        c, half = self.connect(), self.silent()
        half.sendall(b'{"jsonrpc"')
        self.assertEqual(closed(self.silent()), b"")  # for as long as one that says nothing may stay
        half.sendall(b':"2.0","id":1,"method":"initialize","params":{"protocol":1}}\n')
        self.assertEqual(json.loads(half.makefile("rb").readline())["id"], 1)
        self.assertEqual(c.call("ping"), {})

    def test_what_cannot_be_replayed_is_said(self):
        self.start_with("hm</think>Yes.")
        c = self.connect()
        s = self.session(c)
        c.close()
        self.daemon.kill()
        journal.append(os.path.join(self.daemon.state, "sessions", s + ".journal"), b'{"method":7,"params":{}}')
        self.daemon.start([])
        c = self.connect()
        c.call("session/subscribe", sessionId=s, after=0)
        self.assertIn("cannot be read", c.until("connection/evicted")[-1]["params"]["why"])


if __name__ == "__main__":
    main()
