#include "daemon/skills/skills.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "daemon/shown/text.h"
#include "daemon/skills/front_matter.h"
#include "tools/text.h"
#include "tools/workspace/own_files.h"
#include "tools/workspace/rooted_fs.h"
#include "tools/workspace/rules.h"
#include "tools/workspace/secrets.h"
#include "tools/workspace/workspace.h"

namespace lares::daemon {
namespace {

namespace fs = std::filesystem;
using tools::RootedFs;

constexpr std::string_view kPlaces[] = {".agents/skills", ".claude/skills"};
constexpr std::string_view kFile = "SKILL.md", kArguments = "$ARGUMENTS";

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= kSkillNameBytesMax && name.front() != '-' &&
         name.back() != '-' && std::ranges::all_of(name, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
         });
}

bool is_true(const std::string& value) {
  return value == "true" || value == "True" || value == "TRUE" || value == "yes" || value == "on";
}

std::string one_line(std::string_view text) {
  return std::string(tools::trimmed(shown::one_line(shown::exact(text))));
}

// As the model is shown files. The user's own may be links to wherever the user keeps them; the
// repository's lead nowhere out of it. `whole`: not only its head.
tl::expected<std::string, std::string> read_skill(const std::string& root, const std::string& path,
                                                  bool whole) {
  const bool users_own = path.starts_with('/');
  std::string directory = root, name = path;
  if (users_own) {
    std::error_code ec;
    const fs::path real = fs::canonical(path, ec);
    if (ec) return tl::unexpected("it cannot be read: " + ec.message());
    directory = real.parent_path().string(), name = real.filename().string();
  }
  const auto files = RootedFs::open(directory);
  if (!files) return tl::unexpected("its directory cannot be opened: " + files.error());
  auto data = whole ? files->read(name, kSkillFileBytesMax)
                    : files->read_head(name, kSkillHeadBytesMax);
  if (!data) return tl::unexpected("it " + data.error());
  if (!users_own && (tools::names_git_directory(data->path) || tools::is_secret_name(data->path) ||
                     tools::lies_in_own(*files, data->path)))
    return tl::unexpected(std::string("it leads to what the model is not shown"));
  std::string text = tools::shown_text(data->bytes);
  if (const auto secret = tools::find_secret(text); !secret.kind.empty())
    return tl::unexpected(fmt::format("it holds a secret ({})", secret.kind));
  return text;
}

tl::expected<Skill, std::string> skill_of(const std::string& text, const std::string& path) {
  const auto head = front_matter(text);
  if (!head) return tl::unexpected(head.error());
  const auto field = [&](const char* name) {
    const auto at = head->fields.find(name);
    return at == head->fields.end() ? std::string() : at->second;
  };
  Skill out;
  out.path = path;
  out.name = field("name");
  if (!is_name(out.name)) out.name = fs::path(path).parent_path().filename().string();
  if (!is_name(out.name))
    return tl::unexpected(fmt::format(
        "neither its name nor its directory's is one of lower-case letters, digits and hyphens, "
        "{} at most",
        kSkillNameBytesMax));
  out.description = one_line(field("description"));
  if (out.description.empty())
    return tl::unexpected(
        std::string("it has no description; say in one what it is for, and when to use it"));
  if (out.description.size() > kSkillDescriptionBytesMax)
    out.description.resize(tools::utf8_floor(out.description, kSkillDescriptionBytesMax));
  out.for_model = !is_true(field("disable-model-invocation"));
  out.for_people = field("user-invocable").empty() || is_true(field("user-invocable"));
  return out;
}

// Of one owner, whatever it holds: another's stay as many as they are.
class Finder {
 public:
  // `base`: the repository's root, or the user's home directory.
  Finder(std::string base, bool users_own, std::map<std::string, Skill>& found,
         std::vector<SkillPassedOver>& passed_over)
      : base_(std::move(base)), users_own_(users_own), found_(found), passed_over_(passed_over) {
    if (auto files = RootedFs::open(base_)) files_ = std::move(*files);
  }

  void look() {
    if (!files_) return;
    for (const auto place : kPlaces) walk(std::string(place), 0);
  }

 private:
  void pass_over(const std::string& path, std::string why, bool hidden = false) {
    passed_over_.push_back({one_line(path), std::move(why), hidden});
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
    if (depth > 0 && fs::exists(fs::symlink_status(absolute + "/" + std::string(kFile), ec)))
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
    for (const auto& name : names) walk(directory + "/" + name, depth + 1);
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
    auto skill = text ? skill_of(*text, path) : tl::unexpected(text.error());
    if (!skill) return pass_over(path, skill.error());
    const auto [first, added] = found_.try_emplace(skill->name, *skill);
    if (!added)
      pass_over(path,
                fmt::format("{} has the name {}, too, and comes first",
                            one_line(first->second.path), skill->name),
                true);
  }

  const std::string base_;
  const bool users_own_;
  std::map<std::string, Skill>& found_;
  std::vector<SkillPassedOver>& passed_over_;
  std::optional<RootedFs> files_;
  std::set<std::string> seen_;  // directories
  std::size_t n_names_ = 0, n_looked_at_ = 0;
  bool told_of_names_ = false, told_of_many_ = false;
};

struct Call {
  std::string_view name, arguments;
};
std::optional<Call> call_in(std::string_view prompt) {
  if (!prompt.starts_with('/')) return std::nullopt;
  const std::size_t end = std::min(prompt.find_first_of(" \t\r\n"), prompt.size());
  const Call out{prompt.substr(1, end - 1), tools::trimmed(prompt.substr(end))};
  if (!is_name(out.name)) return std::nullopt;
  return out;
}

std::string with_arguments(std::string_view body, std::string_view arguments) {
  std::string out;
  for (std::size_t at; (at = body.find(kArguments)) != std::string_view::npos;) {
    out.append(body.substr(0, at)).append(arguments);
    body.remove_prefix(at + kArguments.size());
    if (out.size() > kSkillBytesMax) return out;
  }
  return out.append(body);
}

std::string opening(const Skill& skill) { return fmt::format("<skill name=\"{}\">", skill.name); }

}  // namespace

std::string skills_home() {
  const char* const home = std::getenv("HOME");
  return home != nullptr && *home == '/' ? home : "";
}

std::vector<std::string> skill_directories(const std::string& home) {
  std::vector<std::string> out;
  for (const auto place : kPlaces)
    if (!home.empty()) out.push_back(home + "/" + std::string(place));
  return out;
}

Skills find_skills(const std::string& root, const std::string& home) {
  std::map<std::string, Skill> found;
  Skills out;
  std::error_code ec;
  if (!home.empty()) Finder(home, /*users_own=*/true, found, out.passed_over).look();
  if (home.empty() || !fs::equivalent(root, home, ec))
    Finder(root, /*users_own=*/false, found, out.passed_over).look();
  for (auto& [name, skill] : found) out.all.push_back(std::move(skill));
  return out;
}

std::string told_of_skills(const Skills& skills) {
  std::string out;
  std::size_t n_left_out = 0;
  for (const Skill& skill : skills.all) {
    if (!skill.for_model) continue;
    const std::string line = fmt::format("- {} ({}): {}\n", skill.name,
                                         tools::attribute_text(skill.path), skill.description);
    if (out.size() + line.size() > kSkillsToldBytesMax)
      ++n_left_out;
    else
      out += line;
  }
  if (n_left_out > 0) out += fmt::format("- and {} more, for which there is no room\n", n_left_out);
  if (out.empty()) return out;
  return "There are skills: instructions for one kind of work each. Where one is for what is "
         "asked, "
         "view its file before you begin and follow it; paths in it are relative to its "
         "directory.\n" +
         out + "\n";
}

CalledSkill called_skill(std::string_view prompt, const std::string& root,
                         const std::string& home) {
  const auto call = call_in(prompt);
  if (!call) return {};
  const auto not_used = [](const std::string& path, const std::string& why) {
    return CalledSkill{"", fmt::format("the skill {} is not used: {}", one_line(path), why)};
  };
  const Skills skills = find_skills(root, home);
  const auto at = std::ranges::find(skills.all, call->name, &Skill::name);
  if (at == skills.all.end()) {
    for (const auto& other : skills.passed_over)
      if (!other.hidden && fs::path(other.path).parent_path().filename() == call->name)
        return not_used(other.path, other.why);
    return {};
  }
  const auto text = read_skill(root, at->path, /*whole=*/true);
  const auto head = text ? front_matter(*text) : tl::unexpected(text.error());
  if (!head) return not_used(at->path, head.error());
  std::string body = with_arguments(tools::trimmed(head->body), call->arguments);
  if (body.size() > kSkillBytesMax) {
    body.resize(tools::utf8_floor(body, kSkillBytesMax));
    body += "\n[what follows is left out: view the rest in the file]";
  }
  return {
      fmt::format("\n\nThat calls the skill {} ({}). Follow its instructions; paths in them are "
                  "relative to its directory:\n{}\n{}\n</skill>",
                  at->name, tools::attribute_text(at->path), opening(*at), body),
      ""};
}

std::string called_before(const std::vector<std::string>& prompts, const Skills& skills,
                          std::string_view next) {
  std::string out;
  for (const auto& prompt : prompts) {
    const auto call = call_in(prompt);
    const auto at = call ? std::ranges::find(skills.all, call->name, &Skill::name)
                         : skills.all.end();
    if (at == skills.all.end() || next.find(opening(*at)) != std::string_view::npos) continue;
    const std::string line = fmt::format("\n\n/{} above calls the skill in {}: view it again.",
                                         at->name, tools::attribute_text(at->path));
    if (out.find(line) == std::string::npos) out += line;
  }
  return out;
}

}  // namespace lares::daemon
