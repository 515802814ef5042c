/* The memory-bound part of manifold hyper-connections, four streams, float32.
 * train.sh compiles this.
 * N tokens, S = 4 streams, D hidden. X [N,4,D]; M [N,4,4]. */
#include <math.h>
#include <string.h>
#define S 4
#define L 16 /* tokens handled side by side in the Sinkhorn kernels */

/* logits [N,16] -> M [N,16]: row softmax, then alternate column / row normalisation. */
static void sink_tile(float m[16][L], int iters, float eps, float (*keep)[16][L], float (*den)[4][L]) {
  int t = 0;
  for (int it = 0; it < 2 * iters - 1; it++) { /* 0: columns; then rows, columns, ... ending on columns */
    int col = (it % 2 == 0);
    for (int a = 0; a < 4; a++) {
      float s[L];
      for (int l = 0; l < L; l++) s[l] = eps;
      for (int b = 0; b < 4; b++) { float *v = m[col ? b * 4 + a : a * 4 + b]; for (int l = 0; l < L; l++) s[l] += v[l]; }
      for (int l = 0; l < L; l++) s[l] = 1.f / s[l];
      if (den) memcpy(den[it][a], s, sizeof s);
      for (int b = 0; b < 4; b++) { float *v = m[col ? b * 4 + a : a * 4 + b]; for (int l = 0; l < L; l++) v[l] *= s[l]; }
    }
    if (keep) memcpy(keep[it], m, sizeof(float) * 16 * L);
  }
  (void)t;
}
static void row_softmax(const float *x, long n, float m[16][L], float eps) {
  for (int l = 0; l < L; l++) for (int k = 0; k < 16; k++) m[k][l] = l < n ? x[l * 16 + k] : 0.f;
  for (int r = 0; r < 4; r++) for (int l = 0; l < L; l++) {
    float *a = &m[r * 4][l]; float mx = a[0], s = 0;
    for (int b = 1; b < 4; b++) mx = fmaxf(mx, a[b * L]);
    for (int b = 0; b < 4; b++) { a[b * L] = expf(a[b * L] - mx); s += a[b * L]; }
    for (int b = 0; b < 4; b++) a[b * L] = a[b * L] / s + eps;
  }
}
void sinkhorn_fwd(const float *x, float *y, long N, int iters, float eps) {
#pragma omp parallel for
  for (long i = 0; i < N; i += L) {
    float m[16][L]; long n = N - i < L ? N - i : L;
    row_softmax(x + i * 16, n, m, eps);
    sink_tile(m, iters, eps, 0, 0);
    for (long l = 0; l < n; l++) for (int k = 0; k < 16; k++) y[(i + l) * 16 + k] = m[k][l];
  }
}
void sinkhorn_bwd(const float *x, const float *dy, float *dx, long N, int iters, float eps) {
#pragma omp parallel for
  for (long i = 0; i < N; i += L) {
    float m[16][L], p[16][L], g[16][L], keep[64][16][L], den[64][4][L]; long n = N - i < L ? N - i : L;
    row_softmax(x + i * 16, n, m, eps);
    memcpy(p, m, sizeof m);
    sink_tile(m, iters, eps, keep, den);
    for (int l = 0; l < L; l++) for (int k = 0; k < 16; k++) g[k][l] = l < n ? dy[(i + l) * 16 + k] : 0.f;
    for (int it = 2 * iters - 2; it >= 0; it--) {
      int col = (it % 2 == 0);
      for (int a = 0; a < 4; a++) {
        float s[L]; memset(s, 0, sizeof s);
        for (int b = 0; b < 4; b++) { int k = col ? b * 4 + a : a * 4 + b; for (int l = 0; l < L; l++) s[l] += g[k][l] * keep[it][k][l]; }
        for (int b = 0; b < 4; b++) { int k = col ? b * 4 + a : a * 4 + b; for (int l = 0; l < L; l++) g[k][l] = (g[k][l] - s[l]) * den[it][a][l]; }
      }
    }
    for (int r = 0; r < 4; r++) { /* softmax; p holds softmax + eps */
      float s[L]; memset(s, 0, sizeof s);
      for (int b = 0; b < 4; b++) for (int l = 0; l < L; l++) s[l] += g[r * 4 + b][l] * (p[r * 4 + b][l] - eps);
      for (int b = 0; b < 4; b++) for (int l = 0; l < L; l++) g[r * 4 + b][l] = (g[r * 4 + b][l] - s[l]) * (p[r * 4 + b][l] - eps);
    }
    for (long l = 0; l < n; l++) for (int k = 0; k < 16; k++) dx[(i + l) * 16 + k] = g[k][l];
  }
}
/* x[n] = sum_s pre[n,s] X[n,s]; ss[n] = sum of squares of X[n] */
void hc_pre_fwd(const float *X, const float *pre, float *x, long N, long D) {
#pragma omp parallel for
  for (long n = 0; n < N; n++) {
    const float *a = X + n * S * D, *w = pre + n * S; float *o = x + n * D;
    for (long d = 0; d < D; d++) o[d] = w[0] * a[d] + w[1] * a[D + d] + w[2] * a[2 * D + d] + w[3] * a[3 * D + d];
  }
}
void hc_sumsq(const float *X, float *ss, long N, long K) {
#pragma omp parallel for
  for (long n = 0; n < N; n++) { const float *a = X + n * K; float s = 0; for (long k = 0; k < K; k++) s += a[k] * a[k]; ss[n] = s; }
}
void hc_dpre(const float *X, const float *dx, float *dpre, long N, long D) {
#pragma omp parallel for
  for (long n = 0; n < N; n++) for (int s = 0; s < S; s++) {
    const float *a = X + (n * S + s) * D, *g = dx + n * D; float v = 0;
    for (long d = 0; d < D; d++) v += a[d] * g[d];
    dpre[n * S + s] = v;
  }
}
/* G[n,s] += coef[n] X[n,s] + pre[n,s] dx[n] */
void hc_pre_bwd(float *G, const float *X, const float *coef, const float *pre, const float *dx, long N, long D) {
#pragma omp parallel for
  for (long n = 0; n < N; n++) for (int s = 0; s < S; s++) {
    const float *a = X + (n * S + s) * D, *g = dx + n * D; float *o = G + (n * S + s) * D, c = coef[n], w = pre[n * S + s];
    for (long d = 0; d < D; d++) o[d] += c * a[d] + w * g[d];
  }
}
/* Z[n,j] = post[n,j] y[n] + sum_i M[n,i,j] X[n,i] */
void hc_post_fwd(const float *X, const float *y, const float *post, const float *M, float *Z, long N, long D) {
#pragma omp parallel for
  for (long n = 0; n < N; n++) for (int j = 0; j < S; j++) {
    const float *a = X + n * S * D, *m = M + n * 16, *b = y + n * D; float *o = Z + (n * S + j) * D, w = post[n * S + j];
    for (long d = 0; d < D; d++) o[d] = w * b[d] + m[j] * a[d] + m[4 + j] * a[D + d] + m[8 + j] * a[2 * D + d] + m[12 + j] * a[3 * D + d];
  }
}
void hc_post_bwd(const float *X, const float *y, const float *post, const float *M, const float *dZ,
                 float *dX, float *dy, float *dpost, float *dM, long N, long D) {
#pragma omp parallel for
  for (long n = 0; n < N; n++) {
    const float *a = X + n * S * D, *m = M + n * 16, *b = y + n * D, *w = post + n * S, *g = dZ + n * S * D;
    float *oy = dy + n * D, *ox = dX + n * S * D;
    for (long d = 0; d < D; d++) oy[d] = w[0] * g[d] + w[1] * g[D + d] + w[2] * g[2 * D + d] + w[3] * g[3 * D + d];
    for (int i = 0; i < S; i++)
      for (long d = 0; d < D; d++) ox[i * D + d] = m[i * 4] * g[d] + m[i * 4 + 1] * g[D + d] + m[i * 4 + 2] * g[2 * D + d] + m[i * 4 + 3] * g[3 * D + d];
    for (int j = 0; j < S; j++) {
      float p = 0, q0 = 0, q1 = 0, q2 = 0, q3 = 0; const float *h = g + j * D;
      for (long d = 0; d < D; d++) { p += h[d] * b[d]; q0 += h[d] * a[d]; q1 += h[d] * a[D + d]; q2 += h[d] * a[2 * D + d]; q3 += h[d] * a[3 * D + d]; }
      dpost[n * S + j] = p; dM[n * 16 + j] = q0; dM[n * 16 + 4 + j] = q1; dM[n * 16 + 8 + j] = q2; dM[n * 16 + 12 + j] = q3;
    }
  }
}

/* y = x * rsqrt(mean(x^2) + eps) * w (w may be 0); r keeps the factor */
void rms_fwd(const float *x, const float *w, float *y, float *r, long N, long D, float eps) {
#pragma omp parallel for
  for (long n = 0; n < N; n++) {
    const float *a = x + n * D; float *o = y + n * D, s = 0;
    for (long d = 0; d < D; d++) s += a[d] * a[d];
    s = r[n] = 1.f / sqrtf(s / D + eps);
    if (w) for (long d = 0; d < D; d++) o[d] = a[d] * s * w[d]; else for (long d = 0; d < D; d++) o[d] = a[d] * s;
  }
}
void rms_bwd(const float *x, const float *w, const float *r, const float *dy, float *dx, float *dw, long N, long D) {
#pragma omp parallel
  {
    float acc[2048]; for (long d = 0; d < D; d++) acc[d] = 0;
#pragma omp for
    for (long n = 0; n < N; n++) {
      const float *a = x + n * D, *g = dy + n * D; float *o = dx + n * D, s = 0, f = r[n];
      if (w) { for (long d = 0; d < D; d++) { float t = g[d] * w[d]; s += t * a[d]; acc[d] += g[d] * a[d] * f; }
        s *= f * f * f / D; for (long d = 0; d < D; d++) o[d] = g[d] * w[d] * f - a[d] * s; }
      else { for (long d = 0; d < D; d++) s += g[d] * a[d];
        s *= f * f * f / D; for (long d = 0; d < D; d++) o[d] = g[d] * f - a[d] * s; }
    }
    if (w) {
#pragma omp critical
      for (long d = 0; d < D; d++) dw[d] += acc[d];
    }
  }
}
/* rotate the last R of C dims of x [N, H, C]; row n is at table row n % T; cs [T, R] holds cos, sin pairs; sign = +-1 */
void rope(const float *x, float *y, const float *cs, long N, long T, long H, long C, long R, float sign) {
#pragma omp parallel for
  for (long n = 0; n < N; n++) for (long h = 0; h < H; h++) {
    const float *a = x + (n * H + h) * C, *t = cs + (n % T) * R; float *o = y + (n * H + h) * C; long b = C - R;
    memcpy(o, a, b * sizeof(float));
    for (long k = 0; k < R; k += 2) { float c = t[k], s = sign * t[k + 1], p = a[b + k], q = a[b + k + 1]; o[b + k] = p * c - q * s; o[b + k + 1] = p * s + q * c; }
  }
}

/* s [B, H, Q, K] becomes softmax(s + mask) with one more logit a head, `sink`, whose share goes to ps [B, H, Q]; mask [Q, K], or
 * [B, Q, K] when per_batch. */
void sink_softmax_fwd(float *s, const float *mask, const float *sink, float *ps, long B, long H, long Q, long K, long per_batch) {
#pragma omp parallel for
  for (long r = 0; r < B * H * Q; r++) {
    long q = r % Q, h = r / Q % H, b = r / (Q * H);
    float *x = s + r * K, m = sink[h], z = 0;
    const float *a = mask + (per_batch ? b * Q * K : 0) + q * K;
    for (long k = 0; k < K; k++) { x[k] += a[k]; m = x[k] > m ? x[k] : m; }
    for (long k = 0; k < K; k++) { x[k] = expf(x[k] - m); z += x[k]; }
    float e = expf(sink[h] - m), f = 1.f / (z + e);
    for (long k = 0; k < K; k++) x[k] *= f;
    ps[r] = e * f;
  }
}
/* ds = p (dp - t), t = sum of p dp over the row */
void sink_softmax_bwd(const float *p, const float *dp, float *ds, float *t, long N, long K) {
#pragma omp parallel for
  for (long r = 0; r < N; r++) {
    const float *a = p + r * K, *g = dp + r * K; float *o = ds + r * K, s = 0;
    for (long k = 0; k < K; k++) s += a[k] * g[k];
    t[r] = s;
    for (long k = 0; k < K; k++) o[k] = a[k] * (g[k] - s);
  }
}
