#include "tools/workspace/workspace.h"

#include <algorithm>

#include <fmt/format.h>

#include "tools/text.h"
#include "tools/workspace/rooted_fs.h"
#include "tools/workspace/rules.h"
#include "tools/workspace/tree_listing.h"

namespace lares::tools {
namespace {

tl::unexpected<Error> broken(std::string message) {
  return tl::unexpected(Error{Errc::broken, std::move(message)});
}

}  // namespace

std::string attribute_text(std::string_view path) {
  std::string out;
  for (char c : to_utf8(path)) {
    switch (c) {
      case '"':
        out += "&quot;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20)
          out += fmt::format("&#{};", static_cast<int>(c));
        else
          out += c;
    }
  }
  return out;
}

namespace {

void load(const RootedFs& fs, const WorkspaceOptions& options, const struct stat& st, File& file) {
  file.n_bytes = static_cast<std::uint64_t>(st.st_size);
  if (!S_ISREG(st.st_mode)) {
    file.skipped = S_ISLNK(st.st_mode) ? "symlink" : "not a regular file";
    return;
  }
  file.skipped = skipped_by_name(file.path);
  if (!file.skipped.empty()) return;
  if (file.n_bytes > options.file_bytes_max) {
    file.skipped = "too large";
    return;
  }
  auto data = fs.read(file.path, options.file_bytes_max);
  if (!data) {
    file.skipped = "unreadable";
    return;
  }
  file.n_bytes = data->bytes.size();
  file.skipped = skipped_by_content(file.path, data->bytes);
  if (file.skipped.empty()) file.content = shown_text(data->bytes);
}

std::string render_skipped(const std::string& path, const std::string& reason) {
  return fmt::format("<file path=\"{}\" skipped=\"{}\"/>\n", attribute_text(path), reason);
}

std::string render_shown(const std::string& path, const std::string& text,
                         const std::string& blob) {
  std::string out = fmt::format("<file path=\"{}\" lines=\"{}\" sha=\"{}\">\n",
                                attribute_text(path), split_lines(text).size(), blob.substr(0, 8));
  out += text;
  if (!text.empty() && !text.ends_with('\n')) out += '\n';
  return out + "</file>\n";
}

}  // namespace

Result<std::vector<File>> list_files(const WorkspaceOptions& options) {
  const auto fs = RootedFs::open(options.root);
  if (!fs) return broken(fs.error());
  auto tree = TreeLister(options.root).list();
  if (!tree) return tl::unexpected(std::move(tree.error()));
  if (tree->cut) {
    return broken(
        fmt::format("list {}: {}; open a smaller directory", options.root, tree->left_out.front()));
  }
  std::vector<File> out;
  std::uint64_t total = 0;
  for (const Listed& listed : tree->files) {
    struct stat st {};
    if (listed.kind == Listed::Kind::submodule || !fs->lstat(listed.path, st))
      continue;  // or gone meanwhile
    File file{listed.path, "", "", 0};
    load(*fs, options, st, file);
    if (file.skipped.empty() && total + file.content.size() > options.total_bytes_max) {
      file.content.clear();
      file.skipped = "over budget";
    }
    total += file.content.size();
    out.push_back(std::move(file));
  }
  return out;
}

std::string render_file(const File& file) {
  if (!file.skipped.empty()) return render_skipped(file.path, file.skipped);
  return render_shown(file.path, file.content, blob_sha(file.content));
}

std::string render_file(const SourceFile& file, std::string_view outline) {
  if (file.shown == Shown::path || !file.text) return render_skipped(file.path, file.reason);
  if (file.shown == Shown::full) return render_shown(file.path, *file.text, file.blob);
  const std::string head = fmt::format(
      "<file path=\"{}\" lines=\"{}\" sha=\"{}\" shown=\"outline\">\n", attribute_text(file.path),
      split_lines(*file.text).size(), file.blob.substr(0, 8));
  return head + std::string(outline) + "</file>\n";
}

std::string render_repository(const std::vector<File>& files) {
  std::vector<const File*> order;
  for (const File& file : files) order.push_back(&file);
  std::sort(order.begin(), order.end(),
            [](const File* a, const File* b) { return a->path < b->path; });
  std::string out = fmt::format("<repository files=\"{}\">\n", files.size());
  for (const File* file : order) out += render_file(*file);
  return out + "</repository>\n";
}

}  // namespace lares::tools
