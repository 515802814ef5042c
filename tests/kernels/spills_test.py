"""No register of a hot loop waits on the stack: spills_test.py OBJDUMP LIBRARY

An innermost loop over zmm registers that multiplies and adds, but stores one to the stack and reads it again, has more in flight than
there are registers, or the compiler lost count: it may run at half its speed, and nothing else shows it. (With AVX2's sixteen registers
some wait on the stack by design.)
"""
import re
import subprocess
import sys

MULTIPLIES_MIN = 16  # fused multiply-adds or dot products that make a loop a kernel's
# (member, function): in how many loops, how many vectors, and why that may be.
ALLOWED = {
    (r"^tiles_", r"run_slab<.*Fp8, .*Pairs, [46], 4, 1>"): (8, 42, "fp8 whose scales do not fit bf16: decoded at every pass, and rare"),
    (r"^attention_", r"attention_weights_avx512"): (1, 5, "sixteen pairs of weights wait for their transposition while exp takes the registers"),
    (r"^indexer_", r"index_scores_avx512"): (1, 3, "heads that are no multiple of eight"),
}
SLOT = r"(-?0x[0-9a-f]+)?\(%r[sb]p\)"


def functions(listing):
    """(member, name, [(address, mnemonic, operands)]) of each."""
    member, name, body = "", None, []
    for line in listing:
        if m := re.match(r"^(\S+\.o):\s+file format", line):
            member = m[1]
        elif m := re.match(r"^[0-9a-f]+ <(.*)>:$", line):
            if body:
                yield here, name, body
            here, name, body = member, m[1], []
        elif name and (m := re.match(r"^\s*([0-9a-f]+):\s+(\S+)\s*(.*)$", line)):
            body.append((int(m[1], 16), m[2], m[3]))
    if body:
        yield here, name, body


def inner_loops(body):
    first = body[0][0]
    loops = set()
    for at, op, operands in body:
        if op.startswith("j") and (m := re.match(r"([0-9a-f]+) ", operands)) and first <= int(m[1], 16) <= at:
            loops.add((int(m[1], 16), at))
    for begin, end in sorted(loops):
        if not any((b, e) != (begin, end) and begin <= b and e <= end for b, e in loops):
            yield [(op, operands) for at, op, operands in body if begin <= at <= end]


def spilled(loop):
    stored = {m[1] for op, operands in loop if op.startswith("vmov") and (m := re.match(rf"%zmm\d+,({SLOT})$", operands))}
    read = {m[0] for op, operands in loop if re.search(r"zmm\d+$", operands) and (m := re.search(SLOT, operands))}
    return stored & read


dump = subprocess.run([sys.argv[1], "-d", "-C", "--no-show-raw-insn", sys.argv[2]], capture_output=True, text=True, check=True)
looked, spilling, bad, used = 0, 0, [], dict.fromkeys(ALLOWED, 0)
for member, name, body in functions(dump.stdout.splitlines()):
    if not re.search(r"_avx512\.cc\.o$", member):
        continue
    for loop in inner_loops(body):
        multiplies = sum(bool(re.match(r"vfn?m|vdpbf16|vpdp|vpmaddubs", op)) for op, _ in loop)
        if multiplies < MULTIPLIES_MIN:
            continue
        looked += 1
        if slots := spilled(loop):
            short = name.replace("lares::kernels::", "").replace("(anonymous namespace)::", "")
            spilling += 1
            key = next((key for key in ALLOWED if re.search(key[0], member) and re.search(key[1], short)), None)
            if key:
                used[key] += 1
            if not key or used[key] > ALLOWED[key][0] or len(slots) > ALLOWED[key][1]:
                bad.append(f"{member}: {short}: {len(slots)} vectors of a loop of {multiplies} multiplications go over the stack")
if not looked:
    sys.exit(f"{sys.argv[2]}: no loop that multiplies vectors, so nothing was looked at")
print("\n".join(bad) or f"{looked - spilling} loops keep their vectors in registers, {spilling} need not")
sys.exit(1 if bad else 0)
