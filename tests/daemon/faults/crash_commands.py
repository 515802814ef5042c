"""People at the command line, and at a command that does not end, whose `lares` or shell is killed while it works: what each begins with,
and what is true afterwards, whenever that was."""
import json
import os
import signal
import subprocess
import threading
import time

from client import Refused, call, say
from crash_actors import RecordingClient

GONE_SECONDS_MAX = 60  # for processes that were killed


class Command:
    """One command of `lares`."""

    delay = 0.08  # seconds it is left to work, at most

    def __init__(self, home, rng):
        self.home, self.rng = home, rng
        self.version = home.next_version()
        self.path = os.path.join(home.root, f"c{self.version}.txt")
        self.lines, self.process, self.reader = [], None, None
        self.client = RecordingClient(home.socket, home.record)
        self.prepare()
        self.before = {s["sessionId"] for s in self.sessions()}

    def prepare(self):
        pass

    def begin(self):
        """Its arguments."""
        raise NotImplementedError

    def after(self, new):
        """`new`: sessions that there were not before it. Everybody else is done."""

    # ---- what they share

    def text(self, k):
        return "".join(f"by hand {self.path} {k} {n}\n" for n in range(40))

    def sessions(self):
        return self.client.call("session/list", closed=True, limit=1000)["sessions"]

    def worked(self, root=None, **how):
        """A session that has written a file, and once more."""
        path = self.path if root is None else ""
        s = self.client.call("session/create", root=self.home.root, settings={"policy": "auto"}, **how)
        if not path:
            path = os.path.join(s["root"], os.path.basename(self.path))
        session = s["sessionId"]
        self.client.call("session/subscribe", sessionId=session)
        new = call("str_replace_editor", command="create", path=path, file_text=self.text(1))
        edit = call("str_replace_editor", command="str_replace", path=path, old_str=self.text(1), new_str=self.text(2))
        for turn, calls in ((1, new), (2, edit)):
            self.client.call("prompt/send", sessionId=session, id=f"{self.version}-{turn}", content="Go.\n" + say("hm</think>So." + calls))
            ended = self.client.until("turn/ended", turnId=turn, sessionId=session)[-1]["params"]
            self.must(ended["reason"] == "end_turn" and self.contents(path) == self.text(turn), f"a turn did not do its work: {ended}")
        for text in (None, self.text(1), self.text(2)):
            self.home.record.whole(self.path, text)
        self.home.touched.add(session)
        return session

    def contents(self, path=None):
        try:
            with open(path or self.path, encoding="utf-8") as f:
                return f.read()
        except FileNotFoundError:
            return None

    def must(self, holds, what):
        if not holds:
            raise AssertionError(f"{self.name()}: {what}")

    def name(self):
        return type(self).__name__.lower()

    def has(self, session, method, **fields):
        events = self.client.call("session/history", sessionId=session, limit=1000)["events"]
        return any(e["method"] == method and all(e["params"].get(k) == v for k, v in fields.items()) for e in events)

    def environment(self):
        return dict(self.home.environment, LARES_SOCKET=self.home.socket, LARES_STATE_DIR=self.home.daemon.state)

    def start(self):
        arguments = self.begin()
        self.process = subprocess.Popen([self.home.lares, *arguments], cwd=self.home.root, env=self.environment(), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line)

    def kill(self):
        """Whether it was still at work."""
        working = self.process.poll() is None
        self.process.kill()
        self.process.wait()
        self.reader.join()
        for line in self.lines:
            if line.endswith(b"\n") and line.startswith(b"{") and "seq" in (params := json.loads(line).get("params", {})):
                self.home.record.fact(params["sessionId"], params["seq"], line)
                self.home.touched.add(params["sessionId"])
        return working

    def again(self, *arguments):
        """Whole this time."""
        done = subprocess.run([self.home.lares, *arguments], cwd=self.home.root, env=self.environment(), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        self.must(done.returncode == 0, f"lares {' '.join(arguments)}: {done.stderr.decode()}")
        return done.stdout.decode()


class Run(Command):
    delay = 0.8

    def prepare(self):
        self.home.record.whole(self.path, self.text(1))
        self.home.record.whole(self.path, None)

    def begin(self):
        answer = "hm</think>New." + call("str_replace_editor", command="create", path=self.path, file_text=self.text(1))
        return ["run", "--json", "Go.\n" + say({"text": answer, "us": self.rng.choice([0, 50])})]


class Rewind(Command):
    def prepare(self):
        self.session = self.worked()

    def begin(self):
        return ["rewind", "-y", "--session", self.session]

    def after(self, new):
        rewound = self.has(self.session, "session/rewound")
        self.must(self.contents() == self.text(1 if rewound else 2), f"rewound is {rewound}, and the file is not so")


class Undo(Command):
    def prepare(self):
        self.session = self.worked()
        self.client.call("session/rewind", sessionId=self.session, turnId=2)

    def begin(self):
        return ["rewind", "--undo", "-y", "--session", self.session]

    def after(self, new):
        back = self.has(self.session, "session/unrewound")
        self.must(self.contents() == self.text(2 if back else 1), f"taken back is {back}, and the file is not so")


class Fork(Command):
    def prepare(self):
        self.session = self.worked()
        self.knows = self.client.call("session/get", sessionId=self.session)["contextTokens"]

    def begin(self):
        return ["fork", "--session", self.session, "--title", self.version]

    def after(self, new):
        made = [s for s in new if s.get("title") == self.version]
        self.must(len(made) <= 1, f"{len(made)} forks of one")
        for s in made:
            self.must(s["contextTokens"] > self.knows, f"a fork knows {s['contextTokens']} of {self.knows} tokens")  # it has gone on since


class Export(Command):
    def prepare(self):
        self.session = self.worked()
        self.folder = os.path.join(self.home.home, "out", self.version)
        os.makedirs(self.folder)
        self.file = os.path.join(self.folder, "session")

    def begin(self):
        return ["export", self.session, "-o", self.file]

    def after(self, new):
        left = os.listdir(self.folder)
        self.must(left in ([], ["session"]), f"it left {left}")
        if not left:
            self.again("export", self.session, "-o", self.file)
        made = self.client.call("session/import", path=self.file)  # whole: it has a checksum
        self.must(made.get("nTurns", 0) >= 2, f"what it wrote has {made.get('nTurns', 0)} turns")
        self.client.call("session/close", sessionId=made["sessionId"])


class Import(Command):
    def prepare(self):
        self.session = self.worked()
        self.turns = self.client.call("session/get", sessionId=self.session)["nTurns"]
        self.file = os.path.join(self.home.home, f"in{self.version}")
        self.client.call("session/export", sessionId=self.session, path=self.file)

    def begin(self):
        return ["import", self.file]

    def after(self, new):
        made = [s for s in new if self.has(s["sessionId"], "prompt/accepted", id=f"{self.version}-1")]
        self.must(len(made) <= 1, f"{len(made)} sessions of one file: {made}")
        for s in made:
            self.must(s["nTurns"] > self.turns, f"a session of {self.turns} turns that has gone on since has {s['nTurns']}")
        folder = os.path.join(self.home.daemon.state, "sessions")
        # A daemon that was killed within a write left a torn tail, which is kept beside the journal.
        left = [n for n in os.listdir(folder) if not n.endswith((".journal", ".summary")) and ".torn-" not in n]
        self.must(left == [], f"it left {left}")
        os.unlink(self.file)


class Apply(Command):
    def prepare(self):
        self.session = self.worked(root="its own", worktree=True)

    def begin(self):
        return ["apply", self.session]

    def after(self, new):
        self.must(self.contents() in (None, self.text(2)), "half of it was applied")
        self.again("apply", self.session)
        self.must(self.contents() == self.text(2), "it is not applied when it is said to be")


class BestOf(Command):
    delay = 1.5

    def prepare(self):
        for text in (None, "tried\n"):
            self.home.record.whole(self.path, text)

    def begin(self):
        name = os.path.basename(self.path)
        return ["run", "--best-of", "2", "--test", f"test -f {name}", "--apply", "--json",
                "Go.\n" + say("hm</think>Try." + call("bash", command=f"echo tried > {name}"))]

    def after(self, new):
        self.must(self.contents() in (None, "tried\n"), "half of it was applied")
        json.loads(self.again("worktrees", "--json"))


COMMANDS = [Run, Rewind, Undo, Fork, Export, Import, Apply, BestOf]


# ---- a command that does not end by itself


def sleeping(seconds):
    """The process `sleep SECONDS`, or None."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if f.read() == b"sleep\0%d\0" % seconds:
                    return int(pid)
        except OSError:
            continue
    return None


def parent(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
        return int(f.read().rsplit(") ", 1)[1].split()[1])


def soon(holds, what):
    until = time.monotonic() + GONE_SECONDS_MAX
    while not (found := holds()):
        if time.monotonic() > until:
            raise AssertionError(what)
        time.sleep(0.01)
    return found


class Patient(Command):
    """Its command waits for ever, with a job beside it. Then the shell of both is killed, or the turn is stopped; or the person's `lares` is
    killed, and the turn stopped from elsewhere."""

    def __init__(self, home, rng, victim):
        self.victim = victim
        super().__init__(home, rng)

    def prepare(self):
        self.waits, self.job = (1_000_000_000 + self.rng.getrandbits(28) for _ in range(2))  # seconds, by which they are known
        command = f"export CRASH_MARK={self.home.mark}; sleep {self.job} & sleep {self.waits}; echo never"
        self.prompt = "Go.\n" + say("hm</think>Wait." + call("bash", command=command))
        self.session = self.shell = None
        if self.victim == "command line":
            self.start()
            return
        settings = {"policy": "auto", "noSandbox": not self.home.confined or self.rng.random() < 0.3}
        self.session = self.client.call("session/create", root=self.home.root, settings=settings)["sessionId"]
        self.client.call("session/subscribe", sessionId=self.session)
        self.client.call("prompt/send", sessionId=self.session, id=self.version, content=self.prompt)
        self.wait()
        self.shell = parent(sleeping(self.waits))

    def begin(self):
        return ["run", "--json", self.prompt]

    def wait(self):
        soon(lambda: sleeping(self.job) and sleeping(self.waits), "a command did not begin")

    def end(self):
        if self.victim == "command line":
            self.wait()
            self.kill()
            told = [json.loads(line).get("params", {}) for line in self.lines if line.endswith(b"\n")]
            self.session = next(p["sessionId"] for p in told if "seq" in p)
            self.client.call("session/subscribe", sessionId=self.session)
        self.home.touched.add(self.session)
        if self.victim == "shell" and self.rng.random() < 0.7:
            os.kill(self.shell, signal.SIGKILL)
        else:
            self.client.call("turn/interrupt", sessionId=self.session)
        self.client.until("turn/ended", sessionId=self.session)
        soon(lambda: not sleeping(self.waits), f"a turn has ended, and its command runs still: sleep {self.waits}")

    def gone(self):
        """When its session is closed, or the daemon has ended."""
        soon(lambda: not sleeping(self.waits) and not sleeping(self.job), f"a job outlives its session: sleep {self.job}")

    def close(self):
        try:
            self.client.call("session/close", sessionId=self.session)
        except Refused as e:
            raise AssertionError(f"a session is not closed: {e}") from e
        self.gone()
