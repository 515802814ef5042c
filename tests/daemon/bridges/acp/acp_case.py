"""What tests of `lares acp` share: an editor at one end, a daemon with a scripted model at the other."""
import json
import os
import shutil
import subprocess

import cli_case
from acp_client import Editor
from cli_case import THINK, CliCase
from client import Client, call

SELECTED = {"outcome": {"outcome": "selected", "optionId": "once"}}
REWIND = {"outcome": {"outcome": "selected", "optionId": "rewind"}}


def bash(command):
    return THINK + call("bash", command=command)


class AcpCase(CliCase):
    def setUp(self):
        super().setUp()
        subprocess.run(["git", "init", "-q", self.root], check=True)
        # A `lares` that starts a daemon with this script's model, as it starts laresd.
        self.bin = os.path.join(self.home, "bin")
        os.makedirs(self.bin)
        shutil.copy(cli_case.LARES, self.bin)
        self.script()
        self.install_daemon()
        self.editors = []

    def tearDown(self):
        for editor in self.editors:
            editor.process.kill()
            editor.close()
        super().tearDown()

    def install_daemon(self, environment=""):
        with open(os.path.join(self.bin, "laresd"), "w") as f:
            f.write(f'#!/bin/sh\n{environment} exec "{cli_case.EXECUTABLE}" "$2" "$4" "{self.home}/script.json"\n')
        os.chmod(f.name, 0o700)

    def script(self, *answers):
        with open(os.path.join(self.home, "script.json"), "w", encoding="utf-8") as f:
            json.dump([a if isinstance(a, dict) else {"text": a} for a in answers], f)

    def editor(self, *args, **answers):
        editor = Editor([os.path.join(self.bin, "lares"), "acp", *args], self.env(), self.home, **answers)
        self.editors.append(editor)
        return editor

    def begin(self, *args, can=None, **answers):
        """An editor with a session."""
        editor = self.editor(*args, **answers)
        editor.initialize(**(can or {}))
        return editor, self.new(editor)["sessionId"]

    def new(self, editor):
        return editor.call("session/new", cwd=self.root, mcpServers=[])

    def client(self):
        client = Client(self.socket)
        self.addCleanup(client.close)
        return client

    def shut_down(self):
        """Ends the daemon; its process id."""
        client = self.client()
        client.send("server/shutdown", when="now")
        while client.read():
            pass
        return client.greeting["pid"]

    def socket_is_there(self):
        return os.path.exists(self.socket)
