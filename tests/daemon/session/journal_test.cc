// The journal's file: what was appended comes back, and whatever a crash or a bad disk makes of the
// file, only whole frames do, with what is cut off kept beside it.
#include "daemon/session/journal.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/temporary_directory.h"

namespace {

std::vector<std::string> synced;  // paths, in the order in which they were
int n_syncs_to_fail = 0;          // of those to come
std::vector<std::pair<std::int64_t, std::int64_t>> written;  // [begin, end) of any file

int sync_and_note(long call, int fd) {
  if (n_syncs_to_fail > 0) {
    --n_syncs_to_fail;
    errno = EIO;
    return -1;
  }
  std::error_code failed;
  synced.push_back(std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), failed));
  return static_cast<int>(::syscall(call, fd));
}

}  // namespace

// In the place of the C library's.
extern "C" int fsync(int fd) { return sync_and_note(SYS_fsync, fd); }
extern "C" int fdatasync(int fd) { return sync_and_note(SYS_fdatasync, fd); }
extern "C" ssize_t pwrite(int fd, const void* bytes, std::size_t n, off_t offset) {
  written.emplace_back(offset, offset + static_cast<off_t>(n));
  return ::syscall(SYS_pwrite64, fd, bytes, n, offset);
}

namespace lares::daemon {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using Payloads = std::vector<std::string>;

const Payloads kWritten = {R"({"method":"a"})", "b", R"({"method":"c","params":{"text":"ccc"}})"};
constexpr std::size_t kHeaderBytes = 8;

class JournalFile : public ::testing::Test {
 protected:
  // The bytes of a journal with kWritten in it.
  std::string whole() {
    auto journal = Journal::create(path_).value();
    for (const auto& payload : kWritten) EXPECT_TRUE(journal.append(payload));
    EXPECT_TRUE(journal.sync());
    return bytes(path_);
  }
  // Of kWritten, those that lie within the first `n` bytes of its file; `end`: where they do.
  static Payloads within(std::size_t n, std::size_t& end) {
    Payloads out;
    end = kJournalMagic.size();
    for (const auto& payload : kWritten) {
      if (end + kHeaderBytes + payload.size() > n) break;
      end += kHeaderBytes + payload.size();
      out.push_back(payload);
    }
    return out;
  }
  tl::expected<Journal, std::string> open() {
    read_.clear();
    return Journal::open(path_, [this](std::size_t index, std::string_view payload) {
      EXPECT_EQ(index, read_.size());
      read_.emplace_back(payload);
    });
  }
  void write(const std::string& text) const { std::ofstream(path_, std::ios::binary) << text; }
  static std::string bytes(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  const TemporaryDirectory made_;
  const std::string directory_ = made_.path(), path_ = directory_ + "/s.journal";
  Payloads read_;  // by the last open()
};

TEST_F(JournalFile, GivesBackWhatWasAppended) {
  whole();
  {
    auto journal = open().value();
    EXPECT_EQ(read_, kWritten);
    EXPECT_EQ(journal.size(), 3u);
    EXPECT_EQ(journal.bytes(), fs::file_size(path_));
    EXPECT_EQ(journal.repair().bytes_cut, 0u);
    EXPECT_EQ(journal.read(1).value(), "b");
    EXPECT_TRUE(journal.append("d"));
    EXPECT_EQ(journal.read(3).value(), "d");
    EXPECT_FALSE(journal.read(4));
  }
  const std::size_t n = fs::file_size(path_);
  open().value();
  EXPECT_THAT(read_, ElementsAre(kWritten[0], "b", kWritten[2], "d"));
  Payloads scanned;
  const auto on_frame = [&](std::size_t, std::string_view payload) {
    scanned.emplace_back(payload);
  };
  EXPECT_TRUE(Journal::scan(path_, n - kHeaderBytes - 1, on_frame));  // all but the last
  EXPECT_EQ(scanned, kWritten);
  EXPECT_FALSE(Journal::scan(path_, n - 1, on_frame));
}

TEST_F(JournalFile, CutAtAnyByteKeepsItsWholeFrames) {
  const std::string all = whole();
  for (std::size_t n = 0; n <= all.size(); ++n) {
    SCOPED_TRACE(n);
    fs::remove_all(directory_), fs::create_directory(directory_);
    write(all.substr(0, n));
    std::size_t end = 0;
    const Payloads kept = within(n, end);
    {
      auto journal = open().value();
      EXPECT_EQ(read_, kept);
      const auto& repair = journal.repair();
      EXPECT_EQ(repair.bytes_cut, n < kJournalMagic.size() ? n : n - end);
      if (n > end)
        EXPECT_EQ(bytes(repair.kept_in), all.substr(end, n - end));
      else
        EXPECT_EQ(repair.kept_in, "");
      EXPECT_TRUE(journal.append("next"));
    }
    const auto again = open().value();
    EXPECT_EQ(again.repair().bytes_cut, 0u);
    Payloads now = kept;
    now.emplace_back("next");
    EXPECT_EQ(read_, now);
  }
}

TEST_F(JournalFile, GivesNoDamagedFrameNorWhatFollowsIt) {
  const std::string all = whole();
  for (std::size_t at = kJournalMagic.size(); at < all.size(); ++at) {
    SCOPED_TRACE(at);
    std::string damaged = all;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x20);
    fs::remove_all(directory_), fs::create_directory(directory_);
    write(damaged);
    std::size_t end = 0;
    const Payloads kept = within(at, end);
    const auto journal = open().value();
    EXPECT_EQ(read_, kept);
    EXPECT_EQ(bytes(path_), all.substr(0, end));
    EXPECT_EQ(bytes(journal.repair().kept_in), damaged.substr(end));
  }
}

// As some file systems leave of a write that a power loss cut.
TEST_F(JournalFile, TakesZerosForNoFrame) {
  const std::string all = whole();
  write(all + std::string(64, '\0'));
  const auto journal = open().value();
  EXPECT_EQ(read_, kWritten);
  EXPECT_EQ(journal.repair().bytes_cut, 64u);
  EXPECT_EQ(bytes(path_), all);
}

TEST_F(JournalFile, KeepsEveryTornTail) {
  const std::string all = whole();
  write(all + "one");
  const std::string first = open().value().repair().kept_in;
  write(all + "another");
  const std::string second = open().value().repair().kept_in;
  EXPECT_NE(first, second);
  EXPECT_EQ(bytes(first), "one");
  EXPECT_EQ(bytes(second), "another");
}

TEST_F(JournalFile, LeavesWhatIsNoJournalAlone) {
  for (const std::string text : {"lares-journal 2\n", "x", "lares-journal 1", "{}\n"}) {
    const bool torn = kJournalMagic.starts_with(text);
    write(text);
    EXPECT_EQ(open().has_value(), torn) << text;
    EXPECT_EQ(bytes(path_), torn ? std::string(kJournalMagic) : text);
  }
  EXPECT_FALSE(Journal::create(path_));  // nor is one that is there made anew
  fs::create_symlink(path_, directory_ + "/link");
  EXPECT_FALSE(Journal::open(directory_ + "/link", [](std::size_t, std::string_view) {}));
}

TEST_F(JournalFile, TellsAFrameThatChangedOnTheDisk) {
  whole();
  const auto journal = open().value();
  std::string changed = bytes(path_);
  changed.back() = '!';
  write(changed);
  EXPECT_EQ(journal.read(1).value(), "b");
  EXPECT_FALSE(journal.read(2));
}

TEST_F(JournalFile, TakesFramesOfTheirBounds) {
  auto journal = Journal::create(path_).value();
  EXPECT_FALSE(journal.append(""));
  EXPECT_FALSE(journal.append(std::string(kFrameBytesMax + 1, 'x')));
  EXPECT_EQ(bytes(path_), kJournalMagic);
  EXPECT_TRUE(journal.append(std::string(1 << 20, 'x')));
}

// Files have no room for more than so many bytes, as on a full disk.
template <class Write>
auto with_room_for(std::size_t n, Write write) {
  rlimit before{};
  EXPECT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = n;
  EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  auto done = write();
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, handler);
  return done;
}

TEST_F(JournalFile, OneThatCannotBeBegunIsNotThere) {
  const auto made = with_room_for(3, [&] { return Journal::create(path_); });
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error(), "write " + path_ + ": File too large");
  EXPECT_FALSE(fs::exists(path_));
}

// Nor is a damaged one cut where its tail cannot be kept.
TEST_F(JournalFile, WithoutRoomForItsTailItIsLeftAlone) {
  const std::string all = whole() + "torn tail";
  write(all);
  EXPECT_FALSE(with_room_for(3, [&] { return open(); }));
  EXPECT_EQ(bytes(path_), all);
}

// Half way.
TEST_F(JournalFile, AFailedAppendLeavesTheFileAsItWas) {
  const std::string all = whole();
  auto journal = open().value();
  const auto failed = with_room_for(all.size() + 100,
                                    [&] { return journal.append(std::string(1000, 'x')); });
  EXPECT_FALSE(failed);
  EXPECT_EQ(bytes(path_), all);
  EXPECT_EQ(journal.size(), 3u);
  EXPECT_TRUE(journal.append("d"));
  open().value();
  EXPECT_THAT(read_, ElementsAre(kWritten[0], "b", kWritten[2], "d"));
}

TEST_F(JournalFile, SyncsItsNameItsFramesAndWhatItCutsOff) {
  synced.clear();
  auto journal = Journal::create(path_).value();
  EXPECT_THAT(synced, ElementsAre(directory_));
  EXPECT_TRUE(journal.append("a"));
  EXPECT_TRUE(journal.sync());
  EXPECT_THAT(synced, ElementsAre(directory_, path_));
  write(bytes(path_) + "torn");
  synced.clear();
  const std::string tail = open().value().repair().kept_in;
  EXPECT_THAT(synced, ElementsAre(tail, path_, directory_));  // the tail before it is cut off
}

// The kernel takes what it could not write for written: only what is written once more is.
TEST_F(JournalFile, AFailedSyncIsMadeGoodByWritingAgain) {
  auto journal = Journal::create(path_).value();
  EXPECT_TRUE(journal.append("first"));
  EXPECT_TRUE(journal.sync());
  const auto begin = static_cast<std::int64_t>(journal.bytes());
  EXPECT_TRUE(journal.append("second"));
  EXPECT_TRUE(journal.append("third"));
  const auto end = static_cast<std::int64_t>(journal.bytes());
  EXPECT_TRUE(journal.write_again());  // nothing has failed
  n_syncs_to_fail = 1;
  EXPECT_FALSE(journal.sync());
  EXPECT_FALSE(journal.sync());
  n_syncs_to_fail = 1;
  EXPECT_FALSE(journal.write_again());
  EXPECT_FALSE(journal.sync());
  written.clear(), synced.clear();
  EXPECT_TRUE(journal.write_again());
  EXPECT_THAT(written, ElementsAre(std::pair(begin, end)));
  EXPECT_THAT(synced, ElementsAre(path_));
  EXPECT_TRUE(journal.sync());
  EXPECT_TRUE(journal.append("fourth"));
  open().value();
  EXPECT_THAT(read_, ElementsAre("first", "second", "third", "fourth"));
}

TEST_F(JournalFile, WhatWasNeverSyncedIsWrittenAgainFromItsHeaderOn) {
  const std::string all = whole();
  auto journal = open().value();
  n_syncs_to_fail = 1;
  EXPECT_FALSE(journal.sync());
  written.clear();
  EXPECT_TRUE(journal.write_again());
  EXPECT_THAT(written, ElementsAre(std::pair<std::int64_t, std::int64_t>(0, all.size())));
  EXPECT_EQ(bytes(path_), all);
}

// Of what it could not write the kernel may have kept nothing.
TEST_F(JournalFile, WhatIsGoneAfterAFailedSyncIsNotTakenForWritten) {
  auto journal = Journal::create(path_).value();
  EXPECT_TRUE(journal.append("first"));
  EXPECT_TRUE(journal.sync());
  const std::string synced_part = bytes(path_);
  EXPECT_TRUE(journal.append("second"));
  n_syncs_to_fail = 1;
  EXPECT_FALSE(journal.sync());
  write(synced_part + std::string(journal.bytes() - synced_part.size(), '\0'));
  const auto again = journal.write_again();
  ASSERT_FALSE(again);
  EXPECT_THAT(again.error(), testing::HasSubstr("a frame claims 0 bytes"));
  EXPECT_FALSE(journal.sync());
}

TEST_F(JournalFile, GivesItsDescriptorsBack) {
  const auto n_open = [] {
    return std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator());
  };
  const auto before = n_open();
  write(whole() + "torn");
  for (int i = 0; i < 3; ++i) {
    auto journal = open().value();
    EXPECT_EQ(n_open(), before + 1);
    Journal moved = std::move(journal);
    EXPECT_EQ(n_open(), before + 1);
    write(bytes(path_) + "torn");
  }
  EXPECT_EQ(n_open(), before);
}

TEST_F(JournalFile, IsOnlyScannedWhereItIsOne) {
  const auto on_frame = [](std::size_t, std::string_view) {};
  EXPECT_FALSE(Journal::scan(path_, 100, on_frame));
  write("something else");
  EXPECT_FALSE(Journal::scan(path_, 100, on_frame));
}

TEST_F(JournalFile, ChecksumsAreThoseOfCrc32c) {
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);  // RFC 3720, B.4
}

}  // namespace
}  // namespace lares::daemon
