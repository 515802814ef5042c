"""The Neovim example, without a window: a turn in its buffer, and the edited file in another. neovim_test.py LARES SCRIPTED_DAEMON"""
import os
import pathlib
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripted"))
import cli_case
from cli_case import THINK, CliCase

EXAMPLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "..", "daemon", "install", "neovim", "lares.lua")
DRIVE = """
local lares = dofile(arg_example)
vim.cmd("edit a.txt")
local file = vim.api.nvim_get_current_buf()
vim.api.nvim_buf_set_lines(file, 0, 0, true, { "mine" })  -- and not saved
vim.cmd("Lares make it gamma")
vim.wait(60000, function() return lares.ended ~= nil end, 10)
print("ended " .. tostring(lares.ended))
for _, buffer in ipairs({ 0, file }) do print(table.concat(vim.api.nvim_buf_get_lines(buffer, 0, -1, true), "\\n")) end
vim.cmd("qall!")
"""


class NeovimTest(CliCase):
    @unittest.skipUnless(shutil.which("nvim"), "SKIPPED: nvim is not installed")
    def test_a_turn_in_a_buffer(self):
        # The first edit is told of the line that is not saved, and saves it.
        self.start("Look</think>I change it." + self.edit(), THINK + "Again." + self.edit(), THINK + "Done.")
        drive = os.path.join(self.home, "drive.lua")
        with open(drive, "w") as f:
            f.write(f'local arg_example = "{EXAMPLE}"' + DRIVE)
        p = subprocess.run(["nvim", "--headless", "-u", "NONE", "-i", "NONE", "-c", "luafile " + drive], cwd=self.root, env=dict(self.env(), HOME=self.home),
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=100)
        out = p.stdout.decode().replace("\r", "")
        self.assertRegex(out, r"(?s)ended end_turn.*# make it gamma\n.*Look\nI change it\.\n> str_replace_editor .*Done\.\n> end_turn.*\nmine\nalpha\ngamma")
        self.assertEqual(self.read("a.txt"), "mine\nalpha\ngamma\n")


if __name__ == "__main__":
    cli_case.main()
