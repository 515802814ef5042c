// How much is looked at to judge one script. Much of what is asked of its tree costs as much as a
// part of the script is long, and parts lie in one another: a script of nothing but brackets would
// take minutes. So all of it is counted. Private to what judges a command.
#pragma once

#include <cstddef>

#include "tools/shell/commands.h"

namespace lares::tools {

class Effort {
 public:
  void spend(std::size_t n) { spent_ += n; }  // bytes or nodes
  bool over() const { return spent_ > kShellEffortMax; }
  std::size_t spent() const { return spent_; }

 private:
  std::size_t spent_ = 0;
};

}  // namespace lares::tools
