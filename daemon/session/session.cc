#include "daemon/session/session.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include "daemon/ended.h"
#include "daemon/hooks/hooks.h"
#include "daemon/on_disk_pool.h"
#include "daemon/repository.h"
#include "daemon/session/facts.h"
#include "daemon/session/retold.h"
#include "daemon/session/session_settings.h"
#include "daemon/turn/instructions.h"
#include "daemon/turn/prompt.h"
#include "daemon/turn/until_stopped.h"
#include "daemon/utf8.h"
#include "sandbox/sandbox.h"
#include "tools/text.h"

namespace lares::daemon {
namespace {

using protocol::Json;

constexpr std::size_t kTitleBytesMax = 80;

asio::awaitable<bool> settled(EngineHost& host) {
  co_await host.settled();
  co_return true;
}

std::string first_line(const std::string& text) {
  const auto begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return "";
  const auto end = text.find_first_of("\r\n", begin);
  return std::string(
      utf8_prefix(std::string_view(text).substr(begin, end - begin), kTitleBytesMax));
}

}  // namespace

// ---- facts

bool Session::record(std::string_view method, const Json& params) {
  if (!failure_.empty()) return false;  // a gap would make what follows it wrong
  Json frame;
  frame["method"] = method;
  frame["params"] = params;
  if (const auto done = journal_.append(protocol::dump(frame)); !done) {
    fail(done.error());
    return false;
  }
  info_.last_seq = static_cast<std::int64_t>(journal_.size());
  return true;
}

// Nobody may see what is not on disk, so the turn cannot go on.
void Session::fail(const std::string& why) {
  failure_ = why;
  world_.log->event("journal_failed", {{"session", info_.session_id}, {"why", why}});
  if (turn_) turn_->stop.request();
}

protocol::Error Session::unwritten() const {
  return refusal(protocol::Code::internal, "write the session's journal: " + failure_,
                 "when the disk has room again, send it again");
}

Reply<std::shared_ptr<Session>> Session::create(const SessionWorld& world,
                                                protocol::SessionInfo info) {
  const std::string path = world.state_dir + "/sessions/" + info.session_id + ".journal";
  auto journal = Journal::create(path);
  if (!journal) return tl::unexpected(refusal(protocol::Code::internal, journal.error()));
  std::shared_ptr<Session> session(new Session(world, std::move(*journal)));
  info.created_ms = info.updated_ms = unix_ms();
  session->info_ = info;
  session->idle_.open();
  session->fact(protocol::SessionCreated{.session = info});
  if (!session->failure_.empty()) {
    ::unlink(path.c_str());  // nobody has been told of it
    return tl::unexpected(session->unwritten());
  }
  return session;
}

tl::expected<std::shared_ptr<Session>, std::string> Session::open(const SessionWorld& world,
                                                                  const std::string& path) {
  std::vector<std::string> payloads;  // the session exists only once the journal does
  auto journal = Journal::open(
      path, [&](std::size_t, std::string_view payload) { payloads.emplace_back(payload); });
  if (!journal) return tl::unexpected(journal.error());
  if (const auto& repair = journal->repair(); repair.bytes_cut > 0) {
    world.log->event("journal_repaired", {{"path", path},
                                          {"bytes_cut", repair.bytes_cut},
                                          {"kept_in", repair.kept_in},
                                          {"why", repair.why}});
  }
  std::shared_ptr<Session> session(new Session(world, std::move(*journal)));
  session->idle_.open();
  for (std::size_t i = 0; i < payloads.size(); ++i)
    session->replay(payloads[i], static_cast<std::int64_t>(i) + 1);
  if (session->info_.session_id.empty())
    return tl::unexpected(
        fmt::format("open the session {}: it does not begin with its creation", path));
  session->info_.last_seq = static_cast<std::int64_t>(session->journal_.size());
  if (const auto& repair = session->journal_.repair(); repair.bytes_cut > 0) {
    session->repair_ = fmt::format(
        "the last {} bytes of this session's journal were damaged and cut off; they are in {}",
        repair.bytes_cut, repair.kept_in);
    session->record(kRepaired, {{"note", session->repair_}});
  }
  session->mend("the daemon died during this turn");
  return session;
}

Session::~Session() = default;

asio::awaitable<Reply<>> Session::set_title(std::string title) {
  const auto self = shared_from_this();
  const std::string line = first_line(title);
  if (line.empty())
    co_return tl::unexpected(refusal(
        protocol::Code::invalid_params,
        fmt::format("name session {}: the title is empty; say in a few words what it is about",
                    info_.session_id)));
  if (!co_await writable()) co_return tl::unexpected(unwritten());
  info_.title = line;
  fact(protocol::SessionUpdated{.title = line});
  if (!failure_.empty()) co_return tl::unexpected(unwritten());
  co_return Reply<>();
}

std::optional<std::string> Session::event_after(std::int64_t after, std::int64_t& seq) const {
  for (std::size_t i = static_cast<std::size_t>(std::max<std::int64_t>(0, after));
       i < journal_.size(); ++i) {
    auto payload = journal_.read(i);
    seq = static_cast<std::int64_t>(i) + 1;
    if (!payload || payload->starts_with(R"({"method":"lares/)")) continue;
    return std::move(*payload);
  }
  seq = static_cast<std::int64_t>(journal_.size());
  return std::nullopt;
}

// ---- prompts and turns

std::size_t Session::n_waiting() const {
  return static_cast<std::size_t>(
      std::count_if(prompts_.begin(), prompts_.end(),
                    [](const Prompt& p) { return p.turn_id == 0 && !p.delivered; }));
}

asio::awaitable<Reply<protocol::PromptSendResult>> Session::send(protocol::PromptSend prompt) {
  using protocol::Code;
  const auto self = shared_from_this();
  for (const Prompt& p : prompts_) {
    if (p.send.id != prompt.id) continue;
    if (p.send.content != prompt.content || p.send.mode != prompt.mode) {
      co_return tl::unexpected(refusal(
          Code::conflict,
          fmt::format("prompt/send {}: this id was used with another content or mode", prompt.id)));
    }
    co_return protocol::PromptSendResult{.id = prompt.id, .seq = p.seq, .turn_id = p.turn_id};
  }
  std::string& delivery = prompt.delivery;
  if (delivery != "start" && delivery != "queue" && delivery != "steer" &&
      delivery != "interrupt") {
    co_return tl::unexpected(refusal(
        Code::invalid_params,
        fmt::format("delivery must be start, queue, steer or interrupt, not {}", delivery)));
  }
  if (!prompt.mode.empty() && !protocol::is_mode(prompt.mode)) {
    co_return tl::unexpected(refusal(Code::invalid_params,
                                     fmt::format("mode must be work or ask, not {}", prompt.mode)));
  }
  if (info_.closed && !put_away_)
    co_return tl::unexpected(refusal(
        Code::not_found, fmt::format("prompt/send: session {} is closed", info_.session_id),
        fmt::format("`lares fork {}` makes one that knows what it knew", info_.session_id)));
  if (prompt.id.empty() || prompt.content.empty())
    co_return tl::unexpected(refusal(Code::invalid_params, "id and content must not be empty"));
  if (prompt.content.size() > protocol::kPromptBytesMax) {
    co_return tl::unexpected(
        refusal(Code::invalid_params,
                fmt::format("content is longer than {} bytes", protocol::kPromptBytesMax),
                "put it into a file of the repository and name that"));
  }
  if (world_.host->state().state == "failed") {
    co_return tl::unexpected(
        refusal(Code::not_ready, "load the model: " + world_.host->state().message));
  }
  if (!failure_.empty()) {
    if (!co_await writable()) co_return tl::unexpected(unwritten());
    auto again = send(std::move(prompt));  // what was found out above may not be true any more
    co_return co_await std::move(again);
  }
  if (turn_ && turn_->woken && delivery == "start")
    delivery = "queue";  // whoever sent it saw an idle session
  if (turn_ && delivery == "start") {
    co_return tl::unexpected(
        refusal(Code::busy, fmt::format("session {} works on turn {}", info_.session_id, turn_->id),
                "deliver it with queue, steer or interrupt"));
  }
  if (prompt.expect_turn != 0 && (!turn_ || turn_->id != prompt.expect_turn)) {
    co_return tl::unexpected(
        refusal(Code::busy, fmt::format("turn {} is not the running one", prompt.expect_turn)));
  }
  if (n_waiting() >= protocol::kPromptsQueuedMax) {
    auto full = refusal(Code::overloaded,
                        fmt::format("{} prompts wait in session {}", protocol::kPromptsQueuedMax,
                                    info_.session_id));
    full.retry_after_ms = 1000;
    co_return tl::unexpected(std::move(full));
  }
  if (info_.title.empty()) {
    info_.title = first_line(prompt.content);
    fact(protocol::SessionUpdated{.title = info_.title});
  }
  fact(protocol::PromptAccepted{
      .id = prompt.id, .content = prompt.content, .delivery = delivery, .mode = prompt.mode});
  if (!failure_.empty()) co_return tl::unexpected(unwritten());
  if (std::exchange(put_away_, false)) info_.closed = false;
  const std::int64_t seq = info_.last_seq;
  prompts_.push_back({.send = prompt, .seq = seq});
  if (delivery == "interrupt") interrupt(0);
  start_next();
  protocol::PromptSendResult result{
      .id = prompt.id, .seq = seq, .turn_id = prompts_.back().turn_id};
  for (const Prompt& p : prompts_) {
    if (p.send.id == prompt.id) result.turn_id = p.turn_id;
  }
  if (result.turn_id == 0 && steers(prompts_.back())) result.turn_id = turn_->id;
  co_await synced();
  if (!failure_.empty()) co_return tl::unexpected(unwritten());
  co_return result;
}

void Session::start_next() {
  if (turn_ || rewinding_ || info_.closed || !failure_.empty()) return;
  if (world_.host->stopping()) return;  // what waits is the next daemon's
  for (Prompt& p : prompts_) {
    if (p.turn_id != 0 || p.delivered) continue;
    p.turn_id = info_.turn_id = ++info_.n_turns;
    info_.turn_began_ms = unix_ms();
    turn_ = std::make_unique<Running>();
    turn_->id = p.turn_id, turn_->mode = mode_of(p.send), turn_->woken = p.send.delivery == kWake;
    idle_.close();
    turn_log_.begin(p.turn_id, transcript_, journal_.size());
    fact(protocol::TurnStarted{.turn_id = p.turn_id, .prompt_id = p.send.id});
    tell_repair();
    asio::co_spawn(
        world_.io,
        [self = shared_from_this(), id = p.turn_id, prompt = &p] { return self->run(id, prompt); },
        [self = shared_from_this()](std::exception_ptr thrown) {
          if (thrown) self->turn_lost(thrown);
        });
    return;
  }
}

// What run() does not guard threw, such as for want of memory: the turn is over, and what is known
// of it is what is on disk. Whoever goes on with the session reads that back first.
void Session::turn_lost(std::exception_ptr thrown) {
  const std::string why = thrown_by(thrown);
  const std::int64_t id = turn_ ? turn_->id : info_.turn_id;
  turn_ = nullptr, resident_ = nullptr;
  asked_.turn_ended();
  open_.clear();
  info_.turn_id = 0, info_.state = "idle";
  last_reason_ = "error";
  fail("the end of a turn: " + why);
  idle_.open();
  try {
    ephemeral(protocol::TurnEnded{.turn_id = id, .reason = "error", .message = why},
              Subscriber::Weight::state);
    world_.changed();
  } catch (...) {
    world_.log->event("turn_lost",
                      {{"session", info_.session_id}, {"turn", id}, {"why", "untold"}});
  }
}

// Once, to whoever goes on with the session; a turn's own items begin with 1.
void Session::tell_repair() {
  if (repair_.empty()) return;
  item_completed({.id = fmt::format("{}.0", turn_->id),
                  .turn_id = turn_->id,
                  .kind = "note",
                  .text = std::exchange(repair_, "")});
}

const std::string& Session::mode_of(const protocol::PromptSend& prompt) const {
  return prompt.mode.empty() ? info_.settings.mode : prompt.mode;
}

// Whether the running turn is to hear of it. A question never becomes part of a turn that may
// change files, nor a task of one that may not.
bool Session::steers(const Prompt& prompt) const {
  return turn_ && prompt.turn_id == 0 && !prompt.delivered && prompt.send.delivery == "steer" &&
         mode_of(prompt.send) == turn_->mode;
}

TurnSettings Session::settings(std::string_view mode) const {
  return turn_settings(world_.defaults, info_.settings, mode);
}

TurnSettings turn_settings(TurnSettings s, const protocol::SessionSettings& given,
                           std::string_view mode) {
  if (given.temperature) s.sampling.temperature = static_cast<float>(*given.temperature);
  if (given.top_p) s.sampling.top_p = static_cast<float>(*given.top_p);
  if (given.seed) s.sampling.seed = *given.seed;
  if (given.steps_max) s.steps_max = *given.steps_max;
  if (given.step_tokens_max) {
    if (*given.step_tokens_max != s.step_tokens_max) s.continuations_max = 0;  // somebody means it
    s.step_tokens_max = *given.step_tokens_max;
  }
  if (given.think_tokens_max) s.think_tokens_max = *given.think_tokens_max;
  if (mode == "ask" || given.policy == "plan" || given.policy == "read-only")
    s.tools = ToolUse::reading;
  return s;
}

void Session::forked() {
  unsure_ = true;
  Json fork;
  fork["words"] = words_before_;
  if (had_shell_) fork["shell"] = true;
  record(kForked, fork);
}

tools::BuiltinOptions Session::builtin_options() const {
  tools::BuiltinOptions builtin;
  builtin.root = info_.root;
  builtin.state_dir = world_.state_dir + "/outputs/" + info_.session_id;
  builtin.sandbox_launcher = world_.sandbox_launcher;
  builtin.no_sandbox = info_.settings.no_sandbox;
  builtin.network_allow = world_.network_allow;
  builtin.had_shell = had_shell_ || turn_log_.called(tools::kBashTool);
  builtin.threads = world_.tool_threads;
  builtin.on_network = [log = world_.log,
                        id = info_.session_id](const sandbox::NetworkDecision& d) {
    log->event("network", {{"session", id},
                           {"host", d.host},
                           {"port", d.port},
                           {"allowed", d.allowed},
                           {"why", d.why}});
  };
  std::error_code ec;
  std::filesystem::create_directories(builtin.state_dir, ec);  // where it fails, the tool that
                                                               // needs it says so
  return builtin;
}

// Holds the session while a question is open: a server may ask after the turn that began with it.
static asio::awaitable<std::optional<std::string>> ask_while_it_lives(
    std::weak_ptr<Session> session, std::string question,
    asio::awaitable<std::optional<std::string>> (Session::*ask)(std::string)) {
  std::optional<std::string> answer;
  if (const auto self = session.lock()) {
    auto asking = (self.get()->*ask)(std::move(question));
    answer = co_await std::move(asking);
  }
  co_return answer;
}

void Session::make_toolbox() {
  if (!tools_.empty()) return;
  tools_ = make_tools(world_.io, toolbox_options(), asker());
  tools::use_editor(tools_, overlays_);
  tools::ask_what_was_shown(tools_, [this](const std::string& path) { return was_shown(path); });
}

// These tools may be younger than what the model was shown: it resumed, rewound or was forked.
std::optional<tools::KnownText> Session::was_shown(const std::string& path) const {
  if (!pinned_) return std::nullopt;
  Seen seen = pinned_->view.seen(path);
  const bool had_text = seen.state == Seen::State::text ||
                        (seen.state == Seen::State::hidden && seen.shown == tools::Shown::full &&
                         seen.reason.empty());
  if (!had_text || seen.blob.empty()) return std::nullopt;
  return tools::KnownText{std::move(seen.blob),
                          seen.state == Seen::State::text ? std::move(seen.text) : nullptr};
}

ToolboxOptions Session::toolbox_options() const {
  return {.builtin = builtin_options(), .mcp_config = world_.mcp_config, .mcp_servers = servers_};
}

Ask Session::asker() {
  return [session = weak_from_this()](std::string question) {
    return ask_while_it_lives(session, std::move(question), &Session::ask);
  };
}

Reply<> Session::use_servers(std::vector<mcp::ServerConfig> servers) {
  if (turn_) {
    return tl::unexpected(protocol::Error{
        .code = protocol::Code::busy,
        .message = fmt::format(
            "MCP servers of session {}: a turn runs; they can be brought when it has ended",
            info_.session_id)});
  }
  servers_ = std::move(servers);
  if (!tools_.empty()) use_mcp_servers(tools_, world_.io, toolbox_options(), asker());
  return {};
}

void Session::with_hooks(TurnInput& input, HookConfig config) {
  const auto note = [this, n = 0](const std::string& text) mutable {
    if (turn_)
      item_completed({.id = fmt::format("{}.h{}", turn_->id, ++n),
                      .turn_id = turn_->id,
                      .kind = "note",
                      .text = text});
  };
  const auto hooks = std::make_shared<Hooks>(std::move(config), info_.root, info_.session_id, note);
  if (hooks->for_calls()) {
    input.before_call = [hooks](const protocol::Item& item) { return hooks->before(item); };
    input.after_call = [hooks](const protocol::Item& item) { return hooks->after(item); };
  }
  if (hooks->for_ends() && input.settings.tools == ToolUse::all)
    input.at_end = [hooks, id = input.turn_id] { return hooks->at_end(id); };
}

asio::awaitable<void> Session::run(std::int64_t turn_id, Prompt* prompt) {
  TurnResult result;
  try {
    if (!world_.host->engine()) {
      state("loading");
      auto loading = left_when_stopped(turn_->stop, settled(*world_.host));
      co_await std::move(loading);
    }
    if (turn_->stop.requested()) {
      result.reason = "cancelled";
    } else if (!world_.host->engine()) {
      result = {"error", "load the model: " + world_.host->state().message, {}};
    } else {
      make_toolbox();
      TurnInput input{.turn_id = turn_id,
                      .said = {prompt->send.id, prompt->send.content},
                      .settings = settings(turn_->mode),
                      .threads = world_.tool_threads};
      if (turn_->woken) input.said = woken_by(prompt->send.content, input.notes);
      prompt->delivered = true;
      std::string failed;
      resident_ = world_.residents->of(info_.root);
      // The tokens stay what it goes back to. What they say is told once: with the first prompt
      // behind them, also where that turn was stopped, or the daemon died, before it was read.
      const engine::Engine& engine = *world_.host->engine();
      const Words words = pinned_ || transcript_.ids.empty() ? Words::known
                                                             : words_of(transcript_.ids, engine);
      if (words == Words::foreign) {
        info_.settings = for_another_model(info_.settings, world_.defaults);
        record(kSettings, protocol::to_json(info_.settings));
        input.settings = settings(turn_->mode);
      }
      if (words != Words::known) {
        timeline_ = nullptr;
        shortened(std::exchange(transcript_, {}), {});
      }
      std::string before;
      if (words != Words::known ||
          (transcript_.ids.empty() && turn_log_.turns().back().n_shortened > 0)) {
        input.notes.emplace_back(kRetold);
        Retelling what = retelling(journal_, turn_log_, turn_id, engine.info().n_context_max);
        what.words = words_before_;
        const auto tell = [what] { return retold(what); };
        before = co_await on_disk_pool(*world_.disk, tell);
      }
      if (transcript_.ids.empty()) {
        auto reading = left_when_stopped(turn_->stop, resident_->begin());
        auto beginning = co_await std::move(reading);
        if (!beginning) {
          result.reason = "cancelled";
        } else if (*beginning) {
          input.beginning = begin_with(**beginning, before + input.said.text, input.notes);
          adopt(std::move(**beginning));
        } else {
          failed = "read the repository: " + beginning->error();
        }
      }
      if (!pinned_ && !transcript_.ids.empty()) {
        co_await pin_again();
        if (turn_->stop.requested()) result.reason = "cancelled";
      }
      tools::note_shown(tools_, overlays_->shown());
      auto hooks = read_hooks(own_file(world_, "hooks.json"));
      if (!hooks && failed.empty()) failed = hooks.error();
      if (hooks) with_hooks(input, std::move(*hooks));
      if (pinned_)
        input.n_repository = static_cast<std::int64_t>(pinned_->view.base().tokens.size());
      input.begin_anew = [this](std::string summary, std::string next) {
        return begin_anew(std::move(summary), std::move(next));
      };
      input.changes = [this] { return changes_of_others(); };
      input.ran = [this](protocol::Item& item) {
        return checkpoint(item, &protocol::Item::snapshot_after);
      };
      if (info_.settings.until_tests_pass && input.settings.tools == ToolUse::all)
        input.check = [this] { return check_work(); };
      input.permit = [this](protocol::Item& item, const nlohmann::json& arguments) {
        return permit(item, arguments);
      };
      if (!result.reason.empty()) {
        // It was stopped before it knew where it works: nothing is said, and the next turn begins
        // the session.
      } else if (failed.empty()) {
        if (input.settings.tools == ToolUse::all)
          world_.checkpoints->look_ahead(info_.root,
                                         fmt::format("{} turn {}", info_.session_id, turn_id));
        result = co_await run_turn(*world_.host, tools_, transcript_, timeline_, *this, turn_->stop,
                                   std::move(input), resident_->shared());
      } else {
        result = {"error", failed, {}};
      }
    }
  } catch (const std::exception& e) {
    result = {"error", e.what(), {}};
    world_.log->event("turn_failed",
                      {{"session", info_.session_id}, {"turn", turn_id}, {"why", e.what()}});
  }
  anew_.reset();
  record_shown();
  permissions_.turn_ended();
  asked_.turn_ended();
  resident_ = nullptr;
  if (!failure_.empty())
    result = {"error", "write the session's journal: " + failure_, result.usage};
  open_.clear();
  info_.turn_id = info_.turn_began_ms = 0;
  info_.context_tokens = static_cast<std::int64_t>(transcript_.ids.size());
  turn_ = nullptr;
  last_reason_ = result.reason;
  info_.state = "idle";
  const protocol::TurnEnded ended{.turn_id = turn_id,
                                  .reason = result.reason,
                                  .message = result.message,
                                  .usage = result.usage};
  fact(ended);
  // Whoever waits for the turn hears of its end all the same; what is kept will say that it was cut
  // off.
  if (!failure_.empty()) ephemeral(ended, Subscriber::Weight::state);
  co_await synced();
  start_next();
  if (!turn_) {
    state("idle");
    idle_.open();
    watch_jobs();
  }
}

asio::awaitable<Reply<protocol::PromptWithdrawResult>> Session::withdraw(std::string prompt_id) {
  using Result = protocol::PromptWithdrawResult;
  const auto self = shared_from_this();
  const bool kept = co_await writable();
  for (Prompt& p : prompts_) {
    if (p.send.id != prompt_id) continue;
    if (p.turn_id != 0) co_return Result{.turn_id = interrupt(p.turn_id)};
    if (!p.delivered) {
      if (kept) fact(protocol::PromptWithdrawn{.id = prompt_id});
      if (!failure_.empty()) co_return tl::unexpected(unwritten());
      p.delivered = true;
    }
    co_return Result{.withdrawn = true};
  }
  co_return Result{};
}

void Session::withdraw_all() {
  for (Prompt& p : prompts_) {
    if (p.turn_id != 0 || p.delivered) continue;
    fact(protocol::PromptWithdrawn{.id = p.send.id});
    if (!failure_.empty()) return;  // nothing begins any more
    p.delivered = true;
  }
}

std::int64_t Session::interrupt(std::int64_t turn_id) {
  if (testing_ && turn_id == 0) testing_->request();
  if (!turn_ || (turn_id != 0 && turn_->id != turn_id)) return 0;
  turn_->stop.request();
  if (answered_) answered_->open();
  permissions_.stop();
  state("stopping");
  return turn_->id;
}

void Session::close() {
  interrupt(0);
  if (info_.closed && !put_away_) return;
  info_.closed = true, put_away_ = false;
  fact(protocol::SessionClosed{});
  if (!turn_) drop_tools();
  world_.changed();
}

asio::awaitable<void> Session::put_away(std::int64_t turn_id) {
  const auto self = shared_from_this();
  if (turn_id != 0 && interrupt(turn_id) != 0) co_await idle_.wait();
  if (turn_ || testing_ || rewinding_ || info_.closed || n_waiting() > 0) co_return;
  const std::int64_t now = unix_ms();
  if (!record(kPutAway, {{"t", now}})) co_return;
  info_.closed = put_away_ = true, info_.updated_ms = now;
  sync_soon();
  drop_tools();
  world_.changed();
}

asio::awaitable<void> Session::ended() {
  const auto self = shared_from_this();
  co_await idle_.wait();
  if (info_.closed) drop_tools();
}

asio::awaitable<Reply<>> Session::close_and_keep() {
  const auto self = shared_from_this();
  const bool was_closed = info_.closed && !put_away_;
  close();
  co_await ended();
  if (failure_.empty() || was_closed) co_return Reply<>();
  info_.closed = false;
  if (!co_await writable()) co_return tl::unexpected(unwritten());
  close();  // there is room again
  if (failure_.empty()) co_return Reply<>();
  info_.closed = false;
  co_return tl::unexpected(unwritten());
}

bool Session::ended_well() const {
  return !turn_ && !rewinding_ && failure_.empty() && info_.turn_id == 0 &&
         (info_.closed || n_waiting() == 0);
}

// What would be lost of an open one: its shell, what its model has evaluated and was shown, and
// what its client brought. A closed one goes on with nothing.
bool Session::journal_says_all() const {
  if (!ended_well() || testing_ || syncing_ || asks_tools_ || !subscribers_.empty()) return false;
  return info_.closed || (tools_.empty() && servers_.empty() && !timeline_ && !pinned_ && !editor_);
}

void Session::sleep() {
  if (turn_ || rewinding_ || !timeline_) return;
  timeline_ = nullptr;
}

// ---- subscribers

std::vector<std::string> Session::snapshots(bool resync) const {
  std::vector<std::string> lines;
  for (const auto& [id, item] : open_) {
    protocol::ItemSnapshot snapshot{
        .at = {.session_id = info_.session_id, .t = unix_ms()}, .item = item, .resync = resync};
    lines.push_back(protocol::notification_line(snapshot));
  }
  return lines;
}

void Session::subscribe(Subscriber* subscriber) {
  for (const auto& line : snapshots(false))
    subscriber->notify(info_.session_id, line, Subscriber::Weight::state);
  subscribers_.insert(subscriber);
  watch_jobs();
}

void Session::unsubscribe(Subscriber* subscriber) {
  subscribers_.erase(subscriber);
  if (subscriber == editor_) editor_ = nullptr, overlays_->editor_left();
}

}  // namespace lares::daemon
