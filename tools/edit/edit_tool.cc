#include "tools/edit/edit_tool.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tools/clip.h"
#include "tools/edit/replies.h"
#include "tools/off_thread.h"
#include "tools/outline/syntax_check.h"
#include "tools/spill.h"
#include "tools/text.h"
#include "tools/workspace/kept_back.h"
#include "tools/workspace/own_files.h"
#include "tools/workspace/path_hint.h"
#include "tools/workspace/rules.h"
#include "tools/workspace/tree_listing.h"

namespace lares::tools {
namespace {

constexpr std::size_t kSeenBytesMax = 64 << 20;
constexpr std::size_t kChoicesMax = 20'000, kChoiceTextBytesMax = 4 << 20;

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

}  // namespace

EditTool::EditTool(const BuiltinOptions& options)
    : options_(options),
      git_(std::make_shared<KeptView>(options.root)),
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
  const auto tree = list_tree(*git_);
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
    for (const std::string& directory : options_.viewable)
      if (const auto more = TreeLister(directory).list())
        for (const Listed& file : more->files) add(directory, file.path);
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
    // Nor may the sampler, which is held to this text, spell out what `view` keeps back.
    if (!relative || is_kept_back(*fs, *relative)) return std::nullopt;
    if (editor_) {
      if (const auto text = editor_->last_unsaved(editors_path(*relative)); text && !text->empty())
        return is_kept(*relative, *text) ? std::nullopt
                                         : std::optional(Choices{{}, shown_text(*text), true});
    }
    const auto data = fs->read(*relative, kChoiceTextBytesMax);
    if (!data || is_binary(data->bytes) || data->bytes.empty() ||
        is_kept_back(*fs, data->path) || is_kept(data->path, data->bytes))
      return std::nullopt;
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
  // Of an error the line is told
  if (!can_check_syntax(path, after) || is_kept(path, after)) return;
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
  for (const std::string& directory : for_view ? options_.viewable : std::vector<std::string>()) {
    auto files = RootedFs::open(directory);
    const auto inside = files ? files->relative(*path) : std::nullopt;
    if (inside && !is_secret_name(*inside)) return Target{*path, *inside, std::move(*files), true};
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
    hint = path_hint(*git_, target.path, options_.root + "/");
    if (hint.empty() && for_edit) hint = " `create` makes a new file.";
  }
  return fmt::format("The path {} {}.{}", target.shown, why, hint);
}

}  // namespace lares::tools
