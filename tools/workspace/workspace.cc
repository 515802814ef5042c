#include "tools/workspace/workspace.h"

#include <fmt/format.h>

#include "tools/text.h"

namespace lares::tools {

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

}  // namespace lares::tools
