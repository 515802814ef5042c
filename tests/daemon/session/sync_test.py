"""What is on disk when, whatever becomes of the machine: a prompt before its answer, a tool's result, an answer to a question, a turn's end.

sync_test.py SCRIPTED_DAEMON [unittest arguments]
"""
import os
import pathlib
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
from client import Daemon, call
import daemon_case
from daemon_case import DaemonCase, main

# Writes down how long a file was when it was synced.
COUNTER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
int fdatasync(int fd) {
  struct stat s;
  char link[64], path[512], line[640];
  const long size = fstat(fd, &s) == 0 ? (long)s.st_size : -1;
  const int done = ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t n = readlink(link, path, sizeof path - 1);
  const int out = open(getenv("LARES_TEST_SYNCED"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (n > 0 && out >= 0) {
    path[n] = 0;
    if (write(out, line, (size_t)snprintf(line, sizeof line, "%ld %s\n", size, path)) < 0) abort();
  }
  if (out >= 0) close(out);
  return done;
}
"""


class SyncTest(DaemonCase):
    def setUp(self):
        super().setUp()
        if not shutil.which("cc"):
            self.skipTest("no C compiler")
        source, self.library, self.synced = (os.path.join(self.home, name) for name in ("synced.c", "synced.so", "synced"))
        with open(source, "w", encoding="utf-8") as f:
            f.write(COUNTER)
        subprocess.run(["cc", "-shared", "-fPIC", source, "-o", self.library, "-ldl"], check=True)

    def start(self, *answers):
        script = [a if isinstance(a, dict) else {"text": a} for a in answers]
        self.daemon = Daemon(daemon_case.EXECUTABLE, self.home, script, LD_PRELOAD=self.library, LARES_TEST_SYNCED=self.synced)
        return self.connect()

    def size(self, s):
        return os.path.getsize(os.path.join(self.daemon.state, "sessions", s + ".journal"))

    def is_synced(self, s, size, seconds=5.0):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if os.path.exists(self.synced):
                with open(self.synced, encoding="utf-8") as f:
                    if any(int(n) >= size and path.endswith(s + ".journal") for n, path in (line.split(" ", 1) for line in f.read().splitlines())):
                        return True
            time.sleep(0.01)
        return False

    def test_a_tools_result_is_on_disk_before_the_next_answer(self):
        gate = self.gate()
        c = self.start("hm</think>" + call("str_replace_editor", command="view", path=os.path.join(self.root, "a.txt")),
                       {"text": "hm</think>Done.", "gate": gate})
        s = self.session(c)
        self.prompt(c, s, "Look.")
        self.assertTrue(self.is_synced(s, self.size(s) // 2))  # the prompt
        while c.until("item/completed")[-1]["params"]["item"]["kind"] != "tool":
            pass
        self.assertTrue(self.is_synced(s, self.size(s) - 4096))
        with open(self.synced, encoding="utf-8") as f:
            largest = max(int(line.split(" ", 1)[0]) for line in f)
        with open(os.path.join(self.daemon.state, "sessions", s + ".journal"), "rb") as f:
            self.assertIn(b'"output":"     1  alpha', f.read()[:largest])
        self.open_gate(gate)
        c.until("turn/ended")
        self.assertTrue(self.is_synced(s, self.size(s)))

    def test_what_goes_back_and_what_is_forked_is_on_disk(self):
        c = self.start("hm</think>One.", "hm</think>Two.")
        s = self.session(c)
        for n in (1, 2):
            self.prompt(c, s, "Go.", id=f"p{n}")
            c.until("turn/ended", turnId=n)
        fork = c.call("session/fork", sessionId=s, beforeTurn=2)["sessionId"]
        self.assertTrue(self.is_synced(fork, self.size(fork)))
        c.call("session/rewind", sessionId=s, turnId=2, files="keep")
        self.assertTrue(self.is_synced(s, self.size(s)))
        c.call("session/unrewind", sessionId=s)
        self.assertTrue(self.is_synced(s, self.size(s)))


if __name__ == "__main__":
    main()
