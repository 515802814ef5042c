// Writes a workspace as the token ids that every session of an epoch begins with. Equal workspaces,
// rates and options have equal tokens, whatever the locale, the order of a directory, the clock or
// the machine.
//
//   HEAD                                 the caller's: the prompt up to the repository
//   <repository files="812">
//   <tree> ... </tree>                   above kPlainTokens: every name once, with the reason where
//                                        the text is not shown
//   <file path=...> ... </file>          four tiers of volatility, cold to hot, bytewise path order
//                                        in each
//   </repository>
//
// Each line of this is tokenised alone and with special tokens disabled, each file as one: its
// tokens depend on its text, its header, the tokenizer and kRendererVersion only.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "daemon/residency/base.h"
#include "daemon/residency/token_cache.h"
#include "tools/git/change_rates.h"
#include "tools/workspace/source_file.h"

namespace lares::daemon {

inline constexpr int kRendererVersion = 1;  // to be raised with any change to the bytes below

// A repository with fewer tokens is written plainly, all in path order and without a tree: that is
// what the built-in model was trained on, and rendering it again costs nothing anyway.
inline constexpr std::int64_t kPlainTokens = 16'384;

struct ComposeOptions {
  std::int64_t tokens_max = 256 << 10;  // of the whole base
  // Files, or directories with a final '/', that are shown in full before all others
  std::vector<std::string> pins;
  std::vector<std::string> left_out;  // Scanner::left_out: said in the tree
};

// Files that are only listed come first in Base::files, at the place where the first text starts
// and with no tokens. Never fails: what does not fit is listed, and of a tree that does not fit,
// only the upper levels are.
Base compose(std::span<const engine::Token> head, const tools::Workspace& files,
             const tools::ChangeRates& rates, TokenCache& cache,
             const ComposeOptions& options = {});

// A rebase: keeps the tokens in front of old.files[keep] and the files they show as they are,
// whatever became of those since (the overlay says that), and writes everything else anew behind
// them. The tree is kept too, so a file whose state it tells wrongly gets a line of its own,
// kRemoved where it is gone. With keep 0, or when there would be too many such lines, all is
// composed anew.
Base recompose(std::span<const engine::Token> head, const Base& old, std::size_t keep,
               const tools::Workspace& files, const tools::ChangeRates& rates, TokenCache& cache,
               const ComposeOptions& options = {});

}  // namespace lares::daemon
