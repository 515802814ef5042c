"""A daemon with a scripted model, and clients of its HTTP dialects over the Unix socket."""
import json
import os
import random
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True

from client import Daemon, remove_home  # noqa: E402
from unix_http import UnixConnection  # noqa: E402

EXECUTABLE = ""
NOISE = "".join(random.Random(1).choices("abcdefghij", k=3000))  # what repeats itself sooner ends by itself


def main():
    """The first argument is the scripted daemon, the others are unittest's."""
    global EXECUTABLE
    EXECUTABLE = sys.argv.pop(1)
    unittest.main()


def read_until(response, piece):
    """Reads a stream, as it is on the wire, until a line has `piece`."""
    while piece not in response.fp.readline():
        pass


def rest(response):
    """What is left of a stream on the wire; it must have its proper end."""
    left = response.fp.read()
    end = b"\r\n0\r\n\r\n"  # of the last chunk, and the empty one
    assert left.endswith(end), left[-300:]
    return left.removesuffix(end).decode()


class DialectCase(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.home = tempfile.mkdtemp(prefix="lares-dialects-")
        os.environ["LARES_TEST_CHUNK"] = "1024"
        self.daemon = None

    def tearDown(self):
        if self.daemon:
            self.daemon.stop()
        remove_home(self.home)

    def start(self, *answers):
        self.daemon = Daemon(EXECUTABLE, self.home, list(answers))

    def connect(self):
        connection = UnixConnection(self.daemon.socket)
        self.addCleanup(connection.close)
        return connection

    def ask(self, method, path, body=None):
        return self.connect().ask(method, path, body)

    def whole(self, path, **body):
        response = self.ask("POST", path, body)
        return response.status, json.loads(response.read())

    def stream(self, path, **body):
        """All of it, as text."""
        response = self.ask("POST", path, dict(body, stream=True))
        self.assertEqual(response.status, 200)
        return response.read().decode()
