// find_secrets(): what a command must not read, by name and by the header of a private key.
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>

#include "sandbox/sandbox.h"

namespace lares::sandbox {
namespace {

namespace fs = std::filesystem;

constexpr int kDepthMax = 24;
constexpr std::size_t kEntriesMax = 400'000;     // of the walk; a bigger tree is searched in part
constexpr std::size_t kSecretsMax = 1024;
constexpr std::size_t kHeaderBytes = 64 << 10;   // of a file that may hold a key

constexpr std::array kNames = {".env",     ".env.*",          ".envrc.local",    "id_rsa",        "id_dsa",       "id_ecdsa",
                               "id_ed25519", ".netrc",         "_netrc",          ".pypirc",       ".git-credentials", ".htpasswd",
                               "*.p12",    "*.pfx",           "*.jks",           "*.keystore",    "*.kdbx",       "*.ppk",
                               "credentials.json", "service-account*.json", "service_account*.json", "client_secret*.json",
                               "secrets.y*ml", "secrets.json", "secrets.toml",   "*.tfvars",      "*.tfstate",    "master.key",
                               ".pgpass",  ".my.cnf",         ".s3cfg",          ".boto",         ".vault-token", ".dockercfg"};
// Templates that are meant to be read.
constexpr std::array kHarmless = {".env.example", ".env.sample", ".env.template", ".env.dist", ".env.defaults", ".env.schema",
                                  "*.example", "*.sample", "*.template"};
// Certificates and keys share these endings, and a registry's file may or may not hold a token: their text decides.
constexpr std::array kByText = {"*.pem", "*.key", "*.crt", "*.cer", "*.p8", "*.asc", "*.priv", "*_rsa", "*_ed25519", ".npmrc", ".yarnrc.yml",
                                "*secret*.txt", "*private*key*"};
constexpr std::array kMarks = {"PRIVATE KEY-----", "PRIVATE KEY BLOCK-----", "_authToken", "_password=", "_auth=", "npmAuthToken"};
// Built or fetched by tools, large, and full of test keys.
constexpr std::array kSkippedDirs = {".git", "node_modules", "target", ".venv", "venv", "__pycache__", ".tox", ".cache"};

template <std::size_t N>
bool matches(const std::array<const char*, N>& patterns, const char* name) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const char* pattern) { return ::fnmatch(pattern, name, 0) == 0; });
}

bool text_has_mark(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return errno == EACCES || errno == EPERM;  // unreadable to us, perhaps not to whom the command runs as
  std::string text(kHeaderBytes, '\0');
  const auto n = ::read(fd, text.data(), text.size());
  ::close(fd);
  text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return std::any_of(kMarks.begin(), kMarks.end(), [&](const char* mark) { return text.find(mark) != text.npos; });
}

bool is_secret(const fs::directory_entry& entry, const std::string& name) {
  if (matches(kHarmless, name.c_str())) return false;
  if (matches(kNames, name.c_str())) return true;
  return matches(kByText, name.c_str()) && text_has_mark(entry.path());
}

}  // namespace

std::vector<std::string> find_secrets(const std::string& root) {
  std::vector<std::string> out;
  std::error_code failed;
  std::size_t n_entries = 0;
  fs::recursive_directory_iterator entry(root, fs::directory_options::skip_permission_denied, failed);
  for (; !failed && entry != fs::recursive_directory_iterator(); entry.increment(failed)) {
    if (++n_entries > kEntriesMax || out.size() >= kSecretsMax) break;
    const auto name = entry->path().filename().native();
    std::error_code ignored;
    const auto type = entry->symlink_status(ignored).type();
    if (type == fs::file_type::directory) {
      if (entry.depth() >= kDepthMax || std::any_of(kSkippedDirs.begin(), kSkippedDirs.end(), [&](const char* dir) { return name == dir; }))
        entry.disable_recursion_pending();
    } else if (type == fs::file_type::socket) {
      out.push_back(entry->path());  // somebody outside may listen, and a read-only mount does not keep anyone from connecting
    } else if (type == fs::file_type::regular && is_secret(*entry, name)) {
      out.push_back(entry->path());
    } else if (type == fs::file_type::symlink && matches(kNames, name.c_str()) && !matches(kHarmless, name.c_str())) {
      // The secret is what the link leads to; outside the root it is another's to hide.
      const auto target = fs::canonical(entry->path(), ignored);
      if (!ignored && target.native().starts_with(root + "/") && fs::is_regular_file(target, ignored)) out.push_back(target);
    }
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

}  // namespace lares::sandbox
