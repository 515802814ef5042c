"""Skeletons as Python, C and JavaScript text, under other names."""
import ast
import copy

from running import Refused
from trees import copied, variables

LIST_TYPES = {"ints", "ints3", "sorted"}
WORD_TYPES = {"word", "short", "tiny", "palindrome", "phrase", "doubled", "prefix", "mark"}
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
        taken = set(variables(f))
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
