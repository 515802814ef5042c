#include "tools/git_tool.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <utility>

#include "tools/git_repo.h"
#include "tools/off_thread.h"

namespace lares::tools {
namespace {

const Spec kSpec{
    "git",
    "Work with the git repository. status; diff: changes since `rev` (default HEAD), or between "
    "revisions a..b; log; show: a "
    "commit, or a file as REV:PATH; add; commit: stages `path`, or all changes and new files, then "
    "commits. Hooks do not run.",
    R"({"type":"object","properties":{"command":{"type":"string","enum":["status","diff","log","show","add","commit"]},)"
    R"("path":{"type":"string","description":"Only this file or directory"},"rev":{"type":"string"},)"
    R"("message":{"type":"string","description":"For commit"},"n":{"type":"integer","description":"For log, default 10"}},)"
    R"("required":["command"]})"};

tl::expected<git::Request, std::string> parse(const nlohmann::json& args) {
  git::Request request;
  if (!args.is_object()) return tl::unexpected(std::string("git: the arguments must be an object"));
  for (const auto& [key, into] : {std::pair<const char*, std::string*>{"command", &request.command},
                                  {"path", &request.path},
                                  {"rev", &request.rev},
                                  {"message", &request.message}}) {
    const auto found = args.find(key);
    if (found == args.end() || found->is_null()) continue;
    if (!found->is_string()) return tl::unexpected(fmt::format("git: `{}` must be a string", key));
    *into = found->get<std::string>();
    // libgit2 takes C strings: behind a NUL it would silently see another path or revision.
    if (into->find('\0') != std::string::npos)
      return tl::unexpected(fmt::format("git: `{}` contains a NUL byte", key));
  }
  if (const auto n = args.find("n"); n != args.end() && !n->is_null()) {
    if (!n->is_number_integer()) return tl::unexpected(std::string("git: `n` must be an integer"));
    request.n = static_cast<int>(
        std::min<std::int64_t>(std::max<std::int64_t>(n->get<std::int64_t>(), 1), 1'000'000));
  }
  return request;
}

git::GitResult<std::string> perform(const git::Request& request, const Cancelled& cancelled) {
  const auto opened = git::open_repository(request.root);
  if (!opened) return tl::unexpected(opened.error());
  if (request.command == "status") return git::status(*opened, request);
  if (request.command == "diff") return git::diff(*opened, request);
  if (request.command == "log") return git::log(*opened, request, cancelled);
  if (request.command == "show") return git::show(*opened, request);
  if (request.command == "add") return git::add(*opened, request);
  if (request.command == "commit") return git::commit(*opened, request);
  return tl::unexpected(fmt::format(
      "git: no command `{}`; there are status, diff, log, show, add and commit, others run in bash",
      request.command));
}

class GitTool final : public Tool {
 public:
  explicit GitTool(const BuiltinOptions& options) : root_(options.root) { git_libgit2_init(); }
  GitTool(const GitTool&) = delete;
  GitTool& operator=(const GitTool&) = delete;
  ~GitTool() override {
    pool_.join();
    git_libgit2_shutdown();
  }

  const Spec& spec() const override { return kSpec; }

  bool mutates(const nlohmann::json& args) const override {
    const auto command =
        args.is_object() && args.contains("command") ? args["command"] : nlohmann::json();
    for (const char* reading : {"status", "diff", "log", "show"}) {
      if (command == reading) return false;
    }
    return true;
  }
  bool tells_changes() const override { return true; }  // none: add and commit write to .git alone

  asio::awaitable<Result<Outcome>> run(nlohmann::json args, OnOutput) override {
    auto request = parse(args);
    if (!request) {
      Outcome refused{.text = request.error(), .ok = false, .changes = {}};
      co_return refused;
    }
    request->root = root_;
    auto work = [request = std::move(*request)](const Cancelled& cancelled) -> Result<Outcome> {
      auto text = perform(request, cancelled);
      if (!text) return Outcome{.text = std::move(text.error()), .ok = false, .changes = {}};
      return Outcome{.text = std::move(*text), .ok = true, .changes = {}};
    };
    auto result = co_await off_thread(pool_, std::move(work));
    co_return result;
  }

 private:
  std::string root_;
  asio::thread_pool pool_{1};
};

}  // namespace

std::unique_ptr<Tool> make_git_tool(asio::any_io_executor, const BuiltinOptions& options) {
  return std::make_unique<GitTool>(options);
}

}  // namespace lares::tools
