// What `go test -json` writes, read as it comes: of a long output the middle is not kept, and the
// line that says a test has passed may stand there.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/testing/report.h"
#include "tools/workspace/rooted_fs.h"

namespace lares::tools {

class GoEvents {
 public:
  void feed(std::string_view text);  // clean text, in any pieces
  // Of what has been fed; a last line without an end counts too. `files`, `cwd`: as for parse_go.
  TestCounts counts(const RootedFs& files, const std::string& cwd) const;

 private:
  struct Test {
    std::vector<std::string> said;  // until it passes
    std::string action;             // how it ended; "" as yet
  };
  void read(std::string_view line);
  void keep_not_built(std::string line);
  void keep(Test& test, std::string said);
  void end(Test& test, std::string action);

  // Longer ones are no events of go's: it splits what tests say after 4 KiB, 24 KiB when escaped.
  static constexpr std::size_t kLineBytesMax = 256 << 10;
  static constexpr std::size_t kSaidBytesMax = 32 << 20;  // beyond it nothing said is kept
  // With further names: many words of some tests do not keep the others from being counted.
  static constexpr std::size_t kKeptBytesMax = 2 * kSaidBytesMax;
  static constexpr std::size_t kTestsMax = 200'000;

  std::map<std::pair<std::string, std::string>, Test> tests_;  // by package and name
  std::string partial_;                                        // of a line
  std::vector<std::string> not_built_;
  int n_not_built_ = 0;
  // Of what tests that have not passed said, of all their names and of not_built_
  std::size_t kept_bytes_ = 0;
  bool known_ = false;
  bool left_out_ = false;  // what is beyond the bounds
};

// What the events in `output` say, without them; lines of others as they are.
std::string go_text(std::string_view output);

}  // namespace lares::tools
