#include "daemon/bridges/acp/unsaved.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <memory>
#include <utility>

#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>

#include "daemon/bridges/acp/tool_view.h"
#include "tools/text.h"

namespace lares::cli::acp {
namespace {

using Standing = Agreement::Standing;

// An editor that does not, is taken to hold what it held last
constexpr std::chrono::seconds kEditorAnswersWithin{3};
// Editors format what they save, and may ask a language server to do it. With a look before and one
// after it, this stays below daemon::kOverlayWithin.
constexpr std::chrono::seconds kEditorSavesWithin{8};
// For which it is then not asked: every prompt and call would wait for it
constexpr std::chrono::seconds kEditorMuted{60};
constexpr const char* kReadTextFile = "fs/read_text_file";

struct OnDisk {
  std::string bytes;
  std::int64_t changed_ns = 0;
};

std::optional<OnDisk> on_disk(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0 || !S_ISREG(st.st_mode) ||
      static_cast<std::uint64_t>(st.st_size) > kUnsavedBytesMax)
    return std::nullopt;
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::nullopt;
  return OnDisk{std::string(std::istreambuf_iterator<char>(in), {}),
                st.st_ctim.tv_sec * 1'000'000'000ll + st.st_ctim.tv_nsec};
}

// Some editors hand out lines, without the end of the last, and write what they are given.
std::string ended_as(std::string text, const std::string& disk) {
  if (!text.empty() && !text.ends_with('\n') && disk.ends_with('\n'))
    text += text.find("\r\n") == std::string::npos ? "\n" : "\r\n";
  return text;
}

// Of whole lines.
std::size_t find_lines(const std::string& text, const std::string& lines, std::size_t from) {
  for (;; ++from) {
    from = text.find(lines, from);
    if (from == std::string::npos) return from;
    const std::size_t end = from + lines.size();
    const bool ends = lines.ends_with('\n') || end == text.size() || text[end] == '\n';
    if (ends && (from == 0 || text[from - 1] == '\n')) return from;
  }
}

// As the editor's text has it: with its byte order mark and line ends.
std::string as_held(const std::string& shown, const std::string& held) {
  std::string out(held.starts_with(tools::kBom) ? tools::kBom : "");
  const bool returns = held.find("\r\n") != std::string::npos;
  for (const char c : shown) {
    if (c == '\n' && returns) out += '\r';
    out += c;
  }
  return out;
}

// From `before`, as shown, to what is on disk, whole.
std::string edits_since(const std::string& before, const std::string& disk,
                        const std::string& held) {
  const std::string now = tools::shown_text(disk);
  return tools::unified_diff("", as_held(ended_as(before, now), held), as_held(now, held),
                             std::numeric_limits<std::size_t>::max());
}

// Off its first line, or its last; lines that both begin or end with.
bool narrow(std::string& before, std::string& after) {
  const auto first = [](const std::string& s) {
    return s.substr(0, std::min(s.find('\n'), s.size() - 1) + 1);
  };
  if (before.empty() || after.empty()) return false;
  if (const std::string line = first(before); line == first(after)) {
    before.erase(0, line.size()), after.erase(0, line.size());
    return true;
  }
  const auto last = [](const std::string& s) {
    const std::size_t at = s.size() < 2 ? std::string::npos : s.rfind('\n', s.size() - 2);
    return at == std::string::npos ? s : s.substr(at + 1);
  };
  if (const std::string line = last(before); line == last(after)) {
    before.resize(before.size() - line.size()), after.resize(after.size() - line.size());
    return true;
  }
  return false;
}

}  // namespace

std::string_view without_unsaved(std::string_view prompt) {
  const std::size_t at = prompt.ends_with(kUnsavedEnds) ? prompt.rfind(kUnsavedBegins)
                                                        : std::string_view::npos;
  return prompt.substr(0, at);
}

std::optional<std::string> with_edit(const std::string& text, const std::string& unified) {
  if (unified.find("\n[") != std::string::npos) return std::nullopt;  // all other lines are marked
  std::string out = text;
  const Json hunks = diffs_of("", unified, /*created=*/false);
  for (const Json& hunk : hunks) {
    std::string before = string_at(hunk, "oldText"), after = string_at(hunk, "newText");
    std::size_t found = std::string::npos;
    for (;;) {  // with fewer lines around it, where those are not as they are on disk
      if (before.empty()) return std::nullopt;
      found = find_lines(out, before, 0);
      if (found != std::string::npos) break;
      if (!narrow(before, after)) return std::nullopt;
    }
    if (find_lines(out, before, found + 1) != std::string::npos) return std::nullopt;
    out.replace(found, before.size(), after);
  }
  return hunks.empty() ? std::nullopt : std::optional(std::move(out));
}

void Unsaved::watch(const std::string& name) {
  const std::string path = std::filesystem::path(root_.as_opened(name)).lexically_normal();
  if (!path.starts_with(root_.opened() + "/")) return;
  std::erase(watched_, path);
  watched_.push_front(path);
  if (watched_.size() <= kWatchedMax) return;
  open_.erase(watched_.back());
  watched_.pop_back();
}

bool Unsaved::muted() const { return std::chrono::steady_clock::now() < muted_until_; }

void Unsaved::saved(const std::string& path) {
  if (const auto known = open_.find(path); known != open_.end()) known->second.reset();
}

asio::awaitable<Reply<Json>> Unsaved::ask(std::string method, Json params,
                                          std::chrono::seconds within) {
  if (muted())
    co_return tl::unexpected(Fault{kCancelled, method + ": the editor has not answered lately"});
  const std::int64_t id = editor_.ask(method, params);
  const auto timer = std::make_shared<asio::steady_timer>(io_, within);
  // Saving is slow for reasons of its own
  const bool mutes = method == kReadTextFile;
  const auto late = [this, id, mutes](const boost::system::error_code& ec) {
    if (ec) return;
    if (mutes) muted_until_ = std::chrono::steady_clock::now() + kEditorMuted;
    editor_.withdraw(id);
  };
  timer->async_wait(late);
  auto waiting = editor_.answered(id);
  auto reply = co_await std::move(waiting);
  timer->cancel();
  co_return reply;
}

asio::awaitable<Reply<std::string>> Unsaved::read(std::string session_id, std::string path) {
  const Json params = {{"sessionId", session_id}, {"path", path}};
  auto asking = ask(kReadTextFile, params, kEditorAnswersWithin);
  const auto answer = co_await std::move(asking);
  if (!answer) co_return tl::unexpected(answer.error());
  if (!at(*answer, "content").is_string())
    co_return tl::unexpected(
        Fault{kInternal, "fs/read_text_file: the editor's answer has no content"});
  std::string text = string_at(*answer, "content");
  if (text.size() > kUnsavedBytesMax)
    co_return tl::unexpected(Fault{kInternal, "fs/read_text_file: the file is too long"});
  co_return text;
}

asio::awaitable<Reply<Json>> Unsaved::write(std::string session_id, std::string path,
                                            std::string text) {
  const Json params = {{"sessionId", session_id}, {"path", path}, {"content", text}};
  return ask("fs/write_text_file", params, kEditorSavesWithin);
}

asio::awaitable<Unsaved::Held> Unsaved::look(std::string session_id, std::string name, bool save) {
  const std::string path = root_.as_opened(name);
  Held held{name, std::nullopt};
  for (bool written = false;; written = true) {
    const auto disk = on_disk(path);
    if (!disk) break;
    auto reading = read(session_id, path);
    auto text = co_await std::move(reading);
    // Of an editor that is busy the text known is as good as still there: an edit of the disk would
    // be lost when it saves.
    if (const auto known = open_.find(path);
        !text && muted() && known != open_.end() && known->second)
      text = *known->second;
    if (!text) break;
    text = ended_as(std::move(*text), disk->bytes);
    const Standing standing = agreement_.of(path, *text, disk->bytes, disk->changed_ns);
    if (standing == Standing::same || standing == Standing::stale) break;
    watch(path);
    open_[path] = *text;
    held.text = std::move(*text);
    held.parted = standing == Standing::parted || standing == Standing::behind;
    if (!save || written || !writes_ || held.parted || muted()) co_return held;
    if (const auto now = on_disk(path); !now || now->bytes != disk->bytes) co_return held;
    auto writing = write(session_id, path, *held.text);
    if (const auto wrote = co_await std::move(writing); !wrote) co_return held;
  }
  held.text.reset(), held.parted = false;
  saved(path);
  co_return held;
}

asio::awaitable<Unsaved::Notice> Unsaved::notice(std::string session_id) {
  Notice out;
  std::string files;
  const auto watched = watched_;
  for (const auto& path : watched) {
    const std::string name = root_.below(path);
    auto looking = look(session_id, name, /*save=*/false);
    Held held = co_await std::move(looking);
    if (muted()) break;  // it does not answer: the others are not waited for
    const auto disk = on_disk(path);
    const std::string diff = !held.text || !disk
                                 ? ""
                                 : tools::unified_diff(name, tools::shown_text(disk->bytes),
                                                       tools::shown_text(*held.text),
                                                       kUnsavedDiffMax);
    std::string& told = told_[name];
    if (diff == told) continue;
    if (held.parted && writes_ && !diff.empty())
      files += fmt::format(
          "{} has changed on disk too, so it cannot be edited until the user saves it or reads it "
          "again.\n",
          name);
    files += diff.empty() ? fmt::format("{} has no changes any more that are not saved.\n", name)
                          : fmt::format("<changed path=\"{}\">\n{}</changed>\n", name, diff);
    out.told[name] = {std::exchange(told, diff), diff};
    out.files.push_back(std::move(held));
  }
  if (files.empty()) co_return out;
  out.text = fmt::format(
      "{}The user has changes in the editor that are not saved. `view` shows them, and {}; "
      "commands and tests see the files as they are on disk, without them.\n{}{}",
      kUnsavedBegins,
      writes_ ? "edits go into the editor's text, which is saved with them"
              : "such a file cannot be edited until the user saves it",
      files, kUnsavedEnds);
  co_return out;
}

void Unsaved::unread(const std::map<std::string, Telling>& told) {
  for (const auto& [name, telling] : told)
    if (const auto known = told_.find(name); known != told_.end() && known->second == telling.now)
      known->second = telling.before;
}

void Unsaved::edited(const std::vector<protocol::FileChange>& changes) {
  for (const auto& change : changes)
    agreement_.edited(root_.as_opened(change.path), change.before, change.after);
}

// Into a stale text the edit goes only where the disk's text comes of it: then nothing is lost.
asio::awaitable<std::string> Unsaved::merge(std::string session_id,
                                            std::vector<protocol::FileChange> changes) {
  std::string wrong;
  for (const auto& change : changes) {
    const std::string path = root_.as_opened(change.path);
    if (!open_.contains(path) || change.diff.empty())
      continue;  // the editor reads it from the disk
    auto reading = read(session_id, path);
    auto text = co_await std::move(reading);
    const auto disk = on_disk(path);
    if (!text || !disk) continue;
    text = ended_as(std::move(*text), disk->bytes);
    const Standing standing = agreement_.of(path, *text, disk->bytes, disk->changed_ns);
    if (standing == Standing::same) {
      saved(path);
      continue;
    }
    if (standing == Standing::unsaved) continue;  // it was read again, and has the edit
    // All of them, for one before may not be in the text either; the diff told may be cut off
    const auto before = agreement_.before_edits(path, disk->bytes);
    const std::string edits = before ? edits_since(*before, disk->bytes, *text) : change.diff;
    const auto merged = with_edit(*text, edits);
    if (standing == Standing::stale &&
        (!merged || tools::shown_text(*merged) != tools::shown_text(disk->bytes)))
      continue;
    Reply<Json> written = tl::unexpected(
        Fault{kInternal, standing == Standing::parted
                             ? "the file has other changes on disk too"
                             : "the lines around the edit are others in the editor"});
    if (merged && standing != Standing::parted) {
      auto writing = write(session_id, path, *merged);
      written = co_await std::move(writing);
    }
    if (written) {
      told_.erase(change.path);
      if (const auto now = on_disk(path))  // saved with it, both are alike again
        (void)agreement_.of(path, *merged, now->bytes, now->changed_ns);
      saved(path);
    } else {
      wrong += fmt::format(
          "{}{} was edited on disk, and the editor's unsaved text is without the edit: {}",
          wrong.empty() ? "" : "; ", change.path, written.error().message);
    }
  }
  co_return wrong;
}

}  // namespace lares::cli::acp
