// Protocol types as JSON: camelCase keys, absent means the default. Reading never throws and names
// the field that is wrong.
#pragma once

#include <algorithm>
#include <cctype>
#include <concepts>
#include <string>
#include <type_traits>
#include <vector>

#include <nlohmann/json.hpp>
#include <tl/expected.hpp>

#include "daemon/protocol/wire_fields.h"

namespace lares::daemon::protocol {

using Json = nlohmann::ordered_json;

namespace detail {

template <class T>
inline constexpr bool is_vector = false;
template <class T>
inline constexpr bool is_vector<std::vector<T>> = true;
template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
template <class T>
concept Plain = std::is_arithmetic_v<T> || std::same_as<T, std::string>;

struct Writer {
  Json out = Json::object();
  template <class T>
  void r(const char* key, T& x) {
    out[key] = value(x);
  }
  // Optional fields are left out while they have their default, which keeps lines short.
  template <class T>
  void o(const char* key, T& x) {
    if constexpr (is_optional<T>) {
      if (x) out[key] = value(*x);
    } else if constexpr (Plain<T>) {
      if (!(x == T{})) out[key] = value(x);
    } else if constexpr (is_vector<T>) {
      if (!x.empty()) out[key] = value(x);
    } else {
      out[key] = value(x);
    }
  }
  template <class T>
  static Json value(T& x) {
    if constexpr (Plain<T>) {
      return Json(x);
    } else if constexpr (is_vector<T>) {
      Json list = Json::array();
      for (auto& e : x) list.push_back(value(e));
      return list;
    } else {
      Writer w;
      fields(w, x);
      return std::move(w.out);
    }
  }
};

struct Reader {
  const Json& in;
  std::string& error;  // the first thing wrong; empty while all is well
  std::string path;

  template <class T>
  void r(const char* key, T& x) {
    get(key, x, true);
  }
  template <class T>
  void o(const char* key, T& x) {
    get(key, x, false);
  }
  template <class T>
  void get(const char* key, T& x, bool required) {
    if (!error.empty()) return;
    const auto it = in.find(key);
    if (it == in.end() || it->is_null()) {
      if (required) error = path + key + " is missing";
      return;
    }
    value(*it, x, path + key);
  }
  template <class T>
  void value(const Json& j, T& x, const std::string& where) {
    if constexpr (is_optional<T>) {
      typename T::value_type v{};
      value(j, v, where);
      x = std::move(v);
    } else if constexpr (std::same_as<T, bool>) {
      if (!j.is_boolean()) return wrong(where, "true or false");
      x = j.get<bool>();
    } else if constexpr (std::integral<T>) {
      if (!j.is_number_integer()) return wrong(where, "an integer");
      if constexpr (std::is_unsigned_v<T>) {
        if (!j.is_number_unsigned()) return wrong(where, "a non-negative integer");
        x = j.get<T>();
      } else {
        if (j.is_number_unsigned() && j.get<std::uint64_t>() > std::uint64_t{1} << 62)
          return wrong(where, "a smaller integer");
        const auto n = j.get<std::int64_t>();
        if (static_cast<std::int64_t>(static_cast<T>(n)) != n)
          return wrong(where, "a smaller integer");
        x = static_cast<T>(n);
      }
    } else if constexpr (std::floating_point<T>) {
      if (!j.is_number()) return wrong(where, "a number");
      x = j.get<T>();
    } else if constexpr (std::same_as<T, std::string>) {
      if (!j.is_string()) return wrong(where, "a string");
      x = j.get_ref<const std::string&>();
    } else if constexpr (is_vector<T>) {
      if (!j.is_array()) return wrong(where, "an array");
      x.clear();
      for (std::size_t i = 0; i < j.size() && error.empty(); ++i) {
        x.emplace_back();
        value(j[i], x.back(), where + "[" + std::to_string(i) + "]");
      }
    } else {
      if (!j.is_object()) return wrong(where, "an object");
      Reader nested{j, error, where + "."};
      fields(nested, x);
    }
  }
  void wrong(const std::string& where, const char* expected) {
    error = where + " must be " + expected;
  }
};

}  // namespace detail

template <class T>
Json to_json(T x) {
  return detail::Writer::value(x);
}

// The error is one line such as "settings.stepsMax must be an integer".
template <class T>
tl::expected<T, std::string> from_json(const Json& params) {
  T x{};
  std::string error;
  if (!params.is_object() && !params.is_null())
    return tl::unexpected<std::string>("params must be an object");
  static const Json kEmpty = Json::object();
  detail::Reader reader{params.is_null() ? kEmpty : params, error, ""};
  fields(reader, x);
  if (!error.empty()) return tl::unexpected(std::move(error));
  return x;
}

struct SessionHistoryResult {
  struct Event {
    std::string method;
    Json params;
  };
  std::vector<Event> events;
  bool more = false;
};
Json to_json(const SessionHistoryResult& result);
tl::expected<SessionHistoryResult, std::string> history_from_json(const Json& result);

// ---- lines; each ends with its newline. Text that is not UTF-8 has its bad bytes replaced.

using Id = Json;  // string, integer or null

std::string dump(const Json& json);  // without newline
std::string request_line(const Id& id, std::string_view method, const Json& params);
std::string result_line(const Id& id, const Json& result);
std::string error_line(const Id& id, const Error& error);
std::string notification_line(std::string_view method, const Json& params);
template <class T>
std::string request_line(const Id& id, const T& params) {
  return request_line(id, T::kMethod, to_json(params));
}
template <class T>
std::string notification_line(const T& params) {
  return notification_line(T::kNotification, to_json(params));
}

// A line taken apart. Exactly one of: request (method and id), notification (method, no id),
// response (id, result or error).
struct Message {
  std::string method;
  std::optional<Id> id;
  Json params, result;
  std::optional<Error> error;  // of a response
};
// Error: not JSON (parse_error), or not a JSON-RPC 2.0 message (invalid_request). `id_out` is the
// id if one could be read.
tl::expected<Message, Error> parse_line(std::string_view line, Id& id_out);

// Asked before JSON of others is parsed: whoever walks, copies or writes it goes down with it.
inline constexpr std::size_t kNestingMax = 128;
bool nested_too_deep(std::string_view json);

}  // namespace lares::daemon::protocol
