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
import head
from sessions import EFFORT, HEAD

ANSWER_TOKENS_MAX = 1024
TEMPERATURE = 0.2  # what is drawn again differs by itself (daemon/turn/branches.h)


def write(state, directory, texts):
    """The checkpoint of a training state; `texts` are those of the two tokens that stand for the prompt's head."""
    spec = dict(state["tokenizer"], added_tokens=[dict(t, content=texts.get(t["content"], t["content"])) for t in state["tokenizer"]["added_tokens"]])
    os.makedirs(directory, exist_ok=True)

    def dump(name, value):
        with open(os.path.join(directory, name), "w", encoding="utf-8") as f:
            f.write(json.dumps(value, ensure_ascii=False, indent=1) + "\n")
    dump("tokenizer.json", spec)
    dump("config.json", state["config"])
    dump("generation_config.json", {"bos_token_id": 0, "eos_token_id": 1, "do_sample": True, "temperature": TEMPERATURE,
                                    "max_new_tokens": ANSWER_TOKENS_MAX})
    named = formats.tensors(state["model"])
    shard = lambda n: 1 if n.startswith("embed") else 3 if n.startswith("mtp") else 2
    where = {n: f"model-{shard(n):05d}-of-00003.safetensors" for n in named}
    for k in (1, 2, 3):
        formats.write_safetensors(os.path.join(directory, f"model-{k:05d}-of-00003.safetensors"), {n: v for n, v in named.items() if shard(n) == k})
    total = sum(v[1].nbytes for v in named.values())
    dump("model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": where})
    print(f"{directory}: {len(named)} tensors, {total / 1e6:.2f} MB, {state['tokens'] / 1e6:.2f}M tokens of training")


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("state")
    ap.add_argument("directory")
    ap.add_argument("--head")
    a = ap.parse_args()
    state = torch.load(a.state, map_location="cpu")
    target = os.path.join(a.directory, "tokenizer.json")
    texts = {}
    if a.head:
        texts = head.texts(a.head)
    elif os.path.exists(target):
        with open(target, encoding="utf-8") as f:
            old = {t["id"]: t["content"] for t in json.load(f)["added_tokens"]}
        texts = {t["content"]: old[t["id"]] for t in state["tokenizer"]["added_tokens"] if t["content"] in (EFFORT, HEAD)}
    write(state, a.directory, texts)


if __name__ == "__main__":
    main()
