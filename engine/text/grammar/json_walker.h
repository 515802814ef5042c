// A JSON document of a schema while it is written, byte by byte: what may come next, in which of
// the ways that the schema leaves open. A way is a few words, and what follows the value under way
// is a number; so bytes can be tried on at little cost, a whole vocabulary at every token
// (json_masks.h). Ways that stand at the same place are one, whatever they came through: what may
// follow is then a set, and sets share their tails, as the stacks of a generalised LR parser do. No
// way is ever dropped: how many there can be is the schema's matter (schema_ways.h), and what a
// mask allows, accept() takes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/text/grammar/json_string.h"
#include "engine/text/grammar/schema_nodes.h"

namespace lares::engine {

inline constexpr std::size_t kContinuationsMax = 1 << 16;  // remembered from one token to the next

struct JsonWay {
  // clang-format off
  enum class At : std::uint8_t {
    value,
    choice,                                                    // among [from, to) of them, `value` bytes in
    string, map_key,
    minus, zero, digits, point, fraction, exponent, exponent_sign, exponent_digits,  // of a number
    first_item, after_item,                                    // in an array; `from` of them are written
    first_key, key, after_key, after_member,                   // in an object; next is property `from` ...
    key_text,                                                  // ... or one of [from, to) by key, `next` at the earliest, `value` bytes in
    text,                                                      // plain, of a pattern
    done, closing, closed                                      // behind the document: nothing, "<", "</"
    // clang-format on
  } at = At::done;
  StringAt string = StringAt::text;
  // Before the next value or bracket: 0 nothing, 1 a blank, 2 + n a line feed and n blanks
  std::uint8_t gap = 0;
  std::uint8_t n_fraction = 0;  // number; of an exponent, its digits
  std::uint8_t n_digits = 0;    // number
  bool negative = false;        // number
  std::uint16_t state = 0;      // string, text: of the pattern
  NodeId node = 0;         // the value under way, or the array or object around what comes next
  std::uint32_t then = 0;  // what may follow that value
  std::uint32_t from = 0, to = 0, next = 0;
  std::uint64_t value = 0;

  bool operator==(const JsonWay&) const = default;
  bool stands_as(const JsonWay& o) const {  // it differs at most in what may follow
    JsonWay same = o;
    same.then = then;
    return node == o.node && *this == same;
  }
};

using JsonWays = std::vector<JsonWay>;  // no two of them stand_as() each other

class JsonWalker {
 public:
  // `closes`: the document stands in a parameter, and the "</" of its closing tag comes behind it.
  JsonWalker(JsonSchemaRef schema, NodeId root, bool closes);
  // Plain text that matches one of the patterns, in a parameter.
  explicit JsonWalker(std::vector<std::shared_ptr<const Pattern>> patterns);

  // False: no document goes on like this, and the walker is spent. Blanks of any length are taken,
  // for others may have written them.
  bool accept(std::string_view bytes);
  bool complete() const;  // what was accepted is a whole document (a number may still go on)
  bool closed() const;    // ... and "</" stands behind it
  const JsonWays& ways() const { return ways_; }

  // To `out`, what `way` can be after one more byte. For masks: blanks as json_schema.h says.
  void step(const JsonWay& way, std::uint8_t byte, JsonWays& out) {
    step(way, byte, /*any_blanks=*/false, out);
  }
  // Of a way in a number: how many digits it has room for. Nullopt: it is elsewhere, or the next
  // digit decides what it is.
  std::optional<DigitRoom> digit_room(const JsonWay& way) const;
  // Of numbers for continuations, which are given anew when they are too many: ways of another
  // generation mean nothing.
  std::uint64_t generation() const { return generation_; }
  // That a string's way, or a text's, is in a state of; null: none.
  std::shared_ptr<const Pattern> pattern_of(const JsonWay& way) const {
    return way.at == JsonWay::At::string ? schema_->nodes[way.node].pattern
           : way.at == JsonWay::At::text ? patterns_[way.from]
                                         : nullptr;
  }
  // Of a way among listed values, SchemaNode::listed; else empty.
  const std::string& listed_of(const JsonWay& way) const {
    static const std::string kNone;
    return way.at == JsonWay::At::choice ? schema_->nodes[way.node].listed : kNone;
  }

 private:
  using At = JsonWay::At;
  // After a value: the array or object it is in, what follows that, and the place in it; or, with
  // `also`, one of several such.
  struct Continuation {
    std::uint32_t then = 0;
    NodeId node = 0;
    std::uint32_t place = 0;  // items so far, or the next property
    // The others, all of a smaller (node, place), the greatest first; 0: none
    std::uint32_t also = 0;
    int depth = 0;  // arrays and objects that are open: the same for all
    bool operator==(const Continuation& o) const {
      return then == o.then && node == o.node && place == o.place && also == o.also;
    }
  };
  struct Hash {
    std::size_t operator()(const Continuation& c) const {
      constexpr std::size_t kOdd = 0x9E3779B97F4A7C15u;
      return ((std::size_t(c.then) * kOdd + c.node) * kOdd + c.place) * kOdd + c.also;
    }
  };

  const SchemaNode& node(NodeId id) const { return schema_->nodes[id]; }
  int depth(std::uint32_t then) const { return continuations_[then].depth; }
  std::uint32_t continuation(std::uint32_t then, NodeId node, std::uint32_t place,
                             std::uint32_t also = 0);
  std::uint32_t either(std::uint32_t a, std::uint32_t b);
  void add(const JsonWay& way, JsonWays& out);
  void add_after(std::uint32_t then, JsonWays& out);
  void step_after(std::uint32_t then, std::uint8_t byte, bool any_blanks, JsonWays& out);
  void forget();

  void step(const JsonWay& way, std::uint8_t byte, bool any_blanks, JsonWays& out);
  bool blank(const JsonWay& way, std::uint8_t byte, bool any_blanks, JsonWays& out);
  void begin(NodeId id, std::uint32_t then, std::uint8_t byte, JsonWays& out);
  void number(const JsonWay& way, std::uint8_t byte, bool any_blanks, JsonWays& out);
  void digit(JsonWay way, At at, std::uint8_t byte, JsonWays& out);
  void choice(JsonWay way, std::uint8_t byte, bool any_blanks, JsonWays& out);
  void string(JsonWay way, std::uint8_t byte, JsonWays& out);
  void array(const JsonWay& way, std::uint8_t byte, JsonWays& out);
  void object(const JsonWay& way, std::uint8_t byte, JsonWays& out);
  void key_text(JsonWay way, std::uint8_t byte, JsonWays& out);
  bool fits(NodeId value, std::uint32_t then) const {
    return depth(then) + 1 + node(value).min_depth <= kDocumentDepthMax;
  }
  bool some_key(const SchemaNode& object, std::uint32_t next, std::uint32_t then) const;
  bool is_key(const SchemaNode& object, std::uint32_t index, std::uint32_t next,
              std::uint32_t then) const;
  bool ended(const JsonWay& way) const;  // a number or a choice that may go on, and need not
  JsonWay after(const Continuation& c) const;

  JsonSchemaRef schema_;
  bool closes_;
  std::vector<std::shared_ptr<const Pattern>> patterns_;
  std::vector<Continuation> continuations_;  // [0]: the document's end
  std::unordered_map<Continuation, std::uint32_t, Hash> numbers_;
  std::unordered_map<std::uint64_t, std::uint32_t> eithers_;  // two of them: both
  JsonWays ways_;
  JsonWays scratch_;
  std::uint64_t generation_ = 0;
};

}  // namespace lares::engine
