"""A repository at self.root that the real git made, and its files."""
import os
import subprocess


class GitRoot:
    def git(self, *args, root=None):
        env = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null")
        who = ["-c", "user.name=T", "-c", "user.email=t@example.org"]
        return subprocess.run(["git", *who, "-C", root or self.root, *args], env=env, check=True, stdout=subprocess.PIPE).stdout.decode()

    def write(self, path, text, root=None):
        path = os.path.join(root or self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)

    def read(self, path, root=None):
        with open(os.path.join(root or self.root, path)) as f:
            return f.read()
