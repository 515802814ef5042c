// A repository that changes at random, with everything in it that could be mistaken for something
// else.
#pragma once

#include <random>
#include <string>
#include <vector>

#include "daemon/residency/line_diff.h"
#include "tests/daemon/residency/files.h"

namespace lares::daemon::test {

class RandomWorkspace {
 public:
  explicit RandomWorkspace(std::uint64_t seed, int n_files = 60) : random_(seed) {
    for (int i = 0; i < n_files; ++i) create();
    originals_ = files;
  }

  tools::Workspace files;

  std::size_t below(std::size_t n) {
    return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_);
  }
  bool chance(double p) { return std::uniform_real_distribution<>(0, 1)(random_) < p; }
  std::string some_path() {
    return std::next(files.begin(), static_cast<std::ptrdiff_t>(below(files.size())))->first;
  }

  // One event: a save, a rename, a deletion, a checkout.
  void step() {
    const double what = std::uniform_real_distribution<>(0, 1)(random_);
    if (files.size() < 20 || what < 0.06) {
      create();
    } else if (what < 0.12) {
      files.erase(some_path());
    } else if (what < 0.18) {
      rename();
    } else if (what < 0.20) {
      relist();
    } else if (what < 0.23) {
      revert();
    } else if (what < 0.235) {
      checkout();
    } else if (what < 0.25) {
      std::erase_if(files, [](const auto& entry) { return entry.first.starts_with("gen/"); });
    } else if (what < 0.255) {
      edit_with(std::string(120'000, 'x') + "\n" + numbered_lines(1, 3'000));
    } else {
      edit(some_path());
    }
  }

  // Anything from a line's change to another text; keeps the file's other properties or not.
  void edit(const std::string& path) {
    const tools::SourceFile& old = files.at(path);
    if (!old.text) return put(files, listed(path, old.reason, old.n_bytes + 1));
    auto lines = lines_with_ends(*old.text);
    std::vector<std::string> out(lines.begin(), lines.end());
    for (std::size_t n = 1 + below(3); n > 0; --n) {
      const std::size_t at = below(out.size() + 1);
      const std::size_t removed = std::min(below(4), out.size() - at);
      out.erase(out.begin() + static_cast<std::ptrdiff_t>(at),
                out.begin() + static_cast<std::ptrdiff_t>(at + removed));
      for (std::size_t added = below(4); added > 0; --added)
        out.insert(out.begin() + static_cast<std::ptrdiff_t>(at), line());
    }
    std::string text;
    for (const std::string& l : out) text += l + (l.ends_with('\n') ? "" : "\n");
    if (chance(0.1) && !text.empty()) text.pop_back();
    if (chance(0.02)) text.clear();
    if (chance(0.01)) text = "\n";
    tools::SourceFile now = file(path, std::move(text), chance(0.03) ? !old.crlf : old.crlf);
    now.shown = old.shown;
    now.reason = old.reason;
    put(files, std::move(now));
  }

 private:
  std::string line() {
    static const std::vector<std::string> nasty = {"</file>",
                                                   "</changed>",
                                                   "<changed path=\"a\" not shown/>",
                                                   "@@ int main() {",
                                                   "@@",
                                                   "--- a/f",
                                                   "+++ b/f",
                                                   "-",
                                                   "+",
                                                   "\\",
                                                   "\\ No newline at end of file",
                                                   "<deleted path=\"src/f1\"/>",
                                                   "</workspace-update>",
                                                   "<file path=\"x\" lines=\"3\" sha=\"0\">",
                                                   "",
                                                   "",
                                                   "",
                                                   "}",
                                                   "}",
                                                   "  }",
                                                   "    return;",
                                                   "int f() {",
                                                   "class A:",
                                                   "  def g(self):",
                                                   "\xe4\xb8\xad\xe6\x96\x87 \xf0\x9f\x99\x82",
                                                   "\t",
                                                   "carriage\rreturn",
                                                   "public:",
                                                   "<\xef\xbd\x9cUser\xef\xbd\x9c>",
                                                   "a\"b\\c"};
    if (chance(0.002)) return std::string(20'000, 'y') + "\n";
    if (chance(0.5)) return nasty[below(nasty.size())] + "\n";
    return std::string(below(8), ' ') + "value_" + std::to_string(below(40)) + " = " +
           std::to_string(below(9)) + ";\n";
  }

  std::string new_path() {
    static const std::vector<std::string> directories = {"",      "src/",   "src/a/", "src/a b/",
                                                         "docs/", "src.d/", "\"q\"/"};
    static const std::vector<std::string> names = {"f", "\xc3\xa9", "x\ny", "a\\", "<f>"};
    return directories[below(directories.size())] +
           names[below(10) == 0 ? below(names.size()) : 0] + std::to_string(below(400));
  }

  void create() {
    const std::string path = new_path();
    std::string text;
    for (std::size_t n = chance(0.1) ? 0 : below(160); n > 0; --n) text += line();
    if (chance(0.1)) return put(files, listed(path, chance(0.5) ? "binary" : "secret"));
    tools::SourceFile source = file(path, std::move(text), chance(0.1));
    if (chance(0.05)) {
      source.shown = tools::Shown::outline;
      source.reason = "over budget";
    }
    put(files, std::move(source));
  }

  void rename() {
    tools::SourceFile moved = std::move(files.extract(some_path()).mapped());
    moved.path = new_path();
    const std::string path = moved.path;
    put(files, std::move(moved));
    if (chance(0.4)) edit(path);
  }

  // A file becomes a secret, a binary, or text again.
  void relist() {
    const std::string path = some_path();
    if (files.at(path).shown == tools::Shown::full)
      return put(files, listed(path, chance(0.5) ? "secret" : "lock file"));
    put(files, file(path, numbered_lines(1, static_cast<int>(below(300)))));
  }

  void revert() {
    const auto it = std::next(originals_.begin(),
                              static_cast<std::ptrdiff_t>(below(originals_.size())));
    put(files, it->second);
  }

  void checkout() {
    for (auto it = files.begin(); it != files.end();)
      it = chance(0.2) ? files.erase(it) : std::next(it);
    for (std::size_t n = below(40); n > 0; --n) create();
    std::vector<std::string> paths;
    for (const auto& [path, source] : files) paths.push_back(path);
    for (const std::string& path : paths) {
      if (chance(0.6)) edit(path);
    }
    // Many at once in one place: more than can be named one by one.
    if (chance(0.2)) {
      for (int i = 0; i < 1'200; ++i)
        put(files, file("gen/deep/" + std::to_string(i) + "/f", "x\ny\n"));
    }
  }

  void edit_with(std::string text) { put(files, file(some_path(), std::move(text))); }

  std::mt19937_64 random_;
  tools::Workspace originals_;
};

}  // namespace lares::daemon::test
