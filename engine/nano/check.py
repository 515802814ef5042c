"""Proves the generator against the real test runners: check.py [samples] [seed]

Every sample is written to disk; the broken repository must fail with exactly what the synthetic summary says, the fixed one
must pass. Exit status 1 when any sample disagrees.
"""
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile

import sessions
import skeletons

RUN_SECONDS = 60
COMMANDS = {"p": ["python3", "-m", "unittest", "discover", "-s", "tests"], "c": ["make", "test"], "j": ["node", "--test"]}


def write(files, root):
    for path, text in files.items():
        full = os.path.join(root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as f:
            f.write(text)


def run(lang, files):
    """(exit status, output) of the real runner on these files."""
    root = tempfile.mkdtemp(prefix="nano-check-")
    try:
        write(files, root)
        env = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", NO_COLOR="1")
        p = subprocess.Popen(COMMANDS[lang], cwd=root, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            out, _ = p.communicate(timeout=RUN_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)  # what loops for ever is a child's child
            p.communicate()
            return -1, "timeout"
        return p.returncode, out.decode("utf-8", "replace").replace(root + "/", "")
    finally:
        shutil.rmtree(root, ignore_errors=True)


def disagreement(R):
    """Why the real runners and the session do not agree, or ''."""
    status, out = run(R.lang, R.fixed)
    if status:
        return f"the fixed repository fails:\n{out}"
    status, out = run(R.lang, R.broken)
    if not status:
        return "the broken repository passes"
    lines = R.summary.split("\n")
    if R.lang == "c":
        wanted = [lines[1].strip()]
    else:
        place, name = lines[1][5:].split(" ", 1)
        path, number = place.rsplit(":", 1)
        wanted = [lines[3].strip()]
        if R.lang == "p":
            wanted += [f'File "{path}", line {number}, in {name}', f"FAILED (failures=1)", f"Ran {lines[0].split()[2]} test"]
        else:
            wanted += [f"{path}:{number}:", f"# fail 1", f"# tests {lines[0].split()[2]}"]
            wanted = [w for w in wanted if not w.startswith("# tests")]  # node 20 also counts files
    for w in wanted:
        if w not in out:
            return f"not in the runner's output: {w}\n{out}"
    if R.lang == "p" and len(re.findall(r"^FAIL: ", out, re.M)) != 1:
        return f"more than one failure:\n{out}"
    return ""


def main():
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    r = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 7)
    pool, bad = skeletons.load(), 0
    for k in range(n):
        R = sessions.draw(r, pool, held_names=k % 4 == 0, held_skeleton=k % 5 == 0)
        why = disagreement(R)
        if why:
            bad += 1
            if bad <= 8:
                print(f"--- {R.lang} {R.skeleton} {R.kind}: {R.old!r} for {R.new!r}\n{why[:1500]}\nSUMMARY {R.summary}")
    print(f"{n - bad} of {n} samples agree with the real runners")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
