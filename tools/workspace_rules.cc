#include "tools/workspace_rules.h"

#include <algorithm>
#include <array>

#include "tools/text.h"

namespace lares::tools {
namespace {

using Names = std::string_view;

constexpr std::array<Names, 21> kSecretNames = {
    ".env",         ".netrc",        "_netrc",      ".npmrc",      ".pypirc",    ".git-credentials", ".htpasswd",
    ".pgpass",      ".envrc",        "id_rsa",      "id_dsa",      "id_ecdsa",   "id_ed25519",       "id_ecdsa_sk",
    "id_ed25519_sk", "credentials.json", "service-account.json", ".dockercfg", ".my.cnf", ".s3cfg", ".boto"};
constexpr std::array<Names, 7> kSecretSuffixes = {".pem", ".key", ".p12", ".pfx", ".jks", ".keystore", ".kdbx"};
constexpr std::array<Names, 4> kEnvExamples = {".example", ".sample", ".template", ".dist"};

constexpr std::array<Names, 19> kLockFiles = {
    "package-lock.json", "npm-shrinkwrap.json", "yarn.lock",    "pnpm-lock.yaml", "bun.lock",     "Cargo.lock",
    "poetry.lock",       "uv.lock",             "Pipfile.lock", "pdm.lock",       "Gemfile.lock", "composer.lock",
    "go.sum",            "flake.lock",          "mix.lock",     "Podfile.lock",   "pubspec.lock", "packages.lock.json",
    "gradle.lockfile"};
constexpr std::array<Names, 5> kMinifiedSuffixes = {".min.js", ".min.css", ".min.mjs", ".js.map", ".css.map"};
constexpr std::array<Names, 6> kMinifiable = {".js", ".mjs", ".cjs", ".css", ".html", ".svg"};
constexpr std::size_t kMinifiedLineBytes = 2000;

constexpr std::array<Names, 20> kProductDirectories = {
    "node_modules", "__pycache__", ".venv",  "venv",  ".tox",  ".nox", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".cache",
    "target",       "build",       "dist",   "out",   ".next", ".git", ".hg",         ".svn",          ".gradle",     ".idea"};

template <std::size_t n>
bool contains(const std::array<Names, n>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}
template <std::size_t n>
bool ends_with_any(const std::array<Names, n>& suffixes, std::string_view name) {
  return std::any_of(suffixes.begin(), suffixes.end(), [&](Names suffix) { return name.ends_with(suffix); });
}

std::string_view base_name(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

// A line that opens a private key, in a key file or in any other.
bool holds_private_key(std::string_view text) {
  constexpr std::string_view kBegin = "-----BEGIN ";
  for (std::size_t at = text.find(kBegin); at != std::string_view::npos; at = text.find(kBegin, at + 1)) {
    if (at > 0 && text[at - 1] != '\n') continue;
    const std::string_view line = text.substr(at, text.find('\n', at) - at);
    if (line.find("PRIVATE KEY") != std::string_view::npos) return true;
  }
  return false;
}

}  // namespace

bool is_secret_name(std::string_view path) {
  const std::string_view name = base_name(path);
  if (contains(kSecretNames, name) || ends_with_any(kSecretSuffixes, name)) return true;
  return name.starts_with(".env.") && !ends_with_any(kEnvExamples, name);
}

std::string_view skipped_by_name(std::string_view path) {
  if (is_secret_name(path)) return "secret";
  if (contains(kLockFiles, base_name(path))) return "lock file";
  if (ends_with_any(kMinifiedSuffixes, path)) return "minified";
  return "";
}

std::string_view skipped_by_content(std::string_view path, std::string_view bytes) {
  if (is_binary(bytes)) return "binary";
  if (!is_utf8(bytes)) return "not UTF-8";
  if (holds_private_key(bytes)) return "secret";
  if (ends_with_any(kMinifiable, path)) {
    std::size_t longest = 0;
    for (std::string_view line : split_lines(bytes)) longest = std::max(longest, line.size());
    if (longest > kMinifiedLineBytes) return "minified";
  }
  return "";
}

bool is_product_directory(std::string_view name) { return contains(kProductDirectories, name); }

}  // namespace lares::tools
