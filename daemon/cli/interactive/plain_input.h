// Lines as the terminal itself edits them, for one that can do no more: no status, no history,
// output between the lines.
#pragma once

#include <string>
#include <string_view>

#include "daemon/cli/interactive/input.h"

namespace lares::cli {

class Screen;

class PlainInput final : public Input {
 public:
  PlainInput(Screen& screen, InputEvents events);

  void run() override;
  void stop() override { stopped_ = true; }
  void typed(std::string_view line) override;
  void prompt(std::string_view utf8) override { prompt_ = utf8; }
  bool empty() const override { return begun_.empty(); }
  void clear() override { begun_.clear(); }
  void put_back(const std::string& text) override;
  void set_aside(std::string_view unread) override;
  void bring_back() override;
  void resized() override {}
  void show() override {}
  bool has_room_for_status() const override { return false; }
  void suspend() override {}
  void resume() override {}

 private:
  Screen& screen_;
  InputEvents events_;
  std::string prompt_, begun_, aside_;  // begun_: lines that ended in a backslash
  bool stopped_ = false;
};

}  // namespace lares::cli
