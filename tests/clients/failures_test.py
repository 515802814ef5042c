"""What each agent makes of an answer that fails: of what the daemon does for real (it is killed, ends, fails, has a full context, lets
others go first), and of what networks and other servers do. The first answer of a turn fails once, and the turn is to end with the file
written by the agent's own tool; where an agent gives up, with words that its user understands. The table is what these versions do.
failures_test.py BIN DAEMON NPM"""
import http.client
import json
import os
import random
import signal

import door
import sse
from relay import Fault
from scene import Scene
from table import TableCase, one_test_an_agent, rows

RETURNS_TO = 128  # tokens: what is evaluated again of a prompt that comes a second time is less
CONTEXT = 1500    # tokens; every agent's instructions have more
ANSWERED_AT_A_TIME = 16  # kTogetherMax
KEEP_ALIVES = 10  # that an agent reads before its answer begins, ten a second: so long nobody waits who has a place
PACED = {"files": {"us": 1000}}  # so that an answer is under way when something happens to it
FIRST = {"role", "response.created", "response.in_progress", "message_start", "ping", "comment"}  # said while there is no answer
LAST = {"[DONE]", "response.completed", "message_stop"}


def refusal(dialect, status, kind, message):
    """As the daemon words it."""
    if dialect == "messages":
        return status, json.dumps({"type": "error", "error": {"type": kind, "message": message}})
    return status, json.dumps({"error": {"message": message, "type": kind, "param": None, "code": kind}})


class Refuse(Fault):
    """The first request is answered with this status, in the daemon's place."""
    KINDS = {400: "invalid_request_error", 429: "rate_limit_error", 500: "api_error", 529: "overloaded_error"}

    def __init__(self, status):
        self.status = status

    def before(self, ask):
        return refusal(ask.dialect(), self.status, self.KINDS[self.status], "refused once") if ask.n == 0 else None


class WithinACall(Fault):
    """Once the first piece of the first answer's arguments has gone out."""

    def __init__(self):
        self.done = False

    def after(self, ask, event):
        if ask.n == 0 and event.kind in sse.ARGUMENTS and not self.done:
            self.done = True
            return self.happens()

    def happens(self):
        """As Fault.after()."""


class Cut(WithinACall):
    def happens(self):
        return "cut"


class EndEarly(WithinACall):
    def happens(self):
        return "eof"


class Kill(WithinACall):
    def happens(self):
        self.scene.restart_meanwhile(signal.SIGKILL)


class Terminate(WithinACall):
    def happens(self):
        self.scene.restart_meanwhile(signal.SIGTERM)


class Interrupt(WithinACall):
    """By its user, as with Ctrl-C, who then asks for the same."""

    def happens(self):
        os.killpg(self.scene.process.pid, signal.SIGINT)


class KillBetween(WithinACall):
    """Behind the first answer, while its call runs."""

    def after(self, ask, event):
        if ask.n == 0 and event.kind in LAST:
            self.scene.restart_meanwhile(signal.SIGKILL)
            return "close"


class Wait(Fault):
    """Others are answered when the agent asks, as many as the daemon answers at a time; they leave when it was told some times to wait."""

    def __init__(self):
        self.n, self.others = 0, []

    def before(self, ask):
        if ask.n == 0:
            self.others = [self.other() for _ in range(ANSWERED_AT_A_TIME)]

    def other(self):
        """One whose answer has begun, and takes long."""
        say = [{"text": "".join(random.Random(1).choices("abcdefghij", k=3000)), "us": 2000}]
        body = {"messages": [{"role": "user", "content": f"[[say {json.dumps(say)}]]\n"}], "thinking": {"type": "disabled"}, "stream": True}
        connection = http.client.HTTPConnection("127.0.0.1", self.scene.relay.to)
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Authorization": f"Bearer {self.scene.token()}"})
        answer = connection.getresponse()
        while b'"delta":{"content":"' not in (line := answer.readline()):
            assert line, "another's answer ended"
        return connection, answer

    def after(self, ask, event):
        if ask.n == 0 and event.kind in ("comment", "ping") and FIRST.issuperset(ask.kinds):
            self.n += 1
            if self.n == KEEP_ALIVES + 1:  # Messages begins with one
                for connection, answer in self.others:
                    answer.close()
                    connection.close()


INTERRUPTED = "interrupted within a call"
HAPPENINGS = {  # what happens: the relay's part in it, the daemon's script, its environment
    "killed within a call": (Kill, PACED, {}),
    "ended within a call": (Terminate, PACED, {}),
    "killed between requests": (KillBetween, "files", {}),
    "engine fails within a call": (Fault, {"files": {"broken": 1}}, {}),
    "waits for its turn": (Wait, {"files": {}}, {"LARES_TEST_HTTP": "quick", "LARES_TEST_CHUNK": "1000000"}),
    INTERRUPTED: (Interrupt, {"files": {"us": 5000}}, {}),
    "context is full": (Fault, "files", {"LARES_TEST_CONTEXT": str(CONTEXT)}),
    "cut within a call": (Cut, PACED, {}),
    "ends early within a call": (EndEarly, PACED, {}),
    "500": (lambda: Refuse(500), "files", {}),
    "529": (lambda: Refuse(529), "files", {}),
    "429": (lambda: Refuse(429), "files", {}),
    "400": (lambda: Refuse(400), "files", {}),
}


OK, AGAIN, NOTHING = "ok", "asks again", "nothing done"  # of Scene.outcome()
SAME_DAEMON = (INTERRUPTED, "engine fails within a call", "cut within a call", "ends early within a call")
FULL = {  # how an agent shows that it has understood what is wrong, by the first word of its name
    "claude": f"tokens (limit {CONTEXT})",
    "codex": "ran out of room in the model's context window",
    "pi": '"type":"context_edit"',  # takes the attempt back to compact what was before it: here, nothing
    "opencode": "ContextOverflowError",
}


@one_test_an_agent
class Failures(TableCase):
    TITLE = "first answer"
    AGENTS = ("claude", "codex", "pi chat", "pi messages", "pi responses", "opencode chat", "opencode messages", "opencode responses")
    ROWS = rows(AGENTS, {
        # what the daemon and its users do
        "killed within a call": (AGAIN,) * 8,
        "ended within a call": (AGAIN,) * 8,
        "killed between requests": (OK,) * 8,
        "engine fails within a call": (AGAIN,) * 8,
        "waits for its turn": (OK,) * 8,
        INTERRUPTED: (AGAIN,) * 5 + (None,) * 3,  # opencode's server goes on by itself
        "context is full": ("rc 1", "rc 1", NOTHING, NOTHING, NOTHING, "rc 1", "rc 1", "rc 1"),
        # what others do. Where a stream ends as if it were whole, opencode shows the model a call that broke off: here, as good as done.
        "cut within a call": (AGAIN,) * 8,
        "ends early within a call": (AGAIN,) * 5 + (NOTHING,) * 3,
        "500": (AGAIN,) * 8,
        "529": (AGAIN,) * 8,
        "429": (AGAIN, "rc 1") + (AGAIN,) * 6,
        "400": (AGAIN, "rc 1", NOTHING, NOTHING, NOTHING, "rc 1", "rc 1", "rc 1"),
    })

    def run_cell(self, agent, label):
        fault, script, env = HAPPENINGS[label]
        scene = Scene(agent, fault(), script, **env).run()
        return scene.run() if label == INTERRUPTED else scene

    def look_at(self, scene, label):
        if label in ("cut within a call", "ends early within a call", INTERRUPTED):
            self.assertIn("stop=cancelled", scene.log(), "the daemon went on answering nobody")
        if label == "waits for its turn":
            self.assertGreater(scene.relay.fault.n, KEEP_ALIVES)
        if label == "context is full":
            self.assertIn(FULL[scene.name.split()[0]], scene.said())
        if label in SAME_DAEMON and scene.outcome() == "asks again":
            first, second = scene.generations()[:2]
            # Some ask again with what they have of the answer.
            self.assertLessEqual(second.prompt - second.cached, RETURNS_TO + max(0, second.prompt - first.prompt),
                                 "what was evaluated for the first answer was not kept")


if __name__ == "__main__":
    door.main()
