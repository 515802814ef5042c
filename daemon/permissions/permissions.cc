#include "daemon/permissions/permissions.h"

#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "daemon/on_disk_pool.h"
#include "tools/shell/destructive_run.h"

namespace lares::daemon {

using protocol::PermissionRule;

asio::awaitable<Judgement> Permissions::judged(std::string policy, std::string root,
                                               std::string tool, const nlohmann::json& arguments,
                                               bool reading) {
  std::string directory = directory_;
  const auto look = [&] {
    auto stored = store_.of(root);
    if (!stored) return Judgement{Verdict::deny, stored.error(), {}};
    stored->insert(stored->end(), rules_.begin(), rules_.end());
    const JudgedCall call{tool, arguments, root, directory_, reading};
    Judgement judgement = judge(policy, *stored, call);
    const auto command = arguments.is_object() && tool == "bash" && !reading
                             ? arguments.find("command")
                             : arguments.end();
    if (command != arguments.end() && command->is_string())
      directory = tools::directory_after(root, directory_,
                                         tools::shell_commands(command->get<std::string>()));
    return judgement;
  };
  auto judged = co_await on_disk_pool(disk_, look);
  if (judged.verdict != Verdict::deny) directory_ = std::move(directory);
  co_return judged;
}

asio::awaitable<std::optional<std::string>> Permissions::tests_lose(std::string root) {
  const auto look = [&] { return daemon::tests_lose(root); };
  co_return co_await on_disk_pool(disk_, look);
}

void Permissions::turn_ended() {
  std::erase_if(rules_, [](const PermissionRule& rule) { return rule.scope == "turn"; });
}

asio::awaitable<std::optional<protocol::ApprovalReply>> Permissions::answer_to(
    std::string item_id) {
  asked_ = std::unique_ptr<Asked>(new Asked{std::move(item_id), Gate(io_), std::nullopt});
  co_await asked_->gate.wait();
  const auto asked = std::exchange(asked_, nullptr);
  co_return std::move(asked->reply);
}

bool Permissions::reply(const protocol::ApprovalReply& reply) {
  if (!asked_ || asked_->gate.is_open() || asked_->item_id != reply.item_id) return false;
  asked_->reply = reply;
  asked_->gate.open();
  return true;
}

void Permissions::stop() {
  if (asked_) asked_->gate.open();
}

asio::awaitable<tl::expected<std::vector<PermissionRule>, std::string>> Permissions::remember(
    protocol::Item item, protocol::ApprovalReply reply, std::string root) {
  std::vector<PermissionRule> rules;
  if (reply.scope != "once")
    for (const std::string& like : item.likes)
      rules.push_back({item.name, like, reply.decision, reply.scope});
  if (reply.scope == "turn" || reply.scope == "session") {
    rules_.insert(rules_.end(), rules.begin(), rules.end());
    co_return rules;
  }
  const auto keep = [&]() -> tl::expected<std::vector<PermissionRule>, std::string> {
    for (const PermissionRule& rule : rules)
      if (auto added = store_.add(root, rule); !added) return tl::unexpected(added.error());
    return rules;
  };
  co_return co_await on_disk_pool(disk_, keep);
}

std::string denied_text(std::string_view tool, const std::string& why) {
  return fmt::format("{} did not run: {}.", tool, why);
}

std::string refused_text(std::string_view tool, const std::string& message) {
  return fmt::format("{} did not run: the user refused it{}", tool,
                     message.empty()
                         ? ". Do not try it in another way; go on without it, or ask what to do."
                         : ": " + message);
}

std::string unanswered_text(std::string_view tool, const std::string& why) {
  return fmt::format(
      "{} did not run: it needs permission ({}), and nobody was there to answer. That is no "
      "refusal. Go on without it, and say at the end what should be run.",
      tool, why);
}

}  // namespace lares::daemon
