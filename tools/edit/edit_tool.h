// `str_replace_editor`: view, create, str_replace and insert in the shapes and words DeepSeek-V4
// was trained on, and undo_edit.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tools/builtin.h"
#include "tools/edit/editor_texts.h"
#include "tools/git/kept_view.h"
#include "tools/off_thread.h"
#include "tools/workspace/rooted_fs.h"
#include "tools/workspace/workspace.h"

namespace lares::tools {

class EditTool : public Tool {
 public:
  explicit EditTool(const BuiltinOptions& options);

  const Spec& spec() const override { return spec_; }
  bool mutates(const nlohmann::json& args) const override;
  bool tells_changes(const nlohmann::json&) const override { return true; }
  std::optional<Choices> choices(
      const std::string& key,
      const std::vector<std::pair<std::string, std::string>>& so_far) const override;
  asio::awaitable<Result<Outcome>> run(nlohmann::json args, OnOutput on_output) override;

  void use_editor(std::shared_ptr<EditorTexts> editor) { editor_ = std::move(editor); }

  // The session's model has this text of the file before it; an edit of anything else is refused.
  // On any thread, and while a call runs.
  void note_seen(const std::string& path, const std::string& shown);
  // Asked, during a run, of files of which nothing was noted.
  void ask_what_was_shown(WasShown was_shown) { was_shown_ = std::move(was_shown); }

 private:
  struct Target {
    std::string shown;  // as the model wrote it
    std::string path;   // relative to fs
    RootedFs fs;
    bool in_outputs = false;  // a spilled output, for reading only
  };
  // What the session last saw. `text` is empty, and has_text false, beyond kSeenBytesMax in all.
  struct Seen {
    std::string sha, text;
    bool has_text = false;
  };

  // One edit of this session that can be taken back.
  struct Undo {
    std::string path;                   // relative to the root
    std::optional<std::string> before;  // the file's bytes; nothing where the edit made the file
    // What the edit left: if the file is something else by now, nothing is undone
    std::string sha_after;
    std::size_t size() const { return before ? before->size() : 0; }
  };

  // What an edit made of a file, to be looked at for syntax errors once it is done.
  struct Edited {
    std::string path;
    // As the model is shown it; nothing where the edit made the file
    std::optional<std::string> before;
    std::string after;
  };

  // What it holds unsaved of the file that a call is about
  asio::awaitable<std::optional<std::string>> ask_editor(nlohmann::json args) const;
  std::string unsaved_note();
  std::string refuse_unsaved(const Target& target, const FileData& data);
  asio::awaitable<std::string> syntax_errors(Edited edited);
  void note_edited(const std::string& path, const std::optional<std::string>& before,
                   const std::string& after);  // the bytes
  std::optional<KnownText> ask_what_was_shown_of(const Target& target) const;
  asio::awaitable<Result<Outcome>> call_off_thread(nlohmann::json args);
  Outcome call(const nlohmann::json& args, const tl::expected<Target, std::string>& target);
  Outcome view(const Target& target, const nlohmann::json& args);
  Outcome view_directory(const Target& target) const;
  std::optional<Choices> paths(bool for_view) const;
  Outcome create(const Target& target, const nlohmann::json& args);
  Outcome str_replace(const Target& target, const nlohmann::json& args);
  Outcome insert(const Target& target, const nlohmann::json& args);
  Outcome undo_edit(const Target& target);
  std::string unread(const Target& target, const std::string& why, bool for_edit) const;
  void remember(Undo undo);
  Outcome commit(const Target& target, const FileData& was, const std::string& bytes,
                 const std::string& note);
  tl::expected<Target, std::string> locate(const nlohmann::json& args, bool for_view) const;
  tl::expected<FileData, std::string> open_for_edit(const Target& target);
  std::optional<std::string> text_seen(const std::string& path) const;
  std::string changed_since_seen(const Target& target, const std::string& path,
                                 const std::string& now) const;

  BuiltinOptions options_;
  std::shared_ptr<KeptView> git_;        // of the root
  std::shared_ptr<EditorTexts> editor_;  // null: files are what is on disk
  Spec spec_;
  WasShown was_shown_;                // may be empty
  std::optional<KnownText> known_;    // what it said of the file that the call that runs is about
  mutable std::mutex mutex_;          // of these two:
  std::map<std::string, Seen> seen_;  // by path relative to the root
  std::size_t seen_bytes_ = 0;
  std::deque<Undo> undos_;  // oldest first
  std::size_t undo_bytes_ = 0;
  // In the editor, of the file that the call that runs is about; as the model is shown it
  std::optional<std::string> unsaved_;
  bool told_of_unsaved_ = false;  // the model knows who sees what
  std::optional<Edited> edited_;  // by the call that runs
  WorkThreads threads_;
};

}  // namespace lares::tools
