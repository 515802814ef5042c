// Writes one extent's file, once, in order.
#pragma once

#include <span>
#include <string>

#include "daemon/store/draft.h"
#include "daemon/store/extent_format.h"

namespace lares::daemon::store {

struct ExtentContents {
  std::span<const engine::Token> tokens;
  std::span<const std::span<const std::byte>> pages;
  std::span<const std::byte> frontier;
};

// `header` describes `contents` exactly. After success the file is durable; after a failure it is
// not there (or only its leftovers are, when even removing it failed).
tl::expected<void, DiskFailure> write_extent(Disk& disk, const std::string& directory,
                                             const std::string& name, const ExtentHeader& header,
                                             const ExtentContents& contents);

}  // namespace lares::daemon::store
