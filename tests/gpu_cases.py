#!/usr/bin/env python3
"""Runs every case of GoogleTest programs in a process of its own, several at a time, for tests/gpu_check.sh.

On a GPU a kernel that hangs or touches what is not its own takes the whole process with it, so cases that share one hide each other.
Here a case that hangs is killed with all that it started, after --seconds-each, and one that crashes fails alone. A case that skipped
itself tested nothing, and counts as not passed. What a case printed goes to stdout when it ends; at the end a line for each program says how
many cases passed, failed, were skipped, hung or never ran, and a line for each reason not to names those that did not.

  gpu_cases.py [options] PROGRAM...
    --seconds-each N    of one case (60)
    --seconds N         of all: what still runs then is killed, the rest does not run (600)
    --jobs N            cases at a time (the processors)
    --only PATTERN      GoogleTest's filter
    --alone NAME        a case that measures what others would disturb: after all others, by itself; may be repeated
    --under NAME CMD    each case under this command, whose line is called NAME in place of the program; may be repeated
  --cases NAME PATTERN  which cases that is, in place of --only's; may be repeated
  --told NAME         what comes of that line is told, and decides nothing; may be repeated
    --table FILE        those last lines there, too: "name<TAB>result", and "<TAB>what did not pass"

Exit status: 0 all passed, 1 something did not, 2 wrong call or no cases.
"""
import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

SHOWN_MAX = 64 << 10  # bytes of what a case printed
WHY_MAX = 240         # characters of a reason
LIST_MAX_S = 20
DIES_MAX_S = 5        # a process whose kernel hangs may take a moment, or never go
OUTCOMES = ("passed", "failed", "skipped", "hung", "not run")


class Case:
    def __init__(self, row, program, name, under):
        self.row, self.program, self.name, self.under = row, program, name, under
        self.outcome, self.why = "not run", "no time was left"


def cases_of(program, only):
    """The names that --gtest_list_tests gives: suites unindented, their cases indented, comments behind '#'."""
    listed = subprocess.run([program, "--gtest_list_tests", "--gtest_filter=" + only], capture_output=True, text=True, timeout=LIST_MAX_S,
                            stdin=subprocess.DEVNULL)
    if listed.returncode != 0:
        raise OSError(f"--gtest_list_tests ended with {listed.returncode}: {first_line(listed.stderr or listed.stdout)}")
    out, suite = [], None
    for line in listed.stdout.splitlines():
        word = line.split("#")[0].rstrip()
        if re.fullmatch(r"\S+\.", word):
            suite = word
        elif suite and re.fullmatch(r"  \S+", word):
            out.append(suite + word.strip())
    return out


def first_line(text):
    return next((line.strip() for line in text.splitlines() if line.strip()), "nothing was said")


def why_failed(text):
    """The line that says most of what went wrong: GoogleTest's first failure, a sanitizer's first finding, or the last one printed."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for i, line in enumerate(lines):
        if line.endswith(": Failure"):
            return f"{line.removesuffix(': Failure')}: {' '.join(lines[i + 1:i + 4])}"
    for line in lines:
        if re.search(r" is lost: |^=+ (Invalid|Error|Warning|Program hit|Race|Potential|.*[Hh]azard)|not supported", line):
            return line
    return lines[-1] if lines else "nothing was said"


def ending(status):
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


class Runner:
    def __init__(self, seconds_each, deadline):
        self.seconds_each, self.deadline = seconds_each, deadline
        self.lock, self.running, self.stopped = threading.Lock(), set(), False

    def stop(self):
        """Kills what runs; nothing begins any more."""
        self.stopped = True
        for process in list(self.running):
            kill(process)

    def run(self, case):
        begun = time.monotonic()
        limit = min(self.seconds_each, self.deadline - begun)
        if self.stopped or limit <= 0:
            return
        command = case.under + [case.program, "--gtest_filter=" + case.name]
        with tempfile.TemporaryFile() as printed:
            try:
                process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.STDOUT, start_new_session=True)
            except OSError as error:
                case.outcome, case.why = "failed", str(error)
                return
            self.running.add(process)
            if self.stopped:
                kill(process)
            status = wait(process, limit)
            kill(process)  # and what it left behind
            if status is None:
                wait(process, DIES_MAX_S)
            self.running.discard(process)
            seconds = time.monotonic() - begun
            printed.seek(0)
            text = printed.read().decode(errors="replace")
        self.judge(case, status, text, seconds)
        if len(text) > SHOWN_MAX:
            text = text[:SHOWN_MAX // 2] + "\n[...]\n" + text[-SHOWN_MAX // 2:]
        with self.lock:
            print(f"--- {case.row}: {case.name}: {case.outcome}, {seconds:.1f} s", text, sep="\n", flush=True)

    def judge(self, case, status, text, seconds):
        if status is None:
            case.outcome, case.why = "hung", f"killed after {seconds:.0f} s"
            if seconds < self.seconds_each:
                case.why += ", when time was up"
        elif self.stopped and status == -signal.SIGKILL:
            case.outcome, case.why = "hung", f"still ran after {seconds:.0f} s, when all was stopped"
        elif status != 0:
            case.outcome, case.why = "failed", f"{ending(status)}: {why_failed(text)}"
        elif "[  SKIPPED ]" in text:
            case.outcome = "skipped"
            case.why = first_line(text.split(": Skipped\n", 1)[-1])
        elif re.search(r"^\[  PASSED  \] 1 test", text, re.M):
            case.outcome, case.why = "passed", ""
        else:
            case.outcome, case.why = "failed", "exit status 0, and no case passed"


def kill(process):
    """The process and all that it started, if anything of it is left."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def wait(process, seconds):
    """Its status; None where it still runs."""
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return None


def result_of(cases):
    counts = {outcome: sum(case.outcome == outcome for case in cases) for outcome in OUTCOMES}
    said = ", ".join(f"{n} {outcome}" for outcome, n in counts.items() if n)
    return said if counts["passed"] == len(cases) else "FAILED: " + said


def table(rows, cases):
    lines = []
    for row, refused in rows.items():
        own = [case for case in cases if case.row == row]
        lines.append(f"{row}\t{result_of(own) if own else 'FAILED: ' + (refused or 'it has no such cases')}")
        if own and refused:
            lines.append(f"\t{refused}")
        alike = {}
        for case in own:
            if case.outcome != "passed":
                alike.setdefault(f"{case.outcome}: {case.why[:WHY_MAX]}", []).append(case.name)
        lines += [f"\t{', '.join(names)}: {said}" for said, names in alike.items()]
    return lines


def main():
    arguments = argparse.ArgumentParser(usage=__doc__)
    arguments.add_argument("--seconds-each", type=float, default=60)
    arguments.add_argument("--seconds", type=float, default=600)
    arguments.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    arguments.add_argument("--only", default="*")
    arguments.add_argument("--alone", action="append", default=[])
    arguments.add_argument("--under", nargs=2, action="append", default=[])
    arguments.add_argument("--cases", nargs=2, action="append", default=[])
    arguments.add_argument("--told", action="append", default=[])
    arguments.add_argument("--table")
    arguments.add_argument("programs", nargs="+")
    given = arguments.parse_args()
    runner = Runner(given.seconds_each, time.monotonic() + given.seconds)
    ways = [(name, shlex.split(command)) for name, command in given.under] or [(None, [])]
    rows, cases = {}, []
    for name, command in ways:
        only = dict(given.cases).get(name, given.only)
        for program in map(os.path.abspath, given.programs):
            row = name or os.path.basename(program)
            rows.setdefault(row, None)
            try:
                cases += [Case(row, program, case, command) for case in cases_of(program, only)]
            except (OSError, subprocess.TimeoutExpired) as error:
                rows[row] = ("" if name is None else os.path.basename(program) + ": ") + f"its cases are not known: {error}"

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: runner.stop())
    together = [case for case in cases if case.name not in given.alone]
    with ThreadPoolExecutor(max(1, given.jobs)) as pool:
        for done in [pool.submit(runner.run, case) for case in together]:
            done.result()
    for case in cases:
        if case.name in given.alone:
            runner.run(case)
    lines = table(rows, cases)
    print(*lines, sep="\n", flush=True)
    if given.table:
        with open(given.table, "w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in lines)
    if not cases:
        return 2
    decides = [row for row in rows if row not in given.told]
    return 0 if all(case.outcome == "passed" for case in cases if case.row in decides) and not any(rows[row] for row in decides) else 1


if __name__ == "__main__":
    sys.exit(main())
