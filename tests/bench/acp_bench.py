#!/usr/bin/env python3
"""What an editor waits for: from the start of `lares acp` to its answer to initialize with no daemon there, and session/new with one.
Fails beyond the bar for initialize. acp_bench.py LARES SCRIPTED_DAEMON [-n STARTS]"""
import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

DAEMON = pathlib.Path(__file__).resolve().parents[1] / "daemon"
sys.path[:0] = [str(DAEMON / "scripted"), str(DAEMON / "bridges" / "acp")]
from acp_client import Editor  # noqa: E402
from client import Daemon, remove_home  # noqa: E402

N_STARTS = 40
INITIALIZE_MS_MAX = 100.0


def main():
    options = argparse.ArgumentParser()
    options.add_argument("lares")
    options.add_argument("daemon")
    options.add_argument("-n", type=int, default=N_STARTS)
    options.add_argument("--bars", choices=("on", "off"), default="on")  # off: a machine that is busy with other tests
    options = options.parse_args()
    home = os.path.realpath(tempfile.mkdtemp(prefix="lares-bench-"))
    root = os.path.join(home, "repository")
    subprocess.run(["git", "init", "-q", root], check=True)
    alone = shutil.copy(options.lares, os.path.join(home, "alone"))  # with no laresd beside it: nothing could be started behind it
    environment = dict(os.environ, LARES_SOCKET=os.path.join(home, "run", "s"), LARES_STATE_DIR=os.path.join(home, "state"), XDG_CONFIG_HOME=os.path.join(home, "config"))

    def cold():
        began = time.perf_counter()
        editor = Editor([alone, "acp"], environment, root)
        editor.initialize(fs={"readTextFile": True, "writeTextFile": True})
        return editor, (time.perf_counter() - began) * 1e3

    def row(what, values):
        print(f"{what:58} p50 {statistics.median(values):7.2f} ms, most of {len(values)} {max(values):7.2f} ms", flush=True)

    downs, firsts, nexts = [], [], []
    for _ in range(options.n):
        editor, ms = cold()
        downs.append(ms)
        editor.close()
    row("acp: start to initialize answered, no daemon", downs)
    daemon = Daemon(os.path.abspath(options.daemon), home, [])
    for _ in range(options.n):
        editor, _ = cold()
        for times in (firsts, nexts):
            began = time.perf_counter()
            editor.call("session/new", cwd=root, mcpServers=[])
            times.append((time.perf_counter() - began) * 1e3)
        editor.close()
    row("acp: session/new right after initialize, a daemon there", firsts)
    row("acp: session/new, the next of the same editor", nexts)
    daemon.stop()
    remove_home(home)
    late = statistics.median(downs) > INITIALIZE_MS_MAX
    if late:
        print(f"beyond the bar: initialize takes more than {INITIALIZE_MS_MAX:g} ms")
    return int(late and options.bars == "on")


if __name__ == "__main__":
    sys.exit(main())
