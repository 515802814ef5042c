"""The steps of a long run: what it shows of them, how they start other programs, and the two ways in which they end early."""
import os
import subprocess
import sys
import time


class Skip(Exception):
    """Something that this machine lacks; says what."""


class Failure(Exception):
    """Something that went wrong; says what, on what, and why."""


class Step:
    """A line that says what is going on and then how long it took; on a terminal also how far it is."""

    def __init__(self, what):
        self.what, self.begun, self.shown = what, time.monotonic(), 0.0

    def __enter__(self):
        print(f"  {self.what} ...", end="", flush=True)
        return self

    def progress(self, done, total):
        if sys.stdout.isatty() and time.monotonic() - self.shown > 0.1:
            self.shown = time.monotonic()
            print(f"\r\033[K  {self.what} ... {100 * done // total} %", end="", flush=True)

    def __exit__(self, kind, *_):
        again = f"\r\033[K  {self.what} ..." if sys.stdout.isatty() else ""
        print(f"{again} {'failed' if kind else f'{time.monotonic() - self.begun:.1f} s'}", flush=True)


def run(what, command):
    """The finished process with its stdout and stderr; a Failure of one line when it did not exit with 0."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    except OSError as e:
        raise Failure(f"{what}: start {command[0]}: {e.strerror}") from None
    if done.returncode == 0:
        return done
    if done.returncode < 0:
        hint = "; is there memory enough?" if done.returncode == -9 else ""
        raise Failure(f"{what}: {os.path.basename(command[0])} was ended by signal {-done.returncode}{hint}")
    said = [line for line in (done.stdout + "\n" + done.stderr).splitlines() if line.strip()]
    raise Failure(f"{what}: {said[-1] if said else f'exit status {done.returncode} without a message'}")
