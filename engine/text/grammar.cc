// The grammar's states. Free text is constrained only in its control tokens; everything between the first tag of a call block and
// its end is a set of alternatives, each a byte string in which kMarker stands for the ｜DSML｜ token, or a value.
#include "engine/grammar.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/text/json_masks.h"
#include "engine/text/json_walker.h"
#include "engine/text/mask_store.h"
#include "engine/text/schema_nodes.h"
#include "engine/text/sorted_walk.h"
#include "engine/text/stretch.h"
#include "engine/text/vocabulary.h"

namespace lares::engine {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kMarker = '\xFF';  // no UTF-8 text contains it

struct Parameter {
  std::string name;
  bool required = false;
  ParameterForms forms;
  JsonSchemaRef json;  // that forms.json is a node of
};
struct Declared {
  std::string name;
  std::vector<Parameter> parameters;
};

JsonSchemaRef schema_of_type(const std::string& type) {
  static const auto compiled = [] {
    std::map<std::string, JsonSchemaRef> all = {{"", *compile_schema(Json::object())}};
    for (const char* const name : {"integer", "number", "boolean", "array", "object"}) all[name] = *compile_schema({{"type", name}});
    return all;
  }();
  const auto known = compiled.find(type);
  return known != compiled.end() ? known->second : compiled.at("");
}

Declared strictly_declared(const ToolSpec& spec) {
  Declared out{spec.name, {}};
  const auto& properties = spec.strict->nodes[spec.strict->root].properties;
  for (std::size_t i = 0; i < properties.size(); ++i) {
    out.parameters.push_back({properties[i].name, properties[i].required, spec.strict->parameters[i], spec.strict});
  }
  return out;
}

Declared declared(const ToolSpec& spec) {
  if (spec.strict) return strictly_declared(spec);
  Declared out{spec.name, {}};
  const Json schema = Json::parse(spec.schema, nullptr, /*allow_exceptions=*/false);
  if (!schema.is_object() || !schema.contains("properties")) return out;
  std::set<std::string> required;
  for (const Json& name : schema.value("required", Json::array())) {
    if (name.is_string()) required.insert(name.get<std::string>());
  }
  for (const auto& [name, property] : schema["properties"].items()) {
    Parameter p{.name = name, .required = required.count(name) > 0, .forms = {}, .json = nullptr};
    const std::string type = property.is_object() && property.contains("type") && property["type"].is_string()
                                 ? property["type"].get<std::string>() : "";
    p.forms.text = type == "string";
    if (!p.forms.text) p.json = schema_of_type(type), p.forms.json = p.json->root;
    if (p.forms.text && property.contains("enum") && property["enum"].is_array()) {
      for (const Json& value : property["enum"]) {
        if (value.is_string()) p.forms.one_of.push_back(value.get<std::string>());
      }
    }
    out.parameters.push_back(std::move(p));
  }
  return out;
}

// One way on: `text` is forced, then `then` happens.
struct Way {
  enum class Then { invoke, text, json, value_end, after_invoke, finish };
  std::string text;
  Then then;
  std::size_t index = 0;  // of the tool or the parameter
};

// What the text that comes next may be.
struct Foreseen {
  std::optional<ArgumentChoices> choices;
  std::shared_ptr<const StretchIndex> index;  // of substring_of, or of one_of where they are many
};

class GrammarImpl final : public Grammar {
 public:
  GrammarImpl(const Tokenizer& tokenizer, GrammarOptions options)
      : tokenizer_(tokenizer), vocabulary_(tokenizer.vocabulary()), options_(std::move(options)),
        phase_(Phase::thinking), json_masks_(vocabulary_) {
    for (const ToolSpec& spec : options_.tools) tools_.push_back(declared(spec));
    if (!options_.thinking) begin_content();
  }

  const TokenMask* mask() override {
    compute();
    offered_ = true;
    for (const std::uint64_t word : mask_) {
      if (word != 0) return &mask_;
    }
    // A broken promise of this file. The answer ends here: its call is incomplete and will not run.
    allow(mask_, vocabulary_->eos());
    return &mask_;
  }

  void accept(Token id) override {
    const bool offered = std::exchange(offered_, false) && allows(mask_, id);
    if (id == vocabulary_->eos()) {
      phase_ = Phase::done;
      return;
    }
    const std::string_view bytes = tokenizer_.bytes(id);
    switch (phase_) {
      case Phase::thinking:
        if (id == vocabulary_->think_end()) begin_content();
        return;
      case Phase::content:
        if (id == vocabulary_->dsml()) return open_block();
        return remember(bytes);
      case Phase::json_content:
        return say_json(bytes, offered);
      case Phase::ways:
        if (id == vocabulary_->dsml()) return advance(std::string_view(&kMarker, 1));
        return advance(bytes);
      case Phase::free_value:
        if (id == vocabulary_->dsml()) return end_value(value_.size() - 2);
        value_ += bytes;
        return remember(bytes);
      case Phase::json_value:
        if (id == vocabulary_->dsml()) return end_value(value_.size() - 2);
        value_ += bytes;
        if (json_->accept(bytes)) return;
        phase_ = offered ? Phase::end : Phase::free_value;  // others wrote what is none
        return remember(bytes);
      case Phase::stretch_value:
        if (id == vocabulary_->dsml()) return end_value(value_.size() - 2);
        value_ += bytes;
        return stretch_->extend(bytes);
      case Phase::end:
      case Phase::broken:
      case Phase::done:
        return;
    }
  }

  bool thinking() const override { return phase_ == Phase::thinking; }
  bool in_calls() const override {
    return phase_ != Phase::thinking && phase_ != Phase::content && phase_ != Phase::json_content && phase_ != Phase::broken && phase_ != Phase::done;
  }
  bool done() const override { return phase_ == Phase::done; }

 private:
  enum class Phase { thinking, content, json_content, ways, free_value, json_value, stretch_value, end, broken, done };  // broken: content that only ends

  // ---- masks

  void clear() { mask_.assign(vocabulary_->ordinary_mask().size(), 0); }

  void compute() {
    switch (phase_) {
      case Phase::thinking:
        free_text();
        allow(mask_, vocabulary_->think_end());
        return;
      case Phase::content:
        free_text();
        for (const std::string_view tag : {"<tool_result>", "</tool_result>"}) forbid_completing(tag);
        allow(mask_, vocabulary_->eos());
        if (!tools_.empty() && tail_.ends_with("\n\n<")) allow(mask_, vocabulary_->dsml());
        return;
      case Phase::json_content:
        clear();
        json_masks_.add(*json_, mask_);
        if (json_->complete()) allow(mask_, vocabulary_->eos());
        return walk_ways(0);  // of calls, while nothing has been said
      case Phase::ways:
        clear();
        if (!ways_.empty() && ways_.back().text[at_] == kMarker) allow(mask_, vocabulary_->dsml());  // no byte is greater
        if (listed_ && !listed_at_ && listed_->sorted() && !ways_.empty()) listed_at_ = listed_->find(std::string_view(ways_[0].text).substr(0, at_));
        if (listed_at_) return listed_->add(*vocabulary_, *listed_at_, mask_);
        return walk_ways(at_);
      case Phase::free_value:
        free_text();
        if (tail_.ends_with("</")) allow(mask_, vocabulary_->dsml());
        return;
      case Phase::json_value:
        clear();
        json_masks_.add(*json_, mask_);
        forbid_marker(value_);
        if (json_->closed()) allow(mask_, vocabulary_->dsml());
        return;
      case Phase::stretch_value:
        clear();
        stretch_->add(mask_);
        if (stretch_->closed()) allow(mask_, vocabulary_->dsml());
        return;
      case Phase::end:
      case Phase::broken:
        clear();
        allow(mask_, vocabulary_->eos());
        return;
      case Phase::done:
        free_text();
        allow(mask_, vocabulary_->eos());
    }
  }

  void free_text() {
    mask_ = vocabulary_->ordinary_mask();
    forbid_marker(tail_);
  }
  // The marker is not spelt in ordinary tokens: readers of the text could not tell it from the real one.
  void forbid_marker(std::string_view so_far) {
    if (!so_far.ends_with("｜DSML")) return;
    const std::uint32_t node = vocabulary_->ordinary().child(ByteTrie::kRoot, std::uint8_t("｜"[0]));
    if (node != ByteTrie::kRoot) forbid_below(node);
  }
  // Tokens that begin with what is left of `text` after the tail: an answer shows none of the tags that only a prompt has.
  void forbid_completing(std::string_view text) {
    for (std::size_t n = 0; n < text.size(); ++n) {
      if (!tail_.ends_with(text.substr(0, n))) continue;
      std::uint32_t node = ByteTrie::kRoot;
      for (const char c : text.substr(n)) {
        node = vocabulary_->ordinary().child(node, std::uint8_t(c));
        if (node == ByteTrie::kRoot) break;
      }
      if (node != ByteTrie::kRoot) forbid_below(node);
    }
  }
  void forbid_below(std::uint32_t node) {
    const ByteTrie& trie = vocabulary_->ordinary();
    for (const Token id : trie.ids(node)) mask_[std::size_t(id) / 64] &= ~(std::uint64_t{1} << (id % 64));
    for (std::uint32_t c = 0; c < trie.node(node).n_children; ++c) forbid_below(trie.node(node).first_child + c);
  }

  // Tokens along the alternatives; none crosses a value or the marker.
  void walk_ways(std::size_t depth) {
    const auto byte_at = [this](std::size_t i, std::size_t at) {
      const std::string& text = ways_[i].text;
      return at >= text.size() ? -1 : text[at] == kMarker ? 256 : int(std::uint8_t(text[at]));
    };
    allow_along(vocabulary_->ordinary(), byte_at, ByteTrie::kRoot, 0, ways_.size(), depth, mask_);
  }

  // ---- structure

  void remember(std::string_view bytes) {
    constexpr std::size_t kTail = 16;
    tail_ += bytes;
    if (tail_.size() > kTail) tail_.erase(0, tail_.size() - kTail);
  }

  void set_ways(std::vector<Way> ways) {
    std::stable_sort(ways.begin(), ways.end(), [](const Way& a, const Way& b) { return a.text < b.text; });
    ways.erase(std::unique(ways.begin(), ways.end(), [](const Way& a, const Way& b) { return a.text == b.text; }), ways.end());
    ways_ = std::move(ways);
    listed_ = nullptr, listed_at_.reset();
    at_ = 0;
    phase_ = Phase::ways;
    foresee();
  }

  // Those that go on with `c` stand side by side.
  void narrow(char c) {
    const auto byte_of = [this](const Way& w) { return w.text.size() <= at_ ? -1 : int(std::uint8_t(w.text[at_])); };
    const auto [begin, end] = std::ranges::equal_range(ways_, int(std::uint8_t(c)), {}, byte_of);
    ways_.erase(end, ways_.end());
    ways_.erase(ways_.begin(), begin);
  }
  void advance(std::string_view bytes) {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      narrow(bytes[i]);
      if (listed_at_) listed_at_ = listed_->extended(*listed_at_, std::uint8_t(bytes[i]));
      ++at_;
      if (ways_.size() == 1 && ways_[0].text.size() == at_) return go(Way(ways_[0]));
    }
    foresee();
  }
  // As soon as it is certain which text comes, tokens before it does, its choices are asked for, and made ready meanwhile.
  void foresee() {
    if (ways_.size() == 1 && ways_[0].then == Way::Then::text && !foreseen_.contains(ways_[0].index)) foresee(ways_[0].index);
  }
  void foresee(std::size_t index) { foreseen_.insert_or_assign(index, choices_of(index)); }
  Foreseen choices_of(std::size_t index) {
    Foreseen out;
    if (options_.oracle) out.choices = options_.oracle(tools_[tool_].name, tools_[tool_].parameters[index].name, written_);
    if (!out.choices) return out;
    if (out.choices->one_of.size() >= kListedMin) {
      std::string list;
      for (const std::string& choice : out.choices->one_of) {
        if (choice.find(kMarker) == std::string::npos) list += choice + "</" + kListEnd;
      }
      out.index = vocabulary_->store().stretch_index(std::move(list), StretchIndex::Of::list);
    } else if (out.choices->one_of.empty() && !out.choices->substring_of.empty()) {
      out.index = vocabulary_->store().stretch_index(std::move(out.choices->substring_of));
    }
    return out;
  }

  void go(const Way& way) {
    switch (way.then) {
      case Way::Then::invoke: {
        tool_ = way.index;
        written_.clear();
        foreseen_.clear();
        std::vector<Way> ways = parameters("<");
        if (may_close()) ways.push_back({std::string("\n</") + kMarker + "invoke>\n", Way::Then::after_invoke});
        return set_ways(std::move(ways));
      }
      case Way::Then::text:
        return begin_text(way.index);
      case Way::Then::json:
        return begin_json(way.index);
      case Way::Then::value_end:
        return end_value(std::string::npos);
      case Way::Then::after_invoke:
        return after_invoke();
      case Way::Then::finish:
        phase_ = Phase::end;
    }
  }

  void begin_content() {
    tail_.clear();
    phase_ = Phase::content;
    n_calls_ = 0;
    const bool must_call = options_.call_required && !tools_.empty();
    if (!must_call && !options_.json) return;
    set_ways(invokes(std::string("\n\n<") + kMarker + "tool_calls>\n<" + kMarker));
    if (must_call) return;
    const JsonSchemaRef schema = options_.schema ? options_.schema : schema_of_type("object");
    begin_walk(JsonWalker(schema, schema->root, /*closes=*/false));
    phase_ = Phase::json_content;
  }
  void begin_walk(JsonWalker walker) {
    json_.emplace(std::move(walker));
    json_masks_.reset();
  }
  // A token that the mask offered, and the walker refuses, is a broken promise of theirs: the answer ends, and is not left free.
  void say_json(std::string_view bytes, bool offered) {
    if (!ways_.empty() && bytes.starts_with('\n')) {  // no JSON begins like this
      phase_ = Phase::ways;
      return advance(bytes);
    }
    ways_.clear();
    if (!json_->accept(bytes)) phase_ = offered ? Phase::broken : Phase::content;  // what the answer goes on with, which others wrote, is none
  }

  // "<｜DSML｜" was written as content: the rest of the opening tag, and the first invoke.
  void open_block() {
    n_calls_ = 0;
    set_ways(invokes(std::string("tool_calls>\n<") + kMarker));
  }
  std::vector<Way> invokes(const std::string& before) const {
    std::vector<Way> ways;
    for (std::size_t i = 0; i < tools_.size(); ++i) {
      ways.push_back({before + "invoke name=\"" + tools_[i].name + "\">\n", Way::Then::invoke, i});
    }
    return ways;
  }
  void after_invoke() {
    ++n_calls_;
    std::vector<Way> ways;
    if (n_calls_ < options_.calls_max) ways = invokes(std::string("<") + kMarker);
    ways.push_back({std::string("</") + kMarker + "tool_calls>", Way::Then::finish});
    set_ways(std::move(ways));
  }

  bool used(const std::string& name) const {
    return std::any_of(written_.begin(), written_.end(), [&](const auto& p) { return p.first == name; });
  }
  bool may_close() const {
    const auto& all = tools_[tool_].parameters;
    return std::none_of(all.begin(), all.end(), [&](const Parameter& p) { return p.required && !used(p.name); });
  }
  std::vector<Way> parameters(const std::string& before) const {
    std::vector<Way> ways;
    const auto& all = tools_[tool_].parameters;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (used(all[i].name)) continue;
      const std::string tag = before + kMarker + "parameter name=\"" + all[i].name;
      if (all[i].forms.text) ways.push_back({tag + "\" string=\"true\">", Way::Then::text, i});
      if (all[i].forms.json != 0) ways.push_back({tag + "\" string=\"false\">", Way::Then::json, i});
    }
    return ways;
  }

  void begin_value(std::size_t index) {
    parameter_ = index;
    value_.clear();
    tail_.clear();
  }
  void begin_json(std::size_t index) {
    begin_value(index);
    const Parameter& p = tools_[tool_].parameters[index];
    begin_walk(JsonWalker(p.json, p.forms.json, /*closes=*/true));
    phase_ = Phase::json_value;
  }
  void begin_text(std::size_t index) {
    begin_value(index);
    const Parameter& p = tools_[tool_].parameters[index];
    std::vector<std::string> one_of = p.forms.one_of;
    if (!foreseen_.contains(index)) foresee(index);
    Foreseen foreseen = std::move(foreseen_.at(index));
    foreseen_.clear();
    const bool listed = foreseen.choices && !foreseen.choices->one_of.empty();
    if (foreseen.index && !listed) {
      stretch_.emplace(vocabulary_, std::move(foreseen.index), foreseen.choices->unique);
      phase_ = Phase::stretch_value;
      return;
    }
    if (listed) one_of = std::move(foreseen.choices->one_of);
    if (one_of.empty() && !p.forms.patterns.empty()) {
      begin_walk(JsonWalker(p.forms.patterns));
      phase_ = Phase::json_value;
      return;
    }
    if (one_of.empty()) {
      phase_ = Phase::free_value;
      return;
    }
    std::vector<Way> ways;
    for (const std::string& choice : one_of) {
      if (choice.find(kMarker) == std::string::npos) ways.push_back({choice + "</" + kMarker, Way::Then::value_end});
    }
    set_ways(std::move(ways));
    if (listed) listed_ = std::move(foreseen.index);
  }

  // The closing tag's marker was written; `length` of the value's bytes are the value (npos: it was one of the choices).
  void end_value(std::size_t length) {
    const std::string& name = tools_[tool_].parameters[parameter_].name;
    if (length == std::string::npos) {
      const std::string& text = ways_[0].text;
      written_.emplace_back(name, text.substr(0, text.size() - 3));  // less "</" and the marker
    } else {
      written_.emplace_back(name, value_.substr(0, length));
    }
    tail_.clear();
    // The next one may be any of the others: what it may be hangs on the one that ends here, a path for instance.
    const auto& all = tools_[tool_].parameters;
    foreseen_.clear();
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (all[i].forms.text && !used(all[i].name)) foresee(i);
    }
    std::vector<Way> ways = parameters("parameter>\n<");
    if (may_close()) ways.push_back({std::string("parameter>\n</") + kMarker + "invoke>\n", Way::Then::after_invoke});
    set_ways(std::move(ways));
  }

  const Tokenizer& tokenizer_;
  std::shared_ptr<const Vocabulary> vocabulary_;
  GrammarOptions options_;
  std::vector<Declared> tools_;
  Phase phase_;
  TokenMask mask_;
  bool offered_ = false;           // mask_ is of the token that comes next
  std::string tail_;               // the last bytes of the free text under way

  std::vector<Way> ways_;          // Phase::ways: sorted, and equal up to at_
  std::size_t at_ = 0;
  std::shared_ptr<const StretchIndex> listed_;       // of ways_, where they are many; null: they are walked
  std::optional<StretchIndex::Range> listed_at_;     // of those that are left

  int n_calls_ = 0;
  std::size_t tool_ = 0, parameter_ = 0;
  Arguments written_;              // of the call under way
  std::string value_;
  std::optional<JsonWalker> json_;
  JsonMasks json_masks_;
  std::map<std::size_t, Foreseen> foreseen_;  // by parameter, of the texts that ways_ may lead to
  std::optional<Stretch> stretch_;
};

}  // namespace

void Grammar::prepare(const Tokenizer& tokenizer, const GrammarOptions& options) {
  const auto vocabulary = tokenizer.vocabulary();
  const auto begin = [&](const JsonSchemaRef& schema) {
    if (!schema) return;
    for (const SchemaNode& node : schema->nodes) {
      if (node.pattern) vocabulary->store().pattern_masks(node.pattern, TextKind::json_string);
      if (!node.listed.empty()) vocabulary->store().stretch_index(node.listed, StretchIndex::Of::list);
    }
    for (const ParameterForms& forms : schema->parameters) {
      for (const auto& pattern : forms.patterns) vocabulary->store().pattern_masks(pattern, TextKind::plain);
    }
  };
  begin(options.schema);
  for (const ToolSpec& tool : options.tools) begin(tool.strict);
}

std::unique_ptr<Grammar> Grammar::make(const Tokenizer& tokenizer, GrammarOptions options) {
  prepare(tokenizer, options);
  return std::make_unique<GrammarImpl>(tokenizer, std::move(options));
}

}  // namespace lares::engine
