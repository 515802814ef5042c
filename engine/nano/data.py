"""Training data: sessions and random repeats as token ids and loss weights."""
import random
import typing

import sessions
import tokenizer

WEIGHTS = {"go": 1.0, "stop": 1.0, "kind": 2.0, "repair": 2.0, "file": 2.0, "function": 1.0, "path": 1.0, "old_str": 1.0, "new_str": 1.0, "undo": 1.0,
           "copy": 0.6, "given": 0.0}
SAID, READ = 0.3, 0.2  # weight of untagged tokens the model says, and of a sixth of what it reads


class Mix(typing.NamedTuple):
    length_max: int  # tokens of a session after the first
    misses: dict     # repairs that do not help before the one that does, drawn by the session's form
    strange: float   # of the functions to repair, those that exist nowhere else: for them a repair is one of the small changes, not a memory
    tries: float     # weight of what is wrong, and of the new line, in repairs that leave a working program and do not help


FIRST = Mix(3072, {"micro": (0,) * 9 + (1,), "mini": (0, 0, 0, 1), "whole": (0, 0, 1, 1, 2, 3, 5, 7)}, 0.2, 0.0)
# For a model that repairs already, at the end of its learning. How it went on where it guessed wrong is not weighed, only what a guess is made of:
# with both it became unsure where to stop, at the wrong line too.
MISSED = Mix(4096, {"micro": (0,) * 8 + (1, 2), "mini": (0, 0, 0, 1, 2, 3), "whole": (0, 0, 0, 1, 1, 2, 4, 8)}, 0.3, 0.2)
MIXES = {"first": FIRST, "missed": MISSED}


def tokens_of(tok, segments, r=None, tries=0.0):
    """ids, loss weights and the token spans of the tags."""
    ids, w, spans = [], [], []
    for text, said, tag in segments:
        t = tok.encode(text, True) if said or "｜" in text[:2] or text == sessions.ASSISTANT + sessions.THINK else tok.encode(text)
        if tag:
            spans.append((tag, len(ids), len(ids) + len(t)))
        ids += t
        if said:
            w += [tries if tag == "try" else WEIGHTS.get(tag, SAID)] * len(t)
        else:
            w += [READ if r and r.random() < 1 / 6 else 0.0 for _ in t]
    return ids, w, spans


def repeats(r, size, length):
    """Fresh random chunks and exact repeats of earlier ones; only repeats carry loss."""
    ids, w = [0], [0.0]
    while len(ids) <= length:
        n = r.randint(6, 20)
        if len(ids) < 24 or r.random() < 0.35:
            ids += [r.randrange(10, size) for _ in range(n)]
            w += [0.0] * n
        else:
            a = r.randrange(1, max(2, len(ids) - n))
            c = ids[a:a + n]
            ids += c
            w += [0.0] + [1.0] * (len(c) - 1)
    return ids[:length + 1], w[:length + 1]


def session(r, pool, tok, mini, micro, questions, mix=FIRST):
    """ids and loss weights of a session; `questions`: their share among whole sessions."""
    while True:
        R = sessions.draw(r, pool, lang=r.choice("pcj"), small=r.random() < (0.8 if mini else 0.3), strange=mix.strange)
        misses = r.choice(mix.misses["micro" if micro else "mini" if mini else "whole"])
        s = sessions.question(r, R) if not mini and r.random() < questions else sessions.transcript(r, R, mini, micro, misses)
        ids, w, _ = tokens_of(tok, s, r, mix.tries)
        if len(ids) <= mix.length_max + 1:
            return ids, w


def make_tokenizer(pool, seed):
    r = random.Random(seed)
    texts = ["".join(x for x, _, _ in (sessions.question if k % 12 == 0 else sessions.transcript)(r, sessions.draw(r, pool))) for k in range(1500)]
    return tokenizer.train(texts, 1280)
