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
  void keep(Test& test, std::string said);
  void end(Test& test, std::string action);

  static constexpr std::size_t kLineBytesMax = 1 << 20;   // longer ones are no events of go's
  static constexpr std::size_t kSaidBytesMax = 32 << 20;  // of all tests that have not passed
  static constexpr std::size_t kTestsMax = 200'000;

  std::map<std::pair<std::string, std::string>, Test> tests_;  // by package and name
  std::string partial_;                                        // of a line
  std::vector<std::string> not_built_;
  int n_not_built_ = 0;
  std::size_t said_bytes_ = 0;
  bool known_ = false;
  bool left_out_ = false;  // tests beyond kTestsMax
};

// What the events in `output` say, without them; lines of others as they are.
std::string go_text(std::string_view output);

}  // namespace lares::tools
