"""Tells nano's tokenizer the constant head of every prompt: head.py CHECKPOINT FILE

FILE is what `lares prompt --head` prints: effort text, system sentence, tool catalogue. nano reads it as two tokens, so it has to
be told again when a tool's description changes; nothing has to be trained.
"""
import json
import os
import sys

from sessions import BOS, EFFORT, HEAD

SYSTEM = "You are a helpful software engineer assistant."


def texts(path):
    """{placeholder: text} of a head."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    if not text.startswith(BOS):
        raise SystemExit(f"head: {path} does not begin with {BOS}")
    text = text[len(BOS):]
    cut = text.index(SYSTEM)
    return {EFFORT: text[:cut], HEAD: text[cut:]}


def main():
    target = os.path.join(sys.argv[1], "tokenizer.json")
    new = texts(sys.argv[2])
    with open(target, encoding="utf-8") as f:
        spec = json.load(f)
    effort, head = [t for t in spec["added_tokens"] if t["id"] in (8, 9)]
    effort["content"], head["content"] = new[EFFORT], new[HEAD]
    with open(target + ".new", "w", encoding="utf-8") as f:
        f.write(json.dumps(spec, ensure_ascii=False, indent=1) + "\n")
    os.replace(target + ".new", target)


if __name__ == "__main__":
    main()
