#include "sandbox/launcher/git.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "sandbox/launcher/git_credentials.h"

namespace lares::sandbox::launcher {
namespace {

constexpr std::size_t kConfigBytesMax = 256 << 10;  // a larger one is shown empty
constexpr std::size_t kConfigsMax = 512, kScrubbedMax = 48;
constexpr int kDepthMax = 6;  // of modules in modules

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
