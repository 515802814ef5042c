// Runs the user's hooks for one turn. A hook reads one JSON object on its standard input: event,
// session, root, turn, and of a tool's call tool, arguments (an object), and after it state and
// output. What it prints is bounded, and its exit status decides:
//   0      all is well; after a tool, what it printed is read by the model behind the result
//   2      before a tool: the call does not run, and the model reads why; after one: as 0; at the
//          end: the model goes on with what it printed, at most kHookContinuationsMax times in a
//          turn
//   other  the hook itself failed: people are told, and nothing else changes
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <nlohmann/json_fwd.hpp>

#include "daemon/hooks/hook_config.h"
#include "daemon/protocol/protocol.h"

namespace lares::daemon {

namespace asio = boost::asio;

inline constexpr std::size_t kHookOutputBytesMax = 16'000;
inline constexpr int kHookContinuationsMax = 3;

class Hooks {
 public:
  // `note` is told what people should know.
  Hooks(HookConfig config, std::string root, std::string session_id,
        std::function<void(const std::string&)> note)
      : config_(std::move(config)),
        root_(std::move(root)),
        session_id_(std::move(session_id)),
        note_(std::move(note)) {}

  bool for_calls() const { return !config_.before_tool.empty() || !config_.after_tool.empty(); }
  bool for_ends() const { return !config_.turn_end.empty(); }

  // Why the call does not run; nullopt: it may.
  asio::awaitable<std::optional<std::string>> before(protocol::Item item);
  // What the model reads behind the result
  asio::awaitable<std::string> after(protocol::Item item);
  asio::awaitable<std::string> at_end(std::int64_t turn_id);  // what it is told to go on with

 private:
  struct Ran {
    int status = -1;       // -1: it did not end by itself
    std::string output;    // with why, where it failed
    bool stopped = false;  // with the turn, which is no failure
  };
  asio::awaitable<Ran> run(Hook hook, std::string input);
  nlohmann::json about(const char* event, std::int64_t turn_id) const;
  nlohmann::json about(const char* event, const protocol::Item& item) const;
  void failed(const Hook& hook, const char* event, const Ran& ran) const;

  const HookConfig config_;
  const std::string root_, session_id_;
  const std::function<void(const std::string&)> note_;
  int n_continued_ = 0;
};

}  // namespace lares::daemon
