#include "tools/testing/runner.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tools/testing/project.h"
#include "tools/testing/runner_node.h"
#include "tools/testing/runner_python.h"
#include "tools/text.h"
#include "tools/workspace/path_hint.h"
#include "tools/workspace/rooted_fs.h"
#include "tools/workspace/rules.h"

namespace lares::tools {
namespace {

namespace fs = std::filesystem;
// "all test: prerequisites", but no assignment ("test := x") and no recipe.
bool has_target(const std::string& makefile, std::string_view target) {
  for (std::string_view line : split_lines(makefile)) {
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || line.starts_with('\t') ||
        line.substr(colon).starts_with(":=") || line.substr(colon).starts_with("::="))
      continue;
    for (std::string_view names = line.substr(0, colon); !names.empty();) {
      const std::size_t end = std::min(names.find(' '), names.size());
      if (names.substr(0, end) == target) return true;
      names.remove_prefix(std::min(end + 1, names.size()));
    }
  }
  return false;
}

// What the repository's owners say: {"test": "a shell command"} or {"test": ["program",
// "argument"]}.
tl::expected<std::optional<Runner>, std::string> configured(const Project& p) {
  static constexpr const char* kFile = ".lares/config.json";
  if (!p.has(kFile)) return std::nullopt;
  const auto wrong = [](std::string_view why) {
    return tl::unexpected(fmt::format(
        R"(The file {} {}. It may say {{"test": "make test"}} or {{"test": ["make", "test"]}}; correct it, or run the tests with `bash`.)",
        kFile, why));
  };
  const auto config = nlohmann::json::parse(p.text(kFile), nullptr, false, true);
  if (!config.is_object()) return wrong("is no JSON object");
  const auto test = config.find("test");
  if (test == config.end()) return std::nullopt;
  Runner out;
  if (test->is_string() && !test->get_ref<const std::string&>().empty()) {
    out = p.runner(RunnerKind::generic, {"sh", "-c", test->get<std::string>()});
    out.shown = test->get<std::string>();
  } else if (test->is_array() && !test->empty() &&
             std::ranges::all_of(*test, [](const auto& word) { return word.is_string(); })) {
    out = p.runner(RunnerKind::generic, test->get<std::vector<std::string>>());
  } else {
    return wrong("has a `test` that is neither a command nor a list of words");
  }
  if (!p.path.empty() || !p.filter.empty())
    out.note = "the configured command takes neither path nor filter; all tests were run";
  return out;
}

std::optional<Runner> own_script(const Project& p) {
  if (!p.dir.empty() || !p.has(".lares/test")) return std::nullopt;
  Runner out = p.runner(RunnerKind::generic, {"sh", ".lares/test"});
  for (const std::string& word : {p.asked(), p.filter}) {
    if (!word.empty()) out.argv.push_back(word), out.shown += " " + word;
  }
  return out;
}

// Binaries that were built before the last edit would pass or fail for another program, so they are
// built first.
std::optional<Runner> ctest(const Project& p) {
  for (const std::string& name : p.names("")) {
    if (!name.starts_with("build") && !name.starts_with("cmake-build")) continue;
    if (!p.has(name + "/CTestTestfile.cmake")) continue;
    std::vector<std::string> argv = {"ctest", "--test-dir", name, "--output-on-failure",
                                     "--no-tests=error"};
    if (!p.filter.empty()) argv.insert(argv.end(), {"-R", p.pattern()});
    Runner out = p.runner(RunnerKind::ctest, std::move(argv));
    if (p.has(name + "/CMakeCache.txt")) {
      std::vector<std::string> built = {
          "sh", "-c", "cmake --build \"$0\" -j \"$(nproc)\" && exec \"$@\"", name};
      built.insert(built.end(), out.argv.begin(), out.argv.end());
      out.argv = std::move(built);
      out.shown = fmt::format("cmake --build {} && {}", name, out.shown);
    }
    if (!p.path.empty()) out.note = "ctest knows tests, not paths; all were run";
    return out;
  }
  return std::nullopt;
}

// Of a crate: its targets, as cargo's options, and in them a module, as the beginning of its tests'
// names.
struct CratePart {
  std::vector<std::string> targets;
  std::string module;
};

// "a/b.rs" or "a/b/mod.rs": "a::b::".
std::string module_at(const fs::path& path) {
  std::string out;
  for (const fs::path& part : path.parent_path() / path.stem())
    if (part != "mod") out += part.string() + "::";
  return out;
}

// nullopt: it is none that cargo has a name for.
std::optional<CratePart> crate_part(const Project& p) {
  const fs::path path(p.path);
  const bool code = path.extension() == ".rs";
  if (!code && !p.files->is_directory(p.dir + p.path)) return std::nullopt;
  static constexpr std::pair<std::string_view, const char*> kTargets[] = {
      {"src/bin", "--bin"}, {"tests", "--test"}, {"examples", "--example"}, {"benches", "--bench"}};
  for (const auto& [below, option] : kTargets) {
    if (p.path == below) return CratePart{{option, "*"}, ""};
    if (!p.path.starts_with(std::string(below) + "/")) continue;
    const fs::path own = path.lexically_relative(below);
    const std::string name = own.begin()->stem().string();
    const fs::path inside = own.lexically_relative(*own.begin());
    if (inside == "." ? code : p.has(fmt::format("{}/{}/main.rs", below, name)))
      return CratePart{{option, name},
                       inside == "." || inside == "main.rs" ? "" : module_at(inside)};
    if (inside == "." && p.has(fmt::format("{}/{}/main.rs", below, name)))
      return CratePart{{option, name}, ""};
    return std::nullopt;
  }
  if (p.path == "src") {
    CratePart all;
    if (p.has("src/lib.rs")) all.targets.push_back("--lib");
    if (p.has("src/main.rs") || !p.names("src/bin").empty()) all.targets.push_back("--bins");
    return all;
  }
  if (p.path == "src/lib.rs") return CratePart{{"--lib"}, ""};
  if (p.path == "src/main.rs") return CratePart{{"--bins"}, ""};
  if (p.path.starts_with("src/")) return CratePart{{}, module_at(path.lexically_relative("src"))};
  return std::nullopt;
}

std::optional<Runner> cargo(const Project& p) {
  if (!p.has("Cargo.toml")) return std::nullopt;
  std::vector<std::string> argv = {"cargo", "test", "--no-fail-fast"};
  const auto part = p.path.empty() ? CratePart() : crate_part(p);
  if (part) argv.insert(argv.end(), part->targets.begin(), part->targets.end());
  if (!p.filter.empty())
    argv.push_back(p.filter);
  else if (part && !part->module.empty())
    argv.push_back(part->module);
  Runner out = p.runner(RunnerKind::cargo, std::move(argv));
  if (!part)
    out.note = "cargo knows targets and modules, and the path is neither; all tests were run";
  else if (!part->module.empty() && !p.filter.empty())
    out.note =
        "cargo takes one filter; tests of other modules that have it in their names were run, too";
  return out;
}

std::optional<Runner> go(const Project& p) {
  if (!p.has("go.mod")) return std::nullopt;
  std::string package = "./...";
  if (!p.path.empty()) {
    const bool file = p.path.ends_with(".go");
    const std::string dir = file ? fs::path(p.path).parent_path().string() : p.path;
    package = dir.empty() ? "." : "./" + dir + (file ? "" : "/...");
  }
  std::vector<std::string> argv = {"go", "test", "-json"};
  if (!p.filter.empty()) argv.insert(argv.end(), {"-run", p.pattern()});
  argv.push_back(package);
  Runner out = p.runner(RunnerKind::go, std::move(argv));
  out.shown.replace(out.shown.find(" -json"), 6, "");
  return out;
}

std::optional<Runner> node(const Project& p) {
  auto package = node_package(p);
  return package ? package : node_files(p);
}

std::optional<Runner> make(const Project& p) {
  for (const char* file : {"GNUmakefile", "makefile", "Makefile"}) {
    const std::string text = p.text(file);
    for (const char* target : {"test", "check"}) {
      if (!has_target(text, target)) continue;
      Runner out = p.runner(RunnerKind::generic, {"make", target});
      if (!p.path.empty() || !p.filter.empty())
        out.note = "make takes neither path nor filter; all tests were run";
      return out;
    }
  }
  return std::nullopt;
}

std::optional<Runner> python_project(const Project& p) {
  return is_python_project(p) ? python(p) : std::nullopt;
}

using Find = std::optional<Runner> (*)(const Project&);

// Of the language that the asked file is written in; null where that says nothing.
Find finder_for(const Project& p) {
  static constexpr std::pair<std::string_view, Find> kFinders[] = {
      {".js", node}, {".mjs", node}, {".cjs", node},  {".jsx", node},
      {".ts", node}, {".tsx", node}, {".rs", cargo},  {".go", go},
      {".c", ctest}, {".cc", ctest}, {".cpp", ctest}, {".cxx", ctest}};
  if (asks_for_python_test(p)) return python;
  const std::string ending = fs::path(p.path).extension().string();
  const auto* const at = std::ranges::find(kFinders, ending,
                                           &std::pair<std::string_view, Find>::first);
  return at == std::end(kFinders) ? nullptr : at->second;
}

// What somebody wrote down comes before what only lies there: many a repository in another language
// has a Python script or two with tests.
std::optional<Runner> runner_in(const Project& p) {
  for (const Find find :
       {Find{own_script}, finder_for(p), Find{python_project}, Find{node_package}, Find{cargo},
        Find{go}, Find{ctest}, Find{make}, Find{python}, Find{node_files}}) {
    if (!find) continue;
    if (auto runner = find(p)) {
      if (!p.dir.empty())
        runner->shown = "cd " + p.dir.substr(0, p.dir.size() - 1) + " && " + runner->shown;
      return runner;
    }
  }
  return std::nullopt;
}

// "tests/test_a.py::Class::test" as pytest names it: the file, and what is inside it.
void split_node_id(std::string& path, std::string& inside) {
  const std::size_t at = path.find(".py::");
  if (at == std::string::npos) return;
  inside = path.substr(at + 5);
  path.erase(at + 3);
}

}  // namespace

tl::expected<Runner, std::string> find_runner(const std::string& root, const std::string& path,
                                              const std::string& filter) {
  const auto files = RootedFs::open(root);
  if (!files) return tl::unexpected(files.error());
  struct stat st {};
  // The full name of a test, as pytest tells it, names its file.
  if (const std::size_t py = filter.find(".py::"); path.empty() && py != std::string::npos) {
    const std::string file = filter.substr(0, py + 3);
    if (!file.starts_with('-') && files->lstat(file, st)) return find_runner(root, filter, "");
  }
  std::string wanted = path;
  if (path.starts_with('/')) {
    const auto relative = files->relative(path);
    if (!relative)
      return tl::unexpected(fmt::format("The path {} is outside the repository {}.", path, root));
    wanted = *relative;
  }
  while (wanted.starts_with("./")) wanted.erase(0, 2);
  while (wanted.ends_with('/')) wanted.pop_back();
  if (wanted == ".") wanted.clear();
  std::string inside;
  if (!wanted.empty() && !files->lstat(wanted, st)) split_node_id(wanted, inside);
  // A leading '-' would be read as an option by whatever runs.
  if (wanted.starts_with('-') || (!wanted.empty() && !files->lstat(wanted, st))) {
    return tl::unexpected(
        fmt::format("The path {} does not exist.{}", path, path_hint(root, wanted)));
  }
  if (filter.starts_with('-'))
    return tl::unexpected(
        fmt::format("The filter {} begins with `-`; give part of a test's name.", filter));
  if (auto own = configured({&*files, "", wanted, filter, inside}); !own)
    return tl::unexpected(own.error());
  else if (*own)
    return **own;
  // The nearest directory around the path that looks like a project with tests; then what lies one
  // below the root.
  std::string dir = wanted.empty()                ? ""
                    : files->is_directory(wanted) ? wanted + "/"
                                                  : wanted.substr(0, wanted.rfind('/') + 1);
  std::optional<Runner> weak;
  for (;;) {
    const std::string below = wanted.size() > dir.size() ? wanted.substr(dir.size()) : "";
    if (auto runner = runner_in({&*files, dir, below, filter, inside})) {
      if (!runner->weak) return *runner;
      if (!weak) weak = std::move(runner);
    }
    if (dir.empty()) break;
    dir.pop_back();
    dir.erase(dir.rfind('/') == std::string::npos ? 0 : dir.rfind('/') + 1);
  }
  if (weak) return *weak;
  const Project top{&*files, "", "", ""};
  for (const std::string& name : top.names("")) {
    if (name.starts_with('.') || is_product_directory(name) || !files->is_directory(name)) continue;
    auto runner = runner_in({&*files, name + "/", "", filter});
    if (runner && !runner->weak) return *runner;
    if (runner && !weak) weak = std::move(runner);
  }
  if (weak) return *weak;
  return tl::unexpected(std::string(
      "No tests were found: looked for a `test` in .lares/config.json, .lares/test, Python tests "
      "(test_*.py, *_test.py), package.json or *.test.js, Cargo.toml, go.mod, a CTest "
      "build directory and a Makefile with `test` or `check`. Run them with `bash`, or write "
      "{\"test\": \"the command\"} to .lares/config.json."));
}

}  // namespace lares::tools
