"""What `cmake --install` puts where, and that it works from there. install_test.py CMAKE BUILD_DIRECTORY"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

CMAKE = BUILD = ""


class InstallTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.prefix = os.path.realpath(tempfile.mkdtemp(prefix="lares-install-"))
        cls.addClassCleanup(shutil.rmtree, cls.prefix)
        subprocess.run([CMAKE, "--install", BUILD, "--prefix", cls.prefix], check=True, stdout=subprocess.DEVNULL, timeout=120)

    def path(self, *parts):
        return os.path.join(self.prefix, *parts)

    def test_everything_is_there(self):
        for path in ("bin/lares", "bin/laresd", "bin/lares-sandbox", "share/lares/nano/config.json", "share/man/man1/lares.1", "share/man/man1/laresd.1",
                     "share/bash-completion/completions/lares", "share/zsh/site-functions/_lares", "share/fish/vendor_completions.d/lares.fish",
                     "share/lares/neovim/lares.lua", "lib/systemd/user/lares.socket", "lib/systemd/user/lares.service"):
            self.assertGreater(os.path.getsize(self.path(path)), 0, path)
        with open(self.path("lib/systemd/user/lares.service")) as f:
            unit = f.read()
        self.assertRegex(unit, "(?m)^ExecStart=/.*/bin/laresd$")
        # What keeps the sandbox from making user namespaces, mounting /proc or, by way of NoNewPrivileges=, from AppArmor's leave.
        self.assertEqual(re.findall(r"(?m)^(?:Restrict|Protect|Private|SystemCall|NoNew|MemoryDeny|Lock)\w*=", unit), [])

    def test_the_installed_program_finds_its_model(self):
        p = subprocess.run([self.path("bin/lares"), "config", "get", "model"], env={"HOME": self.prefix}, stdout=subprocess.PIPE, timeout=60)
        self.assertEqual((p.returncode, p.stdout.decode()), (0, "nano, which comes with Lares\n"))
        p = subprocess.run([self.path("bin/lares"), "config", "--json"], env={"HOME": self.prefix}, stdout=subprocess.PIPE, timeout=60)
        self.assertIn(self.path("share/lares/nano"), p.stdout.decode())
        p = subprocess.run([self.path("bin/lares"), "tokenize", "--count", "def f(x):"], env={"HOME": self.prefix}, stdout=subprocess.PIPE, timeout=60)
        self.assertEqual(p.returncode, 0)

    @unittest.skipUnless(shutil.which("systemd-analyze"), "SKIPPED: systemd-analyze is not installed")
    def test_systemd_understands_the_units(self):
        units = [self.path("units", name) for name in ("lares.socket", "lares.service")]
        os.makedirs(self.path("units"))
        for unit in units:
            with open(self.path("lib/systemd/user", os.path.basename(unit))) as f, open(unit, "w") as to:
                to.write(re.sub(r"(?m)^ExecStart=.*", "ExecStart=" + self.path("bin/laresd"), f.read()))
        p = subprocess.run(["systemd-analyze", "--man=no", "--user", "verify", *units], env=dict(os.environ, XDG_RUNTIME_DIR=self.prefix), stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, timeout=60)
        self.assertEqual((p.returncode, p.stdout.decode()), (0, ""))


if __name__ == "__main__":
    CMAKE, BUILD = sys.argv.pop(1), sys.argv.pop(1)
    unittest.main()
