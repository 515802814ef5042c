// The streaming parser of answers. It looks only at what no further input can
// change, so its events, joined, do not depend on how the text was cut; whatever is undecided waits
// in `pending_`.
#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "engine/chat.h"
#include "engine/exact_json.h"
#include "engine/grammar.h"

namespace lares::engine {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kOpen = "<｜DSML｜", kClose = "</｜DSML｜";
constexpr std::string_view kNoMark = " ";  // nothing ends in the beginning of it
constexpr std::size_t kTagBytesMax = 512;  // a longer "tag" is text
static_assert(kParameterNameBytesMax + 64 < kTagBytesMax);
// What may close a value
constexpr std::array<std::string_view, 3> kEnds = {"parameter", "invoke", "tool_calls"};

// How many bytes at the end of `text` could be the beginning of `mark`.
std::size_t partial(std::string_view text, std::string_view mark) {
  for (std::size_t n = std::min(text.size(), mark.size() - 1); n > 0; --n) {
    if (text.ends_with(mark.substr(0, n))) return n;
  }
  return 0;
}

std::size_t trailing_newlines(std::string_view text) {
  std::size_t n = 0;
  while (n < text.size() && text[text.size() - 1 - n] == '\n') ++n;
  return n;
}

// Bytes at the end that begin a code point.
std::size_t half_code_point(std::string_view text) {
  for (std::size_t n = 1; n <= std::min<std::size_t>(3, text.size()); ++n) {
    const auto byte = static_cast<unsigned char>(text[text.size() - n]);
    if ((byte & 0xC0) == 0x80) continue;
    const std::size_t whole = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
    return whole > n ? n : 0;
  }
  return 0;
}

// Discarded where it is none. (To nlohmann's lexer a NUL is the end of the input.)
Json json_of(const std::string& text) {
  if (text.find('\0') != std::string::npos) return Json(Json::value_t::discarded);
  return exact_json<Json>(text);
}
std::string json_string(std::string_view text) {
  return Json(std::string(text)).dump(-1, ' ', false, Json::error_handler_t::replace);
}
std::string escaped(std::string_view text) {
  const std::string q = json_string(text);
  return q.substr(1, q.size() - 2);
}

struct Tag {
  bool closing = false, self_closing = false;
  std::string word;                 // "invoke", "parameter", "tool_calls", ...
  std::optional<std::string> name;  // name="..."
  std::optional<bool> string;       // string="true|false"
};

// `text` from '<' to '>'. Inside a block the marker may be misspelt or missing; nullopt: not a tag
// of the format.
std::optional<Tag> read_tag(std::string_view text) {
  Tag tag;
  text.remove_prefix(1), text.remove_suffix(1);
  const auto skip = [&](std::string_view what) {
    if (!text.starts_with(what)) return false;
    text.remove_prefix(what.size());
    return true;
  };
  bool more = true;
  while (more)
    more = skip(" ") || skip("｜") || skip("|") || skip("DSML") ||
           (skip("/") && (tag.closing = true));
  while (!text.empty() && (std::isalnum(static_cast<unsigned char>(text[0])) || text[0] == '_')) {
    tag.word += text[0];
    text.remove_prefix(1);
  }
  if (tag.word.empty()) return std::nullopt;
  if (text.ends_with("/")) tag.self_closing = true;
  const auto attribute = [&](std::string_view key) -> std::optional<std::string> {
    const std::string mark = fmt::format(" {}=\"", key);
    const std::size_t at = text.find(mark);
    if (at == std::string_view::npos) return std::nullopt;
    const std::string_view value = text.substr(at + mark.size());
    const std::size_t end = value.find('"');
    if (end == std::string_view::npos) return std::nullopt;
    return std::string(value.substr(0, end));
  };
  tag.name = attribute("name");
  if (const auto s = attribute("string")) tag.string = *s == "true";
  return tag;
}

bool is_block(const Tag& tag) { return tag.word.find("call") != std::string::npos; }

// A place where text stands that may end in the beginning of something else.
struct Fences {
  bool inside = false;
  std::string line;  // of the current line, the first bytes
  void see(std::string_view text) {
    for (const char c : text) {
      if (c == '\n') {
        if (line.starts_with("```")) inside = !inside;
        line.clear();
      } else if (line.size() < 3) {
        line += c;
      }
    }
  }
  bool fenced() const { return inside || line.starts_with("```"); }
};

}  // namespace

struct StreamParser::Impl {
  enum class State { reasoning, content, block, invoke, value, body, done };

  explicit Impl(Options options) : options_(std::move(options)) {
    state_ = options_.thinking ? State::reasoning : State::content;
    for (const ToolSpec& tool : options_.tools) {
      schemas_.emplace_back(tool.name,
                            Json::parse(tool.schema, nullptr, /*allow_exceptions=*/false));
    }
  }

  std::vector<Event> run(std::string_view text, bool last) {
    pending_.append(text);
    last_ = last;
    while (step()) {
    }
    if (last) end();
    return told();
  }

  std::vector<Event> end_thinking() {
    if (state_ != State::reasoning) return {};
    std::string_view before = rest();
    before.remove_suffix(trailing_newlines(before));
    think(before);
    at_ = pending_.size();
    begin_answer();
    return told();
  }

  std::vector<Event> settle() {
    if (rest().empty() || (state_ != State::reasoning && state_ != State::content)) return {};
    std::string held(unsaid(rest()));
    if (held.empty()) return {};
    if (state_ == State::reasoning)
      events_.push_back(ReasoningDelta{std::move(held)});
    else
      events_.push_back(ContentDelta{std::move(held)});
    settled_ = pending_.size();
    return told();
  }

 private:
  std::vector<Event> told() {
    pending_.erase(0, at_);
    settled_ -= std::min(settled_, at_);
    at_ = 0;
    return std::exchange(events_, {});
  }

  std::string_view rest() const { return std::string_view(pending_).substr(at_); }
  void take(std::size_t n) {
    if (in_block()) raw_ += unsaid(rest().substr(0, n));
    at_ += n;
  }
  bool in_block() const {
    return state_ == State::block || state_ == State::invoke || state_ == State::value ||
           state_ == State::body;
  }

  // One decision; false when it needs more input.
  bool step() {
    if (rest().empty()) return false;
    switch (state_) {
      case State::reasoning:
        return reasoning();
      case State::content:
        return content();
      case State::block:
        return block();
      case State::invoke:
        return invoke();
      case State::value:
        return value();
      case State::body:
        return body();
      case State::done:
        at_ = pending_.size();
        return false;
    }
    return false;
  }

  // ---- text

  bool reasoning() {
    const std::string_view text = rest();
    if (!begun_) {
      const std::size_t n = std::min(text.find_first_not_of('\n'), text.size());
      if (n > 0) return take(n), true;
    }
    if (options_.held_to_grammar)
      return say_decided(text, {}, [&](std::string_view t) { think(t); });
    const std::size_t end = text.find(kThinkEnd);
    if (end != std::string_view::npos) {
      std::string_view before = text.substr(0, end);
      before.remove_suffix(trailing_newlines(before));
      think(before);
      take(end + kThinkEnd.size());
      begin_answer();
      return true;
    }
    return say_decided(text, {kThinkEnd}, [&](std::string_view t) { think(t); });
  }

  void begin_answer() {
    state_ = State::content;
    begun_ = false;
  }

  // The part of what stands at `at_` that settle() has not said.
  std::string_view unsaid(std::string_view text) const {
    return text.substr(std::min(text.size(), settled_ - std::min(settled_, at_)));
  }

  void think(std::string_view text) {
    text = unsaid(text);
    if (text.empty()) return;
    begun_ = true;
    events_.push_back(ReasoningDelta{std::string(text)});
    if (options_.tools.empty() || options_.held_to_grammar) return;
    draft_ += text;
    if (drafting_) return;
    if (const auto at = draft_.find(kOpen); at != std::string::npos) {
      draft_.erase(0, at);
      drafting_ = true;
    } else {
      draft_.erase(0, draft_.size() - partial(draft_, kOpen));
    }
  }

  bool content() {
    const std::string_view text = rest();
    if (!begun_) {
      const std::size_t n = std::min(text.find_first_not_of('\n'), text.size());
      if (n > 0) return held_newlines_.append(text.substr(0, n)), take(n), true;
    }
    const std::size_t think_end = options_.held_to_grammar ? std::string_view::npos
                                                           : text.find(kThinkEnd);
    const std::size_t open = options_.tools.empty() ? std::string_view::npos : text.find(kOpen);
    const std::size_t mark = std::min(think_end, open);
    if (mark == std::string_view::npos) {
      return say_decided(text,
                         {options_.held_to_grammar ? kNoMark : kThinkEnd,
                          options_.tools.empty() ? kNoMark : kOpen},
                         [&](std::string_view t) { say(t); });
    }
    if (mark > 0) {  // up to the newlines before the mark, which belong to a block if it is one
      const std::size_t newlines = trailing_newlines(text.substr(0, mark));
      if (mark > newlines) return say(text.substr(0, mark - newlines)), take(mark - newlines), true;
    }
    const std::size_t newlines = mark;  // nothing but newlines stand before it
    if (mark == think_end) {            // a stray second one
      say(text.substr(0, newlines));
      take(newlines + kThinkEnd.size());
      return true;
    }
    const std::string_view from = text.substr(newlines);
    const std::size_t end = from.substr(0, kTagBytesMax).find('>');
    if (end == std::string_view::npos && from.size() < kTagBytesMax &&
        (!last_ || options_.held_to_grammar))
      return false;  // one that was cut off is no text, see end()
    const auto tag = end == std::string_view::npos ? std::nullopt
                                                   : read_tag(from.substr(0, end + 1));
    fences_.see(text.substr(0, newlines));
    const bool opens = tag && !tag->closing &&
                       (is_block(*tag) || (tag->word == "invoke" && tag->name)) &&
                       (options_.held_to_grammar || !fences_.fenced());
    if (!opens) {
      say(text.substr(0, newlines + kOpen.size()), /*seen=*/newlines);
      take(newlines + kOpen.size());
      return true;
    }
    bare_ = !is_block(*tag);
    raw_ = held_newlines_ + std::string(unsaid(text.substr(0, newlines)));
    at_ += newlines;
    state_ = State::block;
    if (!bare_) take(end + 1);
    return true;
  }

  void say(std::string_view text, std::size_t seen = 0) {
    if (text.empty()) return;
    begun_ = true;
    held_newlines_.clear();
    fences_.see(text.substr(seen));
    if (const auto fresh = unsaid(text); !fresh.empty())
      events_.push_back(ContentDelta{std::string(fresh)});
  }

  // Says what cannot be the beginning of a mark nor a newline before one.
  template <class Say>
  bool say_decided(std::string_view text, std::initializer_list<std::string_view> marks,
                   Say say_it) {
    std::size_t held = 0;
    if (!last_) {
      for (const auto mark : marks) held = std::max(held, partial(text, mark));
      held += trailing_newlines(text.substr(0, text.size() - held));
    }
    if (held == text.size()) return false;
    say_it(text.substr(0, text.size() - held));
    take(text.size() - held);
    return true;
  }

  // ---- calls

  // The arguments came as one object, and are said
  static constexpr std::string_view kWhole = "whole";
  struct Call {
    int index = 0;
    std::string name, arguments, wrong;  // wrong: why it is rejected; the first reason counts
    std::vector<std::string> keys;
    // The object of a parameter `arguments` that the tool does not have, or kWhole
    std::string wrapped;
    // That belongs to nothing: it goes on to the next tag, whatever begins in it
    bool in_text = false;
    void reject(std::string why) {
      if (wrong.empty()) wrong = std::move(why);
    }
  };

  // The next tag, when the text before it is nothing but blanks. `before`: what else stands there.
  std::optional<Tag> next_tag(std::size_t& length, bool& wait) {
    const std::string_view text = rest();
    wait = false;
    const std::size_t end = text.substr(0, kTagBytesMax).find('>');
    if (end == std::string_view::npos) {
      wait = text.size() < kTagBytesMax && !last_;
      return std::nullopt;
    }
    length = end + 1;
    return read_tag(text.substr(0, length));
  }

  bool skip_blanks() {
    const std::size_t n = std::min(rest().find_first_not_of(" \t\r\n"), rest().size());
    if (n > 0) take(n);
    return !rest().empty();
  }

  bool block() {
    if (bare_ && n_calls_ > 0) {  // without an outer tag the calls end where something else begins
      const std::string_view text = rest();
      const std::size_t blanks = std::min(text.find_first_not_of(" \t\r\n"), text.size());
      const std::string_view after = text.substr(blanks);
      if (!last_ && after.size() < kOpen.size() && kOpen.starts_with(after)) return false;
      if (!last_ && after.size() < kClose.size() && kClose.starts_with(after)) return false;
      if (!after.starts_with(kOpen) && !after.starts_with(kClose)) {
        state_ = State::content;
        return true;
      }
    }
    if (!skip_blanks()) return false;
    if (rest()[0] != '<')
      return take(std::max<std::size_t>(1, std::min(rest().find('<'), rest().size()))), true;
    std::size_t length = 0;
    bool wait = false;
    const auto tag = next_tag(length, wait);
    if (wait) return false;
    if (!tag) return take(1), true;
    take(length);
    if (tag->closing && is_block(*tag)) {
      if (n_calls_ > 0)
        state_ = State::done;
      else
        fail_block();
      return true;
    }
    if (tag->closing || tag->word != "invoke" || !tag->name) return true;
    call_ = Call{.index = n_calls_++, .name = *tag->name};
    events_.push_back(CallBegin{call_->index, call_->name});
    if (!schema()) call_->reject(unknown());
    state_ = State::invoke;
    if (tag->self_closing) finish_call();
    return true;
  }

  bool invoke() {
    if (!skip_blanks()) return false;
    if (rest()[0] == '{' && call_->keys.empty() && call_->wrapped.empty() && !call_->in_text) {
      buffer_.clear();
      state_ = State::body;
      return true;
    }
    if (rest()[0] != '<') {
      call_->reject("there is text between its parameters");
      call_->in_text = true;
      return take(std::max<std::size_t>(1, std::min(rest().find('<'), rest().size()))), true;
    }
    call_->in_text = false;
    std::size_t length = 0;
    bool wait = false;
    const auto tag = next_tag(length, wait);
    if (wait) return false;
    if (!tag) return call_->in_text = true, take(1), true;
    if (tag->closing) {
      if (tag->word == "invoke") take(length);
      if (tag->word == "invoke" || is_block(*tag))
        finish_call();
      else
        take(length);
      return true;
    }
    if (tag->word == "invoke") {  // the one before was not closed
      call_->reject("it was not closed before the next one began");
      finish_call();
      return true;
    }
    take(length);
    if (tag->word != "parameter" || !tag->name) {
      call_->reject(fmt::format("<{}> does not belong into it", tag->word));
      return true;
    }
    key_ = *tag->name;
    if (call_->wrapped == kWhole) call_->reject("it has parameters beside an arguments object");
    if (std::find(call_->keys.begin(), call_->keys.end(), key_) != call_->keys.end()) {
      call_->reject(fmt::format("the parameter {} is given twice", key_));
    }
    as_ = tag->string ? (*tag->string ? As::text : As::json) : As::guess;
    wrapping_ = as_ != As::text && (key_ == "arguments" || key_ == "input") && !property(key_);
    if (as_ == As::text) open_key(), emit("\"");
    buffer_.clear();
    state_ = State::value;
    return true;
  }

  // `"key": ` behind what is there.
  void open_key() {
    emit((call_->arguments.empty() ? "{" : ", ") + json_string(key_) + ": ");
    call_->keys.push_back(key_);
  }
  void emit(std::string json) {
    call_->arguments += json;
    events_.push_back(ArgumentsDelta{call_->index, std::move(json)});
  }

  // The end of a value or body in `text`: npos when there is none, or `undecided` from where it may
  // begin.
  std::size_t find_end(std::string_view text, std::size_t& undecided) const {
    undecided = text.size() - partial(text, kClose);
    for (std::size_t at = text.find(kClose); at != std::string_view::npos;
         at = text.find(kClose, at + kClose.size())) {
      const std::string_view word = text.substr(at + kClose.size());
      for (const auto end : kEnds) {
        if (word.starts_with(end)) return at;
        if (end.starts_with(word)) {  // and more may come
          undecided = at;
          return std::string_view::npos;
        }
      }
    }
    return std::string_view::npos;
  }

  bool value() {
    const std::string_view text = rest();
    std::size_t undecided = 0;
    const std::size_t end = find_end(text, undecided);
    std::size_t n = end == std::string_view::npos ? undecided : end;
    if (end == std::string_view::npos && as_ == As::text) n -= half_code_point(text.substr(0, n));
    if (n > 0) {
      if (as_ == As::text)
        emit(escaped(text.substr(0, n)));
      else
        buffer_ += text.substr(0, n);
      take(n);
    }
    if (end == std::string_view::npos) return n > 0;
    std::size_t length = 0;
    bool wait = false;
    const auto tag = next_tag(length, wait);
    if (wait) return false;
    end_value();
    if (tag && tag->word == "parameter")
      take(length);
    else if (!tag)
      take(kClose.size());
    state_ = State::invoke;
    return true;
  }

  void end_value() {
    if (as_ == As::text) return emit("\"");
    const Json json = json_of(buffer_);
    if (wrapping_ && json.is_object() && call_->keys.empty() && call_->wrapped.empty()) {
      call_->wrapped = buffer_;
      return;
    }
    const bool text = property_is_string(key_);
    open_key();
    if (as_ == As::guess ? text || json.is_discarded() : text && json.is_discarded())
      return emit(json_string(buffer_));
    if (json.is_discarded())
      call_->reject(fmt::format(
          "the value of {} is not JSON: write it as JSON, or with string=\"true\"", key_));
    emit(json.is_discarded() ? "null" : buffer_);
  }

  bool body() {
    const std::string_view text = rest();
    std::size_t undecided = 0;
    const std::size_t end = find_end(text, undecided);
    const std::size_t n = end == std::string_view::npos ? undecided : end;
    buffer_ += text.substr(0, n);
    take(n);
    if (end == std::string_view::npos) return false;
    unwrap(buffer_);
    state_ = State::invoke;
    return true;
  }

  // A whole arguments object at once.
  void unwrap(const std::string& text) {
    Json json = json_of(text);
    if (!json.is_object()) return call_->reject("its body is not a JSON object");
    for (const char* key : {"arguments", "input"}) {
      if (json.size() == 1 && json.contains(key) && json[key].is_object() && !property(key)) {
        Json inner = json[key];
        json = std::move(inner);
      }
    }
    for (const auto& [key, member] : json.items()) call_->keys.push_back(key);
    emit(exact_text(json));
    call_->wrapped = kWhole;
  }

  void finish_call() {
    Call& call = *call_;
    const bool whole = call.wrapped == kWhole;
    if (!whole && !call.wrapped.empty()) {
      if (call.keys.empty())
        unwrap(call.wrapped);
      else
        call.reject("it has parameters beside an arguments object");
    } else if (!whole) {
      emit(call.arguments.empty() ? "{}" : "}");
    }
    if (const Json* s = schema(); s && s->contains("required") && (*s)["required"].is_array()) {
      for (const auto& key : (*s)["required"]) {
        if (!key.is_string() || std::find(call.keys.begin(), call.keys.end(),
                                          key.get<std::string>()) != call.keys.end())
          continue;
        call.reject(fmt::format("the parameter {} is missing", key.get<std::string>()));
      }
    }
    close_call();
  }

  void close_call() {
    Call& call = *call_;
    if (call.wrong.empty())
      events_.push_back(CallEnd{call.index, call.arguments});
    else
      events_.push_back(
          CallRejected{call.index, call.name,
                       fmt::format("This call of {} did not run: {}.", call.name, call.wrong)});
    call_.reset();
    state_ = State::block;
  }

  void fail_block() {
    state_ = State::content;
    events_.push_back(ContentDelta{std::exchange(raw_, {})});
    begun_ = true;
  }

  // ---- the end of the input: step() has taken all it could with last_ set

  void end() {
    if (call_) {
      call_->wrong = "it was cut off; send it again, complete";
      close_call();
    } else if (in_block() && n_calls_ == 0 && !options_.held_to_grammar) {
      // No grammar ends an answer in its block: an interrupt or a limit does, and half a block is
      // nobody's text.
      raw_ += rest();
      fail_block();
    }
    if (state_ == State::reasoning && drafting_) take_draft();  // of none held to a grammar
    at_ = pending_.size();
  }

  // The model never left its reasoning, but a complete block stands there.
  void take_draft() {
    draft_.append(rest());
    Impl inner({.thinking = false, .tools = options_.tools});
    auto events = inner.run(draft_, true);
    if (inner.state_ != State::done) return;
    for (auto& event : events) {
      if (!std::holds_alternative<ContentDelta>(event)) events_.push_back(std::move(event));
    }
  }

  // ---- schemas

  const Json* schema() const {
    for (const auto& [name, s] : schemas_) {
      if (call_ && name == call_->name) return &s;
    }
    return nullptr;
  }
  const Json* property(const std::string& key) const {
    const Json* s = schema();
    if (!s || !s->is_object() || !s->contains("properties") || !(*s)["properties"].contains(key))
      return nullptr;
    return &(*s)["properties"][key];
  }
  bool property_is_string(const std::string& key) const {
    const Json* p = property(key);
    return p && p->is_object() && p->contains("type") && (*p)["type"] == "string";
  }
  std::string unknown() const {
    std::string names;
    for (const auto& [name, s] : schemas_) names += (names.empty() ? "" : ", ") + name;
    return fmt::format("there is no tool of that name; there are {}", names);
  }

  enum class As { text, json, guess };

  Options options_;
  std::vector<std::pair<std::string, Json>> schemas_;
  State state_ = State::content;
  std::string pending_;
  std::size_t at_ = 0, settled_ = 0;  // of pending_: up to where it is done; is said
  bool last_ = false, begun_ = false, bare_ = false;
  std::string held_newlines_;  // leading ones, in case they stand before a block that is none
  Fences fences_;
  std::string draft_;  // reasoning from its first DSML mark on
  bool drafting_ = false;
  std::string raw_;  // the block as it was written
  int n_calls_ = 0;
  std::optional<Call> call_;
  std::string key_, buffer_;
  As as_ = As::text;
  bool wrapping_ = false;
  std::vector<Event> events_;
};

bool is_parameter_name(std::string_view name) {
  return !name.empty() && name.size() <= kParameterNameBytesMax &&
         std::ranges::none_of(
             name, [](unsigned char c) { return c < 0x20 || c == '"' || c == '<' || c == '>'; });
}

StreamParser::StreamParser(Options options) : impl_(std::make_unique<Impl>(std::move(options))) {}
StreamParser::~StreamParser() = default;
StreamParser::StreamParser(StreamParser&&) noexcept = default;
std::vector<Event> StreamParser::feed(std::string_view text) { return impl_->run(text, false); }
std::vector<Event> StreamParser::end_thinking() { return impl_->end_thinking(); }
std::vector<Event> StreamParser::settle() { return impl_->settle(); }
std::vector<Event> StreamParser::finish() { return impl_->run({}, true); }

}  // namespace lares::engine
