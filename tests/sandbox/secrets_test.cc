#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "tests/sandbox/run.h"

namespace lares::sandbox::test {
namespace {

std::vector<std::string> names(const Scratch& scratch) {
  auto found = find_sensitive(scratch.wt).hidden;
  for (auto& path : found) path = path.substr(scratch.wt.native().size() + 1);
  return found;
}

TEST(Secrets, AreFoundByName) {
  const Scratch scratch;
  for (const char* name :
       {".env", "a/.env.production", "id_rsa", "deep/down/credentials.json", "x.p12"})
    scratch.write(name, "s");
  EXPECT_EQ(names(scratch),
            (std::vector<std::string>{".env", "a/.env.production", "deep/down/credentials.json",
                                      "id_rsa", "x.p12"}));
}

TEST(Secrets, TemplatesAndPublicKeysAreNot) {
  const Scratch scratch;
  for (const char* name :
       {".env.example", ".env.sample", "id_rsa.pub", "environment.py", "keys.py", "main.c"})
    scratch.write(name, "s");
  EXPECT_EQ(names(scratch), std::vector<std::string>{});
}

TEST(Secrets, KeysAreFoundByTheirHeader) {
  const Scratch scratch;
  scratch.write("ca.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n");
  scratch.write("server.pem",
                "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n-----BEGIN RSA "
                "PRIVATE KEY-----\n");
  scratch.write("slides.key", std::string("PK\0\3 slides", 11));
  scratch.write("tls.key", "-----BEGIN PRIVATE KEY-----\n");
  scratch.write(".npmrc", "save-exact=true\n");
  scratch.write("sub/.npmrc", "//registry.example/:_authToken=abc\n");
  EXPECT_EQ(names(scratch), (std::vector<std::string>{"server.pem", "sub/.npmrc", "tls.key"}));
}

TEST(Secrets, GitAndFetchedCodeAreNotSearched) {
  const Scratch scratch;
  for (const char* name : {".git/.env", "node_modules/x/.env", "target/.env"})
    scratch.write(name, "s");
  EXPECT_EQ(names(scratch), std::vector<std::string>{});
}

TEST(Secrets, LinksLeadToWhatIsHidden) {
  const Scratch scratch;
  scratch.write("config/values", "s");
  std::filesystem::create_symlink("config/values", scratch.wt / ".env");
  std::filesystem::create_symlink("/etc/passwd", scratch.wt / ".netrc");
  EXPECT_EQ(names(scratch), std::vector<std::string>{"config/values"});
}

TEST(Secrets, SocketsCount) {
  const Scratch scratch;
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{AF_UNIX, {}};
  const auto path = (scratch.wt / "agent.sock").native();
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(names(scratch), std::vector<std::string>{"agent.sock"});
  ::close(fd);
}

}  // namespace
}  // namespace lares::sandbox::test
