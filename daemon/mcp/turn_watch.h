// One turn of a session, followed from inside the daemon: what it does, what it asks, how it ended.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include "daemon/gate.h"
#include "daemon/session/session.h"

namespace lares::daemon {

class TurnWatch final : public Subscriber {
 public:
  // `answers`: there is somebody whom the session may ask.
  TurnWatch(asio::any_io_executor io, std::shared_ptr<Session> session, bool answers);
  ~TurnWatch() override { session_->unsubscribe(this); }
  TurnWatch(const TurnWatch&) = delete;
  TurnWatch& operator=(const TurnWatch&) = delete;

  void follow(std::int64_t turn_id);  // what was seen of it before counts
  // Until something below is another than at the last call, or wake().
  asio::awaitable<void> changed();
  void wake() { news_.open(); }

  bool ended() const { return ended_; }
  // What waits longest for a person: a call for its permission or an answer, an MCP server's
  // question for an answer. Null: nothing does.
  const protocol::Item* asking() const { return asking_.empty() ? nullptr : &asking_.front(); }
  void answered(const std::string& item_id);
  // Called when what asking() says is settled, by whomever; nullptr: no longer.
  void on_settled(std::function<void()> then) { on_settled_ = std::move(then); }
  std::int64_t step() const { return step_; }
  const std::string& doing() const { return doing_; }  // in a few words

  // Subscriber
  void notify(const std::string& session_id, const std::string& line, Weight weight) override;
  bool interactive(const std::string&) const override { return answers_; }

 private:
  void seen(const protocol::Message& message);
  void item(const protocol::Item& item);
  void settled(const std::string& item_id);
  void say(std::string doing);

  std::shared_ptr<Session> session_;
  const bool answers_;
  Gate news_;
  std::int64_t turn_id_ = 0, ended_turn_ = 0, step_ = 0;
  bool ended_ = false;
  // A late question of a server waits beside a call's.
  std::vector<protocol::Item> asking_;
  std::string doing_;
  std::function<void()> on_settled_;
};

// "bash: make test": a call in one line.
std::string call_in_words(const protocol::Item& item);
// A string among a call's arguments; empty: there is none of that name.
std::string argument_of(const protocol::Item& item, const char* name);

}  // namespace lares::daemon
