#include "daemon/residency/view.h"

#include <algorithm>
#include <utility>

#include "daemon/residency/notice.h"

namespace lares::daemon {
namespace {

// Left out of the base for its size alone: what it contains is no secret, and no change of it is
// news.
bool is_demoted(const BaseFile& file) {
  return file.source.shown != tools::Shown::full && !file.source.blob.empty();
}

Seen seen_in_base(const BaseFile& file) {
  const tools::SourceFile& source = file.source;
  if (source.shown == tools::Shown::path && source.reason == kRemoved) return {};
  const bool whole = source.shown == tools::Shown::full && source.text;
  return {.state = whole ? Seen::State::text : Seen::State::listed,
          .text = whole ? source.text : nullptr,
          .blob = source.blob,
          .crlf = source.crlf,
          .shown = source.shown,
          .reason = source.reason};
}

}  // namespace

View::View(std::shared_ptr<const Base> base) : base_(std::move(base)) {
  auto index = std::make_shared<Index>();
  for (const BaseFile& file : base_->files) index->emplace(file.source.path, &file);
  index_ = std::move(index);
}

const BaseFile* View::base_file(std::string_view path) const {
  const auto it = index_->find(path);
  return it == index_->end() ? nullptr : it->second;
}

Seen View::seen(std::string_view path) const {
  if (const auto it = since_.find(path); it != since_.end()) return it->second;
  if (const BaseFile* file = base_file(path)) return seen_in_base(*file);
  const bool hidden = std::any_of(hidden_below_.begin(), hidden_below_.end(),
                                  [&](const std::string& d) { return covers(d, path); });
  return {.state = hidden ? Seen::State::hidden : Seen::State::absent};
}

void View::set(const std::string& path, Seen seen) { since_[path] = std::move(seen); }

void View::hide_below(const std::string& directory) {
  for (const std::string& path : paths()) {
    if (!covers(directory, path)) continue;
    Seen now = seen(path);
    now.state = Seen::State::hidden;
    set(path, std::move(now));
  }
  // A path that was deleted may be back by the time it matters.
  std::erase_if(since_, [&](const auto& entry) {
    return entry.second.state == Seen::State::absent && !base_file(entry.first) &&
           covers(directory, entry.first);
  });
  for (auto& [path, known] : since_) {
    if (covers(directory, path)) known.state = Seen::State::hidden;
  }
  hidden_below_.push_back(directory);
}

void View::saw(const tools::SourceFile& file) {
  if (file.text) {
    set(file.path,
        {.state = Seen::State::text, .text = file.text, .blob = file.blob, .crlf = file.crlf});
  } else if (file.blob.empty() && file.shown == tools::Shown::full) {
    set(file.path, {});
  }
}

tools::Shown View::shown_as(const tools::SourceFile& file) const {
  const BaseFile* base = base_file(file.path);
  return base && is_demoted(*base) ? std::max(file.shown, base->source.shown) : file.shown;
}

std::vector<std::string> View::paths() const {
  std::vector<std::string> out;
  for (const auto& [path, file] : *index_) {
    if (!since_.contains(path) && seen_in_base(*file).state != Seen::State::absent)
      out.push_back(path);
  }
  for (const auto& [path, known] : since_) {
    if (known.state != Seen::State::absent) out.push_back(path);
  }
  std::sort(out.begin(), out.end());
  return out;
}

bool View::is_clean(std::string_view path) const {
  const BaseFile* file = base_file(path);
  if (!file) return false;
  const auto it = since_.find(path);
  if (it == since_.end()) return true;
  const Seen base = seen_in_base(*file);
  const Seen& now = it->second;
  return now.state == base.state && now.blob == base.blob && now.crlf == base.crlf &&
         now.reason == base.reason;
}

}  // namespace lares::daemon
