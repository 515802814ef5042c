#include "tools/outline/text.h"

#ifdef LARES_TREE_SITTER
#include <algorithm>
#include <atomic>
#include <chrono>

#include "tools/outline/syntax.h"
#endif

namespace lares::tools {

#ifdef LARES_TREE_SITTER

namespace {

// 256 KiB parse in 50 ms; a text that takes longer than this has no outline, rather than one that
// depends on the machine.
constexpr auto kParseTime = std::chrono::seconds(10);

std::string signatures(const SourceOutline& outline, int depth_max) {
  std::string out;
  for (const Definition& definition : outline.definitions) {
    if (definition.depth > depth_max) continue;
    out.append(static_cast<std::size_t>(2 * definition.depth), ' ')
        .append(definition.text)
        .append("\n");
  }
  return out;
}

}  // namespace

std::optional<std::string> outline_text(const std::string& path, std::string_view text) {
  if (!can_outline(path)) return std::nullopt;
  const std::atomic<bool> cancelled = false;
  const auto outline = outline_source(path, text, std::chrono::steady_clock::now() + kParseTime,
                                      cancelled);
  if (!outline.complete || outline.definitions.empty()) return std::nullopt;
  int depth = 0;
  for (const Definition& definition : outline.definitions)
    depth = std::max(depth, definition.depth);
  for (; depth >= 0; --depth) {
    std::string out = signatures(outline, depth);
    if (out.size() <= kOutlineTextBytesMax) return out;
  }
  return std::nullopt;
}

#else

std::optional<std::string> outline_text(const std::string&, std::string_view) {
  return std::nullopt;
}

#endif

}  // namespace lares::tools
