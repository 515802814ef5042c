"""Skeletons as Python, C and JavaScript text.

skeletons.txt holds every function once, in a small subset of Python. This module reads it, gives it other names, prints it
in three languages, seeds bugs into its syntax tree, and runs it (in Python's semantics, with guards that refuse everything
the three languages disagree about) to learn what a test would see.
"""
import ast
import copy
import pickle
import os
import random
import types

KINDS = ("wrong operator", "off by one", "inverted condition", "wrong constant", "wrong variable", "missing return",
         "wrong order")
INT_TYPES = {"int", "pos", "big", "huge", "year", "month", "few", "zero2", "signed", "warm"}
LIST_TYPES = {"ints", "ints3", "sorted"}
WORD_TYPES = {"word", "short", "tiny", "palindrome", "phrase", "doubled", "prefix", "mark"}
WORDS = ("apple river stone cloud maple tiger lemon piano green eagle ocean amber cedar delta ember frost grape honey ivory "
         "jolly koala lunar mango noble olive pearl quiet raven sugar tulip urban vivid wheat youth zebra bread chair").split()


class Refused(Exception):
    """The program did something the three languages do differently."""


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


# ---------------------------------------------------------------- running

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


def copied(tree):
    """A deep copy of a syntax tree; 2.4 times as fast as copy.deepcopy, which was half of the generator's time."""
    return pickle.loads(pickle.dumps(tree, -1))


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


# ---------------------------------------------------------------- bugs

_INVERT = {ast.Lt: ast.Gt, ast.Gt: ast.Lt, ast.LtE: ast.GtE, ast.GtE: ast.LtE, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
           ast.In: ast.NotIn, ast.NotIn: ast.In}
_BORDER = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
_OPERATOR = {ast.Add: (ast.Sub,), ast.Sub: (ast.Add,), ast.Mult: (ast.Add,), ast.FloorDiv: (ast.Mult, ast.Mod),
             ast.Mod: (ast.FloorDiv,)}


def _sites(tree):
    """(parent, field, index, node) of every node, in a fixed order."""
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if isinstance(value, ast.AST):
                yield parent, field, None, value
            elif isinstance(value, list):
                for i, v in enumerate(value):
                    if isinstance(v, ast.AST):
                        yield parent, field, i, v


def _variables(tree):
    names = []
    for n in ast.walk(tree):
        if isinstance(n, ast.arg) and n.arg != "self" and n.arg not in names:
            names.append(n.arg)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store) and n.id not in names:
            names.append(n.id)
    return names


def _edits(s):
    """Every single bug as (kind, function that seeds it into a copy, given the site number)."""
    tree = s.tree
    attrs = sorted({n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)
                    and n.value.id == "self" and not any(isinstance(m, ast.FunctionDef) and m.name == n.attr for m in tree.body)})
    near = set()  # constants beside which "off by one" is the better word
    for n in ast.walk(tree):
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "range" or isinstance(n, (ast.Subscript, ast.Slice)):
            near |= {id(m) for m in ast.walk(n)}
        if isinstance(n, ast.BinOp) and isinstance(n.op, (ast.Add, ast.Sub)) and isinstance(n.right, ast.Constant) and n.right.value == 1:
            near.add(id(n.right))
    for k, (parent, field, index, node) in enumerate(_sites(tree)):
        if isinstance(node, ast.Compare):
            op = type(node.ops[0])
            yield "inverted condition", k, lambda n, op=op: n.ops.__setitem__(0, _INVERT[op]())
            if op in _BORDER:
                yield "off by one", k, lambda n, op=op: n.ops.__setitem__(0, _BORDER[op]())
        elif isinstance(node, ast.BoolOp):
            other = ast.Or if isinstance(node.op, ast.And) else ast.And
            yield "wrong operator", k, lambda n, other=other: setattr(n, "op", other())
        elif isinstance(node, (ast.BinOp, ast.AugAssign)):
            for other in _OPERATOR.get(type(node.op), ()):
                yield "wrong operator", k, lambda n, other=other: setattr(n, "op", other())
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)) and not isinstance(node.operand, ast.Constant):
            yield ("inverted condition" if isinstance(node.op, ast.Not) else "wrong operator"), k, None  # drop the operator
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield "wrong constant", k, lambda n: setattr(n, "value", not n.value)
        elif isinstance(node, ast.Constant) and isinstance(node.value, int):
            v = node.value
            kind = "off by one" if id(node) in near else "wrong constant"
            others = {v + 1, v - 1} if v < 10 else {v + 1, v - 1, v * 10, v // 10, v + 10} if v % 10 == 0 else {v + 1, v - 1, v + 10}
            for w in sorted(others):
                if w >= 0:
                    yield kind, k, lambda n, w=w: setattr(n, "value", w)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) <= 1:
            for w in {"": ("0",), " ": ("",), "-": ("+",), ":": ("-",), ".": ("-",), "0": (" ",)}.get(node.value, ()):
                yield "wrong constant", k, lambda n, w=w: setattr(n, "value", w)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in _variables(tree):
            for other in _variables(tree):
                if other != node.id:
                    yield "wrong variable", k, lambda n, other=other: setattr(n, "id", other)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and node.attr in attrs:
            for other in attrs:
                if other != node.attr:
                    yield "wrong variable", k, lambda n, other=other: setattr(n, "attr", other)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len" and isinstance(parent, ast.Call):
            yield "off by one", k, "minus"
        if isinstance(node, ast.Return) and isinstance(node.value, (ast.Name, ast.BinOp, ast.Attribute, ast.Call)):
            yield "missing return", k, "bare"
        simple = (ast.Assign, ast.AugAssign, ast.Expr)
        if isinstance(node, simple) and field == "body" and index + 1 < len(parent.body) and isinstance(parent.body[index + 1], simple + (ast.Return,)):
            yield "wrong order", k, "swap"


def seeded(tree, k, change):
    """A copy of the tree with one of the changes of _edits made at its site."""
    tree = copied(tree)
    parent, field, index, node = list(_sites(tree))[k]
    if change is None:
        new = node.operand
    elif change == "minus":
        new = ast.BinOp(node, ast.Sub(), ast.Constant(1))
    elif change == "bare":
        new = ast.Expr(node.value)
    elif change == "swap":
        parent.body[index], parent.body[index + 1] = parent.body[index + 1], parent.body[index]
        return tree
    else:
        change(node)
        new = node
    if index is None:
        setattr(parent, field, new)
    else:
        getattr(parent, field)[index] = new
    return tree


def mistakes(r, tree, n):
    """Up to n random changes to a tree, as (kind, tree, compiled): what a repair that misses may do."""
    edits = list(_edits(types.SimpleNamespace(tree=tree)))
    out = []
    for kind, k, change in r.sample(edits, min(n, len(edits))):
        t = seeded(tree, k, change)
        try:
            out.append((kind, t, compile_tree(t)))
        except SyntaxError:
            continue
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


def find_bugs(s):
    """Bugs that some test can see and that the languages agree on."""
    r = random.Random(s.key)
    trials = [(steps(r, s) if s.is_class else arguments(r, s)) for _ in range(60)]
    good = [play(s.run, *t) if s.is_class else call(s.run, t) for t in trials]
    ok = [g is not None if s.is_class else g[0] for g in good]
    out, seen = [], set()
    for kind, k, change in _edits(s):
        tree = seeded(s.tree, k, change)
        text = ast.dump(tree)
        if text in seen:
            continue
        seen.add(text)
        try:
            run = compile_tree(tree)
        except SyntaxError:
            continue
        bad = [play(run, *t) if s.is_class else call(run, t) for t in trials]
        if s.is_class:
            seen_by = sum(o and b is not None and g != b for g, b, o in zip(good, bad, ok))
        else:
            seen_by = sum(o and b[0] and g[1] != b[1] and (type(g[1]) is type(b[1]) or b[1] is None) for g, b, o in zip(good, bad, ok))
        if seen_by >= 4:
            out.append((kind, tree, run))
    return out


# ---------------------------------------------------------------- printing

_PREC = {ast.Or: 1, ast.And: 2, ast.Add: 6, ast.Sub: 6, ast.Mult: 7, ast.FloorDiv: 7, ast.Mod: 7, ast.Div: 7}
_SYMBOL = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.FloorDiv: "//", ast.Mod: "%", ast.Div: "/", ast.Lt: "<", ast.Gt: ">",
           ast.LtE: "<=", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=", ast.In: "in", ast.NotIn: "not in"}


class Printer:
    """One language's text of a tree; `lang` is p, c or j, `types` the annotated kinds by (renamed) name."""

    def __init__(self, lang, types, indent):
        self.lang, self.types, self.indent, self.lines, self.declared = lang, types, indent, [], set(types)
        self.counter = "i"

    # -- expressions
    def expr(self, n, prec=0):
        lang = self.lang
        if isinstance(n, ast.Name):
            if lang != "p" and isinstance(n.ctx, ast.Load) and n.id != "self" and n.id not in self.declared:
                raise Refused  # out of its block: Python would still know it
            return "this" if n.id == "self" and lang == "j" else n.id
        if isinstance(n, ast.Constant):
            return self.constant(n.value)
        if isinstance(n, ast.BoolOp):
            p = _PREC[type(n.op)]
            word = (" or " if p == 1 else " and ") if lang == "p" else (" || " if p == 1 else " && ")
            # gcc wants the && inside || in parentheses
            inner = 3 if lang == "c" and p == 1 else p + 1
            return self.wrap(word.join(self.expr(v, inner if isinstance(v, ast.BoolOp) else p) for v in n.values), p < prec)
        if isinstance(n, ast.UnaryOp):
            if isinstance(n.op, ast.Not):
                return self.wrap("not " + self.expr(n.operand, 3), prec > 3) if lang == "p" else "!" + self.expr(n.operand, 8)
            return self.wrap("-" + self.expr(n.operand, 8), prec > 8)
        if isinstance(n, ast.Compare):
            return self.compare(n, prec)
        if isinstance(n, ast.BinOp):
            if lang == "j" and isinstance(n.op, ast.FloorDiv):
                return f"Math.floor({self.expr(n.left, 7)} / {self.expr(n.right, 8)})"
            if lang == "j" and isinstance(n.op, ast.Add) and self.is_list(n.left):
                return f"{self.expr(n.left, 9)}.concat({self.expr(n.right)})"
            p = _PREC[type(n.op)]
            symbol = "/" if lang == "c" and isinstance(n.op, ast.FloorDiv) else _SYMBOL[type(n.op)]
            return self.wrap(f"{self.expr(n.left, p)} {symbol} {self.expr(n.right, p + 1)}", p < prec)
        if isinstance(n, ast.Call):
            return self.call(n)
        if isinstance(n, ast.Attribute):
            return f"{self.expr(n.value, 9)}.{n.attr}"
        if isinstance(n, ast.Subscript):
            v = self.expr(n.value, 9)
            if isinstance(n.slice, ast.Slice):
                a, b = n.slice.lower, n.slice.upper
                if lang == "p":
                    return f"{v}[{self.expr(a) if a else ''}:{self.expr(b) if b else ''}]"
                return f"{v}.slice({self.expr(a) if a else 0}{', ' + self.expr(b) if b else ''})"
            return f"{v}[{self.expr(n.slice)}]"
        if isinstance(n, ast.List):
            return "[" + ", ".join(self.expr(e) for e in n.elts) + "]"
        raise NotImplementedError(ast.dump(n))

    def wrap(self, text, yes):
        return f"({text})" if yes else text

    def is_list(self, n):
        if isinstance(n, ast.Name):
            return self.types.get(n.id) in LIST_TYPES or self.types.get(n.id) == "grid"
        if isinstance(n, ast.BinOp):
            return self.is_list(n.left)
        if isinstance(n, ast.Subscript):
            return isinstance(n.slice, ast.Slice) and self.is_list(n.value)
        return isinstance(n, ast.List)

    def constant(self, v):
        if isinstance(v, bool):
            return {"p": str(v), "c": str(int(v)), "j": str(v).lower()}[self.lang]
        if isinstance(v, str):
            q = "'" if self.lang == "c" else '"'
            return q + v + q
        return str(v)

    def compare(self, n, prec):
        op, left, right = n.ops[0], n.left, n.comparators[0]
        if self.lang == "j" and isinstance(op, (ast.In, ast.NotIn)):
            return f"{'!' if isinstance(op, ast.NotIn) else ''}{self.expr(right, 9)}.includes({self.expr(left)})"
        symbol = _SYMBOL[type(op)]
        if self.lang == "j" and isinstance(op, (ast.Eq, ast.NotEq)):
            symbol += "="
        return self.wrap(f"{self.expr(left, 5)} {symbol} {self.expr(right, 5)}", prec > 4)

    def call(self, n):
        args = [self.expr(a) for a in n.args]
        if isinstance(n.func, ast.Name):
            f = n.func.id
            if f == "len" and self.lang != "p":
                if self.lang == "j":
                    return f"{self.expr(n.args[0], 9)}.length"
                return self.length if self.types.get(n.args[0].id) in LIST_TYPES else f"(int)strlen({args[0]})"
            if f == "str" and self.lang == "j":
                f = "String"
            return f"{f}({', '.join(args)})"
        m = n.func.attr
        if self.lang == "j":
            m = {"append": "push", "upper": "toUpperCase", "lower": "toLowerCase"}.get(m, m)
        return f"{self.expr(n.func.value, 9)}.{m}({', '.join(args)})"

    # -- statements
    def out(self, depth, text):
        self.lines.append(" " * (self.indent * depth) + text if text else "")

    def ctype(self, value):
        if isinstance(value, ast.Subscript) and isinstance(value.value, ast.Name) and self.types.get(value.value.id) in WORD_TYPES:
            return "char"
        return "int"

    def body(self, stmts, depth):
        for s in stmts:
            self.stmt(s, depth)

    def block(self, head, stmts, depth, tail=""):
        """head, body, and what closes it; C leaves out the braces of a single plain statement."""
        if self.lang == "p":
            self.out(depth, head + ":")
            self.body(stmts, depth + 1)
            return
        outer = set(self.declared)
        bare = self.lang == "c" and len(stmts) == 1 and isinstance(stmts[0], (ast.Return, ast.Assign, ast.AugAssign)) and not tail
        self.out(depth, head if bare else head + " {")
        self.body(stmts, depth + 1)
        self.declared = outer
        if not bare:
            self.out(depth, "}")

    def stmt(self, s, depth):
        lang, end = self.lang, "" if self.lang == "p" else ";"
        if isinstance(s, ast.Return):
            self.out(depth, f"return {self.expr(s.value)}{end}")
        elif isinstance(s, ast.Expr):
            self.out(depth, self.expr(s.value) + end)
        elif isinstance(s, ast.Assign):
            target = self.expr(s.targets[0])
            word = ""
            if isinstance(s.targets[0], ast.Name):
                if self.is_list(s.value):
                    self.types.setdefault(target, "ints")
                if target not in self.declared:
                    self.declared.add(target)
                    word = {"p": "", "j": "let ", "c": self.ctype(s.value) + " "}[lang]
            self.out(depth, f"{word}{target} = {self.expr(s.value)}{end}")
        elif isinstance(s, ast.AugAssign):
            one = isinstance(s.value, ast.Constant) and s.value.value == 1
            symbol = _SYMBOL[type(s.op)]
            if lang != "p" and one and symbol in "+-":
                self.out(depth, f"{self.expr(s.target)}{symbol}{symbol};")
            elif lang != "p" and isinstance(s.op, ast.FloorDiv):
                load = copy.deepcopy(s.target)
                self.out(depth, f"{self.expr(s.target)} = {self.expr(ast.BinOp(load, s.op, s.value))};")
            else:
                self.out(depth, f"{self.expr(s.target)} {symbol}= {self.expr(s.value)}{end}")
        elif isinstance(s, ast.While):
            self.block(f"while {self.expr(s.test)}" if lang == "p" else f"while ({self.expr(s.test)})", s.body, depth)
        elif isinstance(s, ast.For):
            self.loop(s, depth)
        elif isinstance(s, ast.If):
            self.condition(s, depth, "if")
        else:
            raise NotImplementedError(ast.dump(s))

    def condition(self, s, depth, word):
        test = self.expr(s.test)
        self.block(f"{word} {test}" if self.lang == "p" else f"{word} ({test})", s.body, depth)
        if s.orelse:
            closing = self.lang != "p" and self.lines[-1].strip() == "}"
            lead = ""
            if closing:
                self.lines.pop()
                lead = "} "
            if len(s.orelse) == 1 and isinstance(s.orelse[0], ast.If):
                self.condition(s.orelse[0], depth, lead + ("elif" if self.lang == "p" else "else if"))
            else:
                self.block(lead + "else", s.orelse, depth)

    def loop(self, s, depth):
        lang, v, outer = self.lang, s.target.id, set(self.declared)
        head = self.expr(s.iter) if not isinstance(s.iter, ast.Call) else ""
        self.declared.add(v)
        if isinstance(s.iter, ast.Call) and isinstance(s.iter.func, ast.Name) and s.iter.func.id == "range":
            if lang == "p":
                self.block(f"for {v} in {self.expr(s.iter)}", s.body, depth)
                return
            if any(isinstance(m, ast.Name) and m.id == v for x in s.iter.args for m in ast.walk(x)):
                raise Refused  # for (let i = 0; i < i; ...)
            a = [self.expr(x, 5) for x in s.iter.args]
            start, stop = ("0", a[0]) if len(a) == 1 else a[:2]
            self.block(f"for ({'int' if lang == 'c' else 'let'} {v} = {start}; {v} < {stop}; {v}++)", s.body, depth)
        elif lang == "p":
            self.block(f"for {v} in {self.expr(s.iter)}", s.body, depth)
        elif lang == "j":
            self.block(f"for (const {v} of {head})", s.body, depth)
        else:
            k = self.counter
            self.out(depth, f"for (int {k} = 0; {k} < {self.length}; {k}++) {{")
            self.out(depth + 1, f"int {v} = {head}[{k}];")
            self.body(s.body, depth + 1)
            self.out(depth, "}")
        self.declared = outer

    # -- whole functions
    def function(self, f, depth=0, method=False):
        names = [a.arg for a in f.args.args]
        if self.lang == "p":
            self.out(depth, f"def {f.name}({', '.join(names)}):")
        elif self.lang == "j":
            if method:
                names = names[1:]
            self.declared = set(names) | {"self"}
            head = ("constructor" if f.name == "__init__" else f.name) if method else f"function {f.name}"
            self.out(depth, f"{head}({', '.join(names)}) {{")
        else:
            self.out(depth, self.signature(f) + " {")
        if method:
            self.declared = set(names)
        else:
            self.declared |= set(names)
        self.body(f.body, depth + 1)
        if self.lang != "p":
            self.out(depth, "}")

    def signature(self, f):
        taken = set(_variables(f))
        self.length = next(x for x in ("n", "size", "count", "len") if x not in taken)
        self.counter = next(x for x in ("i", "k", "at", "pos") if x not in taken)
        parts = []
        for a in f.args.args:
            kind = self.types[a.arg]
            if kind in LIST_TYPES:
                parts += [f"const int *{a.arg}", f"int {self.length}"]
            elif kind in WORD_TYPES:
                parts.append(f"const char *{a.arg}")
            else:
                parts.append(("char " if kind == "char" else "int ") + a.arg)
        return f"int {f.name}({', '.join(parts)})"

    def class_(self, c):
        self.out(0, f"class {c.name}" + (":" if self.lang == "p" else " {"))
        for k, m in enumerate(c.body):
            if k:
                self.out(0, "")
            self.function(m, 1, method=True)
        if self.lang == "j":
            self.out(0, "}")


class _Rename(ast.NodeTransformer):
    def __init__(self, names):
        self.names = names

    def visit_Name(self, n):
        n.id = self.names.get(n.id, n.id)
        return n

    def visit_arg(self, n):
        n.arg = self.names.get(n.arg, n.arg)
        return n


def show(tree, lang, name, names, params=()):
    """The lines of a tree under another function name and other variable names; and, for C, its prototype."""
    t = _Rename(names).visit(copied(tree))
    t.name = name
    p = Printer(lang, {names.get(a, a): k for a, k in params}, 2 if lang == "j" else 4)
    if isinstance(t, ast.ClassDef):
        p.class_(t)
        return p.lines, ""
    p.function(t)
    return p.lines, p.signature(t) + ";" if lang == "c" else ""


def variables(s):
    return _variables(s.tree)


def literal(v, lang):
    """A test's spelling of a value."""
    if isinstance(v, bool):
        return {"p": str(v), "c": str(int(v)), "j": str(v).lower()}[lang]
    if v is None:
        return "None" if lang == "p" else "undefined"
    if isinstance(v, str):
        return "'" + v + "'" if lang == "c1" else '"' + v + '"'
    if isinstance(v, list):
        if lang == "c":
            return "(int[]){" + ", ".join(str(x) for x in v) + "}"
        return "[" + ", ".join(literal(x, lang) for x in v) + "]"
    return str(v)
