#include "sandbox/launcher/toolchains.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace lares::sandbox::launcher {
namespace {

using Kind = Toolchain::Kind;

struct Known {
  const char* path;
  Kind kind;
};
constexpr std::array kKnown = {Known{".cargo/bin", Kind::programs},
                               Known{".cargo/registry", Kind::packages},
                               Known{".cargo/git", Kind::packages},
                               Known{".rustup", Kind::programs},
                               Known{".nvm", Kind::programs},
                               Known{".volta", Kind::programs},
                               Known{".pyenv", Kind::programs},
                               Known{".rbenv", Kind::programs},
                               Known{".sdkman", Kind::programs},
                               Known{"miniconda3", Kind::programs},
                               Known{".local/bin", Kind::programs},
                               Known{".local/lib", Kind::programs},
                               Known{".local/share/uv", Kind::packages},
                               Known{".local/share/pnpm", Kind::packages},
                               Known{".local/share/pipx", Kind::programs},
                               Known{".local/share/mise", Kind::programs},
                               Known{"go/pkg", Kind::packages},
                               Known{"go/bin", Kind::programs},
                               Known{".m2/repository", Kind::packages},
                               Known{".gradle/caches", Kind::packages},
                               Known{".gradle/wrapper", Kind::packages},
                               Known{".cache/pip", Kind::cache},
                               Known{".cache/pypoetry", Kind::packages},
                               Known{".cache/uv", Kind::cache},
                               Known{".cache/go-build", Kind::cache},
                               Known{".cache/ccache", Kind::cache},
                               Known{".cache/ms-playwright", Kind::programs},
                               Known{".npm/_cacache", Kind::cache},
                               Known{".deno", Kind::programs},
                               Known{".bun/bin", Kind::programs},
                               Known{".asdf", Kind::programs},
                               Known{".agents/skills", Kind::programs},
                               Known{".claude/skills", Kind::programs},
                               Known{".local/share/fnm", Kind::programs},
                               Known{".local/share/gem/ruby", Kind::programs},
                               Known{".gem/ruby", Kind::programs},
                               Known{".opam", Kind::programs},
                               Known{".ghcup", Kind::programs},
                               Known{".elan", Kind::programs},
                               Known{".juliaup", Kind::programs},
                               Known{".mix", Kind::programs},
                               Known{".dotnet/tools", Kind::programs},
                               Known{".cache/Cypress", Kind::programs},
                               Known{".cache/puppeteer", Kind::programs},
                               Known{".yarn/berry/cache", Kind::packages},
                               Known{".bun/install/cache", Kind::packages},
                               Known{".cache/deno", Kind::packages},
                               Known{".cache/node/corepack", Kind::packages},
                               Known{".cache/pre-commit", Kind::packages},
                               Known{".nuget/packages", Kind::packages},
                               Known{".ivy2/cache", Kind::packages},
                               Known{".cache/coursier", Kind::packages},
                               Known{".cache/composer", Kind::packages},
                               Known{".pub-cache/hosted", Kind::packages},
                               Known{".pub-cache/git", Kind::packages},
                               Known{".hex/packages", Kind::packages},
                               Known{".cabal/packages", Kind::packages},
                               Known{".julia/packages", Kind::packages},
                               Known{".julia/artifacts", Kind::packages},
                               Known{".julia/registries", Kind::packages},
                               Known{".conan2/p", Kind::packages},
                               Known{".cache/vcpkg", Kind::packages},
                               Known{".cache/huggingface/hub", Kind::packages},
                               Known{".cache/torch", Kind::packages},
                               Known{".cache/yarn", Kind::cache},
                               Known{".cache/sccache", Kind::cache},
                               Known{".cache/zig", Kind::cache},
                               Known{".cache/golangci-lint", Kind::cache}};

// Variables that are passed on (policy.cc) and name a directory; `below` in it, "" being all of it.
// Of these two not all is anybody's business: sources, credentials.toml.
struct Variable {
  std::string_view name, below;
  Kind kind;
};
constexpr std::array kVariables = {Variable{"VIRTUAL_ENV", "", Kind::programs},
                                   Variable{"CONDA_PREFIX", "", Kind::programs},
                                   Variable{"JAVA_HOME", "", Kind::programs},
                                   Variable{"GOROOT", "", Kind::programs},
                                   Variable{"RUSTUP_HOME", "", Kind::programs},
                                   Variable{"NVM_DIR", "", Kind::programs},
                                   Variable{"VOLTA_HOME", "", Kind::programs},
                                   Variable{"PYENV_ROOT", "", Kind::programs},
                                   Variable{"SDKMAN_DIR", "", Kind::programs},
                                   Variable{"PNPM_HOME", "", Kind::packages},
                                   Variable{"GOPATH", "/bin", Kind::programs},
                                   Variable{"GOPATH", "/pkg", Kind::packages},
                                   Variable{"CARGO_HOME", "/bin", Kind::programs},
                                   Variable{"CARGO_HOME", "/registry", Kind::packages},
                                   Variable{"CARGO_HOME", "/git", Kind::packages},
                                   Variable{"PATH", "", Kind::programs}};
// Where credentials lie, and directories that hold too much besides.
constexpr std::array<std::string_view, 8> kNever = {
    ".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".mozilla", ".password-store"};
constexpr std::array<std::string_view, 6> kNotAsAWhole = {
    ".config", ".cache", ".cargo", ".local", ".local/share", ".local/state"};

bool below_or_same(std::string_view path, std::string_view top) {
  return path == top ||
         (path.size() > top.size() && path.starts_with(top) && path[top.size()] == '/');
}

std::string_view value_of(const Spec& spec, std::string_view name) {
  for (const std::string_view variable : spec.env)
    if (variable.size() > name.size() && variable.starts_with(name) && variable[name.size()] == '=')
      return variable.substr(name.size() + 1);
  return {};
}

// Of PATH, what is named as such: others are whatever lies beside a program.
bool is_for_programs(std::string_view path) {
  return path.ends_with("/bin") || path.ends_with("/sbin") || path.ends_with("/shims");
}

// Relative to the home directory; "" when it lies elsewhere, is no place for a toolchain, or has to
// do with the worktree, which is shown as it is.
std::string below_home(const Spec& spec, std::string_view path) {
  while (path.ends_with('/')) path.remove_suffix(1);
  if (spec.home.empty() || path == spec.home || !below_or_same(path, spec.home)) return {};
  if (below_or_same(path, spec.root) || below_or_same(spec.root, path)) return {};
  const auto relative = path.substr(spec.home.size() + 1);
  for (std::size_t begin = 0; begin <= relative.size();) {
    const auto end = std::min(relative.find('/', begin), relative.size());
    const auto part = relative.substr(begin, end - begin);
    if (part.empty() || part == "." || part == ".." ||
        std::ranges::find(kNever, part) != kNever.end())
      return {};
    begin = end + 1;
  }
  return std::ranges::find(kNotAsAWhole, relative) == kNotAsAWhole.end() ? std::string(relative)
                                                                         : std::string();
}

bool is_covered(const std::vector<Toolchain>& all, const std::string& path) {
  return std::ranges::any_of(all, [&](const Toolchain& one) {
    return one.kind == Kind::programs ? below_or_same(path, one.path) : path == one.path;
  });
}

}  // namespace

std::vector<Toolchain> toolchains(const Spec& spec) {
  std::vector<Toolchain> out;
  for (const auto& [path, kind] : kKnown)  // but for a worktree in one, or around it
    if (!below_home(spec, spec.home + "/" + path).empty()) out.push_back({path, kind});
  for (const auto& variable : kVariables) {
    for (auto rest = value_of(spec, variable.name); !rest.empty();) {  // GOPATH is a list
      const auto end = std::min(rest.find(':'), rest.size());
      auto path = below_home(spec, std::string(rest.substr(0, end)).append(variable.below));
      rest.remove_prefix(std::min(end + 1, rest.size()));
      if (variable.name == "PATH" && !is_for_programs("/" + path)) continue;
      if (!path.empty() && !is_covered(out, path)) out.push_back({std::move(path), variable.kind});
    }
  }
  return out;
}

}  // namespace lares::sandbox::launcher
