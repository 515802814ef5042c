// Workspaces made in memory, and the built-in model's tokenizer to write them with.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "daemon/residency/base.h"
#include "engine/tokenizer.h"
#include "tools/text.h"
#include "tools/workspace/source_file.h"
#include "tools/workspace/workspace.h"

namespace lares::daemon::test {

inline const engine::Tokenizer& tokenizer() {
  static const auto kTokenizer = [] {
    auto loaded = engine::Tokenizer::from_file(LARES_SOURCE_DIR
                                               "/engine/nano/checkpoint/tokenizer.json");
    if (!loaded) std::abort();
    return std::move(*loaded);
  }();
  return *kTokenizer;
}

inline void put(tools::Workspace& files, const std::string& path, const std::string& text) {
  tools::SourceFile file;
  file.path = path;
  file.text = std::make_shared<const std::string>(text);
  file.blob = tools::blob_sha(text);
  file.n_bytes = text.size();
  files[path] = std::move(file);
}
inline void put_unshown(tools::Workspace& files, const std::string& path,
                        const std::string& reason) {
  tools::SourceFile file;
  file.path = path;
  file.shown = tools::Shown::path;
  file.reason = reason;
  files[path] = std::move(file);
}

// About 25 bytes a line.
inline std::string code(const std::string& name, int n_lines) {
  std::string out = "int " + name + "(int x) {\n";
  for (int i = 0; i < n_lines; ++i)
    out += "  x = x * " + std::to_string(i * 7919 % 1000) + " + 17;\n";
  return out + "  return x;\n}\n";
}
// Of `n` files in a few directories, some kilobytes each: too many for a plain list.
inline tools::Workspace many(int n, int n_lines = 100) {
  tools::Workspace files;
  for (int i = 0; i < n; ++i) {
    // "f" + ...: g++ 12 warns of an overlap that is not there
    const std::string name = fmt::format("f{}", i);
    put(files, "src/d" + std::to_string(i % 5) + "/" + name + ".c", code(name, n_lines + i % 7));
  }
  put(files, "README.md", "# A project\n");
  put_unshown(files, "logo.png", "binary");
  return files;
}

inline std::vector<tools::File> as_list(const tools::Workspace& files) {
  std::vector<tools::File> out;
  for (const auto& [path, file] : files) {
    out.push_back({path, file.text ? *file.text : "", file.reason, file.n_bytes});
  }
  return out;
}
inline std::string text_of(const Base& base, std::size_t from = 0) {
  return tokenizer().decode(std::span(base.tokens).subspan(from));
}
inline const BaseFile* find(const Base& base, const std::string& path) {
  for (const BaseFile& file : base.files) {
    if (file.source.path == path) return &file;
  }
  return nullptr;
}

}  // namespace lares::daemon::test
