// The command `view`: a file with line numbers, or what is in a directory.
#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "tools/clip.h"
#include "tools/edit/edit_tool.h"
#include "tools/edit/match.h"
#include "tools/edit/replies.h"
#include "tools/spill.h"
#include "tools/workspace/kept_back.h"
#include "tools/workspace/tree_listing.h"

namespace lares::tools {
namespace {

constexpr std::size_t kListedMax = 500;  // entries of a directory
constexpr int kListedDepth = 2;

}  // namespace

Outcome EditTool::view(const Target& target, const nlohmann::json& args) {
  if (target.fs.is_directory(target.path)) return view_directory(target);
  const auto data = target.fs.read(
      target.path, target.in_outputs ? SpillFile::kBytesMax : RootedFs::kFileBytesMax);
  if (!data) return failed(unread(target, data.error(), false));
  if (is_kept_back(target.fs, data->path)) {
    return failed(
        fmt::format("The path {} is kept from you: it leads to {}.", target.shown, data->path));
  }
  if (is_binary(data->bytes))
    return failed(fmt::format(
        "The path {} is a binary file of {} bytes. Look at it with `bash`: file, strings or xxd.",
        target.shown, data->bytes.size()));
  const std::string text = unsaved_ ? *unsaved_ : shown_text(data->bytes);
  if (is_kept(data->path, data->bytes) || (unsaved_ && is_kept(data->path, text))) {
    return failed(
        fmt::format("The path {} is kept from you: it holds a private key.", target.shown));
  }
  const auto lines = split_lines(text);
  std::size_t first = 1, last = lines.size();
  if (const auto range = args.find("view_range"); range != args.end() && !range->is_null()) {
    const auto wrong = [&](std::string why) {
      return failed(fmt::format(
          "Invalid `view_range`: {}. {}",
          echo(range->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)), why));
    };
    if (!range->is_array() || range->size() != 2 || !(*range)[0].is_number_integer() ||
        !(*range)[1].is_number_integer()) {
      return wrong("It should be a list of two integers.");
    }
    const auto from = (*range)[0].get<std::int64_t>(), to = (*range)[1].get<std::int64_t>();
    const auto n = static_cast<std::int64_t>(lines.size());
    if (from < 1 || from > std::max<std::int64_t>(n, 1)) {
      return wrong(fmt::format(
          "Its first element `{}` should be within the range of lines of the file: [1, {}].", from,
          n));
    }
    if (to != -1 && to < from) {
      return wrong(fmt::format(
          "Its second element `{}` should be larger than or equal to its first `{}`, or -1.", to,
          from));
    }
    first = static_cast<std::size_t>(from);
    if (to != -1) last = std::min(last, static_cast<std::size_t>(to));
  }
  if (!target.in_outputs) note_seen(data->path, text);
  if (lines.empty())
    return {fmt::format("The file {} is empty.{}{}", target.shown, unsaved_ ? "\n" : "",
                        unsaved_note()),
            true,
            {}};
  // A file is clipped at its end, at a line, so that the numbers go on where the next view_range
  // begins.
  std::string out;
  for (std::size_t i = first; i <= last; ++i) {
    const std::string line = numbered(lines, i, i);
    if (out.size() + line.size() > kOutputBytesMax) {
      if (out.empty()) out = line.substr(0, utf8_floor(line, kOutputBytesMax)) + "\n";
      out += fmt::format("{}\n[lines {} to {} of {} are not shown]\n", kClippedNote, i, last,
                         lines.size());
      break;
    }
    out += line;
  }
  return {out + unsaved_note(), true, {}};
}

Outcome EditTool::view_directory(const Target& target) const {
  if (target.in_outputs)
    return failed(fmt::format("The path {} is a directory; name a file in it.", target.shown));
  const auto tree = list_tree(*git_);
  if (!tree) return failed(tree.error().message);
  const std::string directory = target.fs.real(target.path);  // without links, and slashes behind
  const std::string prefix = directory.empty() ? "" : directory + "/";
  std::set<std::string> entries;
  for (const Listed& file : tree->files) {
    if (!file.path.starts_with(prefix)) continue;
    std::size_t end = prefix.size();
    for (int depth = 0; depth < kListedDepth && end != std::string::npos; ++depth) {
      end = file.path.find('/', end);
      if (end != std::string::npos) ++end;
      entries.insert(file.path.substr(0, end));
    }
  }
  if (entries.empty() && !prefix.empty())
    return {fmt::format("Nothing in {} is a file that git tracks or would track: it is empty, "
                        "ignored, filled by a tool, or a repository of its own. `ls` in bash shows "
                        "what is there.\n",
                        target.shown),
            true,
            {}};
  std::string out = fmt::format(
      "The files and directories up to {} levels deep in {}, ignored ones left out:\n",
      kListedDepth, target.shown);
  std::size_t n = 0;
  for (const std::string& entry : entries) {
    if (++n > kListedMax) {
      out += fmt::format("[{} more]\n", entries.size() - kListedMax);
      break;
    }
    out += options_.root + "/" + to_utf8(entry) + "\n";
  }
  return {std::move(out), true, {}};
}

}  // namespace lares::tools
