// An editor's lines: how long they may be, and what is known of one that is longer.
#pragma once

#include <cstddef>
#include <string_view>

#include "daemon/bridges/acp/message.h"
#include "daemon/bridges/line_reader.h"

namespace lares::cli::acp {

// From the editor: a prompt with the files that it embeds
inline constexpr std::size_t kLineBytesMax = 32u << 20;
// Of a line that is longer: in so much of it its id is looked for
inline constexpr std::size_t kLineHeadMax = 4096;
inline constexpr LineReader::Bounds kEditorLines{kLineBytesMax, kLineHeadMax};

// The id of a message that is cut behind some byte; null: it is not in what there is of it.
Json id_of_cut(std::string_view beginning);

}  // namespace lares::cli::acp
