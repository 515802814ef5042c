#include "tools/file_patch.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "tools/text.h"

namespace lares::tools {
namespace {

constexpr std::string_view kNone = "/dev/null";

// The names in a unified diff's first two lines, behind "--- " and "+++ ".
struct Names {
  std::size_t before, before_size, after, after_size;
  static constexpr std::size_t kMark = 4;

  explicit Names(std::string_view diff) {
    const std::size_t first = std::min(diff.find('\n'), diff.size());
    const std::size_t second = std::min(diff.find('\n', first + 1), diff.size());
    before = kMark, before_size = first - kMark;
    after = first + 1 + kMark, after_size = second - after;
  }
};

// "a/f b/f", in quotes where git wants them.
std::string both_names(const std::string& path) {
  const std::string some = unified_diff(path, "", "x\n", SIZE_MAX);
  const Names names(some);
  const auto name = [&](std::size_t at, std::size_t size) {
    const auto whole = std::string_view(some).substr(at, size);
    return whole.substr(0, whole.find_last_not_of('\t') + 1);  // one is behind a name with blanks
  };
  return fmt::format("{} {}", name(names.before, names.before_size),
                     name(names.after, names.after_size));
}

}  // namespace

std::string file_patch(const std::string& path, std::string diff,
                       std::optional<unsigned> mode_before, std::optional<unsigned> mode_after) {
  if (mode_before == mode_after) return diff;
  std::string head = fmt::format("diff --git {}\n", both_names(path));
  if (!mode_before) {
    head += fmt::format("new file mode {:06o}\n", *mode_after);
  } else if (!mode_after) {
    head += fmt::format("deleted file mode {:06o}\n", *mode_before);
  } else {
    head += fmt::format("old mode {:06o}\nnew mode {:06o}\n", *mode_before, *mode_after);
  }
  if (!diff.empty()) {
    const Names names(diff);
    if (!mode_before) diff.replace(names.before, names.before_size, kNone);
    if (!mode_after) diff.replace(names.after, names.after_size, kNone);
  }
  return head + diff;
}

bool cut_diff(std::string& diff, std::size_t bytes_max) {
  if (diff.size() <= bytes_max) return false;
  const std::size_t end = bytes_max == 0 ? std::string::npos : diff.rfind('\n', bytes_max - 1);
  const std::size_t keep = end == std::string::npos ? utf8_floor(diff, bytes_max) : end + 1;
  const std::size_t n_left_out = diff.size() - keep;
  diff.resize(keep);
  diff += fmt::format("[{} more bytes of diff]\n", n_left_out);
  return true;
}

}  // namespace lares::tools
