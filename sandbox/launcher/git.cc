#include "sandbox/launcher/git.h"

#include <dirent.h>
#include <fcntl.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>

namespace lares::sandbox::launcher {
namespace {

constexpr std::size_t kConfigBytesMax = 256 << 10;  // a larger one is shown empty
constexpr std::size_t kConfigsMax = 512, kScrubbedMax = 48;
constexpr int kDepthMax = 6;  // of modules in modules
constexpr std::array kSecretKeys = {"extraheader", "password",   "token",  "oauthtoken",
                                    "secret",      "privatekey", "cookie", "smtppass"};

bool equal(std::string_view a, const char* b) {
  return a.size() == std::string_view(b).size() && ::strncasecmp(a.data(), b, a.size()) == 0;
}

std::string_view trimmed(std::string_view text) {
  const auto from = text.find_first_not_of(" \t");
  if (from == text.npos) return {};
  return text.substr(from, text.find_last_not_of(" \t\r") - from + 1);
}

// "https://user:token@host/" loses what is before the @.
std::string without_users(std::string_view line) {
  std::string out;
  while (!line.empty()) {
    const auto at = line.find("://");
    if (at == line.npos) break;
    const auto scheme_is_http = at >= 4 && (line.substr(0, at).ends_with("http") ||
                                            line.substr(0, at).ends_with("https"));
    out.append(line.substr(0, at + 3));
    line.remove_prefix(at + 3);
    const auto end = std::min(line.find_first_of("/\"' \t"), line.size());
    const auto user = line.substr(0, end).rfind('@');
    if (scheme_is_http && user != line.npos) line.remove_prefix(user + 1);
  }
  return out.append(line);
}

// `path` by value: it may lie in `out`.
void names_in(const View& view, std::string path, std::vector<std::string>& out) {
  const Fd place = view.at(path, O_DIRECTORY);
  const int fd = place ? ::openat(place.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  if (fd < 0) return;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(fd), ::closedir);
  while (const dirent* entry = dir ? ::readdir(dir.get()) : nullptr)
    if (const std::string_view name = entry->d_name; name != "." && name != "..")
      out.push_back(fmt::format("{}/{}", path, name));
}

bool is_dir(const View& view, const std::string& path) {
  return static_cast<bool>(view.at(path, O_DIRECTORY));
}

// The configurations of the git directory `dir`, its linked worktrees' and its submodules'.
void collect(const View& view, const std::string& dir, int depth, std::vector<std::string>& out) {
  if (depth == 0 || out.size() > kConfigsMax) return;
  out.push_back(dir + "/config");
  out.push_back(dir + "/config.worktree");
  std::vector<std::string> worktrees, modules;
  names_in(view, dir + "/worktrees", worktrees);
  for (const auto& one : worktrees) out.push_back(one + "/config.worktree");
  names_in(view, dir + "/modules", modules);
  // A submodule's name may have slashes: a directory without a configuration is a part of one.
  for (std::size_t i = 0; i < modules.size() && i < kConfigsMax; ++i) {
    if (!is_dir(view, modules[i])) continue;
    if (view.at(modules[i] + "/config", 0))
      collect(view, modules[i], depth - 1, out);
    else
      names_in(view, modules[i], modules);
  }
}

// "" also for what cannot be read: the command cannot either.
std::string text_at(const View& view, const std::string& path) {
  const auto slash = path.rfind('/');
  const Fd dir = view.at(path.substr(0, slash), O_DIRECTORY);
  const Fd file(dir ? ::openat(dir.get(), path.c_str() + slash + 1,
                               O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
                    : -1);
  struct stat status;
  if (!file || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return {};
  return read_file(file.get(), kConfigBytesMax + 1);
}

}  // namespace

std::string without_credentials(std::string_view config) {
  std::string out;
  bool continued = false;  // a secret's value, by a backslash
  while (!config.empty()) {
    const auto end = std::min(config.find('\n'), config.size());
    const auto line = config.substr(0, end);
    config.remove_prefix(std::min(end + 1, config.size()));
    const auto equals = line.find('=');
    // "[http] extraheader = x" may stand on one line.
    auto key = trimmed(line.substr(0, std::min(equals, line.size())));
    if (const auto bracket = key.rfind(']'); bracket != key.npos)
      key = trimmed(key.substr(bracket + 1));
    const bool secret = equals != line.npos &&
                        std::any_of(kSecretKeys.begin(), kSecretKeys.end(),
                                    [&](const char* name) { return equal(key, name); });
    if (continued) {
      continued = line.ends_with('\\');
      continue;
    }
    if (secret) {
      out.append(line.substr(0, equals + 1)).append("\n");
      continued = line.ends_with('\\');
    } else {
      out.append(without_users(line)).append("\n");
    }
  }
  return out;
}

std::vector<std::pair<std::string, std::string>> configs_without_credentials(
    const View& view, const Spec& spec, const std::vector<Source>& sources) {
  std::vector<std::string> dirs, configs;
  for (const auto& source : sources)
    if (source.path != spec.root) dirs.push_back(source.path);
  if (const auto own = view.resolve(spec.root + "/.git"); !own.empty()) dirs.push_back(own);
  dirs.insert(dirs.end(), spec.readonly.begin(), spec.readonly.end());
  for (const auto& dir : dirs)
    if (is_dir(view, dir) && (view.at(dir + "/HEAD", 0) || view.at(dir + "/config", 0)))
      collect(view, dir, kDepthMax, configs);
  std::sort(configs.begin(), configs.end());
  configs.erase(std::unique(configs.begin(), configs.end()), configs.end());
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& path : configs) {
    auto text = text_at(view, path);
    if (text.size() > kConfigBytesMax) {
      out.emplace_back(path, "");
    } else {
      if (!text.empty() && text.back() != '\n') text += '\n';
      if (auto shown = without_credentials(text); shown != text)
        out.emplace_back(path, std::move(shown));
    }
    if (out.size() > kScrubbedMax)
      fail("policy",
           "more than {} git configurations with credentials, the last of them {}; move them to a "
           "credential helper",
           kScrubbedMax, path);
  }
  return out;
}

}  // namespace lares::sandbox::launcher
