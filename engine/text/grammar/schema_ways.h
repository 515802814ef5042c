// How many alternatives of a schema a document can be in at once, told beforehand: what
// json_walker.h will have to follow, and every mask to look at.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "engine/text/grammar/schema_nodes.h"

namespace lares::engine {

// Nodes at all places that are told apart; more is refused unseen
inline constexpr std::size_t kSchemaPlacesMax = 1 << 18;

// Where more than kSchemaWaysMax of the nodes at one place of a document could be meant, as far as
// brackets and keys tell. `paths`: of each node. A listed array or object counts once, though it
// may be under way once for each array and object around it.
std::optional<SchemaError> too_many_ways(const JsonSchema& schema, NodeId root,
                                         std::span<const std::string> paths);

}  // namespace lares::engine
