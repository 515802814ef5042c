#include "tools/workspace/scanner.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "tools/text.h"
#include "tools/workspace/file_stamp.h"
#include "tools/workspace/rooted_fs.h"
#include "tools/workspace/rules.h"
#include "tools/workspace/tree_listing.h"

namespace lares::tools {
namespace {

constexpr std::uint64_t kHeadBytes = 8 << 10;  // what git looks at for a NUL

// Most of its lines end in "\r\n".
bool is_crlf(std::string_view bytes) {
  std::size_t n_lf = 0, n_crlf = 0;
  for (std::size_t at = bytes.find('\n'); at != std::string_view::npos;
       at = bytes.find('\n', at + 1)) {
    ++n_lf;
    n_crlf += at > 0 && bytes[at - 1] == '\r';
  }
  return 2 * n_crlf > n_lf;
}

// What needs no look into the file; "" is nothing.
std::string_view reason_without_content(const Listed& file) {
  switch (file.kind) {
    case Listed::Kind::symlink:
      return "symlink";
    case Listed::Kind::special:
      return "not a regular file";
    case Listed::Kind::submodule:
      return "submodule";
    case Listed::Kind::file:
      break;
  }
  if (is_secret_name(file.path)) return "secret";
  const Attributes& says = file.attributes;
  if (says.vendored == Says::yes || (says.vendored == Says::nothing && is_vendored(file.path)))
    return "vendored";
  if (says.generated == Says::yes) return "generated";
  const std::string_view by_name = skipped_by_name(file.path);
  return by_name == "generated" && says.generated == Says::no ? "" : by_name;
}

constexpr std::string_view kOverBudget = "over budget";

// The name of its content stands for a text.
bool is_same(const SourceFile& a, const SourceFile& b) {
  return a.blob == b.blob && a.shown == b.shown && a.reason == b.reason && !a.text == !b.text &&
         a.n_bytes == b.n_bytes && a.crlf == b.crlf;
}

}  // namespace

struct Scanner::State {
  explicit State(ScanOptions o)
      : options(std::move(o)),
        lister(options.root,
               {options.limits.files_max, options.limits.depth_max, options.limits.entries_max}) {}

  struct Known {
    FileStamp stamp;
    Attributes attributes;
    bool racy = false;
    bool by_content = false;     // its name, size and attributes alone did not rule it out
    SourceFile* file = nullptr;  // in `files`
  };
  enum class Seen { here, gone };

  Seen read(const RootedFs& fs, const Listed& listed, std::int64_t started, Known& out);
  void read_text(const FileData& data, const Attributes& attributes, SourceFile& file);
  bool fits(const Listed& listed) const;
  bool stands(const Known& before, const Listed& listed) const;
  Seen judge(const RootedFs& fs, const Listed& listed, std::int64_t started, Known& out);
  void count(const SourceFile& file, const Listed& listed);
  void forget_others_than(const std::vector<Known>& known);

  ScanOptions options;
  TreeLister lister;
  Workspace files;
  std::vector<Known> known;  // of the last scan, in bytewise path order
  std::vector<std::string> changed, left_out, directories;
  bool whole = true;  // the last scan came to its end
  ScanFigures figures;
  std::uint64_t bytes_over = 0;  // of the files that are over budget in this scan
  std::size_t n_over = 0;
};

void Scanner::State::read_text(const FileData& data, const Attributes& attributes,
                               SourceFile& file) {
  std::string_view reason = skipped_by_content(file.path, data.bytes);
  if (reason == "generated" && attributes.generated == Says::no) reason = "";
  file.reason = reason;
  if (!file.reason.empty()) return;
  file.crlf = is_crlf(data.bytes);
  file.text = std::make_shared<const std::string>(shown_text(data.bytes));
  file.blob = blob_sha(*file.text);
}

// Fills `out` from the disk; where the file has changed since it was listed, with what it is now.
Scanner::State::Seen Scanner::State::read(const RootedFs& fs, const Listed& listed,
                                          std::int64_t started, Known& out) {
  const bool large = listed.stamp.size > options.limits.file_bytes_max;
  const auto data = large ? fs.read_head(listed.path, kHeadBytes)
                          : fs.read(listed.path, options.limits.file_bytes_max);
  ++figures.n_read;
  if (!data) {
    struct stat st {};
    if (!fs.lstat(listed.path, st)) return Seen::gone;
    out.file->reason = "unreadable";
    out.racy = true;  // it may have been too large for a moment, or no longer a file
    return Seen::here;
  }
  figures.bytes_read += data->bytes.size();
  out.racy = stamp_of(data->stat) != listed.stamp || listed.stamp.ctime_ns >= started - kRacyNs;
  if (large) {
    out.file->reason = is_binary(data->bytes) ? "binary" : "too large";
  } else {
    out.file->n_bytes = data->bytes.size();
    read_text(*data, out.attributes, *out.file);
  }
  return Seen::here;
}

// By the size on disk and before anything is read, so that the same tree is cut in the same place
// whatever was read before.
bool Scanner::State::fits(const Listed& listed) const {
  return figures.bytes_held + listed.stamp.size <= options.limits.text_bytes_max;
}

bool Scanner::State::stands(const Known& before, const Listed& listed) const {
  return before.stamp == listed.stamp && before.attributes == listed.attributes && !before.racy &&
         (!before.by_content || fits(listed) == (before.file->reason != kOverBudget));
}

// Into `out`, and its file.
Scanner::State::Seen Scanner::State::judge(const RootedFs& fs, const Listed& listed,
                                           std::int64_t started, Known& out) {
  SourceFile& file = *out.file;
  out.stamp = listed.stamp;
  out.attributes = listed.attributes;
  file.path = listed.path;
  file.n_bytes = listed.kind == Listed::Kind::submodule ? 0 : listed.stamp.size;
  file.reason = reason_without_content(listed);
  if (file.reason.empty()) {
    out.by_content = listed.stamp.size <= options.limits.file_bytes_max;
    if (out.by_content && !fits(listed))
      file.reason = kOverBudget;
    else if (read(fs, listed, started, out) == Seen::gone)
      return Seen::gone;
  }
  file.shown = file.reason.empty() ? Shown::full : Shown::path;
  return Seen::here;
}

void Scanner::State::count(const SourceFile& file, const Listed& listed) {
  if (file.text) figures.bytes_held += listed.stamp.size;
  if (file.reason != kOverBudget) return;
  ++n_over;
  bytes_over += listed.stamp.size;
}

void Scanner::State::forget_others_than(const std::vector<Known>& listed) {
  if (files.size() == listed.size()) return;
  auto at = listed.begin();
  for (auto file = files.begin(); file != files.end();) {
    if (at != listed.end() && at->file == &file->second) {
      ++at, ++file;
    } else {
      changed.push_back(file->first);
      file = files.erase(file);
    }
  }
}

Scanner::Scanner(ScanOptions options) : state_(std::make_unique<State>(std::move(options))) {}
Scanner::~Scanner() = default;
Scanner::Scanner(Scanner&&) noexcept = default;
Scanner& Scanner::operator=(Scanner&&) noexcept = default;

Result<> Scanner::scan() {
  State& s = *state_;
  const std::int64_t started = now_ns();
  const auto fs = RootedFs::open(s.options.root);
  if (!fs) return tl::unexpected(Error{Errc::broken, fs.error()});
  auto tree = s.lister.list();
  if (!tree) return tl::unexpected(std::move(tree.error()));
  s.figures = {};
  s.n_over = s.bytes_over = 0;
  if (std::exchange(s.whole, false)) s.changed.clear();
  const auto old = std::exchange(s.known, {});  // where memory ends on the way, all is read again
  std::vector<State::Known> known;
  known.reserve(tree->files.size());
  auto before = old.begin();
  for (const Listed& listed : tree->files) {
    while (before != old.end() && before->file->path < listed.path) ++before;
    if (before != old.end() && before->file->path == listed.path && s.stands(*before, listed)) {
      known.push_back(*before++);
    } else {
      SourceFile file;
      State::Known now{.file = &file};
      if (s.judge(*fs, listed, started, now) == State::Seen::gone) continue;
      SourceFile& was = s.files[listed.path];
      if (was.path.empty() || !is_same(was, file)) {
        s.changed.push_back(listed.path);
        was = std::move(file);
      }
      now.file = &was;
      known.push_back(now);
    }
    s.count(*known.back().file, listed);
  }
  s.forget_others_than(known);
  std::ranges::sort(s.changed);
  s.changed.erase(std::ranges::unique(s.changed).begin(), s.changed.end());
  s.known = std::move(known);
  s.whole = true;
  s.figures.n_files = s.files.size();
  s.left_out = std::move(tree->left_out);
  s.directories = std::move(tree->directories);
  if (s.n_over > 0) {
    s.left_out.push_back(fmt::format("not read: {} file{} of {} KiB beyond {} MiB of text",
                                     s.n_over, s.n_over == 1 ? "" : "s", s.bytes_over >> 10,
                                     s.options.limits.text_bytes_max >> 20));
  }
  return {};
}

const Workspace& Scanner::files() const { return state_->files; }
const std::vector<std::string>& Scanner::changed() const { return state_->changed; }

const std::vector<std::string>& Scanner::left_out() const { return state_->left_out; }
const std::vector<std::string>& Scanner::directories() const { return state_->directories; }
const ScanFigures& Scanner::figures() const { return state_->figures; }

}  // namespace lares::tools
