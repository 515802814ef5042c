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
#include "tools/workspace/rooted_fs.h"
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

// As the model is shown files. The user's own may be links to wherever the user keeps them; the
// repository's lead nowhere out of it.
tl::expected<std::string, std::string> read_skill(const std::string& root,
                                                  const std::string& path) {
  std::string directory = root, name = path;
  if (path.starts_with('/')) {
    std::error_code ec;
    const fs::path real = fs::canonical(path, ec);
    if (ec) return tl::unexpected("it cannot be read: " + ec.message());
    directory = real.parent_path().string(), name = real.filename().string();
  }
  const auto files = RootedFs::open(directory);
  if (!files) return tl::unexpected("its directory " + files.error());
  auto data = files->read(name, kSkillFileBytesMax);
  if (!data) return tl::unexpected("it " + data.error());
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
  out.description = std::string(tools::trimmed(shown::one_line(field("description"))));
  if (out.description.empty())
    return tl::unexpected(
        std::string("it has no description; say in one what it is for, and when to use it"));
  if (out.description.size() > kSkillDescriptionBytesMax)
    out.description.resize(tools::utf8_floor(out.description, kSkillDescriptionBytesMax));
  out.for_model = !is_true(field("disable-model-invocation"));
  out.for_people = field("user-invocable").empty() || is_true(field("user-invocable"));
  return out;
}

class Finder {
 public:
  explicit Finder(std::string root) : root_(std::move(root)) {}

  // `prefix`: "" for the repository's, else the user's home directory with a slash.
  void look_below(const std::string& prefix) {
    for (const auto place : kPlaces) walk(prefix + std::string(place), 0);
  }
  Skills take() {
    Skills out;
    for (auto& [name, skill] : found_) out.all.push_back(std::move(skill));
    out.passed_over = std::move(passed_over_);
    return out;
  }

 private:
  void walk(const std::string& directory, int depth) {
    const std::string absolute = directory.starts_with('/') ? directory : root_ + "/" + directory;
    std::error_code ec;
    if (depth > 0 && fs::exists(fs::symlink_status(absolute + "/" + std::string(kFile), ec)))
      return add(directory + "/" + std::string(kFile));
    if (depth == kSkillDepthMax) return;
    std::vector<std::string> names;
    for (fs::directory_iterator at(absolute, ec), end; !ec && at != end; at.increment(ec)) {
      if (++n_names_ > kSkillNamesMax) {
        if (n_names_ == kSkillNamesMax + 1)
          passed_over_.push_back(
              {directory, fmt::format("more than {} names are in directories of skills; what "
                                      "follows is not looked at",
                                      kSkillNamesMax)});
        return;
      }
      const std::string name = at->path().filename().string();
      std::error_code unknown;
      if (name != "node_modules" && !name.starts_with('.') && at->is_directory(unknown))
        names.push_back(name);
    }
    std::ranges::sort(names);
    for (const auto& name : names) walk(directory + "/" + name, depth + 1);
  }

  void add(const std::string& path) {
    if (found_.size() == kSkillsMax)
      return passed_over_.push_back({path, fmt::format("there are {} already", kSkillsMax)});
    std::error_code ec;
    const fs::path real = fs::weakly_canonical(fs::path(root_) / path, ec);
    if (seen_.contains(real.string())) return;  // one place links to the other
    const auto text = read_skill(root_, path);
    auto skill = text ? skill_of(*text, path) : tl::unexpected(text.error());
    if (!skill) return passed_over_.push_back({path, skill.error()});
    seen_.insert(real.string());
    const auto [first, added] = found_.try_emplace(skill->name, *skill);
    if (!added)
      passed_over_.push_back(
          {path,
           fmt::format("{} has the name {}, too, and comes first", first->second.path, skill->name),
           true});
  }

  std::string root_;
  std::map<std::string, Skill> found_;
  std::set<std::string> seen_;
  std::vector<SkillPassedOver> passed_over_;
  std::size_t n_names_ = 0;
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

}  // namespace

std::string skills_home() {
  const char* const home = std::getenv("HOME");
  return home != nullptr && *home == '/' ? home : "";
}

Skills find_skills(const std::string& root, const std::string& home) {
  Finder finder(root);
  finder.look_below("");
  std::error_code ec;
  if (!home.empty() && !fs::equivalent(root, home, ec)) finder.look_below(home + "/");
  return finder.take();
}

std::string told_of_skills(const Skills& skills) {
  std::string out;
  std::size_t left = kSkillsToldBytesMax;
  for (const Skill& skill : skills.all) {
    if (!skill.for_model) continue;
    const bool fits = skill.description.size() <= left;
    if (fits) left -= skill.description.size();
    out += fmt::format("- {} ({}){}{}\n", skill.name, tools::attribute_text(skill.path),
                       fits ? ": " : "", fits ? skill.description : "");
  }
  if (out.empty()) return out;
  return "There are skills: instructions for one kind of work each. Where one is for what is "
         "asked, "
         "read its file before you begin (with cat where the path is absolute) and follow it; "
         "paths in it are relative to its directory.\n" +
         out + "\n";
}

tl::expected<std::string, std::string> called_skill(std::string_view prompt,
                                                    const std::string& root,
                                                    const std::string& home) {
  const auto call = call_in(prompt);
  if (!call) return "";
  const Skills skills = find_skills(root, home);
  const auto at = std::ranges::find(skills.all, call->name, &Skill::name);
  if (at == skills.all.end()) {
    for (const auto& other : skills.passed_over)
      if (!other.hidden && fs::path(other.path).parent_path().filename() == call->name)
        return tl::unexpected(fmt::format("the skill {} is not used: {}", other.path, other.why));
    return "";
  }
  const auto text = read_skill(root, at->path);
  const auto head = text ? front_matter(*text) : tl::unexpected(text.error());
  if (!head)
    return tl::unexpected(fmt::format("the skill {} is not used: {}", at->path, head.error()));
  std::string body = with_arguments(tools::trimmed(head->body), call->arguments);
  if (body.size() > kSkillBytesMax) {
    body.resize(tools::utf8_floor(body, kSkillBytesMax));
    body += "\n[what follows is left out: read the rest in the file]";
  }
  return fmt::format(
      "\n\nThat calls the skill {} ({}). Follow its instructions; paths in them are relative to "
      "its "
      "directory:\n<skill name=\"{}\">\n{}\n</skill>",
      at->name, tools::attribute_text(at->path), at->name, body);
}

}  // namespace lares::daemon
