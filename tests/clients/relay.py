"""A relay on loopback between a client and the daemon. It passes on what both say and keeps note of it, or does to it what a bad network or
another server would do: leaves events out, cuts a stream, answers in the daemon's place."""
import http.client
import http.server
import json
import threading

import sse

GENERATION = ("/chat/completions", "/responses", "/messages")
PIECE = 1 << 16
UNREACHABLE_S = 120


class Ask:
    """A request for an answer, with the client's tools in it; what else clients ask (titles, counts) is passed on and forgotten."""

    def __init__(self, n, path, body):
        self.n, self.path, self.body = n, path, body
        self.status, self.kinds, self.usage = None, [], None

    def dialect(self):
        return "messages" if self.path.split("?")[0].endswith("/messages") else "responses" if self.path.endswith("/responses") else "chat"


class Fault:
    """What is done to one conversation; nothing, in this one. Called on the relay's threads."""
    scene = None  # whose conversation it is (scene.py)

    def before(self, ask):
        """The (status, body) to answer in the daemon's place; None: it is asked."""

    def passes(self, ask, event):
        """Whether this event goes on to the client, perhaps changed."""
        return True

    def after(self, ask, event):
        """Said when an event has gone out: "cut" ends the connection here, "eof" the stream, as if it were whole, "close" both."""


class Relay(http.server.ThreadingHTTPServer):
    daemon_threads, block_on_close = True, False

    def __init__(self, fault, asks_max):
        super().__init__(("127.0.0.1", 0), Handler)
        self.fault, self.asks_max = fault, asks_max
        self.to = None  # the daemon's port; none: it is to come back, and who asks waits
        self.listens = threading.Condition()
        self.asks, self.lock = [], threading.Lock()
        self.exceeded = threading.Event()  # asks_max were there: the client asks for ever
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def reaches(self, port):
        with self.listens:
            self.to = port
            self.listens.notify_all()

    def stop(self):
        self.shutdown()
        self.server_close()

    def ask_of(self, path, body):
        if not path.split("?")[0].endswith(GENERATION) or not json.loads(body).get("tools"):
            return None
        with self.lock:
            ask = Ask(len(self.asks), path, body)
            self.asks.append(ask)
        if len(self.asks) >= self.asks_max:
            self.exceeded.set()
        return ask

    def handle_error(self, request, client_address):
        pass  # a client or the daemon has gone, which is what this is about


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def relay(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        ask = self.server.ask_of(self.path, body) if self.command == "POST" else None
        if ask and (instead := self.server.fault.before(ask)):
            ask.status, text = instead
            return self.whole(ask.status, {"Content-Type": "application/json"}, text.encode())
        with self.server.listens:
            self.server.listens.wait_for(lambda: self.server.to, UNREACHABLE_S)
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.to, timeout=UNREACHABLE_S)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() != "connection":
                    upstream.putheader(name, value)
            upstream.endheaders(body)
            answer = upstream.getresponse()
            if ask:
                ask.status = answer.status
            if answer.getheader("Content-Type", "").startswith("text/event-stream"):
                self.stream(ask, answer)
            else:
                self.whole(answer.status, dict(answer.getheaders()), answer.read())
        except (OSError, http.client.HTTPException):
            self.hang_up()
        finally:
            upstream.close()

    do_GET = do_HEAD = do_POST = relay

    def hang_up(self):
        self.close_connection = True

    def head(self, status, headers):
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)

    def whole(self, status, headers, body):
        self.head(status, headers)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def stream(self, ask, answer):
        self.head(answer.status, dict(answer.getheaders()))
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in sse.events(lambda: answer.read1(PIECE)):
            what = self.event(ask, event) if ask else self.chunk(event.bytes())
            if what == "cut":
                return self.hang_up()
            if what in ("eof", "close"):
                self.close_connection = what == "close"
                break
        self.wfile.write(b"0\r\n\r\n")

    def event(self, ask, event):
        ask.kinds.append(event.kind)
        ask.usage = event.usage() or ask.usage
        if self.server.fault.passes(ask, event):
            self.chunk(event.bytes())
        return self.server.fault.after(ask, event)

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def log_message(self, *_):
        pass
