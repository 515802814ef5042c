// What this daemon offers over MCP: questions, tasks and reviews as tools, sessions and what they
// changed as resources.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include <boost/asio/thread_pool.hpp>

#include "daemon/mcp/turn_report.h"
#include "daemon/session/sessions.h"
#include "mcp/server.h"

namespace lares::daemon {

class TurnWatch;
struct Recorded;
struct TurnReport;

inline constexpr std::size_t kMcpResourceBytesMax = 1 << 20;  // of a log or a diff
inline constexpr std::size_t kMcpCompletionsMax = 1000;       // ids of sessions, the newest
inline constexpr std::size_t kMcpAnswerBytesMax = 256 << 10;  // of what a turn said at its end

class McpProvider final : public mcp::server::Provider {
 public:
  McpProvider(Sessions& sessions, asio::thread_pool& disk) : sessions_(sessions), disk_(disk) {}

  mcp::server::Info info() const override;
  mcp::server::Json tools() override;
  asio::awaitable<mcp::server::Answer<>> call_tool(mcp::server::Call& call, std::string name,
                                                   const mcp::server::Json& arguments) override;

  bool has_resources() const override { return true; }
  mcp::server::Json resources(const std::string& root, std::size_t from, std::size_t n) override;
  mcp::server::Json resource_templates() override;
  asio::awaitable<mcp::server::Answer<>> read_resource(mcp::server::Call& call,
                                                       std::string uri) override;
  bool completes() const override { return true; }  // ids of sessions
  mcp::server::Answer<> complete(const mcp::server::Json& ref, const std::string& argument,
                                 const std::string& value) override;

 private:
  using Json = mcp::server::Json;
  using Answer = mcp::server::Answer<>;
  struct Turn {
    std::shared_ptr<Session> session;
    std::int64_t id = 0;
    std::string branch;  // of a worktree made for it
    // From before the prompt was sent: who asks at once is heard, and knows that somebody is there
    std::shared_ptr<TurnWatch> watch;
  };
  struct Told {
    TurnReport report;
    std::string session_id;
  };
  // left: nobody waits for it any more, or nobody there answers what it asks
  enum class End { over, pending, left };

  asio::awaitable<Answer> ask_repo(mcp::server::Call& call, Json arguments);
  asio::awaitable<Answer> review(mcp::server::Call& call, Json arguments);
  asio::awaitable<Answer> run_task(mcp::server::Call& call, Json arguments);
  asio::awaitable<Answer> task_status(Json arguments);
  asio::awaitable<Answer> task_cancel(Json arguments);

  std::string root_for(const mcp::server::Call& call, const Json& arguments) const;
  asio::awaitable<Reply<Turn>> begin(mcp::server::Call& call, std::string root, std::string mode,
                                     std::string prompt, bool worktree);
  asio::awaitable<Reply<Turn>> begin_or_resume(mcp::server::Call& call, std::string root,
                                               std::string mode, std::string prompt, bool worktree);
  // What a turn answered that only reads, in a session of its own; nothing: it has asked something,
  // or nobody waits for it any more.
  asio::awaitable<Reply<std::optional<Told>>> told(mcp::server::Call& call, std::string root,
                                                   std::string prompt);
  // Until the turn ends, with what it asks meanwhile asked of the client. `goes_on`: without its
  // client too, and what that does not answer waits for somebody else.
  asio::awaitable<End> follow(mcp::server::Call& call, Turn turn, bool goes_on);
  asio::awaitable<mcp::server::Asked::How> pass_on(mcp::server::Call& call, Turn turn,
                                                   TurnWatch& watch, bool goes_on);
  // Read off this thread
  asio::awaitable<Reply<TurnReport>> reported(Recorded session, std::int64_t turn_id);

  Sessions& sessions_;
  asio::thread_pool& disk_;
};

}  // namespace lares::daemon
