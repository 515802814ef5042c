#!/usr/bin/env python3
"""racecheck_test.py PROGRAM: what racecheck.py makes of ctest's log; and that kernels/cuda/race_places.py finds of PROGRAM, the race detector's own test,
which places order something. Without PROGRAM the first alone."""
import pathlib
import subprocess
import sys
import unittest

import racecheck

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOG = """Start testing: now
----------------------------------------------------------
1/2 Testing: one
1/2 Test: one
Command: "/a/one"
Output:
----------------------------------------------------------
races: 3 launches, 40 accesses to 500 bytes, {0} races
<end of output>
Test time =   1.50 sec
----------------------------------------------------------
2/2 Test: two
{1}
Test time =   0.25 sec
"""


def said(races=0, second="races: 4 launches, 2 accesses to 16 bytes, 0 races", passed=True, tests=("one", "two")):
    return racecheck.total(racecheck.read(LOG.format(races, second), tests), passed, 2)


class Racecheck(unittest.TestCase):
    def test_what_all_looked_at_is_added_up(self):
        self.assertEqual(said(), (True, "racecheck: 2 tests in 2 s: 7 launches, 42 accesses to 516 bytes, 0 races"))

    def test_a_race_is_a_failure_whatever_ctest_says(self):
        well, line = said(races=2)
        self.assertFalse(well)
        self.assertIn("2 races", line)

    def test_who_looked_at_nothing_is_named(self):
        for second in ("", "races: 0 launches, 0 accesses to 0 bytes, 0 races"):
            well, line = said(second=second)
            self.assertFalse(well)
            self.assertTrue(line.endswith("nothing was looked at in two"), line)

    def test_so_is_who_did_not_run(self):
        well, line = said(tests=("one", "two", "three"))
        self.assertFalse(well)
        self.assertTrue(line.endswith("nothing was looked at in three"), line)

    def test_nor_may_a_test_fail(self):
        well, line = said(passed=False)
        self.assertFalse(well)
        self.assertTrue(line.endswith("not all tests passed"), line)


@unittest.skipUnless(len(sys.argv) > 1, "without a program that looks for races")
class Places(unittest.TestCase):
    def test_a_place_that_is_needed_is_told_from_one_that_is_not(self):
        done = subprocess.run([sys.executable, ROOT / "kernels/cuda/race_places.py", sys.argv[1], "CudaRacesPlaces.*"], capture_output=True, text=True,
                              timeout=120)
        rows = [line.split(None, 1)[1] for line in done.stdout.splitlines() if line.startswith("cuda_races_test.cc:")]
        self.assertEqual(len(rows), 2, done.stdout + done.stderr)
        self.assertRegex(rows[0], r"^race: a read and a write +sync_block\(\);  // needed$")
        self.assertRegex(rows[1], r"^nothing +sync_warp\(\);  // not needed$")
        self.assertTrue(done.stdout.endswith("2 places, 1 of which nothing misses\n"), done.stdout)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
