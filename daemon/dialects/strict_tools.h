// Schemas that a client wants obeyed: of strict tools, and of an answer's format.
#pragma once

#include <optional>
#include <string>

#include "daemon/dialects/wire.h"
#include "engine/json_schema.h"

namespace lares::daemon {

// The schema at `at` ("response_format.json_schema.schema") as the engine enforces it; else which
// of its keywords cannot be enforced.
tl::expected<engine::JsonSchemaRef, WireError> enforced_schema(const WireJson& schema,
                                                               const std::string& at);
tl::expected<engine::JsonSchemaRef, WireError> enforced_parameters(
    const WireJson& schema, const std::string& at);  // a tool's

// Of Conversation::tools: what the hosted API says to strict tools, on the endpoint that has them.
// Nothing: none is strict, or all are, and their schemas are within what strict tools may use
// there.
std::optional<WireError> wrong_strict_tools(const WireJson& tools);

}  // namespace lares::daemon
