// What of a repository stands before its sessions, for people.
#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "daemon/resident/tree.h"

namespace lares::daemon {
namespace {

constexpr std::size_t kLeftOutShown = 50, kFilesReported = 20'000;
constexpr int kTierOfOverlay = -1;  // of files that the base does not have

const char* name_of(Freshness::State state) {
  switch (state) {
    case Freshness::State::resident:
      return "full";
    case Freshness::State::dirty:
      return "overlay";
    case Freshness::State::hidden:
      return "hidden";
    case Freshness::State::outline:
      return "outline";
    case Freshness::State::path_only:
      return "path";
    case Freshness::State::absent:
      return "gone";
  }
  return "";
}

}  // namespace

void ResidentTree::describe(protocol::RepoPrefixResult& r, bool with_files) const {
  if (!base_) return;
  r.epoch = epoch_, r.version = overlay_->version(), r.tokens_max = world_.tokens_max;
  r.base_tokens = static_cast<std::int64_t>(base_->tokens.size());
  r.overlay_tokens = overlay_->n_tokens(), r.overlay_tokens_max = overlay_->tokens_max();
  r.n_hidden = static_cast<std::int64_t>(overlay_->n_hidden());
  if (next_) r.next_tokens = static_cast<std::int64_t>(next_->base->tokens.size());
  const auto& left_out = scanner_.left_out();
  r.left_out.assign(left_out.begin(), left_out.begin() + static_cast<std::ptrdiff_t>(std::min(
                                                             kLeftOutShown, left_out.size())));
  if (with_files) describe_files(r);
}

void ResidentTree::describe_files(protocol::RepoPrefixResult& r) const {
  std::map<std::string, std::int64_t> told;
  for (const Entry& entry : overlay_->entries()) told[entry.path] += entry.n_tokens;
  const auto state_of = [&](const std::string& path) {
    return name_of(overlay_->freshness(path).state);
  };
  for (const BaseFile& file : base_->files) {
    const auto at = told.find(file.source.path);
    r.files.push_back({file.source.path, state_of(file.source.path), file.source.reason, file.tier,
                       file.n_tokens + (at == told.end() ? 0 : at->second)});
    if (at != told.end()) told.erase(at);
  }
  for (const auto& [path, n] : told)
    r.files.push_back({path, state_of(path), "", kTierOfOverlay, n});
  if (r.files.size() > kFilesReported) {
    r.left_out.push_back(
        fmt::format("{} files with fewer tokens are not listed", r.files.size() - kFilesReported));
    std::stable_sort(r.files.begin(), r.files.end(),
                     [](const auto& a, const auto& b) { return a.n_tokens > b.n_tokens; });
    r.files.resize(kFilesReported);
  }
  std::sort(r.files.begin(), r.files.end(),
            [](const auto& a, const auto& b) { return a.path < b.path; });
}

}  // namespace lares::daemon
