"""Sizes and the optimiser."""
import torch

def config(vocab, topk=32, layers=4, experts=8):
    """nano's config.json. Every quantised matrix is a multiple of 128 both ways, as in the released checkpoints."""
    ratios = {4: [0, 4, 128, 4], 5: [0, 4, 128, 4, 4], 6: [0, 4, 128, 4, 128, 4]}[layers]
    return dict(
        architectures=["DeepseekV4ForCausalLM"], model_type="deepseek_v4", torch_dtype="bfloat16", attention_bias=False, attention_dropout=0.0,
        hidden_act="silu", initializer_range=0.02, bos_token_id=0, eos_token_id=1, expert_dtype="fp4", hc_eps=1e-6, hc_mult=4, hc_sinkhorn_iters=20,
        max_position_embeddings=1048576, n_shared_experts=1, norm_topk_prob=True, num_key_value_heads=1, num_nextn_predict_layers=1,
        qk_rope_head_dim=64, rms_norm_eps=1e-6, rope_theta=10000, compress_rope_theta=160000, scoring_func="sqrtsoftplus",
        topk_method="noaux_tc", sliding_window=256, swiglu_limit=10.0, tie_word_embeddings=False, use_cache=True, index_head_dim=128,
        quantization_config=dict(activation_scheme="dynamic", fmt="e4m3", quant_method="fp8", scale_fmt="ue8m0", weight_block_size=[128, 128]),
        rope_scaling=dict(beta_fast=32, beta_slow=1, factor=16, original_max_position_embeddings=65536, type="yarn"),
        vocab_size=vocab, hidden_size=128, num_hidden_layers=layers, compress_ratios=ratios + [0], num_attention_heads=4, head_dim=128,
        q_lora_rank=128, o_groups=2, o_lora_rank=64, index_n_heads=2, index_topk=topk, n_routed_experts=experts, num_experts_per_tok=2,
        moe_intermediate_size=128, num_hash_layers=1, routed_scaling_factor=1.5)

def newton_schulz(g, steps=5):
    """g [n, r, c] -> nearly orthogonal of the same shape"""
    t = g.shape[1] > g.shape[2]
    x = g.transpose(1, 2) if t else g
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    for _ in range(steps):
        a = torch.bmm(x, x.transpose(1, 2))
        b = torch.baddbmm(a, a, a, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, b, x, beta=3.4445, alpha=1.0)
    return x.transpose(1, 2) if t else x

def is_matrix(name, p):
    return p.dim() >= 2 and min(p.shape[-2:]) >= 16 and not any(s in name for s in ("embed", "head", "hc_", "ape", "gate.weight", "gate/weight", "weights_proj"))

class Optim:
    """Muon (momentum .95, Nesterov, update RMS matched to Adam's) for matrices, AdamW for the rest; one learning rate."""
    def __init__(self, model, lr_muon=0.01, lr_adam=0.003, wd=0.05, muon=True):
        named = list(model.named_parameters())
        mats = [(n, p) for n, p in named if muon and is_matrix(n, p)]
        ids = {id(p) for _, p in mats}
        rest = [p for n, p in named if id(p) not in ids]
        self.mats, self.wd, self.lr = mats, wd, lr_muon
        self.buf = [torch.zeros_like(p) for _, p in mats]
        decay = [p for p in rest if p.dim() >= 2]; nodecay = [p for p in rest if p.dim() < 2]
        self.adam = torch.optim.AdamW([dict(params=decay, weight_decay=wd), dict(params=nodecay, weight_decay=0.0)], lr=lr_adam, betas=(0.9, 0.95), eps=1e-10)
        self.base = lr_adam
    @torch.no_grad()
    def step(self, scale=1.0):
        for g in self.adam.param_groups: g["lr"] = self.base * scale
        self.adam.step()
        groups = {}
        for (n, p), b in zip(self.mats, self.buf):
            if p.grad is None: continue
            b.mul_(0.95).add_(p.grad)
            u = p.grad.add(b, alpha=0.95)
            groups.setdefault(p.shape[-2:], []).append((p, u))
        for shape, items in groups.items():
            us = torch.cat([u.reshape(-1, *shape) for _, u in items])
            us = newton_schulz(us).mul_(0.2 * max(shape) ** 0.5)
            a = 0
            for p, u in items:
                k = u.numel() // (shape[0] * shape[1])
                p.mul_(1 - self.lr * scale * self.wd).add_(us[a:a + k].reshape(p.shape), alpha=-self.lr * scale); a += k
    def zero(self):
        self.adam.zero_grad(set_to_none=True)
        for _, p in self.mats: p.grad = None
@torch.no_grad()
def induction_init(m, gain=1.0, seed=7):
    """Start with a working copy circuit: layer 0 attends to the previous token (by rope alone) and writes its identity,
    rotated by a fixed orthogonal matrix; later layers' queries look for that rotated identity, so they land on the token
    after an earlier occurrence of the current one, and write what they find where the head (a rotated embedding) reads. Everything stays trainable."""
    c = m.c; g = torch.Generator().manual_seed(seed)
    D, H, C, R, Q, G, O = (c[k] for k in ("hidden_size", "num_attention_heads", "head_dim", "qk_rope_head_dim", "q_lora_rank", "o_groups", "o_lora_rank"))
    N = min(C - R, O); nf = 8
    orth = lambda n: torch.linalg.qr(torch.randn(n, n, generator=g))[0]
    emb = m.p("embed.weight"); emb[:, 0] = 3.0                          # a constant coordinate: the "position is all I need" feature
    Rot = torch.eye(D); Rot[1:, 1:] = orth(D - 1)
    Out = torch.eye(D); Out[1:, 1:] = orth(D - 1)                        # where predictions are written: not where identities live
    e0 = emb.clone(); e0[:, 0] = 0
    m.p("head.weight").copy_(e0 @ Out.t() * 0.1)
    for i in range(c["num_hidden_layers"] + c["num_nextn_predict_layers"]):
        p = (f"layers.{i}." if i < c["num_hidden_layers"] else "mtp.0.") + "attn."
        P = torch.zeros(N, D); P[:, 1:] = orth(D - 1)[:N]               # content projection, blind to the constant
        U = torch.zeros(Q, D); k = min(Q, D); U[:k, :k] = torch.eye(k)
        m.p(p + "wq_a.weight").copy_(U + 0.02 * torch.randn(Q, D, generator=g))
        wkv = m.p(p + "wkv.weight"); wkv.mul_(0.1); wkv[:N] += P
        f = m.freqs[bool(c["compress_ratios"][i])][:nf].float()
        for k in range(nf): wkv[C - R + 2 * k, 0] = 0.85                # times 3: a key that says only where it is
        m.p(p + "kv_norm.weight")[C - R: C - R + 2 * nf] = 3.0 if i == 0 else 1.0
        q = m.p(p + "wq_b.weight").view(H, C, Q); q.mul_(0.1)
        for h in range(H):
            if i == 0 and h % 2 == 0:                                     # offset 1, 2, ... by phase
                d = h // 2 + 1; q[h] *= 0.1
                for k in range(nf):
                    q[h, C - R + 2 * k, 0] = torch.cos(d * f[k]); q[h, C - R + 2 * k + 1, 0] = -torch.sin(d * f[k])
            else:
                T = P @ Rot if h % 2 == 0 else P                          # even heads: induction; odd heads: similarity
                q[h, :N] += T @ U.t()
        A = m.p(p + "wo_a.weight").view(G, O, H // G, C); A.mul_(0.1)
        B = m.p(p + "wo_b.weight").view(D, G, O); B.mul_(0.3)
        for gi in range(G):                                               # the first head of each group speaks
            A[gi, :N, 0, :N] += torch.eye(N)
            B[:, gi, :N] += (gain * (Rot if i == 0 else Out) @ P.t()) / (1 if i == 0 and gi == 0 else 2)
        if c["compress_ratios"][i]:
            w = m.p(p + "compressor.wkv.weight"); w.mul_(0.1)
            for a in range(0, w.shape[0], C): w[a:a + N] += P
