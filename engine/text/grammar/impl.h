// The grammar's states. Free text is constrained only in its control tokens; everything between the
// first tag of a call block and its end is a set of alternatives, each a byte string in which
// kMarker stands for the ｜DSML｜ token, or a value. Private to grammar*.cc: which state an answer
// is in (grammar.cc), what may come next in it (masks.cc), and what a call is made of
// (calls.cc).
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/grammar.h"
#include "engine/text/grammar/declared_tool.h"
#include "engine/text/grammar/json_masks.h"
#include "engine/text/grammar/json_walker.h"
#include "engine/text/grammar/stretch.h"
#include "engine/text/tokenizer/vocabulary.h"

namespace lares::engine {

inline constexpr char kMarker = '\xFF';  // no UTF-8 text contains it

// One way on: `text` is forced, then `then` happens.
struct CallWay {
  enum class Then { invoke, text, json, value_end, after_invoke, finish };
  std::string text;
  Then then;
  std::size_t index = 0;  // of the tool or the parameter
};

// What the text that comes next may be.
struct ForeseenText {
  std::optional<ArgumentChoices> choices;
  std::shared_ptr<const StretchIndex> index;  // of substring_of, or of one_of where they are many
};

class GrammarImpl final : public Grammar {
 public:
  GrammarImpl(const Tokenizer& tokenizer, GrammarOptions options);

  const TokenMask* mask() override;
  void accept(Token id) override;
  bool thinking() const override { return phase_ == Phase::thinking; }
  bool in_calls() const override {
    return phase_ != Phase::thinking && phase_ != Phase::content && phase_ != Phase::json_content &&
           phase_ != Phase::broken && phase_ != Phase::done;
  }
  bool done() const override { return phase_ == Phase::done; }
  bool stuck() const override { return stuck_; }

 private:
  // end: behind a call block; broken: what can only end.
  enum class Phase {
    thinking,
    content,
    json_content,
    ways,
    free_value,
    json_value,
    stretch_value,
    end,
    broken,
    done
  };

  // masks.cc
  void clear();
  void compute();
  void free_text();
  // The marker is not spelt in ordinary tokens: readers of the text could not tell it from the real
  // one.
  void forbid_marker(std::string_view so_far);
  // Tokens that begin with what is left of `text` after the tail: an answer shows none of the tags
  // that only a prompt has.
  void forbid_completing(std::string_view text);
  void forbid_below(std::uint32_t node);
  // Tokens along the alternatives; none crosses a value or the marker.
  void walk_ways(std::size_t depth);

  // grammar.cc
  void remember(std::string_view bytes);
  void begin_content();
  void begin_walk(JsonWalker walker);
  // A token that the mask offered, and the walker refuses, is a broken promise of theirs: the
  // answer ends, and is not left free.
  void say_json(std::string_view bytes, bool offered);
  void refused(bool offered, Phase otherwise);

  // calls.cc
  void set_ways(std::vector<CallWay> ways);
  // Those that go on with `c` stand side by side.
  void narrow(char c);
  void advance(std::string_view bytes);
  // As soon as it is certain which text comes, tokens before it does, its choices are asked for,
  // and made ready meanwhile.
  void foresee();
  void foresee(std::size_t index);
  ForeseenText choices_of(std::size_t index);
  void go(const CallWay& way);
  // "<｜DSML｜" was written as content: the rest of the opening tag, and the first invoke.
  void open_block();
  std::vector<CallWay> invokes(const std::string& before) const;
  void after_invoke();
  bool used(const std::string& name) const;
  bool may_close() const;
  std::vector<CallWay> parameters(const std::string& before) const;
  void begin_value(std::size_t index);
  void begin_json(std::size_t index);
  void begin_text(std::size_t index);
  // The closing tag's marker was written; `length` of the value's bytes are the value (npos: it was
  // one of the choices).
  void end_value(std::size_t length);

  const Tokenizer& tokenizer_;
  std::shared_ptr<const Vocabulary> vocabulary_;
  GrammarOptions options_;
  std::vector<DeclaredTool> tools_;
  Phase phase_;
  TokenMask mask_;
  bool stuck_ = false;
  bool offered_ = false;  // mask_ is of the token that comes next
  std::string tail_;      // the last bytes of the free text under way

  std::vector<CallWay> ways_;  // Phase::ways: sorted, and equal up to at_
  std::size_t at_ = 0;
  // Of ways_, where they are many; null: they are walked
  std::shared_ptr<const StretchIndex> listed_;
  std::optional<StretchIndex::Range> listed_at_;  // of those that are left

  int n_calls_ = 0;
  std::size_t tool_ = 0, parameter_ = 0;
  Arguments written_;  // of the call under way
  std::string value_;
  std::optional<JsonWalker> json_;
  JsonMasks json_masks_;
  // By parameter, of the texts that ways_ may lead to
  std::map<std::size_t, ForeseenText> foreseen_;
  std::optional<Stretch> stretch_;
};

}  // namespace lares::engine
