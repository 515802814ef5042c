"""What the `test` tool says of a repair that broke the program: the shapes of real compilers' and interpreters' words, at
the right places and with the session's names, though not always the very error this line would give.
"""
import re

PYTHON = ("TypeError: 'int' object is not callable", "TypeError: 'int' object is not iterable", "ZeroDivisionError: division by zero",
          "IndexError: list index out of range", "IndexError: string index out of range", "RecursionError: maximum recursion depth exceeded",
          "TypeError: '>' not supported between instances of 'str' and 'int'", "AttributeError: 'int' object has no attribute 'append'",
          "TypeError: unsupported operand type(s) for +: 'int' and 'list'", 'TypeError: can only concatenate str (not "int") to str',
          "TypeError: 'NoneType' object is not subscriptable", "TypeError: list indices must be integers or slices, not list")
PYTHON_SYNTAX = ("SyntaxError: invalid syntax", "SyntaxError: invalid syntax", "SyntaxError: invalid syntax", "SyntaxError: '(' was never closed",
                 "SyntaxError: unmatched ')'", "IndentationError: unexpected indent", "SyntaxError: expected ':'", "SyntaxError: 'return' outside function",
                 "IndentationError: expected an indented block after 'if' statement on line {line}", "SyntaxError: cannot assign to expression here. Maybe you meant '==' instead of '='?")
NODE = ("TypeError: Assignment to constant variable.", "TypeError: Cannot read properties of undefined (reading 'length')",
        "RangeError: Invalid array length", "RangeError: Maximum call stack size exceeded", "TypeError: {name} is not iterable", "TypeError: {name} is not a function",
        "ReferenceError: Cannot access '{name}' before initialization", "ReferenceError: {name} is not defined", "ReferenceError: {name} is not defined")
NODE_SYNTAX = ("SyntaxError: Unexpected token ')'", "SyntaxError: missing ) after argument list", "SyntaxError: Invalid or unexpected token",
               "SyntaxError: Unexpected identifier '{name}'", "SyntaxError: Unexpected token '{{'", "SyntaxError: Identifier '{name}' has already been declared",
               "SyntaxError: Unexpected token '}}'", "SyntaxError: Unexpected number", "SyntaxError: Invalid left-hand side in assignment")
C = ("‘{name}’ undeclared (first use in this function)", "‘{name}’ undeclared (first use in this function)",
     "‘{name}’ undeclared (first use in this function); did you mean ‘{other}’?", "expected ‘;’ before ‘{token}’ token", "expected ‘;’ before ‘{other}’",
     "expected ‘,’ or ‘;’ before ‘{word}’", "expected expression before ‘{token}’ token", "expected expression before ‘{word}’", "expected statement before ‘)’ token",
     "expected identifier or ‘(’ before ‘{word}’", "called object ‘{name}’ is not a function or function pointer", "unknown type name ‘{name}’",
     "lvalue required as left operand of assignment", "redeclaration of ‘{name}’ with no linkage", "expected ‘)’ before ‘{token}’ token",
     "expected ‘;’ before numeric constant", "expected declaration or statement at end of input", "‘else’ without a previous ‘if’",
     "invalid operands to binary * (have ‘const int *’ and ‘int’)", "subscripted value is neither array nor pointer nor vector",
     "invalid type argument of unary ‘*’ (have ‘int’)", "conflicting types for ‘{name}’; have ‘int(int)’", "‘{name}’ redeclared as different kind of symbol")
C_WORDS, C_TOKENS = ("return", "int", "for", "if", "else", "while"), (")", "}", "]", ";", "{", "=", "<", "+", "*", ":")


def summary(r, R, line, name, other, shown):
    """`line`: from 0, of the edit; `name`, `other`: identifiers at hand; `shown`: the new line."""
    head = R.summary.split("\n")
    return {"p": _python, "j": _node, "c": _c}[R.lang](r, R, line, name, other, shown, head)


def _test_file(R):
    return next(p for p in R.broken if p.startswith("test"))


def _wrong_value(r, R, head):
    """It runs, and says something else."""
    got = r.choice(("0", "1", "-1", str(r.randint(2, 99)), "[]", "''", "True", "False", "None", f"[{r.randint(0, 9)}]"))
    if R.lang == "c":
        return "\n".join([head[0], head[1].replace(f" is {R.got},", f" is {r.randint(-99, 99)},")])
    if R.lang == "j":
        return "\n".join(head[:3] + [f"  {r.choice(('NaN', 'undefined', str(r.randint(-9, 99)), 'false', 'true'))} !== {R.want}"])
    return "\n".join(head[:3] + [f"  AssertionError: {got} != {R.want}"])


def _python(r, R, line, name, other, shown, head):
    u = r.random()
    if u < 0.15:
        return _wrong_value(r, R, head)
    at = f"  at {R.path}:{line + 1}: {shown}"
    if u < 0.6:
        path = _test_file(R)
        module = re.sub(r"\.py$", "", R.path).replace("/", ".")
        number, imported = next((k, t) for k, t in enumerate(R.broken[path].split("\n"), 1) if t.startswith(f"from {module} import"))
        error = r.choice(PYTHON_SYNTAX).format(line=line)
        return "\n".join([f"1 of 1 test failed ({head[0].split('(', 1)[1]}", f"FAIL {path}:{number} {path.rsplit('/', 1)[-1][:-3]}", f"  {imported}", at, f"  {error}"])
    if u < 0.75:
        error = f"NameError: name '{name}' is not defined" + (f". Did you mean: '{other}'?" if r.random() < 0.5 else "")
    elif u < 0.82:
        error = f"UnboundLocalError: cannot access local variable '{other}' where it is not associated with a value"
    else:
        error = r.choice(PYTHON)
    return "\n".join(head[:3] + [at, f"  {error}"])


def _node(r, R, line, name, other, shown, head):
    u = r.random()
    if u < 0.2:
        return _wrong_value(r, R, head)
    if u < 0.55:
        error = r.choice(NODE_SYNTAX).format(name=r.choice((name, other)))
        return "\n".join([f"1 of 1 test failed ({head[0].split('(', 1)[1]}", f"FAIL {R.path}:{line + 1} {_test_file(R)}", f"  {shown}", f"  {error}"])
    error = r.choice(NODE).format(name=r.choice((name, other)))
    return "\n".join(head[:3] + ([f"  at {R.path}:{line + 1}: {shown}"] if u < 0.95 else []) + [f"  {error}"])


def _c(r, R, line, name, other, shown, head):
    u = r.random()
    if u < 0.12:
        return _wrong_value(r, R, head)
    if u < 0.2:
        stem, build = re.sub(r"\.c$", "", _test_file(R).rsplit("/", 1)[-1]), "".join(r.choice("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") for _ in range(6))
        missing = [f"{stem}.c:(.text+0x{r.randint(20, 900):x}): undefined reference to `{R.function}'" for _ in range(r.randint(1, 4))]
        return "\n".join([head[0], "  cc -o run_tests tests/*.c src/*.c && ./run_tests", f"  /usr/bin/ld: /tmp/cc{build}.o: in function `main':", "  " + missing[0]] +
                         ["  /usr/bin/ld: " + m for m in missing[1:]] + ["  collect2: error: ld returned 1 exit status", "  make: *** [Makefile:2: test] Error 1"])
    out, at, column = [head[0]], line + 1, r.randint(1, 12)
    for k in range(r.choice((1, 1, 1, 2, 2, 3, 3, 4))):
        error = r.choice(C).format(name=name if k == 0 else r.choice((name, other)), other=other, word=r.choice(C_WORDS), token=r.choice(C_TOKENS))
        out.append(f"  {R.path}:{at}:{column}: error: {error}")
        if r.random() < 0.5:
            column += r.randint(0, 12)
        else:
            at, column = at + r.randint(0, 2), r.randint(5, 24)
    return "\n".join(out)
