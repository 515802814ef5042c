#include "daemon/cli/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>

#include "daemon/shown/text.h"

namespace lares::cli {

namespace protocol = daemon::protocol;

std::string bytes_text(double n) {
  if (n < 1e6) return fmt::format("{:.0f} kB", n / 1e3);
  if (n < 1e9) return fmt::format("{:.1f} MB", n / 1e6);
  return fmt::format("{:.1f} GB", n / 1e9);
}

namespace {

std::string count_text(double n) {
  if (n < 1e6) return fmt::format("{:.0f} thousand", n / 1e3);
  if (n < 1e9) return fmt::format("{:.1f} million", n / 1e6);
  return fmt::format("{:.1f} billion", n / 1e9);
}

std::string engine_text(const protocol::ServerState& engine) {
  if (engine.state == "loading" && engine.message.empty() && engine.total > 0)
    return fmt::format("loading, {}%", engine.done * 100 / engine.total);
  return engine.message.empty() ? engine.state : engine.state + ": " + engine.message;
}

// Cut and filled to exactly `width` columns.
std::string cell(const std::string& text, int width) {
  std::string cut = clip(one_line(text), width, "~");
  cut.append(static_cast<std::size_t>(std::max(0, width - columns(cut))), ' ');
  return cut;
}

constexpr std::int64_t kDirectoriesShown = 40;
constexpr int kFiguresColumns = 30, kTitleColumnsLeast = 24;  // of a session's row, beside its id

// Of a directory, or one file.
struct Place {
  std::int64_t n_tokens = 0;
  std::int64_t full = 0, outline = 0, path = 0, overlay = 0, hidden = 0;  // files

  void add(const protocol::PrefixFile& file) {
    n_tokens += file.n_tokens;
    ++(file.state == "full"      ? full
       : file.state == "outline" ? outline
       : file.state == "overlay" ? overlay
       : file.state == "hidden"  ? hidden
                                 : path);
  }
  std::string text() const {
    std::string out;
    const auto say = [&](std::int64_t n, const char* what) {
      if (n > 0) out += fmt::format("{}{} {}", out.empty() ? "" : ", ", n, what);
    };
    say(full, "in full"), say(outline, "in outline"), say(overlay, "with changes"),
        say(hidden, "changed, not shown"), say(path, "by name only");
    return out;
  }
};

std::string share(std::int64_t part, std::int64_t whole) {
  return whole > 0 ? fmt::format("{:.0f}%",
                                 100.0 * static_cast<double>(part) / static_cast<double>(whole))
                   : "-";
}

std::string evaluated_text(std::int64_t done, std::int64_t total, double rate) {
  if (done >= total) return "all evaluated";
  std::string out = fmt::format("{} of them evaluated ({})", grouped(done), share(done, total));
  if (rate > 0)
    out += fmt::format(", about {} left", duration(static_cast<double>(total - done) / rate));
  return out;
}

}  // namespace

std::string age(std::int64_t ms) {
  const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
  const std::int64_t s = std::max<std::int64_t>(0, (now - ms) / 1000);
  if (s < 60) return fmt::format("{}s", s);
  if (s < 3600) return fmt::format("{}m", s / 60);
  if (s < 86400) return fmt::format("{}h", s / 3600);
  return fmt::format("{}d", s / 86400);
}

std::string status_text(const protocol::ServerStatusResult& s) {
  std::string out;
  const auto row = [&](const char* name, const std::string& value) {
    out += fmt::format("{:<10} {}\n", name, printable(value));
  };
  row("daemon", fmt::format("{}, process {}, up {}", s.version, s.pid,
                            duration(static_cast<double>(s.uptime_ms) / 1000)));
  row("socket", s.socket);
  if (!s.http.empty()) row("http", "http://" + s.http);
  row("state", s.state_dir);
  row("engine", engine_text(s.engine));
  row("model", s.model.directory.empty() ? "none" : s.model.directory);
  if (s.model.n_layers > 0) {
    row("", fmt::format("{}, {} layers, {} parameters, {} of weights, context of {} tokens",
                        s.model.model_type, s.model.n_layers,
                        count_text(static_cast<double>(s.model.n_parameters)),
                        bytes_text(static_cast<double>(s.model.weight_bytes)),
                        grouped(s.model.n_context_max)));
  } else if (s.model.n_context_max > 0) {  // whose weights are elsewhere
    row("", fmt::format("context of {} tokens", grouped(s.model.n_context_max)));
  }
  if (s.experts.bytes_max > 0) {
    const auto bytes = [](std::int64_t n) { return bytes_text(static_cast<double>(n)); };
    const double uses = std::max(1.0, static_cast<double>(s.experts.found + s.experts.missed));
    row("experts",
        fmt::format(
            "{} of {} in memory, {} at most; {:.0f}% of {} uses found theirs there, {} read",
            bytes(s.experts.resident), bytes(s.experts.bytes), bytes(s.experts.bytes_max),
            100 * static_cast<double>(s.experts.found) / uses,
            grouped(s.experts.found + s.experts.missed), bytes(s.experts.read)));
    if (s.experts.remembered > 0)
      row("", fmt::format("{} of them known to be asked for from earlier, {} read ahead",
                          grouped(s.experts.remembered), bytes(s.experts.ahead)));
    if (!s.experts.unkept.empty()) row("", s.experts.unkept);
  }
  if (s.sequences.n > 0 || s.sequences.bytes > 0) {
    const auto bytes = [](std::int64_t n) { return bytes_text(static_cast<double>(n)); };
    std::string text = fmt::format("{} held by {} and what they share, {} at most so far",
                                   bytes(s.sequences.bytes), grouped(s.sequences.n),
                                   bytes(s.sequences.most));
    if (s.sequences.bytes_max > 0)
      text += fmt::format(", {} allowed", bytes(s.sequences.bytes_max));
    row("sequences", text);
    if (s.sequences.parked + s.sequences.evicted + s.sequences.refused > 0)
      row("",
          fmt::format("{} times one made way, {} times with its cells, {} times there was no room",
                      grouped(s.sequences.parked + s.sequences.evicted),
                      grouped(s.sequences.evicted), grouped(s.sequences.refused)));
  }
  row("work", fmt::format("turns running {}, steps waiting {}, sessions {}, clients {}",
                          s.n_running, s.n_queued, s.n_sessions, s.n_clients));
  for (const auto& p : s.prefixes) {
    if (p.epoch == 0) continue;
    std::string text = fmt::format("{}: {} tokens", p.root, grouped(p.base_tokens));
    if (p.evaluated < p.base_tokens)
      text += fmt::format(", {:.0f}% evaluated", 100.0 * static_cast<double>(p.evaluated) /
                                                     static_cast<double>(p.base_tokens));
    if (p.overlay_tokens > 0) text += fmt::format(", {} of changes", grouped(p.overlay_tokens));
    if (p.next_tokens > 0)
      text += fmt::format(", rebase {:.0f}%", 100.0 * static_cast<double>(p.next_evaluated) /
                                                  static_cast<double>(p.next_tokens));
    row("prefix", text + fmt::format("; {} in memory, {} on disk",
                                     bytes_text(static_cast<double>(p.page_bytes)),
                                     bytes_text(static_cast<double>(p.disk_bytes))));
  }
  row("shell", s.shell.empty() ? "commands run in the sandbox" : s.shell);
  return out;
}

std::string sessions_text(const std::vector<protocol::SessionInfo>& sessions,
                          const std::string& root, const Terminal& t) {
  if (sessions.empty()) {
    return fmt::format("no sessions{}\n", root.empty()
                                              ? ""
                                              : " about this repository; --all lists every "
                                                "repository's");
  }
  std::size_t id_width = 7;
  for (const auto& s : sessions) id_width = std::max(id_width, s.session_id.size());
  const auto cut = [&t](const std::string& row) {
    return t.width > 0 ? clip(row, t.width, t.utf8 ? "…" : "~") : row;
  };
  // The title on a line of its own
  if (t.width > 0 && t.width < static_cast<int>(id_width) + kFiguresColumns + kTitleColumnsLeast) {
    std::string out;
    for (const auto& s : sessions) {
      out += t.paint(Style::bold, cut(s.session_id + "  " + (s.closed ? "closed" : s.state))) +
             "\n";
      if (!s.title.empty()) out += cut("  " + one_line(s.title)) + "\n";
      out += cut(fmt::format("  {} ago, {}, {} tokens", age(s.updated_ms),
                             s.n_turns == 1 ? "1 turn" : fmt::format("{} turns", s.n_turns),
                             grouped(s.context_tokens))) +
             "\n";
      if (s.root != root) out += cut("  " + one_line(s.root)) + "\n";
    }
    return out;
  }
  const auto head = fmt::format("{} {:<8} {:>4} {:>5} {:>8} ",
                                cell("session", static_cast<int>(id_width)), "state", "age",
                                "turns", "context");
  std::string out =
      t.paint(Style::bold, t.width > 0 ? clip(head + "title", t.width, "") : head + "title") + "\n";
  for (const auto& s : sessions) {
    std::string row = fmt::format("{} {} {:>4} {:>5} {:>8} ",
                                  cell(s.session_id, static_cast<int>(id_width)),
                                  cell(s.closed ? "closed" : s.state, 8), age(s.updated_ms),
                                  s.n_turns, grouped(s.context_tokens));
    row += one_line(s.title);
    if (s.root != root) row += "  " + one_line(s.root);
    out += cut(row) + "\n";
  }
  return out;
}

std::string prefix_text(const protocol::RepoPrefixResult& p, bool files) {
  std::string out;
  const auto row = [&](const char* name, const std::string& value) {
    out += fmt::format("{:<10} {}\n", name, printable(value));
  };
  row("root", p.root);
  if (p.epoch == 0 && p.looking) {
    row("prefix", "being rendered, or read back from the disk");
    return out;
  }
  if (p.epoch == 0) {
    row("prefix", "none yet; the first `lares run` or `lares ask` renders it");
    return out;
  }
  row("base", fmt::format("epoch {}, {} of at most {} tokens, {}", p.epoch, grouped(p.base_tokens),
                          grouped(p.tokens_max),
                          evaluated_text(p.evaluated, p.base_tokens, p.tokens_per_s)));
  row("changes",
      p.overlay_tokens == 0
          ? "none since"
          : fmt::format("{} of at most {} tokens, version {}{}", grouped(p.overlay_tokens),
                        grouped(p.overlay_tokens_max), p.version,
                        (p.overlay_evaluated > 0 ? ", evaluated" : std::string()) +
                            (p.n_hidden > 0 ? fmt::format("; {} files changed too much to be shown",
                                                          p.n_hidden)
                                            : "")));
  if (p.next_tokens > 0)
    row("rebase", fmt::format("{} tokens, {}", grouped(p.next_tokens),
                              evaluated_text(p.next_evaluated, p.next_tokens, p.tokens_per_s)));
  row("memory", fmt::format("{} of pages", bytes_text(static_cast<double>(p.page_bytes))));
  row("disk", p.disk_bytes == 0 ? "nothing is kept"
                                : fmt::format("{} tokens kept, {}", grouped(p.disk_tokens),
                                              bytes_text(static_cast<double>(p.disk_bytes))));
  if (p.scrubbed > 0)
    row("scrub", fmt::format("{} of them evaluated again; equal to the bit{}", grouped(p.scrubbed),
                             p.scrub_found.empty() ? "" : ", but for what follows"));
  if (!p.scrub_found.empty()) row("differs", p.scrub_found);
  if (const auto all = p.found_tokens + p.prefilled_tokens; all > 0)
    row("cache", fmt::format("{} of {} tokens of prompts were evaluated already ({})",
                             grouped(p.found_tokens), grouped(all), share(p.found_tokens, all)));
  for (const auto& line : p.left_out) row("left out", line);
  const auto line = [&](std::int64_t n_tokens, const std::string& name, const std::string& what) {
    out += fmt::format("{:>10}  {:>5}  {}  ({})\n", grouped(n_tokens),
                       share(n_tokens, p.base_tokens + p.overlay_tokens), printable(name), what);
  };
  out += fmt::format("\n{:>10}  {:>5}  {}\n", "tokens", "share", files ? "file" : "directory");
  if (files) {
    for (const auto& file : p.files) {
      const std::string state = file.state == "overlay"  ? "changed"
                                : file.state == "hidden" ? "changed, not shown"
                                : file.state == "path"   ? "by name only"
                                                         : file.state;
      line(file.n_tokens, file.path, file.reason.empty() ? state : state + ": " + file.reason);
    }
    return out;
  }
  std::map<std::string, Place> places;
  for (const auto& file : p.files) {
    const auto slash = file.path.find('/');
    places[slash == std::string::npos ? "./" : file.path.substr(0, slash + 1)].add(file);
  }
  std::vector<std::pair<std::string, Place>> order(places.begin(), places.end());
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return a.second.n_tokens > b.second.n_tokens;
  });
  const auto shown = std::min<std::size_t>(order.size(), kDirectoriesShown);
  for (std::size_t i = 0; i < shown; ++i)
    line(order[i].second.n_tokens, order[i].first, order[i].second.text());
  if (shown < order.size())
    out += fmt::format("{:>10}  {:>5}  {} more; --files lists every file\n", "", "",
                       order.size() - shown);
  return out;
}

std::string rewind_text(const protocol::SessionRewindResult& done, Rewound how) {
  const std::string files = fmt::format("{} {}", done.changes.size(),
                                        done.changes.size() == 1 ? "file" : "files");
  const char* const what = how == Rewound::would  ? "would go back before"
                           : how == Rewound::done ? "went back before"
                                                  : "went forth again, with";
  std::string out = fmt::format("{} turn {}; {}{} changed\n", what, done.turn_id, files,
                                how == Rewound::would ? " would be" : "");
  for (const auto& change : done.changes)
    out += fmt::format("  {:<8} {}{}\n", change.kind, printable(change.path),
                       change.others ? how == Rewound::would
                                           ? ": with what others changed there since"
                                           : ": what others changed there since is in the undo"
                                     : "");
  for (const auto& left : done.not_done)
    out += fmt::format("  left     {}: {}\n", printable(left.path), printable(left.why));
  return out;
}

}  // namespace lares::cli
