// What the model may say next: reasoning, then content, then well-formed tool calls (as
// chat.h parses them). The grammar follows the sampled tokens and masks the ones that would break a
// call; free text (reasoning, content, most argument values) is left to the model.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "engine/json_schema.h"
#include "engine/tokenizer.h"

namespace lares::engine {

// A tool as the prompt shows it; `schema` is the JSON Schema of its parameters, as text. Of that,
// names, types and what is required are enforced, and of texts the enum; with `strict`, which is
// compile_parameters() of it, everything.
struct ToolSpec {
  std::string name, description, schema;
  JsonSchemaRef strict = nullptr;
};

// Key, value as text, in the order written
using Arguments = std::vector<std::pair<std::string, std::string>>;

// What an argument value may be, beyond its schema.
struct ArgumentChoices {
  std::vector<std::string> one_of;  // the value is one of these, or
  std::string substring_of;  // it is a non-empty stretch of this text (when one_of is empty) ...
  bool unique = false;       // ... that occurs there only once
};
// Asked where the value of `key` may come next, when the one before it has ended, or begins;
// nullopt leaves it free.
using ArgumentOracle = std::function<std::optional<ArgumentChoices>(
    const std::string& tool, const std::string& key, const Arguments& so_far)>;

struct GrammarOptions {
  std::vector<ToolSpec> tools;  // empty: no calls at all
  bool thinking = true;         // the prompt ended with <think>
  ArgumentOracle oracle;        // may be empty
  int calls_max = 8;            // calls in one answer
  bool call_required = false;   // behind the reasoning comes a call, and nothing before it
  bool json = false;            // what is said is one JSON object; where there are tools, or calls
  JsonSchemaRef schema = nullptr;  // with json: it is a document of this
};

class Grammar {
 public:
  static std::unique_ptr<Grammar> make(const Tokenizer& tokenizer, GrammarOptions options);
  // Begins, on a thread of its own, what the masks of an answer with these will need. To be called
  // as soon as they are known: it is done then while the prompt is evaluated. make() begins it
  // otherwise.
  static void prepare(const Tokenizer& tokenizer, const GrammarOptions& options);
  virtual ~Grammar() = default;
  // The ids allowed next, or null when everything is. Valid until accept().
  virtual const TokenMask* mask() = 0;
  virtual void accept(Token token) = 0;
  // Inside <think>, and nothing but "</think>" may end it: a caller whose thinking budget is spent
  // forces that token.
  virtual bool thinking() const = 0;
  virtual bool in_calls() const = 0;  // from the first tag of a call block to its end
  virtual bool done() const = 0;      // the end-of-sentence token was accepted
  // Nothing could come next: no token says what the form allows, or the mask offered one that the
  // form refuses. mask() then holds the end alone, and what was said is not whole.
  virtual bool stuck() const = 0;
};

}  // namespace lares::engine
