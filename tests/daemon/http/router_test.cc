#include "daemon/http/router.h"

#include <stdexcept>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace lares::daemon {
namespace {

HttpHandler handler() {
  return [](Exchange&) -> asio::awaitable<void> { co_return; };
}

TEST(Router, FindsByMethodAndPath) {
  Router router;
  router.add("GET", "/v1/models", handler());
  router.add("POST", "/v1/responses", handler());
  EXPECT_TRUE(router.find("GET", "/v1/models").handler);
  EXPECT_TRUE(router.find("HEAD", "/v1/models").handler);
  EXPECT_TRUE(router.find("POST", "/v1/responses").handler);
  EXPECT_FALSE(router.find("HEAD", "/v1/responses").handler);
  for (const char* unknown : {"/", "", "/v1", "/v1/models/", "/v1/models/x", "/V1/models"}) {
    EXPECT_FALSE(router.find("GET", unknown).handler) << unknown;
    EXPECT_EQ(router.find("GET", unknown).allow, "") << unknown;
  }
}

TEST(Router, SaysWhatAPathTakes) {
  Router router;
  router.add("POST", "/mcp", handler());
  router.add("GET", "/mcp", handler());
  EXPECT_EQ(router.find("DELETE", "/mcp").allow, "GET, HEAD, POST");
}

TEST(Router, TakesOneSegmentWhereOneIsNamed) {
  Router router;
  router.add("GET", "/v1/models/{model}", handler());
  router.add("GET", "/v1/models/all", handler());
  const auto* const named = router.find("GET", "/v1/models/deepseek-v4-flash").handler;
  EXPECT_TRUE(named);
  EXPECT_NE(router.find("GET", "/v1/models/all").handler, named);
  EXPECT_FALSE(router.find("GET", "/v1/models/").handler);
  EXPECT_FALSE(router.find("GET", "/v1/models/a/b").handler);
}

TEST(Router, RefusesTwoHandlersForOneThing) {
  Router router;
  router.add("GET", "/v1/models/{model}", handler());
  EXPECT_THROW(router.add("GET", "/v1/models/{id}", handler()), std::logic_error);
}

TEST(Router, RefusesInTheWordsOfTheDialect) {
  Router router;
  const auto openai = nlohmann::json::parse(router.refusal("/x", 404, "no \xff such path").body);
  EXPECT_EQ(openai["error"]["message"], "no \xEF\xBF\xBD such path");
  EXPECT_EQ(openai["error"]["type"], "invalid_request_error");
  router.shape_errors("/anthropic", [](unsigned, std::string_view) { return "anthropic"; });
  router.shape_errors("/anthropic/v2",
                      [](unsigned status, std::string_view) { return std::to_string(status); });
  EXPECT_EQ(router.refusal("/anthropic", 401, "").body, "anthropic");
  EXPECT_EQ(router.refusal("/anthropic/v1/messages", 401, "").body, "anthropic");
  EXPECT_EQ(router.refusal("/anthropic/v2/messages", 401, "").body, "401");
  EXPECT_NE(router.refusal("/anthropics", 401, "").body, "anthropic");
}

TEST(Router, DecodesTheLastSegment) {
  EXPECT_EQ(last_segment("/v1/models/deepseek-v4-flash"), "deepseek-v4-flash");
  EXPECT_EQ(last_segment("/v1/models/a%2Fb%20c"), "a/b c");
  EXPECT_EQ(last_segment("/x/%"), "%");
  EXPECT_EQ(last_segment("/x/%4"), "%4");
  EXPECT_EQ(last_segment("/x/%zz%41"), "%zzA");
  EXPECT_EQ(last_segment("/x/%ff%C3%A9"), "\xEF\xBF\xBD\xC3\xA9");
  EXPECT_EQ(last_segment("/x/"), "");
  EXPECT_EQ(last_segment("x"), "x");
}

}  // namespace
}  // namespace lares::daemon
