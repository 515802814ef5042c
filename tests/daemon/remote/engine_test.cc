// What is asked of a server before its engine is used.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>

#include "daemon/remote/remote.h"
#include "engine/tokenizer.h"
#include "tests/daemon/remote/fake_server.h"
#include "tests/temporary_directory.h"

namespace lares::daemon {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

const std::string kNano = LARES_SOURCE_DIR "/engine/nano/checkpoint";

class RemoteLoad : public testing::Test {
 protected:
  RemoteOptions options(const std::string& of_url = "") const {
    return {.url = server_.url() + of_url,
            .directory = kNano,
            .silence_max = std::chrono::milliseconds(5000),
            .retry_after = std::chrono::milliseconds(1)};
  }
  static std::string refused(const RemoteOptions& options) {
    const auto engine = load_remote(options);
    return engine ? "" : engine.error().message;
  }
  std::string file(const std::string& text) const {
    std::ofstream(folder_ + "/key") << text;
    fs::permissions(folder_ + "/key", fs::perms::owner_read | fs::perms::owner_write);
    return folder_ + "/key";
  }

  const TemporaryDirectory made_;
  const std::string folder_ = made_.path();
  FakeServer server_;
};

TEST_F(RemoteLoad, TheFirstModelAndItsContextAreTaken) {
  const auto engine = load_remote(options());
  ASSERT_TRUE(engine) << engine.error().message;
  const auto& info = (*engine)->info();
  EXPECT_EQ(info.model_type, "first");
  EXPECT_EQ(info.n_context_max, 5000);
  EXPECT_FALSE(info.gives_logprobs);
  EXPECT_THAT(info.notes, ElementsAre(AllOf(HasSubstr("what the model reads goes there"),
                                            HasSubstr("unencrypted")),
                                      HasSubstr("has no /tokenize")));
  auto shorter = options();
  shorter.n_context = 700;
  EXPECT_EQ((*load_remote(shorter))->info().n_context_max, 700);
}

TEST_F(RemoteLoad, AnotherModelIsTakenByItsName) {
  EXPECT_THAT(refused(options("#third")), HasSubstr("has no model \"third\", but first, second"));
  EXPECT_THAT(refused(options("#second")), HasSubstr("does not say how long a context"));
  auto told = options("/v1/#second");
  told.n_context = 900;
  const auto engine = load_remote(told);
  ASSERT_TRUE(engine) << engine.error().message;
  EXPECT_EQ((*engine)->info().model_type, "second");
}

TEST_F(RemoteLoad, OtherTokensAreRefused) {
  server_.behave({.tokenize = R"({"tokens": [1, 2, 3], "count": 3})"});
  EXPECT_THAT(refused(options()), AllOf(HasSubstr("makes other tokens of a text than " + kNano),
                                        HasSubstr("lares config set model")));
  server_.behave({.tokenize = "{}"});
  EXPECT_THAT(refused(options()), HasSubstr("makes other tokens"));
}

TEST_F(RemoteLoad, TheKeyIsSentAndNeverShown) {
  auto with = options();
  with.key_file = file("sesame-123\n");
  ASSERT_TRUE(load_remote(with));
  EXPECT_EQ(server_.authorization(), "Bearer sesame-123");
  with.key_file = file("two words");
  EXPECT_THAT(refused(with),
              AllOf(HasSubstr("it must hold one line"), Not(HasSubstr("two words"))));
  fs::permissions(folder_ + "/key", fs::perms::group_read, fs::perm_options::add);
  EXPECT_THAT(refused(with), HasSubstr("chmod 600"));
  with.key_file = folder_ + "/none";
  ASSERT_TRUE(load_remote(with));
  EXPECT_EQ(server_.authorization(), "");
}

TEST_F(RemoteLoad, AServerThatIsNotThereYetIsWaitedFor) {
  server_.behave({.away = kRemoteTries + 1});
  EXPECT_THAT(refused(options()), HasSubstr("503"));
  server_.behave({.away = kRemoteTries + 1});
  auto waiting = options();
  std::vector<std::string> told;
  waiting.waits = [&](const std::string& why) { told.push_back(why); };
  ASSERT_TRUE(load_remote(waiting));
  EXPECT_THAT(told, ElementsAre(HasSubstr("503 Whatever: starting")));
  auto another = options("#third");  // which no waiting brings
  another.waits = [](const std::string& why) { ADD_FAILURE() << why; };
  EXPECT_THAT(refused(another), HasSubstr("URL#NAME"));
  server_.behave({.away = 1 << 30});
  std::stop_source stop;
  waiting.stop = stop.get_token();
  waiting.waits = [&](const std::string&) { stop.request_stop(); };
  EXPECT_FALSE(load_remote(waiting));
}

TEST_F(RemoteLoad, WhatIsNoServerIsSaidWithWhatToDo) {
  auto nobody = options();
  nobody.url = "http://127.0.0.1:1";
  EXPECT_THAT(refused(nobody),
              AllOf(HasSubstr("use the remote engine: 127.0.0.1:1"), HasSubstr("tried 4 times")));
  for (const char* const url :
       {"ftp://127.0.0.1", "http://127.0.0.1:1/?k=v", "http://u:sesame@h"}) {
    nobody.url = url;
    EXPECT_THAT(refused(nobody),
                AllOf(HasSubstr("http://127.0.0.1:8000"), Not(HasSubstr("sesame"))));
  }
  server_.behave({.models = "<html>"});
  EXPECT_THAT(refused(options()), HasSubstr("no JSON object: <html>"));
  server_.behave({.models = R"({"data": []})"});
  EXPECT_THAT(refused(options()), HasSubstr("lists no model"));
  auto no_tokenizer = options();
  no_tokenizer.directory = folder_;
  EXPECT_THAT(refused(no_tokenizer), HasSubstr("tokenizer.json"));
}

}  // namespace
}  // namespace lares::daemon
