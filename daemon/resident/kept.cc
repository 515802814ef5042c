#include "daemon/resident/kept.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "daemon/repository.h"
#include "daemon/resident/unused_stores.h"
#include "tools/text.h"

namespace lares::daemon {
namespace {

namespace fs = std::filesystem;

// Whether it ends where the keeper cuts.
bool is_kept(const engine::Prefix& prefix, const Base& base) {
  const auto n = static_cast<std::int64_t>(prefix.tokens().size());
  return n % kKeptPageTokens == 0 ||
         n == static_cast<std::int64_t>(base.tokens.size()) / kKeptStep * kKeptStep;
}

// Of what its text is tokenised with: the file's hash.
std::string tokenizer_id(const engine::Engine& engine) {
  std::ifstream file(engine.info().directory + "/tokenizer.json", std::ios::binary);
  return tools::blob_sha(std::string(std::istreambuf_iterator<char>(file), {}));
}

}  // namespace

KeptPrefixes::KeptPrefixes(asio::thread_pool& pool, const Log& log, std::string stores,
                           std::string root)
    : strand_(pool.get_executor()),
      log_(log),
      stores_(std::move(stores)),
      root_(std::move(root)),
      directory_(stores_ + "/" + repository_key(root_)) {}

void KeptPrefixes::lost(const std::string& why) const {
  log_.event("prefix_lost", {{"root", root_}, {"why", why}});
}

void KeptPrefixes::said(const tl::expected<void, std::string>& done) const {
  if (!done) log_.event("prefix_not_kept", {{"root", root_}, {"why", done.error()}});
}

// ---- opening

asio::awaitable<void> KeptPrefixes::restore(const engine::Engine& engine, std::int64_t tokens_max) {
  if (stores_.empty()) co_return;
  const auto self = shared_from_this();
  const auto first = [this, &engine, tokens_max] {
    if (engine_) return true;
    engine_ = &engine, tokens_max_ = tokens_max;
    open();
    if (keeper_) read_what_was_left();
    return true;
  };
  co_await on_disk_pool(strand_, first);
}

// Where another still has it, as of a repository that was let go and came back while its last work
// was being done, it is tried again.
void KeptPrefixes::open() {
  std::error_code ec;
  fs::create_directories(stores_, ec);  // where it fails, the keeper says so
  fs::permissions(stores_, fs::perms::owner_all, ec);
  auto keeper = Keeper::open(
      directory_, *engine_,
      {.base_tokens_max = tokens_max_, .tokenizer_id = tokenizer_id(*engine_)});
  if (!keeper) {
    if (keeper.error() != why_closed_)
      log_.event("nothing_kept", {{"root", root_}, {"why", keeper.error()}});
    why_closed_ = std::move(keeper.error());
    return;
  }
  keeper_ = std::move(*keeper);
  mark_store_used(directory_);
  for (const auto& line : keeper_->notes())
    log_.event("prefix_store", {{"root", root_}, {"why", line}});
}

void KeptPrefixes::read_what_was_left() {
  auto restored = keeper_->restore();
  for (const auto& line : keeper_->lost()) lost(line);
  note_usage();
  if (!restored) return;
  log_.event("prefix_restored", {{"root", root_},
                                 {"tokens", restored->prefixes.back()->tokens().size()},
                                 {"of", restored->base->tokens.size()}});
  const std::lock_guard lock(mutex_);
  restored_ = std::move(restored);
}

std::optional<Keeper::Restored> KeptPrefixes::take_restored() {
  const std::lock_guard lock(mutex_);
  return std::exchange(restored_, std::nullopt);
}

void KeptPrefixes::not_wanted(const std::string& why) {
  lost(why);
  asio::post(strand_, [self = shared_from_this()] {
    if (self->keeper_) self->keeper_->not_wanted();
  });
}

asio::awaitable<void> KeptPrefixes::resume(std::shared_ptr<const Base> base,
                                           std::shared_ptr<Beginnings> all) {
  const auto self = shared_from_this();
  const auto look = [this, base, all] {
    if (keeper_) resume_now(base, *all);
    return true;
  };
  co_await on_disk_pool(strand_, look);
}

void KeptPrefixes::resume_now(const std::shared_ptr<const Base>& base, Beginnings& all) {
  const auto bases = wanted();
  const auto at = std::ranges::find(bases, base, &NumberedBase::base);
  if (at == bases.end()) return;  // only what is written to the disk is looked for there
  const auto known = all.of(*base);
  auto found = keeper_->resume(base, at->epoch, known, [&](std::int64_t position) {
    return next_mark_of(static_cast<std::int64_t>(base->tokens.size()), position);
  });
  for (const auto& line : keeper_->lost()) lost(line);
  note_usage();
  if (found.empty()) return;
  log_.event("prefix_resumed", {{"root", root_},
                                {"from", known.empty() ? 0 : known.back()->tokens().size()},
                                {"tokens", found.back()->tokens().size()},
                                {"of", base->tokens.size()}});
  all.restored(std::move(found));
}

// ---- writing

void KeptPrefixes::bases(const std::vector<NumberedBase>& bases) {
  const std::lock_guard lock(mutex_);
  bases_ = bases;
}

std::vector<NumberedBase> KeptPrefixes::wanted() const {
  const std::lock_guard lock(mutex_);
  return bases_;
}

void KeptPrefixes::keep(const engine::PrefixRef& prefix, const std::shared_ptr<const Base>& base) {
  if (stores_.empty() || !is_kept(*prefix, *base)) return;
  {
    const std::lock_guard lock(mutex_);
    to_keep_.emplace_back(prefix, base);
  }
  asio::post(strand_, [self = shared_from_this()] {
    std::vector<std::pair<engine::PrefixRef, std::shared_ptr<const Base>>> some;
    {
      const std::lock_guard lock(self->mutex_);
      some.swap(self->to_keep_);
    }
    try {
      self->write(some);
    } catch (const std::exception& e) {
      self->said(tl::unexpected(std::string(e.what())));
    }
  });
}

void KeptPrefixes::write(
    const std::vector<std::pair<engine::PrefixRef, std::shared_ptr<const Base>>>& some) {
  if (!keeper_) return;
  const auto bases = wanted();
  for (const auto& [prefix, base] : some) {
    const auto at = std::ranges::find(bases, base, &NumberedBase::base);
    if (at != bases.end())
      said(keeper_->keep(prefix, base, at->epoch));  // else another has taken its place
  }
  note_usage();
}

asio::awaitable<void> KeptPrefixes::tend(std::shared_ptr<const Beginnings> all) {
  const auto self = shared_from_this();
  const auto look = [this, all] {
    if (!keeper_ && engine_) open();
    if (!keeper_) return true;
    offer_again(*all);
    said(keeper_->tend());
    note_usage();
    mark_store_used(directory_);
    return true;
  };
  co_await on_disk_pool(strand_, look);
}

// What the disk refused, of the base that is kept last.
void KeptPrefixes::offer_again(const Beginnings& all) {
  const auto bases = wanted();
  if (bases.empty() || keeper_->usage().committed) return;
  const NumberedBase& last = bases.back();
  for (const auto& prefix : all.of(*last.base))
    if (is_kept(*prefix, *last.base)) said(keeper_->keep(prefix, last.base, last.epoch));
}

// ---- looking at it

asio::awaitable<KeptPrefixes::OnDisk> KeptPrefixes::on_disk() {
  const auto self = shared_from_this();
  const auto look = [this] {
    return keeper_ ? OnDisk{keeper_->base(), keeper_->kept()} : OnDisk{};
  };
  co_return co_await on_disk_pool(strand_, look);
}

asio::awaitable<tl::expected<void, std::string>> KeptPrefixes::compare(
    std::shared_ptr<const Base> base, engine::PrefixRef anew, std::int64_t begin) {
  const auto self = shared_from_this();
  const auto look = [this, base, anew, begin]() -> tl::expected<void, std::string> {
    if (!keeper_ || keeper_->base() != base) return {};
    auto equal = keeper_->compare(*anew, begin);
    note_usage();
    return equal;
  };
  co_return co_await on_disk_pool(strand_, look);
}

Keeper::Usage KeptPrefixes::usage() const {
  const std::lock_guard lock(mutex_);
  return usage_;
}

void KeptPrefixes::note_usage() {
  const Keeper::Usage now = keeper_->usage();
  const std::lock_guard lock(mutex_);
  usage_ = now;
}

}  // namespace lares::daemon
