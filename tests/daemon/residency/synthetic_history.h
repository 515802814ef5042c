// A repository's history made up from a seed, with the statistics of real ones: few files per
// commit with a long tail, hunks of a few lines, a small hot set, neighbours that change together,
// now and then a bulk commit.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "daemon/residency/line_diff.h"
#include "tests/daemon/residency/replay/replay.h"
#include "tests/daemon/residency/files.h"

namespace lares::daemon::test {

struct SyntheticOptions {
  std::uint64_t seed = 1;
  int n_files = 400, n_commits = 300;
  // Of a file, log-normal: most are short, half the text is in a tenth of them
  double lines_median = 60, lines_sigma = 1.1;
  double hunk_median = 2, hunk_sigma = 1.3;  // lines that a hunk adds, and removes
  double hunks_mean = 2.7;                   // of a file in a commit, geometric
  double bulk = 0.01;                        // commits that touch a fifth of all files
};

class SyntheticHistory final : public History {
 public:
  explicit SyntheticHistory(SyntheticOptions options) : options_(options), random_(options.seed) {
    for (int i = 0; i < options_.n_files; ++i) add_file(1.0);
    // Which files were hot before is known as roughly as from a log.
    for (const auto& [path, weight] : weights_)
      changes_[path] = weight * options_.n_files * between(0.3, 1.7);
  }

  const tools::Workspace& now() const override { return now_; }
  std::chrono::seconds idle() const override { return std::chrono::seconds(idle_); }
  double changes(const std::string& path) const override {
    const auto it = changes_.find(path);
    return it == changes_.end() ? 0 : it->second;
  }

  bool next() override {
    if (n_done_++ == options_.n_commits) return false;
    idle_ = static_cast<int>(log_normal(1'800, 1.5));
    for (auto& [path, weight] : changes_) weight *= 0.995;
    for (const std::string& path : pick(n_files_of_commit())) {
      edit(path);
      changes_[path] += 1;
    }
    if (chance(0.15)) add_file(0.5);
    if (chance(0.02)) now_.erase(hot_path());
    if (chance(0.02)) rename(hot_path());
    return true;
  }

 private:
  double between(double a, double b) { return std::uniform_real_distribution<>(a, b)(random_); }
  bool chance(double p) { return between(0, 1) < p; }
  int integer(int a, int b) { return std::uniform_int_distribution<>(a, b)(random_); }
  double log_normal(double median, double sigma) {
    return std::lognormal_distribution<>(std::log(median), sigma)(random_);
  }

  int n_files_of_commit() {
    const double p = between(0, 1);
    if (p < options_.bulk) return options_.n_files / 5;
    if (p < 0.45) return 1;
    if (p < 0.63) return 2;
    if (p < 0.83) return integer(3, 5);
    return p < 0.95 ? integer(6, 12) : integer(13, 40);
  }

  // Some 33 bytes, most lines unlike every other, some the same all over.
  std::string line() {
    static const std::vector<std::string> common = {"\n", "}\n", "  }\n", "  return out;\n",
                                                    "    break;\n"};
    if (chance(0.25)) return common[static_cast<std::size_t>(integer(0, 4))];
    std::string out(static_cast<std::size_t>(2 * integer(1, 3)), ' ');
    out += "const auto v" + std::to_string(integer(0, 99'999)) + " = f" +
           std::to_string(integer(0, 999)) + "(";
    for (int n = integer(0, 4); n > 0; --n) out += "arg" + std::to_string(integer(0, 99)) + ", ";
    return out + ");\n";
  }
  std::string lines(int n) {
    std::string out;
    for (int i = 0; i < n; ++i)
      out += i % 25 == 0 ? "int function_" + std::to_string(integer(0, 9'999)) + "(int x) {\n"
                         : line();
    return out;
  }

  void add_file(double size) {
    const std::string path = "src/part" + std::to_string(integer(0, 19)) + "/file" +
                             std::to_string(n_added_) + ".cc";
    put(now_,
        file(path,
             lines(static_cast<int>(std::min(
                 4'000.0, 3 + size * log_normal(options_.lines_median, options_.lines_sigma))))));
    weights_[path] = 1.0 / (1 + integer(0, ++n_added_));  // Zipf
  }

  std::string hot_path() {
    double all = 0;
    for (const auto& [path, file] : now_) all += weights_[path];
    double at = between(0, all);
    for (const auto& [path, file] : now_) {
      if ((at -= weights_[path]) <= 0) return path;
    }
    return now_.begin()->first;
  }

  // The first by how hot it is, the others mostly from its directory.
  std::vector<std::string> pick(int n) {
    std::vector<std::string> out = {hot_path()};
    const std::string directory = out[0].substr(0, out[0].rfind('/') + 1);
    std::vector<std::string> near;
    for (const auto& [path, file] : now_) {
      if (path.starts_with(directory) && path != out[0]) near.push_back(path);
    }
    std::shuffle(near.begin(), near.end(), random_);
    for (int i = 1; i < n; ++i) {
      std::string path;
      if (!near.empty() && chance(0.6)) {
        path = near.back();
        near.pop_back();
      } else if (chance(0.5)) {
        path = hot_path();
      } else {
        path = std::next(now_.begin(), integer(0, static_cast<int>(now_.size()) - 1))->first;
      }
      if (std::find(out.begin(), out.end(), path) == out.end()) out.push_back(path);
    }
    return out;
  }

  void edit(const std::string& path) {
    std::string text = *now_.at(path).text;
    std::geometric_distribution<> more(1 / options_.hunks_mean);
    for (int n = 1 + more(random_); n > 0; --n) {
      const auto before = lines_with_ends(text);
      const int at = integer(0, static_cast<int>(before.size()));
      const int removed = std::min(
          static_cast<int>(before.size()) - at,
          static_cast<int>(log_normal(options_.hunk_median, options_.hunk_sigma)));
      std::string out;
      for (int i = 0; i < at; ++i) out += before[static_cast<std::size_t>(i)];
      for (int i = static_cast<int>(log_normal(options_.hunk_median * 1.1, options_.hunk_sigma));
           i > 0; --i)
        out += line();
      for (auto i = static_cast<std::size_t>(at + removed); i < before.size(); ++i)
        out += before[i];
      text = std::move(out);
    }
    put(now_, file(path, std::move(text)));
  }

  void rename(const std::string& path) {
    tools::SourceFile moved = std::move(now_.extract(path).mapped());
    moved.path = path.substr(0, path.rfind('/') + 1) + "moved" + std::to_string(n_added_++) + ".cc";
    weights_[moved.path] = weights_[path];
    put(now_, std::move(moved));
  }

  const SyntheticOptions options_;
  std::mt19937_64 random_;
  tools::Workspace now_;
  std::map<std::string, double> weights_;  // how hot a file is
  std::map<std::string, double> changes_;
  int n_added_ = 0, n_done_ = 0, idle_ = 0;
};

}  // namespace lares::daemon::test
