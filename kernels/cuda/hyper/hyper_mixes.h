// What the mixes of a boundary become for the next one: post and comb, by a warp a token.
#pragma once

#include "kernels/cuda/hyper/hyper.h"
#include "kernels/cuda/rows.h"

namespace lares::kernels::cuda::inline LARES_SIDE {

// a / b where neither these nor the quotient are near an end of the range: the compiler's division
// without its test for that.
LARES_DEVICE float quotient(float a, float b) {
#ifdef __CUDACC__
  float r;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(b));
  r = fmaf(r, fmaf(-b, r, 1.0f), r);
  float q = a * r;
  q = fmaf(fmaf(-b, q, a), r, q);
  return fmaf(fmaf(-b, q, a), r, q);
#else
  return a / b;
#endif
}
// post and comb of a token, from its mixes; by a warp. Sums are within [eps, 4 + 4 eps], terms not
// below eps / (4 + 4 eps).
LARES_DEVICE void put_post_and_comb(const HyperMixes& a, std::int64_t t, float mix) {
  constexpr int S = kHyperStreams;
  // Lane 4 j + k has comb[j][k]; lanes beyond 15 do the same again.
  const int lane = thread() % 32, at = lane % 16, j = at / S, k = at % S;
  const float post = shuffle_from(mix, S + lane % S);
  float m = shuffle_from(mix, 2 * S + at), top = shuffle_from(m, j * S);
  LARES_UNROLL for (int i = 1; i < S; ++i) top = max2(top, shuffle_from(m, j * S + i));
  m = exponential(m - top);
  float total = 0;
  LARES_UNROLL for (int i = 0; i < S; ++i) total = total + shuffle_from(m, j * S + i);
  m = m / total + a.eps;
  for (int iter = 0; iter < a.iters; ++iter) {
    if (iter > 0) {
      total = shuffle_from(m, j * S);
      LARES_UNROLL for (int i = 1; i < S; ++i) total = total + shuffle_from(m, j * S + i);
      m = quotient(m, total + a.eps);
    }
    total = shuffle_from(m, k);
    LARES_UNROLL for (int i = 1; i < S; ++i) total = total + shuffle_from(m, i * S + k);
    m = quotient(m, total + a.eps);
  }
  if (lane < 16) a.comb[t * S * S + at] = m;
  if (lane < S) a.post[t * S + lane] = 2.0f * sigmoid(post);
}
// Of token t, what was left for later.
LARES_DEVICE void put_left(const HyperMixes& a, int t) {
  const int lane = thread() % 32;
  put_post_and_comb(a, t, a.mixes[t * a.stride + smaller(lane, kHyperRows - 1)]);
}

}  // namespace lares::kernels::cuda::inline LARES_SIDE
