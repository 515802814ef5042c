#define PCRE2_CODE_UNIT_WIDTH 8
#include "tools/workspace/secrets.h"

#include <pcre2.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <memory>

namespace lares::tools {
namespace {

// The issuers' own shapes: a fixed beginning, then a fixed number of random characters.
// With some of its body, or its first line alone on a line: the rest may be what a reader of this
// text goes for next.
constexpr const char* kPrivateKey =
    "^-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----\r?$"
    "|-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY(?: "
    "BLOCK)?-----(?:\\\\[rn]|\\s|[\"',+]){0,16}(?:[A-Za-z0-9+/=]{16}|Proc-Type:|Version:|Comment:)";
constexpr std::string_view kPuttyKey = "PuTTY-User-Key-File-";

// Alternatives in the order of kTokenKinds; each one is a group, and the group that matched names
// the kind.
constexpr const char* kTokens =
    "(\\b(?:AKIA|ASIA)[A-Z2-7]{16}\\b)"
    "|(\\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59})\\b)"
    "|(\\bglpat-[A-Za-z0-9_-]{20,}\\b)"
    "|(\\bxox[abeoprs]-\\d[A-Za-z0-9-]{20,}\\b|hooks\\.slack\\.com/services/T[A-Z0-9]{8,}/"
    "B[A-Z0-9]{8,}/[A-Za-z0-9]{24})"
    "|(\\bAIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])|\\bGOCSPX-[A-Za-z0-9_-]{28}\\b|\\bya29\\.[A-Za-z0-"
    "9_-]{40,})"
    "|(\\b[sr]k_live_[A-Za-z0-9]{24,}\\b)"
    "|(\\bsk-(?:ant-|proj-|svcacct-)?[A-Za-z0-9_-]{40,}\\b)"
    "|(\\bhf_[A-Za-z]{34}\\b|\\bnpm_[A-Za-z0-9]{36}\\b|\\bpypi-AgEI[A-Za-z0-9_-]{50,}|\\bSG\\.[A-"
    "Za-z0-9_-]{22}\\.[A-Za-z0-9_-]{43}\\b"
    "|\\bdop_v1_[0-9a-f]{64}\\b|\\bdckr_pat_[A-Za-z0-9_-]{27}\\b)";
constexpr std::array<const char*, 8> kTokenKinds = {"AWS key",       "GitHub token", "GitLab token",
                                                    "Slack token",   "Google key",   "Stripe key",
                                                    "model API key", "access token"};

// name = "value", name: value, name => 'value', "name": "value". Group 1 is the value.
constexpr const char* kAssignment =
    "(?:secret|token|passw(?:or)?d|passphrase|api_?key|apikey|access_?key|account_?key|private_?"
    "key|auth_?key|signing_?key"
    "|encryption_?key|credential)s?[\"'\\]]{0,2}[ \\t]{0,8}(?:=>|:=|[:=])[ "
    "\\t]{0,8}([\"'`]?)([A-Za-z0-9+/_.=-]{20,200})(?![A-Za-z0-9+/_.=(\\[{-])";

// Every token and every value worth a look has as many of these characters in a row, and few lines
// of code do: the patterns see those lines only, which makes the whole five times faster.
constexpr std::size_t kRunMin = 16;
constexpr auto kInRun = [] {
  std::array<bool, 256> out{};
  for (int c = 0; c < 256; ++c) {
    out[c] = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             c == '+' || c == '/' || c == '_' || c == '.' || c == '=' || c == '-';
  }
  return out;
}();

// The patterns have no nested repeats; a text that beats them has no match
constexpr std::uint32_t kMatchSteps = 10'000'000;
constexpr int kAssignmentsMax = 2'000;  // looked at in one text

// Random base64 of 20 characters has 3.9 bits each on average and 3.5 at the least, random hex of
// 32 has 3.4 and 2.9; words and identifiers joined by _ have as much, so entropy alone decides
// nothing.
constexpr double kBase64Bits = 3.6, kHexBits = 2.9;

struct Pattern {
  explicit Pattern(const char* text, std::uint32_t options) {
    int error = 0;
    PCRE2_SIZE where = 0;
    code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text), PCRE2_ZERO_TERMINATED, options, &error,
                         &where, nullptr);
    if (code) pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  }
  Pattern(const Pattern&) = delete;
  Pattern& operator=(const Pattern&) = delete;
  ~Pattern() { pcre2_code_free(code); }
  pcre2_code* code = nullptr;
};

struct Matcher {
  explicit Matcher(const Pattern& p)
      : pattern(p),
        data(pcre2_match_data_create_from_pattern(p.code, nullptr), pcre2_match_data_free),
        context(pcre2_match_context_create(nullptr), pcre2_match_context_free) {
    pcre2_set_match_limit(context.get(), kMatchSteps);
  }
  bool next(std::string_view text, std::size_t from) {
    return pcre2_match(pattern.code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                       0, data.get(), context.get()) > 0;
  }
  PCRE2_SIZE begin(int group) const { return pcre2_get_ovector_pointer(data.get())[2 * group]; }
  PCRE2_SIZE end(int group) const { return pcre2_get_ovector_pointer(data.get())[2 * group + 1]; }
  bool matched(int group) const {
    return static_cast<std::uint32_t>(group) < pcre2_get_ovector_count(data.get()) &&
           begin(group) != PCRE2_UNSET;
  }

  const Pattern& pattern;
  std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data;
  std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> context;
};

double bits_per_character(std::string_view s) {
  std::array<int, 256> count{};
  for (const char c : s) ++count[static_cast<unsigned char>(c)];
  double bits = 0;
  for (const int n : count) {
    if (n) bits -= n * std::log2(static_cast<double>(n) / static_cast<double>(s.size()));
  }
  return bits / static_cast<double>(s.size());
}

// What people write where a secret would stand.
bool is_placeholder(std::string_view value) {
  std::string low(value);
  for (char& c : low) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const char* word : {"example", "xxxx", "your", "change", "dummy", "placeholder", "sample",
                           "insert", "fake", "redacted", "abcdef", "123456", "test", "0000",
                           "deadbeef", "secret", "password", "token"}) {
    if (low.find(word) != std::string::npos) return true;
  }
  return false;
}

bool looks_random(std::string_view value) {
  int digits = 0, upper = 0, lower = 0, hex = 0, joints = 0, turns = 0;
  char kind_before = 0;
  for (const char c : value) {
    const bool digit = c >= '0' && c <= '9', up = c >= 'A' && c <= 'Z', low = c >= 'a' && c <= 'z';
    digits += digit;
    upper += up;
    lower += low;
    hex += digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    joints += c == '_' || c == '.' || c == '-' || c == '/';
    const char kind = digit ? 'd' : up ? 'u' : low ? 'l' : 'x';
    turns += kind_before && kind != kind_before;
    kind_before = kind;
  }
  const auto n = static_cast<int>(value.size());
  if (hex == n)
    return n >= 32 && digits >= 4 && digits <= n - 4 && bits_per_character(value) >= kHexBits;
  // Identifiers, paths, versions, UUIDs: letters of one case in long runs, joined. In random text
  // every second character begins a run.
  if (digits < 2 || upper < 2 || lower < 2 || joints * 6 > n || turns * 3 < n) return false;
  return bits_per_character(value) >= kBase64Bits;
}

// The issuers' own documentation uses these.
bool is_documented_example(std::string_view value) {
  return value.find("EXAMPLE") != std::string_view::npos ||
         value.find("xxxx") != std::string_view::npos ||
         value.find("XXXX") != std::string_view::npos || bits_per_character(value) < 2.5;
}

}  // namespace

namespace {

// The next line from `at` on with a run of kRunMin; empty at the end.
std::string_view line_with_run(std::string_view text, std::size_t& at) {
  std::size_t run = 0;
  for (; at < text.size(); ++at) {
    run = kInRun[static_cast<unsigned char>(text[at])] ? run + 1 : 0;
    if (run < kRunMin) continue;
    const std::size_t before = text.rfind('\n', at);
    const std::size_t begin = before == std::string_view::npos ? 0 : before + 1;
    const std::size_t end = std::min(text.find('\n', at), text.size());
    at = end;
    return text.substr(begin, end - begin);
  }
  return {};
}

Secret find_private_key(std::string_view text) {
  static const Pattern kPattern(kPrivateKey, PCRE2_MULTILINE);
  if (text.starts_with(kPuttyKey)) return {"private key", 0};
  if (text.find("PRIVATE KEY") == std::string_view::npos) return {};
  Matcher keys(kPattern);
  return keys.next(text, 0) ? Secret{"private key", keys.begin(0)} : Secret{};
}

Secret find_token(Matcher& tokens, std::string_view line) {
  for (std::size_t from = 0; from < line.size() && tokens.next(line, from); from = tokens.end(0)) {
    for (int group = 1; group <= static_cast<int>(kTokenKinds.size()); ++group) {
      if (!tokens.matched(group)) continue;
      const auto found = line.substr(tokens.begin(group), tokens.end(group) - tokens.begin(group));
      if (!is_documented_example(found)) return {kTokenKinds[group - 1], tokens.begin(group)};
    }
  }
  return {};
}

Secret find_assignment(Matcher& assignments, std::string_view line, int& n) {
  for (std::size_t from = 0;
       from < line.size() && n < kAssignmentsMax && assignments.next(line, from);
       from = assignments.end(0), ++n) {
    const bool quoted = assignments.begin(1) != assignments.end(1);
    const auto value = line.substr(assignments.begin(2), assignments.end(2) - assignments.begin(2));
    if (!quoted && value.find('.') != std::string_view::npos)
      continue;  // an expression: keys.Ed25519PrivateKey
    if (looks_random(value) && !is_placeholder(value))
      return {"value of a secret", assignments.begin(2)};
  }
  return {};
}

}  // namespace

Secret find_secret(std::string_view text) {
  static const Pattern kTokenPattern(kTokens, 0);
  static const Pattern kAssignmentPattern(kAssignment, PCRE2_CASELESS);
  if (auto key = find_private_key(text); !key.kind.empty()) return key;
  Matcher tokens(kTokenPattern), assignments(kAssignmentPattern);
  int n_assignments = 0;
  std::size_t at = 0;
  for (std::string_view line; !(line = line_with_run(text, at)).empty();) {
    auto found = find_token(tokens, line);
    if (found.kind.empty()) found = find_assignment(assignments, line, n_assignments);
    if (found.kind.empty()) continue;
    found.at += static_cast<std::size_t>(line.data() - text.data());
    return found;
  }
  return {};
}

}  // namespace lares::tools
