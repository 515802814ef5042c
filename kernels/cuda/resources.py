#!/usr/bin/env python3
"""resources.py BUILD_DIRECTORY: what ptxas said of every kernel, as a table: registers, spills, stack, static shared memory, per target.
Fails when a kernel spills, or has a stack beyond what double sine and cosine take, when one whose warpgroups hand registers to each other enters with
others than they count on (those who take would wait forever), when ptxas gave up on setmaxnreg or on products beside their threads, or when nothing
was compiled."""
import pathlib
import re
import subprocess
import sys

HANDED = re.compile(r"wide_(linear|experts)_kernel|attention_wgmma_kernel")  # of 384 threads
ENTERS_WITH = 168  # registers of a thread: the most that 384 threads of an SM can have
GIVEN_UP = re.compile(r"C75(08|10)")
STACK_MAX = 64  # bytes: argument reduction of double sine and cosine
KERNEL = re.compile(r"Compiling entry function '(\w+)' for '(\w+)'")
SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers(?:.*?, (\d+) bytes smem)?")


def readable(names):
    try:
        out = subprocess.run(["c++filt", "-p"], input="\n".join(names), capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        out = names
    return {a: re.sub(r"lares::kernels::(cuda::)?", "", b) for a, b in zip(names, out)}


def kernels(path):
    """(name, target, registers, spilled bytes, stack bytes, shared bytes)"""
    name, spills = None, None
    for line in path.read_text().splitlines():
        if m := KERNEL.search(line):
            name, spills = m.groups(), None
        elif (m := SPILLS.search(line)) and name and spills is None:
            spills = [int(v) for v in m.groups()]
        elif (m := USED.search(line)) and name:
            stack, stores, loads = spills or (0, 0, 0)
            yield (*name, int(m[1]), stores + loads, stack, int(m[2] or 0))
            name, spills = None, None


def main():
    found = [k for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.ptxas")) for k in kernels(path)]
    if not found:
        sys.exit(f"resources: no kernels compiled below {sys.argv[1]}; build lares_kernels_cuda first")
    names = readable(sorted({k[0] for k in found}))
    print(f"{'kernel':60} {'target':8} {'regs':>4} {'spill':>5} {'stack':>5} {'smem':>5}")
    bad = [f"{path.name}: {line}" for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.ptxas")) for line in path.read_text().splitlines() if GIVEN_UP.search(line)]
    for name, target, registers, spilled, stack, shared in sorted(found, key=lambda k: (names[k[0]], k[1])):
        print(f"{names[name]:60} {target:8} {registers:4} {spilled:5} {stack:5} {shared:5}")
        if spilled or stack > STACK_MAX:
            bad.append(f"{names[name]} for {target} spills")
        if HANDED.search(names[name]) and target == "sm_90a" and registers != ENTERS_WITH:
            bad.append(f"{names[name]} enters with {registers} registers, not {ENTERS_WITH}")
    if bad:
        sys.exit("resources: " + "; ".join(bad))


if __name__ == "__main__":
    main()
