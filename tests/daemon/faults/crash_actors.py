"""Users of a daemon that is killed under them: what they do, what they are told, and what therefore has to be on disk."""
import json
import os
import threading
import uuid

from client import Client, Refused, call, say

FILLER = "".join(f"{k:04d} the quick brown fox jumps over the lazy dog\n" for k in range(480))  # 24 KB: more than one page


def file_text(version):
    return f"version: {version}\n{FILLER}"


class Record:
    """What this home's clients saw and were promised, by session."""

    def __init__(self):
        self.lock = threading.Lock()
        self.facts = {}     # session: {seq: raw line}
        self.promises = []  # (session, what, holds(events))
        self.contents = {}  # path: contents that are whole; None: no file

    def fact(self, session, seq, line):
        with self.lock:
            before = self.facts.setdefault(session, {}).setdefault(seq, line)
        if before != line:
            raise AssertionError(f"session {session}: fact {seq} was told twice, differently:\n{before}\n{line}")

    def promise(self, session, what, holds):
        with self.lock:
            self.promises.append((session, what, holds))

    def whole(self, path, text):
        with self.lock:
            self.contents.setdefault(path, set()).add(text)


class RecordingClient(Client):
    """Keeps every durable fact, as it came."""

    def __init__(self, path, record):
        self.record = record
        super().__init__(path)

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\n"):
            return None  # the daemon was killed in the middle of it
        message = json.loads(line)
        params = message.get("params", {})
        if "method" in message and "seq" in params:
            self.record.fact(params["sessionId"], params["seq"], line)
        return message


class Progress:
    """Of a session, as its facts tell it: the prompts that wait, and the turn that runs."""

    def __init__(self):
        self.waiting, self.running = set(), None

    def heard(self, method, params):
        if method == "prompt/accepted":
            self.waiting.add(params["id"])
        elif method == "prompt/withdrawn":
            self.waiting.discard(params["id"])
        elif method == "turn/started":
            self.running = params["turnId"]
            self.waiting.discard(params["promptId"])
        elif method == "turn/ended":
            self.running = None
        elif method == "item/completed":
            self.waiting.discard(params["item"].get("promptId"))

    def at_rest(self):
        return not self.waiting and not self.running


def has(method, **fields):
    return lambda events: any(m == method and all(p.get(k) == v for k, v in fields.items()) for m, p in events)


class Actor(threading.Thread):
    """One user with a session and a file of its own, until the daemon is gone."""

    def __init__(self, world, number, rng, commands):
        super().__init__(daemon=True)
        self.world, self.number, self.rng, self.commands = world, number, rng, commands
        self.failure = None
        self.file = f"f{number}.txt"
        self.sessions = []
        self.turns = []  # of the session, that are part of it
        self.client = None

    def run(self):
        try:
            self.client = RecordingClient(self.world.socket, self.world.record)
            self.begin()
            while not self.world.over.is_set():
                self.act()
        except TimeoutError as e:
            self.failure = e
        except (EOFError, OSError, ValueError) as e:  # ValueError: the file object of a closed socket
            if not self.world.over.is_set():
                self.failure = e
        except Refused as e:
            self.failure = AssertionError(f"refused: {e.kind}: {e}")
        except Exception as e:
            self.failure = e

    # ---- what it asks for

    def begin(self):
        policy = self.rng.choice(["auto", "auto", "ask"])
        settings = {"policy": policy, "noSandbox": self.commands == "unconfined"}
        s = self.client.call("session/create", root=self.world.root, settings=settings)["sessionId"]
        self.world.record.promise(s, "session/create", has("session/created"))
        self.follow(s)

    def follow(self, session):
        self.session, self.turns, self.progress = session, [], Progress()
        self.sessions.append(session)
        self.client.call("session/subscribe", sessionId=session, interactive=True)

    def act(self):
        r = self.rng.random()
        if r < 0.7 or not self.turns:
            self.turn()
        elif r < 0.82:
            self.rewind()
        elif r < 0.9:
            fork = self.client.call("session/fork", sessionId=self.session)["sessionId"]
            self.world.record.promise(fork, "session/fork", has("session/created"))
            self.follow(fork)
        elif r < 0.95:
            policy = self.rng.choice(["auto", "ask", "edits"])
            self.client.call("session/policy", sessionId=self.session, policy=policy)
            self.world.record.promise(self.session, f"session/policy {policy}", has("session/updated", policy=policy))
        else:
            self.client.call("session/close", sessionId=self.session)
            self.world.record.promise(self.session, "session/close", has("session/closed"))
            self.begin()

    def send(self, content, delivery):
        id = str(uuid.UUID(int=self.rng.getrandbits(128)))
        sent = self.client.call("prompt/send", sessionId=self.session, id=id, content=content, delivery=delivery)
        self.world.record.promise(self.session, f"prompt/send {id}", has("prompt/accepted", id=id, seq=sent["seq"], content=content))
        return id, sent.get("turnId", 0)

    def turn(self):
        try:
            id, turn = self.send("Go.\n" + say(*self.answers()), "start")
        except Refused as e:  # a queued prompt of ours has just begun
            if e.kind != "busy":
                raise
            return self.wait(None)
        for _ in range(self.rng.choice([0, 0, 0, 1, 2])):
            what = self.rng.choice(["steer", "queue", "interrupt", "withdraw"])
            if what == "steer":
                self.send("Mind the gap.", "steer")
            elif what == "queue":
                self.send("Next.\n" + say(self.new_file(), "hm</think>Done."), "queue")
            elif what == "interrupt":
                self.client.call("turn/interrupt", sessionId=self.session)
            else:
                waiting, _ = self.send("Never mind.", "queue")
                if self.client.call("prompt/withdraw", sessionId=self.session, id=waiting).get("withdrawn"):
                    self.world.record.promise(self.session, f"prompt/withdraw {waiting}", has("prompt/withdrawn", id=waiting))
        self.wait(turn)

    def wait(self, turn):
        """Until the session does nothing; answers what asks."""
        closed = False
        while not closed:
            closed = self.client.call("session/get", sessionId=self.session).get("closed", False)
            while self.client.kept:
                self.heard(self.client.kept.pop(0))
            if self.progress.at_rest():
                break
            self.heard(self.client.next())
        if turn:
            self.turns.append(turn)

    def heard(self, message):
        if message is None:
            raise EOFError
        session = message["params"].get("sessionId")
        if session == self.session:
            self.progress.heard(message["method"], message["params"])
        if message["method"] not in ("item/updated", "item/snapshot"):
            return
        item = message["params"]["item"]
        try:
            if item["state"] == "asking":
                decision = self.rng.choice(["allow", "allow", "deny"])
                self.client.call("approval/reply", sessionId=session, itemId=item["id"], decision=decision)
                self.world.record.promise(session, f"approval/reply {item['id']} {decision}", has("approval/resolved", itemId=item["id"], decision=decision))
            elif item["state"] == "waiting":
                text = f"answer {self.rng.getrandbits(32):x}"
                self.client.call("question/reply", sessionId=session, itemId=item["id"], text=text)
                self.world.record.promise(session, f"question/reply {item['id']}", answered(item["id"], text))
        except Refused as e:  # the turn was interrupted meanwhile
            if e.kind != "not_found":
                raise

    def rewind(self):
        turn = self.rng.choice(self.turns)
        try:
            self.client.call("session/rewind", sessionId=self.session, turnId=turn)
        except Refused as e:
            if e.kind not in ("not_found", "busy"):
                raise
            return
        self.world.record.promise(self.session, f"session/rewind {turn}", has("session/rewound", turnId=turn))
        if self.rng.random() < 0.5:
            try:
                back = self.client.call("session/unrewind", sessionId=self.session)
            except Refused as e:  # a prompt of ours that was on the disk, and whose turn was not, has begun behind it
                if e.kind != "busy":
                    raise
                self.turns = [t for t in self.turns if t < turn]
                return
            self.world.record.promise(self.session, f"session/unrewind {turn}", has("session/unrewound", turnId=back["turnId"]))
        else:
            self.turns = [t for t in self.turns if t < turn]

    # ---- what the model says

    def answers(self):
        others = [self.new_file, self.command, self.command, self.daemonize, self.view, self.question, self.long_thought]
        steps = [self.rng.choice(others)() for _ in range(self.rng.randint(0, 3))]
        steps.insert(self.rng.randint(0, len(steps)), self.edit())  # one: a second could not know whether the first was made
        return [{"text": s, "us": self.rng.choice([0, 0, 20, 100])} for s in steps] + ["hm</think>Done."]

    def edit(self):
        path = os.path.join(self.world.root, self.file)
        with open(path, encoding="utf-8") as f:
            now, rest = f.readline(), f.read()
        version = f"version: {self.world.next_version()}\n"
        self.world.record.whole(path, version + rest)
        return "hm</think>Edit." + call("str_replace_editor", command="str_replace", path=path, old_str=now, new_str=version)

    def new_file(self):
        path = os.path.join(self.world.root, f"n{self.world.next_version()}.txt")
        text = "".join(f"new {path} {k}\n" for k in range(40))
        self.world.record.whole(path, text)
        self.world.record.whole(path, None)
        return "hm</think>New." + call("str_replace_editor", command="create", path=path, file_text=text)

    def command(self):
        return "hm</think>Run." + call("bash", command=f"export CRASH_MARK={self.world.mark}; echo {self.number} >> log; sleep 0.0{self.rng.randint(1, 9)}; cat log | tail -3")

    def daemonize(self):
        if self.commands == "unconfined":  # nothing watches over what such a shell leaves behind when the daemon is killed
            return self.command()
        away = "setsid nohup sleep 300"
        return "hm</think>Away." + call("bash", command=f"export CRASH_MARK={self.world.mark}; {away} >/dev/null 2>&1 & (sh -c '{away} & sleep 300' >/dev/null 2>&1 &); sleep 0.0{self.rng.randint(1, 9)}; echo started")

    def view(self):
        return "hm</think>Look." + call("str_replace_editor", command="view", path=os.path.join(self.world.root, self.file))

    def question(self):
        return "hm</think>Ask." + call("ask_user", question="Which way?")

    def long_thought(self):
        return " ".join(f"hm{k}" for k in range(120)) + "</think>" + " ".join(f"word{k}." for k in range(40))


def answered(item_id, text):
    return lambda events: any(m == "item/completed" and p["item"]["id"] == item_id and p["item"].get("output") == text for m, p in events)
