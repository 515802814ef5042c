"""The line that is typed in at `lares`: history, pastes, tall and wide text, keys. terminal_line_test.py LARES SCRIPTED_DAEMON
[unittest arguments]"""
import os
import stat
import subprocess
import time

import terminal_case
from client import call
from terminal_case import THINK, CTRL_C, CTRL_R, UP, DOWN, LEFT, HOME, TerminalCase


class TerminalLineTest(TerminalCase):
    def test_history_is_there_in_the_next_run_and_is_private(self):
        self.start(THINK + "One.", THINK + "Two.", THINK + "Three.")
        t = self.open()
        for prompt, answer in (("first task", "One"), ("second task\\\rin two lines", "Two")):
            t.write(prompt + "\r")
            t.until(answer + ".*finished")
        self.leave(t)
        directory = os.path.join(self.state, "history")
        file, = os.listdir(directory)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.join(directory, file)).st_mode), 0o600)
        t = self.open()
        t.write(UP)
        t.until("second task\nin two lines$")
        t.write(UP + UP)  # up in the text, then to the one before
        t.until("› first task$")
        t.write("\x1b[B\x1b[B\x1b[B")
        t.until("› ?$")
        t.write(CTRL_R + "rst t")
        t.until(r"search 'rst t': first task$")
        t.write("\r")
        t.until("Three.*finished")
        self.assertEqual(self.prompts()[-1][0], "first task")
        t.write("draft" + CTRL_R + "second")
        t.until(r"search 'second': second task")
        t.write("x")  # nothing that is not shown is sent
        t.until(r"no prompt has 'secondx': draft$")
        t.write("\x7f")
        t.until(r"search 'second': second task")
        t.write("\x07")
        t.until(r"› draft$")
        t.write(CTRL_C)
        t.until("› ?$")
        self.leave(t)

    def test_an_earlier_prompt_comes_back_to_be_edited(self):
        self.start(THINK + "One.", THINK + "Two.", THINK + "Three.")
        t = self.open(height=40)
        written = "\n".join(f"line {i} of what was written by hand, in words that one would like to see again" for i in range(12))
        t.write(f"\x1b[200~{written}\x1b[201~")
        t.until(r"\[pasted 12 lines #1\]$")
        t.write("\r")
        t.until("One.*finished.*› ?$")
        t.write(UP)
        t.until("› line 0 of what.*line 11 of what was written by hand, in words that one would like to see again$")
        t.write(", and more\r")
        t.until("Two.*finished.*› ?$")
        t.write("\x1b[200~" + "x\n" * 41 + "\x1b[201~\r")
        t.until("Three.*finished.*› ?$")
        t.write(UP)  # that would not be read in the line
        t.until(r"\[pasted 41 lines #1\]$")
        t.write(CTRL_C)
        self.assertEqual([p[0] for p in self.prompts()], [written, written + ", and more", "x\n" * 41])
        self.leave(t)

    def test_only_what_was_pasted_is_folded_when_it_comes_back(self):
        self.start(THINK + "One.", THINK + "Two.", THINK + "Three.")
        paste = "\n".join(f"line {i}" for i in range(200))
        t = self.open()
        t.write(f"START \x1b[200~{paste}\x1b[201~ [pasted 200 lines #1] \x1b[200~{paste}x\x1b[201~ END\r")
        t.until(r"One\..*finished.*› ?$")
        t.write(UP)
        folded = r"START \[pasted 200 lines #1\] \[pasted 200 lines #1\] \[pasted 200 lines #2\]\s+END"
        sent = f"START {paste} {paste} {paste}x END"  # what is typed like a token is one
        t.until(folded + "$")
        t.write(" again\r")
        t.until(r"Two\..*finished.*› ?$")
        self.leave(t)
        t = self.open(width=160)  # out of the file
        t.write(CTRL_R + "START")
        t.until("search 'START': " + folded + " again$")
        t.write("\r")
        t.until(r"Three\..*finished.*› ?$")
        self.leave(t)
        said = [e for s in self.listed() for e in self.prompts_of(s["sessionId"])]
        self.assertEqual(sorted(said), sorted([sent, sent + " again", sent + " again"]))

    def test_answers_are_no_prompts_to_come_back_to(self):
        self.start(THINK + call("bash", command="git reset --hard"), THINK + call("ask_user", question="Which key?"), THINK + "Done.")
        t = self.open()
        t.write("Do it.\r")
        t.until(r"allow\? › ?$")
        t.write("y\r")
        t.until(r"answer › ?$")
        t.write("a secret\r")
        t.until(r"Done.*finished.*› ?$")
        t.write(UP)
        t.until("› Do it.$")
        t.write(CTRL_C)
        self.leave(t)

    def test_a_paste_of_many_lines_is_text_and_not_sent(self):
        self.start(THINK + "One.", THINK + "Two.")
        t = self.open()
        t.write("say \x1b[200~a\rb\tc\r\x1b[31md\x1b[201~ end")
        t.until("say a\nb +c\n.*d end$")
        t.write("\r")
        t.until("One.*finished")
        long = "\n".join(f"line {i}" for i in range(40))
        t.write(f"x \x1b[200~{long}\x1b[201~ y")
        t.until(r"x \[pasted 40 lines #1\] y$")
        t.write("\r")
        t.until("Two.*finished")
        self.assertEqual([p[0] for p in self.prompts()], ["say a\nb\tc\n[31md end", f"x {long} y"])
        self.leave(t)

    def test_an_edited_entry_of_the_history_stays_edited(self):
        self.start(THINK + "One.", THINK + "Two.", THINK + "Three.")
        t = self.open()
        for prompt, answer in (("first", "One"), ("second", "Two")):
            t.write(prompt + "\r")
            t.until(answer + ".*finished")
        t.write("draft" + UP + " changed")
        t.until("› second changed$")
        t.write(UP)
        t.until("› first$")
        t.write(DOWN)
        t.until("› second changed$")
        t.write(DOWN)
        t.until("› draft$")
        t.write(UP + "\r")
        t.until("Three.*finished")
        self.assertEqual(self.prompts()[-1][0], "second changed")
        t.write(UP + UP)
        t.until("› second$")
        t.write(CTRL_C)
        t.until("› ?$")
        self.leave(t)

    def test_text_taller_than_the_terminal_is_seen_around_the_cursor(self):
        self.start(THINK + "One.", THINK + "Two.")
        t = self.open(height=12)
        lines = [f"l{i}" for i in range(20)]
        t.write("\x1b\r".join(lines))
        t.until("l18\nl19$")
        self.assertEqual(t.screen.lines(), lines[8:])
        t.write(UP * 15 + "here")
        lines[4] += "here"
        t.until(lambda _: t.screen.lines() == lines[4:16])
        self.assertEqual((t.screen.y, t.screen.x), (0, len("l4here")))
        t.write(DOWN * 3 + "there")
        lines[7] += "there"
        t.until(lambda _: t.screen.lines() == lines[4:16])
        self.assertEqual((t.screen.y, t.screen.x), (3, len("l7there")))
        t.write(UP * 7 + HOME + "first ")  # with the mark before it
        lines[0] = "first " + lines[0]
        t.until(lambda _: t.screen.lines() == ["› " + lines[0]] + lines[1:12])
        t.write("\r")
        t.until("One.*finished.*› ?$")
        self.assertEqual(self.prompts()[-1][0], "\n".join(lines))
        t.write("w" * 80 * 12)  # one line of many rows, that then fits again
        t.until(lambda _: t.screen.lines()[:11] == ["w" * 80] * 11 and t.screen.lines()[11] == "ww")
        t.write("\x7f" * 100)
        t.until(lambda _: t.screen.lines()[10:] == ["w" * 62, ""] and (t.screen.y, t.screen.x) == (10, 62))
        t.write("!\r")
        t.until("Two.*finished.*› ?$")
        self.assertEqual(self.prompts()[-1][0], "w" * 860 + "!")
        self.leave(t)

    def test_tab_completes_commands_and_names_of_files(self):
        for path in ("src/main.cc", "src/make/übung.py", "src/.hidden", "docs/deep/manual.md"):
            os.makedirs(os.path.dirname(os.path.join(self.root, path)), exist_ok=True)
            open(os.path.join(self.root, path), "w").close()
        os.rmdir(os.path.join(self.root, ".git"))
        for command in (["init", "-q"], ["add", "-A"]):
            subprocess.run(["git", *command], cwd=self.root, check=True)
        self.start(THINK + "One.")
        t = self.open()
        t.write("/thi\t")
        t.until("› /thinking ?$")
        t.write(CTRL_C + "see src/\t")
        t.until("see src/ma$")
        t.write("\t")
        t.until("src/main.cc  src/make/\n› see src/ma$")
        t.write("k\t\t (@a.\t")
        t.until("see src/make/übung.py \\(@a.txt$")
        t.write(", manual\t and nothing-like-it\t")
        t.until("@a.txt, docs/deep/manual.md and nothing-like-it$")
        t.write(HOME + "see s\t")  # what stands behind the cursor stays there
        t.until("› see src/see src/make/")
        t.write("\r")
        t.until("One.*finished")
        self.assertEqual(self.prompts()[0][0], "see src/see src/make/übung.py (@a.txt, docs/deep/manual.md and nothing-like-it")
        self.leave(t)

    def test_tab_completes_what_follows_a_command(self):
        os.rmdir(os.path.join(self.root, ".git"))
        git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
        for command in (["init", "-q", "-b", "trunk"], ["add", "-A"], ["commit", "-q", "-m", "first"], ["branch", "feature/one"], ["branch", "feature/two"]):
            subprocess.run([*git, *command], cwd=self.root, check=True)
        self.start(THINK + "One.", THINK + "Two.")
        t = self.open()
        for topic, answer in (("The first topic.", "One"), ("The second topic.", "Two")):
            t.write(topic + "\r")
            t.until(answer + r"\..*finished.*› ?$")
            t.write("/new\r")
            t.until("begins a new session.*› ?$")
        t.write("/policy \t")
        t.until(r"\nauto       Works on its own[^\n]*\n.*\nread-only  Changes nothing[^\n]*\n› /policy ?$")
        t.write("pl\t")
        t.until("› /policy plan$")
        t.write(CTRL_C + "/review trunk..f\t")
        t.until(r"› /review trunk\.\.feature/$")
        t.write("\t")
        t.until(r"\nfeature/one  feature/two\n› /review trunk\.\.feature/$")
        t.write("o\t")
        t.until(r"› /review trunk\.\.feature/one$")
        second, first = (s["sessionId"] for s in self.listed())
        t.write(CTRL_C + "/resume \t")
        t.until(rf"\n{second} +\d+\w  The second topic\.\n{first} +\d+\w  The first topic\.\n› /resume ?$")
        t.write(first[:6] + "\t\r")
        t.until(rf"session {first} · 1 turn.*The first topic\..*One\..*› ?$")
        self.leave(t)

    def test_tab_completes_names_with_blanks_untracked_files_and_other_capitals(self):
        for path in ("dir with space/file one.txt", "dir with space/two.txt", "READ ME.md", "ignored.log", ".gitignore", "deep/down/fresh_notes.md"):
            os.makedirs(os.path.dirname(os.path.join(self.root, path)), exist_ok=True)
            with open(os.path.join(self.root, path), "w") as f:
                f.write("*.log\n" if path == ".gitignore" else "")
        os.rmdir(os.path.join(self.root, ".git"))
        for command in (["init", "-q"], ["add", "a.txt", ".gitignore"]):
            subprocess.run(["git", *command], cwd=self.root, check=True)
        self.start(THINK + "One.")
        t = self.open(width=160)
        t.write("@dir\t")
        t.until(r'› @"dir with space/$')
        t.write("\t")
        t.until(r'dir with space/file one\.txt  dir with space/two\.txt\n› @"dir with space/$')
        t.write("f\t")
        t.until(r'› @"dir with space/file one\.txt"$')
        t.write(" read\t")
        t.until(r'one\.txt" "READ ME\.md"$')
        t.write(' says "fresh\t')  # a quote of the text itself, and nobody tracks the file
        t.until(r'says "deep/down/fresh_notes\.md"$')
        t.write(" gnored\t")
        t.until(r" gnored$")
        t.write(" A.T\t\r")
        t.until(r"One\..*finished")
        self.assertEqual(self.prompts()[0][0], '@"dir with space/file one.txt" "READ ME.md" says "deep/down/fresh_notes.md" gnored a.txt')
        self.leave(t)

    def editor(self, script):
        path = os.path.join(self.home, "my editor")
        with open(path, "w") as f:
            f.write("#!/bin/sh\n" + script)
        os.chmod(path, 0o755)
        return f"'{path}'"

    def test_the_line_is_edited_in_the_persons_editor(self):
        paste = "\n".join(f"line {i}" for i in range(50))
        editor = self.editor('test -t 0 && test -t 1 || exit 3\nstat -c "%a %n" "${1%/*}" "$1" > seen; cp "$1" got\nprintf "edited\\r\\033 two\\n\\n\\n" > "$1"\n')
        self.start(THINK + "One.")
        t = self.open(VISUAL=editor, EDITOR="false")
        t.write(f"say \x1b[200~{paste}\x1b[201~ so")
        t.until(r"say \[pasted 50 lines #1\] so$")
        t.write("\x18\x05")
        t.until(r"› edited\n two$")
        self.assertEqual(self.read(os.path.join(self.root, "got")), f"say {paste} so\n")
        directory, file = self.read(os.path.join(self.root, "seen")).splitlines()
        self.assertEqual((directory[:4], file[:4]), ("700 ", "600 "))
        self.assertFalse(os.path.exists(directory[4:]))
        t.write("end\r")
        t.until(r"One\..*finished.*› ?$")
        self.assertEqual(self.prompts()[0][0], "edited\n two\n\nend")
        self.leave(t)

    def test_an_editor_that_fails_changes_nothing(self):
        self.start()
        for editor, told in ((self.editor('echo lost > "$1"\nexit 2\n'), "exit status 2; the line is as it was"),
                             ("/nonexistent/editor", "set VISUAL or EDITOR to an editor")):
            t = self.open(width=160, VISUAL="", EDITOR=editor)
            t.write("a draft\x07")
            t.until(rf"edit the line: run .*: .*{told}.*› a draft$")
            t.write(CTRL_C)
            t.until("› ?$")
            self.leave(t)

    def test_alt_enter_ctrl_j_and_a_backslash_begin_a_new_line(self):
        self.start(THINK + "One.")
        t = self.open()
        t.write("a\x1b\rb\\\rc\nd")
        t.until("› a\nb\nc\nd$")
        t.write("\r")
        t.until("One.*finished")
        self.assertEqual(self.prompts()[0][0], "a\nb\nc\nd")
        self.leave(t)

    def test_a_line_end_of_a_paste_is_one_however_it_is_written(self):
        self.start(THINK + "One.")
        t = self.open()
        t.write("\x1b[200~a\r\nb\rc\n\r\nd\x1b[201~")
        t.until("› a\nb\nc\n\nd$")
        t.write("\r")
        t.until("One.*finished")
        self.assertEqual(self.prompts()[0][0], "a\nb\nc\n\nd")
        self.leave(t)

    def test_what_is_typed_ahead_is_sent(self):
        self.start(THINK + "One.")
        t = self.open(ahead="Early.\r")
        t.until("One.*finished")
        t.write("one\nmore")  # from here on Ctrl-J is itself
        t.until("› one\nmore$")
        t.write(CTRL_C)
        self.assertEqual(self.prompts()[0][0], "Early.")
        t.until("› ?$")
        self.leave(t)

    def test_wide_letters_are_edited_where_they_stand(self):
        self.start(THINK + "好的。")
        t = self.open(width=40)
        t.write("漢字とemoji 🎉 ok")
        t.until("› 漢字とemoji 🎉 ok$")
        t.write(LEFT * 3 + "é" + HOME + "ü")
        t.until("› ü漢字とemoji 🎉é ok$")
        t.write("\r")
        t.until("好的。.*finished.*› ?$")
        self.assertEqual(self.prompts()[0][0], "ü漢字とemoji 🎉é ok")
        t.write("x" + "漢" * 60)  # over the edge of the screen, where half a letter does not fit
        t.until("› x" + "漢" * 18 + "\n" + "漢" * 20 + "\n" + "漢" * 20 + "\n漢漢$")
        t.write(CTRL_C)
        self.assertNotIn("漢漢", t.until("finished.*› ?$"))
        self.leave(t)

    def test_an_accent_of_its_own_stays_with_its_letter(self):
        self.start(THINK + "One.")
        t = self.open(width=30)
        t.write("e\u0301ab " + "long words " * 3)
        t.until("words ?$")
        t.write(HOME + "x")
        t.until("› xeab long")  # the test's terminal shows no accents
        t.write("\x1b[C" * 4 + "\x7f")
        t.until("› xea long")
        self.assertIn("xe\u0301a long", t.bytes.decode().rsplit("› ", 1)[1])
        t.write("\r")
        t.until("One.*finished")
        self.assertEqual(self.prompts()[0][0], "xe\u0301a " + "long words " * 3)
        self.leave(t)

    def test_unknown_keys_and_broken_bytes_leave_nothing(self):
        self.start(THINK + "One.")
        t = self.open()
        t.write(b"a\x1b[25~\x1b[1;7Q\x1bOP\xff\x80b")
        t.until("› a\ufffd+b$")
        t.write(CTRL_C)
        t.until("› ?$")
        t.write(b"\xe6")
        t.write(b"\xbc")
        t.write(b"\xa2\x1b")
        t.write(b"[D<")
        t.until("› <漢$")
        t.write(CTRL_C)
        t.until("› ?$")
        self.leave(t)

    def test_an_escape_is_over_when_nothing_follows_at_once(self):
        self.start(THINK + "One.")
        t = self.open()
        t.write(b"a\x1b")
        t.until("› a$")
        time.sleep(1)  # nothing shows that it is over
        t.write(b"b")
        t.until("› ab$")
        t.write(b"\x1bb<")  # at once it is a Meta key: a word to the left
        t.until("› <ab$")
        t.write(CTRL_C)
        t.until("› ?$")
        self.leave(t)

    def test_the_size_changes_while_one_types(self):
        self.start(self.gated(THINK + "One two three four five six seven eight nine ten eleven twelve."))
        t = self.open()
        t.write("words that will not fit into one row of forty columns")
        t.until("columns$")
        t.resize(40, 15)
        t.until("words that will not fit into one row o\nf forty columns$")
        t.write(HOME + "many ")  # the editor knows where its rows end now; nothing else draws them anew
        t.until("› many words that will not fit into one ?\n ?row of forty columns$")
        t.resize(100, 30)
        t.until("› many words that will not fit into one row of forty columns$")
        t.write(CTRL_C)
        t.until("› ?$")
        t.write("Go.\r")
        t.until("turn ")
        t.write("typed meanwhile, also longer than forty columns")
        t.until("columns$")
        t.resize(40, 15)
        t.until(r"turn \d+s\n› typed meanwhile, also longer than fort\ny columns$")
        self.open_gate()
        text = t.until("twelve.*finished.*› typed meanwhile, also longer than fort\ny columns$")
        self.assertEqual(text.count("typed meanwhile"), 1, text)
        t.write(CTRL_C)
        t.until("› ?$")
        self.leave(t)

    def test_the_width_changes_on_a_terminal_that_joins_and_splits_rows(self):
        text = "typing a longer line that I have in mind while it runs and it goes beyond the width"
        self.start()
        t = self.open()
        greeting = t.screen.lines()[0].split("/repo")[0][:19]
        t.write(text)
        t.until("beyond the\nwidth$")
        for width in 40, 120, 30, 20, 60, 80:
            drawn = len(t.bytes)
            t.reflow(width)
            rows, line = [], "› " + text
            while line:
                rows, line = rows + [line[:width].rstrip()], line[width:]
            t.until(lambda shown: len(t.bytes) > drawn and shown.endswith("\n".join(rows)))
            shown = t.screen.text()
            self.assertEqual((shown.count("typing a"), shown.count(greeting), shown.count("width")), (1, 1, 1), shown)
        t.write(CTRL_C)
        self.leave(t)


if __name__ == "__main__":
    terminal_case.main()
