// What is answered without asking anybody but the provider's lists.
#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include <fmt/format.h>

#include "mcp/server/peer.h"
#include "mcp/server/rpc.h"

namespace lares::mcp::server {
namespace {

constexpr std::size_t kCompletionsMax = 100;  // the protocol's own bound
constexpr std::array<std::string_view, 4> kLegacy = {kNewestLegacy, "2025-06-18", kBatching,
                                                     "2024-11-05"};  // the newest first
constexpr int kCatalogueTtlMs = 60'000;  // of what changes with the program, not with its data

Refusal invalid(std::string why) { return {kInvalidParams, std::move(why)}; }

asio::awaitable<Answer<>> nothing_there(std::string what) {
  const Refusal refusal = invalid(std::move(what));
  co_return tl::unexpected(refusal);
}

}  // namespace

Json Provider::resources(const std::string&, std::size_t, std::size_t) { return Json::array(); }
Json Provider::resource_templates() { return Json::array(); }
asio::awaitable<Answer<>> Provider::read_resource(Call&, std::string uri) {
  return nothing_there("there is no resource " + uri);
}
Json Provider::prompts() { return Json::array(); }
asio::awaitable<Answer<>> Provider::get_prompt(Call&, std::string name, const Json&) {
  return nothing_there("there is no prompt " + name);
}
Answer<> Provider::complete(const Json&, const std::string&, const std::string&) {
  return Json::array();
}

Json server_info(const Info& info) {
  return {{"name", info.name}, {"title", info.title}, {"version", info.version}};
}

Json capabilities(Provider& provider) {
  Json out = {{"tools", {{"listChanged", true}}}};
  if (provider.has_resources()) out["resources"] = {{"subscribe", true}, {"listChanged", true}};
  if (provider.has_prompts()) out["prompts"] = {{"listChanged", true}};
  if (provider.completes()) out["completions"] = Json::object();
  if (provider.logs()) out["logging"] = Json::object();
  return out;
}

Answer<> discover(Provider& provider) {
  const Info info = provider.info();
  Json result = {{"supportedVersions", Json::array({kModern})},
                 {"capabilities", capabilities(provider)}};
  if (!info.instructions.empty()) result["instructions"] = info.instructions;
  return result;
}

Slice slice_of(Json all) {
  return [all = std::move(all)](std::size_t from, std::size_t n) {
    Json items = Json::array();
    for (std::size_t i = from; i < all.size() && items.size() < n; ++i) items.push_back(all[i]);
    return items;
  };
}

Answer<> page(std::string_view what, const Slice& slice, const Json& params) {
  const auto unknown = [&] {
    return tl::unexpected(
        invalid(fmt::format("cursor is none that {} gave out; list anew, without one", what)));
  };
  std::size_t from = 0;
  if (const Json& cursor = member(params, "cursor"); !cursor.is_null()) {
    const std::string text = cursor.is_string() ? cursor.get<std::string>() : "";
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), from);
    if (text.empty() || error != std::errc() || end != text.data() + text.size() ||
        from % kPageItemsMax != 0)
      return unknown();
  }
  Json items = slice(from, kPageItemsMax + 1);  // the last tells only that there are more
  if (from > 0 && items.empty()) return unknown();
  const bool more = items.size() > kPageItemsMax;
  if (more) items.erase(items.begin() + kPageItemsMax, items.end());
  Json result = Json::object();
  result[std::string(what)] = std::move(items);
  if (more) result["nextCursor"] = std::to_string(from + kPageItemsMax);
  return result;
}

Answer<> complete(Provider& provider, const Json& params) {
  const Json &ref = member(params, "ref"), &argument = member(params, "argument");
  const std::string kind = string_member(ref, "type");
  if (kind != "ref/prompt" && kind != "ref/resource")
    return tl::unexpected(invalid("ref.type must be ref/prompt or ref/resource"));
  if (!member(argument, "name").is_string() || !member(argument, "value").is_string())
    return tl::unexpected(invalid("argument must have a name and a value, both strings"));
  auto values = provider.complete(ref, string_member(argument, "name"),
                                  string_member(argument, "value"));
  if (!values) return values;
  const std::size_t total = values->size();
  if (total > kCompletionsMax) values->erase(values->begin() + kCompletionsMax, values->end());
  Json result;
  result["completion"] = {
      {"values", std::move(*values)}, {"total", total}, {"hasMore", total > kCompletionsMax}};
  return result;
}

void add_cache_hints(std::string_view method, Json& result) {
  const bool catalogue = method == "server/discover" || method == "tools/list" ||
                         method == "prompts/list" || method == "resources/templates/list";
  if (!catalogue && method != "resources/list" && method != "resources/read") return;
  result["ttlMs"] = catalogue ? kCatalogueTtlMs : 0;
  result["cacheScope"] = "private";
}

Refusal unknown_method(const std::string& method) {
  return {kUnknownMethod, "there is no method " + method};
}

bool speaks_legacy(std::string_view version) {
  return std::ranges::find(kLegacy, version) != kLegacy.end();
}

std::string_view agreed_version(std::string_view asked) {
  const auto not_newer = [&](std::string_view version) { return version <= asked; };
  const auto found = std::ranges::find_if(kLegacy, not_newer);
  return found == kLegacy.end() ? kNewestLegacy : *found;
}

}  // namespace lares::mcp::server
