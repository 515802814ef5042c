// Where programs that run outside of the sandbox are looked for. A directory of the repository may
// be in PATH (an environment that is active, node_modules/.bin), and commands write there: what one
// left would run with the user's rights, under the name of another program.
#pragma once

#include <string>
#include <string_view>

namespace lares::sandbox {

// `path`, a PATH, without directories in `root` (absolute), by whatever link, and without those
// that depend on the current one.
std::string path_outside(std::string_view path, const std::string& root);
// The file of the program `name` in such a PATH; "" where there is none.
std::string program_outside(const std::string& name, std::string_view path,
                            const std::string& root);

}  // namespace lares::sandbox
