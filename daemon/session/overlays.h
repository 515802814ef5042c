// What a session's editor holds of files and has not saved, as it said last or is asked now. See
// overlay_wire.h.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include "daemon/gate.h"
#include "tools/edit/editor_texts.h"
#include "tools/workspace/workspace.h"

namespace lares::daemon {

namespace asio = boost::asio;

// That the editor has to answer, which may mean to save; then it holds what it held last
inline constexpr std::chrono::milliseconds kOverlayWithin{20'000};
// That it is not asked for when it did not
inline constexpr std::chrono::milliseconds kOverlayMuted{60'000};

class Overlays final : public tools::EditorTexts {
 public:
  // Tells the editor; it answers by told()
  using Want = std::function<void(const std::string& path, bool save)>;
  explicit Overlays(asio::any_io_executor io, std::chrono::milliseconds within = kOverlayWithin)
      : io_(io), within_(within) {}

  asio::awaitable<std::optional<std::string>> unsaved(std::string path) override;
  // From any thread: masks are made on the engine's
  std::optional<std::string> last_unsaved(const std::string& path) const override;
  // Has the editor write to the disk what it has not saved; where it does not, unsaved() still says
  // so.
  asio::awaitable<void> save(std::string path);

  // Nothing: the editor holds what is on disk. `shown`: the model is told of it.
  void told(const std::string& path, std::optional<std::string> text, bool shown);
  std::vector<tools::File> shown() const;

  void editor_came(Want want);  // in place of the one before
  void editor_left();           // nobody waits for it any longer

 private:
  struct Text {
    std::string path, text;
    bool shown = false;
  };
  asio::awaitable<void> ask(std::string path, bool save);

  asio::any_io_executor io_;
  const std::chrono::milliseconds within_;
  Want want_;
  mutable std::mutex mutex_;  // of texts_
  std::deque<Text> texts_;    // the last said first
  std::map<std::string, std::shared_ptr<Gate>> waiting_;
  std::chrono::steady_clock::time_point muted_until_{};
};

}  // namespace lares::daemon
