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
    bool by_content = false;  // its name, size and attributes alone did not rule it out
    SourceFile file;
  };
  enum class Seen { here, gone };

  static bool holds(const Known& before, const Listed& listed) {
    return before.stamp == listed.stamp && before.attributes == listed.attributes && !before.racy;
  }
  Seen read(const RootedFs& fs, const Listed& listed, std::int64_t started, Known& out);
  void read_text(const FileData& data, const Attributes& attributes, SourceFile& file);
  Seen judge(const RootedFs& fs, const Listed& listed, std::int64_t started, Known& known,
             bool held);

  ScanOptions options;
  TreeLister lister;
  std::vector<Known> known;  // of the last scan, in bytewise path order
  std::vector<std::string> left_out, directories;
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
    out.file.reason = "unreadable";
    out.racy = true;  // it may have been too large for a moment, or no longer a file
    return Seen::here;
  }
  figures.bytes_read += data->bytes.size();
  out.racy = stamp_of(data->stat) != listed.stamp || listed.stamp.ctime_ns >= started - kRacyNs;
  if (large) {
    out.file.reason = is_binary(data->bytes) ? "binary" : "too large";
  } else {
    out.file.n_bytes = data->bytes.size();
    read_text(*data, out.attributes, out.file);
  }
  return Seen::here;
}

Scanner::State::Seen Scanner::State::judge(const RootedFs& fs, const Listed& listed,
                                           std::int64_t started, Known& out, bool held) {
  // By the size on disk and before anything is read, so that the same tree is cut in the same place
  // whatever was read before.
  const bool fits = figures.bytes_held + listed.stamp.size <= options.limits.text_bytes_max;
  if (!held || (out.by_content && fits != (out.file.reason != kOverBudget))) {
    out = {listed.stamp, listed.attributes, false, false, {}};
    out.file.path = listed.path;
    out.file.n_bytes = listed.kind == Listed::Kind::submodule ? 0 : listed.stamp.size;
    out.file.reason = reason_without_content(listed);
    if (out.file.reason.empty()) {
      out.by_content = listed.stamp.size <= options.limits.file_bytes_max;
      if (out.by_content && !fits) {
        out.file.reason = kOverBudget;
      } else if (read(fs, listed, started, out) == Seen::gone) {
        return Seen::gone;
      }
    }
    out.file.shown = out.file.reason.empty() ? Shown::full : Shown::path;
  }
  if (out.file.text) figures.bytes_held += listed.stamp.size;
  if (out.file.reason == kOverBudget) {
    ++n_over;
    bytes_over += listed.stamp.size;
  }
  return Seen::here;
}

Scanner::Scanner(ScanOptions options) : state_(std::make_unique<State>(std::move(options))) {}
Scanner::~Scanner() = default;
Scanner::Scanner(Scanner&&) noexcept = default;
Scanner& Scanner::operator=(Scanner&&) noexcept = default;

Result<Workspace> Scanner::scan() {
  State& s = *state_;
  const std::int64_t started = now_ns();
  const auto fs = RootedFs::open(s.options.root);
  if (!fs) return tl::unexpected(Error{Errc::broken, fs.error()});
  auto tree = s.lister.list();
  if (!tree) return tl::unexpected(std::move(tree.error()));
  s.figures = {};
  s.n_over = s.bytes_over = 0;
  std::vector<State::Known> known;
  known.reserve(tree->files.size());
  auto before = s.known.begin();
  Workspace out;
  for (const Listed& listed : tree->files) {
    while (before != s.known.end() && before->file.path < listed.path) ++before;
    State::Known file;
    const bool held = before != s.known.end() && before->file.path == listed.path &&
                      State::holds(*before, listed);
    if (held) file = std::move(*before++);
    if (s.judge(*fs, listed, started, file, held) == State::Seen::gone) continue;
    out.emplace_hint(out.end(), listed.path, file.file);
    known.push_back(std::move(file));
  }
  s.known = std::move(known);
  s.figures.n_files = out.size();
  s.left_out = std::move(tree->left_out);
  s.directories = std::move(tree->directories);
  if (s.n_over > 0) {
    s.left_out.push_back(fmt::format("not read: {} file{} of {} KiB beyond {} MiB of text",
                                     s.n_over, s.n_over == 1 ? "" : "s", s.bytes_over >> 10,
                                     s.options.limits.text_bytes_max >> 20));
  }
  return out;
}

const std::vector<std::string>& Scanner::left_out() const { return state_->left_out; }
const std::vector<std::string>& Scanner::directories() const { return state_->directories; }
const ScanFigures& Scanner::figures() const { return state_->figures; }

}  // namespace lares::tools
