// The commands that change a file: `create`, `str_replace`, `insert`, and `undo_edit`, which takes
// them back.
#include <algorithm>

#include <fmt/format.h>

#include "tools/edit/edit_tool.h"
#include "tools/edit/match.h"
#include "tools/edit/replies.h"
#include "tools/workspace/kept_back.h"
#include "tools/workspace/own_files.h"

namespace lares::tools {
namespace {

// Edits that can be taken back, in all files
constexpr std::size_t kUndosMax = 100, kUndoBytesMax = 64 << 20;
constexpr std::size_t kDiffBytesMax = 32 << 10, kStaleDiffBytesMax = 4000;

Outcome unwritten(std::string text, std::string_view reason) {
  return {std::move(text), false, {}, is_of_the_disk(reason)};
}

// Of a file that was there. `nothing` says what was not done, where that is known.
Outcome not_replaced(const std::string& shown, std::string_view reason, std::string_view nothing) {
  return unwritten(
      fmt::format("The file {} {}.{}", shown, reason, is_partly_written(reason) ? "" : nothing),
      reason);
}

// nullopt: there is no file.
Change change(const std::string& path, const std::optional<std::string>& before,
              const std::optional<std::string>& after) {
  const auto name = [](const std::optional<std::string>& bytes) {
    return bytes ? blob_sha(*bytes) : std::string(kNoFile);
  };
  return {path, unified_diff(path, before.value_or(""), after.value_or(""), kDiffBytesMax),
          name(before), name(after), after ? blob_sha(shown_text(*after)) : ""};
}

std::string list_of(const std::vector<std::size_t>& lines) {
  std::vector<std::size_t> few(
      lines.begin(),
      lines.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(lines.size(), 20)));
  return fmt::format("[{}{}]", fmt::join(few, ", "), few.size() < lines.size() ? ", ..." : "");
}

}  // namespace

Outcome EditTool::create(const Target& target, const nlohmann::json& args) {
  const auto text = string_of(args, "file_text");
  if (!text)
    return failed(
        "Parameter `file_text` is required for command: create. It is the whole text of the new "
        "file.");
  struct stat st {};
  if (target.path.empty() || target.fs.lstat(target.path, st)) {
    return failed(
        fmt::format("File already exists at: {}. Cannot overwrite files using command `create`. "
                    "Change it with `str_replace`.",
                    target.shown));
  }
  if (target.path.ends_with('/'))
    return failed(fmt::format("The path {} names a directory; give the name of the new file too.",
                              target.shown));
  if (names_git_directory(target.fs.real_parent(target.path))) {
    return failed(
        fmt::format("The path {} leads into .git, which is not edited by hand; use the `git` tool.",
                    target.shown));
  }
  if (lies_in_own(target.fs, target.fs.real_parent(target.path)))
    return failed(
        fmt::format("The path {} leads to where Lares keeps files of its own.", target.shown));
  if (auto made = target.fs.create(target.path, *text); !made) {
    return unwritten(fmt::format("The file {} was not created: {}.", target.shown, made.error()),
                     made.error());
  }
  const auto made = target.fs.read(target.path);
  const std::string path = made ? made->path : target.path;
  note_seen(path, shown_text(*text));
  remember({path, std::nullopt, blob_sha(*text)});
  note_edited(path, std::nullopt, *text);
  Outcome out{fmt::format("File created successfully at: {}", target.shown), true, {}};
  out.changes.push_back(change(path, std::nullopt, *text));
  return out;
}

tl::expected<FileData, std::string> EditTool::open_for_edit(const Target& target) {
  auto data = target.fs.read(target.path);
  if (!data) return tl::unexpected(unread(target, data.error(), true));
  if (is_kept_back(target.fs, data->path)) {
    return tl::unexpected(fmt::format("The path {} leads to {}, which is not edited here.",
                                      target.shown, data->path));
  }
  if (is_binary(data->bytes))
    return tl::unexpected(
        fmt::format("The path {} is a binary file and cannot be edited. Write it anew with a "
                    "program, in `bash`.",
                    target.shown));
  if (unsaved_) return tl::unexpected(refuse_unsaved(target, *data));
  const std::string now = shown_text(data->bytes);
  if (std::string stale = changed_since_seen(target, data->path, now); !stale.empty()) {
    note_seen(data->path, now);
    return tl::unexpected(std::move(stale));
  }
  return std::move(*data);
}

// Why a file that is `now` is not edited; "" when that is what the model has before it, or when
// nobody knows what it has.
std::string EditTool::changed_since_seen(const Target& target, const std::string& path,
                                         const std::string& now) const {
  const std::string is = blob_sha(now);
  std::optional<std::string> text;
  {
    const std::lock_guard lock(mutex_);
    const auto seen = seen_.find(path);
    const bool any = seen != seen_.end();
    const std::string sha = any ? seen->second.sha : known_ ? known_->sha : "";
    if (sha.empty() || sha == is) return "";
    if (any && seen->second.has_text)
      text = seen->second.text;
    else if (!any && known_->text)
      text = *known_->text;
  }
  if (text && (is_kept(path, now) || is_kept(path, *text)))
    return fmt::format(
        "No edit was performed: {} changed since you last saw it, and holds a secret, so it is not "
        "shown. Make the edit again if it is still meant.\n",
        target.shown);
  return fmt::format(
      "No edit was performed: {} changed since you last saw it. {}", target.shown,
      text ? "These lines differ:\n" + unified_diff(path, *text, now, kStaleDiffBytesMax)
           : "View it again first.\n");
}

Outcome EditTool::str_replace(const Target& target, const nlohmann::json& args) {
  const auto old_str = string_of(args, "old_str"), new_str = string_of(args, "new_str");
  if (!old_str)
    return failed(
        "Parameter `old_str` is required for command: str_replace. It is the text to replace, as "
        "it stands in the file.");
  if (args.contains("new_str") && !new_str)
    return failed(
        "Parameter `new_str` must be a string for command: str_replace; leave it out to delete "
        "old_str.");
  const auto data = open_for_edit(target);
  if (!data) return failed(data.error());
  if (old_str->empty()) {
    return failed(fmt::format(
        "No replacement was performed, old_str is empty. Use `insert` to add text to {}.",
        target.shown));
  }
  const std::string replacement = new_str.value_or("");
  if (*old_str == replacement)
    return failed("No replacement was performed, old_str and new_str are the same.");
  auto done = replace_unique(data->bytes, *old_str, replacement);
  if (!done && !done.error().lines.empty()) {
    return failed(
        fmt::format("No replacement was performed. Multiple occurrences of old_str `{}` in lines "
                    "{}. Please ensure it is unique",
                    echo(*old_str), list_of(done.error().lines)));
  }
  if (!done) {
    const std::string text = shown_text(data->bytes);
    note_seen(data->path, text);
    const std::string more = is_kept(data->path, data->bytes)
                                 ? "It holds a secret, so it is not shown."
                                 : explain_miss(text, *old_str);
    return failed(
        fmt::format("No replacement was performed, old_str `{}` did not appear verbatim in {}.{}{}",
                    echo(*old_str), target.shown, more.empty() ? "" : "\n", more));
  }
  std::string note;
  if (!done->relaxed.empty()) {
    note = fmt::format(
        "\nold_str did not appear verbatim: it matched lines {}-{} when {} are ignored.",
        done->line_first, done->line_last, done->relaxed);
    if (!is_kept(data->path, done->bytes)) {
      const std::string after = shown_text(done->bytes);
      note += " They are now:\n" + numbered(split_lines(after), done->line_first, done->line_last);
    }
    if (done->relaxed == "indentation") {
      note.replace(note.find(" are ignored"), 12, " is ignored, and new_str was indented likewise");
    }
  }
  return commit(target, *data, done->bytes, note);
}

Outcome EditTool::insert(const Target& target, const nlohmann::json& args) {
  const auto new_str = string_of(args, "new_str");
  const auto line = args.find("insert_line");
  if (line == args.end() || !line->is_number_integer())
    return failed(
        "Parameter `insert_line` is required for command: insert. It is the number of the line "
        "after which new_str goes, 0 for the top.");
  if (!new_str)
    return failed("Parameter `new_str` is required for command: insert. It is the text to insert.");
  const auto data = open_for_edit(target);
  if (!data) return failed(data.error());
  const std::string& bytes = data->bytes;
  const std::size_t bom = bytes.starts_with(kBom) ? kBom.size() : 0;
  const auto n_lines =
      static_cast<std::int64_t>(split_lines(std::string_view(bytes).substr(bom)).size());
  const auto at = line->get<std::int64_t>();
  if (at < 0 || at > n_lines) {
    return failed(
        fmt::format("Invalid `insert_line` parameter: {}. It should be within the range of lines "
                    "of the file: [0, {}]",
                    at, n_lines));
  }
  if (new_str->empty())
    return failed(
        "No insertion was performed, new_str is empty. To delete text use `str_replace` with an "
        "empty new_str.");
  std::size_t offset = bom;
  for (std::int64_t i = 0; i < at; ++i) {
    const std::size_t lf = bytes.find('\n', offset);
    offset = lf == std::string::npos ? bytes.size() : lf + 1;
  }
  const std::size_t any_lf = bytes.find('\n');
  const bool crlf = any_lf != std::string::npos && any_lf > 0 && bytes[any_lf - 1] == '\r';
  std::string text;
  for (std::size_t i = 0; i < new_str->size(); ++i) {
    const char c = (*new_str)[i];
    if (crlf && c == '\r' && i + 1 < new_str->size() && (*new_str)[i + 1] == '\n') continue;
    if (crlf && c == '\n') text += '\r';
    text += c;
  }
  const std::string end = crlf ? "\r\n" : "\n";
  const bool after_unended_line = offset == bytes.size() && offset > bom && bytes.back() != '\n';
  if (after_unended_line) {  // the file had no final line end and still has none
    if (text.ends_with(end)) text.resize(text.size() - end.size());
    text = end + text;
  } else if (!text.ends_with('\n')) {
    text += end;
  }
  return commit(target, *data, bytes.substr(0, offset) + text + bytes.substr(offset), "");
}

Outcome EditTool::commit(const Target& target, const FileData& was, const std::string& bytes,
                         const std::string& note) {
  if (auto done = target.fs.replace(was, bytes); !done) {
    return not_replaced(target.shown, done.error(), " Nothing was changed.");
  }
  note_seen(was.path, shown_text(bytes));
  remember({was.path, was.bytes, blob_sha(bytes)});
  note_edited(was.path, was.bytes, bytes);
  Outcome out{
      fmt::format("The file {} has been edited successfully.{}", target.shown, note), true, {}};
  if (was.stat.st_nlink > 1)
    out.text += fmt::format("\nIt has {} hard links and was written in place.", was.stat.st_nlink);
  out.changes.push_back(change(was.path, was.bytes, bytes));
  return out;
}

void EditTool::remember(Undo undo) {
  undo_bytes_ += undo.size();
  undos_.push_back(std::move(undo));
  while (undos_.size() > kUndosMax || undo_bytes_ > kUndoBytesMax) {
    undo_bytes_ -= undos_.front().size();
    undos_.pop_front();
  }
}

Outcome EditTool::undo_edit(const Target& target) {
  const auto data = target.fs.read(target.path);
  if (!data) return failed(unread(target, data.error(), false));
  const auto last = std::find_if(undos_.rbegin(), undos_.rend(),
                                 [&](const Undo& undo) { return undo.path == data->path; });
  if (last == undos_.rend())
    return failed(fmt::format("No edit of {} is left to undo.", target.shown));
  if (unsaved_) return failed(refuse_unsaved(target, *data));
  if (last->sha_after != blob_sha(data->bytes)) {
    return failed(
        fmt::format("Nothing was undone: {} changed after your last edit of it. View it, and edit "
                    "what is there now.",
                    target.shown));
  }
  const std::string before = last->before.value_or("");
  const auto done = last->before ? target.fs.replace(*data, before) : target.fs.remove(*data);
  if (!done) return not_replaced(target.shown, done.error(), " Nothing was undone.");
  Outcome out{fmt::format("The last edit of {} has been undone{}.", target.shown,
                          last->before ? "" : "; the file is gone again"),
              true,
              {}};
  out.changes.push_back(change(data->path, data->bytes, last->before));
  note_seen(data->path, shown_text(before));
  if (last->before) note_edited(data->path, data->bytes, before);
  undo_bytes_ -= last->size();
  undos_.erase(std::next(last).base());
  return out;
}

}  // namespace lares::tools
