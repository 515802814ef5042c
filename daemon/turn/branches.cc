#include "daemon/turn/branches.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace lares::daemon {

Choice choice_of(engine::Token drawn, const engine::Logprobs& logprobs,
                 const engine::TokenMask* mask) {
  Choice out;
  double mass = std::exp(static_cast<double>(logprobs.drawn));
  for (const auto& [token, logprob] : logprobs.top) {
    const auto at = static_cast<std::size_t>(token);
    if (token == drawn || (mask && ((*mask)[at / 64] >> (at % 64) & 1) == 0)) continue;
    out.others.emplace_back(token, logprob);
    mass += std::exp(static_cast<double>(logprob));
  }
  const auto all = static_cast<float>(std::log(mass));
  out.drawn = logprobs.drawn - all;
  for (auto& other : out.others) other.second -= all;
  std::erase_if(out.others, [](const auto& other) { return !(other.second >= kBranchLogprobMin); });
  return out;
}

std::vector<DrawnPart> up_to(std::vector<DrawnPart> parts, std::int64_t at) {
  if (!parts.empty())
    parts.erase(std::find_if(parts.begin() + 1, parts.end(),
                             [at](const DrawnPart& part) { return part.at >= at; }),
                parts.end());
  return parts;
}

void Branches::add(std::span<const engine::Token> answer, std::span<const Choice> choices,
                   const std::optional<Branch>& from, int draw) {
  answers_.push_back(
      {{answer.begin(), answer.end()}, from ? from->parts : std::vector<DrawnPart>{{0, draw}}});
  double logprob = from ? from->logprob : 0;
  const std::size_t first = answer.size() - choices.size();
  for (std::size_t i = 0; i < choices.size(); ++i) {
    for (const auto& [token, other] : choices[i].others)
      ways_.push_back({logprob + other, answers_.size() - 1, first + i, token});
    logprob += choices[i].drawn;
  }
}

std::optional<Branch> Branches::next(int draw) {
  const auto best = std::ranges::max_element(ways_, {}, &Way::logprob);  // the first of equals
  if (best == ways_.end()) return std::nullopt;
  const Way way = *best;
  ways_.erase(best);
  const Answer& answer = answers_[way.answer];
  Branch out;
  out.tokens.assign(answer.tokens.begin(),
                    answer.tokens.begin() + static_cast<std::ptrdiff_t>(way.at));
  out.tokens.push_back(way.token);
  const auto at = static_cast<std::int64_t>(way.at);
  out.parts = up_to(answer.parts, at);
  out.parts.push_back({at, draw});
  out.logprob = way.logprob;
  return out;
}

}  // namespace lares::daemon
