// Runs the tests, and where that is root, all of them again as an ordinary user: what holds for the
// one need not hold for the other. Ends with one line a run: how many attempts, how many denied or
// contained, which were skipped.
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/sandbox/run.h"
#include "tests/temporary_directory.h"

namespace {

namespace fs = std::filesystem;

constexpr uid_t kUser = 1000;  // no account is needed
constexpr const char* kAgain = "LARES_TESTS_AS_USER";

// The suites whose every test is an attempt to get out or to take too much. Their controls, which
// must work, are not.
constexpr const char* kAttempts[] = {
    "Escape",     "EscapeByPolicy", "Credentials",  "Tree",       "Limits",
    "MemoryBomb", "LeftBehind",     "LeftBehindBy", "Bubblewrap", "EscapeFromBubblewrap"};

class Tally : public testing::EmptyTestEventListener {
 public:
  void OnTestEnd(const testing::TestInfo& test) override {
    const std::string suite = test.test_suite_name();
    const auto is = [&](const char* name) {
      return suite == name || suite.ends_with(std::string("/").append(name));
    };
    if (std::none_of(std::begin(kAttempts), std::end(kAttempts), is)) return;
    ++n_;
    if (test.result()->Skipped())
      skipped_.push_back(suite + "." + test.name());
    else
      n_fine_ += test.result()->Passed();
  }
  void print() const {
    if (n_ == 0) return;
    std::string names;
    for (const auto& name : skipped_) names += (names.empty() ? " (" : ", ") + name;
    std::printf("as uid %u: %d attempts, %d denied or contained, %zu skipped%s\n", ::geteuid(), n_,
                n_fine_, skipped_.size(), names.empty() ? "" : (names + ")").c_str());
    std::fflush(stdout);
  }

 private:
  int n_ = 0, n_fine_ = 0;
  std::vector<std::string> skipped_;
};

// The build may lie where only root may go, so the user gets copies.
int again_as_user(int argc, char** argv) {
  const lares::TemporaryDirectory made;
  const std::string& dir = made.path();
  std::error_code failed;
  fs::permissions(dir, fs::perms(0755), failed);
  fs::create_directory(dir + "/home", failed);
  fs::copy_file("/proc/self/exe", dir + "/test", failed);
  fs::copy_file(lares::sandbox::test::launcher(), dir + "/lares-sandbox", failed);
  fs::copy_file(LARES_ATTEMPTS, dir + "/attempts", failed);
  if (failed || ::chown((dir + "/home").c_str(), kUser, kUser) != 0)
    return std::fprintf(stderr, "copy the tests to %s: cannot\n", dir.c_str()), 1;
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::setenv(kAgain, "1", 1);
    ::setenv("HOME", (dir + "/home").c_str(), 1);
    ::setenv("USER", "user", 1);
    ::setenv("PATH", "/usr/local/bin:/usr/bin:/bin", 1);
    ::setenv("LARES_SANDBOX", (dir + "/lares-sandbox").c_str(), 1);
    ::setenv("LARES_ATTEMPTS", (dir + "/attempts").c_str(), 1);
    std::vector<char*> words = {const_cast<char*>("test")};
    for (int i = 1; i < argc; ++i)
      if (!std::string(argv[i]).starts_with("--gtest_output")) words.push_back(argv[i]);
    words.push_back(nullptr);
    if (::setgroups(0, nullptr) == 0 && ::setresgid(kUser, kUser, kUser) == 0 &&
        ::setresuid(kUser, kUser, kUser) == 0 && ::chdir("/") == 0)
      ::execv((dir + "/test").c_str(), words.data());
    std::fprintf(stderr, "run the tests as uid %u: %s\n", kUser, ::strerror(errno));
    ::_exit(1);
  }
  int status = 1;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<char*> given(argv, argv + argc);  // GoogleTest takes its own out
  testing::InitGoogleTest(&argc, argv);
  auto tally = new Tally;
  testing::UnitTest::GetInstance()->listeners().Append(tally);
  int failed = RUN_ALL_TESTS();
  tally->print();
  if (::geteuid() == 0 && !::getenv(kAgain) && !testing::GTEST_FLAG(list_tests))
    failed |= again_as_user(static_cast<int>(given.size()), given.data());
  return failed;
}
