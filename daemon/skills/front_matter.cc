#include "daemon/skills/front_matter.h"

#include <yaml.h>

#include <algorithm>
#include <new>
#include <utility>

#include <fmt/format.h>

namespace lares::daemon {
namespace {

constexpr std::string_view kRule = "---";

using Fields = std::map<std::string, std::string>;

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

  tl::expected<Fields, std::string> fields() {
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
        return tl::unexpected(std::string("it is no mapping of names to values"));
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
        return tl::unexpected(fmt::format("it is nested more than {} deep", kFrontMatterDepthMax));
      if (event.ends() && --depth == 1) {  // it was a value, or a key that is no name
        keyed = !keyed;
        if (keyed) key.clear();
      }
    } while (event.type() != YAML_STREAM_END_EVENT);
    return out;
  }

 private:
  std::string problem() const {
    return fmt::format("line {}: {}", parser_.problem_mark.line + 2,  // behind the first "---"
                       parser_.problem != nullptr ? parser_.problem : "it is not YAML");
  }
  yaml_parser_t parser_{};
};

// "description: Use when: always" is not YAML, and yet what people write: the value of such a line
// is put into quotes.
std::string quoted(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t colon = line.find(": ");
    const bool is_plain = colon != std::string_view::npos && colon + 2 < line.size() &&
                          line.find_first_of(" \t#'\"") > colon &&
                          std::string_view("'\"|>[{&*!").find(line[colon + 2]) ==
                              std::string_view::npos;
    if (!is_plain) {
      out.append(line).append("\n");
      continue;
    }
    out.append(line.substr(0, colon + 2)).append("'");
    for (const char c : line.substr(colon + 2)) out.append(c == '\'' ? 2 : 1, c);
    out.append("'\n");
  }
  return out;
}

}  // namespace

tl::expected<FrontMatter, std::string> front_matter(std::string_view text) {
  const std::string rule = std::string(kRule) + "\n";
  if (!text.starts_with(rule))
    return tl::unexpected(
        std::string("it does not begin with a line ---, its description and another ---"));
  const std::size_t begin = rule.size();
  std::size_t end = text.find("\n---", begin - 1);  // the YAML may be empty
  while (end != std::string_view::npos && end + 4 < text.size() && text[end + 4] != '\n')
    end = text.find("\n---", end + 4);
  if (end == std::string_view::npos)
    return tl::unexpected(std::string("no second line --- ends what its first one begins"));
  const std::string_view yaml = text.substr(begin, end + 1 - begin);
  if (yaml.size() > kFrontMatterBytesMax)
    return tl::unexpected(fmt::format("what stands between its lines --- has more than {} bytes",
                                      kFrontMatterBytesMax));
  auto fields = Parser(yaml).fields();
  if (!fields)
    if (auto again = Parser(quoted(yaml)).fields()) fields = std::move(again);
  if (!fields) return tl::unexpected(fields.error());
  return FrontMatter{.fields = std::move(*fields),
                     .body = text.substr(std::min(end + 5, text.size()))};
}

}  // namespace lares::daemon
