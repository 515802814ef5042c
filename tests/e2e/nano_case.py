"""laresd with nano, and requests to it over HTTP."""
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "daemon", "scripted"))
sys.dont_write_bytecode = True

from client import remove_home  # noqa: E402
from unix_http import UnixConnection  # noqa: E402


class NanoCase(unittest.TestCase):
    BIN = ""  # where laresd is
    ARGUMENTS = ()  # more of its

    @classmethod
    def setUpClass(cls):
        cls.home = os.path.realpath(tempfile.mkdtemp(prefix="lares-nano-"))
        cls.addClassCleanup(remove_home, cls.home)
        cls.socket = os.path.join(cls.home, "run", "s")
        env = {k: v for k, v in os.environ.items() if not k.startswith("LARES_")} | {"XDG_CONFIG_HOME": os.path.join(cls.home, "config")}
        cls.daemon = subprocess.Popen([os.path.join(cls.BIN, "laresd"), "--socket", cls.socket, "--state-dir", os.path.join(cls.home, "state"), *cls.ARGUMENTS], env=env, stderr=subprocess.DEVNULL)
        cls.addClassCleanup(cls.end)
        while not os.path.exists(cls.socket):
            if cls.daemon.poll() is not None:
                raise AssertionError(f"laresd ended with status {cls.daemon.returncode}")
            time.sleep(0.02)

    @classmethod
    def end(cls):
        cls.daemon.terminate()
        if status := cls.daemon.wait():
            raise AssertionError(f"laresd ended with status {status}")

    def ask(self, method, path, body=None):
        """Its status and all that it said."""
        connection = UnixConnection(self.socket, timeout=240)
        response = connection.ask(method, path, body)
        text = response.read()
        connection.close()
        return response.status, text

    def post(self, path, **body):
        status, text = self.ask("POST", path, {"model": "deepseek-v4-flash", **body})
        self.assertEqual(status, 200, text)
        return json.loads(text)
