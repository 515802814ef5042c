// Source files and workspaces out of nothing, for tests.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "tests/daemon/residency/replay/counting_composer.h"
#include "tools/text.h"
#include "tools/workspace/source_file.h"

namespace lares::daemon::test {

using daemon::by_bytes;

inline tools::SourceFile file(const std::string& path, std::string text, bool crlf = false) {
  tools::SourceFile out{
      .path = path, .blob = tools::blob_sha(text), .n_bytes = text.size(), .crlf = crlf};
  out.text = std::make_shared<const std::string>(std::move(text));
  return out;
}

inline tools::SourceFile listed(const std::string& path, std::string reason,
                                std::uint64_t n_bytes = 100) {
  return {
      .path = path, .shown = tools::Shown::path, .reason = std::move(reason), .n_bytes = n_bytes};
}

inline void put(tools::Workspace& files, tools::SourceFile source) {
  files.insert_or_assign(source.path, std::move(source));
}

inline Composer plain_composer(std::int64_t budget_tokens = kLargeBudget) {
  return counting_composer(
      {.budget_tokens = budget_tokens, .changes = [](const std::string&) { return 0.0; }});
}

inline std::shared_ptr<const Base> base_of(const tools::Workspace& files) {
  return std::make_shared<const Base>(plain_composer()(files, nullptr, 0));
}

inline std::string numbered_lines(int from, int to, std::string_view prefix = "line ") {
  std::string out;
  for (int i = from; i <= to; ++i) out.append(prefix).append(std::to_string(i)).append("\n");
  return out;
}

}  // namespace lares::daemon::test
