#!/usr/bin/env python3
"""HTTP from outside: over the Unix socket, with everything that clients do to a server.
http_test.py SCRIPTED_DAEMON"""
import contextlib
import http.client
import json
import os
import pathlib
import re
import socket
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
from client import Client, Daemon, memory_told, remove_home  # noqa: E402

EXECUTABLE = os.path.abspath(sys.argv.pop())
N_STREAMS = 64
WAIT = 30  # seconds, for what should come at once


def get(path, *headers, method="GET", version="1.1"):
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: localhost", *headers, "", ""]).encode()


def post(path, body, *headers):
    return get(path, f"Content-Length: {len(body)}", *headers, method="POST") + body


def checksum(body):
    value = 0
    for byte in body:
        value = (value * 31 + byte) & 0xFFFFFFFF
    return value


class Peer:
    """A client that can do anything: bytes out, answers in."""

    def __init__(self, address):
        self.sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self.sock.settimeout(WAIT)
        self.sock.connect(address)
        self.file = self.sock.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def head(self):
        line = self.file.readline()
        if not line:
            raise EOFError("the daemon hung up")
        self.headers = {}
        while (field := self.file.readline()) not in (b"\r\n", b""):
            name, value = field.decode().split(":", 1)
            self.headers[name.lower()] = value.strip()
        return int(line.split()[1])

    def chunk(self):
        """The next one; b"" is the end, None a connection that was cut."""
        size = self.file.readline()
        if not size.endswith(b"\r\n"):
            return None
        data = self.file.read(int(size, 16))
        return data if self.file.readline() == b"\r\n" else None

    def chunks(self):
        while chunk := self.chunk():
            yield chunk

    def body(self):
        if self.headers.get("transfer-encoding") == "chunked":
            return b"".join(self.chunks())
        return self.file.read(int(self.headers.get("content-length", 0)))

    def answer(self):
        return self.head(), self.body()

    def is_closed(self):
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True


class HttpCase(unittest.TestCase):
    ENVIRONMENT = {}

    def setUp(self):
        self.home = tempfile.mkdtemp(prefix="lares-http-")
        before = {name: os.environ.get(name) for name in self.ENVIRONMENT}
        os.environ.update(self.ENVIRONMENT)
        self.daemon = Daemon(EXECUTABLE, self.home, self.script())
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        self.address = self.daemon.socket
        with self.peer() as p:  # what the daemon opens with its first client is there
            p.send(get("/health"))
            p.answer()

    def tearDown(self):
        self.daemon.stop()
        with open(os.path.join(self.home, "log"), encoding="utf-8") as f:
            log = f.read()
        if self.daemon.process.returncode != 0:
            print(log, file=sys.stderr)
        remove_home(self.home)
        self.assertEqual(self.daemon.process.returncode, 0)

    def script(self):
        return []

    def peer(self):
        return Peer(self.address)

    def ask(self, data):
        with self.peer() as p:
            p.send(data)
            return p.answer()

    def wait_until(self, condition, what):
        end = time.monotonic() + WAIT
        while not condition():
            self.assertLess(time.monotonic(), end, f"not within {WAIT} s: {what}")
            time.sleep(0.01)

    def n_gone(self):
        return int(self.ask(get("/test/gone"))[1])

    def status(self, field):
        with open(f"/proc/{self.daemon.process.pid}/status", encoding="ascii") as f:
            return int(re.search(rf"^{field}:\s+(\d+)", f.read(), re.M)[1])

    def n_fds(self):
        return len(os.listdir(f"/proc/{self.daemon.process.pid}/fd"))


class Requests(HttpCase):
    def test_health_over_one_connection_again_and_again(self):
        with self.peer() as p:
            for _ in range(100):
                p.send(get("/health"))
                status, body = p.answer()
                self.assertEqual((status, json.loads(body)["pid"]), (200, self.daemon.process.pid))
                self.assertEqual(p.headers["content-type"], "application/json")
                self.assertNotIn("connection", p.headers)

    def test_an_ordinary_client(self):
        c = http.client.HTTPConnection("localhost")
        c.sock = socket.socket(socket.AF_UNIX)
        c.sock.connect(self.address)
        for _ in range(3):
            c.request("POST", "/test/echo", body=(part for part in (b"ab", b"c" * 70_000)), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
            self.assertEqual(json.load(c.getresponse())["bytes"], 70_002)
            c.request("GET", "/test/stream?n=50")
            self.assertEqual(c.getresponse().read().count(b"data: "), 51)
        c.close()

    def test_pipelined_requests_are_answered_in_their_order(self):
        with self.peer() as p:
            p.send(b"".join(post("/test/echo", b"x" * n) + get("/test/stream?n=2&ms=1") for n in range(50)))
            for n in range(50):
                self.assertEqual(json.loads(p.answer()[1])["bytes"], n)
                self.assertTrue(p.answer()[1].endswith(b"data: done\n\n"))

    def test_a_pipeline_longer_than_is_read_ahead(self):
        with self.peer() as p:
            p.send(get("/test/slow?ms=100") + b"".join(get("/test/bytes?n=1", "X: " + "y" * 1000) for _ in range(300)))
            self.assertEqual(p.answer()[0], 200)
            for _ in range(300):
                self.assertEqual(p.answer(), (200, b"y"))

    def test_head_is_the_head_alone(self):
        with self.peer() as p:
            for path in ("/health", "/test/stream?n=1000000", "/test/forever", "/test/slow?ms=1", "/nowhere"):
                p.send(get(path, method="HEAD"))
                self.assertEqual(p.head(), 404 if path == "/nowhere" else 200, path)
            p.send(get("/test/bytes?n=3"))  # and nothing of theirs is in between
            self.assertEqual(p.answer(), (200, b"yyy"))

    def test_what_is_not_there(self):
        with self.peer() as p:
            p.send(get("/nowhere"))
            status, body = p.answer()
            self.assertEqual((status, json.loads(body)["error"]["message"]), (404, "/nowhere is not served here"))
            p.send(get("/health", method="DELETE"))
            status, body = p.answer()
            self.assertEqual((status, p.headers["allow"]), (405, "GET, HEAD"))
            self.assertIn("error", json.loads(body))
            p.send(post("/nowhere", b"x" * 3_000_000))  # with a body that nobody will use, and that can be sent nevertheless
            self.assertEqual(p.answer()[0], 404)
            self.assertEqual(p.headers["connection"], "close")
            self.assertTrue(p.is_closed())

    def test_http_10(self):
        with self.peer() as p:
            p.send(b"GET /test/stream?n=2 HTTP/1.0\r\n\r\n")
            self.assertEqual(p.head(), 200)
            self.assertNotIn("transfer-encoding", p.headers)
            self.assertTrue(p.file.read().endswith(b"data: done\n\n"))
        with self.peer() as p:
            for _ in range(2):
                p.send(b"GET /test/bytes?n=2 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                self.assertEqual(p.answer(), (200, b"yy"))
                self.assertEqual(p.headers["connection"], "keep-alive")
            p.send(b"GET /health HTTP/1.0\r\n\r\n")
            self.assertEqual(p.answer()[0], 200)
            self.assertTrue(p.is_closed())

    def test_a_client_that_has_said_all_is_answered(self):
        with self.peer() as p:
            p.send(get("/health"))
            p.sock.shutdown(socket.SHUT_WR)
            self.assertEqual(p.answer()[0], 200)
            self.assertTrue(p.is_closed())
        with self.peer() as p:
            p.send(get("/test/slow?ms=300") + get("/test/stream?n=3&ms=100"))
            p.sock.shutdown(socket.SHUT_WR)
            self.assertEqual(p.answer(), (200, b'{"slow": true}'))
            self.assertEqual(p.answer()[1].split()[-1], b"done")
            self.assertTrue(p.is_closed())

    def test_leave_to_send_a_body(self):
        with self.peer() as p:
            p.send(get("/test/echo", "Content-Length: 3", "Expect: 100-continue", method="POST"))
            self.assertEqual(p.head(), 100)
            p.send(b"abc")
            self.assertEqual(json.loads(p.answer()[1])["bytes"], 3)
            p.send(get("/nowhere", "Content-Length: 3", "Expect: 100-continue", method="POST"))
            self.assertEqual(p.answer()[0], 404)  # and no leave
            self.assertTrue(p.is_closed())

    def test_bodies_of_any_size_and_cut(self):
        for size in (0, 1, 16_384, 1 << 20, 16 << 20):
            body = os.urandom(4096) * (size // 4096) + b"x" * (size % 4096)
            status, answer = self.ask(post("/test/echo", body))
            self.assertEqual(status, 200)
            self.assertEqual(json.loads(answer)["bytes"], size)
            if size <= 1 << 20:
                self.assertEqual(json.loads(answer)["sum"], checksum(body))
        body = os.urandom(300_000)
        with self.peer() as p:
            p.send(get("/test/echo", "Transfer-Encoding: chunked", method="POST"))
            for at in range(0, len(body), 7919):
                part = body[at:at + 7919]
                p.send(b"%x\r\n%b\r\n" % (len(part), part))
            p.send(b"0\r\n\r\n")
            self.assertEqual(json.loads(p.answer()[1]), {"bytes": len(body), "sum": checksum(body)})

    def test_an_answer_longer_than_the_socket_holds(self):
        status, body = self.ask(get("/test/bytes?n=30000000"))
        self.assertEqual((status, len(body)), (200, 30_000_000))

    def test_a_header_of_other_bytes_than_utf8_is_taken(self):
        status, body = self.ask(get("/health", "X-Title: \xff").replace(b"\xc3\xbf", b"\xff"))
        self.assertEqual(status, 200, body)

    def test_what_is_malformed_is_refused_and_the_connection_ends(self):
        for status, data in ((400, b"GARBAGE\r\n\r\n"), (400, b"GET / HTTP/1.1\r\n\r\n"), (400, b"GET /x\xff HTTP/1.1\r\nHost: localhost\r\n\r\n"),
                             (400, get("/health", "no colon")),
                             (400, get("/test/echo", "Content-Length: -1", method="POST")),
                             (400, get("/test/echo", "Transfer-Encoding: chunked", method="POST") + b"zz\r\n"),
                             (413, get("/test/echo", f"Content-Length: {(64 << 20) + 1}", method="POST")),
                             (431, get("/health", "X: " + "x" * 70_000)), (431, get("/health", *(f"X-{i}: {i}" for i in range(10_000)))),
                             (431, b"GET /" + b"x" * 200_000), (501, get("/test/echo", "Transfer-Encoding: gzip", method="POST")),
                             (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
                             (403, get("/health", "Origin: http://evil.example")), (403, post("/test/echo", b"x" * 1_000_000, "Origin: null"))):
            with self.peer() as p:
                try:
                    p.send(data)
                except OSError:
                    pass  # it does not read all of that
                got, body = p.answer()
                self.assertEqual(got, status, data[:80])
                self.assertTrue(json.loads(body)["error"]["message"], data[:80])
                if status != 403:
                    self.assertTrue(p.is_closed(), data[:80])
        self.assertEqual(self.ask(get("/health"))[0], 200)

    def test_any_credentials_will_do_on_this_socket(self):
        self.assertEqual(self.ask(get("/health", "Authorization: Bearer sk-x", "x-api-key: y"))[0], 200)

    def test_any_host_will_do_on_this_socket(self):
        for host in (b"lares", b"docker:80", b"evil.example"):  # no name leads a browser here
            self.assertEqual(self.ask(get("/health").replace(b"localhost", host))[0], 200, host)

    def test_handlers_that_fail(self):
        with self.peer() as p:
            for how, why in (("none", "gave no answer"), ("throw", "as it was told to"), ("long", "as it was told to")):
                p.send(get(f"/test/fail/{how}"))
                status, body = p.answer()
                self.assertEqual(status, 500)
                self.assertIn(why, json.loads(body)["error"]["message"])
            p.send(get("/test/fail/stop"))
            self.assertEqual(p.head(), 200)
            self.assertEqual(p.chunk(), b"data: half\n\n")
            self.assertEqual(p.chunk(), None)  # cut: nobody takes the half for the whole
        self.assertEqual(self.ask(get("/health"))[0], 200)

    def test_the_native_protocol_beside_it(self):
        with self.peer() as p:
            p.send(get("/test/forever"))
            p.head()
            c = Client(self.address)
            self.assertEqual(c.call("ping"), {})
            self.assertEqual(c.call("server/status")["nClients"], 1)
            c.close()


class Peers(HttpCase):
    """What peers do wrong, or not at all. The daemon's patience is short here."""
    ENVIRONMENT = {"LARES_TEST_HTTP": "quick"}

    def test_one_that_hangs_up_is_noticed_though_nothing_is_written(self):
        with self.peer() as p:
            p.send(get("/test/stream?n=2&ms=60000"))
            p.head()
            p.chunk()
        self.wait_until(lambda: self.n_gone() == 1, "the handler is told that the client left")

    def test_one_that_has_said_all_and_then_hangs_up_is_noticed(self):
        for how in (socket.SHUT_RDWR, None):
            with self.peer() as p:
                before = self.n_gone()
                p.send(get("/test/stream?n=2&ms=60000"))
                p.sock.shutdown(socket.SHUT_WR)
                p.head()
                p.chunk()
                self.assertEqual(self.n_gone(), before)
                if how is not None:
                    p.sock.shutdown(how)
                    self.wait_until(lambda: self.n_gone() == before + 1, "what is shut down both ways is gone")
            if how is None:
                self.wait_until(lambda: self.n_gone() == before + 1, "what is closed is gone")

    def test_one_that_disappears_mid_stream(self):
        peers = [self.peer() for _ in range(20)]
        for p in peers:
            p.send(get("/test/stream?n=1000000&ms=1"))
            p.head()
            p.chunk()
        for p in peers:
            p.close()
        self.wait_until(lambda: self.n_gone() == 20, "the handlers are told that the clients left")

    def test_silence_is_filled(self):
        with self.peer() as p:
            p.send(get("/test/stream?n=2&ms=350"))
            p.head()
            kinds = [chunk.split(b" ")[0] for chunk in p.chunks()]
            self.assertEqual(kinds[0], b"data:")
            self.assertIn(b":", kinds[1:-1])  # : keep-alive
            p.send(get("/test/slow?ms=350"))
            self.assertEqual(p.head(), 200)
            chunks = list(p.chunks())
            self.assertEqual(chunks[0], b"\n")
            self.assertEqual(json.loads(b"".join(chunks)), {"slow": True})
            p.send(get("/test/slow?ms=0"))
            self.assertEqual(p.answer(), (200, b'{"slow": true}'))
            self.assertIn("content-length", p.headers)
            p.send(get("/test/fail/long?ms=250"))
            status, body = p.answer()
            self.assertEqual((status, body[:1]), (200, b"\n"))
            self.assertIn("error", json.loads(body))

    def test_a_head_that_never_ends(self):
        with self.peer() as p:
            p.send(b"GET /health HTTP/1.1\r\nHost: local")
            self.assertEqual(p.answer()[0], 408)
            self.assertTrue(p.is_closed())

    def test_a_body_that_never_ends(self):
        with self.peer() as p:
            p.send(get("/test/echo", "Content-Length: 10", method="POST") + b"abc")
            self.assertEqual(p.answer()[0], 408)
            self.assertTrue(p.is_closed())

    def test_one_that_says_nothing_more(self):
        with self.peer() as p:
            p.send(get("/health"))
            p.answer()
            self.assertTrue(p.is_closed())

    def test_one_that_reads_nothing_is_left(self):
        with self.peer() as p:
            p.send(get("/test/stream?n=100&bytes=1000000"))
            self.wait_until(lambda: self.n_gone() == 1, "the handler is told that nobody reads")

    def test_one_that_reads_slowly_gets_it_all(self):
        with self.peer() as p:
            p.send(get("/test/stream?n=20&bytes=200000"))
            p.head()
            n = 0
            for chunk in p.chunks():
                n += len(chunk)
                time.sleep(0.15)  # all together, longer than silence may last
            self.assertGreater(n, 20 * 200_000)

    def test_more_than_may_be_connected(self):
        idle = []
        for _ in range(256):
            p = self.peer()
            p.send(get("/health"))
            p.answer()
            idle.append(p)
        self.assertEqual(self.ask(get("/health"))[0], 200)  # one that waited for nothing has made room
        for p in idle:
            p.close()
        busy = []
        for _ in range(256):
            p = self.peer()
            p.send(get("/test/forever"))
            self.assertEqual(p.head(), 200)
            busy.append(p)
        status, body = self.ask(get("/health"))
        self.assertEqual(status, 503)
        self.assertIn("256 clients", json.loads(body)["error"]["message"])
        for p in busy:
            p.close()
        self.wait_until(lambda: self.ask(get("/health"))[0] == 200, "there is room again")


class Load(HttpCase):
    ENVIRONMENT = memory_told()

    def test_many_streams_at_once_leave_nothing_behind(self):
        def round_of_streams():
            peers = [self.peer() for _ in range(N_STREAMS)]
            for i, p in enumerate(peers):
                p.send(get(f"/test/stream?n=200&ms=1&bytes={i * 7}"))
            for p in peers:
                p.head()
            for p in peers[::8]:
                p.close()
            for i, p in enumerate(peers):
                if i % 8 == 0:
                    continue
                chunks = list(p.chunks())
                self.assertEqual((len(chunks), chunks[-1]), (201, b"data: done\n\n"))
                p.close()

        round_of_streams()
        self.wait_until(lambda: self.n_gone() == N_STREAMS // 8, "handlers end")
        before = self.n_fds(), self.status("Threads"), self.status("VmRSS")
        for n in range(2, 6):
            round_of_streams()
            self.wait_until(lambda: self.n_gone() == n * N_STREAMS // 8, "handlers end")
        self.wait_until(lambda: self.n_fds() <= before[0], "descriptors are closed")
        self.wait_until(lambda: self.status("Threads") == before[1], "as many threads as before")
        self.assertLess(self.status("VmRSS"), before[2] + 4_000, "kB")

    def test_large_bodies_leave_nothing_behind(self):
        body = b"x" * (16 << 20)
        self.ask(post("/test/echo", body))
        before = self.status("VmRSS")
        for _ in range(8):
            self.assertEqual(self.ask(post("/test/echo", body))[0], 200)
            with self.peer() as p:
                p.send(get("/test/echo", "Content-Length: 60000000", method="POST") + body)
        self.assertEqual(self.ask(get("/health"))[0], 200)
        self.assertLess(self.status("VmRSS"), before + 64_000, "kB")  # malloc keeps two; a leak would be sixteen


class Shutdown(HttpCase):
    def test_every_stream_gets_its_last_words(self):
        for end in ("signal", "request"):
            peers = [self.peer() for _ in range(N_STREAMS)]
            for i, p in enumerate(peers):
                p.send(get("/test/forever" if i % 2 else "/test/stream?n=1000000&ms=5"))
                self.assertEqual(p.head(), 200)
            idle, silent = self.peer(), self.peer()
            idle.send(get("/health"))
            idle.answer()
            if end == "signal":
                self.daemon.process.terminate()
            else:
                Client(self.address).call("server/shutdown")
            for p in peers:
                self.assertEqual(list(p.chunks())[-1], b"data: cut\n\n")
                self.assertTrue(p.is_closed())
                p.close()
            self.assertTrue(idle.is_closed())
            self.assertTrue(silent.is_closed())
            self.assertEqual(self.daemon.process.wait(timeout=WAIT), 0)
            if end == "signal":
                self.daemon.start([])

    def test_one_that_does_not_read_its_last_words_does_not_keep_the_daemon(self):
        p = self.peer()
        p.send(get("/test/stream?n=100&bytes=1000000"))
        p.head()
        self.daemon.process.terminate()
        self.assertEqual(self.daemon.process.wait(timeout=WAIT), 0)
        p.close()


class Tcp(HttpCase):
    ENVIRONMENT = {"LARES_TEST_LISTEN": "127.0.0.1:0", "LARES_TEST_HTTP": "quick"}

    def setUp(self):
        super().setUp()
        with open(os.path.join(self.home, "log"), encoding="utf-8") as f:
            self.address = ("127.0.0.1", int(re.search(r"http_listens address=127\.0\.0\.1:(\d+)", f.read())[1]))
        self.token = self.read_token()

    def read_token(self):
        path = os.path.join(self.daemon.state, "api-token")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        with open(path, encoding="ascii") as f:
            return f.read().strip()

    def test_the_token_lets_in(self):
        status, body = self.ask(get("/health"))
        self.assertEqual(status, 401)
        self.assertIn("api-token", json.loads(body)["error"]["message"])
        with self.peer() as p:
            for header, status in ((f"Authorization: Bearer {self.token}", 200), (f"x-api-key: {self.token}", 200), ("x-api-key: nonsense", 401),
                                   (f"Authorization: Bearer {self.token[:-1]}", 401), (f"Authorization: Basic {self.token}", 401)):
                p.send(get("/health", header))
                self.assertEqual(p.answer()[0], status, header)
                self.assertEqual("www-authenticate" in p.headers, status == 401)
            p.send(post("/test/echo", b"x" * 1_000_000))  # it is refused before its body is read
            self.assertEqual(p.answer()[0], 401)

    def test_a_web_page_is_not_let_in(self):
        key = f"x-api-key: {self.token}"
        with self.peer() as p:
            for headers, status in (([], 200), (["Origin: http://localhost:5173"], 200), (["Origin: http://evil.example"], 403), (["Origin: null"], 403)):
                p.send(get("/health", key, *headers))
                self.assertEqual(p.answer()[0], status, headers)
                self.assertFalse([name for name in p.headers if name.startswith("access-control")])
            for host, status in ((f"localhost:{self.address[1]}", 200), (f"127.0.0.1:{self.address[1]}", 200), ("rebound.example", 403)):
                p.send(get("/health", key).replace(b"Host: localhost", f"Host: {host}".encode()))
                self.assertEqual(p.answer()[0], status, host)

    def test_the_native_protocol_is_not_spoken_there(self):
        with self.peer() as p:
            p.send(b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocol":1}}\n\r\n\r\n')
            self.assertEqual(p.answer()[0], 400)
            self.assertTrue(p.is_closed())

    def test_who_says_nothing_is_left(self):
        with self.peer() as p:
            self.assertTrue(p.is_closed())

    def test_one_that_disappears_mid_stream(self):
        with self.peer() as p:
            p.send(get("/test/forever", f"x-api-key: {self.token}"))
            p.head()
        self.address = self.daemon.socket
        self.wait_until(lambda: self.n_gone() == 1, "the handler is told that the client left")

    def test_shutdown_ends_streams_and_the_port_is_free_at_once(self):
        with self.peer() as p:
            p.send(get("/test/forever", f"x-api-key: {self.token}"))
            p.head()
            self.daemon.process.terminate()
            self.assertEqual([c for c in p.chunks() if c.startswith(b"data")], [b"data: cut\n\n"])
        self.daemon.process.wait(timeout=WAIT)
        os.environ["LARES_TEST_LISTEN"] = f"127.0.0.1:{self.address[1]}"
        try:
            self.daemon.start([])
        finally:
            del os.environ["LARES_TEST_LISTEN"]
        self.assertEqual(self.read_token(), self.token)
        self.assertEqual(self.ask(get("/health", f"x-api-key: {self.token}"))[0], 200)


class Doors(HttpCase):
    """All dialects beside each other, with what is no matter of theirs."""
    SAY = '[[say ["hm</think>Done."]]]\n'
    ENVIRONMENT = {"LARES_TEST_LISTEN": "127.0.0.1:0"}
    GENERATING = ("/v1/chat/completions", "/v1/messages", "/anthropic/v1/messages", "/v1/responses")

    def script(self):
        return "prompts"

    def request(self, path, **fields):
        asked = {"input": self.SAY} if path.endswith("responses") else {"messages": [{"role": "user", "content": self.SAY}], "max_tokens": 1000}
        return post(path, json.dumps({"model": "scripted", **asked, **fields}).encode(), "Content-Type: application/json")

    def test_all_of_them_over_one_connection(self):
        with self.peer() as p:
            for _ in range(2):
                for path in self.GENERATING:
                    for stream in (False, True):
                        p.send(self.request(path, stream=stream))
                        status, body = p.answer()
                        self.assertEqual(status, 200, body)
                        self.assertIn(b"Done.", body.replace(b'","', b""), path)
                p.send(get("/v1/models") + get("/health"))
                self.assertEqual([p.answer()[0], p.answer()[0]], [200, 200])

    def test_bodies_that_are_no_json_in_utf_8(self):
        with self.peer() as p:
            for path in self.GENERATING:
                for body in (b"", b"{", b"[]", b"null", b'{"model": "\xff\xfe", "messages": [], "input": ""}', b'{"messages": [{"role": "user", "content": "\xed\xa0\x80"}]}', b"[" * 100_000,
                             b"\xff" * 1000, b'{"model": "scripted"' + b" " * 1_000_000):
                    p.send(post(path, body))
                    status, answer = p.answer()
                    self.assertEqual(status, 400, (path, body[:40], answer))
                    self.assertTrue(json.loads(answer)["error"]["message"], (path, body[:40]))

    def test_a_conversation_of_16_mb_is_answered(self):
        before = self.status("Threads")
        for path in self.GENERATING[:2]:
            status, body = self.ask(self.request(path, unknown="x" * (16 << 20)))  # a field that nobody reads
            self.assertEqual(status, 200, body[:200])
        self.wait_until(lambda: self.status("Threads") == before, "as many threads as before")

    def test_a_client_without_the_token_is_told_so_in_its_own_words(self):
        with open(os.path.join(self.home, "log"), encoding="utf-8") as f:
            self.address = ("127.0.0.1", int(re.search(r"http_listens address=127\.0\.0\.1:(\d+)", f.read())[1]))
        for path in self.GENERATING:
            status, body = self.ask(self.request(path))
            self.assertEqual(status, 401)
            error = json.loads(body)
            self.assertEqual(error["error"]["type"], "authentication_error", path)
            self.assertEqual(error.get("type"), "error" if "messages" in path else None, path)


class Answering(HttpCase):
    """Requests whose answers take as long as the gate is shut."""
    N, SIZE = 16, 8 << 20
    PATHS = {"/v1/chat/completions": {"messages": [{"role": "user", "content": "x"}]}, "/v1/messages": {"messages": [{"role": "user", "content": "x"}]},
             "/v1/responses": {"input": "x"}, "/v1/completions": {"prompt": "x"}}

    def script(self):
        self.gate = os.path.join(self.home, "gate")
        os.mkfifo(self.gate)
        return [{"text": "hm</think>One.", "gate": self.gate}] + [{"text": "hm</think>Others."}] * (2 * self.N)

    def test_bodies_are_let_go_of_once_they_are_read(self):
        unknown = "x" * self.SIZE  # in a field that nobody reads
        paths = list(self.PATHS)
        with contextlib.ExitStack() as stack:
            def begin(i):
                path = paths[i % len(paths)]
                p = stack.enter_context(self.peer())
                p.send(post(path, json.dumps({**self.PATHS[path], "stream": True, "unknown": unknown}).encode()))
                self.assertEqual(p.head(), 200, path)
                return p
            peers = [begin(0), begin(1)]
            before = self.status("VmRSS")
            peers += [begin(i) for i in range(2, self.N)]
            # A body and what is parsed of it would be 16 MB for each.
            self.wait_until(lambda: self.status("VmRSS") - before < self.SIZE * self.N // 4096, "the bodies are let go of, but for some kB")
            with open(self.gate, "w", encoding="ascii") as f:
                f.write("x")
            for p in peers:
                self.assertIn(b"data: ", p.body())


class Open(HttpCase):
    ENVIRONMENT = {"LARES_TEST_LISTEN": "[::1]:0", "LARES_TEST_WITHOUT_TOKEN": "1"}

    @unittest.skipUnless(os.path.exists("/proc/net/if_inet6"), "there is no IPv6 here")
    def test_without_a_token_where_that_was_said(self):
        with open(os.path.join(self.home, "log"), encoding="utf-8") as f:
            port = int(re.search(r"http_listens address=\[::1\]:(\d+)", f.read())[1])
        c = http.client.HTTPConnection("::1", port)
        c.request("GET", "/health")
        self.assertEqual(c.getresponse().status, 200)
        c.close()
        self.assertFalse(os.path.exists(os.path.join(self.daemon.state, "api-token")))


if __name__ == "__main__":
    unittest.main()
