// What a session's model knows of the repository: what it begins with, what it is told, what it has
// seen.
#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "daemon/on_disk_pool.h"
#include "daemon/session/facts.h"
#include "daemon/session/session.h"
#include "daemon/turn/instructions.h"
#include "daemon/turn/prompt.h"
#include "daemon/turn/shorten.h"
#include "daemon/turn/until_stopped.h"
#include "mcp/config.h"
#include "tools/text.h"

namespace lares::daemon {

using protocol::Json;

namespace {

constexpr std::string_view kAllMayHaveChanged =
    "<workspace-update>\nFiles may have changed since you were shown them. View a file before you "
    "rely on its text.\n</workspace-update>\n";

constexpr std::size_t kSkillsNamed = 12, kWrongSkillsTold = 4;

void note_skills(const Skills& skills, std::vector<std::string>& notes) {
  std::vector<std::string> names;
  for (const Skill& skill : skills.all) names.push_back(skill.name);
  const std::size_t n_more = names.size() - std::min(names.size(), kSkillsNamed);
  names.resize(names.size() - n_more);
  if (!names.empty())
    notes.push_back(fmt::format("skills: {}{}", fmt::join(names, ", "),
                                n_more == 0 ? "" : fmt::format(" and {} more", n_more)));
  std::size_t n_wrong = 0;
  for (const auto& other : skills.passed_over)
    if (!other.hidden && ++n_wrong <= kWrongSkillsTold)
      notes.push_back(fmt::format("the skill {} is not used: {}", other.path, other.why));
  if (n_wrong > kWrongSkillsTold)
    notes.push_back(fmt::format("{} skills are not used; `lares skills` says why", n_wrong));
}

// Those that the session has: its client may have brought some, and the file may be another one
// than when its tools were made. What is wrong with the file is told here, for otherwise the model
// alone would hear of it, and only where it looks for their tools.
void note_mcp_servers(const Tools& tools, const std::string& config,
                      std::vector<std::string>& notes) {
  std::vector<std::string> names;
  for (const auto& tool : tools)
    for (auto& name : mcp::servers_searched(*tool)) names.push_back(std::move(name));
  if (!names.empty()) notes.push_back(fmt::format("MCP servers: {}", fmt::join(names, ", ")));
  for (const auto& problem : mcp::read_config(config).problems)
    notes.push_back(fmt::format("MCP: {}; `lares doctor` looks again", problem));
}

}  // namespace

// Edits of these need no view first: the model has their text before it.
void Session::note_shown(const View& view, const tools::Workspace& files) {
  std::vector<tools::File> shown;
  for (const auto& [path, file] : files)
    if (file.text && view.seen(path).state == Seen::State::text)
      shown.push_back(
          {.path = path, .content = *file.text, .skipped = "", .n_bytes = file.n_bytes});
  tools::note_shown(tools_, shown);
}

// For the next daemon: what the model knows beyond its base.
void Session::record_shown() {
  if (!pinned_) return;
  if (auto shown = shown_.next(pinned_->view)) record(kShown, std::move(*shown));
}

asio::awaitable<void> Session::pin_again() {
  all_may_have_changed_ = true;
  auto pinning = left_when_stopped(
      turn_->stop,
      resident_->pin_again(std::make_shared<const std::vector<engine::Token>>(transcript_.ids),
                           was_shown_, unsure_));
  const auto again = co_await std::move(pinning);
  if (!again) co_return;  // the next turn does it
  if (!*again) {
    world_.log->event("repository_unreadable",
                      {{"session", info_.session_id}, {"why", again->error()}});
    co_return;
  }
  pinned_ = (*again)->pinned;
  all_may_have_changed_ = !(*again)->base_known;
}

asio::awaitable<std::string> Session::changes_of_others() {
  std::string moved;
  if (!transcript_.root.empty() && transcript_.root != info_.root)
    moved = fmt::format(
        "<workspace-update>\nThe repository is at {} now; it was at {}.\n</workspace-update>\n",
        info_.root, transcript_.root);
  if (std::exchange(all_may_have_changed_, false))
    co_return moved + std::string(kAllMayHaveChanged);
  if (!moved.empty()) co_return moved;
  if (!pinned_) co_return "";
  auto update = co_await resident_->catch_up(pinned_, written_);
  if (!update) {
    world_.log->event("repository_unreadable",
                      {{"session", info_.session_id}, {"why", update.error()}});
    co_return "";
  }
  written_.clear();
  note_shown(pinned_->view, update->files);
  co_return std::move(update->text);
}

// Left behind by a turn that is stopped, they own what they work with.
asio::awaitable<Skills> Session::skills() const {
  const auto self = shared_from_this();
  const auto look = [root = info_.root, home = world_.home] { return find_skills(root, home); };
  co_return co_await on_disk_pool(*world_.disk, look);
}

asio::awaitable<CalledSkill> Session::skill_called_by(std::string prompt) const {
  const auto self = shared_from_this();
  if (!prompt.starts_with('/')) co_return CalledSkill();
  const auto look = [prompt = std::move(prompt), root = info_.root, home = world_.home] {
    return called_skill(prompt, root, home);
  };
  co_return co_await on_disk_pool(*world_.disk, look);
}

Beginning Session::begin_with(const Resident::Beginning& beginning, const Skills& skills,
                              const std::string& task, std::vector<std::string>& notes) const {
  const Instructions asked = instructions(beginning.files, beginning.pinned->view,
                                          own_file(world_, "AGENTS.md"));
  if (!asked.unreadable.empty()) notes.push_back(asked.unreadable);
  if (!asked.files.empty())
    notes.push_back(fmt::format("following {}", fmt::join(asked.files, ", ")));
  note_skills(skills, notes);
  note_mcp_servers(tools_, world_.mcp_config, notes);
  return {{beginning.base, &beginning.base->tokens},
          begin_session(beginning.overlay, info_.root, task, asked.text + told_of_skills(skills))};
}

// The transcript has what this shows.
void Session::adopt(Resident::Beginning beginning) {
  pinned_ = std::move(beginning.pinned);
  note_shown(pinned_->view, beginning.files);
  written_.clear();
}

// What the user wrote in the turns there are before `before_turn` (0: in all), a fork's forebears'
// first; `and_its_prompt`: that turn's, too.
std::vector<std::string> Session::words(std::int64_t before_turn, bool and_its_prompt) const {
  std::vector<std::string> out = words_before_;
  for (const Prompt& p : prompts_) {
    const auto at = std::ranges::find(turn_log_.turns(), p.turn_id, &TurnLog::Turn::id);
    if (p.send.delivery == kWake || p.turn_id == 0 || at == turn_log_.turns().end()) continue;
    if (asks_for_summary(p.send.content)) continue;
    if (before_turn == 0 || p.turn_id < before_turn || (and_its_prompt && p.turn_id == before_turn))
      out.push_back(p.send.content);
  }
  return out;
}

std::vector<std::string> Session::words_of_turn() const {
  std::vector<std::string> out;
  for (const Prompt& p : prompts_)
    if (turn_ && p.turn_id == turn_->id) out.push_back(p.send.content);
  return out;
}

asio::awaitable<std::optional<Beginning>> Session::begin_anew(std::string summary,
                                                              std::string next) {
  auto beginning = co_await resident_->begin();
  if (!beginning) {
    world_.log->event("repository_unreadable",
                      {{"session", info_.session_id}, {"why", beginning.error()}});
    co_return std::nullopt;
  }
  std::vector<std::string> said = words(0), notes;
  // What is asked now comes last, once.
  std::erase_if(said,
                [&](const std::string& text) { return next.find(text) != std::string::npos; });
  const auto bytes_max = user_words_bytes_max(world_.host->engine()->info().n_context_max);
  auto looking = skills();
  const Skills found = co_await std::move(looking);
  const std::string again = called_before(words_of_turn(), found, next);
  auto out = begin_with(*beginning, found, anew(summary, said, next, bytes_max) + again, notes);
  anew_ = std::move(*beginning);
  co_return std::optional<Beginning>(std::move(out));
}

}  // namespace lares::daemon
