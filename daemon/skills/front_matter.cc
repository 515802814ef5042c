#include "daemon/skills/front_matter.h"

#include <yaml.h>

#include <algorithm>
#include <new>
#include <utility>

#include <fmt/format.h>

#include "tools/text.h"

namespace lares::daemon {
namespace {

constexpr std::string_view kRule = "---";

using Fields = std::map<std::string, std::string>;
struct Wrong {
  std::string why;
  bool too_deep = false;  // and not looked at any further
};

class Event {
 public:
  Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() {
    if (held_) yaml_event_delete(&event_);
  }
  bool next(yaml_parser_t& from) {
    if (std::exchange(held_, false)) yaml_event_delete(&event_);
    return held_ = yaml_parser_parse(&from, &event_) != 0;
  }
  yaml_event_type_t type() const { return event_.type; }
  std::string scalar() const {
    return {reinterpret_cast<const char*>(event_.data.scalar.value), event_.data.scalar.length};
  }
  bool begins() const {
    return type() == YAML_MAPPING_START_EVENT || type() == YAML_SEQUENCE_START_EVENT;
  }
  bool ends() const {
    return type() == YAML_MAPPING_END_EVENT || type() == YAML_SEQUENCE_END_EVENT;
  }

 private:
  yaml_event_t event_{};
  bool held_ = false;
};

class Parser {
 public:
  explicit Parser(std::string_view text) {
    if (yaml_parser_initialize(&parser_) == 0) throw std::bad_alloc();
    yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()),
                                 text.size());
  }
  Parser(const Parser&) = delete;
  Parser& operator=(const Parser&) = delete;
  ~Parser() { yaml_parser_delete(&parser_); }

  tl::expected<Fields, Wrong> fields() {
    Fields out;
    Event event;
    std::string key;
    bool keyed = false;  // what comes is the value of `key`
    int depth = 0;       // 1: in the mapping itself
    do {
      if (!event.next(parser_)) return tl::unexpected(problem());
      const bool opens = event.begins();
      if (depth == 0 && (opens || event.type() == YAML_SCALAR_EVENT) &&
          event.type() != YAML_MAPPING_START_EVENT)
        return tl::unexpected(Wrong{"it is no mapping of names to values"});
      if (event.type() == YAML_SCALAR_EVENT && depth == 1) {
        if (keyed)
          out.insert_or_assign(key, event.scalar());
        else
          key = event.scalar();
        keyed = !keyed;
      } else if (event.type() == YAML_ALIAS_EVENT && depth == 1) {
        keyed = !keyed;
      }
      if (opens && ++depth > kFrontMatterDepthMax)
        return tl::unexpected(
            Wrong{fmt::format("it is nested more than {} deep", kFrontMatterDepthMax), true});
      if (event.ends() && --depth == 1) {  // it was a value, or a key that is no name
        keyed = !keyed;
        if (keyed) key.clear();
      }
    } while (event.type() != YAML_STREAM_END_EVENT);
    return out;
  }

 private:
  Wrong problem() const {
    return {fmt::format("line {}: {}", parser_.problem_mark.line + 2,  // behind the first "---"
                        parser_.problem != nullptr ? parser_.problem : "it is not YAML")};
  }
  yaml_parser_t parser_{};
};

// "description: Use when: always" is not YAML, and yet what people write. Then a value is what
// stands behind its name, with the indented lines below it.
Fields as_it_stands(std::string_view text) {
  Fields out;
  std::string* value = nullptr;  // that lines below go on with
  for (const std::string_view line : tools::split_lines(text)) {
    const std::string_view rest = tools::trimmed(line);
    if (line.starts_with(' ') || line.starts_with('\t')) {
      if (value != nullptr && !rest.empty()) value->append(value->empty() ? "" : " ").append(rest);
      continue;
    }
    value = nullptr;
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || colon == 0 ||
        line.substr(0, colon).find_first_of(" \t#'\"") != std::string_view::npos)
      continue;
    std::string_view said = tools::trimmed(line.substr(colon + 1));
    if (said == "|" || said == ">" || said == "|-" || said == ">-") said = {};
    if (said.size() >= 2 && (said.front() == '"' || said.front() == '\'') &&
        said.back() == said.front())
      said = said.substr(1, said.size() - 2);
    value =
        &out.insert_or_assign(std::string(line.substr(0, colon)), std::string(said)).first->second;
  }
  return out;
}

}  // namespace

tl::expected<FrontMatter, std::string> front_matter(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t\n"), text.size()));
  std::size_t begin = 0, end = 0;  // of what stands between the two lines
  int n_rules = 0;
  for (std::size_t at = 0; at < text.size() && n_rules < 2;) {
    const std::size_t next = std::min(text.find('\n', at), text.size() - 1) + 1;
    const bool is_rule = text.substr(at, 3) == kRule &&
                         tools::trimmed(text.substr(at, next - at)) == kRule;
    if (n_rules == 0 && !is_rule) break;
    if (is_rule && ++n_rules == 1) begin = next;
    if (n_rules < 2) end = next;
    if (n_rules == 2) {
      end = at;
      if (end - begin > kFrontMatterBytesMax) break;
      const std::string_view yaml = text.substr(begin, end - begin);
      auto fields = Parser(yaml).fields();
      if (!fields && !fields.error().too_deep)
        if (auto plain = as_it_stands(yaml); plain.contains("description"))
          fields = std::move(plain);
      if (!fields) return tl::unexpected(std::move(fields.error().why));
      return FrontMatter{.fields = std::move(*fields), .body = text.substr(next)};
    }
    at = next;
  }
  if (n_rules == 0)
    return tl::unexpected(
        std::string("it does not begin with a line ---, its description and another ---"));
  if (end - begin > kFrontMatterBytesMax)
    return tl::unexpected(fmt::format("what stands between its lines --- has more than {} bytes",
                                      kFrontMatterBytesMax));
  return tl::unexpected(std::string("no second line --- ends what its first one begins"));
}

}  // namespace lares::daemon
