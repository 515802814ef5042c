#include "daemon/residency/tell_change.h"

#include <algorithm>
#include <map>
#include <utility>

#include "daemon/residency/line_diff.h"

namespace lares::daemon {
namespace {

using Kind = Notice::Kind;
using State = Seen::State;
using tools::Shown;

// No token is longer: a text of more bytes has more tokens than the bound, and need not be counted.
constexpr std::int64_t kTokenBytesMax = 256;

std::string short_sha(const std::string& blob) { return blob.substr(0, kShaDigits); }

// Who has read a file that the base only outlines can follow it by diffs.
Shown shown_to(const View& view, const Seen& known, const tools::SourceFile& file) {
  return known.text ? file.shown : view.shown_as(file);
}

// Whether there is anything to say of a file that exists.
bool is_news(const Glance& known, const tools::SourceFile& file, const BaseFile* base) {
  const Shown shown = known.has_text ? file.shown : View::shown_as(file, base);
  switch (known.state) {
    case State::absent:
      return true;
    case State::text:
      return shown != Shown::full || known.blob != file.blob || known.crlf != file.crlf;
    case State::hidden:
      return known.shown != shown || known.blob != file.blob || known.crlf != file.crlf;
    case State::listed:
      if (known.shown != shown) return true;
      if (shown == Shown::outline) return known.blob != file.blob || known.crlf != file.crlf;
      // The base's reason for leaving out what it could show is its own.
      return known.reason != file.reason && file.shown == Shown::path;
  }
  return true;
}

// Of two files with the same blob.
bool is_rename(const Change& gone, const Change& come) {
  return come.file->shown == Shown::full && come.file->text && gone.before.crlf == come.file->crlf;
}

// Of each text that left one path and appeared at another: one change instead of two.
void pair_renames(std::vector<Change>& changes) {
  std::multimap<std::string, std::size_t> gone;  // by blob
  for (std::size_t i = 0; i < changes.size(); ++i) {
    if (!changes[i].file && changes[i].before.state == State::text)
      gone.emplace(changes[i].before.blob, i);
  }
  std::vector<bool> paired(changes.size(), false);
  for (Change& come : changes) {
    if (gone.empty()) break;
    if (!come.file || come.before.state != State::absent) continue;
    const auto it = gone.find(come.file->blob);
    if (it == gone.end() || !is_rename(changes[it->second], come)) continue;
    come.from = changes[it->second].path;
    come.before = changes[it->second].before;
    paired[it->second] = true;
    gone.erase(it);
  }
  std::vector<Change> kept;
  for (std::size_t i = 0; i < changes.size(); ++i) {
    if (!paired[i]) kept.push_back(std::move(changes[i]));
  }
  changes = std::move(kept);
}

void take(Change& change, const Notice& notice, const CountTokens& count, Seen after) {
  change.kind = notice.kind;
  change.text = write_notice(notice);
  change.n_tokens = count(change.text);
  change.after = std::move(after);
}

Seen whole(const tools::SourceFile& file) {
  return {.state = State::text, .text = file.text, .blob = file.blob, .crlf = file.crlf};
}

// nullopt: git cannot compare them.
std::optional<Notice> diff_of(const Seen& before, const tools::SourceFile& file) {
  Notice notice{.kind = Kind::diff, .path = file.path, .sha = short_sha(file.blob)};
  // Of a hidden file, `crlf` is not what the reader was shown.
  if (before.crlf != file.crlf || before.state == State::hidden) notice.crlf = file.crlf;
  notice.body = write_diff(*before.text, *file.text);
  // A reader's copy is only as good as what was written: prove it here rather than find out at an
  // edit.
  if (apply_diff(*before.text, notice.body) != *file.text) return std::nullopt;
  return notice;
}

void tell_text(Change& change, const CountTokens& count, std::int64_t tokens_max) {
  const tools::SourceFile& file = *change.file;
  const Notice full{.kind = Kind::full,
                    .path = file.path,
                    .sha = short_sha(file.blob),
                    .body = *file.text,
                    .crlf = file.crlf};
  const bool fits = static_cast<std::int64_t>(file.text->size()) <= tokens_max * kTokenBytesMax;
  const std::int64_t n_full = fits || change.before.text ? count(*file.text) : tokens_max + 1;
  const bool same_text = change.before.text && *change.before.text == *file.text;
  if (change.before.text && (same_text || n_full >= kFullTextBelow)) {
    if (const auto diff = diff_of(change.before, file)) {
      Seen after = whole(file);
      take(change, *diff, count, std::move(after));
      change.after.diff_tokens = change.before.diff_tokens + change.n_tokens;
      // Past a half, putting the pieces together is harder to read than the text.
      const bool few = change.n_tokens < n_full && 2 * change.after.diff_tokens <= n_full;
      if (same_text || few || n_full > tokens_max) return;
    }
  }
  if (n_full <= tokens_max) take(change, full, count, whole(file));
}

}  // namespace

std::vector<Change> find_changes(const View& view, const tools::Workspace& now,
                                 const std::vector<std::string>* among) {
  std::vector<Change> out;
  const auto look = [&](const std::string& path, const tools::SourceFile& file) {
    const BaseFile* const base = view.base_file(path);
    if (is_news(view.glance(path, base), file, base))
      out.push_back({.path = path, .file = &file, .before = view.seen(path)});
  };
  const auto miss = [&](const std::string& path) {
    out.push_back({.path = path, .before = view.seen(path)});
  };
  if (among) {
    for (const std::string& path : *among) {
      if (const auto at = now.find(path); at != now.end())
        look(path, at->second);
      else if (view.is_missed(path))
        miss(path);
    }
  } else {
    for (const auto& [path, file] : now) look(path, file);
    for (const std::string& path : view.missing_in(now)) miss(path);
  }
  std::sort(out.begin(), out.end(),
            [](const Change& a, const Change& b) { return a.path < b.path; });
  pair_renames(out);
  return out;
}

void put_into_words(Change& change, const View& view, const CountTokens& count,
                    std::int64_t tokens_max) {
  if (!change.file) return take(change, {.kind = Kind::deleted, .path = change.path}, count, {});
  const tools::SourceFile& file = *change.file;
  Seen after = whole(file);
  if (!change.from.empty()) {
    after.diff_tokens = change.before.diff_tokens;
    return take(change, {.kind = Kind::renamed, .path = file.path, .from = change.from}, count,
                std::move(after));
  }
  const Shown shown = shown_to(view, change.before, file);
  const BaseFile* base = view.base_file(file.path);
  const bool as_in_base = base && base->source.shown == shown && base->source.blob == file.blob &&
                          base->source.crlf == file.crlf && !file.blob.empty();
  if (as_in_base) {
    after.shown = shown;
    if (shown != Shown::full) {
      after.state = State::listed;
      after.text = nullptr;
      after.reason = base->source.reason;
    }
    const Notice notice{.kind = Kind::reverted, .path = file.path, .sha = short_sha(file.blob)};
    return take(change, notice, count, std::move(after));
  }
  if (shown == Shown::path) {
    const std::string& reason = file.shown == Shown::path ? file.reason : base->source.reason;
    after = {.state = State::listed,
             .blob = file.blob,
             .crlf = file.crlf,
             .shown = shown,
             .reason = reason};
    return take(change, {.kind = Kind::listed, .path = file.path, .reason = reason}, count,
                std::move(after));
  }
  // Of an outline nothing is shown but that it is out of date.
  if (shown == Shown::full && file.text) tell_text(change, count, tokens_max);
}

Seen hidden(const Change& change, const View& view) {
  Seen out = change.from.empty() ? change.before : Seen{};
  out.state = State::hidden;
  out.blob = change.file ? change.file->blob : "";
  out.crlf = change.file && change.file->crlf;
  out.shown = change.file ? shown_to(view, out, *change.file) : Shown::full;
  return out;
}

}  // namespace lares::daemon
