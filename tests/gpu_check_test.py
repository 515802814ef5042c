#!/usr/bin/env python3
"""gpu_cases.py and gpu_check.sh on a machine that has no GPU: gpu_check_test.py SOURCE_DIRECTORY. Programs that hang, crash and skip
themselves stand for the tests; nvidia-smi, cmake, ctest, compute-sanitizer and the benchmarks are scripts of a few lines."""
import os
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# A GoogleTest program, as far as anybody can see: cases by name, each with shell commands.
PROGRAM = """#!/bin/bash
set -f
for word; do case "$word" in --gtest_filter=*) name=${{word#--gtest_filter=}} ;; esac; done
if [ "$1" = --gtest_list_tests ]; then
  echo "Running main() from gtest_main.cc"
  echo "{suite}."
  for case in {names}; do
    for pattern in ${{name//:/ }}; do [[ {suite}.$case != $pattern ]] || echo "  $case  # GetParam() = 8-byte object <01-00>"; done
  done
  exit
fi
echo "[ RUN      ] $name"
case "$name" in
{cases}
esac
echo "[       OK ] $name (1 ms)"
echo "[  PASSED  ] 1 test."
"""
SKIPS = 'echo "x_test.cc:5: Skipped"; echo "no CUDA device: none"; echo "[  SKIPPED ] $name (1 ms)"; echo "[  PASSED  ] 0 tests."; exit 0'
FAILS = 'echo "x_test.cc:9: Failure"; echo "Expected equality"; echo "[  FAILED  ] $name"; exit 1'


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, 0o755)


def program(path, suite, **cases):
    write(path, PROGRAM.format(suite=suite, names=" ".join(cases), cases="\n".join(f"{suite}.{name}) {does} ;;" for name, does in cases.items())))


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.at = folder.name

    def path(self, name):
        return os.path.join(self.at, name)


class Cases(Folder):
    def run_cases(self, *arguments):
        done = subprocess.run([sys.executable, f"{SOURCE}/tests/gpu_cases.py", "--table", self.path("table"), *arguments],
                              capture_output=True, text=True, timeout=60)
        with open(self.path("table"), encoding="utf-8") as file:
            return done.returncode, file.read().splitlines(), done.stdout

    def test_a_case_that_hangs_or_crashes_hides_no_other(self):
        program(self.path("one_test"), "One", A=":", B=":", C="kill -SEGV $$", D=":", E="sleep 60 & sleep 60", F=SKIPS, G=FAILS, H=":")
        program(self.path("two_test"), "Two", A=":", B=":")
        begun = time.monotonic()
        status, table, _ = self.run_cases("--seconds-each", "4", self.path("one_test"), self.path("two_test"))
        self.assertLess(time.monotonic() - begun, 20)
        self.assertEqual(status, 1)
        self.assertEqual(table[0], "one_test\tFAILED: 4 passed, 2 failed, 1 skipped, 1 hung")
        self.assertRegex(table[1], r"^\tOne\.C: failed: SIGSEGV: ")
        self.assertRegex(table[2], r"^\tOne\.E: hung: killed after 4 s$")
        self.assertEqual(table[3], "\tOne.F: skipped: no CUDA device: none")
        self.assertEqual(table[4], "\tOne.G: failed: exit status 1: x_test.cc:9: Expected equality [  FAILED  ] One.G")
        self.assertEqual(table[5:], ["two_test\t2 passed"])

    def test_what_hangs_leaves_nothing_running(self):
        program(self.path("one_test"), "One", A=f"sh -c 'sleep 4; touch {self.path('late')}' & wait")
        status, table, _ = self.run_cases("--seconds-each", "1", self.path("one_test"))
        self.assertEqual((status, table[0]), (1, "one_test\tFAILED: 1 hung"))
        time.sleep(4)
        self.assertFalse(os.path.exists(self.path("late")))

    def test_when_time_is_up_it_says_what_never_ran(self):
        program(self.path("one_test"), "One", A="sleep 60", B=":")
        status, table, _ = self.run_cases("--seconds", "4", "--jobs", "1", self.path("one_test"))
        self.assertEqual(status, 1)
        self.assertEqual(table, ["one_test\tFAILED: 1 hung, 1 not run", "\tOne.A: hung: killed after 4 s, when time was up",
                                 "\tOne.B: not run: no time was left"])

    def test_what_must_be_alone_is(self):
        other = f"sleep 1; touch {self.path('over')}"
        program(self.path("one_test"), "One", Alone=f"[ -e {self.path('over')} ] || exit 1", A=other)
        self.assertEqual(self.run_cases("--alone", "One.Alone", self.path("one_test"))[:2], (0, ["one_test\t2 passed"]))

    def test_each_command_around_the_cases_has_a_line(self):
        program(self.path("one_test"), "One", A=":", B=":")
        write(self.path("checker"), '#!/bin/bash\n[ "$1" != races ] || { echo "========= Error: Race reported between"; exit 9; }\nexec "${@:2}"\n')
        status, table, _ = self.run_cases("--only", "One.*", "--under", "memory", self.path("checker") + " memory",
                                          "--under", "races", self.path("checker") + " races", self.path("one_test"))
        self.assertEqual(status, 1)
        self.assertEqual(table, ["memory\t2 passed", "races\tFAILED: 2 failed",
                                 "\tOne.A, One.B: failed: exit status 9: ========= Error: Race reported between"])

    def test_a_program_that_cannot_run_is_named(self):
        program(self.path("one_test"), "One", A=":")
        status, table, _ = self.run_cases(self.path("none_test"), self.path("one_test"))
        self.assertEqual((status, len(table), table[1]), (1, 2, "one_test\t1 passed"))
        self.assertRegex(table[0], "^none_test\tFAILED: its cases are not known: .*none_test")


class Check(Folder):
    """gpu_check.sh as a whole."""

    def setUp(self):
        super().setUp()
        for folder in ("bin", "build/tests", "out"):
            os.makedirs(self.path(folder))
        self.script("nvidia-smi", 'echo "GPU 0: NVIDIA H200 (UUID: x)"')
        self.script("nvcc", ":")
        # Builds nothing: the script removes what an earlier run left, so "building" is to put the programs there.
        self.script("cmake", f'case "$1" in -S) echo "LARES_NVCC:FILEPATH=/nvcc" >"$4/CMakeCache.txt" ;;\n'
                             f'--build) [ -z "$BUILD_FAILS" ] || exit 1; cp {self.path("made")}/* {self.path("build/tests")} ;; esac')
        self.script("ctest", 'case "$*" in *" -N"*) for n in kernels_cuda_rows_device_test engine_cuda_device_test; do '
                             'echo "  Test #3: $n"; done ;; *) echo "ctest $*" ;; esac')
        self.script("compute-sanitizer", f'echo "$(date +%s.%N) $*" >>{self.path("sanitized")}; while [ "${{1#-}}" != "$1" ]; do shift 2; done; exec "$@"')
        os.mkdir(self.path("made"))
        program(self.path("made/kernels_cuda_rows_device_test"), "CudaRowsDevice", Attention=":", Indexer=":")
        program(self.path("made/engine_cuda_device_test"), "Flash/SmallShapes", NearTheCpu=":", ChunksAndSteps=":")
        write(self.path("made/kernels_cuda_bench"), "#!/bin/sh\necho copy, read and written: 4300 GB/s\n")
        write(self.path("made/engine_flash_gpu_bench"), f'#!/bin/sh\necho "$(date +%s.%N)" >>{self.path("measured")}; echo decode of "$@"\n')

    def script(self, name, text):
        write(self.path("bin/" + name), f"#!/bin/bash\n{text}\n")

    def check(self, *arguments, **more):
        done = subprocess.run([f"{SOURCE}/tests/gpu_check.sh", *arguments], capture_output=True, text=True, timeout=100, env={
            **os.environ, "PATH": self.path("bin") + ":" + os.environ["PATH"], "OUT": self.path("out"),
            "LARES_GPU_BUILD": self.path("build"), "LARES_GPU_CASE_SECONDS": "5", **more})
        return done.returncode, done.stdout + done.stderr

    def test_all_passes(self):
        status, said = self.check()
        self.assertEqual(status, 0, said)
        for line in ("kernels_cuda_rows_device_test +2 passed", "engine_cuda_device_test +2 passed", r"memory \(memcheck\) +3 passed",
                     r"races \(racecheck\) +2 passed", r"races of wide_, told +2 passed", r"43_layers +\d+ s +passed", r"4_layers +\d+ s +passed",
                     r"copies of all benchmarks +4300 to 4300 GB/s\n"):
            self.assertRegex(said, line)
        self.assertIn("decode of 43 32 steps", said)
        self.assertNotIn("decode of 43 192 steps", said)
        self.assertIn("copy, read and written: 4300 GB/s", said)
        # Nothing is measured before the sanitizers are done.
        with open(self.path("sanitized"), encoding="utf-8") as sanitized, open(self.path("measured"), encoding="utf-8") as measured:
            self.assertLess(max(float(line.split()[0]) for line in sanitized), min(float(line) for line in measured))

    def test_what_only_a_large_gpu_holds_is_measured_there(self):
        self.script("nvidia-smi", 'case "$*" in *memory.total*nounits) echo 143771 ;; *) echo "GPU 0: NVIDIA H200 (UUID: x)" ;; esac')
        status, said = self.check()
        self.assertEqual(status, 0, said)
        self.assertIn("decode of 43 192 steps", said)

    def test_copies_that_differ_are_told(self):
        write(self.path("made/engine_flash_gpu_bench"), "#!/bin/sh\necho copy on the device: 3.90 TB/s, read and written\n")
        self.assertRegex(self.check()[1], r"copies of all benchmarks +3900 to 4300 GB/s, 10 % APART: measure again")

    def test_races_that_are_told_decide_nothing(self):
        self.script("compute-sanitizer", 'case "$*" in *"--kernel-name "*) echo "========= Error: Race reported between"; exit 9 ;; esac\n'
                                         'while [ "${1#-}" != "$1" ]; do shift 2; done; exec "$@"')
        status, said = self.check()
        self.assertEqual(status, 0, said)
        self.assertRegex(said, "races of wide_, told +FAILED: 2 failed")

    def test_a_hang_and_a_crash_are_named_and_the_rest_goes_on(self):
        program(self.path("made/kernels_cuda_rows_device_test"), "CudaRowsDevice", Attention="sleep 60", Indexer=":", Rows=SKIPS)
        program(self.path("made/engine_cuda_device_test"), "Flash/SmallShapes", NearTheCpu=":", HundredReruns="kill -ABRT $$", ChunksAndSteps=":")
        status, said = self.check()
        self.assertEqual(status, 1)
        for line in ("kernels_cuda_rows_device_test +FAILED: 1 passed, 1 skipped, 1 hung", r"CudaRowsDevice\.Attention: hung: killed after 5 s",
                     r"CudaRowsDevice\.Rows: skipped: no CUDA device: none", "engine_cuda_device_test +FAILED: 2 passed, 1 failed",
                     r"Flash/SmallShapes\.HundredReruns: failed: SIGABRT", r"memory \(memcheck\) +FAILED: 2 passed, 1 hung", r"races \(racecheck\) +2 passed",
                     r"43_layers +\d+ s +passed", r"tests without a GPU +\d+ s +passed"):
            self.assertRegex(said, line)

    def test_what_was_not_built_is_named(self):
        os.remove(self.path("made/kernels_cuda_rows_device_test"))
        os.remove(self.path("made/kernels_cuda_bench"))
        status, said = self.check()
        self.assertEqual(status, 1)
        self.assertRegex(said, "kernels_cuda_rows_device_test +FAILED: its cases are not known")
        self.assertRegex(said, "engine_cuda_device_test +2 passed")

    def test_each_step_is_told_when_it_ends(self):
        said = self.check()[1]
        steps = [said.index(f"gpu_check: {name}: passed, ") for name in ("configure", "build", "tests on the GPU", "memory and races", "43_layers")]
        self.assertEqual(steps, sorted(steps))
        self.assertLess(steps[-1], said.index("\nstep "))
        self.assertLess(said.index("engine_cuda_device_test\t2 passed"), steps[3])

    def test_a_driver_that_answers_no_more_hides_nothing(self):
        self.script("nvidia-smi", 'case "$*" in -L) ;; *) sleep 60 ;; esac; echo "GPU 0: NVIDIA H200 (UUID: x)"')
        status, said = self.check()
        self.assertEqual(status, 0, said)
        self.assertRegex(said, r"\n43_layers +\d+ s +passed")

    def test_without_a_gpu_it_says_so(self):
        self.script("nvidia-smi", 'echo "No devices were found"; exit 6')
        status, said = self.check()
        self.assertEqual(status, 3)
        self.assertIn("no GPU here (nvidia-smi says: No devices were found); nothing was built or run", said)
        status, said = self.check("--build-only")
        self.assertEqual(status, 0, said)
        self.assertRegex(said, "tests on the GPU +skipped: no GPU: ")

    def test_what_must_be_shown_has_its_time_within_the_nine_minutes(self):
        with open(f"{SOURCE}/tests/gpu_check.sh", encoding="utf-8") as file:
            limits = dict(word.split("=") for line in file for word in line.split("#")[0].split()
                          if word.split("=")[0].endswith("_max") and word.split("=")[-1].isdigit())
        musts = ("configure_max", "build_max", "test_max", "sanitize_max")
        kills = 5 * len(musts)
        self.assertLessEqual(sum(int(limits[name]) for name in musts) + kills, int(limits["total_max"]))


if __name__ == "__main__":
    unittest.main()
