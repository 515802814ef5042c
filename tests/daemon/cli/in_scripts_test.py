"""`lares` in scripts: a stderr that nobody reads.
in_scripts_test.py LARES SCRIPTED_DAEMON [unittest arguments]"""
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
import cli_case
from cli_case import THINK, CliCase


class InScriptsTest(CliCase):
    def run_with(self, *args, **how):
        return subprocess.run(self.command(*args), cwd=self.root, env=self.env(), timeout=60, **how)

    # ---- a stderr that nobody reads

    def closed_pipe(self):
        read, write = os.pipe()
        os.close(read)
        self.addCleanup(os.close, write)
        return write

    def test_what_cannot_be_said_on_stderr_stops_nothing(self):
        self.start(THINK + "One.", THINK + "Two.")
        self.lares("run", "Go.")
        file = os.path.join(self.home, "session")
        p = self.run_with("export", "-o", file, stdin=subprocess.DEVNULL, stderr=self.closed_pipe())
        self.assertEqual(p.returncode, 0)
        p = self.run_with("rules", stdin=subprocess.DEVNULL, stderr=self.closed_pipe())
        self.assertEqual(p.returncode, 0)

    def test_nothing_prints_where_an_error_would_throw(self):
        cli = pathlib.Path(__file__).resolve().parents[3] / "daemon" / "cli"
        sources = [p for p in cli.rglob("*") if p.suffix in (".cc", ".h")]
        self.assertGreater(len(sources), 50)
        self.assertEqual([str(p) for p in sources if "fmt::print(" in p.read_text(encoding="utf-8")], [])  # terminal/print.h has others


if __name__ == "__main__":
    cli_case.main()
