#include "sandbox/secret_names.h"

#include <algorithm>
#include <array>

namespace lares::sandbox {
namespace {

// In order, to be searched.
constexpr std::array<std::string_view, 34> kNames = {".boto",
                                                     ".dockercfg",
                                                     ".dockerconfigjson",
                                                     ".env",
                                                     ".envrc",
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
                                                     "id_ecdsa_sk",
                                                     "id_ed25519",
                                                     "id_ed25519_sk",
                                                     "id_rsa",
                                                     "kubeconfig",
                                                     "master.key",
                                                     "remote-key",
                                                     "secrets.json",
                                                     "secrets.toml",
                                                     "secrets.yaml",
                                                     "secrets.yml",
                                                     "terraform.rc"};
static_assert(std::ranges::is_sorted(kNames));
constexpr std::array<std::string_view, 15> kPatterns = {".env.*",
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
                                                        "*.tfvars.json",
                                                        "*.tfstate",
                                                        "*.tfstate.backup"};
constexpr std::array<std::string_view, 5> kDirectories = {".ssh", ".gnupg", ".aws", ".azure",
                                                          ".kube"};
// Templates that are meant to be read.
constexpr std::array<std::string_view, 4> kTemplateEnds = {".example", ".sample", ".template",
                                                           ".dist"};
constexpr std::array<std::string_view, 2> kTemplates = {".env.defaults", ".env.schema"};
constexpr std::array<std::string_view, 3> kLikely = {"*.pem", "*.key", ".npmrc"};
constexpr std::array<std::string_view, 10> kByText = {
    "*.crt", "*.cer",     "*.p8",        "*.asc",        "*.priv",
    "*_rsa", "*_ed25519", ".yarnrc.yml", "*secret*.txt", "*private*key*"};
constexpr std::array<std::string_view, 6> kMarks = {"PRIVATE KEY-----", "PRIVATE KEY BLOCK-----",
                                                    "_authToken",       "_password=",
                                                    "_auth=",           "npmAuthToken"};

// `*` is any text. fnmatch() knows more and takes 6 us a name for all of the list, where this takes
// 1.
bool matches(std::string_view pattern, std::string_view name) {
  std::size_t star = pattern.npos, resume = 0, at = 0, i = 0;
  while (i < name.size()) {
    if (at < pattern.size() && pattern[at] == '*') {
      star = at++, resume = i;
    } else if (at < pattern.size() && pattern[at] == name[i]) {
      ++at, ++i;
    } else if (star != pattern.npos) {
      at = star + 1, i = ++resume;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', at) == pattern.npos;
}

bool matches_any(const auto& patterns, std::string_view name) {
  return std::ranges::any_of(patterns, [&](auto pattern) { return matches(pattern, name); });
}

}  // namespace

SecretName secret_name(std::string_view name) {
  if (std::ranges::any_of(kTemplateEnds, [&](auto end) { return name.ends_with(end); }) ||
      std::ranges::find(kTemplates, name) != kTemplates.end())
    return SecretName::no;
  if (std::ranges::binary_search(kNames, name)) return SecretName::yes;
  return matches_any(kPatterns, name) ? SecretName::yes
         : matches_any(kLikely, name) ? SecretName::likely
         : matches_any(kByText, name) ? SecretName::by_text
                                      : SecretName::no;
}

bool is_secret_directory(std::string_view name) {
  return std::ranges::find(kDirectories, name) != kDirectories.end();
}

SecretName secret_path(std::string_view path) {
  for (std::size_t slash; (slash = path.find('/')) != path.npos; path.remove_prefix(slash + 1))
    if (is_secret_directory(path.substr(0, slash))) return SecretName::yes;
  return secret_name(path);
}

bool holds_secret_mark(std::string_view text) {
  text = text.substr(0, kSecretMarkBytes);
  return std::ranges::any_of(kMarks, [&](auto mark) { return text.find(mark) != text.npos; });
}

}  // namespace lares::sandbox
