// What a model is told about one file that changed, as text and back.
//
//   <changed path="a.cc" sha="1a2b3c4d">       a diff (line_diff.h) against the last text shown of
//                                              the file
//   @@ int main() {
//    ...
//   </changed>
//   <file path="a.cc" lines="12" sha="1a2b3c4d">    its whole text
//   ...
//   </file>
//   <reverted path="a.cc" sha="1a2b3c4d"/>     as in the snapshot again
//   <deleted path="a.cc"/>
//   <renamed path="b.cc" from="a.cc"/>         with its text
//   <listed path="a.bin" reason="binary"/>     it exists; its text is never shown
//   <changed path="a.cc" not shown/>           read it; "src/": anything below may have changed;
//                                              "./": anything at all
//
// Unambiguous whatever files contain: a whole text has the number of lines its header says, a
// diff's lines have marks, and values are quoted. eol="crlf" or "lf" notes the line ends on disk,
// end="no newline" an unfinished last line.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

namespace lares::daemon {

struct Notice {
  enum class Kind { diff, full, reverted, deleted, renamed, listed, not_shown };
  Kind kind = Kind::full;
  std::string path;
  std::string from;          // of renamed
  std::string sha;           // the blob's first kShaDigits
  std::string reason;        // of listed
  std::string body;          // the diff, the text
  std::optional<bool> crlf;  // full: absent means LF; diff: absent means as before
};

inline constexpr std::size_t kShaDigits = 8;

std::string write_notice(const Notice& notice);

// All of `text`; the error says what could not be read.
tl::expected<std::vector<Notice>, std::string> read_notices(std::string_view text);

// Whether a path that is not shown, or a directory "src/", covers `path`.
bool covers(std::string_view not_shown, std::string_view path);

inline constexpr std::string_view kEverything = "./";

// Directories that are not shown.
class NotShownBelow {
 public:
  void add(std::string directory) { directories_.insert(std::move(directory)); }
  bool covers(std::string_view path) const;
  const std::set<std::string, std::less<>>& directories() const { return directories_; }

 private:
  std::set<std::string, std::less<>> directories_;
};

}  // namespace lares::daemon
