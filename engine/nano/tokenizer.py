"""nano's tokenizer: byte-level BPE in Hugging Face's tokenizer.json format, learned on the generator's text.

An identifier has one spelling whatever stands before it: no merge joins a space with letters, names are split at `_`, digits
stand alone, and unknown words are spelled in pieces of at most four letters. Words of fixed wording are whole.
"""
import collections
import json
import re

from sessions import ASSISTANT, BOS, DSML, EFFORT, EOS, HEAD, THINK, THINK_END, USER

PAD = "<｜▁pad▁｜>"
ADDED = [BOS, EOS, PAD, USER, ASSISTANT, THINK, THINK_END, DSML, EFFORT, HEAD]

# Words after which a space belongs to the word: they never name anything.
SPACED = ("if elif else return for while def not in int let const char function import from class The It In is should be not "
          "Look at This line of condition operator constant variable order off by Fixed passed failed test tests Run the are and or "
          "repository file has been edited AssertionError: Lists differ: expected FAIL").split()
FIXED = (r'</?tool_result>', r'<repository files="', r'</?repository>', r'<file path="', r'</file>', r'" lines="', r'" sha="',
         r'tool_calls>', r'invoke name="', r'invoke>', r'parameter name="', r'parameter>', r'" string="(?:true|false)">',
         r'str_replace_editor', r'str_replace', r'old_str', r'new_str', r'file_text', r'assertEqual', r'strictEqual', r'unittest',
         r'#include', r'#define', r'__FILE__', r'__LINE__', r'\(self', r'self\.', r'this\.', r'TestCase', r'module\.exports', r'===', r'!==')
PATTERN = "|".join(FIXED + (
    r"\n? {4,5}[0-9]{1,2}  ",                                   # the number of a viewed line
    r"\n *", r"[0-9]",
    r"(?:" + "|".join(sorted(SPACED, key=lambda w: -len(w))) + r") ",
    r"[A-Za-z]+",
    r" (?:===|!==|==|!=|<=|>=|\+=|-=|\*=|//=|//|&&|\|\||=>|[-+*/%<>=]) ",
    r"\(\)", r"\);", r"\):", r"\) \{", r", ", r": ", r"\. ", r"\+\+", r"--", r" +", r"[\s\S]"))
SPLIT = re.compile(PATTERN)


def byte_alphabet():
    """GPT-2's printable stand-ins for the 256 bytes."""
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    table, extra = {}, 0
    for b in range(256):
        table[b] = chr(b) if b in keep else chr(256 + extra)
        extra += b not in keep
    return table


BYTES = byte_alphabet()


class Tokenizer:
    def __init__(self, spec):
        self.spec = spec
        self.vocab = spec["model"]["vocab"]
        self.added = {t["content"]: t["id"] for t in spec["added_tokens"]}
        self.ranks = {tuple(m.split(" ")) if isinstance(m, str) else tuple(m): k for k, m in enumerate(spec["model"]["merges"])}
        self.size = 1 + max(list(self.vocab.values()) + list(self.added.values()))
        self.text = {i: t for t, i in self.vocab.items()}
        self.back = {c: b for b, c in BYTES.items()}
        self.split_added = re.compile("(" + "|".join(re.escape(a) for a in sorted(self.added, key=len, reverse=True)) + ")")
        self.cache = {}

    @staticmethod
    def load(path):
        with open(path, encoding="utf-8") as f:
            return Tokenizer(json.load(f))

    def piece(self, text):
        ids = self.cache.get(text)
        if ids is None:
            parts = [BYTES[b] for b in text.encode()]
            while len(parts) > 1:
                rank, k = min((self.ranks.get((parts[k], parts[k + 1]), 1 << 30), k) for k in range(len(parts) - 1))
                if rank == 1 << 30:
                    break
                parts[k:k + 2] = [parts[k] + parts[k + 1]]
            ids = self.cache[text] = [self.vocab[p] for p in parts]
        return ids

    def encode(self, text, added=False):
        out = []
        for k, part in enumerate(self.split_added.split(text) if added else [text]):
            if added and k % 2:
                out.append(self.added[part])
            else:
                for p in SPLIT.findall(part):
                    out += self.piece(p)
        return out

    def decode(self, ids):
        names = {i: t for t, i in self.added.items()}
        out = b""
        for i in ids:
            out += names[i].encode() if i in names else bytes(self.back[c] for c in self.text.get(i, ""))
        return out.decode("utf-8", "replace")


def train(texts, size):
    """Merges by count over the pieces of `texts`, until the vocabulary has `size` ids."""
    marks = re.compile("(" + "|".join(re.escape(a) for a in ADDED) + ")")
    counts = collections.Counter(p for t in texts for k, part in enumerate(marks.split(t)) if k % 2 == 0 for p in SPLIT.findall(part))
    spaced = set(SPACED)
    whole = re.compile("|".join(FIXED))
    words = []
    for p, n in counts.items():
        free = p.isalpha() and p.isascii() and p not in spaced and not whole.fullmatch(p)
        words.append(([BYTES[b] for b in p.encode()], n, free))
    vocab = {c: k + len(ADDED) for k, c in enumerate(sorted(BYTES.values()))}
    merges = []
    while len(vocab) + len(ADDED) < size:
        pairs = collections.Counter()
        for parts, n, free in words:
            for a, b in zip(parts, parts[1:]):
                if not free or len(a) + len(b) <= 4:
                    pairs[a, b] += n
        if not pairs:
            break
        (a, b), n = max(pairs.items(), key=lambda x: (x[1], x[0]))
        if n < 3:
            break
        merges.append([a, b])
        vocab.setdefault(a + b, len(vocab) + len(ADDED))
        for parts, _, _ in words:
            k = 0
            while k + 1 < len(parts):
                if parts[k] == a and parts[k + 1] == b:
                    parts[k:k + 2] = [a + b]
                k += 1
    added = [dict(id=k, content=a, single_word=False, lstrip=False, rstrip=False, normalized=False, special=k < 3) for k, a in enumerate(ADDED)]
    return dict(version="1.0", truncation=None, padding=None, added_tokens=added, normalizer=None,
                pre_tokenizer=dict(type="Sequence", pretokenizers=[
                    dict(type="Split", pattern=dict(Regex=PATTERN), behavior="Isolated", invert=False),
                    dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=False)]),
                post_processor=None, decoder=dict(type="ByteLevel", add_prefix_space=True, trim_offsets=True, use_regex=True),
                model=dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None, end_of_word_suffix=None,
                           fuse_unk=False, byte_fallback=False, vocab=vocab, merges=[" ".join(m) for m in merges]))
