"""Code for special instructions must not be lent to the rest of the program: symbols_test.py NM LIBRARY

An inline function of a header that a translation unit compiled with -mavx2 or -mavx512 leaves behind as a weak symbol may be the
one the linker keeps for all, and then the program dies where those instructions are missing.
"""
import re
import subprocess
import sys

listing = subprocess.run([sys.argv[1], "-C", "--defined-only", sys.argv[2]], capture_output=True, text=True, check=True).stdout
member, special, bad = "", 0, []
for line in listing.splitlines():
    if line.endswith(":"):
        member = line[:-1]
        special += bool(re.search(r"_avx\d+\.cc\.o$", member))
    elif re.search(r"_avx\d+\.cc\.o$", member) and re.match(r"[0-9a-f]+ [WVu] ", line):
        bad.append(f"{member}: {line.split(' ', 2)[2]}")
if not special:
    sys.exit(f"{sys.argv[2]}: no member for special instructions, so nothing was looked at")
print("\n".join(bad) or f"{special} members leave no weak symbol behind")
sys.exit(1 if bad else 0)
