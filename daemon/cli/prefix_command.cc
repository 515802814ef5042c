// lares prefix: what of the repository the model has before it, by directory or by file, and what is still being computed.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "daemon/cli/commands.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/link.h"
#include "daemon/cli/options.h"
#include "daemon/cli/progress.h"
#include "daemon/cli/screen.h"
#include "daemon/cli/start.h"
#include "daemon/cli/text.h"

namespace lares::cli {
namespace {

constexpr std::int64_t kDirectoriesShown = 40;
constexpr std::chrono::milliseconds kLookAgain{200};

// Of a directory, or one file.
struct Place {
  std::int64_t n_tokens = 0;
  std::int64_t full = 0, outline = 0, path = 0, overlay = 0, hidden = 0;  // files

  void add(const protocol::PrefixFile& file) {
    n_tokens += file.n_tokens;
    ++(file.state == "full" ? full : file.state == "outline" ? outline : file.state == "overlay" ? overlay : file.state == "hidden" ? hidden : path);
  }
  std::string text() const {
    std::string out;
    const auto say = [&](std::int64_t n, const char* what) {
      if (n > 0) out += fmt::format("{}{} {}", out.empty() ? "" : ", ", n, what);
    };
    say(full, "in full"), say(outline, "in outline"), say(overlay, "with changes"), say(hidden, "changed, not shown"), say(path, "by name only");
    return out;
  }
};

std::string share(std::int64_t part, std::int64_t whole) { return whole > 0 ? fmt::format("{:.0f}%", 100.0 * static_cast<double>(part) / static_cast<double>(whole)) : "-"; }

std::string evaluated_text(std::int64_t done, std::int64_t total, double rate) {
  if (done >= total) return "all evaluated";
  std::string out = fmt::format("{} of them evaluated ({})", grouped(done), share(done, total));
  if (rate > 0) out += fmt::format(", about {} left", duration(static_cast<double>(total - done) / rate));
  return out;
}

void print_prefix(const protocol::RepoPrefixResult& p, bool files) {
  const auto row = [](const char* name, const std::string& value) { fmt::print("{:<10} {}\n", name, printable(value)); };
  row("root", p.root);
  if (p.epoch == 0) {
    row("prefix", "none yet; the first `lares run` or `lares ask` renders it");
    return;
  }
  row("base", fmt::format("epoch {}, {} of at most {} tokens, {}", p.epoch, grouped(p.base_tokens), grouped(p.tokens_max),
                          evaluated_text(p.evaluated, p.base_tokens, p.tokens_per_s)));
  row("changes", p.overlay_tokens == 0 ? "none since" : fmt::format("{} of at most {} tokens, version {}{}", grouped(p.overlay_tokens), grouped(p.overlay_tokens_max), p.version,
                                                                    p.n_hidden > 0 ? fmt::format("; {} files changed too much to be shown", p.n_hidden) : ""));
  if (p.next_tokens > 0) row("rebase", fmt::format("{} tokens, {}", grouped(p.next_tokens), evaluated_text(p.next_evaluated, p.next_tokens, p.tokens_per_s)));
  row("memory", fmt::format("{:.1f} MB of pages", static_cast<double>(p.page_bytes) / 1e6));
  row("disk", p.disk_bytes == 0 ? "nothing is kept" : fmt::format("{} tokens kept, {:.1f} MB", grouped(p.disk_tokens), static_cast<double>(p.disk_bytes) / 1e6));
  if (p.scrubbed > 0) row("scrub", fmt::format("{} of them evaluated again; equal to the bit{}", grouped(p.scrubbed), p.scrub_found.empty() ? "" : ", but for what follows"));
  if (!p.scrub_found.empty()) row("differs", p.scrub_found);
  if (const auto all = p.found_tokens + p.prefilled_tokens; all > 0)
    row("cache", fmt::format("{} of {} tokens of prompts were evaluated already ({})", grouped(p.found_tokens), grouped(all), share(p.found_tokens, all)));
  for (const auto& line : p.left_out) row("left out", line);
  const auto line = [&](std::int64_t n_tokens, const std::string& name, const std::string& what) {
    fmt::print("{:>10}  {:>5}  {}  ({})\n", grouped(n_tokens), share(n_tokens, p.base_tokens + p.overlay_tokens), printable(name), what);
  };
  fmt::print("\n{:>10}  {:>5}  {}\n", "tokens", "share", files ? "file" : "directory");
  if (files) {
    for (const auto& file : p.files) {
      const std::string state = file.state == "overlay" ? "changed" : file.state == "hidden" ? "changed, not shown" : file.state == "path" ? "by name only" : file.state;
      line(file.n_tokens, file.path, file.reason.empty() ? state : state + ": " + file.reason);
    }
    return;
  }
  std::map<std::string, Place> places;
  for (const auto& file : p.files) {
    const auto slash = file.path.find('/');
    places[slash == std::string::npos ? "./" : file.path.substr(0, slash + 1)].add(file);
  }
  std::vector<std::pair<std::string, Place>> order(places.begin(), places.end());
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.second.n_tokens > b.second.n_tokens; });
  const auto shown = std::min<std::size_t>(order.size(), kDirectoriesShown);
  for (std::size_t i = 0; i < shown; ++i) line(order[i].second.n_tokens, order[i].first, order[i].second.text());
  if (shown < order.size()) fmt::print("{:>10}  {:>5}  {} more; --files lists every file\n", "", "", order.size() - shown);
}

// Until all that is kept has been held against the engine. The error: what differs, too.
Result<> scrub(Link& link, const std::string& root) {
  if (auto asked = link.call<protocol::Nothing>(protocol::RepoScrub{.root = root}); !asked) return tl::unexpected(asked.error());
  Screen screen(STDERR_FILENO, Terminal::detect(STDERR_FILENO));
  Progress progress;
  progress.begin("scrub", Progress::Clock::now());
  for (;;) {
    const auto prefix = link.call<protocol::RepoPrefixResult>(protocol::RepoPrefix{.root = root});
    if (!prefix) return tl::unexpected(prefix.error());
    if (!prefix->scrubbing) {
      if (prefix->scrub_found.empty()) return {};
      return tl::unexpected(Error{prefix->scrub_found});
    }
    const auto now = Progress::Clock::now();
    progress.count(prefix->scrubbed, prefix->disk_tokens, "tokens", now);
    screen.status(progress.text(now, screen.terminal().utf8));
    std::this_thread::sleep_for(kLookAgain);
  }
}

}  // namespace

int prefix_command(int argc, const char* const* argv) {
  CLI::App app("Shows what of the repository the model has before it in every session: tokens by directory, what changed since, what is being computed.",
               "lares prefix");
  DaemonOptions options;
  std::string root;
  bool files = false, scrubs = false;
  app.add_option("--root", root, "of this repository (default: the current one)");
  app.add_flag("--files", files, "file by file");
  app.add_flag("--scrub", scrubs, "evaluate again what is kept on disk, and compare every byte; exit status 1 if one differs");
  options.add_to(app, /*starts_daemon=*/true);
  app.footer(kExitStatusHelp);
  if (const auto over = parse(app, argc, argv)) return *over;
  if (auto usable = options.resolve(); !usable) return fail(usable.error(), options.json);
  const auto top = repository_root(root);
  if (!top) return fail(top.error(), options.json);
  Link link;
  const auto there = reach(link, options);
  if (!there) return fail(there.error(), options.json);
  if (scrubs)
    if (const auto equal = scrub(link, *top); !equal) return fail(equal.error(), options.json);
  const auto prefix = link.call<protocol::RepoPrefixResult>(protocol::RepoPrefix{.root = *top, .files = true});
  if (!prefix) return fail(prefix.error(), options.json);
  if (options.json) fmt::print("{}\n", protocol::dump(protocol::to_json(*prefix)));
  else print_prefix(*prefix, files);
  return kExitFinished;
}

}  // namespace lares::cli
