#include "daemon/protocol/wire.h"
#include "tools/lenient_json.h"

namespace lares::daemon::protocol {

std::string_view kind_of(Code code) {
  switch (code) {
    case Code::parse_error:
      return "parse_error";
    case Code::invalid_request:
      return "invalid_request";
    case Code::unknown_method:
      return "unknown_method";
    case Code::invalid_params:
      return "invalid_params";
    case Code::internal:
      return "internal";
    case Code::overloaded:
      return "overloaded";
    case Code::not_found:
      return "not_found";
    case Code::busy:
      return "busy";
    case Code::not_ready:
      return "not_ready";
    case Code::denied:
      return "denied";
    case Code::conflict:
      return "conflict";
  }
  return "internal";
}

Json to_json(const SessionHistoryResult& result) {
  Json events = Json::array();
  for (const auto& event : result.events) {
    Json e = Json::object();
    e["method"] = event.method;
    e["params"] = event.params;
    events.push_back(std::move(e));
  }
  Json out = Json::object();
  out["events"] = std::move(events);
  out["more"] = result.more;
  return out;
}

tl::expected<SessionHistoryResult, std::string> history_from_json(const Json& result) {
  SessionHistoryResult out;
  if (!result.is_object() || !result.contains("events") || !result["events"].is_array())
    return tl::unexpected<std::string>("events must be an array");
  for (const auto& e : result["events"]) {
    if (!e.is_object() || !e.contains("method") || !e["method"].is_string() ||
        !e.contains("params"))
      return tl::unexpected<std::string>("an event must have method and params");
    out.events.push_back({e["method"].get<std::string>(), e["params"]});
  }
  if (const auto it = result.find("more"); it != result.end() && it->is_boolean())
    out.more = it->get<bool>();
  return out;
}

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

namespace {

Json envelope() {
  Json j = Json::object();
  j["jsonrpc"] = "2.0";
  return j;
}

std::string line(const Json& json) { return dump(json) + "\n"; }

}  // namespace

std::string request_line(const Id& id, std::string_view method, const Json& params) {
  Json j = envelope();
  j["id"] = id;
  j["method"] = method;
  j["params"] = params;
  return line(j);
}

std::string result_line(const Id& id, const Json& result) {
  Json j = envelope();
  j["id"] = id;
  j["result"] = result;
  return line(j);
}

std::string error_line(const Id& id, const Error& error) {
  Json data = Json::object();
  data["kind"] = kind_of(error.code);
  data["retryable"] = error.retry_after_ms > 0;
  if (!error.hint.empty()) data["hint"] = error.hint;
  if (error.retry_after_ms > 0) data["retryAfterMs"] = error.retry_after_ms;
  Json e = Json::object();
  e["code"] = static_cast<int>(error.code);
  e["message"] = error.message;
  e["data"] = std::move(data);
  Json j = envelope();
  j["id"] = id;
  j["error"] = std::move(e);
  return line(j);
}

std::string notification_line(std::string_view method, const Json& params) {
  Json j = envelope();
  j["method"] = method;
  j["params"] = params;
  return line(j);
}

bool nested_too_deep(std::string_view json) { return tools::nested_too_deep(json, kNestingMax); }

tl::expected<Message, Error> parse_line(std::string_view text, Id& id_out) {
  id_out = nullptr;
  const auto invalid = [](std::string why) {
    return tl::unexpected(Error{Code::invalid_request, "read a request: " + std::move(why),
                                "send JSON-RPC 2.0, one object per line", 0});
  };
  if (const auto why = tools::too_much(text, {.depth = kNestingMax}))
    return tl::unexpected(
        Error{Code::parse_error, "read a request: " + *why, "send one JSON object per line", 0});
  Json j = tools::lenient_json<Json>(text);
  if (j.is_discarded())
    return tl::unexpected(Error{Code::parse_error, "read a request: the line is not JSON",
                                "send one JSON object per line, UTF-8", 0});
  if (!j.is_object())
    return invalid(j.is_array() ? "batches are not supported" : "the line is not an object");
  Message out;
  if (const auto it = j.find("id"); it != j.end()) {
    if (!it->is_string() && !it->is_number_integer() && !it->is_null())
      return invalid("id must be a string or an integer");
    out.id = *it;
    id_out = *it;
  }
  if (const auto it = j.find("jsonrpc"); it == j.end() || *it != "2.0")
    return invalid("jsonrpc must be \"2.0\"");
  if (const auto it = j.find("method"); it != j.end()) {
    if (!it->is_string()) return invalid("method must be a string");
    out.method = it->get<std::string>();
    if (out.id && out.id->is_null()) return invalid("a request's id may not be null");
    if (const auto p = j.find("params"); p != j.end()) {
      if (!p->is_object()) return invalid("params must be an object");
      out.params = std::move(*p);
    }
    return out;
  }
  if (!out.id) return invalid("neither method nor id");
  if (const auto it = j.find("result"); it != j.end()) {
    out.result = std::move(*it);
    return out;
  }
  const auto it = j.find("error");
  if (it == j.end() || !it->is_object()) return invalid("neither method, result nor error");
  Error error;
  if (const auto c = it->find("code"); c != it->end() && c->is_number_integer())
    error.code = static_cast<Code>(c->get<int>());
  if (const auto m = it->find("message"); m != it->end() && m->is_string())
    error.message = m->get<std::string>();
  if (const auto d = it->find("data"); d != it->end() && d->is_object()) {
    if (const auto h = d->find("hint"); h != d->end() && h->is_string())
      error.hint = h->get<std::string>();
    if (const auto r = d->find("retryAfterMs"); r != d->end() && r->is_number_integer())
      error.retry_after_ms = r->get<int>();
  }
  out.error = std::move(error);
  return out;
}

}  // namespace lares::daemon::protocol
