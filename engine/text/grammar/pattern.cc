// The table: each of its states is the set of parts that a text may have come to.
#include "engine/text/grammar/pattern.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "engine/text/grammar/pattern_parts.h"

namespace lares::engine {

class PatternTable {
 public:
  PatternTable(const PatternParts& parts, std::size_t steps_max)
      : parts_(parts.parts), seen_(parts.parts.size(), 0), work_max_(steps_max) {
    std::array<bool, 257> begins{};
    begins[0] = true;
    for (const PatternPart& p : parts_) {
      if (p.kind == PatternPart::Kind::bytes)
        begins[p.low] = begins[std::size_t(p.high) + 1] = true;
    }
    std::size_t n = 0;
    for (std::size_t b = 0; b < 256; ++b) {
      n += begins[b] ? 1 : 0;
      out_.class_of_[b] = std::uint8_t(n - 1);
      if (begins[b]) examples_.push_back(std::uint8_t(b));
    }
    out_.n_classes_ = n;
    number_of({});  // kDead
    number_of(closure({parts.start}));
  }

  tl::expected<Pattern, std::string> build() {
    for (std::size_t s = 1; s < sets_.size(); ++s) {
      for (const std::uint8_t byte : examples_) {
        std::vector<std::uint32_t> after;
        work_ += sets_[s]->size();
        for (const std::uint32_t p : *sets_[s]) {
          if (parts_[p].kind == PatternPart::Kind::bytes && parts_[p].low <= byte &&
              byte <= parts_[p].high)
            after.push_back(parts_[p].next);
        }
        const std::size_t to = number_of(closure(after));
        if (sets_.size() > kPatternStatesMax)
          return tl::unexpected(
              fmt::format("it is too large to enforce: more than {} states", kPatternStatesMax));
        if (work_ > work_max_)
          return tl::unexpected(
              std::string("it takes too many steps to enforce, with the patterns before it"));
        out_.table_[s * out_.n_classes_ + out_.class_of_[byte]] = Pattern::State(to);
      }
    }
    return std::move(out_);
  }
  std::size_t steps() const { return work_; }

 private:
  using Set = std::vector<std::uint32_t>;

  // Without the forks; in ascending order, each once.
  Set closure(Set open) {
    ++round_;
    Set out;
    while (!open.empty()) {
      const std::uint32_t p = open.back();
      open.pop_back();
      if (seen_[p] == round_) continue;
      seen_[p] = round_;
      ++work_;
      if (parts_[p].kind == PatternPart::Kind::fork)
        open.push_back(parts_[p].next), open.push_back(parts_[p].other);
      else
        out.push_back(p);
    }
    std::sort(out.begin(), out.end());
    return out;
  }
  std::size_t number_of(Set set) {
    work_ += set.size();
    const auto [it, fresh] = numbers_.emplace(std::move(set), sets_.size());
    if (!fresh) return it->second;
    sets_.push_back(&it->first);
    out_.accepts_.push_back(0);
    for (const std::uint32_t p : it->first) {
      if (parts_[p].kind == PatternPart::Kind::match) out_.accepts_.back() = 1;
    }
    out_.table_.resize(sets_.size() * out_.n_classes_, Pattern::kDead);
    return it->second;
  }

  const std::vector<PatternPart>& parts_;
  std::vector<std::size_t> seen_;
  std::size_t round_ = 0, work_ = 0, work_max_;
  std::vector<std::uint8_t> examples_;  // a byte of each class
  std::map<Set, std::size_t> numbers_;
  std::vector<const Set*> sets_;
  Pattern out_;
};

tl::expected<Pattern, std::string> Pattern::compile(std::string_view expression,
                                                    std::size_t& steps_left) {
  const auto parts = parse_pattern(expression);
  if (!parts) return tl::unexpected(parts.error());
  PatternTable table(*parts, std::min(steps_left, kPatternStepsMax));
  auto pattern = table.build();
  steps_left -= std::min(steps_left, table.steps() + parts->n_pieces);
  return pattern;
}

}  // namespace lares::engine
