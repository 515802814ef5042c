#include "daemon/skills/skill_file.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include <fmt/format.h>

#include "daemon/shown/text.h"
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

bool is_true(const std::string& value) {
  return value == "true" || value == "True" || value == "TRUE" || value == "yes" || value == "on";
}

// Of a text without a description.
std::string first_line(std::string_view text) {
  text = tools::trimmed(text);
  text.remove_prefix(std::min(text.find_first_not_of("# "), text.size()));
  return one_line(text.substr(0, text.find('\n')));
}

}  // namespace

bool is_skill_name(std::string_view name) {
  return !name.empty() && name.size() <= kSkillNameBytesMax && name.front() != '-' &&
         name.back() != '-' && std::ranges::all_of(name, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
         });
}

bool is_command_name(std::string_view name) {
  return !name.empty() && name.size() <= kSkillNameBytesMax &&
         std::ranges::all_of(name, [](char c) {
           return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_';
         });
}

std::string one_line(std::string_view text) {
  return std::string(tools::trimmed(shown::one_line(shown::exact(text))));
}

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

tl::expected<FrontMatter, std::string> head_of(std::string_view text, bool is_command) {
  if (is_command && !text.starts_with("---")) return FrontMatter{{}, text};
  return front_matter(text);
}

std::string name_by_path(const std::string& path, bool is_command) {
  const fs::path file = path;
  return is_command ? file.stem().string() : file.parent_path().filename().string();
}

tl::expected<Skill, std::string> skill_of(const std::string& text, const std::string& path,
                                          bool is_command) {
  const auto head = head_of(text, is_command);
  if (!head) return tl::unexpected(head.error());
  const auto field = [&](const char* name) {
    const auto at = head->fields.find(name);
    return at == head->fields.end() ? std::string() : at->second;
  };
  Skill out;
  out.path = path;
  out.is_command = is_command;
  if (!is_command) out.name = field("name");
  if (!is_skill_name(out.name)) out.name = name_by_path(path, is_command);
  if (is_command && !is_command_name(out.name))
    return tl::unexpected(
        fmt::format("its name is not one of letters, digits, hyphens and underscores, {} at most",
                    kSkillNameBytesMax));
  if (!is_command && !is_skill_name(out.name))
    return tl::unexpected(fmt::format(
        "neither its name nor its directory's is one of lower-case letters, digits and hyphens, "
        "{} at most",
        kSkillNameBytesMax));
  out.description = one_line(field("description"));
  if (is_command && out.description.empty()) out.description = first_line(head->body);
  if (is_command && out.description.empty())
    return tl::unexpected(std::string("it is empty; write in it what is to be done"));
  if (out.description.empty())
    return tl::unexpected(
        std::string("it has no description; say in one what it is for, and when to use it"));
  if (out.description.size() > kSkillDescriptionBytesMax)
    out.description.resize(tools::utf8_floor(out.description, kSkillDescriptionBytesMax));
  out.for_model = !is_command && !is_true(field("disable-model-invocation"));
  out.for_people = field("user-invocable").empty() || is_true(field("user-invocable"));
  return out;
}

}  // namespace lares::daemon
