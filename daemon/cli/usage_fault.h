// What is wrong with a command line, for the person who typed it.
#pragma once

#include <span>
#include <string>

namespace CLI {
class App;
class ParseError;
}  // namespace CLI

namespace lares::cli {

// Before anything is parsed. Of a word such as --session=, which an unset variable of a script
// leaves behind: the parser would take the next word for its value, another session's id or -n.
// Empty: there is none. `words` are those behind the program's name, here and below.
std::string empty_value(const CLI::App& app, std::span<const char* const> words);

// Of what `app` did not take, and `error` says in the parser's words.
std::string usage_fault(const CLI::App& app, const CLI::ParseError& error,
                        std::span<const char* const> words);

// The subcommand that the line came to; `app` itself where it named none.
const CLI::App& subcommand_of(const CLI::App& app);

}  // namespace lares::cli
