#!/usr/bin/env python3
"""racecheck.py BUILD JOBS TEST...: runs tests of emulated CUDA kernels under the race detector they were built with (kernels/cuda/simt/races.h),
and adds up what they looked at, which the last line says. Status 0: every one passed, looked at launches, and found no race. A test that does
not say what it looked at had no detector, or did not come to its end."""
import re
import subprocess
import sys
import time

TEST = re.compile(r"^\d+/\d+ Test: (\S+)$")
LOOKED = re.compile(r"^races: (\d+) launches, (\d+) accesses to (\d+) bytes, (\d+) races$")
TOOK = re.compile(r"^Test time =\s+([\d.]+) sec$")


def read(log, tests):
    """{test: (seconds, launches, accesses, bytes, races)} of ctest's log; None where a test did not say."""
    said, name, own = {}, None, None
    for line in log.splitlines():
        if m := TEST.match(line):
            name, own = m[1], None
        elif m := LOOKED.match(line):
            own = [int(v) for v in m.groups()]
        elif m := TOOK.match(line):
            said[name] = (float(m[1]), *own) if own else None
    return {test: said.get(test) for test in tests}


def total(of, passed, seconds):
    """(whether all is well, the last line)"""
    silent = [test for test, own in of.items() if not own or own[1] == 0 or own[2] == 0]
    launches, accesses, seen, races = (sum(own[i] for own in of.values() if own) for i in range(1, 5))
    line = f"racecheck: {len(of)} tests in {seconds:.0f} s: {launches:,} launches, {accesses:,} accesses to {seen:,} bytes, {races} races"
    if silent:
        line += "; nothing was looked at in " + ", ".join(silent)
    if not passed:
        line += "; not all tests passed"
    return passed and not silent and races == 0, line


def main():
    build, jobs, *tests = sys.argv[1:]
    began = time.monotonic()
    one_of = "^(" + "|".join(map(re.escape, tests)) + ")$"
    passed = subprocess.run(["ctest", "--test-dir", build, "--output-on-failure", "-j", jobs, "-R", one_of]).returncode == 0
    with open(f"{build}/Testing/Temporary/LastTest.log", encoding="utf-8", errors="replace") as log:
        of = read(log.read(), tests)
    for test, own in of.items():
        print(f"{test:40}", "said nothing" if not own else f"{own[0]:7.1f} s {own[1]:8,} launches {own[2]:14,} accesses {own[4]:4} races")
    well, line = total(of, passed, time.monotonic() - began)
    print(line, flush=True)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
