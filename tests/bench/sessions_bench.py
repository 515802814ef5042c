#!/usr/bin/env python3
"""`lares sessions` against a daemon with 1,000 sessions on disk, made through the protocol; fails where it takes longer than 100 ms. And
forks of a long session, before a turn and after a step in its middle; fails where one takes longer than 100 ms.
sessions_bench.py LARES SCRIPTED_DAEMON"""
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "daemon" / "scripted"))
from client import Client, Daemon, call  # noqa: E402

N_SESSIONS, N_RUNS, MS_MAX = 1000, 15, 100.0
N_TURNS, N_STEPS, FORK_MS_MAX = 10, 40, 100.0  # of the session that is forked


def make_sessions(socket, root):
    c = Client(socket)
    for i in range(N_SESSIONS):
        session = c.call("session/create", root=root)["sessionId"]
        c.call("session/subscribe", sessionId=session, after=0)
        c.call("prompt/send", sessionId=session, id=f"p{i}", content=f"Task {i}: the date parser rejects leap days; fix it, and say why it did.")
        c.until("turn/ended", sessionId=session)
        c.call("session/unsubscribe", sessionId=session)
    c.close()


def forks(home, scripted):
    """Whether they are too slow."""
    root = os.path.join(home, "long")
    os.makedirs(os.path.join(root, ".git"))
    look = []
    for k in range(N_STEPS - 1):
        look.append(call("str_replace_editor", command="view", path=os.path.join(root, f"{k}.txt")))
        with open(os.path.join(root, f"{k}.txt"), "w", encoding="utf-8") as f:
            f.write("".join(f"line {n} of file {k}, which is read once in each turn\n" for n in range(20)))
    daemon = Daemon(scripted, home, [{"text": "hm</think>" + text} for text in (look + ["Done."]) * N_TURNS])
    c = Client(daemon.socket)
    session = c.call("session/create", root=root)["sessionId"]
    c.call("session/subscribe", sessionId=session)
    for turn in range(1, N_TURNS + 1):
        c.call("prompt/send", sessionId=session, id=f"p{turn}", content="Look.")
        ended = c.until("turn/ended", turnId=turn)[-1]["params"]
        assert ended["reason"] == "end_turn", ended
    n_tokens = c.call("session/get", sessionId=session)["contextTokens"]
    slow = False
    for what, how in (("now", {}), (f"before turn {N_TURNS // 2}", dict(beforeTurn=N_TURNS // 2)),
                      (f"after step {N_STEPS // 2} of that", dict(beforeTurn=N_TURNS // 2, afterStep=N_STEPS // 2))):
        took = []
        for _ in range(N_RUNS):
            began = time.perf_counter()
            c.call("session/fork", sessionId=session, **how)
            took.append((time.perf_counter() - began) * 1e3)
        slow = slow or statistics.median(took) > FORK_MS_MAX
        print(f"{'a fork ' + what:40} {statistics.median(took):8.1f} ms, the median of {N_RUNS}, {min(took):.1f} the least; at most {FORK_MS_MAX:.0f}; "
              f"{n_tokens} tokens")
    c.close()
    daemon.stop()
    return slow


def milliseconds(command, root, env):
    began = time.perf_counter()
    p = subprocess.run(command, cwd=root, env=env, stdout=subprocess.PIPE, check=True)
    return (time.perf_counter() - began) * 1e3, p.stdout


def main():
    lares, scripted = (os.path.abspath(a) for a in sys.argv[1:3])
    with tempfile.TemporaryDirectory(prefix="lares-bench-") as home:
        root = os.path.join(home, "repo")
        os.makedirs(os.path.join(root, ".git"))
        daemon = Daemon(scripted, home, [{"text": "hm</think>Done."}] * N_SESSIONS)
        began = time.perf_counter()
        make_sessions(daemon.socket, root)
        print(f"{N_SESSIONS} sessions made in {time.perf_counter() - began:.1f} s")
        daemon.stop()
        began = time.perf_counter()
        daemon.start([])
        print(f"{'the daemon starts with them in':40} {(time.perf_counter() - began) * 1e3:8.1f} ms")
        env = dict(os.environ, LARES_SOCKET=daemon.socket, LARES_STATE_DIR=daemon.state, XDG_CONFIG_HOME=home)
        slow = False
        for args in (["sessions"], ["sessions", "--all", "--json"]):
            runs = [milliseconds([lares, *args], root, env) for _ in range(N_RUNS + 1)][1:]
            assert len(runs[0][1].splitlines()) >= (N_SESSIONS if "--json" not in args else 1), "not all are listed"
            median, least = statistics.median(ms for ms, _ in runs), min(ms for ms, _ in runs)
            slow = slow or median > MS_MAX
            print(f"{'lares ' + ' '.join(args):40} {median:8.1f} ms, the median of {N_RUNS}, {least:.1f} the least; at most {MS_MAX:.0f}")
        daemon.stop()
    with tempfile.TemporaryDirectory(prefix="lares-bench-") as home:
        slow = forks(home, scripted) or slow
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
