// The base text of an epoch: one workspace, frozen, as the token ids every session of the epoch
// begins with.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "tools/workspace/source_file.h"

namespace lares::daemon {

struct BaseFile {
  tools::SourceFile source;              // as it was rendered
  int tier = 0;                          // of volatility, 0 the coldest
  std::int64_t start = 0, n_tokens = 0;  // in Base::tokens; n_tokens 0: only listed in the tree
};

// The reason of a file that the tree names and that was gone when what follows was rendered.
inline constexpr std::string_view kRemoved = "removed";

struct Base {
  std::vector<engine::Token> tokens;  // prompt head, tree, files, end of the snapshot
  bool has_tree = false;              // the head names every file; a small repository needs none
  std::vector<BaseFile> files;        // in the order of `tokens`
  std::int64_t files_end = 0;         // where the last file's tokens end
  std::int64_t tokens_max = 0;        // that it was composed for; 0: not known
};

}  // namespace lares::daemon
