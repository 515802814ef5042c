// The permission rules that outlive a session, for clients.
#include <algorithm>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "daemon/nearest.h"
#include "daemon/on_disk_pool.h"
#include "daemon/permissions/judge.h"
#include "daemon/permissions/rule_store.h"
#include "daemon/prompt.h"
#include "daemon/repository.h"
#include "daemon/server.h"
#include "daemon/wire.h"

namespace lares::daemon {

using namespace protocol;

namespace {

tl::unexpected<Error> no(Code code, std::string message) {
  return tl::unexpected(Error{.code = code, .message = std::move(message), .hint = ""});
}

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
  const auto work = [&]() -> tl::expected<std::optional<Json>, std::string> {
    if (method == RuleAdd::kMethod) {
      if (auto added = store.add(request.root, request.rule); !added)
        return tl::unexpected(added.error());
      return to_json(Nothing{});
    }
    if (method == RuleRemove::kMethod) {
      const auto removed = store.remove(request.root, request.rule);
      if (!removed) return tl::unexpected(removed.error());
      return *removed ? std::optional(to_json(Nothing{})) : std::nullopt;
    }
    auto rules = store.of(request.root);
    if (!rules) return tl::unexpected(rules.error());
    return to_json(RuleListResult{std::move(*rules)});
  };
  auto done = co_await on_disk_pool(disk_, work);
  if (!done) co_return no(Code::internal, done.error());
  if (!*done)
    co_return no(Code::not_found,
                 fmt::format("there is no {} rule for {} {}; `lares rules` lists them",
                             request.rule.scope, request.rule.tool, request.rule.pattern));
  co_return std::move(**done);
}

}  // namespace lares::daemon
