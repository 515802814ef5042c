#include "tools/outline/languages.h"

#include <array>
#include <utility>

extern "C" {
const TSLanguage* tree_sitter_bash();
const TSLanguage* tree_sitter_c();
const TSLanguage* tree_sitter_cpp();
const TSLanguage* tree_sitter_go();
const TSLanguage* tree_sitter_java();
const TSLanguage* tree_sitter_javascript();
const TSLanguage* tree_sitter_json();
const TSLanguage* tree_sitter_python();
const TSLanguage* tree_sitter_rust();
const TSLanguage* tree_sitter_tsx();
const TSLanguage* tree_sitter_typescript();
}

namespace lares::tools {
namespace {

constexpr Rule kC[] = {
    {"function_definition", Shape::function}, {"declaration", Shape::prototype},
    {"struct_specifier", Shape::body},        {"union_specifier", Shape::body},
    {"enum_specifier", Shape::body},          {"type_definition", Shape::alias},
    {"preproc_function_def", Shape::line},
};
constexpr Rule kCpp[] = {
    {"function_definition", Shape::function}, {"declaration", Shape::prototype},
    {"field_declaration", Shape::prototype},  {"struct_specifier", Shape::body},
    {"union_specifier", Shape::body},         {"class_specifier", Shape::body},
    {"enum_specifier", Shape::body},          {"type_definition", Shape::alias},
    {"alias_declaration", Shape::alias},      {"concept_definition", Shape::alias},
    {"preproc_function_def", Shape::line},
};
constexpr Rule kPython[] = {
    {"class_definition", Shape::body, true},
    {"function_definition", Shape::function, true},
    {"type_alias_statement", Shape::alias},
};
constexpr Rule kJavaScript[] = {
    {"class_declaration", Shape::body, true},
    {"function_declaration", Shape::function, true},
    {"generator_function_declaration", Shape::function, true},
    {"method_definition", Shape::function, true},
    {"field_definition", Shape::value, true},
    {"lexical_declaration", Shape::value},
    {"variable_declaration", Shape::value},
    {"assignment_expression", Shape::value},
    {"pair", Shape::value},
};
constexpr Rule kTypeScript[] = {
    {"class_declaration", Shape::body, true},
    {"abstract_class_declaration", Shape::body, true},
    {"interface_declaration", Shape::body, true},
    {"enum_declaration", Shape::body, true},
    {"internal_module", Shape::body},
    {"module", Shape::body},
    {"type_alias_declaration", Shape::alias},
    {"function_declaration", Shape::function, true},
    {"generator_function_declaration", Shape::function, true},
    {"function_signature", Shape::declaration},
    {"method_definition", Shape::function, true},
    {"method_signature", Shape::declaration},
    {"abstract_method_signature", Shape::declaration},
    {"public_field_definition", Shape::value, true},
    {"lexical_declaration", Shape::value},
    {"variable_declaration", Shape::value},
    {"assignment_expression", Shape::value},
    {"pair", Shape::value},
};
constexpr Rule kRust[] = {
    {"function_item", Shape::function}, {"function_signature_item", Shape::declaration},
    {"struct_item", Shape::brace},      {"enum_item", Shape::body},
    {"union_item", Shape::body},        {"trait_item", Shape::body},
    {"impl_item", Shape::body},         {"mod_item", Shape::body},
    {"type_item", Shape::alias},        {"macro_definition", Shape::brace},
};
constexpr Rule kGo[] = {
    {"function_declaration", Shape::function},   {"method_declaration", Shape::function},
    {"type_spec", Shape::brace, false, "type "}, {"type_alias", Shape::brace, false, "type "},
    {"method_elem", Shape::declaration},
};
constexpr Rule kJava[] = {
    {"class_declaration", Shape::body},
    {"interface_declaration", Shape::body},
    {"enum_declaration", Shape::body},
    {"record_declaration", Shape::body},
    {"annotation_type_declaration", Shape::body},
    {"method_declaration", Shape::function},
    {"constructor_declaration", Shape::function},
    {"compact_constructor_declaration", Shape::function},
};
constexpr Rule kBash[] = {{"function_definition", Shape::function, true}};
constexpr Rule kJson[] = {{"pair", Shape::key}};

constexpr Language kLanguages[] = {
    {"Bash", tree_sitter_bash, kBash},     {"C", tree_sitter_c, kC},
    {"C++", tree_sitter_cpp, kCpp},        {"Go", tree_sitter_go, kGo},
    {"Java", tree_sitter_java, kJava},     {"JavaScript", tree_sitter_javascript, kJavaScript},
    {"JSON", tree_sitter_json, kJson},     {"Python", tree_sitter_python, kPython},
    {"Rust", tree_sitter_rust, kRust},     {"TypeScript", tree_sitter_typescript, kTypeScript},
    {"TSX", tree_sitter_tsx, kTypeScript},
};
enum Index : std::size_t {
  bash,
  c,
  cpp,
  go,
  java,
  javascript,
  json,
  python,
  rust,
  typescript,
  tsx
};

constexpr std::pair<std::string_view, std::size_t> kExtensions[] = {
    {"sh", bash},
    {"bash", bash},
    {"c", c},
    {"h", c},
    {"cc", cpp},
    {"cpp", cpp},
    {"cxx", cpp},
    {"hh", cpp},
    {"hpp", cpp},
    {"hxx", cpp},
    {"ipp", cpp},
    {"inl", cpp},
    {"tcc", cpp},
    {"cu", cpp},
    {"cuh", cpp},
    {"go", go},
    {"java", java},
    {"js", javascript},
    {"mjs", javascript},
    {"cjs", javascript},
    {"jsx", javascript},
    {"json", json},
    {"py", python},
    {"pyi", python},
    {"rs", rust},
    {"ts", typescript},
    {"mts", typescript},
    {"cts", typescript},
    {"tsx", tsx},
};

}  // namespace

const Language* language_for(std::string_view extension) {
  for (const auto& [ending, language] : kExtensions) {
    if (ending == extension) return &kLanguages[language];
  }
  return nullptr;
}

const Language& cpp_language() { return kLanguages[cpp]; }

std::span<const Language> all_languages() { return kLanguages; }

}  // namespace lares::tools
