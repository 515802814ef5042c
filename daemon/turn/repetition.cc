#include "daemon/turn/repetition.h"

#include <algorithm>
#include <iterator>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "daemon/turn/foreseen_edit.h"
#include "tools/text.h"

namespace lares::daemon {

std::optional<Period> find_period(std::span<const engine::Token> tokens, std::size_t tokens_min) {
  const std::size_t n = std::min(tokens.size(), kPeriodWindow);
  if (n < tokens_min) return std::nullopt;
  // Read backwards, a periodic end is a periodic beginning: z[p] tokens from p on equal the first
  // z[p], so the first z[p] + p tokens have period p (Gusfield's Z algorithm).
  const auto r = [&](std::size_t i) { return tokens[tokens.size() - 1 - i]; };
  std::vector<std::size_t> z(n, 0);
  std::size_t left = 0, right = 0;
  for (std::size_t i = 1; i < n; ++i) {
    if (i < right) z[i] = std::min(right - i, z[i - left]);
    while (i + z[i] < n && r(z[i]) == r(i + z[i])) ++z[i];
    if (i + z[i] > right) {
      left = i;
      right = i + z[i];
    }
    const std::size_t covered = z[i] + i;
    if (covered >= tokens_min && covered >= kPeriodRepeatsMin * i) return Period{i, covered};
  }
  return std::nullopt;
}

namespace {

std::string key_of(const std::string& name, const std::string& arguments) {
  const auto parsed = nlohmann::json::parse(arguments, nullptr,
                                            /*allow_exceptions=*/false);  // sorts the keys
  return name + ' ' +
         (parsed.is_discarded()
              ? arguments
              : parsed.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace

int CallCounter::count(const std::string& name, const std::string& arguments, bool mutates) {
  const std::string key = key_of(name, arguments);
  if (mutates) std::erase_if(counts_, [&](const auto& entry) { return entry.first != key; });
  return ++counts_[key];
}

int CallCounter::in_vain(const std::string& name, const std::string& arguments,
                         const std::string& result) {
  return ++in_vain_[key_of(name, arguments) + '\n' + tools::blob_sha(result)];
}

namespace {

std::string as_text(const nlohmann::json& arguments) {
  return arguments.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

void VainEdits::made(const std::string& tool, const nlohmann::json& arguments,
                     const std::optional<std::string>& made, bool ok) {
  if (tool == kTestTool) return;
  if (tool != kEditTool) {  // whatever it did, the files are not what they were
    in_place_.clear();
    vain_.clear();
    return;
  }
  const std::string path = text_at(arguments, "path");
  if (text_at(arguments, "command") != "undo_edit") {
    if (ok) in_place_.push_back({path, made ? tools::blob_sha(*made) : as_text(arguments)});
    return;
  }
  const auto last = std::find_if(in_place_.rbegin(), in_place_.rend(),
                                 [&](const Edit& edit) { return edit.path == path; });
  if (!ok || last == in_place_.rend()) return;
  const std::string undone = last->what;
  in_place_.erase(std::next(last).base());
  vain_.insert(among_those_in_place(path, undone));
}

bool VainEdits::contain(const std::string& path, const std::string& text) const {
  return !vain_.empty() && vain_.contains(among_those_in_place(path, tools::blob_sha(text)));
}

// Of each file what was made of it last: how it came to be that does not count.
std::string VainEdits::among_those_in_place(const std::string& path,
                                            const std::string& what) const {
  std::map<std::string, std::string> files;
  for (const Edit& edit : in_place_) files[edit.path] = edit.what;
  files[path] = what;
  std::string out;
  for (const auto& [name, made] : files) out += name + '\n' + made + '\n';
  return out;
}

std::string call_reminder(const std::string& name, int n) {
  if (n == kCallsRemind)
    return fmt::format(
        "This was the same call of {} with the same arguments for the {}rd time. Repeating it "
        "gives the same "
        "result; use what you have, or do something else.",
        name, n);
  if (n >= kCallsStop)
    return fmt::format(
        "{} has been called {} times with identical arguments; no more calls are taken. Say what "
        "you know, and what is left "
        "to do.",
        name, n);
  if (n == kCallsRemindAgain || n == kCallsStop - 1)
    return fmt::format(
        "{} has now been called {} times with identical arguments. At {} no more calls are taken. "
        "Change the "
        "approach, or finish with what you know.",
        name, n, kCallsStop);
  return {};
}

}  // namespace lares::daemon
