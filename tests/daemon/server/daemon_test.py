"""The daemon from outside, with a scripted model. The protocol and the socket: who is let in, what is answered, and how it ends.

daemon_test.py SCRIPTED_DAEMON [unittest arguments]
"""
import json
import os
import pathlib
import socket
import stat
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
from client import Daemon, Refused
import daemon_case
from daemon_case import DaemonCase, main


class DaemonTest(DaemonCase):
    def test_initialize_comes_first(self):
        self.start()
        c = self.connect(initialize=False)
        with self.assertRaises(Refused) as e:
            c.call("session/list")
        self.assertEqual(e.exception.kind, "invalid_request")
        with self.assertRaises(Refused):
            c.call("initialize", protocol=2)
        self.assertEqual(c.call("initialize", protocol=1)["protocol"], 1)
        with self.assertRaises(Refused):
            c.call("initialize", protocol=1)
        self.assertEqual(c.call("ping"), {})

    def test_nonsense_is_answered_not_fatal(self):
        c = self.start()
        for line, kind in ((b"{", "parse_error"), (b"[1]", "invalid_request"), (b'{"jsonrpc":"2.0","id":7,"method":"no/such"}', "unknown_method"),
                           (b'{"jsonrpc":"2.0","id":8,"method":"session/create","params":{"root":5}}', "invalid_params"),
                           (b'{"jsonrpc":"2.0","id":9,"method":"session/create","params":{"root":"/no/such"}}', "not_found"),
                           (b'{"jsonrpc":"2.0","id":9,"method":"session/get","params":{"sessionId":"zzz"}}', "not_found"),
                           (b'{"jsonrpc":"2.0","id":9,"method":"session/create","params":{"root":"/","settings":{"mode":"x"}}}', "invalid_params")):
            c.send_raw(line + b"\n")
            message = c.read()
            while "method" in message:
                message = c.read()
            self.assertEqual(message["error"]["data"]["kind"], kind, line)
        self.assertEqual(c.call("ping"), {})

    def test_a_line_that_would_take_minutes_to_parse_is_not_parsed(self):
        c = self.start()
        members = ",".join(f'"{i}":1' for i in range(20_000))
        c.send_raw(b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{%s}}\n' % members.encode())
        message = c.read()
        while "method" in message:
            message = c.read()
        self.assertEqual((message["error"]["data"]["kind"], message["error"]["message"]),
                         ("parse_error", "read a request: an object in it has more than 16384 members"))
        self.assertEqual(c.call("ping"), {})

    def test_an_observer_changes_nothing(self):
        self.start()
        c = self.connect(role="observe")
        self.assertEqual(c.call("session/list"), {"sessions": []})
        for method, params in (("session/create", {"root": self.root}), ("server/shutdown", {}), ("prompt/send", {})):
            with self.assertRaises(Refused) as e:
                c.call(method, **params)
            self.assertEqual(e.exception.kind, "denied")

    def test_a_line_has_a_limit(self):
        self.start()
        c = self.connect(initialize=False)
        try:
            for _ in range(17):
                c.send_raw(b"x" * (1 << 20))
        except OSError:
            pass  # it has hung up
        message = c.read()
        self.assertIn("longer than", message["error"]["message"])
        self.assertEqual(self.connect().call("ping"), {})

    def test_who_has_said_all_has_its_answers(self):
        self.start()
        requests = [{"method": "initialize", "params": {"protocol": 1}}, {"method": "repo/open", "params": {"root": self.root}}, {"method": "server/status"}]
        c = self.connect(initialize=False)
        c.send_raw(b"".join(json.dumps({"jsonrpc": "2.0", "id": i, **r}).encode() + b"\n" for i, r in enumerate(requests)))
        c.sock.shutdown(socket.SHUT_WR)
        answers = {}
        while (message := c.read()) is not None:  # then it is let go
            if "method" not in message:
                answers[message["id"]] = message
        self.assertEqual(sorted(answers), [0, 1, 2])
        self.assertTrue(all("result" in a for a in answers.values()), answers)

    def test_who_has_said_all_follows_on_until_it_leaves(self):
        gate = self.gate()
        c = self.start({"text": "hm</think>Yes.", "gate": gate})
        s = self.session(c)
        half = self.connect()
        half.call("session/subscribe", sessionId=s)
        half.sock.shutdown(socket.SHUT_WR)
        self.prompt(c, s, "Go.")
        half.until("session/state", state="prefill")
        self.assertEqual(c.call("server/status")["nClients"], 2)
        self.open_gate(gate)
        self.assertEqual(half.until("turn/ended")[-1]["params"]["reason"], "end_turn")
        half.close()
        while c.call("server/status")["nClients"] > 1:
            pass

    def test_long_lines_are_taken_in_their_order(self):
        c = self.start()
        n = c.send("ping", filler=[[]] * 100_000)
        c.send_raw(b"{" + b"[]," * 100_000 + b"\n")
        c.send("ping")
        c.sock.shutdown(socket.SHUT_WR)
        answers = [m["id"] for m in iter(c.read, None) if "method" not in m]
        self.assertEqual(answers, [n, None, n + 1])

    def test_status_repository_and_health(self):
        c = self.start()
        c.until("server/state", state="ready")
        status = c.call("server/status")
        self.assertEqual(status["engine"]["state"], "ready")
        self.assertEqual((status["nClients"], status["nSessions"]), (1, 0))
        os.makedirs(os.path.join(self.root, "sub"))
        repo = c.call("repo/open", root=os.path.join(self.root, "sub"))
        self.assertEqual((repo["root"], repo["git"]), (self.root, True))
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.daemon.socket)
            s.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            head, body = s.makefile("rb").read().split(b"\r\n\r\n", 1)
        self.assertTrue(head.startswith(b"HTTP/1.1 200"), head)
        self.assertEqual(json.loads(body)["status"], "ready")

    def test_a_model_that_does_not_load_is_said(self):
        c = self.start({"fail": "open the checkpoint: no such file"})
        s = self.session(c)
        c.until("server/state", state="failed")
        with self.assertRaises(Refused) as e:
            self.prompt(c, s, "Go.")
        self.assertEqual(e.exception.kind, "not_ready")
        self.assertIn("no such file", str(e.exception))

    def test_the_socket_is_private_and_there_is_one_daemon(self):
        self.start()
        self.assertEqual(stat.S_IMODE(os.stat(self.daemon.socket).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.dirname(self.daemon.socket)).st_mode), 0o700)
        for state in (self.daemon.state, self.daemon.state + "2"):
            other = subprocess.run([daemon_case.EXECUTABLE, self.daemon.socket if state.endswith("2") else self.daemon.socket + "2", state,
                                    os.path.join(self.home, "script.json")], stderr=subprocess.PIPE)
            self.assertEqual(other.returncode, 1)
            self.assertIn(f"end it with `lares shutdown --socket {self.daemon.socket}`".encode(), other.stderr)
        self.assertEqual(self.connect().call("ping"), {})

    def test_shutdown_ends_it_and_leaves_no_socket(self):
        gate = self.gate()
        c = self.start({"text": "hm", "gate": gate})
        s = self.session(c)
        self.prompt(c, s, "Go.")
        c.until("session/state", state="prefill")
        self.assertEqual(c.call("server/shutdown"), {})
        self.open_gate(gate)
        self.assertEqual(c.until("turn/ended")[-1]["params"]["reason"], "cancelled")
        self.assertEqual(self.daemon.process.wait(timeout=30), 0)
        self.assertFalse(os.path.exists(self.daemon.socket))

    def test_a_shutdown_is_answered_where_nothing_runs(self):
        for when in ("now", "idle"):
            with self.subTest(when):
                self.start()
                c = self.connect()
                self.assertEqual(c.call("server/shutdown", when=when), {})
                while c.read() is not None:
                    pass
                self.assertEqual(self.daemon.process.wait(timeout=30), 0)

    def test_a_signal_as_soon_as_it_can_be_reached_ends_it_in_order(self):
        self.daemon = Daemon(daemon_case.EXECUTABLE, self.home, [])
        for _ in range(10):
            self.daemon.process.terminate()
            self.assertEqual(self.daemon.process.wait(timeout=30), 0)
            self.assertFalse(os.path.exists(self.daemon.socket))
            self.daemon.start([])

    def test_a_shutdown_leaves_what_waits_to_the_next_daemon(self):
        gate = self.gate()
        c = self.start({"text": "hm", "gate": gate}, "hm</think>Not now.")
        s = self.session(c)
        self.prompt(c, s, "Go.")
        c.until("session/state", state="prefill")
        self.prompt(c, s, "Then this.", id="p2", delivery="queue")
        c.call("server/shutdown")
        self.open_gate(gate)
        seen = c.until("turn/ended", turnId=1)
        while (message := c.read()) is not None:
            seen.append(message)
        self.assertEqual([m["params"]["turnId"] for m in seen if m["method"] == "turn/started"], [])
        self.assertEqual(self.daemon.process.wait(timeout=30), 0)
        self.daemon.stop()
        c = self.start("hm</think>Now.")
        c.call("session/subscribe", sessionId=s)
        self.assertEqual(c.until("turn/ended", turnId=2)[-1]["params"]["reason"], "end_turn")

    def test_a_client_that_does_not_read_is_let_go(self):
        c = self.start("hm</think>Yes.")
        s = self.session(c)
        deaf = self.connect()
        deaf.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        # Answers of the size of the outbox, none of them read.
        for _ in range(400):
            try:
                deaf.send("server/prompt_head")
            except OSError:
                break
        self.prompt(c, s, "Others go on.")
        self.assertEqual(c.until("turn/ended")[-1]["params"]["reason"], "end_turn")


if __name__ == "__main__":
    main()
