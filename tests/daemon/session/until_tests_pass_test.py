"""`lares run --until-tests-pass`, with a scripted model. until_tests_pass_test.py LARES SCRIPTED_DAEMON [unittest arguments]"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
import cli_case
from cli_case import THINK
from client import Daemon
from worktree_case import CALC, TEST, WorktreeCase, bash


class UntilTestsPassTest(WorktreeCase):
    def until_tests_pass(self, *answers):
        self.write("calc.py", CALC)
        self.write("test_calc.py", TEST)
        self.start(*answers)
        return self.lares("run", "--until-tests-pass", "Repair it.")

    def test_a_turn_goes_on_until_the_tests_pass(self):
        status, out, err = self.until_tests_pass(bash("sed -i 's/a - b/a + b/' calc.py"), THINK + "Done.", bash("sed -i 's/return a$/return -a/' calc.py"), THINK + "Done now.")
        self.assertEqual((status, out.strip()), (0, "Done now."), err)
        self.assertRegex(err, r"1 of 2 tests failed[\s\S]*test_neg[\s\S]*Find out why")
        self.assertEqual(self.read("calc.py"), "def add(a, b):\n    return a + b\n\ndef neg(a):\n    return -a\n")

    def test_a_turn_that_never_gets_there_says_so(self):
        status, _, err = self.until_tests_pass(bash("true"), *[THINK + f"Done {i}." for i in range(9)])
        self.assertEqual(status, 3, err)
        self.assertRegex(err, r"what the model calls finished is not[\s\S]*2 of 2 tests failed")

    def test_an_answer_without_a_call_is_not_the_end_either(self):
        status, out, err = self.until_tests_pass(THINK + "Done.", bash("sed -i 's/a - b/a + b/; s/return a$/return -a/' calc.py"), THINK + "Done now.")
        self.assertEqual((status, out.strip()), (0, "Done now."), err)
        self.assertRegex(err, r"2 of 2 tests failed[\s\S]*Find out why")

    def test_an_answer_without_a_call_where_there_are_no_tests_says_so_once(self):
        self.start(THINK + "Done.")
        status, _, err = self.lares("run", "--until-tests-pass", "Do it.")
        self.assertEqual(status, 3, err)
        self.assertEqual(err.count("note: whether the tests pass is not known"), 1, err)

    def test_a_turn_whose_tests_nobody_can_run_says_so(self):
        self.start(bash("touch new"), THINK + "Done.")
        status, _, err = self.lares("run", "--until-tests-pass", "Do it.")
        self.assertEqual(status, 3, err)
        self.assertIn("whether the tests pass is not known", err)

    def test_tests_that_would_lose_work_are_not_run_unasked(self):
        self.write("precious", "mine")
        config = "mkdir .lares; echo '{\"test\": \"git clean -fdx -e .lares\"}' > .lares/config.json"
        self.start(bash(config), THINK + "Done.")
        status, _, err = self.lares("run", "--until-tests-pass", "Do it.")
        self.assertEqual(status, 3, err)
        self.assertIn("whether the tests pass is not known, they were not run: git clean -fdx", err)
        self.assertEqual(self.read("precious"), "mine")

    def test_tests_that_take_too_long_are_no_fault_of_the_code(self):
        self.write(".lares/config.json", '{"test": "echo begun; sleep 60"}')
        self.daemon = Daemon(cli_case.EXECUTABLE, self.home, [{"text": THINK + "Done."}, {"text": THINK + "never said"}], LARES_TEST_COMMAND_MS="1000")
        status, out, err = self.lares("run", "--until-tests-pass", "Do it.")
        self.assertEqual((status, out.strip()), (3, "Done."), err)
        self.assertIn("whether the tests pass is not known: tests timed out after 1 seconds (echo begun; sleep 60); the user's setting command_timeout allows no longer", err)
        self.assertNotIn("fix the code", err)


if __name__ == "__main__":
    cli_case.main()
