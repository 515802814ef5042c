// Skills: instructions for one kind of work each, in the form of the Agent Skills specification
// (agentskills.io): a directory with a SKILL.md, which begins with its name and description in
// YAML. The model is told those of all, reads the rest when a task is for it, and is handed it
// where a prompt begins with the name ("/deploy staging").
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

namespace lares::daemon {

inline constexpr std::size_t kSkillsMax = 256;       // found
inline constexpr int kSkillDepthMax = 4;             // directories below skills/, its own the last
inline constexpr std::size_t kSkillNamesMax = 4096;  // that are looked at in all
inline constexpr std::size_t kSkillNameBytesMax = 64, kSkillDescriptionBytesMax = 1024;
inline constexpr std::size_t kSkillFileBytesMax = 1u << 20;
inline constexpr std::size_t kSkillBytesMax = 64u << 10;       // of one that a prompt calls
inline constexpr std::size_t kSkillsToldBytesMax = 16u << 10;  // of all descriptions

struct Skill {
  std::string name;         // lower-case letters, digits and hyphens
  std::string description;  // one line
  std::string path;         // of its SKILL.md: below the repository, or absolute and the user's own
  // False: only a person calls it ("disable-model-invocation")
  bool for_model = true;
  bool for_people = true;  // False: none is offered it ("user-invocable")
  bool users_own() const { return path.starts_with('/'); }
};

struct SkillPassedOver {
  std::string path, why;  // why: the end of a sentence
  bool hidden = false;    // by another of its name; else it is wrong
};

struct Skills {
  std::vector<Skill> all;  // by name
  std::vector<SkillPassedOver> passed_over;
};

// $HOME, where it is an absolute path; or empty.
std::string skills_home();

// Those below .agents/skills and .claude/skills: of the repository at `root`, also where git
// ignores them, then of the user, whose home directory is `home` (empty: none). Of several with one
// name the first in that order is taken.
Skills find_skills(const std::string& root, const std::string& home);

// For the model; empty, or ending with an empty line.
std::string told_of_skills(const Skills& skills);

// What goes to the model behind `prompt`, which begins with a slash and the name of a skill; empty:
// it does not. The error, a sentence for people: the skill cannot be read.
tl::expected<std::string, std::string> called_skill(std::string_view prompt,
                                                    const std::string& root,
                                                    const std::string& home);

}  // namespace lares::daemon
