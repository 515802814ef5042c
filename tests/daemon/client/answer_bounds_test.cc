#include "daemon/client/answer_bounds.h"

#include <gtest/gtest.h>

#include "daemon/bridges/acp/daemon_link.h"

namespace lares::cli {
namespace {

namespace protocol = daemon::protocol;

// A terminal that stops waiting says that nothing was done, while the files go back all the same.
TEST(AnswerBounds, WhatWritesFilesBackHasAsLongEverywhere) {
  for (const std::string_view method :
       {protocol::SessionRewind::kMethod, protocol::SessionUnrewind::kMethod,
        protocol::WorktreeList::kMethod, protocol::WorktreeDiff::kMethod,
        protocol::WorktreeApply::kMethod, protocol::WorktreeRemove::kMethod}) {
    EXPECT_EQ(answer_timeout(method), std::chrono::minutes(10)) << method;
    EXPECT_TRUE(works_on_files(method)) << method;
  }
  EXPECT_EQ(acp::LinkBounds().long_answer, kFilesTimeout);
}

TEST(AnswerBounds, OtherAnswersAreSoonMissed) {
  EXPECT_EQ(answer_timeout(protocol::SessionGet::kMethod), std::chrono::seconds(30));
  EXPECT_EQ(answer_timeout(protocol::SessionCreate::kMethod), kAnswerTimeout);
}

}  // namespace
}  // namespace lares::cli
