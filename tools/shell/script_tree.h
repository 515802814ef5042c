// The syntax tree of a bash script, and what making it may take. Private to what judges a command.
#pragma once

#include <tree_sitter/api.h>

#include <memory>
#include <string_view>

#include "tools/shell/effort.h"

namespace lares::tools {

using ScriptTree = std::unique_ptr<TSTree, void (*)(TSTree*)>;

// Brackets lie in brackets as nobody writes them; it is not to be parsed.
bool is_too_deep(std::string_view script);

// Null, or not all of it: it took too much.
ScriptTree parse_script(std::string_view script, Effort& effort);

inline std::string_view text_of(TSNode node, std::string_view script) {
  return script.substr(ts_node_start_byte(node), ts_node_end_byte(node) - ts_node_start_byte(node));
}

}  // namespace lares::tools
