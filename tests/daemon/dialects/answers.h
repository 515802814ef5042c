// Answers to write down: the same ones for each dialect.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "daemon/dialects/parts.h"
#include "tests/daemon/dialects/fake_exchange.h"

namespace lares::daemon::test {

inline constexpr GenerationUsage kUsage{
    .prompt = 100, .cached = 64, .completion = 20, .reasoning = 7};

// Thinks, speaks, and calls two tools at once.
inline Script tool_turn(std::string first = "Write", std::string second = "Read") {
  return {.steps = {{ReasoningText{"I wri"}, ReasoningText{"te é."}},
                    {ContentText{"Now."}},
                    {CallBegun{0, "call_a", first}, CallArguments{0, "{\"path\":"}},
                    {CallArguments{0, "\"a\"}"}, CallDone{0, "call_a", first, "{\"path\":\"a\"}"}},
                    {CallBegun{1, "call_b", second}, CallArguments{1, "{}"},
                     CallDone{1, "call_b", second, "{}"}}},
          .end = {GenerationEnd::Reason::calls, "", kUsage}};
}

// Every way to cut one event in two, bytes of one character included, and every piece left out of
// which the whole comes later.
inline std::vector<std::vector<GenerationEvent>> cut_everywhere(
    const std::vector<GenerationEvent>& events) {
  std::vector<std::vector<GenerationEvent>> out;
  for (std::size_t i = 0; i < events.size(); ++i) {
    const auto with = [&](std::vector<GenerationEvent> instead) {
      std::vector<GenerationEvent> all(events.begin(), events.begin() + std::ptrdiff_t(i));
      all.insert(all.end(), instead.begin(), instead.end());
      all.insert(all.end(), events.begin() + std::ptrdiff_t(i) + 1, events.end());
      out.push_back(std::move(all));
    };
    if (const auto* text = std::get_if<ReasoningText>(&events[i])) {
      for (std::size_t n = 0; n <= text->text.size(); ++n)
        with({ReasoningText{text->text.substr(0, n)}, ReasoningText{text->text.substr(n)}});
    } else if (const auto* said = std::get_if<ContentText>(&events[i])) {
      for (std::size_t n = 0; n <= said->text.size(); ++n)
        with({ContentText{said->text.substr(0, n)}, ContentText{said->text.substr(n)}});
    } else if (const auto* piece = std::get_if<CallArguments>(&events[i])) {
      for (std::size_t n = 0; n <= piece->json.size(); ++n)
        with({CallArguments{piece->index, piece->json.substr(0, n)},
              CallArguments{piece->index, piece->json.substr(n)}});
    } else if (std::holds_alternative<CallBegun>(events[i])) {  // the whole call at once
      std::vector<GenerationEvent> without;
      const int index = std::get<CallBegun>(events[i]).index;
      for (const GenerationEvent& event : events) {
        const auto* begun = std::get_if<CallBegun>(&event);
        const auto* arguments = std::get_if<CallArguments>(&event);
        if ((begun && begun->index == index) || (arguments && arguments->index == index)) continue;
        without.push_back(event);
      }
      out.push_back(std::move(without));
    }
  }
  return out;
}

inline std::vector<GenerationEvent> all_events(const Script& script) {
  std::vector<GenerationEvent> out;
  for (const auto& step : script.steps) out.insert(out.end(), step.begin(), step.end());
  return out;
}

inline std::string streamed(DialectAnswer& answer, const std::vector<GenerationEvent>& events,
                            const GenerationEnd& end) {
  answer.begin(100);
  for (const GenerationEvent& event : events) answer.add(event);
  answer.end(end);
  return answer.take();
}

// A stream with the deltas in a row of one kind joined: "NAME DATA" lines. What may differ between
// two cuts of one answer is gone.
inline std::string joined(std::string_view stream) {
  std::string out, last_shape, text;
  const auto flush = [&] {
    if (!last_shape.empty()) out += last_shape + " <- " + text + "\n";
    last_shape.clear(), text.clear();
  };
  for (const Sent& sent : sent_events(stream)) {
    WireJson data = WireJson::parse(sent.data, nullptr, false);
    data.erase("sequence_number");
    std::string* piece = nullptr;
    if (sent.name.ends_with("delta") && data.contains("delta")) {
      if (data["delta"].is_string())
        piece = data["delta"].get_ptr<std::string*>();
      else
        for (const char* field : {"thinking", "text", "partial_json"}) {
          if (data["delta"].contains(field)) piece = data["delta"][field].get_ptr<std::string*>();
        }
    }
    const std::string taken = piece ? std::exchange(*piece, "") : "";
    const std::string shape = sent.name + " " + data.dump();
    if (!piece || shape != last_shape) flush();
    if (piece)
      last_shape = shape, text += taken;
    else
      out += shape + "\n";
  }
  flush();
  return out;
}

inline std::vector<std::string> names_of(std::string_view stream) {
  std::vector<std::string> out;
  for (const Sent& sent : sent_events(stream)) out.push_back(sent.name);
  return out;
}

}  // namespace lares::daemon::test
