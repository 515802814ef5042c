// The agent loop of one turn: for turn.cc and loop_*.cc.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/turn/answer.h"
#include "daemon/turn/branches.h"
#include "daemon/turn/calls.h"
#include "daemon/turn/items.h"
#include "daemon/turn/turn.h"

namespace lares::daemon {

class TurnLoop {
 public:
  TurnLoop(EngineHost& host, const Tools& tools, Transcript& transcript,
           std::unique_ptr<engine::Timeline>& timeline, TurnEvents& events, TurnStop& stop,
           TurnInput input, std::shared_ptr<SharedBeginning> shared);
  asio::awaitable<TurnResult> run();  // what was not read is told, whatever becomes of it

 private:
  using Clock = std::chrono::steady_clock;
  using Call = TurnItems::Call;
  // Of an answer: another is drawn in its place
  static constexpr std::string_view kGivenUp = "given up";
  static constexpr std::string_view kGoOn = "Go on with the next step.";

  // turn.cc
  asio::awaitable<void> begin();
  asio::awaitable<void> to_its_end();
  asio::awaitable<void> step();
  // By those who look at its work when the model has finished; nothing: they are content, or it has
  // been sent back often enough, and the turn ends.
  asio::awaitable<std::vector<std::string>> asked_to_go_on();
  void finish_step(const std::string& reason);
  asio::awaitable<void> run_calls();
  // The turn's reason and message.
  static std::pair<std::string, std::string> in_circles(const TurnCalls::Made& made,
                                                        const Call& call);
  // `results`: of the answer's calls before it.
  asio::awaitable<TurnCalls::Made> run_call(protocol::Item& item,
                                            const std::vector<std::string>& results);
  // Since the model last heard of it: what others changed, what its jobs did.
  asio::awaitable<std::vector<std::string>> what_happened();
  std::vector<std::string> hear(const std::vector<Said>& steering);
  std::int64_t context_limit() const { return engine_.info().n_context_max; }
  std::string explain(const std::string& reason) const;
  void end(std::string reason, std::string message);

  // loop_answer.cc
  struct Draw;
  // The step's reason. Answers that are given up are drawn again, as often as makes sense.
  asio::awaitable<std::string> kept_answer();
  // Fills the timeline, samples one answer and appends it to the transcript. Returns the step's
  // reason, or kGivenUp: nothing was appended.
  asio::awaitable<std::string> answer(int draw, bool last = false);
  // For another; empty: it is kept. `draw`: of those before it.
  asio::awaitable<std::string_view> why_given_up(const Answer& answer, int draw);
  void begin_with(Draw& drawing, const engine::Sampling& sampling, Kept kept);
  Answer::Limits limits() const;
  // Once, of an answer that goes in circles: from before the circle. False: failure_ says why, and
  // the answer is as it was.
  asio::awaitable<bool> draw_again(Draw& drawing, engine::Sampling sampling);
  engine::GrammarOptions grammar() const;
  // To the answer's end, and beyond the limit of one answer as often as the settings allow.
  asio::awaitable<void> sample(Draw& drawing);
  std::vector<engine::Token> behind_transcript(std::span<const engine::Token> tokens) const;
  // Where the timeline has been already.
  asio::awaitable<bool> go_back_to(std::vector<engine::Token> ids);
  // Makes the timeline end with `ids`. False: failure_ says why.
  asio::awaitable<bool> fill(std::span<const engine::Token> ids);
  // What the model may call.
  std::vector<engine::ToolSpec> declared() const;

  // loop_transcript.cc
  // Of the prompt that this turn begins with, however much of the conversation is left out.
  std::int64_t n_least() const;
  // False: the turn has ended, and the transcript knows nothing of it.
  bool can_hold(std::int64_t n_prompt);
  // The same of the memory, where much is said.
  asio::awaitable<bool> memory_holds(std::vector<engine::Token> prompt);
  // The model reads the results of its calls and what is said to it; `with_task`: that is what it
  // has to do now.
  asio::awaitable<void> go_on(std::vector<std::string> results, std::vector<std::string> said,
                              bool with_task);
  // What the model reads next, as tokens behind the transcript. An answer that was never drawn, for
  // the turn was stopped or the daemon died while its prompt was evaluated, is closed first: no
  // turn that the model was trained on begins within a thought.
  std::vector<engine::Token> behind_answer(const std::vector<std::string>& results,
                                           const std::vector<std::string>& said) const;
  // The turn has ended for want of room: what is read instead waits for the next prompt.
  void leave_unread();
  void tell_unread();
  enum class Shortened {
    anew,   // the transcript has begun anew, with what is said
    asked,  // all there is stays; what is said stands in it, with the request for a summary
    no,     // all there is stays, and nothing has been added
  };
  struct Shortening {
    std::string request, note;  // what the model is asked, what people are told
    std::string_view next;      // behind what is said, for the model to do then
    // The new transcript has fewer tokens, or it is not begun; else than what there is then, with
    // the summary
    std::optional<std::size_t> n_below = std::nullopt;
  };
  // Begins the transcript anew, with a summary of what it was, if it can; where the turn was
  // stopped meanwhile it has ended.
  asio::awaitable<Shortened> shorten(std::vector<std::string> results,
                                     std::vector<std::string> said, Shortening how);
  // Because the user asks for it: the whole turn.
  asio::awaitable<void> sum_up();
  // So long was the last answer that not even a summary has room behind it: its end is not summed
  // up.
  void drop_the_end(std::int64_t n_ids);
  void begin_transcript(std::vector<engine::Token> ids);
  std::vector<engine::Token> tokens_of(const Beginning& beginning) const;
  void append(const std::vector<engine::Token>& ids);
  void append_ids(const std::vector<engine::Token>& ids);

  EngineHost& host_;
  engine::Engine& engine_;
  const Tools& tools_;
  Transcript& transcript_;
  std::unique_ptr<engine::Timeline>& timeline_;
  TurnEvents& events_;
  TurnStop& stop_;
  TurnInput in_;
  TurnItems items_;
  TurnCalls run_;
  std::shared_ptr<SharedBeginning> shared_;  // null: nothing is shared
  TurnResult result_;
  protocol::Usage total_, usage_;
  Clock::duration decode_{}, prefill_{};
  std::int64_t n_read_ahead_ = 0;  // tokens of the next prompt, evaluated while a command ran
  int n_sent_back_ = 0;            // times, by who checked its work
  int n_overflown_ = 0;            // answers that were longer than the context
  bool summing_up_ = false;
  Unread unread_;              // of what is said next, what nobody would say again
  Drawn drawn_;                // the present answer
  Branches branches_;          // of the step's answers that were given up
  std::string_view given_up_;  // why the step's last answer was, for another; empty: it was not
  int n_begun_anew_ = 0;       // times in the step, after an empty answer or one in circles
  bool must_answer_ = false;   // it goes in circles: one answer more, without tools
  std::pair<std::string, std::string> why_stuck_;
  std::string failure_, failure_message_;
};

}  // namespace lares::daemon
