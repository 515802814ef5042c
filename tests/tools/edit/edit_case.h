// A worktree and the tool that views and edits in it.
#pragma once

#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "tests/tools/scratch.h"
#include "tools/edit/edit_tool.h"

namespace lares::tools {

class Edit : public testing::Test {
 protected:
  Outcome run(nlohmann::json args) {
    auto result = test::call(io_, tool_, std::move(args));
    return result ? *result : Outcome{"BROKEN: " + result.error().message, false, {}};
  }
  Outcome replace(const std::string& path, const std::string& from, const std::string& to) {
    return run({{"command", "str_replace"}, {"path", path}, {"old_str", from}, {"new_str", to}});
  }
  Outcome undo(const std::string& path) { return run({{"command", "undo_edit"}, {"path", path}}); }
  Outcome view(const std::string& path) { return run({{"command", "view"}, {"path", path}}); }

  test::Scratch dir_, state_;
  asio::io_context io_;
  EditTool tool_{BuiltinOptions{.root = dir_.root(), .state_dir = state_.root()}};
};

}  // namespace lares::tools
