#include "kernels/moe.h"

#include <cmath>

namespace lares::kernels {

void route(const RouteArgs& a) {
  for (int e = 0; e < a.n_experts; ++e) {
    const double u = a.u[e];
    const float softplus =
        static_cast<float>(std::fmax(u, 0.0) + std::log1p(std::exp(-std::fabs(u))));
    a.scratch[e] = std::sqrt(softplus);
  }
  float total = 0;
  for (int i = 0; i < a.k; ++i) {
    int best = -1;
    if (a.given) {
      best = static_cast<int>(a.given[i]);
    } else {
      for (int e = 0; e < a.n_experts; ++e) {
        bool taken = false;
        for (int j = 0; j < i && !taken; ++j) taken = a.expert[j] == e;
        if (taken) continue;
        if (best < 0 || a.scratch[e] + a.bias[e] > a.scratch[best] + a.bias[best]) best = e;
      }
    }
    a.expert[i] = best;
    a.weight[i] = a.scratch[best];
    total += a.weight[i];
  }
  for (int i = 0; i < a.k; ++i) a.weight[i] = a.weight[i] / total * a.factor;
}

}  // namespace lares::kernels
