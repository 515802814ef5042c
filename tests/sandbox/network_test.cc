// The list of allowed hosts, and the proxy that keeps to it. Everything here is on loopback:
// nothing leaves the machine.
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include <gtest/gtest.h>

#include "sandbox/network.h"
#include "tests/sandbox/run.h"

namespace lares::sandbox::test {
namespace {

bool allowed(const std::vector<std::string>& rules, const std::string& host_and_port) {
  return AllowList::parse(rules).value().allows(parse_target(host_and_port, 0));
}

TEST(AllowList, ANameIsThatNameOnTheWebsPorts) {
  const std::vector<std::string> rules = {"Example.com", "git.example.org:9418", "*.npmjs.org",
                                          "10.0.0.7:8080", "[2001:db8::7]:443"};
  for (const char* yes :
       {"example.com:443", "EXAMPLE.com:80", "example.com.:443", "git.example.org:9418",
        "registry.npmjs.org:443", "a.b.npmjs.org:80", "10.0.0.7:8080", "[2001:db8::7]:443"})
    EXPECT_TRUE(allowed(rules, yes)) << yes;
  for (const char* no :
       {"example.com:22", "www.example.com:443", "example.com.evil:443", "evilexample.com:443",
        "git.example.org:443", "npmjs.org:443", "evilnpmjs.org:443", "10.0.0.7:80",
        "[2001:db8::8]:443", "example.com", "example.com:0", "example.com:99999", ":443", ""})
    EXPECT_FALSE(allowed(rules, no)) << no;
}

TEST(AllowList, NamesThatAResolverCouldReadOtherwiseAreNone) {
  for (const std::string& text :
       {std::string("evil\0.example.com:443", 21), std::string("a@example.com:443"),
        std::string("a_b.example.com:443"), std::string("exa mple.com:443"),
        std::string("example.com%00:443"), std::string("..example.com:443"),
        std::string("ex\xc3\xa4mple.com:443"), std::string("[::1%eth0]:443"),
        std::string("[::1]x:443"), std::string("::1:443"), std::string(300, 'a') + ":443",
        std::string("example.com:443x"), std::string("example.com:-1")})
    EXPECT_EQ(parse_target(text, 0).host, "") << text;
}

TEST(AllowList, RulesThatMeanEverythingAreRefused) {
  for (const char* rule : {"*", "*.com", "*.", "", "http://example.com", "example.com/x",
                           "*.1.2.3.4", "a*.example.com", "example.com:"}) {
    const auto parsed = AllowList::parse({rule});
    ASSERT_FALSE(parsed) << rule;
    EXPECT_EQ(parsed.error().code, Errc::refused);
  }
  EXPECT_FALSE(AllowList::parse(std::vector<std::string>(kRulesMax + 1, "example.com")));
}

TEST(AllowList, OnlyPublicAddressesArePublic) {
  for (const char* yes :
       {"1.1.1.1", "93.184.216.34", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.0",
        "198.17.255.255", "198.20.0.0", "192.0.1.0", "223.255.255.255", "2606:4700::1111",
        "64:ff9b::101:101", "::ffff:1.1.1.1", "2002:101:101::1"})
    EXPECT_TRUE(is_public(asio::ip::make_address(yes))) << yes;
  for (const char* no : {"127.0.0.1",
                         "127.1.2.3",
                         "0.0.0.0",
                         "10.1.2.3",
                         "172.16.0.1",
                         "172.31.255.255",
                         "192.168.1.1",
                         "169.254.169.254",
                         "100.64.0.1",
                         "100.127.255.255",
                         "192.0.0.8",
                         "192.0.2.1",
                         "192.88.99.1",
                         "198.18.0.1",
                         "198.19.255.255",
                         "198.51.100.1",
                         "203.0.113.1",
                         "239.255.255.255",
                         "240.0.0.1",
                         "224.0.0.1",
                         "255.255.255.255",
                         "::",
                         "::1",
                         "fe80::1",
                         "fd00::1",
                         "fc00::1",
                         "ff02::1",
                         "::ffff:127.0.0.1",
                         "64:ff9b::7f00:1",
                         "2002:7f00:1::",
                         "2002:a9fe:a9fe::",
                         "2001:db8::1",
                         "2001::1"})
    EXPECT_FALSE(is_public(asio::ip::make_address(no))) << no;
}

TEST(AllowList, OtherAddressesOnlyWhenListedThemselves) {
  const auto list =
      AllowList::parse({"127.0.0.1:8080", "internal.example.com", "10.0.0.5"}).value();
  EXPECT_TRUE(list.allows_address(asio::ip::make_address("127.0.0.1"), 8080));
  EXPECT_FALSE(list.allows_address(asio::ip::make_address("127.0.0.1"), 8081));
  EXPECT_FALSE(list.allows_address(asio::ip::make_address("127.0.0.2"), 8080));
  // Where internal.example.com may lead
  EXPECT_TRUE(list.allows_address(asio::ip::make_address("10.0.0.5"), 443));
  EXPECT_FALSE(list.allows_address(asio::ip::make_address("10.0.0.5"), 22));
  EXPECT_FALSE(list.allows_address(asio::ip::make_address("10.0.0.6"), 443));
}

// Answers one connection after the other with what it was sent, up to the blank line and a body of
// `Content-Length`.
class EchoServer {
 public:
  EchoServer() {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {}};
    socklen_t size = sizeof address;
    if (::bind(fd_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(fd_, 8) != 0)
      std::abort();
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
    port = ntohs(address.sin_port);
    thread_ = std::thread([this] {
      for (int client; (client = ::accept(fd_, nullptr, nullptr)) >= 0; ::close(client))
        answer(client);
    });
  }
  ~EchoServer() {
    ::shutdown(fd_, SHUT_RDWR);
    thread_.join();
    ::close(fd_);
  }
  std::string at() const { return "127.0.0.1:" + std::to_string(port); }
  int port = 0;

 private:
  static void answer(int client) {
    std::string text;
    char buffer[4096];
    std::size_t needed = std::string::npos;
    while (text.size() < needed) {
      const auto n = ::recv(client, buffer, sizeof buffer, 0);
      if (n <= 0) return;
      text.append(buffer, static_cast<std::size_t>(n));
      const auto end = text.find("\r\n\r\n");
      if (end == text.npos) continue;
      const auto length = text.find("Content-Length: ");
      needed = end + 4 + (length < end ? std::stoul(text.substr(length + 16)) : 0);
    }
    // Whatever was sent beyond it is on its way by now, if it is let through at all.
    ::usleep(50'000);
    const auto n = ::recv(client, buffer, sizeof buffer, MSG_DONTWAIT);
    if (n > 0) text.append(buffer, static_cast<std::size_t>(n));
    const auto reply = "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(text.size()) +
                       "\r\n\r\n" + text;
    (void)!::send(client, reply.data(), reply.size(), MSG_NOSIGNAL);
  }
  int fd_;
  std::thread thread_;
};

// Sends `bytes` (a Python literal) to the proxy and prints what comes back until the end.
std::string raw(const std::string& bytes) {
  return "import socket\ns = socket.create_connection(('127.0.0.1', 3128))\ns.sendall(" + bytes +
         ")\nout = b''\nwhile True:\n  part = s.recv(65536)\n  if not part: break\n  out += "
         "part\nprint(out.decode('latin-1'))\n";
}

struct Told {
  std::vector<NetworkDecision> decisions;
};

Ran ask(const std::string& python, const std::vector<std::string>& allow, Told* told = nullptr) {
  const Scratch scratch;
  scratch.write("ask.py", python);
  auto options = in(scratch);
  options.policy.network_allow = allow;
  if (told)
    options.policy.on_network = [told](const NetworkDecision& decision) {
      told->decisions.push_back(decision);
    };
  return run({"/usr/bin/env", "python3", "ask.py"}, options);
}

#define NEEDS_SANDBOX \
  if (!why_not().empty()) GTEST_SKIP() << why_not()

TEST(Proxy, PassesOnAPlainRequest) {
  NEEDS_SANDBOX;
  const EchoServer server;
  Told told;
  const auto ran = ask(
      raw("b'POST http://" + server.at() +
          "/a?b=c HTTP/1.1\\r\\nHost: other.example\\r\\nProxy-Authorization: x\\r\\nX-Own: y\\r\\n"
          "Content-Length: 3\\r\\n\\r\\nabc'"),
      {server.at()}, &told);
  EXPECT_EQ(ran.output.substr(0, 15), "HTTP/1.1 200 OK") << ran.error << ran.output;
  EXPECT_NE(
      ran.output.find("POST /a?b=c HTTP/1.1\r\nHost: " + server.at() + "\r\nConnection: close\r\n"),
      std::string::npos)
      << ran.output;
  EXPECT_NE(ran.output.find("X-Own: y\r\n"), std::string::npos);
  EXPECT_NE(ran.output.find("\r\n\r\nabc"), std::string::npos);
  EXPECT_EQ(ran.output.find("other.example"), std::string::npos)
      << "the host that was looked at is the one that is named";
  EXPECT_EQ(ran.output.find("Proxy-"), std::string::npos);
  ASSERT_EQ(told.decisions.size(), 1u);
  EXPECT_TRUE(told.decisions[0].allowed);
  EXPECT_EQ(told.decisions[0].port, server.port);
}

TEST(Proxy, PassesOnOneRequestOfAConnection) {
  NEEDS_SANDBOX;
  const EchoServer server;
  const auto one = "GET http://" + server.at() + "/first HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n";
  const auto ran = ask(
      raw("b'" + one + "GET /second HTTP/1.1\\r\\nHost: hidden.example\\r\\n\\r\\n'"),
      {server.at()});
  EXPECT_NE(ran.output.find("/first"), std::string::npos) << ran.output;
  EXPECT_EQ(ran.output.find("/second"), std::string::npos) << ran.output;
}

TEST(Proxy, TunnelsBytesBothWays) {
  NEEDS_SANDBOX;
  const EchoServer server;
  // The request comes in one piece with CONNECT, before any answer.
  const auto ran = ask(
      raw("b'CONNECT " + server.at() +
          " HTTP/1.1\\r\\nHost: x\\r\\n\\r\\nGET /in-the-tunnel HTTP/1.1\\r\\n\\r\\n'"),
      {server.at()});
  EXPECT_NE(ran.output.find("HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 200 OK\r\n"),
            std::string::npos)
      << ran.error << ran.output;
  EXPECT_NE(ran.output.find("GET /in-the-tunnel"), std::string::npos) << ran.output;
}

TEST(Proxy, ServesManyConnectionsAtATime) {
  NEEDS_SANDBOX;
  const EchoServer server;
  const auto ran = ask(
      "import socket\nall = [socket.create_connection(('127.0.0.1', 3128)) for i in range(100)]\n"
      "for s in all[:50]: s.close()\n"
      "for s in all[50:]:\n  s.sendall(b'GET http://" +
          server.at() +
          "/ HTTP/1.1\\r\\n\\r\\n')\n"
          "print(sum(s.recv(15) == b'HTTP/1.1 200 OK' for s in all[50:]))\n",
      {server.at()});
  EXPECT_EQ(ran.output, "50\n") << ran.error;
}

struct Denial {
  const char* name;
  const char* request;  // %P: the server's port
  const char* answer;
};
class ProxyDenies : public testing::TestWithParam<Denial> {};

TEST_P(ProxyDenies, It) {
  NEEDS_SANDBOX;
  const EchoServer server;
  std::string request = GetParam().request;
  for (auto at = request.find("%P"); at != request.npos; at = request.find("%P"))
    request.replace(at, 2, std::to_string(server.port));
  Told told;
  // Listed: the name of this machine, which leads where no name may lead, and a host that does not
  // exist.
  const auto ran = ask(raw("b'" + request + "'"),
                       {"localhost:" + std::to_string(server.port), "ok.example.com"}, &told);
  EXPECT_EQ(ran.output.substr(0, std::string(GetParam().answer).size()), GetParam().answer)
      << ran.error << ran.output;
  EXPECT_NE(ran.output.find("\r\n\r\nlares: "), std::string::npos) << ran.output;
  for (const auto& decision : told.decisions) EXPECT_FALSE(decision.allowed) << decision.host;
}

INSTANTIATE_TEST_SUITE_P(
    , ProxyDenies,
    testing::Values(
        Denial{"AHostThatIsNotListed", "CONNECT evil.example:443 HTTP/1.1\\r\\n\\r\\n",
               "HTTP/1.1 403"},
        Denial{"AnotherPort", "CONNECT ok.example.com:22 HTTP/1.1\\r\\n\\r\\n", "HTTP/1.1 403"},
        Denial{"ANameThatLeadsHere", "CONNECT localhost:%P HTTP/1.1\\r\\n\\r\\n", "HTTP/1.1 403"},
        Denial{"ThisMachinesAddress", "CONNECT 127.0.0.1:%P HTTP/1.1\\r\\n\\r\\n", "HTTP/1.1 403"},
        Denial{"ItsShortForm", "GET http://127.1:%P/ HTTP/1.1\\r\\n\\r\\n", "HTTP/1.1 403"},
        Denial{"ItsHexForm", "GET http://0x7f.1:%P/ HTTP/1.1\\r\\n\\r\\n", "HTTP/1.1 403"},
        Denial{"ItsMappedForm", "CONNECT [::ffff:127.0.0.1]:%P HTTP/1.1\\r\\n\\r\\n",
               "HTTP/1.1 403"},
        Denial{"TheMetadataAddress", "GET http://169.254.169.254/ HTTP/1.1\\r\\n\\r\\n",
               "HTTP/1.1 403"},
        Denial{"ASuffix", "CONNECT ok.example.com.evil:443 HTTP/1.1\\r\\n\\r\\n", "HTTP/1.1 403"},
        Denial{"ANulInTheName", "CONNECT evil\\x00.ok.example.com:443 HTTP/1.1\\r\\n\\r\\n",
               "HTTP/1.1 400"},
        Denial{"AUserInTheTarget", "GET http://ok.example.com@evil.example/ HTTP/1.1\\r\\n\\r\\n",
               "HTTP/1.1 400"},
        Denial{"ATargetWithoutAHost", "GET / HTTP/1.1\\r\\nHost: ok.example.com\\r\\n\\r\\n",
               "HTTP/1.1 400"},
        Denial{"AnotherScheme", "GET ftp://ok.example.com/ HTTP/1.1\\r\\n\\r\\n", "HTTP/1.1 400"},
        Denial{"ABodyOfUnknownLength",
               "POST http://ok.example.com/ HTTP/1.1\\r\\nTransfer-Encoding: "
               "chunked\\r\\n\\r\\n0\\r\\n\\r\\n",
               "HTTP/1.1 400"},
        Denial{"Nonsense", "\\x16\\x03\\x01\\x02\\x00\\x01\\r\\n\\r\\n", "HTTP/1.1 400"}),
    [](const auto& tested) { return tested.param.name; });

TEST(Proxy, ADenialSaysHowToAllowIt) {
  NEEDS_SANDBOX;
  Told told;
  const auto ran = ask(raw("b'CONNECT evil.example:8443 HTTP/1.1\\r\\n\\r\\n'"), {"ok.example.com"},
                       &told);
  EXPECT_NE(ran.output.find("lares: evil.example:8443 is not among the hosts that commands may "
                            "reach here; only the user can allow it, by adding evil.example:8443 "),
            std::string::npos)
      << ran.output;
  ASSERT_EQ(told.decisions.size(), 1u);
  EXPECT_EQ(told.decisions[0].host, "evil.example");
  EXPECT_EQ(told.decisions[0].why, "not listed");
}

// Somebody listens at ::1 whose queue is full: what comes then is dropped, as by a firewall.
class Silent {
 public:
  explicit Silent(int port) {
    const sockaddr_in6 address{AF_INET6, htons(static_cast<std::uint16_t>(port)), 0,
                               IN6ADDR_LOOPBACK_INIT, 0};
    const int listener = socket();
    const int alone = 1;
    ::setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &alone, sizeof alone);
    if (::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener, 0) != 0)
      return;
    for (int i = 0; i < 8; ++i)  // the kernel takes one or two beyond the 0
      (void)!::connect(socket(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
    listens = true;
  }
  ~Silent() {
    for (const int fd : fds_) ::close(fd);
  }
  bool listens = false;

 private:
  int socket() {
    return fds_.emplace_back(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  }
  std::vector<int> fds_;
};

bool leads_to_ipv6_first(const char* name) {
  addrinfo wanted{}, *found = nullptr;
  wanted.ai_socktype = SOCK_STREAM;
  if (::getaddrinfo(name, nullptr, &wanted, &found) != 0) return false;
  const bool first = found->ai_family == AF_INET6 && found->ai_next;
  ::freeaddrinfo(found);
  return first;
}

TEST(Proxy, ASilentAddressHidesNoneThatAnswers) {
  NEEDS_SANDBOX;
  if (!leads_to_ipv6_first("localhost")) GTEST_SKIP() << "localhost is no IPv6 address here";
  const EchoServer server;
  const Silent silent(server.port);
  if (!silent.listens) GTEST_SKIP() << "the port is taken at ::1";
  const auto port = std::to_string(server.port);
  const auto ran = ask(raw("b'GET http://localhost:" + port + "/ HTTP/1.1\\r\\n\\r\\n'"),
                       {"localhost:" + port, server.at(), "[::1]:" + port});
  EXPECT_EQ(ran.output.substr(0, 15), "HTTP/1.1 200 OK") << ran.error << ran.output;
}

TEST(Proxy, IsTheOnlyWayOut) {
  NEEDS_SANDBOX;
  const EchoServer server;
  const auto ran = ask(
      "import os, socket\n"
      "for to in (('127.0.0.1', " +
          std::to_string(server.port) +
          "), ('192.0.2.1', 80)):\n"
          "  try: socket.create_connection(to, 2); print('reached', to)\n"
          "  except OSError as e: print('no')\n"
          "try: socket.getaddrinfo('example.com', 443); print('resolved')\n"
          "except OSError as e: print('no')\n"
          "print(sorted(n for n in os.listdir('/sys/class/net')) == ['lo'] or "
          "open('/proc/net/dev').read().count(':') == 1)\n"
          "print(os.environ['HTTPS_PROXY'], os.environ['no_proxy'])\n",
      {server.at()});
  EXPECT_EQ(ran.output, "no\nno\nno\nTrue\nhttp://127.0.0.1:3128 localhost,127.0.0.1,::1\n")
      << ran.error;
}

TEST(Proxy, IsNotThereWithoutAList) {
  NEEDS_SANDBOX;
  const auto ran = ask(
      "import os, socket\nprint(os.environ.get('HTTP_PROXY'))\n"
      "try: socket.create_connection(('127.0.0.1', 3128), 2); print('reached')\n"
      "except OSError as e: print('no')\n",
      {});
  EXPECT_EQ(ran.output, "None\nno\n") << ran.error;
}

TEST(Proxy, EndsWithTheCommand) {
  NEEDS_SANDBOX;
  const EchoServer server;
  // A tunnel is open and nothing comes: the test would hang here if it outlived the command.
  const auto ran = ask(
      "import socket\ns = socket.create_connection(('127.0.0.1', 3128))\ns.sendall(b'CONNECT " +
          server.at() + " HTTP/1.1\\r\\n\\r\\n')\nprint(s.recv(12))\n",
      {server.at()});
  EXPECT_EQ(ran.output, "b'HTTP/1.1 200'\n") << ran.error;
}

TEST(Proxy, AListThatMakesNoSenseIsRefused) {
  const auto ran = ask("", {"*"});
  EXPECT_EQ(ran.error.substr(0, 26), "refused: sandbox network: ") << ran.error;
}

}  // namespace
}  // namespace lares::sandbox::test
