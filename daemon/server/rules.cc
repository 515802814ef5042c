// The permission rules that outlive a session, for clients.
#include <algorithm>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "daemon/nearest.h"
#include "daemon/on_disk_pool.h"
#include "daemon/permissions/judge.h"
#include "daemon/permissions/rule_store.h"
#include "daemon/protocol/wire.h"
#include "daemon/repository.h"
#include "daemon/server/answers.h"
#include "daemon/server/server.h"
#include "daemon/turn/prompt.h"

namespace lares::daemon {

using namespace protocol;

namespace {

// That rules could be for.
std::string why_no_tool(const std::string& tool) {
  std::vector<std::string_view> known{"*"};
  for (const auto& spec : catalogue()) known.push_back(spec.name);
  if (std::ranges::find(known, tool) != known.end()) return "";
  const std::string_view near = slip_of(tool, known);
  const std::string meant = near.empty() ? fmt::format("there are {}.", fmt::join(known, ", "))
                                         : fmt::format("do you mean {}?", near);
  return fmt::format("there is no tool {}; {} A rule is for one of the model's tools, or * for all",
                     tool, meant);
}

// Of a rule for the same as one that is not there; empty: there is none.
std::string scope_of_the_same(const RuleStore& store, const RuleAdd& request) {
  const auto rules = store.of(request.root);
  if (!rules) return "";
  const auto at = std::ranges::find_if(*rules, [&](const PermissionRule& rule) {
    return rule.tool == request.rule.tool && rule.pattern == request.rule.pattern;
  });
  return at == rules->end() ? "" : at->scope;
}

}  // namespace

asio::awaitable<Reply<Json>> Server::about_rules(std::string method, Json params) {
  RuleAdd request;  // the same fields as a removal's, and a list's root
  std::string wrong;
  if (method == RuleList::kMethod) {
    if (auto list = from_json<RuleList>(params))
      request.root = list->root;
    else
      wrong = list.error();
  } else if (auto typed = from_json<RuleAdd>(params)) {
    request = *typed;
    wrong = why_no_rule(request.rule);
    if (wrong.empty() && method == RuleAdd::kMethod) wrong = why_no_tool(request.rule.tool);
    if (request.rule.scope != "repository" && request.rule.scope != "user")
      wrong = "rule.scope must be repository or user";
    if (request.rule.scope == "repository" && request.root.empty())
      wrong = "a repository's rule needs its root";
  } else {
    wrong = typed.error();
  }
  if (!wrong.empty())
    co_return no(Code::invalid_params,
                 (method == RuleAdd::kMethod ? "add a rule: " : method + ": ") + wrong);
  if (!request.root.empty())
    if (const auto resolved = repository_root(request.root))
      request.root = resolved->root;  // one that is gone still has rules
  RuleStore store(options_.state_dir + "/rules");
  std::string other;  // where there is such a rule
  const auto work = [&]() -> tl::expected<std::optional<Json>, std::string> {
    if (method == RuleAdd::kMethod) {
      if (auto added = store.add(request.root, request.rule); !added)
        return tl::unexpected(added.error());
      return to_json(Nothing{});
    }
    if (method == RuleRemove::kMethod) {
      const auto removed = store.remove(request.root, request.rule);
      if (!removed) return tl::unexpected(removed.error());
      if (!*removed) other = scope_of_the_same(store, request);
      return *removed ? std::optional(to_json(Nothing{})) : std::nullopt;
    }
    auto rules = store.of(request.root);
    if (!rules) return tl::unexpected(rules.error());
    return to_json(RuleListResult{std::move(*rules)});
  };
  auto done = co_await on_disk_pool(disk_, work);
  if (!done) co_return no(Code::internal, done.error());
  if (!*done) {
    const std::string hint = other == "user" ? "there is a user's one, which `--user` removes"
                             : other == "repository"
                                 ? "there is a repository's one, removed without `--user`"
                                 : "`lares rules` lists them";
    co_return no(Code::not_found,
                 fmt::format("there is no {} rule for {} {}; {}", request.rule.scope,
                             request.rule.tool, request.rule.pattern, hint));
  }
  co_return std::move(**done);
}

}  // namespace lares::daemon
