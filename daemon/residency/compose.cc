#include "daemon/residency/compose.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "daemon/residency/selection.h"
#include "daemon/residency/tree_text.h"
#include "tools/workspace/workspace.h"

namespace lares::daemon {
namespace {

using engine::Token;
using tools::Shown;
using tools::SourceFile;

constexpr std::string_view kEnd = "</repository>\n";
constexpr std::int64_t kTreeShare = 8;  // at most an eighth of the base is tree
// 3.2 in this repository's names and in its code, 2.7 in names with digits
constexpr std::int64_t kTreeBytesPerToken = 3;
// recompose: lines about files the tree tells wrongly, at most
constexpr std::int64_t kLinesShare = 8;

std::string opening(std::size_t n_files) {
  return fmt::format("<repository files=\"{}\">\n", n_files);
}

// What is still to be written: one file, with its tokens.
struct Piece {
  SourceFile source;
  int tier = 0;
  Tokens tokens;
};

void append(Base& base, const Tokens& tokens) {
  base.tokens.insert(base.tokens.end(), tokens->begin(), tokens->end());
}

void append(Base& base, Piece piece) {
  const auto start = static_cast<std::int64_t>(base.tokens.size());
  const auto n = piece.tokens ? static_cast<std::int64_t>(piece.tokens->size()) : 0;
  if (piece.tokens) append(base, piece.tokens);
  base.files.push_back({std::move(piece.source), piece.tier, start, n});
}

// Listed ones first, then cold to hot.
void append_sorted(Base& base, std::vector<Piece> pieces) {
  std::ranges::sort(pieces, [](const Piece& a, const Piece& b) {
    return std::tuple(a.tokens != nullptr, a.tier, std::string_view(a.source.path)) <
           std::tuple(b.tokens != nullptr, b.tier, std::string_view(b.source.path));
  });
  for (Piece& piece : pieces) append(base, std::move(piece));
}

void append_end(Base& base, TokenCache& cache) {
  base.files_end = static_cast<std::int64_t>(base.tokens.size());
  append(base, cache.tokens(kEnd));
}

std::int64_t n_tokens(TokenCache& cache, std::string_view text) {
  return static_cast<std::int64_t>(cache.tokens(text)->size());
}

Base begin(std::span<const Token> head) {
  Base base;
  base.tokens.assign(head.begin(), head.end());
  return base;
}

// The whole repository as one list, when it is small enough.
std::optional<Base> compose_plain(std::span<const Token> head, const tools::Workspace& files,
                                  TokenCache& cache, const ComposeOptions& options) {
  Base base = begin(head);
  append(base, cache.tokens(opening(files.size())));
  const std::int64_t n_end = n_tokens(cache, kEnd);
  const auto n_head = static_cast<std::int64_t>(head.size());
  for (const auto& [path, file] : files) {
    append(base, Piece{file, 0, cache.tokens(tools::render_file(file))});
    const std::int64_t n = static_cast<std::int64_t>(base.tokens.size()) + n_end;
    if (n - n_head >= kPlainTokens || n > options.tokens_max) return std::nullopt;
  }
  append_end(base, cache);
  base.tokens_max = options.tokens_max;
  return base;
}

double rate_of(const tools::ChangeRates& rates, const std::string& path) {
  const auto found = rates.of.find(path);
  return found == rates.of.end() ? 0 : found->second;
}

std::vector<TreeEntry> tree_entries(const tools::Workspace& files,
                                    const std::map<std::string, const SourceFile*>& chosen) {
  std::vector<TreeEntry> out;
  for (const auto& [path, file] : files) {
    const auto choice = chosen.find(path);
    if (choice == chosen.end()) {
      out.push_back({path, file.reason, true});
    } else if (choice->second->shown == Shown::outline) {
      out.push_back({path, "outline", false});
    } else {
      out.push_back({path, choice->second->reason, false});
    }
  }
  return out;
}

// Every file with a text is one; before the selection none of them is shown, which is when the tree
// is longest.
std::vector<Candidate> candidates_of(const tools::Workspace& files,
                                     const tools::ChangeRates& rates) {
  std::vector<Candidate> out;
  for (const auto& [path, file] : files) {
    if (!file.text || file.shown == Shown::path) continue;
    Candidate c{file, rate_of(rates, path), 0, nullptr};
    c.source.shown = Shown::path;
    c.source.reason = kOverBudget;
    out.push_back(std::move(c));
  }
  return out;
}

std::map<std::string, const SourceFile*> by_path(const std::vector<Candidate>& candidates) {
  std::map<std::string, const SourceFile*> out;
  for (const Candidate& c : candidates) out.emplace(c.source.path, &c.source);
  return out;
}

}  // namespace

Base compose(std::span<const Token> head, const tools::Workspace& files,
             const tools::ChangeRates& rates, TokenCache& cache, const ComposeOptions& options) {
  if (auto plain = compose_plain(head, files, cache, options)) return std::move(*plain);
  auto candidates = candidates_of(files, rates);
  const auto longest = tree_entries(files, by_path(candidates));
  const std::string open = opening(files.size());
  const std::int64_t room = std::max<std::int64_t>(
      0, options.tokens_max - static_cast<std::int64_t>(head.size()) - n_tokens(cache, open) -
             n_tokens(cache, kEnd));
  const TreeShape shape = tree_shape(
      longest, static_cast<std::size_t>(room / kTreeShare * kTreeBytesPerToken), options.left_out);
  const std::int64_t n_tree = n_tokens(cache, tree_text(longest, shape, options.left_out));
  select_shown(candidates, std::max<std::int64_t>(0, room - n_tree), options.pins, cache);

  Base base = begin(head);
  base.has_tree = true;
  append(base, cache.tokens(open));
  append(base, cache.tokens(
                   tree_text(tree_entries(files, by_path(candidates)), shape, options.left_out)));
  const auto tiers = tools::volatility_tiers(rates, files);
  std::vector<Piece> pieces;
  for (const auto& [path, file] : files) {
    if (!file.text || file.shown == Shown::path) pieces.push_back({file, 0, nullptr});
  }
  for (Candidate& c : candidates) pieces.push_back({c.source, tiers.at(c.source.path), c.tokens});
  append_sorted(base, std::move(pieces));
  append_end(base, cache);
  base.tokens_max = options.tokens_max;
  return base;
}

namespace {

// What of an old base stands, and what must be written behind it.
struct Rest {
  Base base;                     // up to the cut
  std::vector<BaseFile> listed;  // by the kept tree, without text; may come to be shown now
  std::set<std::string> kept;    // shown before the cut
  // Named by the tree, shown behind the cut or not at all, and no longer there
  std::vector<std::string> gone;
};

Rest cut(const Base& old, std::size_t keep, const tools::Workspace& files) {
  Rest out;
  const auto n = keep < old.files.size() ? old.files[keep].start : old.files_end;
  out.base.tokens.assign(old.tokens.begin(), old.tokens.begin() + n);
  out.base.has_tree = old.has_tree;
  std::vector<BaseFile> shown;
  for (std::size_t i = 0; i < old.files.size(); ++i) {
    const BaseFile& file = old.files[i];
    const std::string& path = file.source.path;
    if (i < keep && file.n_tokens > 0) {
      out.kept.insert(path);
      shown.push_back(file);
    } else if (!files.contains(path)) {
      if (old.has_tree) out.gone.push_back(path);
    } else if (file.n_tokens == 0) {
      out.listed.push_back(file);
    }
  }
  out.base.files = std::move(shown);
  return out;
}

SourceFile removed(const std::string& path) {
  SourceFile out;
  out.path = path;
  out.shown = Shown::path;
  out.reason = kRemoved;
  return out;
}

}  // namespace

Base recompose(std::span<const Token> head, const Base& old, std::size_t keep,
               const tools::Workspace& files, const tools::ChangeRates& rates, TokenCache& cache,
               const ComposeOptions& options) {
  keep = std::min(keep, old.files.size());
  if (keep == 0) return compose(head, files, rates, cache, options);
  Rest rest = cut(old, keep, files);
  std::map<std::string, std::string> told;  // by the tree: why a file has no text
  for (const BaseFile& file : rest.listed) told.emplace(file.source.path, file.source.reason);
  const auto tells = [&](const SourceFile& file) {
    const auto found = told.find(file.path);
    return found != told.end() && found->second == file.reason;
  };
  std::vector<Piece> pieces;
  std::int64_t n_lines = 0;  // tokens of those that show no text
  const auto add_line = [&](const SourceFile& file) {
    Tokens tokens = tells(file) ? nullptr : cache.tokens(tools::render_file(file));
    n_lines += tokens ? static_cast<std::int64_t>(tokens->size()) : 0;
    pieces.push_back({file, 0, std::move(tokens)});
  };
  for (const std::string& path : rest.gone) {
    if (!rest.kept.contains(path)) add_line(removed(path));
  }
  tools::Workspace open;  // whose text may be shown
  for (const auto& [path, file] : files) {
    if (rest.kept.contains(path)) continue;
    if (file.text && file.shown != Shown::path)
      open.emplace_hint(open.end(), path, file);
    else
      add_line(file);
  }
  auto candidates = candidates_of(open, rates);
  std::int64_t n_worst = n_lines;
  for (Candidate& c : candidates) {
    if (!tells(c.source)) c.n_if_path = n_tokens(cache, tools::render_file(c.source));
    n_worst += c.n_if_path;
  }
  const std::int64_t room = options.tokens_max -
                            static_cast<std::int64_t>(rest.base.tokens.size()) -
                            n_tokens(cache, kEnd) - n_lines;
  if (n_lines > options.tokens_max / kLinesShare || n_worst - n_lines > room) {
    return compose(head, files, rates, cache, options);
  }
  select_shown(candidates, room, options.pins, cache);
  const auto tiers = tools::volatility_tiers(rates, files);
  for (Candidate& c : candidates) {
    if (!c.tokens && c.n_if_path > 0) c.tokens = cache.tokens(tools::render_file(c.source));
    pieces.push_back({c.source, tiers.at(c.source.path), c.tokens});
  }
  Base base = std::move(rest.base);
  // What the kept tree lists stays in front of the first text, where it was.
  const auto first_text = base.files.empty() ? static_cast<std::int64_t>(base.tokens.size())
                                             : base.files.front().start;
  std::vector<BaseFile> listed;
  std::erase_if(pieces, [&](const Piece& piece) {
    if (!piece.tokens) listed.push_back({piece.source, 0, first_text, 0});
    return !piece.tokens;
  });
  std::ranges::sort(listed, {},
                    [](const BaseFile& file) -> const std::string& { return file.source.path; });
  base.files.insert(base.files.begin(), listed.begin(), listed.end());
  append_sorted(base, std::move(pieces));
  append_end(base, cache);
  base.tokens_max = options.tokens_max;
  return base;
}

}  // namespace lares::daemon
