"""nano's shape, its optimiser (Muon for matrices, AdamW for the rest), and its initialisation."""
import torch


def config(vocab, topk=32, layers=4, experts=8, hidden=128):
    """nano's config.json. Every quantised matrix is a multiple of 128 both ways, as in the released checkpoints."""
    ratios = {4: [0, 4, 128, 4], 5: [0, 4, 128, 4, 4], 6: [0, 4, 128, 4, 128, 4]}[layers]
    return dict(
        architectures=["DeepseekV4ForCausalLM"], model_type="deepseek_v4", torch_dtype="bfloat16", attention_bias=False,
        attention_dropout=0.0, hidden_act="silu", initializer_range=0.02, bos_token_id=0, eos_token_id=1, expert_dtype="fp4",
        hc_eps=1e-6, hc_mult=4, hc_sinkhorn_iters=20, max_position_embeddings=1048576, n_shared_experts=1, norm_topk_prob=True,
        num_key_value_heads=1, num_nextn_predict_layers=1, qk_rope_head_dim=64, rms_norm_eps=1e-6, rope_theta=10000,
        compress_rope_theta=160000, scoring_func="sqrtsoftplus", topk_method="noaux_tc", sliding_window=256, swiglu_limit=10.0,
        tie_word_embeddings=False, use_cache=True, index_head_dim=128,
        quantization_config=dict(activation_scheme="dynamic", fmt="e4m3", quant_method="fp8", scale_fmt="ue8m0",
                                 weight_block_size=[128, 128]),
        rope_scaling=dict(beta_fast=32, beta_slow=1, factor=16, original_max_position_embeddings=65536, type="yarn"),
        vocab_size=vocab, hidden_size=hidden, num_hidden_layers=layers, compress_ratios=ratios + [0], num_attention_heads=4,
        head_dim=128, q_lora_rank=hidden, o_groups=2, o_lora_rank=hidden // 2, index_n_heads=2, index_topk=topk, n_routed_experts=experts,
        num_experts_per_tok=2, moe_intermediate_size=128, num_hash_layers=1, routed_scaling_factor=1.5)


def orthogonalise(g, steps=5):
    """Newton-Schulz: g [n, r, c] -> nearly orthogonal matrices of the same shape."""
    tall = g.shape[1] > g.shape[2]
    x = g.transpose(1, 2) if tall else g
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    for _ in range(steps):
        a = torch.bmm(x, x.transpose(1, 2))
        b = torch.baddbmm(a, a, a, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, b, x, beta=3.4445, alpha=1.0)
    return x.transpose(1, 2) if tall else x


def is_matrix(name, p):
    """Muon's share: true matrices. Embeddings, heads, gates and the hyper-connections belong to AdamW."""
    other = ("embed", "head", "hc_", "ape", "gate/weight", "weights_proj")
    return p.dim() >= 2 and min(p.shape[-2:]) >= 16 and not any(s in name for s in other)


class Optim:
    """Muon with momentum 0.95 and Nesterov, its update's RMS that of Adam (0.2); one factor scales both learning rates."""

    def __init__(self, model, lr_muon, lr_adam, decay=0.05):
        named = list(model.named_parameters())
        self.matrices = [p for n, p in named if is_matrix(n, p)]
        mine = {id(p) for p in self.matrices}
        rest = [p for _, p in named if id(p) not in mine]
        self.lr, self.lr_adam, self.decay = lr_muon, lr_adam, decay
        self.momentum = [torch.zeros_like(p) for p in self.matrices]
        self.adam = torch.optim.AdamW([dict(params=[p for p in rest if p.dim() >= 2], weight_decay=decay),
                                       dict(params=[p for p in rest if p.dim() < 2], weight_decay=0.0)],
                                      lr=lr_adam, betas=(0.9, 0.95), eps=1e-10)

    @torch.no_grad()
    def step(self, scale=1.0):
        for g in self.adam.param_groups:
            g["lr"] = self.lr_adam * scale
        self.adam.step()
        same = {}  # matrices of one shape are orthogonalised together
        for p, m in zip(self.matrices, self.momentum):
            if p.grad is not None:
                m.mul_(0.95).add_(p.grad)
                same.setdefault(p.shape[-2:], []).append((p, p.grad.add(m, alpha=0.95)))
        for shape, items in same.items():
            u = orthogonalise(torch.cat([g.reshape(-1, *shape) for _, g in items])).mul_(0.2 * max(shape) ** 0.5)
            for (p, g), part in zip(items, u.split([g.numel() // (shape[0] * shape[1]) for _, g in items])):
                p.mul_(1 - self.lr * scale * self.decay).add_(part.reshape(p.shape), alpha=-self.lr * scale)

    def zero(self):
        self.adam.zero_grad(set_to_none=True)
        for p in self.matrices:
            p.grad = None


@torch.no_grad()
def induction_init(m, seed=7):
    """Starts the model with a copy circuit, which otherwise takes millions of tokens to appear. Everything stays trainable.

    One coordinate of the embedding is a constant. Layer 0 attends to the previous token (rotary rows of key and query that
    read only that constant, the query's with a phase of one or two positions) and writes its identity, rotated by a fixed
    orthogonal matrix. The queries of later layers look for that rotated identity, so they land on the token after an earlier
    occurrence of the current one, and write what they find where the head, a rotated embedding, reads it.
    """
    c, g = m.c, torch.Generator().manual_seed(seed)
    D, H, C, R, Q, G, O = (c[k] for k in ("hidden_size", "num_attention_heads", "head_dim", "qk_rope_head_dim", "q_lora_rank",
                                           "o_groups", "o_lora_rank"))
    content, fast = min(C - R, O), 8  # dims that carry identity; rotary pairs that carry position

    def orthogonal(n):
        return torch.linalg.qr(torch.randn(n, n, generator=g))[0]
    embed = m.p("embed.weight")
    embed[:, 0] = 3.0
    previous, predicted = torch.eye(D), torch.eye(D)  # where "the token before me" and "the token to come" are written
    previous[1:, 1:], predicted[1:, 1:] = orthogonal(D - 1), orthogonal(D - 1)
    identity = embed.clone()
    identity[:, 0] = 0
    m.p("head.weight").copy_(identity @ predicted.t() * 0.1)
    for i in range(c["num_hidden_layers"] + c["num_nextn_predict_layers"]):
        p = (f"layers.{i}." if i < c["num_hidden_layers"] else "mtp.0.") + "attn."
        look = torch.zeros(content, D)
        look[:, 1:] = orthogonal(D - 1)[:content]
        keep = torch.zeros(Q, D)
        keep[:min(Q, D), :min(Q, D)] = torch.eye(min(Q, D))
        m.p(p + "wq_a.weight").copy_(keep + 0.02 * torch.randn(Q, D, generator=g))
        wkv = m.p(p + "wkv.weight")
        wkv.mul_(0.1)
        wkv[:content] += look
        freqs = m.freqs[bool(c["compress_ratios"][i])][:fast].float()
        for k in range(fast):
            wkv[C - R + 2 * k, 0] = 0.85
        m.p(p + "kv_norm.weight")[C - R:C - R + 2 * fast] = 3.0 if i == 0 else 1.0
        q = m.p(p + "wq_b.weight").view(H, C, Q)
        q.mul_(0.1)
        for h in range(H):
            if i == 0 and h % 2 == 0:
                offset = h // 2 + 1
                q[h] *= 0.1
                for k in range(fast):
                    q[h, C - R + 2 * k, 0] = torch.cos(offset * freqs[k])
                    q[h, C - R + 2 * k + 1, 0] = -torch.sin(offset * freqs[k])
            else:  # even heads: the token after an earlier me; odd heads: an earlier me
                q[h, :content] += (look @ previous if h % 2 == 0 else look) @ keep.t()
        A, B = m.p(p + "wo_a.weight").view(G, O, H // G, C), m.p(p + "wo_b.weight").view(D, G, O)
        A.mul_(0.1)
        B.mul_(0.3)
        for group in range(G):  # the first head of each group speaks
            A[group, :content, 0, :content] += torch.eye(content)
            B[:, group, :content] += ((previous if i == 0 else predicted) @ look.t()) / (1 if i == 0 and group == 0 else 2)
        if c["compress_ratios"][i]:
            w = m.p(p + "compressor.wkv.weight")
            w.mul_(0.1)
            for a in range(0, w.shape[0], C):
                w[a:a + content] += look
