// A stream of bytes as its lines: what an editor writes, however the pipe cuts it.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "daemon/bridges/acp/message.h"

namespace lares::cli::acp {

// From the editor: a prompt with the files that it embeds
inline constexpr std::size_t kLineBytesMax = 32u << 20;
// Of a line that is longer: in so much of it its id is looked for
inline constexpr std::size_t kLineHeadMax = 4096;

struct Line {
  std::string text;
  bool too_long = false;  // then the text is its beginning
};

class Lines {
 public:
  // Without their newline; blank ones are left out, and the last one, if it has no newline yet,
  // waits for the rest.
  void take(std::string_view bytes, const std::function<void(Line)>& line);

 private:
  std::string inbox_;
  bool skipping_ = false;  // a line that is too long
};

// The id of a message that is cut behind some byte; null: it is not in what there is of it.
Json id_of_cut(std::string_view beginning);

}  // namespace lares::cli::acp
