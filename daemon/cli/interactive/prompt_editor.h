// The line that is typed, in the person's own editor.
#pragma once

#include <string>

#include "daemon/cli/interactive/run_on_terminal.h"
#include "daemon/client/error.h"

namespace lares::cli {

// `text` in $VISUAL, else $EDITOR, else vi, within the terminal, in a file of a directory
// that is this person's alone and is gone afterwards. Gives what was saved, without the line end
// that editors put behind the last line. An error: there is no editor, or it failed; what it wrote
// does not count then.
Result<std::string> edited_by_person(const std::string& text, const std::string& directory,
                                     LentTerminal& lent);

}  // namespace lares::cli
