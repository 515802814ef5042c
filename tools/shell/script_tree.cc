#include "tools/shell/script_tree.h"

#include <cstdint>

#include "tools/outline/languages.h"

namespace lares::tools {
namespace {

constexpr int kOpenMax = 1000;  // brackets that are not closed yet: people do not write that
constexpr std::size_t kPieceBytes = 1024;  // that are given to the parser at a time
constexpr std::size_t kCopiedAtOnce = 16, kErrorsEvery = 2048;  // bytes
constexpr std::size_t kStepsOfParser = 100;                     // between two calls of its callback

}  // namespace

bool is_too_deep(std::string_view script) {
  int open = 0;
  for (const char c : script) {
    if (c == '(' || c == '{' || c == '[') ++open;
    if ((c == ')' || c == '}' || c == ']') && open > 0) --open;
    if (open > kOpenMax) return true;
  }
  return false;
}

// Where brackets do not match, the parser looks ahead to the end of the script again and again, and
// copies what it could not make sense of. The first is counted as it happens, of the other its
// callback says a part; the rest is put at the most that it may be.
ScriptTree parse_script(std::string_view script, Effort& effort) {
  struct Given {
    std::string_view script;
    Effort& effort;
  } given{script, effort};
  const auto read = [](void* payload, std::uint32_t at, TSPoint, std::uint32_t* n_read) {
    const Given& all = *static_cast<Given*>(payload);
    const bool ends = at >= all.script.size() || all.effort.over();
    const std::string_view piece = ends ? std::string_view() : all.script.substr(at, kPieceBytes);
    all.effort.spend(piece.size());
    *n_read = static_cast<std::uint32_t>(piece.size());
    return ends ? "" : piece.data();
  };
  const auto gives_up = [](TSParseState* state) {
    Effort& spent = static_cast<Given*>(state->payload)->effort;
    spent.spend(kStepsOfParser *
                (state->has_error ? 1 + state->current_byte_offset / kCopiedAtOnce : 1));
    return spent.over();
  };
  const std::unique_ptr<TSParser, void (*)(TSParser*)> parser(ts_parser_new(), ts_parser_delete);
  ts_parser_set_language(parser.get(), language_for("sh")->grammar());
  ScriptTree tree(
      ts_parser_parse_with_options(
          parser.get(), nullptr, {&given, read, TSInputEncodingUTF8, nullptr}, {&given, gives_up}),
      ts_tree_delete);
  if (tree && ts_node_has_error(ts_tree_root_node(tree.get())))
    effort.spend(script.size() / kErrorsEvery * script.size());
  return tree;
}

}  // namespace lares::tools
