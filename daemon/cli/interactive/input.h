// Where a person's lines come from.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/cli/interactive/completions.h"
#include "daemon/cli/interactive/history.h"

namespace lares::cli {

struct InputEvents {
  // Until something happens: a key, output for the screen, a change of the prompt
  std::function<void()> wait;
  std::function<void(std::string)> submitted;
  std::function<void()> leave;        // the end of the input
  std::function<void()> escaped;      // Escape, alone
  std::function<void()> next_policy;  // Shift-Tab
  // The text as the person's own editor left it; nothing: as it was
  std::function<std::optional<std::string>(const std::string& text)> edit;
  std::function<Completions(std::string_view before_cursor)> completions;
};

class Input {
 public:
  virtual ~Input() = default;

  // Takes lines until stop(). The rest is for use from within the events.
  virtual void run() = 0;
  virtual void stop() = 0;
  virtual void typed(std::string_view bytes) = 0;  // what the Link read
  // How long nothing may come before idle(): while part of a key is there.
  virtual std::optional<std::chrono::milliseconds> patience() const { return std::nullopt; }
  virtual void idle() {}
  virtual void prompt(std::string_view utf8) = 0;
  virtual std::vector<Pasted> pasted() const { return {}; }  // in the line that was submitted last
  virtual bool empty() const = 0;
  virtual void clear() = 0;
  virtual void put_back(const std::string& text) = 0;  // before what is in the line
  // A question is about to be shown. What was typed before it, with what is `unread` of that, does
  // not answer it, and is out of the way until bring_back().
  virtual void set_aside(std::string_view unread) = 0;
  virtual void bring_back() = 0;
  virtual void resized() = 0;
  virtual void show() = 0;  // now, as before a wait that is not events.wait
  virtual bool has_room_for_status() const = 0;
  // Leaves the terminal as it was found, for a shell or another program, and comes back.
  virtual void suspend() = 0;
  virtual void resume() = 0;
};

}  // namespace lares::cli
