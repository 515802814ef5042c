// A trace names every layer of every evaluation once, nests as the calls did, and changes nothing.
#include "engine/model/trace.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

namespace lares::engine {
namespace {

namespace fs = std::filesystem;
const std::string kNano = std::string(LARES_SOURCE_DIR) + "/engine/nano/checkpoint";

std::string file_for_this_test() {
  return (fs::temp_directory_path() / ("lares-trace-" + std::to_string(::getpid()) + ".json"))
      .string();
}

nlohmann::json read(const std::string& path) {
  std::ifstream in(path);
  auto json = nlohmann::json::parse(in);
  fs::remove(path);
  return json;
}

void wait_ms(int n) { std::this_thread::sleep_for(std::chrono::milliseconds(n)); }

TEST(Trace, TimeBelongsToTheInnermostSpan) {
  Trace trace;
  {
    const Trace::Span outer(&trace, "outer", "tokens", 7);
    wait_ms(5);
    for (int i = 0; i < 2; ++i) {
      const Trace::Span inner(&trace, "inner");
      wait_ms(20);
    }
  }
  std::map<std::string, Engine::TraceTotal> totals;
  for (const auto& total : trace.totals()) totals[total.name] = total;
  ASSERT_EQ(totals.size(), 2u);
  EXPECT_EQ(totals["inner"].count, 2);
  EXPECT_GE(totals["inner"].self_s, 0.040);
  EXPECT_GE(totals["outer"].self_s, 0.005);

  const std::string path = file_for_this_test();
  ASSERT_TRUE(trace.write(path));
  const auto events = read(path)["traceEvents"];
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0]["args"]["tokens"], 7);
  const double end = events[0]["ts"].get<double>() + events[0]["dur"].get<double>();
  for (int i : {1, 2}) {
    EXPECT_GE(events[i]["ts"], events[0]["ts"]);
    EXPECT_LE(events[i]["ts"].get<double>() + events[i]["dur"].get<double>(), end + 0.002);
  }
  EXPECT_FALSE(trace.write("/nonexistent/trace.json"));
}

TEST(Trace, AnEvaluationShowsItsLayersAndStaysWhatItWas) {
  std::vector<Token> drawn[2];
  for (const bool traced : {false, true}) {
    auto engine = load({.directory = kNano, .n_threads = 1, .trace = traced}, {});
    ASSERT_TRUE(engine) << engine.error().message;
    auto timeline = (*engine)->timeline();
    ASSERT_TRUE(timeline->sync(std::vector<Token>(300, 5), {}, {}));
    for (int i = 0; i < 3; ++i) drawn[traced].push_back(*timeline->next({.seed = 1}, nullptr));
    const std::string path = file_for_this_test();
    const auto totals = (*engine)->write_trace(path);
    ASSERT_EQ(totals.has_value(), traced);
    if (!traced) continue;
    std::map<std::string, int> count;
    std::map<int, int> layers;
    const auto written = read(path);
    for (const auto& e : written["traceEvents"]) {
      ++count[e["name"]];
      if (e["name"].get<std::string>().starts_with("layer"))
        ++layers[e["args"]["layer"].get<int>()];
    }
    EXPECT_EQ(count["evaluate"], 1 + 2);  // the prompt in one chunk; what was drawn last waits
    EXPECT_EQ(count["draw"], 3);
    EXPECT_EQ(layers.size(), static_cast<std::size_t>((*engine)->info().n_layers));
    for (const auto& [layer, n] : layers) EXPECT_EQ(n, 3) << layer;
  }
  EXPECT_EQ(drawn[0], drawn[1]);
}

}  // namespace
}  // namespace lares::engine
