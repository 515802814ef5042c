#include "daemon/turn/shorten.h"

#include <algorithm>

#include <fmt/format.h>

#include "tools/text.h"

namespace lares::daemon {
namespace {

constexpr std::string_view kCompact = "/compact";
constexpr std::string_view kWriteDown =
    "The conversation will be replaced by what you write now; the repository stays as it is, and "
    "so do the user's own words. Call no tool. Write down, for yourself: what the user wants in "
    "the end; what you found out that is not in the files; what you decided, and why; what you "
    "changed, file by file; which commands and tests you ran, with their last results; what failed "
    "and is not to be tried again; what is left, and the very next step.";

}  // namespace

bool is_crowded(std::int64_t n_prompt, std::int64_t n_repository, std::int64_t n_context) {
  return n_context - n_prompt < std::min(kRoomTokens, n_context / kRoomShare) &&
         n_prompt - n_repository >= n_context / kConversationShare;
}

std::int64_t summary_tokens_max(std::int64_t n_context) {
  return std::min(kSummaryTokensMax, n_context / kSummaryShare);
}

std::string summary_request() { return fmt::format("Your context is nearly full. {}", kWriteDown); }

bool asks_for_summary(std::string_view prompt) {
  if (!prompt.starts_with(kCompact)) return false;
  prompt.remove_prefix(kCompact.size());
  return prompt.empty() || std::string_view(" \t\r\n").find(prompt.front()) != prompt.npos;
}

std::string summary_request(std::string_view prompt) {
  const std::string_view wanted = tools::trimmed(prompt.substr(kCompact.size()));
  const std::string keep = wanted.empty() ? "" : fmt::format("\n\nThe user says of it: {}", wanted);
  return fmt::format("The user asks for a shorter conversation. {}{}", kWriteDown, keep);
}

std::string anew(const std::string& summary, const std::vector<std::string>& words,
                 const std::string& next, std::size_t bytes_max) {
  std::vector<std::string> quoted;  // newest first
  std::size_t left = bytes_max;
  for (auto at = words.rbegin(); at != words.rend() && left > 0; ++at) {
    const std::size_t n = tools::utf8_floor(*at, std::min(left, at->size()));
    quoted.push_back(n == at->size()
                         ? *at
                         : at->substr(0, n) +
                               fmt::format("\n[{} more bytes are left out]", at->size() - n));
    left -= std::min(left, at->size());
  }
  std::string out = "This conversation was long, and was begun anew. ";
  if (!quoted.empty()) {
    out += quoted.size() < words.size()
               ? fmt::format("The last {} of the {} things that the user wrote, word for word:\n\n",
                             quoted.size(), words.size())
               : "What the user wrote, word for word:\n\n";
    for (auto at = quoted.rbegin(); at != quoted.rend(); ++at)
      out += "<user>\n" + *at + "\n</user>\n";
    out += "\n";
  }
  out += "What you wrote down for yourself before:\n\n<summary>\n" + summary + "\n</summary>\n\n";
  return out + next;
}

std::size_t user_words_bytes_max(std::int64_t n_context) {
  return std::min(kUserWordsBytesMax, static_cast<std::size_t>(n_context / kBytesShare));
}

bool clip(std::vector<std::string>& results, std::size_t bytes_max) {
  bool any = false;
  for (std::string& text : results) {
    const std::size_t share = bytes_max / results.size();
    if (text.size() <= share) continue;
    const std::size_t head = tools::utf8_floor(text, share / 2),
                      tail = tools::utf8_floor(text, text.size() - share / 2);
    text = fmt::format("{}\n[{} bytes are left out: the context has no room for them]\n{}",
                       text.substr(0, head), tail - head, text.substr(tail));
    any = true;
  }
  return any;
}

}  // namespace lares::daemon
