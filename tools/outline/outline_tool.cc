#include "tools/outline/outline_tool.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "tools/clip.h"
#include "tools/git/kept_view.h"
#include "tools/off_thread.h"
#include "tools/workspace/path_hint.h"
#include "tools/workspace/rooted_fs.h"
#include "tools/workspace/rules.h"
#ifdef LARES_TREE_SITTER
#include "tools/outline/listing.h"
#include "tools/outline/name.h"
#include "tools/outline/syntax.h"
#endif

namespace lares::tools {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kNamesTime{100};

const Spec kSpec{
    "outline",
    "List the definitions (functions, classes, methods, types) in a file or below a directory, "
    "with line numbers, or show the source of those of one name.",
    R"({"type":"object","properties":{)"
    R"("path":{"type":"string","description":"File or directory, default: the repository"},)"
    R"("name":{"type":"string","description":"Show the source of the definitions of this name instead"}}})"};

Outcome refused(std::string why) { return {.text = std::move(why), .ok = false, .changes = {}}; }

struct Asked {
  std::string path;
  std::optional<std::string> name;
};

#ifdef LARES_TREE_SITTER

struct Entry {
  std::string path;
  SourceOutline outline;
  std::string skipped;  // why there is no outline, as a predicate: "is binary"
};

Entry outline_file(const RootedFs& fs, const std::string& path, const Cancelled& cancelled,
                   Clock::time_point deadline) {
  Entry entry{path, {}, {}};
  const auto source = read_source(fs, path);
  entry.skipped = source.skipped;
  if (entry.skipped.empty() && is_secret_text(source.path, source.text))
    entry.skipped = "is kept from you: it may hold secrets";
  if (!entry.skipped.empty()) return entry;
  entry.outline = outline_source(path, source.text,
                                 std::min(deadline, Clock::now() + kOutlineFileTime), cancelled);
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
    for (const auto& definition : entry.outline.definitions) {
      if (definition.depth > depth_max) continue;
      out += fmt::format("{:6}  {:{}}{}\n", definition.line, "", 2 * definition.depth,
                         definition.text);
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
  const auto advice = fmt::format(
      "the whole outline has {} bytes; name a {}", full.size(),
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

Outcome outline_directory(const RootedFs& fs, const std::string& path, KeptView& git,
                          const Cancelled& cancelled) {
  const auto deadline = Clock::now() + kOutlineTotalTime;
  const Listing listing = list_sources(fs, path, kOutlinedMax, git);
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
    text += fmt::format("[stopped after {}; name a subdirectory]\n",
                        files_text(listing.files.size()));
  return {.text = std::move(text)};
}

Outcome outline_one(const RootedFs& fs, const std::string& path, const Cancelled& cancelled) {
  Entry entry = outline_file(fs, path, cancelled, Clock::now() + kOutlineFileTime);
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
      return tl::unexpected(refused(fmt::format(
          "outline {}: outside the repository {}; paths are relative to it", asked, fs.root())));
    path = *relative;
  }
  path = std::filesystem::path(path).lexically_normal().generic_string();
  while (path.ends_with('/')) path.pop_back();
  if (path == ".") path.clear();
  if (path == ".." || path.starts_with("../")) {
    return tl::unexpected(refused(fmt::format(
        "outline {}: outside the repository {}; paths are relative to it", asked, fs.root())));
  }
  return path;
}

std::string sentence(const std::string& hint) {
  return hint.empty() ? "" : fmt::format(".{}", hint);
}

Outcome outline(const std::string& root, const Asked& asked, KeptView& git,
                const Cancelled& cancelled) {
  const auto fs = RootedFs::open(root);
  if (!fs) return refused(fmt::format("outline {}: {}", root, fs.error()));
  auto path = inside(*fs, asked.path);
  if (!path) return path.error();
  if (!path->empty() && fs->is_directory(*path)) path = fs->real(*path);  // a link is not entered
  struct stat st {};
  const bool directory = path->empty() || fs->is_directory(*path);
  if (!directory && !fs->lstat(*path, st))
    return refused(fmt::format("outline {}: no such file or directory{}", *path,
                               sentence(path_hint(git, *path))));
  if (!directory && !can_outline(*path)) {
    return refused(fmt::format("outline {}: no grammar for this extension; there are {}", *path,
                               outline_languages()));
  }
  if (asked.name) return show_definitions(*fs, *path, *asked.name, git, cancelled);
  if (directory) return outline_directory(*fs, *path, git, cancelled);
  return outline_one(*fs, *path, cancelled);
}

#else

Outcome outline(const std::string&, const Asked&, KeptView&, const Cancelled&) {
  return refused(
      "outline: this build has no grammars (LARES_TREE_SITTER=OFF); use bash with grep -n");
}

#endif

class OutlineTool final : public Tool {
 public:
  explicit OutlineTool(const BuiltinOptions& options)
      : root_(options.root),
        git_(std::make_shared<KeptView>(options.root)),
        threads_(options.threads) {}

  const Spec& spec() const override { return kSpec; }
  bool mutates(const nlohmann::json&) const override { return false; }

  // The name of something that is there, while finding out takes no time that anybody notices.
  std::optional<Choices> choices(
      const std::string& key,
      const std::vector<std::pair<std::string, std::string>>& so_far) const override {
#ifdef LARES_TREE_SITTER
    if (key != "name" || !so_far.empty()) return std::nullopt;
    const auto fs = RootedFs::open(root_);
    auto names = fs ? definition_names(*fs, *git_, kNamesTime) : std::nullopt;
    if (names) return Choices{std::move(*names), "", false};
#endif
    return std::nullopt;
  }

  asio::awaitable<Result<Outcome>> run(nlohmann::json args, OnOutput) override {
    Asked asked;
    if (args.is_object() && args.contains("path")) {
      if (!args["path"].is_string()) co_return refused("outline: `path` must be a string");
      asked.path = args["path"].get<std::string>();
    }
    if (args.is_object() && args.contains("name")) {
      if (!args["name"].is_string()) co_return refused("outline: `name` must be a string");
      asked.name = args["name"].get<std::string>();
      if (asked.name->empty()) co_return refused("outline: `name` must not be empty");
    }
    auto work = [root = root_, git = git_, asked](const Cancelled& cancelled) -> Result<Outcome> {
      return outline(root, asked, *git, cancelled);
    };
    auto result = co_await off_thread(threads_.get(), std::move(work));
    co_return result;
  }

 private:
  std::string root_;
  std::shared_ptr<KeptView> git_;  // also of a call that outlives the tool
  WorkThreads threads_;
};

}  // namespace

std::unique_ptr<Tool> make_outline_tool(asio::any_io_executor, const BuiltinOptions& options) {
  return std::make_unique<OutlineTool>(options);
}

}  // namespace lares::tools
