#include "daemon/cli/interactive/paste_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "daemon/shown/text.h"

namespace lares::cli {
namespace {

std::size_t lines_in(const std::string& text) {
  const auto ends = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
  return ends + (text.empty() || text.back() == '\n' ? 0 : 1);
}

std::string token(const std::string& paste, std::size_t number) {
  const std::size_t lines = lines_in(paste);
  const std::string size = lines > 1 ? fmt::format("{} lines", lines)
                                     : fmt::format("{} columns", columns(paste));
  return fmt::format("[pasted {} #{}]", size, number);
}

}  // namespace

std::string PasteTokens::shown(const std::string& text, const ShownMax& max) {
  if (lines_in(text) <= max.lines && text.size() <= max.bytes) return text;
  const auto known = std::find(pastes_.begin(), pastes_.end(), text);
  const auto number = static_cast<std::size_t>(known - pastes_.begin()) + 1;
  if (known == pastes_.end()) pastes_.push_back(text);
  return token(text, number);
}

std::string PasteTokens::shown(const std::string& entry, const std::vector<Pasted>& pasted) {
  if (pasted.empty() ||
      (lines_in(entry) <= kRecalledShownMax.lines && entry.size() <= kRecalledShownMax.bytes))
    return shown(entry, kRecalledShownMax);
  std::string out;
  std::size_t at = 0;
  for (const Pasted& each : pasted) {
    out.append(entry, at, each.begin - at);
    out += shown(entry.substr(each.begin, each.size), kPasteShownMax);
    at = each.begin + each.size;
  }
  return out.append(entry, at);
}

std::string PasteTokens::expanded(std::string line) const {
  std::vector<Pasted> pasted;
  return expanded(std::move(line), pasted);
}

std::string PasteTokens::expanded(std::string line, std::vector<Pasted>& pasted) const {
  std::string out;
  // From left to right and never in what was inserted: a paste may hold what looks like a token.
  for (std::size_t at = 0; at < line.size();) {
    std::size_t best = std::string::npos, which = 0;
    for (std::size_t i = 0; i < pastes_.size(); ++i) {
      const std::size_t found = line.find(token(pastes_[i], i + 1), at);
      if (found < best) best = found, which = i;
    }
    if (best == std::string::npos) return out.append(line, at);
    out.append(line, at, best - at);
    pasted.push_back({out.size(), pastes_[which].size()});
    out += pastes_[which];
    at = best + token(pastes_[which], which + 1).size();
  }
  return out;
}

}  // namespace lares::cli
