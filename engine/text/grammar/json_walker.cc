#include "engine/text/grammar/json_walker.h"

#include <algorithm>
#include <utility>

namespace lares::engine {
namespace {

using Kind = SchemaNode::Kind;
using At = JsonWay::At;

NumberPrefix prefix_of(const JsonWay& w) { return {w.negative, w.value, w.n_digits, w.n_fraction}; }

// Of an exponent behind so many digits before the point: the number is a double's, for it is below
// 10^308.
std::uint64_t exponent_max(const JsonWay& w) { return 308 - w.next; }

DigitRoom exponent_room(const JsonWay& w) {
  const int left = kExponentDigitsMax - w.n_fraction;
  DigitRoom out;
  std::uint64_t least = w.value, most = w.value;
  for (int n = 1; n <= left; ++n) {
    least *= 10, most = most * 10 + 9;
    if (most <= exponent_max(w)) out.all = n;
    if (least <= exponent_max(w)) out.some = n;
  }
  return out;
}

}  // namespace

JsonWalker::JsonWalker(JsonSchemaRef schema, NodeId root, bool closes)
    : schema_(std::move(schema)), closes_(closes), continuations_(1) {
  ways_.push_back({.at = At::value, .node = root});
}

JsonWalker::JsonWalker(std::vector<std::shared_ptr<const Pattern>> patterns)
    : closes_(true), patterns_(std::move(patterns)), continuations_(1) {
  for (std::size_t i = 0; i < patterns_.size(); ++i)
    ways_.push_back({.at = At::text, .state = Pattern::kStart, .from = std::uint32_t(i)});
}

bool JsonWalker::accept(std::string_view bytes) {
  for (const char c : bytes) {
    scratch_.clear();
    for (const JsonWay& way : ways_) step(way, std::uint8_t(c), /*any_blanks=*/true, scratch_);
    std::swap(ways_, scratch_);
  }
  if (continuations_.size() > kContinuationsMax) forget();
  return !ways_.empty();
}

bool JsonWalker::complete() const {
  return std::ranges::any_of(ways_, [&](const JsonWay& w) {
    return w.at == At::done || (w.at == At::text && patterns_[w.from]->accepts(w.state)) ||
           (w.then == 0 && ended(w));
  });
}
bool JsonWalker::closed() const {
  return std::ranges::any_of(ways_, [](const JsonWay& w) { return w.at == At::closed; });
}

// ---- what follows a value

std::uint32_t JsonWalker::continuation(std::uint32_t then, NodeId node, std::uint32_t place,
                                       std::uint32_t also) {
  const Continuation wanted{then, node, place, also, depth(then) + 1};
  const auto [it, fresh] = numbers_.emplace(wanted, std::uint32_t(continuations_.size()));
  if (fresh) continuations_.push_back(wanted);
  return it->second;
}

// Both, of one depth each: their lists merged, and below what is in both as well.
std::uint32_t JsonWalker::either(std::uint32_t a, std::uint32_t b) {
  if (a == b || b == 0) return a;
  if (a == 0) return b;
  const std::uint64_t pair = std::uint64_t(std::min(a, b)) << 32 | std::max(a, b);
  if (const auto known = eithers_.find(pair); known != eithers_.end()) return known->second;
  const Continuation one = continuations_[a], other = continuations_[b];
  const auto order = std::pair(one.node, one.place) <=> std::pair(other.node, other.place);
  std::uint32_t out = 0;
  if (order > 0)
    out = continuation(one.then, one.node, one.place, either(one.also, b));
  else if (order < 0)
    out = continuation(other.then, other.node, other.place, either(a, other.also));
  else
    out = continuation(either(one.then, other.then), one.node, one.place,
                       either(one.also, other.also));
  eithers_.emplace(pair, out);
  return out;
}

void JsonWalker::add(const JsonWay& way, JsonWays& out) {
  for (JsonWay& known : out) {
    if (!known.stands_as(way)) continue;
    known.then = either(known.then, way.then);
    return;
  }
  out.push_back(way);
}

// Keeps those that the ways need.
void JsonWalker::forget() {
  const std::vector<Continuation> old = std::exchange(continuations_, std::vector<Continuation>(1));
  numbers_.clear();
  eithers_.clear();
  std::unordered_map<std::uint32_t, std::uint32_t> kept = {{0, 0}};
  const auto keep = [&](const auto& self, std::uint32_t number) -> std::uint32_t {
    if (const auto known = kept.find(number); known != kept.end()) return known->second;
    const Continuation& c = old[number];
    const std::uint32_t then = self(self, c.then), also = self(self, c.also);
    return kept[number] = continuation(then, c.node, c.place, also);
  };
  for (JsonWay& way : ways_) way.then = keep(keep, way.then);
  ++generation_;
}

JsonWay JsonWalker::after(const Continuation& c) const {
  return {.at = node(c.node).kind == Kind::array ? At::after_item : At::after_member,
          .node = c.node,
          .then = c.then,
          .from = c.place};
}
void JsonWalker::add_after(std::uint32_t then, JsonWays& out) {
  if (then == 0) return add({.at = At::done}, out);
  for (; then != 0; then = continuations_[then].also) add(after(continuations_[then]), out);
}
void JsonWalker::step_after(std::uint32_t then, std::uint8_t b, bool any_blanks, JsonWays& out) {
  if (then == 0) return step({.at = At::done}, b, any_blanks, out);
  for (; then != 0; then = continuations_[then].also)
    step(after(continuations_[then]), b, any_blanks, out);
}

// ---- one byte

void JsonWalker::step(const JsonWay& way, std::uint8_t b, bool any_blanks, JsonWays& out) {
  JsonWay w = way;
  switch (way.at) {
    case At::value:
      if (blank(way, b, any_blanks, out)) return;
      return begin(way.node, way.then, b, out);
    case At::choice:
      return choice(way, b, any_blanks, out);
    case At::string:
    case At::map_key:
      return string(way, b, out);
    case At::minus:
    case At::zero:
    case At::digits:
    case At::point:
    case At::fraction:
    case At::exponent:
    case At::exponent_sign:
    case At::exponent_digits:
      return number(way, b, any_blanks, out);
    case At::first_item:
    case At::after_item:
      if (blank(way, b, any_blanks, out)) return;
      w.gap = any_blanks ? 0 : way.gap;
      return array(w, b, out);
    case At::first_key:
    case At::key:
    case At::after_member:
      if (blank(way, b, any_blanks, out)) return;
      w.gap = any_blanks ? 0 : way.gap;
      return object(w, b, out);
    case At::key_text:
      return key_text(way, b, out);
    case At::after_key:
      if (any_blanks && blank(way, b, any_blanks, out)) return;
      return object(way, b, out);
    case At::text:
      w.state = patterns_[way.from]->step(way.state, b);
      if (w.state != Pattern::kDead) add(w, out);
      if (b == '<' && patterns_[way.from]->accepts(way.state)) add({.at = At::closing}, out);
      return;
    case At::done:
      if (closes_ && b == '<') add({.at = At::closing}, out);
      return;
    case At::closing:
      if (b == '/') add({.at = At::closed}, out);
      return;
    case At::closed:
      return;
  }
}

bool JsonWalker::blank(const JsonWay& way, std::uint8_t b, bool any_blanks, JsonWays& out) {
  if (b != ' ' && b != '\n' && b != '\t' && b != '\r') return false;
  constexpr std::uint8_t kBlank = 1, kLine = 2;
  JsonWay w = way;
  if (any_blanks) {
    w.gap = way.gap == 0 && b == '\n'                          ? kLine
            : way.gap >= kLine && way.gap < kLine + kIndentMax ? std::uint8_t(way.gap + 1)
                                                               : kBlank;
    add(w, out);
    return true;
  }
  if (way.at == At::value && way.then == 0) return true;  // a document begins with itself
  if (way.gap == 0 && (b == ' ' || b == '\n'))
    w.gap = b == ' ' ? kBlank : kLine;
  else if (way.gap >= kLine && way.gap < kLine + kIndentMax && (b == ' ' || b == '\t'))
    ++w.gap;
  else
    return true;
  // What stands before a bracket that may not come yet leads nowhere.
  const SchemaNode& in = node(way.node);
  if (way.at == At::after_item && way.from < in.items_min) return true;
  if (way.at == At::after_member && in.kind == Kind::object &&
      in.next_required[way.from] < in.properties.size())
    return true;
  add(w, out);
  return true;
}

void JsonWalker::begin(NodeId id, std::uint32_t then, std::uint8_t b, JsonWays& out) {
  const SchemaNode& n = node(id);
  if (depth(then) + n.min_depth > kDocumentDepthMax) return;
  switch (n.kind) {
    case Kind::any_of:
      for (const NodeId alternative : n.alternatives) begin(alternative, then, b, out);
      return;
    case Kind::choices:
      return choice(
          {.at = At::choice, .node = id, .then = then, .to = std::uint32_t(n.choices.size())}, b,
          false, out);
    case Kind::string:
      if (b == '"')
        add({.at = At::string,
             .state = std::uint16_t(n.pattern ? Pattern::kStart : Pattern::kDead),
             .node = id,
             .then = then},
            out);
      return;
    case Kind::number:
      if (b == '-') {
        JsonWay w{.at = At::minus, .negative = true, .node = id, .then = then};
        bool some = false;
        for (std::uint64_t d = 0; d < 10 && !some; ++d)
          some = n.range.reachable({true, d, 1, 0}, d != 0, false);
        if (some) add(w, out);
        return;
      }
      if (json_digit(b))
        digit({.node = id, .then = then}, b == '0' ? At::zero : At::digits, b, out);
      return;
    case Kind::array:
      if (b == '[') add({.at = At::first_item, .node = id, .then = then}, out);
      return;
    case Kind::object:
    case Kind::map:
      if (b == '{') add({.at = At::first_key, .node = id, .then = then}, out);
      return;
  }
}

// ---- numbers

void JsonWalker::digit(JsonWay w, At at, std::uint8_t b, JsonWays& out) {
  const NumberRange& range = node(w.node).range;
  if (w.n_digits >= (at == At::digits ? range.whole_digits_max() : range.digits_max())) return;
  w.at = at;
  ++w.n_digits;
  if (at == At::fraction) ++w.n_fraction;
  if (range.bounded()) {
    w.value = w.value * 10 + (b - '0');
    if (!range.reachable(prefix_of(w), at == At::digits, at == At::fraction)) return;
  } else {
    w.n_fraction = 0;
  }
  add(w, out);
}

std::optional<DigitRoom> JsonWalker::digit_room(const JsonWay& w) const {
  switch (w.at) {
    case At::zero:
      return DigitRoom{};
    case At::exponent:
    case At::exponent_sign:
    case At::exponent_digits:
      return exponent_room(w);
    case At::digits:
    case At::point:
    case At::fraction: {
      const NumberRange& range = node(w.node).range;
      if (range.bounded()) return range.room(prefix_of(w), w.at != At::digits);
      const int most = w.at == At::digits ? range.whole_digits_max() : range.digits_max();
      return DigitRoom{most - w.n_digits, most - w.n_digits};
    }
    default:
      return std::nullopt;
  }
}

bool JsonWalker::ended(const JsonWay& w) const {
  switch (w.at) {
    case At::zero:
    case At::digits:
    case At::fraction: {
      const NumberRange& range = node(w.node).range;
      return !range.bounded() || range.holds(prefix_of(w));
    }
    case At::exponent_digits:
      return true;
    case At::choice:
      return node(w.node).choices[w.from].size() == w.value;
    default:
      return false;
  }
}

void JsonWalker::number(const JsonWay& way, std::uint8_t b, bool any_blanks, JsonWays& out) {
  const NumberRange& range = node(way.node).range;
  JsonWay w = way;
  const bool mantissa = way.at == At::zero || way.at == At::digits || way.at == At::fraction;
  if (json_digit(b)) {
    switch (way.at) {
      case At::minus:
        return digit(w, b == '0' ? At::zero : At::digits, b, out);
      case At::digits:
        return digit(w, At::digits, b, out);
      case At::point:
      case At::fraction:
        return digit(w, At::fraction, b, out);
      case At::exponent:
      case At::exponent_sign:
      case At::exponent_digits:
        w.value = w.value * 10 + (b - '0');
        if (w.n_fraction >= kExponentDigitsMax || w.value > exponent_max(w)) return;
        w.at = At::exponent_digits;
        ++w.n_fraction;
        return add(w, out);
      default:
        return;
    }
  }
  if (b == '.' && (way.at == At::zero || way.at == At::digits) && !range.whole &&
      way.n_digits < range.digits_max()) {
    w.at = At::point;
    if (!range.bounded()) w.next = w.n_digits;
    if (!range.bounded() || range.reachable(prefix_of(w), false, true)) add(w, out);
    return;
  }
  if ((b == 'e' || b == 'E') && mantissa && !range.whole && !range.bounded()) {
    if (way.at != At::fraction) w.next = w.n_digits;
    w.at = At::exponent, w.n_digits = 0;
    return add(w, out);
  }
  if ((b == '+' || b == '-') && way.at == At::exponent) {
    w.at = At::exponent_sign;
    return add(w, out);
  }
  if (ended(way)) step_after(way.then, b, any_blanks, out);  // it ends where something else begins
}

// ---- listed values and strings

void JsonWalker::choice(JsonWay w, std::uint8_t b, bool any_blanks, JsonWays& out) {
  const auto& choices = node(w.node).choices;
  const std::size_t at = w.value;
  if (at > 0 && ended(w)) step_after(w.then, b, any_blanks, out);
  const auto byte_at = [at](const std::string& text) {
    return at < text.size() ? int(std::uint8_t(text[at])) : -1;
  };
  const auto range = std::ranges::equal_range(choices.begin() + w.from, choices.begin() + w.to,
                                              int(b), {}, byte_at);
  if (range.empty()) return;
  w.from = std::uint32_t(range.begin() - choices.begin());
  w.to = std::uint32_t(range.end() - choices.begin());
  w.value = at + 1;
  const std::string& first = choices[w.from];
  if (first.size() == w.value && !json_digit(std::uint8_t(first.back())))
    return add_after(w.then, out);  // only a number can begin another value
  add(w, out);
}

void JsonWalker::string(JsonWay w, std::uint8_t b, JsonWays& out) {
  const Pattern* const pattern = w.at == At::string ? node(w.node).pattern.get() : nullptr;
  if (!pattern) {
    w.string = string_step(w.string, b);
    if (w.string == StringAt::broken) return;
    if (w.string != StringAt::closed) return add(w, out);
    if (w.at == At::string) return add_after(w.then, out);
    w.at = At::after_key, w.string = StringAt::text;
    return add(w, out);
  }
  // One that matches is written without \u, which its characters do not need; its UTF-8 the pattern
  // sees to.
  if (w.string == StringAt::escape) {
    if (kEscapes.find(char(b)) == std::string_view::npos) return;
    b = unescaped(b);
    w.string = StringAt::text;
  } else if (b == '"') {
    if (pattern->accepts(w.state)) add_after(w.then, out);
    return;
  } else if (b == '\\') {
    w.string = StringAt::escape;
    for (const char c : std::string_view("\"\\/\b\f\n\r\t")) {
      if (pattern->step(w.state, std::uint8_t(c)) != Pattern::kDead) return add(w, out);
    }
    return;
  } else if (b < 0x20) {
    return;
  }
  w.state = pattern->step(w.state, b);
  if (w.state != Pattern::kDead) add(w, out);
}

// ---- arrays and objects

void JsonWalker::array(const JsonWay& way, std::uint8_t b, JsonWays& out) {
  const SchemaNode& n = node(way.node);
  if (b == ']') {
    if (way.from >= n.items_min) add_after(way.then, out);
    return;
  }
  if (way.from >= n.items_max || !fits(n.items, way.then)) return;
  // Without an upper bound all counts beyond the lower one are the same.
  const std::uint32_t place = n.items_max == UINT32_MAX ? std::min(way.from + 1, n.items_min)
                                                        : way.from + 1;
  if (way.at == At::after_item) {
    if (b == ',' && way.gap == 0)
      add({.at = At::value, .node = n.items, .then = continuation(way.then, way.node, place)}, out);
    return;
  }
  begin(n.items, continuation(way.then, way.node, place), b, out);
}

bool JsonWalker::is_key(const SchemaNode& object, std::uint32_t index, std::uint32_t next,
                        std::uint32_t then) const {
  return index >= next && index <= object.next_required[next] &&
         fits(object.properties[index].value, then);
}
bool JsonWalker::some_key(const SchemaNode& object, std::uint32_t next, std::uint32_t then) const {
  const auto n = std::uint32_t(object.properties.size());
  for (std::uint32_t i = next; i < n && i <= object.next_required[next]; ++i) {
    if (is_key(object, i, next, then)) return true;
  }
  return false;
}

void JsonWalker::object(const JsonWay& way, std::uint8_t b, JsonWays& out) {
  const SchemaNode& n = node(way.node);
  JsonWay w = way;
  w.gap = 0;
  const bool map = n.kind == Kind::map;
  switch (b) {
    case '}':
      if (way.at != At::first_key && way.at != At::after_member) return;
      if (map || n.next_required[way.from] == n.properties.size()) add_after(way.then, out);
      return;
    case ',':
      if (way.at != At::after_member || way.gap != 0 || !(map || some_key(n, way.from, way.then)))
        return;
      w.at = At::key;
      return add(w, out);
    case ':':
      if (way.at != At::after_key) return;
      return add({.at = At::value,
                  .node = map ? n.items : n.properties[way.from].value,
                  .then = continuation(way.then, way.node, map ? 0 : way.from + 1)},
                 out);
    case '"':
      if (way.at != At::first_key && way.at != At::key) return;
      if (map) {
        w.at = At::map_key;
        if (fits(n.items, way.then)) add(w, out);
        return;
      }
      if (!some_key(n, way.from, way.then)) return;
      w.at = At::key_text;
      w.next = way.from, w.from = 0, w.to = std::uint32_t(n.properties.size()), w.value = 1;
      return add(w, out);
    default:
      return;
  }
}

void JsonWalker::key_text(JsonWay w, std::uint8_t b, JsonWays& out) {
  const SchemaNode& n = node(w.node);
  const std::size_t at = w.value;
  const auto byte_at = [&](std::uint32_t i) {
    const std::string& key = n.properties[i].key;
    return at < key.size() ? int(std::uint8_t(key[at])) : -1;
  };
  const auto range = std::ranges::equal_range(n.by_key.begin() + w.from, n.by_key.begin() + w.to,
                                              int(b), {}, byte_at);
  const auto may = [&](std::uint32_t i) { return is_key(n, i, w.next, w.then); };
  const auto first = std::ranges::find_if(range, may);
  if (first == range.end()) return;
  if (n.properties[*first].key.size() == at + 1)
    return add({.at = At::after_key, .node = w.node, .then = w.then, .from = *first}, out);
  w.from = std::uint32_t(range.begin() - n.by_key.begin());
  w.to = std::uint32_t(range.end() - n.by_key.begin());
  w.value = at + 1;
  add(w, out);
}

}  // namespace lares::engine
