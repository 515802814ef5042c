#include "daemon/session/sessions.h"

#include <algorithm>
#include <filesystem>
#include <random>
#include <utility>

#include <fmt/format.h>

#include "daemon/on_disk_pool.h"
#include "daemon/protocol/policies.h"
#include "daemon/repository.h"
#include "daemon/session/facts.h"
#include "daemon/session/on_disk.h"
#include "daemon/session/session_settings.h"
#include "daemon/session/summary.h"
#include "daemon/session/title.h"
#include "daemon/turn/answer_schema.h"

namespace lares::daemon {
namespace {

constexpr std::size_t kIdLength = 12;
constexpr std::size_t kIdShownMax = 64;  // characters of what is asked for and may be no id
// Crockford's: none is mistaken for another
constexpr std::string_view kIdLetters = "0123456789abcdefghjkmnpqrstvwxyz";
constexpr std::string_view kUnfinished = ".import";  // the daemon died while it wrote one

template <class T, class U>
bool out_of(const std::optional<T>& value, U low, U high) {
  return value && (*value < static_cast<T>(low) || *value > static_cast<T>(high));
}

}  // namespace

std::string fresh_session_id() {
  std::random_device random;
  std::string id;
  for (std::size_t i = 0; i < kIdLength; ++i) id += kIdLetters[random() % kIdLetters.size()];
  return id;
}

std::string wrong_setting(const protocol::SessionSettings& s) {
  if (!protocol::is_mode(s.mode)) return "settings.mode must be work or ask";
  if (!protocol::is_policy(s.policy))
    return fmt::format("settings.policy must be one of {}", protocol::policies_named(", "));
  if (s.unattended != "wait" && s.unattended != "skip")
    return "settings.unattended must be wait or skip";
  if (out_of(s.temperature, 0.0, 100.0)) return "settings.temperature must be in 0..100";
  if (out_of(s.top_p, 0.0, 1.0)) return "settings.topP must be in 0..1";
  if (out_of(s.steps_max, 1, 1'000'000)) return "settings.stepsMax must be in 1..1000000";
  if (out_of(s.step_tokens_max, 1, 10'000'000))
    return "settings.stepTokensMax must be in 1..10000000";
  if (out_of(s.think_tokens_max, 0, 10'000'000))
    return "settings.thinkTokensMax must be in 0..10000000";
  if (const auto schema = answer_schema(s.answer_schema); !schema)
    return fmt::format("settings.answerSchema cannot be obeyed: {}", schema.error());
  return "";
}

Sessions::Sessions(SessionWorld world, KeptLimits limits)
    : world_(std::move(world)), limits_(limits) {
  const auto outer = std::move(world_.changed);
  world_.changed = [this, outer] {
    limit_timelines();
    rest_soon();
    if (outer) outer();
  };
}

void Sessions::load() {
  std::error_code ec;
  const std::string folder = world_.state_dir + "/sessions";
  for (const auto& entry : std::filesystem::directory_iterator(folder, ec)) {
    const std::string path = entry.path().string();
    if (path.ends_with(kUnfinished)) std::filesystem::remove(path, ec);
    if (!path.ends_with(kJournalSuffix)) continue;
    if (auto info = read_summary(path)) {
      sessions_[info->session_id].info = std::move(*info);
      continue;
    }
    remove_summary(path);
    auto session = Session::open(world_, path);
    if (!session) {
      world_.log->event("session_unreadable", {{"path", path}, {"why", session.error()}});
      continue;
    }
    auto& kept = *sessions_.try_emplace((*session)->info().session_id).first;
    kept.second.session = std::move(*session);
    if (may_rest(kept)) rest(kept.second);
  }
  if (ec) world_.log->event("sessions_unreadable", {{"path", folder}, {"why", ec.message()}});
}

void Sessions::resume() {
  for (const auto& [id, kept] : sessions_)
    if (kept.session) kept.session->resume();
  rest_soon();
}

Reply<std::shared_ptr<Session>> Sessions::create(const protocol::SessionCreate& request) {
  if (const auto wrong = wrong_setting(request.settings); !wrong.empty()) {
    return tl::unexpected(refusal(protocol::Code::invalid_params, wrong));
  }
  const auto root = repository_root(request.root);
  if (!root) return tl::unexpected(refusal(protocol::Code::not_found, root.error()));
  if (const auto why = why_no_session(root->root); !why.empty())
    return tl::unexpected(refusal(protocol::Code::invalid_params, why));
  return make(request, {.session_id = fresh_session_id(), .root = root->root});
}

Reply<std::shared_ptr<Session>> Sessions::make(const protocol::SessionCreate& request,
                                               protocol::SessionInfo info) {
  info.title = title_of(request.title);
  info.settings = filled(request.settings, world_.defaults);
  auto session = Session::create(world_, info);
  if (session) sessions_[info.session_id].session = *session;
  return session;
}

asio::awaitable<Reply<std::shared_ptr<Session>>> Sessions::fork(std::shared_ptr<Session> from,
                                                                std::int64_t before_turn,
                                                                std::int64_t after_step,
                                                                std::string title) {
  const std::string what = fmt::format("fork session {}", from->info().session_id);
  if (!co_await from->writable()) co_return tl::unexpected(from->unwritten());
  Transcript was = from->transcript();
  if (before_turn != 0) {
    const auto turns = from->turn_log().from(before_turn);
    if (turns.empty())
      co_return tl::unexpected(
          refusal(protocol::Code::not_found,
                  fmt::format("{} before turn {}: it has no such turn now", what, before_turn)));
    if (after_step == 0) {
      was = from->turn_log().before(turns.front(), was);
    } else {
      auto then = co_await from->after_step(turns.front(), after_step);
      if (!then) co_return tl::unexpected(then.error());
      was = std::move(*then);
    }
  } else if (after_step != 0) {
    co_return tl::unexpected(refusal(protocol::Code::invalid_params,
                                     what + ": after a step of which turn?", "give the turn, too"));
  } else if (from->running()) {
    co_return tl::unexpected(refusal(protocol::Code::busy,
                                     what + ": a turn runs; fork before it, or when it has ended"));
  }
  protocol::SessionInfo info;
  info.session_id = fresh_session_id();
  info.root = from->info().root;
  info.title = title_of(title);
  if (info.title.empty()) info.title = from->info().title;
  info.settings = from->info().settings;
  auto session = Session::create(world_, info);
  if (!session) co_return session;
  co_await (*session)->become_fork_of(from, std::move(was),
                                      from->forebear(before_turn, after_step > 0));
  if (const std::string failed = (*session)->failure(); !failed.empty()) {
    const auto remove = [&] { return remove_session(world_.state_dir, info.session_id); };
    co_await on_disk_pool(*world_.disk, remove);  // the next start would list half of it
    co_return tl::unexpected(refusal(protocol::Code::internal, what + ": " + failed));
  }
  sessions_[info.session_id].session = *session;
  co_return session;
}

Reply<Sessions::Map::const_iterator> Sessions::named(const std::string& id) const {
  const auto first = sessions_.lower_bound(id);
  const bool named = first != sessions_.end() && first->first.starts_with(id) &&
                     (first->first == id || id.size() >= kIdBeginningMin);
  if (!named) {
    return tl::unexpected(refusal(
        protocol::Code::not_found,
        fmt::format("there is no session {:.{}}; `lares sessions --all --closed` lists them", id,
                    kIdShownMax)));
  }
  const auto second = std::next(first);
  if (first->first != id && second != sessions_.end() && second->first.starts_with(id)) {
    return tl::unexpected(
        refusal(protocol::Code::not_found,
                fmt::format("more than one session begins with {}; give more of its id", id)));
  }
  return first;
}

std::string Sessions::journal_of(const std::string& id) const {
  return fmt::format("{}/sessions/{}{}", world_.state_dir, id, kJournalSuffix);
}

Reply<protocol::SessionInfo> Sessions::look(const std::string& id) const {
  const auto found = named(id);
  if (!found) return tl::unexpected(found.error());
  return (*found)->second.about();
}

std::vector<protocol::SessionInfo> Sessions::list(const std::vector<std::string>& roots,
                                                  bool closed) const {
  std::vector<protocol::SessionInfo> out;
  for (const auto& [id, kept] : sessions_) {
    const auto& info = kept.about();
    const bool wanted = roots.empty() || std::ranges::find(roots, info.root) != roots.end();
    if (wanted && (closed || !info.closed)) out.push_back(info);
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const auto& a, const auto& b) { return a.updated_ms > b.updated_ms; });
  return out;
}

void Sessions::for_each(const std::function<void(const protocol::SessionInfo&)>& look) const {
  for (const auto& [id, kept] : sessions_) look(kept.about());
}

void Sessions::interrupt_all() {
  for (const auto& [id, kept] : sessions_)
    if (kept.session) kept.session->interrupt(0);
}

// One that has ended may begin another turn while the next is waited for.
asio::awaitable<void> Sessions::all_ended() {
  do {
    std::vector<std::shared_ptr<Session>> all;
    for (const auto& [id, kept] : sessions_)
      if (kept.session) all.push_back(kept.session);
    for (const auto& session : all) co_await session->ended();
  } while (n_running() > 0);
}

int Sessions::n_running() const {
  return static_cast<int>(std::count_if(sessions_.begin(), sessions_.end(), [](const auto& s) {
    return s.second.session && s.second.session->running();
  }));
}

void Sessions::forget(Subscriber* subscriber) {
  for (const auto& [id, kept] : sessions_)
    if (kept.session) kept.session->unsubscribe(subscriber);
  rest_soon();
}

void Sessions::limit_timelines() {
  std::vector<Session*> awake;
  for (const auto& [id, kept] : sessions_) {
    Session* const session = kept.session.get();
    if (session && session->awake() && !session->running()) awake.push_back(session);
  }
  if (awake.size() <= kTimelinesMax) return;
  std::sort(awake.begin(), awake.end(),
            [](Session* a, Session* b) { return a->info().updated_ms < b->info().updated_ms; });
  for (std::size_t i = 0; i + kTimelinesMax < awake.size(); ++i) awake[i]->sleep();
}

}  // namespace lares::daemon
