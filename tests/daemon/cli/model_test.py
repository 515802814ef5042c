"""`lares model` from outside: what it refuses before any work, whose settings it takes, what it writes and where.
model_test.py LARES SCRIPTED_DAEMON"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scripted"))
import cli_case
from cli_case import CliCase

HERE = os.path.dirname(os.path.abspath(__file__))
NANO = os.path.join(HERE, "../../../engine/nano/checkpoint")
SHARD = "model-00001-of-00003.safetensors"


class ModelTest(CliCase):
    def setUp(self):
        super().setUp()
        self.nano = os.path.join(self.root, "nano")
        shutil.copytree(NANO, self.nano)
        self.write("ids.json", "[0, 5, 7]")

    def env(self):
        return dict(super().env(), XDG_CACHE_HOME=os.path.join(self.home, "cache"))

    def model(self, *arguments, stdin=b"", **environment):
        p = subprocess.run(self.command("model", *arguments), cwd=self.root, env=dict(self.env(), **environment), input=stdin,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=100)
        return p.returncode, p.stdout.decode(), p.stderr.decode()

    def generate(self, *arguments, n=2, **environment):
        return self.model("generate", "--model", self.nano, "--tokens", "ids.json", "--ids", "--temperature", "0", "--n", str(n), *arguments, **environment)

    def one_line(self, result, status, *words):
        self.assertEqual((result[0], result[1]), (status, ""), result)
        self.assertEqual(len(result[2].splitlines()), 1, result[2])
        for word in words:
            self.assertIn(word, result[2])

    def content(self, name):
        with open(os.path.join(self.root, name), "rb") as file:
            return file.read()

    def test_no_output_takes_the_place_of_an_input(self):
        os.link(os.path.join(self.nano, SHARD), os.path.join(self.root, "link"))
        os.mkdir(os.path.join(self.root, "directory"))
        logits = ("logits", "--model", self.nano, "--tokens", "ids.json", "--out")
        before = {name: self.content(name) for name in (f"nano/{SHARD}", "nano/tokenizer.json", "ids.json")}
        for out, why in ((f"nano/{SHARD}", "checkpoint's"), ("link", "checkpoint's"), ("ids.json", "what it reads"), ("directory", "a directory"),
                         ("nowhere/x", "No such file"), ("ids.json/x", "Not a directory")):
            self.one_line(self.model(*logits, out), 1, f"write {out}: ", why)
        for option in ("--dump-logprobs", "--trace"):
            self.one_line(self.generate(option, "nano/tokenizer.json"), 1, "checkpoint's tokenizer.json")
            self.one_line(self.generate(option, "ids.json"), 1, "what it reads")
            self.one_line(self.generate(option, "nowhere/x"), 1, "No such file")
            self.one_line(self.generate(option, "-"), 1, "stdout is for the text")
        self.one_line(self.generate("--trace", "x", "--dump-logprobs", "x"), 1, "both")
        for name, bytes in before.items():
            self.assertEqual(self.content(name), bytes, name)
        status, out, err = self.generate("--trace", "trace.json", "--dump-logprobs", "/dev/null")
        self.assertEqual(status, 0, err)
        self.assertGreater(len(json.loads(self.content("trace.json"))["traceEvents"]), 0)

    def test_logits_go_to_stdout_where_that_is_asked_for(self):
        logits = ("logits", "--model", self.nano, "--tokens", "ids.json", "--out")
        self.assertEqual(self.model(*logits, "file")[0], 0)
        p = subprocess.run(self.command("model", *logits, "-"), cwd=self.root, env=self.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=100)
        self.assertEqual((p.returncode, p.stdout), (0, self.content("file")), p.stderr)

    def test_the_settings_hold_and_the_command_line_before_them(self):
        self.one_line(self.generate(LARES_THREADS="abc"), 1, "LARES_THREADS=abc", "whole number")
        self.one_line(self.generate(LARES_MEMORY="0.001"), 1, "1.0 MB are there")
        self.assertEqual(self.generate("--memory", "8", LARES_MEMORY="0.001")[0], 0)
        self.one_line(self.generate(LARES_CONTEXT="2"), 1, "context")
        status, out, err = self.model("inspect", "--json", LARES_MODEL=self.nano)
        self.assertEqual((status, json.loads(out)["directory"]), (0, self.nano), err)
        self.one_line(self.model("generate", "--prompt", "x", LARES_MODEL="/nonexistent"), 1, "/nonexistent/config.json")
        if not os.path.exists("/dev/nvidia0"):
            self.one_line(self.generate(LARES_DEVICE="cuda:0"), 1, "GPU")

    def test_a_plan_may_be_for_this_machines_gpus(self):
        driver = os.path.join(self.home, "driver")
        os.mkdir(driver)
        with open(os.path.join(driver, "driver.c"), "w") as file:  # of two GPUs, the second too old
            file.write("#include <stddef.h>\n#include <string.h>\nint cuInit(unsigned f) { return 0; }\nint cuDriverGetVersion(int* v) { *v = 13000; return 0; }\n"
                       "int cuDeviceGetCount(int* n) { *n = 2; return 0; }\nint cuDeviceGet(int* d, int i) { *d = i; return 0; }\n"
                       "int cuDeviceGetName(char* s, int n, int d) { strncpy(s, \"NVIDIA Test\", n); return 0; }\n"
                       "int cuDeviceGetAttribute(int* v, int a, int d) { *v = a == 75 ? 9 - 2 * d : a == 97 ? 227 << 10 : 0; return 0; }\n"
                       "int cuDeviceTotalMem_v2(size_t* n, int d) { *n = 81559ull << 20; return 0; }\nint cuGetErrorString(int e, const char** s) { *s = \"\"; return 0; }\n")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", os.path.join(driver, "libcuda.so.1"), os.path.join(driver, "driver.c")], check=True)
        status, out, err = self.model("plan", self.nano, "--gpus", "here", "--json", LD_LIBRARY_PATH=driver)
        self.assertEqual((status, err), (0, ""))
        self.assertEqual([gpu["memory"] for gpu in json.loads(out)["gpus"]], [81559 << 20])
        if not os.path.exists("/dev/nvidia0"):
            self.one_line(self.model("plan", self.nano, "--gpus", "here"), 1, "plan for this machine's GPUs: no NVIDIA driver", "--gpus 2x80")

    def test_the_checkpoints_temperature_holds(self):
        with open(os.path.join(self.nano, "generation_config.json"), "w") as file:
            json.dump({"do_sample": False}, file)
        answer = ("generate", "--model", self.nano, "--tokens", "ids.json", "--ids", "--n", "12")
        greedy = self.model(*answer, "--temperature", "0")[1]
        for seed in range(4):
            self.assertEqual(self.model(*answer, "--seed", str(seed))[1], greedy)
        self.assertGreater(len({self.model(*answer, "--seed", str(seed), "--temperature", "5")[1] for seed in range(4)}), 1)

    def test_wrong_values_are_wrong_usage_and_name_what_there_is(self):
        logits = ("logits", "--model", self.nano, "--tokens", "ids.json", "--out", "x")
        for arguments, words in ((("frobnicate",), ("no frobnicate; `lares model --help` says",)), (("inspekt", self.nano), ("do you mean inspect",)),
                                 ((*logits, "--impl", "no"), ("--impl", "cpu")),
                                 (("plan", self.nano, "--gpus", "many"), ("--gpus", "2x80")),
                                 (("plan", self.nano, "--gpu-memory", "4"), ("--gpus",)),
                                 (("repack", self.nano, "--to", "x"), ("--to",))):
            self.one_line(self.model(*arguments), 2, *words)
        for arguments, words in ((("--device", "gpu"), ("gpu", "cuda:1")), (("--draft", "foo"), ("off", "auto", "always")), (("--n", "1.5"), ("1.5 is no whole number",)),
                                 (("--logprobs", "3"), ("--dump-logprobs",)), (("--prompt", "x"), ("--tokens",))):
            self.one_line(self.generate(*arguments), 2, *words)
        p = subprocess.run(self.command("bench", "--impl", "no"), cwd=self.root, env=self.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=100)
        self.one_line((p.returncode, p.stdout.decode(), p.stderr.decode()), 2, "--impl", "cpu")

    def test_a_device_is_said_to_be_none_or_not_there(self):
        for device in ("gpu", "cuda:", "cuda:0,", "cuda:a"):
            self.one_line(self.generate("--device", device), 2, device, "cuda:0,1")
            self.one_line(self.model("verify", self.nano, "--device", device), 2, device, "cuda:0,1")
        self.one_line(self.generate("--device", "cuda:0,0"), 1, "GPU 0 is there twice")
        self.one_line(self.model("verify", self.nano, "--device", "cuda:0,0"), 1, "GPU 0 is there twice")
        status, out, _ = self.model("verify", self.nano, "--tokens", "8", "--device", "cpu")
        self.assertEqual(status, 0)
        for name in ("near the CPU", "in chunks of 7", "token by token", "once more"):
            self.assertIn(f"ok    cpu: {name}: ", out)

    def test_what_cannot_be_read_is_said(self):
        generate = ("generate", "--model", self.nano, "--tokens")
        self.one_line(self.model(*generate, "none.json"), 1, "read none.json: No such file")
        self.one_line(self.model(*generate, "nano"), 1, "it is a directory")
        for command in ("generate", "logits"):
            self.assertRegex(self.model(command, "--help")[1], r"--tokens TEXT[^-]*\bfrom this\s+file")
        self.one_line(self.model(*generate, "nano/config.json"), 1, "not a JSON array of token ids")
        said = {command: self.model(command, *arguments)[2] for command, arguments in (("inspect", ("/nonexistent",)), ("generate", ("--model", "/nonexistent", "--prompt", "x")),
                                                                                       ("verify", ("/nonexistent",)), ("repack", ("/nonexistent",)))}
        self.assertEqual(len(set(said.values())), 1, said)
        self.one_line(self.model("verify", self.nano, "--vectors", "none"), 1, "--vectors none: No such file")
        os.makedirs(os.path.join(self.root, "vectors"))
        self.one_line(self.model("verify", self.nano, "--vectors", "vectors"), 1, "vectors holds no *.official.json")
        self.write("vectors/a.official.json", '{"id": "a", "prompt": 5}')
        self.one_line(self.model("verify", self.nano, "--vectors", "vectors"), 1, "a.official.json", "id, prompt and steps")
        for shard in ("00001", "00003"):
            os.rename(os.path.join(self.nano, f"model-{shard}-of-00003.safetensors"), os.path.join(self.root, shard))
        self.one_line(self.model("inspect", self.nano), 1, "model-00001-of-00003.safetensors", "model-00003-of-00003.safetensors")

    def test_a_tokenizer_that_is_missing_or_junk_fails_inspect_and_verify(self):
        tokenizer = os.path.join(self.nano, "tokenizer.json")
        os.remove(tokenizer)
        for make in (lambda: None, lambda: self.write("nano/tokenizer.json", "junk"), lambda: (os.remove(tokenizer), os.mkdir(tokenizer))):
            make()
            for command in (("inspect", self.nano), ("verify", self.nano, "--tokens", "2")):
                status, out, err = self.model(*command)
                self.assertEqual(status, 1, err)
                self.assertIn("tokenizer.json", out + err)
        for command in (("inspect", self.nano), ("inspect", self.nano, "--json"), ("generate", "--model", self.nano, "--prompt", "x")):
            self.assertIn("tokenizer.json: it is a directory", "".join(self.model(*command)[1:]))

    def test_prompts_come_from_stdin_and_from_files(self):
        greedy = ("generate", "--model", self.nano, "--temperature", "0", "--n", "4")
        want = self.model(*greedy, "--prompt", "Where is f defined?")
        self.assertEqual(want[0], 0, want)
        self.write("prompt", "Where is f defined?")
        self.assertEqual(self.model(*greedy, "--file", "prompt"), want)
        self.assertEqual(self.model(*greedy, "--prompt", "-", stdin=b"Where is f defined?"), want)

    def test_tables_begin_on_a_line_of_their_own(self):
        p = subprocess.run(self.command("model", "generate", "--model", self.nano, "--tokens", "ids.json", "--ids", "--n", "2", "--stats", "--trace", "trace"), cwd=self.root,
                           env=self.env(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=100)
        lines = p.stdout.decode().splitlines()
        self.assertEqual(len(json.loads(lines[0])), 2, lines)
        self.assertTrue(lines[1].startswith("prompt: 3 tokens"), lines)

    def test_tiles_are_written_where_they_are_read_and_verified(self):
        status, out, err = self.model("repack", self.nano)
        self.assertEqual((status, out.split(":")[0]), (0, os.path.join(self.nano, "lares-tiles-2.bin")), err)
        want = self.generate("--memory", "0.12")
        self.assertEqual(want[0], 0, want)
        self.assertIn("ok    tiles: ", self.model("verify", self.nano, "--tokens", "2")[1])
        path = os.path.join(self.nano, "lares-tiles-2.bin")
        with open(path, "r+b") as file:
            file.seek(-1, os.SEEK_END)
            last = file.read(1)[0]
            file.seek(-1, os.SEEK_END)
            file.write(bytes([last ^ 1]))
        status, out, err = self.model("verify", self.nano, "--tokens", "2")
        self.assertEqual(status, 1, err)
        self.assertRegex(out, r"FAIL  tiles: .*lares-tiles-2\.bin: .* is not as it was written; delete the file, or write it again with `lares model repack`")
        self.assertEqual(self.model("repack", self.nano)[0], 0)
        os.utime(os.path.join(self.nano, SHARD))
        status, out, err = self.generate("--memory", "0.12", "--stats")
        self.assertEqual(out, want[1])
        self.assertRegex(err, "note: the weights' tiles are not used: .*made from other files")

    def test_an_interrupt_ends_with_130_and_a_word(self):
        for arguments in (("model", "verify", self.nano, "--tokens", "1024"), ("model", "logits", "--model", self.nano, "--tokens", "many.json", "--out", "x"),
                          ("bench", "kernels", "--shape", "nano", "--seconds", "0.05", "--json")):
            self.write("many.json", json.dumps([0, 5, 7] * 5000))
            p = subprocess.Popen(self.command(*arguments), cwd=self.root, env=self.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            if arguments[0] == "bench":
                while b"[3/" not in p.stderr.readline():
                    pass
            else:
                while b"safetensors" not in self.mapped(p.pid):
                    self.assertIsNone(p.poll())
            p.send_signal(signal.SIGINT)
            out, err = p.communicate(timeout=100)
            self.assertEqual(p.returncode, 130, (arguments, err))
            self.assertIn(b"interrupted", err)
            if arguments[0] == "bench":
                self.assertGreaterEqual(len(json.loads(out)), 2)
        self.assertFalse(os.path.exists(os.path.join(self.root, "x")))

    def mapped(self, pid):
        with open(f"/proc/{pid}/maps", "rb") as maps:
            return maps.read()


if __name__ == "__main__":
    cli_case.main()
