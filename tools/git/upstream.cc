#include "tools/git/upstream.h"

#include <set>
#include <string_view>

#include <fmt/format.h>

#include "tools/git/repo.h"

namespace lares::tools::git {
namespace {

constexpr std::string_view kHeads = "refs/heads/";
using Config = Owned<git_config, git_config_free>;
using Refspec = Owned<git_refspec, git_refspec_free>;

Config config_of(git_repository* repo) {
  git_config* raw = nullptr;
  return Config(git_repository_config_snapshot(&raw, repo) == 0 ? raw : nullptr);
}

std::string key_of(std::string_view branch, std::string_view what) {
  if (branch.starts_with(kHeads)) branch.remove_prefix(kHeads.size());
  return fmt::format("branch.{}.{}", branch, what);
}

std::string value_of(git_config* config, const std::string& key) {
  const char* value = nullptr;
  return git_config_get_string(&value, config, key.c_str()) == 0 && value ? value : "";
}

}  // namespace

std::vector<std::string> remote_names(git_repository* repo) {
  std::set<std::string> names;
  if (const Config config = config_of(repo)) {
    const auto note = [](const git_config_entry* entry, void* payload) {
      std::string_view name = entry->name;
      constexpr std::string_view kRemote = "remote.";
      if (!name.starts_with(kRemote)) return 0;
      name.remove_prefix(kRemote.size());
      for (const std::string_view what : {".url", ".pushurl"}) {
        if (name.ends_with(what) && name.size() > what.size())
          static_cast<std::set<std::string>*>(payload)->emplace(
              name.substr(0, name.size() - what.size()));
      }
      return 0;
    };
    git_config_foreach(config.get(), note, &names);
  }
  return {names.begin(), names.end()};
}

std::string upstream_of(git_repository* repo, const std::string& branch) {
  const Config config = config_of(repo);
  if (!config) return "";
  const std::string remote = value_of(config.get(), key_of(branch, "remote"));
  struct Search {
    std::string merge, found;
  } search{value_of(config.get(), key_of(branch, "merge")), ""};
  if (remote.empty() || search.merge.empty()) return "";
  if (remote == ".") return search.merge;
  const auto fetch = [](const git_config_entry* entry, void* payload) {
    auto& s = *static_cast<Search*>(payload);
    git_refspec* raw = nullptr;
    if (!entry->value || git_refspec_parse(&raw, entry->value, /*is_fetch=*/1) != 0) return 0;
    const Refspec refspec(raw);
    git_buf there = GIT_BUF_INIT;
    if (git_refspec_src_matches(raw, s.merge.c_str()) == 1 &&
        git_refspec_transform(&there, raw, s.merge.c_str()) == 0 && there.ptr)
      s.found.assign(there.ptr, there.size);
    git_buf_dispose(&there);
    return s.found.empty() ? 0 : GIT_ITEROVER;
  };
  git_config_get_multivar_foreach(config.get(), fmt::format("remote.{}.fetch", remote).c_str(),
                                  nullptr, fetch, &search);
  return search.found;
}

bool follow(git_repository* repo, const std::string& branch, const std::string& remote,
            const std::string& merge) {
  git_config* raw = nullptr;
  if (git_repository_config(&raw, repo) != 0) return false;
  const Config all(raw);
  git_config* local = nullptr;
  if (git_config_open_level(&local, raw, GIT_CONFIG_LEVEL_LOCAL) != 0) return false;
  const Config config(local);
  return git_config_set_string(local, key_of(branch, "remote").c_str(), remote.c_str()) == 0 &&
         git_config_set_string(local, key_of(branch, "merge").c_str(), merge.c_str()) == 0;
}

}  // namespace lares::tools::git
