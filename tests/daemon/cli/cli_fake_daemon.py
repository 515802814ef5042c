"""A daemon made of a script: listens on a Unix socket, speaks the native protocol's framing, and lets a test decide what
happens. For what the command line shows and does; the real daemon has tests of its own."""
import json
import os
import socket
import threading
import time


class Connection:
    def __init__(self, sock, fake):
        self.sock, self.fake = sock, fake
        self.file = sock.makefile("rb")

    def send(self, message):
        self.sock.sendall(json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=False).encode() + b"\n")

    def read(self):
        """The next request, or None when the client hung up."""
        line = self.file.readline()
        if not line:
            return None
        request = json.loads(line)
        self.fake.requests.append(request)
        return request

    def answer(self, request, result):
        self.send({"id": request["id"], "result": result})

    def refuse(self, request, code, message, hint=""):
        self.send({"id": request["id"], "error": {"code": code, "message": message,
                                                  "data": {"kind": "x", "retryable": False, "hint": hint}}})

    def notify(self, method, **params):
        self.send({"method": method, "params": params})

    def close(self):
        self.file.close()
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


class FakeDaemon:
    """`turn(connection, fake)` plays one turn after the prompt was accepted; by default nothing happens."""

    session = "s-4f2a"

    def __init__(self, path, turn=None, engine=None):
        self.path, self.turn = path, turn or (lambda c, f: None)
        self.engine = engine or {"state": "ready"}
        self.requests, self.prompts, self.errors = [], {}, []
        self.seq, self.log, self.n_connections = 0, [], 0
        self.listener = socket.socket(socket.AF_UNIX)
        if os.path.exists(path):
            os.unlink(path)
        self.listener.bind(path)
        self.listener.listen(8)
        self.threads = [threading.Thread(target=self.accept, daemon=True)]
        self.threads[0].start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self.serve, args=(Connection(sock, self),), daemon=True)
            self.threads.append(thread)
            thread.start()

    def stop(self):
        self.listener.close()
        if os.path.exists(self.path):
            os.unlink(self.path)

    def methods(self):
        return [r["method"] for r in self.requests]

    def durable(self, connection, method, **params):
        """A fact: numbered, kept, replayed to whoever subscribes again."""
        self.seq += 1
        fact = {"sessionId": self.session, "seq": self.seq, "t": 0, **params}
        self.log.append((method, fact))
        if connection:
            connection.notify(method, **fact)

    def live(self, connection, method, **params):
        connection.notify(method, sessionId=self.session, t=0, **params)

    def info(self):
        return {"sessionId": self.session, "root": "/repo", "title": "", "state": "idle", "lastSeq": 0, "settings": {"mode": "work"}}

    def serve(self, connection):
        self.n_connections += 1
        try:
            self.dialogue(connection)
        except (BrokenPipeError, ConnectionResetError, OSError, ValueError):
            pass  # the client or the test hung up
        except Exception as error:  # a mistake in a test's script must not pass as a hang-up
            self.errors.append(error)
            raise

    def dialogue(self, c):
        while (request := c.read()) is not None:
            method, params = request["method"], request["params"]
            if method == "initialize":
                c.answer(request, {"protocol": 1, "server": "laresd/0.1.0", "daemonId": "d", "bootId": "b", "pid": os.getpid(),
                                   "stateDir": "/state", "socket": self.path})
                c.notify("server/state", **self.engine)
            elif method == "session/create" or method == "session/get":
                c.answer(request, self.info())
            elif method == "session/list":
                c.answer(request, {"sessions": [self.info() | {"title": "repair the clamp", "nTurns": 2, "contextTokens": 4321}]})
            elif method == "session/subscribe":
                c.answer(request, {"session": self.info(), "replayTo": self.seq})
                for name, fact in [e for e in self.log if e[1]["seq"] > params["after"]]:
                    c.notify(name, **fact)
            elif method == "prompt/send":
                again = params["id"] in self.prompts
                self.prompts[params["id"]] = params["content"]
                if not again:
                    self.durable(c, "prompt/accepted", id=params["id"], content=params["content"], delivery=params["delivery"])
                c.answer(request, {"id": params["id"], "seq": self.seq, "turnId": 1})
                if not again:
                    self.durable(c, "turn/started", turnId=1, promptId=params["id"])
                self.turn(c, self)
            elif method == "turn/interrupt":
                c.answer(request, {"turnId": 1})
            elif method == "server/status":
                c.answer(request, {"engine": self.engine, "model": {"directory": "/models/nano", "modelType": "deepseek_v4",
                                   "nLayers": 6, "nParameters": 2345678, "weightBytes": 3456789, "nContextMax": 16384},
                                   "version": "0.1.0", "socket": self.path, "stateDir": "/state", "pid": os.getpid(), "uptimeMs": 75000,
                                   "nClients": 1, "nSessions": 2, "nRunning": 0, "nQueued": 0})
            elif method == "server/shutdown":
                c.answer(request, {})
                self.stop()
                c.close()
                return
            else:
                c.refuse(request, -32601, f"{method}: no such method")


USAGE = {"steps": 3, "prompt": 1500, "cached": 3000, "prefilled": 1310, "generated": 212, "thinking": 150, "context": 1700,
         "contextMax": 16384, "totalMs": 12340}

DIFF = """--- a/src/clamp.py
+++ b/src/clamp.py
@@ -1,5 +1,5 @@
 def clamp(value, low, high):
     if value < low:
         return low
-    if value < high:
+    if value > high:
         return high
"""


def item(fake, connection, identity, kind, text, pieces=0, pause=0.0):
    """A think or text item, as deltas of `pieces` bytes (0: only the final form)."""
    if pieces:
        fake.live(connection, "item/started", item={"id": identity, "turnId": 1, "kind": kind})
        off = tokens = 0
        while off < len(text):
            piece = text[off:off + pieces]
            tokens += 1
            fake.live(connection, "item/delta", turnId=1, itemId=identity, field="text", off=len(text[:off].encode()), text=piece,
                      tokens=tokens)
            off += pieces
            time.sleep(pause)
    fake.durable(connection, "item/completed", item={"id": identity, "turnId": 1, "kind": kind, "text": text})


def call(fake, connection, identity, name, arguments, output, state="done", changes=(), pause=0.0):
    base = {"id": identity, "turnId": 1, "kind": "tool", "name": name}
    fake.live(connection, "item/started", item=base)
    base["arguments"] = json.dumps(arguments)
    fake.durable(connection, "item/updated", item=base | {"state": "running"})
    time.sleep(pause)
    fake.durable(connection, "item/completed", item=base | {"state": state, "output": output, "elapsedMs": 5,
                 "changes": [{"path": p, "diff": d} for p, d in changes]})


def end(fake, connection, reason="end_turn", message=""):
    fake.durable(connection, "turn/ended", turnId=1, reason=reason, message=message, usage=USAGE)


def repair(connection, fake, pause=0.0):
    """A whole turn: test, think, edit, test, answer."""
    for done in (0, 400, 1310):
        fake.live(connection, "turn/prefill", turnId=1, step=1, done=done, total=1310)
        time.sleep(pause * 10)
    item(fake, connection, "1.1", "think", "The tests should say what is wrong, so I run them before I look at anything else.\n", 4, pause)
    call(fake, connection, "1.2", "test", {"path": "tests"}, "1 of 3 tests failed (python3 -m unittest discover -s tests)\n"
         "FAIL tests/test_clamp.py:8 test_high\n  self.assertEqual(clamp(9, 0, 5), 5)\n  AssertionError: 9 != 5\n", "failed", pause=pause * 20)
    item(fake, connection, "1.3", "think", "clamp compares with the wrong operator.", 4, pause)
    call(fake, connection, "1.4", "str_replace_editor", {"command": "str_replace", "path": "/repo/src/clamp.py", "old_str": "<", "new_str": ">"},
         "The file /repo/src/clamp.py has been edited successfully.", changes=[("src/clamp.py", DIFF)], pause=pause)
    call(fake, connection, "1.5", "test", {}, "3 tests passed (python3 -m unittest discover -s tests)", pause=pause * 20)
    item(fake, connection, "1.6", "text", "`clamp` compared with the wrong operator; all 3 tests pass now.", 5, pause)
    end(fake, connection)
