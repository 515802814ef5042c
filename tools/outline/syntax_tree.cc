#include "tools/outline/syntax_tree.h"

#include <algorithm>

#include "tools/text.h"

namespace lares::tools {

SyntaxTree parse_syntax(const Language& language, ParseBudget budget) {
  const std::unique_ptr<TSParser, decltype(&ts_parser_delete)> parser(ts_parser_new(),
                                                                      ts_parser_delete);
  if (!ts_parser_set_language(parser.get(), language.grammar())) return nullptr;
  const TSInput input{&budget,
                      [](void* payload, std::uint32_t at, TSPoint, std::uint32_t* n) {
                        const std::string_view source = static_cast<ParseBudget*>(payload)->source;
                        const auto rest = source.substr(std::min<std::size_t>(at, source.size()));
                        *n = static_cast<std::uint32_t>(rest.size());
                        return rest.data();
                      },
                      TSInputEncodingUTF8, nullptr};
  const TSParseOptions options{&budget, [](TSParseState* state) {
                                 const auto& b = *static_cast<ParseBudget*>(state->payload);
                                 return b.cancelled.load(std::memory_order_relaxed) ||
                                        std::chrono::steady_clock::now() > b.deadline;
                               }};
  return SyntaxTree(ts_parser_parse_with_options(parser.get(), nullptr, input, options));
}

std::string_view extension_of(std::string_view path) {
  const auto name = path.substr(path.rfind('/') + 1);
  const auto dot = name.rfind('.');
  return dot == std::string_view::npos || dot == 0 ? std::string_view() : name.substr(dot + 1);
}

bool has_cpp_words(std::string_view source) {
  for (auto line : split_lines(source)) {
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    for (const std::string_view word :
         {"class ", "namespace ", "template", "public:", "private:", "using "}) {
      if (line.starts_with(word)) return true;
    }
  }
  return false;
}

}  // namespace lares::tools
