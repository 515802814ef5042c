#include "tools/git/patch.h"

#include <fmt/format.h>

#include <string_view>

#include "tools/git/text.h"
#include "tools/git/tree_diff.h"
#include "tools/text.h"
#include "tools/workspace/rules.h"

namespace lares::tools::git {
namespace {

constexpr git_off_t kDiffFileBytesMax = 2 << 20;  // larger files count as binary

bool is_secret(const git_diff_delta* delta) {
  // Renamed, its lines are still the secret's.
  for (const char* path : {delta->new_file.path, delta->old_file.path})
    if (path && is_secret_name(path)) return true;
  return false;
}

// Everything is counted, the lines beyond the bound are not kept.
struct Patch {
  std::string text;
  std::size_t n_lines_cut = 0;
  const Filters* filters = nullptr;  // where lines may be of files in the worktree
  bool filtered = false;             // the file under way
  // Of the file under way, where its name is one of keys and certificates: its lines, for a look.
  std::string path, lines;
  std::size_t lines_at = 0;  // in the text
};

void withhold_key(Patch& patch) {
  if (!patch.lines.empty() && is_secret_text(patch.path, patch.lines)) {
    patch.text.resize(patch.lines_at);
    patch.text += "[content withheld: a key]\n";
  }
  patch.lines.clear();
}

// The header of a file without the line that begins with "index": `show` gives a content by its id.
std::string without_ids(std::string_view header) {
  std::string out;
  for (const std::string_view line : split_lines(header))
    if (!line.starts_with("index ")) out.append(line) += '\n';
  return out;
}

int append_line(const git_diff_delta* delta, const git_diff_hunk*, const git_diff_line* line,
                void* payload) {
  auto& patch = *static_cast<Patch*>(payload);
  if (is_secret(delta) && line->origin != GIT_DIFF_LINE_FILE_HDR) return 0;
  if (line->origin == GIT_DIFF_LINE_FILE_HDR) {
    withhold_key(patch);
    patch.path = delta->new_file.path ? delta->new_file.path : delta->old_file.path;
    patch.filtered = patch.filters && patch.filters->only_git_compares(patch.path.c_str());
  }
  if (patch.text.size() > kOutputBytesMax) {
    ++patch.n_lines_cut;
    return 0;
  }
  if (patch.filtered && line->origin != GIT_DIFF_LINE_FILE_HDR) return 0;
  const bool content = line->origin == '+' || line->origin == '-' || line->origin == ' ';
  if (content) patch.text += line->origin;
  const std::string_view text(line->content, line->content_len);
  patch.text += is_secret(delta) ? without_ids(text) : text;
  if (line->origin == GIT_DIFF_LINE_FILE_HDR) patch.lines_at = patch.text.size();
  if (content && needs_a_look(patch.path)) patch.lines.append(line->content, line->content_len);
  if (is_secret(delta)) patch.text += "[content withheld: this name is one for secrets]\n";
  if (patch.filtered)
    patch.text +=
        "[lines not shown: it is stored in another form, through a filter or in another "
        "encoding; git diff in bash shows them]\n";
  return 0;
}

}  // namespace

git_diff_options diff_options() {
  git_diff_options options = GIT_DIFF_OPTIONS_INIT;
  options.flags = GIT_DIFF_DISABLE_PATHSPEC_MATCH;
  options.max_size = kDiffFileBytesMax;
  return options;
}

GitResult<std::string> patch_text(const std::vector<Diff>& diffs, const Filters* filters) {
  Patch patch;
  patch.filters = filters;
  std::size_t n_files = 0;
  for (const Diff& diff : diffs) {
    find_renames(diff.get());
    if (git_diff_print(diff.get(), GIT_DIFF_FORMAT_PATCH, append_line, &patch) != 0)
      return tl::unexpected(fmt::format("diff: {}", last_error()));
    withhold_key(patch);
    n_files += git_diff_num_deltas(diff.get());
  }
  std::string text = to_utf8(patch.text);
  if (patch.n_lines_cut > 0 || text.size() > kOutputBytesMax) {
    const auto end = text.rfind('\n', kOutputBytesMax);
    const auto cut = end == std::string::npos ? utf8_floor(text, kOutputBytesMax) : end + 1;
    patch.n_lines_cut += split_lines(std::string_view(text).substr(cut)).size();
    text.resize(cut);
    text += fmt::format("[cut: {} more lines, {} files in all; name a path]\n", patch.n_lines_cut,
                        n_files);
  }
  return text;
}

}  // namespace lares::tools::git
