"""Mistakes people make at the command line: each is told what was attempted, on what, why it failed, and what to do about it.
mistakes_test.py LARES SCRIPTED_DAEMON"""
import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
import cli_case
import journal
from cli_case import CliCase

# What is typed; what the message must name; what it must say to do.
MISTAKES = [
    (["import", "/nonexistent"], "/nonexistent: No such file", "lares export"),
    (["import", "."], "it is no file", "lares export"),
    (["import", "a.txt"], "a.txt", "lares export"),
    (["export", "nosuch"], "nosuch", "lares sessions"),
    (["export", "--out", "/nonexistent/x"], "--out", "lares export --help"),
    (["rewind", "--bogus"], "--bogus", "lares rewind --help"),
    (["run", "--bogus", "x"], "--bogus", "lares run --help"),
    (["run", "--polcy", "ask", "x"], "--polcy.*--policy", "lares run --help"),
    (["--polcy", "ask"], "--polcy.*--policy", "lares --help"),
    (["--policy", "asq"], "asq", "auto.*edits.*ask"),
    (["run", "-p", "x"], "there is no -p;", "lares run --help"),
    (["-p", "x"], "there is no -p", "`lares run "),
    (["run", "--print", "x"], "there is no --print", "`lares run "),
    (["-c"], "there is no -c", "--continue"),
    (["run", "-c", "x"], "there is no -c", "--continue"),
    (["--resume", "m9bq"], "there is no --resume", "--session ID.*lares sessions"),
    (["review", "--staged"], "there is no --staged", "git diff --staged . lares ask"),
    (["review", "-c"], "there is no -c;", "lares review --help"),
    (["run", "--policy", "ask"], "task is required", "give - to have it read from stdin"),
    (["run", "--nope", "x"], "there is no --nope;", "lares run --help"),
    (["model", "inspect", "--out", "x"], "it takes no --out;", "lares model inspect --help"),
    (["model", "inspect", "--nope", "x"], "there is no --nope;", "lares model inspect --help"),
    (["run"], "task", "lares run --help"),
    (["run", "--policy", "maybe", "x"], "maybe", "auto.*edits.*ask"),
    (["run", "a", "b"], "quotes", "quotes"),
    (["run", "--session", "nosuch", "x"], "nosuch", "lares sessions"),
    (["ask"], "question", "lares ask --help"),
    (["rewind", "3", "--yes", "--session", "nosuch"], "nosuch", "lares sessions"),
    (["rewind", "x"], "x", "lares rewind --help"),
    (["fork", "--session", "nosuch"], "nosuch", "lares sessions"),
    (["log", "nosuch"], "no session nosuch", "lares sessions"),
    (["diff", "nosuch"], "no session nosuch", "lares sessions"),
    (["fork", "nosuch"], "no session nosuch", "lares sessions"),
    (["log", "a", "--session", "b"], "excludes", "lares log --help"),
    (["model"], "it takes one of inspect, .*generate", "lares model --help"),
    (["attach", "nosuch"], "nosuch", "lares sessions"),
    (["stop", "nosuch"], "nosuch", "lares sessions"),
    (["title", "nosuch", "x"], "nosuch", "lares sessions"),
    (["replay", "nosuch"], "nosuch", "lares sessions"),
    (["apply", "nosuch"], "nosuch", "lares sessions"),
    (["worktrees", "remove", "nosuch"], "nosuch", "lares sessions"),
    (["rules", "add", "bash", "x", "maybe"], "maybe", "allow.*ask.*deny"),
    (["rules", "add", "xyzzyx", "x", "ask"], "no tool xyzzyx; there are .*bash", "for one of the model's tools"),
    (["rules", "remove", "bash", "nosuch"], "nosuch", "lares rules"),
    (["config", "set", "nosuch", "1"], "nosuch", "lares config"),
    (["config", "set", "wake", "sometimes"], "sometimes", "attended always never"),
    (["config", "set", "model", "/nonexistent"], "/nonexistent", "name the directory"),
    (["config", "get", "nosuch"], "nosuch", "lares config"),
    (["completion", "tcsh"], "tcsh", "bash.*zsh.*fish"),
    (["frobnicate"], "frobnicate", "in quotes: lares run"),
    (["fix the \x1b[1mparser"], 'called "fix the .*parser"; to have that done, put run before it', "lares run"),
    (["model", "inspect", "/nonexistent"], "/nonexistent", "name .* checkpoint"),
    (["tokenize", "--model", "/nonexistent", "x"], "/nonexistent", "name|give|checkpoint|--help"),
    (["prompt", "--bogus"], "--bogus", "lares prompt --help"),
    (["review", "nosuch..nosuch2"], "not a git repository", "name one with --root"),
    (["status", "--socket", "/nonexistent/socket"], "/nonexistent", "lares run"),
    (["run", "--root", "/nonexistent", "x"], "/nonexistent", "name a directory"),
    (["prefix", "--root", "/nonexistent"], "/nonexistent", "name a directory"),
    (["model", "nosuch"], "nosuch", "lares model --help"),
    (["bench", "nosuch"], "nosuch", "lares bench"),
    (["fork", "--before", "0"], "0", "lares fork --help"),
    (["run", "--steps", "many", "x"], "many", "lares run --help"),
    (["run", "--best-of", "99", "x"], "99", "lares run --help"),
    (["run", "--test", "make check", "x"], "--test is what --best-of N", r'--until-tests-pass, and .lares/config.json .*\{"test": *"make check"\}'),
    (["generate", "x"], "generate", "lares run"),
    (["sessions", "--socket", "/" + "x" * 200], "xxx", "shorter one with --socket"),
    (["model", "generate", "x"], "x is one word", "lares model generate --help"),
    (["model", "verify", "/nonexistent"], "/nonexistent", "name .*checkpoint|--help"),
    (["model", "plan", "/nonexistent"], "/nonexistent", "name .*checkpoint|--help"),
    (["status", "extra"], "extra", "lares status --help"),
    (["completion"], "which shell", "bash, zsh or fish"),
    (["acp", "--bogus"], "--bogus", "lares acp --help"),
    (["config", "set", "memory", "lots"], "lots", "must be"),
    (["rules", "add", "bash"], "PATTERN", "lares rules add --help"),
    (["manual", "nosuch"], "nosuch", "lares manual --help"),
]


class MistakesTest(CliCase):
    def test_every_mistake_is_told_what_to_do(self):
        self.start()
        for args, names, advice in MISTAKES:
            with self.subTest(" ".join(args)):
                status, out, err = self.lares(*args)
                self.assertNotEqual(status, 0, out)
                self.assertNotRegex(err, "mean (--yes|--root|--model|policy|inspect)")  # which none of these is near
                self.assertLessEqual(err.count("\n"), 3, err)
                self.assertRegex(out + err, f"(?s){names}")
                self.assertRegex(out + err, f"(?s){advice}")

    def test_a_slip_of_a_skill_goes_to_nobody(self):
        os.makedirs(os.path.join(self.root, ".agents", "skills", "deploy"))
        self.write(".agents/skills/deploy/SKILL.md", "---\nname: deploy\ndescription: deploys\n---\nDo it.\n")
        self.start(*["hm</think>Done."] * 3)
        for args in (["run", "/deplyo x"], ["ask", "/deplyo x"], ["run", "--best-of", "2", "/deplyo x"]):
            status, out, err = self.lares(*args)
            self.assertEqual((status, out, err.count("\n")), (2, "", 1), err)
            self.assertIn("do you mean /deploy?", err)
        self.assertEqual(self.lares("sessions", "--json")[1].strip(), '{"sessions":[]}')
        status, out, _ = self.lares("run", "--json", "/deplyo x")
        self.assertEqual((status, json.loads(out)["type"]), (2, "error"))
        for prompt in ("/deploy x", "/etc/hosts is wrong", " /deplyo x"):
            status, out, err = self.lares("run", prompt)
            self.assertEqual((status, out), (0, "Done.\n"), err)

    def test_a_command_of_the_repository_is_called_by_its_name(self):
        os.makedirs(os.path.join(self.root, ".claude", "commands"))
        self.write(".claude/commands/fix_issue.md", "Fix issue $ARGUMENTS.\n")
        self.start("hm</think>Fixed.")
        status, out, err = self.lares("run", "/fix_isue 12")
        self.assertEqual((status, out), (2, ""), err)
        self.assertIn("do you mean /fix_issue?", err)
        self.assertEqual(self.lares("run", "/fix_issue 12")[:2], (0, "Fixed.\n"))
        [path] = pathlib.Path(self.state, "sessions").glob("*.journal")
        read = [f["params"]["ids"] for f in map(json.loads, journal.frames(str(path))) if f["method"] == "lares/appended"]
        self.assertIn("\nFix issue 12.\n</command>", "".join(bytes(i for i in ids if i < 256).decode(errors="replace") for ids in read))


if __name__ == "__main__":
    cli_case.main()
