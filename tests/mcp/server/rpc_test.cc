// Texts that are messages and texts that are none; states that clients carry; what headers must
// say.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>

#include "mcp/server/rpc.h"
#include "mcp/server/sealed.h"
#include "tools/lenient_json.h"

namespace lares::mcp::server {
namespace {

TEST(Rpc, OneMessageOfTheProtocol) {
  const struct {
    const char* text;
    int code;
  } cases[] = {
      {R"({"jsonrpc":"2.0","id":1,"method":"ping"})", 0},
      {R"({"jsonrpc":"2.0","id":"a","method":"ping","params":{}})", 0},
      {R"({"jsonrpc":"2.0","method":"notifications/initialized"})", 0},
      {R"({"jsonrpc":"2.0","id":1,"result":{}})", 0},
      {R"({"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}})", 0},
      {R"([{"jsonrpc":"2.0","id":1,"method":"ping"}])", kInvalidRequest},
      {R"({"jsonrpc":"2.0","id":null,"method":"ping"})", kInvalidRequest},
      {R"({"jsonrpc":"2.0","id":1.5,"method":"ping"})", kInvalidRequest},
      {R"({"jsonrpc":"2.0","id":{},"method":"ping"})", kInvalidRequest},
      {R"({"jsonrpc":"1.0","id":1,"method":"ping"})", kInvalidRequest},
      {R"({"id":1,"method":"ping"})", kInvalidRequest},
      {R"({"jsonrpc":"2.0","id":1,"method":7})", kInvalidRequest},
      {R"({"jsonrpc":"2.0","id":1,"method":"ping","params":[1]})", kInvalidRequest},
      {R"({"jsonrpc":"2.0","id":1})", kInvalidRequest},
      {R"({"jsonrpc":"2.0","result":{}})", kInvalidRequest},
      {R"("ping")", kInvalidRequest},
      {"", kParseError},
      {"{", kParseError},
      {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}", kParseError},
  };
  for (const auto& [text, code] : cases) {
    const auto message = parse(text);
    EXPECT_EQ(message ? 0 : message.error().code, code) << text;
  }
}

TEST(Rpc, ABatchIsItsMessages) {
  const auto all = parse_all(R"([{"jsonrpc":"2.0","id":1,"method":"ping"},{"id":2},[],
    {"jsonrpc":"2.0","id":3,"method":"ping",
     "params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}])");
  EXPECT_TRUE(all.batch);
  ASSERT_EQ(all.messages.size(), 4u);
  EXPECT_EQ((*all.messages[0])["id"], 1);
  for (const int i : {1, 2, 3}) EXPECT_EQ(all.messages[i].error().code, kInvalidRequest) << i;
  const auto of = [](std::size_t n) {
    std::string text = "[";
    for (std::size_t i = 0; i < n; ++i) text += i > 0 ? ",1" : "1";
    return parse_all(text + "]");
  };
  EXPECT_EQ(of(kBatchMax).messages.size(), kBatchMax);
  for (const auto& none : {of(0), of(kBatchMax + 1), parse_all("["), parse_all("7")}) {
    EXPECT_FALSE(none.batch);
    ASSERT_EQ(none.messages.size(), 1u);
    EXPECT_FALSE(none.messages[0]);
  }
}

TEST(Rpc, DepthAndIdsAreBounded) {
  const auto nested = [](int n) {
    return R"({"jsonrpc":"2.0","id":1,"method":"x","params":{"a":)" + std::string(n, '[') +
           std::string(n, ']') + "}}";
  };
  EXPECT_TRUE(parse(nested(kDepthMax - 2)));
  EXPECT_EQ(parse(nested(kDepthMax - 1)).error().code, kParseError);
  EXPECT_FALSE(parse(nested(1'000'000)));
  const auto named = [](std::size_t n) {
    return R"({"jsonrpc":"2.0","method":"x","id":")" + std::string(n, 'i') + "\"}";
  };
  EXPECT_TRUE(parse(named(kIdBytesMax)));
  EXPECT_FALSE(parse(named(kIdBytesMax + 1)));
}

TEST(Rpc, AMessageWithoutMeasureIsNotParsedAndItsRequestToldSo) {
  const auto with = [](const std::string& params) {
    return R"({"jsonrpc":"2.0","params":{"id":7,"a":)" + params +
           R"(},"method":"x","id":"mine","x":1})";
  };
  const auto list = [](std::size_t n) {
    std::string text = "[1";
    for (std::size_t i = 1; i < n; ++i) text += ",1";
    return text + "]";
  };
  const auto object = [](std::size_t n) {
    std::string text = R"({"0":1)";
    for (std::size_t i = 1; i < n; ++i) text += fmt::format(R"(,"{}":1)", i);
    return text + "}";
  };
  const tools::JsonBounds bounds;
  const std::size_t n_beside = 8;  // the message, its six members, and the list
  EXPECT_TRUE(parse(with(list(bounds.values - n_beside))));
  EXPECT_TRUE(parse(with(object(bounds.members))));
  for (const auto& [params, why] :
       {std::pair{list(bounds.values - n_beside + 1), "it has more than 1048576 values"},
        std::pair{object(bounds.members + 1), "an object in it has more than 16384 members"},
        std::pair{std::string(100, '[') + std::string(100, ']'),
                  "it is nested deeper than 64 levels"}}) {
    const auto refused = parse(with(params));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, kParseError);
    EXPECT_EQ(refused.error().message, fmt::format("read the message: {}", why));
    EXPECT_EQ(Json::parse(error_text(nullptr, refused.error()))["id"], "mine");
  }
  EXPECT_EQ(parse(R"({"jsonrpc":"2.0","id":7,"method":"x","params":[]})").error().id, 7);
  EXPECT_EQ(parse(std::string(1'000'000, '[')).error().id, nullptr);
}

TEST(Rpc, TextsHaveNoNewlineInThem) {
  const std::string text = result_text(1, {{"text", "a\nb\xff"}});
  EXPECT_EQ(text.find('\n'), std::string::npos);
  EXPECT_EQ(Json::parse(text)["result"]["text"], "a\nb\xef\xbf\xbd");
  EXPECT_FALSE(Json::parse(error_text(nullptr, {kParseError, "x"})).contains("id"));
}

TEST(Sealed, OpensOnlyUnchangedInTimeAndForItsRequest) {
  const std::string key = fresh_key(),
                    digest = digest_of("me", "tools/call", {{"name", "t"}, {"_meta", {{"x", 1}}}});
  EXPECT_EQ(digest, digest_of("me", "tools/call",
                              {{"_meta", {{"x", 2}}},
                               {"requestState", "s"},
                               {"inputResponses", {{"a", 1}}},
                               {"name", "t"}}));
  EXPECT_NE(digest, digest_of("you", "tools/call", {{"name", "t"}}));
  EXPECT_NE(digest, digest_of("me", "prompts/get", {{"name", "t"}}));
  const Json state = {{"session", "m9bq"}};
  const std::string sealed = seal(key, digest, state, 100);
  EXPECT_EQ(unseal(key, digest, sealed, 100), state);
  EXPECT_FALSE(unseal(key, digest, sealed, 101));
  EXPECT_FALSE(unseal(key, "another", sealed, 100));
  EXPECT_FALSE(unseal(fresh_key(), digest, sealed, 100));
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    std::string changed = sealed;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(unseal(key, digest, changed, 100)) << i;
    EXPECT_FALSE(unseal(key, digest, sealed.substr(0, i), 100)) << i;
  }
}

// ---- headers

struct Case {
  const char* what;
  std::map<std::string, std::string, std::less<>> headers;
  bool fits;
};

TEST(Headers, SayWhatTheMessageSays) {
  const Json message = Json::parse(
      R"({"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"caf\u00e9","arguments":{"region":"eu","n":7,"deep":{"x":true}},
    "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}})");
  const Json tools = Json::parse(
      R"([{"name":"caf\u00e9","inputSchema":{"properties":{"region":{"type":"string","x-mcp-header":"Region"},"n":{"type":"integer","x-mcp-header":"N"},
    "deep":{"type":"object","properties":{"x":{"type":"boolean","x-mcp-header":"X"}}},"absent":{"type":"string","x-mcp-header":"Absent"}}}}])");
  const std::map<std::string, std::string, std::less<>> right = {
      {"mcp-protocol-version", "2026-07-28"},
      {"mcp-method", " tools/call\t"},
      {"mcp-name", "=?base64?Y2Fmw6k=?="},
      {"mcp-param-region", "eu"},
      {"mcp-param-n", "7.0"},
      {"mcp-param-x", "true"}};
  const auto wrong = [&](const std::map<std::string, std::string, std::less<>>& headers) {
    return header_mismatch(
        message, tools, [&](std::string_view name) -> std::optional<std::string> {
          const auto found = headers.find(name);
          return found == headers.end() ? std::nullopt : std::optional(found->second);
        });
  };
  EXPECT_FALSE(wrong(right)) << wrong(right)->message;
  for (const auto& [name, value] : right) {
    auto headers = right;
    headers.erase(name);
    ASSERT_TRUE(wrong(headers)) << name << " is missing";
    EXPECT_EQ(wrong(headers)->code, kHeaderMismatch);
    headers[name] = "TOOLS/CALL";
    EXPECT_TRUE(wrong(headers)) << name << " is another";
  }
  auto headers = right;
  headers["mcp-name"] = "=?base64?Y2Fmw6k?=";
  EXPECT_TRUE(wrong(headers)) << "no base64";
  headers = right;
  headers["mcp-param-absent"] = "x";
  EXPECT_TRUE(wrong(headers)) << "the message has none";
}

}  // namespace
}  // namespace lares::mcp::server
