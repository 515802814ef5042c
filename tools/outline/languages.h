// What counts as a definition in each language: a table of tree-sitter node types.
#pragma once

#include <span>
#include <string_view>

struct TSLanguage;

namespace lares::tools {

enum class Shape {
  body,  // ends where its `body` field begins; without a body it is no definition (struct x;)
  declaration,  // ends where its `body` field begins, or at its end
  function,     // as `declaration`; what it encloses is listed only where its own rule says `local`
  prototype,    // a C declaration: listed when it declares a function
  value,        // listed when its value is a function or a class: const f = (x) => ...
  alias,        // a type definition: bodies are shown as {...}
  brace,        // ends at the first '{'
  line,         // its first line
  key,          // a JSON member: the key alone, down to the second level (values may be secret)
};

struct Rule {
  std::string_view node;
  Shape shape;
  bool local = false;          // also listed inside a function
  std::string_view lead = {};  // written before it: the keyword its node leaves out
};

struct Language {
  std::string_view name;
  const TSLanguage* (*grammar)();
  std::span<const Rule> rules;
};

const Language* language_for(std::string_view extension);  // without the dot; nullptr: none
const Language& cpp_language();
std::span<const Language> all_languages();

}  // namespace lares::tools
