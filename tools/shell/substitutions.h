// What bash would run of a script that its syntax tree does not show. The grammar has no node for a
// substitution in backticks in a here-document or in the operand of ${x:-...}, nor for one within
// single quotes that bash takes literally there. Private to shell_reader.h.
#pragma once

#include <tree_sitter/api.h>

#include <string>
#include <string_view>
#include <vector>

#include "tools/shell/effort.h"

namespace lares::tools {

struct Unseen {
  std::vector<std::string> scripts;  // what stands within the substitutions
  bool lost = false;   // one whose end is not found, or is not sure: the text may run anything
  std::string joined;  // the script with the lines put together that a backslash breaks within a
                       // word; "": there are none
};

Unseen unseen_in(TSNode root, std::string_view script, Effort& effort);

// Of text that bash expands when it runs: PS4, "${x@P}".
Unseen expanded_later(std::string_view text, Effort& effort);

// Of text that arithmetic and the names of variables are taken from: an element's index is
// expanded, as in `let 'a[$(x)]'` and `[[ 'a[$(x)]' -eq 0 ]]`. Nothing else of it is.
Unseen evaluated_later(std::string_view text, Effort& effort);

}  // namespace lares::tools
