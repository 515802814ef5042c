// What an editor is shown of one session: the daemon's notifications as ACP's session/update.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "daemon/bridges/acp/message.h"
#include "daemon/bridges/acp/root.h"

namespace lares::cli::acp {

// The end of a running command's output: every update shows all of it anew
inline constexpr std::size_t kLiveOutputBytesMax = 4096;
inline constexpr std::chrono::milliseconds kLiveOutputEvery{250};
// tokens: reading fewer is over before anybody asks
inline constexpr std::int64_t kPrefillTold = 8192;

class SessionView {
 public:
  struct Events {
    std::function<void(Json update)> update;
    // The editor wrote it, and shows it already
    std::function<bool(const std::string& prompt_id)> ours;
  };
  SessionView(Root root, bool notices, Events events)
      : root_(std::move(root)), notices_(notices), events_(std::move(events)) {}

  // What is new, in order. Deltas make it live; what they leave out is filled in from snapshots and
  // whole items, nothing twice.
  void show(const protocol::Message& message);
  // What is past: the same, but all prompts are shown and nothing is said of progress.
  void replay(const protocol::Message& message);
  void notice(const char* severity, const std::string& title);

 private:
  struct Seen {
    std::string kind, name;
    std::size_t text_bytes = 0;
    bool announced = false, called = false, completed = false;
    std::string output;
    std::chrono::steady_clock::time_point shown_at{};
  };
  void started(const protocol::Item& item);
  void delta(const protocol::ItemDelta& delta);
  void snapshot(const protocol::Item& item);
  void completed(const protocol::Item& item);
  void text(Seen& seen, const std::string& id, std::string_view fresh);
  void call(Seen& seen, const protocol::Item& item, Json fields);
  void prefill(const protocol::TurnPrefill& prefill);
  void step(const protocol::TurnStep& step);

  const Root root_;
  const bool notices_;
  const Events events_;
  std::map<std::string, Seen> items_;  // of the turn
  bool past_ = false, told_loading_ = false;
  std::int64_t told_step_ = 0, told_quarters_ = 0;  // of what is read
};

// "2026-11-26T18:00:00Z".
std::string iso_time(std::int64_t unix_ms);

}  // namespace lares::cli::acp
