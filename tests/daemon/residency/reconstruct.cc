#include "tests/daemon/residency/reconstruct.h"

#include <fmt/format.h>

#include <algorithm>

#include "daemon/residency/catch_up.h"
#include "daemon/residency/line_diff.h"
#include "tools/text.h"

namespace lares::daemon {
namespace {

using Kind = Notice::Kind;
using tools::Shown;

Reading::File as_in_base(const BaseFile& file) {
  const tools::SourceFile& source = file.source;
  const bool whole = source.shown == Shown::full && source.text;
  return {.exists = whole || source.reason != kRemoved,
          .whole = whole,
          .text = whole ? *source.text : "",
          .crlf = source.crlf,
          .sha = source.blob.substr(0, kShaDigits),
          .reason = source.reason,
          .outline = source.shown == Shown::outline};
}

// What the file must be for the reading to be right; "" if it is.
std::string mismatch(const Reading::File& known, const tools::SourceFile& file, bool demoted) {
  if (known.whole) {
    if (file.shown != Shown::full || !file.text) return "is known as text that may not be shown";
    if (known.text != *file.text) return "has another text";
    return known.crlf == file.crlf ? "" : "has other line ends";
  }
  if (known.outline)
    return known.sha == file.blob.substr(0, kShaDigits) && known.crlf == file.crlf
               ? ""
               : "has another outline";
  if (demoted) return "";
  return file.shown == Shown::path && known.reason == file.reason ? "" : "is listed otherwise";
}

}  // namespace

Reading::Reading(const Base& base) : base_(base) {
  for (std::size_t i = 0; i < base.files.size(); ++i) {
    index_.emplace(base.files[i].source.path, i);
    files_.emplace(base.files[i].source.path, as_in_base(base.files[i]));
  }
}

void Reading::hide(const std::string& path) {
  if (!path.ends_with('/')) {
    File& file = files_[path];
    file.hidden = true;
    file.exists = true;
    return;
  }
  for (auto& [name, file] : files_) {
    if (covers(path, name)) file.hidden = true;
  }
  below_.push_back(path);
}

tl::expected<void, std::string> Reading::apply(const Notice& n) {
  const auto fail = [&](std::string_view why) {
    return tl::unexpected(fmt::format("apply what was shown of {}: {}", n.path, why));
  };
  if (n.kind == Kind::not_shown) {
    hide(n.path);
    return {};
  }
  File& file = files_[n.path];
  switch (n.kind) {
    case Kind::deleted:
      file = {.exists = false};
      return {};
    case Kind::listed:
      file = {.reason = n.reason};
      return {};
    case Kind::reverted: {
      const auto it = index_.find(n.path);
      if (it == index_.end()) return fail("the snapshot does not have it");
      file = as_in_base(base_.files[it->second]);
      return {};
    }
    case Kind::renamed: {
      const auto it = files_.find(n.from);
      if (it == files_.end() || !it->second.exists) return fail("there is no " + n.from);
      file = it->second;
      file.hidden = false;
      it->second = {.exists = false};
      return {};
    }
    case Kind::full:
      file = {.whole = true, .text = n.body, .crlf = n.crlf.value_or(false), .sha = n.sha};
      break;
    case Kind::diff: {
      auto text = apply_diff(file.text, n.body);
      if (!text) return fail("the diff does not fit the last text shown");
      file = {.whole = true,
              .text = std::move(*text),
              .crlf = n.crlf.value_or(file.crlf),
              .sha = n.sha};
      break;
    }
    case Kind::not_shown:
      break;
  }
  if (!tools::blob_sha(file.text).starts_with(n.sha))
    return fail(fmt::format("its text is not {}", n.sha));
  return {};
}

tl::expected<void, std::string> Reading::read(std::string_view text) {
  auto notices = read_notices(inside_update(text));
  if (!notices) return tl::unexpected(std::move(notices.error()));
  for (const Notice& notice : *notices) {
    if (auto applied = apply(notice); !applied) return applied;
  }
  return {};
}

void Reading::saw(const tools::SourceFile& source) {
  if (source.text) {
    files_[source.path] = {.whole = true,
                           .text = *source.text,
                           .crlf = source.crlf,
                           .sha = source.blob.substr(0, kShaDigits)};
  } else if (source.blob.empty() && source.shown == Shown::full) {
    files_[source.path] = {.exists = false};
  }
}

std::string Reading::differs(const tools::Workspace& now) const {
  const auto below = [&](std::string_view path) {
    return std::any_of(below_.begin(), below_.end(),
                       [&](const std::string& d) { return covers(d, path); });
  };
  for (const auto& [path, source] : now) {
    const auto it = files_.find(path);
    if (it == files_.end()) {
      if (below(path)) continue;
      return path + " is not known";
    }
    if (it->second.hidden) continue;
    if (!it->second.exists) return path + " is believed to be gone";
    const auto in_base = index_.find(path);
    const tools::SourceFile* rendered = in_base == index_.end()
                                            ? nullptr
                                            : &base_.files[in_base->second].source;
    const bool demoted = rendered && rendered->shown != Shown::full && !rendered->blob.empty();
    if (const std::string why = mismatch(it->second, source, demoted); !why.empty())
      return path + " " + why;
  }
  for (const auto& [path, file] : files_) {
    if (file.exists && !file.hidden && !now.contains(path)) return path + " is gone";
  }
  return "";
}

tl::expected<Reading, std::string> reconstruct(const Base& base, const Overlay& overlay) {
  Reading out(base);
  for (const Entry& entry : overlay.entries()) {
    if (auto read = out.read(entry.text); !read) return tl::unexpected(std::move(read.error()));
  }
  return out;
}

}  // namespace lares::daemon
