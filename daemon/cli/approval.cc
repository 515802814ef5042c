#include "daemon/cli/approval.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "daemon/cli/yes_no.h"
#include "daemon/protocol/wire.h"
#include "daemon/shown/text.h"
#include "tools/text.h"

namespace lares::cli {

namespace protocol = daemon::protocol;

void show_asking(Transcript& transcript, const protocol::Item& item) {
  transcript.asked(asked_call(item));
  transcript.note(Style::bold, fmt::format("{}. Run it?", one_line(item.why)));
  transcript.note(Style::dim, approval_choices(item));
}

// In its own lines: they may be what there is to choose from.
void show_question(Transcript& transcript, const protocol::Item& item) {
  const auto arguments = protocol::Json::parse(item.arguments, nullptr, /*allow_exceptions=*/false);
  const auto at = arguments.is_object() ? arguments.find("question") : arguments.end();
  const bool told = arguments.is_object() && at != arguments.end() && at->is_string();
  const std::string text = told ? printable(at->get_ref<const std::string&>())
                                : "the model asks; type an answer";
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    transcript.note(Style::bold, std::string_view(text).substr(begin, end - begin));
    begin = end + 1;
  }
}

std::string approval_choices(const protocol::Item& item) {
  if (item.likes.empty()) return "y once; n no, or say what to do instead";
  return fmt::format(
      "y once, t this turn, s this session, r this repository, a always ({}); n no, or say what to "
      "do instead",
      one_line(fmt::format("{}", fmt::join(item.likes, ", "))));
}

std::optional<protocol::ApprovalReply> approval_of(std::string_view line,
                                                   const protocol::Item& item, bool& doubted) {
  line = tools::trimmed(line);
  if (line.empty()) return std::nullopt;
  protocol::ApprovalReply reply;
  reply.item_id = item.id;
  reply.decision = "allow";
  if (is_yes(line)) return reply;
  for (const auto& [letter, scope] :
       {std::pair{'t', "turn"}, {'s', "session"}, {'r', "repository"}, {'a', "user"}}) {
    if (!is_letter(line, letter)) continue;
    if (item.likes.empty()) return std::nullopt;
    reply.scope = scope;
    return reply;
  }
  if (begins_as_yes(line) && !std::exchange(doubted, true)) return std::nullopt;
  reply.decision = "deny";
  if (!is_no(line)) reply.message = line;
  return reply;
}

std::string not_offered(std::string_view line, const protocol::Item& item) {
  if (begins_as_yes(line))
    return fmt::format(
        "is \"{}\" a yes? y runs it, n does not; anything else does not either, and is told to the "
        "model",
        one_line(tools::trimmed(line)));
  return fmt::format("there is no {} for this call: {}", one_line(tools::trimmed(line)),
                     approval_choices(item));
}

}  // namespace lares::cli
