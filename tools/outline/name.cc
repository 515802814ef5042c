#include "tools/outline/name.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/clip.h"
#include "tools/edit/match.h"
#include "tools/outline/listing.h"
#include "tools/outline/node.h"
#include "tools/outline/syntax.h"
#include "tools/text.h"
#include "tools/workspace/rules.h"

namespace lares::tools {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kNotesBytesMax = 1'000;  // on what was left out; the rest is source
constexpr std::size_t kListedMax = 20;         // further definitions named there
constexpr std::size_t kListedBytesMax = 600;
constexpr std::size_t kEchoBytesMax = 100;  // of a name in a message
constexpr std::size_t kSimilarMax = 5, kPartBytesMin = 4;
constexpr std::size_t kMatchesMax = 2'000, kNamesMax = 100'000;

struct Asked {
  std::string whole, last;
  std::vector<std::string> scopes;

  explicit Asked(const std::string& name) : whole(name), scopes(name_parts(name)) {
    last = scopes.empty() ? whole : scopes.back();
    if (!scopes.empty()) scopes.pop_back();
  }
  static bool inside(const Definition& definition, const std::string& scope) {
    return definition.scope.find(fmt::format(".{}.", scope)) != std::string::npos;
  }
  // The innermost scope decides: the others may be packages and modules, which are not listed.
  bool matches(const Definition& definition) const {
    if (definition.name.empty()) return false;
    if (definition.name == whole) return true;
    return definition.name == last && (scopes.empty() || inside(definition, scopes.back()));
  }
  bool matches_all_scopes(const Definition& definition) const {
    return std::ranges::all_of(scopes,
                               [&](const auto& scope) { return inside(definition, scope); });
  }
};

struct Match {
  std::string file;  // relative to the root
  Definition definition;
};

struct Search {
  std::size_t n_files = 0, n_skipped = 0, n_late = 0;
  std::set<std::string> languages, names;
  std::vector<Match> matches;
};

// Nothing that `view` would refuse: what a link leads to counts.
std::string kept_back(const Source& source) {
  if (!source.skipped.empty()) return source.skipped;
  if (skipped_by_content(source.path, source.text) == "secret")
    return "is kept from you: it may hold secrets";
  return "";
}

// A key's value is not shown unasked, for it may be secret.
bool only_keys(std::string_view path) { return path.ends_with(".json"); }

class Searcher {
 public:
  Searcher(const RootedFs& fs, const Asked& asked, const Cancelled& cancelled)
      : fs_(fs), asked_(asked), cancelled_(cancelled) {}

  // Only a file with the name's text in it can define it, and reading is much faster than parsing.
  // The others are parsed when nothing was found, for similar names.
  Search run(const std::vector<std::string>& files) {
    std::vector<std::string> without;
    for (const auto& file : files) {
      if (only_keys(file)) continue;
      if (out_of_time()) {
        ++out_.n_late;
        continue;
      }
      const auto source = read_source(fs_, file);
      if (!kept_back(source).empty()) {
        ++out_.n_skipped;
        continue;
      }
      if (source.text.find(asked_.last) == std::string::npos)
        without.push_back(file);
      else
        parse(file, source.text);
    }
    if (!out_.matches.empty()) return std::move(out_);
    for (std::size_t i = 0; i < without.size(); ++i) {
      const bool more = i < kOutlinedMax && !out_of_time();
      const auto source = more ? read_source(fs_, without[i]) : Source();
      if (more && kept_back(source).empty())
        parse(without[i], source.text);
      else
        ++out_.n_files;
    }
    return std::move(out_);
  }

 private:
  bool out_of_time() const { return cancelled_.load() || Clock::now() > deadline_; }

  void parse(const std::string& file, const std::string& text) {
    auto outline = outline_source(file, text, std::min(deadline_, Clock::now() + kOutlineFileTime),
                                  cancelled_);
    if (!outline.complete) {
      ++out_.n_skipped;
      return;
    }
    ++out_.n_files;
    out_.languages.insert(outline.language);
    for (auto& definition : outline.definitions) {
      if (out_.names.size() < kNamesMax) out_.names.insert(definition.name);
      if (out_.matches.size() < kMatchesMax && asked_.matches(definition))
        out_.matches.push_back({file, std::move(definition)});
    }
  }

  const RootedFs& fs_;
  const Asked& asked_;
  const Cancelled& cancelled_;
  const Clock::time_point deadline_ = Clock::now() + kOutlineTotalTime;
  Search out_;
};

// Where some are preferred, the others are left out.
template <class Preferred>
void prefer(std::vector<Match>& matches, Preferred preferred) {
  const auto is = [&](const Match& match) { return preferred(match.definition); };
  if (std::ranges::any_of(matches, is)) std::erase_if(matches, std::not_fn(is));
}

// Every line of a file is shown once: what lies inside a match, or begins on its last line.
void drop_repeated(std::vector<Match>& matches) {
  std::vector<Match> kept;
  for (auto& match : matches) {
    auto& [file, definition] = match;
    if (!kept.empty() && kept.back().file == file) {
      definition.start_line = std::max(definition.start_line, kept.back().definition.end_line + 1);
      if (definition.start_line > definition.end_line) continue;
    }
    kept.push_back(std::move(match));
  }
  matches = std::move(kept);
}

std::string absolute(const RootedFs& fs, const std::string& path) {
  return to_utf8(path.empty() ? fs.root() : fs.root() + "/" + path);
}

// Whole definitions while they fit; the first one is cut if it must be, the others are named.
std::string show(const RootedFs& fs, const std::vector<Match>& matches) {
  std::string out, cut, text, text_of;
  std::size_t shown = 0;
  for (const auto& [file, definition] : matches) {
    if (text_of != file) {
      auto source = read_source(fs, file);
      text = kept_back(source).empty() ? std::move(source.text) : std::string();
      text_of = file;
    }
    const auto lines = split_lines(text);
    const std::size_t first = definition.start_line;
    const auto last = std::min<std::size_t>(definition.end_line, lines.size());
    const auto path = absolute(fs, file);
    const auto bytes_max = kOutputBytesMax - kNotesBytesMax - path.size();
    std::string block = path + "\n";
    std::size_t next = first;
    for (; next <= last; ++next) {
      const auto line = numbered(lines, next, next);
      if (out.size() + block.size() + line.size() > bytes_max) break;
      block += line;
    }
    if (next <= last && shown > 0) break;
    out += block;
    ++shown;
    if (next <= last) {
      cut = fmt::format("[cut: {} more line{}; view {} from line {}]\n", last + 1 - next,
                        last == next ? "" : "s", path, next);
      break;
    }
  }
  out += cut;
  if (shown == matches.size()) return out;
  std::string more;
  for (std::size_t i = shown; i < matches.size(); ++i) {
    const auto place = fmt::format("{}:{}", to_utf8(matches[i].file),
                                   matches[i].definition.start_line);
    if (i - shown == kListedMax || more.size() + place.size() > kListedBytesMax) {
      more += more.empty() ? "..." : ", ...";
      break;
    }
    more += (more.empty() ? "" : ", ") + place;
  }
  const auto n = matches.size() - shown;
  return out + fmt::format("[{} more definition{}: {}]\n", n, n == 1 ? "" : "s", more);
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

// The nearest in length first.
std::vector<std::string> similar(const std::set<std::string>& names, const Asked& asked) {
  const auto whole = lower(asked.whole), last = lower(asked.last);
  std::vector<std::pair<std::size_t, std::string>> found;
  for (const auto& name : names) {
    const auto low = lower(name);
    const bool part = low.size() >= kPartBytesMin && whole.find(low) != std::string::npos;
    if (low.empty() || low.size() > kEchoBytesMax) continue;
    if (part || low.find(last) != std::string::npos)
      found.emplace_back(std::max(low.size(), last.size()) - std::min(low.size(), last.size()),
                         name);
  }
  std::ranges::sort(found);
  std::vector<std::string> out;
  for (std::size_t i = 0; i < std::min(found.size(), kSimilarMax); ++i)
    out.push_back(found[i].second);
  return out;
}

std::string nothing(const std::string& where, const Asked& asked, const Search& search) {
  const auto echo = asked.whole.size() <= kEchoBytesMax
                        ? asked.whole
                        : asked.whole.substr(0, utf8_floor(asked.whole, kEchoBytesMax)) + "...";
  auto text = fmt::format(
      "outline: no definition of `{}` in {} ({} in {})", echo, where, files_text(search.n_files),
      search.languages.empty() ? outline_languages()
                               : fmt::format("{}", fmt::join(search.languages, ", ")));
  if (search.n_skipped > 0)
    text += fmt::format("; {} skipped: binary, generated, too large or slow to parse",
                        files_text(search.n_skipped));
  if (const auto names = similar(search.names, asked); !names.empty())
    text += fmt::format("; similar: {}", fmt::join(names, ", "));
  return text;
}

}  // namespace

Outcome show_definitions(const RootedFs& fs, const std::string& path, const std::string& name,
                         KeptView& git, const Cancelled& cancelled) {
  const Asked asked(name);
  const bool directory = path.empty() || fs.is_directory(path);
  const Listing listing = directory ? list_sources(fs, path, kSearchedMax, git)
                                    : Listing{.files = {path}};
  if (!directory) {
    if (only_keys(path))
      return {.text = fmt::format("outline: {} has keys and no definitions; view it", path),
              .ok = false,
              .changes = {}};
    if (const auto why = kept_back(read_source(fs, path)); !why.empty())
      return {.text = fmt::format("outline: {} {}", path, why), .ok = false, .changes = {}};
  }
  Search search = Searcher(fs, asked, cancelled).run(listing.files);
  auto& matches = search.matches;
  std::string notes;
  if (search.n_late > 0)
    notes += fmt::format("\n[{} not read: out of time; name a subdirectory]",
                         files_text(search.n_late));
  if (!listing.complete)
    notes += fmt::format("\n[stopped after {}; name a subdirectory]",
                         files_text(listing.files.size()));
  if (matches.empty())
    return {.text = nothing(absolute(fs, path), asked, search) + notes, .ok = false, .changes = {}};
  prefer(matches, [&](const Definition& d) { return asked.matches_all_scopes(d); });
  prefer(matches, [](const Definition& d) { return d.has_body; });
  drop_repeated(matches);
  auto text = show(fs, matches);
  if (!notes.empty()) text += notes.substr(1) + "\n";
  return {.text = std::move(text)};
}

std::optional<std::vector<std::string>> definition_names(const RootedFs& fs, KeptView& git,
                                                         std::chrono::milliseconds time) {
  const auto deadline = Clock::now() + time;
  const Cancelled never{false};
  const Listing listing = list_sources(fs, "", kOutlinedMax, git);
  if (!listing.complete) return std::nullopt;
  std::set<std::string> names;
  for (const auto& file : listing.files) {
    if (only_keys(file)) continue;
    if (Clock::now() > deadline || names.size() > kNamesAskedMax) return std::nullopt;
    const auto source = read_source(fs, file);
    if (!kept_back(source).empty()) continue;
    const auto outline = outline_source(file, source.text, deadline, never);
    if (!outline.complete) return std::nullopt;
    for (const auto& definition : outline.definitions) {
      if (definition.name.empty()) continue;
      names.insert(definition.name);
      const auto scopes = name_parts(definition.scope);
      if (!scopes.empty()) names.insert(scopes.back() + "." + definition.name);
    }
  }
  if (names.empty() || names.size() > kNamesAskedMax) return std::nullopt;
  return std::vector<std::string>(names.begin(), names.end());
}

}  // namespace lares::tools
