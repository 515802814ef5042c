#include "tests/daemon/residency/replay/counting_composer.h"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "daemon/residency/compose.h"
#include "engine/tokenizer.h"

namespace lares::daemon {
namespace {

// As many tokens as a text of its length has on average, and no more to them.
class CountingTokenizer final : public engine::Tokenizer {
 public:
  void encode(std::string_view text, bool, std::vector<engine::Token>& out) const override {
    out.insert(out.end(), static_cast<std::size_t>(by_bytes(text)), engine::Token{0});
  }
  std::vector<engine::Token> encode(const std::vector<engine::Segment>& segments) const override {
    std::vector<engine::Token> out;
    for (const auto& segment : segments) encode(segment.text, segment.trusted, out);
    return out;
  }
  int vocab_size() const override { return 1; }
  std::string_view bytes(engine::Token) const override { return "?"; }
  std::optional<engine::Token> added(std::string_view) const override { return std::nullopt; }
};

}  // namespace

Composer counting_composer(CountingOptions options) {
  const auto tokenizer = std::make_shared<CountingTokenizer>();
  const auto cache = std::make_shared<TokenCache>(*tokenizer, TokenCacheOptions{});
  return [=, options = std::move(options)](const tools::Workspace& now, const Base* before,
                                           std::size_t n_kept) {
    const std::vector<engine::Token> head(kPromptHeadTokens);
    tools::ChangeRates rates;
    for (const auto& [path, file] : now)
      if (const double changes = options.changes(path); changes > 0) rates.of[path] = changes;
    const ComposeOptions how{.tokens_max = options.budget_tokens, .pins = {}, .left_out = {}};
    (void)tokenizer;  // the cache has a reference to it
    return before ? recompose(head, *before, n_kept, now, rates, *cache, how)
                  : compose(head, now, rates, *cache, how);
  };
}

}  // namespace lares::daemon
