#include "daemon/session/retold.h"

#include <algorithm>
#include <deque>
#include <span>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "daemon/protocol/wire.h"
#include "daemon/turn/prompt.h"
#include "tools/text.h"

namespace lares::daemon {
namespace {

using protocol::Json;

constexpr std::size_t kHeadTokens = 16'384;  // the system sentence is among so many
constexpr std::string_view kBegins =
    "This conversation was held with another model, or in a longer context. This was said in it; "
    "calls and their results are left out, and the files are as they are now:\n\n";

// The last of what was said, as far as there is room.
class Newest {
 public:
  explicit Newest(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  void add(std::string_view who, const std::string& text) {
    const std::size_t n = tools::utf8_floor(text, std::min(text.size(), bytes_max_ / 2));
    said_.push_back(fmt::format("<{0}>\n{1}{2}\n</{0}>\n", who, text.substr(0, n),
                                n < text.size() ? "\n[the rest is left out]" : ""));
    bytes_ += said_.back().size();
    for (; bytes_ > bytes_max_ && said_.size() > 1; said_.pop_front(), left_out_ = true)
      bytes_ -= said_.front().size();
  }
  std::string text() const {
    std::string out = left_out_ ? "[what was said before is left out]\n" : "";
    for (const auto& piece : said_) out += piece;
    return out;
  }

 private:
  const std::size_t bytes_max_;
  std::size_t bytes_ = 0;
  std::deque<std::string> said_;
  bool left_out_ = false;
};

}  // namespace

Words words_of(const Transcript& transcript, const engine::Engine& engine,
               std::string_view vocabulary) {
  const std::span<const engine::Token> ids = transcript.ids;
  const engine::ModelInfo& info = engine.info();
  const auto unknown = [&](engine::Token id) { return id < 0 || id >= info.vocab_size; };
  const auto begins_as_ours = [&] {
    const auto head = ids.first(std::min(ids.size(), kHeadTokens));
    return engine.tokenizer().decode(head).find(kSystem) != std::string::npos;
  };
  const bool ours = transcript.vocabulary.empty() ? begins_as_ours()
                                                  : transcript.vocabulary == vocabulary;
  if (!ours || std::ranges::any_of(ids, unknown)) return Words::foreign;
  return static_cast<std::int64_t>(ids.size()) > info.n_context_max ? Words::too_many
                                                                    : Words::known;
}

Retelling retelling(const Journal& journal, const TurnLog& log, std::int64_t turn_id,
                    std::int64_t n_context) {
  Retelling out{
      .journal = journal.path(),
      .journal_bytes = journal.bytes(),
      .turns = {},
      .words = {},
      .bytes_max = std::min(kRetoldBytesMax, static_cast<std::size_t>(n_context / kRetoldShare))};
  for (const auto& turn : log.turns())
    if (turn.id < turn_id) out.turns.insert(turn.id);
  return out;
}

std::string retold(const Retelling& what) {
  constexpr std::string_view kCompleted = R"({"method":"item/completed")";
  Newest said(what.bytes_max);
  for (const auto& text : what.words) said.add("user", text);
  const auto hear = [&](std::size_t, std::string_view payload) {
    if (!payload.starts_with(kCompleted)) return;
    const Json frame = Json::parse(payload, nullptr, /*allow_exceptions=*/false);
    if (!frame.is_object() || !frame.contains("params")) return;
    const auto x = protocol::from_json<protocol::ItemCompleted>(frame["params"]);
    if (!x || !what.turns.contains(x->item.turn_id)) return;
    if (x->item.kind == "user") said.add("user", x->item.text);
    if (x->item.kind == "text") said.add("assistant", x->item.text);
  };
  if (!Journal::scan(what.journal, what.journal_bytes, hear)) return "";
  const std::string text = said.text();
  return text.empty() ? "" : std::string(kBegins) + text + "\n";
}

}  // namespace lares::daemon
