"""What a person can look up: --help of everything, the manual, completions. help_test.py LARES SCRIPTED_DAEMON"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
import cli_case
from cli_case import CliCase

COLUMNS, LINES = 80, 24


class HelpTest(CliCase):
    def commands(self):
        """Every command and subcommand, by asking: "run", "model inspect"."""
        found, asked = [], self.listed(self.lares("--help")[1])
        while asked:
            command = asked.pop(0)
            found.append(command)
            help = self.lares(*command.split(), "--help")[1]
            several = re.search(r"\[OPTIONS\].* \[?([a-z]+(?:\|[a-z]+)+)\]? \.\.\.", " ".join(help.split("\n", 2)[:2]))
            asked += [f"{command} {sub}" for sub in several[1].split("|")] if several else []
        return found

    def listed(self, help):
        commands = [c for c in re.findall(r"^  ([a-z]+) +[a-z]", help, re.M) if c not in ("lares", "and")]
        return commands + re.split(r",\s+", re.search(r"^  and +(.+(?:\n {13}.+)*)$", help, re.M)[1])

    def options(self, command):
        return set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", self.lares(*command.split(), "--help")[1].split("\n  lares ")[0])) - {"--temperature 0"}

    def test_every_help_fits_a_screen_and_shows_an_example(self):
        commands = self.commands()
        self.assertLessEqual({"run", "review", "attach", "config set", "rules add", "model generate", "manual"}, set(commands))
        for command in ["", *commands]:
            status, out, err = self.lares(*command.split(), "--help")
            self.assertEqual((status, err), (0, ""), command)
            lines = out.splitlines()
            self.assertLessEqual(len(lines), LINES, out)
            self.assertLessEqual(max(map(len, lines)), COLUMNS, out)
            self.assertRegex(out, r"(?m)^  (lares|source <\(lares) " + command.split(" ")[0], out)

    def test_help_and_command_help_are_the_same(self):
        self.assertEqual(self.lares("help", "run"), self.lares("run", "--help"))

    def test_the_manual_names_every_command_and_option(self):
        page = self.lares("manual")[1].replace("\\-", "-")
        for command in self.commands():
            section = re.search(rf'^\.SS "lares {command} \[OPTIONS\].*?(?=^\.S[SH]|\Z)', page, re.M | re.S)
            self.assertTrue(section, command)
            for option in self.options(command):
                self.assertIn(option, section[0], command)
        for setting in re.findall(r"(?m)^([a-z_]+) ", self.lares("config")[1]):
            self.assertIn(f"\\fB{setting}, LARES_{setting.upper()}\\fR", page)

    def test_the_daemons_manual_names_every_option(self):
        p = subprocess.run([os.path.join(os.path.dirname(cli_case.LARES), "laresd"), "--help"], stdout=subprocess.PIPE, timeout=30)
        page = self.lares("manual", "laresd")[1].replace("\\-", "-")
        options = set(re.findall(r"^ +(?:-h,)?(--[a-z-]+)", p.stdout.decode(), re.M)) - {"--help"}
        self.assertIn("--memory", options)
        self.assertEqual([o for o in sorted(options) if f"\\fB{o}" not in page], [])

    @unittest.skipUnless(shutil.which("groff"), "SKIPPED: groff is not installed")
    def test_the_manuals_render_without_a_warning(self):
        for page in ("lares", "laresd"):
            p = subprocess.run(["groff", "-man", "-Tutf8", "-wall", "-ww"], input=self.lares("manual", page)[1].encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
            self.assertEqual((p.returncode, p.stderr.decode()), (0, ""))
            self.assertIn(b"SYNOPSIS", re.sub(rb"\x1b\[[0-9;]*m|.\x08", b"", p.stdout))


if __name__ == "__main__":
    cli_case.main()
