// What one reader of an epoch, who began with its base, has been shown since: of the overlay, what
// every session that begins now starts from; of a pinned session, what that session knows.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/residency/base.h"
#include "daemon/residency/notice.h"
#include "tools/workspace/source_file.h"

namespace lares::daemon {

// Of one file.
struct Seen {
  enum class State {
    absent,  // it does not exist
    text,    // its text is known exactly
    hidden,  // it changed, and how was not shown
    listed,  // its name is known, and why no more; or its outline
  };
  State state = State::absent;
  // The last shown, of a hidden file too: what the next diff is against
  std::shared_ptr<const std::string> text;
  std::string blob;   // when it was last told, be it that it is hidden
  bool crlf = false;  // likewise
  tools::Shown shown = tools::Shown::full;
  std::string reason;            // of listed
  std::int64_t diff_tokens = 0;  // of diffs shown since it was last shown whole
};

// The same without a copy of anything: as long as the view is not changed.
struct Glance {
  Seen::State state = Seen::State::absent;
  bool has_text = false;
  std::string_view blob, reason;
  bool crlf = false;
  tools::Shown shown = tools::Shown::full;
};

class View {
 public:
  explicit View(std::shared_ptr<const Base> base);

  const Base& base() const { return *base_; }
  std::shared_ptr<const Base> shared_base() const { return base_; }
  const BaseFile* base_file(std::string_view path) const;  // nullptr: the base does not know it
  std::size_t index_of(const BaseFile* file) const {
    return static_cast<std::size_t>(file - base_->files.data());
  }

  Seen seen(std::string_view path) const;
  // `file`: base_file(path).
  Glance glance(std::string_view path, const BaseFile* file) const;
  void set(const std::string& path, Seen seen);
  // Everything known below the directories, or of `kEverything`, becomes hidden.
  void hide_below(const std::vector<std::string>& directories);
  // A tool showed the reader this file whole, or the reader wrote it. A SourceFile of nothing but
  // its path: deleted it.
  void saw(const tools::SourceFile& file);

  // How the base shows `file`: an outline stands for what is over budget, whatever else could be
  // shown of it.
  tools::Shown shown_as(const tools::SourceFile& file) const {
    return shown_as(file, base_file(file.path));
  }
  static tools::Shown shown_as(const tools::SourceFile& file, const BaseFile* base);

  // Each that was set. Others below hidden_below() are hidden all the same.
  const std::map<std::string, Seen, std::less<>>& since() const { return since_; }
  const NotShownBelow& hidden_below() const { return hidden_below_; }
  std::size_t n_hidden() const;  // files that were shown whole, or are new
  // Of what is known to exist, or may, and is not in `now`; in no order.
  std::vector<std::string> missing_in(const tools::Workspace& now) const;
  bool is_missed(std::string_view path) const;  // is among those, where `now` is without it
  // As in the base, exactly.
  bool is_clean(std::string_view path) const;

 private:
  using Index = std::map<std::string, const BaseFile*, std::less<>>;
  std::shared_ptr<const Base> base_;
  // Shared by all views of an epoch: a session's own is only what changed
  std::shared_ptr<const Index> index_;
  std::map<std::string, Seen, std::less<>> since_;
  NotShownBelow hidden_below_;
};

}  // namespace lares::daemon
