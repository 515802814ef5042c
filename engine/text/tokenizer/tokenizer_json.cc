#include "engine/text/tokenizer/tokenizer_json.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "engine/text/python_json.h"
#include "engine/text/tokenizer/byte_trie.h"
#include "engine/text/tokenizer/unicode.h"

namespace lares::engine {
namespace {

using Json = nlohmann::json;

// Ids a tokenizer.json may use: four times the largest vocabulary, and tables of them stay small
constexpr std::int64_t kIdMax = 1 << 20;

// The alphabet in which byte-level BPE writes bytes as printable characters: printable Latin-1
// stands for itself, the other bytes in order are U+0100 and following.
class ByteAlphabet {
 public:
  ByteAlphabet() {
    bytes_.fill(-1);
    int next = 256;
    for (int b = 0; b < 256; ++b) {
      const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
      bytes_[std::size_t(printable ? b : next++)] = std::int16_t(b);
    }
  }
  // The bytes that `token` stands for; false when a character is not of the alphabet.
  bool decode(const std::string& token, std::string& out) const {
    out.clear();
    for (std::size_t i = 0; i < token.size();) {
      if (utf8_sequence(std::string_view(token).substr(i, 4)) == 0) return false;
      const CodePoint c = code_point(token.data() + i);
      if (c.value >= bytes_.size() || bytes_[c.value] < 0) return false;
      out += char(bytes_[c.value]);
      i += std::size_t(c.length);
    }
    return true;
  }

 private:
  std::array<std::int16_t, 324> bytes_;
};

// GPT-2's own split, which a ByteLevel step adds when its use_regex is set.
constexpr const char* kByteLevelSplit =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

class Reader {
 public:
  Reader(const Json& root, const std::string& path) : root_(root), path_(path) {}

  Result<TokenizerJson> read() {
    for (auto step : {&Reader::normalizer, &Reader::pre_tokenizer, &Reader::vocabulary,
                      &Reader::merges, &Reader::added}) {
      if (!(this->*step)()) return tl::unexpected(std::move(error_));
    }
    return std::move(result_);
  }

 private:
  bool fail(Errc code, std::string why) {
    error_ = {code, fmt::format("read the tokenizer {}: {}", path_, why)};
    return false;
  }
  bool malformed(std::string why) { return fail(Errc::malformed, std::move(why)); }
  bool unsupported(std::string why) { return fail(Errc::unsupported, std::move(why)); }

  static const Json& member(const Json& object, const char* key) {
    static const Json null;
    if (!object.is_object()) return null;
    const auto found = object.find(key);
    return found == object.end() ? null : *found;
  }
  static bool is_set(const Json& object, const char* key) {
    const Json& value = member(object, key);
    return value.is_boolean() && value.get<bool>();
  }
  static std::string text(const Json& object, const char* key) {
    const Json& value = member(object, key);
    return value.is_string() ? value.get<std::string>() : std::string();
  }

  bool normalizer() {
    const Json& n = member(root_, "normalizer");
    if (n.is_null()) return true;
    const Json& steps = member(n, "normalizers");
    if (text(n, "type") == "Sequence" && steps.is_array() && steps.empty()) return true;
    return unsupported(fmt::format("it has a normalizer ({}); only byte-exact tokenizers are run",
                                   shown(text(n, "type"))));
  }

  bool pre_tokenizer() {
    const Json& p = member(root_, "pre_tokenizer");
    std::vector<Json> steps;
    if (text(p, "type") == "Sequence" && member(p, "pretokenizers").is_array()) {
      steps = member(p, "pretokenizers").get<std::vector<Json>>();
    } else if (p.is_object()) {
      steps.push_back(p);
    }
    if (steps.empty() || text(steps.back(), "type") != "ByteLevel") {
      return unsupported(
          "its pre_tokenizer does not end with ByteLevel; only byte-level BPE is run");
    }
    for (std::size_t i = 0; i + 1 < steps.size(); ++i) {
      if (!split(steps[i], i)) return false;
    }
    if (is_set(steps.back(), "add_prefix_space"))
      return unsupported("ByteLevel with add_prefix_space is not run");
    const Json& use_regex = member(steps.back(), "use_regex");
    if (!use_regex.is_boolean() || use_regex.get<bool>())
      result_.splits.push_back({kByteLevelSplit});
    return true;
  }

  bool split(const Json& step, std::size_t i) {
    const Json& pattern = member(step, "pattern");
    if (text(step, "type") != "Split" || text(step, "behavior") != "Isolated" ||
        is_set(step, "invert") || !pattern.is_object()) {
      return unsupported(
          fmt::format("pre_tokenizer step {} is {} {}; only Split with behavior Isolated is run", i,
                      shown(text(step, "type")), shown(text(step, "behavior"))));
    }
    if (const std::string regex = text(pattern, "Regex"); !regex.empty()) {
      result_.splits.push_back({regex});
    } else if (const std::string string = text(pattern, "String"); !string.empty()) {
      result_.splits.push_back({string, true});
    } else {
      return malformed(fmt::format("pre_tokenizer step {} has no pattern", i));
    }
    return true;
  }

  // An id is one token's.
  bool set_bytes(std::int64_t id, std::string bytes, const std::string& name) {
    if (id < 0 || id >= kIdMax)
      return malformed(
          fmt::format("token {} has id {}, outside 0..{}", shown(name), id, kIdMax - 1));
    if (std::size_t(id) >= result_.bytes.size())
      result_.bytes.resize(std::size_t(id) + 1), names_.resize(std::size_t(id) + 1);
    if (names_[std::size_t(id)])
      return malformed(fmt::format("tokens {} and {} have the same id, {}",
                                   shown(*names_[std::size_t(id)]), shown(name), id));
    names_[std::size_t(id)] = &name;
    result_.bytes[std::size_t(id)] = std::move(bytes);
    return true;
  }

  bool vocabulary() {
    const Json& model = member(root_, "model");
    if (text(model, "type") != "BPE")
      return unsupported(fmt::format("its model is {}, expected BPE", shown(text(model, "type"))));
    for (const char* key :
         {"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"}) {
      const Json& value = member(model, key);
      if (!value.is_null() && value != "")
        return unsupported(fmt::format("model.{} is set; plain byte-level BPE is run", key));
    }
    for (const char* key : {"byte_fallback", "ignore_merges"}) {
      if (is_set(model, key))
        return unsupported(fmt::format("model.{} is set; plain byte-level BPE is run", key));
    }
    const Json& vocab = member(model, "vocab");
    if (!vocab.is_object() || vocab.empty())
      return malformed("model.vocab is missing or not an object");
    const ByteAlphabet alphabet;
    std::string bytes;
    result_.byte_tokens.fill(-1);
    ids_.reserve(vocab.size());
    result_.bytes.reserve(vocab.size() + 4096);
    for (auto entry = vocab.begin(); entry != vocab.end(); ++entry) {
      if (!entry.value().is_number_integer())
        return malformed(fmt::format("model.vocab[{}] is not an integer", shown(entry.key())));
      const auto id = entry.value().get<std::int64_t>();
      // Names outside the alphabet are control tokens listed in the vocabulary as well; text never
      // produces them.
      if (!alphabet.decode(entry.key(), bytes))
        bytes = entry.key();
      else if (bytes.size() == 1)
        result_.byte_tokens[std::uint8_t(bytes[0])] = Token(id);
      if (bytes.size() > kTokenBytesMax) {
        return unsupported(fmt::format("token {} (id {}) has {} bytes, the limit is {}",
                                       shown(entry.key()), id, bytes.size(), kTokenBytesMax));
      }
      if (!set_bytes(id, bytes, entry.key())) return false;
      ids_.emplace(entry.key(), Token(id));
    }
    for (int b = 0; b < 256; ++b) {
      if (result_.byte_tokens[std::size_t(b)] < 0)
        return malformed(fmt::format("model.vocab has no token for byte 0x{:02x}", b));
    }
    return true;
  }

  bool merges() {
    const Json& merges = member(member(root_, "model"), "merges");
    if (!merges.is_array()) return malformed("model.merges is missing or not an array");
    result_.merges.reserve(merges.size());
    std::string joined;
    for (std::size_t i = 0; i < merges.size(); ++i) {
      std::string_view left, right;
      if (merges[i].is_string()) {  // "left right"
        const std::string_view pair = merges[i].get_ref<const std::string&>();
        const auto space = pair.find(' ');
        if (space != pair.npos) left = pair.substr(0, space), right = pair.substr(space + 1);
      } else if (merges[i].is_array() && merges[i].size() == 2 && merges[i][0].is_string() &&
                 merges[i][1].is_string()) {
        left = merges[i][0].get_ref<const std::string&>(),
        right = merges[i][1].get_ref<const std::string&>();
      }
      if (left.empty() || right.empty())
        return malformed(fmt::format("model.merges[{}] is not a pair of tokens", i));
      joined.assign(left).append(right);
      const auto a = ids_.find(left), b = ids_.find(right), c = ids_.find(joined);
      if (a == ids_.end() || b == ids_.end() || c == ids_.end()) {
        return malformed(fmt::format(
            "model.merges[{}] joins {} and {}, but not all of these and {} are in model.vocab", i,
            shown(left), shown(right), shown(joined)));
      }
      result_.merges.push_back({a->second, b->second, c->second});
    }
    return true;
  }

  bool added() {
    const Json& added = member(root_, "added_tokens");
    if (added.is_null()) return true;
    if (!added.is_array()) return malformed("added_tokens is not an array");
    std::unordered_set<std::string_view> contents;
    for (std::size_t i = 0; i < added.size(); ++i) {
      const Json& content = member(added[i], "content");
      const Json& id = member(added[i], "id");
      if (!content.is_string() || content == "" || !id.is_number_integer())
        return malformed(fmt::format("added_tokens[{}] has no content or no id", i));
      const auto& name = content.get_ref<const std::string&>();
      for (const char* key : {"single_word", "lstrip", "rstrip"}) {
        if (is_set(added[i], key))
          return unsupported(fmt::format("added token {} has {} set", shown(name), key));
      }
      if (!contents.insert(name).second)
        return malformed(fmt::format("added token {} is there twice", shown(name)));
      const auto number = id.get<std::int64_t>();
      const auto listed = ids_.find(name);  // in the vocabulary as well
      if (listed != ids_.end() && listed->second != number) {
        return malformed(fmt::format("added token {} has id {}, and {} in model.vocab", shown(name),
                                     number, listed->second));
      }
      const bool known = number >= 0 && std::size_t(number) < names_.size() &&
                         names_[std::size_t(number)];
      if (!(known && result_.bytes[std::size_t(number)] == name) && !set_bytes(number, name, name))
        return false;
      result_.added.emplace_back(name, Token(number));
    }
    return true;
  }

  const Json& root_;
  const std::string& path_;
  TokenizerJson result_;
  Error error_;
  // By name, in the byte alphabet; the keys live in root_
  std::unordered_map<std::string_view, Token> ids_;
  std::vector<const std::string*> names_;  // [id]; null: no token has it
};

}  // namespace

Result<TokenizerJson> parse_tokenizer_json(std::string_view text, const std::string& path) {
  const Json root = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) {
    return tl::unexpected(
        Error{Errc::malformed,
              fmt::format("read the tokenizer {}: it is not a JSON object ({} bytes); fetch "
                          "the checkpoint's tokenizer.json again",
                          path, text.size())});
  }
  return Reader(root, path).read();
}

}  // namespace lares::engine
