// One schema on its way to nodes (schema_compile.cc). Private to the compiler.
#pragma once

#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/schema_references.h"
#include "engine/text/grammar/schema_nodes.h"

namespace lares::engine {

class SchemaCompiler {
 public:
  using Json = nlohmann::ordered_json;

  SchemaCompiler(const Json& whole, JsonSchema& out)
      : whole_(whole), references_(whole), out_(out) {}
  tl::expected<NodeId, SchemaError> whole();
  std::vector<std::string> take_paths() {
    return std::move(paths_);
  }  // of each node, where it stands first

 private:
  NodeId fail(std::string path, std::string why);  // the first counts
  NodeId add(SchemaNode node, const std::string& path);
  NodeId schema(const Json& schema, const std::string& path, int depth);
  std::vector<NodeId> alternatives_of(const Json& schema, const std::string& path, int depth);
  bool only(std::initializer_list<std::string_view> keywords, const Json& schema,
            const std::string& path);
  std::vector<std::string> types_of(const Json& schema, const std::string& path);
  NodeId of_type(const Json& schema, const std::string& type, const std::string& path, int depth);
  NodeId reference(const Json& reference, const std::string& path, int depth);
  NodeId any(const std::string& path);
  NodeId texts(std::vector<std::string> texts, const std::string& path);
  NodeId choices(const Json& schema, const char* listed, const std::string& path);
  NodeId string(const Json& schema, const std::string& path);
  std::shared_ptr<const Pattern> pattern(const std::string& expression, const std::string& path);
  NodeId number(const Json& schema, bool whole, const std::string& path);
  NodeId array(const Json& schema, const std::string& path, int depth);
  NodeId object(const Json& schema, const std::string& path, int depth);
  bool take_text(std::size_t bytes, const std::string& path);

  const Json& whole_;
  SchemaReferences references_;
  JsonSchema& out_;
  std::vector<std::string> paths_ = {""};
  std::optional<SchemaError> error_;
  std::map<const Json*, NodeId> known_;
  std::map<std::string, std::shared_ptr<const Pattern>> patterns_;
  NodeId any_ = 0;
  std::size_t n_choices_ = 0, n_properties_ = 0, n_text_ = 0, n_states_ = 0;
  std::size_t steps_left_ = kSchemaPatternStepsMax;
};

}  // namespace lares::engine
