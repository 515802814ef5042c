#include "daemon/residency/keeper.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "daemon/residency/base_record.h"
#include "daemon/store/extent_format.h"

namespace lares::daemon {
namespace {

using engine::PrefixRef;
using engine::Token;

static_assert(kKeptStep == store::kExtentTokensStep && kKeptPageTokens == store::kPageTokens &&
              kKeptStepMax == store::kExtentTokensMax);

tl::unexpected<std::string> line(std::string text) { return tl::unexpected(std::move(text)); }

std::int64_t last_end(const Base& base) {
  return static_cast<std::int64_t>(base.tokens.size()) / kKeptStep * kKeptStep;
}

bool begins(const Base& base, std::span<const Token> tokens) {
  return tokens.size() <= base.tokens.size() &&
         std::equal(tokens.begin(), tokens.end(), base.tokens.begin());
}

bool same(std::span<const std::uint8_t> a, std::span<const std::byte> b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

std::uint64_t bytes_max_for(const engine::PrefixFormat& format, std::int64_t n_tokens) {
  const auto pages =
      static_cast<std::uint64_t>(std::max<std::int64_t>(n_tokens, 1) / kKeptPageTokens + 1) *
      format.page_bytes;
  return std::max(kKeptBytesMin, kBasesKept * (pages + pages / 4));
}

// What a restore reads, put together as it comes.
class Arrival {
 public:
  Arrival(const engine::Engine& engine, const std::string& tokenizer_id)
      : engine_(engine), tokenizer_id_(tokenizer_id) {}

  void begin(const store::Manifest& manifest) {
    auto record = decode_base(manifest.payload, engine_.tokenizer(), tokenizer_id_);
    if (!record)
      return fail(fmt::format("the base kept in {} cannot be used: {}",
                              store::manifest_name(manifest.epoch), record.error()));
    std::uint64_t n_tokens = 0;
    for (const store::ExtentRef& extent : manifest.extents) n_tokens += extent.n_tokens;
    if (n_tokens > static_cast<std::uint64_t>(last_end(*record->base)))
      return fail(
          fmt::format("the base kept in {} cannot be used: it has {} tokens and its extents {}",
                      store::manifest_name(manifest.epoch), record->base->tokens.size(), n_tokens));
    base = std::move(record->base);
    epoch = record->epoch;
    builder_ = engine_.prefix_builder(nullptr);
  }
  void begin_behind(std::shared_ptr<const Base> of, const PrefixRef& known) {
    base = std::move(of);
    n_before_ = known ? known->tokens().size() : 0;
    builder_ = engine_.prefix_builder(known);
  }
  store::Receiver receiver() {
    return {
        .begin = [this](const store::Manifest& manifest) { begin(manifest); },
        .page = [this](std::size_t, std::uint32_t, std::size_t bytes) { return page(bytes); },
        .frontier = [this](std::size_t, std::size_t bytes) { return frontier(bytes); },
        .valid = [this](std::size_t, std::span<const Token> tokens) { valid(tokens); },
    };
  }
  // Pages of an extent that turns out damaged stay with the builder; nothing is made of it after
  // that.
  std::span<std::byte> page(std::size_t bytes) {
    if (!builder_) return {};
    const auto memory = std::as_writable_bytes(builder_->add_page());
    if (memory.size() == bytes) return memory;
    fail(fmt::format("the base's kept pages have {} bytes where this engine's have {}", bytes,
                     memory.size()));
    return {};
  }
  std::span<std::byte> frontier(std::size_t bytes) {
    if (!builder_) return {};
    frontier_.resize(bytes);
    return std::as_writable_bytes(std::span(frontier_));
  }
  void valid(std::span<const Token> tokens) {
    if (!builder_) return;
    const std::size_t begin = prefixes.empty() ? n_before_ : prefixes.back()->tokens().size(),
                      end = begin + tokens.size();
    if (end > base->tokens.size() ||
        !std::ranges::equal(tokens, std::span(base->tokens).subspan(begin, tokens.size()))) {
      prefixes.clear();  // then the base and the extents are not of one another at all
      return fail(
          fmt::format("the kept base's tokens {}..{} are not those of its extent", begin, end));
    }
    auto prefix = builder_->finish(
        {base->tokens.begin(), base->tokens.begin() + static_cast<std::ptrdiff_t>(end)},
        std::move(frontier_));
    frontier_.clear();
    if (!prefix) return fail(std::move(prefix.error().message));
    prefixes.push_back(std::move(*prefix));
  }

  std::shared_ptr<const Base> base;
  std::uint64_t epoch = 0;
  std::vector<PrefixRef> prefixes;
  std::vector<std::string> lost;

 private:
  void fail(std::string why) {
    lost.push_back(std::move(why));
    builder_.reset();
  }

  const engine::Engine& engine_;
  const std::string& tokenizer_id_;
  std::unique_ptr<engine::PrefixBuilder> builder_;  // null: nothing more is wanted
  std::size_t n_before_ = 0;                        // tokens that are not read
  std::vector<std::uint8_t> frontier_;
};

}  // namespace

tl::expected<std::unique_ptr<Keeper>, std::string> Keeper::open(const std::string& directory,
                                                                const engine::Engine& engine,
                                                                Options options) {
  const engine::PrefixFormat format = engine.prefix_format();
  if (format.page_tokens != kKeptPageTokens)
    return line(
        fmt::format("keep prefixes in {}: the engine's pages are of {} tokens, and only those of "
                    "{} can be kept; the base is evaluated at every start",
                    directory, format.page_tokens, kKeptPageTokens));
  if (format.page_bytes == 0)
    return line(fmt::format(
        "keep prefixes in {}: the engine's are elsewhere, and kept there or not", directory));
  const store::Hash256 fingerprint = store::hash256(std::as_bytes(std::span(format.fingerprint)));
  store::Options of_store{.bytes_max = options.bytes_max, .disk = options.disk, .now = options.now};
  if (of_store.bytes_max == 0)
    of_store.bytes_max = bytes_max_for(
        format, std::min(options.base_tokens_max, engine.info().n_context_max));
  auto opened = store::Store::open(directory, fingerprint, std::move(of_store));
  if (!opened) return line(std::move(opened.error().message));
  return std::unique_ptr<Keeper>(
      new Keeper(std::move(*opened), engine, std::move(options), fingerprint));
}

std::optional<Keeper::Restored> Keeper::restore() {
  forget(0);
  chain_ = committed_ = {};
  waiting_.clear();
  said_.reset();
  is_committed_ = false;
  Arrival in(engine_, options_.tokenizer_id);
  const store::Restored read = store_->restore(in.receiver());
  lost_ = read.lost;
  lost_.insert(lost_.end(), in.lost.begin(), in.lost.end());
  if (in.prefixes.empty()) {
    not_wanted();
    return std::nullopt;
  }
  chain_.base = in.base;
  for (std::size_t i = 0; i < in.prefixes.size(); ++i)
    chain_.extents.push_back({read.manifest->extents[i].chain_out,
                              static_cast<std::int64_t>(in.prefixes[i]->tokens().size())});
  committed_ = chain_;
  epoch_ = in.epoch;
  is_committed_ = chain_.end() == last_end(*in.base);
  return Restored{std::move(in.base), in.epoch, std::move(in.prefixes), lost_};
}

// Nothing goes on from its extents, which may be gone by then: what is kept next is looked for in
// the store, or offered from its beginning, and what of it is there is not written again.
void Keeper::not_wanted() {
  store_->not_wanted();
  chain_ = committed_ = {};
  is_committed_ = false;
}

// How many of its extents `with` has too.
std::size_t Keeper::n_shared(const Chain& chain, const Base& with) const {
  if (!chain.base) return 0;
  const auto [mine, other] = std::ranges::mismatch(chain.base->tokens, with.tokens);
  const std::int64_t n_tokens = mine - chain.base->tokens.begin();
  std::size_t n = 0;
  for (const Extent& extent : chain.extents) {
    // Pages are counted from an extent's first token, so nothing follows one that ends inside a
    // page.
    const bool fits = extent.end % kKeptPageTokens == 0 || extent.end == last_end(with);
    if (extent.end > n_tokens || !fits || !store_->has(extent.name)) break;
    ++n;
  }
  return n;
}

// Goes on from what it begins like. That also keeps one way of cutting: two extents that end alike
// have one name, whatever their beginnings.
void Keeper::begin(const std::shared_ptr<const Base>& base, std::uint64_t epoch) {
  const std::size_t n_kept = n_shared(chain_, *base), n_committed = n_shared(committed_, *base);
  const auto end = [](const Chain& chain, std::size_t n) {
    return n == 0 ? 0 : chain.extents[n - 1].end;
  };
  if (end(committed_, n_committed) > end(chain_, n_kept)) {
    forget(0);
    chain_.extents.assign(committed_.extents.begin(),
                          committed_.extents.begin() + static_cast<std::ptrdiff_t>(n_committed));
  } else {
    forget(n_kept);
    chain_.extents.resize(n_kept);
  }
  chain_.base = base;
  epoch_ = epoch;
  is_committed_ = false;
  waiting_.clear();
  said_.reset();
}

// chain_, and what of its base lies behind it on the disk.
Keeper::Chain Keeper::on_disk_of(const std::function<std::int64_t(std::int64_t)>& next_end) const {
  Chain found = chain_;
  store::Hash256 at = found.extents.empty() ? store::chain_begin(fingerprint_)
                                            : found.extents.back().name;
  for (;;) {
    const std::int64_t begin = found.end(), end = next_end(begin);
    if (end > last_end(*found.base) || end - begin > kKeptStepMax || begin % kKeptPageTokens != 0)
      return found;
    at = store::chain_after(
        at, std::span(found.base->tokens)
                .subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)));
    if (!store_->has(at)) return found;
    found.extents.push_back({at, end});
  }
}

std::vector<PrefixRef> Keeper::resume(const std::shared_ptr<const Base>& base, std::uint64_t epoch,
                                      std::span<const PrefixRef> known,
                                      const std::function<std::int64_t(std::int64_t)>& next_end) {
  lost_.clear();
  if (base != chain_.base || epoch != epoch_) begin(base, epoch);
  const Chain found = on_disk_of(next_end);
  const auto size = [](const PrefixRef& prefix) {
    return static_cast<std::int64_t>(prefix->tokens().size());
  };
  if (found.extents.empty() || (!known.empty() && size(known.back()) >= found.end())) return {};
  PrefixRef from;  // the longest that an extent follows
  std::size_t n_skip = 0;
  std::vector<store::Hash256> names;
  for (const Extent& extent : found.extents) {
    names.push_back(extent.name);
    const auto at = std::ranges::lower_bound(known, extent.end, {}, size);
    if (at != known.end() && size(*at) == extent.end && extent.end % kKeptPageTokens == 0)
      from = *at, n_skip = names.size();
  }
  Arrival in(engine_, options_.tokenizer_id);
  in.begin_behind(base, from);
  const store::Restored read = store_->read(names, n_skip, in.receiver());
  lost_ = read.lost;
  lost_.insert(lost_.end(), in.lost.begin(), in.lost.end());
  const std::size_t n_usable = n_skip + in.prefixes.size();
  chain_.extents.assign(found.extents.begin(),
                        found.extents.begin() + static_cast<std::ptrdiff_t>(n_usable));
  return std::move(in.prefixes);
}

// Those of chain_ from the first one on; what was committed stays for that.
void Keeper::forget(std::size_t first) {
  for (std::size_t i = first; i < chain_.extents.size(); ++i)
    store_->forget(chain_.extents[i].name);
}

tl::expected<void, std::string> Keeper::keep(const PrefixRef& prefix,
                                             const std::shared_ptr<const Base>& base,
                                             std::uint64_t epoch) {
  const auto tokens = prefix ? prefix->tokens() : std::span<const Token>();
  const auto n = static_cast<std::int64_t>(tokens.size());
  const auto refused = [&](const std::string& why) {
    return line(fmt::format("keep a prefix of {} tokens: {}", n, why));
  };
  if (n == 0 || !begins(*base, tokens)) return refused("the base does not begin so");
  if (n % kKeptPageTokens != 0 && n != last_end(*base))
    return refused(fmt::format("it must end at a multiple of {}, or at {} where the base does",
                               kKeptPageTokens, last_end(*base)));
  if (base != chain_.base || epoch != epoch_) begin(base, epoch);
  const std::int64_t end = waiting_.empty()
                               ? chain_.end()
                               : static_cast<std::int64_t>(waiting_.back()->tokens().size());
  if (n - end > kKeptStepMax)
    return refused(
        fmt::format("it comes behind one of {}; at most {} more are possible", end, kKeptStepMax));
  if (n > end) waiting_.push_back(prefix);
  return write(/*unfinished=*/false);
}

store::Result<> Keeper::put(const engine::Prefix& prefix) {
  store::ExtentInput in{.pos0 = static_cast<std::uint64_t>(chain_.end())};
  in.chain_in = chain_.extents.empty() ? store::chain_begin(fingerprint_)
                                       : chain_.extents.back().name;
  in.tokens = prefix.tokens().subspan(in.pos0);
  std::vector<std::span<const std::byte>> pages;
  for (std::int64_t i = chain_.end() / kKeptPageTokens; i < prefix.n_pages(); ++i)
    pages.push_back(std::as_bytes(prefix.page(i)));
  in.pages = pages;
  in.frontier = std::as_bytes(prefix.frontier());
  auto name = store_->put_extent(in);
  if (!name) return tl::unexpected(std::move(name.error()));
  chain_.extents.push_back({*name, static_cast<std::int64_t>(prefix.tokens().size())});
  return {};
}

store::Result<> Keeper::commit() {
  std::vector<store::Hash256> names;
  for (const Extent& extent : chain_.extents) names.push_back(extent.name);
  auto done = store_->commit(names, encode_base(*chain_.base, epoch_, options_.tokenizer_id));
  if (!done) {
    // One is gone or damaged: all are to be offered again, and those that are there are found
    // there.
    if (done.error().code == store::Errc::not_found || done.error().code == store::Errc::damaged)
      chain_.extents.clear();
    return tl::unexpected(std::move(done.error()));
  }
  committed_ = chain_;
  is_committed_ = chain_.end() == last_end(*chain_.base);
  (void)store_->gc();  // of the base before; where it fails nothing is deleted, and tend() tries
                       // again
  return {};
}

// A beginning, where nothing better is committed: else a daemon that ends begins again from
// nothing.
bool Keeper::is_worth_committing() const {
  return (!committed_.base || committed_.base == chain_.base) && chain_.end() > committed_.end();
}

tl::expected<void, std::string> Keeper::write(bool unfinished) {
  store::Result<> done;
  while (done && !waiting_.empty()) {
    if ((done = put(*waiting_.front()))) waiting_.erase(waiting_.begin());
  }
  if (done && !is_committed_ && chain_.base &&
      (chain_.end() == last_end(*chain_.base) || (unfinished && is_worth_committing())))
    done = commit();
  if (done) return {};
  const store::Errc code = done.error().code;
  if (code == store::Errc::paused || code == said_) return {};
  said_ = code;
  return line(std::move(done.error().message));
}

tl::expected<void, std::string> Keeper::tend() {
  (void)store_->gc();  // it fails where the disk does, which write() tells, or where nothing may be
                       // deleted yet
  return write(/*unfinished=*/true);
}

std::vector<Keeper::Kept> Keeper::kept() const {
  std::vector<Kept> out;
  for (const Extent& extent : chain_.extents)
    out.push_back({out.empty() ? 0 : out.back().end, extent.end});
  return out;
}

tl::expected<void, std::string> Keeper::compare(const engine::Prefix& anew, std::int64_t begin) {
  const auto end = static_cast<std::int64_t>(anew.tokens().size());
  const auto failed = [&](const std::string& why) {
    return line(fmt::format("compare what is kept of tokens {}..{}: {}", begin, end, why));
  };
  const auto i = std::ranges::find(chain_.extents, end, &Extent::end);
  const std::int64_t starts = i == chain_.extents.end()     ? -1
                              : i == chain_.extents.begin() ? 0
                                                            : std::prev(i)->end;
  if (starts != begin || !begins(*chain_.base, anew.tokens()))
    return failed("no extent is of these");
  const auto report = store_->scrub(
      i->name,
      {
          .page =
              [&](std::uint32_t page, std::span<const std::byte> stored) {
                return same(anew.page(begin / kKeptPageTokens + page), stored);
              },
          .frontier =
              [&](std::span<const std::byte> stored) { return same(anew.frontier(), stored); },
      });
  if (!report) {
    if (report.error().code == store::Errc::damaged ||
        report.error().code == store::Errc::not_found) {
      chain_.extents.erase(i, chain_.extents.end());
      is_committed_ = false;
    }
    return failed(report.error().message);
  }
  if (report->pages_differ.empty() && !report->frontier_differs) return {};
  return failed(fmt::format(
      "{} of its pages{} are not what the engine computes now, from page {} on",
      report->pages_differ.size(), report->frontier_differs ? " and its frontier" : "",
      report->pages_differ.empty() ? anew.n_pages()
                                   : begin / kKeptPageTokens + report->pages_differ.front()));
}

Keeper::Usage Keeper::usage() const {
  const store::Usage of_store = store_->usage();
  return {of_store.bytes, of_store.bytes_max, chain_.end(), is_committed_};
}

}  // namespace lares::daemon
