// Which files of a repository the model is not shown, by name and by content.
#pragma once

#include <string>
#include <string_view>

namespace lares::tools {

// "secret", "lock file", "minified", "generated", "data" or "": what the name alone says. `path` is
// relative to the root.
std::string_view skipped_by_name(std::string_view path);
// Kept back for its name alone, as in sandbox/secret_names.h.
bool is_secret_name(std::string_view path);
// Its name is that of a certificate or a key: the text decides.
bool needs_a_look(std::string_view path);
bool is_secret_text(std::string_view path, std::string_view bytes);
// "binary", "not UTF-8", "secret", "minified", "generated" or "".
std::string_view skipped_by_content(std::string_view path, std::string_view bytes);
// Below a directory for other projects' files: vendor, third_party, ...
bool is_vendored(std::string_view path);
// Directories that hold products rather than sources: not entered unless git tracks what is in
// them.
bool is_product_directory(std::string_view name);

}  // namespace lares::tools
