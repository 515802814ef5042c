// The permissions of one session: its policy, the rules that hold for it, and the call that waits
// for a person's word. On the io executor.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <nlohmann/json_fwd.hpp>

#include "daemon/gate.h"
#include "daemon/permissions/judge.h"
#include "daemon/permissions/rule_store.h"
#include "daemon/protocol/protocol.h"

namespace lares::daemon {

class Permissions {
 public:
  Permissions(asio::any_io_executor io, asio::thread_pool& disk, const std::string& rules_directory)
      : io_(io), disk_(disk), store_(rules_directory) {}

  // A call that may change something, under `policy`; `reading`: one that stands in for it
  // (JudgedCall). Rules that cannot be read deny it, for they may have said so.
  asio::awaitable<Judgement> judged(std::string policy, std::string root, std::string tool,
                                    const nlohmann::json& arguments, bool reading);

  // Why the repository's tests may not run where nobody is asked (judge.h).
  asio::awaitable<std::optional<std::string>> tests_lose(std::string root);

  // Of the session and the turn; those of the store are read when they are needed.
  void add(const protocol::PermissionRule& rule) { rules_.push_back(rule); }
  void turn_ended();
  void forget() { rules_.clear(); }

  // What is answered to the item that asks; nullopt: it was stopped. One at a time.
  asio::awaitable<std::optional<protocol::ApprovalReply>> answer_to(std::string item_id);
  bool reply(const protocol::ApprovalReply& reply);  // false: that item does not ask
  void stop();

  // Keeps the rules that an answer makes; the error is for the log, and the answer holds for once.
  asio::awaitable<tl::expected<std::vector<protocol::PermissionRule>, std::string>> remember(
      protocol::Item item, protocol::ApprovalReply reply, std::string root);

 private:
  struct Asked {
    std::string item_id;
    Gate gate;
    std::optional<protocol::ApprovalReply> reply;
  };
  asio::any_io_executor io_;
  asio::thread_pool& disk_;
  RuleStore store_;
  std::vector<protocol::PermissionRule> rules_;
  // Where the session's shell went last, below the root, as far as its commands say
  std::string directory_;
  std::unique_ptr<Asked> asked_;
};

// What the model reads of a call that did not run.
std::string denied_text(std::string_view tool, const std::string& why);
std::string refused_text(std::string_view tool, const std::string& message);
std::string unanswered_text(std::string_view tool, const std::string& why);

}  // namespace lares::daemon
