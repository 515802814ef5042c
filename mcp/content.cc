#include "mcp/content.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>

#include "mcp/message.h"
#include "mcp/tools.h"

namespace lares::mcp {
namespace {

using nlohmann::json;

constexpr std::size_t kBlocksMax = 10'000;
constexpr int kLeavesMax = 1'000;

// Of a picture, a sound or a file: what it is and how long, for its bytes are nothing to read.
std::string described(std::string_view kind, const json& block, const char* data) {
  const auto type = text_at(block, "mimeType");
  return fmt::format("[{}{}{}, {} bytes in base64]", kind, type.empty() ? "" : " ", type,
                     text_at(block, data).size());
}

std::string resource_text(const json& resource) {
  if (resource.is_object() && resource.contains("text")) return text_at(resource, "text");
  const auto uri = text_at(resource, "uri");
  if (resource.is_object() && resource.contains("blob"))
    return described(uri.empty() ? "resource" : "resource " + uri, resource, "blob");
  return fmt::format("[resource {}]", uri);
}

std::string link_text(const json& link) {
  std::string text = "[resource " + text_at(link, "uri");
  for (const char* key : {"name", "mimeType", "description"}) {
    if (const auto value = text_at(link, key); !value.empty()) text += fmt::format("; {}", value);
  }
  return text + "; resources/read gets it]";
}

std::string block_text(const json& block) {
  const auto type = text_at(block, "type");
  if (type == "text") return text_at(block, "text");
  if (type == "resource") return resource_text(block.value("resource", json::object()));
  if (type == "resource_link") return link_text(block);
  return described(type, block, "data");
}

bool in_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }
bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

// Whether what stands at `at` is a part of something longer: "13" is no number in "2025-12-13",
// nor in "13.5" or "1,134".
bool joined(std::string_view text, std::size_t at, std::size_t size) {
  constexpr std::string_view kJoints = "-.,:/";
  const auto digit = [&](std::size_t i) { return i < text.size() && is_digit(text[i]); };
  const std::size_t end = at + size;
  if (at >= 2 && digit(at - 2) && kJoints.find(text[at - 1]) != std::string_view::npos) return true;
  return digit(end + 1) && kJoints.find(text[end]) != std::string_view::npos;
}

// As whole words; where `number`, as a whole number, which a unit may follow: "5km".
bool has_words(std::string_view text, std::string_view words, bool number = false) {
  if (words.empty()) return true;
  for (auto at = text.find(words); at != std::string_view::npos; at = text.find(words, at + 1)) {
    const std::size_t end = at + words.size();
    const char before = at > 0 ? text[at - 1] : ' ', behind = end < text.size() ? text[end] : ' ';
    if (in_word(before) && in_word(words.front())) continue;
    if (!number && in_word(behind) && in_word(words.back())) continue;
    if (number &&
        (is_digit(behind) || before == '-' || before == '.' || joined(text, at, words.size())))
      continue;
    return true;
  }
  return false;
}

bool has_line(std::string_view text, std::string_view line) {
  for (std::size_t at = 0; at <= text.size();) {
    const auto end = std::min(text.find('\n', at), text.size());
    if (text.substr(at, end - at) == line) return true;
    at = end + 1;
  }
  return false;
}

// "n_failed" is "n failed", and "Failed" "failed".
std::string plain(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    c = c == '_' || c == '-' ? ' ' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

// What a server's text says of its structured result.
class Said {
 public:
  explicit Said(std::string_view text) : text_(text), plain_(plain(text)) {}

  // Whether each string, number and truth of `value`, which stands under `key`, is in the text.
  // Numbers and truths mean nothing without what they are of, so that is there too, unless a line
  // of the text is the value alone. Those too many to look for are not.
  bool all_of(const json& value, const std::string& key = "") {
    if (--n_left_ < 0) return false;
    if (value.is_string()) return has_words(text_, value.get_ref<const std::string&>());
    if (value.is_number() || value.is_boolean()) {
      const std::string word = value.dump();
      return has_line(text_, word) ||
             (has_words(text_, word, value.is_number()) && has_words(plain_, plain(key)));
    }
    if (!value.is_object())
      return std::ranges::all_of(value, [&](const json& part) { return all_of(part, key); });
    return std::ranges::all_of(value.items(),
                               [&](const auto& part) { return all_of(part.value(), part.key()); });
  }

 private:
  const std::string_view text_;
  const std::string plain_;
  int n_left_ = kLeavesMax;
};

}  // namespace

std::string result_text(const json& result) {
  std::string text;
  const auto structured = result.find("structuredContent");
  const auto add = [&](const std::string& more) {
    text += (text.empty() || more.empty() || text.ends_with('\n') ? "" : "\n") + more;
  };
  std::size_t n_left_out = 0;
  const auto list = [&](const char* key) {
    static const json kNone = json::array();
    const auto found = result.find(key);
    const json& all = found != result.end() && found->is_array() ? *found : kNone;
    if (all.size() > kBlocksMax) n_left_out += all.size() - kBlocksMax;
    return std::span(all.get_ref<const json::array_t&>()).first(std::min(all.size(), kBlocksMax));
  };
  for (const auto& block : list("content")) {
    if (block.is_object()) add(block_text(block));
  }
  for (const auto& resource : list("contents")) add(resource_text(resource));
  for (const auto& message : list("messages")) {
    if (message.is_object())
      add(fmt::format("{}: {}", text_at(message, "role"),
                      block_text(message.value("content", json::object()))));
  }
  if (n_left_out > 0)
    add(fmt::format("[{} more blocks; no more than {} are read]", n_left_out, kBlocksMax));
  if (structured == result.end()) return text;
  // Most servers say it as text, too, as JSON or in their own words: the model reads it once. Of a
  // long text it would see nothing more.
  const bool said = text.size() >= kOutputBytesMax ||
                    (!text.empty() && Said(text).all_of(*structured)) ||
                    (!nested_too_deep(text) && json::parse(text, nullptr, false) == *structured);
  if (!said) add(dumped(*structured));
  return text;
}

}  // namespace lares::mcp
