// The workspace as a model can know it: rebuilt from the base and from the texts it was shown, and
// from nothing else. Invariant: base + overlay + updates + what is marked "not shown" = workspace,
// exactly.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "daemon/residency/base.h"
#include "daemon/residency/notice.h"
#include "daemon/residency/overlay.h"

namespace lares::daemon {

class Reading {
 public:
  struct File {
    bool exists = true;
    bool hidden = false;  // not shown: nothing is claimed of it
    bool whole = false;   // `text` is its text
    std::string text;     // the last shown
    bool crlf = false;
    std::string sha;     // of a text or an outline
    std::string reason;  // where its text is not shown
    bool outline = false;
  };

  explicit Reading(const Base& base);

  // Notices, as an overlay appends them or inside one <workspace-update>. An error names the first
  // that does not apply: a diff that fits nowhere, a text that is not what its sha says.
  tl::expected<void, std::string> read(std::string_view text);
  // The model wrote the file itself, or a tool showed it whole. Nothing but a path: it deleted it.
  void saw(const tools::SourceFile& file);

  // How the workspace differs from what is known; "" if the invariant holds.
  std::string differs(const tools::Workspace& now) const;

  const std::map<std::string, File, std::less<>>& files() const { return files_; }
  const std::vector<std::string>& not_shown_below() const { return below_; }

 private:
  tl::expected<void, std::string> apply(const Notice& notice);
  void hide(const std::string& path);

  const Base& base_;
  std::map<std::string, std::size_t, std::less<>> index_;  // into base_.files
  std::map<std::string, File, std::less<>> files_;
  std::vector<std::string> below_;  // directories anything may have changed in
};

// The error: an entry could not be read, which must never be.
tl::expected<Reading, std::string> reconstruct(const Base& base, const Overlay& overlay);

}  // namespace lares::daemon
