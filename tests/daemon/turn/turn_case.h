// The agent loop against a scripted model and real tools in a temporary repository: what its tests
// begin with.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <gtest/gtest.h>

#include "daemon/turn/prompt.h"
#include "daemon/turn/shorten.h"
#include "daemon/turn/turn.h"
#include "tests/daemon/scripted/scripted_engine.h"
#include "tests/temporary_directory.h"

namespace lares::daemon {

namespace fs = std::filesystem;
using protocol::Item;

struct Heard final : TurnEvents {
  void state(std::string_view) override {}
  void prefill(std::int64_t, std::int64_t, std::int64_t) override {}
  void item_started(const Item& item) override { live[item.id] = item; }
  void item_delta(const std::string& id, std::string_view field, const std::string& text,
                  std::int64_t) override {
    Item& item = live.at(id);
    (field == "text" ? item.text : field == "arguments" ? item.arguments : item.output) += text;
  }
  void item_updated(const Item& item) override { updated.push_back(item); }
  void item_completed(const Item& item) override { items.push_back(item); }
  void step(std::int64_t, const std::string& reason, const protocol::Usage& usage) override {
    reasons.push_back(reason), usages.push_back(usage);
    if (at_step) at_step();
  }
  void appended(const std::vector<engine::Token>& ids,
                const std::vector<std::string>& results) override {
    recorded.insert(recorded.end(), ids.begin(), ids.end());
    pending = results;
  }
  void unread(Unread what) override { left = std::move(what); }
  void drawn(const Drawn& h) override { how.push_back(h); }
  void shortened(Transcript was, const std::vector<engine::Token>& ids) override {
    before.push_back(std::move(was));
    recorded = ids;
    pending.clear();
  }
  asio::awaitable<std::vector<Said>> steering() override {
    if (at_heard) at_heard();
    co_return std::exchange(steer, {});
  }

  std::vector<Item> of(const std::string& kind) const {
    std::vector<Item> out;
    for (const auto& item : items) {
      if (item.kind == kind) out.push_back(item);
    }
    return out;
  }

  std::map<std::string, Item> live;
  std::vector<Item> items, updated;
  std::vector<std::string> reasons, pending;
  std::vector<protocol::Usage> usages;  // of the steps
  std::function<void()> at_step;        // a step has ended
  std::function<void()> at_heard;       // what steers it is asked for
  std::vector<engine::Token> recorded;
  std::vector<Drawn> how;
  std::vector<Transcript> before;  // it was shortened
  std::vector<Said> steer;
  Unread left;
};

class TurnTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directory(root_);
    fs::create_directory(base_ + "/state");
  }

  void write(const std::string& path, const std::string& text) {
    std::ofstream(root_ + "/" + path) << text;
  }
  std::string read(const std::string& path) {
    std::ostringstream out;
    out << std::ifstream(root_ + "/" + path).rdbuf();
    return out.str();
  }

  // One turn of the session from the first prompt on, or a later one of the same.
  TurnResult turn(std::deque<Play> plays, TurnSettings settings = {},
                  const std::string& task = "Do it.") {
    auto owned = std::make_unique<ScriptedEngine>(std::move(plays), n_context_);
    script_ = owned.get();
    script_->keep_syncs();
    const std::size_t n_steps_before = heard_.usages.size();
    std::vector<std::size_t> n_syncs;  // by the end of each step
    heard_.at_step = [&] { n_syncs.push_back(script_->n_syncs()); };
    std::vector<ScriptedEngine::Sync> syncs;
    if (n_chunk_ > 0) script_->evaluate_in_chunks(n_chunk_, before_chunk_);
    timeline_ = nullptr;
    asio::io_context io;
    EngineHost host(io.get_executor());
    host.start(
        [&](const EngineHost::Loading&) -> engine::Result<std::unique_ptr<engine::Engine>> {
          return std::move(owned);
        },
        [](const protocol::ServerState&) {});
    TurnResult result;
    std::string thrown;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
          co_await host.settled();
          ToolboxOptions options;
          options.builtin.root = root_;
          options.builtin.state_dir = base_ + "/state";
          // The sandbox has tests of its own; here its absence must not matter
          options.builtin.no_sandbox = true;
          const Tools tools = make_tools(
              co_await asio::this_coro::executor, options,
              [](std::string) -> asio::awaitable<std::optional<std::string>> {
                co_return answer_;
              });
          TurnInput input{.turn_id = ++n_turns_,
                          .said = {"p", task},
                          .sums_up = asks_for_summary(task),
                          .settings = settings};
          if (transcript_.ids.empty()) {
            const std::vector<engine::Segment> repository{
                {prompt_head(), true}, {"<repository files=\"0\">\n</repository>\n", false}};
            input.beginning = {std::make_shared<const std::vector<engine::Token>>(
                                   script_->tokenizer().encode(repository)),
                               begin_session("", root_, task)};
          }
          input.changes = changes_;
          input.unread_news = std::exchange(unread_news_, {});
          if (can_shorten_) {
            input.n_repository = static_cast<std::int64_t>(prompt_head().size());
            input.begin_anew = [this](
                                   std::string summary,
                                   std::string next) -> asio::awaitable<std::optional<Beginning>> {
              Beginning out{std::make_shared<const std::vector<engine::Token>>(
                                script_->tokenizer().encode({{prompt_head(), true}})),
                            begin_session("", root_, anew(summary, {"First."}, next))};
              co_return std::optional<Beginning>(std::move(out));
            };
          }
          input.before_call = before_call_, input.after_call = after_call_, input.at_end = at_end_,
          input.check = check_;
          result = co_await run_turn(host, tools, transcript_, timeline_, heard_, stop_,
                                     std::move(input));
          prompts_ = script_->prompts();
          syncs = script_->syncs();
          n_masked_ = script_->n_masked(), script_left_ = script_->n_left();
          timeline_ = nullptr;
        },
        [&](std::exception_ptr e) {
          try {
            if (e) std::rethrow_exception(e);
          } catch (const std::exception& x) {
            thrown = x.what();
          }
        });
    io.run();
    heard_.at_step = nullptr;
    EXPECT_EQ(thrown, throws_);
    check_evaluated(
        syncs, n_syncs,
        {heard_.usages.begin() + static_cast<std::ptrdiff_t>(n_steps_before), heard_.usages.end()},
        result.usage);
    EXPECT_EQ(heard_.recorded, transcript_.ids);  // what is on disk is what the model saw
    EXPECT_EQ(heard_.pending, transcript_.results);
    return result;
  }

  // What a step evaluated is what no step before it knew, drawn answers included: by what the
  // timeline did, whichever it was, and by what was told. `n_syncs`: by the end of each step;
  // `usages`: of the steps.
  void check_evaluated(const std::vector<ScriptedEngine::Sync>& syncs,
                       const std::vector<std::size_t>& n_syncs,
                       const std::vector<protocol::Usage>& usages,
                       const protocol::Usage& total) const {
    ASSERT_EQ(usages.size(), n_syncs.size());
    std::vector<std::vector<engine::Token>> known;
    const auto n_known = [&](std::span<const engine::Token> ids) {
      std::ptrdiff_t n = 0;
      for (const auto& k : known)
        n = std::max(n,
                     std::mismatch(k.begin(), k.end(), ids.begin(), ids.end()).first - k.begin());
      return static_cast<std::int64_t>(n);
    };
    std::int64_t evaluated_by_all = 0;
    for (std::size_t step = 0, at = 0; step < usages.size(); ++step) {
      SCOPED_TRACE("step " + std::to_string(step + 1) + " of turn " + std::to_string(n_turns_));
      const protocol::Usage& usage = usages[step];
      if (at == n_syncs[step]) {  // its prompt was not read
        EXPECT_EQ(usage.prefilled, 0);
        continue;
      }
      const auto prompt =
          std::span(syncs[n_syncs[step] - 1].prompt).first(static_cast<std::size_t>(usage.prompt));
      const std::int64_t n_new = usage.prompt - n_known(prompt);
      std::int64_t evaluated = 0, never_before = 0;
      for (; at < n_syncs[step]; ++at) {
        evaluated += syncs[at].n_evaluated;
        never_before += static_cast<std::int64_t>(syncs[at].prompt.size()) -
                        n_known(syncs[at].prompt);
        known.push_back(syncs[at].prompt);
        known.back().insert(known.back().end(), syncs[at].drawn.begin(), syncs[at].drawn.end());
        if (n_chunk_ > 0 && !syncs[at].drawn.empty())
          known.back().pop_back();  // the last one drawn waits for what follows
      }
      EXPECT_EQ(usage.prefilled, evaluated);
      evaluated_by_all += evaluated;
      if (!evaluates_again_.empty()) {
        EXPECT_GE(usage.cached + usage.prefilled, usage.prompt);
        continue;
      }
      EXPECT_EQ(evaluated, never_before) << "something was evaluated twice";
      EXPECT_EQ(usage.cached, usage.prompt - n_new);
    }
    EXPECT_EQ(total.prefilled, evaluated_by_all);
  }

  const TemporaryDirectory directory_;
  const std::string base_ = directory_.path(), root_ = base_ + "/repo";
  // Why this test's turns evaluate what was known; empty: they do not
  std::string evaluates_again_;
  std::function<asio::awaitable<std::string>()> changes_, at_end_;
  std::vector<std::string> unread_news_;  // of the next turn
  std::string throws_;                    // what this test's turns throw; empty: nothing
  std::function<asio::awaitable<Checked>()> check_;
  std::function<asio::awaitable<std::optional<std::string>>(const Item&)> before_call_;
  std::function<asio::awaitable<std::string>(const Item&)> after_call_;
  std::int64_t n_chunk_ = 0;
  std::function<void(std::int64_t)> before_chunk_;
  std::int64_t n_context_ = 1 << 20, n_turns_ = 0;
  bool can_shorten_ = false;
  Heard heard_;
  Transcript transcript_;
  TurnStop stop_;
  std::unique_ptr<engine::Timeline> timeline_;
  ScriptedEngine* script_ = nullptr;
  std::vector<std::string> prompts_;
  int n_masked_ = 0;
  std::size_t script_left_ = 0;
  static inline std::optional<std::string> answer_;
};

inline std::string create(const std::string& path, const std::string& text) {
  return scripted_calls({scripted_call(
      "str_replace_editor", {{"command", "create"}, {"path", path}, {"file_text", text}})});
}

}  // namespace lares::daemon
