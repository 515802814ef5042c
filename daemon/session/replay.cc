// A recorded session's answers, sampled once more and compared.
#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "daemon/on_disk_pool.h"
#include "daemon/session/export.h"
#include "daemon/session/facts.h"
#include "daemon/session/recording.h"
#include "daemon/session/sessions.h"
#include "daemon/turn/answer.h"
#include "daemon/turn/argument_choices.h"
#include "daemon/turn/prompt.h"
#include "daemon/utf8.h"
#include "engine/chat.h"
#include "tools/text.h"

namespace lares::daemon {
namespace {

using protocol::Json;

// One recorded answer at a time, with an engine that others use too.
class Sampler {
 public:
  Sampler(const SessionWorld& world, const Tools& tools, const std::string& root,
          std::optional<std::uint64_t> seed)
      : host_(*world.host),
        engine_(*world.host->engine()),
        world_(world),
        tools_(tools),
        root_(root),
        seed_(seed) {
    if (const auto resident = world.residents->find(root)) shared_ = resident->shared();
  }

  // What keeps it from going on; empty: nothing. `result` says whether it differed.
  asio::awaitable<std::string> compare(const RecordedStep& step, const Recording& recording,
                                       std::map<std::string, std::string> texts,
                                       protocol::SessionReplayResult& result) {
    const auto& ids = recording.transcript().ids;
    const auto prompt = std::span(ids).first(step.n_prompt),
               answer = std::span(ids).subspan(step.n_prompt, step.n_answer);
    if (std::string failed = co_await evaluate(prompt); !failed.empty()) co_return failed;
    protocol::SessionSettings given = recording.info().settings;
    given.policy = step.policy;
    TurnSettings settings = turn_settings(world_.defaults, given, step.mode);
    if (step.drawn.without_tools) settings.tools = ToolUse::none;
    if (step.drawn.think_tokens_max) {  // it sums up
      settings.think_tokens_max = *step.drawn.think_tokens_max;
      settings.answer_schema = nullptr;
    }
    if (seed_) settings.sampling.seed = *seed_;
    engine::Sampling sampling = settings.sampling;
    const auto& parts = step.drawn.parts;
    std::size_t n_parts = 0;  // begun
    if (const int draw = parts.empty() ? step.n_redrawn : parts.front().draw; draw > 0)
      draw_otherwise(sampling, draw);
    const std::size_t n = step.broken_off
                              ? answer.size() - std::min<std::size_t>(answer.size(), kClosingTokens)
                              : answer.size();
    const auto think_end = engine_.tokenizer().added(engine::kThinkEnd);
    std::unique_ptr<engine::Grammar> grammar;
    std::size_t at = 0;
    std::int64_t n_thinking = 0;
    std::optional<engine::Token> other;
    bool in_calls = false;
    std::string failed;
    const auto draw = [&] {
      if (!grammar)
        grammar = engine::Grammar::make(engine_.tokenizer(), grammar_of(settings, texts));
      for (const auto until = std::chrono::steady_clock::now() + kSlice;
           at < n && std::chrono::steady_clock::now() < until; ++at) {
        const bool thinking = grammar->thinking();
        in_calls = grammar->in_calls();
        const bool ended = thinking && think_end && n_thinking >= settings.think_tokens_max;
        bool chosen = false;
        for (; n_parts < parts.size() && parts[n_parts].at == static_cast<std::int64_t>(at);
             ++n_parts) {
          if (n_parts == 0) continue;
          chosen = true;
          sampling = settings.sampling;
          draw_branch(sampling, parts[n_parts].draw);
        }
        const bool forced = ended || chosen;
        const engine::TokenMask only = forced ? only_token(engine_.tokenizer(),
                                                           chosen ? answer[at] : *think_end)
                                              : engine::TokenMask();
        const bool begins_again = step.drawn.n_kept &&
                                  *step.drawn.n_kept == static_cast<std::int64_t>(at);
        if (begins_again) draw_otherwise(sampling, kResamplesMax + 1);
        engine::TokenMask without;
        const engine::TokenMask* mask = forced ? &only : grammar->mask();
        if (begins_again && step.drawn.avoid && !forced)
          mask = without_token(engine_.tokenizer(), *step.drawn.avoid, mask, without);
        const auto token = timeline_->next(sampling, mask);
        if (!token) {
          failed = token.error().message;
          return false;
        }
        if (*token != answer[at]) {
          other = *token;
          return false;
        }
        grammar->accept(*token);
        n_thinking += thinking ? 1 : 0;
      }
      return at < n;
    };
    while (co_await host_.run(draw)) {
    }
    ++result.steps;
    result.tokens += static_cast<std::int64_t>(at);
    if (other) differ(step, at, answer[at], *other, in_calls, result);
    co_return failed;
  }

 private:
  asio::awaitable<std::string> evaluate(std::span<const engine::Token> prompt) {
    const auto total = static_cast<std::int64_t>(prompt.size()), chunk = engine_.info().n_chunk;
    for (std::int64_t end = 0; end < total;) {
      const auto sync = [&]() -> std::string {
        if (!timeline_) timeline_ = engine_.timeline(shared_ ? shared_->longest(prompt) : nullptr);
        timeline_->end_waits_at(host_.stop_token());
        const auto held = timeline_->tokens();
        const std::int64_t common =
            std::mismatch(held.begin(), held.end(), prompt.begin(), prompt.end()).first -
            held.begin();
        end = chunk == 0 ? total : std::min(total, (common / chunk + 1) * chunk);
        const auto done = timeline_->sync(prompt.first(static_cast<std::size_t>(end)),
                                          host_.stop_token(), host_.drawing_between(nullptr));
        return done ? "" : done.error().message;
      };
      if (std::string failed = co_await host_.run(sync); !failed.empty()) co_return failed;
    }
    co_return "";
  }

  engine::GrammarOptions grammar_of(const TurnSettings& settings,
                                    const std::map<std::string, std::string>& texts) const {
    engine::GrammarOptions out;
    out.tools = declared_tools(tools_, settings.tools, engine_.info());
    out.schema = settings.answer_schema, out.json = out.schema != nullptr;
    out.calls_max = kCallsPerStepMax;
    out.oracle = [this, texts](
                     const std::string& tool, const std::string& key,
                     const engine::Arguments& so_far) -> std::optional<engine::ArgumentChoices> {
      if (key == "old_str") {
        for (const auto& [name, value] : so_far)
          if (const auto text = texts.find(value); name == "path" && text != texts.end())
            return engine::ArgumentChoices{{}, text->second, true};
      }
      return argument_choices(tools_, engine_.info(), tool, key, so_far);
    };
    return out;
  }

  void differ(const RecordedStep& step, std::size_t at, engine::Token expected, engine::Token got,
              bool in_calls, protocol::SessionReplayResult& result) const {
    result.turn_id = step.turn_id, result.step = step.step,
    result.token = static_cast<std::int64_t>(at);
    result.expected = expected, result.got = got;
    result.expected_text = valid_utf8(engine_.tokenizer().bytes(expected)),
    result.got_text = valid_utf8(engine_.tokenizer().bytes(got));
    result.difference = fmt::format("turn {}, step {}, token {}", step.turn_id, step.step, at);
    if (in_calls)
      result.note =
          "it is inside a call, where what may be written hangs on the files, which may be others "
          "now";
  }

  EngineHost& host_;
  engine::Engine& engine_;
  const SessionWorld& world_;
  const Tools& tools_;
  const std::string root_;
  const std::optional<std::uint64_t> seed_;
  std::shared_ptr<SharedBeginning> shared_;
  std::unique_ptr<engine::Timeline> timeline_;
};

// The texts that old_str of this answer's edits could come from, by path as the model wrote it:
// before the first of them ran.
asio::awaitable<std::map<std::string, std::string>> texts_of(
    const SessionWorld& world, std::string root, std::int64_t turn_id, std::string answer,
    const std::map<std::pair<std::int64_t, std::string>, std::string>& snapshots) {
  std::map<std::string, std::string> out;
  const auto events = events_of(answer);
  for (const auto& event : events) {
    const auto* const call = std::get_if<engine::CallEnd>(&event);
    const auto snapshot = call ? snapshots.find({turn_id, call->arguments}) : snapshots.end();
    if (snapshot == snapshots.end() || snapshot->second.empty()) continue;
    const Json arguments = Json::parse(call->arguments, nullptr, /*allow_exceptions=*/false);
    const auto path = arguments.find("path");
    if (path == arguments.end() || !path->is_string()) continue;
    const std::string whole = path->get<std::string>();
    if (!whole.starts_with(root + "/") || out.contains(whole)) continue;
    auto reading = world.checkpoints->text(root, snapshot->second, whole.substr(root.size() + 1));
    const auto text = co_await std::move(reading);
    if (text && !text->empty() && !tools::is_binary(*text)) out[whole] = tools::shown_text(*text);
  }
  co_return out;
}

struct Source {
  std::vector<std::string> frames;
  ExportModel model;
};

struct Fed {
  const RecordedStep* step = nullptr;  // the recording's
  bool others = false;                 // of another model
  std::string wrong;
};

// Up to the next step, or the end of a turn; a journal is megabytes of JSON. Any thread.
Fed feed(Recording& recording, const std::vector<std::string>& frames, std::size_t& n_fed,
         const ExportModel& ours) {
  Fed fed;
  while (n_fed < frames.size() && !fed.step && fed.wrong.empty()) {
    fed.step = recording.feed(frames[n_fed++]);
    fed.wrong = recording.wrong();
    if (recording.first_unlike() != 0 || recording.turn_ended()) break;
  }
  const std::string& vocabulary = recording.transcript().vocabulary;
  fed.others = !vocabulary.empty() && vocabulary != ours.vocabulary;
  const auto in_vocabulary = [&](engine::Token t) { return t >= 0 && t < ours.vocab_size; };
  if (fed.step && !fed.others && !std::ranges::all_of(recording.transcript().ids, in_vocabulary))
    fed.wrong = fmt::format("a token id is not below {}", ours.vocab_size);
  return fed;
}

}  // namespace

asio::awaitable<Reply<protocol::SessionReplayResult>> Sessions::replay(
    protocol::SessionReplay request, std::function<bool()> given_up) {
  using protocol::Code;
  const std::string what = "replay " +
                           (request.path.empty() ? "session " + request.session_id : request.path);
  const auto no = [&](Code code, const std::string& why) {
    return tl::unexpected(refusal(code, what + ": " + why));
  };
  std::string journal;
  std::uint64_t journal_bytes = 0;
  if (request.path.empty()) {
    auto opening = open(request.session_id);
    const auto session = co_await std::move(opening);
    if (!session) co_return tl::unexpected(session.error());
    request.session_id = (*session)->info().session_id;
    journal = (*session)->journal().path(), journal_bytes = (*session)->journal().bytes();
  }
  const auto load = [&]() -> tl::expected<Source, std::string> {
    Source source;
    if (journal.empty()) {
      auto file = read_export(request.path);
      if (!file) return tl::unexpected(file.error());
      return Source{std::move(file->frames), std::move(file->model)};
    }
    const auto read = Journal::scan(
        journal, journal_bytes,
        [&](std::size_t, std::string_view payload) { source.frames.emplace_back(payload); });
    if (!read) return tl::unexpected(read.error());
    return source;
  };
  auto source = co_await on_disk_pool(*world_.disk, load);
  if (!source) co_return no(Code::invalid_params, source.error());
  co_await world_.host->settled();
  const engine::Engine* const engine = world_.host->engine();
  if (!engine) co_return no(Code::not_ready, "load the model: " + world_.host->state().message);
  const auto look = [&] { return model_of(engine); };
  const ExportModel ours = co_await on_disk_pool(*world_.disk, look);
  if (!source->model.vocabulary.empty() && source->model.vocabulary != ours.vocabulary)
    co_return no(Code::invalid_params, other_vocabulary(source->model, ours));

  protocol::SessionReplayResult result;
  Recording recording;
  const auto look_for_snapshots = [&] { return snapshots_of_calls(source->frames); };
  const auto snapshots = co_await on_disk_pool(*world_.disk, look_for_snapshots);
  std::unique_ptr<Sampler> sampler;
  Tools tools;
  std::vector<Piece> said;  // in the turn
  bool whole = true;        // all that was said in it was sampled and kept
  std::int64_t n_passed_over = 0;
  std::size_t n_fed = 0;
  const auto read_on = [&] { return feed(recording, source->frames, n_fed, ours); };
  while (n_fed < source->frames.size() && result.difference.empty()) {
    if (given_up()) co_return no(Code::internal, "given up, for nobody waits for it any more");
    const Fed fed = co_await on_disk_pool(*world_.disk, read_on);
    const RecordedStep* const step = fed.step;
    const auto& ids = recording.transcript().ids;
    if (!fed.wrong.empty())
      co_return no(Code::invalid_params,
                   fmt::format("frame {} makes no sense: {}", n_fed, fed.wrong));
    if (recording.first_unlike() != 0) {
      result.difference = fmt::format("fact {} would be written in other words now",
                                      recording.first_unlike());
      break;
    }
    if (recording.turn_ended()) {
      const bool all_calls = std::ranges::none_of(said,
                                                  [](const Piece& p) { return p.kind.empty(); });
      if (whole && all_calls && said != recording.told())
        result.difference = fmt::format("the items of turn {} are not what its tokens say",
                                        result.turn_id);
    }
    if (!step) continue;
    if (fed.others) {
      ++n_passed_over, whole = false;
      continue;
    }
    if (result.turns == 0 || result.turn_id != step->turn_id) {
      ++result.turns, result.turn_id = step->turn_id;
      said.clear(), whole = true;
    }
    whole = whole && !step->broken_off && step->n_redrawn == 0 && !step->drawn.n_kept;
    if (!sampler) {
      tools::BuiltinOptions builtin;
      builtin.root = recording.info().root;
      builtin.state_dir = world_.state_dir + "/outputs/" + recording.info().session_id;
      builtin.no_sandbox = recording.info().settings.no_sandbox;
      tools = make_tools(world_.io, {builtin, world_.mcp_config}, nullptr);
      sampler = std::make_unique<Sampler>(world_, tools, recording.info().root, request.seed);
    }
    const auto answer = std::span(ids).subspan(step->n_prompt, step->n_answer);
    auto reading = texts_of(world_, recording.info().root, step->turn_id,
                            engine->tokenizer().decode(answer), snapshots);
    auto texts = co_await std::move(reading);
    auto comparing = sampler->compare(*step, recording, std::move(texts), result);
    const std::string failed = co_await std::move(comparing);
    const std::size_t n_eos =
        !answer.empty() && engine->tokenizer().added(engine::kEos) == answer.back() ? 1 : 0;
    for (auto& piece : pieces_of(engine->tokenizer().decode(answer.first(answer.size() - n_eos))))
      said.push_back(std::move(piece));
    if (!failed.empty())
      co_return no(Code::internal,
                   fmt::format("turn {}, step {}: {}", step->turn_id, step->step, failed));
  }
  result.facts = recording.n_facts();
  result.equal = result.difference.empty();
  if (result.equal) result.turn_id = 0;
  if (!result.equal && !source->model.fingerprint.empty() &&
      source->model.fingerprint != ours.fingerprint)
    result.note = fmt::format("it was recorded with {}, which computes otherwise than {} here",
                              source->model.name, ours.name);
  else if (n_passed_over > 0)
    result.note = fmt::format("not compared: {} step{} of another model", n_passed_over,
                              n_passed_over == 1 ? "" : "s");
  co_return result;
}

}  // namespace lares::daemon
