// What --help says: at most a screen of 24 lines by 80 columns, with an example; the manual says
// the rest.
#pragma once

#include <string>
#include <string_view>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace lares::cli {

inline constexpr int kHelpColumns = 80;
// Options of this group are listed by name alone.
inline constexpr const char* kSeldom = "seldom";

// In lines of `width` columns, kHelpColumns at most; 0: of those.
std::string help_text(const CLI::App& app, int width);

// "lares review [OPTIONS] [RANGE]".
std::string usage_of(const CLI::App& app);
// "--steps N", "RANGE"; empty: one that is not shown.
std::string form_of(const CLI::Option& option);
// What it does, and what its value may be.
std::string meaning_of(const CLI::Option& option);
// Of "lares review", "lares model inspect"; a command line.
std::string_view example_of(std::string_view path);
// "lares model inspect" of the subcommand.
std::string path_of(const CLI::App& app);

}  // namespace lares::cli
