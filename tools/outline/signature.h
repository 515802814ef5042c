// The signature of one definition, and whether more than that stands there.
#pragma once

#include <tree_sitter/api.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tools/outline/languages.h"

namespace lares::tools {

struct Signature {
  std::uint32_t start, end;  // bytes of the source
  bool function = false, leaf = false;
};

// nullopt: the node is no definition after all. `depth`: how many definitions enclose it.
std::optional<Signature> find_signature(const Rule& rule, TSNode node, std::size_t depth,
                                        std::string_view source);

// On one line, bounded.
std::string signature_text(const Rule& rule, TSNode node, const Signature& found,
                           std::string_view source);

// Without one, it only says that the definition is elsewhere. `text`: what signature_text returns.
bool has_body(const Rule& rule, TSNode node, std::string_view text);

}  // namespace lares::tools
