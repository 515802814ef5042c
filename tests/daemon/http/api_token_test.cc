#include "daemon/http/api_token.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "daemon/protocol/listen_address.h"
#include "tests/temporary_directory.h"

namespace lares::daemon {
namespace {

namespace fs = std::filesystem;

class ApiToken : public testing::Test {
 protected:
  void write(const std::string& text, mode_t mode = 0600) {
    std::ofstream(file()) << text;
    ::chmod(file().c_str(), mode);
  }
  std::string file() const { return directory_ + "/api-token"; }
  const TemporaryDirectory made_;
  const std::string directory_ = made_.path();
};

TEST_F(ApiToken, IsMadeOnceForThisUserAlone) {
  const auto made = api_token(directory_);
  ASSERT_TRUE(made) << made.error();
  EXPECT_EQ(made->size(), 48u);
  struct stat st {};
  ASSERT_EQ(::stat(file().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  EXPECT_EQ(*api_token(directory_), *made);
}

TEST_F(ApiToken, MayBeTheUsersOwn) {
  write("sk-my-own-token-0001\n");
  EXPECT_EQ(api_token(directory_).value_or(""), "sk-my-own-token-0001");
}

TEST_F(ApiToken, IsRefusedWhereItIsNoSecret) {
  const auto refused = [&] {
    const auto token = api_token(directory_);
    return !token && token.error().find('\n') == std::string::npos &&
           token.error().find("api-token") != std::string::npos;
  };
  write(std::string(48, 'a'), 0644);
  EXPECT_TRUE(refused());
  write("short");
  EXPECT_TRUE(refused());
  write("");
  EXPECT_TRUE(refused());
  write("two words that are no token");
  EXPECT_TRUE(refused());
  write("sk-my-own-token-0001");  // which would do, were it not behind a link
  fs::rename(file(), directory_ + "/elsewhere");
  fs::create_symlink(directory_ + "/elsewhere", file());
  EXPECT_TRUE(refused());
  fs::remove(file());
  fs::create_directory(file());
  EXPECT_TRUE(refused());
  EXPECT_FALSE(api_token(directory_ + "/missing"));
}

TEST_F(ApiToken, OfAnotherUserIsRefused) {
  write("sk-of-somebody-else-0001");
  if (::chown(file().c_str(), 65534, 65534) != 0) GTEST_SKIP() << "only root can give a file away";
  EXPECT_FALSE(api_token(directory_));
}

TEST(ListenAddress, IsThisMachinesOwn) {
  EXPECT_EQ(parse_listen_address("127.0.0.1:8000")->port, 8000);
  EXPECT_FALSE(parse_listen_address("127.0.0.1:8000")->v6);
  EXPECT_TRUE(parse_listen_address("[::1]:0")->v6);
  for (const char* other :
       {"", "8000", ":8000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1",
        "127.0.0.1:80x", "127.0.0.2:80", "0.0.0.0:80", "[::]:80", "::1:80", "localhost:80",
        "192.168.0.1:80", "[::1]", " 127.0.0.1:80"})
    EXPECT_FALSE(parse_listen_address(other)) << other;
}

}  // namespace
}  // namespace lares::daemon
