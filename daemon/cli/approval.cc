#include "daemon/cli/approval.h"

#include <algorithm>

#include <fmt/format.h>

#include "daemon/cli/yes_no.h"
#include "daemon/protocol/wire.h"
#include "daemon/shown/text.h"
#include "tools/text.h"

namespace lares::cli {

namespace protocol = daemon::protocol;

std::string approval_question(const protocol::Item& item) {
  return fmt::format("{}. Run it?", one_line(item.why));
}

std::string approval_diff(const protocol::Item& item) {
  const protocol::Json arguments = protocol::Json::parse(item.arguments, nullptr,
                                                         /*allow_exceptions=*/false);
  if (!arguments.is_object()) return "";
  std::string out;
  const auto add = [&](const char* key, char sign) {
    const auto at = arguments.find(key);
    if (at == arguments.end() || !at->is_string()) return;
    const auto& text = at->get_ref<const std::string&>();
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = std::min(text.find('\n', begin), text.size());
      out += sign + text.substr(begin, end - begin) + '\n';
      begin = end + 1;
    }
  };
  add("old_str", '-');
  add("new_str", '+');
  add("file_text", '+');
  const auto command = arguments.find("command");
  if (item.name == "bash" && command != arguments.end() && command->is_string() &&
      command->get_ref<const std::string&>().find('\n') != std::string::npos)
    add("command", ' ');
  return out.empty() ? "" : "@@\n" + out;
}

std::string approval_choices(const protocol::Item& item) {
  if (item.likes.empty()) return "y once; n no, or say what to do instead";
  return fmt::format(
      "y once, t this turn, s this session, r this repository, a always ({}); n no, or say what to "
      "do instead",
      one_line(fmt::format("{}", fmt::join(item.likes, ", "))));
}

std::optional<protocol::ApprovalReply> approval_of(std::string_view line,
                                                   const protocol::Item& item) {
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
  reply.decision = "deny";
  if (!is_no(line)) reply.message = line;
  return reply;
}

std::string not_offered(std::string_view line, const protocol::Item& item) {
  return fmt::format("there is no {} for this call: {}", one_line(tools::trimmed(line)),
                     approval_choices(item));
}

}  // namespace lares::cli
