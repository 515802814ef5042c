// What is neither shown nor edited, whatever leads to it.
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>

#include "tests/tools/edit/edit_case.h"
#include "tools/workspace/own_files.h"

namespace lares::tools {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

TEST_F(Edit, WhatIsLaresOwnIsKeptBack) {
  const auto path = dir_.write("state/lares/api-token", "x\n");
  EXPECT_TRUE(view(path).ok);
  mark_as_own(dir_.at("state/lares"));
  fs::create_symlink("state/lares/api-token", dir_.at("link"));
  fs::create_directory_symlink("state/lares", dir_.at("links"));
  for (const auto& at : {path, dir_.at("link"), dir_.at("links/api-token")}) {
    EXPECT_FALSE(view(at).ok) << at;
    EXPECT_FALSE(replace(at, "x", "y").ok) << at;
  }
  for (const char* at : {"state/lares", "state/lares/new", "links/new"}) {
    const Outcome out = run({{"command", "create"}, {"path", dir_.at(at)}, {"file_text", "x"}});
    EXPECT_FALSE(out.ok) << at;
    EXPECT_FALSE(fs::exists(dir_.at("state/lares/new")));
  }
  EXPECT_TRUE(view(dir_.write("state/other", "x\n")).ok);
}

TEST_F(Edit, SymlinkInsideEditsItsTarget) {
  dir_.write("real/a", "1\n");
  fs::create_symlink("real/a", dir_.at("link"));
  const Outcome out = replace(dir_.at("link"), "1", "2");
  EXPECT_TRUE(out.ok) << out.text;
  EXPECT_TRUE(fs::is_symlink(dir_.at("link")));
  EXPECT_EQ(dir_.read("real/a"), "2\n");
  EXPECT_EQ(out.changes.at(0).path, "real/a");
}

TEST_F(Edit, NothingOutsideTheRoot) {
  test::Scratch outside;
  const auto secret = outside.write("secret", "1\n");
  fs::create_symlink(secret, dir_.at("file"));
  fs::create_directory_symlink(outside.root(), dir_.at("dir"));
  fs::create_symlink("nowhere", dir_.at("dangling"));
  for (const std::string& path :
       {secret, dir_.at("file"), dir_.at("dir/secret"),
        dir_.root() + "/../" + fs::path(secret).parent_path().filename().string() + "/secret",
        dir_.at("dangling"), std::string("/etc/passwd"), dir_.root() + "x/secret",
        std::string("/proc/self/mem")}) {
    EXPECT_FALSE(view(path).ok) << path;
    EXPECT_FALSE(replace(path, "1", "2").ok) << path;
  }
  EXPECT_FALSE(run({{"command", "create"}, {"path", dir_.at("dir/new")}, {"file_text", "x"}}).ok);
  EXPECT_FALSE(fs::exists(outside.at("new")));
  EXPECT_EQ(outside.read("secret"), "1\n");
}

TEST_F(Edit, SwappingADirectoryForASymlinkNeverEscapes) {
  test::Scratch outside;
  outside.write("a", "out\n");
  dir_.write("d/a", "in\n");
  fs::create_directory_symlink(outside.root(), dir_.at("l"));
  std::atomic<bool> stop{false};
  std::thread flipper([&] {
    while (!stop)
      ::renameat2(AT_FDCWD, dir_.at("d").c_str(), AT_FDCWD, dir_.at("l").c_str(), RENAME_EXCHANGE);
  });
  int escaped = 0, inside = 0, refused = 0;
  // Where the two threads share a core, one of them may see the same state for long.
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  const auto seen_both = [&] { return inside > 0 && refused > 0; };
  for (int i = 0; i < 3000 || (!seen_both() && std::chrono::steady_clock::now() < until); ++i) {
    const auto rooted = RootedFs::open(dir_.root());
    const auto data = rooted->read("d/a");
    if (data && data->bytes == "out\n") ++escaped;
    if (data && data->bytes == "in\n") ++inside;
    if (!data) ++refused;
  }
  stop = true;
  flipper.join();
  EXPECT_EQ(escaped, 0);
  EXPECT_GT(inside, 0);
  EXPECT_GT(refused, 0);
}

TEST_F(Edit, RefusesGitSecretsBinariesAndDevices) {
  dir_.write(".git/config", "[core]\n");
  dir_.write(".env", "TOKEN=1\n");
  dir_.write("key.txt", "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n");
  dir_.write("bin", std::string("a\0b", 3));
  ::mkfifo(dir_.at("fifo").c_str(), 0600);
  fs::create_symlink(".git/config", dir_.at("cfg"));
  fs::create_directory_symlink(".git", dir_.at("g"));
  for (const char* name :
       {".git/config", ".GIT/config", "cfg", ".env", "bin", "fifo", "g/config"}) {
    EXPECT_FALSE(view(dir_.at(name)).ok) << name;
    EXPECT_FALSE(replace(dir_.at(name), "1", "2").ok) << name;
  }
  EXPECT_FALSE(view(dir_.at("key.txt")).ok);
  EXPECT_FALSE(
      run({{"command", "create"}, {"path", dir_.at(".git/hooks/x")}, {"file_text", "x"}}).ok);
  EXPECT_FALSE(run({{"command", "create"}, {"path", dir_.at("g/hooks/x")}, {"file_text", "x"}}).ok);
  EXPECT_FALSE(fs::exists(dir_.at(".git/hooks")));
}

TEST_F(Edit, RefusesWhatIsHiddenFromCommands) {
  for (const char* name :
       {".aws/credentials", ".kube/config", ".ssh/config", "terraform.tfstate", "prod.tfvars",
        "kubeconfig", "service-account-1.json", "client_secret_2.json", "secrets.yml",
        "secrets.toml", "credentials.yaml", ".vault-token", ".dockerconfigjson"}) {
    dir_.write(name, "1\n");
    EXPECT_FALSE(view(dir_.at(name)).ok) << name;
    EXPECT_FALSE(replace(dir_.at(name), "1", "2").ok) << name;
  }
  dir_.write("chain.crt", "x\n-----BEGIN PRIVATE KEY-----\nx\n");
  EXPECT_FALSE(view(dir_.at("chain.crt")).ok);
  for (const char* name : {".env.example", "terraform.tfvars.example", "ca.crt", "id_rsa.pub"}) {
    dir_.write(name, "1\n");
    EXPECT_TRUE(view(dir_.at(name)).ok) << name;
  }
}

TEST_F(Edit, WhatViewKeepsNoFailedEditShows) {
  const std::string key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\n";
  const auto path = dir_.write("settings.py", "DEBUG = 1\nKEY = '''" + key + "'''\n");
  EXPECT_FALSE(view(path).ok);
  const Outcome miss = replace(path, "KEY = '''-----BEGIN PRIVATE KEY-----\nx", "");
  EXPECT_FALSE(miss.ok);
  EXPECT_EQ(miss.text.find("MIIE"), std::string::npos) << miss.text;
  EXPECT_TRUE(replace(path, "DEBUG = 1", "DEBUG = 0").ok);
  dir_.write("settings.py", "DEBUG = 0\nKEY = '''" + key + key + "'''\n");
  const Outcome stale = replace(path, "DEBUG = 0", "DEBUG = 1");
  EXPECT_FALSE(stale.ok);
  EXPECT_EQ(stale.text.find("MIIE"), std::string::npos) << stale.text;
  EXPECT_TRUE(replace(path, "DEBUG = 0", "DEBUG = 1").ok);
}

TEST_F(Edit, NorDoesTheAnswerToOneThatWasDone) {
  const std::string token = std::string("ghp_") + "Zx8Qw3Er5Ty7Ui9Op1As3Df5Gh7Jk9Lz2Xc4";
  const auto path = dir_.write("a.ts", "const a = 1; const t = \"" + token + "\";\n");
  ASSERT_FALSE(view(path).ok);
  const Outcome broken = replace(path, "a = 1;", "a = (1;");
  EXPECT_TRUE(broken.ok) << broken.text;
  EXPECT_EQ(broken.text.find(token), std::string::npos) << broken.text;
  const Outcome undone = replace(path, "a = (1;", "a = 2;");
  EXPECT_TRUE(undone.ok) << undone.text;
  ASSERT_TRUE(undo(path).ok);
  const Outcome again = undo(path);
  EXPECT_EQ(again.text.find(token), std::string::npos) << again.text;
}

TEST_F(Edit, NorDoesWhatAMatchIgnored) {
  const std::string token = std::string("ghp_") + "Zx8Qw3Er5Ty7Ui9Op1As3Df5Gh7Jk9Lz2Xc4";
  const auto path = dir_.write("a.txt", "x = \"DEBUG\"; KEY = \"" + token + "\"\n");
  ASSERT_FALSE(view(path).ok);
  const Outcome relaxed = replace(path, "x = \u201cDEBUG\u201d", "x = \u201cINFO\u201d");
  EXPECT_EQ(relaxed.text, "The file " + path +
                              " has been edited successfully.\nold_str did not appear verbatim: it "
                              "matched lines 1-1 when the kind of quotes, dashes and spaces are "
                              "ignored.");
  const auto shifted = dir_.write("b.txt", "  if a:\n    KEY = \"" + token + "\"\n");
  const Outcome moved = replace(shifted, "if a:\n  KEY = \"" + token + "\"\n", "if b:\n");
  EXPECT_TRUE(moved.ok) << moved.text;  // it is gone by now, so what is there is told
  EXPECT_NE(moved.text.find("is ignored, and new_str was indented likewise. They are now:\n"
                            "     1    if b:\n"),
            std::string::npos)
      << moved.text;
}

TEST_F(Edit, OddNamesWork) {
  for (const std::string& name :
       {std::string("a\nb"), std::string("-rf"), std::string("\xff\xfe"), std::string(250, 'n')}) {
    const auto path = dir_.write(name, "1\n");
    EXPECT_TRUE(replace(path, "1", "2").ok);
    EXPECT_EQ(dir_.read(name), "2\n");
  }
  EXPECT_FALSE(view(dir_.at(std::string(5000, 'p'))).ok);
  EXPECT_FALSE(view(dir_.at(std::string("a\0b", 3))).ok);
}

}  // namespace
}  // namespace lares::tools
