"""A turn of opencode in a server of its that others use, too: starting it takes longer than all else that it does.
opencode.py SERVER DIRECTORY PROMPT prints the answer's JSON; 1: the turn ended with an error, which is in it."""
import atexit
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

UP_S_MAX, TURN_S_MAX = 240, 600
QUIET = {f"OPENCODE_DISABLE_{what}": "1" for what in ("AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD", "DEFAULT_PLUGINS")}


class Server:
    """Begins with the first turn and ends with this process."""
    _lock, _url = threading.Lock(), None

    @classmethod
    def url(cls, executable, bare):
        with cls._lock:
            cls._url = cls._url or cls._start(executable, bare)
            return cls._url

    @classmethod
    def _start(cls, executable, bare):
        home = tempfile.TemporaryDirectory(prefix="lares-opencode-")
        path = os.path.join(home.name, "said")
        with open(path, "wb") as said:
            process = subprocess.Popen([executable, "serve", "--hostname", "127.0.0.1", "--port", "0"], cwd=home.name,
                                       env=bare(home.name) | QUIET, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                                       start_new_session=True)
        atexit.register(cls._stop, process, home)
        deadline, text = time.monotonic() + UP_S_MAX, ""
        while time.monotonic() < deadline and process.poll() is None:
            with open(path, encoding="utf-8") as f:
                text = f.read()
            if found := re.search(r"listening on (\S+)\n", text):
                return found[1]
            time.sleep(0.1)
        raise AssertionError(f"opencode serve did not come up:\n{text}")

    @staticmethod
    def _stop(process, home):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        home.cleanup()


def call(server, path, directory, body):
    url = f"{server}{path}?directory={urllib.parse.quote(directory)}"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=TURN_S_MAX) as answer:
        return json.loads(answer.read())


def main(server, directory, prompt):
    session = call(server, "/session", directory, {})["id"]

    def abort(*_):
        call(server, f"/session/{session}/abort", directory, {})
        call(server, "/instance/dispose", directory, {})
        os._exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, abort)
    try:
        answer = call(server, f"/session/{session}/message", directory, {"parts": [{"type": "text", "text": prompt}]})
    except urllib.error.HTTPError as e:
        print(e.code, e.read().decode(errors="replace"))
        return 1
    print(json.dumps(answer), flush=True)
    call(server, "/instance/dispose", directory, {})
    return 1 if answer["info"].get("error") else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
