// What a session's answers are documents of, where whoever asks wants JSON.
#pragma once

#include <cstddef>
#include <string>

#include <tl/expected.hpp>

#include "engine/json_schema.h"

namespace lares::daemon {

inline constexpr std::size_t kAnswerSchemaBytesMax = 64u << 10;

// Null: `text` is empty, and so are all bounds on what is said. The error, one line: what of it
// cannot be obeyed.
tl::expected<engine::JsonSchemaRef, std::string> answer_schema(const std::string& text);

// What the model reads of it behind a task; empty where `text` is.
std::string told_of_answer_schema(const std::string& text);

}  // namespace lares::daemon
