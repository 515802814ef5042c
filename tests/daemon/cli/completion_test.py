"""Completions in the shells themselves, each where it is installed. completion_test.py LARES SCRIPTED_DAEMON"""
import json
import os
import pathlib
import pty
import re
import select
import shutil
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
import cli_case
from cli_case import CliCase

THINK = "hm</think>"
SECONDS_MAX = 60  # for a shell to complete a line
CASES = [  # what is typed, and what it becomes where one thing is meant
    ("lares compl", "lares completion "), ("lares completion fi", "lares completion fish "), ("lares run --poli", "lares run --policy "),
    ("lares run --delivery sta", "lares run --delivery start "), ("lares model gen", "lares model generate "),
    ("lares model generate --top-", "lares model generate --top-"), ("lares config set wak", "lares config set wake "),
]


class CompletionTest(CliCase):
    def env(self):
        return dict(super().env(), PATH=os.path.dirname(cli_case.LARES) + ":" + os.environ["PATH"], HOME=self.home, LC_ALL="C.UTF-8")

    def script(self, shell):
        path = os.path.join(self.home, "completion." + shell)
        with open(path, "w") as f:
            f.write(self.lares("completion", shell)[1])
        return path

    def checked(self, shell, *words):
        p = subprocess.run([shell, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS_MAX, env=self.env())
        self.assertEqual((p.returncode, p.stdout.decode()), (0, ""))

    def two_sessions(self):
        self.start(THINK + "One.", THINK + "Two.")
        return [json.loads(self.lares("run", "--json", text)[1].splitlines()[-1])["session"] for text in ("First: a.", "Second.")]

    def options(self, command):
        return set(re.findall(r"^ +(?:-h,)?(--[a-z-]+)", self.lares(*command.split(), "--help")[1], re.M))

    # ---- zsh: at a terminal, for its completion works nowhere else

    def zsh(self, lines):
        """What the command line is after each of `lines` and a Tab."""
        out, script = os.path.join(self.home, "buffer"), self.script("zsh")
        pid, master = pty.fork()
        if pid == 0:
            os.chdir(self.root)
            os.execvpe("zsh", ["zsh", "-f", "-i"], self.env())
        shown = b""
        setup = (f"PS1='> '; autoload -Uz compinit && compinit -u -d {self.home}/dump && source {script}; "
                 f"show() {{ print -r -- \"$BUFFER|\" > {out}.new; mv {out}.new {out}; BUFFER= }}; zle -N show; bindkey '^X' show; "
                 f"bindkey '^I' complete-word; setopt no_beep no_auto_menu; : > {out}.ready\n")

        def until(path):
            nonlocal shown
            end = time.monotonic() + SECONDS_MAX
            while not os.path.exists(path):
                self.assertLess(time.monotonic(), end, shown.decode(errors="replace"))
                if select.select([master], [], [], 0.05)[0]:
                    shown += os.read(master, 65536)
        became = []
        try:
            os.write(master, setup.encode())
            until(out + ".ready")
            for line in lines:
                os.write(master, line.encode() + b"\t\x18")
                until(out)
                with open(out) as f:
                    became.append(f.read().rstrip("\n")[:-1])
                os.unlink(out)
        finally:
            os.close(master)
            os.waitpid(pid, 0)
        return became

    @unittest.skipUnless(shutil.which("zsh"), "SKIPPED: zsh is not installed")
    def test_zsh(self):
        self.checked("zsh", "-n", self.script("zsh"))
        sessions = self.two_sessions()
        cases = CASES + [(f"lares log --session {sessions[0][:6]}", f"lares log --session {sessions[0]} "),
                         (f"lares export {sessions[1][:6]}", f"lares export {sessions[1]} ")]
        self.assertEqual(self.zsh([typed for typed, _ in cases]), [became for _, became in cases])

    # ---- fish

    @unittest.skipUnless(shutil.which("fish"), "SKIPPED: fish is not installed")
    def test_fish(self):
        script = self.script("fish")
        self.checked("fish", "-n", script)
        sessions = self.two_sessions()

        def offered(line):
            ask = ["fish", "--no-config", "-c", "source $argv[1]; complete -C $argv[2]", script, line]
            p = subprocess.run(ask, cwd=self.root, env=self.env(), stdout=subprocess.PIPE, timeout=SECONDS_MAX)
            return [word.split("\t")[0] for word in p.stdout.decode().splitlines()]
        for typed, became in CASES:
            if became.endswith(" "):
                self.assertEqual(offered(typed), [became.split()[-1]], typed)
        self.assertLessEqual({"--top-k", "--top-p"}, set(offered("lares model generate --top-")))
        for command in ("run", "rewind", "model generate", "rules add"):
            self.assertLessEqual(self.options(command), set(offered(f"lares {command} --")), command)
        for line in ("lares log --session ", "lares export "):
            self.assertLessEqual(set(sessions), set(offered(line)), line)


if __name__ == "__main__":
    cli_case.main()
