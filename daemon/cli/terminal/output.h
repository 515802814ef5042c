// Standard output: where its errors are remembered, so that a command that said its result to a
// full disk does not claim success.
#pragma once

#include <string_view>

namespace lares::cli {

void print_line(std::string_view line);  // and a newline, at once
void note_write_error(int error);        // an errno of a write to it; the first one counts

// The status, unless what was said never arrived. A reader that went away, such as head, had what
// it wanted.
int delivered(int status);

}  // namespace lares::cli
