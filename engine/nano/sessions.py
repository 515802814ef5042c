"""Generated agent sessions: a small repository with one seeded bug, and the transcript that repairs it.

A session is a list of segments (text, said, tag): `said` is what the model itself must say, the rest is what it reads; a tag
names a stretch whose exactness the trainer reports. The bytes follow the project's prompt contract.
"""
import random
import re
import zlib

import mishaps
import mutations
import render
import running
import skeletons
import trees

BOS, EOS, USER, ASSISTANT = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"
THINK, THINK_END, DSML = "<think>", "</think>", "｜DSML｜"
EFFORT, HEAD = "<｜lares▁effort｜>", "<｜lares▁head｜>"  # stand for the constant head of every prompt; export.py fills them in

VOWELS = "aeiou"
CONSONANTS = "bcdfghjklmnprstvwz"
RESERVED = set("auto break case char const continue default do double else enum extern float for goto if inline int long register "
               "return short signed static struct switch union void while and as assert async await class def del elif except "
               "False from global import in is lambda None nonlocal not or pass raise True try with yield let new this var "
               "function typeof delete null true false main test y0 y1 j0 j1".split())
SYNONYMS = {
    "value": "x v number item", "values": "numbers items xs data", "total": "sum result acc amount", "result": "out answer found",
    "count": "hits n_found seen", "best": "top current chosen", "low": "lower minimum lo", "high": "upper maximum hi",
    "number": "n value x", "n": "limit number size", "x": "v item value", "a": "first left p", "b": "second right q", "i": "k index pos",
    "text": "s line name", "wanted": "target key goal", "limit": "bound top most", "words": "names parts lines", "w": "word part",
    "c": "ch letter third", "width": "w columns", "height": "h rows", "year": "y", "step": "delta size", "price": "cost amount",
}
TASKS = ("Make the tests pass.", "A test fails. Find the bug and fix it.", "Fix the failing test.", "Please repair the code so that all tests pass.",
         "The test for {f} fails; fix the code, not the test.", "{f} returns the wrong result. Fix it.", "There is a bug in {f}. Fix it.",
         "Find out why the tests fail and fix the code.", "Something is broken. Run the tests and fix it.", "Fix the bug.",
         "The tests are red. Make them green.", "{f} is broken, please fix it.", "Get the test suite to pass again.",
         "Repair {f}.", "Run the tests, find the bug and fix it.", "One test fails since the last change. Fix it.")
ROOTS = ("/tmp/lares-demo-{h}", "/tmp/{n}", "/home/{n}/work/{m}", "/home/{n}/{m}", "/srv/{m}", "/work/{m}", "/tmp/pytest-{d}/{m}", "/tmp/tmp{h}")
ENGLISH = ("price order item cart invoice customer product stock shelf basket coupon discount tax fee payment balance account ledger budget "
           "score player team match league season round winner record game board dice token level weapon enemy potion castle dragon "
           "temperature weather rain wind cloud sensor pump valve engine wheel motor battery signal filter buffer packet socket router "
           "server client session request response header cookie query table column row field schema index cursor page report chart "
           "student teacher course grade lesson exam school library book author chapter title page letter mail parcel stamp route map "
           "city street house garden flower tree leaf river lake bridge train station ticket seat flight pilot airport hotel guest room "
           "kitchen recipe flour sugar butter bread cheese pizza coffee cup plate spoon meal menu dish soup fruit orange lemon cherry "
           "music song album track tempo chord guitar piano drum concert video frame pixel colour brush canvas shadow light camera lens "
           "doctor nurse patient dose clinic heart pulse muscle bone animal horse sheep rabbit eagle salmon turtle spider planet comet "
           "orbit rocket moon star galaxy atom energy force speed distance weight height depth area volume angle circle square matrix "
           "vector graph node edge branch stack queue heap cache memory disk file folder archive backup patch commit merge task job "
           "worker thread timer clock alarm calendar week minute hour deadline project budget plan goal metric sample average median "
           "chance random shuffle deal card deck poker chess pawn knight bishop tower paint wood stone metal copper silver gold coin "
           "wallet bank loan rate profit loss trade market share bond offer bid auction ship boat anchor harbour island beach sand wave "
           "storm winter summer spring harvest farm field barn tractor seed corn rice bean apple grape wine glass bottle box crate "
           "truck cargo depot garage ramp lift floor wall roof door window lamp chair desk shelf paper pencil ruler marker sticker").split()
MODULES = "core tools helpers calc basics lib shapes lists text numbers util ops common logic model".split()
WRONG = {"wrong operator": "the operator is wrong", "off by one": "the bound is off by one", "inverted condition": "the condition is inverted",
         "wrong constant": "the constant is wrong", "wrong variable": "the variable is wrong", "missing return": "the return is missing",
         "wrong order": "the order is wrong"}


def is_held(name):
    """Names of an eighth of all hashes are never seen in training."""
    return zlib.crc32(name.encode()) % 8 == 0


class Names:
    """Random identifiers of one side of the split, no two alike."""

    def __init__(self, r, held):
        self.r, self.held, self.used = r, held, set(RESERVED)

    def word(self):
        r = self.r
        while True:
            kind = r.random()
            if kind < 0.3:
                w = r.choice(ENGLISH)
                if r.random() < 0.2:
                    w += "s"
            elif kind < 0.45:
                w = "".join(r.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(r.randint(2, 5)))
            else:
                w = "".join(r.choice(CONSONANTS) + r.choice(VOWELS) for _ in range(r.choice((2, 2, 3))))
                if r.random() < 0.3:
                    w += r.choice("nrstlx")
            if is_held(w) == self.held:
                return w

    def claim(self, make):
        for _ in range(50):
            w = make()
            if w not in self.used:
                self.used.add(w)
                return w
        return self.claim(self.word)

    def function(self, s):
        r = self.r
        def make():
            u, known = r.random(), r.choice(s.names or [""])
            if s.is_class:
                w = self.word().capitalize()
                return w if u < 0.3 else known + w if u < 0.5 or self.held else known
            if u < 0.3 or not known:
                return self.word() if r.random() < 0.7 else self.word() + "_" + self.word()
            if u < 0.55 or self.held:
                return known + "_" + self.word() if r.random() < 0.6 else self.word() + "_" + known
            return known
        return self.claim(make)

    def locals(self, s):
        r, mode = self.r, self.r.random()
        out, used = {}, set(RESERVED)
        for v in trees.variables(s.tree):
            def make():
                if mode < 0.45 and not self.held or mode < 0.2:
                    return v
                if mode < 0.75 and v in SYNONYMS:
                    return r.choice((v + " " + SYNONYMS[v]).split())
                if mode < 0.8:
                    return v
                return self.word() if r.random() < 0.6 else r.choice("abcdefghkmnpqrstuvwxyz")
            w = make()
            while w in used:
                w = self.word()
            used.add(w)
            out[v] = w
        return out


class Repository:
    """Files with and without the bug, and what the real test runner says about it."""
    lang = root = ""
    broken: dict
    fixed: dict


def _args(args, lang):
    parts = []
    for a in args:
        parts.append(render.literal(a, lang))
        if lang == "c" and isinstance(a, list):
            parts.append(str(len(a)))
    return ", ".join(parts)


def _char_args(s, args, lang):
    """C spells a char with single quotes."""
    if lang != "c":
        return _args(args, lang)
    parts = []
    for (name, kind), a in zip(s.params, args):
        parts.append("'" + a + "'" if kind == "char" else render.literal(a, "c"))
        if isinstance(a, list):
            parts.append(str(len(a)))
    return ", ".join(parts)


def _checks(r, s, name, bug, lang):
    """[(source lines before, call text, want, got, arguments)]: one to three checks of a function; with a bug, at least one sees it."""
    if s.is_class:
        for _ in range(60):
            init, script = running.steps(r, s)
            want = running.play(s.run, init, script)
            got = running.play(bug[2], init, script) if bug else want
            if want is None or got is None or len(got) != len(want) or bug and want == got:
                continue
            if any(type(a) is not type(b) and b is not None for a, b in zip(want, got)):
                continue
            lines, out, k = [f"{'o' if lang == 'p' else 'const o'} = {'' if lang == 'p' else 'new '}{name}({_args(init, lang)})"], [], 0
            for check, m, args in script:
                call = f"o.{m[1:]}" if m.startswith(".") else f"o.{m}({_args(args, lang)})"
                if check:
                    out.append((lines, call, want[k], got[k], (init, script, k)))
                    lines, k = [], k + 1
                else:
                    lines.append(call)
            return out
        return None
    out, n = [], r.choice((1, 2, 2, 3))
    seen = not bug
    for _ in range(150):
        args = running.arguments(r, s)
        ok, want = running.call(s.run, args)
        if not ok or want is None:
            continue
        got = want
        if bug:
            ok, got = running.call(bug[2], args)
            if not ok or type(got) is not type(want) and (got is not None or lang == "c"):
                continue
        if lang == "j" and isinstance(want, (str, list)) and len(_seen(_js("", got)[1], "j")) + len(_seen(_js("", want)[1], "j")) > 12:
            continue  # node shows a longer pair over many lines
        if want == got and bug and not seen and len(out) >= n - 1:
            continue
        seen = seen or want != got
        call = f"{name}({_char_args(s, args, lang)})"
        if any(call == o[1] for o in out):
            continue
        out.append(([], call, want, got, args))
        if len(out) == n and seen:
            return out
        if len(out) == n:
            out.pop()
    return None


def _js(call, v):
    """Lists are compared as text: node's message for them is a page."""
    if isinstance(v, list):
        return f'{call}.join("")', "".join(str(x) for x in v)
    return call, v


def _seen(v, lang):
    """A value as the runner's message shows it."""
    if lang == "p":
        return repr(v)
    if lang == "j":
        return "'" + v + "'" if isinstance(v, str) else render.literal(v, "j")
    if isinstance(v, str) and len(v) != 1:
        raise running.Refused  # an address
    return str(ord(v) if isinstance(v, str) else int(v))  # a C char is a number


def repository(r, pool, held_names=False, held_skeleton=None, lang=None, small=False, strange=0.0):
    """A random repository, or None when this draw does not work out. `strange`: how often the function with the bug is one that
    exists nowhere else."""
    R = Repository()
    R.lang = lang = lang or r.choice("ppcj")
    names = Names(r, held_names)
    usable = [s for s in pool if lang in s.langs]
    main_pool = [s for s in usable if s.bugs and s.held == bool(held_skeleton)]
    others = [s for s in usable if not s.held]
    s = r.choice(main_pool)
    if strange and r.random() < strange:
        s = None if s.is_class else skeletons.strange(r, s)
        if s is None:
            return None
    kinds = sorted({k for k, _, _ in s.bugs})
    kind = r.choice(kinds)
    bug = r.choice([b for b in s.bugs if b[0] == kind])
    if kind == "missing return" and (lang == "c" or r.random() < 0.6):
        return None
    n_more = 0 if s.is_class else r.choice((0, 0, 1)) if small else r.choice((0, 0, 1, 1, 2))
    members = [s] + [o for o in r.sample(others, min(len(others), n_more + 2)) if not o.is_class and o.key != s.key][:n_more]
    r.shuffle(members)
    n_files = 1 if small else r.choice((1, 1, 2)) if len(members) > 1 else 1
    unit = {}
    groups = [members] if n_files == 1 else [members[:1], members[1:]]
    R.broken, R.fixed = {}, {}
    folder = r.choice(("src/", "src/", "")) if lang == "p" else "src/" if lang == "c" else r.choice(("", "src/", "lib/"))
    ext = {"p": "py", "c": "c", "j": "js"}[lang]
    tests = []
    for group in groups:
        fn = {id(m): names.function(m) for m in group}
        module = r.choice((fn[id(group[0])].lower(), names.word(), r.choice(MODULES)))
        if module in unit or module in RESERVED or module in ("test", "string", "random", "calendar", "statistics", "numbers", "code"):
            module = names.claim(names.word)
        unit[module] = True
        path = f"{folder}{module}.{ext}"
        good, bad, protos = [], [], []
        for m in group:
            loc = names.locals(m)
            try:
                g, proto = render.show(m.tree, lang, fn[id(m)], loc, m.params)
                b = render.show(bug[1], lang, fn[id(m)], loc, m.params)[0] if m is s else g
            except running.Refused:
                return None
            checks = _checks(r, m, fn[id(m)], bug if m is s else None, lang)
            if checks is None:
                return None
            if m is s:
                if b == g:
                    return None
                lo = next((k for k in range(min(len(g), len(b))) if g[k] != b[k]), None)
                hi = 0
                while hi < min(len(g), len(b)) - (lo or 0) and g[-1 - hi] == b[-1 - hi]:
                    hi += 1
                if lo is None or len(g) != len(b) or len(b) - hi - lo not in (1, 2):
                    return None
                R.span = (len(b), lo, len(b) - hi)
                R.function, R.path, loc_of_bug = fn[id(m)], path, loc
            if good:
                gap = ["", ""] if lang == "p" else [""]
                good, bad = good + gap, bad + gap
            if m is s:
                R.offset = len(bad)
            good, bad = good + g, bad + b
            protos.append(proto)
            tests.append((module, m, fn[id(m)], checks))
        pre, post = [], []
        if lang == "c":
            strings = any("strlen" in x for x in good)
            pre = [f'#include "{module}.h"'] + (["#include <string.h>"] if strings else []) + [""]
            R.broken[f"src/{module}.h"] = R.fixed[f"src/{module}.h"] = "\n".join(protos) + "\n"
        if lang == "j":
            post = ["", "module.exports = { " + ", ".join(fn[id(m)] for m in group) + " };"]
        if any(m is s for m in group):
            R.offset += len(pre)
        R.fixed[path] = "\n".join(pre + good + post) + "\n"
        R.broken[path] = "\n".join(pre + bad + post) + "\n"
    state = r.getstate()
    try:
        _tests(r, R, tests, folder)
    except running.Refused:
        return None
    R.attempts = lambda r, n: _attempts(r, R, s, bug, tests, (folder, state), loc_of_bug, n)
    if not small and r.random() < 0.3:
        R.fixed["README.md"] = R.broken["README.md"] = f"# {names.word()}\n\n{r.choice(('Small helpers.', 'A few small functions.', 'Notes and tools.'))}\n"
    lines = R.broken[R.path].split("\n")
    fixed = R.fixed[R.path].split("\n")
    lo, hi = R.offset + R.span[1], R.offset + R.span[2]
    text = R.broken[R.path]
    start = lo
    while True:
        old, new = "\n".join(lines[start:hi]).lstrip(), "\n".join(fixed[start:hi]).lstrip()
        if text.count(old) == 1:
            break
        start -= 1
        if start < 0 or lo - start > 3:
            return None
    if start == lo and hi - lo == 1 and old == "" or not old.strip() or old == new:
        return None
    R.old, R.new, R.kind, R.skeleton, R.line, R.last = old, new, kind, s.key, lo, hi - 1
    h = "".join(r.choice("0123456789abcdef") for _ in range(6))
    R.root = r.choice(ROOTS).format(h=h, n=names.word(), m=names.word(), d=r.randint(0, 99))
    return R


class Attempt:
    """A repair that misses: one line changed (or none, when new is old), and what the tests say then."""
    old = new = kind = summary = ""
    line = 0
    exact = False  # the summary is word for word what the real runner says


def _attempts(r, R, s, bug, tests, how, loc, n):
    """Up to n repairs that miss, each of the broken file, no two alike. They change one line of the broken function;
    a fifth of them leave no working program, or change nothing."""
    out = _mistakes(r, R, s, bug, tests, how, loc, n)
    for k in range(n):
        if k >= len(out) or r.random() < 1 / 5:
            a = _mishap(r, R)
            if a is not None and all((a.old, a.new) != (o.old, o.new) for o in out):
                out[k:k + 1] = [a]
    return out


def _mishap(r, R):
    """A repair that breaks the program or leaves it as it was, or None when this draw does not work out."""
    text, a = R.broken[R.path], Attempt()
    lines = text.split("\n")
    a.line = R.offset + r.randrange(R.span[0])
    a.old, a.kind = lines[a.line].lstrip(), r.choice(sorted(WRONG))
    if len(a.old) < 4 or text.count(a.old) != 1:
        return None
    name = r.choice(re.findall(r"[A-Za-z_]\w*", a.old) or ["x"])
    how = r.random()
    if how < 0.3:
        a.new, a.summary = a.old, R.summary
        return a
    other = name + r.choice(VOWELS) if how < 0.5 else r.choice(sorted(set(re.findall(r"[a-z_]\w*", text)) - {name}) or ["x"])
    at = r.randrange(1, len(a.old))
    a.new = a.old.replace(name, other, 1) if how < 0.8 else a.old[:at] + a.old[at + 1:]
    if a.new.strip() != a.new or a.new == R.new or a.new == a.old:
        return None
    a.summary = mishaps.summary(r, R, a.line, other, name, lines[a.line].replace(a.old, a.new).strip())
    return a


def _mistakes(r, R, s, bug, tests, how, loc, n):
    """Repairs that leave a working program which some test still does not pass."""
    folder, state = how
    before = render.show(bug[1], R.lang, R.function, loc, s.params)[0]
    checks = next(c for _, m, _, c in tests if m is s)
    out, tried = [], set()
    for kind, tree, run in mutations.mistakes(r, bug[1], 24):
        try:
            after = render.show(tree, R.lang, R.function, loc, s.params)[0]
        except (running.Refused, NotImplementedError):
            continue
        changed = [k for k in range(min(len(before), len(after))) if before[k] != after[k]]
        if len(before) != len(after) or len(changed) != 1:
            continue
        a = Attempt()
        a.old, a.new, a.kind = before[changed[0]].lstrip(), after[changed[0]].lstrip(), kind
        text = R.broken[R.path]
        edited = text.replace(a.old, a.new)
        if text.count(a.old) != 1 or edited.count(a.new) != 1 or (a.old, a.new) in tried or not a.new or a.new == R.new:
            continue
        again = _again(R.lang, s, checks, run)
        if again is None:
            continue
        seen = Repository()
        seen.lang, seen.broken, seen.fixed = R.lang, {}, {}
        tests_now = [(module, m, f, again if m is s else c) for module, m, f, c in tests]
        r2 = random.Random()
        r2.setstate(state)
        try:
            _tests(r2, seen, tests_now, folder)
        except running.Refused:
            continue
        a.summary, a.line, a.exact = seen.summary, R.offset + changed[0], True
        tried.add((a.old, a.new))
        out.append(a)
        if len(out) == n:
            break
    return out


def _again(lang, s, checks, run):
    """The checks with what another version of the function gives; None when it passes them or cannot be told."""
    out, differs = [], False
    for before, call, want, _, given in checks:
        if s.is_class:
            values = running.play(run, *given[:2])
            if values is None:
                return None
            got = values[given[2]]
        else:
            ok, got = running.call(run, given)
            if not ok:
                return None
        if type(got) is not type(want) and (got is not None or lang == "c" or isinstance(want, list)):
            return None  # a list is joined before it is compared: nothing cannot be
        differs = differs or got != want
        out.append((before, call, want, got, given))
    return out if differs else None


def _tests(r, R, tests, folder):
    """Adds the test file (one for all functions) and what the `test` tool reports."""
    lang = R.lang
    module = tests[0][0] if r.random() < 0.7 else r.choice(("all", "basic", "unit"))
    failure = None
    by_module = {}
    for m, _, f, _ in tests:
        by_module.setdefault(m, []).append(f)
    if lang == "p":
        package = folder.rstrip("/") + "." if folder else ""
        path = f"tests/test_{module}.py"
        lines = ["import unittest", ""] + [f"from {package}{m} import {', '.join(fs)}" for m, fs in by_module.items()]
        lines += ["", "", f"class {r.choice(('Tests', 'TestAll', 'BasicTests'))}(unittest.TestCase):"]
        for k, (_, s, f, checks) in enumerate(tests):
            if k:
                lines.append("")
            lines.append(f"    def test_{f}(self):")
            for before, call, want, got, _ in checks:
                lines += ["        " + b for b in before]
                lines.append(f"        self.assertEqual({call}, {render.literal(want, 'p')})")
                if want != got and not failure:
                    what = "Lists differ: " if isinstance(want, list) and isinstance(got, list) else ""
                    failure = (call, want, got)
                    R.summary = [f"FAIL {path}:{len(lines)} test_{f}", "  " + lines[-1].strip(),
                                 f"  AssertionError: {what}{got!r} != {want!r}"]
        command, count = "python3 -m unittest discover -s tests", len(tests)
    elif lang == "j":
        path = f"test/{module}.test.js"
        lines = ['const test = require("node:test");', 'const assert = require("node:assert");']
        lines += [f'const {{ {", ".join(fs)} }} = require("../{folder}{m}.js");' for m, fs in by_module.items()] + [""]
        for k, (_, s, f, checks) in enumerate(tests):
            if k:
                lines.append("")
            lines.append(f'test("{f}", () => {{')
            for before, call, want, got, _ in checks:
                lines += ["  " + b + ";" for b in before]
                call, want = _js(call, want)
                got = _js("", got)[1] if isinstance(got, list) else got
                lines.append(f"  assert.strictEqual({call}, {render.literal(want, 'j')});")
                if want != got and not failure:
                    failure = (call, want, got)
                    R.summary = [f"FAIL {path}:{len(lines)} {f}", "  " + lines[-1].strip(),
                                 f"  {_seen(got, 'j')} !== {_seen(want, 'j')}"]
            lines.append("});")
        command, count = "node --test", len(tests)
    else:
        path = f"tests/test_{module}.c"
        lines = ["#include <stdio.h>"] + [f'#include "../src/{m}.h"' for m in by_module]
        lines += ["", "#define CHECK(call, want) if ((call) != (want)) return printf(\"%s:%d: %s is %d, expected %d\\n\", __FILE__, "
                  "__LINE__, #call, call, want), 1", "", "int main(void) {"]
        for _, s, f, checks in tests:
            for before, call, want, got, _ in checks:
                lines.append(f"    CHECK({call}, {render.literal(want, 'c')});")
                if want != got and not failure:
                    failure = (call, want, got)
                    R.summary = [f"  {path}:{len(lines)}: {call} is {_seen(got, 'c')}, expected {_seen(want, 'c')}"]
        lines += ["    return 0;", "}"]
        command, count = "make test", 0
        R.broken["Makefile"] = R.fixed["Makefile"] = "test:\n\tcc -o run_tests tests/*.c src/*.c && ./run_tests\n"
    R.broken[path] = R.fixed[path] = "\n".join(lines) + "\n"
    call, want, got = failure
    R.call, R.want, R.got = call, _seen(want, lang), _seen(got, lang)
    if count:
        R.summary = "\n".join([f"1 of {count} test{'s' if count > 1 else ''} failed ({command})"] + R.summary)
        R.passed = f"{count} test{'s' if count > 1 else ''} passed ({command})"
    else:
        R.summary = "\n".join([f"tests failed ({command}, exit status 2)"] + R.summary)
        R.passed = f"tests passed ({command})"


def draw(r, pool, **how):
    while True:
        R = repository(r, pool, **how)
        if R is not None:
            return R


def catalogue(r, files):
    """The repository as the prompt shows it."""
    out = [f'<repository files="{len(files)}">\n']
    for path in sorted(files, key=lambda p: p.encode()):
        sha = "".join(r.choice("0123456789abcdef") for _ in range(8))
        out.append(f'<file path="{path}" lines="{files[path].count(chr(10))}" sha="{sha}">\n{files[path]}</file>\n')
    return "".join(out) + "</repository>\n"


def numbered(line, text):
    """One line as the tools show it."""
    return f"{line:6d}  {text}\n"


def shown(R, path, files=None):
    """What `outline` says when asked for the broken function by name; or for it in other files than R.broken."""
    lines = (files or R.broken)[R.path].split("\n")[R.offset:R.offset + R.span[0]]
    return path + "\n" + "".join(numbered(R.offset + k, text) for k, text in enumerate(lines, 1))


def invoke(tool, *params):
    """Segments of one call; params are (key, value, tag)."""
    out = [(f'<{DSML}invoke name="{tool}">\n', True, "")]
    for k, (key, value, tag) in enumerate(params):
        out += [(("\n" if k else "") + f'<{DSML}parameter name="{key}" string="true">', True, ""), (value, True, tag),
                (f"</{DSML}parameter>", True, "")]
    return out + [(f"\n</{DSML}invoke>\n", True, "")]


def calls(*invokes):
    """Segments of an answer's calls, which run one after the other."""
    return [(f"{THINK_END}\n\n<{DSML}tool_calls>\n", True, "")] + sum(invokes, []) + [(f"</{DSML}tool_calls>{EOS}", True, "")]


def results(*texts):
    return [(USER, False, ""), ("\n\n".join(f"<tool_result>{t}</tool_result>" for t in texts), False, ""), (ASSISTANT + THINK, False, "")]


def transcript(r, R, mini=False, micro=False, misses=0):
    """The session that repairs R, after up to `misses` repairs that did not help and were undone. A mini session starts at the
    test result and ends with the edit; a micro session starts with the function already in view. Both exist only to learn from:
    they pack more decisions into the same tokens."""
    path = f"{R.root}/{R.path}"
    out = [(BOS + EFFORT + HEAD, False, "")]
    tried = R.attempts(r, misses) if misses else []
    begin = f"The repository is at {R.root}.\n\n"
    if not mini:
        task = r.choice(TASKS).format(f=R.function)
        out += [(catalogue(r, R.broken), False, ""), (USER, False, ""), (f"{begin}{task}", False, ""), (ASSISTANT + THINK, False, ""),
                ("Run the tests.", True, "")] + calls(invoke("test")) + results(R.summary)
    elif not micro:
        out += [(USER, False, ""), (f"{begin}<tool_result>{R.summary}</tool_result>", False, ""), (ASSISTANT + THINK, False, "")]
    else:
        out += [(USER, False, ""), (f"{begin}<tool_result>{R.summary}</tool_result>\n\n<tool_result>{shown(R, path)}</tool_result>", False, ""),
                (ASSISTANT + THINK, False, "")]
    if not micro:
        out += [(f"{R.call} is {R.got}, not {R.want}.", True, "")] + calls(invoke("outline", ("name", R.function, "function")))
        out += results(shown(R, path))
    for a in tried:
        said, undone = (_edited(path), _undone(path)) if a.new != a.old else (UNCHANGED, f"No edit of {path} is left to undo.")
        out += _repair(R, path, a) + results(said, a.summary) + _undo(R, path) + results(undone, R.summary, shown(R, path))
    repair = _repair(R, path)
    if mini:
        return out + (repair if not micro or r.random() < 0.3 else _thought(R))  # most end with the thought
    out += repair + results(_edited(path), R.passed)
    return out + [(f"The tests pass.{THINK_END}Fixed {R.function} in {R.path}: {WRONG[R.kind]}.{EOS}", True, "")]


UNCHANGED = "No replacement was performed, old_str and new_str are the same."


def _edited(path):
    return f"The file {path} has been edited successfully."


def _undone(path):
    return f"The last edit of {path} has been undone."


def _thought(R, a=None):
    """The function read line by line up to the wrong one, and what is wrong. With an attempt, what the model says when it is
    mistaken: from a working program that does not help it learns, with little weight, what a repair of a line may be, but not
    of which line, and from others nothing."""
    new, kind, last = (a.new, a.kind, a.line) if a else (R.new, R.kind, R.last)
    tag = (lambda t: "try" if a.exact and t in ("kind", "repair") else "given") if a else (lambda t: t)
    lines = R.broken[R.path].split("\n")
    out = [(f"{R.call} should be {R.want}.", True, "")]
    for k in range(R.offset, last + 1):
        number, text = numbered(k + 1, lines[k]).rstrip("\n")[:8], lines[k]
        out += [("\n" + number, True, tag("go") if k > R.offset else ""), (text, True, "copy")]
    return out + [("\n", True, tag("stop")), (f"Here {WRONG[kind]}. It should be:\n", True, tag("kind")), (new, True, tag("repair"))]


def _repair(R, path, a=None):
    old, new = (a.old, a.new) if a else (R.old, R.new)
    edit = invoke("str_replace_editor", ("command", "str_replace", ""), ("path", path, "path"), ("old_str", old, "old_str"), ("new_str", new, "new_str"))
    return _thought(R, a) + calls(edit, invoke("test"))


def _undo(R, path):
    """A repair that did not help is taken back; the tests and the function are then before the model as they were at first."""
    undo = invoke("str_replace_editor", ("command", "undo_edit", "undo"), ("path", path, "undo"))
    return [("That was not it.", True, "undo")] + calls(undo, invoke("test"), invoke("outline", ("name", R.function, "function")))


def question(r, R):
    """A question about the repository, answered from what `outline` says."""
    f, path = R.function, f"{R.root}/{R.path}"
    ask = r.choice(("Which file defines {f}?", "Where is {f} defined?", "In which file is {f}?", "Where do I find {f}?")).format(f=f)
    out = [(BOS + EFFORT + HEAD, False, ""), (catalogue(r, R.fixed), False, ""), (USER, False, ""),
           (f"The repository is at {R.root}.\n\n{ask}", False, ""), (ASSISTANT + THINK, False, ""), ("Look it up.", True, "")]
    out += calls(invoke("outline", ("name", f, "function"))) + results(shown(R, path, R.fixed))
    return out + [(f"{f} is defined in ", True, ""), (path, True, "file"), (f".{THINK_END}{f} is defined in ", True, ""), (path, True, "file"),
                  (f", line {R.offset + 1}.{EOS}", True, "file")]
