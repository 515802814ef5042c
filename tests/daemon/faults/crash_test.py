"""Sessions at work whose daemon, shell or command line is killed at random moments: nothing that was told or promised is lost, no file
is half written, no process is left, and every session goes on.

crash_test.py SCRIPTED_DAEMON LARES [--kills N] [--seed S]
"""
import argparse
import collections
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
from client import Client, Daemon, Refused, say
from crash_actors import Actor, Progress, Record, RecordingClient, file_text
from crash_commands import COMMANDS, GONE_SECONDS_MAX, Patient

ROUNDS_OF_A_HOME = 8      # then a new state directory, or every start would read the sessions of all
ACTORS = 3
VICTIMS = {"daemon": 7, "shell": 1, "command line": 2}  # how often each


class Home:
    """A repository, a state directory and its daemon."""

    def __init__(self, executable, lares, number, seed):
        self.lares, self.number, self.seed = lares, number, seed
        self.home = os.path.realpath(tempfile.mkdtemp(prefix="lares-crash-"))
        self.root = os.path.join(self.home, "repo")
        os.makedirs(self.root)
        subprocess.run(["git", "init", "-q", self.root], check=True)
        who = ["-c", "user.name=T", "-c", "user.email=t@example.org"]
        subprocess.run(["git", "-C", self.root, *who, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
        self.mark = f"crash-{uuid.uuid4()}"
        self.environment = dict(os.environ, CRASH_MARK=self.mark)
        os.environ["CRASH_MARK"] = self.mark  # the daemon's too
        self.record = Record()
        self.over = threading.Event()
        self.versions = 0
        self.lock = threading.Lock()
        self.touched = set()
        self.daemon = Daemon(executable, self.home, "prompts")
        self.socket = self.daemon.socket
        c = Client(self.socket)
        self.confined = not c.call("server/status").get("shell")
        c.close()

    def next_version(self):
        with self.lock:
            self.versions += 1
            return f"{self.number}.{self.versions}"

    def restart(self):
        self.daemon.start("prompts")

    def end(self):
        self.daemon.stop()
        shutil.rmtree(self.home)

    def kill_all(self):
        """After a failure: whatever carries its mark, and no look at what it did."""
        self.daemon.process.kill()
        self.daemon.process.wait()
        for pid in self.left({}):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def descendants(self):
        """Of the daemon, by pid: when each began, its name and its command line."""
        found, children = {}, {}
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            try:
                with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
                    name, rest = f.read().split("(", 1)[1].rsplit(") ", 1)
                fields = rest.split()
                children.setdefault(int(fields[1]), []).append(pid)
                found[pid] = (fields[19], name, fields[0])
            except (OSError, IndexError):
                continue
        below, todo = {}, [self.daemon.process.pid]
        while todo:
            for pid in children.get(todo.pop(), []):
                below[pid] = found[pid]
                todo.append(pid)
        return below

    def left(self, known):
        """Those of `known` that still run, and whatever carries this home's mark."""
        out = {}
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            try:
                with open(f"/proc/{pid}/environ", "rb") as f:
                    marked = self.mark.encode() in f.read()
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    line = f.read()
                with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
                    fields = f.read().rsplit(") ", 1)[1].split()
            except OSError:
                continue
            same = pid in known and known[pid][0] == fields[19] and fields[0] != "Z"
            if pid != os.getpid() and (marked or same or self.mark.encode() in line or self.home.encode() in line):
                out[pid] = line.replace(b"\0", b" ").decode(errors="replace").strip()
        return out


# ---- what is looked at afterwards


def blob(text):
    data = text.encode()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def replayed(home, session, last):
    """The facts of a session up to `last` by their seq, as a new subscriber gets them, byte for byte."""
    c = RecordingClient(home.socket, Record())
    c.call("session/subscribe", sessionId=session)
    while c.next()["params"].get("seq", 0) < last:
        pass
    c.close()
    return {seq: line for seq, line in c.record.facts[session].items() if seq <= last}


def history(home, session):
    c = Client(home.socket)
    events, after = [], 0
    while True:
        page = c.call("session/history", sessionId=session, after=after)
        events += [(e["method"], e["params"]) for e in page["events"]]
        if not page.get("more"):
            c.close()
            return events
        after = events[-1][1]["seq"]


def check_facts(home, sessions):
    for session in sessions:
        events = history(home, session)
        lines = replayed(home, session, events[-1][1]["seq"])
        told = home.record.facts.get(session, {})
        for seq, line in sorted(told.items()):
            if lines.get(seq) != line and seq <= events[-1][1]["seq"]:  # a session whose daemon lives may have gone on since
                raise AssertionError(f"session {session}: fact {seq} was told and is not what is kept:\n{line}\n{lines.get(seq)}")
        if [json.loads(lines[s]) for s in sorted(lines)] != [{"jsonrpc": "2.0", "method": m, "params": p} for m, p in events]:
            raise AssertionError(f"session {session}: its history is not what a subscriber gets")
        seqs = [p["seq"] for _, p in events]
        if seqs != sorted(set(seqs)):
            raise AssertionError(f"session {session}: its facts are out of order: {seqs}")
        for of, what, holds in home.record.promises:
            if of == session and not holds(events):
                raise AssertionError(f"session {session}: {what} was answered and is not in the history")


def blobs_told(home):
    """What the sessions' edits found and left, as their journals name it. An edit whose file was rewound under it is not the scripted one: what
    may be written of it hangs on the file."""
    out = set()
    folder = os.path.join(home.daemon.state, "sessions")
    for name in os.listdir(folder):
        if name.endswith(".journal"):
            with open(os.path.join(folder, name), "rb") as f:
                out.update(re.findall(rb'"(?:before|after)":"([0-9a-f]{40})"', f.read()))
    return {name.decode() for name in out}


def check_files(home):
    for path, contents in home.record.contents.items():
        text = None
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                text = f.read()
        if text not in contents and (text is None or blob(text) not in blobs_told(home)):
            raise AssertionError(f"{path} is none of the {len(contents)} contents that were written: {text and len(text)} characters, {text and text[:60]!r}")
    # Between a passing file's getting a name and its taking the other's place lie microseconds. What a kill leaves then is whole, and the
    # next snapshots take it away when it is old enough to be nobody's.
    whole = {text for contents in home.record.contents.values() for text in contents}
    for name in os.listdir(home.root):
        if name.startswith(".lares-"):
            with open(os.path.join(home.root, name), encoding="utf-8") as f:
                text = f.read()
            if text not in whole and blob(text) not in blobs_told(home):
                raise AssertionError(f"{name} was left behind and is no whole file: {len(text)} characters, {text[:60]!r}")


def check_processes(home, known):
    until = time.monotonic() + GONE_SECONDS_MAX
    while left := home.left(known):
        if time.monotonic() > until:
            raise AssertionError(f"processes are left of a daemon that has ended: {left}")
        time.sleep(0.02)


def check_calls(events, session, counts):
    """Every call that began has an end, and every turn; what nobody saw the end of is said to be unknown."""
    open_items, open_turn = {}, None
    for method, p in events:
        if method == "turn/started":
            open_turn = p["turnId"]
        elif method == "item/updated":
            open_items[p["item"]["id"]] = p["item"]
        elif method == "item/completed":
            began = open_items.pop(p["item"]["id"], None)
            if p["item"].get("state") == "interrupted":
                counts["calls of unknown outcome"] += 1
                if not began or "whether it did anything is unknown" not in p["item"].get("output", ""):
                    raise AssertionError(f"session {session}: an interrupted call does not say that its outcome is unknown: {p['item']}")
        elif method == "turn/ended":
            counts[f"turns {p['reason']}"] += 1
            if open_items:
                raise AssertionError(f"session {session}: turn {p['turnId']} ended and these calls did not: {list(open_items)}")
            open_turn = None
    if open_turn or open_items:
        raise AssertionError(f"session {session}: turn {open_turn} has no end, nor have the calls {list(open_items)}")


def settle(home, session):
    """What was promised is done: the session ends what it has begun and begins what waits; then it takes another prompt."""
    c = RecordingClient(home.socket, home.record)
    c.call("session/subscribe", sessionId=session, interactive=True)
    progress, last = Progress(), 0

    def hear(message):
        nonlocal last
        if message is None:
            raise AssertionError(f"session {session}: the daemon hung up")
        method, p = message["method"], message["params"]
        last = p.get("seq", last)
        progress.heard(method, p)
        if method not in ("item/updated", "item/snapshot") or p["item"].get("state") not in ("asking", "waiting"):
            return
        try:
            if p["item"]["state"] == "asking":
                c.call("approval/reply", sessionId=session, itemId=p["item"]["id"], decision="allow")
            else:
                c.call("question/reply", sessionId=session, itemId=p["item"]["id"], text="That one.")
        except Refused as e:  # the replay shows what was answered long ago
            if e.kind != "not_found":
                raise

    while True:
        now = c.call("session/get", sessionId=session)
        if c.kept:  # what was told meanwhile may be younger than the answer
            while c.kept:
                hear(c.kept.pop(0))
            continue
        if now.get("closed") and not now.get("turnId", 0):
            c.close()
            return
        if progress.at_rest() and not now.get("turnId", 0) and not c.call("session/history", sessionId=session, after=last, limit=1)["events"]:
            break
        try:
            hear(c.next())
        except TimeoutError as e:
            now = Client(home.socket).call("session/get", sessionId=session)
            raise AssertionError(f"session {session}: nothing was told for {c.sock.gettimeout():.0f} s; waiting {progress.waiting}, running {progress.running}, "
                                 f"told to {last}: {now}") from e
    id = str(uuid.uuid4())
    try:
        c.call("prompt/send", sessionId=session, id=id, content="Go on.\n" + say("hm</think>Going on."))
    except Refused as e:
        raise AssertionError(f"session {session} does not go on: {e}") from e
    turn = c.until("turn/started", promptId=id)[-1]["params"]["turnId"]  # at once, or after a rewind that its client did not wait for
    ended = c.until("turn/ended", turnId=turn)[-1]["params"]
    if ended["reason"] != "end_turn":
        raise AssertionError(f"session {session} does not go on: {ended}")
    c.close()


# ---- one kill


def kill_shell(home, rng, spared):
    shells = [pid for pid, (_, name, _) in home.descendants().items() if name == "bash" and pid != spared]
    if not shells:
        return False
    try:
        os.kill(rng.choice(shells), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def one_round(home, victim, rng, counts):
    home.over.clear()
    home.touched = set()
    actors = []
    for k in range(ACTORS):
        path = os.path.join(home.root, f"f{k}.txt")
        if not os.path.exists(path):
            with open(path, "w", encoding="utf-8") as f:
                f.write(file_text("0"))
            home.record.whole(path, file_text("0"))
        commands = "confined" if home.confined and rng.random() < 0.7 else "unconfined"
        actors.append(Actor(home, k, random.Random(rng.getrandbits(64)), commands))
    command = rng.choice(COMMANDS)(home, rng) if victim == "command line" else None
    patient = Patient(home, rng, victim) if victim != "daemon" else None
    for a in actors:
        a.start()
    moment = rng.uniform(0, 0.25) if rng.random() < 0.6 else rng.uniform(0, 0.8)
    if command:
        time.sleep(rng.uniform(0, 0.1))
        command.start()
        moment = min(moment, rng.uniform(0, command.delay))
    time.sleep(moment)
    if victim == "shell":
        for _ in range(8):
            counts["shells killed"] += kill_shell(home, rng, patient.shell)
            time.sleep(rng.uniform(0, 0.1))
    home.over.set()
    if command:
        counts[f"of {command.name()} at work"] += command.kill()
    known = home.descendants()
    if victim == "daemon":
        home.daemon.kill()
    for a in actors:
        if a.client and victim != "daemon":
            a.client.sock.shutdown(2)
        a.join(timeout=40)
        if a.is_alive():
            raise AssertionError(f"user {a.number} waits for ever")
    try:
        for a in actors:
            if a.failure:
                raise AssertionError(f"user {a.number}: {type(a.failure).__name__}: {a.failure}") from a.failure
            home.touched.update(a.sessions)
        if victim == "daemon":
            check_processes(home, known)
            check_files(home)
            home.restart()
        if patient:
            patient.end()
        check_facts(home, sorted(home.touched))
        settled = set()
        while left := sorted(home.touched - settled):
            for s in left:
                settle(home, s)
                check_calls(history(home, s), s, counts)
            settled.update(left)
            if command:  # what its client did not live to see may be made meanwhile
                home.touched.update(s["sessionId"] for s in command.sessions() if s["sessionId"] not in command.before)
        sessions = sorted(home.touched)
        check_facts(home, sessions)
        check_files(home)
        if command:
            command.after([s for s in command.sessions() if s["sessionId"] not in command.before])
            check_files(home)
        if patient and rng.random() < 0.5:
            patient.close()
        if victim != "daemon":
            known = home.descendants()
            home.daemon.stop()
            check_processes(home, known)
            patient.gone()
            for who in filter(None, (command, patient)):
                who.client.close()
            home.restart()
    except BaseException:
        print(f"killed the {victim}{f', {command.name()},' if command else ''} {moment:.4f} s after the round began", file=sys.stderr)
        raise
    counts[f"kills of the {victim}"] += 1
    counts["facts compared"] += sum(len(home.record.facts.get(s, {})) for s in sessions)
    counts["answers kept"] += sum(1 for s, _, _ in home.record.promises if s in home.touched)
    counts["sessions gone on with"] += len(sessions)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("daemon", type=os.path.abspath)
    parser.add_argument("lares", type=os.path.abspath)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--first", type=int, default=0, metavar="N", help="a multiple of %d: the kills before are left out" % ROUNDS_OF_A_HOME)
    parser.add_argument("--victim", choices=VICTIMS, help="always this one")
    parser.add_argument("--keep", action="store_true", help="the home of a failure, and its daemon until Enter")
    args = parser.parse_args()
    counts = collections.Counter()
    home = None
    for n in range(args.first, args.kills):
        rng = random.Random(f"{args.seed}/{n}")
        if home is None:
            home = Home(args.daemon, args.lares, n, args.seed)
            if not home.confined:
                print("commands run unconfined: this host has no sandbox, so nothing daemonizes", file=sys.stderr)
        victim = rng.choices(list(VICTIMS), VICTIMS.values())[0]
        victim = args.victim or victim
        try:
            one_round(home, victim, rng, counts)
            if (n + 1) % 50 == 0:
                print(f"{n + 1} of {args.kills} kills", file=sys.stderr, flush=True)
            if (n + 1) % ROUNDS_OF_A_HOME == 0 or n + 1 == args.kills:
                check_facts(home, sorted(home.record.facts))  # what later kills could have taken
                home.end()
                home = None
        except BaseException:
            traceback.print_exc()
            print(f"--seed {args.seed}, kill {n}" + (f", {home.home}" if args.keep else ""), file=sys.stderr)
            if args.keep and sys.stdin.isatty():
                input("as it stands; Enter ends the daemon")
            home.kill_all()
            if not args.keep:
                shutil.rmtree(home.home, ignore_errors=True)
            return 1
    print(f"seed {args.seed}: " + ", ".join(f"{v} {k}" for k, v in sorted(counts.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
