// An editor's bytes, damaged and cut anywhere: the lines do not depend on the cuts, and each is a
// message or a fault that can be answered with one line. LARES_FUZZ_SECONDS and LARES_FUZZ_SEED say
// how long and from where; without them the same streams are tried every time.
#include <chrono>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "daemon/bridges/acp/content.h"
#include "daemon/bridges/acp/lines.h"

namespace lares::cli::acp {
namespace {

constexpr std::size_t kStreams = 4'000;

std::uint64_t from_environment(const char* name, std::uint64_t fallback) {
  const char* text = std::getenv(name);
  return text && *text ? std::strtoull(text, nullptr, 10) : fallback;
}

const std::vector<std::string> kSeeds = {
    R"({"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":1,"clientCapabilities":{"fs":{"readTextFile":true}}}})",
    R"({"jsonrpc":"2.0","id":"a","method":"session/prompt","params":{"sessionId":"s","prompt":[{"type":"text","text":"\u00e9 \ud83d\ude00"},{"type":"resource_link","name":"a","uri":"file:///w/a%20b.cc#L1"}]}})",
    R"({"jsonrpc":"2.0","id":3,"method":"session/prompt","params":{"prompt":[{"type":"resource","resource":{"uri":"file://h/w/x","text":"y\n"}},{"type":"image","data":"","mimeType":"image/png"}]}})",
    R"({"jsonrpc":"2.0","method":"session/cancel","params":{"sessionId":"s"}})",
    R"({"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"no"}})",
    R"({"jsonrpc":"2.0","id":5,"result":{"outcome":{"outcome":"selected","optionId":"once"}}})",
    "",
    " \r",
};

std::string stream(std::mt19937_64& random) {
  static const char* const kPieces[] = {
      "\"",      "{",       "}",    "[",     "]",    ":",        ",", "\n", "\r\n", "\\",
      "\\u0000", "\"id\":", "null", "1e999", "\xff", "\xe2\x82", "%", "#",  "%zz",  "file://"};
  const auto below = [&](std::size_t n) {
    return static_cast<std::size_t>(random() % std::max<std::size_t>(n, 1));
  };
  std::string out;
  for (std::size_t n = 1 + below(5); n-- > 0;)
    out += kSeeds[below(kSeeds.size())] + (below(8) == 0 ? "" : "\n");
  for (std::size_t n = below(6); n-- > 0 && !out.empty();) {
    const std::size_t at = below(out.size());
    switch (below(5)) {
      case 0:
        out[at] = static_cast<char>(random());
        break;
      case 1:
        out.erase(at, 1 + below(20));
        break;
      case 2:
        out.insert(at, kPieces[below(std::size(kPieces))]);
        break;
      case 3:
        out.insert(at, out.substr(below(out.size()), 1 + below(60)));
        break;
      default:
        out.insert(at, std::string(1 + below(500), '['));
        break;
    }
  }
  return out;
}

// As a person would read them off: between newlines, blank ones aside.
std::vector<std::string> want(const std::string& bytes) {
  std::vector<std::string> out;
  for (std::size_t at = 0, end; (end = bytes.find('\n', at)) != std::string::npos; at = end + 1) {
    std::string line = bytes.substr(at, end - at);
    if (line.find_first_not_of(" \t\r") != std::string::npos) out.push_back(std::move(line));
  }
  return out;
}

void answerable(const std::string& line) {
  Json id;
  const auto message = parse(line, id);
  if (message) {
    const auto prompt = read_prompt(at(message->params, "prompt"), Root("/w", "/w"));
    EXPECT_TRUE(prompt || !prompt.error().message.empty());
    return;
  }
  EXPECT_FALSE(message.error().message.empty());
  const std::string answer = fault_line(id, message.error());
  EXPECT_TRUE(Json::accept(answer)) << answer;
  EXPECT_EQ(answer.find('\n'), answer.size() - 1) << "one line";
}

TEST(AcpLinesFuzz, CutsDoNotMatterAndEveryLineIsAMessageOrAFault) {
  const auto seconds = from_environment("LARES_FUZZ_SECONDS", 0);
  const auto seed = from_environment(
      "LARES_FUZZ_SEED", seconds > 0 ? static_cast<std::uint64_t>(std::random_device{}()) : 1);
  std::printf("LARES_FUZZ_SEED=%llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  std::mt19937_64 random(seed);
  std::size_t n_streams = 0, n_lines = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while ((seconds > 0 ? std::chrono::steady_clock::now() < end : n_streams < kStreams) &&
         !testing::Test::HasFailure()) {
    const std::string bytes = stream(random);
    SCOPED_TRACE(testing::PrintToString(bytes));
    ++n_streams;
    std::vector<std::string> got;
    LineReader lines(kEditorLines);
    const auto take = [&](Line line) { got.push_back(std::move(line.text)); };
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t n = 1 + random() % 80;
      lines.take(std::string_view(bytes).substr(at, n), take);
      at += n;
    }
    EXPECT_EQ(got, want(bytes));
    for (const auto& line : got) {
      answerable(line);
      const std::string cut = line.substr(0, random() % (line.size() + 1));
      const Json id = id_of_cut(cut);
      EXPECT_TRUE(id.is_null() || id.is_string() || id.is_number()) << cut;
      Json whole_id;
      if (const auto whole = parse(line, whole_id);
          whole && whole->id && !id.is_null() && line.find("\"id\"") == line.rfind("\"id\"")) {
        EXPECT_EQ(id, *whole->id) << cut;
      }
      ++n_lines;
    }
  }
  std::printf("%zu streams, %zu lines\n", n_streams, n_lines);
  EXPECT_GT(n_lines, n_streams);
}

}  // namespace
}  // namespace lares::cli::acp
