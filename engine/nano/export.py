"""Writes a training state as a checkpoint in the official layout.

  export.py STATE DIRECTORY [--head FILE]

FILE is the constant head of every prompt (`lares prompt --head`: effort text, system sentence, tool catalogue); it becomes
the text of the two tokens that stand for it. Without FILE the texts already in DIRECTORY's tokenizer.json are kept.
"""
import argparse
import json
import os

import torch

import formats
from sessions import EFFORT, HEAD

SYSTEM = "You are a helpful software engineer assistant."


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("state")
    ap.add_argument("directory")
    ap.add_argument("--head")
    a = ap.parse_args()
    state = torch.load(a.state, map_location="cpu")
    spec, config = state["tokenizer"], state["config"]
    target = os.path.join(a.directory, "tokenizer.json")
    texts = {}
    if a.head:
        text = open(a.head, encoding="utf-8").read()
        cut = text.index(SYSTEM)
        texts = {EFFORT: text[:cut], HEAD: text[cut:]}
    elif os.path.exists(target):
        old = {t["id"]: t["content"] for t in json.load(open(target))["added_tokens"]}
        texts = {t["content"]: old[t["id"]] for t in spec["added_tokens"] if t["content"] in (EFFORT, HEAD)}
    for t in spec["added_tokens"]:
        t["content"] = texts.get(t["content"], t["content"])
    os.makedirs(a.directory, exist_ok=True)
    dump = lambda name, value: open(os.path.join(a.directory, name), "w", encoding="utf-8").write(
        json.dumps(value, ensure_ascii=False, indent=1) + "\n")
    dump("tokenizer.json", spec)
    dump("config.json", config)
    named = formats.tensors(state["model"])
    shard = lambda n: 1 if n.startswith("embed") else 3 if n.startswith("mtp") else 2
    where = {n: f"model-{shard(n):05d}-of-00003.safetensors" for n in named}
    for k in (1, 2, 3):
        formats.write_safetensors(os.path.join(a.directory, f"model-{k:05d}-of-00003.safetensors"), {n: v for n, v in named.items() if shard(n) == k})
    total = sum(v[1].nbytes for v in named.values())
    dump("model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": where})
    print(f"{a.directory}: {len(named)} tensors, {total / 1e6:.2f} MB, {state['tokens'] / 1e6:.2f}M tokens of training")


if __name__ == "__main__":
    main()
