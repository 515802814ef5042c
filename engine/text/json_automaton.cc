#include "engine/text/json_automaton.h"

namespace lares::engine {
namespace {

bool digit(std::uint8_t b) { return b >= '0' && b <= '9'; }
bool hex(std::uint8_t b) { return digit(b) || (b >= 'a' && b <= 'f') || (b >= 'A' && b <= 'F'); }
bool space(std::uint8_t b) { return b == ' ' || b == '\n' || b == '\t' || b == '\r'; }

}  // namespace

void JsonAutomaton::end_value() { at_ = stack_.empty() ? At::done : At::after_item; }

bool JsonAutomaton::in_number_end() const {
  return at_ == At::zero || at_ == At::digits || at_ == At::fraction || at_ == At::exponent_digits;
}

bool JsonAutomaton::complete() const { return at_ == At::done || (stack_.empty() && in_number_end()); }

std::string JsonAutomaton::key() const {
  std::string out = stack_;
  out += '/';
  out += char('A' + int(kind_));
  out += char('A' + int(at_));
  out += char('0' + utf8_left_ + (key_string_ ? 4 : 0));
  if (at_ >= At::minus && at_ <= At::exponent_digits) out += char('a' + n_digits_);
  return out + literal_;
}

bool JsonAutomaton::begin_value(std::uint8_t b) {
  const JsonKind kind = stack_.empty() ? kind_ : JsonKind::any;
  const auto may = [&](JsonKind k) { return kind == JsonKind::any || kind == k; };
  const bool number = may(JsonKind::number) || kind == JsonKind::integer;
  if (b == '{' && may(JsonKind::object) && stack_.size() < kDepthMax) return stack_ += '{', at_ = At::first_key, true;
  if (b == '[' && may(JsonKind::array) && stack_.size() < kDepthMax) return stack_ += '[', at_ = At::first_item, true;
  if (b == '"' && kind == JsonKind::any) return key_string_ = false, at_ = At::string, true;
  if (b == '-' && number) return n_digits_ = 0, at_ = At::minus, true;
  if (b == '0' && number) return n_digits_ = 1, at_ = At::zero, true;
  if (digit(b) && number) return n_digits_ = 1, at_ = At::digits, true;
  if (b == 't' && may(JsonKind::boolean)) return literal_ = "rue", at_ = At::literal, true;
  if (b == 'f' && may(JsonKind::boolean)) return literal_ = "alse", at_ = At::literal, true;
  if (b == 'n' && kind == JsonKind::any) return literal_ = "ull", at_ = At::literal, true;
  return false;
}

// A number ends where something else begins.
bool JsonAutomaton::after_number(std::uint8_t b) {
  if (stack_.empty()) return false;
  end_value();
  return accept(b);
}

bool JsonAutomaton::accept(std::uint8_t b) {
  const bool integer_only = kind_ == JsonKind::integer && stack_.empty();
  switch (at_) {
    case At::value:
      return (space(b) && !stack_.empty()) || begin_value(b);
    case At::first_item:
      if (b == ']') return stack_.pop_back(), end_value(), true;
      return space(b) || begin_value(b);
    case At::first_key:
      if (b == '}') return stack_.pop_back(), end_value(), true;
      [[fallthrough]];
    case At::key:
      if (b == '"') return key_string_ = true, at_ = At::string, true;
      return space(b);
    case At::colon:
      if (b == ':') return at_ = At::value, true;
      return space(b);
    case At::after_item:
      if (b == ',') return at_ = stack_.back() == '{' ? At::key : At::value, true;
      if (b == (stack_.back() == '{' ? '}' : ']')) return stack_.pop_back(), end_value(), true;
      return space(b);
    case At::string:
      if (utf8_left_ > 0) return (b & 0xC0) == 0x80 && (--utf8_left_, true);
      if (b == '"') {
        if (key_string_) at_ = At::colon; else end_value();
        return true;
      }
      if (b == '\\') return at_ = At::escape, true;
      if (b < 0x20 || (b >= 0x80 && b < 0xC2) || b > 0xF4) return false;
      utf8_left_ = b < 0x80 ? 0 : b < 0xE0 ? 1 : b < 0xF0 ? 2 : 3;
      return true;
    case At::escape:
      if (b == 'u') return at_ = At::unicode1, true;
      at_ = At::string;
      return std::string_view("\"\\/bfnrt").find(char(b)) != std::string_view::npos;
    case At::unicode1:  // no \uDxxx: half a surrogate pair is no text
      at_ = At::unicode2;
      return hex(b) && b != 'd' && b != 'D';
    case At::unicode2: case At::unicode3:
      at_ = At(int(at_) + 1);
      return hex(b);
    case At::unicode4:
      at_ = At::string;
      return hex(b);
    case At::minus:
      at_ = b == '0' ? At::zero : At::digits;
      return digit(b);
    case At::zero:
    case At::digits:
      if (at_ == At::digits && digit(b)) return ++n_digits_ <= kDigitsMax;
      if (b == '.' && !integer_only) return at_ = At::point, true;
      if ((b == 'e' || b == 'E') && !integer_only) return at_ = At::exponent, true;
      return after_number(b);
    case At::point:
      return at_ = At::fraction, digit(b);
    case At::fraction:
      if (digit(b)) return ++n_digits_ <= kDigitsMax;
      if (b == 'e' || b == 'E') return at_ = At::exponent, true;
      return after_number(b);
    case At::exponent:
      if (b == '+' || b == '-') return at_ = At::exponent_sign, true;
      [[fallthrough]];
    case At::exponent_sign:
      return n_digits_ = 1, at_ = At::exponent_digits, digit(b);
    case At::exponent_digits:
      return digit(b) ? ++n_digits_ <= kExponentDigitsMax : after_number(b);
    case At::literal:
      if (*literal_ == '\0' || std::uint8_t(*literal_) != b) return false;
      if (*++literal_ == '\0') end_value();
      return true;
    case At::done:
      return false;
  }
  return false;
}

}  // namespace lares::engine
