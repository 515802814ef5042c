// kernels.c for a GPU: the same functions on the same float32 layouts, each with the stream to run
// on as a last argument.
//   nvcc -O3 -arch=sm_90a --shared -Xcompiler -fPIC kernels.cu -o kernels_gpu.so
// Rows are independent. Where a row is summed, a warp owns it and its lanes take four neighbouring
// floats at a time; D is a multiple of 4. NANO_EMULATED: the bodies without a device, for the
// emulation in tests/engine/nano_test.py.
#ifndef NANO_EMULATED
#include <cuda_runtime.h>
using Stream = cudaStream_t;
#define LAUNCH(kernel, blocks, stream, ...) \
  kernel<<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(__VA_ARGS__)
#endif

namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kSweeps = 64;  // of the Sinkhorn iteration, at most
// Blocks that share a sum over all rows; nano's ops.py gives the buffer
constexpr long kPartials = 1024;

__device__ float warp_sum(float v) {
  for (int k = 16; k > 0; k /= 2) v += __shfl_xor_sync(~0u, v, k);
  return v;
}
__device__ float warp_max(float v) {
  for (int k = 16; k > 0; k /= 2) v = fmaxf(v, __shfl_xor_sync(~0u, v, k));
  return v;
}
__device__ long warp_row() { return static_cast<long>(blockIdx.x) * kWarps + threadIdx.x / 32; }
__device__ long thread_item() { return static_cast<long>(blockIdx.x) * kThreads + threadIdx.x; }
__device__ float4 load(const float* p) { return *reinterpret_cast<const float4*>(p); }
__device__ void store(float* p, float4 v) { *reinterpret_cast<float4*>(p) = v; }
__device__ float dot(float4 a, float4 b) { return a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w; }
__device__ float4 axpy(float f, float4 a, float4 b) {
  return {f * a.x + b.x, f * a.y + b.y, f * a.z + b.z, f * a.w + b.w};
}

// ---- Sinkhorn: a thread owns a token's 4 x 4

__device__ void row_softmax(const float* x, float* m, float eps) {
  for (int r = 0; r < 4; ++r) {
    const float4 a = load(x + r * 4);
    const float top = fmaxf(fmaxf(a.x, a.y), fmaxf(a.z, a.w));
    const float e[4] = {expf(a.x - top), expf(a.y - top), expf(a.z - top), expf(a.w - top)};
    const float sum = e[0] + e[1] + e[2] + e[3];
    for (int b = 0; b < 4; ++b) m[r * 4 + b] = e[b] / sum + eps;
  }
}
// Element b of line a: columns in even sweeps, rows in odd ones.
__device__ int cell(int sweep, int a, int b) { return sweep % 2 == 0 ? b * 4 + a : a * 4 + b; }

__global__ void sinkhorn_fwd_kernel(const float* x, float* y, long n, int iters, float eps) {
  const long i = thread_item();
  if (i >= n) return;
  float m[16];
  row_softmax(x + i * 16, m, eps);
  for (int t = 0; t < iters; ++t) {
#pragma unroll
    // Rows, then columns; the softmax has done the first rows
    for (int sweep = 1; sweep <= 2; ++sweep) {
      if (t == 0 && sweep == 1) continue;
#pragma unroll
      for (int a = 0; a < 4; ++a) {
        float s = eps;
#pragma unroll
        for (int b = 0; b < 4; ++b) s += m[cell(sweep, a, b)];
        s = 1.0f / s;
#pragma unroll
        for (int b = 0; b < 4; ++b) m[cell(sweep, a, b)] *= s;
      }
    }
  }
  for (int r = 0; r < 4; ++r)
    store(y + i * 16 + r * 4, {m[r * 4], m[r * 4 + 1], m[r * 4 + 2], m[r * 4 + 3]});
}

// Keeps the sums only: what a sweep was given is what it made times its sums.
__global__ void sinkhorn_bwd_kernel(const float* x, const float* dy, float* dx, long n, int iters,
                                    float eps) {
  const long i = thread_item();
  if (i >= n) return;
  float m[16], p[16], g[16], sums[kSweeps][4];
  row_softmax(x + i * 16, m, eps);
  for (int k = 0; k < 16; ++k) p[k] = m[k] - eps;
  for (int k = 0; k < 16; ++k) g[k] = dy[i * 16 + k];
  const int sweeps = 2 * iters - 1;
  auto forward = [&](int at, int kind) {
#pragma unroll
    for (int a = 0; a < 4; ++a) {
      float s = eps;
#pragma unroll
      for (int b = 0; b < 4; ++b) s += m[cell(kind, a, b)];
      sums[at][a] = s;
#pragma unroll
      for (int b = 0; b < 4; ++b) m[cell(kind, a, b)] *= 1.0f / s;
    }
  };
  auto backward = [&](int at, int kind) {
#pragma unroll
    for (int a = 0; a < 4; ++a) {
      const float s = sums[at][a];
      float t = 0;
#pragma unroll
      for (int b = 0; b < 4; ++b) t += g[cell(kind, a, b)] * m[cell(kind, a, b)];
#pragma unroll
      for (int b = 0; b < 4; ++b) {
        g[cell(kind, a, b)] = (g[cell(kind, a, b)] - t) / s;
        m[cell(kind, a, b)] *= s;
      }
    }
  };
  forward(0, 0);
  for (int at = 1; at < sweeps; at += 2) {
    forward(at, 1);
    forward(at + 1, 0);
  }
  for (int at = sweeps - 1; at > 0; at -= 2) {
    backward(at, 0);
    backward(at - 1, 1);
  }
  backward(0, 0);
  for (int r = 0; r < 4; ++r) {
    float s = 0;
    for (int b = 0; b < 4; ++b) s += g[r * 4 + b] * p[r * 4 + b];
    for (int b = 0; b < 4; ++b) dx[i * 16 + r * 4 + b] = (g[r * 4 + b] - s) * p[r * 4 + b];
  }
}

// ---- Streams X [N, 4, D]

__global__ void hc_sumsq_kernel(const float* X, float* ss, long n, long width) {
  const long row = warp_row();
  if (row >= n) return;
  float s = 0;
  for (long d = threadIdx.x % 32 * 4; d < width; d += 128) {
    const float4 a = load(X + row * width + d);
    s += dot(a, a);
  }
  s = warp_sum(s);
  if (threadIdx.x % 32 == 0) ss[row] = s;
}

__global__ void hc_pre_fwd_kernel(const float* X, const float* pre, float* x, long n, long D) {
  const long at = thread_item() * 4, row = at / D, d = at % D;
  if (row >= n) return;
  float4 o = {0, 0, 0, 0};
  for (int s = 0; s < 4; ++s) o = axpy(pre[row * 4 + s], load(X + (row * 4 + s) * D + d), o);
  store(x + at, o);
}

__global__ void hc_dpre_kernel(const float* X, const float* dx, float* dpre, long n, long D) {
  const long row = warp_row();
  if (row >= n) return;
  float v[4] = {0, 0, 0, 0};
  for (long d = threadIdx.x % 32 * 4; d < D; d += 128) {
    const float4 g = load(dx + row * D + d);
    for (int s = 0; s < 4; ++s) v[s] += dot(load(X + (row * 4 + s) * D + d), g);
  }
  for (int s = 0; s < 4; ++s) v[s] = warp_sum(v[s]);
  if (threadIdx.x % 32 == 0) store(dpre + row * 4, {v[0], v[1], v[2], v[3]});
}

__global__ void hc_pre_bwd_kernel(float* G, const float* X, const float* coef, const float* pre,
                                  const float* dx, long n, long D) {
  const long at = thread_item() * 4, row = at / D, d = at % D;
  if (row >= n) return;
  const float4 g = load(dx + at);
  for (int s = 0; s < 4; ++s) {
    const long k = (row * 4 + s) * D + d;
    store(G + k, axpy(coef[row], load(X + k), axpy(pre[row * 4 + s], g, load(G + k))));
  }
}

__global__ void hc_post_fwd_kernel(const float* X, const float* y, const float* post,
                                   const float* M, float* Z, long n, long D) {
  const long at = thread_item() * 4, row = at / D, d = at % D;
  if (row >= n) return;
  float4 a[4];
  for (int i = 0; i < 4; ++i) a[i] = load(X + (row * 4 + i) * D + d);
  const float4 b = load(y + at);
  for (int j = 0; j < 4; ++j) {
    float4 o = axpy(post[row * 4 + j], b, {0, 0, 0, 0});
    for (int i = 0; i < 4; ++i) o = axpy(M[row * 16 + i * 4 + j], a[i], o);
    store(Z + (row * 4 + j) * D + d, o);
  }
}

__global__ void hc_post_bwd_kernel(const float* X, const float* y, const float* post,
                                   const float* M, const float* dZ, float* dX, float* dy,
                                   float* dpost, float* dM, long n, long D) {
  const long row = warp_row();
  if (row >= n) return;
  float p[4] = {}, q[16] = {};
  for (long d = threadIdx.x % 32 * 4; d < D; d += 128) {
    float4 g[4], o = {0, 0, 0, 0};
    for (int j = 0; j < 4; ++j) g[j] = load(dZ + (row * 4 + j) * D + d);
    for (int j = 0; j < 4; ++j) o = axpy(post[row * 4 + j], g[j], o);
    store(dy + row * D + d, o);
    const float4 b = load(y + row * D + d);
#pragma unroll
    for (int j = 0; j < 4; ++j) p[j] += dot(g[j], b);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float4 a = load(X + (row * 4 + i) * D + d);
      o = {0, 0, 0, 0};
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        o = axpy(M[row * 16 + i * 4 + j], g[j], o);
        q[i * 4 + j] += dot(a, g[j]);
      }
      store(dX + (row * 4 + i) * D + d, o);
    }
  }
#pragma unroll
  for (int j = 0; j < 4; ++j) p[j] = warp_sum(p[j]);
#pragma unroll
  for (int k = 0; k < 16; ++k) q[k] = warp_sum(q[k]);
  if (threadIdx.x % 32 != 0) return;
  store(dpost + row * 4, {p[0], p[1], p[2], p[3]});
  for (int i = 0; i < 4; ++i)
    store(dM + row * 16 + i * 4, {q[i * 4], q[i * 4 + 1], q[i * 4 + 2], q[i * 4 + 3]});
}

// ---- RMSNorm and RoPE

__global__ void rms_fwd_kernel(const float* x, const float* w, float* y, float* r, long n, long D,
                               float eps) {
  const long row = warp_row();
  if (row >= n) return;
  const float* a = x + row * D;
  float s = 0;
  for (long d = threadIdx.x % 32 * 4; d < D; d += 128) s += dot(load(a + d), load(a + d));
  s = 1.0f / sqrtf(warp_sum(s) / static_cast<float>(D) + eps);
  for (long d = threadIdx.x % 32 * 4; d < D; d += 128) {
    const float4 v = load(a + d), f = w ? load(w + d) : float4{1, 1, 1, 1};
    store(y + row * D + d, {v.x * s * f.x, v.y * s * f.y, v.z * s * f.z, v.w * s * f.w});
  }
  if (threadIdx.x % 32 == 0) r[row] = s;
}

__global__ void rms_bwd_kernel(const float* x, const float* w, const float* r, const float* dy,
                               float* dx, long n, long D) {
  const long row = warp_row();
  if (row >= n) return;
  const float *a = x + row * D, *g = dy + row * D, f = r[row];
  float s = 0;
  for (long d = threadIdx.x % 32 * 4; d < D; d += 128) {
    float4 u = load(g + d);
    const float4 h = w ? load(w + d) : float4{1, 1, 1, 1};
    u = {u.x * h.x, u.y * h.y, u.z * h.z, u.w * h.w};
    s += dot(u, load(a + d));
  }
  s = -warp_sum(s) * f * f * f / static_cast<float>(D);
  for (long d = threadIdx.x % 32 * 4; d < D; d += 128) {
    float4 u = load(g + d);
    const float4 h = w ? load(w + d) : float4{1, 1, 1, 1};
    u = {u.x * h.x, u.y * h.y, u.z * h.z, u.w * h.w};
    store(dx + row * D + d, axpy(s, load(a + d), axpy(f, u, {0, 0, 0, 0})));
  }
}

// part [blocks, D]: each block's sum over its rows of dy * x * r. A thread owns a column.
__global__ void rms_dw_kernel(const float* x, const float* r, const float* dy, float* part, long n,
                              long D) {
  const long blocks = gridDim.x;
  for (long d = threadIdx.x; d < D; d += kThreads) {
    float s = 0;
    for (long row = blockIdx.x; row < n; row += blocks)
      s += dy[row * D + d] * x[row * D + d] * r[row];
    part[blockIdx.x * D + d] = s;
  }
}

// Four floats a thread: two rotated pairs, or four that stay.
__global__ void rope_kernel(const float* x, float* y, const float* cs, long n, long T, long H,
                            long C, long R, float sign) {
  const long at = thread_item() * 4, row = at / (H * C), c = at % C - (C - R);
  if (row >= n) return;
  float4 v = load(x + at);
  if (c >= 0) {
    const float4 t = load(cs + row % T * R + c);
    v = {v.x * t.x - v.y * sign * t.y, v.x * sign * t.y + v.y * t.x, v.z * t.z - v.w * sign * t.w,
         v.z * sign * t.w + v.w * t.z};
  }
  store(y + at, v);
}

// ---- Attention's softmax: rows of any length; mask [masks, Q, K], batch b has mask b % masks

__global__ void sink_softmax_fwd_kernel(const float* s, float* p, const float* mask,
                                        const float* sink, float* ps, long rows, long H, long Q,
                                        long K, long masks) {
  const long row = warp_row();
  if (row >= rows) return;
  const long q = row % Q, h = row / Q % H, b = row / (Q * H);
  const float *x = s + row * K, *a = mask + (b % masks * Q + q) * K;
  float* y = p + row * K;
  float top = sink[h], z = 0;
  for (long k = threadIdx.x % 32; k < K; k += 32) top = fmaxf(top, x[k] + a[k]);
  top = warp_max(top);
  for (long k = threadIdx.x % 32; k < K; k += 32) z += y[k] = expf(x[k] + a[k] - top);
  const float e = expf(sink[h] - top), f = 1.0f / (warp_sum(z) + e);
  for (long k = threadIdx.x % 32; k < K; k += 32) y[k] *= f;
  if (threadIdx.x % 32 == 0) ps[row] = e * f;
}

__global__ void sink_softmax_bwd_kernel(const float* p, const float* dp, float* ds, float* t,
                                        long rows, long K) {
  const long row = warp_row();
  if (row >= rows) return;
  const float *a = p + row * K, *g = dp + row * K;
  float s = 0;
  for (long k = threadIdx.x % 32; k < K; k += 32) s += a[k] * g[k];
  s = warp_sum(s);
  for (long k = threadIdx.x % 32; k < K; k += 32) ds[row * K + k] = a[k] * (g[k] - s);
  if (threadIdx.x % 32 == 0) t[row] = s;
}

// ---- The indexer's choice

__device__ unsigned ordered(float v) {  // floats in the order of their bits
  const unsigned u = __float_as_uint(v);
  return u >> 31 ? ~u : u | 0x80000000u;
}

// mask [rows, near + n] = base [row % bases], its last n columns NEG where score [rows, n] is not
// among the row's k largest. All that equal the k-th stay. The k-th is found bit by bit.
__global__ void top_mask_kernel(const float* score, const float* base, float* mask, long rows,
                                long n, long k, long near, long bases) {
  const long row = warp_row();
  if (row >= rows) return;
  const float *x = score + row * n, *a = base + row % bases * (near + n);
  unsigned least = 0;
  for (unsigned bit = 1u << 31; bit != 0; bit /= 2) {
    float above = 0;
    for (long i = threadIdx.x % 32; i < n; i += 32)
      above += ordered(x[i]) >= (least | bit) ? 1.0f : 0.0f;
    if (warp_sum(above) >= static_cast<float>(k)) least |= bit;
  }
  for (long i = threadIdx.x % 32; i < near + n; i += 32)
    mask[row * (near + n) + i] = i >= near && ordered(x[i - near]) < least ? -1e30f : a[i];
}

long by_warp(long rows) { return (rows + kWarps - 1) / kWarps; }
long by_thread(long items) { return (items + kThreads - 1) / kThreads; }

}  // namespace

extern "C" {

void sinkhorn_fwd(const float* x, float* y, long n, int iters, float eps, Stream s) {
  LAUNCH(sinkhorn_fwd_kernel, by_thread(n), s, x, y, n, iters, eps);
}
void sinkhorn_bwd(const float* x, const float* dy, float* dx, long n, int iters, float eps,
                  Stream s) {
  LAUNCH(sinkhorn_bwd_kernel, by_thread(n), s, x, dy, dx, n, iters, eps);
}
void hc_sumsq(const float* X, float* ss, long n, long width, Stream s) {
  LAUNCH(hc_sumsq_kernel, by_warp(n), s, X, ss, n, width);
}
void hc_pre_fwd(const float* X, const float* pre, float* x, long n, long D, Stream s) {
  LAUNCH(hc_pre_fwd_kernel, by_thread(n * D / 4), s, X, pre, x, n, D);
}
void hc_dpre(const float* X, const float* dx, float* dpre, long n, long D, Stream s) {
  LAUNCH(hc_dpre_kernel, by_warp(n), s, X, dx, dpre, n, D);
}
void hc_pre_bwd(float* G, const float* X, const float* coef, const float* pre, const float* dx,
                long n, long D, Stream s) {
  LAUNCH(hc_pre_bwd_kernel, by_thread(n * D / 4), s, G, X, coef, pre, dx, n, D);
}
void hc_post_fwd(const float* X, const float* y, const float* post, const float* M, float* Z,
                 long n, long D, Stream s) {
  LAUNCH(hc_post_fwd_kernel, by_thread(n * D / 4), s, X, y, post, M, Z, n, D);
}
void hc_post_bwd(const float* X, const float* y, const float* post, const float* M, const float* dZ,
                 float* dX, float* dy, float* dpost, float* dM, long n, long D, Stream s) {
  LAUNCH(hc_post_bwd_kernel, by_warp(n), s, X, y, post, M, dZ, dX, dy, dpost, dM, n, D);
}
void rms_fwd(const float* x, const float* w, float* y, float* r, long n, long D, float eps,
             Stream s) {
  LAUNCH(rms_fwd_kernel, by_warp(n), s, x, w, y, r, n, D, eps);
}
// dw is [kPartials, D] here, to be summed; null where w is.
void rms_bwd(const float* x, const float* w, const float* r, const float* dy, float* dx, float* dw,
             long n, long D, Stream s) {
  LAUNCH(rms_bwd_kernel, by_warp(n), s, x, w, r, dy, dx, n, D);
  if (dw) LAUNCH(rms_dw_kernel, kPartials, s, x, r, dy, dw, n, D);
}
void rope(const float* x, float* y, const float* cs, long n, long T, long H, long C, long R,
          float sign, Stream s) {
  LAUNCH(rope_kernel, by_thread(n * H * C / 4), s, x, y, cs, n, T, H, C, R, sign);
}
// Not in place as kernels.c does it.
void sink_softmax_fwd(const float* x, float* p, const float* mask, const float* sink, float* ps,
                      long B, long H, long Q, long K, long masks, Stream s) {
  LAUNCH(sink_softmax_fwd_kernel, by_warp(B * H * Q), s, x, p, mask, sink, ps, B * H * Q, H, Q, K,
         masks);
}
void top_mask(const float* score, const float* base, float* mask, long rows, long n, long k,
              long near, long bases, Stream s) {
  LAUNCH(top_mask_kernel, by_warp(rows), s, score, base, mask, rows, n, k, near, bases);
}
void sink_softmax_bwd(const float* p, const float* dp, float* ds, float* t, long rows, long K,
                      Stream s) {
  LAUNCH(sink_softmax_bwd_kernel, by_warp(rows), s, p, dp, ds, t, rows, K);
}
}
