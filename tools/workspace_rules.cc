#include "tools/workspace_rules.h"

#include <algorithm>
#include <array>

#include "tools/secrets.h"
#include "tools/text.h"

namespace lares::tools {
namespace {

using Names = std::string_view;

constexpr std::array<Names, 21> kSecretNames = {".env",
                                                ".netrc",
                                                "_netrc",
                                                ".npmrc",
                                                ".pypirc",
                                                ".git-credentials",
                                                ".htpasswd",
                                                ".pgpass",
                                                ".envrc",
                                                "id_rsa",
                                                "id_dsa",
                                                "id_ecdsa",
                                                "id_ed25519",
                                                "id_ecdsa_sk",
                                                "id_ed25519_sk",
                                                "credentials.json",
                                                "service-account.json",
                                                ".dockercfg",
                                                ".my.cnf",
                                                ".s3cfg",
                                                ".boto"};
constexpr std::array<Names, 7> kSecretSuffixes = {".pem", ".key",      ".p12", ".pfx",
                                                  ".jks", ".keystore", ".kdbx"};
constexpr std::array<Names, 4> kEnvExamples = {".example", ".sample", ".template", ".dist"};

constexpr std::array<Names, 19> kLockFiles = {"package-lock.json",
                                              "npm-shrinkwrap.json",
                                              "yarn.lock",
                                              "pnpm-lock.yaml",
                                              "bun.lock",
                                              "Cargo.lock",
                                              "poetry.lock",
                                              "uv.lock",
                                              "Pipfile.lock",
                                              "pdm.lock",
                                              "Gemfile.lock",
                                              "composer.lock",
                                              "go.sum",
                                              "flake.lock",
                                              "mix.lock",
                                              "Podfile.lock",
                                              "pubspec.lock",
                                              "packages.lock.json",
                                              "gradle.lockfile"};
constexpr std::array<Names, 5> kMinifiedSuffixes = {".min.js", ".min.css", ".min.mjs", ".js.map",
                                                    ".css.map"};
constexpr std::array<Names, 6> kMinifiable = {".js", ".mjs", ".cjs", ".css", ".html", ".svg"};
constexpr std::size_t kMinifiedLineBytes = 2000;

constexpr std::array<Names, 20> kProductDirectories = {
    "node_modules",  "__pycache__", ".venv",  "venv",   ".tox",    ".nox", ".mypy_cache",
    ".pytest_cache", ".ruff_cache", ".cache", "target", "build",   "dist", "out",
    ".next",         ".git",        ".hg",    ".svn",   ".gradle", ".idea"};

template <std::size_t n>
bool contains(const std::array<Names, n>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}
template <std::size_t n>
bool ends_with_any(const std::array<Names, n>& suffixes, std::string_view name) {
  return std::any_of(suffixes.begin(), suffixes.end(),
                     [&](Names suffix) { return name.ends_with(suffix); });
}

std::string_view base_name(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

// Directories that hold other projects' files, as linguist has them.
constexpr std::array<Names, 14> kVendorDirectories = {
    "vendor",   "vendors",   "third_party",  "third-party",     "thirdparty",
    "3rdparty", "3rd_party", "extern",       "externals",       "external",
    "Godeps",   "Carthage",  "node_modules", "bower_components"};
constexpr std::array<Names, 12> kDataSuffixes = {".csv",   ".tsv",    ".ipynb",   ".svg",
                                                 ".jsonl", ".ndjson", ".geojson", ".log",
                                                 ".eps",   ".gpx",    ".kml",     ".vcf"};
constexpr std::array<Names, 13> kGeneratedSuffixes = {
    ".pb.go", ".pb.cc", ".pb.h",   ".pb.c",    ".pb.swift",    ".pb.dart", ".pb.rs",
    ".pb.ts", ".pb.js", "_pb2.py", "_pb2.pyi", "_pb2_grpc.py", ".g.dart"};

// A generator's note stands in a comment at the top; the words alone, in a string or in prose, mean
// nothing.
constexpr int kMarkerLines = 10;
constexpr std::array<Names, 9> kCommentStarts = {"//", "/*",   "*", "#", "--",
                                                 ";",  "<!--", "%", "\""};
constexpr std::array<Names, 4> kMarkers = {"Code generated", "@generated", "DO NOT EDIT",
                                           "Generated by the protocol buffer compiler"};

bool has_generated_marker(std::string_view text) {
  for (int i = 0; i < kMarkerLines && !text.empty(); ++i) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    line.remove_prefix(std::min(line.find_first_not_of(" \t\xef\xbb\xbf"), line.size()));
    const auto starts = [&](Names start) { return line.starts_with(start); };
    if (std::none_of(kCommentStarts.begin(), kCommentStarts.end(), starts)) continue;
    for (const Names marker : kMarkers) {
      const std::size_t at = line.find(marker);
      if (at == std::string_view::npos) continue;
      const char next = at + marker.size() < line.size() ? line[at + marker.size()] : ' ';
      if (next != '_' && (next < 'a' || next > 'z')) return true;  // not @generated_by_hand
    }
  }
  return false;
}

}  // namespace

bool is_vendored(std::string_view path) {
  for (std::size_t slash; (slash = path.find('/')) != std::string_view::npos;
       path.remove_prefix(slash + 1)) {
    if (contains(kVendorDirectories, path.substr(0, slash))) return true;
  }
  return false;
}

bool is_secret_name(std::string_view path) {
  const std::string_view name = base_name(path);
  if (contains(kSecretNames, name) || ends_with_any(kSecretSuffixes, name)) return true;
  return name.starts_with(".env.") && !ends_with_any(kEnvExamples, name);
}

std::string_view skipped_by_name(std::string_view path) {
  if (is_secret_name(path)) return "secret";
  if (contains(kLockFiles, base_name(path))) return "lock file";
  if (ends_with_any(kMinifiedSuffixes, path)) return "minified";
  if (ends_with_any(kGeneratedSuffixes, path)) return "generated";
  if (ends_with_any(kDataSuffixes, path)) return "data";
  return "";
}

std::string_view skipped_by_content(std::string_view path, std::string_view bytes) {
  if (is_binary(bytes)) return "binary";
  if (!is_utf8(bytes)) return "not UTF-8";
  if (holds_secret(bytes)) return "secret";
  if (ends_with_any(kMinifiable, path)) {
    std::size_t longest = 0;
    for (std::string_view line : split_lines(bytes)) longest = std::max(longest, line.size());
    if (longest > kMinifiedLineBytes) return "minified";
  }
  if (has_generated_marker(bytes)) return "generated";
  return "";
}

bool is_product_directory(std::string_view name) { return contains(kProductDirectories, name); }

}  // namespace lares::tools
