// A place in a document is the set of nodes that its value may be of: at the root those of the
// root, behind a key what the objects among them have there, and so on; the sets are found as a
// deterministic automaton is from another. A walker has at most one way for each node.
#include "engine/text/grammar/schema_ways.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

namespace lares::engine {
namespace {

using Kind = SchemaNode::Kind;
using Place = std::vector<NodeId>;  // sorted

class Places {
 public:
  Places(const JsonSchema& schema, std::span<const std::string> paths)
      : schema_(schema), paths_(paths) {}

  std::optional<SchemaError> search(NodeId root) {
    add({root}, {}, root);
    while (!open_.empty() && !error_) {
      const auto [place, of] = open_.back();
      open_.pop_back();
      check(*place, of);
      follow(*place);
    }
    return error_;
  }

 private:
  const SchemaNode& node(NodeId id) const { return schema_.nodes[id]; }
  // A choice that goes on behind a bracket: it is text to the walker.
  bool is_structured(NodeId id) const {
    return node(id).kind == Kind::choices &&
           std::ranges::any_of(node(id).choices, [](const std::string& text) {
             return text[0] == '[' || text[0] == '{';
           });
  }

  // What is written tells strings, numbers, arrays and objects apart.
  void check(const Place& place, NodeId of) {
    std::size_t n_listed = 0, n[4] = {};
    for (const NodeId id : place) {
      switch (node(id).kind) {
        case Kind::any_of:
          break;
        case Kind::choices:
          ++n_listed;
          break;
        case Kind::string:
          ++n[0];
          break;
        case Kind::number:
          ++n[1];
          break;
        case Kind::array:
          ++n[2];
          break;
        case Kind::object:
        case Kind::map:
          ++n[3];
          break;
      }
    }
    const std::size_t n_ways = n_listed + *std::ranges::max_element(n);
    if (n_ways > kSchemaWaysMax)
      fail(of, fmt::format("{} alternatives could be meant there at once, of at most {}; tell them "
                           "apart by a key before it",
                           n_ways, kSchemaWaysMax));
  }
  void fail(NodeId of, std::string why) { error_ = SchemaError{paths_[of], std::move(why)}; }

  void follow(const Place& place) {
    Place items, others, listed;
    std::map<std::string_view, Place> by_key;
    for (const NodeId id : place) {
      const SchemaNode& n = node(id);
      if (n.kind == Kind::array)
        items.push_back(n.items);
      else if (n.kind == Kind::map)
        others.push_back(n.items);
      else if (n.kind == Kind::object)
        for (const SchemaProperty& p : n.properties) by_key[p.key].push_back(p.value);
      else if (is_structured(id))
        listed.push_back(id);
    }
    add(items, listed, place[0]);
    add(others, listed, place[0]);
    for (auto& [key, values] : by_key) {
      values.insert(values.end(), others.begin(), others.end());
      add(values, listed, place[0]);
    }
  }

  // `values`: any_of among them; `listed` begins further up.
  void add(const Place& values, const Place& listed, NodeId parent) {
    if (values.empty() || error_) return;
    Place place = listed;
    for (const NodeId id : values) {
      if (node(id).kind == Kind::any_of)
        place.insert(place.end(), node(id).alternatives.begin(), node(id).alternatives.end());
      else
        place.push_back(id);
    }
    std::ranges::sort(place);
    place.erase(std::ranges::unique(place).begin(), place.end());
    const std::size_t n = place.size();
    const auto [at, fresh] = known_.insert(std::move(place));
    if (!fresh || n == 0) return;
    n_nodes_ += n;
    if (n_nodes_ > kSchemaPlacesMax)
      return fail(parent,
                  "its alternatives and those within them can be meant in too many combinations; "
                  "tell them apart by a key before it");
    open_.emplace_back(&*at, values[0]);
  }

  const JsonSchema& schema_;
  std::span<const std::string> paths_;
  std::set<Place> known_;
  std::vector<std::pair<const Place*, NodeId>> open_;  // and the first of the values that led there
  std::size_t n_nodes_ = 0;
  std::optional<SchemaError> error_;
};

}  // namespace

std::optional<SchemaError> too_many_ways(const JsonSchema& schema, NodeId root,
                                         std::span<const std::string> paths) {
  return Places(schema, paths).search(root);
}

}  // namespace lares::engine
