#include "sandbox/launcher/git_credentials.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace lares::sandbox::launcher {
namespace {

// Of a setting's name, in lower case and without hyphens, what it ends with: imap.pass,
// sendemail.smtpPass, gitlab.private-token.
constexpr std::array<std::string_view, 13> kSecretKeys = {
    "extraheader", "password",  "passwd",    "passphrase", "pass",    "token", "secret",
    "privatekey",  "secretkey", "accesskey", "apikey",     "authkey", "cookie"};
constexpr std::string_view kNoSecretKey = "askpass";  // names a program
// Of a value, in lower case: what helpers print, and the headers and parameters of requests.
constexpr std::array<std::string_view, 8> kSecretWords = {
    "password=", "passwd=", "pass=", "token=", "secret=", "authorization:", "api-key:", "bearer "};
// Of what stands before the address of a proxy.
constexpr std::array<std::string_view, 7> kProxySchemes = {"http",    "https",  "socks",  "socks4",
                                                           "socks4a", "socks5", "socks5h"};
// Their users are no secrets, for without a password they only say whose key is meant.
constexpr std::array<std::string_view, 4> kWithUsers = {"ssh", "git+ssh", "ssh+git", "git"};

std::string_view trimmed(std::string_view text) {
  const auto from = text.find_first_not_of(" \t");
  if (from == text.npos) return {};
  return text.substr(from, text.find_last_not_of(" \t\r\n") - from + 1);
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

bool is_secret_key(std::string_view key) {
  auto name = lower(key);
  std::erase_if(name, [](char c) { return c == '-' || c == '_'; });
  return !name.ends_with(kNoSecretKey) &&
         std::ranges::any_of(kSecretKeys, [&](auto end) { return name.ends_with(end); });
}

// http.proxy, remote.*.proxy, http.URL.proxy; core.gitProxy is a program.
bool names_proxy(std::string_view key) { return lower(key) == "proxy"; }

bool holds_secret(std::string_view key, std::string_view value) {
  const auto text = lower(value);
  if (std::ranges::any_of(kSecretWords, [&](auto word) { return text.find(word) != text.npos; }))
    return true;
  // A program of the user's own, in the shell's words: it may print the secret itself.
  return lower(key) == "helper" && value.find('!') != value.npos;
}

// "https://user:token@host/?private_token=x" loses what is before the @ and behind the question
// mark.
std::string without_users(std::string_view text) {
  std::string out;
  for (std::size_t at; (at = text.find("://")) != text.npos;) {
    auto begin = at;
    while (begin > 0 && (std::isalnum(static_cast<unsigned char>(text[begin - 1])) ||
                         text[begin - 1] == '+' || text[begin - 1] == '-'))
      --begin;
    const auto scheme = lower(text.substr(begin, at - begin));
    out.append(text.substr(0, at + 3));
    text.remove_prefix(at + 3);
    const auto end = std::min(text.find_first_of("/\"' \t\r\n"), text.size());
    const auto user = text.substr(0, end).rfind('@');
    const bool plain = std::ranges::find(kWithUsers, scheme) != kWithUsers.end() &&
                       text.substr(0, std::min(user, end)).find(':') == text.npos;
    if (user != text.npos && !plain) text.remove_prefix(user + 1);
    const auto rest = std::min(text.find_first_of("\"' \t\r\n"), text.size());
    const auto query = std::min(text.find('?'), rest);
    out.append(text.substr(0, query));
    text.remove_prefix(rest);
  }
  return out.append(text);
}

// A proxy's address, which curl takes without a scheme too: "user:pass@host:8080". Its users may
// have any letter, and no host has an @.
std::string without_proxys_users(std::string_view value) {
  const auto from = std::min(value.find_first_not_of(" \t"), value.size());
  const auto named = std::min(value.find_first_not_of(" \t\""), value.size());
  // Another may stand in a password, "u:a://b@host", or in a comment.
  const auto colon = std::min(value.substr(0, value.find('@')).find("://", named), value.size());
  const bool scheme = std::ranges::find(kProxySchemes, lower(value.substr(named, colon - named))) !=
                      kProxySchemes.end();
  const auto begin = scheme && colon < value.size() ? colon + 3 : from;
  const auto at = value.rfind('@');
  if (at == value.npos || at < begin) return std::string(value);
  std::string out(value.substr(0, begin));
  // What is left stays in quotes, or out of them.
  if (std::ranges::count(value.substr(begin, at - begin), '"') % 2 != 0) out += '"';
  return out.append(value.substr(at + 1));
}

// Behind the sections that a line begins with: in quotes a name may have any letter but the line's
// end, also "]" and "=".
std::size_t behind_sections(std::string_view line) {
  std::size_t at = 0;
  for (;;) {
    const auto open = std::min(line.find_first_not_of(" \t", at), line.size());
    if (open == line.size() || line[open] != '[') return at;
    bool quoted = false;
    std::size_t i = open + 1;
    for (; i < line.size() && (quoted || line[i] != ']'); ++i) {
      if (line[i] == '"') quoted = !quoted;
      if (line[i] == '\\' && quoted) ++i;
    }
    if (i >= line.size()) return line.size();
    at = i + 1;
  }
}

// With the lines that it goes on in, by a backslash that is in no comment; ends with its newline,
// if it has one.
std::string_view take_setting(std::string_view& config) {
  bool quoted = false, comment = false;
  std::size_t end = 0;
  for (; end < config.size() && config[end] != '\n'; ++end) {
    const char c = config[end];
    if (comment) continue;
    if (c == '"') quoted = !quoted;
    comment = !quoted && (c == '#' || c == ';');
    if (c == '\\') end += config.substr(end + 1).starts_with("\r\n") ? 2 : 1;
  }
  end = std::min(end + 1, config.size());
  const auto out = config.substr(0, end);
  config.remove_prefix(end);
  return out;
}

std::string joined(std::string_view setting) {
  std::string out;
  for (std::size_t i = 0; i < setting.size(); ++i) {
    const auto rest = setting.substr(i);
    if (rest.starts_with("\\\r\n")) {
      i += 2;
    } else if (rest.starts_with("\\\n")) {
      i += 1;
    } else {
      out += setting[i];
      if (setting[i] == '\\' && i + 1 < setting.size()) out += setting[++i];
    }
  }
  return out;
}

}  // namespace

std::string without_credentials(std::string_view config) {
  std::string out;
  while (!config.empty()) {
    const auto written = take_setting(config);
    const auto setting = joined(written);
    const std::string_view all = setting;
    const auto from = behind_sections(all);
    const auto equals = all.find('=', from);
    auto shown = without_users(all);
    const auto key = equals == all.npos ? "" : trimmed(all.substr(from, equals - from));
    auto value = equals == all.npos ? "" : without_users(all.substr(equals + 1));
    if (names_proxy(key)) {
      value = without_users(without_proxys_users(all.substr(equals + 1)));
      shown = without_users(all.substr(0, equals + 1)) + value;
    }
    if (equals == all.npos)
      out.append(shown == all ? written : shown);
    else if (is_secret_key(key) || holds_secret(key, value))
      out.append(without_users(all.substr(0, equals + 1))).append("\n");
    else
      out.append(shown == all ? written : shown);
  }
  return out;
}

}  // namespace lares::sandbox::launcher
