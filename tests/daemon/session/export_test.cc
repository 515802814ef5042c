// A session's file and back, and every way in which it can be damaged.

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <span>
#include <sstream>
#include <string_view>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/protocol/wire.h"
#include "daemon/session/export.h"
#include "daemon/session/facts.h"
#include "daemon/session/import.h"
#include "daemon/session/journal.h"
#include "daemon/store/chain_hash.h"
#include "tests/temporary_directory.h"

namespace lares::daemon {
namespace {

namespace fs = std::filesystem;
using protocol::Json;
using testing::HasSubstr;

std::string frame(const char* method, Json params) {
  Json out;
  out["method"] = method, out["params"] = std::move(params);
  return protocol::dump(out);
}

Json created() {
  return {{"sessionId", "old"},
          {"seq", 1},
          {"t", 5},
          {"session",
           {{"sessionId", "old"},
            {"root", "/there"},
            {"settings", {{"noSandbox", true}, {"seed", 7}}}}}};
}

// A session with what an import must not take over.
std::vector<std::string> frames() {
  return {
      frame("session/created", created()),
      frame("prompt/accepted", {{"sessionId", "old"},
                                {"seq", 2},
                                {"id", "p"},
                                {"content", "Gö."},
                                {"delivery", "start"}}),
      frame("turn/started", {{"sessionId", "old"}, {"seq", 3}, {"turnId", 1}, {"promptId", "p"}}),
      frame("lares/appended", {{"ids", {1, 2, 3}}, {"results", Json::array()}}),
      frame("approval/resolved", {{"sessionId", "old"},
                                  {"seq", 5},
                                  {"itemId", "1.2"},
                                  {"decision", "allow"},
                                  {"rules", {{{"tool", "bash"}, {"pattern", "*"}}}}}),
      frame("item/completed",
            {{"sessionId", "old"},
             {"seq", 6},
             {"item",
              {{"id", "1.2"}, {"kind", "tool"}, {"snapshot", "abc"}, {"snapshotAfter", "def"}}}}),
      frame("session/rewound", {{"sessionId", "old"}, {"seq", 7}, {"turnId", 1}, {"undo", "abc"}}),
      frame("prompt/accepted", {{"sessionId", "old"},
                                {"seq", 8},
                                {"id", "waits"},
                                {"content", "Later."},
                                {"delivery", "queue"}}),
      frame("session/closed", {{"sessionId", "old"}, {"seq", 9}})};
}

std::string file_of(const TemporaryDirectory& d, const std::vector<std::string>& payloads,
                    const char* name = "file") {
  const std::string journal = d / (std::string(name) + ".journal").c_str();
  auto made = Journal::create(journal);
  for (const auto& payload : payloads) EXPECT_TRUE(made->append(payload));
  const auto written = write_export(
      d / name, {.session = "old", .root = "/there", .model = {.name = "m", .vocabulary = "v"}},
      journal, made->bytes());
  EXPECT_TRUE(written) << written.error();
  return d / name;
}

std::string text_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return (std::ostringstream() << in.rdbuf()).str();
}

void put(const std::string& path, std::string_view text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

TEST(SessionExport, ComesBackByteForByte) {
  const TemporaryDirectory d;
  const auto file = read_export(file_of(d, frames()));
  ASSERT_TRUE(file) << file.error();
  EXPECT_EQ(file->frames, frames());
  EXPECT_EQ(file->root, "/there");
  EXPECT_EQ(file->model.vocabulary, "v");
}

TEST(SessionExport, IsTheSameForTheSameSessionAndForItsOwnerOnly) {
  const TemporaryDirectory d;
  const auto one = file_of(d, frames(), "one"), two = file_of(d, frames(), "two");
  EXPECT_EQ(text_of(one), text_of(two));
  EXPECT_EQ(fs::status(one).permissions(), fs::perms::owner_read | fs::perms::owner_write);
}

TEST(SessionExport, LeavesAnExistingFileAlone) {
  const TemporaryDirectory d;
  put(d / "file", "mine");
  auto journal = Journal::create(d / "j");
  ASSERT_TRUE(journal->append(frames()[0]));
  const auto written = write_export(d / "file", {}, d / "j", journal->bytes());
  ASSERT_FALSE(written);
  EXPECT_THAT(written.error(), HasSubstr("left alone"));
  EXPECT_EQ(text_of(d / "file"), "mine");
}

TEST(SessionExport, HoldsWhatWasThereOfAJournalInUse) {
  const TemporaryDirectory d;
  auto journal = Journal::create(d / "j");
  ASSERT_TRUE(journal->append(frames()[0]));
  const auto bytes = journal->bytes();
  ASSERT_TRUE(journal->append(frames()[1]));
  ASSERT_TRUE(write_export(d / "file", {}, d / "j", bytes));
  EXPECT_EQ(read_export(d / "file")->frames.size(), 1u);
}

TEST(SessionExport, CutAtAnyByteItIsRefused) {
  const TemporaryDirectory d;
  const std::string whole = text_of(file_of(d, frames()));
  for (std::size_t n = 0; n < whole.size(); ++n) {
    put(d / "cut", std::string_view(whole).substr(0, n));
    const auto read = read_export(d / "cut");
    ASSERT_FALSE(read) << n;
    ASSERT_EQ(read.error().find('\n'), std::string::npos);
  }
}

TEST(SessionExport, ChangedAtAnyByteItIsRefused) {
  const TemporaryDirectory d;
  const std::string whole = text_of(file_of(d, frames()));
  for (std::size_t n = 0; n < whole.size(); ++n) {
    std::string other = whole;
    other[n] = static_cast<char>(other[n] ^ 1);
    put(d / "other", other);
    ASSERT_FALSE(read_export(d / "other")) << n;
  }
}

// With a checksum that is right: by hand, or by another version.
std::string sealed(std::string_view body) {
  return fmt::format("{}{{\"sha256\":\"{}\"}}\n", body,
                     store::to_hex(store::hash256(std::as_bytes(std::span(body)))));
}

TEST(SessionExport, WhatMakesNoSenseIsRefusedAndSaysWhere) {
  const TemporaryDirectory d;
  const std::string whole = text_of(file_of(d, frames()));
  const std::string body = whole.substr(0, whole.rfind('\n', whole.size() - 2) + 1);
  ASSERT_EQ(sealed(body), whole);
  const auto with = [&](std::string_view from, std::string_view to) {
    std::string changed = body;
    changed.replace(changed.find(from), from.size(), to);
    put(d / "changed", sealed(changed));
    const auto read = read_export(d / "changed");
    return read ? std::string("taken") : read.error();
  };
  const std::string version = fmt::format("\"version\":{}", kExportVersion);
  EXPECT_EQ(with(version, version), "taken");
  EXPECT_THAT(with(version, fmt::format("\"version\":{}", kExportVersion + 1)),
              HasSubstr("another version"));
  EXPECT_THAT(with(version, "\"wersion\":1"), HasSubstr("another version"));
  EXPECT_THAT(with("\"frames\":9", "\"frames\":\"9\""), HasSubstr("how many frames"));
  EXPECT_THAT(with("\"frames\":9", "\"grames\":9"), HasSubstr("how many frames"));
  EXPECT_THAT(with("\"frames\":9", "\"frames\":8"), HasSubstr("it has 9 of 8 frames"));
  EXPECT_EQ(with("\"model\":{", "\"nodel\":{"), "taken");
  const std::string second = body.substr(body.find('\n') + 1,
                                         body.find('\n', body.find('\n') + 1) - body.find('\n'));
  EXPECT_THAT(with(second, "[]\n"), HasSubstr("line 2 is no object"));
  EXPECT_THAT(with(second, "{\n"), HasSubstr("line 2 is no object"));
  for (const char* bad :
       {"[]", "{\"params\":{}}", "{\"method\":5,\"params\":{}}", "{\"method\":\"x\"}"})
    EXPECT_THAT(with(second, fmt::format("{{\"frame\":{}}}\n", bad)),
                HasSubstr("line 2 is no frame"));
  EXPECT_EQ(with(second, second + "{\"of_a_later_version\":1}\n"), "taken");
}

TEST(SessionExport, SaysWhichModelItsTokensAreOf) {
  const TemporaryDirectory d;
  auto journal = Journal::create(d / "j");
  ASSERT_TRUE(journal->append(frames()[0]));
  const ExportModel model{.name = "m", .type = "t", .fingerprint = "f", .vocabulary = "v"};
  ASSERT_TRUE(
      write_export(d / "file", {.session = "old", .model = model}, d / "j", journal->bytes()));
  const auto file = read_export(d / "file");
  ASSERT_TRUE(file) << file.error();
  EXPECT_EQ(file->session, "old");
  EXPECT_EQ(file->model.name, "m");
  EXPECT_EQ(file->model.type, "t");
  EXPECT_EQ(file->model.fingerprint, "f");
  EXPECT_EQ(file->model.vocabulary, "v");
}

TEST(SessionExport, WithSomethingBehindItItIsRefused) {
  const TemporaryDirectory d;
  put(d / "more", text_of(file_of(d, frames())) + "{}\n");
  EXPECT_FALSE(read_export(d / "more"));
}

std::vector<Json> imported(const Export& file) {
  const auto out = frames_to_import(file, "new", "/here", 100);
  EXPECT_TRUE(out) << out.error();
  std::vector<Json> parsed;
  for (const auto& payload : out ? *out : std::vector<std::string>())
    parsed.push_back(Json::parse(payload));
  return parsed;
}

TEST(SessionImport, TakesOverNoRulesRightsSnapshotsOrWaitingPrompts) {
  const auto out = imported({.session = "old", .root = "/there", .model = {}, .frames = frames()});
  ASSERT_EQ(out.size(), 11u);
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (out[i]["method"].get<std::string>().starts_with("lares/")) continue;
    EXPECT_EQ(out[i]["params"]["sessionId"], "new");
    EXPECT_EQ(out[i]["params"]["seq"], i + 1);
  }
  const Json& session = out[0]["params"]["session"];
  EXPECT_EQ(session["sessionId"], "new");
  EXPECT_EQ(session["root"], "/here");
  EXPECT_EQ(session["settings"]["seed"], 7);
  EXPECT_FALSE(session["settings"].contains("noSandbox"));
  EXPECT_FALSE(out[4]["params"].contains("rules"));
  EXPECT_EQ(out[5]["params"]["item"], Json({{"id", "1.2"}, {"kind", "tool"}}));
  EXPECT_FALSE(out[6]["params"].contains("undo"));
  EXPECT_EQ(out[8]["method"], "session/updated");  // it is open
  EXPECT_EQ(out[9]["method"], "prompt/withdrawn");
  EXPECT_EQ(out[9]["params"]["id"], "waits");
  EXPECT_EQ(out[10]["method"], "lares/imported");
  EXPECT_EQ(out[10]["params"]["root"], "/there");
  EXPECT_LT(std::abs(out[10]["params"]["t"].get<std::int64_t>() - unix_ms()), 60'000);
}

// It is open, under the title that it had last; and what was delivered or taken back does not wait.
TEST(SessionImport, IsOpenUnderItsLastTitle) {
  auto all = frames();
  all.pop_back();
  const auto add = [&](const char* method, Json params) {
    params["sessionId"] = "old", params["seq"] = all.size() + 1, params["t"] = 6;
    all.push_back(frame(method, std::move(params)));
  };
  const auto accepted = [&](const char* id) {
    add("prompt/accepted", {{"id", id}, {"content", "So."}, {"delivery", "steer"}});
  };
  accepted("steered"), accepted("withdrawn");
  add("item/completed", {{"item", {{"id", "1.3"}, {"kind", "user"}, {"promptId", "steered"}}}});
  add("prompt/withdrawn", {{"id", "withdrawn"}});
  add("session/updated", {{"title", "Sums"}});
  add("session/closed", Json::object());
  const auto out = imported({.session = "old", .root = "/there", .model = {}, .frames = all});
  ASSERT_EQ(out.size(), all.size() + 2);
  const Json& open = out[all.size() - 1];
  EXPECT_EQ(open["method"], "session/updated");
  EXPECT_EQ(open["params"]["title"], "Sums");
  const Json& withdrawn = out[all.size()];
  EXPECT_EQ(withdrawn["method"], "prompt/withdrawn");
  EXPECT_EQ(withdrawn["params"]["id"], "waits");  // and no other
  EXPECT_EQ(withdrawn["params"]["t"], 6);
  all = frames();
  Json titled = created();
  titled["session"]["title"] = "First";
  all[0] = frame("session/created", titled);
  EXPECT_EQ(
      imported(
          {.session = "old", .root = "/there", .model = {}, .frames = all})[8]["params"]["title"],
      "First");
}

TEST(SessionImport, NothingGoesBackThatWentBackElsewhereAndWhatWasNotReadDoesNotWait) {
  auto all = frames();
  all.push_back(frame("lares/unread", {{"changes", true}, {"prompts", {"steered"}}}));
  all.push_back(
      frame("lares/going_back",
            {{"turnId", 1}, {"undo", "there"}, {"files", {{"a.txt", "changed", "name"}}}}));
  const auto out = imported({.session = "old", .root = "/there", .model = {}, .frames = all});
  ASSERT_EQ(out.size(), all.size() + 3);
  EXPECT_EQ(out[all.size() - 1]["params"], Json::object());
  for (const std::size_t i : {all.size(), all.size() + 1})
    EXPECT_EQ(out[i]["method"], "prompt/withdrawn");
  EXPECT_EQ(out[all.size()]["params"]["id"], "steered");
}

TEST(SessionImport, SettingsThatChangedGiveNoRightsEither) {
  const auto with = [](const Json& settings) {
    auto all = frames();
    all.push_back(frame("lares/settings", settings));
    return frames_to_import({.session = "old", .root = "/there", .model = {}, .frames = all}, "new",
                            "/here", 100);
  };
  const auto out = with({{"noSandbox", true}, {"temperature", 0.5}});
  ASSERT_TRUE(out) << out.error();
  const Json settings = Json::parse((*out)[9])["params"];
  EXPECT_EQ(settings["temperature"], 0.5);
  EXPECT_FALSE(settings.contains("noSandbox"));
  EXPECT_THAT(with({{"temperature", -3}}).error(), HasSubstr("temperature"));
  EXPECT_THAT(with({{"noSandbox", "yes"}}).error(), HasSubstr("noSandbox"));
}

TEST(SessionImport, WhatAnotherModelSaidMayHaveMoreWords) {
  const auto with = [](const Json& first, const Json& second) {
    auto all = frames();
    for (const Json& params : {first, second}) all.push_back(frame("lares/appended", params));
    const Export file{
        .session = "old", .root = "/there", .model = {.vocabulary = "ours"}, .frames = all};
    const auto out = frames_to_import(file, "new", "/here", 100);
    return out ? std::string() : out.error();
  };
  const Json ours{{"ids", {1, 99}}, {"vocabulary", "ours"}}, more{{"ids", {100'000}}};
  const Json theirs{{"ids", {100'000}}, {"vocabulary", "theirs"}};
  EXPECT_EQ(with(theirs, ours), "");
  EXPECT_EQ(with(theirs, more), "");
  EXPECT_THAT(with(theirs, {{"ids", {-1}}}), HasSubstr("token id -1"));
  EXPECT_THAT(with(theirs, {{"ids", {2'147'483'648}}}), HasSubstr("token id 2147483648"));
}

TEST(SessionImport, WhatMakesNoSenseIsRefusedInOneLine) {
  const auto refused = [](std::size_t at, Json bad, const char* method = nullptr) {
    auto all = frames();
    Json parsed = Json::parse(all[at]);
    if (method) parsed["method"] = method;
    parsed["params"] = std::move(bad);
    all[at] = protocol::dump(parsed);
    const auto out = frames_to_import(
        {.session = "old", .root = "/there", .model = {}, .frames = all}, "new", "/here", 100);
    return out ? std::string() : out.error();
  };
  EXPECT_THAT(refused(3, {{"ids", {1, 100}}}), HasSubstr("token id 100 is not below 100"));
  EXPECT_THAT(refused(3, {{"ids", {-1}}}), HasSubstr("token id -1"));
  EXPECT_THAT(refused(3, {{"ids", {"1"}}}), HasSubstr("token id"));
  EXPECT_THAT(refused(3, {{"ids", {1.5}}}), HasSubstr("token id 1.5"));
  EXPECT_EQ(refused(3, {{"ids", {0, 99}}}), "");
  EXPECT_THAT(refused(3, {{"ids", {1, 100}}}, "lares/shortened"), HasSubstr("token id 100"));
  EXPECT_THAT(refused(3, Json::object()), HasSubstr("no token ids"));
  EXPECT_THAT(refused(3, Json::array()), HasSubstr("frame 4 makes no sense"));
  EXPECT_THAT(refused(1, {{"sessionId", "old"}, {"seq", 3}}), HasSubstr("seq"));
  EXPECT_THAT(refused(1, created(), "session/created"), HasSubstr("once"));
  EXPECT_THAT(refused(0, {{"sessionId", "old"}, {"seq", 1}}), HasSubstr("session is missing"));
  EXPECT_THAT(refused(2, {{"sessionId", "old"}, {"seq", 3}, {"promptId", 5}}),
              HasSubstr("frame 3 makes no sense"));
  Json wild = created();
  wild["session"]["settings"]["temperature"] = -3;
  EXPECT_THAT(refused(0, wild), HasSubstr("temperature"));
  const auto policy = [&](const char* name) {
    return refused(8, {{"sessionId", "old"}, {"seq", 9}, {"title", "x"}, {"policy", name}},
                   "session/updated");
  };
  EXPECT_EQ(policy("ask"), "");
  EXPECT_THAT(policy("everything"), HasSubstr("no such change of a session"));
  EXPECT_FALSE(frames_to_import({}, "new", "/here", 100));
}

}  // namespace
}  // namespace lares::daemon
