#!/usr/bin/env python3
"""in_flight.py NVCC INCLUDE SOURCE...: compiles sources of wgmma kernels to PTX and follows its products: until the wait that ends it, no
register that a wgmma reads or writes may be written, and none that it writes be read. The emulation cannot show what a compiler gives a
register to; PTX does, as far as names go: what ptxas makes of them it keeps apart by itself. Fails also where a product is in flight across
a branch, which this does not follow, or where there is none at all."""
import pathlib
import re
import subprocess
import sys
import tempfile

REGISTER = re.compile(r"%[a-z]+\d+")
WAIT = re.compile(r"wgmma\.wait_group\.sync\.aligned (\d+)")
WRITES_NOTHING = re.compile(r"(st|bar|barrier|fence|mbarrier|red|cp)\b")


def names(text):
    return set(REGISTER.findall(text))


def written_and_read(line):
    if WRITES_NOTHING.match(line):
        return set(), names(line)
    operands = line.split(None, 1)[1] if " " in line or "\t" in line else ""
    to = re.match(r"\{([^}]*)\}", operands) or re.match(r"([^,;]*)", operands)
    return names(to[1]), names(operands[to.end():])


def follow(lines):
    """(products, complaints)"""
    groups, open_group, n, complaints = [], [], 0, []
    for number, line in enumerate(lines, 1):
        line = line.split("//")[0].strip()
        if not line or line[0] in "{}." and ".entry" not in line:
            continue
        if "wgmma.mma_async" in line:
            sums, operands = (re.findall(r"\{([^}]*)\}", line) + [""])[:2]  # one list: both factors are in shared memory
            open_group.append((names(sums), names(operands)))
            n += 1
        elif "wgmma.commit_group" in line:
            groups, open_group = groups + [open_group], []
        elif m := WAIT.match(line):
            groups = groups[max(0, len(groups) - int(m[1])):]
        elif flying := open_group + [p for g in groups for p in g]:
            sums, operands = (set().union(*(p[i] for p in flying)) for i in range(2))
            if line.endswith(":") or ".entry" in line or re.match(r"(@!?%p\d+\s+)?(bra|brx|ret|call)\b", line):
                complaints.append(f"line {number}: in flight across: {line}")
                groups, open_group = [], []
                continue
            to, of = written_and_read(re.sub(r"^@!?%p\d+\s+", "", line))
            if to & (sums | operands):
                complaints.append(f"line {number}: written in flight: {line}")
            if of & sums:
                complaints.append(f"line {number}: sums read in flight: {line}")
    return n, complaints


def main():
    nvcc, include, *sources = sys.argv[1:]
    for source in sources:
        with tempfile.TemporaryDirectory() as place:
            ptx = pathlib.Path(place) / "kernels.ptx"
            subprocess.run([nvcc, "-std=c++20", "-fmad=false", "--expt-relaxed-constexpr", "-gencode", "arch=compute_90a,code=compute_90a", "-I", include, "-ptx", "-o", ptx, source], check=True)
            n, complaints = follow(ptx.read_text().splitlines())
        print(f"{source}: {n} products")
        if complaints or n == 0:
            sys.exit("in_flight: " + ("\n".join(complaints[:20]) or "no products in " + source))


if __name__ == "__main__":
    main()
