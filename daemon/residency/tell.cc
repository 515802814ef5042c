#include "daemon/residency/tell.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

#include "daemon/residency/tell_change.h"

namespace lares::daemon {
namespace {

using Kind = Notice::Kind;
using State = Seen::State;

Entry marker(const std::string& path, const CountTokens& count) {
  Entry out{.kind = Kind::not_shown,
            .path = path,
            .text = write_notice({.kind = Kind::not_shown, .path = path})};
  out.n_tokens = count(out.text);
  return out;
}

// The first `depth` directories of a path; the path itself when it lies higher.
std::string directory_at(const std::string& path, std::size_t depth) {
  if (depth == 0) return std::string(kEverything);
  std::size_t at = 0;
  for (; depth > 0; --depth) {
    at = path.find('/', at);
    if (at == std::string::npos) return path;
    ++at;
  }
  return path.substr(0, at);
}

// As many directories as it takes to name all the paths in so many tokens; in the end "./",
// whatever that costs.
std::vector<Entry> collapse(const std::vector<std::string>& paths, std::int64_t tokens_max,
                            const CountTokens& count) {
  std::ptrdiff_t depth = 0;
  for (const std::string& path : paths)
    depth = std::max(depth, std::count(path.begin(), path.end(), '/'));
  for (;; --depth) {
    std::set<std::string> names;
    for (const std::string& path : paths)
      names.insert(directory_at(path, static_cast<std::size_t>(depth)));
    std::vector<Entry> out;
    std::int64_t sum = 0;
    for (const std::string& name : names) {
      out.push_back(marker(name, count));
      sum += out.back().n_tokens;
      if (sum > tokens_max) break;
    }
    if (sum <= tokens_max || depth == 0) return out;
  }
}

// What of the changes is shown, what only marked.
struct Choice {
  std::vector<bool> shown;
  std::vector<Entry> markers;
};

// A path that must be marked, and what that costs.
struct Mark {
  std::size_t change;
  Entry entry;
};

std::vector<Mark> marks_of(const std::vector<Change>& changes, const View& view,
                           const CountTokens& count, bool repeat) {
  std::vector<Mark> out;
  for (std::size_t i = 0; i < changes.size(); ++i) {
    const Change& change = changes[i];
    const bool silent = change.from.empty() && view.seen(change.path).state == State::hidden &&
                        (!repeat || !change.file);
    if (!silent) out.push_back({i, marker(change.path, count)});
    if (!change.from.empty()) out.push_back({i, marker(change.from, count)});
  }
  return out;
}

// The cheapest first: the most files become known for the tokens there are.
Choice choose(const std::vector<Change>& changes, const View& view, const CountTokens& count,
              const TellOptions& options) {
  const auto marks = marks_of(changes, view, count, options.repeat_hidden);
  std::vector<std::int64_t> price(changes.size(), 0);
  std::int64_t all = 0;
  for (const Mark& mark : marks) {
    price[mark.change] += mark.entry.n_tokens;
    all += mark.entry.n_tokens;
  }
  std::int64_t shown_all = 0;
  bool wordless = false;
  for (const Change& change : changes) {
    shown_all += change.n_tokens;
    wordless = wordless || change.text.empty();
  }
  if (!wordless && shown_all <= options.tokens_max)
    return {std::vector<bool>(changes.size(), true), {}};

  const bool many = all > options.tokens_max / kMarkersShare;
  std::int64_t used = many ? options.tokens_max / kMarkersShare : all;
  std::vector<std::size_t> order(changes.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return changes[a].n_tokens < changes[b].n_tokens;
  });
  Choice out{std::vector<bool>(changes.size(), false), {}};
  std::int64_t shown_tokens = 0;
  for (const std::size_t i : order) {
    const std::int64_t more = changes[i].n_tokens - (many ? 0 : price[i]);
    if (changes[i].text.empty() || used + more > options.tokens_max) continue;
    out.shown[i] = true;
    used += more;
    shown_tokens += changes[i].n_tokens;
  }
  std::vector<std::string> hidden_paths;
  std::int64_t sum = 0;
  for (const Mark& mark : marks) {
    if (out.shown[mark.change]) continue;
    hidden_paths.push_back(mark.entry.path);
    out.markers.push_back(mark.entry);
    sum += mark.entry.n_tokens;
  }
  const std::int64_t left = options.tokens_max - shown_tokens;
  if (sum > left) out.markers = collapse(hidden_paths, left, count);
  return out;
}

}  // namespace

Told tell(View& view, const tools::Workspace& now, const CountTokens& count,
          const TellOptions& options) {
  // A file that was told to be gone may be among those that a directory's marker hid again.
  const bool any = !view.hidden_below().directories().empty();
  std::vector<Change> changes = find_changes(view, now, any ? nullptr : options.among);
  for (Change& change : changes) put_into_words(change, view, count, options.tokens_max);
  Choice choice = choose(changes, view, count, options);
  Told out;
  out.entries = std::move(choice.markers);
  std::vector<std::string> hidden_below;
  for (const Entry& entry : out.entries) {
    if (entry.path.ends_with('/')) hidden_below.push_back(entry.path);
  }
  view.hide_below(hidden_below);
  for (std::size_t i = 0; i < changes.size(); ++i) {
    Change& change = changes[i];
    out.changed.push_back(change.path);
    if (!change.from.empty()) out.changed.push_back(change.from);
    if (!choice.shown[i]) {
      if (!change.from.empty()) {
        Seen old = change.before;
        old.state = State::hidden;
        old.blob.clear();
        view.set(change.from, std::move(old));
      }
      view.set(change.path, hidden(change, view));
      continue;
    }
    if (!change.from.empty()) view.set(change.from, {});
    view.set(change.path, std::move(change.after));
    out.entries.push_back({.kind = change.kind,
                           .path = change.path,
                           .text = std::move(change.text),
                           .n_tokens = change.n_tokens});
  }
  // A directory sorts before what lies in it, "./" before all: files shown below one are known all
  // the same.
  std::stable_sort(out.entries.begin(), out.entries.end(), [](const Entry& a, const Entry& b) {
    const bool a_all = a.path == kEverything, b_all = b.path == kEverything;
    return a_all != b_all ? a_all : a.path < b.path;
  });
  return out;
}

}  // namespace lares::daemon
