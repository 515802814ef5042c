#include "engine/model/memory/prefix.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "engine/model/checkpoint/repack.h"

namespace lares::engine {
namespace {

// Raised whenever the same tokens give other bits than before, or the same bits lie elsewhere.
constexpr int kNumericsVersion = 1, kPageVersion = 1;

template <class F>
void each_rows(const PageLayout& layout, F f) {
  for (const PageLayout::Layer& layer : layout.layers)
    for (const PageLayout::Rows* rows : {&layer.entries, &layer.index_keys})
      if (rows->n > 0) f(*rows);
}

}  // namespace

PageRef beginning_of(const PageLayout& layout, const Page& page, int n_tokens,
                     const SequenceMemoryRef& memory) {
  const auto out = new_page(layout.bytes, memory);
  std::memset(out->data(), 0, out->size());
  each_rows(layout, [&](const PageLayout::Rows& rows) {
    const int ratio = layout.tokens / rows.n;
    std::memcpy(out->data() + rows.offset, page.data() + rows.offset,
                static_cast<std::size_t>(n_tokens / ratio) * rows.row_bytes);
  });
  return out;
}

ModelPrefix::ModelPrefix(std::vector<Token> tokens, const Pages& pages, FrontierRef frontier,
                         CopyIndex index, SequenceMemoryRef memory)
    : tokens_(std::move(tokens)),
      pages_(pages.share(static_cast<std::int64_t>(tokens_.size()))),
      frontier_(std::move(frontier)),
      index_(std::move(index)),
      charge_(memory, tokens_.capacity() * sizeof(Token)) {
  const PageLayout& layout = pages.layout();
  const auto within = static_cast<int>(static_cast<std::int64_t>(tokens_.size()) % layout.tokens);
  if (within != 0) pages_.back() = beginning_of(layout, *pages_.back(), within, memory);
}

ModelPrefixBuilder::ModelPrefixBuilder(const Weights& weights, bool exact, const PrefixRef& from,
                                       SequenceMemoryRef memory)
    : weights_(weights),
      exact_(exact),
      layout_(page_layout(weights.checkpoint.config(), exact)),
      memory_(std::move(memory)),
      index_(memory_) {
  if (!from) return;
  pages_ = static_cast<const ModelPrefix&>(*from).pages();
  index_ = static_cast<const ModelPrefix&>(*from).copy_index();
}

std::span<std::uint8_t> ModelPrefixBuilder::add_page() {
  if (memory_ && room_)
    room_ = memory_->make_room(layout_.bytes, nullptr,
                               fmt::format("take over a prefix, behind {} pages", pages_.size()));
  if (!room_) {
    if (!nowhere_) nowhere_ = std::make_shared<Page>(layout_.bytes);
    return *nowhere_;
  }
  auto page = new_page(layout_.bytes, memory_);
  pages_.push_back(page);
  return *page;
}

Result<PrefixRef> ModelPrefixBuilder::finish(std::vector<Token> tokens,
                                             std::vector<std::uint8_t> frontier) {
  const auto refused = [&](const std::string& why) {
    return tl::unexpected(
        Error{Errc::malformed,
              fmt::format("take over a prefix of {} tokens: {}; it is not of this engine",
                          tokens.size(), why)});
  };
  if (!room_) return tl::unexpected(room_.error());
  const auto n = static_cast<std::int64_t>(tokens.size());
  const int vocab = weights_.checkpoint.config().vocab_size;
  if (n == 0 || n > weights_.checkpoint.config().max_position_embeddings)
    return refused("expected 1 to the model's context");
  if (std::any_of(tokens.begin(), tokens.end(), [&](Token t) { return t < 0 || t >= vocab; }))
    return refused("one is outside the vocabulary");
  if (const std::int64_t wanted = (n + layout_.tokens - 1) / layout_.tokens;
      wanted != static_cast<std::int64_t>(pages_.size()))
    return refused(fmt::format("{} pages, expected {}", pages_.size(), wanted));
  if (const std::size_t wanted = State(weights_, exact_, 1).frontier_bytes(n);
      wanted != frontier.size())
    return refused(fmt::format("{} bytes of frontier, expected {}", frontier.size(), wanted));
  if (!index_.begins(tokens)) index_ = CopyIndex(memory_);
  // Here, where somebody waits for the disk, and not at the first guess of every fork
  index_.take_in(tokens);
  return std::make_shared<ModelPrefix>(std::move(tokens), pages_,
                                       shared(Frontier{n, std::move(frontier)}, memory_), index_,
                                       memory_);
}

std::string prefix_fingerprint(const Weights& weights, bool exact) {
  const Checkpoint& checkpoint = weights.checkpoint;
  const PageLayout layout = page_layout(checkpoint.config(), exact);
  std::string out = fmt::format("numerics {}, pages {}, {}, {} tokens in {} bytes, weights {}",
                                kNumericsVersion, kPageVersion, exact ? "exact" : "released",
                                layout.tokens, layout.bytes, checkpoint_fingerprint(checkpoint));
  // The weights' own figure is of samples: what was written anew is taken for another.
  for (const std::string& file : checkpoint.shards()) {
    struct stat s {};
    if (::stat(fmt::format("{}/{}", checkpoint.directory(), file).c_str(), &s) != 0) continue;
    out += fmt::format(", {} {} {}.{:09}", file, s.st_size, s.st_mtim.tv_sec, s.st_mtim.tv_nsec);
  }
  if (const auto config = read_text(checkpoint.directory() + "/config.json", kConfigBytesMax))
    out += ", config " + *config;
  return out;
}

}  // namespace lares::engine
