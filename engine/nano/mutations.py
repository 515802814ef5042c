"""Bugs: the single changes to a syntax tree that a programmer makes by mistake, and those of them that a test can see."""
import ast
import random

from running import arguments, call, compile_tree, play, steps
from trees import copied, sites, variables


_INVERT = {ast.Lt: ast.Gt, ast.Gt: ast.Lt, ast.LtE: ast.GtE, ast.GtE: ast.LtE, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
           ast.In: ast.NotIn, ast.NotIn: ast.In}
_BORDER = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
_OPERATOR = {ast.Add: (ast.Sub,), ast.Sub: (ast.Add,), ast.Mult: (ast.Add,), ast.FloorDiv: (ast.Mult, ast.Mod),
             ast.Mod: (ast.FloorDiv,)}


def _edits(tree):
    """Every single bug of the tree as (kind, number of its site, the change seeded() makes there)."""
    attrs = sorted({n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)
                    and n.value.id == "self" and not any(isinstance(m, ast.FunctionDef) and m.name == n.attr for m in tree.body)})
    near = set()  # constants beside which "off by one" is the better word
    for n in ast.walk(tree):
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "range" or isinstance(n, (ast.Subscript, ast.Slice)):
            near |= {id(m) for m in ast.walk(n)}
        if isinstance(n, ast.BinOp) and isinstance(n.op, (ast.Add, ast.Sub)) and isinstance(n.right, ast.Constant) and n.right.value == 1:
            near.add(id(n.right))
    for k, (parent, field, index, node) in enumerate(sites(tree)):
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
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in variables(tree):
            for other in variables(tree):
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
    parent, field, index, node = list(sites(tree))[k]
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
    edits = list(_edits(tree))
    out = []
    for kind, k, change in r.sample(edits, min(n, len(edits))):
        t = seeded(tree, k, change)
        try:
            out.append((kind, t, compile_tree(t)))
        except SyntaxError:
            continue
    return out


def find_bugs(s):
    """Bugs that some test can see and that the languages agree on."""
    r = random.Random(s.key)
    trials = [(steps(r, s) if s.is_class else arguments(r, s)) for _ in range(60)]
    good = [play(s.run, *t) if s.is_class else call(s.run, t) for t in trials]
    ok = [g is not None if s.is_class else g[0] for g in good]
    out, seen = [], set()
    for kind, k, change in _edits(s.tree):
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
