// A call from its first tag to its last: the alternatives there are at each place of it, and what
// its values may be.
#include <algorithm>
#include <cstdint>
#include <utility>

#include "engine/chat.h"
#include "engine/text/grammar/impl.h"
#include "engine/text/grammar/mask_store.h"

namespace lares::engine {

void GrammarImpl::set_ways(std::vector<CallWay> ways) {
  std::stable_sort(ways.begin(), ways.end(),
                   [](const CallWay& a, const CallWay& b) { return a.text < b.text; });
  ways.erase(std::unique(ways.begin(), ways.end(),
                         [](const CallWay& a, const CallWay& b) { return a.text == b.text; }),
             ways.end());
  ways_ = std::move(ways);
  listed_ = nullptr, listed_at_.reset();
  at_ = 0;
  phase_ = Phase::ways;
  foresee();
}

void GrammarImpl::narrow(char c) {
  const auto byte_of = [this](const CallWay& w) {
    return w.text.size() <= at_ ? -1 : int(std::uint8_t(w.text[at_]));
  };
  const auto [begin, end] = std::ranges::equal_range(ways_, int(std::uint8_t(c)), {}, byte_of);
  ways_.erase(end, ways_.end());
  ways_.erase(ways_.begin(), begin);
}

void GrammarImpl::advance(std::string_view bytes) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    narrow(bytes[i]);
    if (listed_at_) listed_at_ = listed_->extended(*listed_at_, std::uint8_t(bytes[i]));
    ++at_;
    if (ways_.size() == 1 && ways_[0].text.size() == at_) return go(CallWay(ways_[0]));
  }
  foresee();
}

void GrammarImpl::foresee() {
  if (ways_.size() == 1 && ways_[0].then == CallWay::Then::text &&
      !foreseen_.contains(ways_[0].index))
    foresee(ways_[0].index);
}

void GrammarImpl::foresee(std::size_t index) {
  foreseen_.insert_or_assign(index, choices_of(index));
}

ForeseenText GrammarImpl::choices_of(std::size_t index) {
  ForeseenText out;
  if (options_.oracle)
    out.choices = options_.oracle(tools_[tool_].name, tools_[tool_].parameters[index].name,
                                  written_);
  if (!out.choices) return out;
  if (out.choices->one_of.size() >= kListedMin) {
    std::string list;
    for (const std::string& choice : out.choices->one_of) {
      if (choice.find(kMarker) == std::string::npos) list += choice + "</" + kListEnd;
    }
    out.index = vocabulary_->store().stretch_index(std::move(list), StretchIndex::Of::list);
  } else if (out.choices->one_of.empty() && !out.choices->substring_of.empty() &&
             out.choices->substring_of.find(kDsml) == std::string::npos) {  // else free text
    out.index = vocabulary_->store().stretch_index(std::move(out.choices->substring_of));
  }
  return out;
}

void GrammarImpl::go(const CallWay& way) {
  switch (way.then) {
    case CallWay::Then::invoke: {
      tool_ = way.index;
      written_.clear();
      foreseen_.clear();
      std::vector<CallWay> ways = parameters("<");
      if (may_close())
        ways.push_back({std::string("\n</") + kMarker + "invoke>\n", CallWay::Then::after_invoke});
      return set_ways(std::move(ways));
    }
    case CallWay::Then::text:
      return begin_text(way.index);
    case CallWay::Then::json:
      return begin_json(way.index);
    case CallWay::Then::value_end:
      return end_value(std::string::npos);
    case CallWay::Then::after_invoke:
      return after_invoke();
    case CallWay::Then::finish:
      phase_ = Phase::end;
  }
}

void GrammarImpl::open_block() {
  n_calls_ = 0;
  set_ways(invokes(std::string("tool_calls>\n<") + kMarker));
}

std::vector<CallWay> GrammarImpl::invokes(const std::string& before) const {
  std::vector<CallWay> ways;
  for (std::size_t i = 0; i < tools_.size(); ++i) {
    ways.push_back(
        {before + "invoke name=\"" + tools_[i].name + "\">\n", CallWay::Then::invoke, i});
  }
  return ways;
}

void GrammarImpl::after_invoke() {
  ++n_calls_;
  std::vector<CallWay> ways;
  if (n_calls_ < options_.calls_max) ways = invokes(std::string("<") + kMarker);
  ways.push_back({std::string("</") + kMarker + "tool_calls>", CallWay::Then::finish});
  set_ways(std::move(ways));
}

bool GrammarImpl::used(const std::string& name) const {
  return std::any_of(written_.begin(), written_.end(),
                     [&](const auto& p) { return p.first == name; });
}

bool GrammarImpl::may_close() const {
  const auto& all = tools_[tool_].parameters;
  return std::none_of(all.begin(), all.end(),
                      [&](const DeclaredParameter& p) { return p.required && !used(p.name); });
}

std::vector<CallWay> GrammarImpl::parameters(const std::string& before) const {
  std::vector<CallWay> ways;
  const auto& all = tools_[tool_].parameters;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (used(all[i].name)) continue;
    const std::string tag = before + kMarker + "parameter name=\"" + all[i].name;
    if (all[i].forms.text) ways.push_back({tag + "\" string=\"true\">", CallWay::Then::text, i});
    if (all[i].forms.json != 0)
      ways.push_back({tag + "\" string=\"false\">", CallWay::Then::json, i});
  }
  return ways;
}

void GrammarImpl::begin_value(std::size_t index) {
  parameter_ = index;
  value_.clear();
  tail_.clear();
}

void GrammarImpl::begin_json(std::size_t index) {
  begin_value(index);
  const DeclaredParameter& p = tools_[tool_].parameters[index];
  begin_walk(JsonWalker(p.json, p.forms.json, /*closes=*/true));
  phase_ = Phase::json_value;
}

void GrammarImpl::begin_text(std::size_t index) {
  begin_value(index);
  const DeclaredParameter& p = tools_[tool_].parameters[index];
  std::vector<std::string> one_of = p.forms.one_of;
  if (!foreseen_.contains(index)) foresee(index);
  ForeseenText foreseen = std::move(foreseen_.at(index));
  foreseen_.clear();
  const bool listed = foreseen.choices && !foreseen.choices->one_of.empty();
  if (foreseen.index && !listed) {
    stretch_.emplace(vocabulary_, std::move(foreseen.index), foreseen.choices->unique);
    phase_ = Phase::stretch_value;
    return;
  }
  if (listed) one_of = std::move(foreseen.choices->one_of);
  if (one_of.empty() && !p.forms.patterns.empty()) {
    begin_walk(JsonWalker(p.forms.patterns));
    phase_ = Phase::json_value;
    return;
  }
  if (one_of.empty()) {
    phase_ = Phase::free_value;
    return;
  }
  std::vector<CallWay> ways;
  for (const std::string& choice : one_of) {
    if (choice.find(kMarker) == std::string::npos)
      ways.push_back({choice + "</" + kMarker, CallWay::Then::value_end});
  }
  set_ways(std::move(ways));
  if (listed) listed_ = std::move(foreseen.index);
}

void GrammarImpl::end_value(std::size_t length) {
  const std::string& name = tools_[tool_].parameters[parameter_].name;
  if (length == std::string::npos) {
    const std::string& text = ways_[0].text;
    written_.emplace_back(name, text.substr(0, text.size() - 3));  // less "</" and the marker
  } else {
    written_.emplace_back(name, value_.substr(0, length));
  }
  tail_.clear();
  // The next one may be any of the others: what it may be hangs on the one that ends here, a path
  // for instance.
  const auto& all = tools_[tool_].parameters;
  foreseen_.clear();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].forms.text && !used(all[i].name)) foresee(i);
  }
  std::vector<CallWay> ways = parameters("parameter>\n<");
  if (may_close())
    ways.push_back(
        {std::string("parameter>\n</") + kMarker + "invoke>\n", CallWay::Then::after_invoke});
  set_ways(std::move(ways));
}

}  // namespace lares::engine
