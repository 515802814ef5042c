// Standard output: where its errors are remembered, so that a command that said its result to a
// full disk does not claim success.
#pragma once

#include <string_view>

namespace lares::cli {

void print_line(std::string_view line);  // and a newline, at once
// To a descriptor that may be shared with a program that made it non-blocking. A reader that is
// gone (SIGPIPE is ignored) ends it: the turn goes on, and its result is in the session.
void write_whole(int fd, std::string_view bytes);
void note_write_error(int error);  // an errno of a write to it; the first one counts

// The status, unless what was said never arrived. A reader that went away, such as head, had what
// it wanted.
int delivered(int status);

}  // namespace lares::cli
