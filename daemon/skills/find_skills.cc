#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "daemon/skills/skill_file.h"
#include "daemon/skills/skills.h"
#include "tools/workspace/rooted_fs.h"

namespace lares::daemon {
namespace {

namespace fs = std::filesystem;
using tools::RootedFs;

struct Place {
  std::string_view path;  // below the repository, or the home directory
  bool of_commands = false;
};
constexpr Place kPlaces[] = {
    {".agents/skills"}, {".claude/skills"}, {".claude/commands", /*of_commands=*/true}};
constexpr std::string_view kFile = "SKILL.md", kCommandEnd = ".md";

// By name, and whether only the model has it, for a command of that name is called instead.
using Found = std::map<std::pair<std::string, bool>, Skill>;

// Of one owner, whatever it holds: another's stay as many as they are.
class Finder {
 public:
  // `base`: the repository's root, or the user's home directory.
  Finder(std::string base, bool users_own, Found& found, std::vector<SkillPassedOver>& passed_over)
      : base_(std::move(base)), users_own_(users_own), found_(found), passed_over_(passed_over) {
    if (auto files = RootedFs::open(base_)) files_ = std::move(*files);
  }

  void look() {
    if (!files_) return;
    for (const Place& place : kPlaces) {
      of_commands_ = place.of_commands;
      walk(std::string(place.path), 0);
    }
  }

 private:
  void pass_over(const std::string& path, std::string why, bool hidden = false) {
    passed_over_.push_back(
        {one_line(path), std::move(why), one_line(name_by_path(path, of_commands_)), hidden});
  }

  // A link of the repository is not even looked behind where it leads out of it.
  bool is_directory(const std::string& path) const {
    std::error_code ec;
    return users_own_ ? fs::is_directory(base_ + "/" + path, ec) : files_->is_directory(path);
  }

  void walk(const std::string& directory, int depth) {
    const std::string absolute = base_ + "/" + directory;
    std::error_code ec;
    if (!is_directory(directory)) return;
    const fs::path real = fs::canonical(absolute, ec);
    if (ec || !seen_.insert(real.string()).second) return;
    if (!of_commands_ && depth > 0 &&
        fs::exists(fs::symlink_status(absolute + "/" + std::string(kFile), ec)))
      return add(directory + "/" + std::string(kFile));
    if (depth == kSkillDepthMax) return;
    std::vector<std::string> names;
    for (fs::directory_iterator at(absolute, ec), end; !ec && at != end; at.increment(ec)) {
      if (n_names_ == kSkillNamesMax) {
        if (!std::exchange(told_of_names_, true))
          pass_over(directory, fmt::format("more than {} names are in directories of skills; the "
                                           "others are not looked at",
                                           kSkillNamesMax));
        break;
      }
      ++n_names_;
      const std::string name = at->path().filename().string();
      if (name != "node_modules" && !name.starts_with('.')) names.push_back(name);
    }
    std::ranges::sort(names);
    for (const auto& name : names) {
      const std::string path = directory + "/" + name;
      if (of_commands_ && name.ends_with(kCommandEnd) && !is_directory(path))
        add(path);
      else
        walk(path, depth + 1);
    }
  }

  void add(const std::string& relative) {
    if (n_looked_at_ == kSkillsMax) {
      if (!std::exchange(told_of_many_, true))
        pass_over(
            relative,
            fmt::format("there are {} already; neither are those that come behind it", kSkillsMax));
      return;
    }
    ++n_looked_at_;
    const std::string path = users_own_ ? base_ + "/" + relative : relative;
    if (path.size() > kSkillPathBytesMax)
      return pass_over(path, fmt::format("its path has more than {} bytes", kSkillPathBytesMax));
    const auto text = read_skill(base_, path, /*whole=*/false);
    auto skill = text ? skill_of(*text, path, of_commands_) : tl::unexpected(text.error());
    if (!skill) return pass_over(path, skill.error());
    const auto called = found_.find({skill->name, /*model_only=*/false});
    const bool model_only = called != found_.end() && called->second.is_command &&
                            !skill->is_command && skill->for_model;
    if (model_only) skill->for_people = false;
    const auto [first, added] = found_.try_emplace({skill->name, model_only}, *skill);
    if (!added)
      pass_over(path,
                fmt::format("{} has the name {}, too, and comes first",
                            one_line(first->second.path), skill->name),
                true);
  }

  const std::string base_;
  const bool users_own_;
  bool of_commands_ = false;  // where it looks now
  Found& found_;
  std::vector<SkillPassedOver>& passed_over_;
  std::optional<RootedFs> files_;
  std::set<std::string> seen_;  // directories
  std::size_t n_names_ = 0, n_looked_at_ = 0;
  bool told_of_names_ = false, told_of_many_ = false;
};

}  // namespace

std::string skills_home() {
  const char* const home = std::getenv("HOME");
  return home != nullptr && *home == '/' ? home : "";
}

std::vector<std::string> skill_directories(const std::string& home) {
  std::vector<std::string> out;
  for (const Place& place : kPlaces)
    if (!home.empty()) out.push_back(fmt::format("{}/{}", home, place.path));
  return out;
}

Skills find_skills(const std::string& root, const std::string& home) {
  Found found;
  Skills out;
  std::error_code ec;
  if (!home.empty()) Finder(home, /*users_own=*/true, found, out.passed_over).look();
  if (home.empty() || !fs::equivalent(root, home, ec))
    Finder(root, /*users_own=*/false, found, out.passed_over).look();
  for (auto& [name, skill] : found) out.all.push_back(std::move(skill));
  return out;
}

}  // namespace lares::daemon
