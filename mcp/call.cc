// mcp_call: one call to one server, and its result as the model reads it.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <boost/asio/use_awaitable.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "mcp/content.h"
#include "mcp/message.h"
#include "mcp/tools.h"
#include "tools/off_thread.h"

namespace lares::mcp {
namespace {

using nlohmann::json;
using tools::Outcome;
using tools::Result;
using Clock = std::chrono::steady_clock;

constexpr auto kProgressPause = std::chrono::milliseconds(100);  // what OnOutput asks for
constexpr std::size_t kProgressBytesMax = 500;

Outcome failed(std::string why) { return {.text = std::move(why), .ok = false, .changes = {}}; }

// "3 of 10: compiling" for people; the model sees the result alone.
OnProgress shown_to(tools::OnOutput on_output) {
  return [on_output, last = Clock::time_point::min()](const json& params) mutable {
    const auto now = Clock::now();
    if (!on_output || (last != Clock::time_point::min() && now - last < kProgressPause)) return;
    last = now;
    std::string text = dumped(params.value("progress", json()));
    if (params.contains("total")) text += " of " + dumped(params["total"]);
    if (const auto message = text_at(params, "message"); !message.empty()) text += ": " + message;
    on_output(cut(std::move(text), kProgressBytesMax, "") + "\n");
  };
}

Result<Outcome> rendered(const std::string& server, const std::string& tool,
                         const Reply<json>& result) {
  if (!result) {
    const auto& failure = result.error();
    if (failure.kind == Failure::cancelled)
      return tl::unexpected(tools::Error{tools::Errc::cancelled, "cancelled"});
    return failed(
        cut(fmt::format("mcp_call {} {}: {}{}", server, tool,
                        failure.kind == Failure::refused ? "" : "the server ", failure.why),
            kOutputBytesMax, ""));
  }
  if (!result->is_object())
    return failed(fmt::format("mcp_call {} {}: the server's result is no object", server, tool));
  const auto error = result->find("isError");
  const bool ok = error == result->end() || *error != true;
  auto text = cut(result_text(*result), kOutputBytesMax, "; ask for less");
  if (text.empty()) text = ok ? "(no output)" : "the tool failed without a word";
  return Outcome{.text = std::move(text), .ok = ok, .changes = {}};
}

class CallTool final : public tools::Tool {
 public:
  explicit CallTool(std::shared_ptr<Servers> servers, bool reading = false)
      : servers_(std::move(servers)), reading_(reading) {}

  const tools::Spec& spec() const override {
    static const tools::Spec spec{
        "mcp_call", "Call a tool that mcp_search found.",
        R"({"type":"object","properties":{"server":{"type":"string"},"tool":{"type":"string"},"arguments":{"type":"object"}},)"
        R"("required":["server","tool","arguments"]})"};
    return spec;
  }
  // A server's own word about it is not to be trusted; where it counts, people are asked, too.
  bool mutates(const json& args) const override {
    if (!reading_) return true;
    std::string server, tool, wrong;
    std::shared_ptr<Client> client;
    json arguments;
    if (!read(args, server, tool, arguments, client, wrong)) return false;  // nothing is called
    const RemoteTool* const known = client->listed(tool);
    return !known || !known->only_reads;
  }
  // Calls what its server says only reads.
  tools::Tool* for_reading() override {
    if (reading_) return this;
    if (!for_reading_) for_reading_ = std::make_unique<CallTool>(servers_, true);
    return for_reading_.get();
  }

  asio::awaitable<Result<Outcome>> run(json args, tools::OnOutput on_output) override {
    std::string server, tool, wrong;
    std::shared_ptr<Client> client;
    json arguments;
    if (!read(args, server, tool, arguments, client, wrong)) {
      Result<Outcome> unusable = failed(std::move(wrong));
      co_return unusable;
    }
    if (reading_) {
      auto asking = why_not_for_reading(client, tool);
      const Reply<> may = co_await std::move(asking);
      if (!may) {
        auto refused = rendered(server, tool, tl::unexpected(may.error()));
        co_return refused;
      }
    }
    auto calling = client->call(tool, std::move(arguments), shown_to(std::move(on_output)));
    auto result = co_await std::move(calling);
    if (!servers_->threads || !result) {
      auto outcome = rendered(server, tool, result);
      co_return outcome;
    }
    // It may be as long as a message: even to let go of it takes a while.
    const auto work = [server, tool, held = std::make_shared<Reply<json>>(std::move(result))](
                          const tools::Cancelled&) {
      const Reply<json> here = std::exchange(*held, Reply<json>());
      return rendered(server, tool, here);
    };
    auto rendering = tools::off_thread(*servers_->threads, work);
    auto outcome = co_await std::move(rendering);
    co_return outcome;
  }

 private:
  bool read(const json& args, std::string& server, std::string& tool, json& arguments,
            std::shared_ptr<Client>& client, std::string& wrong) const {
    if (servers_->clients.empty()) return wrong = none_configured(*servers_), false;
    for (const auto& [key, into] :
         {std::pair<const char*, std::string*>{"server", &server}, {"tool", &tool}}) {
      if (!args.is_object() || !args.contains(key) || !args[key].is_string())
        return wrong = fmt::format("mcp_call: `{}` must be a string", key), false;
      *into = args[key].get<std::string>();
    }
    arguments = args.value("arguments", json::object());
    if (arguments.is_null()) arguments = json::object();
    if (!arguments.is_object()) return wrong = "mcp_call: `arguments` must be an object", false;
    const auto found = std::ranges::find(servers_->clients, server,
                                         [](const auto& c) { return c->name(); });
    if (found != servers_->clients.end()) return client = *found, true;
    std::vector<std::string> names;
    for (const auto& one : servers_->clients) names.push_back(one->name());
    return wrong = fmt::format("mcp_call: no server {}; there are {}", server,
                               fmt::join(names, ", ")),
           false;
  }

  // Nobody was asked about one that was not known to read when it was judged (mutates).
  static asio::awaitable<Reply<>> why_not_for_reading(std::shared_ptr<Client> client,
                                                      std::string tool) {
    const auto reads = [&] {
      const RemoteTool* const known = client->listed(tool);
      return known && known->only_reads;
    };
    const bool was_known = reads();
    auto listing = client->list_if_stale();
    Reply<> may = co_await std::move(listing);
    const auto refuse = [&](std::string why) {
      may = tl::unexpected(Failure{Failure::refused, std::move(why)});
    };
    if (!may) co_return may;
    if (!client->listed(tool))
      refuse("there is no such tool");
    else if (!reads())
      refuse(
          "it was not called, for this turn changes nothing, and the server does not say that this "
          "tool only reads (readOnlyHint)");
    else if (!was_known)
      refuse(
          "it was not called, for the server had not said yet that this tool only reads; now it "
          "has, so send the call again");
    co_return may;
  }

  std::shared_ptr<Servers> servers_;
  const bool reading_;
  std::unique_ptr<CallTool> for_reading_;
};

}  // namespace

std::unique_ptr<tools::Tool> make_call_tool(std::shared_ptr<Servers> servers) {
  return std::make_unique<CallTool>(std::move(servers));
}

}  // namespace lares::mcp
