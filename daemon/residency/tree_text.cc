#include "daemon/residency/tree_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>
#include <string_view>

#include "tools/workspace/workspace.h"

namespace lares::daemon {
namespace {

constexpr std::size_t kCountedMin = 8;  // fewer of a kind are named

// From the fullest to the barest.
constexpr std::array<TreeShape, 9> kShapes = {
    TreeShape{},       TreeShape{1 << 20, 500}, TreeShape{8, 200},
    TreeShape{6, 200}, TreeShape{5, 100},       TreeShape{4, 100},
    TreeShape{3, 50},  TreeShape{2, 50},        TreeShape{1, 20}};

using Entries = std::span<const TreeEntry>;

bool is_one_kind(Entries entries) {
  return entries.size() >= kCountedMin && std::ranges::all_of(entries, [&](const TreeEntry& entry) {
           return entry.may_be_counted && entry.reason == entries.front().reason;
         });
}

class Writer {
 public:
  explicit Writer(const TreeShape& shape) : shape_(shape) {}

  void directory(Entries entries, std::size_t prefix, int depth) {
    std::size_t n_names = 0, n_left_out = 0, n_below = 0, n_below_left_out = 0;
    while (!entries.empty()) {
      const std::string_view rest = std::string_view(entries.front().path).substr(prefix);
      const std::size_t slash = rest.find('/');
      if (slash == std::string_view::npos) {
        if (n_names++ < shape_.names_max)
          name(rest, entries.front().reason, depth);
        else
          ++n_left_out;
        entries = entries.subspan(1);
        continue;
      }
      // All paths that begin alike stand together in bytewise order.
      const std::string_view begins =
          std::string_view(entries.front().path).substr(0, prefix + slash + 1);
      const auto end = std::ranges::find_if(
          entries, [&](const TreeEntry& e) { return !e.path.starts_with(begins); });
      const auto n = static_cast<std::size_t>(end - entries.begin());
      if (n_below++ < shape_.names_max)
        below(entries.first(n), begins.substr(prefix), prefix + slash + 1, depth);
      else
        ++n_below_left_out;
      entries = entries.subspan(n);
    }
    if (n_below_left_out > 0) line(fmt::format("[{} more directories]", n_below_left_out), depth);
    if (n_left_out > 0) line(fmt::format("[{} more files]", n_left_out), depth);
  }
  std::string text;

 private:
  void below(Entries entries, std::string_view begins, std::size_t prefix, int depth) {
    const std::string shown = tools::attribute_text(begins);
    if (is_one_kind(entries)) {
      line(fmt::format("{} [{} files: {}]", shown, entries.size(), entries.front().reason), depth);
    } else if (depth + 1 >= shape_.depth_max) {
      line(fmt::format("{} [{} file{}]", shown, entries.size(), entries.size() == 1 ? "" : "s"),
           depth);
    } else {
      line(shown, depth);
      directory(entries, prefix, depth + 1);
    }
  }
  void name(std::string_view name, const std::string& reason, int depth) {
    const std::string shown = tools::attribute_text(name);
    line(reason.empty() ? shown : fmt::format("{} [{}]", shown, reason), depth);
  }
  void line(const std::string& what, int depth) {
    text.append(static_cast<std::size_t>(2 * depth), ' ').append(what).append("\n");
  }
  const TreeShape& shape_;
};

}  // namespace

std::string tree_text(const std::vector<TreeEntry>& entries, const TreeShape& shape,
                      const std::vector<std::string>& notes) {
  Writer writer(shape);
  writer.directory(entries, 0, 0);
  std::string out = "<tree>\n" + writer.text;
  for (const std::string& note : notes) out += fmt::format("[{}]\n", tools::attribute_text(note));
  return out + "</tree>\n";
}

TreeShape tree_shape(const std::vector<TreeEntry>& entries, std::size_t bytes_max,
                     const std::vector<std::string>& notes) {
  for (const TreeShape& shape : kShapes) {
    if (tree_text(entries, shape, notes).size() <= bytes_max) return shape;
  }
  return kShapes.back();
}

}  // namespace lares::daemon
