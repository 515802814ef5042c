"""The daemon from outside, with a scripted model. What may be open at a time.

bounds_test.py SCRIPTED_DAEMON [unittest arguments]
"""
import json
import os
import resource

from client import Daemon
import daemon_case
from daemon_case import DaemonCase, main

class BoundsCase(DaemonCase):
    def begin(self, *answers, **env):
        self.daemon = Daemon(daemon_case.EXECUTABLE, self.home, [{"text": a} for a in answers], **env)
        return self.connect()


class OpenFilesTest(BoundsCase):
    def test_the_daemon_takes_all_it_is_given_and_commands_get_what_was_usual(self):
        usual = 300
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        config = os.path.join(self.home, "config")
        os.mkdir(config)
        told = os.path.join(self.home, "told")
        with open(os.path.join(config, "hooks.json"), "w", encoding="utf-8") as f:
            json.dump({"turn_end": [{"command": f"echo $(ulimit -Sn) $(ulimit -Hn) > {told}"}]}, f)
        pid = os.getpid()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (usual, before[1]))
        try:
            c = self.begin("hm</think>Yes.", LARES_TEST_CONFIG=config)
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        self.assertEqual(resource.prlimit(self.daemon.process.pid, resource.RLIMIT_NOFILE), (before[1], before[1]))
        s = self.session(c)
        self.prompt(c, s, "Go.")
        c.until("turn/ended")
        with open(told, encoding="utf-8") as f:
            self.assertEqual(f.read().split(), [str(usual), str(before[1])])


if __name__ == "__main__":
    main()
