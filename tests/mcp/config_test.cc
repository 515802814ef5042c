// Configurations as people have them, and what is said about the parts that cannot be used.
#include "mcp/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/temporary_directory.h"

namespace lares::mcp {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

class McpConfig : public testing::Test {
 protected:
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(dir_ / name) << text;
    return (dir_ / name).string();
  }
  Config read(const std::string& servers) const {
    return read_config(write("mcp.json", R"({"mcpServers": )" + servers + "}"), variables_);
  }
  // What follows "server x in FILE: ".
  std::string problem(const std::string& entry) const {
    const auto config = read(R"({"x": )" + entry + "}");
    if (config.problems.size() != 1 || !config.servers.empty()) return "no single problem";
    const auto start = "server x in " + (dir_ / "mcp.json").string() + ": ";
    return config.problems[0].starts_with(start) ? config.problems[0].substr(start.size())
                                                 : config.problems[0];
  }

  const TemporaryDirectory made_;
  const std::filesystem::path dir_ = made_.path();
  Variables variables_ = [](const std::string& name) -> std::optional<std::string> {
    if (name == "TOKEN") return "secret";
    if (name == "EMPTY") return "";
    return std::nullopt;
  };
};

TEST_F(McpConfig, BothTransportsAreReadAndVariablesExpanded) {
  const auto config = read(R"({
    "local": {"command": "${SHELL_:-sh}", "args": ["-c", "echo ${TOKEN}!"], "env": {"A": "${EMPTY:-b}", "C": "${EMPTY}"}, "cwd": "sub"},
    "remote": {"type": "http", "url": "https://example.org:8443/mcp?x=1", "headers": {"Authorization": "Bearer ${TOKEN}"}},
    "guessed": {"url": "http://[::1]:80"}, "streamable": {"type": "streamable-http", "url": "http://localhost"},
    "off": {"command": "x", "disabled": true}})");
  EXPECT_TRUE(config.problems.empty());
  ASSERT_EQ(config.servers.size(), 4u);
  EXPECT_EQ(config.servers[0].url, "http://[::1]:80");
  const auto& local = config.servers[1];
  EXPECT_EQ(local.command, "sh");
  EXPECT_THAT(local.args, ElementsAre("-c", "echo secret!"));
  EXPECT_THAT(local.env, ElementsAre(Pair("A", "b"), Pair("C", "")));
  EXPECT_EQ(local.cwd, "sub");
  EXPECT_THAT(config.servers[2].headers, ElementsAre(Pair("Authorization", "Bearer secret")));
}

TEST_F(McpConfig, EveryNameOfATransportIsKnown) {
  const auto config = read(R"({
    "a": {"type": "stdio", "command": "x"}, "b": {"type": "streamableHttp", "url": "http://x"},
    "c": {"command": "x", "url": "http://x"}, "d": {"type": "stdio", "command": "x", "url": "http://x"},
    "e": {"url": "http://x", "headers": {"X-Api-Key": "k"}}})");
  EXPECT_TRUE(config.problems.empty());
  ASSERT_EQ(config.servers.size(), 5u);
  for (const std::size_t stdio : {0, 2, 3}) {
    EXPECT_EQ(config.servers[stdio].command, "x");
    EXPECT_EQ(config.servers[stdio].url, "");
  }
  EXPECT_EQ(config.servers[1].url, "http://x");
  EXPECT_THAT(config.servers[4].headers, ElementsAre(Pair("X-Api-Key", "k")));
}

TEST_F(McpConfig, VariablesAreTheEnvironments) {
  ::setenv("LARES_MCP_CONFIG_TEST", "set", 1);
  EXPECT_EQ(environment_variable("LARES_MCP_CONFIG_TEST"), "set");
  ::unsetenv("LARES_MCP_CONFIG_TEST");
  EXPECT_EQ(environment_variable("LARES_MCP_CONFIG_TEST"), std::nullopt);
  EXPECT_EQ(read(R"({"x": {"command": "${TOKEN:-default}"}})").servers.at(0).command, "secret");
}

TEST_F(McpConfig, FaultsNameTheFileTheServerAndTheRemedy) {
  EXPECT_EQ(problem("5"), "is not an object");
  EXPECT_EQ(problem("{}"), "has no \"command\" and no \"url\"");
  EXPECT_THAT(problem(R"({"type": "sse", "url": "http://x"})"), HasSubstr("has the type \"sse\""));
  EXPECT_EQ(problem(R"({"type": "ws", "url": "http://x"})"),
            "has the type \"ws\", and only \"stdio\" and \"http\" are known");
  EXPECT_EQ(problem(R"({"type": 5, "url": "http://x"})"),
            "has the type 5, and only \"stdio\" and \"http\" are known");
  EXPECT_EQ(problem(R"({"type": "http"})"), "has no \"url\"");
  EXPECT_EQ(problem(R"({"url": "ftp://x"})"), "\"url\" does not begin with http:// or https://");
  EXPECT_EQ(problem(R"({"url": "http://a:b@x"})"),
            "\"url\" holds a user name; put it into a header");
  EXPECT_EQ(problem(R"({"url": "http://x:99999/"})"),
            "\"url\" has no port between 1 and 65535 after its host");
  EXPECT_EQ(problem(R"({"url": "http://x/ a"})"),
            "\"url\" holds a character that must be percent-encoded");
  EXPECT_EQ(problem(R"({"url": "http:///x"})"), "\"url\" names no host");
  EXPECT_EQ(problem(R"({"url": "http://x", "headers": {"A b": "c"}})"),
            "\"headers\".A b is no header that HTTP can carry");
  EXPECT_EQ(problem(R"({"url": "http://x", "headers": {"A": "b\r\nC: d"}})"),
            "\"headers\".A is no header that HTTP can carry");
  EXPECT_EQ(problem(R"({"url": "http://x", "headers": {"": "c"}})"),
            "\"headers\" has an entry without a name");
  EXPECT_EQ(problem(R"({"url": "http://x", "headers": {"A": "b\u007f"}})"),
            "\"headers\".A is no header that HTTP can carry");
  EXPECT_EQ(problem(R"({"url": "http://x", "headers": 5})"), "\"headers\" is not an object");
  EXPECT_EQ(problem(R"({"command": "a", "env": {"B=C": "d"}})"), "\"env\" has the name B=C");
  EXPECT_EQ(problem(R"({"command": "a", "cwd": 5})"), "\"cwd\" is not a string");
  EXPECT_EQ(problem(R"({"command": ""})"), "\"command\" is empty");
  EXPECT_EQ(problem(R"({"command": "a", "args": "b"})"), "\"args\" is not an array");
  EXPECT_EQ(problem(R"({"command": "a", "args": ["b", 1]})"), "\"args\"[1] is not a string");
  EXPECT_EQ(problem(R"({"command": "a", "env": {"B": 1}})"), "\"env\".B is not a string");
  EXPECT_EQ(problem(R"({"command": "a\u0000b"})"), "\"command\" holds a NUL byte");
  EXPECT_EQ(problem(R"({"command": "a", "args": ["${NO}"]})"),
            "\"args\"[0] needs the variable NO, which is not set; set it, or write ${NO:-default}");
  EXPECT_EQ(problem(R"({"command": "a", "args": ["${NO"]})"), "\"args\"[0] has a ${ without its }");
  std::string many = "{";
  for (int i = 0; i < 33; ++i)
    many += std::string(i ? ", " : "").append("\"").append(std::to_string(i)) +
            R"(": {"command": "x"})";
  const auto first = read(many + "}");
  EXPECT_EQ(first.servers.size(), kServersMax);
  EXPECT_THAT(first.problems, ElementsAre(HasSubstr("more than 32 servers")));
}

TEST_F(McpConfig, FilesThatAreNoConfigurationAreNamed) {
  EXPECT_TRUE(read_config((dir_ / "none").string()).problems.empty());
  EXPECT_TRUE(read_config("").problems.empty());
  for (const std::string text : {"{\"mcpServers\": ", "[]", "{\"mcpServers\": []}", "", "\xff"})
    EXPECT_THAT(read_config(write("bad.json", text)).problems,
                ElementsAre(HasSubstr("bad.json: expected JSON like")))
        << text;
  EXPECT_THAT(read_config(write("deep.json", std::string(100'000, '['))).problems,
              ElementsAre(HasSubstr("nested deeper than 128")));
  EXPECT_THAT(read_config(write("long.json", std::string(kConfigBytesMax + 1, ' '))).problems,
              ElementsAre(HasSubstr("larger than 1048576 bytes")));
  EXPECT_THAT(read_config(dir_.string()).problems, ElementsAre(HasSubstr("read " + dir_.string())));
}

TEST_F(McpConfig, AClientsServersAreReadInItsOwnShapeAndNotExpanded) {
  const json acp = json::parse(R"([
    {"name": "files", "command": "/bin/files", "args": ["${TOKEN}"], "env": [{"name": "A", "value": "b"}]},
    {"type": "http", "name": "net", "url": "http://localhost:1/mcp", "headers": [{"name": "X", "value": "y"}]},
    {"command": "nameless"}, {"name": "net", "command": "again"}])");
  const auto config = parse_servers(acp, "session/new");
  ASSERT_EQ(config.servers.size(), 2u);
  EXPECT_THAT(config.servers[0].args, ElementsAre("${TOKEN}"));
  EXPECT_THAT(config.servers[0].env, ElementsAre(Pair("A", "b")));
  EXPECT_THAT(config.servers[1].headers, ElementsAre(Pair("X", "y")));
  EXPECT_THAT(config.problems, ElementsAre("server 2 in session/new: has no name",
                                           "server net in session/new: has the name of another"));
  EXPECT_TRUE(parse_servers(json(), "x").problems.empty());
  EXPECT_THAT(parse_servers(json(5), "x").problems,
              ElementsAre("MCP servers in x: neither an object nor an array"));
}

TEST_F(McpConfig, TheRepositorysOwnServersWaitForTheUsersWord) {
  Options options;
  options.config_path = write(
      "user.json", R"({"mcpServers": {"mine": {"command": "a"}, "both": {"command": "b"}}})");
  options.repository_config_path = write(
      ".mcp.json",
      R"({"mcpServers": {"both": {"command": "evil"}, "theirs": {"command": "evil"}}})");
  options.servers = {{"mine", "from the client", "", {}, {}}};
  const auto config = session_config(options);
  ASSERT_EQ(config.servers.size(), 2u);
  EXPECT_EQ(config.servers[0].command, "b");
  EXPECT_EQ(config.servers[1].command, "from the client");
  EXPECT_THAT(
      config.problems,
      ElementsAre("server theirs in " + options.repository_config_path +
                  ": is not started on the repository's word; to approve it, copy its entry to " +
                  options.config_path));
}

// What is wrong with either file is told; of what the repository would like to start, so much.
TEST_F(McpConfig, FaultsOfBothFilesAreTold) {
  Options options;
  options.config_path = write("user.json", R"({"mcpServers": {"mine": {}}})");
  options.repository_config_path = write(".mcp.json", "{");
  EXPECT_THAT(session_config(options).problems,
              ElementsAre(HasSubstr("server mine in " + options.config_path),
                          HasSubstr(".mcp.json: expected JSON like")));
  json many = json::object();
  for (int i = 0; i < 100; ++i) many[std::to_string(i)] = {{"command", "evil"}};
  write(".mcp.json", json{{"mcpServers", many}}.dump());
  EXPECT_EQ(session_config(options).problems.size(), kServersMax);
  EXPECT_TRUE(session_config(options).servers.empty());
}

}  // namespace
}  // namespace lares::mcp
