#include "daemon/resident.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>

#include "daemon/on_disk_pool.h"
#include "daemon/prompt.h"
#include "tools/change_rates.h"
#include "tools/text.h"
#include "tools/workspace.h"

namespace lares::daemon {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kYield{20};  // before background work looks again whether people wait
constexpr std::chrono::minutes kTendEvery{5};  // of the store
constexpr std::size_t kStoreNameLength = 16;
constexpr std::size_t kLeftOutShown = 50, kFilesReported = 20'000;
constexpr double kAtOnceSeconds = 4;
constexpr int kTierOfOverlay = -1;  // of files that the base does not have

// Whether it ends where the keeper cuts.
bool is_kept(const engine::Prefix& prefix, const Base& base) {
  const auto n = static_cast<std::int64_t>(prefix.tokens().size());
  return n % kKeptPageTokens == 0 || n == static_cast<std::int64_t>(base.tokens.size()) / kKeptStep * kKeptStep;
}

// Of what its text is tokenised with: the file's hash.
std::string tokenizer_id(const engine::Engine& engine) {
  std::ifstream file(engine.info().directory + "/tokenizer.json", std::ios::binary);
  return tools::blob_sha(std::string(std::istreambuf_iterator<char>(file), {}));
}

}  // namespace

struct Resident::Tree {
  explicit Tree(const std::string& root) : scanner({.root = root, .limits = {}}) {}

  tools::Scanner scanner;
  tools::ChangeRates rates;
  std::vector<engine::Token> head;
  std::unique_ptr<TokenCache> cache;
  CountTokens count;
  std::int64_t budget = 0;
  std::uint64_t epoch = 0;
  std::shared_ptr<const Base> base;
  std::optional<Overlay> overlay;
  std::optional<Rebased> next;  // takes over once its base is evaluated
  Clock::time_point changed = Clock::now();

  ComposeOptions options() const { return {.tokens_max = budget, .pins = {}, .left_out = scanner.left_out()}; }
  Composer composer() {
    return [this](const tools::Workspace& now, const Base* before, std::size_t n_kept) {
      return before ? recompose(head, *before, n_kept, now, rates, *cache, options()) : compose(head, now, rates, *cache, options());
    };
  }
};

Resident::Resident(ResidentWorld world, std::string root)
    : world_(std::move(world)), root_(std::move(root)), tree_(std::make_unique<Tree>(root_)) {}

std::shared_ptr<Resident> Resident::make(ResidentWorld world, std::string root) {
  const std::shared_ptr<Resident> made(new Resident(std::move(world), std::move(root)));
  const std::weak_ptr<Resident> weak = made;  // sessions hold the beginnings longer than the daemon holds this
  made->beginnings_ = std::make_shared<Beginnings>([weak](const engine::PrefixRef& prefix, const std::shared_ptr<const Base>& base) {
    if (const auto self = weak.lock()) self->keep(prefix, base);
  });
  return made;
}

// The last to hold it may be on another thread than the watcher's.
Resident::~Resident() {
  if (watcher_) asio::post(world_.io, [watcher = std::shared_ptr<tools::Watcher>(std::move(watcher_))] {});
}

// ---- on the disk pool, under the lock

tl::expected<tools::Workspace, std::string> Resident::scan(Tree& tree) {
  auto files = tree.scanner.scan();
  if (!files) return tl::unexpected(files.error().message);
  if (!tree.cache) {
    const engine::Engine& engine = *world_.host->engine();
    tree.cache = std::make_unique<TokenCache>(engine.tokenizer(), TokenCacheOptions{});
    tree.head = engine.tokenizer().encode(prompt_head(), /*added=*/true);
    tree.count = [&engine](std::string_view text) { return static_cast<std::int64_t>(engine.tokenizer().encode(text, /*added=*/false).size()); };
    tree.budget = std::min(kResidentTokens, engine.info().n_context_max / 2);
  }
  return std::move(*files);
}

// Base and overlay as the working tree is now, which is returned.
tl::expected<tools::Workspace, std::string> Resident::bring_up_to_date(Tree& tree, bool anew) {
  auto now = scan(tree);
  if (!now) return now;
  if (!tree.base) begin_with(tree, *now);
  else keep_up(tree, *now, anew);
  return now;
}

// With what was kept, else with what is rendered now.
void Resident::begin_with(Tree& tree, const tools::Workspace& now) {
  tree.rates = tools::change_rates(root_);
  if (!bring_back(tree)) {
    tree.base = std::make_shared<const Base>(compose(tree.head, now, tree.rates, *tree.cache, tree.options()));
    ++tree.epoch;
    keep_bases(tree);
  }
  tree.overlay.emplace(tree.base, tree.count, overlay_tokens_max(tree.budget, static_cast<std::int64_t>(tree.base->tokens.size())));
  keep_up(tree, now, /*anew=*/true);
}

bool Resident::bring_back(Tree& tree) {
  if (world_.store_dir.empty()) return false;
  const auto said = [&](const char* event, const std::string& why) { world_.log->event(event, {{"root", root_}, {"why", why}}); };
  const std::lock_guard lock(keeper_mutex_);
  std::error_code ec;
  std::filesystem::create_directories(world_.store_dir, ec);  // where it fails, the keeper says so
  std::filesystem::permissions(world_.store_dir, std::filesystem::perms::owner_all, ec);
  auto keeper = Keeper::open(world_.store_dir + "/" + tools::blob_sha(root_).substr(0, kStoreNameLength), *world_.host->engine(),
                             {.base_tokens_max = tree.budget, .tokenizer_id = tokenizer_id(*world_.host->engine())});
  if (!keeper) {
    said("nothing_kept", keeper.error());
    return false;
  }
  keeper_ = std::move(*keeper);
  auto restored = keeper_->restore();
  for (const auto& line : keeper_->notes()) said("prefix_store", line);
  for (const auto& line : keeper_->lost()) said("prefix_lost", line);
  if (!restored) return false;
  const auto& tokens = restored->base->tokens;
  if (tokens.size() < tree.head.size() || !std::equal(tree.head.begin(), tree.head.end(), tokens.begin())) {
    said("prefix_lost", "it begins with the prompt of another version");
    return false;
  }
  tree.base = restored->base;
  tree.epoch = restored->epoch;
  keep_bases(tree);
  world_.log->event("prefix_restored", {{"root", root_}, {"tokens", restored->prefixes.back()->tokens().size()}, {"of", tokens.size()}});
  beginnings_->restored(std::move(restored->prefixes));
  return true;
}

// Base and overlay as the workspace is now; and, where that is due, a base to take over later. `anew`: for a session that begins, which a
// base without an overlay serves best.
void Resident::keep_up(Tree& tree, const tools::Workspace& now, bool anew) {
  if (tree.next && beginnings_->evaluated(*tree.next->base) >= static_cast<std::int64_t>(tree.next->base->tokens.size())) switch_over(tree, now);
  const std::uint64_t before = tree.overlay->version();
  tree.overlay->advance(now);
  if (tree.overlay->version() != before) tree.changed = Clock::now();
  if (tree.overlay->entries().empty()) return;
  if (anew && at_once(tree, now)) return;
  const auto idle = std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - tree.changed);
  if (tree.next || rebase_reason(*tree.overlay, idle) == RebaseReason::none) return;
  if (const auto plan = plan_rebase(*tree.overlay, now)) {
    tree.rates = tools::change_rates(root_);
    tree.next = rebase(*tree.overlay, *plan, now, tree.budget, tree.composer());
    keep_bases(tree);
  }
}

// Where a base without an overlay takes no longer than people do not notice, it is what every model reads best.
bool Resident::at_once(Tree& tree, const tools::Workspace& now) {
  const auto quick = [&](std::int64_t n_tokens) { return static_cast<double>(n_tokens) <= kAtOnceSeconds * world_.host->prefill_rate(); };
  std::optional<RebasePlan> plan;
  if (static_cast<std::int64_t>(tree.base->tokens.size()) <= kPlainTokens) {
    if (quick(static_cast<std::int64_t>(tree.base->tokens.size()))) plan.emplace();  // all of it anew
  } else if (plan = worth_at_once(*tree.overlay, now); plan && !quick(plan->n_prefill)) {
    plan.reset();
  }
  if (!plan) return false;
  if (plan->cut > 0) tree.rates = tools::change_rates(root_);  // a small base has one tier
  Rebased done = rebase(*tree.overlay, *plan, now, tree.budget, tree.composer());
  tree.base = done.base;
  tree.overlay = std::move(done.overlay);
  tree.next.reset();
  ++tree.epoch;
  keep_bases(tree);
  return true;
}

void Resident::switch_over(Tree& tree, const tools::Workspace& now) {
  tree.base = tree.next->base;
  tree.overlay = tree.overlay->rebased(tree.base, now, tree.next->overlay.tokens_max());
  tree.next.reset();
  ++tree.epoch;
  keep_bases(tree);
}

void Resident::keep_bases(const Tree& tree) {
  std::vector<std::shared_ptr<const Base>> bases{tree.base};
  if (tree.next) bases.push_back(tree.next->base);
  {
    const std::lock_guard lock(kept_mutex_);
    epochs_.clear();
    for (std::size_t i = 0; i < bases.size(); ++i) epochs_[bases[i]] = tree.epoch + i;
  }
  beginnings_->keep(std::move(bases));
}

// ---- on the io executor

asio::awaitable<tl::expected<Resident::Beginning, std::string>> Resident::begin() {
  const auto self = shared_from_this();
  std::vector<std::string> directories;
  const auto look = [this, &directories]() -> tl::expected<Beginning, std::string> {
    const std::lock_guard lock(tree_mutex_);
    auto now = bring_up_to_date(*tree_, /*anew=*/true);
    if (!now) return tl::unexpected(now.error());
    directories = tree_->scanner.directories();
    Beginning b{.base = tree_->base, .overlay = {}, .pinned = std::make_shared<Pinned>(*tree_->overlay), .files = std::move(*now)};
    for (const Entry& entry : tree_->overlay->entries()) b.overlay += entry.text;
    return b;
  };
  auto beginning = co_await on_disk_pool(*world_.disk, look);
  if (beginning) {
    watch(directories);
    work();
  }
  co_return beginning;
}

asio::awaitable<tl::expected<Resident::PinnedAgain, std::string>> Resident::pin_again(std::shared_ptr<const std::vector<engine::Token>> ids,
                                                                                      std::vector<Shown> shown) {
  const auto self = shared_from_this();
  const auto look = [this, ids, &shown]() -> tl::expected<PinnedAgain, std::string> {
    const std::lock_guard lock(tree_mutex_);
    auto now = bring_up_to_date(*tree_, /*anew=*/false);
    if (!now) return tl::unexpected(now.error());
    const auto& base = tree_->base->tokens;
    if (base.size() > ids->size() || !std::equal(base.begin(), base.end(), ids->begin())) {
      auto unknown = std::make_shared<Pinned>(*tree_->overlay);
      unknown->view.hide_below(std::string(kEverything));
      return PinnedAgain{std::move(unknown), false};
    }
    auto pinned = std::make_shared<Pinned>(Overlay(tree_->base, tree_->count, tree_->overlay->tokens_max()));
    for (const Shown& s : shown) {
      const auto at = now->find(s.path);
      if (s.blob.empty()) pinned->view.set(s.path, {});
      else if (s.text && at != now->end() && at->second.text && at->second.blob == s.blob) pinned->view.saw(at->second);
      else pinned->view.set(s.path, {.state = Seen::State::hidden, .text = nullptr, .blob = s.blob});
    }
    return PinnedAgain{std::move(pinned), true};
  };
  auto pinned = co_await on_disk_pool(*world_.disk, look);
  if (pinned) work();
  co_return pinned;
}

asio::awaitable<tl::expected<Resident::Update, std::string>> Resident::catch_up(std::shared_ptr<Pinned> session, std::vector<Written> wrote) {
  const auto self = shared_from_this();
  const auto look = [this, session, &wrote]() -> tl::expected<Update, std::string> {
    const std::lock_guard lock(tree_mutex_);
    auto now = bring_up_to_date(*tree_, /*anew=*/false);
    if (!now) return tl::unexpected(now.error());
    // What it wrote it knows, as long as that is still so. What somebody changed again meanwhile, or took back, it must be told.
    std::vector<tools::SourceFile> own;
    for (const Written& w : wrote) {
      const auto at = now->find(w.path);
      if (w.blob.empty()) session->view.set(w.path, {});
      else if (at != now->end() && at->second.text && at->second.blob == w.blob) own.push_back(at->second);
      else session->view.set(w.path, {.state = Seen::State::hidden, .text = nullptr, .blob = w.blob});
    }
    Update update;
    const auto known = session->view.since();
    update.text = daemon::catch_up(*session, *now, tree_->overlay->version(), own, tree_->count);
    for (const auto& [path, seen] : session->view.since()) {
      const auto before = known.find(path);
      if (before == known.end() || before->second.blob != seen.blob) update.changed.push_back(path);
    }
    update.files = std::move(*now);
    return update;
  };
  auto update = co_await on_disk_pool(*world_.disk, look);
  if (update) work();
  co_return update;
}

// On the engine's thread.
void Resident::keep(const engine::PrefixRef& prefix, const std::shared_ptr<const Base>& base) {
  if (!is_kept(*prefix, *base)) return;
  {
    const std::lock_guard lock(kept_mutex_);
    to_keep_.emplace_back(prefix, base);
  }
  asio::post(*world_.disk, [self = shared_from_this()] { self->write_kept(); });
}

// On the disk pool.
void Resident::write_kept() {
  const std::lock_guard lock(keeper_mutex_);
  std::vector<std::pair<engine::PrefixRef, std::shared_ptr<const Base>>> some;
  std::map<std::shared_ptr<const Base>, std::uint64_t> epochs;
  {
    const std::lock_guard kept(kept_mutex_);
    some.swap(to_keep_);
    epochs = epochs_;
  }
  if (!keeper_) return;
  const auto said = [&](const tl::expected<void, std::string>& done) {
    if (!done) world_.log->event("prefix_not_kept", {{"root", root_}, {"why", done.error()}});
  };
  for (const auto& [prefix, base] : some)
    if (const auto epoch = epochs.find(base); epoch != epochs.end()) said(keeper_->keep(prefix, base, epoch->second));  // else another has taken its place
  if (const auto now = Clock::now(); now - tended_.load() > kTendEvery) {
    tended_ = now;
    // What the disk refused, of the base that is kept last.
    const auto last = std::max_element(epochs.begin(), epochs.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
    if (last != epochs.end() && !keeper_->usage().committed)
      for (const auto& prefix : beginnings_->of(*last->first))
        if (is_kept(*prefix, *last->first)) said(keeper_->keep(prefix, last->first, last->second));
    said(keeper_->tend());
  }
}

// Evaluates what is not yet, while nobody waits for the engine.
void Resident::work() {
  if (Clock::now() - tended_.load() > kTendEvery) asio::post(*world_.disk, [self = shared_from_this()] { self->write_kept(); });
  more_ = true;
  if (std::exchange(working_, true)) return;
  asio::co_spawn(world_.io, [self = shared_from_this()] { return self->work_in_background(); }, asio::detached);
}

asio::awaitable<void> Resident::work_in_background() {
  try {
    while (std::exchange(more_, false)) {
      const auto pick = [this]() -> std::shared_ptr<const Base> {
        const std::lock_guard lock(tree_mutex_);
        for (const auto& base : {tree_->base, tree_->next ? tree_->next->base : nullptr})
          if (base && beginnings_->evaluated(*base) < static_cast<std::int64_t>(base->tokens.size())) return base;
        return nullptr;
      };
      const std::shared_ptr<const Base> base = co_await on_disk_pool(*world_.disk, pick);
      if (base && co_await evaluate(base)) more_ = true;
    }
  } catch (const std::exception& e) {
    world_.log->event("background_failed", {{"root", root_}, {"why", e.what()}});
  }
  working_ = false;
}

// Up to the end of the base, or until it is no longer wanted. False: the engine cannot.
asio::awaitable<bool> Resident::evaluate(std::shared_ptr<const Base> base) {
  engine::Engine* const engine = world_.host->engine();
  if (!engine || engine->prefix_format().page_tokens == 0) co_return false;
  const auto total = static_cast<std::int64_t>(base->tokens.size()), chunk = engine->info().n_chunk > 0 ? engine->info().n_chunk : total;
  std::unique_ptr<engine::Timeline> timeline;
  asio::steady_timer pause(world_.io);
  while (beginnings_->evaluated(*base) < total) {
    if (beginnings_->next_mark(base->tokens, beginnings_->evaluated(*base)) == SharedBeginning::kNowhere) co_return true;  // nobody wants it any more
    if (world_.host->stopping()) co_return false;
    if (world_.host->people_wait()) {
      pause.expires_after(kYield);
      co_await pause.async_wait(asio::use_awaitable);
      continue;
    }
    const auto piece = [&]() -> engine::Result<std::int64_t> {
      const auto best = beginnings_->longest(base->tokens);  // perhaps a session got further meanwhile
      if (!timeline || (best && best->tokens().size() > timeline->tokens().size())) timeline = engine->timeline(best);
      const auto at = static_cast<std::int64_t>(timeline->tokens().size());
      const std::int64_t end = std::min({total, (at / chunk + 1) * chunk, beginnings_->next_mark(base->tokens, at)});
      const auto began = Clock::now();
      auto n = timeline->sync(std::span(base->tokens).first(static_cast<std::size_t>(end)), world_.host->stop_token(), nullptr);
      if (n) world_.host->evaluated(*n, Clock::now() - began);
      if (n && beginnings_->next_mark(base->tokens, end - 1) == end) beginnings_->offer(timeline->prefix(end));
      return n;
    };
    const auto n = co_await world_.host->run(piece);
    if (!n) {
      if (n.error().code != engine::Errc::cancelled) world_.log->event("background_failed", {{"root", root_}, {"why", n.error().message}});
      co_return false;
    }
  }
  co_return true;
}

void Resident::watch(const std::vector<std::string>& directories) {
  if (!watcher_) {
    const std::weak_ptr<Resident> weak = weak_from_this();
    const auto on_change = [weak](const tools::TreeChange&) {
      if (const auto self = weak.lock()) asio::co_spawn(self->world_.io, [self] { return self->hurry(); }, asio::detached);
    };
    const auto on_note = [log = world_.log, root = root_](const std::string& line) { log->event("watcher", {{"root", root}, {"note", line}}); };
    watcher_ = std::make_unique<tools::Watcher>(world_.io, root_, on_change, on_note);
  }
  watcher_->watch(directories);
}

// Something changed: what the next step would find is found now.
asio::awaitable<void> Resident::hurry() {
  const auto self = shared_from_this();
  std::string why;
  try {
    const auto look = [this]() -> tl::expected<std::vector<std::string>, std::string> {
      const std::lock_guard lock(tree_mutex_);
      const auto now = scan(*tree_);
      if (!now) return tl::unexpected(now.error());
      if (tree_->base) keep_up(*tree_, *now, /*anew=*/false);
      return tree_->scanner.directories();
    };
    const auto directories = co_await on_disk_pool(*world_.disk, look);
    if (directories) {
      watch(*directories);
      work();
    } else {
      why = directories.error();
    }
  } catch (const std::exception& e) {
    why = e.what();
  }
  if (!why.empty()) world_.log->event("repository_unreadable", {{"root", root_}, {"why", why}});
}

std::uint64_t Resident::page_bytes() const {
  const engine::Engine* const engine = world_.host->engine();
  return engine ? beginnings_->pages() * engine->prefix_format().page_bytes : 0;
}

asio::awaitable<protocol::RepoPrefixResult> Resident::report(bool with_files) {
  const auto self = shared_from_this();
  const auto look = [this, with_files] {
    const std::lock_guard lock(tree_mutex_);
    protocol::RepoPrefixResult r{.root = root_};
    if (!tree_->base) return r;
    const Tree& t = *tree_;
    r.epoch = t.epoch, r.version = t.overlay->version(), r.tokens_max = t.budget;
    r.base_tokens = static_cast<std::int64_t>(t.base->tokens.size());
    r.evaluated = beginnings_->evaluated(*t.base);
    r.overlay_tokens = t.overlay->n_tokens(), r.overlay_tokens_max = t.overlay->tokens_max();
    r.n_hidden = static_cast<std::int64_t>(t.overlay->n_hidden());
    if (t.next) r.next_tokens = static_cast<std::int64_t>(t.next->base->tokens.size()), r.next_evaluated = beginnings_->evaluated(*t.next->base);
    r.page_bytes = static_cast<std::int64_t>(page_bytes());
    r.left_out.assign(t.scanner.left_out().begin(), t.scanner.left_out().begin() + static_cast<std::ptrdiff_t>(std::min(kLeftOutShown, t.scanner.left_out().size())));
    if (!with_files) return r;
    std::map<std::string, std::int64_t> told;
    for (const Entry& entry : t.overlay->entries()) told[entry.path] += entry.n_tokens;
    const auto state_of = [&](const std::string& path) -> const char* {
      switch (t.overlay->freshness(path).state) {
        case Freshness::State::resident: return "full";
        case Freshness::State::dirty: return "overlay";
        case Freshness::State::hidden: return "hidden";
        case Freshness::State::outline: return "outline";
        case Freshness::State::path_only: return "path";
        case Freshness::State::absent: return "gone";
      }
      return "";
    };
    for (const BaseFile& file : t.base->files) {
      const auto at = told.find(file.source.path);
      r.files.push_back({file.source.path, state_of(file.source.path), file.source.reason, file.tier, file.n_tokens + (at == told.end() ? 0 : at->second)});
      if (at != told.end()) told.erase(at);
    }
    for (const auto& [path, n] : told) r.files.push_back({path, state_of(path), "", kTierOfOverlay, n});
    if (r.files.size() > kFilesReported) {
      r.left_out.push_back(fmt::format("{} files with fewer tokens are not listed", r.files.size() - kFilesReported));
      std::stable_sort(r.files.begin(), r.files.end(), [](const auto& a, const auto& b) { return a.n_tokens > b.n_tokens; });
      r.files.resize(kFilesReported);
    }
    std::sort(r.files.begin(), r.files.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
    return r;
  };
  protocol::RepoPrefixResult r = co_await on_disk_pool(*world_.disk, look);
  const auto usage = [this] {
    const std::lock_guard lock(keeper_mutex_);
    return keeper_ ? keeper_->usage() : Keeper::Usage{};
  };
  const Keeper::Usage kept = co_await on_disk_pool(*world_.disk, usage);
  r.disk_bytes = static_cast<std::int64_t>(kept.bytes), r.disk_tokens = kept.n_tokens;
  r.tokens_per_s = world_.host->prefill_rate();
  co_return r;
}

}  // namespace lares::daemon
