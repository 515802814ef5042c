"""`lares bench` with the smallest shape: rows complete and finite, refusals before the work. No timing is asserted.
bench_test.py LARES [unittest arguments]"""
import json
import math
import subprocess
import sys
import unittest

LARES = ""
FIELDS = {"name": str, "shape": str, "median_s": float, "rate": float, "unit": str, "floor_s": float, "percent": float, "command": str}


def bench(*arguments):
    return subprocess.run([LARES, "bench", *arguments], capture_output=True, text=True, timeout=280)


class BenchTest(unittest.TestCase):
    def rows(self, *arguments):
        run = bench(*arguments, "--json")
        self.assertEqual(run.returncode, 0, run.stderr)
        rows = json.loads(run.stdout, parse_constant=lambda word: self.fail(f"{word} is no JSON"))
        for row in rows:
            for field, kind in FIELDS.items():
                self.assertIsInstance(row.get(field), kind if kind is str else (int, float), f"{field} of {row}")
                if kind is float:
                    self.assertTrue(math.isfinite(row[field]) and row[field] > 0, f"{field} of {row}")
        self.assertIn("[1/", run.stderr)
        return rows

    def test_kernel_rows_are_complete_and_finite(self):
        rows = self.rows("kernels", "--seconds", "0.2", "--shape", "nano", "--threads", "2")
        ceilings = {(r["name"], r["shape"]) for r in rows if r["section"] == "ceilings"}
        self.assertLessEqual({("read", "1 thread"), ("read", "2 threads")}, ceilings)
        self.assertTrue(any(name.startswith("fp32 fma") for name, _ in ceilings), ceilings)
        kernels = [r for r in rows if r["section"] == "kernels"]
        matrices = {name: 0 for name in ("fp4 expert w1", "fp4 expert w2", "fp8 wq_b", "fp8 wo_b", "bf16 head slice", "f32 hc_fn")}
        for row in kernels:
            self.assertTrue(row["command"].startswith("lares bench kernels --shape nano --threads 2 --seconds 0.2"), row)
            self.assertIn(row["paired_with"], ("read", "peak"))
            self.assertTrue(math.isfinite(row["paired"]) and row["paired"] > 0, row)
            if row["name"] in matrices:
                matrices[row["name"]] += 1
        self.assertEqual(set(matrices.values()), {6}, matrices)
        names = {r["name"] for r in kernels}
        self.assertLessEqual({"indexer scores", "attention", "top k", "hyper split", "rms_norm", "quantise fp8", "quantise fp4", "rope"}, names)

    def test_layers_at_every_context_and_the_prefill_they_are_asked_for(self):
        decode = self.rows("decode", "--seconds", "0.02", "--shape", "nano", "--memory", "0.5")
        shapes = [r["shape"] for r in decode if r["name"] == "whole model, estimated"]
        self.assertEqual([s.rsplit(" ", 1)[-1] for s in shapes], ["8k", "128k", "1M"])
        self.assertEqual(sum(r["name"] == "head" for r in decode), 1)
        self.assertEqual([r["shape"] for r in decode if r["name"] == "CSA + HCA layer, growth"], ["context 8k to 128k", "context 8k to 1M"])
        prefill = self.rows("prefill", "--seconds", "1", "--shape", "nano", "--memory", "0.5", "--tokens", "300")
        self.assertEqual([r["name"] for r in prefill if r["section"] == "prefill"],
                         ["CSA layer", "HCA layer", "SWA layer", "CSA + HCA layer", "whole model, estimated"])

    def test_a_prefix_of_a_million_tokens_is_shared_and_as_large_as_it_must_be(self):
        run = bench("prefix", "--seconds", "0.02", "--shape", "nano", "--json")
        self.assertEqual(run.returncode, 0, run.stderr)
        rows = {r["name"]: r for r in json.loads(run.stdout) if r["section"] == "prefix"}
        self.assertEqual(set(rows), {"cells", "frontier", "resident memory", "fork", "its first use", "a shared page written", "index of copies", "a fork's, 64 more"})
        held = rows["cells"]["rate"] * 1_000_000
        self.assertGreater(rows["resident memory"]["rate"] * 1e9, held * 0.9)  # its pages are there
        self.assertLess(rows["resident memory"]["rate"] * 1e9, held * 1.2 + 1e8)  # once

    def test_what_does_not_fit_is_refused_in_a_line(self):
        run = bench("decode", "--memory", "0.1")
        self.assertEqual(run.returncode, 1)
        self.assertRegex(run.stderr, r"need \d+\.\d\d GB with 6 experts each, and --memory is 0\.1")
        self.assertEqual(run.stdout, "")
        run = bench("kernels", "--shape", "nano", "--impl", "abacus")
        self.assertEqual(run.returncode, 2)
        self.assertIn("abacus", run.stderr)

    def test_match_leaves_the_kernels_that_hold_it(self):
        rows = self.rows("kernels", "--seconds", "0.02", "--shape", "nano", "--match", "quantise")
        self.assertEqual({r["name"] for r in rows if r["section"] == "kernels"}, {"quantise fp8", "quantise fp4"})
        run = bench("kernels", "--shape", "nano", "--match", "abacus")
        self.assertEqual(run.returncode, 1)
        self.assertIn('no kernel\'s name holds "abacus"', run.stderr)

    def test_a_figure_below_what_is_asked_is_marked_and_fails_where_that_is_wanted(self):
        slow = ("kernels", "--seconds", "0.02", "--threads", "1", "--match", "indexer", "--impl", "cpu")  # a scalar twin reaches no gate
        row = next(r for r in self.rows(*slow) if r["name"] == "indexer scores")
        self.assertEqual((row["asked"], row["short"]), (0.75, not row["disturbed"]))
        run = bench(*slow, "--gates")
        self.assertEqual(run.returncode, 1)
        self.assertRegex(run.stdout + run.stderr, r"0\.75 short(.|\n)*1 of 1 figures fall short of what is asked|0 of 1 figures.*and 1 were disturbed")
        small = ("kernels", "--seconds", "0.02", "--match", "indexer", "--shape", "nano")
        self.assertNotIn("asked", next(r for r in self.rows(*small) if r["name"] == "indexer scores"))
        run = bench(*small, "--gates")
        self.assertEqual(run.returncode, 1)
        self.assertIn("nothing is asked of these figures", run.stderr)

    def test_help_has_an_example(self):
        run = bench("--help")
        self.assertEqual(run.returncode, 0)
        self.assertIn("lares bench kernels --match", run.stdout)
        self.assertEqual(bench("--shape", "tera").returncode, 2)


if __name__ == "__main__":
    LARES = sys.argv.pop(1)
    unittest.main()
