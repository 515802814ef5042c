// What a JSON Schema allows, written out: shares nothing with the compiler and the walker.
#pragma once

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "engine/chat.h"
#include "engine/grammar.h"
#include "engine/text/python_json.h"

namespace lares::engine::test {

// All documents of a schema that has finitely many, without blanks: lists of texts put together, no
// walker and no compiler.
inline std::set<std::string> documents(const nlohmann::ordered_json& schema) {
  using Json = nlohmann::ordered_json;
  std::set<std::string> out;
  if (schema.contains("enum")) {
    for (const Json& value : schema["enum"]) out.insert(python_json(value));
  } else if (schema.contains("anyOf")) {
    for (const Json& one : schema["anyOf"]) out.merge(documents(one));
  } else if (schema["type"] == "boolean") {
    out = {"true", "false"};
  } else if (schema["type"] == "integer") {
    for (int n = schema["minimum"]; n <= schema["maximum"]; ++n) {
      if (n % schema.value("multipleOf", 1) == 0) out.insert(std::to_string(n));
      if (n == 0) out.insert("-0");
    }
  } else if (schema["type"] == "array") {
    const auto items = documents(schema["items"]);
    std::set<std::string> lists = {""};
    for (std::size_t n = 0; n <= schema["maxItems"]; ++n) {
      std::set<std::string> longer;
      for (const std::string& list : lists) {
        if (n >= schema.value("minItems", 0u)) out.insert("[" + list + "]");
        for (const std::string& item : items) longer.insert(list + (n == 0 ? "" : ",") + item);
      }
      lists = std::move(longer);
    }
  } else {
    std::set<std::string> lists = {""};
    for (const auto& [name, property] : schema["properties"].items()) {
      const bool required = std::ranges::find(schema["required"], Json(name)) !=
                            schema["required"].end();
      std::set<std::string> longer;
      for (const std::string& list : lists) {
        if (!required) longer.insert(list);
        for (const std::string& value : documents(property))
          longer.insert(list + (list.empty() ? "" : ",") + python_json_string(name) + ":" + value);
      }
      lists = std::move(longer);
    }
    for (const std::string& list : lists) out.insert("{" + list + "}");
  }
  return out;
}

// Whether the grammar lets `document` be said in these tokens, and end there.
inline bool said(const Tokenizer& t, const JsonSchemaRef& schema,
                 const std::vector<Token>& tokens) {
  const auto grammar = Grammar::make(t, {.thinking = false, .json = true, .schema = schema});
  for (const Token id : tokens) {
    if (!allows(*grammar->mask(), id)) return false;
    grammar->accept(id);
  }
  return allows(*grammar->mask(), *t.added(kEos));
}

}  // namespace lares::engine::test
