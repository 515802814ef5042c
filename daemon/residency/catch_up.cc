#include "daemon/residency/catch_up.h"

#include <fmt/format.h>

#include <utility>

namespace lares::daemon {
namespace {

constexpr std::string_view kOpen = "<workspace-update ", kClose = "</workspace-update>\n";
constexpr std::int64_t kWrapperTokensMax = 64;  // of the two tags, with any version numbers

}  // namespace

std::string catch_up(Pinned& session, const tools::Workspace& now, std::uint64_t to,
                     std::span<const tools::SourceFile> wrote, const CountTokens& count,
                     const std::vector<std::string>* among) {
  for (const tools::SourceFile& file : wrote) session.view.saw(file);
  const TellOptions options{.tokens_max = kEventTokensMax - kLastMarkerTokens - kWrapperTokensMax,
                            .repeat_hidden = true,
                            .among = among};
  const Told told = tell(session.view, now, count, options);
  const std::uint64_t from = std::exchange(session.version, to);
  if (told.entries.empty()) return "";
  std::string out = fmt::format("{}from=\"{}\" to=\"{}\">\n", kOpen, from, to);
  for (const Entry& entry : told.entries) out += entry.text;
  out += kClose;
  return out;
}

std::string_view inside_update(std::string_view text) {
  if (!text.starts_with(kOpen) || !text.ends_with(kClose)) return text;
  text.remove_suffix(kClose.size());
  return text.substr(text.find('\n') + 1);
}

}  // namespace lares::daemon
