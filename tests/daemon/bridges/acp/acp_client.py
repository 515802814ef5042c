"""An editor's end of the Agent Client Protocol: `lares acp` as a child, NDJSON both ways."""
import json
import select
import subprocess
import time


class Failed(Exception):
    def __init__(self, error):
        super().__init__(error["message"])
        self.code = error["code"]


class Editor:
    """Its ids count from 0, as the agent's own do. What the agent asks is answered by `answers`: method -> result, or a function of the
    parameters; a method that is not there is refused, None leaves the request unanswered."""

    def __init__(self, command, env, cwd, **answers):
        self.process = subprocess.Popen(command, env=env, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.answers, self.n, self.seen, self.asked, self.results = answers, -1, [], [], {}
        self.rest = b""

    def close(self):
        """Hangs up; the exit status and what is left of stderr."""
        if self.process.stdout.closed:
            return self.process.returncode, ""
        if not self.process.stdin.closed:
            self.process.stdin.close()
        status = self.process.wait(timeout=60)
        err = self.process.stderr.read().decode()
        self.process.stdout.close(), self.process.stderr.close()
        return status, err

    def raw(self, line):
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def post(self, message):
        self.raw(json.dumps(dict(jsonrpc="2.0", **message)).encode() + b"\n")

    def notify(self, method, **params):
        self.post({"method": method, "params": params})

    def send(self, method, **params):
        self.n += 1
        self.post({"id": self.n, "method": method, "params": params})
        return self.n

    def line(self):
        deadline = time.monotonic() + 60
        while b"\n" not in self.rest:
            if not select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"nothing comes; seen so far: {self.seen[-5:]}")
            more = self.process.stdout.read1(65536)
            if not more:
                raise EOFError(f"the agent ended: {self.process.stderr.read().decode()}")
            self.rest += more
        line, self.rest = self.rest.split(b"\n", 1)
        return line

    def step(self):
        """Takes one message; what is asked is answered at once."""
        message = json.loads(self.line())
        assert message["jsonrpc"] == "2.0", message
        if "method" not in message:
            self.results[json.dumps(message["id"])] = message
        elif "id" in message:
            self.asked.append(message)
            reply = self.answers.get(message["method"].replace("/", "_"), {"code": -32601, "message": "not known here"})
            reply = reply(message["params"]) if callable(reply) else reply
            if reply is not None:
                self.post({"id": message["id"], "error" if "code" in reply else "result": reply})
        else:
            self.seen.append(message)
        return message

    def answer(self, n):
        while json.dumps(n) not in self.results:
            self.step()
        message = self.results.pop(json.dumps(n))
        if "error" in message:
            raise Failed(message["error"])
        return message["result"]

    def call(self, method, **params):
        return self.answer(self.send(method, **params))

    def initialize(self, **capabilities):
        return self.call("initialize", protocolVersion=1, clientCapabilities=capabilities, clientInfo={"name": "test", "version": "1"})

    def prompt(self, session, text):
        blocks = [{"type": "text", "text": text}] if isinstance(text, str) else text
        return self.send("session/prompt", sessionId=session, prompt=blocks)

    def updates(self, *kinds):
        every = [m["params"]["update"] for m in self.seen if m["method"] == "session/update"]
        return [u for u in every if not kinds or u["sessionUpdate"] in kinds]

    def until_update(self, what, **fields):
        """The first such update that has come or comes."""
        at = 0
        while True:
            every = self.updates()
            for update in every[at:]:
                if update["sessionUpdate"] == what and all(update.get(k) == v for k, v in fields.items()):
                    return update
            at = len(every)
            self.step()

    def until_asked(self, method):
        while not (found := [m for m in self.asked if m["method"] == method]):
            self.step()
        return found[-1]

    def text(self, kind="agent_message_chunk"):
        return "".join(u["content"]["text"] for u in self.updates(kind))
