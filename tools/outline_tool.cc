#include "tools/outline_tool.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <git2.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "tools/off_thread.h"
#include "tools/rooted_fs.h"
#include "tools/text.h"
#include "tools/workspace_rules.h"
#ifdef LARES_TREE_SITTER
#include "tools/outline_syntax.h"
#endif

namespace lares::tools {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kOutputBytesMax = 16'000;
constexpr std::size_t kFileBytesMax = 2 << 20;
constexpr std::size_t kLineBytesMax =
    20'000;  // longer lines are minified or generated: slow, and nobody edits them
constexpr std::size_t kFilesMax = 2'000;
constexpr std::size_t kEntriesMax = 100'000;  // looked at below one directory
constexpr auto kFileTime = std::chrono::seconds(2);
constexpr auto kTotalTime = std::chrono::seconds(20);

const Spec kSpec{
    "outline",
    "List the definitions (functions, classes, methods, types) in a file or below a directory, "
    "with line "
    "numbers.",
    R"({"type":"object","properties":{"path":{"type":"string","description":"File or directory, default: )"
    R"(the repository"}}})"};

Outcome refused(std::string why) { return {.text = std::move(why), .ok = false, .changes = {}}; }

#ifdef LARES_TREE_SITTER

// What git ignores; without a repository, the directories that tools fill.
class Ignored {
 public:
  explicit Ignored(const std::string& root) {
    git_libgit2_init();
    if (git_repository_open_ext(&repo_, root.c_str(), 0, nullptr) != 0) repo_ = nullptr;
    if (!repo_ || !git_repository_workdir(repo_)) return;
    std::error_code failed;
    prefix_ =
        std::filesystem::relative(root, git_repository_workdir(repo_), failed).generic_string();
    prefix_ = failed || prefix_ == "." ? "" : prefix_ + "/";
  }
  Ignored(const Ignored&) = delete;
  Ignored& operator=(const Ignored&) = delete;
  ~Ignored() {
    git_repository_free(repo_);
    git_libgit2_shutdown();
  }

  bool operator()(const std::string& path, bool directory) const {
    const auto name = std::string_view(path).substr(path.rfind('/') + 1);
    if (name == ".git" || name == "node_modules" || name == "__pycache__") return true;
    int ignored = 0;
    const auto asked = prefix_ + path + (directory ? "/" : "");
    return repo_ && git_ignore_path_is_ignored(&ignored, repo_, asked.c_str()) == 0 && ignored;
  }

 private:
  git_repository* repo_ = nullptr;
  std::string prefix_;  // of the root inside the repository's worktree
};

struct Listing {
  std::vector<std::string>
      files;  // in languages that are built in, relative to the root, in bytewise order
  std::size_t n_entries = 0;
  bool complete = true;
};

// Symlinks are not followed: what they name is listed where it lies, or lies outside. Only names
// come from here; the contents are opened beneath the root, so a directory swapped for a symlink
// meanwhile gives no file away.
void list_directory(const RootedFs& fs, const Ignored& ignored, const std::string& path,
                    Listing& out) {
  std::vector<std::string> pending{path};
  while (!pending.empty()) {
    const std::string directory = std::move(pending.back());
    pending.pop_back();
    const auto absolute = directory.empty() ? fs.root() : fs.root() + "/" + directory;
    const int fd = ::open(absolute.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR* entries = fd < 0 ? nullptr : ::fdopendir(fd);
    if (!entries) {
      if (fd >= 0) ::close(fd);
      continue;
    }
    while (const dirent* entry = ::readdir(entries)) {
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      if (++out.n_entries > kEntriesMax || out.files.size() >= kFilesMax) {
        out.complete = false;
        break;
      }
      const auto inner =
          directory.empty() ? std::string(name) : directory + "/" + std::string(name);
      struct stat st {};
      if (!fs.lstat(inner, st)) continue;
      if (S_ISDIR(st.st_mode)) {
        if (!ignored(inner, true)) pending.push_back(inner);
      } else if (S_ISREG(st.st_mode) && can_outline(name) && skipped_by_name(inner).empty() &&
                 !ignored(inner, false)) {
        out.files.push_back(inner);
      }
    }
    ::closedir(entries);
  }
  std::ranges::sort(out.files);
}

struct Entry {
  std::string path;
  SourceOutline outline;
  std::string skipped;  // why there is no outline, as a predicate: "is binary"
};

std::string skip_reason(std::string_view bytes) {
  if (is_binary(bytes)) return "is binary";
  for (const auto line : split_lines(bytes)) {
    if (line.size() > kLineBytesMax)
      return fmt::format("has a line of {} bytes, so it is minified or generated", line.size());
  }
  return "";
}

Entry outline_file(const RootedFs& fs, const std::string& path, const Cancelled& cancelled,
                   Clock::time_point deadline) {
  Entry entry{path, {}, {}};
  const auto data = fs.read(path, kFileBytesMax);
  if (!data) {
    entry.skipped = data.error();
    return entry;
  }
  const auto text = shown_text(data->bytes);
  entry.skipped = skip_reason(data->bytes);
  if (!entry.skipped.empty()) return entry;
  entry.outline =
      outline_source(path, text, std::min(deadline, Clock::now() + kFileTime), cancelled);
  if (!entry.outline.complete) entry.skipped = "took too long to parse";
  return entry;
}

std::string heading(const Entry& entry) {
  if (!entry.skipped.empty()) return fmt::format("{} [{}]\n", entry.path, entry.skipped);
  const auto& outline = entry.outline;
  if (outline.n_errors == 0) return entry.path + "\n";
  return fmt::format(
      "{} [{} did not parse: line{} {}{}]\n", entry.path,
      outline.n_errors == 1 ? std::string("1 place") : fmt::format("{} places", outline.n_errors),
      outline.error_lines.size() == 1 ? "" : "s", fmt::join(outline.error_lines, ", "),
      static_cast<std::size_t>(outline.n_errors) > outline.error_lines.size() ? ", ..." : "");
}

std::string render(const std::vector<Entry>& entries, int depth_max) {
  std::string out;
  for (const Entry& entry : entries) {
    out += heading(entry);
    for (const auto& [line, depth, text] : entry.outline.definitions) {
      if (depth > depth_max) continue;
      out += fmt::format("{:6}  {:{}}{}\n", line, "", 2 * depth, text);
    }
  }
  return out;
}

std::string render_counts(const std::vector<Entry>& entries) {
  std::string out;
  for (const Entry& entry : entries) {
    auto line = heading(entry);
    line.pop_back();
    const auto n = entry.outline.definitions.size();
    out += fmt::format("{}: {} definition{}\n", line, n, n == 1 ? "" : "s");
  }
  return out;
}

// The deepest view that fits; the last line says what was left out and how to see it.
std::string fit(const std::vector<Entry>& entries) {
  const auto full = render(entries, 1 << 20);
  if (full.size() <= kOutputBytesMax) return full;
  const auto advice =
      fmt::format("the whole outline has {} bytes; name a {}", full.size(),
                  entries.size() == 1 ? "smaller file, or search it" : "file or a subdirectory");
  if (auto top = render(entries, 0); top.size() <= kOutputBytesMax) {
    return top + fmt::format("[top level only: {}]\n", advice);
  }
  auto counts = entries.size() == 1 ? render(entries, 0) : render_counts(entries);
  if (counts.size() > kOutputBytesMax) {
    counts.resize(counts.rfind('\n', kOutputBytesMax) + 1);
    return counts + fmt::format("[cut: {}]\n", advice);
  }
  return counts + fmt::format("[counts only: {}]\n", advice);
}

std::string files_text(std::size_t n) { return n == 1 ? "1 file" : fmt::format("{} files", n); }

Outcome outline_directory(const RootedFs& fs, const std::string& path, const Cancelled& cancelled) {
  const auto deadline = Clock::now() + kTotalTime;
  Listing listing;
  list_directory(fs, Ignored(fs.root()), path, listing);
  std::vector<Entry> entries;
  std::size_t n_empty = 0, n_done = 0;
  for (const auto& file : listing.files) {
    if (cancelled.load() || Clock::now() > deadline) break;
    ++n_done;
    Entry entry = outline_file(fs, file, cancelled, deadline);
    if (entry.skipped.empty() && entry.outline.definitions.empty() && entry.outline.n_errors == 0)
      ++n_empty;
    else
      entries.push_back(std::move(entry));
  }
  const auto shown = path.empty() ? fs.root() : path;
  if (entries.empty() && n_done == listing.files.size() && listing.complete) {
    return {.text = fmt::format("no definitions below {} ({} in {})", shown, files_text(n_empty),
                                outline_languages())};
  }
  std::string text = fit(entries);
  if (n_empty > 0) text += fmt::format("[{} without definitions]\n", files_text(n_empty));
  if (n_done < listing.files.size()) {
    text += fmt::format("[{} not read: out of time; name a subdirectory]\n",
                        files_text(listing.files.size() - n_done));
  }
  if (!listing.complete)
    text +=
        fmt::format("[stopped after {}; name a subdirectory]\n", files_text(listing.files.size()));
  return {.text = std::move(text)};
}

Outcome outline_one(const RootedFs& fs, const std::string& path, const Cancelled& cancelled) {
  if (!can_outline(path)) {
    return refused(fmt::format("outline {}: no grammar for this extension; there are {}", path,
                               outline_languages()));
  }
  Entry entry = outline_file(fs, path, cancelled, Clock::now() + kFileTime);
  if (!entry.skipped.empty()) return refused(fmt::format("outline: {} {}", path, entry.skipped));
  if (entry.outline.definitions.empty() && entry.outline.n_errors == 0) {
    return {.text = fmt::format("{}: no definitions ({})", path, entry.outline.language)};
  }
  return {.text = fit({std::move(entry)})};
}

// The path inside the root, or an Outcome that says what is wrong with it.
tl::expected<std::string, Outcome> inside(const RootedFs& fs, const std::string& asked) {
  std::string path = asked;
  if (path.starts_with('/')) {
    const auto relative = fs.relative(path);
    if (!relative)
      return tl::unexpected(
          refused(fmt::format("outline {}: outside the repository {}", asked, fs.root())));
    path = *relative;
  }
  path = std::filesystem::path(path).lexically_normal().generic_string();
  while (path.ends_with('/')) path.pop_back();
  if (path == ".") path.clear();
  if (path == ".." || path.starts_with("../")) {
    return tl::unexpected(
        refused(fmt::format("outline {}: outside the repository {}", asked, fs.root())));
  }
  return path;
}

Outcome outline(const std::string& root, const std::string& asked, const Cancelled& cancelled) {
  const auto fs = RootedFs::open(root);
  if (!fs) return refused(fmt::format("outline {}: {}", root, fs.error()));
  const auto path = inside(*fs, asked);
  if (!path) return path.error();
  if (path->empty() || fs->is_directory(*path)) return outline_directory(*fs, *path, cancelled);
  struct stat st {};
  if (!fs->lstat(*path, st))
    return refused(fmt::format("outline {}: no such file or directory", *path));
  return outline_one(*fs, *path, cancelled);
}

#else

Outcome outline(const std::string&, const std::string&, const Cancelled&) {
  return refused(
      "outline: this build has no grammars (LARES_TREE_SITTER=OFF); use bash with grep -n");
}

#endif

class OutlineTool final : public Tool {
 public:
  explicit OutlineTool(const BuiltinOptions& options) : root_(options.root) {}

  const Spec& spec() const override { return kSpec; }
  bool mutates(const nlohmann::json&) const override { return false; }

  asio::awaitable<Result<Outcome>> run(nlohmann::json args, OnOutput) override {
    std::string path;
    if (args.is_object() && args.contains("path")) {
      if (!args["path"].is_string()) co_return refused("outline: `path` must be a string");
      path = args["path"].get<std::string>();
    }
    auto work = [root = root_, path](const Cancelled& cancelled) -> Result<Outcome> {
      return outline(root, path, cancelled);
    };
    auto result = co_await off_thread(pool_, std::move(work));
    co_return result;
  }

 private:
  std::string root_;
  asio::thread_pool pool_{1};
};

}  // namespace

std::unique_ptr<Tool> make_outline_tool(asio::any_io_executor, const BuiltinOptions& options) {
  return std::make_unique<OutlineTool>(options);
}

}  // namespace lares::tools
