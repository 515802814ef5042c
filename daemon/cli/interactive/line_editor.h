// The line a person types, at the foot of the screen: libedit edits it, and what arrives meanwhile
// is written above it.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "daemon/cli/interactive/input.h"

namespace lares::cli {

class History;
class Screen;

class LineEditor final : public Input {
 public:
  // `history` and `screen` outlive it.
  LineEditor(Screen& screen, const History& history, InputEvents events);
  ~LineEditor() override;
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  void run() override;
  void stop() override;
  void typed(std::string_view bytes) override;
  std::optional<std::chrono::milliseconds> patience() const override;
  void idle() override;
  void prompt(std::string_view utf8) override;
  std::vector<Pasted> pasted() const override;
  bool empty() const override;
  void clear() override;
  void put_back(const std::string& text) override;
  void set_aside(std::string_view unread) override;
  void bring_back() override;
  void resized() override;
  void show() override;
  bool has_room_for_status() const override;
  void suspend() override;
  void resume() override;

  struct State;  // what libedit's callbacks see

 private:
  std::unique_ptr<State> state_;
};

}  // namespace lares::cli
