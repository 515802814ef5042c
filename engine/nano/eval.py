"""Repairs held-out tasks through the real loop and judges them by real test runs.

  eval.py --bin build/bin [--tasks 200] [--shift 0] [--until-tests-pass] [--best-of N] [--floor 60] [--model DIR] [--keep DIR] [--json FILE]

Half of the tasks are known functions under names never seen in training (this measures copying), half are functions never
seen in training (this measures understanding); the two are reported apart. Exit status 1 when fewer than --floor percent
of all are repaired, any tool call was malformed, or it took more than two calls before the first edit at the median. One
daemon of its own serves all tasks; it is stopped at the end.
With --best-of, what one `lares run` leaves broken is restored and given to `lares run --best-of N --apply --temperature 0.8`, which
knows of it what its user knows: the task and the repository's own tests. Both figures are printed; the floor is for both together.
"""
import argparse
import collections
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import check
import sessions
import skeletons

TURN_SECONDS = 300
CALLS_BEFORE_EDIT_MAX = 2   # at the median: the files are in the prompt
BEST_OF_TEMPERATURE = 0.8  # attempts are to differ, and a checkpoint's own may be low
OUTCOMES = ("repaired", "no edit", "wrong file", "wrong line", "wrong replacement", "turn limit", "malformed", "error")


def read(root, path):
    try:
        with open(os.path.join(root, path), encoding="utf-8") as f:
            return f.read()
    except OSError:
        return None


def judge(R, root, stop, malformed):
    """Which of OUTCOMES this task came to: the real tests decide, the rest says what went wrong."""
    now = {p: read(root, p) for p in R.broken}
    if {p: now[p] for p in now if p.startswith("test")} == {p: R.broken[p] for p in now if p.startswith("test")} and None not in now.values() \
            and check.run(R.lang, now)[0] == 0:
        return "repaired"
    if malformed:
        return "malformed"
    if stop in ("max_steps", "max_tokens", "context_full", "repetition", "timeout"):
        return "turn limit"
    if stop != "end_turn":
        return "error"
    changed = [p for p in now if now[p] != R.broken[p]]
    if not changed:
        return "no edit"
    if R.path not in changed:
        return "wrong file"
    before, after = R.broken[R.path].split("\n"), (now[R.path] or "").split("\n")
    first = next((k for k, (a, b) in enumerate(zip(before, after)) if a != b), len(before))
    return "wrong replacement" if first == R.line else "wrong line"


def commit(root):
    """--best-of works in git worktrees."""
    git = ["git", "-C", root, "-c", "user.name=eval", "-c", "user.email=eval@localhost", "-c", "init.defaultBranch=main"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "as it is"]):
        subprocess.run(git + words, check=True)


def repair(a, R, root, home, seed, best_of=0):
    """One `lares run`: dict(stop, malformed calls, edits, calls before the first edit or None, seconds); of several attempts the
    last three are sums and mean nothing apart."""
    task = random.Random(R.root).choice(sessions.TASKS).format(f=R.function)
    command = [os.path.join(a.bin, "lares"), "run", "--json", "--seed", str(seed), "--socket", os.path.join(home, "s"), "--state-dir",
               os.path.join(home, "state"), "--model", a.model, "--steps", str(a.steps), "--root", root]
    command += ["--best-of", str(best_of), "--apply", "--temperature", str(BEST_OF_TEMPERATURE)] if best_of else ["--until-tests-pass"] if a.until_tests_pass else []
    command.append(task)
    begin = time.time()
    p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, err = p.communicate(timeout=TURN_SECONDS * max(1, best_of))
    except subprocess.TimeoutExpired:  # a repair may loop for ever in the tests: Ctrl-C ends the turn and what it runs
        p.send_signal(signal.SIGINT)
        try:
            p.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            p.kill()
            p.communicate()
        return dict(stop="timeout", malformed=0, edits=0, before=None, seconds=time.time() - begin)
    stop, malformed, calls, edits, before = f"exit {p.returncode}: {err.decode('utf-8', 'replace').strip()[-200:]}", 0, 0, 0, None
    for line in out.decode("utf-8", "replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if event.get("type") == "result":
            stop = event.get("stop_reason", stop)
        if event.get("type") == "best_of":
            stop = next(one["stop_reason"] for one in event["attempts"] if one["session"] == event["winner"])
        if event.get("method") == "item/completed":
            item = event["params"]["item"]
            # What a limit cut off was never finished, and the limit is counted.
            malformed += item.get("state") == "rejected" and "cut off" not in item["output"]
            if item.get("changes"):
                before = calls if before is None else before
                edits += 1
            calls += item.get("kind") == "tool"
    return dict(stop=stop, malformed=malformed, edits=edits, before=before, seconds=time.time() - begin)


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    ap = argparse.ArgumentParser()
    ap.add_argument("--bin", required=True)
    ap.add_argument("--tasks", type=int, default=200)
    ap.add_argument("--shift", type=int, default=0, help="leave out so many tasks of each half first")
    ap.add_argument("--until-tests-pass", action="store_true", help="as `lares run` has it: an end without passing tests is no end")
    ap.add_argument("--best-of", type=int, default=0, help="try again so often at once what the first try leaves broken; 2 to 8")
    ap.add_argument("--floor", type=float, default=0.0)
    ap.add_argument("--model", default=os.path.join(here, "checkpoint"))
    ap.add_argument("--steps", type=int, default=40)
    ap.add_argument("--seed", type=int, default=2026)
    ap.add_argument("--home", help="where the repositories are made; their paths are in the prompts, so other places give slightly other figures")
    ap.add_argument("--keep", help="leave the repositories of failed tasks here")
    ap.add_argument("--json", help="write every task's outcome to this file")
    a = ap.parse_args()
    if a.best_of not in (0, *range(2, 9)):
        ap.error(f"--best-of {a.best_of}: `lares run` tries 2 to 8 times; 0 leaves it out")
    if a.home and os.path.lexists(a.home):
        ap.error(f"--home {a.home}: it exists, and would be removed at the end; name another")
    home = os.path.realpath(a.home) if a.home else tempfile.mkdtemp(prefix="nano-eval-")
    os.makedirs(home, mode=0o700, exist_ok=True)
    pool = skeletons.load()
    groups = (("known functions, unseen names", dict(held_names=True, held_skeleton=False)),
              ("unseen functions", dict(held_names=True, held_skeleton=True)))
    table, rows, malformed_calls, n_first = {}, [], 0, 0
    try:
        for title, how in groups:
            counts = table[title] = collections.Counter()
            r = random.Random(a.seed + how["held_skeleton"])  # each half has its own: runs with --shift are then parts of a longer one
            for k in range(a.shift + a.tasks // 2):
                R = sessions.draw(r, pool, **how)
                if k < a.shift:
                    continue
                root = os.path.join(home, f"{'ab'[how['held_skeleton']]}{k}")
                check.write(R.broken, root)
                run = repair(a, R, root, home, seed=k)
                malformed_calls += run["malformed"]
                outcome = judge(R, root, run["stop"], run["malformed"])
                n_first += outcome == "repaired"
                if a.best_of and outcome != "repaired":
                    shutil.rmtree(root)
                    check.write(R.broken, root)
                    commit(root)
                    again = repair(a, R, root, home, seed=k + 1, best_of=a.best_of)
                    malformed_calls += again["malformed"]
                    outcome = judge(R, root, again["stop"], again["malformed"])
                    run = dict(run, stop=again["stop"], seconds=run["seconds"] + again["seconds"], edits=0, best_of=a.best_of)
                counts[outcome] += 1
                rows.append(dict(run, group=title, lang=R.lang, skeleton=R.skeleton, kind=R.kind, old=R.old, new=R.new, outcome=outcome,
                                 seconds=round(run["seconds"], 2)))
                if a.keep and outcome != "repaired":
                    shutil.copytree(root, os.path.join(a.keep, os.path.basename(root)), dirs_exist_ok=True)
                shutil.rmtree(root, ignore_errors=True)
                if outcome == "error" and counts["error"] == 3 and counts["repaired"] == 0:
                    raise SystemExit(f"eval: the loop does not run: {run['stop']}")
    finally:
        subprocess.run([os.path.join(a.bin, "lares"), "shutdown", "--socket", os.path.join(home, "s")], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(home, ignore_errors=True)
        if a.json:
            with open(a.json, "w", encoding="utf-8") as f:
                json.dump(rows, f, indent=1)
    width = max(len(t) for t in table)
    print(" " * width + "  " + "  ".join(OUTCOMES))
    for title, counts in table.items():
        print(f"{title:{width}}  " + "  ".join(f"{counts[o]:{len(o)}d}" for o in OUTCOMES))
    for what in ("kind", "lang"):
        split = collections.defaultdict(lambda: [0, 0])
        for row in rows:
            split[row[what]][0] += row["outcome"] == "repaired"
            split[row[what]][1] += 1
        print(f"by {what}: " + ", ".join(f"{k} {n}/{m}" for k, (n, m) in sorted(split.items())))
    before = [row["before"] for row in rows if row["before"] is not None]
    tries = collections.Counter((row["edits"] + 1) // 2 for row in rows if row["outcome"] == "repaired" and row["edits"])  # each miss is edited back
    print("repaired by the n-th try: " + ", ".join(f"{n}: {tries[n]}" for n in sorted(tries)) +
          (f"; calls before the first edit: median {statistics.median(before):g}" if before else ""))
    repaired = sum(c["repaired"] for c in table.values())
    share = 100.0 * repaired / max(1, len(rows))
    seconds = [row["seconds"] for row in rows] or [0]
    if a.best_of:
        print(f"{n_first} of {len(rows)} repaired by one `lares run`, {repaired - n_first} of the other {len(rows) - n_first} by `lares run --best-of {a.best_of}`")
    print(f"{repaired} of {len(rows)} repaired: {share:.0f} % (floor {a.floor:.0f} %), {malformed_calls} malformed calls, {statistics.median(seconds):.1f} s a task "
          f"at the median, {statistics.mean(seconds):.1f} in the mean")
    quick = not before or statistics.median(before) <= CALLS_BEFORE_EDIT_MAX
    return 0 if share >= a.floor and not malformed_calls and quick else 1


if __name__ == "__main__":
    sys.exit(main())
