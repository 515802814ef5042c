// From one token to the next: which state the answer is in, and where content, or a document,
// begins.
#include "engine/grammar.h"

#include <utility>

#include "engine/text/grammar/impl.h"
#include "engine/text/grammar/mask_store.h"
#include "engine/text/grammar/schema_nodes.h"

namespace lares::engine {

GrammarImpl::GrammarImpl(const Tokenizer& tokenizer, GrammarOptions options)
    : tokenizer_(tokenizer),
      vocabulary_(tokenizer.vocabulary()),
      options_(std::move(options)),
      phase_(Phase::thinking),
      json_masks_(vocabulary_) {
  for (const ToolSpec& spec : options_.tools) tools_.push_back(declared(spec));
  if (!options_.thinking) begin_content();
}

const TokenMask* GrammarImpl::mask() {
  compute();
  offered_ = true;
  for (const std::uint64_t word : mask_) {
    if (word != 0) return &mask_;
  }
  stuck_ = true;
  allow(mask_, vocabulary_->eos());
  return &mask_;
}

void GrammarImpl::accept(Token id) {
  const bool offered = std::exchange(offered_, false) && allows(mask_, id);
  if (id == vocabulary_->eos()) {
    phase_ = Phase::done;
    return;
  }
  stuck_ = false;
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
      refused(offered, Phase::free_value);
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

void GrammarImpl::remember(std::string_view bytes) {
  constexpr std::size_t kTail = 16;
  tail_ += bytes;
  if (tail_.size() > kTail) tail_.erase(0, tail_.size() - kTail);
}

void GrammarImpl::begin_content() {
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

void GrammarImpl::begin_walk(JsonWalker walker) {
  json_.emplace(std::move(walker));
  json_masks_.reset();
}

void GrammarImpl::say_json(std::string_view bytes, bool offered) {
  if (!ways_.empty() && bytes.starts_with('\n')) {  // no JSON begins like this
    phase_ = Phase::ways;
    return advance(bytes);
  }
  ways_.clear();
  if (!json_->accept(bytes)) refused(offered, Phase::content);
}

// The walker did not take what was written: others wrote it, and it goes on as no JSON; or it was
// offered, which should not have been.
void GrammarImpl::refused(bool offered, Phase otherwise) {
  stuck_ = offered;
  phase_ = offered ? Phase::broken : otherwise;
}

void Grammar::prepare(const Tokenizer& tokenizer, const GrammarOptions& options) {
  const auto vocabulary = tokenizer.vocabulary();
  const auto begin = [&](const JsonSchemaRef& schema) {
    if (!schema) return;
    for (const SchemaNode& node : schema->nodes) {
      if (node.pattern) vocabulary->store().pattern_masks(node.pattern, TextKind::json_string);
      if (!node.listed.empty())
        vocabulary->store().stretch_index(node.listed, StretchIndex::Of::list);
    }
    for (const ParameterForms& forms : schema->parameters) {
      for (const auto& pattern : forms.patterns)
        vocabulary->store().pattern_masks(pattern, TextKind::plain);
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
