#include "engine/exact_json.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace lares::engine {
namespace {

constexpr int kOutOfRange = 406;  // as nlohmann::json documents it: a number beyond every double

template <class Json>
Json kept(std::string_view digits) {
  return Json::binary(typename Json::binary_t::container_type(digits.begin(), digits.end()));
}

// The one that a number beyond every double has in its place, and which number of the text it is.
struct Beyond {
  std::size_t number;
  std::string digits;
};

template <class Json>
class Builder final : public nlohmann::json_sax<Json> {
 public:
  Builder(const std::vector<Beyond>& beyond, int depth_max)
      : beyond_(beyond), depth_max_(static_cast<std::size_t>(depth_max)) {}

  Json whole = Json(Json::value_t::discarded);
  // Where parsing ended at a number beyond every double: what it is, and the byte behind it
  std::optional<Beyond> out_of_range;
  std::size_t end = 0;

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(std::int64_t value) override { return number(value); }
  bool number_unsigned(std::uint64_t value) override { return number(value); }
  bool number_float(double value, const std::string& digits) override {
    const bool integer = digits.find_first_of(".eE") == std::string::npos;
    return integer ? number(kept<Json>(digits)) : number(value);
  }
  bool string(std::string& value) override { return add(std::move(value)); }
  bool binary(typename Json::binary_t&) override { return false; }  // no text has one
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool key(std::string& name) override {
    member_ = &(*open_.back())[std::move(name)];
    return true;
  }
  bool end_object() override { return open_.pop_back(), true; }
  bool end_array() override { return open_.pop_back(), true; }
  bool parse_error(std::size_t position, const std::string& token,
                   const nlohmann::json::exception& why) override {
    whole = Json(Json::value_t::discarded);
    if (why.id == kOutOfRange) out_of_range = Beyond{n_numbers_, token}, end = position;
    return false;
  }

 private:
  template <class Value>
  Json* put(Value&& value) {
    if (open_.empty()) return whole = Json(std::forward<Value>(value)), &whole;
    if (!open_.back()->is_array()) return *member_ = Json(std::forward<Value>(value)), member_;
    return &open_.back()->emplace_back(std::forward<Value>(value));
  }
  template <class Value>
  bool add(Value&& value) {
    return put(std::forward<Value>(value)), true;
  }
  template <class Value>
  bool number(Value&& value) {
    const std::size_t which = n_numbers_++;
    for (const Beyond& one : beyond_) {
      if (one.number == which) return add(kept<Json>(one.digits));
    }
    return add(std::forward<Value>(value));
  }
  bool open(Json container) {
    if (open_.size() >= depth_max_) return whole = Json(Json::value_t::discarded), false;
    open_.push_back(put(std::move(container)));
    return true;
  }

  const std::vector<Beyond>& beyond_;
  const std::size_t depth_max_;
  std::vector<Json*> open_;  // arrays and objects around what comes next
  Json* member_ = nullptr;   // of the last of them, where it is an object
  std::size_t n_numbers_ = 0;
};

template <class Json>
std::string_view digits(const Json& value) {
  if (!value.is_binary()) return {};
  const auto& bytes = value.get_binary();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

template <class Json>
bool has_digits(const Json& json) {
  return json.is_binary() ||
         (json.is_structured() && std::any_of(json.begin(), json.end(), has_digits<Json>));
}

void write(const nlohmann::ordered_json& json, std::string& out) {
  const auto plain = [](const nlohmann::ordered_json& leaf) {
    return leaf.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  };
  if (json.is_binary()) {
    out += digits(json);
  } else if (json.is_structured()) {
    out += json.is_object() ? '{' : '[';
    bool first = true;
    for (const auto& [key, value] : json.items()) {
      if (!std::exchange(first, false)) out += ',';
      if (json.is_object()) out.append(plain(key)).append(1, ':');
      write(value, out);
    }
    out += json.is_object() ? '}' : ']';
  } else {
    out += plain(json);
  }
}

// Finite.
double nearest(std::string_view digits) {
  constexpr double kMost = std::numeric_limits<double>::max();
  double value = 0;
  const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (ec != std::errc::result_out_of_range) return value;
  return digits.starts_with('-') ? -kMost : kMost;
}

template <class Json>
void round(Json& json, const std::string& path, std::optional<Rounded>& first) {
  if (json.is_binary()) {
    const double value = nearest(digits(json));
    if (!first && fmt::format("{:.0f}", value) != digits(json))
      first = Rounded{path, std::string(digits(json))};
    json = value;
  } else if (json.is_object()) {
    for (auto member = json.begin(); member != json.end(); ++member)
      round(member.value(), path + (path.empty() ? "" : ".") + member.key(), first);
  } else if (json.is_array()) {
    for (std::size_t i = 0; i < json.size(); ++i)
      round(json[i], fmt::format("{}[{}]", path, i), first);
  }
}

}  // namespace

template <class Json>
Json exact_json(std::string_view text, int depth_max) {
  std::string patched;
  std::vector<Beyond> beyond;
  for (;;) {
    Builder<Json> builder(beyond, depth_max);
    (void)Json::sax_parse(text, &builder);
    if (!builder.out_of_range || beyond.size() == kBeyondDoublesMax)
      return std::move(builder.whole);
    // Once more, with a zero there
    const std::size_t n = builder.out_of_range->digits.size();
    if (patched.empty()) patched = text;
    patched.replace(builder.end - n, n, "0" + std::string(n - 1, ' '));
    text = patched;
    beyond.push_back(std::move(*builder.out_of_range));
  }
}

template nlohmann::json exact_json(std::string_view text, int depth_max);
template nlohmann::ordered_json exact_json(std::string_view text, int depth_max);

std::string_view digits_of(const nlohmann::json& value) { return digits(value); }
std::string_view digits_of(const nlohmann::ordered_json& value) { return digits(value); }

std::string exact_text(const nlohmann::ordered_json& json) {
  if (!has_digits(json))
    return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  std::string out;
  write(json, out);
  return out;
}

nlohmann::ordered_json as_written(std::string_view text) {
  return kept<nlohmann::ordered_json>(text);
}

template <class Json>
std::optional<Rounded> round_to_doubles(Json& json) {
  std::optional<Rounded> first;
  if (has_digits(json)) round(json, "", first);  // which hardly any has
  return first;
}

template std::optional<Rounded> round_to_doubles(nlohmann::json& json);
template std::optional<Rounded> round_to_doubles(nlohmann::ordered_json& json);

}  // namespace lares::engine
