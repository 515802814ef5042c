// What the editor holds of files and has not saved. The model is told with the next prompt, the
// daemon's tools ask when they are about to read or change a file, and what changes on the disk of
// a file that is open goes into the editor's text as well.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include "daemon/bridges/acp/agreement.h"
#include "daemon/bridges/acp/editor.h"
#include "daemon/bridges/acp/root.h"
#include "tools/edit/editor_texts.h"

namespace lares::cli::acp {

using tools::kUnsavedBytesMax;

// Files that are asked for before each prompt: those named or worked on last
inline constexpr std::size_t kWatchedMax = 32;
inline constexpr std::size_t kUnsavedDiffMax = 16u << 10;  // of one file, as the model is shown it

// Behind a prompt's text.
inline constexpr std::string_view kUnsavedBegins = "\n\n<unsaved-in-editor>\n",
                                  kUnsavedEnds = "</unsaved-in-editor>";
std::string_view without_unsaved(std::string_view prompt);

// `text` with what is between `before` and `after` done to it as well: each hunk of a unified diff
// where its old lines stand, exactly once. Nothing: some do not, or the diff was cut off.
std::optional<std::string> with_edit(const std::string& text, const std::string& unified);

class Unsaved {
 public:
  Unsaved(asio::any_io_executor io, Editor& editor, Agreement& agreement, Root root, bool writes)
      : io_(io), editor_(editor), agreement_(agreement), root_(std::move(root)), writes_(writes) {}

  // What the user has written of a file in the editor; nothing: what is on disk, or was there and
  // has not been read again.
  struct Held {
    std::string path;  // as the repository calls it
    std::optional<std::string> text;
    bool parted = false;  // the disk has changed too: neither goes over the other
  };
  struct Telling {
    std::string before, now;  // the diff that the model was told of last, and this one
  };
  struct Notice {
    std::string text;         // what the model is to be told; empty: nothing that it does not know
    std::vector<Held> files;  // that it is about
    std::map<std::string, Telling> told;  // by their names
  };

  void watch(const std::string& name);  // by either name of the root; outside the repository it is
                                        // not
  asio::awaitable<Notice> notice(std::string session_id);
  // The prompt that it went with never reached the model: the next one says it again.
  void unread(const std::map<std::string, Telling>& told);
  // Of one file. With `save` the editor writes its text to the disk first; if it cannot, or would
  // write over what the user did not see, it still holds it.
  asio::awaitable<Held> look(std::string session_id, std::string name, bool save);
  // A call has changed these files on disk. edited() comes at once, before anything else is asked;
  // merge()'s error says where the editor's text is another now.
  void edited(const std::vector<protocol::FileChange>& changes);
  asio::awaitable<std::string> merge(std::string session_id,
                                     std::vector<protocol::FileChange> changes);

 private:
  asio::awaitable<Reply<std::string>> read(std::string session_id, std::string path);
  // kCancelled: there was no answer within that time, or it was not asked
  asio::awaitable<Reply<Json>> ask(std::string method, Json params, std::chrono::seconds within);
  asio::awaitable<Reply<Json>> write(std::string session_id, std::string path, std::string text);
  bool muted() const;
  void saved(const std::string& path);

  asio::any_io_executor io_;
  Editor& editor_;
  Agreement& agreement_;
  const Root root_;
  const bool writes_;                                    // the editor takes text
  std::chrono::steady_clock::time_point muted_until_{};  // after a read that was not answered
  std::deque<std::string> watched_;                      // the last used first
  // Of them, those that the editor has held unsaved text of: that text, while it is not known to be
  // saved
  std::map<std::string, std::optional<std::string>> open_;
  std::map<std::string, std::string> told_;  // path, as the repository calls it: the diff
};

}  // namespace lares::cli::acp
