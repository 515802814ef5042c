"""One daemon that uses another as its engine, both with nano: what it says greedily is what the other would have said by itself, in answers,
under a schema and in a session that reads files; and what happens where the other one goes away. remote_test.py BIN"""
import concurrent.futures
import json
import os
import shutil
import signal
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

BIN = ""
ROOT = "/tmp/lares-remote-shop"  # always the same: nano's answers hang on every token of the path
QUESTION = "Which function adds two numbers? " + "Look at every file. " * 40


class Lares:
    """A daemon in a home of its own."""

    def __init__(self, test, key="", **settings):
        self.home = os.path.realpath(tempfile.mkdtemp(prefix="lares-remote-"))
        test.addCleanup(remove_home, self.home)
        self.socket, self.state = os.path.join(self.home, "run", "s"), os.path.join(self.home, "state")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("LARES_")} | {
            "XDG_CONFIG_HOME": os.path.join(self.home, "config"), "LARES_SOCKET": self.socket, "LARES_STATE_DIR": self.state} | settings
        if key:
            os.makedirs(os.path.join(self.home, "config", "lares"))
            with open(os.path.join(self.home, "config", "lares", "remote-key"), "w", encoding="utf-8", opener=lambda *a: os.open(*a, 0o600)) as f:
                f.write(key)
        self.process = None
        self.start()
        test.addCleanup(self.end)

    def start(self, *arguments):
        with open(os.path.join(self.home, "log"), "a", encoding="utf-8") as log:
            self.process = subprocess.Popen([os.path.join(BIN, "laresd"), *arguments], env=self.env, stderr=log)
        while not os.path.exists(self.socket):
            if self.process.poll() is not None:
                raise AssertionError(f"laresd ended with status {self.process.returncode}")
            time.sleep(0.02)

    def end(self):
        self.process.terminate()
        if status := self.process.wait():
            raise AssertionError(f"laresd ended with status {status}: {self.log()}")

    def lares(self, *args, cwd=None):
        return subprocess.run([os.path.join(BIN, "lares"), *args], cwd=cwd or self.home, env=self.env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=240)

    def status(self):
        until = time.monotonic() + 60
        while True:
            status = json.loads(self.lares("status", "--json").stdout)
            if status["engine"]["state"] != "loading":
                return status
            if time.monotonic() > until:
                raise AssertionError("it loads and loads")
            time.sleep(0.05)

    def post(self, path, **body):
        connection = UnixConnection(self.socket, timeout=240)
        response = connection.ask("POST", path, {"model": "deepseek-v4-flash", **body})
        answer = json.loads(response.read())
        connection.close()
        return response.status, answer

    def key(self):
        with open(os.path.join(self.state, "api-token"), encoding="utf-8") as f:
            return f.read()

    def log(self):
        with open(os.path.join(self.home, "log"), encoding="utf-8") as f:
            return f.read()


class Remote(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Lares(cls, LARES_LISTEN="127.0.0.1:0")
        http = cls.server.status()["http"]
        cls.address = http
        cls.client = Lares(cls, key=cls.server.key(), LARES_REMOTE="http://" + http)

    @classmethod
    def addCleanup(cls, *what):  # of both
        cls.addClassCleanup(*what)

    def both(self, path, **body):
        answers = [daemon.post(path, **body) for daemon in (self.server, self.client)]
        self.assertEqual([status for status, _ in answers], [200, 200], answers)
        return [answer for _, answer in answers]

    def test_it_says_where_it_is_computed(self):
        status = self.client.status()
        self.assertEqual(status["engine"]["state"], "ready", status)
        self.assertIn(f"at {self.address} computes it: what the model reads goes there, unencrypted", status["engine"]["message"])
        self.assertIn("computes it", self.client.lares("status").stdout.decode())
        self.assertIn("computes it", self.client.lares("doctor").stdout.decode())
        self.assertNotIn("tokenize", status["engine"]["message"])  # they were compared

    def test_greedy_answers_are_the_same(self):
        for more in ({}, {"stop": ["\n\n"]}, {"max_tokens": 20}, {"repetition_penalty": 1.3}):
            body = {"messages": [{"role": "user", "content": QUESTION}], "temperature": 0, "max_tokens": 120, "thinking": {"type": "disabled"}} | more
            there, here = self.both("/v1/chat/completions", **body)
            self.assertEqual(here["choices"], there["choices"], more)
            self.assertEqual(here["usage"]["completion_tokens"], there["usage"]["completion_tokens"])

    def test_greedy_answers_under_a_schema_are_the_same(self):
        item = {"type": "object", "properties": {"kind": {"enum": ["bug", "question"]}, "line": {"type": "integer", "minimum": 1, "maximum": 500}},
                "required": ["kind", "line"], "additionalProperties": False}
        schema = {"type": "object", "properties": {"items": {"type": "array", "items": item, "minItems": 1, "maxItems": 3}, "sure": {"type": "boolean"}},
                  "required": ["items", "sure"], "additionalProperties": False}
        there, here = self.both("/v1/chat/completions", messages=[{"role": "user", "content": QUESTION}], temperature=0, max_tokens=1000,
                                thinking={"type": "disabled"}, response_format={"type": "json_schema", "json_schema": {"name": "s", "strict": True, "schema": schema}})
        self.assertEqual(here["choices"], there["choices"])
        self.assertEqual(list(json.loads(here["choices"][0]["message"]["content"])), ["items", "sure"])

    def test_several_at_once_are_what_each_is_alone(self):
        bodies = [{"messages": [{"role": "user", "content": f"{QUESTION} Number {i}?"}], "temperature": 0, "max_tokens": 80, "thinking": {"type": "disabled"}} for i in range(12)]
        alone = [self.server.post("/v1/chat/completions", **body)[1]["choices"] for body in bodies]
        with concurrent.futures.ThreadPoolExecutor(len(bodies)) as threads:
            at_once = list(threads.map(lambda body: self.client.post("/v1/chat/completions", **body), bodies))
        self.assertEqual([status for status, _ in at_once], [200] * len(bodies), at_once)
        self.assertEqual([answer["choices"] for _, answer in at_once], alone)

    def test_drawn_at_random_it_obeys_and_repeats_itself(self):
        said = [self.client.post("/v1/chat/completions", messages=[{"role": "user", "content": QUESTION}], temperature=1, seed=seed, max_tokens=60,
                                 thinking={"type": "disabled"})[1]["choices"][0]["message"]["content"] for seed in (5, 5, 6)]
        self.assertEqual(said[0], said[1])
        self.assertNotEqual(said[0], said[2])

    def test_logprobs_are_refused(self):
        status, answer = self.client.post("/v1/chat/completions", messages=[{"role": "user", "content": "Hm?"}], logprobs=True)
        self.assertEqual(status, 400)
        self.assertIn("gives no logprobs", answer["error"]["message"])

    def test_a_session_reads_the_repository_there(self):
        root = ROOT
        shutil.rmtree(root, ignore_errors=True)
        self.addClassCleanup(shutil.rmtree, root, ignore_errors=True)
        shutil.copytree(os.path.join(HERE, "demo"), root)
        subprocess.run(["git", "init", "-q", root], check=True)
        there, here = [daemon.lares("ask", "--greedy", "Which file defines clamp_stock?", cwd=root) for daemon in (self.server, self.client)]
        self.assertEqual((there.returncode, here.returncode), (0, 0), here.stderr.decode())
        self.assertEqual(here.stdout, there.stdout)
        self.assertIn("src/shelf.py", here.stdout.decode())
        self.assertIn("nothing_kept", self.client.log())  # cells are the server's affair
        # A second session has the first one's beginning, and the server has it still.
        again = self.client.lares("ask", "--json", "--greedy", "Which file defines clamp_stock?", cwd=root)
        self.assertEqual(again.returncode, 0, again.stderr.decode())
        self.assertLess(json.loads(again.stdout.splitlines()[-1])["usage"]["prefilled"], 300)
        last = [line for line in self.server.log().splitlines() if line.startswith("generation.end")][-1]
        counts = dict(field.split("=") for field in last.split()[1:])
        self.assertGreater(int(counts["cached"]), 0.8 * int(counts["prompt"]), last)


class Gone(unittest.TestCase):
    def test_a_server_that_goes_away_and_comes_back(self):
        server = Lares(self, LARES_LISTEN="127.0.0.1:0")
        http = server.status()["http"]
        client = Lares(self, key=server.key(), LARES_REMOTE="http://" + http)
        self.assertEqual(client.status()["engine"]["state"], "ready")
        asked = {"messages": [{"role": "user", "content": QUESTION}], "temperature": 0, "max_tokens": 30, "thinking": {"type": "disabled"}}
        status, before = client.post("/v1/chat/completions", **asked)
        self.assertEqual(status, 200, before)
        server.end()
        status, answer = client.post("/v1/chat/completions", **asked)
        self.assertEqual(status, 500, answer)
        self.assertIn(f"{http} could not be reached", answer["error"]["message"])
        self.assertIn("tried 4 times", answer["error"]["message"])
        server.start("--listen", http)
        self.assertEqual(server.status()["engine"]["state"], "ready")
        status, after = client.post("/v1/chat/completions", **asked)
        self.assertEqual(status, 200, after)
        self.assertEqual(after["choices"], before["choices"])

    def test_a_server_that_is_not_there_yet_is_waited_for(self):
        first = Lares(self, LARES_LISTEN="127.0.0.1:0")
        http, key = first.status()["http"], first.key()
        first.end()
        client = Lares(self, key=key, LARES_REMOTE="http://" + http)
        until = time.monotonic() + 60
        while "could not be reached" not in (said := client.lares("status").stdout.decode()) and time.monotonic() < until:
            time.sleep(0.1)
        self.assertRegex(said, rf"(?m)^engine +loading: .*{http} could not be reached")
        asked = {"messages": [{"role": "user", "content": "Hm?"}], "temperature": 0, "max_tokens": 5, "thinking": {"type": "disabled"}}
        first.start("--listen", http)
        self.assertEqual(client.post("/v1/chat/completions", **asked)[0], 200)  # waits

    def test_a_server_that_hangs_keeps_nobody(self):
        server = Lares(self, LARES_LISTEN="127.0.0.1:0")
        address = "http://" + server.status()["http"]  # by then its key is on disk
        client = Lares(self, key=server.key(), LARES_REMOTE=address)
        engine = client.status()["engine"]
        self.assertEqual(engine["state"], "ready", engine)
        server.process.send_signal(signal.SIGSTOP)
        try:
            root = os.path.join(client.home, "shop")
            shutil.copytree(os.path.join(HERE, "demo"), root)
            command = [os.path.join(BIN, "lares"), "ask", "--json", "Which file defines clamp_stock?"]
            asking = subprocess.Popen(command, cwd=root, env=client.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            while client.status()["nRunning"] == 0:
                time.sleep(0.05)
            time.sleep(0.5)  # it waits for the server by now
            self.assertIsNone(asking.poll())
            asking.send_signal(signal.SIGINT)
            out, err = asking.communicate(timeout=60)
            self.assertEqual(json.loads(out.splitlines()[-1])["stop_reason"], "cancelled", err.decode())
            asking = subprocess.Popen(command, cwd=root, env=client.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while client.status()["nRunning"] == 0:
                time.sleep(0.05)
            time.sleep(0.5)
            client.process.terminate()
            client.process.wait(timeout=60)
            asking.wait(timeout=60)
        finally:
            server.process.send_signal(signal.SIGCONT)

    def test_a_key_that_is_missing_is_said(self):
        server = Lares(self, LARES_LISTEN="127.0.0.1:0")
        address = "http://" + server.status()["http"]
        engine = Lares(self, LARES_REMOTE=address).status()["engine"]
        self.assertEqual(engine["state"], "failed")
        self.assertIn("belongs into the file remote-key beside Lares's config.json", engine["message"])


if __name__ == "__main__":
    BIN = os.path.abspath(sys.argv.pop(1))
    unittest.main()
