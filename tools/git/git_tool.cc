#include "tools/git/git_tool.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "tools/git/confined.h"
#include "tools/git/impatience.h"
#include "tools/git/kept_repository.h"
#include "tools/git/library.h"
#include "tools/git/objects.h"
#include "tools/git/repo.h"
#include "tools/off_thread.h"

namespace lares::tools {
namespace {

const Spec kSpec{
    "git",
    "Work with the git repository. status; diff: changes since `rev` (default HEAD), or between "
    "revisions a..b; log; show: a "
    "commit, or a file as REV:PATH; add; commit: stages `path`, or all changes and new files, then "
    "commits; blame: `path`, or lines of it as PATH:10-20; branch: list, or make the branch `rev`; "
    "switch: to the branch `rev`, old or new. Hooks do not run.",
    R"({"type":"object","properties":{"command":{"type":"string","enum":["status","diff","log","show","add","commit","blame","branch","switch"]},)"
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

bool is_one_of(const std::string& command, std::initializer_list<std::string_view> names) {
  return std::ranges::find(names, command) != names.end();
}

// Takes as long as it takes.
bool writes(const git::Request& request) {
  return is_one_of(request.command, {"add", "commit", "switch"});
}

git::GitResult<std::string> perform(const git::Opened& opened, const git::Request& request,
                                    const Cancelled& cancelled, git::Stop& stop) {
  git::ReadBound bound{.stop = &stop};
  if (!writes(request)) bound.deadline = std::chrono::steady_clock::now() + git::kReadTimeMax;
  if (request.command == "switch") stop.heed(false);  // it would leave the files of both
  if (auto bounded = git::bound_reads(opened.repo.get(), bound); !bounded)
    return tl::unexpected(bounded.error());
  if (request.command == "status") return git::status(opened, request);
  if (request.command == "diff") return git::diff(opened, request);
  if (request.command == "log") return git::log(opened, request, cancelled);
  if (request.command == "show") return git::show(opened, request);
  if (request.command == "add") return git::add(opened, request, stop);
  if (request.command == "commit") return git::commit(opened, request, stop);
  if (request.command == "blame") return git::blame(opened, request);
  if (request.command == "branch") return git::branch(opened, request);
  if (request.command == "switch") return git::switch_to(opened, request);
  return tl::unexpected(fmt::format(
      "git: no command `{}`; there are status, diff, log, show, add, commit, blame, branch and "
      "switch, {}",
      request.command,
      request.commands_write
          ? "others run in bash"
          : "others that only read run in bash; ask the user to run those that write"));
}

git::GitResult<std::string> perform_confined(git::KeptRepository& kept, const git::Request& request,
                                             const Cancelled& cancelled) {
  std::optional<git::Impatience> here(std::in_place);  // a command may have made it, of pipes
  auto opened = kept.take();
  here.reset();
  if (!opened) return tl::unexpected(opened.error());
  const auto deadline = std::chrono::steady_clock::now() + git::kReadTimeMax;
  const auto given_up = [&] {
    return cancelled || (!writes(request) && std::chrono::steady_clock::now() > deadline);
  };
  git::Stop stop(cancelled);  // outlives what is given back
  auto text = git::confined(*opened, request.root, given_up,
                            [&] { return perform(*opened, request, cancelled, stop); });
  kept.give_back(std::move(*opened));
  return text;
}

std::string command_of(const nlohmann::json& args) {
  const auto found = args.is_object() ? args.find("command") : args.end();
  return args.is_object() && found != args.end() && found->is_string() ? found->get<std::string>()
                                                                       : "";
}

class GitTool final : public Tool {
 public:
  explicit GitTool(const BuiltinOptions& options)
      : root_(options.root),
        commands_write_(options.no_sandbox),
        kept_(std::make_shared<git::KeptRepository>(options.root)),
        threads_(options.threads) {
    git::start_library();
  }

  const Spec& spec() const override { return kSpec; }

  bool mutates(const nlohmann::json& args) const override {
    const std::string command = command_of(args);
    if (command == "branch") return args.contains("rev") && args["rev"] != "";
    return !is_one_of(command, {"status", "diff", "log", "show", "blame"});
  }
  // add, commit and a new branch write to .git alone; what a switch brings is for a scan to tell.
  bool tells_changes(const nlohmann::json& args) const override {
    return command_of(args) != "switch";
  }

  asio::awaitable<Result<Outcome>> run(nlohmann::json args, OnOutput) override {
    auto request = parse(args);
    if (!request) {
      Outcome refused{.text = request.error(), .ok = false, .changes = {}};
      co_return refused;
    }
    request->root = root_;
    request->commands_write = commands_write_;
    auto work = [request = std::move(*request),
                 kept = kept_](const Cancelled& cancelled) -> Result<Outcome> {
      auto text = perform_confined(*kept, request, cancelled);
      if (!text) return Outcome{.text = std::move(text.error()), .ok = false, .changes = {}};
      return Outcome{.text = std::move(*text), .ok = true, .changes = {}};
    };
    auto result = co_await off_thread(threads_.get(), std::move(work));
    co_return result;
  }

 private:
  std::string root_;
  bool commands_write_;
  std::shared_ptr<git::KeptRepository> kept_;  // also of a call that outlives the tool
  WorkThreads threads_;
};

}  // namespace

std::unique_ptr<Tool> make_git_tool(asio::any_io_executor, const BuiltinOptions& options) {
  return std::make_unique<GitTool>(options);
}

}  // namespace lares::tools
