#include "daemon/http/router.h"

#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "daemon/percent.h"
#include "daemon/utf8.h"

namespace lares::daemon {
namespace {

std::string openai_body(unsigned status, std::string_view message) {
  const char* type = status >= 500 ? "server_error" : "invalid_request_error";
  if (status == 401) type = "authentication_error";
  const nlohmann::ordered_json error = {
      {"message", message}, {"type", type}, {"param", nullptr}, {"code", nullptr}};
  return nlohmann::ordered_json{{"error", error}}.dump(
             -1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) +
         "\n";
}

bool is_at_or_below(std::string_view path, std::string_view prefix) {
  return path.starts_with(prefix) &&
         (prefix.empty() || path.size() == prefix.size() || path[prefix.size()] == '/');
}

}  // namespace

void Router::add(std::string method, std::string path, HttpHandler handler) {
  auto* paths = &whole_;
  std::string key = path;
  if (const auto slash = path.rfind("/{"); slash != std::string::npos && path.ends_with('}'))
    paths = &below_, key.resize(slash + 1);
  if (!(*paths)[key].try_emplace(method, std::move(handler)).second)
    throw std::logic_error(fmt::format("{} {} has two handlers", method, path));
}

void Router::shape_errors(std::string prefix, HttpErrorBody body) {
  bodies_[std::move(prefix)] = std::move(body);
}

const Router::Methods* Router::methods_of(std::string_view path) const {
  if (const auto at = whole_.find(path); at != whole_.end()) return &at->second;
  const auto slash = path.rfind('/');
  if (slash == std::string_view::npos || slash + 1 == path.size()) return nullptr;
  const auto at = below_.find(path.substr(0, slash + 1));
  return at == below_.end() ? nullptr : &at->second;
}

Router::Found Router::find(std::string_view method, std::string_view path) const {
  const Methods* const methods = methods_of(path);
  if (!methods) return {};
  auto at = methods->find(method);
  if (at == methods->end() && method == "HEAD") at = methods->find("GET");
  if (at != methods->end()) return {&at->second, ""};
  Found found;
  for (const auto& [name, handler] : *methods) {
    found.allow += (found.allow.empty() ? "" : ", ") + name;
    if (name == "GET" && !methods->contains("HEAD")) found.allow += ", HEAD";
  }
  return found;
}

HttpReply Router::refusal(std::string_view path, unsigned status, std::string_view message) const {
  const HttpErrorBody* longest = nullptr;
  // In the order of their bytes: of those that fit, a longer one comes later
  for (const auto& [prefix, body] : bodies_) {
    if (is_at_or_below(path, prefix)) longest = &body;
  }
  return {.status = status,
          .body = longest ? (*longest)(status, message) : openai_body(status, message)};
}

std::string last_segment(std::string_view path) {
  path.remove_prefix(path.rfind('/') + 1);  // npos + 1 is 0
  return valid_utf8(percent_decoded(path));
}

}  // namespace lares::daemon
