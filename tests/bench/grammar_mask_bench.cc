// How long Grammar::mask() takes per token, where nothing is known yet of the file, the schema or
// the choices at hand:
//   lares_grammar_mask_bench TOKENIZER.json [--token-ms N]
// Before each token there is a pause as long as a fast model's evaluation (2 ms: 500 tokens a
// second), and before the first one of kPromptMs; what masks need is made meanwhile. Floor: an
// allowed set is copied or joined in 0.5 us (16 KB); above kGoalUs per token, of a vocabulary of
// 129,280, constrained decoding shows. The mean is what an answer pays; "settled" is the worst
// token's median of the rounds: without what else the machine does.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/chat.h"
#include "engine/grammar.h"
#include "engine/text/tokenizer/vocabulary.h"
#include "engine/tokenizer.h"

namespace {

using namespace lares::engine;
using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

constexpr double kGoalUs = 50;
constexpr int kRounds = 9, kPromptMs = 200;

double us_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

// A tokenizer whose vocabulary has no masks yet.
class Fresh final : public Tokenizer {
 public:
  explicit Fresh(const Tokenizer& of) : of_(of), vocabulary_(Tokenizer::vocabulary()) {}
  void encode(std::string_view text, bool added, std::vector<Token>& out) const override {
    of_.encode(text, added, out);
  }
  std::vector<Token> encode(const std::vector<Segment>& segments) const override {
    return of_.encode(segments);
  }
  int vocab_size() const override { return of_.vocab_size(); }
  std::string_view bytes(Token id) const override { return of_.bytes(id); }
  std::optional<Token> added(std::string_view text) const override { return of_.added(text); }
  std::shared_ptr<const Vocabulary> vocabulary() const override { return vocabulary_; }

 private:
  const Tokenizer& of_;
  std::shared_ptr<const Vocabulary> vocabulary_;
};

struct Row {
  std::string name;
  std::function<GrammarOptions()> options;  // anew in each round: a schema is compiled
  std::string answer;
  std::string from;  // behind this it is measured
};

std::string call_of(const std::string& tool,
                    const std::vector<std::pair<std::string, std::string>>& arguments) {
  std::string out = "Now.\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"" + tool + "\">\n";
  for (const auto& [name, value] : arguments)
    out += "<｜DSML｜parameter name=\"" + name + "\" string=\"true\">" + value +
           "</｜DSML｜parameter>\n";
  return out + "</｜DSML｜invoke>\n</｜DSML｜tool_calls>";
}

// The repository's own sources, one behind the other.
std::string sources(std::size_t n_bytes) {
  std::string out;
  while (out.size() < n_bytes) {
    const std::size_t before = out.size();
    for (const char* const name :
         {"engine/text/grammar/grammar.cc", "engine/text/grammar/json_walker.cc",
          "engine/text/chat/stream_parser.cc", "engine/text/chat/encode_chat.cc",
          "engine/text/tokenizer/tokenizer_json.cc", "daemon/turn/turn.cc",
          "daemon/session/session.cc", "daemon/main.cc", "tools/edit/edit_tool.cc",
          "tools/git/git_tool.cc", "README.md", "engine/model/forward.cc"}) {
      std::ifstream file(std::string(LARES_SOURCE_DIR "/") + name, std::ios::binary);
      std::string text(std::istreambuf_iterator<char>(file), {});
      if (before > 0)
        std::replace(text.begin(), text.end(), 'e', char('a' + before / 7 % 26)),
            std::replace(text.begin(), text.end(), 't', char('a' + before / 11 % 26));  // other
                                                                                        // words
      out += text;
    }
  }
  out.resize(n_bytes);
  return out;
}

const std::vector<ToolSpec> kTools = {
    {"edit", "",
     R"({"type": "object", "properties": {"path": {"type": "string"}, "old_str": {"type": "string"}, "new_str": {"type": "string"}}, "required": ["path"]})"},
    {"outline", "",
     R"({"type": "object", "properties": {"name": {"type": "string"}, "depth": {"type": "integer"}}})"}};

Row stretch(const std::string& name, const std::string& file, const std::string& wanted) {
  const auto oracle = [file](const std::string&, const std::string& key,
                             const Arguments&) -> std::optional<ArgumentChoices> {
    if (key == "path") return ArgumentChoices{{"src/a.c", "src/b.c", "README.md"}, "", false};
    if (key == "old_str") return ArgumentChoices{{}, file, true};
    return std::nullopt;
  };
  return {name,
          [oracle] { return GrammarOptions{.tools = kTools, .thinking = false, .oracle = oracle}; },
          call_of("edit", {{"path", "src/a.c"}, {"old_str", wanted}}),
          "name=\"old_str\" string=\"true\">"};
}
Row one_of(const std::string& name, const std::vector<std::string>& all,
           const std::string& wanted) {
  const auto oracle = [all](const std::string&, const std::string& key,
                            const Arguments&) -> std::optional<ArgumentChoices> {
    if (key == "name") return ArgumentChoices{all, "", false};
    return std::nullopt;
  };
  return {name,
          [oracle] { return GrammarOptions{.tools = kTools, .thinking = false, .oracle = oracle}; },
          call_of("outline", {{"name", wanted}}), "name=\"name\" string=\"true\">"};
}
Row document(const std::string& name, const std::string& schema, const std::string& text) {
  const auto compile = [schema] {
    const auto compiled = compile_schema(Json::parse(schema));
    if (!compiled)
      std::fprintf(stderr, "%s%s\n", compiled.error().path.c_str(),
                   compiled.error().message.c_str()),
          std::exit(1);
    return GrammarOptions{.thinking = false, .json = true, .schema = *compiled};
  };
  return {name, compile, text, ""};
}
// The words of a text, each once.
std::vector<std::string> names_in(const std::string& text, std::size_t n_max) {
  std::map<std::string, int> seen;
  std::string word;
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == ':')
      word += c;
    else if (!std::exchange(word, "").empty())
      continue;
    if (word.size() > 3 && seen.size() < n_max) seen.emplace(word, 0);
  }
  std::vector<std::string> out;
  for (const auto& [name, n] : seen) out.push_back(name);
  return out;
}

std::vector<Row> rows() {
  std::string alike;
  for (int i = 0; alike.size() < 80'000; ++i)
    alike += "  value_" + std::to_string(i) + " = compute(" + std::to_string(i * 7) + ");\n";
  const std::string small = sources(80'000), large = sources(1 << 20),
                    edited = large.substr(0, 500'000) + "    changed_here();\n" +
                             large.substr(500'000);
  const std::string letters = std::string(200'000, 'a') + "z";
  const auto names = names_in(large, 5'000);
  std::vector<std::string> paths;
  for (std::size_t i = 0; i < 20'000; ++i)
    paths.push_back("/home/user/project/" + names[i % 37] + "/" + names[i % 613] + "/" +
                    names[i % names.size()] + "_" + std::to_string(i) + ".cc");
  Json choices = Json::array(), properties = Json::object();
  for (const std::string& name : names)
    choices.push_back(name), properties[name] = {{"type", "integer"}};
  Json alternatives = Json::array();  // as many as may be open at once
  for (std::size_t i = 0; i < 64; ++i) {
    Json texts = Json::array();
    for (std::size_t j = 0; j < kSchemaWaysMax / 64; ++j)
      texts.push_back({{"const", names[i * 70 + j * 7]}});
    alternatives.push_back({{"type", "object"},
                            {"properties", {{"name", {{"anyOf", texts}}}}},
                            {"required", {"name"}}});
  }
  return {
      {"text and tags", [] { return GrammarOptions{.tools = kTools}; },
       "I look.</think>" +
           call_of("edit", {{"path", "src/a.c"}, {"new_str", "if (a < b) {\n  return </b>;\n}"}}),
       ""},
      stretch("a stretch, 80 KB of lines alike", alike,
              "value_1234 = compute(8638);\n  value_1235"),
      stretch("a stretch, 80 KB of sources", small, small.substr(41'003, 150)),
      stretch("a stretch, 1 MB of sources", large, large.substr(700'011, 250)),
      stretch("a stretch, the 1 MB edited", edited, edited.substr(499'990, 60)),
      stretch("a stretch, from a line's start", large,
              "\n    " + large.substr(large.find("\n    ", 300'000) + 5, 60)),
      stretch("a stretch, 200 KB of one letter", letters, std::string(300, 'a') + "z"),
      one_of("one of 5,000 names", names, names[names.size() / 2]),
      one_of("one of 20,000 paths", paths, paths[12'345]),
      document(
          "an object",
          R"({"type":"object","properties":{"path":{"type":"string"},"line":{"type":"integer","minimum":1},"kind":{"enum":["error","warning","note"]},"text":{"type":"string"},
        "fix":{"anyOf":[{"type":"null"},{"type":"object","properties":{"old":{"type":"string"},"new":{"type":"string"}},"required":["old","new"]}]}},"required":["path","line","kind","text","fix"]})",
          R"({"path": "src/date_parser.cc", "line": 117, "kind": "error", "text": "leap days are rejected: \"02-29\" isn't matched", "fix": {"old": "if (day > 28) {\n  return false;", "new": "if (day > days_in(month)) {"}})"),
      document("anything", "{}",
               R"({"a": [1, {"b": null}, "some words here"], "c": true, "d": [[-1.5e3, false]]})"),
      document("numbers", R"({"type":"array","items":{"type":"number"}})",
               "[1, 22.5, -3.125e+7, 4096, 0.001, 31337, 2.71828, -17]"),
      document("numbers within bounds",
               R"({"type":"array","items":{"type":"number","minimum":-1000,"maximum":99999.5}})",
               "[1, 22.5, -312.7, 4096, 0.001, 31337, 2.71828, -17]"),
      document(
          "multiples",
          R"({"type":"array","items":{"type":"integer","multipleOf":7,"minimum":3,"maximum":1000000000}})",
          "[7, 49, 123452, 999999994, 1001]"),
      document("dates", R"({"type":"array","items":{"type":"string","format":"date-time"}})",
               R"(["2024-02-29T12:30:00Z", "1999-12-31T23:59:59.5+01:00"])"),
      document(
          "ids or dates",
          R"({"type":"array","items":{"anyOf":[{"type":"string","format":"date"},{"type":"string","pattern":"^[A-Z]{2,6}-[0-9]+$"}]}})",
          R"(["2024-02-29", "LARES-1234", "AB-7"])"),
      document("a pattern, any text", R"({"type":"string","pattern":".*"})",
               R"("there is \"some\" text here,\nand more")"),
      document("a pattern, a word in a text", R"({"type":"string","pattern":"error"})",
               R"("there is one error in this text, and another word behind it")"),
      document(
          "a pattern, one of many words",
          R"x({"type":"string","pattern":"(error|warning|fatal|quick|brown|fox|jumps|lazy dog)"})x",
          R"("there is one \"warning\" in this text, and another word behind it")"),
      document("a pattern, of letters", R"x({"type":"string","pattern":"^[a-z]+( [a-z]+)*$"})x",
               R"("there is some text in here and it is not long")"),
      document("a pattern, counted", R"({"type":"string","pattern":"^[ -~]{1,500}$"})",
               R"("there is \"some\" text in here: at most 500 characters")"),
      document("one of 5,000 texts", Json{{"enum", choices}}.dump(),
               Json(names[names.size() / 3]).dump()),
      document("512 alternatives", Json{{"anyOf", alternatives}}.dump(),
               Json({{"name", names[33 * 70 + 5 * 7]}}).dump()),
      document("5,000 properties", Json{{"type", "object"}, {"properties", properties}}.dump(),
               Json{{names[100], 1}, {names[2'000], 2}}.dump()),
  };
}

// The times of a row's tokens, or why there are none.
bool time_row(const Tokenizer& tokenizer, const Row& row, std::chrono::milliseconds per_token,
              std::vector<std::vector<double>>& out) {
  const std::size_t begin = row.from.empty() ? 0 : row.answer.find(row.from) + row.from.size();
  const std::size_t end = row.from.empty() ? row.answer.size()
                                           : row.answer.find("</｜DSML｜", begin);
  std::vector<Token> ids;  // none of them is in a tag and in the value
  for (const auto& [from, to] : {std::pair(std::size_t{0}, begin), std::pair(begin, end),
                                 std::pair(end, row.answer.size())}) {
    tokenizer.encode(std::string_view(row.answer).substr(from, to - from), /*added=*/true, ids);
  }
  const GrammarOptions options = row.options();
  Grammar::prepare(tokenizer, options);
  std::this_thread::sleep_for(std::chrono::milliseconds(kPromptMs));
  const auto grammar = Grammar::make(tokenizer, options);
  std::string said;
  out.resize(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    std::this_thread::sleep_for(per_token);
    const auto before = Clock::now();
    const TokenMask* const mask = grammar->mask();
    const double us = us_since(before);
    if (mask && !allows(*mask, ids[i]))
      return std::fprintf(stderr, "%s: the grammar forbids '%s' after: %s\n", row.name.c_str(),
                          std::string(tokenizer.bytes(ids[i])).c_str(), said.c_str()),
             false;
    if (said.size() >= begin && said.size() <= end) out[i].push_back(us);
    grammar->accept(ids[i]);
    said += tokenizer.bytes(ids[i]);
  }
  return true;
}

struct Figures {
  double mean, median, most, worst, settled;
};
Figures figures_of(std::vector<std::vector<double>> tokens) {
  std::vector<double> all;
  Figures out{};
  for (std::vector<double>& us : tokens) {
    if (us.empty()) continue;
    std::sort(us.begin(), us.end());
    out.settled = std::max(out.settled, us[us.size() / 2]);
    all.insert(all.end(), us.begin(), us.end());
  }
  std::sort(all.begin(), all.end());
  out.mean = std::accumulate(all.begin(), all.end(), 0.0) / double(all.size());
  out.median = all[all.size() / 2], out.most = all[all.size() * 95 / 100], out.worst = all.back();
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  const bool given = argc == 4 && std::string_view(argv[2]) == "--token-ms";
  if (argc != 2 && !given)
    return std::fprintf(stderr, "usage: %s TOKENIZER.json [--token-ms N]\n", argv[0]), 2;
  const std::chrono::milliseconds per_token(given ? std::atoi(argv[3]) : 2);
  const auto tokenizer = Tokenizer::from_file(argv[1]);
  if (!tokenizer) return std::fprintf(stderr, "%s\n", tokenizer.error().message.c_str()), 1;
  const std::vector<Row> all = rows();
  std::map<std::string, std::vector<std::vector<double>>> times;
  for (int round = 0; round < kRounds; ++round) {
    const auto begin = Clock::now();
    const Fresh fresh(**tokenizer);
    if (round == 0)
      std::printf("vocabulary %d, made ready in %.0f ms; %lld ms a token, %d rounds\n",
                  fresh.vocab_size(), us_since(begin) / 1000,
                  static_cast<long long>(per_token.count()), kRounds);
    for (const Row& row : all) {
      if (!time_row(fresh, row, per_token, times[row.name])) return 1;
    }
  }
  std::printf("%-32s %8s %8s %8s %8s %8s  us per token\n", "", "mean", "median", "95 %", "worst",
              "settled");
  int n_slow = 0, n_peaks = 0;
  for (const Row& row : all) {
    const Figures f = figures_of(times[row.name]);
    const bool slow = f.mean > kGoalUs, peaks = f.most > kGoalUs || f.settled > kGoalUs;
    n_slow += slow ? 1 : 0, n_peaks += peaks ? 1 : 0;
    std::printf("%-32s %8.1f %8.1f %8.1f %8.1f %8.1f%s\n", row.name.c_str(), f.mean, f.median,
                f.most, f.worst, f.settled,
                slow    ? "  above 50"
                : peaks ? "  peaks above 50"
                        : "");
  }
  std::printf("%d of %zu kinds above %.0f us a token; %d at the 95th percentile, or settled\n",
              n_slow, all.size(), kGoalUs, n_peaks);
}
