#include "daemon/http/access.h"

#include <gtest/gtest.h>

namespace lares::daemon {
namespace {

unsigned refused(HttpHeaders headers, std::string_view token = "", CameOver over = CameOver::tcp) {
  const auto refusal = refuse_access({.method = "GET", .path = "/", .headers = std::move(headers)},
                                     token, over);
  return refusal ? refusal->status : 0;
}

TEST(HttpAccess, TakesThisMachineByItsNames) {
  for (const char* host : {"localhost", "LocalHost:1", "localhost:8000", "127.0.0.1",
                           "127.0.0.1:65535", "[::1]", "[::1]:80"})
    EXPECT_TRUE(is_local_host(host)) << host;
  for (const char* host :
       {"", ":", ":80", "localhost:", "localhost:x", "localhost.evil.example", "evil.example",
        "evil.example:80", "127.0.0.2", "127.0.0.1.nip.io", "[::1", "::1", "::1:80", "[::2]",
        "0.0.0.0", "localhost@evil.example", "user@localhost", " localhost", "[::1]x:80"})
    EXPECT_FALSE(is_local_host(host)) << host;
}

TEST(HttpAccess, TakesNoForeignPage) {
  EXPECT_EQ(refused({{"host", "localhost"}}), 0u);
  EXPECT_EQ(refused({{"host", "localhost"}, {"origin", "http://localhost:3000"}}), 0u);
  EXPECT_EQ(refused({{"host", "localhost"}, {"origin", "https://127.0.0.1"}}), 0u);
  EXPECT_EQ(refused({{"host", "evil.example"}}), 403u);
  for (const char* origin : {"http://evil.example", "null", "", "file://",
                             "http://localhost.evil.example", "https://localhost:80/x"})
    EXPECT_EQ(refused({{"host", "localhost"}, {"origin", origin}}), 403u) << origin;
  EXPECT_EQ(refused({{"host", "localhost"},
                     {"origin", "http://localhost"},
                     {"origin", "http://evil.example"}}),
            403u);
}

TEST(HttpAccess, TakesAnyHostAndNoForeignPageOverAUnixSocket) {
  for (const char* host : {"lares", "docker", "evil.example:80", ""})
    EXPECT_EQ(refused({{"host", host}}, "", CameOver::unix_socket), 0u) << host;
  EXPECT_EQ(
      refused({{"host", "lares"}, {"origin", "http://evil.example"}}, "", CameOver::unix_socket),
      403u);
}

TEST(HttpAccess, AsksForTheTokenWhereThereIsOne) {
  const std::string token = "0123456789abcdef";
  EXPECT_EQ(refused({}, token), 401u);
  EXPECT_EQ(refused({{"authorization", "Bearer " + token}}, token), 0u);
  EXPECT_EQ(refused({{"authorization", "bearer   " + token}}, token), 0u);
  EXPECT_EQ(refused({{"x-api-key", token}}, token), 0u);
  EXPECT_EQ(refused({{"x-api-key", token}, {"authorization", "Bearer other"}}, token), 0u);
  for (const std::string& wrong : {std::string(), token.substr(1), token + token, token + "0",
                                   token.substr(0, 15) + "0", std::string("Bearer")}) {
    EXPECT_EQ(refused({{"authorization", "Bearer " + wrong}}, token), 401u) << wrong;
    EXPECT_EQ(refused({{"x-api-key", wrong}}, token), 401u) << wrong;
  }
  EXPECT_EQ(refused({{"authorization", "Basic " + token}}, token), 401u);
  const auto without = refuse_access({.method = "GET", .path = "/", .headers = {}}, token,
                                     CameOver::tcp);
  ASSERT_TRUE(without);
  EXPECT_EQ(without->headers, (HttpHeaders{{"WWW-Authenticate", "Bearer"}}));
}

TEST(HttpAccess, LetsAnyCredentialsInWhereThereIsNone) {
  EXPECT_EQ(refused({{"authorization", "Bearer sk-whatever"}, {"x-api-key", "y"}}), 0u);
  EXPECT_EQ(refused({}), 0u);
}

TEST(HttpAccess, LooksAtTheHostBeforeTheToken) {
  EXPECT_EQ(refused({{"host", "evil.example"}}, "t"), 403u);
}

}  // namespace
}  // namespace lares::daemon
