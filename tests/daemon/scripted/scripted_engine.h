// An engine that says what it is told, with the faults it is told: for loop, tools, journal and
// socket without a model. Its tokens are bytes and the control tokens of the chat format.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "engine/tokenizer.h"

namespace lares::daemon {

// What the model says after one prompt. The end-of-sentence token follows the text unless
// `open_ended`.
struct Play {
  std::string text;
  bool open_ended = false;  // the text begins again, for ever
  int step = 0;  // of its timeline, from 1: only this one takes it; 0: whichever asks next
  std::int64_t fail_at = -1;    // next() fails before this token
  bool fails_at_end = false;    // next() fails in place of the end-of-sentence token
  std::int64_t fail_sync = -1;  // sync() fails (0)
  engine::Errc fails_with = engine::Errc::malformed;
  // At these tokens it could have said this, with such a logprob
  std::map<std::int64_t, std::pair<std::string, float>> others;
  std::function<void()> at_sync;  // called on the engine's thread
  std::function<void(std::int64_t)> before_token;
};

// What the model says to a prompt, when the prompt itself says it: for sessions that run at once,
// in no known order.
using Director = std::function<Play(std::string_view prompt)>;
// The user wrote `[[say ANSWERS]]`, a JSON array of texts or of {"text", "us"}: the model gives one
// after the other, `us` microseconds a token, and when there are no more it says that it is done.
Play said_by_prompt(std::string_view prompt);

class ScriptedEngine final : public engine::Engine {
 public:
  explicit ScriptedEngine(std::deque<Play> plays, std::int64_t n_context = 1 << 20);
  explicit ScriptedEngine(Director director, std::int64_t n_context = 1 << 20);
  ~ScriptedEngine() override;

  const engine::ModelInfo& info() const override { return info_; }
  const engine::Tokenizer& tokenizer() const override { return *tokenizer_; }
  std::unique_ptr<engine::Timeline> timeline() override;

  // Another model's words: the same tokens mean something else. Before it is used.
  void use_another_vocabulary();

  // As a real engine: prompts a chunk at a time, prefixes, and no way back but to multiples of 128.
  // An answer is then taken with the first draw behind a prompt, and `before_chunk`, if there is
  // one, is called before what ends at `end` is evaluated.
  void evaluate_in_chunks(std::int64_t n_chunk,
                          std::function<void(std::int64_t end)> before_chunk = {});
  std::unique_ptr<engine::Timeline> timeline(engine::PrefixRef from) override;

  // As an engine elsewhere; before it is used.
  void stand_apart() { info_.timelines_apart = true; }

  // ---- what a test looks at
  std::vector<std::string> prompts() const;  // the decoded text of every sync
  std::int64_t n_evaluated() const;          // tokens of all syncs
  std::size_t n_left() const;
  int n_masked() const;  // tokens the script wanted and the grammar forbade

  // What its timelines were asked to know and really evaluated for it, in order, and what was drawn
  // behind each.
  struct Sync {
    std::vector<engine::Token> prompt;
    std::int64_t n_evaluated = 0;
    std::vector<engine::Token> drawn;
  };
  void keep_syncs() { keeps_syncs_ = true; }  // before it is used
  std::vector<Sync> syncs() const;            // that succeeded
  std::size_t n_syncs() const;

 private:
  friend class ScriptedTimeline;
  engine::ModelInfo info_;
  std::unique_ptr<engine::Tokenizer> tokenizer_;
  mutable std::mutex mutex_;
  std::deque<Play> plays_;
  Director director_;  // in place of plays; its prompts are not kept
  std::vector<std::string> prompts_;
  std::function<void(std::int64_t)> before_chunk_;
  std::int64_t n_evaluated_ = 0;
  bool keeps_syncs_ = false;
  std::vector<Sync> syncs_;
  int n_masked_ = 0;
};

// A tool call as a model writes it; values are strings.
std::string scripted_call(const std::string& tool,
                          const std::vector<std::pair<std::string, std::string>>& arguments);
std::string scripted_calls(const std::vector<std::string>& calls);  // the block around them

}  // namespace lares::daemon
