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

Glance glance_at(const BaseFile& file) {
  const tools::SourceFile& source = file.source;
  if (source.shown == tools::Shown::path && source.reason == kRemoved) return {};
  const bool whole = source.shown == tools::Shown::full && source.text;
  return {.state = whole ? Seen::State::text : Seen::State::listed,
          .has_text = whole,
          .blob = source.blob,
          .reason = source.reason,
          .crlf = source.crlf,
          .shown = source.shown};
}

Seen seen_at(const Glance& at, const BaseFile& file) {
  return {.state = at.state,
          .text = at.has_text ? file.source.text : nullptr,
          .blob = std::string(at.blob),
          .crlf = at.crlf,
          .shown = at.shown,
          .reason = std::string(at.reason)};
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
  const BaseFile* const file = base_file(path);
  const Glance at = glance(path, file);
  return file ? seen_at(at, *file) : Seen{.state = at.state};
}

Glance View::glance(std::string_view path, const BaseFile* file) const {
  if (const auto it = since_.find(path); it != since_.end()) {
    const Seen& seen = it->second;
    return {.state = seen.state,
            .has_text = seen.text != nullptr,
            .blob = seen.blob,
            .reason = seen.reason,
            .crlf = seen.crlf,
            .shown = seen.shown};
  }
  const bool hidden = hidden_below_.covers(path);
  if (!file) return {.state = hidden ? Seen::State::hidden : Seen::State::absent};
  Glance at = glance_at(*file);
  if (hidden && at.state != Seen::State::absent) at.state = Seen::State::hidden;
  return at;
}

void View::set(const std::string& path, Seen seen) { since_[path] = std::move(seen); }

void View::hide_below(const std::vector<std::string>& directories) {
  NotShownBelow now;
  for (const std::string& directory : directories) {
    now.add(directory);
    hidden_below_.add(directory);
  }
  for (auto it = since_.begin(); it != since_.end();) {
    auto& [path, known] = *it;
    if (!now.covers(path)) {
      ++it;
    } else if (known.state == Seen::State::absent && !base_file(path)) {
      it = since_.erase(it);  // it may be back by the time it matters
    } else {
      known.state = Seen::State::hidden;
      ++it;
    }
  }
}

std::size_t View::n_hidden() const {
  const auto counts = [](const Seen& seen) {
    return seen.state == Seen::State::hidden && seen.shown == tools::Shown::full;
  };
  std::size_t n = 0;
  for (const auto& [path, seen] : since_) n += counts(seen) ? 1 : 0;
  if (hidden_below_.directories().empty()) return n;
  for (const auto& [path, file] : *index_)
    n += !since_.contains(path) && counts(seen(path)) ? 1 : 0;
  return n;
}

void View::saw(const tools::SourceFile& file) {
  if (file.text) {
    set(file.path,
        {.state = Seen::State::text, .text = file.text, .blob = file.blob, .crlf = file.crlf});
  } else if (file.blob.empty() && file.shown == tools::Shown::full) {
    set(file.path, {});
  }
}

tools::Shown View::shown_as(const tools::SourceFile& file, const BaseFile* base) {
  return base && is_demoted(*base) ? std::max(file.shown, base->source.shown) : file.shown;
}

std::vector<std::string> View::missing_in(const tools::Workspace& now) const {
  std::vector<std::string> out;
  auto there = now.begin();  // both are in bytewise order
  for (const auto& [path, file] : *index_) {
    while (there != now.end() && there->first < path) ++there;
    if (there != now.end() && there->first == path) continue;
    if (!since_.contains(path) && glance_at(*file).state != Seen::State::absent)
      out.push_back(path);
  }
  for (const auto& [path, known] : since_)
    if (known.state != Seen::State::absent && !now.contains(path)) out.push_back(path);
  return out;
}

bool View::is_missed(std::string_view path) const {
  if (const auto it = since_.find(path); it != since_.end())
    return it->second.state != Seen::State::absent;
  const BaseFile* const file = base_file(path);
  return file && glance_at(*file).state != Seen::State::absent;
}

bool View::is_clean(std::string_view path) const {
  const BaseFile* file = base_file(path);
  if (!file) return false;
  const Glance base = glance_at(*file), now = glance(path, file);
  return now.state == base.state && now.blob == base.blob && now.crlf == base.crlf &&
         now.reason == base.reason;
}

}  // namespace lares::daemon
