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
from client import Daemon, Refused, call
import daemon_case
from daemon_case import DaemonCase, main

# Writes down how long a file was when it was synced, and what is written to it by offset. Where there is the file that
# LARES_TEST_FAIL_SYNC names, it goes and the sync of a journal fails;
# where there is the one that LARES_TEST_FAIL_REWOUND or LARES_TEST_FAIL_STARTED names, the write of session/rewound or of turn/started.
COUNTER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
static int path_of(int fd, char path[512]) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t n = readlink(link, path, 511);
  if (n > 0) path[n] = 0;
  return n > 0;
}
static void note(const char* variable, long n, const char* path) {
  char line[640];
  const int out = open(getenv(variable), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (out >= 0 && write(out, line, (size_t)snprintf(line, sizeof line, "%ld %s\n", n, path)) < 0) abort();
  if (out >= 0) close(out);
}
int fdatasync(int fd) {
  struct stat s;
  char path[512];
  const int known = path_of(fd, path);
  if (known && strstr(path, ".journal") && unlink(getenv("LARES_TEST_FAIL_SYNC")) == 0) {
    errno = EIO;
    return -1;
  }
  const long size = fstat(fd, &s) == 0 ? (long)s.st_size : -1;
  const int done = ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
  if (known) note("LARES_TEST_SYNCED", size, path);
  return done;
}
ssize_t pwrite(int fd, const void* bytes, size_t n, off_t at) {
  char path[512];
  if ((memmem(bytes, n, "session/rewound", 15) && unlink(getenv("LARES_TEST_FAIL_REWOUND")) == 0) ||
      (memmem(bytes, n, "turn/started", 12) && unlink(getenv("LARES_TEST_FAIL_STARTED")) == 0)) {
    errno = EIO;
    return -1;
  }
  if (path_of(fd, path)) note("LARES_TEST_WRITTEN", (long)at, path);
  return ((ssize_t (*)(int, const void*, size_t, off_t))dlsym(RTLD_NEXT, "pwrite"))(fd, bytes, n, at);
}
ssize_t pwrite64(int fd, const void* bytes, size_t n, off_t at) { return pwrite(fd, bytes, n, at); }
"""


class SyncTest(DaemonCase):
    def setUp(self):
        super().setUp()
        if not shutil.which("cc"):
            self.skipTest("no C compiler")
        source, self.library, self.synced = (os.path.join(self.home, name) for name in ("synced.c", "synced.so", "synced"))
        self.written, self.fail_sync, self.fail_rewound, self.fail_started = (self.synced + end for end in ("-written", "-fail", "-fail-rewound", "-fail-started"))
        with open(source, "w", encoding="utf-8") as f:
            f.write(COUNTER)
        subprocess.run(["cc", "-shared", "-fPIC", source, "-o", self.library, "-ldl"], check=True)

    def start(self, *answers):
        script = [a if isinstance(a, dict) else {"text": a} for a in answers]
        self.daemon = Daemon(daemon_case.EXECUTABLE, self.home, script, LD_PRELOAD=self.library, LARES_TEST_SYNCED=self.synced,
                             LARES_TEST_WRITTEN=self.written, LARES_TEST_FAIL_SYNC=self.fail_sync, LARES_TEST_FAIL_REWOUND=self.fail_rewound,
                             LARES_TEST_FAIL_STARTED=self.fail_started)
        return self.connect()

    def size(self, s):
        return os.path.getsize(os.path.join(self.daemon.state, "sessions", s + ".journal"))

    def is_synced(self, s, size, seconds=60.0):
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
        with open(os.path.join(self.daemon.state, "sessions", s + ".journal"), "rb") as f:
            result = f.read().index(b'"output":"     1  alpha')
        self.assertTrue(self.is_synced(s, result + 1))
        self.open_gate(gate)
        c.until("turn/ended")
        self.assertTrue(self.is_synced(s, self.size(s)))

    def test_what_a_failed_sync_left_unsure_is_written_again(self):
        c = self.start("hm</think>One.", "hm</think>Two.")
        s = self.session(c)
        self.prompt(c, s, "Go.", id="p1")
        c.until("turn/ended")
        self.assertTrue(self.is_synced(s, self.size(s)))
        sure = self.size(s)
        open(self.fail_sync, "w", encoding="utf-8").close()
        with self.assertRaisesRegex(Refused, "Input/output error"):
            self.prompt(c, s, "Go on.", id="p2")
        self.assertFalse(os.path.exists(self.fail_sync))
        open(self.written, "w", encoding="utf-8").close()
        self.prompt(c, s, "Go on.", id="p3")
        with open(self.written, encoding="utf-8") as f:
            first = next(int(line.split(" ", 1)[0]) for line in f if line.strip().endswith(s + ".journal"))
        self.assertLessEqual(first, sure)  # where the sync that failed began
        c.until("turn/ended")
        self.assertTrue(self.is_synced(s, self.size(s)))

    def test_a_prompt_whose_sync_failed_runs_when_it_is_sent_again(self):
        gate = self.gate()
        c = self.start("hm</think>One.", {"text": "hm</think>Two.", "gate": gate}, "hm</think>Again.")
        s = self.session(c)
        self.prompt(c, s, "Go.", id="p1")
        c.until("turn/ended")
        self.assertTrue(self.is_synced(s, self.size(s)))  # so that the sync that fails is the next prompt's
        open(self.fail_sync, "w", encoding="utf-8").close()
        with self.assertRaisesRegex(Refused, "Input/output error"):
            self.prompt(c, s, "Go on.", id="p2")
        again = c.send("prompt/send", sessionId=s, id="p2", content="Go on.")
        self.open_gate(gate)
        self.assertEqual(c.answer(again)["turnId"], 3)
        self.assertEqual(c.until("turn/ended", turnId=3)[-1]["params"]["reason"], "end_turn")
        self.assertEqual(self.prompt(c, s, "Go on.", id="p2")["turnId"], 3)  # delivered once

    def refused_and_not_run_in_the_next_daemon(self, waits):
        gate = self.gate()
        c = self.start("hm</think>One.", {"text": "hm</think>Two.", "gate": gate})
        s = self.session(c)
        self.prompt(c, s, "Go.", id="p1")
        c.until("turn/ended")
        delivery = "start"
        if waits:
            self.prompt(c, s, "Go on.", id="p2")
            c.until("session/state", state="prefill")
            delivery = "queue"
        else:
            self.assertTrue(self.is_synced(s, self.size(s)))
        open(self.fail_sync if waits else self.fail_started, "w", encoding="utf-8").close()
        with self.assertRaisesRegex(Refused, "Input/output error"):
            self.prompt(c, s, "Never.", id="no", delivery=delivery)
        self.daemon.kill()
        self.daemon.start([{"text": "hm</think>Three."}])
        c = self.connect()
        c.call("session/subscribe", sessionId=s, after=-1)
        turn = self.prompt(c, s, "And now?", id="p3")["turnId"]
        self.assertEqual(c.until("turn/ended", turnId=turn)[-1]["params"]["reason"], "end_turn")
        events = c.call("session/history", sessionId=s)["events"]
        self.assertEqual([e["params"]["promptId"] for e in events if e["method"] == "turn/started"], ["p1"] + ["p2"] * waits + ["p3"])
        self.assertEqual([e["params"]["id"] for e in events if e["method"] == "prompt/withdrawn"], ["no"])

    def test_a_prompt_whose_turn_could_not_begin_does_not_run_in_the_next_daemon(self):
        self.refused_and_not_run_in_the_next_daemon(waits=False)

    def test_a_prompt_that_waits_and_whose_sync_failed_does_not_run_in_the_next_daemon(self):
        self.refused_and_not_run_in_the_next_daemon(waits=True)

    def test_files_that_went_back_come_back_where_that_cannot_be_written_down(self):
        c = self.start(self.bash("mkdir d; echo x > d/x; echo beta > a.txt"), "hm</think>Done.")
        s = self.session(c, noSandbox=True)
        self.prompt(c, s, "Go.", id="p1")
        c.until("turn/ended")
        def files():
            with open(os.path.join(self.root, "a.txt"), encoding="utf-8") as f:
                return sorted(os.listdir(self.root)), f.read()

        made = files()
        open(self.fail_rewound, "w", encoding="utf-8").close()
        with self.assertRaisesRegex(Refused, "Input/output error"):
            c.call("session/rewind", sessionId=s, turnId=1)
        self.assertEqual((files(), os.path.exists(self.fail_rewound)), (made, False))
        done = c.call("session/rewind", sessionId=s, turnId=1)
        self.assertEqual([x["path"] for x in done["changes"]], ["a.txt", "d/x"])
        self.assertEqual(files(), ([".git", "a.txt"], "alpha\n"))
        c.call("session/unrewind", sessionId=s)
        self.assertEqual(files(), made)

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
