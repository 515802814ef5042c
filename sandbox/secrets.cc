// find_sensitive(): what a command must not read, by name and by the header of a private key; and
// where git keeps what runs outside.
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "sandbox/sandbox.h"

namespace lares::sandbox {
namespace {

namespace fs = std::filesystem;

constexpr int kDepthMax = 24;
constexpr std::size_t kEntriesMax = 400'000;  // of the walk; a bigger tree is searched in part
constexpr std::size_t kSecretsMax = 1024;
constexpr std::size_t kHeaderBytes = 64 << 10;  // of a file that may hold a key

constexpr std::size_t kGitDirsMax = 512;
constexpr std::size_t kPointerBytes = 8192;  // of a .git file

// In order, to be searched.
constexpr std::array<std::string_view, 30> kNames = {".boto",
                                                     ".dockercfg",
                                                     ".dockerconfigjson",
                                                     ".env",
                                                     ".envrc.local",
                                                     ".git-credentials",
                                                     ".htpasswd",
                                                     ".my.cnf",
                                                     ".netrc",
                                                     ".pgpass",
                                                     ".pypirc",
                                                     ".s3cfg",
                                                     ".terraformrc",
                                                     ".vault-token",
                                                     "_netrc",
                                                     "credentials.json",
                                                     "credentials.toml",
                                                     "credentials.yaml",
                                                     "credentials.yml",
                                                     "id_dsa",
                                                     "id_ecdsa",
                                                     "id_ed25519",
                                                     "id_rsa",
                                                     "kubeconfig",
                                                     "master.key",
                                                     "secrets.json",
                                                     "secrets.toml",
                                                     "secrets.yaml",
                                                     "secrets.yml",
                                                     "terraform.rc"};
static_assert(std::ranges::is_sorted(kNames));
constexpr std::array kPatterns = {".env.*",
                                  "*.p12",
                                  "*.pfx",
                                  "*.jks",
                                  "*.keystore",
                                  "*.kdbx",
                                  "*.ppk",
                                  "*.kubeconfig",
                                  "service-account*.json",
                                  "service_account*.json",
                                  "client_secret*.json",
                                  "*.tfvars",
                                  "*.tfstate"};
// Hidden as they are: what lies in them has no name of its own to go by.
constexpr std::array kSecretDirs = {".ssh", ".gnupg", ".aws", ".azure", ".kube"};
// Templates that are meant to be read.
constexpr std::array kHarmless = {".env.example", ".env.sample",   ".env.template",
                                  ".env.dist",    ".env.defaults", ".env.schema",
                                  "*.example",    "*.sample",      "*.template"};
// Certificates and keys share these endings, and a registry's file may or may not hold a token:
// their text decides.
constexpr std::array kByText = {
    "*.pem", "*.key",     "*.crt",  "*.cer",       "*.p8",         "*.asc",        "*.priv",
    "*_rsa", "*_ed25519", ".npmrc", ".yarnrc.yml", "*secret*.txt", "*private*key*"};
constexpr std::array kMarks = {"PRIVATE KEY-----", "PRIVATE KEY BLOCK-----",
                               "_authToken",       "_password=",
                               "_auth=",           "npmAuthToken"};
// Built or fetched by tools, large, and full of test keys.
constexpr std::array kSkippedDirs = {"node_modules", "target", ".venv", "venv",
                                     "__pycache__",  ".tox",   ".cache"};

template <std::size_t N>
bool matches(const std::array<const char*, N>& patterns, const char* name) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const char* pattern) { return ::fnmatch(pattern, name, 0) == 0; });
}

bool is_secret_name(const std::string& name) {
  return std::ranges::binary_search(kNames, std::string_view(name)) ||
         matches(kPatterns, name.c_str());
}

bool is_one_of(const auto& dirs, const std::string& name) {
  return std::any_of(dirs.begin(), dirs.end(), [&](const char* dir) { return name == dir; });
}

// Where the .git file `path` leads, when that is below `root`: a bare repository with its worktrees
// beside it, for one.
std::string git_dir_inside(const fs::path& path, const std::string& root) {
  std::ifstream file(path);
  std::string line(kPointerBytes, '\0');
  file.read(line.data(), static_cast<std::streamsize>(line.size()));
  line.resize(static_cast<std::size_t>(file.gcount()));
  line.resize(std::min(line.find('\n'), line.size()));
  if (!line.starts_with("gitdir: ")) return {};
  std::error_code failed;
  const auto target = fs::canonical(path.parent_path() / line.substr(8), failed).native();
  if (failed || !target.starts_with(root + "/") || target.starts_with(root + "/.git/"))
    return {};  // that is read-only as a whole
  // Of a linked worktree the repository itself matters, <repository>/worktrees/<name>.
  const auto worktrees = target.rfind("/worktrees/");
  return worktrees == target.npos || worktrees <= root.size() ? target
                                                              : target.substr(0, worktrees);
}

bool text_has_mark(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
  if (fd < 0)
    return errno == EACCES || errno == EPERM;  // unreadable to us, perhaps not to whom the command
                                               // runs as
  std::string text(kHeaderBytes, '\0');
  const auto n = ::read(fd, text.data(), text.size());
  ::close(fd);
  text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return std::any_of(kMarks.begin(), kMarks.end(),
                     [&](const char* mark) { return text.find(mark) != text.npos; });
}

bool is_secret(const fs::directory_entry& entry, const std::string& name) {
  if (matches(kHarmless, name.c_str())) return false;
  if (is_secret_name(name)) return true;
  return matches(kByText, name.c_str()) && text_has_mark(entry.path());
}

}  // namespace

Sensitive find_sensitive(const std::string& root) {
  Sensitive out;
  std::error_code failed;
  std::size_t n_entries = 0;
  const auto add_git = [&](std::string path) {
    if (!path.empty() && out.readonly.size() < kGitDirsMax) out.readonly.push_back(std::move(path));
  };
  fs::recursive_directory_iterator entry(root, fs::directory_options::skip_permission_denied,
                                         failed);
  for (; !failed && entry != fs::recursive_directory_iterator(); entry.increment(failed)) {
    if (++n_entries > kEntriesMax || out.hidden.size() >= kSecretsMax) break;
    const auto name = entry->path().filename().native();
    std::error_code ignored;
    if (entry->is_symlink(ignored)) {
      // The secret is what the link leads to; outside the root it is another's to hide.
      if (!is_secret_name(name) || matches(kHarmless, name.c_str())) continue;
      const auto target = fs::canonical(entry->path(), ignored);
      if (!ignored && target.native().starts_with(root + "/") &&
          fs::is_regular_file(target, ignored))
        out.hidden.push_back(target);
    } else if (entry->is_directory(ignored)) {
      const bool is_git = name == ".git", is_hidden = is_one_of(kSecretDirs, name);
      if (is_git && entry.depth() > 0) add_git(entry->path());
      if (is_hidden) out.hidden.push_back(entry->path());
      if (is_one_of(kSkippedDirs, name) &&
          fs::exists(fs::symlink_status(entry->path() / ".git", ignored)))
        add_git(entry->path() / ".git");
      if (is_git || is_hidden || entry.depth() >= kDepthMax || is_one_of(kSkippedDirs, name))
        entry.disable_recursion_pending();
    } else if (entry->is_socket(ignored)) {
      out.hidden.push_back(entry->path());  // somebody outside may listen, and a read-only mount
                                            // does not keep anyone from connecting
    } else if (entry->is_regular_file(ignored)) {
      if (name == ".git") {
        if (entry.depth() > 0) add_git(entry->path());
        add_git(git_dir_inside(entry->path(), root));
      } else if (is_secret(*entry, name)) {
        out.hidden.push_back(entry->path());
      }
    }
  }
  for (auto* paths : {&out.hidden, &out.readonly}) {
    std::sort(paths->begin(), paths->end());
    paths->erase(std::unique(paths->begin(), paths->end()), paths->end());
  }
  return out;
}

}  // namespace lares::sandbox
