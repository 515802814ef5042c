// What nobody is shown who asks for a file by its path: the model, and whoever reads one for it
// because a command, a link or a call names it. The sandbox hides the same.
#pragma once

#include <string_view>

namespace lares::tools {

class RootedFs;

// By where it lies and what it is called: git's own, a secret's name, Lares' directories. `path` is
// relative to the root, after links (FileData::path). What it holds is is_secret_text()'s to say.
bool is_kept_back(const RootedFs& fs, std::string_view path);

}  // namespace lares::tools
