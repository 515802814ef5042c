"""The functions and classes that sessions are about: skeletons.txt holds each once, in a small subset of Python."""
import ast
import os

from mutations import find_bugs, mistakes
from running import compile_tree


class Skeleton:
    """One function or class of skeletons.txt."""

    def __init__(self, key, names, langs, held, tree, script):
        self.key, self.names, self.langs, self.held, self.tree, self.script = key, names, langs, held, tree, script
        self.is_class = isinstance(tree, ast.ClassDef)
        if self.is_class:
            self.params, self.returns = [], ""
        else:
            self.params = [(a.arg, a.annotation.id) for a in tree.args.args]
            self.returns = tree.returns.id
        self.run = compile_tree(tree)
        self.bugs = []  # (kind, tree, compiled)


def load(name="skeletons.txt"):
    """All skeletons of a file beside this one, in its order, each with its bugs."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), name), encoding="utf-8") as f:
        text = f.read()
    out = []
    for block in ("\n" + text).split("\n## ")[1:]:
        head, body = block.split("\n", 1)
        parts = [p.strip() for p in head.split("|")]
        script = ""
        if "\n>> " in body:
            body, script = body.split("\n>> ", 1)
        tree = ast.parse(body).body[0]
        s = Skeleton(parts[0].split()[0], parts[0].split(), parts[1], len(parts) > 2, tree, script.split())
        s.bugs = find_bugs(s)
        out.append(s)
    return out


def strange(r, s):
    """A function made from s by one to three changes that count as right, under no known name: its repair cannot be known by
    heart, only that it is small. None when this draw does not work out."""
    tree = s.tree
    for _ in range(r.randint(1, 3)):
        found = mistakes(r, tree, 1)
        if not found or found[0][0] == "missing return":
            return None
        tree = found[0][1]
    if ast.dump(tree) == ast.dump(s.tree):
        return None
    out = Skeleton(s.key, [], s.langs, s.held, tree, [])
    out.params, out.returns = s.params, s.returns  # an annotation that is also a variable's name may have been changed with it
    out.bugs = [m for m in mistakes(r, tree, 8) if m[0] != "missing return"]
    return out if out.bugs else None
