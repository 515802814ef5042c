#include "tools/git/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "tools/git/repo.h"
#include "tools/text.h"

namespace lares::tools::git {

std::string bounded(std::string text, std::string_view advice) {
  if (text.size() <= kOutputBytesMax) return text;
  const auto end = text.rfind('\n', kOutputBytesMax);
  const auto cut = end == std::string::npos ? utf8_floor(text, kOutputBytesMax) : end + 1;
  const auto n_lines = split_lines(std::string_view(text).substr(cut)).size();
  text.resize(cut);
  return text + fmt::format("[cut: {} more lines; {}]\n", n_lines, advice);
}

std::string date(const git_time& when, const char* format) {
  const std::time_t seconds = when.time + when.offset * 60;
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[64];
  return std::string(text, std::strftime(text, sizeof text, format, &parts));
}

std::string distance(git_repository* repo, const git_oid* ours, const git_oid* theirs) {
  std::size_t ahead = 0, behind = 0;
  git_graph_ahead_behind(&ahead, &behind, repo, ours, theirs);
  std::string text;
  if (ahead) text = fmt::format("ahead {}", ahead);
  if (behind) text += fmt::format("{}behind {}", ahead ? ", " : "", behind);
  return text;
}

std::string of_index(std::string_view reason) {
  const auto says = [&](std::string_view what) {
    return reason.find(what) != std::string_view::npos;
  };
  if (says("unsupported mandatory extension: 'sdir'"))
    return "git's index is a sparse one, which is not read here; the user makes it a whole one "
           "with: git sparse-checkout reapply --no-sparse-index";
  if (says("unsupported mandatory extension: 'link'"))
    return "git's index is split, which is not read here; the user makes it a whole one with: git "
           "update-index --no-split-index";
  return "";
}

std::string by_git(const Request& request, std::string_view command) {
  return fmt::format("{}: {}", request.commands_write ? "run in bash" : "ask the user to run",
                     command);
}

std::string under_way(const Request& request) {
  return fmt::format(
      "{}: a merge, rebase or the like is under way; {}, and git status in bash "
      "says how",
      request.command,
      request.commands_write ? "git in bash finishes it" : "ask the user to finish it with git");
}

std::string few_of(const std::vector<std::string>& names) {
  constexpr std::size_t kNamesMax = 5;
  const auto shown = std::min(names.size(), kNamesMax);
  std::string text = fmt::format(
      "{}", fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown), ", "));
  if (names.size() > shown) text += fmt::format(" and {} more", names.size() - shown);
  return to_utf8(text);
}

}  // namespace lares::tools::git
