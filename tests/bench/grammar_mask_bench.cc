// How long Grammar::mask() takes per token: lares_grammar_mask_bench TOKENIZER.json
// Walks one answer with a call, and prints the median and the worst time in the tags and in the values; then documents of schemas, an array
// of things that are all alike: the first shows what a mask costs that was never needed before, the others what it costs again. Structure
// must stay under 50 us on a vocabulary of 129,280, or constrained decoding shows.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/chat.h"
#include "engine/grammar.h"
#include "engine/tokenizer.h"

namespace {

using namespace lares::engine;
using Times = std::map<std::string, std::vector<double>>;

double us_since(std::chrono::steady_clock::time_point begin) { return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count(); }

struct Documents {
  const char* name;
  const char* item;  // a schema
  std::vector<std::string> documents;
};
const std::vector<Documents> kDocuments = {
    {"an object", R"({"type":"object","properties":{"path":{"type":"string"},"line":{"type":"integer","minimum":1},"kind":{"enum":["error","warning","note"]},"text":{"type":"string"},
      "fix":{"anyOf":[{"type":"null"},{"type":"object","properties":{"old":{"type":"string"},"new":{"type":"string"}},"required":["old","new"]}]}},"required":["path","line","kind","text","fix"]})",
     {R"({"path": "src/date_parser.cc", "line": 117, "kind": "error", "text": "leap days are rejected: \"02-29\" isn't matched by this expression at all", "fix": null})",
      R"({"path": "src/cli/main.cc", "line": 9, "kind": "note", "text": "unused", "fix": {"old": "if (day > 28) {\n  return false;", "new": "if (day > days_in(month)) {\n  return false;"}})"}},
    {"numbers", R"({"type":"array","items":{"type":"number"}})", {"[1, 22.5, -3.125e+7, 4096, 0.001]", "[31337, 2.71828, -17]"}},
    {"bounded numbers", R"({"type":"array","items":{"type":"number","minimum":-1000,"maximum":99999.5}})", {"[1, 22.5, -312.7, 4096, 0.001]", "[31337, 2.71828, -17]"}},
    {"dates, ids", R"({"type":"array","items":{"anyOf":[{"type":"string","format":"date-time"},{"type":"string","pattern":"^[A-Z]{2,6}-[0-9]+$"}]}})",
     {R"(["2024-02-29T12:30:00Z", "LARES-1234"])", R"(["1999-12-31T23:59:59.5+01:00", "AB-7"])"}},
    {"a loose pattern", R"({"type":"string","pattern":"error"})", {R"("there is one error in this text, and another word behind it")", R"("no error")"}},
    {"anything", R"({})", {R"({"a": [1, {"b": null}, "some words here"], "c": true})", R"([false, "x"])"}},
};

bool time_documents(const Tokenizer& tokenizer, const Documents& row, Times& times) {
  const auto begin = std::chrono::steady_clock::now();
  const auto schema = compile_schema(nlohmann::ordered_json{{"type", "array"}, {"items", nlohmann::ordered_json::parse(row.item)}});
  if (!schema) return std::fprintf(stderr, "%s: %s\n", row.item, schema.error().message.c_str()), false;
  times[std::string(row.name) + ", compiled"].push_back(us_since(begin));
  const auto grammar = Grammar::make(tokenizer, {.thinking = false, .json = true, .schema = *schema});
  for (int n = 0; n < 20; ++n) {
    const auto ids = tokenizer.encode((n == 0 ? "[" : ", ") + row.documents[std::size_t(n) % row.documents.size()], /*added=*/false);
    for (const Token id : ids) {
      const auto before = std::chrono::steady_clock::now();
      const TokenMask* const mask = grammar->mask();
      times[std::string(row.name) + (std::size_t(n) < row.documents.size() ? ", first" : ", again")].push_back(us_since(before));
      if (!((*mask)[std::size_t(id) / 64] >> (id % 64) & 1)) return std::fprintf(stderr, "%s: the grammar forbids '%s'\n", row.name, std::string(tokenizer.bytes(id)).c_str()), false;
      grammar->accept(id);
    }
  }
  return true;
}

void print(Times& times) {
  for (auto& [where, us] : times) {
    std::sort(us.begin(), us.end());
    std::printf("%-26s n %5zu  median %8.1f us  95 %% %8.1f us  worst %8.1f us\n", where.c_str(), us.size(), us[us.size() / 2], us[us.size() * 95 / 100], us.back());
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: %s TOKENIZER.json\n", argv[0]), 2;
  const auto tokenizer = Tokenizer::from_file(argv[1]);
  if (!tokenizer) return std::fprintf(stderr, "%s\n", tokenizer.error().message.c_str()), 1;
  const std::vector<ToolSpec> tools = {
      {"edit", "", R"({"type": "object", "properties": {"path": {"type": "string"}, "old_str": {"type": "string"}, "line": {"type": "integer"}}, "required": ["path"]})"},
      {"test", "", R"({"type": "object", "properties": {"filter": {"type": "string"}}})"}};
  std::string file;
  for (int i = 0; i < 2000; ++i) file += "  value_" + std::to_string(i) + " = compute(" + std::to_string(i * 7) + ");\n";
  const std::string wanted = "value_1234 = compute(" + std::to_string(1234 * 7) + ");\n  value_1235";
  const std::string answer = "I look.</think>Now.\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"edit\">\n<｜DSML｜parameter name=\"path\" string=\"true\">src/a.c"
      "</｜DSML｜parameter>\n<｜DSML｜parameter name=\"old_str\" string=\"true\">" + wanted +
      "</｜DSML｜parameter>\n<｜DSML｜parameter name=\"line\" string=\"false\">42</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>";
  const auto ids = (*tokenizer)->encode(answer, /*added=*/true);
  Times times;
  for (int round = 0; round < 20; ++round) {
    std::string where = "text";
    auto grammar = Grammar::make(**tokenizer, {.tools = tools, .oracle = [&](const std::string&, const std::string& key, const Arguments&) -> std::optional<ArgumentChoices> {
      if (key == "path") return ArgumentChoices{{"src/a.c", "src/b.c", "README.md"}, "", false};
      if (key == "old_str") return ArgumentChoices{{}, file, true};
      return std::nullopt;
    }});
    std::string said;
    for (const Token id : ids) {
      const auto begin = std::chrono::steady_clock::now();
      const TokenMask* const mask = grammar->mask();
      const double us = us_since(begin);
      if (mask && !((*mask)[std::size_t(id) / 64] >> (id % 64) & 1)) return std::fprintf(stderr, "the grammar forbids '%s' after: %s\n", std::string((*tokenizer)->bytes(id)).c_str(), said.c_str()), 1;
      const auto value = said.rfind("\">"), close = said.rfind("</｜DSML｜parameter");
      const bool in_value = said.rfind("parameter name=\"") != std::string::npos && value != std::string::npos && (close == std::string::npos || close < value) && value > said.rfind("parameter name=\"");
      where = !grammar->in_calls() ? "text" : !in_value ? "structure" : said.rfind("name=\"old_str\"") != std::string::npos && said.rfind("name=\"line\"") == std::string::npos ? "a stretch of a file" : "other values";
      times[where].push_back(us);
      grammar->accept(id);
      said += (*tokenizer)->bytes(id);
    }
  }
  std::printf("vocabulary %d, %zu tokens of answer\n", (*tokenizer)->vocab_size(), ids.size());
  print(times);
  Times documents;
  for (int round = 0; round < 20; ++round) {
    for (const Documents& row : kDocuments) {
      if (!time_documents(**tokenizer, row, documents)) return 1;
    }
  }
  print(documents);
}
