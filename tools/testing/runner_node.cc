#include "tools/testing/runner_node.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace lares::tools {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kNamedFilesMax = 2000;  // of one directory

// As `node --test` looks for them; `any`: all scripts are, below a directory called test.
bool is_node_test(std::string_view name, bool any, bool typescript) {
  std::string_view stem;
  for (const std::string_view end : {".js", ".mjs", ".cjs", ".ts", ".mts", ".cts"}) {
    if (name.ends_with(end) && (typescript || end.ends_with("js")))
      stem = name.substr(0, name.size() - end.size());
  }
  if (stem.empty() || stem.ends_with(".d")) return false;
  return any || stem == "test" || stem.starts_with("test-") || stem.ends_with(".test") ||
         stem.ends_with("-test") || stem.ends_with("_test");
}

// What a script hands to `node --test`, as the shell reads it: each word with a blank before it.
struct NodeScript {
  std::string options, files;
};
// Nothing where it does more than that, or is too artful to be told apart.
std::optional<NodeScript> node_script(std::string_view script) {
  constexpr std::array<std::string_view, 13> kWithValue = {"-r",
                                                           "--require",
                                                           "--import",
                                                           "--loader",
                                                           "--experimental-loader",
                                                           "-C",
                                                           "--conditions",
                                                           "--env-file",
                                                           "--test-concurrency",
                                                           "--test-name-pattern",
                                                           "--test-reporter",
                                                           "--test-reporter-destination",
                                                           "--test-timeout"};
  if (script.find_first_of(";&|<>`$()#\\\n") != std::string_view::npos) return std::nullopt;
  std::vector<std::string_view> words;
  for (std::size_t at = 0; (at = script.find_first_not_of(' ', at)) != std::string_view::npos;) {
    const std::size_t end = std::min(script.find(' ', at), script.size());
    words.push_back(script.substr(at, end - at));
    at = end;
  }
  const bool quoted_blank = std::ranges::any_of(words, [](std::string_view word) {
    return std::ranges::count(word, '"') % 2 != 0 || std::ranges::count(word, '\'') % 2 != 0;
  });
  if (words.empty() || words[0] != "node" || quoted_blank || !std::ranges::count(words, "--test"))
    return std::nullopt;
  NodeScript out;
  for (std::size_t i = 1; i < words.size(); ++i) {
    const std::string_view word = words[i];
    // Ours is the one report, and nobody watches it.
    const bool dropped = word == "--test" || word == "--watch" ||
                         word.starts_with("--test-reporter");
    const bool value = std::ranges::count(kWithValue, word) > 0 && i + 1 < words.size();
    std::string text = fmt::format(" {}", word);
    if (value) text += fmt::format(" {}", words[++i]);
    if (!dropped) (word.starts_with('-') ? out.options : out.files) += text;
  }
  return out;
}

// Since version 21 Node takes a directory for a file to run, so the tests in it are named.
std::vector<std::string> tests_below(const Project& p, bool typescript) {
  const std::string top = p.cwd() + "/";
  std::vector<std::string> out;
  std::error_code ec;
  for (fs::recursive_directory_iterator
           at(top + p.path, fs::directory_options::skip_permission_denied, ec),
       end;
       !ec && at != end; at.increment(ec)) {
    const std::string name = at->path().filename().string();
    if (name == "node_modules" && at->is_directory(ec)) at.disable_recursion_pending();
    const std::string path = at->path().string().substr(top.size());
    const bool any = ("/" + path).find("/test/") != std::string::npos;
    if (at->is_regular_file(ec) && is_node_test(name, any, typescript)) out.push_back(path);
    if (out.size() > kNamedFilesMax) break;
  }
  std::ranges::sort(out);
  if (ec || out.empty() || out.size() > kNamedFilesMax) return {p.path};
  return out;
}

Runner node_runner(const Project& p, const NodeScript& script) {
  std::vector<std::string> asked;
  if (!p.filter.empty()) asked.push_back("--test-name-pattern=" + p.pattern());
  std::vector<std::string> named = asked;
  if (!p.path.empty()) named.push_back(p.path);
  std::vector<std::string> shown = {"node", "--test"};
  shown.insert(shown.end(), named.begin(), named.end());
  Runner out = p.runner(RunnerKind::node, shown);
  const std::string files = p.path.empty() ? script.files : "";
  out.shown.insert(std::string_view("node --test").size(), script.options);
  out.shown += files;
  if (!p.path.empty() && p.files->is_directory(p.dir + p.path)) {
    named = tests_below(p, !script.options.empty());
    named.insert(named.begin(), asked.begin(), asked.end());
  }
  // Before 18.15 TAP is the only format and the option unknown.
  const std::string rest = fmt::format("{} \"$@\"{}", script.options, files);
  out.argv = {"sh", "-c",
              fmt::format("case \"$(node --help)\" in *--test-reporter*) exec node --test "
                          "--test-reporter=tap{0};; *) exec node --test{0};; esac",
                          rest),
              "sh"};
  out.argv.insert(out.argv.end(), named.begin(), named.end());
  return out;
}

// The program that a script ends in, with the options that ask it for JSON: npm hands on to the
// last command what follows `--`.
struct JsonRunner {
  std::string_view program;
  std::vector<std::string> options;
  std::string_view filter;
};
std::optional<JsonRunner> json_runner(std::string_view script) {
  const std::size_t last = script.find_last_of(";&|");
  for (std::string_view words = last == std::string_view::npos ? script : script.substr(last + 1);
       !words.empty();) {
    words = words.substr(std::min(words.find_first_not_of(' '), words.size()));
    const std::string_view word = words.substr(0, std::min(words.find(' '), words.size()));
    words.remove_prefix(word.size());
    if (word == "vitest")
      return JsonRunner{
          "vitest", {"--run", "--reporter=default", "--reporter=json"}, "--testNamePattern"};
    if (word == "jest") return JsonRunner{"jest", {"--json"}, "--testNamePattern"};
    // cross-env NAME=value npx ... before the program
    if (word != "npx" && word != "cross-env" && word != "env" &&
        word.find('=') == std::string_view::npos && !word.starts_with('-'))
      break;
  }
  return std::nullopt;
}
Runner with_json(const Project& p, std::vector<std::string> argv, const JsonRunner& runner,
                 bool through_npm) {
  std::vector<std::string> asked;
  if (!p.filter.empty()) asked.insert(asked.end(), {std::string(runner.filter), p.pattern()});
  if (!p.path.empty()) asked.push_back(p.path);
  std::vector<std::string> told = argv;
  if (through_npm && !asked.empty()) told.emplace_back("--");
  told.insert(told.end(), asked.begin(), asked.end());
  Runner out = p.runner(RunnerKind::jest, told);
  if (through_npm) argv.emplace_back("--");
  argv.insert(argv.end(), runner.options.begin(), runner.options.end());
  argv.insert(argv.end(), asked.begin(), asked.end());
  out.argv = std::move(argv);
  return out;
}

std::string test_script(const Project& p) {
  const auto package = nlohmann::json::parse(p.text("package.json"), nullptr, false);
  if (!package.is_object() || !package.contains("scripts") || !package["scripts"].is_object())
    return "";
  const auto script = package["scripts"].find("test");
  if (script == package["scripts"].end() || !script->is_string()) return "";
  const auto text = script->get<std::string>();
  return text.find("no test specified") == std::string::npos ? text : "";  // npm init's
}

}  // namespace

std::optional<Runner> node_package(const Project& p) {
  if (!p.has("package.json")) return std::nullopt;
  const std::string script = test_script(p);
  if (const auto node = node_script(script)) return node_runner(p, *node);
  if (const auto json = json_runner(script)) return with_json(p, {"npm", "test"}, *json, true);
  if (!script.empty()) {
    Runner out = p.runner(RunnerKind::generic, {"npm", "test"});
    if (!p.path.empty() || !p.filter.empty())
      out.note = "the `test` script takes neither path nor filter; all tests were run";
    return out;
  }
  for (const std::string program : {"vitest", "jest"}) {
    const std::string installed = "node_modules/.bin/" + program;
    if (p.has(installed)) return with_json(p, {installed}, *json_runner(program), false);
  }
  return std::nullopt;
}

std::optional<Runner> node_files(const Project& p) {
  for (const char* below : {"test", "tests", "__tests__", ""}) {
    const bool any = std::string_view(below) == "test";
    if (std::ranges::none_of(p.names(below), [&](const std::string& name) {
          return is_node_test(name, any, /*typescript=*/false);
        }))
      continue;
    Runner out = node_runner(p, NodeScript());
    out.weak = *below == 0;
    return out;
  }
  return std::nullopt;
}

}  // namespace lares::tools
