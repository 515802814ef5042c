#include "daemon/resident/resident.h"

#include <algorithm>
#include <exception>
#include <type_traits>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>

#include "daemon/ended.h"
#include "daemon/turn/instructions.h"
#include "tools/workspace/workspace.h"

namespace lares::daemon {
namespace {

struct Counted {
  explicit Counted(int& counter) : n(counter) { ++n; }
  ~Counted() { --n; }
  Counted(const Counted&) = delete;
  int& n;
};

}  // namespace

Resident::Resident(ResidentWorld world, std::string root, std::shared_ptr<Resident> of)
    : world_(std::move(world)),
      root_(std::move(root)),
      of_(std::move(of)),
      // A worktree has no store: nearly all it would write its repository's has, and it is soon
      // gone.
      kept_(std::make_shared<KeptPrefixes>(*world_.disk, *world_.log, of_ ? "" : world_.store_dir,
                                           root_)),
      // Sessions hold the beginnings longer than the daemon holds the rest.
      beginnings_(std::make_shared<Beginnings>(
          [weak = std::weak_ptr<KeptPrefixes>(kept_)](const engine::PrefixRef& prefix,
                                                      const std::shared_ptr<const Base>& base) {
            if (const auto kept = weak.lock()) kept->keep(prefix, base);
          },
          of_ ? of_->beginnings_ : nullptr)),
      background_(std::make_shared<Background>(world_.io, *world_.host, *world_.log, root_,
                                               beginnings_, kept_)),
      strand_(world_.disk->get_executor()),
      plans_(root_) {}

std::shared_ptr<Resident> Resident::make(ResidentWorld world, std::string root,
                                         std::shared_ptr<Resident> of) {
  return std::shared_ptr<Resident>(new Resident(std::move(world), std::move(root), std::move(of)));
}

// For a worktree to begin with, as if an earlier daemon had kept it. On its strand.
std::optional<Keeper::Restored> Resident::lend() {
  const std::lock_guard lock(published_mutex_);
  if (!base_) return std::nullopt;
  return Keeper::Restored{.base = base_,
                          .epoch = published_.epoch,
                          .prefixes = beginnings_->of(ahead_ ? *ahead_ : *base_),
                          .lost = {}};
}

// The last to hold it may be on another thread than the watcher's.
Resident::~Resident() {
  beginnings_->keep({});  // so that the background stops too
  if (watcher_)
    asio::post(world_.io, [watcher = std::shared_ptr<tools::Watcher>(std::move(watcher_))] {});
}

std::int64_t Resident::tokens_max() const {
  return std::min(world_.tokens_max, world_.host->engine()->info().n_context_max / 2);
}

void Resident::make_tree() {
  ResidentTree::World world{.host = world_.host, .tokens_max = tokens_max()};
  world.evaluated = [all = beginnings_](const Base& base) { return all->evaluated(base); };
  world.on_bases = [all = beginnings_, kept = kept_](const std::vector<NumberedBase>& numbered,
                                                     std::shared_ptr<const Base> ahead) {
    kept->bases(numbered);
    std::vector<std::shared_ptr<const Base>> bases{numbered.front().base};
    if (ahead) bases.push_back(std::move(ahead));  // evaluated before a base that is only to come
    for (std::size_t i = 1; i < numbered.size(); ++i) bases.push_back(numbered[i].base);
    all->keep(std::move(bases));
  };
  world.wanted = [all = beginnings_](const Base& base) { return all->wants(base); };
  world.take_kept = [kept = kept_, of = of_] { return of ? of->lend() : kept->take_restored(); };
  world.on_brought_back = [all = beginnings_](std::vector<engine::PrefixRef> prefixes) {
    all->restored(std::move(prefixes));
  };
  world.on_lost = [kept = kept_](const std::string& why) { kept->not_wanted(why); };
  tree_ = std::make_unique<ResidentTree>(root_, std::move(world));
}

// Brings the tree up to date on the disk pool, and there does `look` with it. Files are many, and
// stay there: even to let go of all of them takes the io thread tens of milliseconds.
template <class Look>
asio::awaitable<std::invoke_result_t<Look, ResidentTree&>> Resident::up_to_date(bool anew,
                                                                                Look look) {
  const auto self = shared_from_this();
  const Counted looking(n_looking_);
  const Beginnings::Work working(beginnings_);
  if (of_ && (!has_begun() || of_->lacks_its_base())) {
    auto lending = of_->begin();
    if (const auto ready = co_await std::move(lending); !ready)
      world_.log->event("repository_unreadable", {{"root", of_->root_}, {"why", ready.error()}});
  }
  if (!tree_) make_tree();
  co_await kept_->restore(*world_.host->engine(), tokens_max());
  const bool comes_back = lacks_its_base();
  const auto work = [this, anew, &look]() -> std::invoke_result_t<Look, ResidentTree&> {
    if (auto now = tree_->bring_up_to_date(anew); !now) return tl::unexpected(now.error());
    publish();
    return look(*tree_);
  };
  auto seen = co_await on_disk_pool(strand_, work);
  if (!seen) co_return seen;
  if (comes_back) {
    auto reading = kept_->resume(base(), beginnings_);
    co_await std::move(reading);
  }
  background_->work();
  if (!std::exchange(tended_, true))
    asio::co_spawn(world_.io, tend(weak_from_this(), world_),
                   logged(*world_.log, "tending a repository"));
  co_return seen;
}

asio::awaitable<tl::expected<Resident::Beginning, std::string>> Resident::begin() {
  const auto self = shared_from_this();
  std::optional<tools::WatchPlan> plan;
  const auto look = [this, &plan](ResidentTree& tree) -> tl::expected<Beginning, std::string> {
    plan.emplace(plans_.watch(tree.directories()));
    Beginning b{.base = tree.base(),
                .overlay = {},
                .pinned = std::make_shared<Pinned>(tree.overlay()),
                .files = {}};
    b.pinned->files = tree.version();
    const View& view = b.pinned->view;
    for (const auto& [path, file] : tree.files())
      if (may_instruct(path) || view.glance(path, view.base_file(path)).state == Seen::State::text)
        b.files.emplace_hint(b.files.end(), path, file);
    for (const Entry& entry : tree.overlay().entries()) b.overlay += entry.text;
    return b;
  };
  auto beginning = co_await up_to_date(/*anew=*/true, look);
  if (beginning) watch(std::move(*plan));
  co_return beginning;
}

asio::awaitable<tl::expected<Resident::PinnedAgain, std::string>> Resident::pin_again(
    std::shared_ptr<const std::vector<engine::Token>> ids, WasShown shown, bool unsure) {
  const auto look = [ids, &shown,
                     unsure](ResidentTree& tree) -> tl::expected<PinnedAgain, std::string> {
    const tools::Workspace& now = tree.files();
    const auto& base = tree.base()->tokens;
    if (unsure || base.size() > ids->size() ||
        !std::equal(base.begin(), base.end(), ids->begin())) {
      auto unknown = std::make_shared<Pinned>(tree.overlay());
      unknown->view.hide_below({std::string(kEverything)});
      return PinnedAgain{std::move(unknown), false};
    }
    auto pinned =
        std::make_shared<Pinned>(Overlay(tree.base(), tree.count(), tree.overlay().tokens_max()));
    pinned->view.hide_below(shown.hidden_below);
    for (const auto& [path, known] : shown.files) {
      const auto at = now.find(path);
      if (known.state == Seen::State::absent)
        pinned->view.set(path, {});
      else if (known.state == Seen::State::text && at != now.end() && at->second.text &&
               at->second.blob == known.blob)
        pinned->view.saw(at->second);
      else
        pinned->view.set(path, {.state = Seen::State::hidden, .text = nullptr, .blob = known.blob});
    }
    return PinnedAgain{std::move(pinned), true};
  };
  co_return co_await up_to_date(/*anew=*/false, look);
}

asio::awaitable<tl::expected<Resident::Update, std::string>> Resident::catch_up(
    std::shared_ptr<Pinned> session, std::vector<Written> wrote) {
  const auto look = [session, &wrote](ResidentTree& tree) -> tl::expected<Update, std::string> {
    const tools::Workspace& now = tree.files();
    auto among = tree.changed_since(session->files);
    // What it wrote it knows, as long as that is still so. What somebody changed again meanwhile,
    // or took back, it must be told.
    std::vector<tools::SourceFile> own;
    for (const Written& w : wrote) {
      const auto at = now.find(w.path);
      if (among) among->push_back(w.path);
      if (w.blob.empty())
        session->view.set(w.path, {});
      else if (at != now.end() && at->second.text && at->second.blob == w.blob)
        own.push_back(at->second);
      else
        session->view.set(w.path, {.state = Seen::State::hidden, .text = nullptr, .blob = w.blob});
    }
    if (among) {
      std::ranges::sort(*among);
      among->erase(std::ranges::unique(*among).begin(), among->end());
    }
    Update update;
    const auto known = session->view.since();
    update.text = daemon::catch_up(*session, now, tree.overlay().version(), own, tree.count(),
                                   among ? &*among : nullptr);
    session->files = tree.version();
    for (const auto& [path, seen] : session->view.since()) {
      const auto before = known.find(path);
      if (before != known.end() && before->second.blob == seen.blob) continue;
      update.changed.push_back(path);
      if (const auto at = now.find(path); at != now.end()) update.files.insert(*at);
    }
    return update;
  };
  co_return co_await up_to_date(/*anew=*/false, look);
}

void Resident::watch(tools::WatchPlan plan) {
  if (!watcher_) {
    const std::weak_ptr<Resident> weak = weak_from_this();
    const auto on_change = [weak](const tools::TreeChange&) {
      if (const auto self = weak.lock())
        asio::co_spawn(
            self->world_.io, [self] { return self->hurry(); },
            logged(*self->world_.log, "looking at what changed"));
    };
    const auto on_note = [log = world_.log, root = root_](const std::string& line) {
      log->event("watcher", {{"root", root}, {"note", line}});
    };
    watcher_ = std::make_unique<tools::Watcher>(world_.io, root_, on_change, on_note);
  }
  watcher_->watch(std::move(plan));
}

// Something changed, or it has been quiet for a while: what the next step would find is found now.
// One look at a time, whatever is asked meanwhile: files may be written faster than they are looked
// at, and a turn that begins waits for every look before its own. Between two it rests as long as
// one took, so that whoever writes for hours has half a thread of this at most.
asio::awaitable<void> Resident::hurry() {
  const auto away = [&] {  // whoever comes looks, and a worktree's look brings back both
    return beginnings_->given_up() || (of_ && of_->beginnings_->given_up());
  };
  if (away()) co_return;
  hurry_again_ = true;
  if (n_hurrying_ > 0) co_return;  // that one sees to it
  const auto self = shared_from_this();
  const Counted hurrying(n_hurrying_);
  asio::steady_timer rest(world_.io);
  while (!away()) {
    const auto began = std::chrono::steady_clock::now();
    hurry_again_ = false;
    co_await hurry_once();
    if (!hurry_again_) co_return;
    rest.expires_after(std::chrono::steady_clock::now() - began);
    co_await rest.async_wait(asio::use_awaitable);
  }
}

asio::awaitable<void> Resident::hurry_once() {
  std::string why;
  try {
    const auto look = [this](ResidentTree& tree) -> tl::expected<tools::WatchPlan, std::string> {
      return plans_.watch(tree.directories());
    };
    auto plan = co_await up_to_date(/*anew=*/false, look);
    if (plan)
      watch(std::move(*plan));
    else
      why = plan.error();
  } catch (const std::exception& e) {
    why = e.what();
  }
  if (!why.empty()) world_.log->event("repository_unreadable", {{"root", root_}, {"why", why}});
}

// As long as somebody has it.
asio::awaitable<void> Resident::tend(std::weak_ptr<Resident> weak, ResidentWorld world) {
  asio::steady_timer timer(world.io);
  for (;;) {
    timer.expires_after(world.tend_every);
    co_await timer.async_wait(asio::use_awaitable);
    const auto self = weak.lock();
    if (!self || world.host->stopping()) co_return;
    try {
      co_await self->kept_->tend(self->beginnings_);
      const auto pending = [&] { return !self->tree_->overlay().entries().empty(); };
      if (co_await on_disk_pool(self->strand_, pending))
        co_await self->hurry();  // a rebase may wait for quiet
      else
        self->background_->work();  // or what is kept to be scrubbed
    } catch (const std::exception& e) {
      world.log->event("background_failed", {{"root", self->root_}, {"why", e.what()}});
    }
  }
}

// ---- for people

std::uint64_t Resident::page_bytes() const {
  const engine::Engine* const engine = world_.host->engine();
  return engine ? beginnings_->pages() * engine->prefix_format().page_bytes : 0;
}

// On the tree's strand.
void Resident::publish() {
  protocol::RepoPrefixResult r{.root = root_};
  tree_->describe(r, /*with_files=*/false);
  const std::lock_guard lock(published_mutex_);
  published_ = std::move(r);
  base_ = tree_->base(), ahead_ = tree_->ahead(), next_ = tree_->next();
}

bool Resident::has_begun() { return base() != nullptr; }

std::shared_ptr<const Base> Resident::base() {
  const std::lock_guard lock(published_mutex_);
  return base_;
}

// It was given up since it began.
bool Resident::lacks_its_base() {
  const auto base = this->base();
  return base && !beginnings_->wants(*base);
}

asio::awaitable<protocol::RepoPrefixResult> Resident::report(bool with_files) {
  const auto self = shared_from_this();
  if (with_files && has_begun()) co_await look_at_files();
  protocol::RepoPrefixResult r{.root = root_};
  {
    const std::lock_guard lock(published_mutex_);
    if (base_) r = published_, r.evaluated = beginnings_->evaluated(*base_);
    if (ahead_)
      r.overlay_evaluated = std::max<std::int64_t>(0,
                                                   beginnings_->evaluated(*ahead_) - r.base_tokens);
    if (next_) r.next_evaluated = beginnings_->evaluated(*next_);
    if (!with_files) r.files.clear();
  }
  r.looking = n_looking_ > 0;
  const Keeper::Usage kept = kept_->usage();
  r.page_bytes = static_cast<std::int64_t>(page_bytes());
  r.disk_bytes = static_cast<std::int64_t>(kept.bytes), r.disk_tokens = kept.n_tokens;
  const Background::Scrub& scrub = background_->scrubbed();
  r.scrubbing = scrub.asked, r.scrubbed = scrub.done, r.scrub_found = scrub.found;
  const Beginnings::Use use = beginnings_->use();
  r.found_tokens = use.n_found, r.prefilled_tokens = use.n_evaluated;
  r.tokens_per_s = world_.host->prefill_rate();
  co_return r;
}

asio::awaitable<void> Resident::look_at_files() {
  const auto look = [this] {
    protocol::RepoPrefixResult r{.root = root_};
    tree_->describe(r, /*with_files=*/true);
    const std::lock_guard lock(published_mutex_);
    published_ = std::move(r);
    return true;
  };
  co_await on_disk_pool(strand_, look);
}

asio::awaitable<bool> Resident::scrub() {
  const auto self = shared_from_this();
  const KeptPrefixes::OnDisk kept = co_await kept_->on_disk();
  if (kept.extents.empty()) co_return false;
  background_->scrub();
  co_return true;
}

}  // namespace lares::daemon
