#include "daemon/session/session_settings.h"

#include <algorithm>
#include <random>
#include <utility>

namespace lares::daemon {
namespace {

// A question has an answer, and its likeliest wording will do. Not 0: long reasoning tends to go in
// circles there.
constexpr double kAskTemperature = 0.2;

}  // namespace

protocol::SessionSettings filled(protocol::SessionSettings s, const TurnSettings& d) {
  const double temperature = d.sampling.temperature;
  if (!s.temperature)
    s.temperature = s.mode == "ask" ? std::min(temperature, kAskTemperature) : temperature;
  if (!s.top_p) s.top_p = d.sampling.top_p;
  if (!s.seed) s.seed = std::random_device{}();
  if (!s.steps_max) s.steps_max = d.steps_max;
  if (!s.step_tokens_max) s.step_tokens_max = d.step_tokens_max;
  if (!s.think_tokens_max) s.think_tokens_max = std::min(d.think_tokens_max, *s.step_tokens_max);
  return s;
}

protocol::SessionSettings for_another_model(protocol::SessionSettings s, const TurnSettings& d) {
  s.temperature.reset(), s.top_p.reset();
  s.step_tokens_max.reset(), s.think_tokens_max.reset();
  return filled(std::move(s), d);
}

}  // namespace lares::daemon
