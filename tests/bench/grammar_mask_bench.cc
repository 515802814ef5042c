// How long Grammar::mask() takes per token: lares_grammar_mask_bench TOKENIZER.json
// Walks one answer with a call, and prints the median and the worst time in the tags and in the values. Structure must stay under
// 50 us on a vocabulary of 129,280, or constrained decoding shows.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "engine/chat.h"
#include "engine/grammar.h"
#include "engine/tokenizer.h"

int main(int argc, char** argv) {
  using namespace lares::engine;
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
  std::map<std::string, std::vector<double>> times;
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
      const double us = std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
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
  for (auto& [where, us] : times) {
    std::sort(us.begin(), us.end());
    std::printf("%-20s n %5zu  median %8.1f us  95 %% %8.1f us  worst %8.1f us\n", where.c_str(), us.size(), us[us.size() / 2], us[us.size() * 95 / 100], us.back());
  }
}
