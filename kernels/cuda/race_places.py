#!/usr/bin/env python3
"""race_places.py PROGRAM [FILTER [JOBS]]: is every place that orders what threads do needed, and would it be missed?

PROGRAM is a test built with -DLARES_RACES=ON, FILTER what of it to run (as --gtest_filter takes it). It runs once as it is, and once for each
line of the kernels that has a barrier, fence, arrival or wait, which then orders nothing (simt/races.h: LARES_RACES_WITHOUT). A table says what
was found without it: a race, or nothing, which is a place that nothing needs, or that no test of these would miss."""
import collections
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# What kernels call; who calls it is of interest.
WORDS = {"simt.h", "bulk.h", "cluster.h", "wgmma.h", "wgmma_transposed.h"}
FRAME = re.compile(r"([^/\s]+):(\d+)(?: \(discriminator \d+\))?$")
SAID = re.compile(r"^race: (.*):$|^emulated kernel: block \d+ \d+ \d+: (.*)$", re.M)


def run(program, chosen, **settings):
    return subprocess.run([program, "--gtest_brief=1", "--gtest_filter=" + chosen], env={**os.environ, **settings}, capture_output=True, text=True,
                          errors="replace")


def lines_of(program, places):
    """{"file:line": [places]}: a call returns to its place, so it stands before that."""
    done = subprocess.run(["addr2line", "-aifCe", program, *(hex(int(p, 16) - 1) for p in places)], capture_output=True, text=True, check=True)
    found, place, order = collections.defaultdict(list), None, iter(places)
    for line in done.stdout.splitlines():
        if line.startswith("0x") and " " not in line:
            place = next(order)
        elif place and (m := FRAME.search(line)) and m[1] not in WORDS:
            found[f"{m[1]}:{m[2]}"].append(place)
            place = None
    return dict(sorted(found.items(), key=lambda item: (item[0].split(":")[0], int(item[0].split(":")[1]))))


def source(at):
    name, number = at.split(":")
    for path in (*ROOT.glob(f"kernels/cuda/**/{name}"), *ROOT.glob(f"tests/kernels/{name}")):
        return path.read_text(encoding="utf-8").splitlines()[int(number) - 1].strip()
    return ""


def without(program, chosen, places):
    done = run(program, chosen, LARES_RACES_WITHOUT=",".join(places), LARES_RACES_FIRST="1")
    if m := SAID.search(done.stderr):
        return "race: " + m[1] if m[1] else m[2]
    return "nothing" if done.returncode == 0 else "wrong results"


def main():
    program, chosen, jobs = (sys.argv[1:] + ["*", "1"][len(sys.argv) - 2:])[:3]
    whole = run(program, chosen, LARES_RACES_PLACES="1")
    if whole.returncode != 0:
        sys.exit(f"race_places: {program} fails as it is:\n{whole.stdout}{whole.stderr}")
    lines = lines_of(program, re.findall(r"^place: ([0-9a-f]+)$", whole.stderr, re.M))
    missed = 0
    with concurrent.futures.ThreadPoolExecutor(int(jobs)) as pool:
        for at, said in zip(lines, pool.map(lambda places: without(program, chosen, places), lines.values())):
            missed += said == "nothing"
            print(f"{at:32} {said:56} {source(at)}", flush=True)
    print(f"{len(lines)} places, {missed} of which nothing misses")


if __name__ == "__main__":
    main()
