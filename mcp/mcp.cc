#include "mcp/mcp.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cctype>
#include <nlohmann/json.hpp>
#include <optional>

#include "mcp/client.h"
#include "mcp/tools.h"

namespace lares::mcp {
namespace {

using nlohmann::json;
using tools::Outcome;
using tools::Result;

constexpr std::size_t kOutputBytesMax = 16'000;
constexpr std::size_t kDescriptionBytesMax = 400;
constexpr std::size_t kSchemaBytesMax = 4'000;
constexpr std::size_t kNamesBytesMax = 4'000;

// Sorted by name. Both tools share it; servers live as long as the tools.
struct Servers {
  std::vector<std::shared_ptr<Client>> clients;
  std::vector<std::string> problems;
};

std::string cut(std::string text, std::size_t n_max, std::string_view note) {
  if (text.size() <= n_max) return text;
  std::size_t n = n_max;
  while (n > 0 && (static_cast<unsigned char>(text[n]) & 0xc0) == 0x80)
    --n;  // not inside a UTF-8 character
  const auto left = text.size() - n;
  text.resize(n);
  return text + fmt::format("[cut: {} more bytes{}]", left, note);
}

std::string dumped(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

Outcome failed(std::string why) { return {.text = std::move(why), .ok = false, .changes = {}}; }

std::string none_configured(const Servers& servers) {
  std::string text = "no MCP servers are configured";
  for (const auto& problem : servers.problems) text += "; " + problem;
  return text;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

// How many of the query's words occur; names count double.
int score(const std::string& server, const RemoteTool& tool,
          const std::vector<std::string>& words) {
  const auto name = lower(server + " " + tool.name), description = lower(tool.description);
  int points = 0;
  for (const auto& word : words) {
    if (name.find(word) != std::string::npos)
      points += 2;
    else if (description.find(word) != std::string::npos)
      points += 1;
  }
  return points;
}

std::vector<std::string> words_of(const std::string& query) {
  std::vector<std::string> words(1);
  for (const char c : lower(query)) {
    if (std::isalnum(static_cast<unsigned char>(c)) || static_cast<unsigned char>(c) >= 0x80)
      words.back() += c;
    else if (!words.back().empty())
      words.emplace_back();
  }
  if (words.back().empty()) words.pop_back();
  return words;
}

struct Listed {
  std::string server;
  Reply<std::vector<RemoteTool>> tools;
};

// All servers at once: each may take a second to start.
asio::awaitable<std::optional<std::vector<Listed>>> list_all(asio::any_io_executor io,
                                                             std::shared_ptr<Servers> servers) {
  struct Gathering {
    explicit Gathering(const asio::any_io_executor& executor) : done(executor) {}
    asio::steady_timer done;
    std::vector<Listed> lists;
    std::size_t n_open = 0;
  };
  const auto gathering = std::make_shared<Gathering>(io);
  gathering->done.expires_at(std::chrono::steady_clock::time_point::max());
  gathering->n_open = servers->clients.size();
  gathering->lists.resize(servers->clients.size());
  for (std::size_t i = 0; i < servers->clients.size(); ++i) {
    const auto client = servers->clients[i];
    gathering->lists[i].server = client->name();
    asio::co_spawn(
        io, client->tools(),
        [gathering, client, i](std::exception_ptr thrown, Reply<std::vector<RemoteTool>> tools) {
          if (thrown) tools = tl::unexpected(Failure{Failure::refused, "could not be asked"});
          gathering->lists[i].tools = std::move(tools);
          if (--gathering->n_open == 0) gathering->done.cancel();
        });
  }
  while (gathering->n_open > 0) {
    auto [ec] = co_await gathering->done.async_wait(asio::as_tuple(asio::use_awaitable));
    if (gathering->n_open > 0 && ec) co_return std::nullopt;  // the caller was cancelled
  }
  std::optional<std::vector<Listed>> all = std::move(gathering->lists);
  co_return all;
}

std::string names_of(const std::vector<Listed>& lists) {
  std::string text;
  for (const auto& [server, tools] : lists) {
    if (!tools) continue;
    text += fmt::format("{}:", server);
    for (const auto& tool : *tools)
      text += fmt::format("{}{}", &tool == &tools->front() ? " " : ", ", tool.name);
    text += "\n";
  }
  return cut(std::move(text), kNamesBytesMax, "");
}

std::string describe(const std::string& server, const RemoteTool& tool) {
  const auto schema = dumped(tool.schema);
  return fmt::format(
      "{} {}: {}\n  {}\n", server, tool.name, cut(tool.description, kDescriptionBytesMax, ""),
      schema.size() <= kSchemaBytesMax ? schema
                                       : fmt::format("[a schema of {} bytes]", schema.size()));
}

std::string search(const std::vector<Listed>& lists, const std::vector<std::string>& problems,
                   const std::string& query) {
  const auto words = words_of(query);
  struct Match {
    int points;
    const std::string* server;
    const RemoteTool* tool;
  };
  std::vector<Match> matches;
  std::string notes;
  for (const auto& [server, tools] : lists) {
    if (!tools) {
      notes += fmt::format("[{} {}]\n", server, tools.error().why);
      continue;
    }
    for (const auto& tool : *tools) {
      const int points = words.empty() ? 1 : score(server, tool, words);
      if (points > 0) matches.push_back({points, &server, &tool});
    }
  }
  for (const auto& problem : problems) notes += fmt::format("[{}]\n", problem);
  std::ranges::stable_sort(matches, std::greater<>(),
                           &Match::points);  // ties stay in the order of names
  if (matches.empty()) {
    const auto names = names_of(lists);
    if (names.empty()) return "no tool is available\n" + notes;
    return fmt::format("no tool matches {}; there are\n{}{}", dumped(query), names, notes);
  }
  std::string text;
  std::size_t n_shown = 0;
  for (const auto& match : matches) {
    const auto entry = describe(*match.server, *match.tool);
    if (text.size() + entry.size() > kOutputBytesMax) break;
    text += entry;
    ++n_shown;
  }
  if (n_shown < matches.size())
    text += fmt::format("[{} more match; narrow the query]\n", matches.size() - n_shown);
  return text + notes;
}

// What the model reads of a call's result: its texts, and a line for what is no text.
std::string content_text(const json& result) {
  std::string text;
  const auto add = [&](const std::string& part) {
    if (!text.empty() && !text.ends_with('\n')) text += '\n';
    text += part;
  };
  const auto string_at = [](const json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  const auto content = result.find("content");
  if (content != result.end() && content->is_array()) {
    for (const auto& block : *content) {
      if (!block.is_object()) continue;
      const auto type = string_at(block, "type");
      if (type == "text") {
        add(string_at(block, "text"));
      } else if (type == "resource" && block.contains("resource") &&
                 block["resource"].is_object()) {
        const auto& resource = block["resource"];
        add(resource.contains("text") ? string_at(resource, "text")
                                      : fmt::format("[resource {}]", string_at(resource, "uri")));
      } else if (type == "resource_link") {
        add(fmt::format("[resource {}]", string_at(block, "uri")));
      } else {
        add(fmt::format("[{} {}, {} bytes in base64]", type, string_at(block, "mimeType"),
                        string_at(block, "data").size()));
      }
    }
  }
  if (text.empty() && result.contains("structuredContent"))
    text = dumped(result["structuredContent"]);
  return text;
}

class SearchTool final : public tools::Tool {
 public:
  SearchTool(asio::any_io_executor io, std::shared_ptr<Servers> servers)
      : io_(io), servers_(std::move(servers)) {}

  const tools::Spec& spec() const override {
    static const tools::Spec spec{
        "mcp_search", "Find tools of the configured MCP servers by words; shows how to call them.",
        R"({"type":"object","properties":{"query":{"type":"string"}},"required":["query"]})"};
    return spec;
  }
  bool mutates(const json&) const override { return false; }

  asio::awaitable<Result<Outcome>> run(json args, tools::OnOutput) override {
    const auto query = args.is_object() ? args.find("query") : args.end();
    if (args.is_object() && query != args.end() && !query->is_string())
      co_return failed("mcp_search: `query` must be a string");
    const std::string words =
        args.is_object() && query != args.end() ? query->get<std::string>() : "";
    if (servers_->clients.empty())
      co_return Outcome{.text = none_configured(*servers_), .ok = true, .changes = {}};
    const auto servers = servers_;
    const auto lists = co_await list_all(io_, servers);
    if (!lists) {
      Result<Outcome> cancelled = tl::unexpected(tools::Error{tools::Errc::cancelled, "cancelled"});
      co_return cancelled;
    }
    Outcome found{.text = search(*lists, servers->problems, words), .ok = true, .changes = {}};
    co_return found;
  }

 private:
  asio::any_io_executor io_;
  std::shared_ptr<Servers> servers_;
};

class CallTool final : public tools::Tool {
 public:
  explicit CallTool(std::shared_ptr<Servers> servers) : servers_(std::move(servers)) {}

  const tools::Spec& spec() const override {
    static const tools::Spec spec{
        "mcp_call", "Call a tool that mcp_search found.",
        R"({"type":"object","properties":{"server":{"type":"string"},"tool":{"type":"string"},"arguments":{"type":"object"}},)"
        R"("required":["server","tool","arguments"]})"};
    return spec;
  }
  bool mutates(const json&) const override {
    return true;
  }  // a server's own word about it is not to be trusted

  asio::awaitable<Result<Outcome>> run(json args, tools::OnOutput) override {
    if (servers_->clients.empty()) co_return failed(none_configured(*servers_));
    std::string server, tool;
    for (const auto& [key, into] :
         {std::pair<const char*, std::string*>{"server", &server}, {"tool", &tool}}) {
      if (!args.is_object() || !args.contains(key) || !args[key].is_string()) {
        co_return failed(fmt::format("mcp_call: `{}` must be a string", key));
      }
      *into = args[key].get<std::string>();
    }
    json arguments = args.value("arguments", json::object());
    if (arguments.is_null()) arguments = json::object();
    if (!arguments.is_object()) co_return failed("mcp_call: `arguments` must be an object");
    const auto found =
        std::ranges::find(servers_->clients, server, [](const auto& c) { return c->name(); });
    if (found == servers_->clients.end()) {
      std::string names;
      for (const auto& client : servers_->clients)
        names += (names.empty() ? "" : ", ") + client->name();
      co_return failed(fmt::format("mcp_call: no server {}; there are {}", server, names));
    }
    const auto client = *found;
    const auto result = co_await client->call(tool, std::move(arguments));
    auto outcome = rendered(server, tool, result);
    co_return outcome;
  }

 private:
  static Result<Outcome> rendered(const std::string& server, const std::string& tool,
                                  const Reply<json>& result) {
    if (!result) {
      const auto& failure = result.error();
      if (failure.kind == Failure::cancelled)
        return tl::unexpected(tools::Error{tools::Errc::cancelled, "cancelled"});
      if (failure.kind == Failure::refused)
        return failed(fmt::format("mcp_call {} {}: {}", server, tool, failure.why));
      return failed(fmt::format("mcp_call {} {}: the server {}", server, tool, failure.why));
    }
    if (!result->is_object())
      return failed(fmt::format("mcp_call {} {}: the server's result is no object", server, tool));
    const auto error = result->find("isError");
    const bool ok = error == result->end() || *error != true;
    auto text = cut(content_text(*result), kOutputBytesMax, "; ask for less");
    if (text.empty()) text = ok ? "(no output)" : "the tool failed without a word";
    return Outcome{.text = std::move(text), .ok = ok, .changes = {}};
  }

  std::shared_ptr<Servers> servers_;
};

}  // namespace

std::vector<std::unique_ptr<tools::Tool>> make_tools(asio::any_io_executor io,
                                                     const std::string& root, Config config,
                                                     const Limits& limits) {
  auto servers = std::make_shared<Servers>();
  servers->problems = std::move(config.problems);
  for (auto& server : config.servers) {
    servers->clients.push_back(std::make_shared<Client>(io, std::move(server), root, limits));
  }
  std::vector<std::unique_ptr<tools::Tool>> both;
  both.push_back(std::make_unique<SearchTool>(io, servers));
  both.push_back(std::make_unique<CallTool>(servers));
  return both;
}

std::vector<std::unique_ptr<tools::Tool>> make_mcp_tools(asio::any_io_executor io,
                                                         const Options& options) {
  return make_tools(io, options.root, read_config(options.config_path), Limits{});
}

}  // namespace lares::mcp
