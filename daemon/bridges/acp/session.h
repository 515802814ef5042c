// One session that an editor has open: its prompts until their turns end, and what it asks the
// person before the editor.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include "daemon/bridges/acp/content.h"
#include "daemon/bridges/acp/daemon_link.h"
#include "daemon/bridges/acp/editor.h"
#include "daemon/bridges/acp/root.h"
#include "daemon/bridges/acp/session_view.h"
#include "daemon/bridges/acp/unsaved.h"
#include "daemon/gate.h"

namespace lares::cli::acp {

inline constexpr int kSendsMax = 5;  // of one request whose connection is lost each time

// What the editor said of itself.
struct EditorAbilities {
  bool notices = false, forms = false, reads_files = false, writes_files = false;
};
struct World {
  asio::any_io_executor io;
  Editor* editor = nullptr;
  DaemonLink* daemon = nullptr;
  Agreement* agreement = nullptr;
  EditorAbilities can;
  std::function<void(const std::string&)> log;
};

class Session final : public std::enable_shared_from_this<Session> {
 public:
  // `cwd`: the folder inside its repository that the editor opened; `world` outlives it
  Session(const World& world, protocol::SessionInfo info, const std::string& cwd);

  const std::string& id() const { return info_.session_id; }
  const std::string& mode() const { return info_.settings.policy; }
  bool busy() const { return !open_.empty(); }

  // Shows the editor all that is past.
  asio::awaitable<Reply<>> replay();
  // Follows the session from behind what was shown. After a loss, on the new connection: what was
  // asked and is not answered goes on.
  asio::awaitable<Reply<>> follow();
  void bring_servers(Json servers) {
    servers_ = std::move(servers);
  }  // of MCP, as the editor names them; before follow()
  asio::awaitable<void> again();
  void lost();
  void notified(const protocol::Message& message);

  void prompt(Json request_id, const Json& blocks);  // answers it when its turn ends
  void cancel();
  bool cancel_prompt(const Json& request_id);  // false: none of that id is open
  asio::awaitable<Reply<>> set_mode(std::string mode);
  // The editor has been told that it is open: what it is to be shown and asked waited for that.
  void opened();
  void leave(const Fault& why);  // answers what is open; its turn goes on

 private:
  struct Open {
    Json request_id;
    std::string prompt_id;
    std::int64_t turn_id = 0;  // that it began or is told in; 0: none yet
    bool cancelled = false, closed = false;
    std::map<std::string, Unsaved::Telling> told;  // of unsaved text, with it
  };
  using OpenRef = std::shared_ptr<Open>;
  void spawn(asio::awaitable<void> work);
  void update(Json update);
  void say(const std::string& text);
  void close(const OpenRef& open, const Reply<Json>& reply);
  void stop_reason(const OpenRef& open, const char* reason);
  OpenRef find(const std::string& prompt_id) const;
  void turn_ended(const protocol::TurnEnded& ended);
  void mode_changed(const std::string& policy);

  asio::awaitable<void> hold_files();
  asio::awaitable<void> deliver(OpenRef open, Prompt prompt, std::string mode);
  asio::awaitable<void> merge(std::vector<protocol::FileChange> changes);
  asio::awaitable<void> tell_overlay(Unsaved::Held held, bool told);
  asio::awaitable<void> look(std::string name, bool save);
  void watch(const protocol::Item& item);
  asio::awaitable<void> withdraw(std::string prompt_id);
  asio::awaitable<void> interrupt();
  asio::awaitable<Reply<Json>> insist(std::string method, Json params);

  // session_rewind.cc
  bool commanded(const OpenRef& open, const std::string& text);
  asio::awaitable<void> rewind(OpenRef open, std::int64_t turn_id);  // 0: the last
  asio::awaitable<void> unrewind(OpenRef open);
  asio::awaitable<bool> may_rewind(std::string call, protocol::SessionRewindResult plan);
  asio::awaitable<Reply<protocol::SessionRewindResult>> rewound_before(std::int64_t turn_id,
                                                                       bool dry_run);
  asio::awaitable<Reply<protocol::SessionRewindResult>> rewound(std::string method, Json params);

  // What it asks; see session_asks.cc.
  void asks(const protocol::Item& item);
  void settled(const std::string& item_id);
  void ask_in_text(const protocol::Item& item);
  asio::awaitable<void> permit(protocol::Item item);
  asio::awaitable<void> question(protocol::Item item);
  asio::awaitable<void> reply_question(OpenRef open, Prompt prompt);

  // While a turn runs the daemon takes none; they are brought when it has ended.
  void servers_brought(const Reply<Json>& used);
  asio::awaitable<void> bring_servers_late();

  const World& world_;
  protocol::SessionInfo info_;
  const Root root_;
  Json servers_ = Json::array();
  bool servers_wait_ = false, replaying_ = false;
  daemon::Gate opened_;
  std::vector<Json> held_;  // updates, until then
  SessionView view_;
  Unsaved unsaved_;
  std::int64_t last_seq_ = 0, turn_id_ = 0;  // turn_id_: that runs, as far as was heard
  std::deque<OpenRef> open_;
  std::set<std::string> mine_;  // prompts that this editor wrote
  // Items and rewindings, by the editor's request that asks it
  std::map<std::string, std::int64_t> asked_;
  int n_rewinds_ = 0;                    // that were asked
  std::string question_;                 // the item whose question the next prompt answers
  std::deque<std::string> to_withdraw_;  // when the daemon is back
};

}  // namespace lares::cli::acp
