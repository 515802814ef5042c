// JSON files whose own programs take a comma behind the last member.
#pragma once

#include <string>
#include <string_view>

namespace lares::tools {

// By name: tsconfig.json, .vscode/settings.json, ...
bool takes_trailing_commas(std::string_view path);

// The text with a blank for each of them; all else stays where it was.
std::string without_trailing_commas(std::string_view text);

}  // namespace lares::tools
