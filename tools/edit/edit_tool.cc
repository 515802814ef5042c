#include "tools/edit/edit_tool.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tools/clip.h"
#include "tools/edit/match.h"
#include "tools/off_thread.h"
#include "tools/outline/syntax_check.h"
#include "tools/spill.h"
#include "tools/text.h"
#include "tools/workspace/own_files.h"
#include "tools/workspace/path_hint.h"
#include "tools/workspace/rules.h"
#include "tools/workspace/tree_listing.h"

namespace lares::tools {
namespace {

constexpr std::size_t kSeenBytesMax = 64 << 20;
constexpr std::size_t kUndosMax = 100, kUndoBytesMax = 64 << 20;  // edits that can be taken back,
                                                                  // in all files
constexpr std::size_t kDiffBytesMax = 32 << 10, kStaleDiffBytesMax = 4000;
constexpr std::size_t kEchoBytesMax = 2000;  // of old_str in an error
constexpr std::size_t kChoicesMax = 20'000, kChoiceTextBytesMax = 4 << 20;
constexpr std::size_t kListedMax = 500;  // entries of a directory
constexpr int kListedDepth = 2;

constexpr const char* kDescription =
    "View, create and edit text files.\n"
    "* `view` shows a file with line numbers, or the part given by `view_range`; of a directory, "
    "what is in it.\n"
    "* `create` makes a new file with `file_text`; it never overwrites one.\n"
    "* `str_replace` puts `new_str` in place of `old_str`, which must occur in the file exactly "
    "once, blanks and line "
    "breaks included; give enough of the surrounding lines.\n"
    "* `insert` puts `new_str` after line `insert_line`; 0 is before the first.\n"
    "* `undo_edit` takes back your last edit of the file; again, the one before it.\n"
    "Paths are absolute. Line numbers are not part of the text.";

constexpr const char* kSchema =
    R"({"type":"object","properties":{)"
    R"("command":{"type":"string","enum":["view","create","str_replace","insert","undo_edit"],"description":"What to do."},)"
    R"("path":{"type":"string","description":"Absolute path of the file."},)"
    R"("file_text":{"type":"string","description":"For `create`: the content of the new file."},)"
    R"("old_str":{"type":"string","description":"For `str_replace`: the text to replace."},)"
    R"("new_str":{"type":"string","description":"For `str_replace` and `insert`: the new text."},)"
    R"("insert_line":{"type":"integer","description":"For `insert`: the line after which to insert."},)"
    R"("view_range":{"type":"array","items":{"type":"integer"},"description":"For `view`: first and last line, as [11, 20]; -1 is the last."})"
    R"(},"required":["command","path"]})";

Outcome failed(std::string text) { return {std::move(text), false, {}}; }

Outcome unwritten(std::string text, std::string_view reason) {
  return {std::move(text), false, {}, is_of_the_disk(reason)};
}

// Of a file that was there. `nothing` says what was not done, where that is known.
Outcome not_replaced(const std::string& shown, std::string_view reason, std::string_view nothing) {
  return unwritten(
      fmt::format("The file {} {}.{}", shown, reason, is_partly_written(reason) ? "" : nothing),
      reason);
}

std::optional<std::string> string_of(const nlohmann::json& args, const char* key) {
  const auto it = args.find(key);
  if (it == args.end() || !it->is_string()) return std::nullopt;
  return it->get_ref<const std::string&>();
}

std::string echo(const std::string& text) {
  if (text.size() <= kEchoBytesMax) return text;
  return text.substr(0, utf8_floor(text, kEchoBytesMax)) + "...";
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

// What view does not show, no answer to an edit shows either.
bool is_kept(const std::string& path, std::string_view text) { return is_secret_text(path, text); }

std::string list_of(const std::vector<std::size_t>& lines) {
  std::vector<std::size_t> few(
      lines.begin(),
      lines.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(lines.size(), 20)));
  return fmt::format("[{}{}]", fmt::join(few, ", "), few.size() < lines.size() ? ", ..." : "");
}

}  // namespace

EditTool::EditTool(const BuiltinOptions& options)
    : options_(options),
      spec_{"str_replace_editor", kDescription, kSchema},
      threads_(options.threads) {}

bool EditTool::mutates(const nlohmann::json& args) const {
  return !(args.is_object() && string_of(args, "command") == "view");
}

void EditTool::note_seen(const std::string& path, const std::string& shown) {
  const std::lock_guard lock(mutex_);
  Seen& seen = seen_[path];
  seen_bytes_ -= seen.text.size();
  seen.sha = blob_sha(shown);
  seen.has_text = seen_bytes_ + shown.size() <= kSeenBytesMax;
  seen.text = seen.has_text ? shown : std::string();
  seen_bytes_ += seen.text.size();
}

std::optional<std::string> EditTool::text_seen(const std::string& path) const {
  const std::lock_guard lock(mutex_);
  const auto seen = seen_.find(path);
  if (seen == seen_.end() || !seen->second.has_text) return std::nullopt;
  return seen->second.text;
}

// All that is there, what cannot be edited too: that is said to who names it.
std::optional<Choices> EditTool::paths(bool for_view) const {
  const auto tree = TreeLister(options_.root).list();
  if (!tree || tree->cut || tree->files.size() > kChoicesMax) return std::nullopt;
  Choices out;
  const auto add = [&](const std::string& root, const std::string& path) {
    if (is_utf8(path)) out.one_of.push_back(path.empty() ? root : root + "/" + path);
  };
  for (const Listed& file : tree->files) add(options_.root, file.path);
  if (for_view) {
    for (const std::string& directory : tree->directories) add(options_.root, directory);
    const std::string outputs = options_.state_dir.empty() ? "" : outputs_dir(options_.state_dir);
    const auto kept = outputs.empty() ? Result<Tree>() : TreeLister(outputs).list();
    if (kept)
      for (const Listed& file : kept->files) add(outputs, file.path);
  }
  if (out.one_of.empty()) return std::nullopt;
  return out;
}

std::optional<Choices> EditTool::choices(
    const std::string& key, const std::vector<std::pair<std::string, std::string>>& so_far) const {
  std::string command, path;
  for (const auto& [name, text] : so_far) {
    if (name == "command") command = text;
    if (name == "path") path = text;
  }
  if (key == "path" && !command.empty() && command != "create") return paths(command == "view");
  if (key == "old_str" && command == "str_replace" && !path.empty()) {
    const auto fs = RootedFs::open(options_.root);
    const auto relative = fs ? fs->relative(path) : std::nullopt;
    if (!relative) return std::nullopt;
    if (editor_) {
      if (const auto text = editor_->last_unsaved(*relative); text && !text->empty())
        return Choices{{}, shown_text(*text), true};
    }
    const auto data = fs->read(*relative, kChoiceTextBytesMax);
    if (!data || is_binary(data->bytes) || data->bytes.empty()) return std::nullopt;
    return Choices{{}, shown_text(data->bytes), true};
  }
  return std::nullopt;
}

asio::awaitable<Result<Outcome>> EditTool::run(nlohmann::json args, OnOutput) {
  edited_.reset();
  auto asking = ask_editor(args);
  unsaved_ = co_await std::move(asking);
  auto calling = call_off_thread(std::move(args));
  auto out = co_await std::move(calling);
  if (!out || !edited_) co_return out;
  try {
    const std::string errors = co_await syntax_errors(std::move(*edited_));
    if (!errors.empty()) out->text += "\n" + errors;
  } catch (const std::exception&) {  // cancelled: the edit is done all the same
  }
  co_return out;
}

// Reads and writes files, and waits until what it wrote is on the disk. Whoever cancels it once it
// has begun is told what it did all the same.
asio::awaitable<Result<Outcome>> EditTool::call_off_thread(nlohmann::json args) {
  const auto target = locate(args, string_of(args, "command") == "view");
  known_ = target ? ask_what_was_shown_of(*target) : std::nullopt;
  std::optional<Outcome> done;
  auto work = [&](const Cancelled& cancelled) -> Result<> {
    if (!cancelled) done = call(args, target);
    return {};
  };
  auto calling = off_thread<void>(threads_.get(), std::move(work));
  const auto ended = co_await std::move(calling);
  if (done) co_return std::move(*done);
  if (ended.error().code == Errc::cancelled) co_return tl::unexpected(ended.error());
  co_return tl::unexpected(  // no memory; nothing else throws here
      Error{Errc::broken, fmt::format("str_replace_editor: {}", ended.error().message)});
}

// Whoever answers does so on this thread alone.
std::optional<KnownText> EditTool::ask_what_was_shown_of(const Target& target) const {
  if (!was_shown_ || target.in_outputs) return std::nullopt;
  const std::string path = target.fs.real(target.path);
  {
    const std::lock_guard lock(mutex_);
    if (seen_.contains(path)) return std::nullopt;
  }
  return was_shown_(path);
}

asio::awaitable<std::string> EditTool::syntax_errors(Edited edited) {
  auto work = [edited = std::move(edited)](const Cancelled& cancelled) -> Result<Outcome> {
    return Outcome{
        new_syntax_errors(edited.path, edited.before, edited.after, cancelled), true, {}};
  };
  auto found = co_await off_thread(threads_.get(), std::move(work));
  co_return found ? std::move(found->text) : std::string();
}

void EditTool::note_edited(const std::string& path, const std::optional<std::string>& before,
                           const std::string& after) {
  if (!can_check_syntax(path, after)) return;
  edited_ = Edited{path, before ? std::optional(shown_text(*before)) : std::nullopt,
                   shown_text(after)};
}

Outcome EditTool::call(const nlohmann::json& args,
                       const tl::expected<Target, std::string>& target) {
  const auto command = args.is_object() ? string_of(args, "command") : std::nullopt;
  if (!command)
    return failed(
        "Parameter `command` is missing; it is one of view, create, str_replace, insert, "
        "undo_edit.");
  if (!target) return failed(target.error());
  if (*command == "view") return view(*target, args);
  if (*command == "create") return create(*target, args);
  if (*command == "str_replace") return str_replace(*target, args);
  if (*command == "insert") return insert(*target, args);
  if (*command == "undo_edit") return undo_edit(*target);
  return failed(
      fmt::format("Unrecognized command `{}`. The allowed commands are: view, create, str_replace, "
                  "insert, undo_edit.",
                  echo(*command)));
}

tl::expected<EditTool::Target, std::string> EditTool::locate(const nlohmann::json& args,
                                                             bool for_view) const {
  const auto path = string_of(args, "path");
  if (!path || path->empty())
    return tl::unexpected(std::string("Parameter `path` is missing; give an absolute path."));
  if (path->front() != '/') {
    return tl::unexpected(fmt::format(
        "The path {} is not an absolute path, it should start with `/`. Maybe you meant {}/{}?",
        *path, options_.root, *path));
  }
  auto fs = RootedFs::open(options_.root);
  if (!fs) return tl::unexpected(fs.error());
  const auto relative = fs->relative(*path);
  const bool own = relative && lies_in_own(*fs, *relative);
  if (relative && !own) {
    if (names_git_directory(*relative)) {
      return tl::unexpected(fmt::format(
          "The path {} is inside .git, which is not edited by hand; use the `git` tool.", *path));
    }
    if (is_secret_name(*relative)) {
      return tl::unexpected(
          fmt::format("The path {} is kept from you: its name says that it holds secrets.", *path));
    }
    return Target{*path, *relative, std::move(*fs)};
  }
  if (for_view && !options_.state_dir.empty()) {
    auto outputs = RootedFs::open(outputs_dir(options_.state_dir));
    const auto output = outputs ? outputs->relative(*path) : std::nullopt;
    if (output) return Target{*path, *output, std::move(*outputs), true};
  }
  if (own)
    return tl::unexpected(
        fmt::format("The path {} is kept from you: Lares keeps files of its own there.", *path));
  return tl::unexpected(
      fmt::format("The path {} is outside the repository {}.", *path, options_.root));
}

std::string EditTool::unread(const Target& target, const std::string& why, bool for_edit) const {
  std::string hint;
  if (why == "does not exist" && !target.in_outputs) {
    hint = path_hint(options_.root, target.path, options_.root + "/");
    if (hint.empty() && for_edit) hint = " `create` makes a new file.";
  }
  return fmt::format("The path {} {}.{}", target.shown, why, hint);
}

Outcome EditTool::view(const Target& target, const nlohmann::json& args) {
  if (target.fs.is_directory(target.path)) return view_directory(target);
  const auto data = target.fs.read(
      target.path, target.in_outputs ? SpillFile::kBytesMax : RootedFs::kFileBytesMax);
  if (!data) return failed(unread(target, data.error(), false));
  if (names_git_directory(data->path) || is_secret_name(data->path) ||
      lies_in_own(target.fs, data->path)) {
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
  const auto tree = TreeLister(options_.root).list();
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
  if (names_git_directory(data->path) || is_secret_name(data->path) ||
      lies_in_own(target.fs, data->path)) {
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
    const std::string after = shown_text(done->bytes);
    note = fmt::format(
        "\nold_str did not appear verbatim: it matched lines {}-{} when {} are ignored. They are "
        "now:\n{}",
        done->line_first, done->line_last, done->relaxed,
        numbered(split_lines(after), done->line_first, done->line_last));
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
