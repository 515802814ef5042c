"""nano's generator, tokenizer and committed checkpoint, with nothing but Python; number formats where torch is installed.

Run by CTest with the source directory as its argument.
"""
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 and os.path.isdir(sys.argv[1]) else os.getcwd()
NANO = os.path.join(ROOT, "engine", "nano")
sys.path.insert(0, NANO)
sys.dont_write_bytecode = True

import check  # noqa: E402
import render  # noqa: E402
import running  # noqa: E402
import sessions  # noqa: E402
import skeletons  # noqa: E402
import tokenizer  # noqa: E402

CHECKPOINT = os.path.join(NANO, "checkpoint")
POOL = skeletons.load() + skeletons.load("skeletons_more.txt")


def load(name):
    with open(os.path.join(CHECKPOINT, name), encoding="utf-8") as f:
        return json.load(f)


class Generator(unittest.TestCase):
    def test_every_skeleton_prints_in_its_languages(self):
        for s in POOL:
            for lang in s.langs:
                self.assertTrue(render.show(s.tree, lang, "f", {}, s.params)[0])

    def test_bugs_change_results(self):
        r = random.Random(1)
        for s in POOL:
            if s.is_class:
                continue
            for _, _, run in s.bugs[:2]:
                tries = [running.arguments(r, s) for _ in range(200)]
                pairs = [(running.call(s.run, a), running.call(run, a)) for a in tries]
                self.assertTrue(any(g[0] and b[0] and g[1] != b[1] for g, b in pairs), s.key)

    def test_guards_refuse_what_languages_disagree_on(self):
        import ast
        for body in ("return a // b", "return a % b"):
            run = running.compile_tree(ast.parse(f"def f(a, b):\n    {body}").body[0])
            self.assertEqual(running.call(run, (7, 2))[0], True)
            self.assertEqual(running.call(run, (-7, 2))[0], False)
        run = running.compile_tree(ast.parse("def f(xs):\n    for x in xs:\n        xs.append(x)\n    return 0").body[0])
        self.assertEqual(running.call(run, ([1],))[0], False)  # never ends

    def test_split_is_kept(self):
        r = random.Random(2)
        held = {s.key for s in POOL if s.held}
        self.assertGreater(len(held), 15)
        for _ in range(60):
            self.assertNotIn(sessions.draw(r, POOL).skeleton, held)
            self.assertIn(sessions.draw(r, POOL, held_skeleton=True).skeleton, held)
        names = sessions.Names(r, False)
        self.assertFalse(any(sessions.is_held(names.word()) for _ in range(300)))

    def test_the_edit_is_unique_and_repairs(self):
        r = random.Random(3)
        for _ in range(120):
            R = sessions.draw(r, POOL)
            self.assertEqual(R.broken[R.path].count(R.old), 1)
            self.assertEqual(R.broken[R.path].replace(R.old, R.new), R.fixed[R.path])

    def test_the_thought_quotes_the_function_down_to_the_wrong_line(self):
        r = random.Random(5)
        for _ in range(120):
            R = sessions.draw(r, POOL)
            shown = sessions.shown(R, "/x/" + R.path).split("\n")
            self.assertEqual(shown[0], "/x/" + R.path)
            thought = "".join(text for text, _, _ in sessions._thought(R))
            said, rest = thought.split("\nHere ", 1)
            quoted = said.split("\n")[1:]
            self.assertEqual(quoted, shown[1:1 + len(quoted)])
            self.assertIn(R.old.split("\n")[-1], quoted[-1])
            self.assertEqual(rest.split(" It should be:\n", 1)[1], R.new)

    def test_a_session_is_what_it_says_whatever_it_leaves_out(self):
        r = random.Random(8)
        for k in range(40):
            R = sessions.draw(r, POOL)
            whole = sessions.transcript(r, R, misses=k % 3)
            text = "".join(t for t, _, _ in whole)
            self.assertEqual(text.count(sessions.EOS), 1 + text.count('<｜DSML｜tool_calls>\n'))  # an answer each
            self.assertTrue(text.endswith(sessions.EOS))
            for short in (sessions.transcript(r, R, mini=True), sessions.transcript(r, R, mini=True, micro=True)):
                said = [t for t, s, _ in short if s]
                self.assertTrue(all(t in text for t in said))

    def test_real_runners_agree(self):
        r = random.Random(4)
        tools = {"p": "python3", "c": "make", "j": "node"}
        langs = [lang for lang, tool in tools.items() if shutil.which(tool) and (lang != "c" or shutil.which("cc"))]
        for k in range(6):
            R = sessions.draw(r, POOL, lang=langs[k % len(langs)])
            self.assertEqual(check.disagreement(R), "")

    def test_a_repair_that_misses_fails_as_its_session_says(self):
        r, n = random.Random(6), 0
        while n < 4:
            R = sessions.draw(r, POOL, lang="pj"[n % 2] if shutil.which("node") else "p")
            attempts = R.attempts(r, 2)
            if not attempts:
                continue
            n += 1
            self.assertEqual(len({(a.old, a.new) for a in attempts}), len(attempts))
            for a in attempts:
                edited = R.broken[R.path].replace(a.old, a.new)
                status, out = check.run(R.lang, dict(R.broken, **{R.path: edited}))
                self.assertNotEqual(status, 0)
                if a.exact:
                    self.assertIn(a.summary.split("\n")[3].strip(), out)

    def test_a_miss_is_undone_and_leaves_what_was_there_at_first(self):
        r = random.Random(9)
        R = sessions.draw(r, POOL)
        text = "".join(t for t, _, _ in sessions.transcript(r, R, misses=2))
        first = text[text.index("<tool_result>"):text.index(f"{R.call} is {R.got}")]
        self.assertIn(R.summary, first)
        for undone in text.split("That was not it.")[1:]:
            results = undone[:undone.index("should be")]
            self.assertIn(f"<tool_result>{R.summary}</tool_result>", results)
            self.assertIn(f"<tool_result>{sessions.shown(R, R.root + '/' + R.path)}</tool_result>", results)

    def test_strange_functions_are_no_skeleton(self):
        r = random.Random(10)
        known = {(s.key, lang): "\n".join(render.show(s.tree, lang, "f", {}, s.params)[0]) for s in POOL for lang in s.langs}
        for k in range(6):
            R = sessions.draw(r, POOL, lang="pp"[k % 2], strange=1.0)
            s = next(s for s in POOL if s.key == R.skeleton)
            self.assertFalse(any(name in R.function.split("_") for name in s.names if "_" not in name), R.function)
            self.assertEqual(check.disagreement(R), "")
            text = "\n".join(R.fixed[R.path].split("\n")[R.offset:R.offset + R.span[0]]).replace(R.function, "f")
            self.assertNotEqual(text, known[R.skeleton, "p"])

    def test_a_question_is_answered_from_what_outline_says(self):
        r = random.Random(11)
        for _ in range(20):
            R = sessions.draw(r, POOL)
            segments = sessions.question(r, R)
            read = "".join(t for t, said, _ in segments if not said)
            said = "".join(t for t, s, _ in segments if s)
            line = int(said.rsplit(", line ", 1)[1].split(".")[0])
            self.assertIn(f"{R.root}/{R.path}\n{line:6d}  ", read)
            self.assertIn(R.function, R.fixed[R.path].split("\n")[line - 1])


class Text(unittest.TestCase):
    def setUp(self):
        self.tok = tokenizer.Tokenizer.load(os.path.join(CHECKPOINT, "tokenizer.json"))

    def test_round_trip(self):
        for text in ("def f(a):\n\treturn 'é｜' + \"\\0\"\n", "  \n\n x", "a_b  c1d22", "｜DSML｜<think>\U0001f600"):
            self.assertEqual(self.tok.decode(self.tok.encode(text)), text)

    def test_a_name_has_one_spelling(self):
        for name in ("zuvofa", "clamp", "count_even", "qxwz"):
            alone = self.tok.encode(name)
            for before, after in ((" ", ""), ("(", ")"), ("\n    ", " = 1"), ('"', '"'), ("/tmp/", "/x"), ("return ", "\n")):
                ids = self.tok.encode(before + name + after)
                n = len(self.tok.encode(before))
                self.assertEqual(ids[n:n + len(alone)], alone, before + name)

    def test_control_tokens_are_ids_only_when_trusted(self):
        self.assertEqual(self.tok.encode(sessions.BOS, True), [0])
        self.assertEqual(self.tok.encode(sessions.EOS, True), [1])
        self.assertNotIn(1, self.tok.encode(sessions.EOS))

    def test_file_uses_this_pattern(self):
        spec = load("tokenizer.json")
        self.assertEqual(spec["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"], tokenizer.PATTERN)


class Checkpoint(unittest.TestCase):
    def test_layout(self):
        c, index = load("config.json"), load("model.safetensors.index.json")
        tensors, total = {}, 0
        for shard in sorted(set(index["weight_map"].values())):
            with open(os.path.join(CHECKPOINT, shard), "rb") as f:
                head = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
            for name, t in head.items():
                self.assertEqual(index["weight_map"][name], shard)
                tensors[name] = t
                total += t["data_offsets"][1] - t["data_offsets"][0]
        self.assertEqual(set(tensors), set(index["weight_map"]))
        self.assertEqual(total, index["metadata"]["total_size"])
        D, H, C, V = c["hidden_size"], c["num_attention_heads"], c["head_dim"], c["vocab_size"]
        self.assertEqual(len(c["compress_ratios"]), c["num_hidden_layers"] + 1)
        for name, dtype, shape in (("embed.weight", "BF16", [V, D]), ("layers.0.attn.wq_b.weight", "F8_E4M3", [H * C, c["q_lora_rank"]]),
                                   ("layers.0.ffn.gate.tid2eid", "I64", [V, c["num_experts_per_tok"]]),
                                   ("layers.1.ffn.experts.7.w2.weight", "I8", [D, c["moe_intermediate_size"] // 2]),
                                   ("mtp.0.e_proj.scale", "F8_E8M0", [D // 128, D // 128]), ("hc_head_fn", "F32", [4, 4 * D])):
            self.assertEqual((tensors[name]["dtype"], tensors[name]["shape"]), (dtype, shape), name)
        self.assertLess(total, 25 << 20)
        self.assertLessEqual(tokenizer.Tokenizer(load("tokenizer.json")).size, V)


class Operators(unittest.TestCase):
    def test_the_kernels_compute_what_torch_does(self):
        self.compare(["cc", "-O2", "-ffast-math", "-fopenmp", os.path.join(NANO, "kernels.c"), "-lmvec", "-lm"], False)

    def test_the_gpu_kernels_emulated_compute_what_torch_does(self):
        self.compare(["g++", "-std=c++20", "-O1", "-DNANO_EMULATED", "-include", os.path.join(NANO, "emulated.h"), "-I",
                      os.path.join(ROOT, "kernels", "cuda", "simt"), "-x", "c++", os.path.join(NANO, "kernels.cu")], True)

    def compare(self, compiler, streams):
        try:
            import torch
        except ImportError:
            self.skipTest("torch is not installed")
        library = os.path.join(tempfile.mkdtemp(prefix="lares-nano-"), "kernels.so")
        self.addCleanup(shutil.rmtree, os.path.dirname(library))
        subprocess.run(compiler + ["-shared", "-fPIC", "-o", library], check=True)
        import ops
        g = torch.Generator().manual_seed(0)
        new = lambda *shape: torch.randn(*shape, generator=g, requires_grad=True)
        cis = torch.polar(torch.ones(7, 4), torch.randn(7, 4, generator=g))
        mask = torch.where(torch.rand(2, 5, 11, generator=g) < 0.3, -1e30, 0.0)
        cases = {"rms_norm": (lambda x, w: ops.rms_norm(x, w, 1e-6), new(9, 16), new(16)),
                 "rope": (lambda x: ops.rope(x, cis), new(2, 7, 3, 12)),
                 "hc_read": (lambda X, f, s, b: torch.cat([t.flatten() for t in ops.hc_read(X, f, s, b, 20, 1e-6, 1e-6)]), new(5, 4, 8), new(24, 32), new(3), new(24)),
                 "hc_write": (ops.hc_write, new(5, 4, 8), new(5, 8), new(5, 4), new(5, 4, 4)),
                 "sink_softmax": (lambda s, sink: ops.sink_softmax(s * 1, mask, sink), new(2, 3, 5, 11), new(3)),
                 "sink_softmax, masks in turn": (lambda s, sink: ops.sink_softmax(s * 1, mask, sink), new(6, 3, 5, 11), new(3)),
                 "rms_norm, long rows": (lambda x, w: ops.rms_norm(x, w, 1e-6), new(3, 256), new(256)),
                 "hc_read, long rows": (lambda X, f, s, b: torch.cat([t.flatten() for t in ops.hc_read(X, f, s, b, 20, 1e-6, 1e-6)]), new(3, 4, 256), new(24, 1024), new(3), new(24)),
                 "hc_write, long rows": (ops.hc_write, new(3, 4, 256), new(3, 256), new(3, 4), new(3, 4, 4)),
                 "sink_softmax, one mask": (lambda s, sink: ops.sink_softmax(s * 1, mask[0], sink), new(2, 3, 5, 11), new(3))}
        kernels = ops.Kernels(library, streams)
        for name, (f, *inputs) in cases.items():
            results = []
            for ops.ON_CPU in (kernels, None):
                y = f(*inputs)
                weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
                results.append([y] + list(torch.autograd.grad((y * weight).sum(), inputs)))
            for a, b in zip(*results):
                self.assertLess((a - b).norm().item(), 1e-4 * (1 + b.norm().item()), name)
        score, base = torch.randn(6, 37, generator=g), torch.where(torch.rand(3, 42, generator=g) < 0.3, -1e30, 0.0)
        score[2, 20:] = -1e30  # fewer than k can be seen
        kept = []
        for ops.ON_CPU in (kernels, None):
            kept.append(ops.top_mask(score, base, 21) > -1e29)
        seen = torch.ones(6, 37, dtype=torch.bool)
        seen[2, 20:] = False  # which of those stay is of no matter
        self.assertTrue(torch.equal(kept[0][:, :5], kept[1][:, :5]))
        self.assertTrue(torch.equal(kept[0][:, 5:] & seen, kept[1][:, 5:] & seen))


class Device(unittest.TestCase):
    """What a GPU runs, on the CPU."""

    def setUp(self):
        try:
            import torch
        except ImportError:
            self.skipTest("torch is not installed")
        import model
        import ops
        import optim
        ops.ON_CPU = None
        self.torch, self.optim = torch, optim
        self.new = lambda: model.V4(dict(optim.config(128, topk=8)), seed=1)

    def test_fixed_sizes_change_neither_losses_nor_gradients(self):
        g, m = self.torch.Generator().manual_seed(0), self.new()
        self.optim.induction_init(m)
        tok = self.torch.randint(0, 128, (1, 129), generator=g)
        tok[:, 70:110] = tok[:, 5:45]
        weight = self.torch.rand(1, 129, generator=g) * (self.torch.rand(1, 129, generator=g) < 0.4)
        m.eval()
        for m.qat in (False, True):
            results = []
            for m.fixed in (False, True):
                m.rounded.clear()
                m.zero_grad()
                loss, parts = m.loss(tok, weight, mtp=0.3, index=0.3)
                loss.backward()
                results.append({**parts, **{n: p.grad.clone() for n, p in m.named_parameters() if p.grad is not None}})
            self.assertEqual(results[0].keys(), results[1].keys())
            self.assertIn("index", results[0])
            for name, a in results[0].items():
                self.assertLess((a - results[1][name]).norm().item(), 2e-3 * a.norm().item() + 1e-6, name)

    def test_the_optimisers_agree(self):
        import device
        ours, theirs = self.new(), self.new()
        a, b = device.DeviceOptim(ours, 0.015, 0.004), self.optim.Optim(theirs, 0.015, 0.004)
        g = self.torch.Generator().manual_seed(1)
        for k in range(2):
            for p, q in zip(ours.parameters(), theirs.parameters()):
                q.grad = 0.01 * self.torch.randn(p.shape, generator=g)
                p.grad.copy_(q.grad)
            a.scale(0.5 + k)
            a.step()
            b.step(0.5 + k)
        for (name, p), q in zip(ours.named_parameters(), theirs.parameters()):
            self.assertLess((p - q).norm().item(), 1e-5 * (1 + q.norm().item()), name)
            self.assertEqual(p.grad.abs().max().item(), 0)

    def test_a_batch_holds_its_sessions(self):
        import numpy as np
        import train_gpu
        x, w, real = train_gpu.filled([(np.array([5, 6, 7], np.uint16), np.array([0, 3, 20], np.uint8)), (np.array([8, 9], np.uint16), np.array([0, 10], np.uint8))], 4)
        self.assertEqual(x.tolist(), [[5, 6, 7, 2, 2], [8, 9, 2, 2, 2]])
        self.assertTrue(np.allclose(w, [[0, 0.3, 2, 0, 0], [0, 1, 0, 0, 0]]))
        self.assertEqual(real, 3)

    def test_producers_draw_and_end(self):
        import producers
        import train_gpu
        source = producers.Producers(1, train_gpu.tokenizer_of(os.path.join(CHECKPOINT, "tokenizer.json")), 1)
        try:
            source.done.value = 0.5
            pack = source.get(60)
            self.assertEqual(len(pack), producers.PACK, pack)
            for ids, w in pack:
                self.assertEqual(len(ids), len(w))
                self.assertTrue(2 < len(ids) <= 3073 and ids[0] == 0 and w.max() > 0)
        finally:
            source.stop()
        for p in source.processes:
            p.join(20)
            self.assertFalse(p.is_alive())


class Formats(unittest.TestCase):
    def test_grids(self):
        try:
            import torch
        except ImportError:
            self.skipTest("torch is not installed")
        import formats
        g = torch.Generator().manual_seed(0)
        w = torch.randn(128, 256, generator=g)
        for kind, worst in (("fp8", 2.0 ** -4), ("fp4", 0.5)):
            q = formats.fake_quant(w, kind)
            self.assertTrue(torch.equal(formats.fake_quant(q, kind), q), kind)  # a value on the grid stays
            # relative to the block's largest value: half a step of the coarsest binade
            self.assertLess(((q - w).abs().max() / w.abs().max()).item(), worst, kind)
        ties = torch.tensor([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0, 6.0] * 4).view(1, 32)
        self.assertEqual(formats.fake_quant(ties, "fp4")[0, :8].tolist(), [0, 1, 1, 2, 2, 4, 4, 6])


if __name__ == "__main__":
    unittest.main(argv=["nano_test", "-v"])
