"""Skeletons run: in Python's semantics, with guards that refuse everything the three languages disagree about, on random
arguments of the annotated kinds, to learn what a test would see."""
import ast
import copy

from trees import copied

WORDS = ("apple river stone cloud maple tiger lemon piano green eagle ocean amber cedar delta ember frost grape honey ivory "
         "jolly koala lunar mango noble olive pearl quiet raven sugar tulip urban vivid wheat youth zebra bread chair").split()


class Refused(Exception):
    """The program did something the three languages do differently."""


def _div(a, b):
    if isinstance(a, bool) or isinstance(b, bool) or a < 0 or b <= 0:
        raise Refused
    return a // b


def _mod(a, b):
    if isinstance(a, bool) or isinstance(b, bool) or a < 0 or b <= 0:
        raise Refused
    return a % b


def _at(xs, i):
    if not 0 <= i < len(xs):
        raise Refused
    return xs[i]


def _cut(xs, a, b):
    a, b = 0 if a is None else a, len(xs) if b is None else b
    if a < 0 or b < 0:
        raise Refused
    return xs[a:b]


def _cmp(a, b):
    """Only like may be compared with like: 1 == "1" is another thing in JavaScript."""
    if type(a) is not type(b) or isinstance(a, list):
        raise Refused
    return a


class _Guard(ast.NodeTransformer):
    def __init__(self):
        self.n = 0

    def _call(self, f, *args):
        return ast.Call(ast.Name(f, ast.Load()), list(args), [])

    def visit_BinOp(self, node):
        self.generic_visit(node)
        if isinstance(node.op, ast.FloorDiv):
            return self._call("_div", node.left, node.right)
        if isinstance(node.op, ast.Mod):
            return self._call("_mod", node.left, node.right)
        if isinstance(node.op, (ast.Add, ast.Sub, ast.Mult)):
            return ast.BinOp(self._call("_num", node.left, node.right), node.op, node.right)
        return node

    def visit_AugAssign(self, node):
        load = ast.copy_location(copy.deepcopy(node.target), node)
        load.ctx = ast.Load()
        return ast.Assign([node.target], self.visit(ast.BinOp(load, node.op, node.value)))

    def visit_Compare(self, node):
        self.generic_visit(node)
        if not isinstance(node.ops[0], (ast.In, ast.NotIn)):
            node.left = self._call("_cmp", node.left, copy.deepcopy(node.comparators[0]))
        return node

    def visit_Subscript(self, node):
        self.generic_visit(node)
        if not isinstance(node.ctx, ast.Load):
            return node
        if isinstance(node.slice, ast.Slice):
            none = ast.Constant(None)
            return self._call("_cut", node.value, node.slice.lower or none, node.slice.upper or none)
        return self._call("_at", node.value, node.slice)

    def visit_While(self, node):
        self.generic_visit(node)
        node.body.insert(0, ast.Expr(self._call("_tick")))
        return node

    def visit_For(self, node):
        return self.visit_While(node)

    def visit_arg(self, node):
        node.annotation = None
        return node


def _num(a, b):
    if type(a) is not type(b) or isinstance(a, bool):
        raise Refused
    if isinstance(a, int) and (abs(a) > 10**9 or abs(b) > 10**9) or isinstance(a, (str, list)) and len(a) > 1000:
        raise Refused
    return a


def compile_tree(tree):
    """The function or class the tree defines, with guards; a run longer than 1500 loop turns is refused."""
    t = _Guard().visit(copied(tree))
    if isinstance(t, ast.FunctionDef):
        t.returns = None
    ticks = [0]

    def tick():
        ticks[0] += 1
        if ticks[0] > 1500:
            raise Refused

    scope = {"_div": _div, "_mod": _mod, "_at": _at, "_cut": _cut, "_cmp": _cmp, "_num": _num, "_tick": tick, "range": range,
             "len": len, "str": str}
    module = ast.fix_missing_locations(ast.Module([t], []))
    exec(compile(module, "skeleton", "exec"), scope)
    f = scope["f"]

    def run(*args):
        ticks[0] = 0
        return f(*args)
    run.reset = lambda: ticks.__setitem__(0, 0)
    return run


def plain(v):
    """Results the tests can state in every language."""
    if v is None:
        return True
    if isinstance(v, bool):
        return True
    if isinstance(v, int):
        return abs(v) < 1000000
    if isinstance(v, str):
        return len(v) <= 24
    return isinstance(v, list) and len(v) <= 10 and all(isinstance(x, int) and abs(x) < 10000 for x in v)


def argument(r, kind):
    """A random test input of the annotated kind."""
    word = lambda lo, hi: "".join(r.choice("abcdeiorst") for _ in range(r.randint(lo, hi)))
    if kind == "int": return r.randint(0, 12)
    if kind == "pos": return r.randint(1, 9)
    if kind == "few": return r.randint(1, 5)
    if kind == "zero2": return r.randint(0, 2)
    if kind == "signed": return r.randint(-9, 9)
    if kind == "big": return r.randint(10, 99)
    if kind == "warm": return r.randint(40, 220)
    if kind == "huge": return r.randint(100, 1200)
    if kind == "year": return r.choice((r.randint(1800, 2100), 1900, 2000, 2400, 2100, 2024, 2023))
    if kind == "month": return r.randint(1, 12)
    if kind == "bool": return r.random() < 0.5
    if kind == "char": return r.choice("aeiorst")
    if kind == "mark": return r.choice(("-", ", ", " ", "+"))
    if kind == "ints": return [r.randint(0, 9) for _ in range(r.randint(3, 5))]
    if kind == "ints3": return [r.randint(0, 5) for _ in range(3)]
    if kind == "sorted": return sorted(r.sample(range(12), r.randint(3, 5)))
    if kind == "words": return [r.choice(WORDS)[:r.randint(2, 5)] for _ in range(r.randint(2, 3))]
    if kind == "word": return r.choice(WORDS)
    if kind == "short": return r.choice(WORDS)[:r.randint(3, 5)]
    if kind == "tiny": return r.choice(WORDS)[:r.randint(2, 3)]
    if kind == "prefix": return r.choice(WORDS)[:r.randint(1, 2)]
    if kind == "phrase": return " ".join(r.choice(WORDS) for _ in range(r.randint(1, 3)))
    if kind == "doubled": return "".join(c * r.randint(1, 3) for c in r.choice(WORDS)[:3])
    if kind == "palindrome":
        w = word(1, 3)
        return w + r.choice((w[::-1], w[::-1][1:], word(1, 3)))
    if kind == "grid": return [[r.randint(0, 9) for _ in range(3)] for _ in range(3)]
    raise KeyError(kind)


def arguments(r, s):
    out = []
    for name, kind in s.params:
        v = argument(r, kind)
        if kind == "char" and r.random() < 0.7:  # a letter that occurs
            text = next((x for x in out if isinstance(x, str) and x), None)
            v = r.choice(text) if text else v
        if kind == "prefix" and out and isinstance(out[0], str) and r.random() < 0.5:
            v = out[0][:len(v)] if s.key.startswith("starts") else out[0][-len(v):]
        if kind == "int" and out and isinstance(out[0], list) and out[0] and isinstance(out[0][0], int) and r.random() < 0.6:
            v = r.choice(out[0])
        out.append(v)
    return out


def call(run, args):
    """(True, value), or (False, None) when the run is refused or fails."""
    try:
        v = run(*copy.deepcopy(args))
    except (Refused, TypeError, IndexError, ValueError, AttributeError, RecursionError, UnboundLocalError, NameError):
        return False, None
    return plain(v), v


def steps(r, s):
    """A class skeleton's script with arguments filled in: (constructor args, [(check, method or .attr, args)])."""
    init, out = [], []
    for word in s.script:
        if word.startswith("!"):
            init.append(argument(r, word[1:]))
            continue
        check, word = word.startswith("?"), word.lstrip("?")
        name, _, kinds = word.partition(":")
        out.append((check, name, [argument(r, k) for k in kinds.split(",") if k]))
    return init, out


def play(run, init, script):
    """Values of the script's checks, up to the first that cannot be had; None when nothing can."""
    run.reset()
    values = []
    try:
        o = run(*init)
        for check, name, args in script:
            v = getattr(o, name[1:]) if name.startswith(".") else getattr(o, name)(*args)
            if check:
                if not plain(v):
                    return None
                values.append(v)
    except (Refused, TypeError, IndexError, ValueError, AttributeError, NameError):
        return None
    return values
