#!/usr/bin/env python3
"""Writes a GGUF that llama.cpp v0.5.0 runs from an official-layout DeepSeek-V4 checkpoint; MTP blocks are left out.

  gguf.py [--dense f32|q8_0] [--experts f32|mxfp4] CHECKPOINT OUT.gguf

f32 holds the checkpoint's values exactly, and so does mxfp4 for official FP4 experts: the same codes and scales in another
order. q8_0 rounds. Norms, hyper-connections, routers and the like are f32 in every case, as llama.cpp's graph wants them.
Names, keys and shapes are those of llama.cpp's deepseek4 architecture; nothing is transposed or permuted. There is no
vocabulary: token ids go in, logits come out.
"""
import argparse
import os
import sys

from checkpoint import BLOCK, Checkpoint
from gguf_file import F32, I32, MXFP4, Q8_0, Tensor, mxfp4, q8_0, write

KINDS = {"f32": F32, "q8_0": Q8_0, "mxfp4": MXFP4}

# Official name, GGUF name (and .weight, where it is no bias), and the type where --dense has no say.
MODEL = """
embed.weight                            token_embd
head.weight                             output
norm.weight                             output_norm                 f32
hc_head_fn                              output_hc_fn                f32
hc_head_base                            output_hc_base              f32
hc_head_scale                           output_hc_scale             f32
"""
LAYER = """
attn_norm.weight                        attn_norm                   f32
ffn_norm.weight                         ffn_norm                    f32
hc_attn_fn                              hc_attn_fn                  f32
hc_attn_base                            hc_attn_base                f32
hc_attn_scale                           hc_attn_scale               f32
hc_ffn_fn                               hc_ffn_fn                   f32
hc_ffn_base                             hc_ffn_base                 f32
hc_ffn_scale                            hc_ffn_scale                f32
attn.attn_sink                          attn_sinks                  f32
attn.wq_a.weight                        attn_q_a
attn.q_norm.weight                      attn_q_a_norm               f32
attn.wq_b.weight                        attn_q_b
attn.wkv.weight                         attn_kv
attn.kv_norm.weight                     attn_kv_a_norm              f32
attn.wo_a.weight                        attn_output_a
attn.wo_b.weight                        attn_output_b
attn.compressor.wkv.weight              attn_compressor_kv
attn.compressor.wgate.weight            attn_compressor_gate
attn.compressor.ape                     attn_compressor_ape         f32
attn.compressor.norm.weight             attn_compressor_norm        f32
attn.indexer.wq_b.weight                indexer.attn_q_b
attn.indexer.weights_proj.weight        indexer.proj                f32
attn.indexer.compressor.wkv.weight      indexer_compressor_kv
attn.indexer.compressor.wgate.weight    indexer_compressor_gate
attn.indexer.compressor.ape             indexer_compressor_ape      f32
attn.indexer.compressor.norm.weight     indexer_compressor_norm     f32
ffn.gate.weight                         ffn_gate_inp                f32
ffn.gate.bias                           exp_probs_b.bias            f32
ffn.gate.tid2eid                        ffn_gate_tid2eid            i32
ffn.shared_experts.w1.weight            ffn_gate_shexp
ffn.shared_experts.w2.weight            ffn_down_shexp
ffn.shared_experts.w3.weight            ffn_up_shexp
"""
EXPERTS = {"w1": "ffn_gate_exps", "w2": "ffn_down_exps", "w3": "ffn_up_exps"}  # all experts of a layer, the expert slowest

# GGUF key (after deepseek4.), the config's key, and its type in the file.
KEYS = """
vocab_size                              vocab_size                  int
context_length                          max_position_embeddings     int
embedding_length                        hidden_size                 int
block_count                             num_hidden_layers           int
attention.head_count                    num_attention_heads         int
attention.head_count_kv                 num_key_value_heads         int
attention.key_length                    head_dim                    int
attention.value_length                  head_dim                    int
attention.layer_norm_rms_epsilon        rms_norm_eps                float
attention.q_lora_rank                   q_lora_rank                 int
attention.sliding_window                sliding_window              int
attention.output_group_count            o_groups                    int
attention.output_lora_rank              o_lora_rank                 int
attention.compress_rope_freq_base       compress_rope_theta         float
attention.indexer.head_count            index_n_heads               int
attention.indexer.key_length            index_head_dim              int
attention.indexer.top_k                 index_topk                  int
rope.dimension_count                    qk_rope_head_dim            int
rope.freq_base                          rope_theta                  float
expert_count                            n_routed_experts            int
expert_used_count                       num_experts_per_tok         int
expert_shared_count                     n_shared_experts            int
expert_feed_forward_length              moe_intermediate_size       int
expert_weights_scale                    routed_scaling_factor       float
expert_weights_norm                     norm_topk_prob              bool
hash_layer_count                        num_hash_layers             int
hyper_connection.count                  hc_mult                     int
hyper_connection.sinkhorn_iterations    hc_sinkhorn_iters           int
hyper_connection.epsilon                hc_eps                      float
"""
YARN_KEYS = """
rope.scaling.type                       type                                str
rope.scaling.factor                     factor                              float
rope.scaling.original_context_length    original_max_position_embeddings    int
rope.scaling.yarn_beta_fast             beta_fast                           float
rope.scaling.yarn_beta_slow             beta_slow                           float
"""
SQRT_SOFTPLUS = 4  # expert_gating_func
VALUES = 1 << 22


def rows(table):
    return [(*line.split(), "")[:3] for line in table.split("\n") if line]


def metadata(c):
    """The key-value pairs, from a config.json."""
    n, types = c["num_hidden_layers"], {"int": int, "float": float, "bool": bool, "str": str}
    arch = {key: types[kind](c[ours]) for key, ours, kind in rows(KEYS)}
    arch |= {key: types[kind](c["rope_scaling"][ours]) for key, ours, kind in rows(YARN_KEYS)}
    arch |= {"attention.compress_ratios": c["compress_ratios"][:n], "expert_gating_func": SQRT_SOFTPLUS}
    arch |= {f"swiglu_clamp_{part}": [float(c["swiglu_limit"])] * n for part in ("exp", "shexp")}
    general = {"general.architecture": "deepseek4", "general.name": "peer", "tokenizer.ggml.model": "no_vocab"}
    return general | {"deepseek4." + key: v for key, v in arch.items()}


def some_rows(shape):
    """Slices that cover a tensor's rows, about VALUES in each, so that a large matrix is never whole in memory."""
    step = max(BLOCK, VALUES // shape[-1] // BLOCK * BLOCK)
    return [slice(at, at + step) for at in range(0, shape[0], step)]


def plain(ckpt, name, out, kind):
    """One tensor of the checkpoint as one of the file."""
    make = {F32: lambda r: ckpt.floats(name, r), Q8_0: lambda r: q8_0(ckpt.floats(name, r)), I32: lambda r: ckpt.stored(name)[r].astype("<i4")}[kind]
    return Tensor(out, kind, ckpt.shape(name), [lambda r=r: make(r) for r in some_rows(ckpt.shape(name))])


def stacked(ckpt, names, out, kind):
    """A layer's experts, [n_out, n_in] each, as one tensor [n_experts, n_out, n_in]."""
    if kind is MXFP4 and ckpt.dtype(names[0]) != "I8":
        sys.exit(f"gguf.py: {names[0]} in {ckpt.directory} is {ckpt.dtype(names[0])}, and only FP4 goes over to mxfp4; use --experts f32")
    make = (lambda n: mxfp4(ckpt.stored(n), ckpt.scale(n))) if kind is MXFP4 else ckpt.floats
    return Tensor(out, kind, (len(names), *ckpt.shape(names[0])), [lambda n=n: make(n) for n in names])


def tensors(ckpt, dense, experts):
    """Every tensor of the file; `dense` and `experts` name their types."""
    kinds, c = {"": KINDS[dense], "f32": F32, "i32": I32}, ckpt.config
    full = lambda out: out if out.endswith(".bias") else out + ".weight"
    found = [plain(ckpt, name, full(out), kinds[kind]) for name, out, kind in rows(MODEL)]
    for i in range(c["num_hidden_layers"]):
        layer = f"layers.{i}."
        found += [plain(ckpt, layer + name, f"blk.{i}.{full(out)}", kinds[kind]) for name, out, kind in rows(LAYER) if layer + name in ckpt]
        for part, out in EXPERTS.items():
            names = [f"{layer}ffn.experts.{e}.{part}.weight" for e in range(c["n_routed_experts"])]
            found.append(stacked(ckpt, names, f"blk.{i}.{out}.weight", KINDS[experts]))
    return found


def convert(directory, out, dense="f32", experts="f32", progress=None):
    """Writes `out` and returns its size in bytes."""
    ckpt = Checkpoint(directory)
    return write(out, metadata(ckpt.config), tensors(ckpt, dense, experts), progress)


def main():
    ap = argparse.ArgumentParser(description="official-layout checkpoint -> GGUF for llama.cpp")
    ap.add_argument("checkpoint")
    ap.add_argument("out")
    ap.add_argument("--dense", default="f32", choices=("f32", "q8_0"))
    ap.add_argument("--experts", default="f32", choices=("f32", "mxfp4"))
    a = ap.parse_args()
    size = convert(a.checkpoint, a.out, a.dense, a.experts)
    print(f"{a.out}: {os.path.basename(os.path.normpath(a.checkpoint))}, dense {a.dense}, experts {a.experts}, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
