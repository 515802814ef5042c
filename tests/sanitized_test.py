#!/usr/bin/env python3
"""sanitized_test.py COMPILER FLAG...: what tests/sanitized.sh makes of programs that end badly while nobody looks. FLAGs are those that
`make asan` compiles and links with."""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

SANITIZED = pathlib.Path(__file__).resolve().parent / "sanitized.sh"
COMPILER = []
WRONG = r"""
#include <cstdlib>
#include <new>
#include <span>
#include <string_view>
int main(int, char** argv) {
  const std::string_view what = argv[1];
  int* p = new int[3]();
  if (what == "leak") p = nullptr;
  if (what == "overflow") p[0] = 0x7fffffff + argv[1][0];
  if (what == "freed") delete[] p, p[1] = 2;
  if (what == "beyond") p[0] = std::span<int>(p, 2)[what.size() - 4];
  if (what == "abort") std::abort();
  delete[] p;
}
"""


class Sanitized(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        place = tempfile.TemporaryDirectory(prefix="lares-sanitized-")
        cls.addClassCleanup(place.cleanup)
        cls.build, cls.program = place.name, os.path.join(place.name, "wrong")
        made = subprocess.run([*COMPILER, "-std=c++20", "-w", "-xc++", "-", "-o", cls.program], input=WRONG, text=True, stderr=subprocess.PIPE)
        if made.returncode != 0 and "san" in made.stderr and "cannot find" in made.stderr:
            raise unittest.SkipTest("no sanitizers for this compiler")
        assert made.returncode == 0, made.stderr

    def run_with(self, *command, **env):
        ours = {k: v for k, v in os.environ.items() if not k.endswith("SAN_OPTIONS")}
        p = subprocess.run([SANITIZED, self.build, *command], env=ours | env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return p.returncode, p.stdout, p.stderr

    def unseen(self, what, **env):
        """As the daemon of a test that ignores its status and its standard error."""
        return self.run_with("sh", "-c", f"{self.program} {what} 2>/dev/null; true", **env)

    def test_what_nobody_looked_at_fails_and_is_shown(self):
        for what, words in (("leak", "detected memory leaks"), ("overflow", "signed integer overflow"), ("freed", "heap-use-after-free"),
                            ("beyond", "ABRT"), ("abort", "ABRT")):
            with self.subTest(what):
                status, out, _ = self.unseen(what)
                self.assertEqual(status, 1, out)
                self.assertIn(words, out)
                self.assertIn("sanitizers: 1 report,", out)
                self.assertIn("main", out)  # where

    def test_all_reports_are_shown(self):
        _, out, _ = self.run_with("sh", "-c", f"{self.program} leak; {self.program} freed; true")
        self.assertIn("sanitizers: 2 reports,", out)

    def test_without_reports_the_commands_status_is_its_own(self):
        self.unseen("leak")  # an earlier run's are gone
        self.assertEqual(self.unseen("nothing"), (0, "", ""))
        self.assertEqual(self.run_with("sh", "-c", "echo said; exit 8"), (8, "said\n", ""))
        self.assertEqual(self.run_with("sh", "-c", f"{self.program} leak; exit 8")[0], 8)

    def test_options_of_ones_own_go_with_it(self):
        self.assertEqual(self.unseen("leak", ASAN_OPTIONS="detect_leaks=0"), (0, "", ""))
        self.assertEqual(self.unseen("freed", ASAN_OPTIONS="detect_leaks=0")[0], 1)


if __name__ == "__main__":
    COMPILER = sys.argv[1:]
    unittest.main(argv=sys.argv[:1])
