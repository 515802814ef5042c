// What the user's editor holds of files and has not saved. Who reads a file through it sees what
// the user sees; commands see the disk.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>

#include "tools/tool.h"

namespace lares::tools {

// Of one file; a longer text is as good as none
inline constexpr std::size_t kUnsavedBytesMax = 4u << 20;

// Of a file below the worktree, as editors are asked for it: "a/b.txt". Empty: there is none.
std::string editors_path(const std::string& relative);

class EditorTexts {
 public:
  virtual ~EditorTexts() = default;
  // Asks the editor, within a bound. Nothing: it holds what is on disk, or there is none to ask.
  // `path` is an editors_path().
  virtual boost::asio::awaitable<std::optional<std::string>> unsaved(std::string path) = 0;
  // What it said last, unasked.
  virtual std::optional<std::string> last_unsaved(const std::string& path) const = 0;
};

// From now on these tools view and edit files as `editor` has them.
void use_editor(const std::vector<std::unique_ptr<Tool>>& tools,
                std::shared_ptr<EditorTexts> editor);

}  // namespace lares::tools
