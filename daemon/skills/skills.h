// Skills: instructions for one kind of work each, in the form of the Agent Skills specification
// (agentskills.io): a directory with a SKILL.md, which begins with its name and description in
// YAML. The model is told those of all, reads the rest when a task is for it, and is handed it
// where a prompt begins with the name ("/deploy staging"). And commands, as older repositories have
// them: one Markdown file each, which only a person calls.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

namespace lares::daemon {

// Of the user's, and of the repository's:
inline constexpr std::size_t kSkillsMax = 256;       // that are looked at
inline constexpr std::size_t kSkillNamesMax = 4096;  // in all directories
inline constexpr int kSkillDepthMax = 4;             // directories below skills/, its own the last
inline constexpr std::size_t kSkillPathBytesMax = 512;
inline constexpr std::size_t kSkillNameBytesMax = 64, kSkillDescriptionBytesMax = 1024;
inline constexpr std::size_t kSkillHeadBytesMax = 80u << 10;   // of a file, for its description
inline constexpr std::size_t kSkillFileBytesMax = 1u << 20;    // of one that is called
inline constexpr std::size_t kSkillBytesMax = 64u << 10;       // of its text, for the model
inline constexpr std::size_t kSkillsToldBytesMax = 16u << 10;  // of what is told of all

struct Skill {
  std::string name;         // lower-case letters, digits and hyphens; a command's are freer
  std::string description;  // one line
  std::string path;         // of its file: below the repository, or absolute and the user's own
  bool is_command = false;
  // False: only a person calls it ("disable-model-invocation")
  bool for_model = true;
  bool for_people = true;  // False: none is offered it ("user-invocable")
  bool users_own() const { return path.starts_with('/'); }
};

struct SkillPassedOver {
  std::string path, why;  // for people: nothing in them is more than it seems
  std::string name;       // that would call it
  bool hidden = false;    // by another of its name; else it is wrong
};

struct Skills {
  std::vector<Skill> all;  // by name
  std::vector<SkillPassedOver> passed_over;
};

// $HOME, where it is an absolute path; or empty.
std::string skills_home();
// Where the user's own are, below it; of these directories the model may view all.
std::vector<std::string> skill_directories(const std::string& home);

// Those below .agents/skills and .claude/skills, then the commands below .claude/commands: of the
// user, whose home directory is `home` (empty: none), then of the repository at `root`, also where
// git ignores them. Of several with one name the first in that order is taken. Blocks.
Skills find_skills(const std::string& root, const std::string& home);

// For the model; empty, or ending with an empty line.
std::string told_of_skills(const Skills& skills);

struct CalledSkill {
  std::string for_model;  // behind the prompt; empty: it calls none
  std::string note;       // for people: why the one that is called is not used
};
// Of a prompt that begins with a slash and the name of a skill. Blocks.
CalledSkill called_skill(std::string_view prompt, const std::string& root, const std::string& home);

// For the model, where a conversation begins anew behind such `prompts` with what it is told
// `next`.
std::string called_before(const std::vector<std::string>& prompts, const Skills& skills,
                          std::string_view next);

}  // namespace lares::daemon
