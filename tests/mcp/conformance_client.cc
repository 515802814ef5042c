// The MCP client as the official conformance suite drives it: the server's address as last
// argument, the scenario in the environment. What it does is what the two tools do; only the
// elicitations' answers are made up.
#include <fmt/format.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "mcp/client.h"
#include "mcp/message.h"

namespace {

using lares::mcp::Client;
using lares::mcp::RemoteTool;
using nlohmann::json;

struct Call {
  std::string tool;
  json arguments;
};

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

const RemoteTool* find(const std::vector<RemoteTool>& offers, std::string_view name) {
  for (const auto& offer : offers) {
    if (offer.name == name) return &offer;
  }
  return nullptr;
}

std::vector<Call> calls_of(const std::string& scenario, const json& context,
                           const std::vector<RemoteTool>& offers) {
  const json none = json::object();
  if (scenario == "tools_call") return {{"add_numbers", {{"a", 5}, {"b", 3}}}};
  if (scenario == "elicitation-sep1034-client-defaults")
    return {{"test_client_elicitation_defaults", none}};
  if (scenario == "sse-retry") return {{"test_reconnection", none}};
  if (scenario == "sep-2322-client-request-state")
    return {{"test_mrtr_echo_state", none},
            {"test_mrtr_unrelated", none},
            {"test_mrtr_no_state", none},
            {"test_mrtr_no_result_type", none}};
  std::vector<Call> calls;
  if (scenario == "http-custom-headers" && context.contains("toolCalls")) {
    for (const auto& call : context["toolCalls"])
      calls.push_back({call.value("name", ""), call.value("arguments", none)});
  }
  if (scenario == "http-invalid-tool-headers") {
    for (const auto& offer : offers) calls.push_back({offer.name, {{"region", "us-west1"}}});
  }
  if (scenario == "http-standard-headers") {
    if (!offers.empty()) calls.push_back({offers.front().name, none});
    for (const char* method : {lares::mcp::kReadResource, lares::mcp::kGetPrompt}) {
      if (const auto* offer = find(offers, method)) calls.push_back({method, offer->schema});
    }
  }
  if (scenario == "json-schema-2020-12-preservation") {
    for (const auto& offer : offers) {
      if (offer.name != "json_schema_echo")
        calls.push_back({"json_schema_echo", {{"schema", offer.schema}}});
    }
  }
  return calls;
}

// Yes where the form asks yes or no, and else whatever the server proposes.
boost::asio::awaitable<std::optional<std::string>> answer(std::string question) {
  const bool yes_or_no = question.find("\nyes or no") != std::string::npos &&
                         question.find("\nempty: ") == std::string::npos;
  std::optional<std::string> text = yes_or_no ? "yes" : "";
  co_return text;
}

boost::asio::awaitable<int> run(std::shared_ptr<Client> client, std::string scenario,
                                json context) {
  const auto offers = co_await client->offers();
  if (!offers) {
    fmt::print(stderr, "list what the server offers: it {}\n", offers.error().why);
    co_return 1;
  }
  int n_failed = 0;
  for (auto& call : calls_of(scenario, context, *offers)) {
    auto calling = client->call(call.tool, call.arguments, {});
    const auto result = co_await std::move(calling);
    fmt::print(stderr, "{} {}: {}\n", call.tool, call.arguments.dump(),
               result ? result->dump() : result.error().why);
    n_failed += !result;
  }
  co_return n_failed ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2)
    return fmt::print(stderr,
                      "usage: {} SERVER_URL, with MCP_CONFORMANCE_SCENARIO in the environment\n",
                      argv[0]),
           2;
  boost::asio::io_context io;
  lares::mcp::ServerConfig server{.name = "conformance", .url = argv[argc - 1]};
  auto client = std::make_shared<Client>(
      io.get_executor(), server, lares::mcp::Place{std::filesystem::current_path().string(), ""},
      answer, lares::mcp::Limits{});
  const auto scenario = variable("MCP_CONFORMANCE_SCENARIO");
  // A server that answers nothing but its own tools: there is nothing to negotiate with.
  if (variable("MCP_CONFORMANCE_PROTOCOL_VERSION") == lares::mcp::kModernVersion &&
      scenario == "sep-2322-client-request-state")
    client->pin_modern();
  json context = json::parse(variable("MCP_CONFORMANCE_CONTEXT"), nullptr, false);
  if (!context.is_object()) context = json::object();
  int status = 1;
  boost::asio::co_spawn(io, run(client, scenario, context),
                        [&](std::exception_ptr thrown, int result) {
                          if (!thrown) status = result;
                          client.reset();  // ends the session
                        });
  io.run();
  return status;
}
