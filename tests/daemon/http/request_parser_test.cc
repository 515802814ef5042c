#include "daemon/http/request_parser.h"

#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace lares::daemon {
namespace {

constexpr HttpLimits kSmall{.header_bytes = 512, .body_bytes = 100};

struct Parsed {
  HttpRequest request;
  unsigned refused = 0;  // 0: it was not
  std::string message, left;
  bool whole = false, keeps_alive = false, expects_continue = false;
};

// As a socket would give the bytes: `step` at a time.
Parsed parse(const std::string& bytes, std::size_t step = 1 << 20) {
  HttpRequestParser parser(kSmall);
  Parsed out;
  std::string inbox;
  std::size_t at = 0;
  while (!parser.is_done()) {
    const auto taken = parser.put(inbox);
    if (!taken) {
      out.refused = taken.error().status, out.message = taken.error().message;
      return out;
    }
    inbox.erase(0, *taken);
    if (*taken > 0) continue;
    if (at == bytes.size()) break;
    inbox += bytes.substr(at, step), at += std::min(step, bytes.size() - at);
  }
  out.whole = parser.is_done(), out.keeps_alive = parser.keeps_alive(),
  out.expects_continue = parser.expects_continue();
  out.left = inbox + bytes.substr(at);
  if (parser.has_head()) out.request = parser.take_request();
  return out;
}

std::string get(const std::string& target, const std::string& headers = "Host: localhost\r\n",
                const std::string& version = "HTTP/1.1") {
  return fmt::format("GET {} {}\r\n{}\r\n", target, version, headers);
}
std::string post(const std::string& headers, const std::string& body) {
  return fmt::format("POST /x HTTP/1.1\r\nHost: localhost\r\n{}\r\n{}", headers, body);
}

TEST(HttpRequestParser, ReadsARequestHoweverItIsCut) {
  const std::string bytes = "\r\n" + post("Content-Length: 5\r\nX-API-Key:  k \r\n", "hello");
  for (std::size_t step = 1; step <= bytes.size(); ++step) {
    const auto got = parse(bytes, step);
    ASSERT_TRUE(got.whole) << step << " " << got.message;
    EXPECT_EQ(got.request.method, "POST");
    EXPECT_EQ(got.request.path, "/x");
    EXPECT_EQ(got.request.body, "hello");
    EXPECT_EQ(got.request.header("x-api-key"), "k");
    EXPECT_TRUE(got.keeps_alive);
  }
}

TEST(HttpRequestParser, ReadsChunksHoweverTheyAreCut) {
  const std::string bytes = post("Transfer-Encoding: chunked\r\n",
                                 "3;ext=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n") +
                            "GET";
  for (std::size_t step = 1; step <= bytes.size(); ++step) {
    const auto got = parse(bytes, step);
    ASSERT_TRUE(got.whole) << step << " " << got.message;
    EXPECT_EQ(got.request.body, "abc0123456789") << step;
    EXPECT_EQ(got.left, "GET") << step;
    EXPECT_EQ(got.request.header("trailer"), "");
  }
}

TEST(HttpRequestParser, LeavesTheNextRequest) {
  const auto got = parse(post("Content-Length: 2\r\n", "ab") + get("/next"));
  EXPECT_EQ(got.request.body, "ab");
  EXPECT_EQ(got.left, get("/next"));
}

TEST(HttpRequestParser, SplitsPathAndQuery) {
  EXPECT_EQ(parse(get("/v1/messages?beta=true&x=?")).request.query, "beta=true&x=?");
  EXPECT_EQ(parse(get("/v1/messages?beta=true")).request.path, "/v1/messages");
  EXPECT_EQ(parse(get("/?")).request.query, "");
}

TEST(HttpRequestParser, TakesTheHostOfAWholeUrl) {
  const auto got = parse(get("http://evil.example/v1?x"));
  EXPECT_EQ(got.request.header("host"), "evil.example");
  EXPECT_EQ(got.request.path, "/v1");
  EXPECT_EQ(parse(get("http://evil.example/v1", "", "HTTP/1.0")).request.header("host"),
            "evil.example");
}

// RFC 9110 5.5: opaque
TEST(HttpRequestParser, TakesBytesBeyondAsciiInAHeadersValue) {
  const auto got = parse(get("/", "Host: localhost\r\nX-Latin: caf\xe9\r\nX-Utf: caf\xc3\xa9\r\n"));
  ASSERT_TRUE(got.whole) << got.message;
  EXPECT_EQ(got.request.header("x-latin"), "caf\xef\xbf\xbd");
  EXPECT_EQ(got.request.header("x-utf"), "caf\xc3\xa9");
}

TEST(HttpRequestParser, SaysWhetherTheConnectionGoesOn) {
  EXPECT_FALSE(parse(get("/", "Host: localhost\r\nConnection: close\r\n")).keeps_alive);
  EXPECT_FALSE(parse(get("/", "", "HTTP/1.0")).keeps_alive);
  EXPECT_TRUE(parse(get("/", "Connection: keep-alive\r\n", "HTTP/1.0")).keeps_alive);
}

TEST(HttpRequestParser, WaitsForLeaveToSendTheBody) {
  EXPECT_TRUE(parse(post("Content-Length: 5\r\nExpect: 100-continue\r\n", "")).expects_continue);
  EXPECT_FALSE(parse(get("/", "Host: localhost\r\nExpect: 100-continue\r\n")).expects_continue);
}

TEST(HttpRequestParser, TheHeadsLimitIsExactWhereverItIsCut) {
  std::string most = "GET / HTTP/1.1\r\n";
  for (int i = 0; i < 20; ++i) most += fmt::format("X{}: y\r\n", i);
  most += "Host: ";
  most += std::string(kSmall.header_bytes - most.size() - 4, 'h') + "\r\n\r\n";
  std::string more = most;
  more.insert(more.end() - 4, 'h');
  ASSERT_EQ(most.size(), kSmall.header_bytes);
  for (const std::size_t step : {1u, 7u, 100u, 5000u}) {
    SCOPED_TRACE(step);
    EXPECT_EQ(parse(most, step).refused, 0u);
    EXPECT_EQ(parse(more, step).refused, 431u);
  }
}

TEST(HttpRequestParser, RefusesWithTheStatusThatSaysWhy) {
  const struct {
    unsigned status;
    std::string bytes;
  } cases[] = {
      {400, "GET /\r\n\r\n"},
      {400, "GET / HTTP/1.1\r\nno colon\r\n\r\n"},
      {400, "G\x01T / HTTP/1.1\r\nHost: localhost\r\n\r\n"},
      {400, get("/", "")},
      {400, get("/", "Host: localhost\r\nHost: localhost\r\n")},
      {400, get("relative")},
      {400, get("/caf\xc3\xa9")},
      {400, get("http://evil.example")},
      {400, get("http://ev\xfel/")},
      {400, get("/", "Host: localhost\r\nX: \x01\r\n")},
      {505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
      {431, get("/", fmt::format("Host: localhost\r\nX: {:x<600}\r\n", ""))},
      {431, get(fmt::format("/{:x<600}", ""))},
      {413, post("Content-Length: 101\r\n", "")},
      {413, post("Transfer-Encoding: chunked\r\n", fmt::format("65\r\n{:x<101}\r\n0\r\n\r\n", ""))},
      {400, post("Content-Length: 5x\r\n", "")},
      {400, post("Content-Length: 5\r\nContent-Length: 6\r\n", "")},
      {400, post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "")},
      {400, post("Transfer-Encoding: chunked\r\n", "zz\r\n")},
      {400, post("Transfer-Encoding: chunked\r\n", "3\r\nabcd\r\n0\r\n\r\n")},
      {400, post("Transfer-Encoding: chunked\r\n", "ffffffffffffffffff\r\n")},
      {501, post("Transfer-Encoding: gzip\r\n", "")},
      {501, post("Transfer-Encoding: gzip, chunked\r\n", "")},
      {415, post("Content-Encoding: zstd\r\nContent-Length: 1\r\n", "x")},
      {417, post("Expect: wonders\r\nContent-Length: 1\r\n", "x")},
  };
  for (const auto& c : cases) {
    for (const std::size_t step : {std::size_t{1}, std::size_t{1} << 20}) {
      const auto got = parse(c.bytes, step);
      EXPECT_EQ(got.refused, c.status)
          << c.bytes.substr(0, 80) << " by " << step << ": " << got.message;
      EXPECT_EQ(got.message.find('\n'), std::string::npos);
    }
  }
}

TEST(HttpRequestParser, TakesJustWhatTheLimitsAllow) {
  EXPECT_TRUE(parse(post("Content-Length: 100\r\n", std::string(100, 'x'))).whole);
  EXPECT_TRUE(parse(post("Transfer-Encoding: chunked\r\n",
                         "64\r\n" + std::string(100, 'x') + "\r\n0\r\n\r\n"))
                  .whole);
  EXPECT_TRUE(parse(get("/", "Host: localhost\r\nX: " + std::string(400, 'x') + "\r\n")).whole);
}

}  // namespace
}  // namespace lares::daemon
