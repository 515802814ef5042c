#include "daemon/permissions/rule_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>

#include <fmt/format.h>

#include "daemon/permissions/judge.h"
#include "daemon/protocol/wire.h"
#include "daemon/repository.h"
#include "tools/atomic_file.h"

namespace lares::daemon {
namespace {

using protocol::Json;
using protocol::PermissionRule;
using Rules = std::vector<PermissionRule>;

constexpr std::size_t kFileBytesMax = 4 << 20;

// Sessions and clients change rules at the same time.
std::mutex& changing() {
  static std::mutex mutex;
  return mutex;
}

bool same_subject(const PermissionRule& a, const PermissionRule& b) {
  return a.tool == b.tool && a.pattern == b.pattern;
}

tl::unexpected<std::string> failed(const char* what, const std::string& path, int error) {
  return tl::unexpected(
      fmt::format("{} the permission rules {}: {}", what, path, std::strerror(error)));
}

// nullopt in `out`: there is no file.
tl::expected<std::string, int> bytes_of(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return tl::unexpected(errno);
  std::string out;
  char buffer[1 << 16];
  ssize_t n;
  while ((n = ::read(fd, buffer, sizeof buffer)) > 0 && out.size() <= kFileBytesMax)
    out.append(buffer, static_cast<std::size_t>(n));
  const int error = n < 0 ? errno : out.size() > kFileBytesMax ? EFBIG : 0;
  ::close(fd);
  if (error) return tl::unexpected(error);
  return out;
}

}  // namespace

std::string RuleStore::file(const std::string& root, const std::string& scope) const {
  return directory_ + "/" + (scope == "user" ? "user" : repository_key(root)) + ".json";
}

tl::expected<Rules, std::string> RuleStore::read(const std::string& root,
                                                 const std::string& scope) const {
  const std::string path = file(root, scope);
  const auto bytes = bytes_of(path);
  if (!bytes && bytes.error() == ENOENT) return Rules{};
  if (!bytes) return failed("read", path, bytes.error());
  const Json json = Json::parse(*bytes, nullptr, /*allow_exceptions=*/false);
  const auto wrong = [&](const std::string& why) {
    return tl::unexpected(
        fmt::format("read the permission rules {}: {}; mend or remove the file", path, why));
  };
  if (!json.is_object() || !json.contains("rules") || !json["rules"].is_array() ||
      json["rules"].size() > kRulesMax)
    return wrong(fmt::format("expected an object with at most {} \"rules\"", kRulesMax));
  Rules out;
  for (const Json& each : json["rules"]) {
    auto rule = protocol::from_json<PermissionRule>(each);
    if (!rule) return wrong(rule.error());
    rule->scope = scope;
    if (const std::string why = why_no_rule(*rule); !why.empty()) return wrong(why);
    out.push_back(std::move(*rule));
  }
  return out;
}

tl::expected<Rules, std::string> RuleStore::of(const std::string& root) const {
  auto out = read(root, "user");
  if (!out) return out;
  auto more = read(root, "repository");
  if (!more) return more;
  out->insert(out->end(), more->begin(), more->end());
  return out;
}

tl::expected<void, std::string> RuleStore::write(const std::string& root, const std::string& scope,
                                                 const Rules& rules) const {
  const std::string path = file(root, scope);
  if (::mkdir(directory_.c_str(), 0700) != 0 && errno != EEXIST)
    return failed("write", path, errno);
  Json json;
  if (scope != "user") json["root"] = root;
  json["rules"] = Json::array();
  for (const PermissionRule& rule : rules)
    json["rules"].push_back(
        {{"tool", rule.tool}, {"pattern", rule.pattern}, {"verdict", rule.verdict}});
  const std::string bytes = json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  const tools::Fd directory(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return failed("write", path, errno);
  if (const int error = tools::put_file(directory.get(), path.substr(path.rfind('/') + 1), bytes);
      error != 0)
    return failed("write", path, error);
  return {};
}

tl::expected<void, std::string> RuleStore::add(const std::string& root,
                                               const PermissionRule& rule) {
  const std::lock_guard lock(changing());
  auto rules = read(root, rule.scope);
  if (!rules) return tl::unexpected(rules.error());
  std::erase_if(*rules, [&](const auto& r) { return same_subject(r, rule); });
  if (rules->size() == kRulesMax)
    return tl::unexpected(
        fmt::format("add a permission rule: there are {} already; remove some", kRulesMax));
  rules->push_back(rule);
  return write(root, rule.scope, *rules);
}

tl::expected<bool, std::string> RuleStore::remove(const std::string& root,
                                                  const PermissionRule& rule) {
  const std::lock_guard lock(changing());
  auto rules = read(root, rule.scope);
  if (!rules) return tl::unexpected(rules.error());
  if (std::erase_if(*rules, [&](const auto& r) { return same_subject(r, rule); }) == 0)
    return false;
  if (auto written = write(root, rule.scope, *rules); !written)
    return tl::unexpected(written.error());
  return true;
}

}  // namespace lares::daemon
