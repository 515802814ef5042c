// Damaged requests: every mutation is refused in one line or gives requests, the same ones however
// its bytes are cut, and never a crash.
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "daemon/http/access.h"
#include "daemon/http/request_parser.h"
#include "daemon/http/router.h"
#include "daemon/utf8.h"
#include "tests/fuzz.h"

namespace lares::daemon {
namespace {

constexpr HttpLimits kSmall{.header_bytes = 400, .body_bytes = 300};

const std::string kSeeds[] = {
    "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "POST /v1/messages?beta=true HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nContent-Type: "
    "application/json\r\nx-api-key: k\r\nContent-Length: 17\r\n\r\n{\"model\": \"nano\"}",
    "POST /v1/chat/completions HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\nExpect: "
    "100-continue\r\n\r\n4;a=b\r\n{\"a\"\r\n1a\r\n:1, \"b\": [\"c\", \"\xc3\xa9\", "
    "1e9]}\r\n0\r\nT: x\r\n\r\n",
    "HEAD http://localhost/v1/models/a%2Fb HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / "
    "HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\n\r\n",
};
const fuzz::Damage kDamage{
    {fuzz::change_byte, fuzz::flip_bit, fuzz::erase_some, fuzz::copy_up_to(200), fuzz::cut_off,
     fuzz::insert_one_of({"\r\n",
                          "\r\n\r\n",
                          "\n",
                          "\r",
                          "0\r\n\r\n",
                          "Content-Length: 5\r\n",
                          "Content-Length: 18446744073709551616\r\n",
                          "Transfer-Encoding: chunked\r\n",
                          "Transfer-Encoding: gzip, chunked\r\n",
                          "Host: evil.example\r\n",
                          " HTTP/1.1",
                          " HTTP/2.0",
                          "ffffffffffffffff\r\n",
                          "-1",
                          "99999999999999999999",
                          "://",
                          "\xff",
                          "\xc3\xa9",
                          std::string(1, '\0'),
                          ": ",
                          " ",
                          "\t",
                          "chunked",
                          "identity",
                          "*",
                          "?",
                          "/{x}",
                          "%",
                          "Upgrade: websocket\r\nConnection: Upgrade\r\n"})}};

struct Outcome {
  std::vector<std::string> requests;
  unsigned refused = 0;
};

// A connection's way with them: one request after the other, until one is refused, or the bytes are
// at an end.
Outcome parse(const std::string& bytes, std::size_t step_max, fuzz::Random& random,
              const Router& router) {
  Outcome out;
  std::string inbox;
  std::size_t at = 0;
  for (;;) {
    HttpRequestParser parser(kSmall);
    while (!parser.is_done()) {
      const auto taken = parser.put(inbox);
      if (!taken) {
        EXPECT_GE(taken.error().status, 400u);
        EXPECT_EQ(taken.error().message.find('\n'), std::string::npos) << taken.error().message;
        out.refused = taken.error().status;
        return out;
      }
      EXPECT_LE(*taken, inbox.size());
      inbox.erase(0, *taken);
      if (*taken > 0) continue;
      if (at == bytes.size()) return out;
      const std::size_t step = std::min<std::size_t>(1 + random() % step_max, bytes.size() - at);
      inbox += bytes.substr(at, step), at += step;
    }
    const HttpRequest request = parser.take_request();
    EXPECT_TRUE(request.path.starts_with('/') || request.path == "*") << request.path;
    EXPECT_LE(request.body.size(), kSmall.body_bytes);
    std::string all = request.method + " " + request.path + "?" + request.query + "\n" +
                      last_segment(request.path);
    for (const auto& [name, value] : request.headers) all += "\n" + name + ": " + value;
    EXPECT_EQ(valid_utf8(all), all) << testing::PrintToString(all);
    if (const auto refusal = refuse_access(request, "token", CameOver::tcp))
      all += std::to_string(refusal->status) +
             router.refusal(request.path, refusal->status, refusal->message).body;
    out.requests.push_back(all + "\n" + request.body);
  }
}

TEST(HttpRequestFuzz, DamageIsRefusedOrGivesRequests) {
  const Router router;
  std::size_t n_refused = 0, n_requests = 0;
  const auto once = [&](fuzz::Random& random) {
    std::string bytes;
    for (auto left = 1 + random() % 3; left-- > 0;)
      bytes += kDamage(kSeeds[random() % std::size(kSeeds)], random);
    const auto whole = parse(bytes, 1 << 20, random, router),
               cut = parse(bytes, 1 + random() % 40, random, router);
    // The statuses may differ: what is wrong twice is refused for what is seen first.
    EXPECT_EQ(whole.requests, cut.requests) << testing::PrintToString(bytes);
    n_refused += whole.refused != 0, n_requests += whole.requests.size();
  };
  const std::size_t n = fuzz::repeat({.seconds = 2}, once);
  std::printf("%zu mutations: %zu refused, %zu requests\n", n, n_refused, n_requests);
  EXPECT_GT(n_refused, 0u);
  EXPECT_GT(n_requests, 0u);
}

}  // namespace
}  // namespace lares::daemon
