// What a person types where yes or no is asked.
#pragma once

#include <string_view>

namespace lares::cli {

// y, yes and n, no, in either case and with blanks around them. A line may be neither.
bool is_yes(std::string_view line);
bool is_no(std::string_view line);
// Neither, but it begins as a yes does: "ok", "sure, why not", "Do it.". It may as well go on with
// a condition, "yes, but stash it first", so nobody can tell.
bool begins_as_yes(std::string_view line);
// The line is this letter alone, in either case. `letter`: lower case.
bool is_letter(std::string_view line, char letter);

}  // namespace lares::cli
