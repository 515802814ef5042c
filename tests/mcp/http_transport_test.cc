// The MCP client over Streamable HTTP against a scripted server on a real socket, in both eras.
#include "mcp/http_transport.h"

#include <unistd.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/thread_pool.hpp>
#include <thread>

#include "tests/mcp/tools_case.h"

namespace lares::mcp {
namespace {

class Http : public ToolsCase {
 protected:
  void SetUp() override {
    ToolsCase::SetUp();
    limits_.probe_timeout_ms = 20'000;
  }
  // Starts a server that misbehaves in this way, and the tools over it.
  void use(const std::string& mode, Headers headers = {},
           const std::string& host = "http://localhost", const std::string& certificate = "",
           const std::string& path = "/mcp") {
    ServerConfig process{"http",
                         "python3",
                         "",
                         {LARES_SOURCE_DIR "/tests/mcp/http_server.py", mode, log_path()},
                         {}};
    if (!certificate.empty()) process.args.push_back(certificate);
    auto child = start_child(process, {"/", LARES_LAUNCHER});
    ASSERT_TRUE(child) << child.error();
    char digits[16] = {};
    while (::read(child->out, digits, sizeof digits - 1) <= 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    server_ = std::move(child->tree);
    ServerConfig remote{.name = "remote",
                        .url = host + ":" + std::to_string(std::stoi(digits)) + path,
                        .headers = std::move(headers)};
    ToolsCase::use({dir_.string(), ""}, Config{{remote}, {}});
  }

  std::string call(const std::string& tool, json arguments = json::object()) {
    return call_on("remote", tool, std::move(arguments)).text;
  }

  Tree server_;
};

TEST_F(Http, BothErasAreSpoken) {
  for (const char* mode : {"modern", "legacy", "legacy_no_get", "modern_drip", "legacy_drip"}) {
    SCOPED_TRACE(mode);
    std::filesystem::remove(log_path());
    use(mode, {{"X-Token", "t"}});
    EXPECT_EQ(call("echo", {{"text", "hello"}}), "hello");
    EXPECT_EQ(call("stream"), "streamed \xc3\xa9");
    EXPECT_THAT(search("echo").text, HasSubstr("remote echo: echo"));
    EXPECT_EQ(n_logged("POST initialize "), mode[0] == 'l');
    EXPECT_THAT(log(), HasSubstr("\"x-token\": \"t\""));
    EXPECT_THAT(log(), HasSubstr("\"accept\": \"application/json, text/event-stream\""));
  }
}

TEST_F(Http, ModernArgumentsAreRepeatedInHeaders) {
  use("modern");
  EXPECT_EQ(call("headers", {{"region", "eu"}}), R"({"mcp-param-region": "eu"})");
  EXPECT_EQ(call("headers", {{"region", "\xc3\xa9"}}),
            R"({"mcp-param-region": "=?base64?w6k=?="})");
  EXPECT_EQ(call("headers"), "{}");
  EXPECT_EQ(n_logged("POST tools/list "), 1);
  EXPECT_THAT(search("broken").text, Not(HasSubstr("remote broken")));
  EXPECT_THAT(call("broken"), HasSubstr("the tool cannot be used: its schema of \"region\" has an "
                                        "x-mcp-header on something other than"));
}

TEST_F(Http, ASchemaThatChangedIsAskedForAgain) {
  use("modern_renamed");
  EXPECT_EQ(call("headers", {{"region", "eu"}}), R"({"mcp-param-area": "eu"})");
  EXPECT_EQ(n_logged("POST tools/list "), 2);
}

TEST_F(Http, ChangesAreHeardInBothEras) {
  for (const char* mode : {"modern", "legacy"}) {
    SCOPED_TRACE(mode);
    std::filesystem::remove(log_path());
    use(mode);
    EXPECT_THAT(search("").text, Not(HasSubstr("grown")));
    wait_for_log("listening");
    EXPECT_EQ(call("grow"), "grown");
    while (search("grown").text.find("remote grown: grown") == std::string::npos) {
    }
  }
}

TEST_F(Http, AClosedStreamCancelsAModernCall) {
  use("modern");
  search("");
  boost::asio::cancellation_signal cancel;
  std::optional<Result<Outcome>> result;
  boost::asio::co_spawn(
      io_,
      tools_[1]->run({{"server", "remote"}, {"tool", "quiet"}, {"arguments", json::object()}}, {}),
      boost::asio::bind_cancellation_slot(cancel.slot(),
                                          [&](std::exception_ptr thrown, Result<Outcome> r) {
                                            EXPECT_FALSE(thrown);
                                            result = std::move(r);
                                          }));
  wait_for_log("hanging");
  cancel.emit(boost::asio::cancellation_type::terminal);
  io_.restart();
  while (!result && io_.run_one() > 0) {
  }
  ASSERT_TRUE(result && !*result);
  EXPECT_EQ(result->error().code, tools::Errc::cancelled);
  wait_for_log("hung up on");  // while the conversation lives: its end would close the stream as
                               // well
  EXPECT_EQ(call("echo", {{"text", "on"}}), "on");
  EXPECT_EQ(n_logged("POST server/discover "), 1);
  EXPECT_THAT(log(), Not(HasSubstr("notifications/cancelled")));
}

TEST_F(Http, ALegacyCallIsCancelledByName) {
  limits_.call_timeout_ms = 300;
  use("legacy");
  EXPECT_THAT(call("hang"), HasSubstr("did not answer tools/call within 0.3 s"));
  wait_for_log("POST notifications/cancelled");
  wait_for_log("hung up on");
}

TEST_F(Http, ALegacyStreamIsResumedWhereItEnded) {
  use("legacy");
  EXPECT_EQ(call("resume"), "resumed");
  EXPECT_THAT(log(), HasSubstr("GET last=a-1 session=s1"));
}

TEST_F(Http, AForgottenSessionIsBegunAnew) {
  use("legacy");
  EXPECT_EQ(call("forget"), "forgotten");
  EXPECT_EQ(call("echo", {{"text", "again"}}), "again");
  EXPECT_EQ(n_logged("POST initialize "), 2);
  EXPECT_EQ(call("forget"), "forgotten");
  EXPECT_THAT(search("echo").text, HasSubstr("remote echo"));
  EXPECT_EQ(n_logged("POST initialize "), 3);
}

TEST_F(Http, ASessionThatIsForgottenInOtherWordsIsBegunAnew) {
  for (const char* mode : {"legacy_400", "legacy_401"}) {
    SCOPED_TRACE(mode);
    std::filesystem::remove(log_path());
    use(mode);
    EXPECT_EQ(call("forget"), "forgotten");
    EXPECT_EQ(call("echo", {{"text", "again"}}), "again");
    EXPECT_EQ(n_logged("POST initialize "), 2);
    EXPECT_EQ(call("forget"), "forgotten");
    EXPECT_THAT(search("echo").text, HasSubstr("remote echo"));
    EXPECT_EQ(n_logged("POST initialize "), 3);
  }
}

TEST_F(Http, ARefusalThatOnlySoundsLikeAForgottenSessionIsToldInItsOwnWords) {
  limits_.backoff_ms = 60'000;
  use("legacy");
  for (int i = 1; i <= 3; ++i) {  // no death is counted, or the third call would wait
    EXPECT_EQ(call("closed"),
              "mcp_call remote closed: the server answered HTTP 400 Bad Request: error -32000: the "
              "Session of parliament is closed");
    EXPECT_EQ(n_logged("POST initialize "), i + 1);
    EXPECT_EQ(n_logged("\"name\": \"closed\""), 2 * i);
  }
  EXPECT_EQ(
      call("expelled"),
      "mcp_call remote expelled: the server answered HTTP 401 Unauthorized: \"no seat in this "
      "session\"");
  EXPECT_EQ(call("echo", {{"text", "still here"}}), "still here");
  wait_for_log("DELETE s1");  // the sessions that were left are ended
}

TEST_F(Http, AnUrlThatHasToBeOpenedIsToldAndIsNoForgottenSession) {
  use("legacy");
  EXPECT_EQ(
      call("visit"),
      "mcp_call remote visit: error -32042: no login in this session; before it is called again "
      "the user has to open https://example.org/x");
  EXPECT_EQ(n_logged("POST initialize "), 1);
}

// While a call is on its way another is refused: the guess does not cost it its answer.
TEST_F(Http, ACallOutlivesTheSessionThatAnotherOneGaveUp) {
  use("legacy");
  search("");
  std::optional<Result<Outcome>> slow;
  boost::asio::co_spawn(
      io_,
      tools_[1]->run({{"server", "remote"}, {"tool", "wait"}, {"arguments", json::object()}}, {}),
      [&](std::exception_ptr thrown, Result<Outcome> r) {
        EXPECT_FALSE(thrown);
        slow = std::move(r);
      });
  wait_for_log("waiting");
  EXPECT_THAT(call("closed"), HasSubstr("the Session of parliament is closed"));
  EXPECT_FALSE(slow);
  EXPECT_EQ(call("end_wait"), "ended");
  io_.restart();
  while (!slow && io_.run_one() > 0) {
  }
  ASSERT_TRUE(slow && *slow);
  EXPECT_EQ((*slow)->text, "waited");
}

TEST_F(Http, ALegacySessionIsEnded) {
  use("legacy");
  EXPECT_EQ(call("echo", {{"text", "hello"}}), "hello");
  tools_.clear();
  wait_for_log("DELETE s1");
}

TEST_F(Http, WhateverGoesWrongIsToldAndSurvived) {
  const std::pair<const char*, const char*> cases[] = {
      {"cut", "the server closed its stream before the answer"},
      {"reset", "the server closed its stream before the answer"},
      {"garbage", "answered with 18 bytes that are no JSON-RPC (status 200, type text/html)"},
      {"other", "answered another request than the one it got"},
      {"no_http", "the server sent what is no HTTP response"},
      {"silent", "the server closed the connection without an answer"},
      {"long_head", "the server sent what is no HTTP response"},
      {"huge", "sent an answer longer than 1048576 bytes"},
      {"huge_event", "the server sent an event longer than 1048576 bytes"},
      {"moved", "it redirects to http://localhost:1/elsewhere: configure that url"},
      {"login", "answered HTTP 401 Unauthorized; give it credentials by \"headers\""},
      {"busy", "answered HTTP 503 Service Unavailable: \"come back later\""},
  };
  for (const char* mode : {"modern", "legacy"}) {
    use(mode);
    for (const auto& [tool, why] : cases)
      EXPECT_THAT(call(tool), HasSubstr(why)) << mode << " " << tool;
    EXPECT_EQ(call("until_close"), "no length") << mode;
    EXPECT_EQ(call("echo", {{"text", "still here"}}), "still here") << mode;
  }
}

TEST_F(Http, AMessageOfTooManyValuesIsNotRead) {
  limits_.line_bytes = Limits{}.line_bytes;
  boost::asio::thread_pool threads(1);
  limits_.threads = &threads;
  use("modern");
  const std::string why = "sent a message that is not read: it has more than 1048576 values";
  EXPECT_EQ(call("numbers"), "mcp_call remote numbers: " + why);
  EXPECT_EQ(call("numbers_event"), "mcp_call remote numbers_event: the server " + why);
  EXPECT_EQ(call("echo", {{"text", "still here"}}), "still here");
  tools_.clear();
  io_.run_for(std::chrono::milliseconds(100));
}

TEST_F(Http, AnotherPathOfTheSameServerIsGoneTo) {
  for (const char* mode : {"modern_moved", "legacy_moved"}) {
    use(mode);
    EXPECT_EQ(call("echo", {{"text", "here"}}), "here") << mode;
    EXPECT_EQ(call("echo", {{"text", "again"}}), "again") << mode;
    wait_for_log("listening");
  }
  tools_.clear();
  wait_for_log("DELETE s1 at /mcp/?x=1");
}

TEST_F(Http, OfAnUrlOfTheTransportOf2024IsSaidWhatToDo) {
  use("legacy", {}, "http://localhost", "", "/sse");
  EXPECT_EQ(call("echo"),
            "mcp_call remote echo: refused to start: answered HTTP 405 Method Not Allowed; such an "
            "url is mostly that of the transport of 2024: configure the server's Streamable HTTP "
            "url instead");
}

TEST_F(Http, AServerThatIsNotThereIsNamed) {
  ServerConfig nowhere{.name = "remote", .url = "http://127.0.0.1:1/mcp"};
  ToolsCase::use({"/", ""}, Config{{nowhere}, {}});
  EXPECT_EQ(call("x"),
            "mcp_call remote x: the server could not be reached: connect to 127.0.0.1:1: "
            "Connection refused");
}

TEST_F(Http, TlsIsCheckedAgainstTheSystemsCertificates) {
  const auto make = [&](const std::string& name) {
    const auto path = (dir_ / name).string();
    const auto command =
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext "
        "subjectAltName=DNS:localhost -keyout " +
        path + " -out " + path + ".crt 2>/dev/null && cat " + path + ".crt >> " + path;
    return std::system(command.c_str()) == 0 ? path : "";
  };
  const auto known = make("known"), unknown = make("unknown");
  if (known.empty() || unknown.empty())
    GTEST_SKIP() << "the program openssl is needed to make certificates";
  ::setenv("SSL_CERT_FILE", (known + ".crt").c_str(), 1);  // in place of the system's
  use("modern", {}, "https://localhost", known);
  EXPECT_EQ(call("echo", {{"text", "sealed"}}), "sealed");
  use("modern", {}, "https://127.0.0.1", known);
  EXPECT_THAT(call("echo"), HasSubstr("could not be reached: connect to 127.0.0.1:"));
  EXPECT_THAT(call("echo"), HasSubstr("certificate verify failed"));
  use("modern", {}, "https://localhost", unknown);
  EXPECT_THAT(call("echo"), HasSubstr("certificate verify failed"));
  use("modern", {}, "https://localhost");  // which speaks no TLS
  EXPECT_THAT(call("echo"), HasSubstr("TLS handshake: "));
}

}  // namespace
}  // namespace lares::mcp
