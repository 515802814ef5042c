#include "daemon/session/overlays.h"

#include <algorithm>
#include <utility>

#include <boost/asio/steady_timer.hpp>

#include "daemon/protocol/overlay_wire.h"
#include "tools/text.h"

namespace lares::daemon {

std::optional<std::string> Overlays::last_unsaved(const std::string& path) const {
  const std::lock_guard lock(mutex_);
  const auto it = std::ranges::find(texts_, path, &Text::path);
  return it == texts_.end() ? std::nullopt : std::optional(it->text);
}

asio::awaitable<std::optional<std::string>> Overlays::unsaved(std::string path) {
  auto asking = ask(path, /*save=*/false);
  co_await std::move(asking);
  co_return last_unsaved(path);
}

asio::awaitable<void> Overlays::save(std::string path) {
  auto asking = ask(path, /*save=*/true);
  co_await std::move(asking);
}

asio::awaitable<void> Overlays::ask(std::string path, bool save) {
  if (!want_ || std::chrono::steady_clock::now() < muted_until_) co_return;
  const auto gate = std::make_shared<Gate>(io_);
  if (const auto before = std::exchange(waiting_[path], gate)) before->open();
  asio::steady_timer timer(io_, within_);
  const auto late = [this, gate, path](const boost::system::error_code& ec) {
    if (ec || gate->is_open()) return;  // the coroutine whose timer this is holds this object
    muted_until_ = std::chrono::steady_clock::now() + kOverlayMuted;
    waiting_.erase(path);  // it is the gate there: another question would have opened this one
    gate->open();
  };
  timer.async_wait(late);
  want_(path, save);
  co_await gate->wait();
}

void Overlays::told(const std::string& path, std::optional<std::string> text, bool shown) {
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(texts_, [&](const Text& t) { return t.path == path; });
    if (text) texts_.push_front({path, std::move(*text), shown});
    if (texts_.size() > protocol::kOverlaysMax) texts_.pop_back();
  }
  const auto it = waiting_.find(path);
  if (it == waiting_.end()) return;
  const auto gate = it->second;
  waiting_.erase(it);
  gate->open();
}

std::vector<tools::File> Overlays::shown() const {
  const std::lock_guard lock(mutex_);
  std::vector<tools::File> out;
  for (const Text& t : texts_)
    if (t.shown)
      out.push_back({.path = t.path,
                     .content = tools::shown_text(t.text),
                     .skipped = "",
                     .n_bytes = t.text.size()});
  return out;
}

void Overlays::editor_came(Want want) {
  editor_left();
  want_ = std::move(want);
  muted_until_ = {};
}

void Overlays::editor_left() {
  want_ = nullptr;
  {
    const std::lock_guard lock(mutex_);
    texts_.clear();
  }
  for (const auto& [path, gate] : std::exchange(waiting_, {})) gate->open();
}

}  // namespace lares::daemon
