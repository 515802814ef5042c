// The server's half of MCP, whatever carries its messages: JSON-RPC in, JSON-RPC out, what is
// offered comes from a Provider. One endpoint speaks both eras: the legacy one (2025-03-26 to
// 2025-11-25), where a client opens a session with `initialize`, and the modern one (2026-07-28),
// where every request says for itself what its client can do. One executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <nlohmann/json.hpp>
#include <tl/expected.hpp>

namespace lares::mcp::server {

namespace asio = boost::asio;
using Json = nlohmann::ordered_json;

inline constexpr std::string_view kModern = "2026-07-28", kNewestLegacy = "2025-11-25";
inline constexpr std::string_view kBatching = "2025-03-26";  // the one version that has batches
inline constexpr std::size_t kRequestsMax = 64;              // of one client, unanswered
inline constexpr std::size_t kBatchMax = 256;                // messages of a batch
inline constexpr std::size_t kPageItemsMax = 100;            // of a list, in one answer
// Resources that one client watches, and listening streams that it has
inline constexpr std::size_t kSubscriptionsMax = 256;
// That a client carries from one round of a request to the next
inline constexpr std::size_t kStateBytesMax = 16 << 10;
inline constexpr std::size_t kAsksMax = 16;  // questions that one request has open
// Then a client's answer comes too late
inline constexpr std::int64_t kStateSecondsMax = 24 * 3600;

// A JSON-RPC error.
enum Code : int {
  kParseError = -32700,
  kInvalidRequest = -32600,
  kUnknownMethod = -32601,
  kInvalidParams = -32602,
  kInternal = -32603,
  kHeaderMismatch = -32020,
  kMissingCapability = -32021,
  kUnsupportedVersion = -32022,
};
struct Refusal {
  int code = kInternal;
  std::string message;
  Json data = nullptr;
  Json id = nullptr;  // of the request that was not understood, where that much could be told
};
template <class T = Json>
using Answer = tl::expected<T, Refusal>;
// What stands in a message, which may be too long to be copied: whoever holds it holds the message.
using JsonRef = std::shared_ptr<const Json>;

// What became of a question to the client.
struct Asked {
  enum How {
    answered,
    pending,     // the client is told the question with the answer to this very request, and asks
                 // anew: return now, whatever with
    impossible,  // it did not declare that it can be asked
    failed,      // it answered with an error
    withdrawn,   // it was taken back before anybody answered
    gone,        // it is no longer there, or gave the request up
  } how = gone;
  JsonRef said = nullptr;      // with the first of them the result, with `failed` the error
  const Json& result() const;  // null where it said nothing
};

// One request while a provider works on it: who asks, and what they may hear meanwhile.
class Call {
 public:
  virtual ~Call() = default;
  // The repository that the client said it is about; empty: it said none
  virtual const std::string& root() const = 0;
  // "elicitation", "sampling", "roots"
  virtual bool can_be_asked(std::string_view capability) const = 0;
  // Where the client wants to hear of it. `done` must grow; total 0: unknown.
  virtual void progress(double done, double total, const std::string& message) = 0;
  virtual bool wants_progress() const = 0;
  virtual void log(std::string_view level, const Json& data) = 0;  // level: as syslog's names
  // "elicitation/create", "sampling/createMessage" or "roots/list". `key` names the question among
  // this request's.
  virtual asio::awaitable<Asked> ask(std::string key, std::string method, Json params) = 0;
  // The question is none any more, for it was answered elsewhere: a legacy client is told to close
  // it, and ask() returns. What a modern client says to it in its next round is not asked for any
  // more.
  virtual void withdraw(const std::string& key) = 0;
  // What an earlier round of this request kept, unforged; null: this is its first. Kept for the
  // round that a pending question brings.
  virtual const Json& kept() const = 0;
  virtual void keep(Json state) = 0;
  // The client may hang up for a while: what is said from now on waits for it, where the transport
  // can.
  virtual void let_go() = 0;
  // Stopped when nobody wants the answer any more.
  virtual std::stop_token ended() const = 0;
  virtual bool cancelled() const = 0;  // ended, and because the client said so; else it went away
};

struct Info {
  std::string name, title, version, instructions;
};

// What is offered. Lists are arrays of the protocol's own objects, in an order that stays. What a
// server has not, it need not override.
class Provider {
 public:
  virtual ~Provider() = default;
  virtual Info info() const = 0;

  virtual Json tools() { return Json::array(); }
  // The result object: content, structuredContent, isError. A Refusal where there is no such tool.
  // The arguments, an object, are there as long as the call.
  virtual asio::awaitable<Answer<>> call_tool(Call& call, std::string name,
                                              const Json& arguments) = 0;

  virtual bool has_resources() const { return false; }
  // Of a list that may be long: at most `n`, from the `from`-th on; fewer only where it ends.
  virtual Json resources(const std::string& root, std::size_t from, std::size_t n);
  virtual Json resource_templates();
  virtual asio::awaitable<Answer<>> read_resource(Call& call, std::string uri);

  virtual bool has_prompts() const { return false; }
  virtual Json prompts();
  virtual asio::awaitable<Answer<>> get_prompt(Call& call, std::string name, const Json& arguments);

  virtual bool completes() const { return false; }
  virtual Answer<> complete(const Json& ref, const std::string& argument,
                            const std::string& value);  // array of strings
  virtual bool logs() const { return false; }
};

// Where what answers a message goes. The engine calls finish() once for a request, and nothing
// after it.
class Outlet {
 public:
  virtual ~Outlet() = default;
  virtual void send(std::string message) = 0;  // one JSON text, without a newline
  virtual void finish(std::string message, int http_status) = 0;
  virtual void let_go() {}
  // Those to a batch: each by answer(), as they come, and then finish() with nothing; or else all
  // of them in one message.
  virtual bool answers_apart() const { return false; }
  virtual void answer(std::string message) { send(std::move(message)); }
};

// What a line or a body says: one message, or those of a batch. In place of what is no message
// there is what is wrong with it.
struct Incoming {
  std::vector<Answer<>> messages;
  bool batch = false;
};
using IncomingRef = std::shared_ptr<const Incoming>;
JsonRef message_of(const IncomingRef& incoming, std::size_t i);  // the i-th, which is one

class Peer;

class Endpoint {
 public:
  // `aside`: threads for what is as long as a request may be; null: all on `io`.
  Endpoint(asio::any_io_executor io, Provider& provider, asio::thread_pool* aside = nullptr);
  ~Endpoint();

  // a client, as one connection or one session knows it
  std::shared_ptr<Peer> peer(std::string root);

  // Whoever listens is told.
  void tools_changed();
  void prompts_changed();
  void resources_changed();
  void resource_updated(const std::string& uri);

  asio::any_io_executor io() const { return io_; }
  asio::thread_pool* aside() const { return aside_; }
  Provider& provider() const { return provider_; }
  std::size_t n_running() const;  // requests
  bool has_peers() const { return !peers_->empty(); }

 private:
  friend class Peer;
  asio::any_io_executor io_;
  Provider& provider_;
  std::string key_;                         // of what clients carry for us
  std::shared_ptr<std::set<Peer*>> peers_;  // a peer may outlive the endpoint
  asio::thread_pool* const aside_;
};

class Peer : public std::enable_shared_from_this<Peer> {
 public:
  virtual ~Peer() = default;
  // One message. A request's answer goes to `out`; false: there is none to come, for the message is
  // none that is answered.
  virtual bool receive(JsonRef message, std::shared_ptr<Outlet> out) = 0;
  // So too a batch, which is refused where the session's version has none.
  virtual bool receive_batch(IncomingRef batch, std::shared_ptr<Outlet> out) = 0;
  // For what belongs to no request. Null: nobody listens.
  virtual void aside(std::shared_ptr<Outlet> out) = 0;
  // The stream on which this request's answer was to come is closed by the client: it gave it up.
  virtual void give_up(const Json& id) = 0;
  virtual void left() = 0;  // it is gone; what it began goes on, if its provider wants it to
  // It says nothing more: whoever asks it has no answer to wait for
  virtual void falls_silent() = 0;
  virtual void set_root(std::string root) = 0;
  virtual bool initialized() const = 0;            // a legacy session
  virtual const std::string& version() const = 0;  // that it agreed on
  virtual std::size_t n_running() const = 0;
};

// ---- framing

// One message, or what is wrong with the text: not JSON, nested too deeply or with too many values
// (tools/lenient_json.h), a batch, no request, notification or answer.
Answer<> parse(std::string_view text);
Incoming parse_all(std::string_view text);     // on any thread
Refusal no_batches(std::string_view version);  // that the session agreed on; empty: on none
std::string error_text(const Json& id, const Refusal& refusal);
// A request's id as far as it can be told, else null.
Json id_of(const Json& message);
bool is_request(const Json& message);
// The modern version that a message says it is written in; empty: none, so it is a legacy one.
std::string modern_version(const Json& message);

// ---- of HTTP's headers, in the modern era

using HeaderOf = std::function<std::optional<std::string>(std::string_view lower_case_name)>;
// What in the headers contradicts the message, or is missing.
std::optional<Refusal> header_mismatch(const Json& message, const Json& tools,
                                       const HeaderOf& header);
// The message's own: a version that we do not speak, or no word of what the client can do.
std::optional<Refusal> wrong_meta(const Json& message);
int http_status(const Refusal& refusal);

bool speaks_legacy(std::string_view version);

}  // namespace lares::mcp::server
