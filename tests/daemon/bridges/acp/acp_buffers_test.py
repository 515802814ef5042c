"""What an editor has not saved, over `lares acp`. acp_buffers_test.py LARES SCRIPTED_DAEMON"""
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripted"))
import cli_case
from acp_case import REWIND, AcpCase, bash
from acp_client import Failed
from cli_case import THINK
from client import Client, Refused, call


class AcpBuffersTest(AcpCase):
    def test_unsaved_text_reaches_the_model_and_takes_its_edits(self):
        self.script(THINK + self.edit(), THINK + "Done.", THINK + "again", THINK + "saved")
        path = os.path.join(self.root, "a.txt")
        buffers = {path: "// mine\nalpha\nbeta\n"}

        def write(params):
            buffers[params["path"]] = params["content"]
            with open(params["path"], "w") as f:
                f.write(params["content"])
            return {}
        editor, session = self.begin(can={"fs": {"readTextFile": True, "writeTextFile": True}}, fs_read_text_file=lambda p: {"content": buffers[p["path"]]}, fs_write_text_file=write)
        link = {"type": "resource_link", "name": "a.txt", "uri": "file://" + path}
        editor.answer(editor.prompt(session, [{"type": "text", "text": "gamma in "}, link]))
        history = self.client().call("session/history", sessionId=session)["events"]
        sent = [e["params"]["content"] for e in history if e["method"] == "prompt/accepted"][0]
        self.assertRegex(sent, r'(?s)^gamma in `a.txt`\n\n<unsaved-in-editor>\n.*not saved.*<changed path="a.txt">\n.*\+// mine\n.*</changed>\n</unsaved-in-editor>$')
        while buffers[path] != self.read("a.txt"):  # it was saved before the edit, and has the edit a moment after it
            editor.step()
        self.assertEqual((buffers[path], self.read("a.txt")), ("// mine\nalpha\ngamma\n",) * 2)
        editor.answer(editor.prompt(session, "more"))  # nothing is unsaved now
        other = self.editor()
        other.initialize()
        other.call("session/load", sessionId=session, cwd=self.root, mcpServers=[])
        self.assertEqual(other.text("user_message_chunk"), "gamma in `a.txt`more")

    def holding(self, buffers, saves=True):
        """An editor that holds these texts, by path. What it has no text of is on the disk."""
        def read(params):
            if params["path"] in buffers:
                return {"content": buffers[params["path"]]}
            with open(params["path"]) as f:
                return {"content": f.read()}

        def write(params):
            buffers[params["path"]] = params["content"]
            with open(params["path"], "w") as f:
                f.write(params["content"])
            return {}
        can = {"fs": {"readTextFile": True, "writeTextFile": saves}, "session": {"notices": {}}}
        return self.begin(can=can, fs_read_text_file=read, fs_write_text_file=write)

    def output(self, editor):
        return editor.updates("tool_call_update")[-1]["rawOutput"]["output"]

    def test_view_shows_what_is_not_saved_and_commands_see_the_disk(self):
        path = os.path.join(self.root, "a.txt")
        look = THINK + call("str_replace_editor", command="view", path=path)
        self.script(look, THINK + "1", look, THINK + "2", bash("cat a.txt"), THINK + "3")
        editor, session = self.holding({path: "alpha\nbeta\nmine\n"})
        editor.answer(editor.prompt(session, "look"))
        self.assertRegex(self.output(editor), r"(?s)     3  mine\n\[The user has not saved this .*; commands and tests see the file as it is on disk\.\]")
        editor.answer(editor.prompt(session, "look again"))
        self.assertEqual(self.output(editor).splitlines()[2:], ["     3  mine", "[The user has not saved this in the editor yet.]"])  # said once
        editor.answer(editor.prompt(session, "run"))
        self.assertEqual(self.output(editor).splitlines(), ["alpha", "beta"])

    def test_an_edit_is_of_what_is_not_saved_and_can_be_taken_back_without_it(self):
        path = os.path.join(self.root, "a.txt")
        edit = call("str_replace_editor", command="str_replace", path=path, old_str="mine", new_str="ours")
        self.script(THINK + call("str_replace_editor", command="view", path=path), THINK + edit, THINK + "Done.")
        buffers = {path: "alpha\nbeta\nmine\n"}
        editor, session = self.holding(buffers)
        editor.answer(editor.prompt(session, "ours"))
        self.assertEqual((editor.updates("tool_call_update")[-1]["status"], self.read("a.txt")), ("completed", "alpha\nbeta\nours\n"))
        while buffers[path] != self.read("a.txt"):  # this editor reads nothing from the disk by itself: it is told
            editor.step()
        written = [m["params"]["content"] for m in editor.asked if m["method"] == "fs/write_text_file"]
        editor.answers["session_request_permission"] = REWIND
        self.assertEqual(written, ["alpha\nbeta\nmine\n", "alpha\nbeta\nours\n"])  # first the user's own, for the snapshot
        editor.answer(editor.prompt(session, "/rewind"))
        self.assertEqual(self.read("a.txt"), "alpha\nbeta\nmine\n")  # the edit is gone, what the user wrote is not

    def test_a_file_is_the_editors_however_its_path_is_written(self):
        path, odd = os.path.join(self.root, "a.txt"), os.path.join(self.root, ".", "a.txt")
        edit = call("str_replace_editor", command="str_replace", path=odd, old_str="mine", new_str="ours")
        self.script(THINK + call("str_replace_editor", command="view", path=odd), THINK + edit, THINK + "Done.")
        editor, session = self.holding({path: "alpha\nbeta\nmine\n"})
        editor.answer(editor.prompt(session, "ours"))
        self.assertEqual((editor.updates("tool_call_update")[-1]["status"], self.read("a.txt")), ("completed", "alpha\nbeta\nours\n"))
        self.assertEqual(self.written(editor)[0], "alpha\nbeta\nmine\n")

    def test_an_editor_that_does_not_save_keeps_its_text_and_the_disk_its_own(self):
        self.script(THINK + self.edit(), THINK + "Not done.")
        path = os.path.join(self.root, "a.txt")
        editor, session = self.holding({path: "alpha\nbeta\nmine\n"}, saves=False)
        editor.answer(editor.prompt(session, "gamma"))
        self.assertEqual(editor.updates("tool_call_update")[-1]["status"], "failed")
        self.assertRegex(self.output(editor), r"(?s)not saved, and the editor did not save them\. Ask the user to save the file.*\+mine")
        self.assertEqual(self.read("a.txt"), "alpha\nbeta\n")

    def notes(self, session):
        """Of its prompts, whether they tell of what is not saved."""
        history = self.client().call("session/history", sessionId=session)["events"]
        return ["+mine" in e["params"]["content"] for e in history if e["method"] == "prompt/accepted"]

    def test_what_a_refused_prompt_would_have_told_the_next_one_tells(self):
        path = os.path.join(self.root, "a.txt")
        self.script(THINK + "One.", THINK + "Two.")
        editor, session = self.holding({path: "alpha\nbeta\nmine\n"})
        link = {"type": "resource_link", "name": "a.txt", "uri": "file://" + path}
        with self.assertRaisesRegex(Failed, "longer than 4194304 bytes"):
            editor.answer(editor.prompt(session, [link, {"type": "text", "text": "x" * ((4 << 20) - 100)}]))
        for text in ("now", "and now"):
            editor.answer(editor.prompt(session, text))
        self.assertEqual(self.notes(session), [True, False])  # once

    def test_what_a_withdrawn_prompt_would_have_told_the_next_one_tells(self):
        path, go = os.path.join(self.root, "a.txt"), os.path.join(self.root, "go")
        self.script(bash("until [ -e go ]; do sleep 0.05; done"), THINK + "One.", THINK + "Two.", THINK + "Three.")
        buffers = {path: "alpha\nbeta\n"}
        editor, session = self.holding(buffers)
        first = editor.prompt(session, [{"type": "resource_link", "name": "a.txt", "uri": "file://" + path}])
        editor.until_update("tool_call_update", status="in_progress")
        buffers[path] += "mine\n"
        n_asked = len(editor.asked)
        waits = editor.prompt(session, "waits")
        while len(editor.asked) == n_asked:
            editor.step()
        while not any(self.notes(session)):  # the daemon has it
            pass
        editor.notify("$/cancel_request", requestId=waits)
        self.assertEqual(editor.answer(waits), {"stopReason": "cancelled"})
        open(go, "x").close()
        editor.answer(first)
        editor.answer(editor.prompt(session, "now"))
        self.assertEqual(self.notes(session)[-1], True)

    def test_an_editor_that_hands_out_lines_takes_no_newline_from_the_file(self):
        path = os.path.join(self.root, "a.txt")
        again = call("str_replace_editor", command="str_replace", path=path, old_str="mine", new_str="ours")
        self.script(THINK + self.edit(), THINK + "One.", THINK + again, THINK + "Two.")
        buffers = {path: ["alpha", "beta"]}

        def write(params):
            self.write("a.txt", params["content"])
            buffers[path] = params["content"].removesuffix("\n").split("\n")
            return {}
        can = {"fs": {"readTextFile": True, "writeTextFile": True}}
        editor, session = self.begin(can=can, fs_read_text_file=lambda _: {"content": "\n".join(buffers[path])}, fs_write_text_file=write)
        link = {"type": "resource_link", "name": "a.txt", "uri": "file://" + path}
        editor.answer(editor.prompt(session, [link]))
        self.assertEqual((self.written(editor), self.read("a.txt")), ([], "alpha\ngamma\n"))  # nothing was unsaved
        buffers[path] = ["alpha", "gamma", "mine"]
        editor.answer(editor.prompt(session, [link]))
        while buffers[path][-1] != "ours":
            editor.step()
        self.assertEqual((self.written(editor), self.read("a.txt")), (["alpha\ngamma\nmine\n", "alpha\ngamma\nours\n"], "alpha\ngamma\nours\n"))

    def test_a_file_of_another_encoding_is_edited(self):
        path = os.path.join(self.root, "a.txt")
        self.script(THINK + self.edit(), THINK + "Done.")
        with open(path, "wb") as f:
            f.write("alpha\nbeta\ncaf\u00e9\n".encode("latin-1"))
        can = {"fs": {"readTextFile": True, "writeTextFile": True}}
        editor, session = self.begin(can=can, fs_read_text_file=lambda _: {"content": pathlib.Path(path).read_text(encoding="latin-1")}, fs_write_text_file={})
        editor.answer(editor.prompt(session, [{"type": "resource_link", "name": "a.txt", "uri": "file://" + path}]))
        with open(path, "rb") as f:
            self.assertEqual(f.read(), "alpha\ngamma\ncaf\u00e9\n".encode("latin-1"))
        self.assertEqual(self.written(editor), [])

    def test_an_editor_that_opened_the_repository_through_a_link_is_asked_by_its_own_paths(self):
        opened = os.path.join(self.home, "link")
        os.symlink(self.root, opened)
        path = os.path.join(opened, "a.txt")
        self.script(THINK + self.edit(), THINK + "Done.")
        buffers = {path: "alpha\nbeta\nmine\n"}

        def write(params):
            buffers[params["path"]] = params["content"]
            self.write("a.txt", params["content"])
            return {}
        editor = self.editor(fs_read_text_file=lambda p: {"content": buffers[p["path"]]}, fs_write_text_file=write)
        editor.initialize(fs={"readTextFile": True, "writeTextFile": True})
        session = editor.call("session/new", cwd=opened, mcpServers=[])["sessionId"]
        editor.answer(editor.prompt(session, [{"type": "text", "text": "gamma in "}, {"type": "resource_link", "name": "a.txt", "uri": "file://" + path}]))
        while buffers[path] != self.read("a.txt"):
            editor.step()
        self.assertEqual((buffers, self.read("a.txt")), ({path: "alpha\ngamma\nmine\n"}, "alpha\ngamma\nmine\n"))
        history = self.client().call("session/history", sessionId=session)["events"]
        self.assertIn("gamma in `a.txt`", [e["params"]["content"] for e in history if e["method"] == "prompt/accepted"][0])
        named = {location["path"] for u in editor.updates("tool_call", "tool_call_update") for location in u.get("locations", [])}
        named |= {c["path"] for u in editor.updates("tool_call_update") for c in u.get("content", []) if c["type"] == "diff"}
        self.assertEqual(named, {path})

    def refused_for_a_busy_editor(self, prompt, read, write):
        """Of one that can save and holds text over a.txt."""
        self.script(THINK + self.edit(), THINK + "Not done.")
        can = {"fs": {"readTextFile": True, "writeTextFile": True}}
        editor, session = self.begin(can=can, fs_read_text_file=read, fs_write_text_file=write)
        editor.answer(editor.prompt(session, prompt))
        self.assertEqual(editor.updates("tool_call_update")[-1]["status"], "failed")
        self.assertIn("the editor did not save them", self.output(editor))
        self.assertEqual(self.read("a.txt"), "alpha\nbeta\n")  # where its save would have taken the edit away
        return editor

    def test_an_edit_is_refused_while_the_editor_is_still_saving(self):
        editor = self.refused_for_a_busy_editor("gamma", read={"content": "alpha\nbeta\nmine\n"}, write=None)
        self.assertEqual(self.written(editor), ["alpha\nbeta\nmine\n"])

    def test_an_editor_that_stops_answering_holds_what_it_held_last(self):
        answers = [{"content": "alpha\nbeta\nmine\n"}]
        link = {"type": "resource_link", "name": "a.txt", "uri": "file://" + os.path.join(self.root, "a.txt")}
        editor = self.refused_for_a_busy_editor([link], read=lambda _: answers.pop() if answers else None, write={})
        self.assertEqual([m["method"] for m in editor.asked if m["method"].startswith("fs/")], ["fs/read_text_file"] * 2)

    def test_an_edit_of_lines_that_the_user_changed_meanwhile_is_told(self):
        path = os.path.join(self.root, "a.txt")
        self.script(THINK + call("str_replace_editor", command="view", path=path), THINK + self.edit(), THINK + "Done.")
        n_reads = []  # since it was saved

        def read(_):
            if not os.path.exists(saved):
                return {"content": "alpha\nbeta\nmine\n"}
            n_reads.append(1)
            return {"content": self.read("a.txt") if len(n_reads) < 3 else "alpha\nBETA\nmine\n"}

        def write(params):
            self.write("a.txt", params["content"])
            open(saved, "x").close()
            return {}
        saved = os.path.join(self.home, "saved")
        can = {"fs": {"readTextFile": True, "writeTextFile": True}, "session": {"notices": {}}}
        editor, session = self.begin(can=can, fs_read_text_file=read, fs_write_text_file=write)
        editor.answer(editor.prompt(session, "gamma"))
        self.assertIn("a.txt was edited on disk, and the editor's unsaved text is without the edit", editor.until_update("notice", severity="warning")["title"])
        self.assertEqual(self.read("a.txt"), "alpha\ngamma\nmine\n")

    def test_an_edit_of_any_length_is_merged_whole_into_what_the_user_typed_meanwhile(self):
        path = os.path.join(self.root, "a.txt")
        long = "".join(f"line {n:05} of what the agent writes here\n" for n in range(1500))  # more than a diff that is shown
        edit = call("str_replace_editor", command="str_replace", path=path, old_str="alpha\n", new_str="alpha\n" + long)
        self.script(*[THINK + call("str_replace_editor", command="view", path=path), THINK + edit, THINK + "Done."] * 2)
        for ends in ("\n", "\r\n"):
            with self.subTest(ends=ends):
                self.write("a.txt", "alpha\nbeta\n")
                buffers = {path: "alpha\nbeta\nmine\n".replace("\n", ends)}

                def read(params):
                    if "line 00000" in self.read("a.txt") and "line 00000" not in buffers[path]:
                        buffers[path] = "alpha\nbeta\nmine and more\n".replace("\n", ends)
                    return {"content": buffers[path]}

                def write(params):
                    buffers[path] = params["content"]
                    with open(path, "w", newline="") as f:
                        f.write(params["content"])
                    return {}
                can = {"fs": {"readTextFile": True, "writeTextFile": True}}
                editor, session = self.begin(can=can, fs_read_text_file=read, fs_write_text_file=write)
                editor.answer(editor.prompt(session, "write"))
                while len(self.written(editor)) < 2:
                    editor.step()
                with open(path, newline="") as f:
                    self.assertEqual(f.read(), ("alpha\n" + long + "beta\nmine and more\n").replace("\n", ends))
                editor.close()

    def test_a_command_does_not_touch_what_is_not_saved(self):
        self.script(bash("sed -i s/beta/gamma/ a.txt"), THINK + "Done.")
        path = os.path.join(self.root, "a.txt")
        editor, session = self.holding({path: "alpha\nBETA\n"})
        link = {"type": "resource_link", "name": "a.txt", "uri": "file://" + path}
        editor.answer(editor.prompt(session, [link]))
        self.assertEqual(self.read("a.txt"), "alpha\ngamma\n")
        self.assertEqual([m for m in editor.asked if m["method"] == "fs/write_text_file"], [])

    def written(self, editor):
        return [m["params"]["content"] for m in editor.asked if m["method"] == "fs/write_text_file"]

    def test_a_text_that_the_editor_has_not_read_again_is_nobodys(self):
        path = os.path.join(self.root, "a.txt")
        self.script(THINK + call("str_replace_editor", command="view", path=path), bash("sed -i s/alpha/ALPHA/ a.txt"), THINK + self.edit(), THINK + "Done.", THINK + "again")
        editor, session = self.holding({path: "alpha\nbeta\n"})  # as it is on disk, and not read again
        editor.answer(editor.prompt(session, "gamma"))
        self.assertEqual((editor.updates("tool_call_update")[-1]["status"], self.read("a.txt")), ("completed", "ALPHA\ngamma\n"))
        editor.answer(editor.prompt(session, "more"))
        self.assertEqual((self.written(editor), self.read("a.txt")), ([], "ALPHA\ngamma\n"))
        sent = [e["params"]["content"] for e in self.client().call("session/history", sessionId=session)["events"] if e["method"] == "prompt/accepted"]
        self.assertEqual(sent, ["gamma", "more"])  # and the model is told nothing

    def test_a_text_that_was_saved_and_is_stale_now_takes_no_edit_over_others_changes(self):
        path = os.path.join(self.root, "a.txt")
        change = call("str_replace_editor", command="str_replace", path=path, old_str="mine", new_str="ours")
        self.script(THINK + call("str_replace_editor", command="view", path=path), THINK + self.edit(), THINK + "One.", bash("sed -i s/alpha/ALPHA/ a.txt"), THINK + change, THINK + "Two.", THINK + "Three.")
        buffers = {path: "alpha\nbeta\nmine\n"}
        editor, session = self.holding(buffers)
        editor.answer(editor.prompt(session, "gamma"))
        while buffers[path] != self.read("a.txt"):
            editor.step()
        written = self.written(editor)
        editor.answer(editor.prompt(session, "ours"))
        editor.answer(editor.prompt(session, "more"))  # by now all that the edit brought has been heard
        self.assertEqual((self.read("a.txt"), self.written(editor)), ("ALPHA\ngamma\nours\n", written))

    def test_what_both_sides_changed_is_written_over_neither(self):
        path = os.path.join(self.root, "a.txt")
        self.script(bash("sed -i s/alpha/ALPHA/ a.txt"), THINK + self.edit(), THINK + "Not done.")
        editor, session = self.holding({path: "alpha\nbeta\nmine\n"})
        link = {"type": "resource_link", "name": "a.txt", "uri": "file://" + path}
        editor.answer(editor.prompt(session, [link]))
        self.assertEqual((editor.updates("tool_call_update")[-1]["status"], self.read("a.txt"), self.written(editor)), ("failed", "ALPHA\nbeta\n", []))
        self.assertTrue([n for n in editor.updates("notice") if "a.txt was changed on disk, and the editor holds another" in n["title"]])

    def test_an_edit_is_not_written_over_by_a_text_that_was_typed_on_without_it(self):
        path = os.path.join(self.root, "a.txt")
        first = call("str_replace_editor", command="str_replace", path=path, old_str="alpha", new_str="ALPHA")
        self.script(THINK + first, THINK + self.edit(), THINK + "Not done.")

        def read(_):  # it does not read again what is edited on disk, and the user types on
            return {"content": "alpha\nbeta\n" + ("mine\n" if self.read("a.txt").startswith("ALPHA") else "")}
        can = {"fs": {"readTextFile": True, "writeTextFile": True}, "session": {"notices": {}}}
        editor, session = self.begin(can=can, fs_read_text_file=read, fs_write_text_file=lambda p: self.write("a.txt", p["content"]) or {})
        editor.answer(editor.prompt(session, "both"))
        self.assertEqual([u["status"] for u in editor.updates("tool_call_update") if u.get("status") in ("completed", "failed")], ["completed", "failed"])
        self.assertEqual((self.read("a.txt"), self.written(editor)), ("ALPHA\nbeta\n", []))
        self.assertTrue([n for n in editor.updates("notice") if "a.txt was changed on disk, and the editor holds another" in n["title"]])

    def test_of_a_file_changed_since_the_start_and_not_seen_before_nothing_is_written_over(self):
        path = os.path.join(self.root, "a.txt")
        self.script(bash("sed -i s/alpha/ALPHA/ a.txt"), THINK + self.edit(), THINK + "Not done.")
        editor, session = self.holding({path: "alpha\nbeta\n"})
        editor.answer(editor.prompt(session, "gamma"))
        self.assertEqual((editor.updates("tool_call_update")[-1]["status"], self.read("a.txt"), self.written(editor)), ("failed", "ALPHA\nbeta\n", []))

    def test_an_editor_that_leaves_while_it_is_asked_keeps_no_tool_waiting(self):
        path = os.path.join(self.root, "a.txt")
        self.script(THINK + call("str_replace_editor", command="view", path=path), THINK + "Seen.")
        editor, session = self.begin(can={"fs": {"readTextFile": True}}, fs_read_text_file=None)
        editor.prompt(session, "look")
        editor.until_asked("fs/read_text_file")
        editor.process.kill()
        client = self.client()
        client.call("session/subscribe", sessionId=session, after=0)
        ended = client.until("turn/ended")
        self.assertEqual(ended[-1]["params"]["reason"], "end_turn")

    def test_what_the_daemon_refuses_of_an_editors_text(self):
        editor, session = self.begin()
        client = self.client()
        for params, why in (({"path": "a.txt", "text": 1}, "text one or null"), ({"text": "x"}, "path must be a string"), ({"path": "/etc/passwd"}, "relative to the session's root"),
                            ({"path": "../x"}, "inside it"), ({"path": "a.txt", "text": "x" * (5 << 20)}, "4194304 at most are kept")):
            with self.assertRaisesRegex(Refused, why):
                client.call("session/overlay", sessionId=session, **params)
        client.call("session/overlay", sessionId=session, path="..x", text="x")
        with self.assertRaisesRegex(Refused, "session/subscribe comes first"):
            client.call("session/hold_files", sessionId=session)
        watcher = Client(self.socket, role="observe")
        self.addCleanup(watcher.close)
        with self.assertRaisesRegex(Refused, "observe"):
            watcher.call("session/overlay", sessionId=session, path="a.txt", text="x")


if __name__ == "__main__":
    cli_case.main()
